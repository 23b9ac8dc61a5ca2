# SPDX-License-Identifier: MIT
# A real daemon, hvctl and the guests, from outside.
find_package(Python3 REQUIRED COMPONENTS Interpreter)

# hvctl_e2e(NAME TIMEOUT): e2e/hvctl_<name>.py
function(hvctl_e2e name timeout)
  add_test(NAME e2e_hvctl_${name}
    COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/hvctl_${name}.py)
  set_tests_properties(e2e_hvctl_${name} PROPERTIES LABELS e2e TIMEOUT ${timeout}
    ENVIRONMENT "HVD_BUILD=${CMAKE_BINARY_DIR}")
endfunction()

hvctl_e2e(guests 300)
hvctl_e2e(remap 300)
hvctl_e2e(space 300)
hvctl_e2e(hand 300)
hvctl_e2e(verbs 300)
hvctl_e2e(errors 300)
hvctl_e2e(demo 600)
hvctl_e2e(readme 300)
hvctl_e2e(stream 300)
hvctl_e2e(attach 300)
hvctl_e2e(live 300)

# The benchmark must run; what it measures is nobody's business here.
add_test(NAME bench_guest
  COMMAND ${Python3_EXECUTABLE} -B ${PROJECT_SOURCE_DIR}/bench/guest ${CMAKE_BINARY_DIR}
    --runs 1 --seconds 0.05)
set_tests_properties(bench_guest PROPERTIES LABELS slow TIMEOUT 300
  PASS_REGULAR_EXPRESSION "\"soft_to_native\": 0\\.[0-9]+")
