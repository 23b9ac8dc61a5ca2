# SPDX-License-Identifier: MIT
hvd_test(test_uart SOURCES unit/test_uart.c LIBS vmxcore_devices LABELS unit TIMEOUT 60)
hvd_test(test_exit_port SOURCES unit/test_exit_port.c LIBS vmxcore_devices LABELS unit TIMEOUT 60)
hvd_test(test_loader SOURCES unit/test_loader.c LIBS vmxcore_loader LABELS unit TIMEOUT 60)
