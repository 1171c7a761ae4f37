# Helpers for our own targets. Nothing here sets a flag for a whole directory.
include(MarathonWarnings)

# The components that exist, for the install step.
set_property(GLOBAL PROPERTY MARATHON_COMPONENTS "")

# Finds PACKAGE unless a parent project already has TARGET.
macro(marathon_find_package package target)
  if(NOT TARGET ${target})
    find_package(${package} REQUIRED)
  endif()
endmacro()

# Attaches the headers that match the globs to TARGET: x.h to the set HEADERS, which
# all_verify_interface_header_sets compiles one by one, and x-inl.h, which is only ever included by
# its x.h, to the set `bodies`, which is installed but not verified. So is detail/y.h header-only:
# where x-inl.h needs y.h and y.h needs x.h, one starts at x.h, as users do.
function(marathon_target_headers target scope globs exclude)
  set(base "${PROJECT_SOURCE_DIR}/include")
  list(TRANSFORM globs PREPEND "${PROJECT_SOURCE_DIR}/")
  set(files "")
  if(globs)
    file(GLOB_RECURSE files CONFIGURE_DEPENDS ${globs})
  endif()
  set(headers "")
  set(bodies "")
  foreach(file IN LISTS files)
    file(RELATIVE_PATH name "${base}/marathon" "${file}")
    if(exclude AND name MATCHES "${exclude}")
      continue()
    elseif(name MATCHES "-inl\\.h$" OR (scope STREQUAL "INTERFACE" AND name MATCHES "^detail/"))
      list(APPEND bodies "${file}")
    else()
      list(APPEND headers "${file}")
    endif()
  endforeach()
  target_sources(${target} ${scope}
    FILE_SET HEADERS BASE_DIRS "${base}" FILES ${headers}
    FILE_SET bodies TYPE HEADERS BASE_DIRS "${base}" FILES ${bodies})
  target_compile_features(${target} ${scope} cxx_std_20)
  set_target_properties(${target} PROPERTIES INTERFACE_HEADER_SETS_TO_VERIFY HEADERS)
endfunction()

# marathon_library(NAME [HEADERS globs] [EXCLUDE regex] SOURCES globs): the library marathon::NAME
# (target marathon_NAME; the core is plain `marathon`). Without sources there is no target, except
# for the core, which may be empty.
function(marathon_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "EXCLUDE" "HEADERS;SOURCES")
  list(TRANSFORM arg_SOURCES PREPEND "${PROJECT_SOURCE_DIR}/")
  file(GLOB sources CONFIGURE_DEPENDS ${arg_SOURCES})
  set(target marathon_${name})
  if(name STREQUAL "marathon")
    set(target marathon)
  elseif(NOT sources)
    return()
  endif()
  add_library(${target} ${sources})
  add_library(marathon::${name} ALIAS ${target})
  marathon_target_headers(${target} PUBLIC "${arg_HEADERS}" "${arg_EXCLUDE}")
  marathon_warnings(${target})
  target_compile_options(${target} PRIVATE ${MARATHON_LIBRARY_FLAGS})
  set_target_properties(${target} PROPERTIES
    EXPORT_NAME ${name}
    LINKER_LANGUAGE CXX
    VERSION ${PROJECT_VERSION}
    SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
    POSITION_INDEPENDENT_CODE ON
    UNITY_BUILD_BATCH_SIZE 10  # where a cell asks for it
    CXX_EXTENSIONS OFF
    CXX_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON)
  set_property(GLOBAL APPEND PROPERTY MARATHON_COMPONENTS ${name})
endfunction()

# marathon_header_library(NAME HEADERS globs [EXCLUDE regex]): the same with nothing to compile.
function(marathon_header_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "EXCLUDE" "HEADERS")
  add_library(marathon_${name} INTERFACE)
  add_library(marathon::${name} ALIAS marathon_${name})
  marathon_target_headers(marathon_${name} INTERFACE "${arg_HEADERS}" "${arg_EXCLUDE}")
  set_target_properties(marathon_${name} PROPERTIES
    EXPORT_NAME ${name}
    VERIFY_INTERFACE_HEADER_SETS "${MARATHON_TEST_HEADER_ONLY}")
  set_property(GLOBAL APPEND PROPERTY MARATHON_COMPONENTS ${name})
endfunction()

# marathon_executable(TARGET SOURCES... LIBRARIES...): one of our own programs (never installed).
function(marathon_executable target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LIBRARIES")
  add_executable(${target} ${arg_SOURCES})
  target_link_libraries(${target} PRIVATE ${arg_LIBRARIES})
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF UNITY_BUILD OFF)
  marathon_warnings(${target})
endfunction()
