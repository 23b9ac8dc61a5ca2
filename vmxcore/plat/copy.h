/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Copying between guest memory and private memory with relaxed atomics, in the largest
 * units that the guest side's alignment allows: an aligned word of 2, 4 or 8 bytes that
 * is copied whole never tears, which is what one processor may expect of another's
 * aligned accesses.
 */
#ifndef VMXCORE_PLAT_COPY_H
#define VMXCORE_PLAT_COPY_H

#include "plat/atomic.h"

/* Guest memory has no declared type. */
typedef uint16_t __attribute__((__may_alias__)) plat_guest_u16;
typedef uint32_t __attribute__((__may_alias__)) plat_guest_u32;
typedef uint64_t __attribute__((__may_alias__)) plat_guest_u64;

/* Bytes that one access may take: a power of two, to which the address is aligned. */
static inline size_t plat_copy_unit(const void *guest, size_t len)
{
	const uintptr_t at = (uintptr_t)guest;
	size_t unit = 8;

	while (unit > len || (at & (unit - 1)) != 0)
		unit /= 2;
	return unit;
}

static inline uint64_t plat_load_unit(const void *guest, size_t unit)
{
	if (unit == 8)
		return plat_load((const plat_guest_u64 *)guest);
	if (unit == 4)
		return plat_load((const plat_guest_u32 *)guest);
	if (unit == 2)
		return plat_load((const plat_guest_u16 *)guest);
	return plat_load((const uint8_t *)guest);
}

static inline void plat_store_unit(void *guest, size_t unit, uint64_t value)
{
	if (unit == 8)
		plat_store((plat_guest_u64 *)guest, value);
	else if (unit == 4)
		plat_store((plat_guest_u32 *)guest, (uint32_t)value);
	else if (unit == 2)
		plat_store((plat_guest_u16 *)guest, (uint16_t)value);
	else
		plat_store((uint8_t *)guest, (uint8_t)value);
}

/* The value's first bytes are the unit's: x86 is little-endian. */
static inline void plat_copy_from_guest(void *to, const void *from, size_t len)
{
	const uint8_t *s = from;
	uint8_t *d = to;

	while (len != 0) {
		const size_t unit = plat_copy_unit(s, len);
		const uint64_t value = plat_load_unit(s, unit);

		memcpy(d, &value, unit);
		s += unit;
		d += unit;
		len -= unit;
	}
}

static inline void plat_copy_to_guest(void *to, const void *from, size_t len)
{
	const uint8_t *s = from;
	uint8_t *d = to;

	while (len != 0) {
		const size_t unit = plat_copy_unit(d, len);
		uint64_t value = 0;

		memcpy(&value, s, unit);
		plat_store_unit(d, unit, value);
		s += unit;
		d += unit;
		len -= unit;
	}
}

#endif
