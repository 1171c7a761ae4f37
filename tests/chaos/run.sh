#!/usr/bin/env bash
# Real processes and real kills: workflows of which the right answers are known, on workers that are
# killed, paused and restarted, over servers that are killed and connections that are cut.
#   tests/chaos/run.sh --backend sqlite|redis|redis+sqs [--seconds N] [--seed S]     60 s, and a new seed
# Exit status 1 on a violation, or when too little happened. docs/testing.md explains the last line.
# Built in build/release.
set -euo pipefail
cd "$(dirname "$0")/../.."

arguments=("$@")
[[ " $* " == *" --seconds "* ]] || arguments+=(--seconds 60)
[[ " $* " == *" --seed "* ]] || arguments+=(--seed "$RANDOM")

mkdir -p build
if ! cmake/cell.sh release marathon_chaos >build/chaos.build.log 2>&1; then
  cat build/chaos.build.log >&2
  exit 2
fi
[[ " $* " != *+sqs* ]] || tests/sqs_server.sh --install-only
exec build/release/tests/marathon_chaos "${arguments[@]}"
