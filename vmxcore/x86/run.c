// SPDX-License-Identifier: MIT
/* The processor's life, and the loop that finds and runs blocks. */
#include "x86/code.h"
#include "x86/decode.h"
#include "x86/event.h"
#include "x86/flags.h"
#include "x86/front.h"
#include "x86/mem.h"
#include <stdlib.h>

/* Events and partial repeats without a retired instruction, before x86_run() returns. */
#define STUCK_MAX 256u

int64_t x86_special(struct x86_cpu *cpu, const struct x86_op *op, enum x86_special what,
		    struct x86_special_info *info)
{
	enum x86_result r;

	if (op)
		x86_sync(cpu, op);
	cpu->st.rflags = x86_rflags(cpu);
	r = cpu->ops->special ? cpu->ops->special(cpu->env, what, info) : X86_EXIT;
	if (r == X86_OK)
		x86_set_rflags(cpu, cpu->st.rflags);
	if (cpu->st.activity)
		cpu->todo |= X86_TODO_ACTIVITY;
	return x86_status(r);
}

/* --- state and mode ----------------------------------------------------------------- */

static bool seg_flat(const struct x86_seg *s, bool code)
{
	if (s->base || s->limit != 0xffffffffu || (s->ar & X86_AR_UNUSABLE))
		return false;
	if (code)
		return true;
	return (s->ar & (X86_AR_CODE | X86_AR_DOWN_CONF | X86_AR_WRITE)) == X86_AR_WRITE;
}

static uint32_t mode_of(const struct x86_state *s)
{
	uint32_t mode = s->efer & X86_EFER_LMA ? X86_M_LMA : 0;

	if (mode && (s->seg[X86_CS].ar & X86_AR_L))
		return mode | X86_M_64 | X86_M_FLAT;
	if (s->seg[X86_CS].ar & X86_AR_DB)
		mode |= X86_M_32;
	if (s->seg[X86_SS].ar & X86_AR_DB)
		mode |= X86_M_SS32;
	if (seg_flat(&s->seg[X86_CS], true) && seg_flat(&s->seg[X86_DS], false) &&
	    seg_flat(&s->seg[X86_ES], false) && seg_flat(&s->seg[X86_SS], false))
		mode |= X86_M_FLAT;
	return mode;
}

void x86_refresh_front(struct x86_cpu *cpu)
{
	const struct x86_state *s = &cpu->st;
	unsigned t = X86_FRONT_SUPER;

	if (cpu->cpl == 3)
		t = (s->cr0 & X86_CR0_AM) && (s->rflags & X86_FL_AC) ? X86_FRONT_NONE
								     : X86_FRONT_USER;
	else if ((s->cr4 & X86_CR4_SMAP) && (s->rflags & X86_FL_AC))
		t = X86_FRONT_SUPER_AC;
	cpu->front = cpu->fronts[t];
	if (s->rflags & (X86_FL_TF | X86_FL_RF))
		cpu->todo |= X86_TODO_STEP;
}

void x86_refresh(struct x86_cpu *cpu)
{
	const struct x86_state *s = &cpu->st;

	cpu->mode = mode_of(s);
	cpu->cpl = s->cr0 & X86_CR0_PE ? (uint8_t)x86_ar_dpl(s->seg[X86_SS].ar) : 0;
	cpu->rip_mask = cpu->mode & X86_M_64 ? ~UINT64_C(0) : UINT32_MAX;
	cpu->sp_mask = cpu->mode & X86_M_64	? ~UINT64_C(0)
		       : cpu->mode & X86_M_SS32 ? UINT32_MAX
						: 0xffff;
	cpu->todo |= X86_TODO_PAGE;
	if (s->interruptibility & (X86_SHADOW_STI | X86_SHADOW_MOV_SS))
		cpu->todo |= X86_TODO_STEP;
	if (s->activity)
		cpu->todo |= X86_TODO_ACTIVITY;
	x86_refresh_front(cpu);
}

