# The developer's build and the gate's first cell. Unity, and the library with -O1: see clang-asan.
set(CMAKE_CXX_COMPILER g++ CACHE STRING "")
set(CMAKE_BUILD_TYPE Debug CACHE STRING "")
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g1" CACHE STRING "")
set(MARATHON_LIBRARY_FLAGS -O1 CACHE STRING "")
set(MARATHON_WERROR ON CACHE BOOL "")
set(CMAKE_EXE_LINKER_FLAGS "-fuse-ld=gold" CACHE STRING "")
set(CMAKE_UNITY_BUILD ON CACHE BOOL "")
