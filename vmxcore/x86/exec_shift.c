// SPDX-License-Identifier: MIT
/*
 * Shifts and rotates. Where the manual leaves a flag undefined: OF after a count
 * other than 1 follows the rule for 1 applied to the last step; AF is cleared by
 * shifts and kept by rotates; CF of an 8 or 16-bit SHL/SHR beyond the operand is 0.
 */
#include "x86/decode.h"
#include "x86/exec.h"
#include "x86/flags.h"
#include "x86/mem.h"

X86_INLINE unsigned shift_count(uint64_t count, unsigned bits)
{
	return (unsigned)count & (bits == 64 ? 63 : 31);
}

/* count is masked and not 0. */
X86_INLINE uint64_t do_shl(struct x86_cpu *cpu, uint64_t a, unsigned count, unsigned bits)
{
	uint64_t r = (a << count) & x86_mask(bits);
	bool cf = count <= bits && ((a >> (bits - count)) & 1);

	x86_fl_result(cpu, r, bits);
	x86_fl_set_co(cpu, cf, ((r >> (bits - 1)) & 1) ^ cf);
	return r;
}

X86_INLINE uint64_t do_shr(struct x86_cpu *cpu, uint64_t a, unsigned count, unsigned bits)
{
	uint64_t r = a >> count;

	x86_fl_result(cpu, r, bits);
	x86_fl_set_co(cpu, (a >> (count - 1)) & 1, ((r >> (bits - 1)) ^ (r >> (bits - 2))) & 1);
	return r;
}

X86_INLINE uint64_t do_sar(struct x86_cpu *cpu, uint64_t a, unsigned count, unsigned bits)
{
	int64_t s = x86_sext(a, bits);
	uint64_t r = (uint64_t)(s >> count) & x86_mask(bits);

	x86_fl_result(cpu, r, bits);
	x86_fl_set_co(cpu, (s >> (count - 1)) & 1, false);
	return r;
}

static uint64_t do_rol(struct x86_cpu *cpu, uint64_t a, unsigned count, unsigned bits)
{
	unsigned n = count % bits;
	uint64_t r = n ? ((a << n) | (a >> (bits - n))) & x86_mask(bits) : a;

	x86_fl_set_cf(cpu, r & 1);
	x86_fl_set_of(cpu, ((r >> (bits - 1)) ^ r) & 1);
	return r;
}

static uint64_t do_ror(struct x86_cpu *cpu, uint64_t a, unsigned count, unsigned bits)
{
	unsigned n = count % bits;
	uint64_t r = n ? ((a >> n) | (a << (bits - n))) & x86_mask(bits) : a;

	x86_fl_set_cf(cpu, (r >> (bits - 1)) & 1);
	x86_fl_set_of(cpu, ((r >> (bits - 1)) ^ (r >> (bits - 2))) & 1);
	return r;
}

/* Rotates through CF turn bits + 1 places. */
static uint64_t do_rcl(struct x86_cpu *cpu, uint64_t a, unsigned count, unsigned bits)
{
	bool cf = x86_cf(cpu);
	uint64_t r = a;

	count %= bits + 1;
	for (unsigned i = 0; i < count; i++) {
		bool out = (r >> (bits - 1)) & 1;

		r = ((r << 1) | cf) & x86_mask(bits);
		cf = out;
	}
	x86_fl_set_cf(cpu, cf);
	x86_fl_set_of(cpu, ((r >> (bits - 1)) & 1) ^ cf);
	return r;
}

static uint64_t do_rcr(struct x86_cpu *cpu, uint64_t a, unsigned count, unsigned bits)
{
	bool cf = x86_cf(cpu);
	uint64_t r = a;

	count %= bits + 1;
	for (unsigned i = 0; i < count; i++) {
		bool out = r & 1;

		r = (r >> 1) | ((uint64_t)cf << (bits - 1));
		cf = out;
	}
	x86_fl_set_cf(cpu, cf);
	x86_fl_set_of(cpu, ((r >> (bits - 1)) ^ (r >> (bits - 2))) & 1);
	return r;
}

