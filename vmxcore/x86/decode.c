// SPDX-License-Identifier: MIT
/* From bytes to operations: the decoder library, the table of rows, neutral operands. */
#include "x86/decode.h"
#include "x86/decode_table.h"
#include "x86/mem.h"
#include <stdlib.h>

enum { DEC_64, DEC_COMPAT32, DEC_COMPAT16, DEC_LEGACY32, DEC_LEGACY16, DEC_COUNT };

struct x86_decoder {
	ZydisDecoder dec[DEC_COUNT];
};

static const struct {
	ZydisMachineMode mode;
	ZydisStackWidth width;
} dec_modes[DEC_COUNT] = {
	[DEC_64] = {ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64},
	[DEC_COMPAT32] = {ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32},
	[DEC_COMPAT16] = {ZYDIS_MACHINE_MODE_LONG_COMPAT_16, ZYDIS_STACK_WIDTH_16},
	[DEC_LEGACY32] = {ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32},
	[DEC_LEGACY16] = {ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16},
};

struct x86_decoder *x86_decoder_new(void)
{
	struct x86_decoder *d = calloc(1, sizeof(*d));

	for (unsigned i = 0; d && i < DEC_COUNT; i++) {
		if (!ZYAN_SUCCESS(
			    ZydisDecoderInit(&d->dec[i], dec_modes[i].mode, dec_modes[i].width))) {
			free(d);
			return NULL;
		}
	}
	return d;
}

void x86_decoder_delete(struct x86_decoder *d)
{
	free(d);
}

static unsigned dec_index(uint32_t mode)
{
	if (mode & X86_M_64)
		return DEC_64;
	if (mode & X86_M_LMA)
		return mode & X86_M_32 ? DEC_COMPAT32 : DEC_COMPAT16;
	return mode & X86_M_32 ? DEC_LEGACY32 : DEC_LEGACY16;
}

/* General registers by class: first of the class, size, first number. */
static const struct {
	ZydisRegister first, last;
	uint8_t size, number, high;
} reg_classes[] = {
	{ZYDIS_REGISTER_AL, ZYDIS_REGISTER_BL, 1, 0, 0},
	{ZYDIS_REGISTER_AH, ZYDIS_REGISTER_BH, 1, 0, 1},
	{ZYDIS_REGISTER_SPL, ZYDIS_REGISTER_R15B, 1, 4, 0},
	{ZYDIS_REGISTER_AX, ZYDIS_REGISTER_R15W, 2, 0, 0},
	{ZYDIS_REGISTER_EAX, ZYDIS_REGISTER_R15D, 4, 0, 0},
	{ZYDIS_REGISTER_RAX, ZYDIS_REGISTER_R15, 8, 0, 0},
};

static bool reg_general(ZydisRegister r, uint16_t *ret_off)
{
	for (size_t i = 0; i < VMX_ARRAY_SIZE(reg_classes); i++) {
		if (r < reg_classes[i].first || r > reg_classes[i].last)
			continue;
		*ret_off = (uint16_t)(X86_REG(r - reg_classes[i].first + reg_classes[i].number) +
				      reg_classes[i].high);
		return true;
	}
	return false;
}

static uint8_t seg_index(ZydisRegister r)
{
	if (r >= ZYDIS_REGISTER_ES && r <= ZYDIS_REGISTER_GS)
		return (uint8_t)(r - ZYDIS_REGISTER_ES);
	return X86_DS;
}

static uint64_t width_mask(unsigned size)
{
	return size >= 8 ? ~UINT64_C(0) : (UINT64_C(1) << (8 * size)) - 1;
}

/* A segment that adds nothing and checks nothing for addresses of this width. */
static bool mem_flat(const struct x86_insn *in, unsigned seg)
{
	if (seg == X86_FS || seg == X86_GS)
		return false;
	if (in->mode & X86_M_64)
		return true;
	return (in->mode & X86_M_FLAT) && in->asize == 4 && seg != X86_CS;
}

static void take_mem(const ZydisDecodedOperand *o, const ZydisDecodedInstruction *zi,
		     struct x86_insn *in, struct x86_op *op)
{
	in->has_mem = true;
	op->flags |= X86_OPF_MEM;
	op->seg = seg_index(o->mem.segment);
	op->disp = o->mem.disp.value;
	op->base = op->index = X86_REG_ZERO;
	if (o->mem.base == ZYDIS_REGISTER_RIP || o->mem.base == ZYDIS_REGISTER_EIP) {
		op->base = X86_REG_RIP_PAGE;
		op->disp += op->off + zi->length;
	} else {
		(void)reg_general(o->mem.base, &op->base);
	}
	if (o->mem.index != ZYDIS_REGISTER_NONE) {
		(void)reg_general(o->mem.index, &op->index);
		op->scale = o->mem.scale ? (uint8_t)x86_log2(o->mem.scale) : 0;
	}
	in->flat = mem_flat(in, op->seg);
	if (in->flat)
		op->flags |= X86_OPF_PLAIN;
}

