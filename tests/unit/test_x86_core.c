// SPDX-License-Identifier: MIT
/* The executor's promises: restart, budgets, counts, stamps, code that changes. */
#include "x86_rig.h"

/* --- a faulting instruction changes nothing ------------------------------------------------- */

/* RBX points 2 bytes below a page that is not there; RSP does where `stack` says so. */
struct fault_row {
	const char *name;
	uint8_t code[12];
	uint8_t len;
	bool mode64, stack;
	uint64_t cr2;
	uint32_t error;
};

#define EDGE UINT64_C(0x2ffe)

static const struct fault_row fault_rows[] = {
	{"mov [rbx], eax", {0x89, 0x03}, 2, true, false, 0x3000, 2},
	{"mov [rbx], rax", {0x48, 0x89, 0x03}, 3, true, false, 0x3000, 2},
	{"mov eax, [rbx]", {0x8b, 0x03}, 2, true, false, 0x3000, 0},
	{"mov dword [rbx], 5", {0xc7, 0x03, 5, 0, 0, 0}, 6, true, false, 0x3000, 2},
	{"add [rbx], eax", {0x01, 0x03}, 2, true, false, 0x3000, 2},
	{"add eax, [rbx]", {0x03, 0x03}, 2, true, false, 0x3000, 0},
	{"cmp [rbx], eax", {0x39, 0x03}, 2, true, false, 0x3000, 0},
	{"lock add [rbx], eax", {0xf0, 0x01, 0x03}, 3, true, false, 0x3000, 2},
	{"inc dword [rbx]", {0xff, 0x03}, 2, true, false, 0x3000, 2},
	{"xchg [rbx], eax", {0x87, 0x03}, 2, true, false, 0x3000, 2},
	{"cmpxchg [rbx], ecx", {0x0f, 0xb1, 0x0b}, 3, true, false, 0x3000, 2},
	{"cmpxchg8b [rbx]", {0x0f, 0xc7, 0x0b}, 3, true, false, 0x3000, 2},
	{"xadd [rbx], ecx", {0x0f, 0xc1, 0x0b}, 3, true, false, 0x3000, 2},
	{"shl dword [rbx], 3", {0xc1, 0x23, 3}, 3, true, false, 0x3000, 2},
	{"bts [rbx], 5", {0x0f, 0xba, 0x2b, 5}, 4, true, false, 0x3000, 2},
	{"div dword [rbx]", {0xf7, 0x33}, 2, true, false, 0x3000, 0},
	{"movzx eax, word [rbx+1]", {0x0f, 0xb7, 0x43, 1}, 4, true, false, 0x3000, 0},
	{"cmovo eax, [rbx]", {0x0f, 0x40, 0x03}, 3, true, false, 0x3000, 0},
	{"movsd", {0xa5}, 1, true, false, 0x3000, 2},
	{"push rax", {0x50}, 1, true, true, 0x3000, 2},
	{"pop rax", {0x58}, 1, true, true, 0x3000, 0},
	{"pop [rcx]", {0x8f, 0x01}, 2, true, true, 0x3000, 0},
	{"push [rcx]", {0xff, 0x31}, 2, true, true, 0x3000, 2},
	{"pushf", {0x9c}, 1, true, true, 0x3000, 2},
	{"popf", {0x9d}, 1, true, true, 0x3000, 0},
	{"call +0", {0xe8, 0, 0, 0, 0}, 5, true, true, 0x3000, 2},
	{"call far away", {0xe8, 0, 0x10, 0, 0}, 5, true, true, 0x3000, 2},
	{"call [rcx]", {0xff, 0x11}, 2, true, true, 0x3000, 2},
	{"ret", {0xc3}, 1, true, true, 0x3000, 0},
	{"iretq", {0x48, 0xcf}, 2, true, true, 0x3000, 0},
	{"leave", {0xc9}, 1, true, true, 0x3000, 0},
	{"enter 16, 2", {0xc8, 16, 0, 2}, 4, true, true, 0x3000, 2},
	{"pusha", {0x60}, 1, false, true, 0x3000, 2},
	{"popa", {0x61}, 1, false, true, 0x3000, 0},
	{"push 32", {0x50}, 1, false, true, 0x3000, 2},
	{"call 32", {0xe8, 0, 0, 0, 0}, 5, false, true, 0x3000, 2},
	{"sgdt [rbx-1]", {0x0f, 0x01, 0x43, 0xff}, 4, true, false, 0x3000, 2},
};