void x86_set_rflags(struct x86_cpu *cpu, uint64_t rflags)
{
	cpu->st.rflags = rflags | 2;
	x86_fl_put(cpu, rflags);
	x86_refresh_front(cpu);
}

void x86_mode_changed(struct x86_cpu *cpu)
{
	x86_refresh(cpu);
	x86_leave_block(cpu);
}

void x86_set_attention(struct x86_cpu *cpu, bool on)
{
	cpu->todo = on ? cpu->todo | X86_TODO_ATTENTION : cpu->todo & ~X86_TODO_ATTENTION;
}

/* --- leaving a block in its middle ---------------------------------------------------- */

static int64_t op_leave(struct x86_cpu *cpu, const struct x86_op *op)
{
	cpu->st.rip = x86_op_rip(cpu, op);
	return op->idx;
}

void x86_leave_block(struct x86_cpu *cpu)
{
	struct x86_op *next;

	if (!cpu->op || cpu->patched || !x86_code_owns(cpu->code, cpu->op))
		return;
	next = (struct x86_op *)(uintptr_t)(cpu->op + 1);
	cpu->patched = next;
	cpu->patched_fn = next->fn;
	next->fn = op_leave;
	cpu->todo |= X86_TODO_PATCH;
}

static void unpatch(struct x86_cpu *cpu)
{
	if (cpu->patched)
		cpu->patched->fn = cpu->patched_fn;
	cpu->patched = NULL;
	cpu->todo &= ~X86_TODO_PATCH;
}

/* --- counts ------------------------------------------------------------------------------ */

void x86_get_counts(struct x86_cpu *cpu, struct x86_counts *ret)
{
	uint64_t in_block = cpu->op ? cpu->op->idx : 0;

	ret->retired = cpu->retired + in_block;
	ret->fetch_lookups = x86_fetch_clock(cpu);
	ret->data_lookups = cpu->data_clock;
}

uint64_t x86_data_clock(struct x86_cpu *cpu)
{
	return cpu->data_clock;
}

uint64_t x86_fetch_clock(struct x86_cpu *cpu)
{
	uint64_t clock = cpu->retired + cpu->fetch_extra;

	return cpu->op ? clock + cpu->op->idx + 1 : clock + cpu->fetching;
}

/* --- fetching ------------------------------------------------------------------------------ */

/* One lookup of a code page. cpu->op is NULL. */
static int64_t fetch_page(struct x86_cpu *cpu, uint64_t lin, struct x86_xlate *ret)
{
	struct x86_ifront *f = x86_ifront_find(cpu, lin & VMX_PAGE_MASK);
	int64_t st;

	cpu->fetching++;
	if (f) {
		*f->stamp = x86_fetch_clock(cpu);
		*ret = (struct x86_xlate){.host = f->host,
					  .hpa = cpu->slots[X86_FRONT_TABLES * X86_FRONT_SLOTS +
							    (f - &cpu->ifronts[0][0])]
							 .hpa,
					  .stamp = f->stamp,
					  .allow = X86_EXEC};
		return 0;
	}
	memset(ret, 0, sizeof(*ret));
	st = x86_status(cpu->ops->translate(cpu->env, lin, x86_access(cpu, X86_EXEC), ret));
	if (!st && ret->host && ret->stamp)
		x86_ifront_fill(cpu, lin & VMX_PAGE_MASK, ret);
	return st;
}

/* RIP to a linear address: canonical, or within CS. */
static int64_t fetch_linear(struct x86_cpu *cpu, uint64_t rip, uint64_t *ret)
{
	const struct x86_seg *cs = &cpu->st.seg[X86_CS];

	if (x86_is64(cpu)) {
		if (!x86_canonical(rip))
			return x86_fault_code(cpu, X86_GP, 0);
		*ret = rip;
		return 0;
	}
	if (rip > cs->limit)
		return x86_fault_code(cpu, X86_GP, 0);
	*ret = (uint32_t)(cs->base + rip);
	return 0;
}

