// SPDX-License-Identifier: MIT
/* Moves between registers and memory: MOV, MOVZX, MOVSX, LEA, XCHG, CMOVcc, SETcc. */
#include "x86/decode.h"
#include "x86/exec.h"
#include "x86/flags.h"
#include "x86/mem.h"

X86_INLINE int64_t load(struct x86_cpu *cpu, const struct x86_op *op, unsigned bits,
			enum x86_form form, x86_fn resume)
{
	uint64_t va, v;
	int64_t st = x86_ea(cpu, op, form, bits, X86_READ, &va);

	if (form == X86_FORM_G && X86_UNLIKELY(st))
		return st;
	if (!x86_rd_probe(cpu, va, bits, &v))
		return x86_read_resume(cpu, op, va, bits, resume);
	x86_set(cpu, op->dst, bits, v);
	return x86_next(cpu, op);
}

X86_INLINE int64_t store(struct x86_cpu *cpu, const struct x86_op *op, unsigned bits,
			 enum x86_form form, uint64_t v)
{
	uint64_t va;
	uint8_t *p;
	int64_t st = x86_ea(cpu, op, form, bits, X86_WRITE, &va);

	if (form == X86_FORM_G && X86_UNLIKELY(st))
		return st;
	p = x86_wr_probe(cpu, va, bits);
	if (!p)
		return x86_write_next(cpu, op, va, bits, v);
	x86_host_store(p, bits, v);
	return x86_next(cpu, op);
}

