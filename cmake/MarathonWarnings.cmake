# Warnings are ours alone (PRIVATE): a user's compiler never sees them, a newer one cannot break a
# build by knowing more.
function(marathon_warnings target)
  if(NOT MARATHON_WARNINGS)
    return()
  endif()
  target_compile_options(${target} PRIVATE
    -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wcast-qual -Wextra-semi
    # Options are plain structs with defaults, filled by designated initialisers.
    -Wno-missing-field-initializers
    $<$<CXX_COMPILER_ID:GNU>:-Wduplicated-cond -Wlogical-op -Wsuggest-override>
    # In a unity build g++ takes our files for headers, where a name of one file would be a mistake.
    $<$<AND:$<CXX_COMPILER_ID:GNU>,$<BOOL:$<TARGET_PROPERTY:UNITY_BUILD>>>:-Wno-subobject-linkage>
    $<$<CXX_COMPILER_ID:Clang>:-Winconsistent-missing-override>)
  if(MARATHON_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()
