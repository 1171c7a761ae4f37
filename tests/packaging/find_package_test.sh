# An installed Marathon is found with its components, from a moved prefix, and has all its headers.
. "$(dirname "$0")/lib.sh"

cmake --install "$BUILD_DIR" --prefix "$work/first" >/dev/null
mv "$work/first" "$work/moved"
run_consumer -DCMAKE_PREFIX_PATH="$work/moved"

# Each alone, too: it brings what it needs, and does not live on what another has looked for.
alone() {
  cmake -G Ninja -S "$SOURCE_DIR/tests/packaging/consumer" -B "$work/$1" -DCMAKE_CXX_COMPILER="$CXX" \
    -DCOMPONENTS="$1" -DCMAKE_PREFIX_PATH="$work/moved" >/dev/null
}
for_components alone

for header in $(cd "$work/moved/include" && find . -name '*.h'); do
  cmp "$work/moved/include/$header" "$SOURCE_DIR/include/$header"
done
