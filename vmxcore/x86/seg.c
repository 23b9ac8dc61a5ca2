// SPDX-License-Identifier: MIT
/* Segment descriptors: reading, checking, loading. */
#include "x86/seg.h"
#include "x86/exec.h"
#include "x86/flags.h"
#include "x86/mem.h"

int64_t x86_system_read(struct x86_cpu *cpu, uint64_t va, unsigned size, uint64_t *ret)
{
	return x86_read_linear(cpu, va, size, X86_READ | X86_IMPLICIT, X86_DS, ret);
}

int64_t x86_system_write(struct x86_cpu *cpu, uint64_t va, unsigned size, uint64_t v)
{
	struct x86_ref ref;
	int64_t st = x86_ref_get(cpu, va, size, X86_WRITE | X86_IMPLICIT, X86_DS, &ref);

	return st ? st : x86_ref_write(cpu, &ref, &v);
}

static void desc_decode(struct x86_desc *d)
{
	uint32_t lo = (uint32_t)d->raw, hi = (uint32_t)(d->raw >> 32);
	uint32_t limit = (lo & 0xffff) | (hi & 0xf0000);

	d->seg.sel = d->sel;
	d->seg.ar = (hi >> 8) & 0xf0ff;
	d->seg.base = (lo >> 16) | ((hi & 0xff) << 16) | (hi & 0xff000000);
	d->seg.limit = d->seg.ar & X86_AR_G ? (limit << 12) | 0xfff : limit;
}

int64_t x86_desc_read(struct x86_cpu *cpu, uint16_t sel, uint8_t vector, unsigned ext,
		      struct x86_desc *ret)
{
	uint64_t base = cpu->st.gdtr.base, limit = cpu->st.gdtr.limit;
	unsigned index = sel & 0xfff8u;
	int64_t st;

	if (sel & 4) {
		const struct x86_seg *ldt = &cpu->st.seg[X86_LDTR];

		if (ldt->ar & X86_AR_UNUSABLE)
			return x86_sel_fault(cpu, vector, sel, ext);
		base = ldt->base;
		limit = ldt->limit;
	}
	if (index + 7 > limit)
		return x86_sel_fault(cpu, vector, sel, ext);
	ret->sel = sel;
	ret->linear = base + index;
	st = x86_system_read(cpu, ret->linear, 8, &ret->raw);
	if (!st)
		desc_decode(ret);
	return st;
}

int64_t x86_desc_accessed(struct x86_cpu *cpu, struct x86_desc *d)
{
	struct x86_ref ref;
	uint8_t type;
	int64_t st;

	if (d->seg.ar & X86_AR_ACCESSED)
		return 0;
	st = x86_ref_get(cpu, d->linear + 5, 1, X86_READ | X86_WRITE | X86_IMPLICIT, X86_DS, &ref);
	if (!st)
		st = x86_ref_read(cpu, &ref, &type);
	if (st)
		return st;
	type |= X86_AR_ACCESSED;
	d->seg.ar |= X86_AR_ACCESSED;
	return x86_ref_write(cpu, &ref, &type);
}

struct x86_seg x86_seg_null(uint16_t sel, unsigned dpl)
{
	return (struct x86_seg){.sel = sel, .ar = X86_AR_UNUSABLE | (dpl << X86_AR_DPL_SHIFT)};
}

static bool is_data(uint32_t ar)
{
	return (ar & (X86_AR_S | X86_AR_CODE)) == X86_AR_S;
}

static bool is_code(uint32_t ar)
{
	return (ar & (X86_AR_S | X86_AR_CODE)) == (X86_AR_S | X86_AR_CODE);
}

static bool is_conforming(uint32_t ar)
{
	return is_code(ar) && (ar & X86_AR_DOWN_CONF);
}

int64_t x86_ss_check(struct x86_cpu *cpu, uint16_t sel, unsigned cpl, uint8_t vector, unsigned ext,
		     struct x86_desc *ret)
{
	int64_t st;

	if (!(sel & 0xfffc))
		return x86_fault_code(cpu, vector, ext);
	st = x86_desc_read(cpu, sel, vector, ext, ret);
	if (st)
		return st;
	if ((sel & 3u) != cpl || x86_ar_dpl(ret->seg.ar) != cpl || !is_data(ret->seg.ar) ||
	    !(ret->seg.ar & X86_AR_WRITE))
		return x86_sel_fault(cpu, vector, sel, ext);
	if (!(ret->seg.ar & X86_AR_P))
		return x86_sel_fault(cpu, X86_SSF, sel, ext);
	return x86_desc_accessed(cpu, ret);
}

static int64_t load_ss(struct x86_cpu *cpu, uint16_t sel)
{
	struct x86_desc d;
	int64_t st;

	if (!(sel & 0xfffc)) {
		/* 64-bit code below CPL 3 may run without a stack segment. */
		if (!x86_is64(cpu) || cpu->cpl == 3 || (sel & 3u) != cpu->cpl)
			return x86_fault_code(cpu, X86_GP, 0);
		cpu->st.seg[X86_SS] = x86_seg_null(sel, cpu->cpl);
		return 0;
	}
	st = x86_ss_check(cpu, sel, cpu->cpl, X86_GP, 0, &d);
	if (!st)
		cpu->st.seg[X86_SS] = d.seg;
	return st;
}

