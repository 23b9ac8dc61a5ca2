// SPDX-License-Identifier: MIT
/*
 * The host's processor as oracle: random instructions with random operands and
 * flags run natively and in the executor, on the same memory at the same
 * addresses; registers, memory and defined flags must agree.
 *
 * HVD_X86_CASES: how many single instructions (default 300000; sequences get a third).
 * HVD_X86_SEED: another seed.
 */
#include "x86_rig.h"

#ifndef __x86_64__
int main(void)
{
	return 77; /* no oracle here */
}
#else

#include <cpuid.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <ucontext.h>

/* Layout in the rig's memory: code, data (two pages), stack. */
#define CODE_AT 0x1000u
#define DATA_AT 0x10000u
#define DATA_BYTES 8192u
#define STACK_AT 0x20000u
#define STACK_BYTES 4096u

#define FL_CF 1u
#define FL_PF 4u
#define FL_AF 0x10u
#define FL_ZF 0x40u
#define FL_SF 0x80u
#define FL_OF 0x800u
#define FL_ALL (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF)

/* --- the table of encodings ------------------------------------------------------------- */

enum {
	B8 = 1,	 /* byte operand */
	V = 2,	 /* 16, 32 or 64 bits */
	RM = 4,	 /* ModRM with a register in reg */
	EXT = 8, /* ModRM with an opcode extension in reg */
	IMM8 = 16,
	IMMZ = 32,    /* 16 or 32 bits by operand size */
	REGLOW = 64,  /* register in the opcode's low bits */
	MEM = 128,    /* memory operand only */
	REG = 256,    /* register operand only */
	LOCK = 512,   /* may have a LOCK prefix with a memory destination */
	SHIFT = 1024, /* count in the immediate or CL decides what is defined */
	DIVIDE = 2048,
	BITREG = 4096,	/* register bit offset: reaches far from the operand */
	VEX = 8192,	/* vvvv is a register */
	W64 = 16384,	/* 64 bits without REX.W (PUSH, POP) */
	NO16 = 32768,	/* 32 or 64 bits */
	SEQ = 65536,	/* fit for sequences: every flag is defined or left alone */
	SHORT = 131072, /* branch of 8 bits: displacement is fixed by the harness */
	ONE16 = 262144, /* 16-bit forms have undefined results */
	STRING = 524288,
	COUNTED = 1048576, /* with REP */
	ALLBITS = 2097152, /* byte, 16, 32, 64 by low opcode bit */
};

struct row {
	const char *name;
	uint8_t prefix; /* mandatory, or 0 */
	uint8_t map;	/* 0, 1 (0F), 2 (0F 38), 3 (0F 3A) */
	uint8_t opcode;
	uint8_t ext;
	uint32_t form;
	uint32_t undefined; /* flags */
};

#define ALU_ROWS(name, base, digit, af)                                               \
	{name " rm8,r8", 0, 0, base, 0, B8 | RM | LOCK | SEQ, af},                    \
		{name " rm,r", 0, 0, base + 1, 0, V | RM | LOCK | SEQ, af},           \
		{name " r8,rm8", 0, 0, base + 2, 0, B8 | RM | SEQ, af},               \
		{name " r,rm", 0, 0, base + 3, 0, V | RM | SEQ, af},                  \
		{name " al,i", 0, 0, base + 4, 0, B8 | IMM8 | SEQ, af},               \
		{name " ax,i", 0, 0, base + 5, 0, V | IMMZ | SEQ, af},                \
		{name " rm8,i", 0, 0, 0x80, digit, B8 | EXT | IMM8 | LOCK | SEQ, af}, \
		{name " rm,iz", 0, 0, 0x81, digit, V | EXT | IMMZ | LOCK | SEQ, af},  \
	{                                                                             \
		name " rm,i8", 0, 0, 0x83, digit, V | EXT | IMM8 | LOCK | SEQ, af     \
	}

#define SHIFT_ROWS(name, digit)                                               \
	{name " rm8,i", 0, 0, 0xc0, digit, B8 | EXT | IMM8 | SHIFT, 0},       \
		{name " rm,i", 0, 0, 0xc1, digit, V | EXT | IMM8 | SHIFT, 0}, \
		{name " rm8,1", 0, 0, 0xd0, digit, B8 | EXT | SHIFT, 0},      \
		{name " rm,1", 0, 0, 0xd1, digit, V | EXT | SHIFT, 0},        \
		{name " rm8,cl", 0, 0, 0xd2, digit, B8 | EXT | SHIFT, 0},     \
	{                                                                     \
		name " rm,cl", 0, 0, 0xd3, digit, V | EXT | SHIFT, 0          \
	}

