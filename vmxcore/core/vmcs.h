/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * VMCS fields: one table (vmcs.def) with encoding, width, type and whether it is
 * read-only. Source: SDM volume 3, "Field Encoding in VMCS".
 */
#ifndef VMXCORE_CORE_VMCS_H
#define VMXCORE_CORE_VMCS_H

#include <vmxcore/types.h>

/* Encoding: 0 access type high, 9:1 index, 11:10 type, 14:13 width. */
enum vmcs_width { VMCS_WIDTH_16, VMCS_WIDTH_64, VMCS_WIDTH_32, VMCS_WIDTH_NATURAL };
enum vmcs_type { VMCS_TYPE_CONTROL, VMCS_TYPE_READONLY, VMCS_TYPE_GUEST, VMCS_TYPE_HOST };

/* VMCS_FIELD(encoding, NAME, name, width, type, doc); VMCS_GUEST_RIP = 0x681e ... */
enum vmcs_field {
#define VMCS_FIELD(encoding, NAME, name, width, type, doc) VMCS_##NAME = (encoding),
#include "core/vmcs.def"
#undef VMCS_FIELD
};

/* A dense number for each field, in the table's order. */
enum vmcs_index {
#define VMCS_FIELD(encoding, NAME, name, width, type, doc) VMCS_IX_##NAME,
#include "core/vmcs.def"
#undef VMCS_FIELD
	VMCS_FIELD_COUNT
};

struct vmcs_field_info {
	uint32_t encoding;
	enum vmcs_width width;
	enum vmcs_type type;
	const char *name; /* "guest_rip" */
	const char *doc;
};

extern const struct vmcs_field_info vmcs_field_info[VMCS_FIELD_COUNT];

/*
 * Index of an encoding (the high half of a 64-bit field gives the same index and
 * sets *ret_high), or -1 for one that no field has. Constant time.
 */
int vmcs_field_index(uint32_t encoding, bool *ret_high);
/* Index by name, -1 if none. */
int vmcs_field_by_name(const char *name);

/* Mask of the bits that a field of this width has. */
static inline uint64_t vmcs_width_mask(enum vmcs_width w)
{
	return w == VMCS_WIDTH_16   ? UINT64_C(0xffff)
	       : w == VMCS_WIDTH_32 ? UINT64_C(0xffffffff)
				    : ~UINT64_C(0);
}

#endif
