// SPDX-License-Identifier: MIT
/*
 * The host's processor as oracle for what only 32-bit code has: a far jump into
 * compatibility mode runs one instruction below 4 GiB, and the executor runs it in
 * flat 32-bit protected mode on the same memory at the same addresses.
 *
 * HVD_X86_CASES, HVD_X86_SEED: as in test_x86_native.
 */
#include "x86_rig.h"

#ifndef __x86_64__
int main(void)
{
	return 77; /* no oracle here */
}
#else

#include <stdio.h>
#include <sys/mman.h>

#define LOW UINT64_C(0x10000000) /* where the rig's memory is shown */
#define CODE_AT 0x1000u
#define STUB_AT 0x2000u
#define CTX_AT 0x3000u
/* 16-bit addresses: DS, ES and SS have no base natively, so only LEA and pushes use them. */
#define DATA_AT 0x10000u
#define DATA_BYTES 8192u
#define STACK_AT 0x20000u
#define STACK_BYTES 4096u
#define USER_CS32 0x23
#define USER_CS64 0x33
#define USER_DS 0x2b

#define FL_CF 1u
#define FL_PF 4u
#define FL_AF 0x10u
#define FL_ZF 0x40u
#define FL_SF 0x80u
#define FL_OF 0x800u
#define FL_ALL 0x8d5u

struct row {
	const char *name;
	uint8_t code[5];
	uint8_t len;
	uint8_t imm;   /* random bytes behind */
	bool modrm;    /* a random register-to-register ModRM behind the opcode */
	bool lea16;    /* a random 16-bit address form behind */
	bool absolute; /* a 32-bit address in the data area behind */
	bool base;     /* EBX, ESI and EDI point into the data area */
	uint32_t undefined;
};

