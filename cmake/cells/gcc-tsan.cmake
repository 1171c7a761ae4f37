# As clang-tsan, with g++'s own code.
set(CMAKE_CXX_COMPILER g++ CACHE STRING "")
set(CMAKE_BUILD_TYPE Debug CACHE STRING "")
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1" CACHE STRING "")
# g++ says on every std::atomic_thread_fence that TSan does not model it.
set(CMAKE_CXX_FLAGS "-fsanitize=thread -fno-omit-frame-pointer -Wno-tsan" CACHE STRING "")
set(CMAKE_UNITY_BUILD ON CACHE BOOL "")
set(CMAKE_EXE_LINKER_FLAGS "-fuse-ld=gold" CACHE STRING "")
