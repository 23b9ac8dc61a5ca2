// SPDX-License-Identifier: MIT
/*
 * System instructions. Privilege and operands are checked here, in the order of
 * "Relative Priority of Faults and VM Exits"; the effect is the callback's unless
 * it touches nothing but the registers that the executor owns.
 */
#include "x86/exec.h"
#include "x86/flags.h"
#include "x86/mem.h"
#include "x86/seg.h"

#define RAX X86_REG(X86_RAX)

/* CPL 0, or #GP(0). */
static int64_t privileged(struct x86_cpu *cpu, const struct x86_op *op)
{
	return cpu->cpl ? x86_op_gp0(cpu, op) : 0;
}

/* Behind an instruction that may have changed the mode: the block is left. */
static int64_t leave(struct x86_cpu *cpu, const struct x86_op *op)
{
	cpu->st.rip = x86_op_next_rip(cpu, op);
	x86_refresh(cpu);
	return x86_done(op);
}

/* Calls out for an instruction without operands; arg is the enum x86_special. */
int64_t x86_do_special(struct x86_cpu *cpu, const struct x86_op *op)
{
	struct x86_special_info info = {0};
	int64_t st = x86_special(cpu, op, (enum x86_special)op->arg, &info);

	return st ? st : x86_next(cpu, op);
}

int64_t x86_do_special_leave(struct x86_cpu *cpu, const struct x86_op *op)
{
	struct x86_special_info info = {0};
	int64_t st = x86_special(cpu, op, (enum x86_special)op->arg, &info);

	return st ? st : leave(cpu, op);
}

/* Outside system-management mode it is undefined, whoever executes it. */
int64_t x86_do_rsm(struct x86_cpu *cpu, const struct x86_op *op)
{
	struct x86_special_info info = {0};
	int64_t st = x86_special(cpu, op, X86_SP_RSM, &info);

	return st ? st : x86_op_fault0(cpu, op, X86_UD);
}

int64_t x86_do_special_cpl0(struct x86_cpu *cpu, const struct x86_op *op)
{
	struct x86_special_info info = {0};
	uint64_t next = x86_op_next_rip(cpu, op);
	int64_t st = privileged(cpu, op);

	if (!st)
		st = x86_special(cpu, op, (enum x86_special)op->arg, &info);
	if (st)
		return st;
	x86_refresh(cpu);
	cpu->st.rip = next;
	return x86_done(op);
}

/* VMX instructions; imm-less, arg is the basic exit reason. */
int64_t x86_do_vmx(struct x86_cpu *cpu, const struct x86_op *op)
{
	struct x86_special_info info = {
		.type = op->arg,
		.has_mem = op->flags & X86_OPF_MEM,
		.displacement = (uint64_t)op->disp,
		.seg = op->seg,
		.address_size = op->asize,
		.linear = op->flags & X86_OPF_MEM ? x86_offset(cpu, op) : 0,
	};
	int64_t st = x86_special(cpu, op, X86_SP_VMX_OTHER, &info);

	return st ? st : leave(cpu, op);
}

int64_t x86_do_vmcall(struct x86_cpu *cpu, const struct x86_op *op)
{
	struct x86_special_info info = {0};
	int64_t st = x86_special(cpu, op, X86_SP_VMCALL, &info);

	return st ? st : leave(cpu, op);
}

/* --- interrupts off and on -------------------------------------------------------------------- */

static bool if_allowed(const struct x86_cpu *cpu)
{
	return cpu->cpl <= ((cpu->st.rflags & X86_FL_IOPL) >> 12);
}

int64_t x86_do_cli(struct x86_cpu *cpu, const struct x86_op *op)
{
	if (!if_allowed(cpu))
		return x86_op_gp0(cpu, op);
	cpu->st.rflags &= ~(uint64_t)X86_FL_IF;
	return x86_next(cpu, op);
}

