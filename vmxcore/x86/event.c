// SPDX-License-Identifier: MIT
/*
 * Events through the IDT, in protected mode and IA-32e mode. Everything is read
 * and every push translated before the first byte is written, so that a fault on
 * the way leaves the interrupted state as it was.
 */
#include "x86/event.h"
#include "x86/flags.h"
#include "x86/mem.h"
#include "x86/seg.h"

#define PUSHES_MAX 6
/*
 * Alignment checks in the delivery of alignment checks go on for ever on hardware,
 * unless the exception is intercepted. Here the processor shuts down.
 */
#define SERIAL_MAX 256

/* Where an event goes, collected before anything changes. */
struct delivery {
	const struct x86_event *ev;
	unsigned ext; /* EXT bit of error codes */
	uint64_t gate_lo, gate_hi;
	unsigned type; /* of the gate */
	uint64_t target;
	struct x86_desc cs, ss;
	bool new_ss; /* ss is to be loaded */
	unsigned cpl;
	uint64_t sp, sp_mask;
	uint64_t ss_base;
	unsigned size; /* of a push */
	struct x86_ref refs[PUSHES_MAX];
	uint64_t values[PUSHES_MAX];
	unsigned count;
};

static bool is_software(const struct x86_event *ev)
{
	return ev->type == X86_EV_SOFT_INT || ev->type == X86_EV_SOFT_EXC;
}

static uint32_t event_info(const struct x86_event *ev)
{
	return ev->fault.vector | ((uint32_t)ev->type << 8) | (ev->fault.has_error ? 1u << 11 : 0) |
	       1u << 31;
}

/* An error code that names an entry of the IDT. */
static int64_t gate_fault(struct x86_cpu *cpu, const struct delivery *d, uint8_t vector)
{
	return x86_fault_code(cpu, vector, d->ev->fault.vector * 8u + 2 + d->ext);
}

static int64_t gate_read(struct x86_cpu *cpu, struct delivery *d)
{
	bool lma = cpu->st.efer & X86_EFER_LMA;
	unsigned size = lma ? 16 : 8, at = d->ev->fault.vector * size;
	uint64_t base = cpu->st.idtr.base + at;
	int64_t st;

	if (at + size - 1 > cpu->st.idtr.limit)
		return gate_fault(cpu, d, X86_GP);
	st = x86_system_read(cpu, base, 8, &d->gate_lo);
	if (!st && lma)
		st = x86_system_read(cpu, base + 8, 8, &d->gate_hi);
	if (st)
		return st;
	d->type = (d->gate_lo >> 40) & 0x1f;
	if (d->type != X86_SYS_INT && d->type != X86_SYS_TRAP &&
	    (lma || (d->type != X86_SYS_INT16 && d->type != X86_SYS_TRAP16 &&
		     d->type != X86_SYS_TASK_GATE)))
		return gate_fault(cpu, d, X86_GP);
	if (is_software(d->ev) && ((d->gate_lo >> 45) & 3) < cpu->cpl)
		return gate_fault(cpu, d, X86_GP);
	if (!((d->gate_lo >> 47) & 1))
		return gate_fault(cpu, d, X86_NP);
	d->target = (d->gate_lo & 0xffff) | ((d->gate_lo >> 32) & 0xffff0000);
	if (d->type == X86_SYS_INT16 || d->type == X86_SYS_TRAP16)
		d->target &= 0xffff;
	if (lma)
		d->target |= d->gate_hi << 32;
	return 0;
}

static int64_t gate_cs(struct x86_cpu *cpu, struct delivery *d)
{
	uint16_t sel = (uint16_t)(d->gate_lo >> 16);
	uint32_t ar;
	int64_t st;

	if (!(sel & 0xfffc))
		return x86_fault_code(cpu, X86_GP, d->ext);
	st = x86_desc_read(cpu, sel, X86_GP, d->ext, &d->cs);
	if (st)
		return st;
	ar = d->cs.seg.ar;
	if ((ar & (X86_AR_S | X86_AR_CODE)) != (X86_AR_S | X86_AR_CODE) ||
	    x86_ar_dpl(ar) > cpu->cpl)
		return x86_sel_fault(cpu, X86_GP, sel, d->ext);
	if ((cpu->st.efer & X86_EFER_LMA) && (ar & (X86_AR_L | X86_AR_DB)) != X86_AR_L)
		return x86_sel_fault(cpu, X86_GP, sel, d->ext);
	if (!(ar & X86_AR_P))
		return x86_sel_fault(cpu, X86_NP, sel, d->ext);
	d->cpl = ar & X86_AR_DOWN_CONF ? cpu->cpl : x86_ar_dpl(ar);
	d->cs.seg.sel = (uint16_t)((sel & 0xfffcu) | d->cpl);
	return x86_desc_accessed(cpu, &d->cs);
}

