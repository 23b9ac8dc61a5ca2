# SPDX-License-Identifier: MIT
# Programs that others write: the installed library, the examples, what the documents show.
find_package(Python3 REQUIRED COMPONENTS Interpreter)

foreach(name library examples)
  add_test(NAME e2e_client_${name}
    COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/client_${name}.py)
  set_tests_properties(e2e_client_${name} PROPERTIES LABELS e2e TIMEOUT 300
    ENVIRONMENT "HVD_BUILD=${CMAKE_BINARY_DIR}")
endforeach()
