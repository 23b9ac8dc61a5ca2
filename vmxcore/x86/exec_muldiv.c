// SPDX-License-Identifier: MIT
/*
 * MUL, IMUL, DIV, IDIV. Undefined flags: multiplication sets SF and PF from the low
 * half, clears ZF and AF; division leaves all flags alone.
 */
#include "x86/decode.h"
#include "x86/exec.h"
#include "x86/flags.h"
#include "x86/mem.h"

__extension__ typedef unsigned __int128 u128;
__extension__ typedef __int128 s128;

#define RAX X86_REG(X86_RAX)
#define RDX X86_REG(X86_RDX)
#define AH (X86_REG(X86_RAX) + 1u)

static void mul_flags(struct x86_cpu *cpu, uint64_t low, unsigned bits, bool overflow)
{
	cpu->fl_s = (uint64_t)x86_sext(low, bits);
	cpu->fl_z = 1;
	x86_fl_set_co(cpu, overflow, overflow);
}

/* The double-width accumulator: AX, DX:AX, EDX:EAX, RDX:RAX. */
static void acc_set(struct x86_cpu *cpu, unsigned bits, uint64_t high, uint64_t low)
{
	x86_set(cpu, RAX, bits, low);
	x86_set(cpu, bits == 8 ? AH : RDX, bits, high);
}

static u128 acc_get(struct x86_cpu *cpu, unsigned bits)
{
	return ((u128)x86_get(cpu, bits == 8 ? AH : RDX, bits) << bits) | x86_get(cpu, RAX, bits);
}

int64_t x86_do_mul(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned bits = op->size * 8u;
	uint64_t b, high;
	u128 r;
	int64_t st = x86_rm_read(cpu, op, op->dst, bits, &b);

	if (st)
		return st;
	r = (u128)x86_get(cpu, RAX, bits) * b;
	high = (uint64_t)(r >> bits) & x86_mask(bits);
	acc_set(cpu, bits, high, (uint64_t)r & x86_mask(bits));
	mul_flags(cpu, (uint64_t)r, bits, high != 0);
	return x86_next(cpu, op);
}

int64_t x86_do_imul1(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned bits = op->size * 8u;
	uint64_t b;
	s128 r;
	int64_t st = x86_rm_read(cpu, op, op->dst, bits, &b);

	if (st)
		return st;
	r = (s128)x86_sext(x86_get(cpu, RAX, bits), bits) * x86_sext(b, bits);
	acc_set(cpu, bits, (uint64_t)(r >> bits) & x86_mask(bits), (uint64_t)r & x86_mask(bits));
	mul_flags(cpu, (uint64_t)r, bits, r != x86_sext((uint64_t)r, bits));
	return x86_next(cpu, op);
}

X86_INLINE void imul2(struct x86_cpu *cpu, const struct x86_op *op, uint64_t a, uint64_t b,
		      unsigned bits)
{
	s128 r = (s128)x86_sext(a, bits) * x86_sext(b, bits);

	x86_set(cpu, op->dst, bits, (uint64_t)r);
	mul_flags(cpu, (uint64_t)r, bits, r != x86_sext((uint64_t)r, bits));
}

static int64_t imul2_any(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned bits = op->size * 8u;
	uint64_t b;
	int64_t st = x86_rm_read(cpu, op, op->src, bits, &b);

	if (st)
		return st;
	imul2(cpu, op, op->flags & X86_OPF_IMM ? op->imm : x86_get(cpu, op->dst, bits), b, bits);
	return x86_next(cpu, op);
}

#define IMUL_REG(BITS)                                                                          \
	static int64_t imul_rr_##BITS(struct x86_cpu *cpu, const struct x86_op *op)             \
	{                                                                                       \
		imul2(cpu, op, x86_get(cpu, op->dst, BITS), x86_get(cpu, op->src, BITS), BITS); \
		return x86_next(cpu, op);                                                       \
	}                                                                                       \
	static int64_t imul_rri_##BITS(struct x86_cpu *cpu, const struct x86_op *op)            \
	{                                                                                       \
		imul2(cpu, op, op->imm, x86_get(cpu, op->src, BITS), BITS);                     \
		return x86_next(cpu, op);                                                       \
	}

IMUL_REG(32)
IMUL_REG(64)

bool x86_build_imul(struct x86_insn *in, struct x86_op *op)
{
	static const x86_fn fast[2][2] = {{imul_rr_32, imul_rri_32}, {imul_rr_64, imul_rri_64}};

	op->size = in->args[0].size;
	op->dst = in->args[0].reg;
	if (in->nargs == 1) {
		op->fn = x86_do_imul1;
		return true;
	}
	op->src = in->args[1].reg;
	if (in->nargs == 3) {
		op->imm = in->args[2].imm;
		op->flags |= X86_OPF_IMM;
	}
	op->fn = imul2_any;
	if (!in->has_mem && op->size >= 4) {
		op->fn = fast[op->size == 8][in->nargs == 3];
		in->sets_flags = true;
	}
	return true;
}

int64_t x86_do_div(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned bits = op->size * 8u;
	uint64_t b;
	u128 a, q;
	int64_t st = x86_rm_read(cpu, op, op->dst, bits, &b);

	if (st)
		return st;
	a = acc_get(cpu, bits);
	if (!b || (uint64_t)(a >> bits) >= b)
		return x86_op_fault0(cpu, op, X86_DE);
	if (bits <= 32) {
		uint64_t n = (uint64_t)a;

		acc_set(cpu, bits, n % b, n / b);
		return x86_next(cpu, op);
	}
	q = a / b;
	acc_set(cpu, bits, (uint64_t)(a - q * b), (uint64_t)q);
	return x86_next(cpu, op);
}

int64_t x86_do_idiv(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned bits = op->size * 8u;
	s128 a, b, q, r;
	uint64_t v;
	int64_t st = x86_rm_read(cpu, op, op->dst, bits, &v);

	if (st)
		return st;
	a = (s128)acc_get(cpu, bits);
	if (bits < 64)
		a = x86_sext((uint64_t)a, 2 * bits);
	b = x86_sext(v, bits);
	/* The one quotient of 128 bits that does not exist. */
	if (!b || (b == -1 && a == (s128)((u128)1 << 127)))
		return x86_op_fault0(cpu, op, X86_DE);
	q = a / b;
	r = a % b;
	if (q != x86_sext((uint64_t)q, bits))
		return x86_op_fault0(cpu, op, X86_DE);
	acc_set(cpu, bits, (uint64_t)r & x86_mask(bits), (uint64_t)q & x86_mask(bits));
	return x86_next(cpu, op);
}

/* --- sign extensions in the accumulator --------------------------------------------------- */

int64_t x86_do_cbw(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned bits = op->size * 8u;

	x86_set(cpu, RAX, bits, (uint64_t)x86_sext(x86_get(cpu, RAX, bits / 2), bits / 2));
	return x86_next(cpu, op);
}

int64_t x86_do_cwd(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned bits = op->size * 8u;

	x86_set(cpu, RDX, bits, x86_sext(x86_get(cpu, RAX, bits), bits) < 0 ? ~UINT64_C(0) : 0);
	return x86_next(cpu, op);
}