int64_t x86_do_sti(struct x86_cpu *cpu, const struct x86_op *op)
{
	if (!if_allowed(cpu))
		return x86_op_gp0(cpu, op);
	if (!(cpu->st.rflags & X86_FL_IF)) {
		cpu->st.rflags |= X86_FL_IF;
		cpu->st.interruptibility |= X86_SHADOW_STI;
		cpu->todo |= X86_TODO_STEP;
	}
	cpu->st.rip = x86_op_next_rip(cpu, op);
	return x86_done(op);
}

/* arg: 0 CLAC, 1 STAC */
int64_t x86_do_ac(struct x86_cpu *cpu, const struct x86_op *op)
{
	if (cpu->cpl || !(cpu->st.cr0 & X86_CR0_PE))
		return x86_op_fault0(cpu, op, X86_UD);
	cpu->st.rflags &= ~(uint64_t)X86_FL_AC;
	if (op->arg)
		cpu->st.rflags |= X86_FL_AC;
	x86_refresh_front(cpu);
	return x86_next(cpu, op);
}

int64_t x86_do_hlt(struct x86_cpu *cpu, const struct x86_op *op)
{
	struct x86_special_info info = {0};
	int64_t st = privileged(cpu, op);

	if (!st)
		st = x86_special(cpu, op, X86_SP_HLT, &info);
	return st ? st : leave(cpu, op);
}

/* --- control and debug registers -------------------------------------------------------------- */

static bool cr_exists(const struct x86_cpu *cpu, unsigned cr)
{
	return cr == 0 || (cr >= 2 && cr <= 4) ||
	       (cr == 8 && (x86_is64(cpu) || !(cpu->st.efer & X86_EFER_LMA)));
}

static uint8_t gpr_number(unsigned off)
{
	return (uint8_t)((off - X86_REG(0)) / 8);
}

int64_t x86_do_mov_from_cr(struct x86_cpu *cpu, const struct x86_op *op)
{
	struct x86_special_info info = {
		.reg = op->arg, .gpr = gpr_number(op->dst), .size = op->size};
	int64_t st;

	if (!cr_exists(cpu, op->arg))
		return x86_op_fault0(cpu, op, X86_UD);
	st = privileged(cpu, op);
	if (!st)
		st = x86_special(cpu, op, X86_SP_CR_READ, &info);
	if (st)
		return st;
	x86_set(cpu, op->dst, op->size * 8u, info.value);
	return x86_next(cpu, op);
}

int64_t x86_do_mov_to_cr(struct x86_cpu *cpu, const struct x86_op *op)
{
	struct x86_special_info info = {
		.reg = op->arg, .gpr = gpr_number(op->src), .size = op->size};
	uint64_t rip = x86_op_next_rip(cpu, op);
	int64_t st;

	if (!cr_exists(cpu, op->arg))
		return x86_op_fault0(cpu, op, X86_UD);
	st = privileged(cpu, op);
	info.value = x86_get(cpu, op->src, op->size * 8u);
	if (!st)
		st = x86_special(cpu, op, X86_SP_CR_WRITE, &info);
	if (st)
		return st;
	x86_refresh(cpu);
	cpu->st.rip = rip;
	return x86_done(op);
}

/* DR4 and DR5 are DR6 and DR7 unless CR4.DE; DR7.GD traps every access. */
static int64_t dr_check(struct x86_cpu *cpu, const struct x86_op *op, unsigned *ret_dr)
{
	unsigned dr = op->arg;

	if (dr > 7)
		return x86_op_fault0(cpu, op, X86_UD);
	if (dr == 4 || dr == 5) {
		if (cpu->st.cr4 & X86_CR4_DE)
			return x86_op_fault0(cpu, op, X86_UD);
		dr += 2;
	}
	if (cpu->cpl)
		return x86_op_gp0(cpu, op);
	if (cpu->st.dr[7] & X86_DR7_GD) {
		x86_sync(cpu, op);
		cpu->fault = (struct x86_fault){.vector = X86_DB, .cr2 = X86_DR6_BD};
		return X86S_FAULT;
	}
	*ret_dr = dr;
	return 0;
}

