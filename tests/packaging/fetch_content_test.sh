# A project takes Marathon by FetchContent, from an archive of the sources.
. "$(dirname "$0")/lib.sh"

tar -C "$SOURCE_DIR" -czf "$work/marathon.tar.gz" CMakeLists.txt cmake include src LICENSE README.md
components=sqlite  # the others come the same way: add_subdirectory_test.sh
run_consumer -DMARATHON_ARCHIVE="$work/marathon.tar.gz" -DCMAKE_UNITY_BUILD=ON
