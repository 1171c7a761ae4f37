# A project takes Marathon by add_subdirectory; its own targets are reused, its flags left alone.
. "$(dirname "$0")/lib.sh"

run_consumer -DMARATHON_DIR="$SOURCE_DIR" -DCMAKE_UNITY_BUILD=ON  # in a third of the time