static int64_t fetch_bytes(struct x86_cpu *cpu, const struct x86_xlate *x, unsigned off,
			   uint8_t *buf, unsigned len)
{
	for (unsigned i = 0; i < len; i++) {
		int64_t st = 0;

		if (x->host)
			buf[i] = __atomic_load_n(x->host + off + i, __ATOMIC_RELAXED);
		else if (cpu->ops->mmio)
			st = x86_status(
				cpu->ops->mmio(cpu->env, x->hpa + off + i, &buf[i], 1, false));
		else
			buf[i] = 0xff;
		if (st)
			return st;
	}
	return 0;
}

/* The rest of an instruction that goes on in the next page. */
static int64_t fetch_second(struct x86_cpu *cpu, uint64_t lin, uint8_t *buf, unsigned have)
{
	uint64_t second = (lin | (X86_PAGE - 1)) + 1;
	struct x86_xlate x;
	int64_t st;

	if (!x86_is64(cpu))
		second = (uint32_t)second;
	else if (!x86_canonical(second))
		return x86_fault_code(cpu, X86_GP, 0);
	st = fetch_page(cpu, second, &x);
	return st ? st : fetch_bytes(cpu, &x, 0, buf + have, X86_MAX_INSN - have);
}

static bool single_matches(const struct x86_single *s, uint32_t mode, unsigned off,
			   const uint8_t *bytes, unsigned len)
{
	return s->len && s->mode == mode && s->off == off && memcmp(s->bytes, bytes, len) == 0;
}

/*
 * The instruction at lin, decoded from the bytes that are there now. first is its
 * page, looked up already. Instructions that cross a page are never in a block.
 */
static int64_t single_get(struct x86_cpu *cpu, uint64_t lin, const struct x86_xlate *first,
			  const struct x86_single **ret)
{
	struct x86_single *s = &cpu->singles[(lin ^ (lin >> 8)) & (X86_SINGLES - 1)];
	unsigned off = (unsigned)(lin & (X86_PAGE - 1));
	unsigned have = X86_PAGE - off < X86_MAX_INSN ? X86_PAGE - off : X86_MAX_INSN;
	uint8_t bytes[16] = {0};
	struct x86_insn in;
	int64_t st = fetch_bytes(cpu, first, off, bytes, have);

	if (st)
		return st;
	*ret = s;
	if (s->len <= have && single_matches(s, cpu->mode, off, bytes, s->len))
		return 0;
	if (s->len <= have || !single_matches(s, cpu->mode, off, bytes, have)) {
		s->len = 0;
		if (x86_decode(cpu->decoder, cpu->mode, bytes, have, off, &s->op[0], &in))
			goto decoded;
	}
	st = fetch_second(cpu, lin, bytes, have);
	if (st)
		return st;
	if (single_matches(s, cpu->mode, off, bytes, s->len))
		return 0;
	s->len = 0;
	(void)x86_decode(cpu->decoder, cpu->mode, bytes, X86_MAX_INSN, off, &s->op[0], &in);
decoded:
	memcpy(s->bytes, bytes, sizeof(s->bytes));
	s->mode = cpu->mode;
	s->off = (uint16_t)off;
	s->len = s->op[0].len;
	x86_op_end(&s->op[1], off + s->len, 1);
	return 0;
}

