/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Guest memory, read and written by the VMM; see as.h. */
#include "core/as_internal.h"

#include "plat/copy.h"

/* The host-physical address of a, and how many bytes from there one leaf gives. */
static int locate(struct core_as *as, uint64_t a, size_t len, struct ept_place *ret_place,
		  uint64_t *ret_hpa, size_t *ret_bytes)
{
	uint64_t left;

	if (a >= as->gpa_limit)
		return -EFAULT;
	ept_find(&as->ept, a, ret_place);
	if (!ept_present(ret_place->value, false))
		return -EFAULT;
	*ret_hpa = as_leaf_hpa(ret_place, a);
	/* Pointers are good to the end of the 4 KiB page. */
	left = VMX_PAGE_SIZE - a % VMX_PAGE_SIZE;
	*ret_bytes = left < len ? (size_t)left : len;
	return 0;
}

/* Every byte of [a, a + len) is mapped. The lock is held. */
static int check_mapped(struct core_as *as, uint64_t a, size_t len)
{
	if (len != 0 && vmx_range_bad(a, len))
		return -EFAULT;
	while (len != 0) {
		struct ept_place place;
		uint64_t at;
		size_t bytes;
		int rc = locate(as, a, len, &place, &at, &bytes);

		if (rc)
			return rc;
		if (!plat_hpa_ptr(as->core->plat, hpa(at)))
			return -EFAULT;
		a += bytes;
		len -= bytes;
	}
	return 0;
}

/* As a processor's write through this leaf would ("Accessed and Dirty Flags for EPT"). */
static void mark(struct core_as *as, struct ept_place *place, uint64_t bits)
{
	if (as->ept.accessed_dirty && (place->value & bits) != bits)
		plat_fetch_or(place->entry, bits);
}

int core_guest_read(struct core_as *as, gpa_t a, void *buf, size_t len)
{
	uint8_t *to = buf;
	uint64_t from = a.v;
	int rc;

	plat_lock(&as->lock);
	rc = check_mapped(as, from, len);
	while (rc == 0 && len != 0) {
		struct ept_place place;
		uint64_t at;
		size_t bytes;

		rc = locate(as, from, len, &place, &at, &bytes);
		if (rc)
			break;
		plat_copy_from_guest(to, plat_hpa_ptr(as->core->plat, hpa(at)), bytes);
		to += bytes;
		from += bytes;
		len -= bytes;
	}
	plat_unlock(&as->lock);
	return rc;
}

int core_guest_write(struct core_as *as, gpa_t a, const void *buf, size_t len)
{
	const uint8_t *from = buf;
	uint64_t to = a.v;
	int rc;

	plat_lock(&as->lock);
	rc = check_mapped(as, to, len);
	while (rc == 0 && len != 0) {
		struct ept_place place;
		uint64_t at;
		size_t bytes;

		rc = locate(as, to, len, &place, &at, &bytes);
		if (rc)
			break;
		mark(as, &place, EPT_A | EPT_D);
		plat_copy_to_guest(plat_hpa_ptr(as->core->plat, hpa(at)), from, bytes);
		plat_mem_written(as->core->plat, hpa(at), bytes);
		from += bytes;
		to += bytes;
		len -= bytes;
	}
	plat_unlock(&as->lock);
	return rc;
}

/* --- compare and exchange ------------------------------------------------------------------ */

#define DEFINE_CMPXCHG(bits)                                                                 \
	typedef uint##bits##_t __attribute__((__may_alias__)) guest_u##bits;                 \
	static bool cmpxchg##bits(void *p, uint64_t *expected, uint64_t desired)             \
	{                                                                                    \
		uint##bits##_t old = (uint##bits##_t) * expected;                            \
		bool done = plat_cmpxchg((guest_u##bits *)p, &old, (uint##bits##_t)desired); \
                                                                                             \
		*expected = old;                                                             \
		return done;                                                                 \
	}

DEFINE_CMPXCHG(8)
DEFINE_CMPXCHG(16)
DEFINE_CMPXCHG(32)
DEFINE_CMPXCHG(64)

static bool (*const cmpxchg_by_size[9])(void *p, uint64_t *expected, uint64_t desired) = {
	[1] = cmpxchg8,
	[2] = cmpxchg16,
	[4] = cmpxchg32,
	[8] = cmpxchg64,
};

int core_guest_cmpxchg(struct core_as *as, gpa_t a, unsigned size, uint64_t *expected,
		       uint64_t desired)
{
	struct ept_place place;
	uint64_t at;
	size_t bytes;
	void *p;
	int rc;

	if (size >= VMX_ARRAY_SIZE(cmpxchg_by_size) || !cmpxchg_by_size[size] || a.v % size != 0)
		return -EINVAL;
	plat_lock(&as->lock);
	rc = locate(as, a.v, size, &place, &at, &bytes);
	p = rc == 0 ? plat_hpa_ptr(as->core->plat, hpa(at)) : NULL;
	if (!p) {
		rc = -EFAULT;
		goto out;
	}
	/* A locked compare-and-exchange writes in either case ("CMPXCHG"). */
	mark(as, &place, EPT_A | EPT_D);
	if (cmpxchg_by_size[size](p, expected, desired))
		plat_mem_written(as->core->plat, hpa(at), size);
	else
		rc = -EAGAIN;
out:
	plat_unlock(&as->lock);
	return rc;
}
