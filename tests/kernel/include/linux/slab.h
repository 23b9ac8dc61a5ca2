/* SPDX-License-Identifier: MIT */
/* Small memory: every block is one of the C library's, which the sanitizers watch. */
#ifndef KERNEL_SLAB_H
#define KERNEL_SLAB_H

#include <linux/kernel.h>

#define GFP_KERNEL 1u
#define GFP_KERNEL_ACCOUNT 3u

/* NULL when memory is exhausted, or when a test says so. May sleep. */
void *kmalloc(size_t size, gfp_t flags);
void *kzalloc(size_t size, gfp_t flags);
void *kcalloc(size_t count, size_t size, gfp_t flags);
void kfree(const void *ptr);

#define kvmalloc kmalloc
#define kvzalloc kzalloc
#define kvcalloc kcalloc
#define kvfree kfree

/* Overflow gives what no allocation has room for. */
static inline size_t array_size(size_t count, size_t size)
{
	size_t bytes;

	return __builtin_mul_overflow(count, size, &bytes) ? SIZE_MAX : bytes;
}

#endif
