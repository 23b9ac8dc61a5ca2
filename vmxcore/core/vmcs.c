// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The table of VMCS fields, and the way from an encoding to its row.
 *
 * An encoding is (width, type, index): three small numbers. So the row comes from
 * a compiler-built table of 4 x 4 x 64 bytes, with no search.
 */
#include "core/vmcs.h"

const struct vmcs_field_info vmcs_field_info[VMCS_FIELD_COUNT] = {
#define VMCS_FIELD(encoding_, NAME, name_, width_, type_, doc_) \
	{.encoding = (encoding_),                               \
	 .width = VMCS_WIDTH_##width_,                          \
	 .type = VMCS_TYPE_##type_,                             \
	 .name = (name_),                                       \
	 .doc = (doc_)},
#include "core/vmcs.def"
#undef VMCS_FIELD
};

#define INDEXES 64u		 /* more than the highest index of any width and type */
#define ENCODING_DEFINED 0x6fffu /* bit 12 and bits 31:15 are reserved */

/* "Structure of VMCS Component Encoding": bits 14:13 width, 11:10 type, 9:1 index. */
#define SLOT_OF(e) (((((e) >> 13) & 3) * 4 + (((e) >> 10) & 3)) * INDEXES + (((e) >> 1) & 0x1ff))

_Static_assert(VMCS_FIELD_COUNT < 255, "a row number plus 1 must fit a byte");
#define VMCS_FIELD(encoding, NAME, name, width, type, doc)                                   \
	_Static_assert((((encoding) >> 1) & 0x1ff) < INDEXES && ((encoding) & ~0x6ffe) == 0, \
		       "VMCS_" #NAME ": encoding out of the table");
#include "core/vmcs.def"
#undef VMCS_FIELD

/* Row number plus 1; 0: no field. */
static const uint8_t row_of[4 * 4 * INDEXES] = {
#define VMCS_FIELD(encoding, NAME, name, width, type, doc) [SLOT_OF(encoding)] = VMCS_IX_##NAME + 1,
#include "core/vmcs.def"
#undef VMCS_FIELD
};

int vmcs_field_index(uint32_t encoding, bool *ret_high)
{
	bool high = encoding & 1;
	int row;

	if (encoding & ~ENCODING_DEFINED || ((encoding >> 1) & 0x1ff) >= INDEXES)
		return -1;
	/* Only 64-bit fields have a high half. */
	if (high && ((encoding >> 13) & 3) != VMCS_WIDTH_64)
		return -1;
	row = row_of[SLOT_OF(encoding)];
	if (row == 0)
		return -1;
	*ret_high = high;
	return row - 1;
}

static bool same_text(const char *a, const char *b)
{
	while (*a != '\0' && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

int vmcs_field_by_name(const char *name)
{
	for (int i = 0; i < VMCS_FIELD_COUNT; i++) {
		if (same_text(vmcs_field_info[i].name, name))
			return i;
	}
	return -1;
}
