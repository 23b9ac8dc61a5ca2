// SPDX-License-Identifier: MIT
/*
 * Near branches. A target within the page needs no check; others are checked for
 * canonicality or against CS's limit, so that the fault is the branch's own. A
 * conditional branch that is not taken goes on in its block.
 */
#include "x86/decode.h"
#include "x86/exec.h"
#include "x86/flags.h"
#include "x86/mem.h"

int64_t x86_check_target(struct x86_cpu *cpu, uint64_t target)
{
	if (x86_is64(cpu)) {
		if (!x86_canonical(target))
			return x86_fault_code(cpu, X86_GP, 0);
	} else if (target > cpu->st.seg[X86_CS].limit) {
		return x86_fault_code(cpu, X86_GP, 0);
	}
	return 0;
}

static int64_t branch(struct x86_cpu *cpu, const struct x86_op *op, uint64_t target)
{
	int64_t st;

	x86_sync(cpu, op);
	st = x86_check_target(cpu, target);
	if (st)
		return st;
	cpu->st.rip = target;
	return x86_done(op);
}

/* imm: target's distance from the page's start. */
static int64_t branch_rel(struct x86_cpu *cpu, const struct x86_op *op)
{
	return branch(cpu, op, (cpu->rip_page + op->imm) & op->amask);
}

X86_INLINE int64_t branch_in_page(struct x86_cpu *cpu, const struct x86_op *op)
{
	cpu->st.rip = cpu->rip_page + op->imm;
	return x86_done(op);
}

#define CC_LIST(X) \
	X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)

#define JCC(CC)                                                                   \
	static int64_t jcc_in_##CC(struct x86_cpu *cpu, const struct x86_op *op)  \
	{                                                                         \
		if (x86_cond(cpu, CC))                                            \
			return branch_in_page(cpu, op);                           \
		return x86_next(cpu, op);                                         \
	}                                                                         \
	static int64_t jcc_out_##CC(struct x86_cpu *cpu, const struct x86_op *op) \
	{                                                                         \
		if (x86_cond(cpu, CC))                                            \
			return branch_rel(cpu, op);                               \
		return x86_next(cpu, op);                                         \
	}

CC_LIST(JCC)

#define JCC_ROW(CC) {jcc_out_##CC, jcc_in_##CC},
static const x86_fn jcc_rows[16][2] = {CC_LIST(JCC_ROW)};

/* Conditions of CMP (a - b) and TEST (a & b) without going through the flags' words. */
X86_INLINE bool cmp_cond(struct x86_cpu *cpu, unsigned cc, uint64_t a, uint64_t b, unsigned bits)
{
	switch (cc >> 1) {
	case 1:
		return (a < b) ^ (cc & 1);
	case 2:
		return (a == b) ^ (cc & 1);
	case 3:
		return (a <= b) ^ (cc & 1);
	case 6:
		return (x86_sext(a, bits) < x86_sext(b, bits)) ^ (cc & 1);
	case 7:
		return (x86_sext(a, bits) <= x86_sext(b, bits)) ^ (cc & 1);
	default:
		return x86_cond(cpu, cc);
	}
}

X86_INLINE int64_t fused(struct x86_cpu *cpu, const struct x86_op *op, bool test, uint64_t b,
			 unsigned cc, unsigned bits)
{
	uint64_t a = x86_get(cpu, op->dst, bits);
	bool taken;

	if (test) {
		x86_fl_logic(cpu, a & b, bits);
		taken = x86_cond(cpu, cc);
	} else {
		x86_do_sub(cpu, a, b, 0, bits);
		taken = cmp_cond(cpu, cc, a, b, bits);
	}
	if (taken)
		return branch_in_page(cpu, op + 1);
	return x86_next(cpu, op + 1);
}

#define FUSED(CC, NAME, TEST, BITS)                                                           \
	static int64_t NAME##_rr_##BITS##_j##CC(struct x86_cpu *cpu, const struct x86_op *op) \
	{                                                                                     \
		return fused(cpu, op, TEST, x86_get(cpu, op->src, BITS), CC, BITS);           \
	}                                                                                     \
	static int64_t NAME##_ri_##BITS##_j##CC(struct x86_cpu *cpu, const struct x86_op *op) \
	{                                                                                     \
		return fused(cpu, op, TEST, op->imm, CC, BITS);                               \
	}
#define FUSED_ALL(CC)             \
	FUSED(CC, cmp, false, 32) \
	FUSED(CC, cmp, false, 64) \
	FUSED(CC, test, true, 32) \
	FUSED(CC, test, true, 64)

CC_LIST(FUSED_ALL)

