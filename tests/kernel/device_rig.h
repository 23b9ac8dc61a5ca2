/* SPDX-License-Identifier: MIT */
/* A VM of the device: RAM at guest-physical 0, memory to map in its place, vCPUs. */
#ifndef TESTS_KERNEL_DEVICE_RIG_H
#define TESTS_KERNEL_DEVICE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <vmxcore/uapi.h>

#include "kernel/fakedev.h"

#define RAM_BYTES (4u << 20)
#define SPARE_BYTES (1u << 20)
#define CODE_GPA 0x1000u
#define TEXT_GPA 0x10000u /* one page, which is remapped */
#define RIG_VCPUS 4u

enum { SLOT_RAM = 1, SLOT_SPARE = 2 };

struct rig {
	int dev, vm, vcpu[RIG_VCPUS];
	uint8_t *ram, *spare;
	uint64_t blocks; /* of the kernel's, before it was opened */
};

/* Shared memory of this process. */
uint8_t *shared_memory(size_t size);
/* RAM is mapped; no vCPU. */
void rig_open(struct rig *r, const struct fakedev_config *cfg, uint32_t vm_flags);
/* vCPU that starts at entry, 32-bit protected mode, flat, paging off. */
void rig_vcpu(struct rig *r, uint32_t index, uint32_t entry);
/* Registers as above; *s is where the ioctls find them. */
void rig_flat(int vcpu, uint32_t entry, struct vmxcore_set_regs *s);
/* Everything is closed, and nothing is left. */
void rig_close(struct rig *r);

/* An ioctl that succeeds; its result. */
int must(int fd, unsigned long request, void *arg);
/* ... that fails; its errno. */
int refused(int fd, unsigned long request, void *arg);
/* One operation; 0 or its errno. */
int change(struct rig *r, struct vmxcore_apply *a, const struct vmxcore_map_op *op);

#endif
