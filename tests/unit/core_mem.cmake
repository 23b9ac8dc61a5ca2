# SPDX-License-Identifier: MIT
# The memory half of core, and the user-space platform.
hvd_test(test_as SOURCES unit/test_as.c unit/mem_fixture.c LIBS vmxcore_core vmxcore_plat_user
  LABELS unit TIMEOUT 600)
hvd_test(test_inval SOURCES unit/test_inval.c unit/mem_fixture.c LIBS vmxcore_core vmxcore_plat_user
  LABELS unit TIMEOUT 300)
hvd_test(test_inval_protocol SOURCES unit/test_inval_protocol.c LIBS vmxcore_core vmxcore_plat_user
  LABELS unit TIMEOUT 600)
hvd_test(test_trace SOURCES unit/test_trace.c unit/mem_fixture.c LIBS vmxcore_core vmxcore_plat_user
  LABELS unit TIMEOUT 300)
hvd_test(test_ept SOURCES unit/test_ept.c unit/mem_fixture.c LIBS vmxcore_core vmxcore_plat_user
  LABELS unit TIMEOUT 300)
hvd_test(test_walk SOURCES unit/test_walk.c unit/mem_fixture.c LIBS vmxcore_core vmxcore_plat_user
  LABELS unit TIMEOUT 300)
hvd_test(test_plat_user SOURCES unit/test_plat_user.c unit/mem_fixture.c LIBS vmxcore_core vmxcore_plat_user
  LABELS unit TIMEOUT 300)
hvd_test(test_small_exec SOURCES unit/test_small_exec.c unit/mem_fixture.c LIBS vmxcore_core vmxcore_plat_user
  LABELS unit)
hvd_test(test_as_pieces SOURCES unit/test_as_pieces.c unit/mem_fixture.c LIBS vmxcore_core vmxcore_plat_user
  LABELS unit TIMEOUT 300)
hvd_test(test_copy SOURCES unit/test_copy.c LIBS vmxcore_core vmxcore_plat_user LABELS unit)
