// SPDX-License-Identifier: MIT
/*
 * Two-operand arithmetic and logic, TEST, and INC DEC NEG NOT. Handlers are
 * generated for each operation, size and operand form; tables pick them.
 */
#include "x86/decode.h"
#include "x86/exec.h"
#include "x86/flags.h"
#include "x86/mem.h"

X86_INLINE uint64_t alu(struct x86_cpu *cpu, unsigned k, uint64_t a, uint64_t b, unsigned bits)
{
	switch (k) {
	case X86_ALU_ADD:
		return x86_do_add(cpu, a, b, 0, bits);
	case X86_ALU_ADC:
		return x86_do_add(cpu, a, b, x86_cf(cpu), bits);
	case X86_ALU_SBB:
		return x86_do_sub(cpu, a, b, x86_cf(cpu), bits);
	case X86_ALU_SUB:
	case X86_ALU_CMP:
		return x86_do_sub(cpu, a, b, 0, bits);
	case X86_ALU_OR:
		a |= b;
		break;
	case X86_ALU_XOR:
		a ^= b;
		break;
	default:
		a &= b;
		break;
	}
	x86_fl_logic(cpu, a, bits);
	return a;
}

X86_INLINE uint64_t alu_no_flags(unsigned k, uint64_t a, uint64_t b)
{
	switch (k) {
	case X86_ALU_ADD:
		return a + b;
	case X86_ALU_SUB:
		return a - b;
	case X86_ALU_OR:
		return a | b;
	case X86_ALU_XOR:
		return a ^ b;
	default:
		return a & b;
	}
}

/* CMP and TEST write flags only. */
X86_INLINE bool alu_stores(unsigned k)
{
	return k != X86_ALU_CMP && k != X86_ALU_TEST;
}

X86_INLINE int64_t alu_reg(struct x86_cpu *cpu, const struct x86_op *op, unsigned k, unsigned bits,
			   uint64_t b)
{
	uint64_t r = alu(cpu, k, x86_get(cpu, op->dst, bits), b, bits);

	if (alu_stores(k))
		x86_set(cpu, op->dst, bits, r);
	return x86_next(cpu, op);
}

/* resume: the same operation with its memory operand read (tail of the slow path). */
X86_INLINE int64_t alu_from_mem(struct x86_cpu *cpu, const struct x86_op *op, unsigned k,
				unsigned bits, enum x86_form form, x86_fn resume)
{
	uint64_t va, b;
	int64_t st = x86_ea(cpu, op, form, bits, X86_READ, &va);

	if (form == X86_FORM_G && X86_UNLIKELY(st))
		return st;
	if (!x86_rd_probe(cpu, va, bits, &b))
		return x86_read_resume(cpu, op, va, bits, resume);
	return alu_reg(cpu, op, k, bits, b);
}

X86_INLINE int64_t alu_to_mem(struct x86_cpu *cpu, const struct x86_op *op, unsigned k,
			      unsigned bits, enum x86_form form, uint64_t b, x86_fn resume)
{
	uint64_t va, a;
	uint8_t *p;
	int64_t st =
		x86_ea(cpu, op, form, bits, alu_stores(k) ? X86_READ | X86_WRITE : X86_READ, &va);

	if (form == X86_FORM_G && X86_UNLIKELY(st))
		return st;
	if (!alu_stores(k)) {
		if (!x86_rd_probe(cpu, va, bits, &a))
			return x86_read_resume(cpu, op, va, bits, resume);
		alu(cpu, k, a, b, bits);
		return x86_next(cpu, op);
	}
	p = x86_wr_probe(cpu, va, bits);
	if (!p)
		return x86_rmw_resume(cpu, op, va, bits, resume);
	x86_host_store(p, bits, alu(cpu, k, x86_host_load(p, bits), b, bits));
	return x86_next(cpu, op);
}

/* Behind a slow read or read-modify-write of the destination. */
X86_INLINE int64_t alu_resumed(struct x86_cpu *cpu, const struct x86_op *op, unsigned k,
			       unsigned bits, uint64_t b)
{
	uint64_t r;
	int64_t st;

	if (!alu_stores(k)) {
		alu(cpu, k, cpu->tmp, b, bits);
		return x86_next(cpu, op);
	}
	r = alu(cpu, k, x86_host_load(cpu->rmw_buf, bits), b, bits);
	x86_host_store(cpu->rmw_buf, bits, r);
	st = x86_slow_commit(cpu);
	return st ? st : x86_next(cpu, op);
}