static int64_t load_data(struct x86_cpu *cpu, unsigned seg, uint16_t sel)
{
	unsigned rpl = sel & 3u, need = rpl > cpu->cpl ? rpl : cpu->cpl;
	struct x86_desc d;
	uint32_t ar;
	int64_t st;

	if (!(sel & 0xfffc)) {
		cpu->st.seg[seg] = x86_seg_null(sel, 0);
		return 0;
	}
	st = x86_desc_read(cpu, sel, X86_GP, 0, &d);
	if (st)
		return st;
	ar = d.seg.ar;
	if (!is_data(ar) && !(is_code(ar) && (ar & X86_AR_WRITE)))
		return x86_sel_fault(cpu, X86_GP, sel, 0);
	if (!is_conforming(ar) && x86_ar_dpl(ar) < need)
		return x86_sel_fault(cpu, X86_GP, sel, 0);
	if (!(ar & X86_AR_P))
		return x86_sel_fault(cpu, X86_NP, sel, 0);
	st = x86_desc_accessed(cpu, &d);
	if (!st)
		cpu->st.seg[seg] = d.seg;
	return st;
}

int64_t x86_seg_load(struct x86_cpu *cpu, unsigned seg, uint16_t sel)
{
	int64_t st;

	if (!(cpu->st.cr0 & X86_CR0_PE)) {
		cpu->st.seg[seg].sel = sel;
		cpu->st.seg[seg].base = (uint64_t)sel << 4;
		x86_refresh(cpu);
		return 0;
	}
	st = seg == X86_SS ? load_ss(cpu, sel) : load_data(cpu, seg, sel);
	if (!st)
		x86_refresh(cpu);
	return st;
}

bool x86_cs_mode_ok(const struct x86_cpu *cpu, const struct x86_seg *s)
{
	if (!(cpu->st.efer & X86_EFER_LMA))
		return true;
	return (s->ar & (X86_AR_L | X86_AR_DB)) != (X86_AR_L | X86_AR_DB);
}

int64_t x86_cs_check(struct x86_cpu *cpu, uint16_t sel, unsigned cpl, struct x86_desc *ret)
{
	unsigned dpl = x86_ar_dpl(ret->seg.ar);
	uint32_t ar = ret->seg.ar;

	if (!is_code(ar) || !x86_cs_mode_ok(cpu, &ret->seg))
		return x86_sel_fault(cpu, X86_GP, sel, 0);
	if (is_conforming(ar) ? dpl > cpl : (sel & 3u) > cpl || dpl != cpl)
		return x86_sel_fault(cpu, X86_GP, sel, 0);
	if (!(ar & X86_AR_P))
		return x86_sel_fault(cpu, X86_NP, sel, 0);
	ret->seg.sel = (uint16_t)((sel & 0xfffcu) | cpl);
	return x86_desc_accessed(cpu, ret);
}

void x86_seg_outer(struct x86_cpu *cpu, unsigned cpl)
{
	static const uint8_t segs[] = {X86_ES, X86_DS, X86_FS, X86_GS};

	for (size_t i = 0; i < sizeof(segs); i++) {
		struct x86_seg *s = &cpu->st.seg[segs[i]];

		if (s->ar & X86_AR_UNUSABLE)
			continue;
		if (!is_conforming(s->ar) && x86_ar_dpl(s->ar) < cpl)
			*s = x86_seg_null(0, 0);
	}
}

/* --- instructions ------------------------------------------------------------------------ */

/* Events wait until the instruction behind a load of SS, unless that is another one. */
static void shadow_mov_ss(struct x86_cpu *cpu)
{
	cpu->st.interruptibility |= X86_SHADOW_MOV_SS;
	cpu->todo |= X86_TODO_STEP;
}

/* Ends the block: the mode, and what is flat, may have changed. */
static int64_t seg_loaded(struct x86_cpu *cpu, const struct x86_op *op, unsigned seg, uint64_t rip)
{
	if (seg == X86_SS)
		shadow_mov_ss(cpu);
	cpu->st.rip = rip;
	return x86_done(op);
}

int64_t x86_do_mov_to_seg(struct x86_cpu *cpu, const struct x86_op *op)
{
	uint64_t sel, rip = x86_op_next_rip(cpu, op);
	int64_t st;

	if (op->arg == X86_CS)
		return x86_op_fault0(cpu, op, X86_UD);
	st = x86_rm_read(cpu, op, op->src, 16, &sel);
	if (st)
		return st;
	x86_sync(cpu, op);
	st = x86_seg_load(cpu, op->arg, (uint16_t)sel);
	return st ? st : seg_loaded(cpu, op, op->arg, rip);
}

/* To memory always 16 bits; to a register zero-extended to the operand size. */
int64_t x86_do_mov_from_seg(struct x86_cpu *cpu, const struct x86_op *op)
{
	uint64_t sel = cpu->st.seg[op->arg].sel;
	bool mem = op->flags & X86_OPF_MEM;
	int64_t st = x86_rm_write(cpu, op, op->dst, mem ? 16 : op->size * 8u, sel);

	return st ? st : x86_next(cpu, op);
}

