# An installed Marathon is found with its components, from a moved prefix, and has all its headers.
. "$(dirname "$0")/lib.sh"

cmake --install "$BUILD_DIR" --prefix "$work/first" >/dev/null
mv "$work/first" "$work/moved"
run_consumer -DCMAKE_PREFIX_PATH="$work/moved"

for header in $(cd "$work/moved/include" && find . -name '*.h'); do
  cmp "$work/moved/include/$header" "$SOURCE_DIR/include/$header"
done