#define ALU_MEM(K, BITS, FORM)                                                                    \
	static int64_t alu_rm_##K##_##BITS##_##FORM(struct x86_cpu *cpu, const struct x86_op *op) \
	{                                                                                         \
		return alu_from_mem(cpu, op, X86_ALU_##K, BITS, X86_FORM_##FORM,                  \
				    alu_rm_##K##_##BITS);                                         \
	}                                                                                         \
	static int64_t alu_mr_##K##_##BITS##_##FORM(struct x86_cpu *cpu, const struct x86_op *op) \
	{                                                                                         \
		return alu_to_mem(cpu, op, X86_ALU_##K, BITS, X86_FORM_##FORM,                    \
				  x86_get(cpu, op->src, BITS), alu_mr_##K##_##BITS);              \
	}                                                                                         \
	static int64_t alu_mi_##K##_##BITS##_##FORM(struct x86_cpu *cpu, const struct x86_op *op) \
	{                                                                                         \
		return alu_to_mem(cpu, op, X86_ALU_##K, BITS, X86_FORM_##FORM, op->imm,           \
				  alu_mi_##K##_##BITS);                                           \
	}

#define ALU_HANDLERS(K, BITS)                                                                     \
	static int64_t alu_rr_##K##_##BITS(struct x86_cpu *cpu, const struct x86_op *op)          \
	{                                                                                         \
		return alu_reg(cpu, op, X86_ALU_##K, BITS, x86_get(cpu, op->src, BITS));          \
	}                                                                                         \
	static int64_t alu_ri_##K##_##BITS(struct x86_cpu *cpu, const struct x86_op *op)          \
	{                                                                                         \
		return alu_reg(cpu, op, X86_ALU_##K, BITS, op->imm);                              \
	}                                                                                         \
	static X86_COLD int64_t alu_rm_##K##_##BITS(struct x86_cpu *cpu, const struct x86_op *op) \
	{                                                                                         \
		return alu_reg(cpu, op, X86_ALU_##K, BITS, cpu->tmp);                             \
	}                                                                                         \
	static X86_COLD int64_t alu_mr_##K##_##BITS(struct x86_cpu *cpu, const struct x86_op *op) \
	{                                                                                         \
		return alu_resumed(cpu, op, X86_ALU_##K, BITS, x86_get(cpu, op->src, BITS));      \
	}                                                                                         \
	static X86_COLD int64_t alu_mi_##K##_##BITS(struct x86_cpu *cpu, const struct x86_op *op) \
	{                                                                                         \
		return alu_resumed(cpu, op, X86_ALU_##K, BITS, op->imm);                          \
	}                                                                                         \
	ALU_MEM(K, BITS, B)                                                                       \
	ALU_MEM(K, BITS, F)                                                                       \
	ALU_MEM(K, BITS, G)

#define ALU_SIZES(K)        \
	ALU_HANDLERS(K, 8)  \
	ALU_HANDLERS(K, 16) \
	ALU_HANDLERS(K, 32) \
	ALU_HANDLERS(K, 64)

ALU_SIZES(ADD)
ALU_SIZES(OR)
ALU_SIZES(ADC)
ALU_SIZES(SBB)
ALU_SIZES(AND)
ALU_SIZES(SUB)
ALU_SIZES(XOR)
ALU_SIZES(CMP)
ALU_SIZES(TEST)

struct alu_row {
	x86_fn rr, ri;
	x86_fn rm[X86_FORMS], mr[X86_FORMS], mi[X86_FORMS];
};

#define ALU_ROW(K, BITS)                                                   \
	{                                                                  \
		alu_rr_##K##_##BITS, alu_ri_##K##_##BITS,                  \
			{alu_rm_##K##_##BITS##_B, alu_rm_##K##_##BITS##_F, \
			 alu_rm_##K##_##BITS##_G},                         \
			{alu_mr_##K##_##BITS##_B, alu_mr_##K##_##BITS##_F, \
			 alu_mr_##K##_##BITS##_G},                         \
			{alu_mi_##K##_##BITS##_B, alu_mi_##K##_##BITS##_F, \
			 alu_mi_##K##_##BITS##_G},                         \
	}
#define ALU_ROWS(K) [X86_ALU_##K] = {ALU_ROW(K, 8), ALU_ROW(K, 16), ALU_ROW(K, 32), ALU_ROW(K, 64)}

static const struct alu_row alu_rows[X86_ALU_COUNT][4] = {
	ALU_ROWS(ADD), ALU_ROWS(OR),  ALU_ROWS(ADC), ALU_ROWS(SBB),  ALU_ROWS(AND),
	ALU_ROWS(SUB), ALU_ROWS(XOR), ALU_ROWS(CMP), ALU_ROWS(TEST),
};

/* Without flags: register forms of 32 and 64 bits. */
#define ALU_NO_FLAGS(K, BITS)                                                               \
	static int64_t alu_rr_nf_##K##_##BITS(struct x86_cpu *cpu, const struct x86_op *op) \
	{                                                                                   \
		x86_set(cpu, op->dst, BITS,                                                 \
			alu_no_flags(X86_ALU_##K, x86_get(cpu, op->dst, BITS),              \
				     x86_get(cpu, op->src, BITS)));                         \
		return x86_next(cpu, op);                                                   \
	}                                                                                   \
	static int64_t alu_ri_nf_##K##_##BITS(struct x86_cpu *cpu, const struct x86_op *op) \
	{                                                                                   \
		x86_set(cpu, op->dst, BITS,                                                 \
			alu_no_flags(X86_ALU_##K, x86_get(cpu, op->dst, BITS), op->imm));   \
		return x86_next(cpu, op);                                                   \
	}
#define ALU_NO_FLAGS_SIZES(K) ALU_NO_FLAGS(K, 32) ALU_NO_FLAGS(K, 64)

ALU_NO_FLAGS_SIZES(ADD)
ALU_NO_FLAGS_SIZES(OR)
ALU_NO_FLAGS_SIZES(AND)
ALU_NO_FLAGS_SIZES(SUB)
ALU_NO_FLAGS_SIZES(XOR)

#define ALU_NF_ROW(K)                                              \
	[X86_ALU_##K] = {{alu_rr_nf_##K##_32, alu_ri_nf_##K##_32}, \
			 {alu_rr_nf_##K##_64, alu_ri_nf_##K##_64}}

static const x86_fn alu_nf_rows[X86_ALU_COUNT][2][2] = {
	ALU_NF_ROW(ADD), ALU_NF_ROW(OR), ALU_NF_ROW(AND), ALU_NF_ROW(SUB), ALU_NF_ROW(XOR),
};

uint64_t x86_alu_generic(struct x86_cpu *cpu, unsigned k, uint64_t a, uint64_t b, unsigned bits)
{
	return alu(cpu, k, a, b, bits);
}

static uint64_t alu_modify(struct x86_cpu *cpu, const struct x86_op *op, uint64_t old,
			   unsigned bits)
{
	uint64_t b = op->flags & X86_OPF_IMM ? op->imm : x86_get(cpu, op->src, bits);

	return alu(cpu, op->arg, old, b, bits);
}

static int64_t alu_locked(struct x86_cpu *cpu, const struct x86_op *op)
{
	int64_t st = x86_locked(cpu, op, alu_modify, NULL);

	return st ? st : x86_next(cpu, op);
}

bool x86_build_alu(struct x86_insn *in, struct x86_op *op)
{
	unsigned k = in->row_arg, size = in->args[0].size, z = x86_log2(size), form;
	const struct alu_row *row = &alu_rows[k][z];
	bool imm = in->args[1].kind == X86_ARG_IMM;

	op->size = (uint8_t)size;
	op->dst = in->args[0].reg;
	op->src = in->args[1].reg;
	if (imm) {
		op->imm = in->args[1].imm & x86_mask(size * 8);
		op->flags |= X86_OPF_IMM;
	}
	if (in->lock) {
		op->fn = alu_locked;
		return true;
	}
	if (in->has_mem) {
		form = x86_form_of(in, op);
		if (in->args[1].kind == X86_ARG_MEM)
			op->fn = row->rm[form];
		else
			op->fn = imm ? row->mi[form] : row->mr[form];
		return true;
	}
	op->fn = imm ? row->ri : row->rr;
	in->sets_flags = k != X86_ALU_ADC && k != X86_ALU_SBB;
	if (z >= 2)
		in->no_flags = alu_nf_rows[k][z - 2][imm];
	if (z >= 2 && (k == X86_ALU_CMP || k == X86_ALU_TEST)) {
		in->pair = k == X86_ALU_CMP ? X86_PAIR_CMP : X86_PAIR_TEST;
		in->pair_form = imm;
	}
	return true;
}

/* --- INC DEC NEG NOT ------------------------------------------------------------------ */

X86_INLINE uint64_t unary(struct x86_cpu *cpu, unsigned k, uint64_t a, unsigned bits)
{
	switch (k) {
	case X86_UN_INC:
		return x86_do_inc(cpu, a, bits);
	case X86_UN_DEC:
		return x86_do_dec(cpu, a, bits);
	case X86_UN_NEG:
		return x86_do_sub(cpu, 0, a, 0, bits);
	default:
		return ~a & x86_mask(bits);
	}
}

X86_INLINE int64_t unary_mem(struct x86_cpu *cpu, const struct x86_op *op, unsigned k,
			     unsigned bits, enum x86_form form, x86_fn resume)
{
	uint64_t va;
	uint8_t *p;
	int64_t st = x86_ea(cpu, op, form, bits, X86_READ | X86_WRITE, &va);

	if (form == X86_FORM_G && X86_UNLIKELY(st))
		return st;
	p = x86_wr_probe(cpu, va, bits);
	if (!p)
		return x86_rmw_resume(cpu, op, va, bits, resume);
	x86_host_store(p, bits, unary(cpu, k, x86_host_load(p, bits), bits));
	return x86_next(cpu, op);
}

X86_INLINE int64_t unary_resumed(struct x86_cpu *cpu, const struct x86_op *op, unsigned k,
				 unsigned bits)
{
	uint64_t r = unary(cpu, k, x86_host_load(cpu->rmw_buf, bits), bits);
	int64_t st;

	x86_host_store(cpu->rmw_buf, bits, r);
	st = x86_slow_commit(cpu);
	return st ? st : x86_next(cpu, op);
}

#define UNARY(K, BITS)                                                                          \
	static int64_t un_r_##K##_##BITS(struct x86_cpu *cpu, const struct x86_op *op)          \
	{                                                                                       \
		x86_set(cpu, op->dst, BITS,                                                     \
			unary(cpu, X86_UN_##K, x86_get(cpu, op->dst, BITS), BITS));             \
		return x86_next(cpu, op);                                                       \
	}                                                                                       \
	static X86_COLD int64_t un_m_##K##_##BITS(struct x86_cpu *cpu, const struct x86_op *op) \
	{                                                                                       \
		return unary_resumed(cpu, op, X86_UN_##K, BITS);                                \
	}                                                                                       \
	static int64_t un_f_##K##_##BITS(struct x86_cpu *cpu, const struct x86_op *op)          \
	{                                                                                       \
		return unary_mem(cpu, op, X86_UN_##K, BITS, X86_FORM_F, un_m_##K##_##BITS);     \
	}                                                                                       \
	static int64_t un_g_##K##_##BITS(struct x86_cpu *cpu, const struct x86_op *op)          \
	{                                                                                       \
		return unary_mem(cpu, op, X86_UN_##K, BITS, X86_FORM_G, un_m_##K##_##BITS);     \
	}

#define UNARY_SIZES(K) UNARY(K, 8) UNARY(K, 16) UNARY(K, 32) UNARY(K, 64)
#define UNARY_ROW(K, BITS)                                              \
	{                                                               \
		un_r_##K##_##BITS, un_f_##K##_##BITS, un_g_##K##_##BITS \
	}
#define UNARY_ROWS(K) \
	[X86_UN_##K] = {UNARY_ROW(K, 8), UNARY_ROW(K, 16), UNARY_ROW(K, 32), UNARY_ROW(K, 64)}

UNARY_SIZES(INC)
UNARY_SIZES(DEC)
UNARY_SIZES(NEG)
UNARY_SIZES(NOT)

static const x86_fn unary_rows[X86_UN_COUNT][4][3] = {
	UNARY_ROWS(INC),
	UNARY_ROWS(DEC),
	UNARY_ROWS(NEG),
	UNARY_ROWS(NOT),
};

static uint64_t unary_modify(struct x86_cpu *cpu, const struct x86_op *op, uint64_t old,
			     unsigned bits)
{
	return unary(cpu, op->arg, old, bits);
}

static int64_t unary_locked(struct x86_cpu *cpu, const struct x86_op *op)
{
	int64_t st = x86_locked(cpu, op, unary_modify, NULL);

	return st ? st : x86_next(cpu, op);
}

bool x86_build_unary(struct x86_insn *in, struct x86_op *op)
{
	const x86_fn *row = unary_rows[in->row_arg][x86_log2(in->args[0].size)];

	op->size = in->args[0].size;
	op->dst = in->args[0].reg;
	if (in->lock)
		op->fn = unary_locked;
	else if (in->has_mem)
		op->fn = in->flat ? row[1] : row[2];
	else
		op->fn = row[0];
	in->sets_flags = !in->has_mem && in->row_arg == X86_UN_NEG;
	if (!in->has_mem && in->row_arg == X86_UN_DEC && op->size >= 4)
		in->pair = X86_PAIR_DEC;
	in->transparent = !in->has_mem && in->row_arg == X86_UN_NOT;
	return true;
}
