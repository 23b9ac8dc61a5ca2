/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Atomics and barriers for core, the same in user space and in the kernel:
 * compiler builtins, no library, no header of the host.
 *
 * Guest memory is read and written only through these (guests race by
 * nature): plat_load* / plat_store* are relaxed and never tear.
 */
#ifndef VMXCORE_PLAT_ATOMIC_H
#define VMXCORE_PLAT_ATOMIC_H

#include <vmxcore/types.h>

#if defined(__SANITIZE_THREAD__)
#define PLAT_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define PLAT_THREAD_SANITIZER 1
#endif
#endif

#define plat_load(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define plat_store(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define plat_load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define plat_store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define plat_fetch_add(p, v) __atomic_fetch_add((p), (v), __ATOMIC_RELAXED)
#define plat_fetch_and(p, v) __atomic_fetch_and((p), (v), __ATOMIC_ACQ_REL)
#define plat_fetch_or(p, v) __atomic_fetch_or((p), (v), __ATOMIC_ACQ_REL)
#define plat_exchange(p, v) __atomic_exchange_n((p), (v), __ATOMIC_ACQ_REL)
#define plat_cmpxchg(p, expected, desired)                                               \
	__atomic_compare_exchange_n((p), (expected), (desired), false, __ATOMIC_ACQ_REL, \
				    __ATOMIC_ACQUIRE)
/*
 * A store to what nobody reads yet, so that it may be one of many that are done together. A
 * processor that missed a flush may read it all the same, which tests want to see: the thread
 * sanitizer is told.
 */
#ifdef PLAT_THREAD_SANITIZER
#define plat_store_private(p, v) plat_store((p), (v))
#else
#define plat_store_private(p, v) (*(p) = (v))
#endif
/* Full barrier: orders an earlier store before a later load. */
#ifdef PLAT_THREAD_SANITIZER
/* ThreadSanitizer knows no fences; a locked instruction is one, and it knows those. */
static inline void plat_mb(void)
{
	uint32_t word = 0;

	__atomic_fetch_add(&word, 1, __ATOMIC_SEQ_CST);
}
#else
#define plat_mb() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#endif

#endif
