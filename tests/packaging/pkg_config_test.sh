# An installed Marathon is found by pkg-config, from a moved prefix: one g++ line a mode.
. "$(dirname "$0")/lib.sh"

cmake --install "$BUILD_DIR" --prefix "$work/first" >/dev/null
mv "$work/first" "$work/moved"
PKG_CONFIG_PATH=$(dirname "$(find "$work/moved" -name marathon.pc)")
export PKG_CONFIG_PATH

build() {  # PROGRAM SOURCE PACKAGE
  # shellcheck disable=SC2046
  "$CXX" -std=c++20 -O0 -o "$work/$1" "$2" $(pkg-config --cflags --libs "$3")
}
for package in marathon marathon-header_only; do
  build a.out "$SOURCE_DIR/examples/hello.cc" "$package"
  expect_readme "$work/a.out"
done
build_component() {
  build "$1" "$SOURCE_DIR/tests/packaging/consumer/$1.cc" "marathon-$1"
  expect_well "$work" "$1"
}
for_components build_component
version=$(awk '/^#define MARATHON_VERSION_/ { v = v dot $3; dot = "." } END { print v }' \
  "$SOURCE_DIR/include/marathon/version.h")
[[ $(pkg-config --modversion marathon) == "$version" ]]
