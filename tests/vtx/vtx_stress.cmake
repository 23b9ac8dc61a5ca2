# SPDX-License-Identifier: MIT
# The module under stress, in a boot of its own.
add_test(NAME vtx_stress
  COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/vtx/run-stress ${PROJECT_SOURCE_DIR}
    ${CMAKE_CURRENT_BINARY_DIR}/vtx-stress ${VTX_KERNEL_DIR})
set_tests_properties(vtx_stress PROPERTIES LABELS vtx TIMEOUT 1800 SKIP_RETURN_CODE 77)

# The lengths of its ways beside KVM's: what must hold between the two.
add_test(NAME vtx_exits
  COMMAND ${PROJECT_SOURCE_DIR}/bench/exits/run ${PROJECT_SOURCE_DIR}
    ${CMAKE_CURRENT_BINARY_DIR}/vtx-exits ${VTX_KERNEL_DIR})
set_tests_properties(vtx_exits PROPERTIES LABELS vtx TIMEOUT 1800 SKIP_RETURN_CODE 77)
