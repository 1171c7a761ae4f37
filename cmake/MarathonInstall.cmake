# `find_package(marathon COMPONENTS sqlite testing)`: one export set a component, so that a
# component's own dependencies are looked for only when it is asked for.
include(CMakePackageConfigHelpers)

set(config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/marathon)
get_property(components GLOBAL PROPERTY MARATHON_COMPONENTS)
foreach(component IN LISTS components)
  set(target marathon_${component})
  if(component STREQUAL "marathon")
    set(target marathon)
  endif()
  install(TARGETS ${target} EXPORT marathon-${component}
    FILE_SET HEADERS FILE_SET bodies)
  install(EXPORT marathon-${component}
    NAMESPACE marathon:: DESTINATION ${config_dir} FILE marathon-${component}.cmake)
endforeach()

configure_package_config_file(
  ${CMAKE_CURRENT_LIST_DIR}/marathonConfig.cmake.in ${PROJECT_BINARY_DIR}/marathonConfig.cmake
  INSTALL_DESTINATION ${config_dir})
write_basic_package_version_file(
  ${PROJECT_BINARY_DIR}/marathonConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(
  FILES ${PROJECT_BINARY_DIR}/marathonConfig.cmake ${PROJECT_BINARY_DIR}/marathonConfigVersion.cmake
  DESTINATION ${config_dir})

# For builds without CMake: marathon.pc, marathon-sqlite.pc and so on, good wherever the prefix is moved.
set(pc_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH pc_prefix /prefix/${pc_dir} /prefix)
string(REGEX REPLACE "/$" "" pc_prefix "${pc_prefix}")
set(pc_core "absl_status absl_statusor absl_time fmt nlohmann_json")
set(pc_needs_marathon "spdlog")
set(pc_needs_sqlite "sqlite3")
set(pc_needs_redis "hiredis openssl")
set(pc_needs_net "libcurl")
set(pc_needs_sqs "marathon-net openssl")
set(pc_needs_llm "marathon-net")
set(pc_needs_agent "marathon-llm marathon-net")
set(pc_needs_testing "gtest")
foreach(component IN LISTS components)
  set(pc_name marathon-${component})
  set(pc_what ": ${component}")
  set(pc_requires "marathon = ${PROJECT_VERSION}")
  set(pc_private "${pc_needs_${component}}")
  set(pc_libs "-L\${libdir} -lmarathon_${component}")
  set(pc_cflags "")
  if(component STREQUAL "marathon")
    set(pc_name marathon)
    set(pc_what "")
    set(pc_requires "${pc_core}")
    set(pc_libs "-L\${libdir} -lmarathon -pthread")
    set(pc_cflags "-I\${includedir} -DMARATHON_COMPILED")
  elseif(component STREQUAL "header_only")
    set(pc_requires "${pc_core}")
    set(pc_libs "-pthread")
    set(pc_cflags "-I\${includedir}")
  endif()
  if(NOT BUILD_SHARED_LIBS)  # an archive names no libraries that it needs
    string(STRIP "${pc_requires} ${pc_private}" pc_requires)
    set(pc_private "")
  endif()
  configure_file(${CMAKE_CURRENT_LIST_DIR}/marathon.pc.in ${PROJECT_BINARY_DIR}/${pc_name}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${pc_name}.pc DESTINATION ${pc_dir})
endforeach()
