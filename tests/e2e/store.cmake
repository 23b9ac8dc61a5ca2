# SPDX-License-Identifier: MIT
# Stored definitions: what survives a daemon, and in which state.
find_package(Python3 REQUIRED COMPONENTS Interpreter)

foreach(name lifecycle damaged space)
  add_test(NAME e2e_store_${name}
    COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/store_${name}.py)
  set_tests_properties(e2e_store_${name} PROPERTIES LABELS e2e TIMEOUT 300
    SKIP_RETURN_CODE 77 ENVIRONMENT "HVD_BUILD=${CMAKE_BINARY_DIR}")
endforeach()

# A daemon is killed so often; fewer times where a sanitizer makes each of its lives long.
set(kills 200)
if(HVD_SANITIZE)
  set(kills 25)
endif()
add_test(NAME e2e_store_kill
  COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/store_kill.py ${kills})
set_tests_properties(e2e_store_kill PROPERTIES LABELS e2e TIMEOUT 600
  ENVIRONMENT "HVD_BUILD=${CMAKE_BINARY_DIR}")