#define CC_ROWS(cc)                                                 \
	{"cmov" #cc, 0, 1, 0x40 + cc, 0, V | RM | SEQ, 0},          \
		{"set" #cc, 0, 1, 0x90 + cc, 0, B8 | EXT | SEQ, 0}, \
	{                                                           \
		"j" #cc, 0, 0, 0x70 + cc, 0, SHORT | SEQ, 0         \
	}

static const struct row rows[] = {
	ALU_ROWS("add", 0x00, 0, 0),
	ALU_ROWS("or", 0x08, 1, FL_AF),
	ALU_ROWS("adc", 0x10, 2, 0),
	ALU_ROWS("sbb", 0x18, 3, 0),
	ALU_ROWS("and", 0x20, 4, FL_AF),
	ALU_ROWS("sub", 0x28, 5, 0),
	ALU_ROWS("xor", 0x30, 6, FL_AF),
	ALU_ROWS("cmp", 0x38, 7, 0),
	{"test rm8,r8", 0, 0, 0x84, 0, B8 | RM | SEQ, FL_AF},
	{"test rm,r", 0, 0, 0x85, 0, V | RM | SEQ, FL_AF},
	{"test rm8,i", 0, 0, 0xf6, 0, B8 | EXT | IMM8 | SEQ, FL_AF},
	{"test rm,i", 0, 0, 0xf7, 0, V | EXT | IMMZ | SEQ, FL_AF},
	{"not8", 0, 0, 0xf6, 2, B8 | EXT | LOCK | SEQ, 0},
	{"not", 0, 0, 0xf7, 2, V | EXT | LOCK | SEQ, 0},
	{"neg8", 0, 0, 0xf6, 3, B8 | EXT | LOCK | SEQ, 0},
	{"neg", 0, 0, 0xf7, 3, V | EXT | LOCK | SEQ, 0},
	{"inc8", 0, 0, 0xfe, 0, B8 | EXT | LOCK | SEQ, 0},
	{"inc", 0, 0, 0xff, 0, V | EXT | LOCK | SEQ, 0},
	{"dec8", 0, 0, 0xfe, 1, B8 | EXT | LOCK | SEQ, 0},
	{"dec", 0, 0, 0xff, 1, V | EXT | LOCK | SEQ, 0},
	{"mul8", 0, 0, 0xf6, 4, B8 | EXT, FL_SF | FL_ZF | FL_AF | FL_PF},
	{"mul", 0, 0, 0xf7, 4, V | EXT, FL_SF | FL_ZF | FL_AF | FL_PF},
	{"imul8", 0, 0, 0xf6, 5, B8 | EXT, FL_SF | FL_ZF | FL_AF | FL_PF},
	{"imul1", 0, 0, 0xf7, 5, V | EXT, FL_SF | FL_ZF | FL_AF | FL_PF},
	{"imul2", 0, 1, 0xaf, 0, V | RM, FL_SF | FL_ZF | FL_AF | FL_PF},
	{"imul3z", 0, 0, 0x69, 0, V | RM | IMMZ, FL_SF | FL_ZF | FL_AF | FL_PF},
	{"imul3b", 0, 0, 0x6b, 0, V | RM | IMM8, FL_SF | FL_ZF | FL_AF | FL_PF},
	{"div8", 0, 0, 0xf6, 6, B8 | EXT | DIVIDE, FL_ALL},
	{"div", 0, 0, 0xf7, 6, V | EXT | DIVIDE, FL_ALL},
	{"idiv8", 0, 0, 0xf6, 7, B8 | EXT | DIVIDE, FL_ALL},
	{"idiv", 0, 0, 0xf7, 7, V | EXT | DIVIDE, FL_ALL},
	{"cbw", 0, 0, 0x98, 0, V | SEQ, 0},
	{"cwd", 0, 0, 0x99, 0, V, 0},
	SHIFT_ROWS("rol", 0),
	SHIFT_ROWS("ror", 1),
	SHIFT_ROWS("rcl", 2),
	SHIFT_ROWS("rcr", 3),
	SHIFT_ROWS("shl", 4),
	SHIFT_ROWS("shr", 5),
	SHIFT_ROWS("sar", 7),
	{"shld i", 0, 1, 0xa4, 0, V | RM | IMM8 | SHIFT | ONE16, 0},
	{"shld cl", 0, 1, 0xa5, 0, V | RM | SHIFT | ONE16, 0},
	{"shrd i", 0, 1, 0xac, 0, V | RM | IMM8 | SHIFT | ONE16, 0},
	{"shrd cl", 0, 1, 0xad, 0, V | RM | SHIFT | ONE16, 0},
	{"mov rm8,r8", 0, 0, 0x88, 0, B8 | RM | SEQ, 0},
	{"mov rm,r", 0, 0, 0x89, 0, V | RM | SEQ, 0},
	{"mov r8,rm8", 0, 0, 0x8a, 0, B8 | RM | SEQ, 0},
	{"mov r,rm", 0, 0, 0x8b, 0, V | RM | SEQ, 0},
	{"mov r8,i", 0, 0, 0xb0, 0, B8 | REGLOW | IMM8, 0},
	{"mov rm8,i", 0, 0, 0xc6, 0, B8 | EXT | IMM8 | SEQ, 0},
	{"mov rm,i", 0, 0, 0xc7, 0, V | EXT | IMMZ | SEQ, 0},
	{"movzx b", 0, 1, 0xb6, 0, V | RM | SEQ, 0},
	{"movzx w", 0, 1, 0xb7, 0, V | RM | SEQ, 0},
	{"movsx b", 0, 1, 0xbe, 0, V | RM | SEQ, 0},
	{"movsx w", 0, 1, 0xbf, 0, V | RM | SEQ, 0},
	{"movsxd", 0, 0, 0x63, 0, V | RM | SEQ, 0},
	{"lea", 0, 0, 0x8d, 0, V | RM | MEM | SEQ, 0},
	{"xchg8", 0, 0, 0x86, 0, B8 | RM | LOCK | SEQ, 0},
	{"xchg", 0, 0, 0x87, 0, V | RM | LOCK | SEQ, 0},
	{"xchg ax", 0, 0, 0x90, 0, V | REGLOW, 0},
	{"bswap", 0, 1, 0xc8, 0, NO16 | REGLOW, 0},
	{"movbe l", 0, 2, 0xf0, 0, V | RM | MEM, 0},
	{"movbe s", 0, 2, 0xf1, 0, V | RM | MEM, 0},
	{"cmpxchg8", 0, 1, 0xb0, 0, B8 | RM | LOCK, 0},
	{"cmpxchg", 0, 1, 0xb1, 0, V | RM | LOCK, 0},
	{"cmpxchg8b", 0, 1, 0xc7, 1, NO16 | EXT | MEM | LOCK, 0},
	{"xadd8", 0, 1, 0xc0, 0, B8 | RM | LOCK, 0},
	{"xadd", 0, 1, 0xc1, 0, V | RM | LOCK, 0},
	{"bt r", 0, 1, 0xa3, 0, V | RM | BITREG, FL_OF | FL_SF | FL_AF | FL_PF},
	{"bts r", 0, 1, 0xab, 0, V | RM | BITREG | LOCK, FL_OF | FL_SF | FL_AF | FL_PF},
	{"btr r", 0, 1, 0xb3, 0, V | RM | BITREG | LOCK, FL_OF | FL_SF | FL_AF | FL_PF},
	{"btc r", 0, 1, 0xbb, 0, V | RM | BITREG | LOCK, FL_OF | FL_SF | FL_AF | FL_PF},
	{"bt i", 0, 1, 0xba, 4, V | EXT | IMM8, FL_OF | FL_SF | FL_AF | FL_PF},
	{"bts i", 0, 1, 0xba, 5, V | EXT | IMM8 | LOCK, FL_OF | FL_SF | FL_AF | FL_PF},
	{"btr i", 0, 1, 0xba, 6, V | EXT | IMM8 | LOCK, FL_OF | FL_SF | FL_AF | FL_PF},
	{"btc i", 0, 1, 0xba, 7, V | EXT | IMM8 | LOCK, FL_OF | FL_SF | FL_AF | FL_PF},
	{"bsf", 0, 1, 0xbc, 0, V | RM, FL_ALL & ~FL_ZF},
	{"bsr", 0, 1, 0xbd, 0, V | RM, FL_ALL & ~FL_ZF},
	{"tzcnt", 0xf3, 1, 0xbc, 0, V | RM, FL_ALL & ~(FL_ZF | FL_CF)},
	{"lzcnt", 0xf3, 1, 0xbd, 0, V | RM, FL_ALL & ~(FL_ZF | FL_CF)},
	{"popcnt", 0xf3, 1, 0xb8, 0, V | RM, 0},
	{"adcx", 0x66, 2, 0xf6, 0, NO16 | RM, 0},
	{"adox", 0xf3, 2, 0xf6, 0, NO16 | RM, 0},
	{"andn", 0, 2, 0xf2, 0, NO16 | RM | VEX, FL_AF | FL_PF},
	{"blsr", 0, 2, 0xf3, 1, NO16 | EXT | VEX, FL_AF | FL_PF},
	{"blsmsk", 0, 2, 0xf3, 2, NO16 | EXT | VEX, FL_AF | FL_PF},
	{"blsi", 0, 2, 0xf3, 3, NO16 | EXT | VEX, FL_AF | FL_PF},
	{"bextr", 0, 2, 0xf7, 0, NO16 | RM | VEX, FL_AF | FL_SF | FL_PF},
	{"bzhi", 0, 2, 0xf5, 0, NO16 | RM | VEX, FL_AF | FL_PF},
	{"shlx", 0x66, 2, 0xf7, 0, NO16 | RM | VEX, 0},
	{"shrx", 0xf2, 2, 0xf7, 0, NO16 | RM | VEX, 0},
	{"sarx", 0xf3, 2, 0xf7, 0, NO16 | RM | VEX, 0},
	{"pdep", 0xf2, 2, 0xf5, 0, NO16 | RM | VEX, 0},
	{"pext", 0xf3, 2, 0xf5, 0, NO16 | RM | VEX, 0},
	{"mulx", 0xf2, 2, 0xf6, 0, NO16 | RM | VEX, 0},
	{"clc", 0, 0, 0xf8, 0, SEQ, 0},
	{"stc", 0, 0, 0xf9, 0, SEQ, 0},
	{"cmc", 0, 0, 0xf5, 0, SEQ, 0},
	{"lahf", 0, 0, 0x9f, 0, 0, 0},
	{"sahf", 0, 0, 0x9e, 0, SEQ, 0},
	{"xlat", 0, 0, 0xd7, 0, 0, 0},
	{"nop", 0, 0, 0x90, 0, SEQ, 0},
	{"nop rm", 0, 1, 0x1f, 0, V | EXT | SEQ, 0},
	{"push r", 0, 0, 0x50, 0, W64 | REGLOW, 0},
	{"pop r", 0, 0, 0x58, 0, W64 | REGLOW, 0},
	{"push rm", 0, 0, 0xff, 6, W64 | EXT, 0},
	{"pop rm", 0, 0, 0x8f, 0, W64 | EXT, 0},
	{"push i8", 0, 0, 0x6a, 0, W64 | IMM8, 0},
	{"push iz", 0, 0, 0x68, 0, W64 | IMMZ, 0},
	{"pushf", 0, 0, 0x9c, 0, 0, 0},
	{"movs", 0, 0, 0xa4, 0, ALLBITS | STRING, 0},
	{"cmps", 0, 0, 0xa6, 0, ALLBITS | STRING, 0},
	{"stos", 0, 0, 0xaa, 0, ALLBITS | STRING, 0},
	{"lods", 0, 0, 0xac, 0, ALLBITS | STRING, 0},
	{"scas", 0, 0, 0xae, 0, ALLBITS | STRING, 0},
	{"rep movs", 0xf3, 0, 0xa4, 0, ALLBITS | STRING | COUNTED, 0},
	{"repne movs", 0xf2, 0, 0xa4, 0, ALLBITS | STRING | COUNTED, 0},
	{"rep stos", 0xf3, 0, 0xaa, 0, ALLBITS | STRING | COUNTED, 0},
	{"rep lods", 0xf3, 0, 0xac, 0, ALLBITS | STRING | COUNTED, 0},
	{"repe cmps", 0xf3, 0, 0xa6, 0, ALLBITS | STRING | COUNTED, 0},
	{"repne cmps", 0xf2, 0, 0xa6, 0, ALLBITS | STRING | COUNTED, 0},
	{"repe scas", 0xf3, 0, 0xae, 0, ALLBITS | STRING | COUNTED, 0},
	{"repne scas", 0xf2, 0, 0xae, 0, ALLBITS | STRING | COUNTED, 0},
	{"loop", 0, 0, 0xe2, 0, SHORT, 0},
	{"loope", 0, 0, 0xe1, 0, SHORT, 0},
	{"loopne", 0, 0, 0xe0, 0, SHORT, 0},
	{"jrcxz", 0, 0, 0xe3, 0, SHORT, 0},
	CC_ROWS(0),
	CC_ROWS(1),
	CC_ROWS(2),
	CC_ROWS(3),
	CC_ROWS(4),
	CC_ROWS(5),
	CC_ROWS(6),
	CC_ROWS(7),
	CC_ROWS(8),
	CC_ROWS(9),
	CC_ROWS(10),
	CC_ROWS(11),
	CC_ROWS(12),
	CC_ROWS(13),
	CC_ROWS(14),
	CC_ROWS(15),
};

/* --- random numbers ------------------------------------------------------------------------ */

static uint64_t rng_state;

static uint64_t rng(void)
{
	uint64_t z = (rng_state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static unsigned below(unsigned n)
{
	return (unsigned)(rng() >> 33) % n;
}

static uint64_t interesting(void)
{
	static const uint64_t values[] = {0,
					  1,
					  2,
					  0x7f,
					  0x80,
					  0xff,
					  0x7fff,
					  0x8000,
					  0xffff,
					  0x7fffffff,
					  0x80000000,
					  0xffffffff,
					  UINT64_C(0x7fffffffffffffff),
					  UINT64_C(0x8000000000000000),
					  UINT64_MAX,
					  UINT64_MAX - 1};

	switch (below(4)) {
	case 0:
		return values[below(VMX_ARRAY_SIZE(values))];
	case 1:
		return rng() >> below(64);
	case 2:
		return values[below(VMX_ARRAY_SIZE(values))] + below(5) - 2;
	default:
		return rng();
	}
}

/* --- one case ------------------------------------------------------------------------------ */

struct regs {
	uint64_t gpr[16];
	uint64_t flags;
};

struct test_case {
	uint8_t code[96];
	unsigned len;
	unsigned count; /* instructions */
	struct regs in;
	uint32_t undefined; /* flags after it */
	bool in_sequence;
	bool random_flags_ok;
	char name[160];
};

static struct x86_rig *rig;
static uint8_t *data, *stack;
static uint8_t saved_data[DATA_BYTES], saved_stack[STACK_BYTES];
static uint8_t native_data[DATA_BYTES], native_stack[STACK_BYTES];
static bool have_bmi2, have_bmi1, have_adx;

static void emit(struct test_case *c, uint8_t b)
{
	c->code[c->len++] = b;
}

static void emit_n(struct test_case *c, uint64_t v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		emit(c, (uint8_t)(v >> (8 * i)));
}

/* Registers that sequences use as bases and never write. */
static bool is_base(unsigned r)
{
	return r == X86_RBX || r == X86_RSI || r == X86_RBP;
}

/* A register operand; sequences keep off the bases and RSP. */
static unsigned pick_reg(const struct test_case *c)
{
	unsigned r;

	do {
		r = below(16);
	} while (r == X86_RSP || (c->in_sequence && is_base(r)));
	return r;
}

struct encoding {
	unsigned w, r, x, b; /* REX bits */
	bool force_rex;
	uint8_t modrm, sib;
	bool has_modrm, has_sib;
	int32_t disp;
	unsigned disp_bytes;
};

/* A memory operand inside the data area; sets the registers it needs (not in sequences). */
static void pick_mem(struct test_case *c, struct encoding *e, bool far, bool aligned)
{
	static const uint8_t bases[] = {X86_RBX, X86_RSI, X86_RBP};
	unsigned base = c->in_sequence ? bases[below(3)] : pick_reg(c), index = 4, scale = 0;
	uint64_t target =
		(uint64_t)(uintptr_t)data + (far ? DATA_BYTES / 2 : 64 + below(4096 + 3900));
	uint64_t at = target;

	/* Pages meet in the middle: crossing accesses are common there. */
	if (!far && below(4) == 0)
		target = at = (uint64_t)(uintptr_t)data + 4096 - 1 - below(8);
	if (aligned)
		target = at = target & ~UINT64_C(15);
	e->has_modrm = true;
	if (!c->in_sequence && below(8) == 0) {
		e->modrm = (uint8_t)((e->modrm & 0x38) | 5); /* RIP-relative; disp set later */
		e->disp_bytes = 0xff;
		e->disp = (int32_t)(target - (uint64_t)(uintptr_t)rig->mem);
		return;
	}
	e->disp_bytes = below(3) == 0 ? 4 : 1;
	if (c->in_sequence) {
		e->disp_bytes = 4;
		at = c->in.gpr[base];
		e->disp = (int32_t)(target - at);
	} else {
		e->disp = e->disp_bytes == 4 ? (int32_t)(rng() >> 40) - 0x800000 : (int8_t)rng();
		at -= (uint64_t)(int64_t)e->disp;
		if (below(3) == 0) {
			do {
				index = pick_reg(c);
			} while (index == base);
			scale = below(4);
			c->in.gpr[index] = rng() >> (40 + below(20));
			at -= c->in.gpr[index] << scale;
		}
		c->in.gpr[base] = at;
	}
	e->b = base >> 3;
	e->modrm = (uint8_t)((e->modrm & 0x38) | (e->disp_bytes == 4 ? 0x80 : 0x40));
	if (index != 4 || (base & 7) == 4 || below(6) == 0) {
		e->modrm |= 4;
		e->has_sib = true;
		e->sib = (uint8_t)(scale << 6 | (index & 7) << 3 | (base & 7));
		e->x = index >> 3;
	} else {
		e->modrm |= base & 7;
	}
}

/* Which flags are defined after a shift by count. */
static uint32_t shift_undefined(const struct row *row, unsigned count, unsigned bits)
{
	bool rotate = row->ext < 4 && row->map == 0, doubled = row->map == 1;
	uint32_t u = rotate ? 0 : FL_AF;

	if (count == 0)
		return 0;
	if (count != 1)
		u |= FL_OF;
	if (!rotate && !doubled && row->ext != 7 && count >= bits)
		u |= FL_CF;
	if (doubled && count > bits)
		u |= FL_ALL;
	return u;
}

static bool row_usable(const struct row *row)
{
	if (row->map == 2 && (row->form & VEX))
		return row->opcode == 0xf2 || row->opcode == 0xf3 ||
				       (row->opcode == 0xf7 && !row->prefix)
			       ? have_bmi1
			       : have_bmi2;
	if (row->map == 2 && row->opcode == 0xf6)
		return have_adx;
	return true;
}

static void emit_vex(struct test_case *c, const struct row *row, const struct encoding *e,
		     unsigned vvvv)
{
	unsigned pp = row->prefix == 0x66   ? 1
		      : row->prefix == 0xf3 ? 2
		      : row->prefix == 0xf2 ? 3
					    : 0;

	emit(c, 0xc4);
	emit(c, (uint8_t)((e->r ^ 1) << 7 | (e->x ^ 1) << 6 | (e->b ^ 1) << 5 | row->map));
	emit(c, (uint8_t)(e->w << 7 | (~vvvv & 15) << 3 | pp));
}

static void emit_prefixes(struct test_case *c, const struct row *row, const struct encoding *e,
			  bool lock, bool p66)
{
	uint8_t rex = (uint8_t)(0x40 | e->w << 3 | e->r << 2 | e->x << 1 | e->b);

	if (lock)
		emit(c, 0xf0);
	if (p66)
		emit(c, 0x66);
	if (row->prefix)
		emit(c, row->prefix);
	if (rex != 0x40 || e->force_rex)
		emit(c, rex);
	if (row->map)
		emit(c, 0x0f);
	if (row->map == 2)
		emit(c, 0x38);
}

/*
 * The register of a BT with memory: its value stays inside the data area. false: the
 * register is part of the address, whose value can't be chosen.
 */
static bool pick_bit_offset(struct test_case *c, const struct encoding *e, unsigned bits)
{
	unsigned field = (e->modrm >> 3 & 7) | e->r << 3;
	unsigned base = (e->has_sib ? e->sib & 7 : e->modrm & 7) | e->b << 3;
	unsigned index = e->has_sib ? ((e->sib >> 3 & 7) | e->x << 3) : 16;
	uint64_t off = rng() % (DATA_BYTES * 4) - DATA_BYTES * 2;

	if (e->disp_bytes != 0xff && (field == base || field == index))
		return false;
	c->in.gpr[field] = bits == 16 ? (uint64_t)(int64_t)(int16_t)(off % 8000) : off;
	return true;
}

/* Appends one instruction of the row to the case. */
static void make(struct test_case *c, const struct row *row)
{
	unsigned bits, count = 1, vvvv = pick_reg(c), reg = pick_reg(c);
	bool p66 = false, lock = false, mem = false;
	struct encoding e = {0};
	uint8_t opcode = row->opcode;
	uint64_t imm = interesting();
	size_t at;

	bits = row->form & B8 ? 8 : 32;
	if (row->form & (V | ALLBITS)) {
		bits = 16u << below(3);
		if (row->form & ALLBITS) {
			if (below(4) == 0)
				bits = 8;
			else
				opcode |= 1;
		}
	} else if (row->form & NO16) {
		bits = 32u << below(2);
	} else if (row->form & W64) {
		bits = below(4) ? 64 : 16;
	}
	p66 = bits == 16;
	e.w = bits == 64 && !(row->form & W64);
	if (!strcmp(row->name, "cmpxchg8b")) {
		e.w = 0;
		bits = 64;
	}
	e.force_rex = (row->form & B8) && below(2);

	if (row->form & (RM | EXT)) {
		unsigned field = row->form & EXT ? row->ext : reg;

		e.r = field >> 3;
		e.modrm = (uint8_t)((field & 7) << 3);
		e.has_modrm = true;
		mem = (row->form & MEM) || (!(row->form & REG) && below(2));
		lock = mem && (row->form & LOCK) && below(3) == 0;
		/*
		 * A bit offset decides how far the operand lies from its address. Hosts
		 * punish locked accesses across cache lines with a pause.
		 */
		if (mem)
			pick_mem(c, &e, row->form & BITREG, lock || !strncmp(row->name, "xchg", 4));
		else {
			unsigned rm = pick_reg(c);

			if (c->in_sequence && (row->form & B8) && !e.force_rex && rm >= 4 && rm < 8)
				rm = X86_RDX; /* AH..BH would be parts of a base */
			e.modrm |= (uint8_t)(0xc0 | (rm & 7));
			e.b = rm >> 3;
		}
		if (c->in_sequence && (row->form & B8)) {
			/* No high-byte registers among bases' parts: BH is RBX's. */
			e.force_rex = true;
		}
		/* The register's destination form (opcode bit 1) has no LOCK. */
		if ((row->form & RM) && row->map == 0 && (row->opcode & 2) && row->opcode < 0x40)
			lock = false;
		if (row->form & LOCK && row->map == 0 &&
		    ((row->opcode >= 0x38 && row->opcode < 0x40) ||
		     (row->opcode >= 0x80 && row->opcode <= 0x83 && row->ext == 7)))
			lock = false; /* CMP */
	} else if (row->form & REGLOW) {
		e.b = reg >> 3;
		opcode = (uint8_t)(opcode | (reg & 7));
	}
	if ((row->form & BITREG) && mem && !pick_bit_offset(c, &e, bits)) {
		emit(c, 0x90);
		c->count++;
		return;
	}
	if (row->form & VEX)
		emit_vex(c, row, &e, vvvv);
	else
		emit_prefixes(c, row, &e, lock, p66);
	emit(c, opcode);
	if (e.has_modrm)
		emit(c, e.modrm);
	if (e.has_sib)
		emit(c, e.sib);
	if (e.disp_bytes == 0xff) {
		unsigned imm_bytes = row->form & IMM8	? 1
				     : row->form & IMMZ ? (bits == 16 ? 2 : 4)
							: 0;

		emit_n(c, (uint64_t)((int64_t)e.disp - (int64_t)(CODE_AT + c->len + 4 + imm_bytes)),
		       4);
	} else {
		emit_n(c, (uint64_t)(int64_t)e.disp, e.disp_bytes);
	}
	if (row->form & IMM8)
		emit(c, (uint8_t)imm);
	if (row->form & IMMZ)
		emit_n(c, imm, bits == 16 ? 2 : 4);
	if (row->form & SHORT)
		emit(c, 0); /* to the next instruction, or patched by the caller */

	if (row->form & SHIFT) {
		bool cl = row->map ? !(row->form & IMM8) : (row->opcode & 0xfe) == 0xd2;

		count = row->form & IMM8 ? imm & 0xff : cl ? c->in.gpr[X86_RCX] & 0xff : 1;
		count &= bits == 64 ? 63 : 31;
		c->undefined |= shift_undefined(row, count, bits);
	}
	if (row->form & COUNTED)
		c->in.gpr[X86_RCX] = below(40);
	if (row->form & STRING) {
		c->in.gpr[X86_RSI] = (uint64_t)(uintptr_t)data + 1024 + below(6000);
		c->in.gpr[X86_RDI] = (uint64_t)(uintptr_t)data + 1024 + below(6000);
	}
	if (!strcmp(row->name, "xlat"))
		c->in.gpr[X86_RBX] = (uint64_t)(uintptr_t)data + below(4096);
	c->undefined |= row->undefined;
	c->count++;
	at = strlen(c->name);
	snprintf(c->name + at, sizeof(c->name) - at, "%s; ", row->name);
}

/* --- native execution ---------------------------------------------------------------------- */

struct native {
	struct regs regs; /* in and out */
	uint64_t host_rsp;
	uint64_t entry;
	uint64_t taken; /* which way out */
} native_ctx __attribute__((used));

void native_run(void);
extern char native_back[], native_back_taken[];

__asm__(".text\n"
	".globl native_run\n"
	"native_run:\n"
	"push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
	"lea native_ctx(%rip), %rdi\n"
	"mov %rsp, 136(%rdi)\n"
	"movq $0, 152(%rdi)\n"
	"push 128(%rdi)\n popfq\n"
	"mov 0(%rdi), %rax\n mov 8(%rdi), %rcx\n mov 16(%rdi), %rdx\n mov 24(%rdi), %rbx\n"
	"mov 32(%rdi), %rsp\n mov 40(%rdi), %rbp\n mov 48(%rdi), %rsi\n"
	"mov 64(%rdi), %r8\n mov 72(%rdi), %r9\n mov 80(%rdi), %r10\n mov 88(%rdi), %r11\n"
	"mov 96(%rdi), %r12\n mov 104(%rdi), %r13\n mov 112(%rdi), %r14\n mov 120(%rdi), %r15\n"
	"mov 56(%rdi), %rdi\n"
	"jmp *native_ctx+144(%rip)\n"
	".globl native_back_taken\n"
	"native_back_taken:\n"
	"movq $1, native_ctx+152(%rip)\n"
	".globl native_back\n"
	"native_back:\n"
	"mov %rdi, native_ctx+56(%rip)\n"
	"lea native_ctx(%rip), %rdi\n"
	"mov %rax, 0(%rdi)\n mov %rcx, 8(%rdi)\n mov %rdx, 16(%rdi)\n mov %rbx, 24(%rdi)\n"
	"mov %rsp, 32(%rdi)\n mov %rbp, 40(%rdi)\n mov %rsi, 48(%rdi)\n"
	"mov %r8, 64(%rdi)\n mov %r9, 72(%rdi)\n mov %r10, 80(%rdi)\n mov %r11, 88(%rdi)\n"
	"mov %r12, 96(%rdi)\n mov %r13, 104(%rdi)\n mov %r14, 112(%rdi)\n mov %r15, 120(%rdi)\n"
	"mov 136(%rdi), %rsp\n"
	"pushfq\n pop 128(%rdi)\n"
	"cld\n"
	"pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n"
	"ret\n");

static volatile sig_atomic_t native_fault;

/* #DE: state is as before the instruction; leave through the ordinary way out. */
static void on_sigfpe(int sig, siginfo_t *info, void *uc_void)
{
	ucontext_t *uc = uc_void;

	(void)sig;
	(void)info;
	native_fault = 1;
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)native_back;
}

/* The way out behind the instructions: jmp *0(%rip) with the address in line. */
static void put_exit(uint8_t *at, const char *to)
{
	uint64_t v = (uint64_t)(uintptr_t)to;

	at[0] = 0xff;
	at[1] = 0x25;
	memset(at + 2, 0, 4);
	memcpy(at + 6, &v, 8);
}

#define EXIT_BYTES 14u

static bool run_native(const struct test_case *c, struct regs *ret, bool *ret_taken)
{
	uint8_t *code = rig->mem + CODE_AT;

	memcpy(code, c->code, c->len);
	put_exit(code + c->len, native_back);
	put_exit(code + c->len + EXIT_BYTES, native_back_taken);
	native_ctx.regs = c->in;
	native_ctx.entry = (uint64_t)(uintptr_t)code;
	native_fault = 0;
	native_run();
	*ret = native_ctx.regs;
	*ret_taken = native_ctx.taken;
	return !native_fault;
}

/* --- comparison ------------------------------------------------------------------------------ */

static void dump(const struct test_case *c, const char *what, const struct regs *native,
		 const struct regs *ours)
{
	fprintf(stderr, "%s: %s\n ", what, c->name);
	for (unsigned i = 0; i < c->len; i++)
		fprintf(stderr, " %02x", c->code[i]);
	fprintf(stderr, "\n  undefined flags %#x\n", c->undefined);
	for (unsigned i = 0; i < 16; i++)
		if (native->gpr[i] != ours->gpr[i])
			fprintf(stderr, "  gpr %u: in %#llx, native %#llx, ours %#llx\n", i,
				(unsigned long long)c->in.gpr[i],
				(unsigned long long)native->gpr[i],
				(unsigned long long)ours->gpr[i]);
	fprintf(stderr, "  flags: in %#llx, native %#llx, ours %#llx\n",
		(unsigned long long)c->in.flags, (unsigned long long)native->flags,
		(unsigned long long)ours->flags);
}

/* Runs the case here; `budget` decides whether as a block or step by step. */
static bool run_ours(const struct test_case *c, struct regs *ret, bool *ret_taken, bool block)
{
	struct x86_state *s = x86_state(rig->cpu);
	uint64_t code = rig->base + CODE_AT, retired = 0, done = 0;
	static const uint8_t ud2[2 * EXIT_BYTES] = {0x0f, 0x0b, [EXIT_BYTES] = 0x0f, 0x0b};

	rig_put(rig, code, c->code, c->len);
	rig_put(rig, code + c->len, ud2, sizeof(ud2));
	memcpy(s->gpr, c->in.gpr, sizeof(s->gpr));
	s->rflags = c->in.flags | 2;
	s->rip = code;
	rig->logged = 0;
	for (unsigned i = 0; i < 64; i++) {
		enum x86_stop stop = x86_run(rig->cpu, block ? 100 : 1, &retired);

		done += retired;
		if (stop == X86_STOP_EXIT)
			break;
	}
	memcpy(ret->gpr, s->gpr, sizeof(s->gpr));
	ret->flags = s->rflags;
	*ret_taken = s->rip == code + c->len + EXIT_BYTES;
	assert_int_equal(rig->log[rig->logged - 1].what, X86_SP_EXCEPTION);
	if (rig->log[rig->logged - 1].fault.vector == 0)
		return false;
	if (rig->log[rig->logged - 1].fault.vector != 6 || s->rip < code + c->len)
		fprintf(stderr, "vector %u at %#llx\n", rig->log[rig->logged - 1].fault.vector,
			(unsigned long long)(s->rip - code));
	assert_int_equal(rig->log[rig->logged - 1].fault.vector, 6);
	assert_true(s->rip >= code + c->len);
	assert_true(done <= c->count);
	return true;
}

static void memory_save(void)
{
	memcpy(saved_data, data, DATA_BYTES);
	memcpy(saved_stack, stack, STACK_BYTES);
}

static void memory_restore(void)
{
	memcpy(data, saved_data, DATA_BYTES);
	memcpy(stack, saved_stack, STACK_BYTES);
}

/* Undefined flags, as a switch for finding out what this processor does. */
static bool strict;

static bool compare(const struct test_case *c, bool block)
{
	struct regs native, ours;
	bool native_taken, ours_taken, native_ok, ours_ok, same;
	uint64_t mask = strict ? FL_ALL : FL_ALL & ~c->undefined;

	memory_save();
	native_ok = run_native(c, &native, &native_taken);
	memcpy(native_data, data, DATA_BYTES);
	memcpy(native_stack, stack, STACK_BYTES);
	memory_restore();
	ours_ok = run_ours(c, &ours, &ours_taken, block);
	same = native_ok == ours_ok && native_taken == ours_taken &&
	       !memcmp(native.gpr, ours.gpr, sizeof(ours.gpr)) &&
	       !memcmp(native_data, data, DATA_BYTES) && !memcmp(native_stack, stack, STACK_BYTES);
	if (native_ok)
		same = same && ((native.flags ^ ours.flags) & (mask | 0x400)) == 0;
	if (!same) {
		dump(c, block ? "as a block" : "step by step", &native, &ours);
		for (unsigned i = 0; i < DATA_BYTES; i++)
			if (native_data[i] != data[i])
				fprintf(stderr, "  data[%#x] native %02x, ours %02x\n", i,
					native_data[i], data[i]);
	}
	memory_restore();
	return same;
}

static void case_start(struct test_case *c, bool in_sequence)
{
	memset(c, 0, sizeof(*c));
	c->in_sequence = in_sequence;
	for (unsigned i = 0; i < 16; i++)
		c->in.gpr[i] = interesting();
	c->in.gpr[X86_RSP] = (uint64_t)(uintptr_t)stack + 2048;
	c->in.flags = (rng() & FL_ALL) | 2 | 0x200;
	if (in_sequence) {
		c->in.gpr[X86_RBX] = (uint64_t)(uintptr_t)data + 512;
		c->in.gpr[X86_RSI] = (uint64_t)(uintptr_t)data + 4096;
		c->in.gpr[X86_RBP] = (uint64_t)(uintptr_t)data + 6000;
	} else if (below(4) == 0) {
		c->in.flags |= 0x400; /* DF */
	}
}

static void patch_short(struct test_case *c, const struct row *row)
{
	if (row->form & SHORT)
		c->code[c->len - 1] = EXIT_BYTES;
}

/* Dividends that do not overflow are rare among random ones. */
static void tame_division(struct test_case *c, const struct row *row)
{
	if (!(row->form & DIVIDE) || below(8) == 0)
		return;
	c->in.gpr[X86_RDX] = below(2) ? 0 : below(3);
	if (below(3) == 0) {
		c->in.gpr[X86_RDX] = UINT64_MAX;
		c->in.gpr[X86_RAX] |= UINT64_C(1) << 63;
	}
}

static unsigned cases(const char *name, unsigned def)
{
	const char *v = getenv(name);

	return v ? (unsigned)strtoul(v, NULL, 0) : def;
}

static void randomise_data(void)
{
	for (unsigned i = 0; i < DATA_BYTES; i += 8) {
		uint64_t v = interesting();

		memcpy(data + i, &v, 8);
	}
	for (unsigned i = 0; i < STACK_BYTES; i += 8) {
		uint64_t v = rng();

		memcpy(stack + i, &v, 8);
	}
}

/* In the test: the test library has a handler of its own around each. */
static void catch_divide_errors(void)
{
	static uint8_t alt[65536];
	struct sigaction sa = {.sa_sigaction = on_sigfpe, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	stack_t ss = {.ss_sp = alt, .ss_size = sizeof(alt)};

	sigaltstack(&ss, NULL);
	sigaction(SIGFPE, &sa, NULL);
}

static void test_single(void **state)
{
	unsigned n = cases("HVD_X86_CASES", 300000), bad = 0;

	(void)state;
	catch_divide_errors();
	for (unsigned i = 0; i < n && bad < 10; i++) {
		const struct row *row = &rows[i % VMX_ARRAY_SIZE(rows)];
		struct test_case c;

		if (i % 4096 == 0)
			randomise_data();
		if (!row_usable(row))
			continue;
		case_start(&c, false);
		tame_division(&c, row);
		make(&c, row);
		patch_short(&c, row);
		bad += !compare(&c, i & 1);
	}
	assert_int_equal(bad, 0);
}

/* Several instructions: blocks, dead flags, fused branches, ways out in the middle. */
static void test_sequences(void **state)
{
	unsigned n = cases("HVD_X86_CASES", 300000) / 3, bad = 0;

	(void)state;
	for (unsigned i = 0; i < n && bad < 10; i++) {
		unsigned want = 2 + below(6), jumps[8], jump_count = 0;
		struct test_case c;

		if (i % 4096 == 0)
			randomise_data();
		case_start(&c, true);
		while (c.count < want) {
			const struct row *row = &rows[below(VMX_ARRAY_SIZE(rows))];

			if (!(row->form & SEQ))
				continue;
			make(&c, row);
			if (row->form & SHORT)
				jumps[jump_count++] = c.len;
		}
		/* Every jump leads to the second way out. */
		for (unsigned k = 0; k < jump_count; k++)
			c.code[jumps[k] - 1] = (uint8_t)(c.len + EXIT_BYTES - jumps[k]);
		c.undefined |= FL_AF;
		bad += !compare(&c, i % 8 != 0);
	}
	assert_int_equal(bad, 0);
}

static int setup(void **state)
{
	unsigned a, b, c, d;

	(void)state;
	rng_state = cases("HVD_X86_SEED", 1);
	strict = getenv("HVD_X86_STRICT") != NULL;
	rig = rig_new(true, true);
	rig->base = (uint64_t)(uintptr_t)rig->mem;
	rig->exit_exceptions = true;
	assert_int_equal(mprotect(rig->mem, RIG_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC), 0);
	data = rig->mem + DATA_AT;
	stack = rig->mem + STACK_AT;
	if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
		have_bmi1 = b >> 3 & 1;
		have_bmi2 = b >> 8 & 1;
		have_adx = b >> 19 & 1;
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_delete(rig);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_single),
		cmocka_unit_test(test_sequences),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
#endif
