// SPDX-License-Identifier: MIT
/* Exceptions, interrupts, far transfers and segments, in 64-bit and 32-bit mode. */
#include "x86_rig.h"

#define GDT 0x10000u
#define IDT 0x11000u
#define TSS 0x12000u
#define HANDLERS 0x2000u /* 16 bytes a vector, HLT */
#define STACK0 0x80000u
#define STACK_IST 0x90000u
#define STACK3 0xa0000u

enum {
	KCODE = 0x08,
	KDATA = 0x10,
	UCODE = 0x18 | 3,
	UDATA = 0x20 | 3,
	TSS_SEL = 0x28, /* two slots */
	CODE32 = 0x38,
	ABSENT = 0x40,
	RODATA = 0x48,
	XONLY = 0x50,
	CONFORMING = 0x58,
	SMALL = 0x60,
	DOWN = 0x68,
	CODE64 = 0x70,
	GDT_END = 0x78,
};

/* A descriptor without base; limit in 4 KiB units if G is in ar. */
static void gdt_set(struct x86_rig *r, unsigned sel, uint32_t limit, uint32_t ar)
{
	uint64_t d = (limit & 0xffff) | (uint64_t)(ar & 0xff) << 40 |
		     (uint64_t)((limit >> 16) & 15) << 48 | (uint64_t)(ar >> 12 & 15) << 52;

	rig_set(r, GDT + (sel & ~7u), 8, d);
}

static void idt_set(struct x86_rig *r, bool mode64, unsigned vector, unsigned sel, unsigned type,
		    unsigned dpl, unsigned ist)
{
	uint64_t at = HANDLERS + vector * 16;
	uint64_t lo = (at & 0xffff) | (uint64_t)sel << 16 | (uint64_t)ist << 32 |
		      (uint64_t)(0x80 | dpl << 5 | type) << 40 | (at >> 16 & 0xffff) << 48;

	if (mode64) {
		rig_set(r, IDT + vector * 16, 8, lo);
		rig_set(r, IDT + vector * 16 + 8, 8, 0);
	} else {
		rig_set(r, IDT + vector * 8, 8, lo);
	}
}

static struct x86_rig *sys_new(bool mode64)
{
	struct x86_rig *r = rig_new(mode64, true);
	struct x86_state *s = x86_state(r->cpu);
	uint32_t code = mode64 ? 0xa09b : 0xc09b;

	gdt_set(r, KCODE, 0xfffff, code);
	gdt_set(r, KDATA, 0xfffff, 0xc093);
	gdt_set(r, UCODE, 0xfffff, code | 0x60);
	gdt_set(r, UDATA, 0xfffff, 0xc0f3);
	gdt_set(r, TSS_SEL, 103, 0x89);
	gdt_set(r, CODE32, 0xfffff, 0xc09b);
	gdt_set(r, ABSENT, 0xfffff, 0xc013);
	gdt_set(r, RODATA, 0xfffff, 0xc091);
	gdt_set(r, XONLY, 0xfffff, code & ~2u);
	gdt_set(r, CONFORMING, 0xfffff, code | 4);
	gdt_set(r, SMALL, 0xfff, 0x4093);
	gdt_set(r, DOWN, 0xfff, 0x4097);
	gdt_set(r, CODE64, 0xfffff, 0xa09b);
	rig_set(r, TSS + 4, mode64 ? 8 : 4, STACK0);
	if (mode64)
		rig_set(r, TSS + 36, 8, STACK_IST);
	else
		rig_set(r, TSS + 8, 4, KDATA);
	for (unsigned v = 0; v < 256; v++) {
		idt_set(r, mode64, v, KCODE, 14, 0, 0);
		rig_set(r, HANDLERS + v * 16, 1, 0xf4);
	}
	s->gdtr = (struct x86_dtable){.base = GDT, .limit = GDT_END - 1};
	s->idtr = (struct x86_dtable){.base = IDT, .limit = mode64 ? 0xfff : 0x7ff};
	s->seg[X86_TR] = (struct x86_seg){.base = TSS, .limit = 103, .ar = 0x8b, .sel = TSS_SEL};
	s->gpr[X86_RSP] = STACK0 - 0x1000;
	s->rflags = 0x202;
	return r;
}

/* To CPL 3, with a stack of its own. */
static void go_user(struct x86_rig *r)
{
	struct x86_state *s = x86_state(r->cpu);

	s->seg[X86_CS].sel = UCODE;
	s->seg[X86_CS].ar |= 0x60;
	for (unsigned i = 0; i < X86_LDTR; i++) {
		if (i == X86_CS)
			continue;
		s->seg[i].sel = UDATA;
		s->seg[i].ar |= 0x60;
	}
	s->gpr[X86_RSP] = STACK3;
	x86_mode_changed(r->cpu);
}

/* --- exceptions ---------------------------------------------------------------------------- */

struct exc_row {
	const char *name;
	uint8_t code[8];
	uint8_t len;
	uint8_t vector;
	bool has_error;
	uint32_t error;
	uint8_t advance; /* of the pushed RIP: traps */
	bool user;
};