X86_INLINE uint64_t do_shift(struct x86_cpu *cpu, unsigned k, uint64_t a, unsigned count,
			     unsigned bits)
{
	if (!count)
		return a;
	switch (k) {
	case X86_SH_SHL:
		return do_shl(cpu, a, count, bits);
	case X86_SH_SHR:
		return do_shr(cpu, a, count, bits);
	case X86_SH_SAR:
		return do_sar(cpu, a, count, bits);
	case X86_SH_ROL:
		return do_rol(cpu, a, count, bits);
	case X86_SH_ROR:
		return do_ror(cpu, a, count, bits);
	case X86_SH_RCL:
		return do_rcl(cpu, a, count, bits);
	default:
		return do_rcr(cpu, a, count, bits);
	}
}

static uint64_t shift_modify(struct x86_cpu *cpu, const struct x86_op *op, uint64_t old,
			     unsigned bits)
{
	uint64_t count = op->flags & X86_OPF_IMM ? op->imm : x86_get(cpu, op->src, 8);

	return do_shift(cpu, op->arg, old, shift_count(count, bits), bits);
}

static int64_t shift_any(struct x86_cpu *cpu, const struct x86_op *op)
{
	int64_t st = x86_rm_modify(cpu, op, shift_modify);

	return st ? st : x86_next(cpu, op);
}