int64_t x86_do_mov_from_dr(struct x86_cpu *cpu, const struct x86_op *op)
{
	struct x86_special_info info = {.gpr = gpr_number(op->dst), .size = op->size};
	unsigned dr = 0;
	int64_t st = dr_check(cpu, op, &dr);

	info.reg = (uint8_t)dr;
	if (!st)
		st = x86_special(cpu, op, X86_SP_DR_READ, &info);
	if (st)
		return st;
	x86_set(cpu, op->dst, op->size * 8u, info.value);
	return x86_next(cpu, op);
}

int64_t x86_do_mov_to_dr(struct x86_cpu *cpu, const struct x86_op *op)
{
	struct x86_special_info info = {.gpr = gpr_number(op->src), .size = op->size};
	unsigned dr = 0;
	int64_t st = dr_check(cpu, op, &dr);

	info.reg = (uint8_t)dr;
	info.value = x86_get(cpu, op->src, op->size * 8u);
	if (!st && dr >= 6 && info.value >> 32)
		st = x86_op_gp0(cpu, op);
	if (!st)
		st = x86_special(cpu, op, X86_SP_DR_WRITE, &info);
	return st ? st : leave(cpu, op);
}

int64_t x86_do_clts(struct x86_cpu *cpu, const struct x86_op *op)
{
	struct x86_special_info info = {0};
	int64_t st = privileged(cpu, op);

	if (!st)
		st = x86_special(cpu, op, X86_SP_CLTS, &info);
	return st ? st : leave(cpu, op);
}

/* CR4.UMIP takes the store instructions away from user code. */
static int64_t umip(struct x86_cpu *cpu, const struct x86_op *op)
{
	return cpu->cpl && (cpu->st.cr4 & X86_CR4_UMIP) ? x86_op_gp0(cpu, op) : 0;
}

int64_t x86_do_lmsw(struct x86_cpu *cpu, const struct x86_op *op)
{
	struct x86_special_info info = {.has_mem = op->flags & X86_OPF_MEM};
	uint64_t rip = x86_op_next_rip(cpu, op), va;
	int64_t st = privileged(cpu, op);

	if (!st && info.has_mem) {
		st = x86_mem_linear(cpu, op, 2, X86_READ, &va);
		info.linear = st ? 0 : va;
	}
	if (!st)
		st = x86_rm_read(cpu, op, op->dst, 16, &info.value);
	if (!st)
		st = x86_special(cpu, op, X86_SP_LMSW, &info);
	if (st)
		return st;
	x86_refresh(cpu);
	cpu->st.rip = rip;
	return x86_done(op);
}

int64_t x86_do_smsw(struct x86_cpu *cpu, const struct x86_op *op)
{
	struct x86_special_info info = {.has_mem = op->flags & X86_OPF_MEM};
	int64_t st = umip(cpu, op);

	if (!st)
		st = x86_special(cpu, op, X86_SP_SMSW, &info);
	if (!st)
		st = x86_rm_write(cpu, op, op->dst, info.has_mem ? 16 : op->size * 8u, info.value);
	return st ? st : x86_next(cpu, op);
}

/* --- time and counters --------------------------------------------------------------------- */

static void set_edx_eax(struct x86_cpu *cpu, uint64_t v)
{
	cpu->st.gpr[X86_RAX] = (uint32_t)v;
	cpu->st.gpr[X86_RDX] = v >> 32;
}

/* arg: X86_SP_RDTSC or X86_SP_RDTSCP */
int64_t x86_do_rdtsc(struct x86_cpu *cpu, const struct x86_op *op)
{
	struct x86_special_info info = {0};
	int64_t st;

	if (cpu->cpl && (cpu->st.cr4 & X86_CR4_TSD))
		return x86_op_gp0(cpu, op);
	st = x86_special(cpu, op, (enum x86_special)op->arg, &info);
	if (st)
		return st;
	set_edx_eax(cpu, info.value);
	if (op->arg == X86_SP_RDTSCP)
		cpu->st.gpr[X86_RCX] = (uint32_t)cpu->st.tsc_aux;
	return x86_next(cpu, op);
}