/* PUSH's operand must straddle the edge: RSP is one operand above it. */
static uint64_t edge_sp(const struct fault_row *row)
{
	bool write = row->error == 2;
	unsigned size = row->mode64 ? 8 : 4;

	return write ? EDGE + size : EDGE;
}

static void check_fault_row(const struct fault_row *row, bool cached, bool warm)
{
	struct x86_rig *r = rig_new(row->mode64, cached);
	struct x86_state *s = x86_state(r->cpu), before;
	uint8_t *memory = malloc(RIG_BYTES);
	unsigned last;

	assert_non_null(memory);
	rig_put(r, 0x1000, row->code, row->len);
	for (unsigned i = 0; i < 16; i++)
		s->gpr[i] = 0x4000 + i * 8;
	s->gpr[X86_RBX] = EDGE;
	s->gpr[X86_RDI] = EDGE;
	s->gpr[X86_RBP] = EDGE;
	if (row->stack)
		s->gpr[X86_RSP] = edge_sp(row);
	s->rflags = 0xad7;
	r->exit_exceptions = true;
	if (warm) {
		/* The first page is in the fast front already. */
		rig_put(r, 0x5000, (const uint8_t[]){0x8a, 0x03, 0x88, 0x03}, 4);
		s->rip = 0x5000;
		assert_int_equal(rig_run(r, 2, X86_STOP_BUDGET), 2);
		s->gpr[X86_RAX] = 0x4000;
		s->rip = 0x1000;
	}
	r->perm[3] = 0;
	memcpy(memory, r->mem, RIG_BYTES);
	before = *s;
	r->logged = 0;
	if (rig_run(r, 10, X86_STOP_EXIT) != 0)
		fail_msg("%s retired", row->name);
	last = r->logged - 1;
	assert_int_equal(r->log[last].what, X86_SP_EXCEPTION);
	if (r->log[last].fault.vector != 14 || r->log[last].fault.cr2 != row->cr2 ||
	    r->log[last].fault.error != row->error)
		fail_msg("%s: vector %u error %x cr2 %llx", row->name, r->log[last].fault.vector,
			 r->log[last].fault.error, (unsigned long long)r->log[last].fault.cr2);
	if (memcmp(s->gpr, before.gpr, sizeof(before.gpr)) != 0 || s->rip != before.rip ||
	    s->rflags != before.rflags)
		fail_msg("%s changed registers", row->name);
	if (memcmp(memory, r->mem, RIG_BYTES) != 0)
		fail_msg("%s changed memory", row->name);
	free(memory);
	rig_delete(r);
}

static void test_faults_change_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(fault_rows); i++) {
		check_fault_row(&fault_rows[i], true, false);
		check_fault_row(&fault_rows[i], true, true);
		check_fault_row(&fault_rows[i], false, false);
	}
}

/* --- budget --------------------------------------------------------------------------------- */

/*
 * A loop with memory, calls, branches both ways, a string instruction, a page-crossing
 * instruction at 0x1ffe and dead flags.
 */
static void put_program(struct x86_rig *r)
{
	CODE(r, 0x1000, 0x31, 0xc0,		 /* xor eax, eax */
	     0xb9, 0x40, 0, 0, 0,		 /* mov ecx, 64 */
	     0x48, 0xc7, 0xc3, 0, 0x40, 0, 0,	 /* mov rbx, 0x4000 */
	     0x01, 0xc8,			 /* 0x100e: add eax, ecx */
	     0x83, 0xc0, 0x03,			 /* add eax, 3 */
	     0x89, 0x04, 0x8b,			 /* mov [rbx+rcx*4], eax */
	     0x83, 0x04, 0x8b, 0x01,		 /* add dword [rbx+rcx*4], 1 */
	     0xa9, 1, 0, 0, 0,			 /* test eax, 1 */
	     0x74, 0x05,			 /* jz +5 */
	     0xe8, 0xce, 0x0f, 0, 0,		 /* call 0x1ff4 */
	     0xff, 0xc9,			 /* dec ecx */
	     0x75, 0xe1,			 /* jnz 0x100e */
	     0xf4);				 /* hlt */
	CODE(r, 0x1ff4, 0x51, 0x57,		 /* push rcx; push rdi */
	     0xb9, 4, 0, 0, 0,			 /* mov ecx, 4 */
	     0x31, 0xff,			 /* xor edi, edi */
	     0x90,				 /* nop */
	     0x81, 0xc7, 0x00, 0x60, 0x00, 0x00, /* 0x1ffe: add edi, 0x6000 */
	     0xf3, 0xab,			 /* rep stosd */
	     0x5f, 0x59,			 /* pop rdi; pop rcx */
	     0xc3);
}

