#!/usr/bin/env bash
# Runs peer_server.mjs, a server of OpenAI's and Anthropic's protocols that others have written: npm @copilotkit/aimock
# (2 MB, MIT licence) on Node.js, brought into build/ when they are not there. Prints "ready PORT", and ends when its standard input does.
#   tests/peer_server.sh [--install-only]
set -euo pipefail
source "$(dirname "$0")/packages.sh"
peer=@copilotkit/aimock@1.43.0  # has no dependencies
folder=$build/peer

bring_node
bring "$folder" "$peer" npm_install "$folder" "$peer"
[[ ${1:-} == --install-only ]] || exec "$node" "$root/tests/peer_server.mjs" "$folder/node_modules/@copilotkit/aimock/dist/index.js"
