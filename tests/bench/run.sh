#!/usr/bin/env bash
# Measures the engine beside a bare loop, in a Release build; docs/performance.md explains the figures.
#   tests/bench/run.sh [--quick] [--json FILE] [--workload W] [--backend B]
# FILE gets one JSON object a line. W: one-activity sequence-10 fanout-100 timers
# signals replay-10k parked agent-stream agent-history. B: memory sqlite redis redis+sqs. Also --seconds S (of a round), --rounds N, --in-flight N,
# --threads N (of clients), --payload BYTES and --folder DIR (for databases: the disk that is measured).
set -euo pipefail
here=$PWD
cd "$(dirname "$0")/../.."

arguments=()
while (($#)); do
  case $1 in
    --json | --folder)
      [[ $# -ge 2 ]] || { echo "$1 needs a value" >&2; exit 2; }
      path=$2
      [[ $path == /* ]] || path=$here/$path
      arguments+=("$1" "$path")
      shift 2 ;;
    -h | --help) sed -n '2,7s/^# \?//p' "$0"; exit 0 ;;
    *) arguments+=("$1"); shift ;;
  esac
done

mkdir -p build
if ! cmake/cell.sh release marathon_bench >build/bench.log 2>&1; then
  cat build/bench.log >&2
  exit 2
fi
program=$(find build/release -name marathon_bench -type f -perm -u+x -print -quit)
exec "$program" --folder "$PWD/build/bench-data" "${arguments[@]}"