struct outcome {
	struct x86_state s;
	struct x86_counts counts;
	uint32_t memory;
};

static uint32_t checksum(const struct x86_rig *r)
{
	uint32_t h = 2166136261u;

	for (unsigned i = 0; i < RIG_BYTES; i++)
		h = (h ^ r->mem[i]) * 16777619u;
	return h;
}

/* Runs the program in pieces; checks that each piece is exact. */
static struct outcome run_program(uint64_t first, uint64_t piece, bool cached, uint32_t perm)
{
	struct x86_rig *r = rig_new(true, cached);
	struct outcome o;

	put_program(r);
	for (unsigned i = 0; i < RIG_PAGES; i++)
		r->perm[i] |= perm;
	if (first)
		assert_int_equal(rig_run(r, first, X86_STOP_BUDGET), first);
	for (;;) {
		uint64_t n = 0;
		enum x86_stop stop = x86_run(r->cpu, piece, &n);

		if (stop == X86_STOP_EXIT)
			break;
		assert_int_equal(stop, X86_STOP_BUDGET);
		assert_int_equal(n, piece);
		/* HLT may have been the last of a budget. */
		if (x86_state(r->cpu)->activity)
			break;
	}
	assert_int_equal(x86_state(r->cpu)->activity, 1);
	o.s = *x86_state(r->cpu);
	x86_get_counts(r->cpu, &o.counts);
	o.memory = checksum(r);
	if (perm & RIG_NO_KEEP) {
		assert_int_equal(r->translates[0], o.counts.data_lookups);
		assert_int_equal(r->translates[1], o.counts.fetch_lookups);
	}
	rig_delete(r);
	return o;
}

static void same_outcome(const struct outcome *a, const struct outcome *b)
{
	assert_memory_equal(a->s.gpr, b->s.gpr, sizeof(a->s.gpr));
	assert_int_equal(a->s.rflags, b->s.rflags);
	assert_int_equal(a->s.rip, b->s.rip);
	assert_int_equal(a->counts.retired, b->counts.retired);
	assert_int_equal(a->counts.fetch_lookups, b->counts.fetch_lookups);
	assert_int_equal(a->counts.data_lookups, b->counts.data_lookups);
	assert_int_equal(a->memory, b->memory);
}

static void test_budget_is_exact(void **state)
{
	struct outcome whole = run_program(0, 1000000, true, 0), o;

	(void)state;
	for (uint64_t piece = 1; piece < 80; piece++) {
		o = run_program(0, piece, true, 0);
		same_outcome(&whole, &o);
		o = run_program(piece, 1000000, true, 0);
		same_outcome(&whole, &o);
	}
	o = run_program(0, 1000000, false, 0);
	same_outcome(&whole, &o);
	o = run_program(0, 1000000, true, RIG_NO_KEEP);
	same_outcome(&whole, &o);
	o = run_program(0, 7, false, RIG_NO_KEEP);
	same_outcome(&whole, &o);
}

/* --- counts ---------------------------------------------------------------------------------- */

struct count_row {
	const char *name;
	uint8_t code[8];
	uint8_t len;
	uint64_t at; /* linear address of the code */
	uint64_t rcx;
	unsigned fetch, data;
};