int64_t x86_do_rdpmc(struct x86_cpu *cpu, const struct x86_op *op)
{
	struct x86_special_info info = {0};
	int64_t st;

	if (cpu->cpl && !(cpu->st.cr4 & X86_CR4_PCE))
		return x86_op_gp0(cpu, op);
	st = x86_special(cpu, op, X86_SP_RDPMC, &info);
	if (st)
		return st;
	set_edx_eax(cpu, info.value);
	return x86_next(cpu, op);
}

int64_t x86_do_rdpid(struct x86_cpu *cpu, const struct x86_op *op)
{
	x86_set(cpu, op->dst, op->size * 8u, (uint32_t)cpu->st.tsc_aux);
	return x86_next(cpu, op);
}

int64_t x86_do_xsetbv(struct x86_cpu *cpu, const struct x86_op *op)
{
	struct x86_special_info info = {0};
	int64_t st;

	if (!(cpu->st.cr4 & X86_CR4_OSXSAVE))
		return x86_op_fault0(cpu, op, X86_UD);
	st = privileged(cpu, op);
	if (!st)
		st = x86_special(cpu, op, X86_SP_XSETBV, &info);
	return st ? st : x86_next(cpu, op);
}

/* --- invalidation -------------------------------------------------------------------------- */

int64_t x86_do_invlpg(struct x86_cpu *cpu, const struct x86_op *op)
{
	struct x86_special_info info = {.has_mem = true, .seg = op->seg};
	uint64_t base = 0;
	int64_t st = privileged(cpu, op);

	if (st)
		return st;
	if (!x86_is64(cpu) || op->seg == X86_FS || op->seg == X86_GS)
		base = cpu->st.seg[op->seg].base;
	info.linear = base + x86_offset(cpu, op);
	if (!x86_is64(cpu))
		info.linear = (uint32_t)info.linear;
	st = x86_special(cpu, op, X86_SP_INVLPG, &info);
	return st ? st : leave(cpu, op);
}

int64_t x86_do_invpcid(struct x86_cpu *cpu, const struct x86_op *op)
{
	struct x86_special_info info = {
		.has_mem = true, .seg = op->seg, .displacement = (uint64_t)op->disp};
	struct x86_ref ref;
	uint64_t va;
	int64_t st = privileged(cpu, op);

	if (st)
		return st;
	info.gpr = gpr_number(op->dst);
	/* The type register is 64 bits wide in 64-bit code, whatever its operand size. */
	va = x86_get(cpu, op->dst, x86_is64(cpu) ? 64 : 32);
	info.type = va > UINT32_MAX ? UINT32_MAX : (uint32_t)va;
	st = x86_mem_linear(cpu, op, 16, X86_READ, &va);
	if (st)
		return st;
	x86_sync(cpu, op);
	info.linear = va;
	st = x86_ref_get(cpu, va, 16, x86_access(cpu, X86_READ), op->seg, &ref);
	if (!st)
		st = x86_ref_read(cpu, &ref, info.desc);
	if (!st)
		st = x86_special(cpu, op, X86_SP_INVPCID, &info);
	return st ? st : leave(cpu, op);
}

/* --- descriptor tables --------------------------------------------------------------------- */

/* arg of the table instructions; also info.type of X86_SP_DTABLE. */
enum { SGDT, SIDT, LGDT, LIDT };

static unsigned base_bytes(const struct x86_cpu *cpu)
{
	return x86_is64(cpu) ? 8 : 4;
}

static int64_t dtable_special(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va)
{
	struct x86_special_info info = {
		.type = op->arg,
		.has_mem = true,
		.linear = va,
		.displacement = (uint64_t)op->disp,
		.seg = op->seg,
		.size = op->size,
		.address_size = op->asize,
	};

	return x86_special(cpu, op, X86_SP_DTABLE, &info);
}

