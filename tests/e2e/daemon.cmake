# SPDX-License-Identifier: MIT
# The raw socket of a real daemon.
find_package(Python3 REQUIRED COMPONENTS Interpreter)

foreach(name session hostile process batch subscriptions)
  add_test(NAME e2e_daemon_${name}
    COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/daemon_${name}.py)
  set_tests_properties(e2e_daemon_${name} PROPERTIES LABELS e2e TIMEOUT 300
    ENVIRONMENT "HVD_BUILD=${CMAKE_BINARY_DIR}")
endforeach()

# Many clients at once, and one that pings: "contract" has the first run under ThreadSanitizer, too.
foreach(name crowd latency)
  add_test(NAME e2e_daemon_${name}
    COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/daemon_${name}.py)
  set_tests_properties(e2e_daemon_${name} PROPERTIES LABELS e2e TIMEOUT 300
    ENVIRONMENT "HVD_BUILD=${CMAKE_BINARY_DIR}")
endforeach()
set_tests_properties(e2e_daemon_crowd PROPERTIES LABELS "e2e;contract")
# What it measures, others must not disturb.
set_tests_properties(e2e_daemon_latency PROPERTIES RUN_SERIAL TRUE)

add_test(NAME e2e_docs_engines
  COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/docs_engines.py)
set_tests_properties(e2e_docs_engines PROPERTIES LABELS e2e TIMEOUT 120
  ENVIRONMENT "HVD_BUILD=${CMAKE_BINARY_DIR}")
