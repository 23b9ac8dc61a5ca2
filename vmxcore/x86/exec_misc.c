// SPDX-License-Identifier: MIT
/*
 * Flag instructions, XLAT, NOPs and fences, and the decimal instructions of 32-bit
 * code. Undefined flags of the decimal ones: what the manual's pseudo-code leaves
 * alone stays, OF is cleared.
 */
#include "plat/atomic.h"
#include "x86/decode.h"
#include "x86/exec.h"
#include "x86/flags.h"
#include "x86/mem.h"

#define AL X86_REG(X86_RAX)
#define AH (X86_REG(X86_RAX) + 1u)
#define AX X86_REG(X86_RAX)

int64_t x86_do_nop(struct x86_cpu *cpu, const struct x86_op *op)
{
	return x86_next(cpu, op);
}

bool x86_build_nop(struct x86_insn *in, struct x86_op *op)
{
	in->transparent = true;
	op->fn = x86_do_nop;
	return true;
}

static int64_t undefined(struct x86_cpu *cpu, const struct x86_op *op)
{
	return x86_op_fault0(cpu, op, X86_UD);
}

/* UD0, UD1, UD2: #UD is what they are for. */
bool x86_build_undefined(struct x86_insn *in, struct x86_op *op)
{
	in->end = true;
	op->fn = undefined;
	return true;
}

int64_t x86_do_fence(struct x86_cpu *cpu, const struct x86_op *op)
{
	plat_mb();
	return x86_next(cpu, op);
}

/* arg: 0 CLC, 1 STC, 2 CMC */
int64_t x86_do_carry(struct x86_cpu *cpu, const struct x86_op *op)
{
	x86_fl_set_cf(cpu, op->arg == 2 ? !x86_cf(cpu) : op->arg);
	return x86_next(cpu, op);
}

/* arg: 0 CLD, 1 STD */
int64_t x86_do_direction(struct x86_cpu *cpu, const struct x86_op *op)
{
	cpu->st.rflags &= ~(uint64_t)X86_FL_DF;
	if (op->arg)
		cpu->st.rflags |= X86_FL_DF;
	return x86_next(cpu, op);
}

#define AH_FLAGS (X86_FL_SF | X86_FL_ZF | X86_FL_AF | X86_FL_PF | X86_FL_CF)

int64_t x86_do_lahf(struct x86_cpu *cpu, const struct x86_op *op)
{
	x86_set(cpu, AH, 8, (x86_fl_get(cpu) & AH_FLAGS) | 2);
	return x86_next(cpu, op);
}

int64_t x86_do_sahf(struct x86_cpu *cpu, const struct x86_op *op)
{
	uint64_t of = x86_fl_get(cpu) & X86_FL_OF;

	x86_fl_put(cpu, of | (x86_get(cpu, AH, 8) & AH_FLAGS));
	return x86_next(cpu, op);
}

int64_t x86_do_salc(struct x86_cpu *cpu, const struct x86_op *op)
{
	x86_set(cpu, AL, 8, x86_cf(cpu) ? 0xff : 0);
	return x86_next(cpu, op);
}

int64_t x86_do_xlat(struct x86_cpu *cpu, const struct x86_op *op)
{
	uint64_t offset = (cpu->st.gpr[X86_RBX] + x86_get(cpu, AL, 8)) & op->amask, va, v;
	int64_t st;

	x86_sync(cpu, op);
	st = x86_seg_linear(cpu, op->seg, offset, 1, X86_READ, &va);
	if (!st)
		st = x86_rd(cpu, op, va, 8, op->seg, &v);
	if (st)
		return st;
	x86_set(cpu, AL, 8, v);
	return x86_next(cpu, op);
}

/* BOUND: array index against a pair of signed limits in memory. */
int64_t x86_do_bound(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned bits = op->size * 8u;
	int64_t index = x86_sext(x86_get(cpu, op->dst, bits), bits), st;
	uint64_t va, low, high;

	st = x86_mem_linear(cpu, op, op->size * 2u, X86_READ, &va);
	if (!st)
		st = x86_rd(cpu, op, va, bits, op->seg, &low);
	if (!st)
		st = x86_rd(cpu, op, va + op->size, bits, op->seg, &high);
	if (st)
		return st;
	if (index < x86_sext(low, bits) || index > x86_sext(high, bits))
		return x86_op_fault0(cpu, op, X86_BR);
	return x86_next(cpu, op);
}

/* --- decimal ---------------------------------------------------------------------------- */

static void decimal_flags(struct x86_cpu *cpu, uint64_t al, bool cf, bool af)
{
	x86_fl_result(cpu, al, 8);
	x86_fl_set_co(cpu, cf, false);
	if (af)
		cpu->fl_c |= X86_C_AF;
}

/* arg: 0 DAA, 1 DAS */
int64_t x86_do_daa(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned old = (unsigned)x86_get(cpu, AL, 8), al = old;
	bool old_cf = x86_cf(cpu), cf = false, af = cpu->fl_c & X86_C_AF;

	if ((old & 15) > 9 || af) {
		cf = op->arg ? old_cf || old < 6 : old_cf || old + 6 > 0xff;
		al = op->arg ? al - 6 : al + 6;
		af = true;
	}
	if (old > 0x99 || old_cf) {
		al = op->arg ? al - 0x60 : al + 0x60;
		cf = true;
	}
	x86_set(cpu, AL, 8, al & 0xff);
	decimal_flags(cpu, al & 0xff, cf, af);
	return x86_next(cpu, op);
}

/* arg: 0 AAA, 1 AAS */
int64_t x86_do_aaa(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned ax = (unsigned)x86_get(cpu, AX, 16);
	bool adjust = (ax & 15) > 9 || (cpu->fl_c & X86_C_AF);

	if (adjust)
		ax = op->arg ? ax - 0x106 : ax + 0x106;
	ax &= 0xff0f;
	x86_set(cpu, AX, 16, ax);
	decimal_flags(cpu, ax & 0xff, adjust, adjust);
	return x86_next(cpu, op);
}

int64_t x86_do_aam(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned al = (unsigned)x86_get(cpu, AL, 8), base = op->imm & 0xff;

	if (!base)
		return x86_op_fault0(cpu, op, X86_DE);
	x86_set(cpu, AX, 16, ((al / base) << 8) | (al % base));
	decimal_flags(cpu, al % base, false, false);
	return x86_next(cpu, op);
}

int64_t x86_do_aad(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned ax = (unsigned)x86_get(cpu, AX, 16);
	unsigned al = ((ax & 0xff) + (ax >> 8) * (unsigned)(op->imm & 0xff)) & 0xff;

	x86_set(cpu, AX, 16, al);
	decimal_flags(cpu, al, false, false);
	return x86_next(cpu, op);
}