int64_t x86_do_dtable_load(struct x86_cpu *cpu, const struct x86_op *op)
{
	struct x86_dtable *t = op->arg == LGDT ? &cpu->st.gdtr : &cpu->st.idtr;
	uint64_t va, limit, base;
	int64_t st = privileged(cpu, op);

	if (!st)
		st = x86_mem_linear(cpu, op, 2 + base_bytes(cpu), X86_READ, &va);
	if (!st)
		st = dtable_special(cpu, op, va);
	if (!st)
		st = x86_rd(cpu, op, va, 16, op->seg, &limit);
	if (!st)
		st = x86_rd(cpu, op, va + 2, base_bytes(cpu) * 8, op->seg, &base);
	if (st)
		return st;
	if (x86_is64(cpu) && !x86_canonical(base))
		return x86_op_gp0(cpu, op);
	t->limit = (uint16_t)limit;
	t->base = op->size == 2 && !x86_is64(cpu) ? base & 0xffffff : base;
	return x86_next(cpu, op);
}

int64_t x86_do_dtable_store(struct x86_cpu *cpu, const struct x86_op *op)
{
	const struct x86_dtable *t = op->arg == SGDT ? &cpu->st.gdtr : &cpu->st.idtr;
	uint64_t limit = t->limit, base = t->base, va;
	struct x86_ref refs[2];
	uint32_t access = x86_access(cpu, X86_WRITE);
	int64_t st = umip(cpu, op);

	if (!st)
		st = x86_mem_linear(cpu, op, 2 + base_bytes(cpu), X86_WRITE, &va);
	if (!st)
		st = dtable_special(cpu, op, va);
	if (!st)
		st = x86_ref_get(cpu, va, 2, access, op->seg, &refs[0]);
	if (!st)
		st = x86_ref_get(cpu, va + 2, base_bytes(cpu), access, op->seg, &refs[1]);
	if (!st)
		st = x86_ref_write(cpu, &refs[0], &limit);
	if (!st)
		st = x86_ref_write(cpu, &refs[1], &base);
	return st ? st : x86_next(cpu, op);
}

/* arg of the LDTR and TR instructions; also info.type of X86_SP_LDTR_TR. */
enum { SLDT, STR, LLDT, LTR };

static int64_t ldtr_tr_special(struct x86_cpu *cpu, const struct x86_op *op)
{
	struct x86_special_info info = {
		.type = op->arg,
		.has_mem = op->flags & X86_OPF_MEM,
		.displacement = (uint64_t)op->disp,
		.seg = op->seg,
		.size = op->size,
		.address_size = op->asize,
	};

	return x86_special(cpu, op, X86_SP_LDTR_TR, &info);
}

int64_t x86_do_sel_store(struct x86_cpu *cpu, const struct x86_op *op)
{
	bool mem = op->flags & X86_OPF_MEM;
	int64_t st;

	if (!(cpu->st.cr0 & X86_CR0_PE))
		return x86_op_fault0(cpu, op, X86_UD);
	st = umip(cpu, op);
	if (!st)
		st = ldtr_tr_special(cpu, op);
	if (!st)
		st = x86_rm_write(cpu, op, op->dst, mem ? 16 : op->size * 8u,
				  cpu->st.seg[op->arg == STR ? X86_TR : X86_LDTR].sel);
	return st ? st : x86_next(cpu, op);
}

/* An LDT or TSS descriptor: 16 bytes in IA-32e mode. */
static int64_t system_desc(struct x86_cpu *cpu, uint16_t sel, struct x86_desc *d)
{
	uint64_t high;
	int64_t st;

	if (sel & 4)
		return x86_sel_fault(cpu, X86_GP, sel, 0);
	st = x86_desc_read(cpu, sel, X86_GP, 0, d);
	if (st || !(cpu->st.efer & X86_EFER_LMA))
		return st;
	if ((sel & 0xfff8u) + 15 > cpu->st.gdtr.limit)
		return x86_sel_fault(cpu, X86_GP, sel, 0);
	st = x86_system_read(cpu, d->linear + 8, 8, &high);
	if (st)
		return st;
	d->seg.base |= high << 32;
	/* Type bits of the upper half must be 0. */
	if (!x86_canonical(d->seg.base) || ((high >> 40) & 0x1f))
		return x86_sel_fault(cpu, X86_GP, sel, 0);
	return 0;
}

