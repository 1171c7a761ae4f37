#!/usr/bin/env bash
# Builds and runs the tests, on a machine with nothing installed (Debian 12, root or sudo).
#   tests/run.sh              the gate: what CI runs, with one further cell chosen by the commit count
#   tests/run.sh --quick      the developer's loop: g++ Debug
#   tests/run.sh --cell NAME  one cell (see `cells` below); may be repeated
#   tests/run.sh --full       every cell
# A cell is one way to build and test, in build/<cell>. Exit status 1 when anything failed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2

always=(gcc-debug clang-asan clang-tsan sim chaos examples)
chaos_backends=(sqlite redis redis+sqs)  # a minute of one, chosen by the commit count
rotating=(gcc-asan gcc-tsan fuzz clang-tidy header-only consumers)
seldom=(model)  # only when asked for, and with --full: it brings 400 MB

export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=suppressions=$PWD/tests/tsan.supp:halt_on_error=1:second_deadlock_stack=1
export ASAN_SYMBOLIZER_PATH=/usr/lib/llvm-19/bin/llvm-symbolizer
export TSAN_SYMBOLIZER_PATH=$ASAN_SYMBOLIZER_PATH

build() { cmake/cell.sh "$@"; }

# Runs ctest in a build, and keeps its output for the table at the end. One more at a time than there are cores: many
# wait for a server or for a moment.
run_ctest() {  # BUILD ARGS...
  tested=$1
  "${prefix[@]}" ctest --test-dir "build/$1" --parallel $(($(nproc) + 1)) --output-on-failure \
    --no-tests=error "${@:2}" | tee "$log"
}

# How many tests ctest ran: those in its programs, and its own that are none of GoogleTest's.
count_tests() {  # LOG OF run_ctest
  local programs
  programs=$(sed -n 's/.*tests failed out of \([0-9]*\)$/\1/p' "$1" 2>/dev/null)
  [[ -n $programs ]] || return 0
  sed -n 's/^\[==========\] \([0-9]*\) tests\? from .* ran\..*/\1/p' \
    "build/$tested/Testing/Temporary/LastTest.log" | awk -v n="$programs" '{ n += $1 - 1 } END { print n }'
}

# Runs a script that another part of the project brings; a missing one is reported, not failed.
run_script() { if [[ -x $1 ]]; then "$@"; else result=absent; fi; }

# A minute of each fuzz program. What it finds worth keeping stays in build/fuzz/corpus.
run_fuzz() {
  build fuzz tests_fuzz || return
  local program name status=0
  result=absent
  for program in build/fuzz/tests/fuzz_*; do
    [[ -x $program ]] || continue
    result=passed
    name=${program##*/fuzz_}
    mkdir -p "build/fuzz/corpus/$name"
    "$program" -max_total_time=60 -timeout=10 -print_final_stats=1 -verbosity=0 \
      -artifact_prefix="build/fuzz/$name-" \
      "build/fuzz/corpus/$name" $(ls -d "tests/fuzz/corpus/$name" 2>/dev/null) || status=1
  done
  return $status
}

run_cell() {
  local prefix=()
  case $1 in
    gcc-debug) build gcc-debug && run_ctest gcc-debug -LE '^(packaging|model)$' ;;
    clang-asan | gcc-asan) build "$1" tests_all examples && run_ctest "$1" -LE '^(packaging|model)$' ;;
    clang-tsan | gcc-tsan)
      # The kernel randomises addresses further than the thread sanitizers' shadow allows.
      setarch -R true 2>/dev/null && prefix=(setarch -R)
      build "$1" tests_threads && run_ctest "$1" -L '^threads$' ;;
    sim) run_script tests/sim/run.sh --seeds 2000 && run_script tests/sim/run.sh --mutants ;;
    chaos) run_script tests/chaos/run.sh --backend "${chaos_backends[commits / ${#rotating[@]} % ${#chaos_backends[@]}]}" ;;
    examples) examples/run.sh && examples/fleet.sh ;;
    header-only) build header-only tests_threads all_verify_interface_header_sets &&
                 run_ctest header-only -L '^threads$' ;;
    model) tests/model_server.sh --install-only && build release model_agent && run_ctest release -L '^model$' &&
           examples/run.sh --model ;;
    consumers) build gcc-debug tests_packaging && run_ctest gcc-debug -L '^packaging$' ;;
    fuzz) run_fuzz ;;
    clang-tidy) build clang-tidy help >/dev/null &&
                run-clang-tidy-19 -quiet -p build/clang-tidy "^$PWD/(src|examples)/" ;;
    *) echo "tests/run.sh: no cell '$1'. Cells: ${always[*]} ${rotating[*]} ${seldom[*]}" >&2; return 2 ;;
  esac
}

commits=$(git rev-list --count HEAD 2>/dev/null || echo 0)
cells=()
case ${1:-} in
  '') cells=("${always[@]}" "${rotating[commits % ${#rotating[@]}]}") ;;
  --quick) cells=(gcc-debug) ;;
  --full) cells=("${always[@]}" "${rotating[@]}" "${seldom[@]}") ;;
  --cell) while [[ ${1:-} == --cell ]]; do cells+=("${2:-}"); shift; shift; done ;;
  *) sed -n '2,7s/^# \?//p' "$0" >&2; exit 2 ;;
esac

mkdir -p build
failed=()
failures=''
table=''
for cell in "${cells[@]}"; do
  printf '\n== %s\n' "$cell"
  begin=$SECONDS
  log=build/$cell.log
  rm -f "$log"
  result=passed
  run_cell "$cell" || {
    result=FAILED
    failed+=("$cell")
    # Named again at the end: of a long log, people see the end.
    failures+=$(sed -n "/tests FAILED:/,/^$/s/^\t */$cell: /p
                        s/^\[  FAILED  \] \([^ ,]*\).*ms)$/$cell: \1/p" "$log" 2>/dev/null)$'\n'
  }
  tests=$(count_tests "$log")
  table+=$(printf '%-12s %-7s %6s %6d s' "$cell" "$result" "${tests:--}" $((SECONDS - begin)))$'\n'
done

printf '\n== cells\n%-12s %-7s %6s %8s\n%s\n' cell result tests time "$table"
((${#failed[@]})) && printf 'FAILED: %s\n%s' "${failed[*]}" "$failures"
sed -n '/tests passed/,$p' "build/${cells[0]}.log" 2>/dev/null  # ctest's summary
((${#failed[@]} == 0))