static int64_t tss_read(struct x86_cpu *cpu, struct delivery *d, unsigned at, unsigned size,
			uint64_t *ret)
{
	const struct x86_seg *tr = &cpu->st.seg[X86_TR];

	if ((tr->ar & X86_AR_UNUSABLE) || at + size - 1 > tr->limit)
		return x86_sel_fault(cpu, X86_TS, tr->sel, d->ext);
	return x86_system_read(cpu, tr->base + at, size, ret);
}

/* "Stack Switching in IA-32e Mode". */
static int64_t stack_64(struct x86_cpu *cpu, struct delivery *d)
{
	unsigned ist = (d->gate_lo >> 32) & 7;
	int64_t st = 0;

	d->sp = cpu->st.gpr[X86_RSP];
	if (ist)
		st = tss_read(cpu, d, 36 + 8 * (ist - 1), 8, &d->sp);
	else if (d->cpl < cpu->cpl)
		st = tss_read(cpu, d, 4 + 8 * d->cpl, 8, &d->sp);
	if (st)
		return st;
	if (!x86_canonical(d->sp))
		return x86_fault_code(cpu, X86_SSF, d->ext);
	if (d->cpl < cpu->cpl) {
		d->new_ss = true;
		d->ss.seg = x86_seg_null((uint16_t)d->cpl, d->cpl);
	}
	d->sp &= ~UINT64_C(15);
	d->sp_mask = ~UINT64_C(0);
	d->size = 8;
	return 0;
}

static int64_t stack_32(struct x86_cpu *cpu, struct delivery *d)
{
	bool tss16 = (cpu->st.seg[X86_TR].ar & X86_AR_TYPE) == X86_SYS_TSS16_BUSY;
	unsigned word = tss16 ? 2 : 4, at = tss16 ? 2 + 4 * d->cpl : 4 + 8 * d->cpl;
	const struct x86_seg *ss = &cpu->st.seg[X86_SS];
	uint64_t sel;
	int64_t st;

	d->size = d->type & 8 ? 4 : 2;
	d->sp = cpu->st.gpr[X86_RSP] & cpu->sp_mask;
	if (d->cpl < cpu->cpl) {
		st = tss_read(cpu, d, at, word, &d->sp);
		if (!st)
			st = tss_read(cpu, d, at + word, 2, &sel);
		if (!st)
			st = x86_ss_check(cpu, (uint16_t)sel, d->cpl, X86_TS, d->ext, &d->ss);
		if (st)
			return st;
		d->new_ss = true;
		ss = &d->ss.seg;
	}
	d->sp_mask = ss->ar & X86_AR_DB ? UINT32_MAX : 0xffff;
	d->ss_base = ss->base;
	return 0;
}

/* The stack's limit, for every push at once. */
static int64_t stack_limit(struct x86_cpu *cpu, struct delivery *d, unsigned pushes)
{
	const struct x86_seg *ss = d->new_ss ? &d->ss.seg : &cpu->st.seg[X86_SS];
	uint64_t low = (d->sp - pushes * d->size) & d->sp_mask, last = low + pushes * d->size - 1;
	bool bad;

	if (ss->ar & X86_AR_DOWN_CONF)
		bad = low <= ss->limit || last > d->sp_mask;
	else
		bad = last > ss->limit && ss->limit != UINT32_MAX;
	if (bad || (ss->ar & X86_AR_UNUSABLE))
		return x86_sel_fault(cpu, X86_SSF, d->new_ss ? ss->sel : 0, d->ext);
	return 0;
}

static int64_t push(struct x86_cpu *cpu, struct delivery *d, uint64_t v)
{
	uint64_t va;
	int64_t st;

	d->sp = (d->sp - d->size) & d->sp_mask;
	va = d->sp_mask == ~UINT64_C(0) ? d->sp : (uint32_t)(d->ss_base + d->sp);
	st = x86_ref_get(cpu, va, d->size, X86_WRITE | (d->cpl == 3 ? X86_USER : 0), X86_SS,
			 &d->refs[d->count]);
	if (st == X86S_FAULT && cpu->fault.vector == X86_SSF)
		cpu->fault.error |= d->ext;
	d->values[d->count++] = v;
	return st;
}

/* RF in the pushed image: set by faults, so that they restart past a breakpoint. */
static uint64_t flags_image(const struct x86_cpu *cpu, const struct x86_event *ev)
{
	uint64_t fl = x86_rflags(cpu);

	if (ev->type == X86_EV_EXCEPTION && ev->fault.vector != X86_DB)
		fl |= X86_FL_RF;
	return fl;
}

