/* SPDX-License-Identifier: MIT */
/*
 * The user-space platform: the machine's host-physical memory as one reserved
 * arena. Host-physical address a lives at base + a. Address 0 up to
 * PLAT_USER_FIRST_HPA is never handed out, so that 0 is never a valid table.
 *
 * Thread rules: allocation and slots are protected by an internal lock; the
 * rest is read-only after plat_user_create().
 */
#ifndef VMXCORE_PLAT_USER_H
#define VMXCORE_PLAT_USER_H

#include "plat/plat.h"

#define PLAT_USER_FIRST_HPA UINT64_C(0x10000)

struct plat_user_config {
	uint64_t arena_bytes; /* reserved address space; 0: 256 GiB */
	unsigned cpus;	      /* logical processors, 1..64 */
	unsigned maxphyaddr;  /* 36..52; 0: 46. The arena must fit below it */
	bool scatter;	      /* slots are handed out as shuffled 4 KiB pages */
	uint64_t seed;	      /* of the shuffle */
	/* Called by plat_cpu_kick(); may be NULL. */
	void (*kick)(void *ctx, unsigned cpu);
	void *kick_ctx;
	/* Called by plat_mem_written(); may be NULL. */
	void (*written)(void *ctx, hpa_t addr, uint64_t size);
	void *written_ctx;
};

/* -EINVAL bad config, -ENOMEM the arena can't be reserved. */
int plat_user_create(const struct plat_user_config *cfg, struct plat **ret);
/* Every page and slot must have been freed; returns how many were not. */
size_t plat_user_destroy(struct plat *p);

uint8_t *plat_user_base(struct plat *p);
uint64_t plat_user_arena_bytes(struct plat *p);
/* Pages of files that were cut short under a slot; each reads as zeros since. */
uint64_t plat_user_pages_lost(struct plat *p);
/* Pages handed out by plat_page_alloc() and not yet freed. */
size_t plat_user_pages_used(struct plat *p);

enum plat_mem_kind {
	PLAT_MEM_ANON,	  /* zeroed anonymous memory */
	PLAT_MEM_HUGE_2M, /* anonymous, 2 MiB host pages wanted (falls back to madvise) */
	PLAT_MEM_FILE,	  /* a file or memfd, shared mapping */
};

/*
 * Memory for a slot. size is a multiple of 4096. Its host-physical start is
 * aligned to 1 GiB, 2 MiB or 4 KiB by size, unless scatter is on. For
 * PLAT_MEM_FILE, fd is used during the call only and must be at least
 * file_offset + size long. -EINVAL, -ENOMEM, -EFBIG, or what mmap says. A memfd that
 * allows sealing is sealed against shrinking; another file that is truncated while it
 * is mapped makes accesses to what it lost raise SIGBUS.
 */
int plat_mem_create(struct plat *p, enum plat_mem_kind kind, uint64_t size, int fd,
		    uint64_t file_offset, struct plat_mem **ret);
/*
 * Memory that this process has mapped already, shared and for writing: [address, address +
 * size) in one or more such mappings. It and the slot are the same pages from then on, and
 * remain so when the caller's mapping goes. What is truncated is as above. -EINVAL address
 * or size (multiples of 4096), -EFAULT not mapped, not for writing, or behind the end of its
 * file, -EOPNOTSUPP private or huge pages, -ENOMEM. Other threads leave the range alone
 * meanwhile.
 */
int plat_mem_adopt(struct plat *p, void *address, uint64_t size, struct plat_mem **ret);
/* The caller has seen to it that nothing maps it any more. */
void plat_mem_destroy(struct plat *p, struct plat_mem *m);
/* Copies between a slot and a buffer; -ERANGE outside. */
int plat_mem_read(struct plat *p, const struct plat_mem *m, uint64_t offset, void *buf, size_t len);
int plat_mem_write(struct plat *p, struct plat_mem *m, uint64_t offset, const void *buf,
		   size_t len);
/* As plat_mem_write(), but the machine is not told (cfg.written): the caller does that. */
int plat_mem_fill(struct plat *p, struct plat_mem *m, uint64_t offset, const void *buf, size_t len);
/*
 * Gives the host back what is behind [offset, offset + bytes) of the slot's memory, whole
 * pages, in the order of the arena. Anonymous memory reads as zeros from then on; a file
 * is not touched. From any thread, while nobody uses it.
 */
void plat_mem_discard(struct plat *p, struct plat_mem *m, uint64_t offset, uint64_t bytes);
/* true if the kernel gave real huge pages (PLAT_MEM_HUGE_2M). */
bool plat_mem_is_huge(const struct plat_mem *m);

#endif
