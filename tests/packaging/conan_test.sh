# The Conan recipe makes a package; README's program builds against it in both modes, and SQLite's. What it needs comes from
# the system, not from Conan's registry.
. "$(dirname "$0")/lib.sh"

python3 -m venv "$work/tool"
"$work/tool/bin/pip" install --quiet 'conan>=2,<3' || skip "pip could not install Conan"
conan() { "$work/tool/bin/conan" "$@"; }
export CONAN_HOME=$work/home

conan profile detect
cat >>"$CONAN_HOME/profiles/default" <<END
[conf]
tools.build:compiler_executables={"cpp": "$CXX"}
tools.cmake.cmaketoolchain:generator=Ninja
tools.cmake.cmaketoolchain:extra_variables={"CMAKE_UNITY_BUILD": "ON"}
tools.cmake.cmake_layout:test_folder=$work/test_package
END
for name in abseil:20220623.0 fmt:9.1.0 nlohmann_json:3.11.2 spdlog:1.10.0 sqlite3:3.40.1 hiredis:1.0.0 \
    openssl:3.0.0 libcurl:7.88.1 gtest:1.12.1 valijson:1.0.0; do
  conan export-pkg "$SOURCE_DIR/tests/packaging/system" --name "${name%:*}" --version "${name#*:}" \
    --output-folder "$work/system"
done
settings=(--no-remote -s compiler.cppstd=20 -s build_type=Debug)

# All components find what they need; the core and SQLite are compiled, too.
conan install "$SOURCE_DIR/cmake/conan" "${settings[@]}" --output-folder "$work/all" \
  -o "&:redis=True" -o "&:sqs=True" -o "&:agent=True" -o "&:testing=True"
cmake -G Ninja -S "$SOURCE_DIR" -B "$work/all" -DCMAKE_BUILD_TYPE=Debug \
  --toolchain "$work/all/build/conan/generators/conan_toolchain.cmake" \
  -DMARATHON_BUILD_TESTS=OFF -DMARATHON_BUILD_EXAMPLES=OFF -DMARATHON_BUILD_BENCH=OFF
conan create "$SOURCE_DIR/cmake/conan" "${settings[@]}"
for program in compiled header_only; do
  expect_readme "$(find "$work/test_package" -type f -name "$program")"
done
expect_well "$(dirname "$(find "$work/test_package" -type f -name compiled)")" sqlite