static const struct exc_row exc_rows[] = {
	{"div by 0", {0xf7, 0xf1}, 2, 0, false, 0, 0, false},
	{"ud2", {0x0f, 0x0b}, 2, 6, false, 0, 0, false},
	{"int3", {0xcc}, 1, 3, false, 0, 1, false},
	{"int1", {0xf1}, 1, 1, false, 0, 1, false},
	{"int 0x30", {0xcd, 0x30}, 2, 0x30, false, 0, 2, false},
	{"hlt at cpl 3", {0xf4}, 1, 13, true, 0, 0, true},
	{"cli at cpl 3", {0xfa}, 1, 13, true, 0, 0, true},
	{"int 0x30, dpl 0", {0xcd, 0x30}, 2, 13, true, 0x30 * 16 / 2 + 2, 0, true},
	{"mov ds, absent", {0x8e, 0xd8}, 2, 11, true, ABSENT, 0, false},
	{"page fault", {0x8b, 0x03}, 2, 14, true, 0, 0, false},
	{"page fault at cpl 3", {0x89, 0x03}, 2, 14, true, 6, 0, true},
	{"div by 0 at cpl 3", {0xf7, 0xf1}, 2, 0, false, 0, 0, true},
	{"fninit", {0xdb, 0xe3}, 2, 7, false, 0, 0, false},
};

static void check_exc(const struct exc_row *row, bool mode64, bool ist)
{
	struct x86_rig *r = sys_new(mode64);
	struct x86_state *s = x86_state(r->cpu);
	unsigned word = mode64 ? 8 : 4, vector = row->vector;
	bool outer = row->user || mode64;
	uint64_t sp, old_sp, flags;
	uint32_t error = row->error;

	if (vector == 13 && error)
		error = 0x30 * 8 + 2;
	if (ist)
		idt_set(r, true, vector, KCODE, 14, 0, 1);
	if (row->user)
		go_user(r);
	rig_put(r, 0x1000, row->code, row->len);
	s->gpr[X86_RAX] = ABSENT;
	s->gpr[X86_RBX] = 0xf0000;
	s->cr0 |= 4; /* EM: x87 answers #NM */
	r->perm[0xf0] = 0;
	old_sp = s->gpr[X86_RSP];
	s->rflags = 0x8d7 | 0x200;
	assert_int_equal(rig_run(r, 100, X86_STOP_EXIT), 1 + (row->advance != 0));
	if (s->rip != HANDLERS + vector * 16 + 1u)
		fail_msg("%s: rip %#llx", row->name, (unsigned long long)s->rip);
	sp = ist ? STACK_IST : row->user ? STACK0 : mode64 ? old_sp & ~15ull : old_sp;
	sp -= word * (3 + (outer ? 2 : 0) + row->has_error);
	assert_int_equal(s->gpr[X86_RSP], sp);
	if (row->has_error) {
		if (rig_get(r, sp, word) != error)
			fail_msg("%s: error %#llx", row->name,
				 (unsigned long long)rig_get(r, sp, word));
		sp += word;
	}
	assert_int_equal(rig_get(r, sp, word), 0x1000 + row->advance);
	assert_int_equal(rig_get(r, sp + word, word), row->user ? UCODE : KCODE);
	/* RF is set in the image of a fault. */
	flags = 0x8d7 | 0x200 | (row->advance ? 0 : 0x10000);
	assert_int_equal(rig_get(r, sp + 2 * word, word), flags);
	if (outer) {
		assert_int_equal(rig_get(r, sp + 3 * word, word), old_sp);
		assert_int_equal(rig_get(r, sp + 4 * word, word), row->user ? UDATA : KDATA);
	}
	assert_int_equal(s->rflags, 0x8d7); /* interrupt gate */
	assert_int_equal(s->seg[X86_CS].sel, KCODE);
	if (row->user)
		assert_int_equal(s->seg[X86_SS].sel, mode64 ? 0 : KDATA);
	assert_int_equal(s->seg[X86_SS].ar >> 5 & 3, 0);
	assert_int_equal(s->vectoring_info, 0);
	if (vector == 14)
		assert_int_equal(s->cr2, 0xf0000);
	rig_delete(r);
}

static void test_exceptions(void **state)
{
	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(exc_rows); i++) {
		check_exc(&exc_rows[i], true, false);
		check_exc(&exc_rows[i], true, true);
		check_exc(&exc_rows[i], false, false);
	}
}

/* A handler that returns: user to kernel and back, both modes, flags and all. */
static void test_round_trip(void **state)
{
	(void)state;
	for (unsigned mode64 = 0; mode64 < 2; mode64++) {
		struct x86_rig *r = sys_new(mode64);
		struct x86_state *s = x86_state(r->cpu);

		idt_set(r, mode64, 0x40, KCODE, 15, 3, 0);
		CODE(r, HANDLERS + 0x40 * 16, 0xff, 0xc1, 0x48,
		     0xcf); /* inc ecx; iretq (dec eax; iret) */
		CODE(r, 0x1000, 0xcd, 0x40, 0xcd, 0x40, 0x0f, 0x0b);
		go_user(r);
		s->rflags = 0xed7;
		assert_int_equal(rig_run(r, 3 + !mode64, X86_STOP_BUDGET), 3 + !mode64);
		assert_int_equal(s->rip, 0x1002);
		assert_int_equal(s->seg[X86_CS].sel, UCODE);
		assert_int_equal(s->seg[X86_SS].sel, UDATA);
		assert_int_equal(s->gpr[X86_RSP], STACK3);
		assert_int_equal(s->rflags, 0xed7);
		assert_int_equal(s->gpr[X86_RCX], 1);
		assert_int_equal(rig_run(r, 3 + !mode64, X86_STOP_BUDGET), 3 + !mode64);
		assert_int_equal(s->rip, 0x1004);
		rig_delete(r);
	}
}

