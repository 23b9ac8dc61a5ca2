/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * /dev/vmxcore, inside: what stands behind the descriptors of include/vmxcore/uapi.h.
 *
 * Ownership: a VM's descriptor and each of its vCPUs' hold the VM; the last of them takes it
 * down. A VM holds the machine: processors are in VMX operation as long as there is one.
 */
#ifndef VMXCORE_LINUX_DEV_H
#define VMXCORE_LINUX_DEV_H

#include <linux/kref.h>
#include <linux/mutex.h>
#include <linux/xarray.h>
#include <vmxcore/uapi.h>

#include "core/as.h"
#include "core/vcpu.h"
#include "run.h"

#define DEV_MAX_VCPUS 64u
#define DEV_MAX_SLOTS 1024u
#define DEV_MAX_RANGES 4096u
#define DEV_MAX_TRACE_READ 4096u
#define DEV_MAX_DATA (1u << 20)
#define DEV_MAX_DIRTY_BYTES (UINT64_C(32) << 30)

struct dev_vm {
	struct kref refs;
	struct mutex lock;    /* of what follows, and of changes of mappings */
	struct mm_struct *mm; /* of the process that made it */
	struct core_vm *core;
	struct xarray slots; /* struct core_slot, by number */
	unsigned int slot_count;
	struct dev_vcpu *vcpus[DEV_MAX_VCPUS];
};

struct dev_vcpu {
	struct dev_vm *vm; /* held */
	struct mutex lock; /* one user at a time: of registers, and of running */
	struct core_vcpu *core;
	struct runner *runner;
	bool io_pending; /* the last run ended with an IN or OUT to be completed */
};

/*
 * An ioctl: its argument is copied in and out by its direction and size; arg is zeroed
 * where nothing is copied in. Its result is the ioctl's.
 */
struct dev_ioctl {
	unsigned int cmd;
	long (*fn)(void *object, void *arg);
	bool out_on_error; /* copied out on errors, too */
};

long dev_ioctl(const struct dev_ioctl *rows, size_t count, void *object, unsigned int cmd,
	       unsigned long arg);

/* A new VM's descriptor, or a negative errno. */
long dev_vm_create(const struct vmxcore_create_vm *c);
void dev_vm_put(struct dev_vm *vm);
/* VMs that exist. */
unsigned int dev_vm_count(void);
/* The caller is the process that made it. */
bool dev_vm_is_mine(const struct dev_vm *vm);
/* A processor's pool of VPIDs, also while it hands them out. */
struct dev_pool {
	u64 generation;
	u32 left, limit;
};

void dev_pool_read(const struct core_cpu *cpu, struct dev_pool *ret);
/* Bit n: the processors offer kind n of struct vmxcore_invalidate. */
u32 dev_invalidations(const struct core_caps *caps);
/* The core_cpu of the processor that the caller can't leave now; NULL: none, offline. */
struct core_cpu *dev_this_cpu(void);

long dev_vcpu_create(struct dev_vm *vm, const struct vmxcore_create_vcpu *c);

int dev_init(void);
void dev_exit(void);

#endif
