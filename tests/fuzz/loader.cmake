# SPDX-License-Identifier: MIT
add_executable(fuzz_loader fuzz/fuzz_loader.c)
target_link_libraries(fuzz_loader PRIVATE hvd_flags vmxcore_loader)
add_test(NAME fuzz_loader COMMAND fuzz_loader 2000)
set_tests_properties(fuzz_loader PROPERTIES TIMEOUT 120 LABELS "fuzz")
