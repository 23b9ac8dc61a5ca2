/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The three abstractions of memory as three types, and the fixed-width
 * integers for every build (user space, freestanding core, kernel module).
 *
 * gva_t  guest-virtual: what a guest's instructions name ("linear address" in
 *        the SDM).
 * gpa_t  guest-physical: what the guest's page tables produce; the input of EPT.
 * hpa_t  host-physical: what EPT produces; the machine's memory.
 *
 * They are one-member structures, so that a mix-up does not compile.
 * Arithmetic is done on .v, in the open.
 */
#ifndef VMXCORE_TYPES_H
#define VMXCORE_TYPES_H

#ifdef __KERNEL__
#include <linux/build_bug.h>
#include <linux/errno.h>
#include <linux/stddef.h>
#include <linux/string.h>
#include <linux/types.h>
#ifndef UINT64_MAX
#define UINT64_MAX (~(uint64_t)0)
#endif
#ifndef UINT32_MAX
#define UINT32_MAX (~(uint32_t)0)
#endif
#ifndef UINT64_C
#define UINT64_C(x) x##ULL
#endif
#ifndef UINT32_C
#define UINT32_C(x) x##U
#endif
/* user space's name for the same number */
#ifndef ENOTSUP
#define ENOTSUP EOPNOTSUPP
#endif
#else
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#endif

typedef struct {
	uint64_t v;
} gva_t;

typedef struct {
	uint64_t v;
} gpa_t;

typedef struct {
	uint64_t v;
} hpa_t;

#define VMX_PAGE_SHIFT 12
#define VMX_PAGE_SIZE UINT64_C(4096)
#define VMX_PAGE_MASK (~UINT64_C(4095))

#define VMX_SIZE_4K (UINT64_C(1) << 12)
#define VMX_SIZE_2M (UINT64_C(1) << 21)
#define VMX_SIZE_1G (UINT64_C(1) << 30)

static inline gva_t gva(uint64_t v)
{
	return (gva_t){v};
}

static inline gpa_t gpa(uint64_t v)
{
	return (gpa_t){v};
}

static inline hpa_t hpa(uint64_t v)
{
	return (hpa_t){v};
}

/* Guest frame number and host frame number, the field's usual terms. */
static inline uint64_t gpa_gfn(gpa_t a)
{
	return a.v >> VMX_PAGE_SHIFT;
}

static inline uint64_t hpa_pfn(hpa_t a)
{
	return a.v >> VMX_PAGE_SHIFT;
}

/* true if [start, start + size) wraps or is empty */
static inline bool vmx_range_bad(uint64_t start, uint64_t size)
{
	return size == 0 || start + (size - 1) < start;
}

#define VMX_BIT(n) (UINT64_C(1) << (n))
/* Out of line: what it keeps on the stack is not to cost its callers. */
#define VMX_NOINLINE __attribute__((__noinline__))
#define VMX_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#endif
