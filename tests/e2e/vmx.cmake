# SPDX-License-Identifier: MIT
# hvd over the kernel module's ioctl layer in the same program (kernel/): where a test's daemon
# takes the engine vmx without a device. It has soft, too.
add_executable(hvd_vmx ${PROJECT_SOURCE_DIR}/hvd/main.c ${PROJECT_SOURCE_DIR}/hvd/service.c
  contract/vmx_device.c e2e/hvd_vmx.c)
target_include_directories(hvd_vmx PRIVATE ${CMAKE_CURRENT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/vmxcore)
target_link_libraries(hvd_vmx PRIVATE hvd_flags hvd_daemon vmxcore_engine fakedev PkgConfig::SYSTEMD)