/* Runs one instruction outside of any block. first: its page, or NULL. */
static int64_t step(struct x86_cpu *cpu, const struct x86_xlate *first)
{
	uint64_t rip = cpu->st.rip, lin;
	const struct x86_single *s;
	struct x86_xlate x;
	int64_t st;

	cpu->op = NULL;
	x86_page_none(cpu);
	st = fetch_linear(cpu, rip, &lin);
	if (!st && !first) {
		first = &x;
		st = fetch_page(cpu, lin, &x);
	}
	if (!st)
		st = single_get(cpu, lin, first, &s);
	if (!st && !x86_is64(cpu) && rip + s->len - 1 > cpu->st.seg[X86_CS].limit)
		st = x86_fault_code(cpu, X86_GP, 0);
	if (st)
		return st;
	cpu->fetch_extra += cpu->fetching - 1;
	cpu->fetching = 0;
	cpu->rip_page = rip - (lin & (X86_PAGE - 1));
	st = s->op[0].fn(cpu, s->op);
	cpu->rip_page = X86_RIP_PAGE_NONE;
	return st;
}

/* --- the loop ----------------------------------------------------------------------------- */

/*
 * Makes RIP's page the current one. 0: done. 1: its instructions run one by one;
 * *ret is the page if ret->allow is set. Or X86S_*.
 */
static int64_t enter_page(struct x86_cpu *cpu, struct x86_xlate *ret)
{
	uint64_t rip = cpu->st.rip, lin, to_end;
	struct x86_ifront *f;
	int64_t st;

	cpu->op = NULL;
	x86_page_none(cpu);
	st = fetch_linear(cpu, rip, &lin);
	if (st)
		return st;
	ret->allow = 0;
	to_end = X86_PAGE - 1 - (lin & (X86_PAGE - 1));
	if (!x86_is64(cpu) && rip + to_end > cpu->st.seg[X86_CS].limit)
		return 1;
	st = fetch_page(cpu, lin, ret);
	if (st)
		return st;
	ret->allow = X86_EXEC;
	f = x86_ifront_find(cpu, lin & VMX_PAGE_MASK);
	if (!f || !cpu->code)
		return 1;
	if (!f->page || f->gen != x86_code_gen(cpu->code) || f->page->mode != cpu->mode) {
		f->page = x86_code_page(cpu->code, ret->hpa & VMX_PAGE_MASK, cpu->mode);
		f->gen = x86_code_gen(cpu->code);
	}
	cpu->page = f->page;
	cpu->ihost = f->host;
	cpu->istamp = f->stamp;
	cpu->islot = (uint16_t)(f - &cpu->ifronts[0][0]);
	cpu->rip_page = rip - (lin & (X86_PAGE - 1));
	cpu->fetching = 0;
	return 0;
}

/* No block starts here yet. */
static X86_COLD int64_t run_new_block(struct x86_cpu *cpu, unsigned off)
{
	struct x86_page *page = cpu->page;
	uint64_t rip_page = cpu->rip_page;
	struct x86_block *b;

	/* May cross: the byte-checked path knows it, or decodes it. */
	if (off > X86_PAGE - X86_MAX_INSN)
		return step(cpu, NULL);
	b = x86_block_build(cpu, &page, cpu->ihost, off);
	if (!b)
		return step(cpu, NULL);
	/* The code cache may have been emptied. */
	cpu->page = page;
	cpu->rip_page = rip_page;
	if (b->n > cpu->target - cpu->retired)
		return step(cpu, NULL);
	*cpu->istamp = cpu->retired + cpu->fetch_extra + 1;
	return b->ops[0].fn(cpu, b->ops);
}

static X86_COLD int64_t run_new_page(struct x86_cpu *cpu)
{
	struct x86_xlate x;
	int64_t st = enter_page(cpu, &x);
	struct x86_block *b;
	uint64_t off;

	if (st)
		return st < 0 ? st : step(cpu, x.allow ? &x : NULL);
	/* The page's lookup is the first instruction's. */
	off = cpu->st.rip - cpu->rip_page;
	b = x86_code_block(cpu, cpu->page->map[off]);
	if (!cpu->page->map[off])
		return run_new_block(cpu, (unsigned)off);
	if (b->n > cpu->target - cpu->retired)
		return step(cpu, NULL);
	*cpu->istamp = cpu->retired + cpu->fetch_extra + 1;
	return b->ops[0].fn(cpu, b->ops);
}