static void take_reg(const ZydisDecodedOperand *o, struct x86_arg *a)
{
	ZydisRegister r = o->reg.value;

	a->kind = X86_ARG_REG;
	if (reg_general(r, &a->reg))
		return;
	if (r >= ZYDIS_REGISTER_ES && r <= ZYDIS_REGISTER_GS) {
		a->kind = X86_ARG_SEG;
		a->imm = seg_index(r);
	} else if (r >= ZYDIS_REGISTER_CR0 && r <= ZYDIS_REGISTER_CR15) {
		a->kind = X86_ARG_CR;
		a->imm = r - ZYDIS_REGISTER_CR0;
	} else if (r >= ZYDIS_REGISTER_DR0 && r <= ZYDIS_REGISTER_DR15) {
		a->kind = X86_ARG_DR;
		a->imm = r - ZYDIS_REGISTER_DR0;
	} else {
		a->kind = X86_ARG_NONE;
	}
}

static void take_operand(const ZydisDecodedOperand *o, const ZydisDecodedInstruction *zi,
			 struct x86_insn *in, struct x86_op *op)
{
	struct x86_arg *a = &in->args[in->nargs++];

	a->size = (uint8_t)(o->size / 8);
	switch (o->type) {
	case ZYDIS_OPERAND_TYPE_REGISTER:
		take_reg(o, a);
		break;
	case ZYDIS_OPERAND_TYPE_MEMORY:
		a->kind = X86_ARG_MEM;
		take_mem(o, zi, in, op);
		break;
	case ZYDIS_OPERAND_TYPE_IMMEDIATE:
		a->kind = X86_ARG_IMM;
		a->imm = o->imm.value.u;
		break;
	case ZYDIS_OPERAND_TYPE_POINTER:
		a->kind = X86_ARG_FAR;
		a->imm = o->ptr.segment;
		in->far_offset = o->ptr.offset;
		break;
	default:
		in->nargs--;
		break;
	}
}

