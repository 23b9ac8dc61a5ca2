/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Copying between guest memory and private memory with relaxed atomics: words where
 * the guest side is aligned, bytes at the edges. An aligned word never tears, which
 * is what one processor may expect of another's aligned accesses.
 */
#ifndef VMXCORE_PLAT_COPY_H
#define VMXCORE_PLAT_COPY_H

#include "plat/atomic.h"

/* Guest memory has no declared type. */
typedef uint64_t __attribute__((__may_alias__)) plat_guest_u64;

static inline void plat_copy_from_guest(void *to, const void *from, size_t len)
{
	const uint8_t *s = from;
	uint8_t *d = to;

	while (len != 0 && ((uintptr_t)s & 7) != 0) {
		*d++ = plat_load(s++);
		len--;
	}
	for (; len >= 8; len -= 8, s += 8, d += 8) {
		uint64_t word = plat_load((const plat_guest_u64 *)(const void *)s);

		memcpy(d, &word, 8);
	}
	while (len-- != 0)
		*d++ = plat_load(s++);
}

static inline void plat_copy_to_guest(void *to, const void *from, size_t len)
{
	const uint8_t *s = from;
	uint8_t *d = to;

	while (len != 0 && ((uintptr_t)d & 7) != 0) {
		plat_store(d++, *s++);
		len--;
	}
	for (; len >= 8; len -= 8, s += 8, d += 8) {
		uint64_t word;

		memcpy(&word, s, 8);
		plat_store((plat_guest_u64 *)(void *)d, word);
	}
	while (len-- != 0)
		plat_store(d++, *s++);
}

#endif
