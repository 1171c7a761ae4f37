# As release, with the deliberate bugs that the simulator must find.
include(${CMAKE_CURRENT_LIST_DIR}/release.cmake)
set(MARATHON_MUTANTS ON CACHE BOOL "")