int64_t x86_do_pop_seg(struct x86_cpu *cpu, const struct x86_op *op)
{
	uint64_t sel, rip = x86_op_next_rip(cpu, op), sp_mask = cpu->sp_mask;
	uint64_t sp = x86_sp(cpu) + op->size;
	int64_t st;

	x86_sync(cpu, op);
	st = x86_stack_read(cpu, 0, op->size == 4 ? 2 : op->size, &sel);
	if (!st)
		st = x86_seg_load(cpu, op->arg, (uint16_t)sel);
	if (st)
		return st;
	/* The width that held when the value was popped. */
	if (sp_mask == 0xffff)
		x86_set(cpu, X86_REG(X86_RSP), 16, sp);
	else
		cpu->st.gpr[X86_RSP] = sp & sp_mask;
	return seg_loaded(cpu, op, op->arg, rip);
}

/* LES LDS LSS LFS LGS: arg is the segment register. */
int64_t x86_do_load_far(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned size = op->size;
	uint64_t va, offset, sel, rip = x86_op_next_rip(cpu, op);
	int64_t st = x86_mem_linear(cpu, op, size + 2, X86_READ, &va);

	x86_sync(cpu, op);
	if (!st)
		st = x86_rd(cpu, op, va, size * 8, op->seg, &offset);
	if (!st)
		st = x86_rd(cpu, op, va + size, 16, op->seg, &sel);
	if (!st)
		st = x86_seg_load(cpu, op->arg, (uint16_t)sel);
	if (st)
		return st;
	x86_set(cpu, op->dst, size * 8, offset);
	return seg_loaded(cpu, op, op->arg, rip);
}

/* --- LAR LSL VERR VERW ARPL ---------------------------------------------------------------- */

enum { LAR, LSL, VERR, VERW };

/* Types that LAR and LSL accept among system descriptors. */
static bool system_visible(const struct x86_cpu *cpu, unsigned k, unsigned type)
{
	bool lma = cpu->st.efer & X86_EFER_LMA;

	switch (type) {
	case X86_SYS_LDT:
	case X86_SYS_TSS:
	case X86_SYS_TSS_BUSY:
		return true;
	case X86_SYS_TSS16:
	case X86_SYS_TSS16_BUSY:
		return !lma;
	case X86_SYS_CALL:
		return k == LAR;
	case X86_SYS_CALL16:
	case X86_SYS_TASK_GATE:
		return k == LAR && !lma;
	default:
		return false;
	}
}

static bool visible(const struct x86_cpu *cpu, unsigned k, const struct x86_desc *d)
{
	uint32_t ar = d->seg.ar;
	unsigned dpl = x86_ar_dpl(ar), rpl = d->sel & 3u;

	if (!is_conforming(ar) && (dpl < cpu->cpl || dpl < rpl))
		return false;
	if (!(ar & X86_AR_S))
		return k <= LSL && system_visible(cpu, k, ar & X86_AR_TYPE);
	if (k == VERR)
		return !is_code(ar) || (ar & X86_AR_WRITE);
	if (k == VERW)
		return is_data(ar) && (ar & X86_AR_WRITE);
	return true;
}

int64_t x86_do_lar(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned k = op->arg;
	bool ok = false;
	struct x86_desc d;
	uint64_t sel;
	int64_t st;

	st = x86_rm_read(cpu, op, k <= LSL ? op->src : op->dst, 16, &sel);
	if (st)
		return st;
	x86_sync(cpu, op);
	if (sel & 0xfffc) {
		st = x86_desc_read(cpu, (uint16_t)sel, X86_GP, 0, &d);
		/* Outside the table is an answer; a fault in reaching it is a fault. */
		if (st && !(st == X86S_FAULT && cpu->fault.vector == X86_GP))
			return st;
		ok = !st && visible(cpu, k, &d);
	}
	if (ok && k == LAR)
		x86_set(cpu, op->dst, op->size * 8u, (d.raw >> 32) & 0xf0ff00);
	if (ok && k == LSL)
		x86_set(cpu, op->dst, op->size * 8u, d.seg.limit);
	x86_fl_set_zf(cpu, ok);
	return x86_next(cpu, op);
}

static uint64_t arpl_modify(struct x86_cpu *cpu, const struct x86_op *op, uint64_t old,
			    unsigned bits)
{
	uint64_t rpl = x86_get(cpu, op->src, bits) & 3;
	bool raise = (old & 3) < rpl;

	x86_fl_set_zf(cpu, raise);
	return raise ? (old & ~UINT64_C(3)) | rpl : old;
}

int64_t x86_do_arpl(struct x86_cpu *cpu, const struct x86_op *op)
{
	int64_t st;

	if (!(cpu->st.cr0 & X86_CR0_PE))
		return x86_op_fault0(cpu, op, X86_UD);
	st = x86_rm_modify(cpu, op, arpl_modify);
	return st ? st : x86_next(cpu, op);
}