static const struct count_row count_rows[] = {
	{"nop", {0x90}, 1, 0x1000, 0, 1, 0},
	{"mov eax, [rbx]", {0x8b, 0x03}, 2, 0x1000, 0, 1, 1},
	{"mov [rbx], eax", {0x89, 0x03}, 2, 0x1000, 0, 1, 1},
	{"add [rbx], eax is one access", {0x01, 0x03}, 2, 0x1000, 0, 1, 1},
	{"lock add [rbx], eax", {0xf0, 0x01, 0x03}, 3, 0x1000, 0, 1, 1},
	{"mov eax, [rsi] crosses", {0x8b, 0x06}, 2, 0x1000, 0, 1, 2},
	{"mov [rsi], eax crosses", {0x89, 0x06}, 2, 0x1000, 0, 1, 2},
	{"add [rsi], eax crosses", {0x01, 0x06}, 2, 0x1000, 0, 1, 2},
	{"push rax", {0x50}, 1, 0x1000, 0, 1, 1},
	{"push [rbx]", {0xff, 0x33}, 2, 0x1000, 0, 1, 2},
	{"pop [rbx]", {0x8f, 0x03}, 2, 0x1000, 0, 1, 2},
	{"call", {0xe8, 0, 0, 0, 0}, 5, 0x1000, 0, 1, 1},
	{"movsd", {0xa5}, 1, 0x1000, 0, 1, 3}, /* RSI crosses */
	{"rep stosd", {0xf3, 0xab}, 2, 0x1000, 9, 1, 9},
	{"rep stosd 0", {0xf3, 0xab}, 2, 0x1000, 0, 1, 0},
	{"rep lodsb", {0xf3, 0xac}, 2, 0x1000, 5, 1, 5},
	{"cmpxchg8b", {0x0f, 0xc7, 0x0b}, 3, 0x1000, 0, 1, 1},
	{"enter 0, 0", {0xc8, 0, 0, 0}, 4, 0x1000, 0, 1, 2}, /* the new top is probed */
	{"leave", {0xc9}, 1, 0x1000, 0, 1, 1},
	{"nop crosses", {0x66, 0x90}, 2, 0x1fff, 0, 2, 0},
	{"mov eax, imm crosses", {0xb8, 1, 2, 3, 4}, 5, 0x1ffd, 0, 2, 0},
	{"mov eax, imm at the edge", {0xb8, 1, 2, 3, 4}, 5, 0x1ffb, 0, 1, 0},
};

static void test_counts(void **state)
{
	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(count_rows) * 3; i++) {
		const struct count_row *row = &count_rows[i / 3];
		struct x86_rig *r = rig_new(true, i % 3 != 2);
		struct x86_state *s = x86_state(r->cpu);
		struct x86_counts c;

		rig_put(r, row->at, row->code, row->len);
		rig_put(r, row->at + row->len, (const uint8_t[]){0x0f, 0x0b}, 2);
		s->gpr[X86_RBX] = 0x5000;
		s->gpr[X86_RSI] = 0x5ffe;
		s->gpr[X86_RDI] = 0x7000;
		s->gpr[X86_RBP] = 0x7000;
		s->gpr[X86_RCX] = row->rcx;
		s->rip = row->at;
		/* As a block, or alone. */
		r->exit_exceptions = true;
		if (i % 3 == 0)
			assert_int_equal(rig_run(r, 1, X86_STOP_BUDGET), 1);
		else
			assert_int_equal(rig_run(r, 50, X86_STOP_EXIT), 1);
		x86_get_counts(r->cpu, &c);
		if (c.retired != 1 || c.data_lookups != row->data ||
		    c.fetch_lookups != row->fetch + (i % 3 != 0))
			fail_msg("%s: retired %llu fetch %llu data %llu", row->name,
				 (unsigned long long)c.retired, (unsigned long long)c.fetch_lookups,
				 (unsigned long long)c.data_lookups);
		rig_delete(r);
	}
}

static struct x86_counts seen;
static unsigned seen_calls;

static void look_at_counts(struct x86_rig *r, enum x86_special what, struct x86_special_info *info)
{
	(void)info;
	if (what == X86_SP_CPUID) {
		x86_get_counts(r->cpu, &seen);
		seen_calls++;
	}
}

/* Inside callbacks, in the middle of a block, too. */
static void test_counts_in_callbacks(void **state)
{
	struct x86_rig *r = rig_new(true, true);

	(void)state;
	CODE(r, 0x1000, 0x90, 0x8b, 0x03, 0x8b, 0x03, 0x0f, 0xa2, 0x8b, 0x03, 0x0f, 0xa2, 0xf4);
	x86_state(r->cpu)->gpr[X86_RBX] = 0x5000;
	r->on_special = look_at_counts;
	(void)rig_run(r, 4, X86_STOP_BUDGET);
	assert_int_equal(seen.retired, 3);
	assert_int_equal(seen.fetch_lookups, 4);
	assert_int_equal(seen.data_lookups, 2);
	rig_reset(r, true);
	x86_state(r->cpu)->gpr[X86_RBX] = 0x5000;
	assert_int_equal(rig_run(r, 100, X86_STOP_EXIT), 7);
	assert_int_equal(seen_calls, 3);
	assert_int_equal(seen.retired, 4 + 5);
	assert_int_equal(seen.fetch_lookups, 4 + 6);
	assert_int_equal(seen.data_lookups, 2 + 3);
	rig_delete(r);
}