X86_INLINE int64_t run_block(struct x86_cpu *cpu)
{
	uint64_t off = cpu->st.rip - cpu->rip_page;
	struct x86_block *b;
	uint32_t at;

	if (X86_UNLIKELY(off >= X86_PAGE))
		return run_new_page(cpu);
	at = cpu->page->map[off];
	if (X86_UNLIKELY(!at))
		return run_new_block(cpu, (unsigned)off);
	b = x86_code_block(cpu, at);
	if (X86_UNLIKELY(b->n > cpu->target - cpu->retired))
		return step(cpu, NULL);
	*cpu->istamp = cpu->retired + cpu->fetch_extra + 1;
	return b->ops[0].fn(cpu, b->ops);
}

/* What a faulting, exiting or interrupted instruction leaves to be counted. */
static void count_stopped(struct x86_cpu *cpu)
{
	if (cpu->op) {
		cpu->retired += cpu->op->idx;
		cpu->fetch_extra++;
	} else {
		cpu->fetch_extra += cpu->fetching;
	}
	cpu->fetching = 0;
	cpu->op = NULL;
}

static int64_t single_step_trap(struct x86_cpu *cpu)
{
	struct x86_fault db = {.vector = X86_DB, .cr2 = X86_DR6_BS};

	return x86_exception(cpu, &db);
}

/*
 * Nothing has retired. A guest that only faults, or repeats without end, must not
 * keep the caller out for good. true: go on.
 */
static bool run_stuck(struct x86_cpu *cpu, enum x86_stop *ret_stop)
{
	if (cpu->stuck_at != cpu->retired) {
		cpu->stuck_at = cpu->retired;
		cpu->stuck = 0;
	}
	*ret_stop = X86_STOP_ATTENTION;
	return ++cpu->stuck % STUCK_MAX != 0;
}

/* true: go on. */
static bool run_status(struct x86_cpu *cpu, int64_t st, enum x86_stop *ret_stop)
{
	count_stopped(cpu);
	*ret_stop = X86_STOP_EXIT;
	if (st == X86S_EXIT)
		return false;
	if (st == X86S_PARTIAL || st == X86S_DIVERTED)
		return run_stuck(cpu, ret_stop);
	unpatch(cpu);
	if (x86_exception(cpu, &cpu->fault))
		return false;
	return run_stuck(cpu, ret_stop);
}

/*
 * One instruction under TF, RF or an interrupt shadow. RF and the shadow end with
 * it; an instruction that fails keeps them.
 */
static int64_t run_guarded(struct x86_cpu *cpu)
{
	struct x86_state *s = &cpu->st;
	uint32_t shadow = s->interruptibility & (X86_SHADOW_STI | X86_SHADOW_MOV_SS);
	uint64_t rf = s->rflags & X86_FL_RF;
	int64_t st;

	cpu->todo &= ~X86_TODO_STEP;
	cpu->stepping = s->rflags & X86_FL_TF;
	s->rflags &= ~rf;
	st = step(cpu, NULL);
	if (st < 0)
		s->rflags |= rf;
	if (st > 0)
		s->interruptibility &= ~shadow;
	if (s->rflags & (X86_FL_TF | X86_FL_RF) ||
	    s->interruptibility & (X86_SHADOW_STI | X86_SHADOW_MOV_SS))
		cpu->todo |= X86_TODO_STEP;
	return st;
}

/* Single-step trap behind a completed instruction or iteration. true: go on. */
static bool run_trap(struct x86_cpu *cpu, enum x86_stop *ret_stop)
{
	if (!cpu->stepping)
		return true;
	cpu->stepping = false;
	if (cpu->st.interruptibility & X86_SHADOW_MOV_SS)
		return true;
	*ret_stop = X86_STOP_EXIT;
	return single_step_trap(cpu) == 0;
}

enum todo { TODO_STOP, TODO_AGAIN, TODO_BLOCK };

