// SPDX-License-Identifier: MIT
/* Transfers that load CS: INT n, IRET, far JMP, CALL and RET, SYSCALL, SYSENTER. */
#include "x86/decode.h"
#include "x86/event.h"
#include "x86/exec.h"
#include "x86/flags.h"
#include "x86/mem.h"
#include "x86/seg.h"

/* --- software interrupts --------------------------------------------------------------- */

/* arg: the interruption type; imm: the vector. */
int64_t x86_do_int(struct x86_cpu *cpu, const struct x86_op *op)
{
	struct x86_event ev = {
		.fault = {.vector = (uint8_t)op->imm},
		.type = op->arg,
		.insn_length = op->len,
	};
	int64_t st;

	x86_sync(cpu, op);
	if (op->arg == X86_EV_SOFT_EXC)
		ev.fault.vector = X86_BP;
	else if (op->arg == X86_EV_PRIV_SOFT)
		ev.fault.vector = X86_DB;
	st = x86_deliver(cpu, &ev);
	return st ? st : x86_done(op);
}

int64_t x86_do_into(struct x86_cpu *cpu, const struct x86_op *op)
{
	struct x86_event ev = {
		.fault = {.vector = X86_OF}, .type = X86_EV_SOFT_EXC, .insn_length = op->len};
	int64_t st;

	if (!x86_of(cpu))
		return x86_next(cpu, op);
	x86_sync(cpu, op);
	st = x86_deliver(cpu, &ev);
	return st ? st : x86_done(op);
}

/* --- far JMP and CALL ---------------------------------------------------------------------- */

static void load_cs(struct x86_cpu *cpu, const struct x86_desc *d, uint64_t rip)
{
	cpu->st.seg[X86_CS] = d->seg;
	cpu->st.rip = rip;
	x86_refresh(cpu);
}

/* Is the target of a far transfer valid in the code segment it goes to? */
static int64_t check_far_target(struct x86_cpu *cpu, const struct x86_seg *cs, uint64_t rip)
{
	if ((cpu->st.efer & X86_EFER_LMA) && (cs->ar & X86_AR_L))
		return x86_canonical(rip) ? 0 : x86_fault_code(cpu, X86_GP, 0);
	return rip > cs->limit ? x86_fault_code(cpu, X86_GP, 0) : 0;
}

/* Gates are not followed: a task gate or TSS is the processor's, the rest is reported. */
static int64_t far_system(struct x86_cpu *cpu, const struct x86_desc *d, bool call)
{
	unsigned type = d->seg.ar & X86_AR_TYPE;
	struct x86_special_info info = {.value = d->sel, .type = call ? 0 : 2};
	int64_t st;

	if (cpu->st.efer & X86_EFER_LMA || (type & 7) == 4 || !(type & 5)) {
		if ((type & 7) == 4 && cpu->ops->unimplemented)
			cpu->ops->unimplemented(cpu->env, "call gate", cpu->st.rip);
		return x86_sel_fault(cpu, X86_GP, d->sel, 0);
	}
	st = x86_special(cpu, cpu->op, X86_SP_TASK_SWITCH, &info);
	return st ? st : x86_done(cpu->op);
}

static int64_t far_code(struct x86_cpu *cpu, uint16_t sel, struct x86_desc *d)
{
	int64_t st;

	if (!(sel & 0xfffc))
		return x86_fault_code(cpu, X86_GP, 0);
	st = x86_desc_read(cpu, sel, X86_GP, 0, d);
	if (st || !(d->seg.ar & X86_AR_S))
		return st;
	return x86_cs_check(cpu, sel, cpu->cpl, d);
}

static int64_t far_jump(struct x86_cpu *cpu, const struct x86_op *op, uint16_t sel, uint64_t rip)
{
	struct x86_desc d;
	int64_t st;

	x86_sync(cpu, op);
	if (!(cpu->st.cr0 & X86_CR0_PE)) {
		cpu->st.seg[X86_CS].sel = sel;
		cpu->st.seg[X86_CS].base = (uint64_t)sel << 4;
		cpu->st.rip = rip;
		x86_refresh(cpu);
		return x86_done(op);
	}
	st = far_code(cpu, sel, &d);
	if (st)
		return st;
	if (!(d.seg.ar & X86_AR_S))
		return far_system(cpu, &d, false);
	st = check_far_target(cpu, &d.seg, rip);
	if (st)
		return st;
	load_cs(cpu, &d, rip);
	return x86_done(op);
}

