# The vcpkg port fits the sources: its version, its features, the options that it sets and the files that it takes.
# vcpkg itself is not here: what its helpers would do is cut down to configuring.
. "$(dirname "$0")/lib.sh"

port=$SOURCE_DIR/cmake/vcpkg/marathon
python3 - "$port/vcpkg.json" "$SOURCE_DIR/include/marathon/version.h" "$work/features" <<'END'
import json, pathlib, re, sys
port = json.loads(pathlib.Path(sys.argv[1]).read_text())
version = ".".join(re.findall(r"#define MARATHON_VERSION_\w+ (\d+)", pathlib.Path(sys.argv[2]).read_text()))
assert port["version"] == version, f"vcpkg.json is of {port['version']}, version.h of {version}"
pathlib.Path(sys.argv[3]).write_text(";".join(port["features"]))
END

cat >"$work/port.cmake" <<'END'
cmake_minimum_required(VERSION 3.25)

function(vcpkg_check_features)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "OUT_FEATURE_OPTIONS" "FEATURES")
  set(options "")
  while(arg_FEATURES)
    list(POP_FRONT arg_FEATURES feature option)
    if(NOT feature IN_LIST FEATURES)
      message(FATAL_ERROR "portfile.cmake has a feature that vcpkg.json has not: ${feature}")
    endif()
    list(REMOVE_ITEM FEATURES ${feature})
    list(APPEND options -D${option}=ON)
  endwhile()
  if(FEATURES)
    message(FATAL_ERROR "vcpkg.json has features that portfile.cmake has not: ${FEATURES}")
  endif()
  set(${arg_OUT_FEATURE_OPTIONS} ${options} PARENT_SCOPE)
endfunction()

function(vcpkg_cmake_configure)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "SOURCE_PATH" "OPTIONS")
  execute_process(
    COMMAND ${CMAKE_COMMAND} -G Ninja -S ${arg_SOURCE_PATH} -B build -DCMAKE_CXX_COMPILER=$ENV{CXX} ${arg_OPTIONS}
    COMMAND_ERROR_IS_FATAL ANY ERROR_VARIABLE warnings)
  if(warnings MATCHES "not used by the project")
    message(FATAL_ERROR "portfile.cmake sets options that there are not: ${warnings}")
  endif()
endfunction()

function(vcpkg_cmake_install)
endfunction()

function(vcpkg_cmake_config_fixup)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "CONFIG_PATH" "")
  file(READ build/cmake_install.cmake install)
  if(NOT install MATCHES "${arg_CONFIG_PATH}/marathon-marathon.cmake")
    message(FATAL_ERROR "nothing is installed in ${arg_CONFIG_PATH}")
  endif()
endfunction()

function(vcpkg_fixup_pkgconfig)
endfunction()

function(vcpkg_install_copyright)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "" "FILE_LIST")
  file(INSTALL ${arg_FILE_LIST} DESTINATION ${CURRENT_PACKAGES_DIR}/share/${PORT})
endfunction()

set(PORT marathon)
set(CURRENT_PACKAGES_DIR ${CMAKE_CURRENT_LIST_DIR}/package)
include(${CURRENT_PORT_DIR}/portfile.cmake)
END
cd "$work"
cmake -DCURRENT_PORT_DIR="$port" -DFEATURES="$(<features)" -P port.cmake
test -s package/share/marathon/usage -a -s package/share/marathon/LICENSE