static int64_t push_frame(struct x86_cpu *cpu, struct delivery *d)
{
	const struct x86_event *ev = d->ev;
	bool lma = cpu->st.efer & X86_EFER_LMA, outer = d->new_ss || lma;
	uint64_t rip = cpu->st.rip + ev->insn_length;
	int64_t st = 0;

	if (!lma)
		st = stack_limit(cpu, d, 3 + (outer ? 2 : 0) + ev->fault.has_error);
	if (outer) {
		if (!st)
			st = push(cpu, d, cpu->st.seg[X86_SS].sel);
		if (!st)
			st = push(cpu, d, cpu->st.gpr[X86_RSP]);
	}
	if (!st)
		st = push(cpu, d, flags_image(cpu, ev));
	if (!st)
		st = push(cpu, d, cpu->st.seg[X86_CS].sel);
	if (!st)
		st = push(cpu, d, rip & cpu->rip_mask);
	if (!st && ev->fault.has_error)
		st = push(cpu, d, ev->fault.error);
	return st;
}

static int64_t check_target(struct x86_cpu *cpu, struct delivery *d)
{
	if (cpu->st.efer & X86_EFER_LMA) {
		if (!x86_canonical(d->target))
			return x86_fault_code(cpu, X86_GP, d->ext);
	} else if (d->target > d->cs.seg.limit) {
		return x86_fault_code(cpu, X86_GP, d->ext);
	}
	return 0;
}

static void enter_handler(struct x86_cpu *cpu, const struct delivery *d)
{
	struct x86_state *s = &cpu->st;
	uint64_t fl = x86_rflags(cpu);

	fl &= ~(uint64_t)(X86_FL_TF | X86_FL_NT | X86_FL_RF | X86_FL_VM);
	if (!(d->type & 1))
		fl &= ~(uint64_t)X86_FL_IF;
	s->seg[X86_CS] = d->cs.seg;
	if (d->new_ss)
		s->seg[X86_SS] = d->ss.seg;
	if (d->sp_mask == 0xffff)
		s->gpr[X86_RSP] = (s->gpr[X86_RSP] & ~UINT64_C(0xffff)) | d->sp;
	else
		s->gpr[X86_RSP] = d->sp;
	s->rip = d->target;
	s->interruptibility &= ~(X86_SHADOW_STI | X86_SHADOW_MOV_SS);
	if (d->ev->type == X86_EV_NMI)
		s->interruptibility |= X86_SHADOW_NMI;
	cpu->stepping = false;
	x86_set_rflags(cpu, fl);
	x86_refresh(cpu);
}

/* What an exception leaves in registers before its handler is sought. */
static void event_registers(struct x86_cpu *cpu, const struct x86_event *ev)
{
	if (ev->type != X86_EV_EXCEPTION)
		return;
	if (ev->fault.vector == X86_PF)
		cpu->st.cr2 = ev->fault.cr2;
	if (ev->fault.vector == X86_DB && ev->fault.cr2) {
		cpu->st.dr[6] |= ev->fault.cr2;
		cpu->st.dr[7] &= ~(uint64_t)X86_DR7_GD;
	}
}

static int64_t deliver_once(struct x86_cpu *cpu, const struct x86_event *ev)
{
	struct delivery d = {.ev = ev, .ext = !is_software(ev)};
	bool lma = cpu->st.efer & X86_EFER_LMA;
	int64_t st;

	st = gate_read(cpu, &d);
	if (!st && d.type == X86_SYS_TASK_GATE) {
		struct x86_special_info info = {.value = (d.gate_lo >> 16) & 0xffff, .type = 3};

		return x86_special(cpu, NULL, X86_SP_TASK_SWITCH, &info);
	}
	if (!st)
		st = gate_cs(cpu, &d);
	if (!st)
		st = lma ? stack_64(cpu, &d) : stack_32(cpu, &d);
	if (!st)
		st = check_target(cpu, &d);
	if (!st)
		st = push_frame(cpu, &d);
	for (unsigned i = 0; i < d.count && !st; i++)
		st = x86_ref_write(cpu, &d.refs[i], &d.values[i]);
	if (!st)
		enter_handler(cpu, &d);
	return st;
}

/* --- faults on the way ------------------------------------------------------------------ */

enum fault_class { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE_FAULT };

static enum fault_class class_of(const struct x86_event *ev)
{
	if (ev->type != X86_EV_EXCEPTION)
		return BENIGN;
	switch (ev->fault.vector) {
	case X86_DE:
	case X86_TS:
	case X86_NP:
	case X86_SSF:
	case X86_GP:
		return CONTRIBUTORY;
	case X86_PF:
		return PAGE_FAULT;
	case X86_DF:
		return DOUBLE_FAULT;
	default:
		return BENIGN;
	}
}

