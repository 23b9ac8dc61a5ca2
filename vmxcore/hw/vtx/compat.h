/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What has changed among the kernels that the module is for: 6.1 and later. The code uses
 * the newer names; this maps them where they don't exist yet.
 */
#ifndef VMXCORE_HW_VTX_COMPAT_H
#define VMXCORE_HW_VTX_COMPAT_H

#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
#error "vmxcore is for Linux 6.1 and later"
#endif

/* 6.16: the MSR accessors' names tell the width. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 16, 0)
#define rdmsrq(msr, value) rdmsrl(msr, value)
#define wrmsrq(msr, value) wrmsrl(msr, value)
#define rdmsrq_safe(msr, value) rdmsrl_safe(msr, value)
#define wrmsrq_safe(msr, value) wrmsrl_safe(msr, value)
#define native_wrmsrq(msr, value) native_wrmsrl(msr, value)
#endif

/*
 * 6.9: with FRED the IDT is not used, and INT 2 is no way to the handler of NMIs.
 * 6.6: kexec and a panic leave VMX operation by a callback, not by themselves.
 */
#define VMXCORE_HAVE_FRED (LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0))
#define VMXCORE_HAVE_EMERGENCY_CALLBACK (LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0))

#endif