#define MOV_MEM(BITS, FORM)                                                                 \
	static int64_t mov_rm_##BITS##_##FORM(struct x86_cpu *cpu, const struct x86_op *op) \
	{                                                                                   \
		return load(cpu, op, BITS, X86_FORM_##FORM, mov_rm_##BITS);                 \
	}                                                                                   \
	static int64_t mov_mr_##BITS##_##FORM(struct x86_cpu *cpu, const struct x86_op *op) \
	{                                                                                   \
		return store(cpu, op, BITS, X86_FORM_##FORM, x86_get(cpu, op->src, BITS));  \
	}                                                                                   \
	static int64_t mov_mi_##BITS##_##FORM(struct x86_cpu *cpu, const struct x86_op *op) \
	{                                                                                   \
		return store(cpu, op, BITS, X86_FORM_##FORM, op->imm);                      \
	}

#define MOV_SIZE(BITS)                                                                      \
	static int64_t mov_rr_##BITS(struct x86_cpu *cpu, const struct x86_op *op)          \
	{                                                                                   \
		x86_set(cpu, op->dst, BITS, x86_get(cpu, op->src, BITS));                   \
		return x86_next(cpu, op);                                                   \
	}                                                                                   \
	static int64_t mov_ri_##BITS(struct x86_cpu *cpu, const struct x86_op *op)          \
	{                                                                                   \
		x86_set(cpu, op->dst, BITS, op->imm);                                       \
		return x86_next(cpu, op);                                                   \
	}                                                                                   \
	static X86_COLD int64_t mov_rm_##BITS(struct x86_cpu *cpu, const struct x86_op *op) \
	{                                                                                   \
		x86_set(cpu, op->dst, BITS, cpu->tmp);                                      \
		return x86_next(cpu, op);                                                   \
	}                                                                                   \
	MOV_MEM(BITS, B)                                                                    \
	MOV_MEM(BITS, F)                                                                    \
	MOV_MEM(BITS, G)

MOV_SIZE(8)
MOV_SIZE(16)
MOV_SIZE(32)
MOV_SIZE(64)

#define MOV_ROW(BITS)                                                              \
	{                                                                          \
		mov_rr_##BITS, mov_ri_##BITS,                                      \
			{mov_rm_##BITS##_B, mov_rm_##BITS##_F, mov_rm_##BITS##_G}, \
			{mov_mr_##BITS##_B, mov_mr_##BITS##_F, mov_mr_##BITS##_G}, \
			{mov_mi_##BITS##_B, mov_mi_##BITS##_F, mov_mi_##BITS##_G}, \
	}

static const struct {
	x86_fn rr, ri;
	x86_fn rm[X86_FORMS], mr[X86_FORMS], mi[X86_FORMS];
} mov_rows[4] = {MOV_ROW(8), MOV_ROW(16), MOV_ROW(32), MOV_ROW(64)};

/* MOV to and from segment, control and debug registers has handlers of its own. */
static bool build_mov_special(struct x86_insn *in, struct x86_op *op)
{
	const struct x86_arg *to = &in->args[0], *from = &in->args[1];
	static const struct {
		uint8_t kind;
		x86_fn write, read;
	} rows[] = {
		{X86_ARG_SEG, x86_do_mov_to_seg, x86_do_mov_from_seg},
		{X86_ARG_CR, x86_do_mov_to_cr, x86_do_mov_from_cr},
		{X86_ARG_DR, x86_do_mov_to_dr, x86_do_mov_from_dr},
	};

	for (size_t i = 0; i < VMX_ARRAY_SIZE(rows); i++) {
		bool write = to->kind == rows[i].kind;
		const struct x86_arg *special = write ? to : from;

		if (special->kind != rows[i].kind)
			continue;
		op->arg = (uint8_t)special->imm;
		op->dst = op->src = write ? from->reg : to->reg;
		op->size = write ? from->size : to->size;
		op->fn = write ? rows[i].write : rows[i].read;
		in->end = write;
		return true;
	}
	return false;
}

bool x86_build_mov(struct x86_insn *in, struct x86_op *op)
{
	unsigned size = in->args[0].size, z, form;
	bool imm = in->args[1].kind == X86_ARG_IMM;

	if (build_mov_special(in, op))
		return true;
	z = x86_log2(size);
	op->size = (uint8_t)size;
	op->dst = in->args[0].reg;
	op->src = in->args[1].reg;
	op->imm = imm ? in->args[1].imm & x86_mask(size * 8) : 0;
	if (!in->has_mem) {
		op->fn = imm ? mov_rows[z].ri : mov_rows[z].rr;
		in->transparent = true;
		return true;
	}
	form = x86_form_of(in, op);
	if (in->args[1].kind == X86_ARG_MEM)
		op->fn = mov_rows[z].rm[form];
	else
		op->fn = imm ? mov_rows[z].mi[form] : mov_rows[z].mr[form];
	return true;
}

/* --- MOVZX, MOVSX, MOVSXD ---------------------------------------------------------------- */

X86_INLINE uint64_t extend(uint64_t v, unsigned from, unsigned sign)
{
	return sign ? (uint64_t)x86_sext(v, from) : v;
}

X86_INLINE int64_t movx_load(struct x86_cpu *cpu, const struct x86_op *op, unsigned from,
			     unsigned to, unsigned sign, enum x86_form form, x86_fn resume)
{
	uint64_t va, v;
	int64_t st = x86_ea(cpu, op, form, from, X86_READ, &va);

	if (form == X86_FORM_G && X86_UNLIKELY(st))
		return st;
	if (!x86_rd_probe(cpu, va, from, &v))
		return x86_read_resume(cpu, op, va, from, resume);
	x86_set(cpu, op->dst, to, extend(v, from, sign));
	return x86_next(cpu, op);
}

#define MOVX_LOAD(S, FROM, TO, NAME, FORM)                                                  \
	static int64_t movx_##S##_##FROM##_##TO##_##NAME(struct x86_cpu *cpu,               \
							 const struct x86_op *op)           \
	{                                                                                   \
		return movx_load(cpu, op, FROM, TO, S, FORM, movx_##S##_##FROM##_##TO##_m); \
	}
#define MOVX(S, FROM, TO)                                                                         \
	static int64_t movx_##S##_##FROM##_##TO##_r(struct x86_cpu *cpu, const struct x86_op *op) \
	{                                                                                         \
		x86_set(cpu, op->dst, TO, extend(x86_get(cpu, op->src, FROM), FROM, S));          \
		return x86_next(cpu, op);                                                         \
	}                                                                                         \
	static X86_COLD int64_t movx_##S##_##FROM##_##TO##_m(struct x86_cpu *cpu,                 \
							     const struct x86_op *op)             \
	{                                                                                         \
		x86_set(cpu, op->dst, TO, extend(cpu->tmp, FROM, S));                             \
		return x86_next(cpu, op);                                                         \
	}                                                                                         \
	MOVX_LOAD(S, FROM, TO, b, X86_FORM_B)                                                     \
	MOVX_LOAD(S, FROM, TO, f, X86_FORM_F)                                                     \
	MOVX_LOAD(S, FROM, TO, g, X86_FORM_G)
#define MOVX_FROM(S, FROM) MOVX(S, FROM, 16) MOVX(S, FROM, 32) MOVX(S, FROM, 64)
#define MOVX_ALL(S) MOVX_FROM(S, 8) MOVX_FROM(S, 16) MOVX_FROM(S, 32)

MOVX_ALL(0)
MOVX_ALL(1)

#define MOVX_SET(S, FROM, TO)                                                      \
	{                                                                          \
		movx_##S##_##FROM##_##TO##_b, movx_##S##_##FROM##_##TO##_f,        \
			movx_##S##_##FROM##_##TO##_g, movx_##S##_##FROM##_##TO##_r \
	}
#define MOVX_ROW(S, FROM)                                                           \
	{                                                                           \
		MOVX_SET(S, FROM, 16), MOVX_SET(S, FROM, 32), MOVX_SET(S, FROM, 64) \
	}

/* [signed][log2 of source][log2 of destination - 1][form; last: register] */
static const x86_fn movx_rows[2][3][3][X86_FORMS + 1] = {
	{MOVX_ROW(0, 8), MOVX_ROW(0, 16), MOVX_ROW(0, 32)},
	{MOVX_ROW(1, 8), MOVX_ROW(1, 16), MOVX_ROW(1, 32)},
};

bool x86_build_movx(struct x86_insn *in, struct x86_op *op)
{
	unsigned to = in->args[0].size, from = in->args[1].size;
	const x86_fn *set;

	/* MOVSXD with a 32-bit (or smaller) destination is a MOV. */
	if (from > 4 || to < 2)
		return false;
	set = movx_rows[in->row_arg][x86_log2(from)][x86_log2(to) - 1];
	op->size = (uint8_t)to;
	op->dst = in->args[0].reg;
	op->src = in->args[1].reg;
	op->fn = set[in->has_mem ? x86_form_of(in, op) : (unsigned)X86_FORMS];
	in->transparent = !in->has_mem;
	return true;
}

/* --- LEA ------------------------------------------------------------------------------------ */

#define LEA(BITS)                                                                   \
	static int64_t lea_b_##BITS(struct x86_cpu *cpu, const struct x86_op *op)   \
	{                                                                           \
		x86_set(cpu, op->dst, BITS,                                         \
			(x86_r64(cpu, op->base) + (uint64_t)op->disp) & op->amask); \
		return x86_next(cpu, op);                                           \
	}                                                                           \
	static int64_t lea_f_##BITS(struct x86_cpu *cpu, const struct x86_op *op)   \
	{                                                                           \
		x86_set(cpu, op->dst, BITS, x86_offset(cpu, op));                   \
		return x86_next(cpu, op);                                           \
	}

LEA(16)
LEA(32)
LEA(64)

bool x86_build_lea(struct x86_insn *in, struct x86_op *op)
{
	static const x86_fn rows[3][2] = {
		{lea_b_16, lea_f_16}, {lea_b_32, lea_f_32}, {lea_b_64, lea_f_64}};

	op->size = in->args[0].size;
	op->dst = in->args[0].reg;
	op->fn = rows[x86_log2(op->size) - 1][op->index != X86_REG_ZERO];
	in->transparent = true;
	return true;
}

/* --- XCHG ------------------------------------------------------------------------------------ */

static int64_t xchg_rr(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned bits = op->size * 8u;
	uint64_t a = x86_get(cpu, op->dst, bits), b = x86_get(cpu, op->src, bits);

	x86_set(cpu, op->dst, bits, b);
	x86_set(cpu, op->src, bits, a);
	return x86_next(cpu, op);
}

static uint64_t xchg_modify(struct x86_cpu *cpu, const struct x86_op *op, uint64_t old,
			    unsigned bits)
{
	(void)old;
	return x86_get(cpu, op->src, bits);
}

/* Locked whether or not the prefix is there. */
static int64_t xchg_mr(struct x86_cpu *cpu, const struct x86_op *op)
{
	uint64_t old;
	int64_t st = x86_locked(cpu, op, xchg_modify, &old);

	if (st)
		return st;
	x86_set(cpu, op->src, op->size * 8u, old);
	return x86_next(cpu, op);
}

bool x86_build_xchg(struct x86_insn *in, struct x86_op *op)
{
	op->size = in->args[0].size;
	op->dst = in->args[0].reg;
	op->src = in->args[1].kind == X86_ARG_REG ? in->args[1].reg : in->args[0].reg;
	op->fn = in->has_mem ? xchg_mr : xchg_rr;
	in->transparent = !in->has_mem;
	return true;
}

/* --- CMOVcc, SETcc ---------------------------------------------------------------------------- */

#define CC_LIST(X) \
	X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)

/* A false CMOV of 32 bits still clears the upper half. */
#define CMOV(CC)                                                                  \
	static int64_t cmov32_##CC(struct x86_cpu *cpu, const struct x86_op *op)  \
	{                                                                         \
		x86_set(cpu, op->dst, 32,                                         \
			x86_get(cpu, x86_cond(cpu, CC) ? op->src : op->dst, 32)); \
		return x86_next(cpu, op);                                         \
	}                                                                         \
	static int64_t cmov64_##CC(struct x86_cpu *cpu, const struct x86_op *op)  \
	{                                                                         \
		if (x86_cond(cpu, CC))                                            \
			x86_set(cpu, op->dst, 64, x86_get(cpu, op->src, 64));     \
		return x86_next(cpu, op);                                         \
	}                                                                         \
	static int64_t setcc_##CC(struct x86_cpu *cpu, const struct x86_op *op)   \
	{                                                                         \
		x86_set(cpu, op->dst, 8, x86_cond(cpu, CC));                      \
		return x86_next(cpu, op);                                         \
	}

CC_LIST(CMOV)

#define CMOV_ROW(CC) {cmov32_##CC, cmov64_##CC, setcc_##CC},
static const x86_fn cc_rows[16][3] = {CC_LIST(CMOV_ROW)};

/* The memory operand is read whether or not the condition holds. */
static int64_t cmov_any(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned bits = op->size * 8u;
	uint64_t v;
	int64_t st = x86_rm_read(cpu, op, op->src, bits, &v);

	if (st)
		return st;
	x86_set(cpu, op->dst, bits, x86_cond(cpu, op->arg) ? v : x86_get(cpu, op->dst, bits));
	return x86_next(cpu, op);
}

bool x86_build_cmov(struct x86_insn *in, struct x86_op *op)
{
	op->size = in->args[0].size;
	op->dst = in->args[0].reg;
	op->src = in->args[1].reg;
	op->fn = cmov_any;
	if (!in->has_mem && op->size >= 4)
		op->fn = cc_rows[in->row_arg][op->size == 8];
	return true;
}

static int64_t setcc_mem(struct x86_cpu *cpu, const struct x86_op *op)
{
	int64_t st = x86_rm_write(cpu, op, 0, 8, x86_cond(cpu, op->arg));

	return st ? st : x86_next(cpu, op);
}

bool x86_build_setcc(struct x86_insn *in, struct x86_op *op)
{
	op->size = 1;
	op->dst = in->args[0].reg;
	op->fn = in->has_mem ? setcc_mem : cc_rows[in->row_arg][2];
	return true;
}
