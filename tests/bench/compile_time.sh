#!/usr/bin/env bash
# What a file with one workflow costs to compile, compiled mode, beside one that has the same struct in JSON
# and errors as values but no Marathon: compile_time/workflow.cc over compile_time/json.cc, in CPU time.
#   tests/bench/compile_time.sh [--rounds N] [COMPILER [FLAG…]]   g++ and clang++-19 at -O0, if not said
# They are compiled in turn, so that a machine that is busy is so for both.
set -euo pipefail
cd "$(dirname "$0")/compile_time"

rounds=5
[[ ${1:-} == --rounds ]] && { rounds=$2; shift 2; }

# The CPU seconds of compiling a file, user and system.
cpu_time() {  # FILE COMPILER FLAG…
  local TIMEFORMAT='%U %S'
  { time "${@:2}" -std=c++20 -DMARATHON_COMPILED -I ../../../include -c "$1" -o /dev/null; } 2>&1 |
    awk '{ print $1 + $2 }'
}

median() { sort -n | awk '{ a[NR] = $1 } END { print (a[int((NR + 1) / 2)] + a[int(NR / 2) + 1]) / 2 }'; }

measure() {  # COMPILER FLAG…
  local i json workflow jsons='' workflows='' ratios=''
  for ((i = 0; i < rounds; ++i)); do
    json=$(cpu_time json.cc "$@")
    workflow=$(cpu_time workflow.cc "$@")
    jsons+=$json$'\n' workflows+=$workflow$'\n'
    ratios+=$(awk "BEGIN { print $workflow / $json }")$'\n'
  done
  printf '%-20s %8.2f s %8.2f s %8.2f  (%s)\n' "$*" "$(median <<<"${jsons%$'\n'}")" \
    "$(median <<<"${workflows%$'\n'}")" "$(median <<<"${ratios%$'\n'}")" "$(tr '\n' ' ' <<<"${ratios%$'\n'}" | sed 's/ $//')"
}

printf '%-20s %10s %10s %8s\n' compiler json.cc workflow.cc ratio
if (($#)); then
  measure "$@"
else
  for compiler in g++ clang++-19; do
    command -v "$compiler" >/dev/null && measure "$compiler" -O0
  done
fi
