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
