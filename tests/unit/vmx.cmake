# SPDX-License-Identifier: MIT
# The vmx engine, over a device that is a fake.
hvd_test(test_vmx SOURCES unit/test_vmx.c unit/fake_device.c LIBS vmxcore_engine vmxcore_headers
  LABELS unit TIMEOUT 120)
