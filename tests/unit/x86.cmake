# SPDX-License-Identifier: MIT
hvd_test(test_x86_native SOURCES unit/test_x86_native.c unit/x86_rig.c LIBS vmxcore_x86 LABELS unit TIMEOUT 300)
hvd_test(test_x86_core SOURCES unit/test_x86_core.c unit/x86_rig.c LIBS vmxcore_x86 LABELS unit TIMEOUT 120)
hvd_test(test_x86_event SOURCES unit/test_x86_event.c unit/x86_rig.c LIBS vmxcore_x86 LABELS unit TIMEOUT 120)
hvd_test(test_x86_native32 SOURCES unit/test_x86_native32.c unit/x86_rig.c LIBS vmxcore_x86 LABELS unit TIMEOUT 300)