static const struct row rows[] = {
	{"daa", {0x27}, 1, 0, 0, 0, 0, 0, FL_OF},
	{"das", {0x2f}, 1, 0, 0, 0, 0, 0, FL_OF},
	{"aaa", {0x37}, 1, 0, 0, 0, 0, 0, FL_OF | FL_SF | FL_ZF | FL_PF},
	{"aas", {0x3f}, 1, 0, 0, 0, 0, 0, FL_OF | FL_SF | FL_ZF | FL_PF},
	{"aad", {0xd5}, 1, 1, 0, 0, 0, 0, FL_OF | FL_AF | FL_CF},
	{"aam", {0xd4, 10}, 2, 0, 0, 0, 0, 0, FL_OF | FL_AF | FL_CF},
	{"aam 7", {0xd4, 7}, 2, 0, 0, 0, 0, 0, FL_OF | FL_AF | FL_CF},
	{"salc", {0xd6}, 1, 0, 0, 0, 0, 0, 0},
	{"inc eax", {0x40}, 1, 0, 0, 0, 0, 0, 0},
	{"inc edi", {0x47}, 1, 0, 0, 0, 0, 0, 0},
	{"inc sp", {0x66, 0x44}, 2, 0, 0, 0, 0, 0, 0},
	{"dec ecx", {0x49}, 1, 0, 0, 0, 0, 0, 0},
	{"dec bp", {0x66, 0x4d}, 2, 0, 0, 0, 0, 0, 0},
	{"pusha", {0x60}, 1, 0, 0, 0, 0, 0, 0},
	{"pusha16", {0x66, 0x60}, 2, 0, 0, 0, 0, 0, 0},
	{"popa", {0x61}, 1, 0, 0, 0, 0, 0, 0},
	{"popa16", {0x66, 0x61}, 2, 0, 0, 0, 0, 0, 0},
	{"push eax", {0x50}, 1, 0, 0, 0, 0, 0, 0},
	{"push esp", {0x54}, 1, 0, 0, 0, 0, 0, 0},
	{"push di", {0x66, 0x57}, 2, 0, 0, 0, 0, 0, 0},
	{"push ds", {0x1e}, 1, 0, 0, 0, 0, 0, 0},
	{"push es16", {0x66, 0x06}, 2, 0, 0, 0, 0, 0, 0},
	{"push i8", {0x6a}, 1, 1, 0, 0, 0, 0, 0},
	{"push i32", {0x68}, 1, 4, 0, 0, 0, 0, 0},
	{"push i16", {0x66, 0x68}, 2, 2, 0, 0, 0, 0, 0},
	{"pop edx", {0x5a}, 1, 0, 0, 0, 0, 0, 0},
	{"pop esp", {0x5c}, 1, 0, 0, 0, 0, 0, 0},
	{"pop cx", {0x66, 0x59}, 2, 0, 0, 0, 0, 0, 0},
	{"push [ebx]", {0xff, 0x33}, 2, 0, 0, 0, 0, 1, 0},
	{"pop [ebx]", {0x8f, 0x03}, 2, 0, 0, 0, 0, 1, 0},
	{"pop [esp+8]", {0x8f, 0x44, 0x24, 0x08}, 4, 0, 0, 0, 0, 0, 0},
	{"pushfd", {0x9c}, 1, 0, 0, 0, 0, 0, 0},
	{"pushf16", {0x66, 0x9c}, 2, 0, 0, 0, 0, 0, 0},
	{"enter", {0xc8, 0x20, 0x00, 0x00}, 4, 0, 0, 0, 0, 0, 0},
	{"enter 3", {0xc8, 0x20, 0x00, 0x03}, 4, 0, 0, 0, 0, 2, 0},
	{"enter16", {0x66, 0xc8, 0x20, 0x00, 0x00}, 5, 0, 0, 0, 0, 2, 0},
	{"leave", {0xc9}, 1, 0, 0, 0, 0, 2, 0},
	{"add", {0x01}, 1, 0, 1, 0, 0, 0, 0},
	{"adc16", {0x66, 0x11}, 2, 0, 1, 0, 0, 0, 0},
	{"sub8", {0x28}, 1, 0, 1, 0, 0, 0, 0},
	{"cmp82", {0x82, 0xf8}, 2, 1, 0, 0, 0, 0, 0}, /* alias of 80 */
	{"imul", {0x0f, 0xaf}, 2, 0, 1, 0, 0, 0, FL_SF | FL_ZF | FL_AF | FL_PF},
	{"movzx", {0x0f, 0xb6}, 2, 0, 1, 0, 0, 0, 0},
	{"arpl", {0x63}, 1, 0, 1, 0, 0, 0, 0},
	{"xchg", {0x87}, 1, 0, 1, 0, 0, 0, 0},
	{"bsf", {0x0f, 0xbc}, 2, 0, 1, 0, 0, 0, FL_ALL & ~FL_ZF},
	{"lea16", {0x67, 0x8d}, 2, 0, 0, 1, 0, 0, 0},
	{"lea16 16", {0x66, 0x67, 0x8d}, 3, 0, 0, 1, 0, 0, 0},
	{"mov eax, moffs", {0xa1}, 1, 0, 0, 0, 1, 0, 0},
	{"mov moffs, al", {0xa2}, 1, 0, 0, 0, 1, 0, 0},
	{"mov moffs, ax", {0x66, 0xa3}, 2, 0, 0, 0, 1, 0, 0},
	{"movsd", {0xa5}, 1, 0, 0, 0, 0, 1, 0},
	{"cmpsb", {0xa6}, 1, 0, 0, 0, 0, 1, 0},
	{"stosw", {0x66, 0xab}, 2, 0, 0, 0, 0, 1, 0},
	{"lodsb", {0xac}, 1, 0, 0, 0, 0, 1, 0},
	{"scasd", {0xaf}, 1, 0, 0, 0, 0, 1, 0},
	{"xlat", {0xd7}, 1, 0, 0, 0, 0, 1, 0},
	{"cmpxchg8b", {0x0f, 0xc7, 0x0b}, 3, 0, 0, 0, 0, 1, 0},
	{"mov [ebx+esi*1...]", {0x88, 0x04, 0x23}, 3, 0, 0, 0, 0, 1, 0}, /* no index */
	{"cwde", {0x98}, 1, 0, 0, 0, 0, 0, 0},
	{"cdq", {0x99}, 1, 0, 0, 0, 0, 0, 0},
	{"lahf", {0x9f}, 1, 0, 0, 0, 0, 0, 0},
	{"bswap", {0x0f, 0xc9}, 2, 0, 0, 0, 0, 0, 0},
	{"andn", {0xc4, 0xe2, 0x70, 0xf2}, 4, 0, 1, 0, 0, 0, FL_AF | FL_PF},
};