/* "Interrupt 8: Double Fault Exception", the table of conditions. */
enum outcome { SERIAL, DOUBLE, TRIPLE };

static enum outcome combine(const struct x86_event *first, const struct x86_event *second)
{
	static const uint8_t table[4][3] = {
		[BENIGN] = {SERIAL, SERIAL, SERIAL},
		[CONTRIBUTORY] = {SERIAL, DOUBLE, SERIAL},
		[PAGE_FAULT] = {SERIAL, DOUBLE, DOUBLE},
		[DOUBLE_FAULT] = {TRIPLE, TRIPLE, TRIPLE},
	};

	return table[class_of(first)][class_of(second)];
}

static int64_t triple_fault(struct x86_cpu *cpu)
{
	struct x86_special_info info = {0};
	int64_t st;

	cpu->st.vectoring_info = 0;
	st = x86_special(cpu, NULL, X86_SP_TRIPLE_FAULT, &info);
	if (!st) {
		cpu->st.activity = 2;
		cpu->todo |= X86_TODO_ACTIVITY;
	}
	return st ? X86S_EXIT : X86S_DIVERTED;
}

static int64_t ask(struct x86_cpu *cpu, struct x86_event *ev)
{
	struct x86_special_info info = {
		.fault = &ev->fault,
		.value = ev->fault.vector == X86_DB ? ev->fault.cr2 : 0,
		.software = ev->type == X86_EV_SOFT_EXC || ev->type == X86_EV_PRIV_SOFT,
	};
	int64_t st = x86_special(cpu, NULL, X86_SP_EXCEPTION, &info);

	/* The callback may put another exception in its place. */
	if (st == X86S_FAULT) {
		ev->fault = cpu->fault;
		ev->type = X86_EV_EXCEPTION;
		ev->insn_length = 0;
		return 0;
	}
	return st;
}

/* Delivers; what goes wrong is delivered in its place. asked: the first was accepted. */
static int64_t deliver_all(struct x86_cpu *cpu, struct x86_event ev, bool asked)
{
	unsigned diverted = 0;
	int64_t st;

	for (;;) {
		struct x86_event next = {.type = X86_EV_EXCEPTION};
		enum outcome o;

		st = asked ? 0 : ask(cpu, &ev);
		if (st)
			return st;
		asked = false;
		event_registers(cpu, &ev);
		cpu->st.vectoring_info = event_info(&ev);
		cpu->st.vectoring_error = ev.fault.has_error ? ev.fault.error : 0;
		st = deliver_once(cpu, &ev);
		if (st != X86S_FAULT) {
			if (!st)
				cpu->st.vectoring_info = 0;
			return st ? st : diverted ? X86S_DIVERTED : 0;
		}
		next.fault = cpu->fault;
		o = combine(&ev, &next);
		if (o == TRIPLE || ++diverted > SERIAL_MAX)
			return triple_fault(cpu);
		if (o == DOUBLE) {
			/* An exit because of it is not one during delivery. */
			cpu->st.vectoring_info = 0;
			next.fault = (struct x86_fault){.vector = X86_DF, .has_error = true};
		}
		ev = next;
	}
}

int64_t x86_exception(struct x86_cpu *cpu, const struct x86_fault *fault)
{
	struct x86_event ev = {.fault = *fault, .type = X86_EV_EXCEPTION};
	int64_t st;

	st = deliver_all(cpu, ev, false);
	return st == X86S_DIVERTED ? 0 : st;
}

int64_t x86_deliver(struct x86_cpu *cpu, const struct x86_event *ev)
{
	/* Exceptions by instruction can be intercepted; INT n can't. */
	bool asked = ev->type != X86_EV_SOFT_EXC && ev->type != X86_EV_PRIV_SOFT;

	return deliver_all(cpu, *ev, asked);
}

enum x86_result x86_inject(struct x86_cpu *cpu, uint32_t info, uint32_t error, uint32_t length)
{
	uint8_t type = (info >> 8) & 7;
	struct x86_event ev = {
		.fault = {.vector = (uint8_t)info,
			  .has_error = info >> 11 & 1,
			  .error = error,
			  .cr2 = (info & 0xff) == X86_PF ? cpu->st.cr2 : 0},
		.type = type,
		.insn_length = type >= X86_EV_SOFT_INT ? (uint8_t)length : 0,
	};
	int64_t st;

	cpu->op = NULL;
	cpu->fetching = 0;
	x86_refresh(cpu);
	x86_fl_put(cpu, cpu->st.rflags);
	st = deliver_all(cpu, ev, true);
	cpu->st.rflags = x86_rflags(cpu);
	return st == X86S_EXIT ? X86_EXIT : X86_OK;
}
