#!/usr/bin/env bash
# Simulates clusters under seeds, each a different mix of crashes, lost messages and ambiguous commits.
#   tests/sim/run.sh --seeds N      N seeds; exit status 1 on a violation, when too little happened, or when 2,000
#                                   and more have left a public operation out
#   tests/sim/run.sh --seed S       one seed, with its trace; the same bytes every time
#   tests/sim/run.sh --mutants      proves that each deliberate bug is found within 500 seeds
# --first S begins the seeds at S. Built in build/release, for --mutants in build/mutants.
set -euo pipefail
cd "$(dirname "$0")/../.."

cell=release
for argument in "$@"; do
  [[ $argument == --mutants ]] && cell=mutants
done

mkdir -p build
if ! cmake/cell.sh "$cell" marathon_sim >"build/sim-$cell.log" 2>&1; then
  cat "build/sim-$cell.log" >&2
  exit 2
fi
exec "$(find "build/$cell" -name marathon_sim -type f -perm -u+x -print -quit)" "$@"