/* Data segments that user code may not have are taken away on the way out. */
static void test_return_clears_segments(void **state)
{
	struct x86_rig *r = sys_new(false);
	struct x86_state *s = x86_state(r->cpu);
	uint64_t sp = STACK0 - 20;

	(void)state;
	CODE(r, 0x1000, 0xcf);
	rig_set(r, sp, 4, 0x1234);
	rig_set(r, sp + 4, 4, UCODE);
	rig_set(r, sp + 8, 4, 0x202);
	rig_set(r, sp + 12, 4, STACK3);
	rig_set(r, sp + 16, 4, UDATA);
	s->gpr[X86_RSP] = sp;
	s->seg[X86_ES] = (struct x86_seg){.sel = UDATA, .ar = 0xc0f3, .limit = 0xffffffff};
	assert_int_equal(rig_run(r, 1, X86_STOP_BUDGET), 1);
	assert_int_equal(s->rip, 0x1234);
	assert_int_equal(s->seg[X86_DS].ar & 0x10000, 0x10000);
	assert_int_equal(s->seg[X86_DS].sel, 0);
	assert_int_equal(s->seg[X86_ES].sel, UDATA);
	assert_int_equal(s->seg[X86_SS].sel, UDATA);
	rig_delete(r);
}

static void test_bad_returns(void **state)
{
	static const struct {
		uint16_t cs, ss;
		uint64_t rip;
		uint32_t vector, error;
	} rows[] = {
		{0, KDATA, 0x2000, 13, 0},
		{KDATA, KDATA, 0x2000, 13, KDATA},
		{UCODE, KDATA, 0x2000, 13, KDATA},
		{UCODE, UDATA & ~3, 0x2000, 13, UDATA & ~3},
		{KCODE, ABSENT, 0x2000, 12, ABSENT},
		{GDT_END, KDATA, 0x2000, 13, GDT_END},
		{KCODE, KDATA, UINT64_C(0x800000000000), 13, 0},
		{UCODE, 0, 0x2000, 13, 0},
	};

	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(rows); i++) {
		struct x86_rig *r = sys_new(true);
		struct x86_state *s = x86_state(r->cpu), before;
		uint64_t sp = STACK0 - 40;

		CODE(r, 0x1000, 0x48, 0xcf);
		rig_set(r, sp, 8, rows[i].rip);
		rig_set(r, sp + 8, 8, rows[i].cs);
		rig_set(r, sp + 16, 8, 0x202);
		rig_set(r, sp + 24, 8, STACK3);
		rig_set(r, sp + 32, 8, rows[i].ss);
		s->gpr[X86_RSP] = sp;
		r->exit_exceptions = true;
		before = *s;
		assert_int_equal(rig_run(r, 1, X86_STOP_EXIT), 0);
		if (r->log[0].fault.vector != rows[i].vector ||
		    r->log[0].fault.error != rows[i].error)
			fail_msg("row %zu: vector %u error %#x", i, r->log[0].fault.vector,
				 r->log[0].fault.error);
		assert_memory_equal(s->seg, before.seg, sizeof(s->seg));
		assert_memory_equal(s->gpr, before.gpr, sizeof(s->gpr));
		assert_int_equal(s->rip, 0x1000);
		rig_delete(r);
	}
}

/* --- faults in delivery -------------------------------------------------------------------- */

/* Exceptions reported to the owner, in order. */
static unsigned exceptions(const struct x86_rig *r, uint8_t *vectors, unsigned max)
{
	unsigned n = 0;

	for (unsigned i = 0; i < r->logged; i++)
		if (r->log[i].what == X86_SP_EXCEPTION && n < max)
			vectors[n++] = r->log[i].fault.vector;
	return n;
}

struct double_row {
	const char *name;
	uint8_t code[4];
	uint8_t len;
	uint8_t no_gate[3]; /* vectors whose gate is not present; 0xff none */
	bool no_stack;	    /* the stack's page is absent */
	uint8_t seen[4];
	uint8_t seen_count;
	bool triple;
};

static const struct double_row double_rows[] = {
	/* benign, then #NP of its gate */
	{"ud2, no gate", {0x0f, 0x0b}, 2, {6, 0xff, 0xff}, false, {6, 11}, 2, false},
	/* contributory twice */
	{"div, no gate", {0xf7, 0xf1}, 2, {0, 0xff, 0xff}, false, {0, 8}, 2, false},
	{"div, no gate for 0 and 8", {0xf7, 0xf1}, 2, {0, 8, 0xff}, false, {0, 8}, 2, true},
	/* page fault in delivering a page fault */
	{"page fault, no stack", {0x8b, 0x03}, 2, {0xff, 0xff, 0xff}, true, {14, 8}, 2, true},
	{"page fault, no gate", {0x8b, 0x03}, 2, {14, 0xff, 0xff}, false, {14, 8}, 2, false},
	/* contributory, then a page fault is serial; that one has no stack either */
	{"div, no stack", {0xf7, 0xf1}, 2, {0xff, 0xff, 0xff}, true, {0, 14, 8}, 3, true},
	{"int n, no gate", {0xcd, 0x30}, 2, {0x30, 0xff, 0xff}, false, {11}, 1, false},
};

