# SPDX-License-Identifier: MIT
# The memory half of core, and the user-space platform.
hvd_test(test_as SOURCES unit/test_as.c unit/mem_fixture.c LIBS vmxcore_core vmxcore_plat_user
  LABELS unit TIMEOUT 600)
