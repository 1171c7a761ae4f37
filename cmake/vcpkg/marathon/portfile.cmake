# The port of the sources that it lies in: vcpkg install marathon --overlay-ports=cmake/vcpkg
cmake_path(SET SOURCE_PATH NORMALIZE "${CURRENT_PORT_DIR}/../../..")

vcpkg_check_features(OUT_FEATURE_OPTIONS components
  FEATURES
    agent MARATHON_AGENT
    llm MARATHON_LLM
    redis MARATHON_REDIS
    sqlite MARATHON_SQLITE
    sqs MARATHON_SQS
    testing MARATHON_TESTING)
vcpkg_cmake_configure(
  SOURCE_PATH "${SOURCE_PATH}"
  OPTIONS
    ${components}
    -DMARATHON_BUILD_TESTS=OFF
    -DMARATHON_BUILD_EXAMPLES=OFF
    -DMARATHON_BUILD_BENCH=OFF
    -DMARATHON_WARNINGS=OFF)
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(CONFIG_PATH lib/cmake/marathon)
vcpkg_fixup_pkgconfig()

file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/debug/include")
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")
file(INSTALL "${CMAKE_CURRENT_LIST_DIR}/usage" DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}")
