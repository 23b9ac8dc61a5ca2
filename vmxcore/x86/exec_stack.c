// SPDX-License-Identifier: MIT
/* PUSH and POP in all forms, ENTER, LEAVE, PUSHA, POPA, PUSHF, POPF. */
#include "x86/decode.h"
#include "x86/exec.h"
#include "x86/flags.h"
#include "x86/mem.h"

uint64_t x86_sp(const struct x86_cpu *cpu)
{
	return cpu->st.gpr[X86_RSP] & cpu->sp_mask;
}

void x86_sp_set(struct x86_cpu *cpu, uint64_t sp)
{
	uint64_t *rsp = &cpu->st.gpr[X86_RSP];

	if (cpu->sp_mask == 0xffff)
		*rsp = (*rsp & ~UINT64_C(0xffff)) | (sp & 0xffff);
	else
		*rsp = sp & cpu->sp_mask;
}

int64_t x86_stack_ref(struct x86_cpu *cpu, uint64_t sp, unsigned size, uint32_t access,
		      struct x86_ref *ret)
{
	uint64_t va;
	int64_t st = x86_seg_linear(cpu, X86_SS, sp & cpu->sp_mask, size, access, &va);

	return st ? st : x86_ref_get(cpu, va, size, x86_access(cpu, access), X86_SS, ret);
}

int64_t x86_push(struct x86_cpu *cpu, const struct x86_op *op, uint64_t v, unsigned size)
{
	uint64_t sp = x86_sp(cpu) - size;
	struct x86_ref ref;
	int64_t st;

	x86_sync(cpu, op);
	st = x86_stack_ref(cpu, sp, size, X86_WRITE, &ref);
	if (!st)
		st = x86_ref_write(cpu, &ref, &v);
	if (!st)
		x86_sp_set(cpu, sp);
	return st;
}

int64_t x86_stack_read(struct x86_cpu *cpu, uint64_t skip, unsigned size, uint64_t *ret)
{
	struct x86_ref ref;
	uint64_t v = 0;
	int64_t st = x86_stack_ref(cpu, x86_sp(cpu) + skip, size, X86_READ, &ref);

	if (!st)
		st = x86_ref_read(cpu, &ref, &v);
	if (!st)
		*ret = v;
	return st;
}

/* The slow paths of PUSH and POP are calls at the tail: no frame in the fast ones. */
static X86_COLD int64_t push_slow(struct x86_cpu *cpu, const struct x86_op *op, unsigned bits,
				  uint64_t v)
{
	int64_t st = x86_push(cpu, op, v, bits / 8);

	return st ? st : x86_next(cpu, op);
}

X86_INLINE int64_t push_fast(struct x86_cpu *cpu, const struct x86_op *op, unsigned bits,
			     uint64_t v)
{
	uint64_t sp = (cpu->st.gpr[X86_RSP] - bits / 8) & x86_mask(bits);
	uint8_t *p = x86_wr_probe(cpu, sp, bits);

	if (!p)
		return push_slow(cpu, op, bits, v);
	x86_host_store(p, bits, v);
	cpu->st.gpr[X86_RSP] = sp;
	return x86_next(cpu, op);
}

static X86_COLD int64_t pop_slow(struct x86_cpu *cpu, const struct x86_op *op, unsigned bits)
{
	uint64_t v;
	int64_t st;

	x86_sync(cpu, op);
	st = x86_stack_read(cpu, 0, bits / 8, &v);
	if (st)
		return st;
	x86_sp_set(cpu, x86_sp(cpu) + bits / 8);
	x86_set(cpu, op->dst, bits, v);
	return x86_next(cpu, op);
}

X86_INLINE int64_t pop_fast(struct x86_cpu *cpu, const struct x86_op *op, unsigned bits)
{
	uint64_t sp = cpu->st.gpr[X86_RSP] & x86_mask(bits), v;

	if (!x86_rd_probe(cpu, sp, bits, &v))
		return pop_slow(cpu, op, bits);
	cpu->st.gpr[X86_RSP] = (sp + bits / 8) & x86_mask(bits);
	x86_set(cpu, op->dst, bits, v);
	return x86_next(cpu, op);
}

#define STACK_FAST(BITS)                                                           \
	static int64_t push_r_##BITS(struct x86_cpu *cpu, const struct x86_op *op) \
	{                                                                          \
		return push_fast(cpu, op, BITS, x86_get(cpu, op->dst, BITS));      \
	}                                                                          \
	static int64_t push_i_##BITS(struct x86_cpu *cpu, const struct x86_op *op) \
	{                                                                          \
		return push_fast(cpu, op, BITS, op->imm);                          \
	}                                                                          \
	static int64_t pop_r_##BITS(struct x86_cpu *cpu, const struct x86_op *op)  \
	{                                                                          \
		return pop_fast(cpu, op, BITS);                                    \
	}

STACK_FAST(32)
STACK_FAST(64)

