# SPDX-License-Identifier: MIT
# The kernel module: it compiles, and it drives real VMX in Bochs. Both are skipped,
# loudly, where Debian's packages for them are not installed (tools/install-deps vtx).
set(VTX_KERNEL_DIR ${PROJECT_SOURCE_DIR}/build/kernel CACHE PATH
  "Where tools/install-deps has put the kernel image for the Bochs tests")

add_test(NAME vtx_module
  COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/vtx/module ${PROJECT_SOURCE_DIR}
    ${CMAKE_CURRENT_BINARY_DIR}/vtx-module ${VTX_KERNEL_DIR})
set_tests_properties(vtx_module PROPERTIES LABELS vtx TIMEOUT 600 SKIP_RETURN_CODE 77)

# From what a package would install, with dkms where there is one.
add_test(NAME vtx_dkms
  COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/vtx/dkms ${PROJECT_SOURCE_DIR}
    ${CMAKE_CURRENT_BINARY_DIR}/vtx-dkms ${VTX_KERNEL_DIR} ${PROJECT_BINARY_DIR})
set_tests_properties(vtx_dkms PROPERTIES LABELS vtx TIMEOUT 900 SKIP_RETURN_CODE 77)

# The guests are built with everything else; a sanitizer build has none to boot.
add_test(NAME vtx_boot
  COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/vtx/run ${PROJECT_SOURCE_DIR}
    ${CMAKE_CURRENT_BINARY_DIR}/vtx-boot ${VTX_KERNEL_DIR} ${PROJECT_BINARY_DIR}/guests)
set_tests_properties(vtx_boot PROPERTIES LABELS vtx TIMEOUT 1800 SKIP_RETURN_CODE 77)

# The engine over the module in Bochs: the daemon and its command line, and, in another boot, the
# contract of all engines.
add_executable(vtx_same vtx/same.c vtx/same_guests.c)
target_link_libraries(vtx_same PRIVATE hvd_flags hvd_client)
foreach(name engine contract)
  add_test(NAME vtx_${name}
    COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/vtx/run-engine ${PROJECT_SOURCE_DIR}
      ${CMAKE_CURRENT_BINARY_DIR}/vtx-${name} ${VTX_KERNEL_DIR} ${PROJECT_BINARY_DIR} ${name})
  set_tests_properties(vtx_${name} PROPERTIES LABELS vtx TIMEOUT 1800 SKIP_RETURN_CODE 77)
endforeach()