static int64_t far_call(struct x86_cpu *cpu, const struct x86_op *op, uint16_t sel, uint64_t rip)
{
	uint64_t ret = x86_op_next_rip(cpu, op), cs = cpu->st.seg[X86_CS].sel;
	unsigned size = op->size;
	struct x86_ref refs[2];
	struct x86_desc d;
	int64_t st;

	x86_sync(cpu, op);
	st = far_code(cpu, sel, &d);
	if (st)
		return st;
	if (!(d.seg.ar & X86_AR_S))
		return far_system(cpu, &d, true);
	st = x86_stack_ref(cpu, x86_sp(cpu) - size, size, X86_WRITE, &refs[0]);
	if (!st)
		st = x86_stack_ref(cpu, x86_sp(cpu) - 2 * size, size, X86_WRITE, &refs[1]);
	if (!st)
		st = check_far_target(cpu, &d.seg, rip);
	if (!st)
		st = x86_ref_write(cpu, &refs[0], &cs);
	if (!st)
		st = x86_ref_write(cpu, &refs[1], &ret);
	if (st)
		return st;
	x86_sp_set(cpu, x86_sp(cpu) - 2 * size);
	load_cs(cpu, &d, rip);
	return x86_done(op);
}

/* A far pointer in memory: offset, then selector. */
static int64_t far_pointer(struct x86_cpu *cpu, const struct x86_op *op, uint16_t *ret_sel,
			   uint64_t *ret_rip)
{
	uint64_t va, sel;
	int64_t st = x86_mem_linear(cpu, op, op->size + 2u, X86_READ, &va);

	if (!st)
		st = x86_rd(cpu, op, va, op->size * 8u, op->seg, ret_rip);
	if (!st)
		st = x86_rd(cpu, op, va + op->size, 16, op->seg, &sel);
	if (!st)
		*ret_sel = (uint16_t)sel;
	return st;
}

/* disp is the offset and imm the selector of a direct far pointer. */
int64_t x86_do_jmp_far(struct x86_cpu *cpu, const struct x86_op *op)
{
	uint16_t sel = (uint16_t)op->imm;
	uint64_t rip = (uint64_t)op->disp;
	int64_t st = 0;

	if (op->flags & X86_OPF_MEM)
		st = far_pointer(cpu, op, &sel, &rip);
	return st ? st : far_jump(cpu, op, sel, rip);
}

int64_t x86_do_call_far(struct x86_cpu *cpu, const struct x86_op *op)
{
	uint16_t sel = (uint16_t)op->imm;
	uint64_t rip = (uint64_t)op->disp;
	int64_t st = 0;

	if (op->flags & X86_OPF_MEM)
		st = far_pointer(cpu, op, &sel, &rip);
	return st ? st : far_call(cpu, op, sel, rip);
}

bool x86_build_far(struct x86_insn *in, struct x86_op *op)
{
	op->size = in->osize;
	op->fn = in->row_fn;
	if (in->args[0].kind == X86_ARG_FAR) {
		op->imm = in->args[0].imm;
		op->disp = (int64_t)in->far_offset;
	}
	return true;
}

/* --- far RET and IRET ------------------------------------------------------------------------ */

/* What a return takes from the stack. */
struct far_frame {
	uint64_t rip, cs, flags, sp, ss;
	unsigned words; /* read so far */
};

static int64_t frame_word(struct x86_cpu *cpu, const struct x86_op *op, struct far_frame *f,
			  unsigned skip, uint64_t *ret)
{
	return x86_stack_read(cpu, (uint64_t)f->words++ * op->size + skip, op->size, ret);
}

/* CS for a return: to the same or an outer privilege. */
static int64_t return_cs(struct x86_cpu *cpu, uint16_t sel, struct x86_desc *d)
{
	unsigned rpl = sel & 3u;
	int64_t st;

	if (!(sel & 0xfffc))
		return x86_fault_code(cpu, X86_GP, 0);
	st = x86_desc_read(cpu, sel, X86_GP, 0, d);
	if (st)
		return st;
	if (rpl < cpu->cpl || !(d->seg.ar & X86_AR_S))
		return x86_sel_fault(cpu, X86_GP, sel, 0);
	return x86_cs_check(cpu, sel, rpl, d);
}

/* SS for a return to CPL rpl. 64-bit code below CPL 3 may have a null one. */
static int64_t return_ss(struct x86_cpu *cpu, uint16_t sel, unsigned rpl, bool to_64,
			 struct x86_desc *d)
{
	if (!(sel & 0xfffc) && to_64 && rpl != 3) {
		if ((sel & 3u) != rpl)
			return x86_sel_fault(cpu, X86_GP, sel, 0);
		d->seg = x86_seg_null(sel, rpl);
		return 0;
	}
	return x86_ss_check(cpu, sel, rpl, X86_GP, 0, d);
}

/*
 * Loads CS:RIP, and SS:RSP if the frame has them. skip: bytes between the frame
 * and the outer stack pointer (RET n). Flags come last, by the caller.
 */