static int64_t push_any(struct x86_cpu *cpu, const struct x86_op *op)
{
	uint64_t v = op->imm;
	int64_t st = 0;

	if (!(op->flags & X86_OPF_IMM))
		st = x86_rm_read(cpu, op, op->dst, op->size * 8u, &v);
	if (!st)
		st = x86_push(cpu, op, v, op->size);
	return st ? st : x86_next(cpu, op);
}

/* PUSH of a segment register writes 16 bits of a wider slot and leaves the rest. */
static int64_t push_seg(struct x86_cpu *cpu, const struct x86_op *op)
{
	uint64_t sp = x86_sp(cpu) - op->size, v = cpu->st.seg[op->arg].sel;
	unsigned written = op->size == 4 ? 2 : op->size;
	struct x86_ref ref;
	int64_t st;

	x86_sync(cpu, op);
	st = x86_stack_ref(cpu, sp, written, X86_WRITE, &ref);
	if (!st)
		st = x86_ref_write(cpu, &ref, &v);
	if (st)
		return st;
	x86_sp_set(cpu, sp);
	return x86_next(cpu, op);
}

bool x86_build_push(struct x86_insn *in, struct x86_op *op)
{
	const struct x86_arg *a = &in->args[0];
	unsigned fast;

	op->size = in->osize;
	op->dst = a->reg;
	fast = x86_fast_stack(in, op->size);
	if (a->kind == X86_ARG_SEG) {
		op->arg = (uint8_t)a->imm;
		op->fn = push_seg;
		return true;
	}
	if (a->kind == X86_ARG_IMM) {
		op->imm = a->imm;
		op->flags |= X86_OPF_IMM;
	}
	if (!fast || in->has_mem)
		op->fn = push_any;
	else if (a->kind == X86_ARG_IMM)
		op->fn = fast == 64 ? push_i_64 : push_i_32;
	else
		op->fn = fast == 64 ? push_r_64 : push_r_32;
	return true;
}

/*
 * POP to memory: an address with RSP as base counts with RSP already moved; the
 * write may fault, then RSP is put back.
 */
static int64_t pop_any(struct x86_cpu *cpu, const struct x86_op *op)
{
	uint64_t v, rsp = cpu->st.gpr[X86_RSP];
	int64_t st;

	x86_sync(cpu, op);
	st = x86_stack_read(cpu, 0, op->size, &v);
	if (st)
		return st;
	x86_sp_set(cpu, x86_sp(cpu) + op->size);
	st = x86_rm_write(cpu, op, op->dst, op->size * 8u, v);
	if (st) {
		cpu->st.gpr[X86_RSP] = rsp;
		return st;
	}
	return x86_next(cpu, op);
}

bool x86_build_pop(struct x86_insn *in, struct x86_op *op)
{
	const struct x86_arg *a = &in->args[0];
	unsigned fast;

	op->size = in->osize;
	op->dst = a->reg;
	fast = x86_fast_stack(in, op->size);
	if (a->kind == X86_ARG_SEG) {
		op->arg = (uint8_t)a->imm;
		op->fn = x86_do_pop_seg;
		in->end = true;
		return true;
	}
	op->fn = !fast || in->has_mem ? pop_any : fast == 64 ? pop_r_64 : pop_r_32;
	return true;
}

/* --- frames -------------------------------------------------------------------------------- */

int64_t x86_do_leave(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned bits = op->size * 8u;
	uint64_t rbp = cpu->st.gpr[X86_RBP] & cpu->sp_mask, v = 0;
	struct x86_ref ref;
	int64_t st;

	x86_sync(cpu, op);
	st = x86_stack_ref(cpu, rbp, op->size, X86_READ, &ref);
	if (!st)
		st = x86_ref_read(cpu, &ref, &v);
	if (st)
		return st;
	x86_sp_set(cpu, rbp + op->size);
	x86_set(cpu, X86_REG(X86_RBP), bits, v);
	return x86_next(cpu, op);
}

/* Everything ENTER will write, translated before anything is written. */
struct enter_frame {
	struct x86_ref refs[33];
	uint64_t values[33];
	uint64_t at[33]; /* offsets in the stack segment */
	unsigned count;
	uint64_t sp;
};

static int64_t enter_push(struct x86_cpu *cpu, struct enter_frame *f, unsigned size, uint64_t v)
{
	int64_t st;

	f->sp = (f->sp - size) & cpu->sp_mask;
	st = x86_stack_ref(cpu, f->sp, size, X86_WRITE, &f->refs[f->count]);
	if (st)
		return st;
	f->at[f->count] = f->sp;
	f->values[f->count++] = v;
	return 0;
}

/* The old display may overlap the new frame: what is pushed already is seen. */
static uint64_t enter_pushed(const struct x86_cpu *cpu, const struct enter_frame *f, unsigned size,
			     uint64_t at, uint64_t v)
{
	for (unsigned k = 0; k < f->count; k++) {
		for (unsigned i = 0; i < size; i++) {
			uint64_t distance = (at + i - f->at[k]) & cpu->sp_mask;
			uint64_t byte;

			if (distance >= size)
				continue;
			byte = (f->values[k] >> (8 * distance)) & 0xff;
			v = (v & ~(UINT64_C(0xff) << (8 * i))) | byte << (8 * i);
		}
	}
	return v;
}

