# SPDX-License-Identifier: MIT
# The benchmarks, small.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_test(NAME bench_smoke
  COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/bench_smoke.py)
set_tests_properties(bench_smoke PROPERTIES LABELS bench TIMEOUT 500
  ENVIRONMENT "HVD_BUILD=${CMAKE_BINARY_DIR}")