#define FUSED_ROW(CC)                                                              \
	{{{cmp_rr_32_j##CC, cmp_ri_32_j##CC}, {cmp_rr_64_j##CC, cmp_ri_64_j##CC}}, \
	 {{test_rr_32_j##CC, test_ri_32_j##CC}, {test_rr_64_j##CC, test_ri_64_j##CC}}},

/* [condition][test][64 bits][immediate] */
static const x86_fn fused_rows[16][2][2][2] = {CC_LIST(FUSED_ROW)};

/* DEC and JZ or JNZ, the end of a counted loop. */
X86_INLINE int64_t dec_branch(struct x86_cpu *cpu, const struct x86_op *op, bool when_zero,
			      unsigned bits)
{
	uint64_t r = x86_do_dec(cpu, x86_get(cpu, op->dst, bits), bits);

	x86_set(cpu, op->dst, bits, r);
	if ((r == 0) == when_zero)
		return branch_in_page(cpu, op + 1);
	return x86_next(cpu, op + 1);
}

#define DEC_BRANCH(BITS)                                                            \
	static int64_t dec_jz_##BITS(struct x86_cpu *cpu, const struct x86_op *op)  \
	{                                                                           \
		return dec_branch(cpu, op, true, BITS);                             \
	}                                                                           \
	static int64_t dec_jnz_##BITS(struct x86_cpu *cpu, const struct x86_op *op) \
	{                                                                           \
		return dec_branch(cpu, op, false, BITS);                            \
	}

DEC_BRANCH(32)
DEC_BRANCH(64)

void x86_decode_pair(struct x86_op *first, const struct x86_insn *first_in, struct x86_op *second,
		     const struct x86_insn *second_in)
{
	static const x86_fn dec_rows[2][2] = {{dec_jz_32, dec_jnz_32}, {dec_jz_64, dec_jnz_64}};

	if (first_in->pair == X86_PAIR_NONE || first_in->pair == X86_PAIR_JCC)
		return;
	if (second_in->pair != X86_PAIR_JCC)
		return;
	if (first_in->pair == X86_PAIR_DEC) {
		if (second->arg == 4 || second->arg == 5)
			first->fn = dec_rows[first->size == 8][second->arg & 1];
		return;
	}
	first->fn = fused_rows[second->arg][first_in->pair == X86_PAIR_TEST][first->size == 8]
			      [first_in->pair_form];
}

/* Takes the relative operand; true: the target is in this page and needs no check. */
static bool take_target(const struct x86_insn *in, struct x86_op *op)
{
	bool flat = in->mode & (X86_M_64 | X86_M_FLAT);

	op->imm = in->args[0].imm + op->off + op->len;
	op->amask = x86_mask(in->osize * 8u);
	return flat && in->osize >= 4 && op->imm < X86_PAGE;
}

bool x86_build_jcc(struct x86_insn *in, struct x86_op *op)
{
	bool in_page = take_target(in, op);

	op->fn = jcc_rows[in->row_arg][in_page];
	if (in_page)
		in->pair = X86_PAIR_JCC;
	return true;
}

static int64_t jmp_in_page(struct x86_cpu *cpu, const struct x86_op *op)
{
	return branch_in_page(cpu, op);
}

static int64_t jmp_rm(struct x86_cpu *cpu, const struct x86_op *op)
{
	uint64_t target;
	int64_t st = x86_rm_read(cpu, op, op->dst, op->size * 8u, &target);

	return st ? st : branch(cpu, op, target);
}

bool x86_build_jmp(struct x86_insn *in, struct x86_op *op)
{
	in->end = true;
	if (in->args[0].kind == X86_ARG_IMM) {
		op->fn = take_target(in, op) ? jmp_in_page : branch_rel;
		return true;
	}
	op->size = in->args[0].size;
	op->dst = in->args[0].reg;
	op->fn = jmp_rm;
	return true;
}

/* --- CALL, RET ----------------------------------------------------------------------------- */

/* 64-bit and flat 32-bit stacks. */
X86_INLINE int64_t call_fast(struct x86_cpu *cpu, const struct x86_op *op, unsigned bits,
			     uint64_t target, bool check)
{
	uint64_t sp = (cpu->st.gpr[X86_RSP] - bits / 8) & x86_mask(bits);
	int64_t st;

	if (check) {
		x86_sync(cpu, op);
		st = x86_check_target(cpu, target);
		if (X86_UNLIKELY(st))
			return st;
	}
	st = x86_wr(cpu, op, sp, bits, X86_SS, x86_op_next_rip(cpu, op));
	if (X86_UNLIKELY(st))
		return st;
	cpu->st.gpr[X86_RSP] = sp;
	cpu->st.rip = target;
	return x86_done(op);
}

#define CALL(BITS)                                                                            \
	static int64_t call_in_##BITS(struct x86_cpu *cpu, const struct x86_op *op)           \
	{                                                                                     \
		return call_fast(cpu, op, BITS, cpu->rip_page + op->imm, false);              \
	}                                                                                     \
	static int64_t call_out_##BITS(struct x86_cpu *cpu, const struct x86_op *op)          \
	{                                                                                     \
		return call_fast(cpu, op, BITS, (cpu->rip_page + op->imm) & op->amask, true); \
	}                                                                                     \
	static int64_t call_rm_##BITS(struct x86_cpu *cpu, const struct x86_op *op)           \
	{                                                                                     \
		uint64_t target;                                                              \
		int64_t st = x86_rm_read(cpu, op, op->dst, BITS, &target);                    \
                                                                                              \
		return st ? st : call_fast(cpu, op, BITS, target, true);                      \
	}                                                                                     \
	static int64_t ret_##BITS(struct x86_cpu *cpu, const struct x86_op *op)               \
	{                                                                                     \
		uint64_t sp = cpu->st.gpr[X86_RSP] & x86_mask(BITS), target;                  \
		int64_t st = x86_rd(cpu, op, sp, BITS, X86_SS, &target);                      \
                                                                                              \
		if (X86_UNLIKELY(st))                                                         \
			return st;                                                            \
		st = branch(cpu, op, target);                                                 \
		if (X86_LIKELY(st > 0))                                                       \
			cpu->st.gpr[X86_RSP] = (sp + BITS / 8 + op->imm) & x86_mask(BITS);    \
		return st;                                                                    \
	}

CALL(32)
CALL(64)

static int64_t call_any(struct x86_cpu *cpu, const struct x86_op *op, uint64_t target)
{
	int64_t st;

	x86_sync(cpu, op);
	st = x86_check_target(cpu, target);
	if (!st)
		st = x86_push(cpu, op, x86_op_next_rip(cpu, op), op->size);
	if (st)
		return st;
	cpu->st.rip = target;
	return x86_done(op);
}

static int64_t call_any_rel(struct x86_cpu *cpu, const struct x86_op *op)
{
	return call_any(cpu, op, (cpu->rip_page + op->imm) & op->amask);
}

static int64_t call_any_rm(struct x86_cpu *cpu, const struct x86_op *op)
{
	uint64_t target;
	int64_t st = x86_rm_read(cpu, op, op->dst, op->size * 8u, &target);

	return st ? st : call_any(cpu, op, target);
}

static int64_t ret_any(struct x86_cpu *cpu, const struct x86_op *op)
{
	uint64_t target;
	int64_t st;

	x86_sync(cpu, op);
	st = x86_stack_read(cpu, 0, op->size, &target);
	if (!st)
		st = branch(cpu, op, target);
	if (st > 0)
		x86_sp_set(cpu, x86_sp(cpu) + op->size + op->imm);
	return st;
}

unsigned x86_fast_stack(const struct x86_insn *in, unsigned size)
{
	if (in->mode & X86_M_64)
		return size == 8 ? 64 : 0;
	if ((in->mode & X86_M_FLAT) && (in->mode & X86_M_SS32) && size == 4)
		return 32;
	return 0;
}

bool x86_build_call(struct x86_insn *in, struct x86_op *op)
{
	bool rel = in->args[0].kind == X86_ARG_IMM, in_page = false;
	unsigned fast;

	in->end = true;
	op->size = in->osize;
	op->dst = in->args[0].reg;
	fast = x86_fast_stack(in, op->size);
	if (rel)
		in_page = take_target(in, op);
	if (!fast)
		op->fn = rel ? call_any_rel : call_any_rm;
	else if (!rel)
		op->fn = fast == 64 ? call_rm_64 : call_rm_32;
	else if (in_page)
		op->fn = fast == 64 ? call_in_64 : call_in_32;
	else
		op->fn = fast == 64 ? call_out_64 : call_out_32;
	return true;
}

bool x86_build_ret(struct x86_insn *in, struct x86_op *op)
{
	unsigned fast = x86_fast_stack(in, in->osize);

	in->end = true;
	op->size = in->osize;
	op->imm = in->nargs ? in->args[0].imm & 0xffff : 0;
	op->fn = fast == 64 ? ret_64 : fast == 32 ? ret_32 : ret_any;
	return true;
}

/* --- LOOPcc, JrCXZ ------------------------------------------------------------------------- */

/* arg: 0 LOOP, 1 LOOPE, 2 LOOPNE, 3 JCXZ. asize: width of the counter. */
static int64_t loop_any(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned bits = op->asize * 8u, rcx = X86_REG(X86_RCX);
	uint64_t count = x86_get(cpu, rcx, bits);
	bool taken;
	int64_t st;

	if (op->arg == 3) {
		taken = count == 0;
	} else {
		count = (count - 1) & x86_mask(bits);
		taken = count != 0;
		if (op->arg)
			taken = taken && (cpu->fl_z == 0) == (op->arg == 1);
	}
	st = taken ? branch_rel(cpu, op) : 0;
	if (st < 0)
		return st;
	if (op->arg != 3)
		x86_set(cpu, rcx, bits, count);
	return taken ? st : x86_next(cpu, op);
}

bool x86_build_loop(struct x86_insn *in, struct x86_op *op)
{
	(void)take_target(in, op);
	op->fn = loop_any;
	return true;
}
