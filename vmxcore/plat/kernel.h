/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The kernel's platform: host-physical memory is the machine's, reached through
 * the direct map; logical processors have the kernel's numbers.
 *
 * It counts what it hands out, so that an unload can show that nothing leaked.
 */
#ifndef VMXCORE_PLAT_KERNEL_H
#define VMXCORE_PLAT_KERNEL_H

#include "plat/plat.h"

/* -EINVAL cpus (1..64), -ENOMEM. May sleep. */
int plat_kernel_create(unsigned int cpus, struct plat **ret);
/* What of its pages (tables and slots) was not given back; they stay allocated. May sleep. */
uint64_t plat_kernel_destroy(struct plat *p);
/* Blocks of plat_calloc() and plat_mutex_new() that are not freed, over all machines. */
uint64_t plat_kernel_blocks_used(void);
uint64_t plat_kernel_pages_used(const struct plat *p);

#define PLAT_KERNEL_MEM_MAX (UINT64_C(64) << 30) /* bytes of one slot */

enum plat_kernel_mem {
	PLAT_KERNEL_MEM_SCATTERED, /* single pages */
	PLAT_KERNEL_MEM_HUGE_2M,   /* 2 MiB blocks where they can be had */
};

/* Zeroed memory for a slot. -EINVAL size (a multiple of 4096, at most 64 GiB), -ENOMEM. May sleep.
 */
int plat_kernel_mem_create(struct plat *p, enum plat_kernel_mem kind, uint64_t size,
			   struct plat_mem **ret);
/*
 * The calling process's memory at address, pinned for writing and for long, and counted as its
 * locked memory (RLIMIT_MEMLOCK); it outlives the mapping, and the process. -EINVAL address or size
 * (multiples of 4096, at most 64 GiB), -EPERM beyond the limit, -EFAULT it can't be pinned,
 * -EINTR the process is to die, -ENOMEM. May sleep.
 */
int plat_kernel_mem_pin(struct plat *p, uint64_t address, uint64_t size, struct plat_mem **ret);
/* Pages that are pinned now. */
uint64_t plat_kernel_pages_pinned(const struct plat *p);
/* The caller has seen to it that nothing maps it any more. May sleep. */
void plat_kernel_mem_destroy(struct plat *p, struct plat_mem *m);
/* Copies between a slot and a buffer; -ERANGE outside. */
int plat_kernel_mem_read(const struct plat_mem *m, uint64_t offset, void *buf, size_t len);
int plat_kernel_mem_write(struct plat_mem *m, uint64_t offset, const void *buf, size_t len);

#endif
