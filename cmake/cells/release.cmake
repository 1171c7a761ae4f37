# What users get: the simulator's seeds, chaos, the examples and the benchmarks run here, over one
# build of the library. -g1: a core's stack has lines. Unity: see clang-asan.
set(CMAKE_CXX_COMPILER g++ CACHE STRING "")
set(CMAKE_BUILD_TYPE Release CACHE STRING "")
set(CMAKE_CXX_FLAGS_RELEASE "-O3 -DNDEBUG -g1" CACHE STRING "")
set(CMAKE_UNITY_BUILD ON CACHE BOOL "")
set(CMAKE_EXE_LINKER_FLAGS "-fuse-ld=gold" CACHE STRING "")
