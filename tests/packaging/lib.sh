# Sourced by the packaging tests. SOURCE_DIR, BUILD_DIR and CXX come from ctest.
set -euo pipefail
: "${SOURCE_DIR:?run by ctest}" "${BUILD_DIR:?}" "${CXX:?}"

work=$BUILD_DIR/packaging/$(basename "$0" .sh)
rm -rf "$work"
mkdir -p "$work"

# Leaves the test out, where this machine lacks what it needs.
skip() {
  echo "left out: $1"
  exit 77
}

# The components that this build has, as a CMake list. A test may make it shorter.
components=''
for component in sqlite redis sqs llm agent testing; do
  [[ -f $BUILD_DIR/libmarathon_$component.a ]] && components+=${components:+;}$component
done

# Configures, builds and runs the consumer project with further cmake arguments.
run_consumer() {
  cmake -G Ninja -S "$SOURCE_DIR/tests/packaging/consumer" -B "$work/build" \
    -DCMAKE_CXX_COMPILER="$CXX" -DCOMPONENTS="$components" "$@"
  cmake --build "$work/build"
  expect_readme "$work/build/compiled"
  expect_readme "$work/build/header_only"
  for_components expect_well "$work/build"
}

# Runs the command with each component behind it.
for_components() {
  local list component
  IFS=';' read -ra list <<<"$components"
  for component in "${list[@]}"; do "$@" "$component"; done
}

# Runs the consumer's program of a component: it ends well, and in time.
expect_well() {  # FOLDER COMPONENT
  timeout 60 "$1/$2" || {
    echo "the program of $2 (tests/packaging/consumer/$2.cc) ends with $?"
    return 1
  }
}

# Runs a build of README's program: it prints what README says, and ends in time.
expect_readme() {
  timeout 30 "$1" >"$work/output"
  awk '/^```/ { if (inside) exit; inside = /^```text$/; next } inside' "$SOURCE_DIR/README.md" |
    diff -u - "$work/output"
}