/* The order of stamps is the order of last use, for data and code. */
static void test_stamps_tell_the_order(void **state)
{
	struct x86_rig *r = rig_new(true, true);
	struct x86_state *s = x86_state(r->cpu);

	(void)state;
	/* touch A B C, then again B, A (A by RMW) */
	CODE(r, 0x1000, 0x8b, 0x03, 0x89, 0x06, 0x8b, 0x07, 0x89, 0x06, 0x01, 0x03, 0xe9, 0xf1,
	     0x0f, 0, 0);
	CODE(r, 0x2000, 0xe9, 0xfb, 0xef, 0xff, 0xff);
	for (unsigned round = 0; round < 3; round++) {
		s->gpr[X86_RBX] = 0x5000;
		s->gpr[X86_RSI] = 0x6000;
		s->gpr[X86_RDI] = 0x7000;
		assert_int_equal(rig_run(r, 7, X86_STOP_BUDGET), 7);
		assert_true(r->stamp[0][5] > r->stamp[0][6]);
		assert_true(r->stamp[0][6] > r->stamp[0][7]);
		assert_true(r->stamp[0][7] > 0);
		assert_true(r->stamp[1][2] > r->stamp[1][1]);
		assert_int_equal(r->stamp[0][5], x86_data_clock(r->cpu));
	}
	/* One translation a page is all it took: reads, then a write of A. */
	assert_int_equal(r->translates[0], 3);
	assert_int_equal(r->translates[1], 2);
	rig_drop(r, 0x6000);
	rig_drop(r, 0x1000);
	assert_int_equal(rig_run(r, 7, X86_STOP_BUDGET), 7);
	assert_int_equal(r->translates[0], 4);
	assert_int_equal(r->translates[1], 3);
	x86_front_flush(r->cpu);
	assert_int_equal(rig_run(r, 7, X86_STOP_BUDGET), 7);
	assert_int_equal(r->translates[0], 7);
	assert_int_equal(r->translates[1], 5);
	rig_delete(r);
}

static void drop_the_code(struct x86_rig *r, enum x86_special what, struct x86_special_info *info)
{
	(void)info;
	if (what == X86_SP_CPUID)
		rig_drop(r, 0x1000);
}

/* A translation that goes in the middle of a block is looked up by the next instruction. */
static void test_code_page_dropped_in_block(void **state)
{
	struct x86_rig *r = rig_new(true, true);

	(void)state;
	CODE(r, 0x1000, 0x90, 0x0f, 0xa2, 0x90, 0x90, 0x0f, 0xa2, 0x90, 0xf4);
	r->on_special = drop_the_code;
	assert_int_equal(rig_run(r, 100, X86_STOP_EXIT), 7);
	assert_int_equal(r->translates[1], 3);
	rig_delete(r);
}

/* --- code that changes --------------------------------------------------------------------- */

/* The instruction behind the one that writes it, in the same block. */
static void test_self_modifying(void **state)
{
	struct x86_rig *r = rig_new(true, true);
	struct x86_state *s = x86_state(r->cpu);

	(void)state;
	/* mov byte [rbx], imm ; inc eax (patched to dec eax) ; jmp $ */
	CODE(r, 0x1000, 0xc6, 0x03, 0xc8, 0xff, 0xc0, 0xeb, 0xfe);
	for (unsigned round = 0; round < 2; round++) {
		s->rip = 0x1000;
		s->gpr[X86_RAX] = 10;
		s->gpr[X86_RBX] = 0x1004;
		rig_set(r, 0x1004, 1, 0xc0);
		assert_int_equal(rig_run(r, 40, X86_STOP_BUDGET), 40);
		assert_int_equal(s->gpr[X86_RAX], 9);
	}
	rig_delete(r);
}