/* Between blocks with something to do. */
static X86_COLD enum todo run_todo(struct x86_cpu *cpu, enum x86_stop *ret_stop)
{
	int64_t st;

	cpu->op = NULL;
	unpatch(cpu);
	if (cpu->todo & X86_TODO_PAGE)
		x86_page_none(cpu);
	if (cpu->todo & X86_TODO_ACTIVITY) {
		cpu->todo &= ~X86_TODO_ACTIVITY;
		*ret_stop = X86_STOP_EXIT;
		if (cpu->st.activity)
			return TODO_STOP;
	}
	if (cpu->todo & X86_TODO_ATTENTION) {
		*ret_stop = X86_STOP_ATTENTION;
		if (!cpu->ops->attention || cpu->ops->attention(cpu->env))
			return TODO_STOP;
	}
	if (!(cpu->todo & X86_TODO_STEP))
		return cpu->todo & ~(uint32_t)X86_TODO_ATTENTION ? TODO_AGAIN : TODO_BLOCK;
	st = run_guarded(cpu);
	if (st >= 0)
		cpu->retired += (uint64_t)st;
	else if (!run_status(cpu, st, ret_stop))
		return TODO_STOP;
	if (st != X86S_FAULT && !run_trap(cpu, ret_stop))
		return TODO_STOP;
	return TODO_AGAIN;
}

static enum x86_stop run_loop(struct x86_cpu *cpu)
{
	enum x86_stop stop;
	enum todo todo;
	int64_t n;

	while (cpu->retired < cpu->target) {
		if (X86_UNLIKELY(cpu->todo)) {
			todo = run_todo(cpu, &stop);
			if (todo == TODO_STOP)
				return stop;
			if (todo == TODO_AGAIN)
				continue;
		}
		n = run_block(cpu);
		if (X86_LIKELY(n >= 0))
			cpu->retired += (uint64_t)n;
		else if (!run_status(cpu, n, &stop))
			return stop;
	}
	return X86_STOP_BUDGET;
}

enum x86_stop x86_run(struct x86_cpu *cpu, uint64_t max, uint64_t *ret_retired)
{
	uint64_t start = cpu->retired;
	enum x86_stop stop;

	cpu->target = max > UINT64_MAX - start ? UINT64_MAX : start + max;
	cpu->op = NULL;
	cpu->fetching = 0;
	cpu->stepping = false;
	cpu->st.vectoring_info = 0;
	x86_refresh(cpu);
	x86_fl_put(cpu, cpu->st.rflags);
	stop = run_loop(cpu);
	unpatch(cpu);
	cpu->op = NULL;
	cpu->st.rflags = x86_rflags(cpu);
	*ret_retired = cpu->retired - start;
	return stop;
}

/* --- life ------------------------------------------------------------------------------------ */

struct x86_cpu *x86_cpu_new(const struct x86_ops *ops, void *env, struct x86_code *code)
{
	struct x86_cpu *cpu = calloc(1, sizeof(*cpu));

	if (!cpu)
		return NULL;
	cpu->ops = ops;
	cpu->env = env;
	cpu->code = code;
	cpu->decoder = x86_decoder_new();
	cpu->singles = calloc(X86_SINGLES, sizeof(*cpu->singles));
	if (!cpu->decoder || !cpu->singles) {
		x86_cpu_delete(cpu);
		return NULL;
	}
	x86_front_init(cpu);
	if (code)
		x86_code_attach(code, cpu);
	return cpu;
}

void x86_cpu_delete(struct x86_cpu *cpu)
{
	if (!cpu)
		return;
	if (cpu->code)
		x86_code_detach(cpu->code, cpu);
	x86_decoder_delete(cpu->decoder);
	free(cpu->singles);
	free(cpu);
}

struct x86_state *x86_state(struct x86_cpu *cpu)
{
	return &cpu->st;
}

struct x86_fault *x86_pending(struct x86_cpu *cpu)
{
	return &cpu->fault;
}
