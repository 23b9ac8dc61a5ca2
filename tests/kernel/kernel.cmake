# SPDX-License-Identifier: MIT
# The kernel module's ioctl layer in a program: its own sources, with headers that stand in for
# the kernel's (include/), on core, on the software processor. fakedev.h is what programs call.
file(GLOB dev_src CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/vmxcore/linux/dev*.c)
set(shim_src kernel/processors.c kernel/memory.c kernel/objects.c kernel/device.c kernel/machine.c
  kernel/run.c kernel/checks.c)
# GNU's ({}), as the kernel's headers have it; and in the module its style: callbacks that don't
# need each parameter, rows without their last members, {}.
set_source_files_properties(${shim_src} PROPERTIES COMPILE_OPTIONS "-Wno-pedantic")
set_source_files_properties(${dev_src} PROPERTIES COMPILE_OPTIONS
  "-Wno-pedantic;-Wno-unused-parameter;-Wno-missing-field-initializers")
add_library(fakedev OBJECT ${dev_src} ${shim_src})
set_target_properties(fakedev PROPERTIES C_EXTENSIONS ON)
# Before the system's own <linux/...>: the order is what makes it work.
target_include_directories(fakedev BEFORE PRIVATE kernel/include)
target_include_directories(fakedev PRIVATE ${PROJECT_SOURCE_DIR}/vmxcore/linux
  PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(fakedev PRIVATE hvd_flags PUBLIC vmxcore_headers
  "$<LINK_GROUP:RESCAN,vmxcore_core,vmxcore_model>" vmxcore_x86 vmxcore_plat_user)
set(watched plat_calloc plat_free plat_page_alloc plat_page_alloc_raw plat_mutex_lock plat_rest hw_vmxon hw_vmxoff
  hw_vmptrld hw_vmclear hw_vmread hw_vmwrite hw_invept hw_invvpid hw_enter)
foreach(function ${watched})
  target_link_options(fakedev INTERFACE -Wl,--wrap=${function})
endforeach()

hvd_test(test_device SOURCES kernel/test_device.c kernel/device_rig.c LIBS fakedev LABELS unit TIMEOUT 300)
hvd_test(test_device_refusals SOURCES kernel/test_device_refusals.c kernel/device_commands.c
  kernel/device_rig.c LIBS fakedev LABELS unit TIMEOUT 120)
hvd_test(test_device_random SOURCES kernel/test_device_random.c kernel/device_random.c
  kernel/device_commands.c kernel/device_rig.c LIBS fakedev LABELS unit TIMEOUT 300)