/* The same through another linear address of the page, by RMW, LOCK, PUSH and STOS. */
static void test_self_modifying_alias(void **state)
{
	static const struct {
		uint8_t code[4];
		uint8_t len;
	} rows[] = {
		{{0x88, 0x13}, 2},	 /* mov [rbx], dl */
		{{0x00, 0x33}, 2},	 /* add [rbx], dh */
		{{0xf0, 0x00, 0x33}, 3}, /* lock add [rbx], dh */
		{{0x86, 0x13}, 2},	 /* xchg [rbx], dl */
		{{0x66, 0x52}, 2},	 /* push dx */
		{{0xaa}, 1},		 /* stosb */
		{{0xf3, 0xaa}, 2},	 /* rep stosb */
	};

	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(rows); i++) {
		struct x86_rig *r = rig_new(true, true);
		struct x86_state *s = x86_state(r->cpu);
		uint64_t target = 0x1000 + rows[i].len + 1;

		r->frame[9] = 1; /* 0x9000 shows the code's page */
		rig_put(r, 0x1000, rows[i].code, rows[i].len);
		rig_put(r, 0x1000 + rows[i].len, (const uint8_t[]){0xff, 0xc7, 0xeb, 0xfe}, 4);
		for (unsigned round = 0; round < 3; round++) {
			rig_set(r, target, 1, 0xc1); /* inc ecx */
			s->rip = 0x1000;
			s->gpr[X86_RCX] = 1;
			s->gpr[X86_RAX] = 0xc9;
			s->gpr[X86_RDX] =
				0xff08c9; /* DL: the new byte (dec ecx), DH: the distance */
			s->gpr[X86_RBX] = target + 0x8000;
			s->gpr[X86_RDI] = target + 0x8000;
			s->gpr[X86_RSP] = target + 0x8000 + 2;
			if (rows[i].code[0] == 0x66)
				s->gpr[X86_RDX] = (rig_get(r, target + 1, 1) << 8) | 0xc9;
			assert_int_equal(rig_run(r, 9, X86_STOP_BUDGET), 9);
			/* INC would have left 2 (1 behind REP), DEC leaves 0 (-1). */
			if ((uint32_t)s->gpr[X86_RCX] != (rows[i].code[0] == 0xf3 ? UINT32_MAX : 0))
				fail_msg("row %zu round %u: ecx %#llx", i, round,
					 (unsigned long long)s->gpr[X86_RCX]);
		}
		rig_delete(r);
	}
}

/* Another processor that shares the code, and somebody who is none. */
static void test_modified_by_others(void **state)
{
	struct x86_rig *r = rig_new(true, true);
	struct x86_state *s = x86_state(r->cpu);

	(void)state;
	CODE(r, 0x1000, 0xff, 0xc0, 0xeb, 0xfc); /* inc eax; jmp back */
	assert_int_equal(rig_run(r, 20, X86_STOP_BUDGET), 20);
	assert_int_equal(s->gpr[X86_RAX], 10);
	r->mem[0x1001] = 0xc8;
	x86_code_invalidate(r->code, 0x1001, 1);
	assert_int_equal(rig_run(r, 20, X86_STOP_BUDGET), 20);
	assert_int_equal(s->gpr[X86_RAX], 0);
	r->mem[0x1001] = 0xc0;
	x86_code_invalidate(r->code, 0, UINT64_MAX);
	assert_int_equal(rig_run(r, 20, X86_STOP_BUDGET), 20);
	assert_int_equal(s->gpr[X86_RAX], 10);
	rig_delete(r);
}

static void test_two_processors(void **state)
{
	struct x86_rig *a = rig_new(true, true), *b = rig_new(true, false);
	uint8_t *own = b->mem;

	(void)state;
	/* b shares a's memory and code. */
	x86_cpu_delete(b->cpu);
	b->mem = a->mem;
	b->cpu = x86_cpu_new(&rig_ops, b, a->code);
	rig_reset(b, true);
	CODE(a, 0x1000, 0xff, 0xc0, 0xeb, 0xfc);
	CODE(a, 0x1800, 0x88, 0x13, 0xeb, 0xfe); /* mov [rbx], dl */
	/* b may write the page freely, then a decodes it. */
	x86_state(b->cpu)->rip = 0x1800;
	x86_state(b->cpu)->gpr[X86_RBX] = 0x1100;
	assert_int_equal(rig_run(b, 3, X86_STOP_BUDGET), 3);
	assert_int_equal(rig_run(a, 20, X86_STOP_BUDGET), 20);
	x86_state(b->cpu)->rip = 0x1800;
	x86_state(b->cpu)->gpr[X86_RBX] = 0x1001;
	x86_state(b->cpu)->gpr[X86_RDX] = 0xc8;
	assert_int_equal(rig_run(b, 3, X86_STOP_BUDGET), 3);
	assert_int_equal(rig_run(a, 20, X86_STOP_BUDGET), 20);
	assert_int_equal(x86_state(a->cpu)->gpr[X86_RAX], 0);
	b->mem = own;
	rig_delete(b);
	rig_delete(a);
}