static void test_double_faults(void **state)
{
	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(double_rows) * 2; i++) {
		const struct double_row *row = &double_rows[i / 2];
		bool mode64 = i & 1;
		struct x86_rig *r = sys_new(mode64);
		struct x86_state *s = x86_state(r->cpu);
		uint8_t seen[8];
		unsigned n;

		for (unsigned k = 0; k < 3; k++)
			if (row->no_gate[k] != 0xff)
				rig_set(r, IDT + row->no_gate[k] * (mode64 ? 16u : 8u) + 5, 1,
					0x0e);
		rig_put(r, 0x1000, row->code, row->len);
		s->gpr[X86_RBX] = 0xf0000;
		r->perm[0xf0] = 0;
		if (row->no_stack)
			r->perm[(STACK0 >> 12) - 2] = 0;
		r->exit_on[X86_SP_TRIPLE_FAULT] = true;
		(void)rig_run(r, 100, X86_STOP_EXIT);
		n = exceptions(r, seen, 8);
		if (n != row->seen_count || memcmp(seen, row->seen, n) != 0)
			fail_msg("%s: %u exceptions, last %u", row->name, n, seen[n - 1]);
		if (row->triple) {
			assert_int_equal(r->log[r->logged - 1].what, X86_SP_TRIPLE_FAULT);
			assert_int_equal(s->rip, 0x1000);
			assert_int_equal(s->vectoring_info, 0);
		} else {
			assert_int_equal(s->rip, HANDLERS + seen[n - 1] * 16 + 1);
		}
		rig_delete(r);
	}
}

/* The second exception is intercepted: the first is in the IDT-vectoring field. */
static void test_vectoring_info(void **state)
{
	struct x86_rig *r = sys_new(true);
	struct x86_state *s;

	(void)state;
	CODE(r, 0x1000, 0x0f, 0x0b);
	rig_set(r, IDT + 6 * 16 + 5, 1, 0x0e);
	assert_int_equal(rig_run(r, 0, X86_STOP_BUDGET), 0);
	r->logged = 0;
	(void)rig_run(r, 100, X86_STOP_EXIT);
	assert_int_equal(r->log[0].vectoring, 0);
	assert_int_equal(r->log[1].fault.vector, 11);
	assert_int_equal(r->log[1].fault.error, 6 * 8 + 3);
	assert_int_equal(r->log[1].vectoring, 0x80000306);
	rig_delete(r);

	/* An EPT violation on the stack, in the middle of delivery. */
	r = sys_new(true);
	s = x86_state(r->cpu);
	CODE(r, 0x1000, 0xcd, 0x30);
	r->perm[(STACK0 >> 12) - 2] |= RIG_EXIT;
	(void)rig_run(r, 1, X86_STOP_EXIT);
	assert_int_equal(s->vectoring_info, 0x80000430);
	assert_int_equal(s->rip, 0x1000);
	assert_int_equal(s->insn_length, 2);
	assert_int_equal(s->gpr[X86_RSP], STACK0 - 0x1000);
	r->perm[(STACK0 >> 12) - 2] &= ~RIG_EXIT;
	assert_int_equal(x86_inject(r->cpu, 0x80000430, 0, 2), X86_OK);
	assert_int_equal(s->vectoring_info, 0);
	assert_int_equal(s->rip, HANDLERS + 0x300);
	assert_int_equal(rig_get(r, s->gpr[X86_RSP], 8), 0x1002);
	rig_delete(r);
}

static void test_inject(void **state)
{
	static const struct {
		uint32_t info, error, length;
		uint64_t rip; /* pushed */
		bool has_error;
	} rows[] = {
		{0x80000020, 0, 0, 0x1000, false},   /* external interrupt */
		{0x80000202, 0, 0, 0x1000, false},   /* NMI */
		{0x80000b0e, 0x15, 0, 0x1000, true}, /* #PF */
		{0x80000603, 0, 1, 0x1001, false},   /* INT3 */
		{0x80000480, 0, 2, 0x1002, false},   /* INT 0x80 */
		{0x80000501, 0, 1, 0x1001, false},   /* INT1 */
	};

	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(rows) * 2; i++) {
		bool mode64 = i & 1;
		struct x86_rig *r = sys_new(mode64);
		struct x86_state *s = x86_state(r->cpu);
		unsigned word = mode64 ? 8 : 4;
		uint32_t info = rows[i / 2].info;
		uint64_t sp;

		s->cr2 = 0x77;
		s->rflags = 0x2d7;
		s->interruptibility = 1;
		assert_int_equal(x86_inject(r->cpu, info, rows[i / 2].error, rows[i / 2].length),
				 X86_OK);
		assert_int_equal(s->rip, HANDLERS + (info & 0xff) * 16);
		sp = s->gpr[X86_RSP];
		if (rows[i / 2].has_error) {
			assert_int_equal(rig_get(r, sp, word), rows[i / 2].error);
			sp += word;
		}
		assert_int_equal(rig_get(r, sp, word), rows[i / 2].rip);
		assert_int_equal(s->cr2, 0x77);
		assert_int_equal(s->rflags, 0xd7);
		assert_int_equal(s->interruptibility, (info >> 8 & 7) == 2 ? 8 : 0);
		rig_delete(r);
	}
}

