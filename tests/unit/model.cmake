# SPDX-License-Identifier: MIT
# hw/model, with a scripted executor in the place of x86/.
foreach(part tlb inval stale mmu vmx entry exit)
  hvd_test(test_model_${part}
    SOURCES unit/test_model_${part}.c unit/test_model_rig.c unit/test_model_x86.c
    LIBS vmxcore_model vmxcore_core vmxcore_plat_user
    LABELS unit TIMEOUT 120)
  target_include_directories(test_model_${part} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
endforeach()

hvd_test(test_model_survivors
  SOURCES unit/test_model_survivors.c unit/test_model_survivors_ops.c unit/test_model_scene.c
          unit/test_model_rig.c unit/test_model_x86.c
  LIBS vmxcore_model vmxcore_core vmxcore_plat_user
  LABELS unit TIMEOUT 120)
target_include_directories(test_model_survivors PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