static int64_t enter_display(struct x86_cpu *cpu, struct enter_frame *f, unsigned size,
			     unsigned level, uint64_t frame)
{
	uint64_t rbp = cpu->st.gpr[X86_RBP];
	int64_t st = 0;

	for (unsigned i = 1; i < level && !st; i++) {
		struct x86_ref ref;
		uint64_t v = 0;

		rbp -= size;
		st = x86_stack_ref(cpu, rbp, size, X86_READ, &ref);
		if (!st)
			st = x86_ref_read(cpu, &ref, &v);
		if (!st)
			st = enter_push(cpu, f, size, enter_pushed(cpu, f, size, rbp, v));
	}
	return st ? st : enter_push(cpu, f, size, frame);
}

/* imm: bytes of locals, arg from the second operand: nesting level. */
int64_t x86_do_enter(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned size = op->size, level = (unsigned)(op->imm >> 16) & 31;
	uint64_t frame, sp_mask = cpu->sp_mask;
	struct enter_frame f;
	struct x86_ref probe;
	int64_t st;

	x86_sync(cpu, op);
	f.count = 0;
	f.sp = x86_sp(cpu);
	st = enter_push(cpu, &f, size, cpu->st.gpr[X86_RBP]);
	frame = f.sp;
	if (!st && level)
		st = enter_display(cpu, &f, size, level, frame);
	f.sp = (f.sp - (op->imm & 0xffff)) & sp_mask;
	/* The new stack top must be writable, though nothing is written there. */
	if (!st)
		st = x86_stack_ref(cpu, f.sp, size, X86_WRITE, &probe);
	for (unsigned i = 0; i < f.count && !st; i++)
		st = x86_ref_write(cpu, &f.refs[i], &f.values[i]);
	if (st)
		return st;
	x86_set(cpu, X86_REG(X86_RBP), size * 8, frame);
	x86_sp_set(cpu, f.sp);
	return x86_next(cpu, op);
}

bool x86_build_enter(struct x86_insn *in, struct x86_op *op)
{
	op->size = in->osize;
	op->imm = (in->args[0].imm & 0xffff) | ((in->args[1].imm & 31) << 16);
	op->fn = x86_do_enter;
	return true;
}

int64_t x86_do_pusha(struct x86_cpu *cpu, const struct x86_op *op)
{
	uint64_t sp = x86_sp(cpu);
	struct x86_ref refs[8];
	int64_t st = 0;

	x86_sync(cpu, op);
	for (unsigned i = 0; i < 8 && !st; i++)
		st = x86_stack_ref(cpu, sp - (i + 1) * op->size, op->size, X86_WRITE, &refs[i]);
	for (unsigned i = 0; i < 8 && !st; i++)
		st = x86_ref_write(cpu, &refs[i], &cpu->st.gpr[i]);
	if (st)
		return st;
	x86_sp_set(cpu, sp - 8u * op->size);
	return x86_next(cpu, op);
}

/* The image of ESP is skipped. */
int64_t x86_do_popa(struct x86_cpu *cpu, const struct x86_op *op)
{
	uint64_t v[8];
	int64_t st = 0;

	x86_sync(cpu, op);
	for (unsigned i = 0; i < 8 && !st; i++)
		if (i != 3)
			st = x86_stack_read(cpu, i * op->size, op->size, &v[i]);
	if (st)
		return st;
	for (unsigned i = 0; i < 8; i++)
		if (i != 3)
			x86_set(cpu, X86_REG(7 - i), op->size * 8u, v[i]);
	x86_sp_set(cpu, x86_sp(cpu) + 8u * op->size);
	return x86_next(cpu, op);
}

/* --- flags --------------------------------------------------------------------------------- */

int64_t x86_do_pushf(struct x86_cpu *cpu, const struct x86_op *op)
{
	uint64_t v = x86_rflags(cpu) & ~(uint64_t)(X86_FL_RF | X86_FL_VM);
	int64_t st = x86_push(cpu, op, v, op->size);

	return st ? st : x86_next(cpu, op);
}

int64_t x86_do_popf(struct x86_cpu *cpu, const struct x86_op *op)
{
	uint64_t can = X86_FL_ARITH | X86_FL_TF | X86_FL_DF | X86_FL_NT;
	uint64_t old = x86_rflags(cpu), v;
	int64_t st;

	x86_sync(cpu, op);
	st = x86_stack_read(cpu, 0, op->size, &v);
	if (st)
		return st;
	if (op->size > 2)
		can |= X86_FL_AC | X86_FL_ID | X86_FL_RF;
	if (cpu->cpl <= ((old & X86_FL_IOPL) >> 12))
		can |= X86_FL_IF;
	if (cpu->cpl == 0)
		can |= X86_FL_IOPL;
	v &= ~(uint64_t)X86_FL_RF; /* POPF clears RF */
	x86_sp_set(cpu, x86_sp(cpu) + op->size);
	x86_set_rflags(cpu, (old & ~can) | (v & can));
	cpu->st.rip = x86_op_next_rip(cpu, op);
	return x86_done(op);
}