/* --- single step, shadows, attention ------------------------------------------------------- */

static void test_single_step(void **state)
{
	struct x86_rig *r = sys_new(true);
	struct x86_state *s = x86_state(r->cpu);

	(void)state;
	/* nop; nop; mov ss, ax; nop; rep stosb */
	CODE(r, 0x1000, 0x90, 0x90, 0x8e, 0xd0, 0x90, 0xf3, 0xaa);
	CODE(r, HANDLERS + 16, 0xff, 0xc1, 0x48, 0xcf); /* inc ecx; iretq */
	s->rflags = 0x302;
	s->gpr[X86_RAX] = KDATA;
	s->gpr[X86_RDI] = 0x5000;
	/* nop, inc, iretq, nop, inc, iretq */
	assert_int_equal(rig_run(r, 6, X86_STOP_BUDGET), 6);
	assert_int_equal(s->rip, 0x1002);
	assert_int_equal(s->dr[6] & 0x4000, 0x4000);
	assert_int_equal(r->log[0].fault.vector, 1);
	assert_int_equal(r->log[0].info.value, 0x4000);
	/* mov ss and nop make one trap: mov, nop, inc, iretq */
	assert_int_equal(rig_run(r, 4, X86_STOP_BUDGET), 4);
	assert_int_equal(s->rip, 0x1005);
	/* rep stosb: a trap an iteration; the handler's INC makes ECX count up again */
	s->gpr[X86_RCX] = 2;
	assert_int_equal(rig_run(r, 2, X86_STOP_BUDGET), 2);
	assert_int_equal(s->rip, 0x1005);
	assert_int_equal(s->gpr[X86_RCX], 2);
	assert_int_equal(s->gpr[X86_RDI], 0x5001);
	rig_delete(r);
}

static unsigned asked_at_count;
static uint64_t asked_at[8];

static bool note_attention(void *env)
{
	struct x86_rig *r = env;

	if (asked_at_count < 8)
		asked_at[asked_at_count++] = x86_state(r->cpu)->rip;
	return (x86_state(r->cpu)->rflags & 0x200) && !(x86_state(r->cpu)->interruptibility & 3);
}

/* An interrupt that waits is taken behind the instruction that follows STI. */
static void test_sti_shadow(void **state)
{
	struct x86_rig *r = sys_new(true);
	struct x86_ops ops = rig_ops;
	struct x86_state *s;

	(void)state;
	ops.attention = note_attention;
	x86_cpu_delete(r->cpu);
	r->cpu = x86_cpu_new(&ops, r, r->code);
	rig_reset(r, true);
	s = x86_state(r->cpu);
	CODE(r, 0x1000, 0x90, 0xfb, 0x90, 0x90, 0xf4);
	x86_set_attention(r->cpu, true);
	assert_int_equal(rig_run(r, 100, X86_STOP_ATTENTION), 3);
	assert_int_equal(s->rip, 0x1003);
	assert_int_equal(s->interruptibility & 3, 0);
	assert_int_equal(asked_at[0], 0x1000);
	rig_delete(r);
}

/* --- system calls -------------------------------------------------------------------------- */

static void test_syscall(void **state)
{
	struct x86_rig *r = sys_new(true);
	struct x86_state *s = x86_state(r->cpu);

	(void)state;
	CODE(r, 0x1000, 0x0f, 0x05, 0x90);
	CODE(r, 0x3000, 0x48, 0x0f, 0x07); /* sysretq */
	go_user(r);
	s->star = UINT64_C(0x0013000800000000);
	s->lstar = 0x3000;
	s->fmask = 0x200;
	s->rflags = 0x2d7;
	assert_int_equal(rig_run(r, 1, X86_STOP_BUDGET), 1);
	assert_int_equal(s->rip, 0x3000);
	assert_int_equal(s->gpr[X86_RCX], 0x1002);
	assert_int_equal(s->gpr[X86_R11], 0x2d7);
	assert_int_equal(s->rflags, 0xd7);
	assert_int_equal(s->seg[X86_CS].sel, 8);
	assert_int_equal(s->seg[X86_SS].sel, 0x10);
	assert_int_equal(s->seg[X86_SS].ar >> 5 & 3, 0);
	assert_int_equal(rig_run(r, 2, X86_STOP_BUDGET), 2);
	assert_int_equal(s->rip, 0x1003);
	assert_int_equal(s->rflags, 0x2d7);
	assert_int_equal(s->seg[X86_CS].sel, 0x23);
	assert_int_equal(s->seg[X86_SS].sel, 0x1b);
	assert_int_equal(s->seg[X86_SS].ar >> 5 & 3, 3);
	/* Not enabled: #UD. */
	s->efer &= ~UINT64_C(1);
	s->rip = 0x1000;
	r->exit_exceptions = true;
	assert_int_equal(rig_run(r, 1, X86_STOP_EXIT), 0);
	assert_int_equal(r->log[r->logged - 1].fault.vector, 6);
	rig_delete(r);
}

