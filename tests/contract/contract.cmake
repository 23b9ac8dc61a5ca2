# SPDX-License-Identifier: MIT
# The contract of engine.h as a program that takes an engine's name: every engine passes
# the same cases, but for those that need a capability it has not.
function(contract_program name)
  add_executable(${name} contract/main.c contract/harness.c contract/lifecycle.c
    contract/mapping.c contract/guest.c contract/looking.c contract/requests.c contract/space.c
    contract/hand.c contract/trace.c contract/trace_life.c contract/tracing.c contract/input.c
    contract/causes.c contract/jobs.c contract/slow_file.c contract/strict.c contract/blind.c
    contract/engines.c ${ARGN})
  target_include_directories(${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}
    ${PROJECT_SOURCE_DIR}/vmxcore)
  add_dependencies(${name} guest_echo)
  target_compile_definitions(${name} PRIVATE GUEST_ECHO="$<TARGET_FILE:guest_echo>")
  target_link_libraries(${name} PRIVATE hvd_flags vmxcore_engine PkgConfig::CMOCKA)
  target_link_options(${name} PRIVATE -Wl,--wrap=pread -Wl,--wrap=fstat
    -Wl,--wrap=engine_open -Wl,--wrap=engine_count -Wl,--wrap=engine_probe)
endfunction()

contract_program(test_engine_contract)
foreach(engine soft strict blind)
  add_test(NAME test_engine_contract_${engine} COMMAND test_engine_contract ${engine})
  set_tests_properties(test_engine_contract_${engine} PROPERTIES TIMEOUT 600 LABELS "contract")
endforeach()

# The vmx engine over the kernel module's ioctl layer in the same program (kernel/): another one,
# for there each VMX instruction is watched.
contract_program(contract_vmx contract/vmx_device.c)
target_link_libraries(contract_vmx PRIVATE fakedev)
add_test(NAME contract_vmx COMMAND contract_vmx vmx)
set_tests_properties(contract_vmx PROPERTIES TIMEOUT 1800 LABELS "contract")