static int64_t far_return(struct x86_cpu *cpu, const struct x86_op *op, struct far_frame *f,
			  unsigned skip, bool always_ss)
{
	unsigned old_cpl = cpu->cpl, rpl = (unsigned)f->cs & 3;
	uint64_t sp_after;
	struct x86_desc cs, ss;
	bool outer, to_64;
	int64_t st = return_cs(cpu, (uint16_t)f->cs, &cs);

	if (st)
		return st;
	to_64 = (cpu->st.efer & X86_EFER_LMA) && (cs.seg.ar & X86_AR_L);
	outer = always_ss || rpl != old_cpl;
	if (outer) {
		st = frame_word(cpu, op, f, skip, &f->sp);
		if (!st)
			st = frame_word(cpu, op, f, skip, &f->ss);
		if (!st)
			st = return_ss(cpu, (uint16_t)f->ss, rpl, to_64, &ss);
	}
	if (!st)
		st = check_far_target(cpu, &cs.seg, f->rip);
	if (st)
		return st;
	sp_after = x86_sp(cpu) + (uint64_t)f->words * op->size + skip;
	cpu->st.seg[X86_CS] = cs.seg;
	cpu->st.rip = f->rip;
	if (outer) {
		cpu->st.seg[X86_SS] = ss.seg;
		x86_refresh(cpu);
		/* A 16-bit stack takes SP only. */
		x86_sp_set(cpu, f->sp + skip);
		if (op->size == 2 && cpu->sp_mask != 0xffff)
			cpu->st.gpr[X86_RSP] = (f->sp + skip) & 0xffff;
	} else {
		x86_sp_set(cpu, sp_after);
		x86_refresh(cpu);
	}
	if (rpl != old_cpl)
		x86_seg_outer(cpu, rpl);
	x86_refresh(cpu);
	return 0;
}

int64_t x86_do_ret_far(struct x86_cpu *cpu, const struct x86_op *op)
{
	struct far_frame f = {0};
	int64_t st;

	x86_sync(cpu, op);
	st = frame_word(cpu, op, &f, 0, &f.rip);
	if (!st)
		st = frame_word(cpu, op, &f, 0, &f.cs);
	if (!st)
		st = far_return(cpu, op, &f, (unsigned)op->imm & 0xffff, false);
	return st ? st : x86_done(op);
}

static uint64_t iret_flags(const struct x86_cpu *cpu, uint64_t image, unsigned size, unsigned cpl)
{
	uint64_t old = x86_rflags(cpu);
	uint64_t can = X86_FL_ARITH | X86_FL_TF | X86_FL_DF | X86_FL_NT;

	if (size > 2)
		can |= X86_FL_RF | X86_FL_AC | X86_FL_ID;
	if (cpl <= ((old & X86_FL_IOPL) >> 12))
		can |= X86_FL_IF;
	if (cpl == 0) {
		can |= X86_FL_IOPL;
		if (size > 2)
			can |= X86_FL_VIF | X86_FL_VIP;
	}
	return (old & ~can) | (image & can);
}

int64_t x86_do_iret(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned cpl = cpu->cpl;
	struct far_frame f = {0};
	int64_t st;

	x86_sync(cpu, op);
	if (cpu->st.rflags & X86_FL_NT) {
		struct x86_special_info info = {.type = 1};

		if (cpu->st.efer & X86_EFER_LMA)
			return x86_fault_code(cpu, X86_GP, 0);
		st = x86_special(cpu, op, X86_SP_TASK_SWITCH, &info);
		return st ? st : x86_done(op);
	}
	st = frame_word(cpu, op, &f, 0, &f.rip);
	if (!st)
		st = frame_word(cpu, op, &f, 0, &f.cs);
	if (!st)
		st = frame_word(cpu, op, &f, 0, &f.flags);
	if (st)
		return st;
	if (op->size > 2 && (f.flags & X86_FL_VM) && cpl == 0 && !(cpu->st.efer & X86_EFER_LMA)) {
		if (cpu->ops->unimplemented)
			cpu->ops->unimplemented(cpu->env, "iret to virtual-8086 mode", cpu->st.rip);
		return x86_fault_code(cpu, X86_GP, 0);
	}
	st = far_return(cpu, op, &f, 0, x86_is64(cpu));
	if (st)
		return st;
	cpu->st.interruptibility &= ~X86_SHADOW_NMI;
	x86_set_rflags(cpu, iret_flags(cpu, f.flags, op->size, cpl));
	return x86_done(op);
}

/* --- SYSCALL, SYSRET, SYSENTER, SYSEXIT ---------------------------------------------------- */

static struct x86_seg flat_segment(uint16_t sel, uint32_t ar)
{
	return (struct x86_seg){.sel = sel, .base = 0, .limit = 0xffffffff, .ar = ar};
}

