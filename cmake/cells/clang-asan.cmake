# Address and undefined-behaviour sanitizers, and the second compiler. -O0: it builds in half the
# time of -O1.
set(CMAKE_CXX_COMPILER clang++-19 CACHE STRING "")
set(CMAKE_BUILD_TYPE Debug CACHE STRING "")
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g1" CACHE STRING "")
set(CMAKE_CXX_FLAGS
    "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer" CACHE STRING "")
set(MARATHON_WERROR ON CACHE BOOL "")
set(MARATHON_REDIS ON CACHE BOOL "")
set(MARATHON_SQS ON CACHE BOOL "")
