#!/usr/bin/env bash
# Runs fauxqs_server.mjs, a second SQS that others have written: npm fauxqs (MIT licence, 43 MB with what it needs) on Node.js, brought
# into build/ when they are not there. Prints "ready PORT", and ends when its standard input does.
#   tests/fauxqs_server.sh [--install-only]
set -euo pipefail
source "$(dirname "$0")/packages.sh"
fauxqs=fauxqs@1.9.2
folder=$build/fauxqs

bring_node
bring "$folder" "$fauxqs" npm_install "$folder" "$fauxqs"
[[ ${1:-} == --install-only ]] || exec "$node" "$root/tests/fauxqs_server.mjs" "$folder/node_modules/fauxqs/dist/app.js"
