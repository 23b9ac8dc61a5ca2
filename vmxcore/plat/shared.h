/* SPDX-License-Identifier: MIT */
/* Shared mappings of this process: which memory they show, so that it can be shown elsewhere. */
#ifndef VMXCORE_PLAT_SHARED_H
#define VMXCORE_PLAT_SHARED_H

#include <vmxcore/types.h>

/*
 * Hands [address, address + size) to piece(), by the mappings that it consists of, in order.
 * All of it is looked at first: -EFAULT there is a hole, a part can't be written or lies behind
 * the end of its file, -EOPNOTSUPP a part is private. Otherwise 0, or what piece() returns if
 * that is not 0: then it ends.
 */
int plat_shared_pieces(uintptr_t address, uint64_t size,
		       int (*piece)(void *ctx, uintptr_t at, uint64_t bytes), void *ctx);

#endif
