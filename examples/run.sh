#!/usr/bin/env bash
# Installs what is missing, builds (Release, in build/release) and runs the main job:
#   examples/run.sh           its model is a script; with OPENAI_BASE_URL, that one
#   examples/run.sh --model   its model is a small real one on this machine (tests/model_server.sh)
# The other examples: cmake/cell.sh release examples
set -euo pipefail
cd "$(dirname "$0")/.."

case ${1:-} in
  '' | --model) ;;
  *) sed -n '2,5s/^# \?//p' "$0" >&2; exit 2 ;;
esac
cmake/cell.sh release research
if [[ ${1:-} == --model ]]; then
  coproc tests/model_server.sh  # ends with this script, whose end its input is
  read -r _ port <&"${COPROC[0]}"
  export OPENAI_BASE_URL=http://127.0.0.1:$port/v1
fi
examples/research.sh
