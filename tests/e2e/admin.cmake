# SPDX-License-Identifier: MIT
# Roles, the configuration, and what systemd sees.
find_package(Python3 REQUIRED COMPONENTS Interpreter)

foreach(name access config systemd pages)
  add_test(NAME e2e_admin_${name}
    COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/admin_${name}.py)
  set_tests_properties(e2e_admin_${name} PROPERTIES LABELS e2e TIMEOUT 300
    SKIP_RETURN_CODE 77 ENVIRONMENT "HVD_BUILD=${CMAKE_BINARY_DIR}")
endforeach()
