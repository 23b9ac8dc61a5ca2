/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Basic exit reasons: one table (exits.def), every reason of the manual has a row
 * ("VMX Basic Exit Reasons"), and a row names its handler, a function of core/exit_*.c,
 * cr.c, msr.c or entry.c.
 */
#ifndef VMXCORE_CORE_EXIT_H
#define VMXCORE_CORE_EXIT_H

#include <vmxcore/types.h>

/* EXIT_REASON(number, NAME, name, handler, doc); VMX_EXIT_EPT_VIOLATION = 48 ... */
enum vmx_exit_reason {
#define EXIT_REASON(number, NAME, name, handler, doc) VMX_EXIT_##NAME = (number),
#include "core/exits.def"
#undef EXIT_REASON
};

#define VMX_EXIT_REASONS 88u /* highest known number is below */

/* "ept-violation"; NULL for a number that no row has. */
const char *core_exit_name(uint32_t basic_reason);
const char *core_exit_doc(uint32_t basic_reason);

#endif