static void test_sysenter(void **state)
{
	struct x86_rig *r = sys_new(false);
	struct x86_state *s = x86_state(r->cpu);

	(void)state;
	CODE(r, 0x1000, 0x0f, 0x34);
	CODE(r, 0x3000, 0x0f, 0x35);
	go_user(r);
	s->sysenter_cs = KCODE;
	s->sysenter_esp = STACK0;
	s->sysenter_eip = 0x3000;
	s->gpr[X86_RCX] = STACK3 - 64;
	s->gpr[X86_RDX] = 0x1002;
	assert_int_equal(rig_run(r, 1, X86_STOP_BUDGET), 1);
	assert_int_equal(s->rip, 0x3000);
	assert_int_equal(s->gpr[X86_RSP], STACK0);
	assert_int_equal(s->seg[X86_CS].sel, KCODE);
	assert_int_equal(rig_run(r, 1, X86_STOP_BUDGET), 1);
	assert_int_equal(s->rip, 0x1002);
	assert_int_equal(s->gpr[X86_RSP], STACK3 - 64);
	assert_int_equal(s->seg[X86_CS].sel, UCODE);
	assert_int_equal(s->seg[X86_SS].sel, UDATA);
	rig_delete(r);
}

/* --- segments ------------------------------------------------------------------------------ */

struct seg_row {
	const char *name;
	uint8_t modrm_reg; /* segment register number of MOV Sreg */
	uint16_t sel;
	int vector; /* -1: loads */
	uint32_t error;
	bool user;
};

static const struct seg_row seg_rows[] = {
	{"ds data", X86_DS, KDATA, -1, 0, false},
	{"ds null", X86_DS, 0, -1, 0, false},
	{"ds null rpl 3", X86_DS, 3, -1, 0, false},
	{"ds absent", X86_DS, ABSENT, 11, ABSENT, false},
	{"ds readable code", X86_DS, KCODE, -1, 0, false},
	{"ds execute-only", X86_DS, XONLY, 13, XONLY, false},
	{"ds beyond the table", X86_DS, GDT_END, 13, GDT_END, false},
	{"ds in no LDT", X86_DS, 0xc, 13, 0xc, false},
	{"ds tss", X86_DS, TSS_SEL, 13, TSS_SEL, false},
	{"es kernel data by user", X86_ES, KDATA, 13, KDATA, true},
	{"es user data by user", X86_ES, UDATA, -1, 0, true},
	{"es kernel data, rpl 3", X86_ES, KDATA | 3, 13, KDATA, false},
	{"fs conforming by user", X86_FS, CONFORMING | 3, -1, 0, true},
	{"ss data", X86_SS, KDATA, -1, 0, false},
	{"ss read-only", X86_SS, RODATA, 13, RODATA, false},
	{"ss user data", X86_SS, UDATA, 13, UDATA & ~3, false},
	{"ss absent", X86_SS, ABSENT, 12, ABSENT, false},
	{"ss code", X86_SS, KCODE, 13, KCODE, false},
	{"ss null", X86_SS, 0, 13, 0, false},
	{"cs", X86_CS, KCODE, 6, 0, false},
};

static void test_segment_loads(void **state)
{
	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(seg_rows); i++) {
		const struct seg_row *row = &seg_rows[i];
		struct x86_rig *r = sys_new(false);
		struct x86_state *s = x86_state(r->cpu), before;
		uint8_t code[2] = {0x8e, (uint8_t)(0xc0 | row->modrm_reg << 3)};
		enum x86_stop stop;
		uint64_t n;

		rig_put(r, 0x1000, code, 2);
		if (row->user)
			go_user(r);
		s->gpr[X86_RAX] = 0xabcd0000u | row->sel;
		r->exit_exceptions = true;
		before = *s;
		stop = x86_run(r->cpu, 1, &n);
		if (row->vector < 0) {
			if (stop != X86_STOP_BUDGET || s->seg[row->modrm_reg].sel != row->sel)
				fail_msg("%s does not load", row->name);
			assert_int_equal(!!(s->seg[row->modrm_reg].ar & 0x10000), row->sel < 4);
		} else {
			if (stop != X86_STOP_EXIT || r->log[0].fault.vector != row->vector ||
			    r->log[0].fault.error != row->error)
				fail_msg("%s: vector %u error %#x", row->name,
					 r->log[0].fault.vector, r->log[0].fault.error);
			assert_memory_equal(s->seg, before.seg, sizeof(s->seg));
		}
		rig_delete(r);
	}
}

/* The accessed bit is set in memory, once, and only by a load that succeeds. */
static void test_accessed_bit(void **state)
{
	struct x86_rig *r = sys_new(false);
	struct x86_state *s = x86_state(r->cpu);

	(void)state;
	gdt_set(r, KDATA, 0xfffff, 0xc092);
	CODE(r, 0x1000, 0x8e, 0xd8);
	s->gpr[X86_RAX] = KDATA;
	assert_int_equal(rig_run(r, 1, X86_STOP_BUDGET), 1);
	assert_int_equal(rig_get(r, GDT + KDATA + 5, 1), 0x93);
	assert_int_equal(s->seg[X86_DS].ar, 0xc093);
	rig_delete(r);
}