/* What the stub reads and writes, at 32-bit addresses. */
struct ctx {
	uint32_t gpr[8];
	uint32_t flags;
	uint32_t spare;
	uint64_t host_rsp;
};

struct test_case {
	const struct row *row;
	uint8_t code[16];
	unsigned len;
	struct ctx in;
};

static struct x86_rig *rig;
static uint8_t *low; /* the rig's memory, below 4 GiB */
static struct ctx *ctx;
static uint64_t rng_state;

static uint64_t rng(void)
{
	uint64_t z = (rng_state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* --- the way into 32-bit code and out ------------------------------------------------------- */

static unsigned put(unsigned at, const void *bytes, unsigned len)
{
	memcpy(low + at, bytes, len);
	return at + len;
}

static unsigned put32(unsigned at, uint32_t v)
{
	return put(at, &v, 4);
}

#define CTX(field) ((uint32_t)(LOW + CTX_AT + offsetof(struct ctx, field)))
#define BYTES(at, ...) put(at, (const uint8_t[]){__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__}))

#define EXIT_AT (STUB_AT + 0x200)
#define EXIT64_AT (STUB_AT + 0x400)

/* mov reg, [address] / mov [address], reg */
static unsigned put_mov(unsigned at, uint8_t opcode, unsigned reg, uint32_t address)
{
	at = BYTES(at, opcode, (uint8_t)(reg << 3 | 5));
	return put32(at, address);
}

static void put_stub(void)
{
	unsigned at = STUB_AT;

	/* mov eax, USER_DS; mov ds, es, ss */
	at = BYTES(at, 0xb8, USER_DS, 0, 0, 0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0);
	at = put_mov(at, 0x8b, X86_RSP, CTX(gpr[X86_RSP]));
	at = BYTES(at, 0xff, 0x35);
	at = put32(at, CTX(flags));
	at = BYTES(at, 0x9d);
	/* The push is undone in the image by the caller's snapshot: memory is restored below. */
	for (unsigned r = 0; r < 8; r++)
		if (r != X86_RSP)
			at = put_mov(at, 0x8b, r, CTX(gpr[0]) + 4 * r);
	at = put_mov(at, 0x8b, X86_RSP, CTX(gpr[X86_RSP]));
	at = BYTES(at, 0xe9);
	put32(at, CODE_AT - (at + 4));

	at = EXIT_AT;
	for (unsigned r = 0; r < 8; r++)
		at = put_mov(at, 0x89, r, CTX(gpr[0]) + 4 * r);
	/* A stack of the stub's own for PUSHFD. */
	at = BYTES(at, 0xbc);
	at = put32(at, (uint32_t)(LOW + CTX_AT + 0x800));
	at = BYTES(at, 0x9c, 0x8f, 0x05);
	at = put32(at, CTX(flags));
	at = BYTES(at, 0xea);
	at = put32(at, (uint32_t)(LOW + EXIT64_AT));
	BYTES(at, USER_CS64, 0);

	/* mov rsp, [abs32]; cld; ret */
	at = BYTES(EXIT64_AT, 0x48, 0x8b, 0x24, 0x25);
	at = put32(at, CTX(host_rsp));
	BYTES(at, 0xfc, 0xc3);
}

static void enter_32(void)
{
	static const struct {
		uint32_t offset;
		uint16_t sel;
	} __attribute__((packed)) target = {(uint32_t)(LOW + STUB_AT), USER_CS32};

	__asm__ volatile(
		"sub $128, %%rsp\n" /* the red zone */
		"push %%rbx\n push %%rbp\n push %%r12\n push %%r13\n push %%r14\n push %%r15\n"
		"lea 1f(%%rip), %%rax\n"
		"push %%rax\n"
		"mov %%rsp, (%%rcx)\n"
		"ljmp *(%%rdx)\n"
		"1:\n"
		"pop %%r15\n pop %%r14\n pop %%r13\n pop %%r12\n pop %%rbp\n pop %%rbx\n"
		"add $128, %%rsp\n"
		:
		: "c"(&ctx->host_rsp), "d"(&target)
		: "rax", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc");
}

/* --- cases ------------------------------------------------------------------------------------ */

static void make(struct test_case *c, const struct row *row)
{
	static const uint32_t values[] = {0, 1, 0xffffffff, 0x80000000, 0x7fffffff, 0x99, 0x9a};

	memset(c, 0, sizeof(*c));
	c->row = row;
	memcpy(c->code, row->code, row->len);
	c->len = row->len;
	for (unsigned r = 0; r < 8; r++)
		c->in.gpr[r] = rng() & 1 ? (uint32_t)rng() : values[rng() % VMX_ARRAY_SIZE(values)];
	c->in.gpr[X86_RSP] = (uint32_t)(LOW + STACK_AT + 2048);
	if (row->base) {
		c->in.gpr[X86_RBX] = (uint32_t)(LOW + DATA_AT + 256 + rng() % 3000);
		c->in.gpr[X86_RSI] = (uint32_t)(LOW + DATA_AT + 256 + rng() % 3000);
		c->in.gpr[X86_RDI] = (uint32_t)(LOW + DATA_AT + 256 + rng() % 3000);
	}
	/* Frames need EBP on the stack. */
	if (!strncmp(row->name, "enter", 5) || !strcmp(row->name, "leave"))
		c->in.gpr[X86_RBP] = (uint32_t)(LOW + STACK_AT + 2048 + rng() % 512);
	c->in.flags = ((uint32_t)rng() & FL_ALL) | 0x202;
	if (row->modrm) {
		unsigned reg, rm;

		do {
			reg = rng() & 7;
			rm = rng() & 7;
		} while (reg == X86_RSP || rm == X86_RSP);
		c->code[c->len++] = (uint8_t)(0xc0 | reg << 3 | rm);
	}
	if (row->lea16) {
		unsigned mod = rng() % 3, rm = rng() & 7, reg;
		unsigned disp = mod == 1 ? 1 : mod == 2 || rm == 6 ? 2 : 0;

		do {
			reg = rng() & 7;
		} while (reg == X86_RSP);
		c->code[c->len++] = (uint8_t)(mod << 6 | reg << 3 | rm);
		for (unsigned i = 0; i < disp; i++)
			c->code[c->len++] = (uint8_t)rng();
	}
	if (row->absolute) {
		uint32_t address = (uint32_t)(LOW + DATA_AT + rng() % 4096);

		memcpy(c->code + c->len, &address, 4);
		c->len += 4;
	}
	for (unsigned i = 0; i < row->imm; i++)
		c->code[c->len++] = (uint8_t)rng();
}

static void run_native(const struct test_case *c, struct ctx *ret)
{
	unsigned at = put(CODE_AT, c->code, c->len);

	at = BYTES(at, 0xe9);
	put32(at, EXIT_AT - (at + 4));
	*ctx = c->in;
	enter_32();
	*ret = *ctx;
}

static void run_ours(const struct test_case *c, struct ctx *ret, bool block)
{
	struct x86_state *s = x86_state(rig->cpu);
	uint64_t retired;

	rig_put(rig, LOW + CODE_AT, c->code, c->len);
	rig_put(rig, LOW + CODE_AT + c->len, (const uint8_t[]){0x0f, 0x0b}, 2);
	for (unsigned r = 0; r < 8; r++)
		s->gpr[r] = c->in.gpr[r];
	s->rflags = c->in.flags;
	s->rip = LOW + CODE_AT;
	rig->logged = 0;
	if (x86_run(rig->cpu, block ? 100 : 1, &retired) != X86_STOP_EXIT && retired != 1)
		fail_msg("%s does not retire", c->row->name);
	for (unsigned r = 0; r < 8; r++) {
		ret->gpr[r] = (uint32_t)s->gpr[r];
		assert_int_equal(s->gpr[r] >> 32, 0);
	}
	ret->flags = (uint32_t)s->rflags;
	if (s->rip != LOW + CODE_AT + c->len)
		fail_msg("%s: rip %#llx", c->row->name, (unsigned long long)s->rip);
}

static bool compare(const struct test_case *c, bool block)
{
	static uint8_t before[2][DATA_BYTES], native_mem[2][DATA_BYTES];
	static const uint32_t areas[2] = {DATA_AT, STACK_AT};
	static const uint32_t sizes[2] = {DATA_BYTES, STACK_BYTES};
	struct ctx native, ours;
	uint32_t mask = FL_ALL & ~c->row->undefined;
	bool same;

	/* The stub's push for POPF lies just below ESP. */
	memset(low + STACK_AT + 2048 - 4, 0, 4);
	memcpy(low + STACK_AT + 2048 - 4, &c->in.flags, 4);
	for (unsigned i = 0; i < 2; i++)
		memcpy(before[i], low + areas[i], sizes[i]);
	run_native(c, &native);
	for (unsigned i = 0; i < 2; i++) {
		memcpy(native_mem[i], low + areas[i], sizes[i]);
		memcpy(low + areas[i], before[i], sizes[i]);
	}
	run_ours(c, &ours, block);
	same = !memcmp(native.gpr, ours.gpr, sizeof(ours.gpr)) &&
	       ((native.flags ^ ours.flags) & mask) == 0;
	for (unsigned i = 0; i < 2; i++)
		same = same && !memcmp(native_mem[i], low + areas[i], sizes[i]);
	if (!same) {
		fprintf(stderr, "%s:", c->row->name);
		for (unsigned i = 0; i < c->len; i++)
			fprintf(stderr, " %02x", c->code[i]);
		fprintf(stderr, "\n  flags in %#x native %#x ours %#x\n", c->in.flags, native.flags,
			ours.flags);
		for (unsigned r = 0; r < 8; r++)
			fprintf(stderr, "  gpr %u in %#x native %#x ours %#x\n", r, c->in.gpr[r],
				native.gpr[r], ours.gpr[r]);
	}
	return same;
}

static unsigned number(const char *name, unsigned def)
{
	const char *v = getenv(name);

	return v ? (unsigned)strtoul(v, NULL, 0) : def;
}

static void test_random(void **state)
{
	unsigned n = number("HVD_X86_CASES", 100000), bad = 0;

	(void)state;
	for (unsigned i = 0; i < n && bad < 10; i++) {
		struct test_case c;

		if (i % 4096 == 0) {
			for (unsigned k = 0; k < DATA_BYTES; k++)
				low[DATA_AT + k] = (uint8_t)rng();
			for (unsigned k = 0; k < STACK_BYTES; k += 4) {
				uint32_t v = (uint32_t)(LOW + STACK_AT + 1024 + rng() % 1024);

				memcpy(low + STACK_AT + k, &v, 4);
			}
		}
		make(&c, &rows[i % VMX_ARRAY_SIZE(rows)]);
		bad += !compare(&c, i & 1);
	}
	assert_int_equal(bad, 0);
}

static int setup(void **state)
{
	(void)state;
	rng_state = number("HVD_X86_SEED", 1);
	low = mmap((void *)(uintptr_t)LOW, RIG_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	assert_true(low == (uint8_t *)(uintptr_t)LOW);
	ctx = (struct ctx *)(void *)(low + CTX_AT);
	rig = rig_new(false, true);
	free(rig->mem);
	rig->mem = low;
	rig->base = LOW;
	rig->exit_exceptions = true;
	/* Selectors as the host's, for what PUSH shows. */
	x86_state(rig->cpu)->seg[X86_DS].sel = USER_DS;
	x86_state(rig->cpu)->seg[X86_ES].sel = USER_DS;
	put_stub();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig->mem = NULL;
	rig_delete(rig);
	munmap(low, RIG_BYTES);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
#endif