/* A page shown elsewhere: old code until the translation goes, new code after. */
static void test_remap(void **state)
{
	struct x86_rig *r = rig_new(true, true);
	struct x86_state *s = x86_state(r->cpu);

	(void)state;
	CODE(r, 0x1000, 0xff, 0xc0, 0xeb, 0xfc);
	CODE(r, 0x2000, 0xff, 0xc8, 0xeb, 0xfc);
	assert_int_equal(rig_run(r, 20, X86_STOP_BUDGET), 20);
	r->frame[1] = 2;
	assert_int_equal(rig_run(r, 20, X86_STOP_BUDGET), 20);
	assert_int_equal(s->gpr[X86_RAX], 20);
	rig_drop(r, 0x1000);
	assert_int_equal(rig_run(r, 20, X86_STOP_BUDGET), 20);
	assert_int_equal(s->gpr[X86_RAX], 10);
	rig_delete(r);
}

/* The same bytes in 32-bit and 64-bit mode: 48 is DEC EAX in one, REX.W in the other. */
static void test_modes_have_blocks_of_their_own(void **state)
{
	struct x86_rig *r = rig_new(true, true);
	struct x86_state *s = x86_state(r->cpu);

	(void)state;
	CODE(r, 0x1000, 0x48, 0xff, 0xc0, 0xeb, 0xfb);
	for (unsigned round = 0; round < 4; round++) {
		rig_reset(r, round & 1);
		s->gpr[X86_RAX] = 100;
		assert_int_equal(rig_run(r, 30, X86_STOP_BUDGET), 30);
		assert_int_equal(s->gpr[X86_RAX], round & 1 ? 115 : 100);
	}
	rig_delete(r);
}

/* --- REP ----------------------------------------------------------------------------------- */

static void test_rep_restarts(void **state)
{
	struct x86_rig *r = rig_new(true, true);
	struct x86_state *s = x86_state(r->cpu);

	(void)state;
	CODE(r, 0x1000, 0xf3, 0xa5, 0xf4); /* rep movsd */
	for (unsigned i = 0; i < 4096; i++)
		r->mem[0x5800 + i] = (uint8_t)(i * 7);
	s->gpr[X86_RSI] = 0x5800;
	s->gpr[X86_RDI] = 0x7f00;
	s->gpr[X86_RCX] = 1000;
	r->perm[8] = RIG_R;
	r->exit_exceptions = true;
	assert_int_equal(rig_run(r, 10, X86_STOP_EXIT), 0);
	assert_int_equal(s->gpr[X86_RCX], 1000 - 64);
	assert_int_equal(s->gpr[X86_RSI], 0x5900);
	assert_int_equal(s->gpr[X86_RDI], 0x8000);
	assert_int_equal(s->rip, 0x1000);
	assert_int_equal(r->log[0].fault.cr2, 0x8000);
	r->perm[8] = RIG_R | RIG_W;
	r->exit_exceptions = false;
	assert_int_equal(rig_run(r, 10, X86_STOP_EXIT), 2);
	assert_int_equal(s->gpr[X86_RCX], 0);
	assert_memory_equal(r->mem + 0x7f00, r->mem + 0x5800, 4000);
	rig_delete(r);
}

/* Endless repetition gives the caller a word; so does one who wants attention. */
static void test_rep_is_interruptible(void **state)
{
	struct x86_rig *r = rig_new(true, true);
	struct x86_state *s = x86_state(r->cpu);
	enum x86_stop stop;
	uint64_t left, retired;

	(void)state;
	CODE(r, 0x1000, 0xf3, 0xac, 0xf4); /* rep lodsb, RSI held in one page by 32-bit wrap */
	s->gpr[X86_RCX] = UINT64_C(1) << 40;
	s->gpr[X86_RSI] = 0;
	for (unsigned i = 0; i < RIG_PAGES; i++)
		r->frame[i] = 4;
	r->frame[1] = 1;
	r->exit_exceptions = true;
	x86_set_attention(r->cpu, true);
	r->attention = true;
	assert_int_equal(rig_run(r, 10, X86_STOP_ATTENTION), 0);
	r->attention = false;
	/* Runs off the memory, but for pauses in which nothing retires. */
	do {
		stop = x86_run(r->cpu, 10, &retired);
		assert_int_equal(retired, 0);
	} while (stop == X86_STOP_ATTENTION);
	assert_int_equal(stop, X86_STOP_EXIT);
	left = s->gpr[X86_RCX];
	assert_int_equal((UINT64_C(1) << 40) - left, RIG_BYTES);
	assert_int_equal(s->rip, 0x1000);
	assert_true(r->attention_asked >= RIG_BYTES / 4096);
	rig_delete(r);
}

