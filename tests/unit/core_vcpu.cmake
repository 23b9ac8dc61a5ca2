# SPDX-License-Identifier: MIT
# The processor half of core, alone, over a processor that is a fake.
foreach(t vmcs exit)
  hvd_test(test_${t} SOURCES unit/test_${t}.c unit/fake_vmx.c LIBS vmxcore_core vmxcore_plat_user
    LABELS unit TIMEOUT 60)
endforeach()
foreach(t core_online vpid)
  hvd_test(test_${t} SOURCES unit/test_${t}.c unit/fake_vmx.c LIBS vmxcore_core vmxcore_plat_user
    LABELS unit TIMEOUT 300)
endforeach()
foreach(t vcpu vcpu_exits regs)
  hvd_test(test_${t} SOURCES unit/test_${t}.c unit/vcpu_rig.c unit/fake_vmx.c
    LIBS vmxcore_core vmxcore_plat_user LABELS unit TIMEOUT 300)
endforeach()
add_test(NAME core_symbols
  COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/unit/core_symbols.sh ${CMAKE_NM} $<TARGET_FILE:vmxcore_core>)
set_tests_properties(core_symbols PROPERTIES LABELS unit TIMEOUT 60)
# core on the software processor
hvd_test(test_crowd_model SOURCES unit/test_crowd_model.c
  LIBS "$<LINK_GROUP:RESCAN,vmxcore_core,vmxcore_model>" vmxcore_x86 vmxcore_plat_user
  LABELS unit TIMEOUT 900)
