/* SPDX-License-Identifier: MIT */
/* One row an instruction: who builds its operation. */
#ifndef VMXCORE_X86_DECODE_TABLE_H
#define VMXCORE_X86_DECODE_TABLE_H

#include "x86/decode.h"
#include <Zydis/Zydis.h>

struct x86_row {
	x86_build build;
	x86_fn fn; /* of x86_build_misc() */
	uint8_t arg;
	bool end; /* the block ends behind it */
};

/* NULL: not implemented. */
const struct x86_row *x86_row_of(const ZydisDecodedInstruction *zi);

#endif
