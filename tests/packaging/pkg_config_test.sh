# An installed Marathon is found by pkg-config, from a moved prefix: one g++ line a mode.
. "$(dirname "$0")/lib.sh"

cmake --install "$BUILD_DIR" --prefix "$work/first" >/dev/null
mv "$work/first" "$work/moved"
PKG_CONFIG_PATH=$(dirname "$(find "$work/moved" -name marathon.pc)")
export PKG_CONFIG_PATH

compiled=(marathon)
IFS=';' read -ra list <<<"$(components)"
for component in "${list[@]}"; do compiled+=("marathon-$component"); done
for packages in "${compiled[*]}" marathon-header_only; do
  # shellcheck disable=SC2046,SC2086
  "$CXX" -std=c++20 -O0 -o "$work/a.out" "$SOURCE_DIR/examples/hello.cc" \
    $(pkg-config --cflags --libs $packages | sed "s|-lmarathon_testing||")
  expect_readme "$work/a.out"
done
version=$(awk '/^#define MARATHON_VERSION_/ { v = v dot $3; dot = "." } END { print v }' \
  "$SOURCE_DIR/include/marathon/version.h")
[[ $(pkg-config --modversion marathon) == "$version" ]]