/* --- devices ------------------------------------------------------------------------------- */

static void test_device(void **state)
{
	struct x86_rig *r = rig_new(true, true);
	struct x86_state *s = x86_state(r->cpu);

	(void)state;
	r->perm[6] |= RIG_DEVICE;
	r->device_value = UINT64_C(0x1122334455667788);
	CODE(r, 0x1000, 0x8b, 0x03, /* mov eax, [rbx] */
	     0x01, 0x0b,	    /* add [rbx], ecx */
	     0x48, 0x89, 0x13);	    /* mov [rbx], rdx */
	s->gpr[X86_RBX] = 0x6010;
	s->gpr[X86_RCX] = 1;
	s->gpr[X86_RDX] = UINT64_C(0xa1b2c3d4e5f60718);
	assert_int_equal(rig_run(r, 2, X86_STOP_BUDGET), 2);
	assert_int_equal(s->gpr[X86_RAX], 0x55667788);
	assert_int_equal(r->device_last, 0x55667789);
	assert_int_equal(rig_run(r, 1, X86_STOP_BUDGET), 1);
	assert_true(r->device_last == UINT64_C(0xa1b2c3d4e5f60718));
	assert_int_equal(r->device_reads, 2);
	assert_int_equal(r->device_writes, 2);
	s->rip = 0x1002;
	r->device_exit = true;
	s->rflags = 0x8d7;
	assert_int_equal(rig_run(r, 1, X86_STOP_EXIT), 0);
	assert_int_equal(s->rip, 0x1002);
	assert_int_equal(s->rflags, 0x8d7);
	rig_delete(r);
}

static void test_unimplemented(void **state)
{
	struct x86_rig *r = rig_new(true, true);

	(void)state;
	CODE(r, 0x1000, 0x90, 0x0f, 0x58, 0xc1); /* addps */
	r->exit_exceptions = true;
	assert_int_equal(rig_run(r, 10, X86_STOP_EXIT), 1);
	assert_int_equal(r->unimplemented, 1);
	assert_string_equal(r->mnemonic, "addps");
	assert_int_equal(r->log[0].fault.vector, 6);
	/* UD2 is implemented. */
	CODE(r, 0x1001, 0x0f, 0x0b);
	assert_int_equal(rig_run(r, 10, X86_STOP_EXIT), 0);
	assert_int_equal(r->unimplemented, 1);
	rig_delete(r);
}

/* More code than the cache holds, again and again. */
static void test_cache_is_bounded(void **state)
{
	struct x86_rig *r = rig_new(true, true);
	struct x86_state *s = x86_state(r->cpu);

	(void)state;
	/* Each page: inc eax; jmp to the next page. */
	for (unsigned p = 1; p < 200; p++)
		CODE(r, p * 4096, 0xff, 0xc0, 0xe9, 0xf9, 0x0f, 0, 0);
	CODE(r, 200 * 4096, 0xf4);
	for (unsigned round = 0; round < 200; round++) {
		rig_reset(r, true);
		assert_int_equal(rig_run(r, 1000, X86_STOP_EXIT), 199 * 2 + 1);
		assert_int_equal(s->gpr[X86_RAX], 199);
		/* Rewriting makes the arena fill up with dead blocks. */
		for (unsigned p = 1; p < 200; p++)
			x86_code_invalidate(r->code, p * 4096, 1);
	}
	rig_delete(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_faults_change_nothing),
		cmocka_unit_test(test_budget_is_exact),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_counts_in_callbacks),
		cmocka_unit_test(test_stamps_tell_the_order),
		cmocka_unit_test(test_code_page_dropped_in_block),
		cmocka_unit_test(test_self_modifying),
		cmocka_unit_test(test_self_modifying_alias),
		cmocka_unit_test(test_modified_by_others),
		cmocka_unit_test(test_two_processors),
		cmocka_unit_test(test_remap),
		cmocka_unit_test(test_modes_have_blocks_of_their_own),
		cmocka_unit_test(test_rep_restarts),
		cmocka_unit_test(test_rep_is_interruptible),
		cmocka_unit_test(test_device),
		cmocka_unit_test(test_unimplemented),
		cmocka_unit_test(test_cache_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