static int64_t load_tr(struct x86_cpu *cpu, uint16_t sel, struct x86_desc *d)
{
	bool lma = cpu->st.efer & X86_EFER_LMA;
	unsigned type = d->seg.ar & (X86_AR_TYPE | X86_AR_S);
	int64_t st;

	if (type != X86_SYS_TSS && (lma || type != X86_SYS_TSS16))
		return x86_sel_fault(cpu, X86_GP, sel, 0);
	if (!(d->seg.ar & X86_AR_P))
		return x86_sel_fault(cpu, X86_NP, sel, 0);
	d->seg.ar |= 2; /* busy */
	st = x86_system_write(cpu, d->linear + 5, 1, (d->raw >> 40 & 0xff) | 2);
	if (!st)
		cpu->st.seg[X86_TR] = d->seg;
	return st;
}

static int64_t load_ldtr(struct x86_cpu *cpu, uint16_t sel, struct x86_desc *d)
{
	if ((d->seg.ar & (X86_AR_TYPE | X86_AR_S)) != X86_SYS_LDT)
		return x86_sel_fault(cpu, X86_GP, sel, 0);
	if (!(d->seg.ar & X86_AR_P))
		return x86_sel_fault(cpu, X86_NP, sel, 0);
	cpu->st.seg[X86_LDTR] = d->seg;
	return 0;
}

int64_t x86_do_sel_load(struct x86_cpu *cpu, const struct x86_op *op)
{
	struct x86_desc d;
	uint64_t sel;
	int64_t st;

	if (!(cpu->st.cr0 & X86_CR0_PE))
		return x86_op_fault0(cpu, op, X86_UD);
	st = privileged(cpu, op);
	if (!st)
		st = ldtr_tr_special(cpu, op);
	if (!st)
		st = x86_rm_read(cpu, op, op->dst, 16, &sel);
	if (st)
		return st;
	x86_sync(cpu, op);
	if (!(sel & 0xfffc)) {
		if (op->arg == LTR)
			return x86_fault_code(cpu, X86_GP, 0);
		cpu->st.seg[X86_LDTR] = x86_seg_null((uint16_t)sel, 0);
		return x86_next(cpu, op);
	}
	st = system_desc(cpu, (uint16_t)sel, &d);
	if (!st)
		st = op->arg == LTR ? load_tr(cpu, (uint16_t)sel, &d)
				    : load_ldtr(cpu, (uint16_t)sel, &d);
	return st ? st : x86_next(cpu, op);
}

/* --- FS and GS bases ----------------------------------------------------------------------- */

int64_t x86_do_swapgs(struct x86_cpu *cpu, const struct x86_op *op)
{
	uint64_t base = cpu->st.seg[X86_GS].base;

	if (!x86_is64(cpu))
		return x86_op_fault0(cpu, op, X86_UD);
	if (cpu->cpl)
		return x86_op_gp0(cpu, op);
	cpu->st.seg[X86_GS].base = cpu->st.kernel_gs_base;
	cpu->st.kernel_gs_base = base;
	return x86_next(cpu, op);
}

/* arg: the segment, | 8 for a write */
int64_t x86_do_fsgsbase(struct x86_cpu *cpu, const struct x86_op *op)
{
	struct x86_seg *s = &cpu->st.seg[op->arg & 7];
	uint64_t v;

	if (!x86_is64(cpu) || !(cpu->st.cr4 & X86_CR4_FSGSBASE))
		return x86_op_fault0(cpu, op, X86_UD);
	if (!(op->arg & 8)) {
		x86_set(cpu, op->dst, op->size * 8u, s->base);
		return x86_next(cpu, op);
	}
	v = x86_get(cpu, op->dst, op->size * 8u);
	if (!x86_canonical(v))
		return x86_op_gp0(cpu, op);
	s->base = v;
	return x86_next(cpu, op);
}
