# What examples/run.sh builds: as a user would, without our tests.
set(CMAKE_BUILD_TYPE Release CACHE STRING "")
set(MARATHON_BUILD_TESTS OFF CACHE BOOL "")
set(MARATHON_BUILD_BENCH OFF CACHE BOOL "")
