/* SPDX-License-Identifier: MIT */
/*
 * The way to /dev/vmxcore: all that the vmx engine asks the system for on behalf of guests
 * goes through one table of functions, so that something else can stand in for the kernel
 * module. Everything else (memory, threads) is this process's own.
 */
#ifndef VMXCORE_ENGINE_VMX_DEV_H
#define VMXCORE_ENGINE_VMX_DEV_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/* A thread that may run on any processor (vmx_dev_ops.bind). */
#define VMX_DEV_ANY UINT32_MAX

/*
 * Any thread may call any of them, several at a time. Results: 0 or more, or a negative
 * errno. Descriptors are numbers >= 0 of the table's own: they go back into it, and nowhere
 * else.
 */
struct vmx_dev_ops {
	/* The processor says that it has VT-x. */
	bool (*has_vmx)(void);
	/* Of the device's file: who owns it, who may open it. */
	int (*stat)(struct stat *ret);
	/* The device's descriptor. */
	int (*open)(void);
	/* As include/vmxcore/uapi.h describes it; of a VM's or vCPU's descriptor, too. What
	 * creates something returns its descriptor. */
	long (*ioctl)(int fd, unsigned long cmd, void *arg);
	/* The calling thread runs guests on this processor only from now on, VMX_DEV_ANY: on
	 * any again. -ENODEV: it may not run there, or there is no such processor. */
	int (*bind)(uint32_t processor);
	void (*close)(int fd);
};

/* The system's. */
extern const struct vmx_dev_ops vmx_dev_system;

/* The one in use; set before an engine is probed or opened, and not while one is open. */
extern const struct vmx_dev_ops *vmx_dev;

#endif
