# SPDX-License-Identifier: MIT
# The contract of engine.h as a program that takes an engine's name: every engine passes
# the same cases, but for those that need a capability it has not.
add_executable(test_engine_contract contract/main.c contract/harness.c contract/lifecycle.c
  contract/mapping.c contract/guest.c contract/looking.c contract/requests.c contract/space.c contract/hand.c
  contract/trace.c contract/trace_life.c contract/tracing.c contract/input.c contract/causes.c
  contract/jobs.c contract/slow_file.c contract/strict.c)
target_include_directories(test_engine_contract PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}
  ${PROJECT_SOURCE_DIR}/vmxcore)
add_dependencies(test_engine_contract guest_echo)
target_compile_definitions(test_engine_contract PRIVATE GUEST_ECHO="$<TARGET_FILE:guest_echo>")
target_link_libraries(test_engine_contract PRIVATE hvd_flags vmxcore_engine PkgConfig::CMOCKA)
target_link_options(test_engine_contract PRIVATE -Wl,--wrap=pread -Wl,--wrap=fstat
  -Wl,--wrap=engine_open -Wl,--wrap=engine_count -Wl,--wrap=engine_probe)
add_test(NAME test_engine_contract_soft COMMAND test_engine_contract soft)
add_test(NAME test_engine_contract_strict COMMAND test_engine_contract strict)
set_tests_properties(test_engine_contract_soft test_engine_contract_strict PROPERTIES TIMEOUT 600 LABELS "contract")
