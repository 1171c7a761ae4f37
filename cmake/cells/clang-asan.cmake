# Address and undefined-behaviour sanitizers, and the second compiler. -O0: tests build in half the time of -O1. The
# library has -O1: it is small beside the tests, and they run in half the time. Unity: most of a file's cost is headers
# and templates that its neighbours compile too (SQLite's eleven files: 21 s together, of CPU; one of Redis's alone: 14 s);
# clang-tidy and consumers compile each file by itself. lld, and gold for g++: a test program is linked in 1 s of CPU
# instead of 4.
set(CMAKE_CXX_COMPILER clang++-19 CACHE STRING "")
set(CMAKE_BUILD_TYPE Debug CACHE STRING "")
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g1" CACHE STRING "")
set(MARATHON_LIBRARY_FLAGS -O1 CACHE STRING "")
set(CMAKE_CXX_FLAGS
    "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer" CACHE STRING "")
set(MARATHON_WERROR ON CACHE BOOL "")
set(CMAKE_UNITY_BUILD ON CACHE BOOL "")
set(CMAKE_EXE_LINKER_FLAGS "-fuse-ld=lld" CACHE STRING "")
