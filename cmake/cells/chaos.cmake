# What tests/chaos/run.sh builds: what users get, with symbols for whoever has to look at a core.
set(CMAKE_CXX_COMPILER g++ CACHE STRING "")
set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "")
set(MARATHON_WERROR ON CACHE BOOL "")
set(MARATHON_BUILD_EXAMPLES OFF CACHE BOOL "")
set(MARATHON_BUILD_BENCH OFF CACHE BOOL "")