/* Segment of an implied memory operand that a prefix can override (strings, XLAT). */
static void take_hidden_segment(const ZydisDecodedOperand *o, unsigned count, struct x86_op *op)
{
	for (unsigned i = 0; i < count; i++) {
		if (o[i].type != ZYDIS_OPERAND_TYPE_MEMORY || o[i].mem.segment == ZYDIS_REGISTER_ES)
			continue;
		op->seg = seg_index(o[i].mem.segment);
		return;
	}
	for (unsigned i = 0; i < count; i++)
		if (o[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
			op->seg = seg_index(o[i].mem.segment);
}

static void to_neutral(const ZydisDecodedInstruction *zi, const ZydisDecodedOperand *o,
		       struct x86_insn *in, struct x86_op *op)
{
	unsigned visible = zi->operand_count_visible;

	in->mnemonic = ZydisMnemonicGetString(zi->mnemonic);
	in->osize = zi->operand_width / 8;
	in->asize = zi->address_width / 8;
	in->lock = zi->attributes & ZYDIS_ATTRIB_HAS_LOCK;
	in->rep = zi->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE);
	in->repne = zi->attributes & ZYDIS_ATTRIB_HAS_REPNE;
	op->amask = width_mask(in->asize);
	op->asize = in->asize;
	op->size = in->osize;
	op->base = op->index = X86_REG_ZERO;
	op->flags = (uint8_t)((in->rep ? X86_OPF_REP : 0) | (in->repne ? X86_OPF_REPNE : 0) |
			      (in->lock ? X86_OPF_LOCK : 0));
	for (unsigned i = 0; i < visible && in->nargs < VMX_ARRAY_SIZE(in->args); i++)
		take_operand(&o[i], zi, in, op);
	if (!in->has_mem)
		take_hidden_segment(o, zi->operand_count, op);
}

static int64_t op_invalid(struct x86_cpu *cpu, const struct x86_op *op)
{
	return x86_op_fault0(cpu, op, X86_UD);
}

static int64_t op_too_long(struct x86_cpu *cpu, const struct x86_op *op)
{
	return x86_op_gp0(cpu, op);
}

/* imm is the mnemonic's number. */
static int64_t op_unimplemented(struct x86_cpu *cpu, const struct x86_op *op)
{
	x86_sync(cpu, op);
	if (cpu->ops->unimplemented)
		cpu->ops->unimplemented(cpu->env, ZydisMnemonicGetString((ZydisMnemonic)op->imm),
					cpu->st.rip);
	return x86_fault0(cpu, X86_UD);
}

/* x87 and SSE answer to CR0 before anything else. arg: 0 x87, 1 SSE, 2 WAIT. */
static int64_t op_fpu(struct x86_cpu *cpu, const struct x86_op *op)
{
	uint64_t cr0 = cpu->st.cr0;

	if (op->arg == 2) {
		if ((cr0 & X86_CR0_MP) && (cr0 & X86_CR0_TS))
			return x86_op_fault0(cpu, op, X86_NM);
		return x86_next(cpu, op);
	}
	if (op->arg == 0 && (cr0 & (X86_CR0_EM | X86_CR0_TS)))
		return x86_op_fault0(cpu, op, X86_NM);
	return op_unimplemented(cpu, op);
}

static void build_missing(const ZydisDecodedInstruction *zi, struct x86_insn *in, struct x86_op *op)
{
	op->imm = zi->mnemonic;
	op->fn = op_unimplemented;
	in->end = true;
	if (zi->meta.isa_set != ZYDIS_ISA_SET_X87 && zi->meta.isa_ext != ZYDIS_ISA_EXT_X87)
		return;
	op->fn = op_fpu;
	op->arg = zi->opcode == 0x9b ? 2 : 0;
	in->end = op->arg != 2;
}

static bool decode_failed(ZyanStatus st, unsigned avail, struct x86_op *op, struct x86_insn *in)
{
	if (st == ZYDIS_STATUS_NO_MORE_DATA && avail < X86_MAX_INSN)
		return false;
	op->fn = st == ZYDIS_STATUS_NO_MORE_DATA || st == ZYDIS_STATUS_INSTRUCTION_TOO_LONG
			 ? op_too_long
			 : op_invalid;
	op->len = 1;
	in->end = true;
	return true;
}

/*
 * Feature bits that CPUID does not show must not exist: TZCNT and LZCNT without
 * BMI1/ABM are BSF and BSR. Both are shown here, so the library's defaults hold.
 */
bool x86_decode(struct x86_decoder *d, uint32_t mode, const uint8_t *bytes, unsigned avail,
		unsigned off, struct x86_op *op, struct x86_insn *in)
{
	const ZydisDecoder *dec = &d->dec[dec_index(mode)];
	ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction zi;
	const struct x86_row *row;
	ZydisDecoderContext ctx;
	ZyanStatus st;

	memset(op, 0, sizeof(*op));
	memset(in, 0, sizeof(*in));
	op->off = (uint16_t)off;
	in->mode = mode;
	st = ZydisDecoderDecodeInstruction(dec, &ctx, bytes, avail, &zi);
	if (!ZYAN_SUCCESS(st))
		return decode_failed(st, avail, op, in);
	st = ZydisDecoderDecodeOperands(dec, &ctx, &zi, o, zi.operand_count);
	if (!ZYAN_SUCCESS(st))
		return decode_failed(st, avail, op, in);
	op->len = zi.length;
	to_neutral(&zi, o, in, op);
	row = x86_row_of(&zi);
	if (row) {
		in->row_arg = row->arg;
		in->row_fn = row->fn;
		in->end = row->end;
		op->arg = row->arg;
		if (row->build(in, op))
			return true;
	}
	build_missing(&zi, in, op);
	return true;
}

unsigned x86_form_of(const struct x86_insn *in, const struct x86_op *op)
{
	if (!in->flat)
		return X86_FORM_G;
	return op->index == X86_REG_ZERO ? X86_FORM_B : X86_FORM_F;
}

bool x86_build_misc(struct x86_insn *in, struct x86_op *op)
{
	for (unsigned i = 0; i < in->nargs; i++) {
		const struct x86_arg *a = &in->args[i];

		if (a->kind == X86_ARG_REG) {
			if (i == 0)
				op->dst = a->reg;
			else if (i == 1)
				op->src = a->reg;
			else
				op->imm = a->reg;
		} else if (a->kind == X86_ARG_IMM) {
			op->imm = a->imm;
			op->flags |= X86_OPF_IMM;
		} else if (a->kind == X86_ARG_MEM && i == 0) {
			op->flags |= X86_OPF_STORE;
		}
	}
	op->fn = in->row_fn;
	return true;
}