/* Registers of 32 and 64 bits; imm is masked and not 0. */
#define SHIFT_RI(K, BITS)                                                                         \
	static int64_t shift_ri_##K##_##BITS(struct x86_cpu *cpu, const struct x86_op *op)        \
	{                                                                                         \
		x86_set(cpu, op->dst, BITS,                                                       \
			do_shift(cpu, X86_SH_##K, x86_get(cpu, op->dst, BITS), (unsigned)op->imm, \
				 BITS));                                                          \
		return x86_next(cpu, op);                                                         \
	}                                                                                         \
	static int64_t shift_rc_##K##_##BITS(struct x86_cpu *cpu, const struct x86_op *op)        \
	{                                                                                         \
		unsigned count = shift_count(x86_get(cpu, op->src, 8), BITS);                     \
                                                                                                  \
		x86_set(cpu, op->dst, BITS,                                                       \
			do_shift(cpu, X86_SH_##K, x86_get(cpu, op->dst, BITS), count, BITS));     \
		return x86_next(cpu, op);                                                         \
	}
#define SHIFT_SIZES(K) SHIFT_RI(K, 32) SHIFT_RI(K, 64)

SHIFT_SIZES(SHL)
SHIFT_SIZES(SHR)
SHIFT_SIZES(SAR)
SHIFT_SIZES(ROL)
SHIFT_SIZES(ROR)

#define SHIFT_ROW(K)                                            \
	[X86_SH_##K] = {{shift_ri_##K##_32, shift_rc_##K##_32}, \
			{shift_ri_##K##_64, shift_rc_##K##_64}}
static const x86_fn shift_rows[X86_SH_COUNT][2][2] = {
	SHIFT_ROW(SHL), SHIFT_ROW(SHR), SHIFT_ROW(SAR), SHIFT_ROW(ROL), SHIFT_ROW(ROR),
};

#define SHIFT_NF(NAME, BITS, EXPR)                                                            \
	static int64_t shift_nf_##NAME##_##BITS(struct x86_cpu *cpu, const struct x86_op *op) \
	{                                                                                     \
		uint64_t a = x86_get(cpu, op->dst, BITS);                                     \
                                                                                              \
		x86_set(cpu, op->dst, BITS, (uint64_t)(EXPR));                                \
		return x86_next(cpu, op);                                                     \
	}

SHIFT_NF(SHL, 32, a << op->imm)
SHIFT_NF(SHL, 64, a << op->imm)
SHIFT_NF(SHR, 32, a >> op->imm)
SHIFT_NF(SHR, 64, a >> op->imm)
SHIFT_NF(SAR, 32, x86_sext(a, 32) >> op->imm)
SHIFT_NF(SAR, 64, x86_sext(a, 64) >> op->imm)

static const x86_fn shift_nf_rows[X86_SH_COUNT][2] = {
	[X86_SH_SHL] = {shift_nf_SHL_32, shift_nf_SHL_64},
	[X86_SH_SHR] = {shift_nf_SHR_32, shift_nf_SHR_64},
	[X86_SH_SAR] = {shift_nf_SAR_32, shift_nf_SAR_64},
};

static int64_t shift_none(struct x86_cpu *cpu, const struct x86_op *op)
{
	/* A count of 0 still writes the register: the upper half goes. */
	x86_set(cpu, op->dst, op->size * 8u, x86_get(cpu, op->dst, op->size * 8u));
	return x86_next(cpu, op);
}

bool x86_build_shift(struct x86_insn *in, struct x86_op *op)
{
	unsigned size = in->args[0].size, k = in->row_arg;
	bool imm = in->args[1].kind == X86_ARG_IMM;
	x86_fn fast;

	op->size = (uint8_t)size;
	op->dst = in->args[0].reg;
	op->src = in->args[1].reg;
	if (imm) {
		op->imm = shift_count(in->args[1].imm, size * 8);
		op->flags |= X86_OPF_IMM;
	}
	op->fn = shift_any;
	if (in->has_mem)
		return true;
	if (imm && !op->imm) {
		op->fn = shift_none;
		in->transparent = true;
		return true;
	}
	fast = size >= 4 ? shift_rows[k][size == 8][!imm] : NULL;
	if (fast)
		op->fn = fast;
	if (imm && k >= X86_SH_SHL) {
		in->sets_flags = true;
		in->no_flags = size >= 4 ? shift_nf_rows[k][size == 8] : NULL;
	}
	return true;
}

/* --- SHLD, SHRD ---------------------------------------------------------------------------- */

static unsigned double_count(struct x86_cpu *cpu, const struct x86_op *op, unsigned bits)
{
	return shift_count(op->flags & X86_OPF_IMM ? op->imm : x86_get(cpu, X86_REG(X86_RCX), 8),
			   bits);
}

/* A 16-bit operand shifted by more than 16 takes bits of dst, src, dst (as processors do). */
static uint64_t shld_modify(struct x86_cpu *cpu, const struct x86_op *op, uint64_t old,
			    unsigned bits)
{
	unsigned n = double_count(cpu, op, bits);
	uint64_t src = x86_get(cpu, op->src, bits), r;
	bool cf;

	if (!n)
		return old;
	if (bits == 16) {
		uint64_t all = (old << 32) | (src << 16) | old;

		r = (all >> (32 - n)) & 0xffff;
		cf = (all >> (48 - n)) & 1;
	} else {
		r = ((old << n) | (src >> (bits - n))) & x86_mask(bits);
		cf = (old >> (bits - n)) & 1;
	}
	x86_fl_result(cpu, r, bits);
	x86_fl_set_co(cpu, cf, ((r ^ old) >> (bits - 1)) & 1);
	return r;
}

static uint64_t shrd_modify(struct x86_cpu *cpu, const struct x86_op *op, uint64_t old,
			    unsigned bits)
{
	unsigned n = double_count(cpu, op, bits);
	uint64_t src = x86_get(cpu, op->src, bits), r;
	bool cf;

	if (!n)
		return old;
	if (bits == 16) {
		uint64_t all = (old << 32) | (src << 16) | old;

		r = (all >> n) & 0xffff;
		cf = (all >> (n - 1)) & 1;
	} else {
		r = ((old >> n) | (src << (bits - n))) & x86_mask(bits);
		cf = (old >> (n - 1)) & 1;
	}
	x86_fl_result(cpu, r, bits);
	x86_fl_set_co(cpu, cf, ((r ^ old) >> (bits - 1)) & 1);
	return r;
}

int64_t x86_do_shld(struct x86_cpu *cpu, const struct x86_op *op)
{
	int64_t st = x86_rm_modify(cpu, op, shld_modify);

	return st ? st : x86_next(cpu, op);
}

int64_t x86_do_shrd(struct x86_cpu *cpu, const struct x86_op *op)
{
	int64_t st = x86_rm_modify(cpu, op, shrd_modify);

	return st ? st : x86_next(cpu, op);
}