/* Present, accessed, S; code is readable, data writable. */
#define AR_CODE64 0xa09bu
#define AR_CODE32 0xc09bu
#define AR_DATA 0xc093u
#define AR_DPL3 0x60u

static void load_flat(struct x86_cpu *cpu, uint16_t cs, uint32_t cs_ar, uint16_t ss, uint32_t ss_ar)
{
	cpu->st.seg[X86_CS] = flat_segment(cs, cs_ar);
	cpu->st.seg[X86_SS] = flat_segment(ss, ss_ar);
	x86_refresh(cpu);
}

/* 64-bit code only, as Intel processors do. */
int64_t x86_do_syscall(struct x86_cpu *cpu, const struct x86_op *op)
{
	struct x86_state *s = &cpu->st;
	uint16_t sel = (uint16_t)(s->star >> 32);
	uint64_t fl = x86_rflags(cpu) & ~(uint64_t)X86_FL_RF;

	if (!x86_is64(cpu) || !(s->efer & X86_EFER_SCE))
		return x86_op_fault0(cpu, op, X86_UD);
	x86_sync(cpu, op);
	s->gpr[X86_RCX] = x86_op_next_rip(cpu, op);
	s->gpr[X86_R11] = fl;
	s->rip = s->lstar;
	x86_set_rflags(cpu, fl & ~s->fmask);
	load_flat(cpu, sel & 0xfffc, AR_CODE64, (uint16_t)((sel & 0xfffc) + 8), AR_DATA);
	return x86_done(op);
}

#define SYSRET_FLAGS 0x3c7fd7u

int64_t x86_do_sysret(struct x86_cpu *cpu, const struct x86_op *op)
{
	struct x86_state *s = &cpu->st;
	uint16_t sel = (uint16_t)(s->star >> 48);
	bool to_64 = op->size == 8;

	if (!x86_is64(cpu) || !(s->efer & X86_EFER_SCE))
		return x86_op_fault0(cpu, op, X86_UD);
	if (cpu->cpl || (to_64 && !x86_canonical(s->gpr[X86_RCX])))
		return x86_op_gp0(cpu, op);
	x86_sync(cpu, op);
	s->rip = to_64 ? s->gpr[X86_RCX] : (uint32_t)s->gpr[X86_RCX];
	x86_set_rflags(cpu, (s->gpr[X86_R11] & SYSRET_FLAGS) | 2);
	load_flat(cpu, (uint16_t)((sel + (to_64 ? 16 : 0)) | 3),
		  (to_64 ? AR_CODE64 : AR_CODE32) | AR_DPL3, (uint16_t)((sel + 8) | 3),
		  AR_DATA | AR_DPL3);
	return x86_done(op);
}

int64_t x86_do_sysenter(struct x86_cpu *cpu, const struct x86_op *op)
{
	struct x86_state *s = &cpu->st;
	uint16_t sel = (uint16_t)s->sysenter_cs & 0xfffc;
	bool lma = s->efer & X86_EFER_LMA;

	if (!(s->cr0 & X86_CR0_PE) || !sel)
		return x86_op_gp0(cpu, op);
	x86_sync(cpu, op);
	s->gpr[X86_RSP] = lma ? s->sysenter_esp : (uint32_t)s->sysenter_esp;
	s->rip = lma ? s->sysenter_eip : (uint32_t)s->sysenter_eip;
	x86_set_rflags(cpu, x86_rflags(cpu) & ~(uint64_t)(X86_FL_VM | X86_FL_IF | X86_FL_RF));
	load_flat(cpu, sel, lma ? AR_CODE64 : AR_CODE32, (uint16_t)(sel + 8), AR_DATA);
	return x86_done(op);
}

int64_t x86_do_sysexit(struct x86_cpu *cpu, const struct x86_op *op)
{
	struct x86_state *s = &cpu->st;
	uint16_t sel = (uint16_t)s->sysenter_cs & 0xfffc;
	bool to_64 = op->size == 8;

	if (!(s->cr0 & X86_CR0_PE) || !sel || cpu->cpl)
		return x86_op_gp0(cpu, op);
	if (to_64 && (!x86_canonical(s->gpr[X86_RCX]) || !x86_canonical(s->gpr[X86_RDX])))
		return x86_op_gp0(cpu, op);
	x86_sync(cpu, op);
	s->gpr[X86_RSP] = to_64 ? s->gpr[X86_RCX] : (uint32_t)s->gpr[X86_RCX];
	s->rip = to_64 ? s->gpr[X86_RDX] : (uint32_t)s->gpr[X86_RDX];
	sel = (uint16_t)(sel + (to_64 ? 32 : 16));
	load_flat(cpu, sel | 3, (to_64 ? AR_CODE64 : AR_CODE32) | AR_DPL3, (uint16_t)(sel + 8) | 3,
		  AR_DATA | AR_DPL3);
	return x86_done(op);
}