struct limit_row {
	uint16_t sel;
	uint32_t offset;
	uint8_t code[8];
	uint8_t len;
	int vector;
};

/* Limits, types and bases of segments that are not flat. EBX is the offset, DS the segment. */
static const struct limit_row limit_rows[] = {
	{SMALL, 0xffc, {0x8b, 0x03}, 2, -1},   {SMALL, 0xffd, {0x8b, 0x03}, 2, 13},
	{SMALL, 0xfff, {0x8a, 0x03}, 2, -1},   {SMALL, 0x1000, {0x8a, 0x03}, 2, 13},
	{SMALL, 0xffe, {0x01, 0x03}, 2, 13},   {DOWN, 0xfff, {0x8a, 0x03}, 2, 13},
	{DOWN, 0x1000, {0x8a, 0x03}, 2, -1},   {RODATA, 0x5000, {0x8a, 0x03}, 2, -1},
	{RODATA, 0x5000, {0x88, 0x03}, 2, 13}, {RODATA, 0x5000, {0x00, 0x03}, 2, 13},
	{KCODE, 0x5000, {0x8a, 0x03}, 2, -1},  {KCODE, 0x5000, {0x88, 0x03}, 2, 13},
	{0, 0x5000, {0x8a, 0x03}, 2, 13},      {SMALL, 0xffe, {0xf7, 0x23}, 2, 13},
	{SMALL, 0xffe, {0xff, 0x33}, 2, 13},   {SMALL, 0xffe, {0xf0, 0x01, 0x03}, 3, 13},
	{SMALL, 0x1000, {0xac}, 1, -1}, /* lodsb: ESI is 0 */
};

static void test_limits(void **state)
{
	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(limit_rows); i++) {
		const struct limit_row *row = &limit_rows[i];
		struct x86_rig *r = sys_new(false);
		struct x86_state *s = x86_state(r->cpu);
		enum x86_stop stop;
		uint64_t n;

		CODE(r, 0x1000, 0x8e, 0xd8); /* mov ds, ax */
		rig_put(r, 0x1002, row->code, row->len);
		s->gpr[X86_RAX] = row->sel;
		s->gpr[X86_RBX] = row->offset;
		r->exit_exceptions = true;
		stop = x86_run(r->cpu, 2, &n);
		if (stop != (row->vector < 0 ? X86_STOP_BUDGET : X86_STOP_EXIT) ||
		    (row->vector >= 0 && (r->log[0].fault.vector != row->vector || n != 1)))
			fail_msg("row %zu: stop %u vector %u", i, stop, r->log[0].fault.vector);
		rig_delete(r);
	}
}

/* A segment with a base: the linear address is the sum, in the code segment, too. */
static void test_bases(void **state)
{
	struct x86_rig *r = sys_new(false);
	struct x86_state *s = x86_state(r->cpu);

	(void)state;
	/* call over a page's end, memory through DS, absolute FS, a jump back */
	CODE(r, 0x1ff0 + 0x123, 0xa1, 0x10, 0, 0, 0, /* mov eax, [0x10] */
	     0x64, 0x89, 0x05, 0x20, 0, 0, 0,	     /* mov fs:[0x20], eax */
	     0xe8, 1, 0, 0, 0,			     /* call +1 */
	     0xf4, 0x59, 0xeb, 0xeb);		     /* hlt; pop ecx; jmp -21 */
	rig_set(r, 0x5010 + 0x321, 4, 0xcafe);
	s->seg[X86_CS].base = 0x123;
	s->seg[X86_DS].base = 0x5321;
	s->seg[X86_FS].base = 0x6000;
	s->rip = 0x1ff0;
	x86_mode_changed(r->cpu);
	assert_int_equal(rig_run(r, 10, X86_STOP_BUDGET), 10);
	assert_int_equal(s->gpr[X86_RAX], 0xcafe);
	assert_int_equal(rig_get(r, 0x6020, 4), 0xcafe);
	assert_int_equal(s->gpr[X86_RCX], 0x1ff0 + 17);
	assert_int_equal(s->rip, 0x1ff0);
	rig_delete(r);
}

