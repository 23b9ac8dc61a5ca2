/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The few VMCS fields that the entry code itself touches, for C and assembler;
 * asserted equal to core's table in vtx.c. Source: SDM volume 3, "Field Encoding
 * in VMCS".
 */
#ifndef VMXCORE_HW_VTX_FIELDS_H
#define VMXCORE_HW_VTX_FIELDS_H

#define VTX_FIELD_EXIT_REASON 0x4402
#define VTX_FIELD_EXIT_INTR_INFO 0x4404
#define VTX_FIELD_IDT_VECTORING_INFO 0x4408
#define VTX_FIELD_EXIT_INSN_LENGTH 0x440c
#define VTX_FIELD_GUEST_INTERRUPTIBILITY 0x4824
#define VTX_FIELD_GUEST_RIP 0x681e
#define VTX_FIELD_GUEST_RFLAGS 0x6820
#define VTX_FIELD_HOST_RSP 0x6c14
#define VTX_FIELD_HOST_RIP 0x6c16

/* enum hw_result's HW_FAULT_UD, as the assembler knows it */
#define VTX_RESULT_FAULT_UD 3

#endif