static void test_far_transfers(void **state)
{
	struct x86_rig *r = sys_new(false);
	struct x86_state *s = x86_state(r->cpu);

	(void)state;
	CODE(r, 0x1000, 0x9a, 0x00, 0x30, 0, 0, CODE32, 0, /* call CODE32:0x3000 */
	     0xea, 0x00, 0x40, 0, 0, KCODE, 0);		   /* jmp KCODE:0x4000 */
	CODE(r, 0x3000, 0xcb);
	CODE(r, 0x4000, 0xf4);
	assert_int_equal(rig_run(r, 1, X86_STOP_BUDGET), 1);
	assert_int_equal(s->seg[X86_CS].sel, CODE32);
	assert_int_equal(s->rip, 0x3000);
	assert_int_equal(rig_get(r, s->gpr[X86_RSP], 8), UINT64_C(0x800001007));
	assert_int_equal(rig_run(r, 100, X86_STOP_EXIT), 3);
	assert_int_equal(s->seg[X86_CS].sel, KCODE);
	assert_int_equal(s->rip, 0x4001);
	rig_delete(r);

	/* 64-bit code to compatibility mode and back. */
	r = sys_new(true);
	s = x86_state(r->cpu);
	CODE(r, 0x1000, 0xff, 0x2b);				  /* jmp far [rbx] */
	CODE(r, 0x3000, 0x40, 0xea, 0x00, 0x40, 0, 0, CODE64, 0); /* inc eax; jmp CODE64:0x4000 */
	CODE(r, 0x4000, 0x48, 0xff, 0xc0, 0xf4);
	rig_set(r, 0x5000, 4, 0x3000);
	rig_set(r, 0x5004, 2, CODE32);
	s->gpr[X86_RBX] = 0x5000;
	s->gpr[X86_RAX] = 0xffffffff;
	assert_int_equal(rig_run(r, 10, X86_STOP_EXIT), 5);
	assert_int_equal(s->gpr[X86_RAX], 1);
	assert_int_equal(s->seg[X86_CS].sel, CODE64);
	rig_delete(r);
}

/* --- 64-bit addresses ---------------------------------------------------------------------- */

static void test_canonical(void **state)
{
	static const struct {
		uint8_t code[4];
		uint8_t len, vector;
	} rows[] = {
		{{0x8b, 0x03}, 2, 13},			      /* mov eax, [rbx] */
		{{0x8b, 0x45, 0x00}, 3, 12},		      /* mov eax, [rbp] */
		{{0xff, 0xe3}, 2, 13},			      /* jmp rbx */
		{{0xff, 0xd3}, 2, 13},			      /* call rbx */
		{{0x01, 0x03}, 2, 13},	     {{0xc9}, 1, 12}, /* leave */
	};

	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(rows); i++) {
		struct x86_rig *r = sys_new(true);
		struct x86_state *s = x86_state(r->cpu);

		rig_put(r, 0x1000, rows[i].code, rows[i].len);
		s->gpr[X86_RBX] = s->gpr[X86_RBP] =
			UINT64_C(0x00007ffffffffffe) + (i == 2 || i == 3) * 2;
		r->exit_exceptions = true;
		assert_int_equal(rig_run(r, 1, X86_STOP_EXIT), 0);
		if (r->log[0].fault.vector != rows[i].vector || r->log[0].fault.error)
			fail_msg("row %zu: vector %u", i, r->log[0].fault.vector);
		assert_int_equal(s->rip, 0x1000);
		assert_int_equal(s->gpr[X86_RSP], STACK0 - 0x1000);
		rig_delete(r);
	}
}

/* A guest whose handler can't be fetched faults for ever: the caller gets a word in. */
static void test_endless_faults(void **state)
{
	struct x86_rig *r = sys_new(true);

	(void)state;
	idt_set(r, true, 14, KCODE, 14, 0, 1); /* always the same stack */
	r->perm[HANDLERS >> 12] = 0;
	CODE(r, 0x1000, 0xe9, 0xfb, 0xff, 0x0f, 0); /* jmp 0x101000 */
	assert_int_equal(rig_run(r, 100, X86_STOP_ATTENTION), 1);
	rig_delete(r);
}

/* #AC in delivering #AC, for ever: a shutdown, and the thread comes back. */
static void test_endless_alignment_checks(void **state)
{
	struct x86_rig *r = sys_new(false);
	struct x86_state *s = x86_state(r->cpu);

	(void)state;
	idt_set(r, false, 17, UCODE, 14, 3, 0);
	CODE(r, 0x1000, 0x8b, 0x03);
	go_user(r);
	s->cr0 |= 0x40000;
	s->rflags = 0x40202;
	s->gpr[X86_RSP] = STACK3 - 1;
	s->gpr[X86_RBX] = 0x5000;
	r->exit_on[X86_SP_TRIPLE_FAULT] = true;
	assert_int_equal(rig_run(r, 1, X86_STOP_BUDGET), 1); /* aligned: no fault */
	s->rip = 0x1000;
	s->gpr[X86_RBX] = 0x5001;
	assert_int_equal(rig_run(r, 1, X86_STOP_EXIT), 0);
	assert_int_equal(r->log[0].fault.vector, 17);
	assert_int_equal(r->log[0].fault.error, 0);
	assert_int_equal(s->rip, 0x1000);
	rig_delete(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exceptions),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_return_clears_segments),
		cmocka_unit_test(test_bad_returns),
		cmocka_unit_test(test_double_faults),
		cmocka_unit_test(test_vectoring_info),
		cmocka_unit_test(test_inject),
		cmocka_unit_test(test_single_step),
		cmocka_unit_test(test_sti_shadow),
		cmocka_unit_test(test_syscall),
		cmocka_unit_test(test_sysenter),
		cmocka_unit_test(test_segment_loads),
		cmocka_unit_test(test_accessed_bit),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_bases),
		cmocka_unit_test(test_far_transfers),
		cmocka_unit_test(test_canonical),
		cmocka_unit_test(test_endless_faults),
		cmocka_unit_test(test_endless_alignment_checks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
