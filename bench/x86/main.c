// SPDX-License-Identifier: MIT
/*
 * The executor alone: three loops over a flat memory whose translations cost next to
 * nothing, so that what is measured is decoding, dispatch and the fast front.
 *
 *   registers  eight register instructions an iteration; millions of instructions a second
 *   stream     six loads and two stores a 64-byte line over 64 MiB; million accesses a second
 *   chase      a random cycle of pointers, one a 4 KiB page, over 64 MiB; million loads a second
 *   mixed      the stream's loop over memory on the code's own page; million accesses a second
 *
 * An argument picks one of them. One JSON object a line: name, unit, the median of the rounds, and each round.
 */
#include "x86/x86.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#define MEM_BYTES (UINT64_C(80) << 20)
#define CODE_AT UINT64_C(0x1000)
#define DATA_AT (UINT64_C(8) << 20)
#define DATA_BYTES (UINT64_C(64) << 20)
#define ROUNDS 5

struct flat {
	uint8_t *mem;
	uint64_t *stamps;
	struct x86_cpu *cpu;
};

static enum x86_result translate(void *env, uint64_t linear, uint32_t access, struct x86_xlate *ret)
{
	struct flat *f = env;
	uint64_t page = linear >> 12;

	(void)access;
	if (linear >= MEM_BYTES)
		return X86_EXIT;
	ret->host = f->mem + (page << 12);
	ret->hpa = page << 12;
	ret->stamp = &f->stamps[page];
	ret->allow = X86_READ | X86_WRITE | X86_EXEC;
	return X86_OK;
}

static enum x86_result special(void *env, enum x86_special what, struct x86_special_info *info)
{
	(void)env;
	(void)what;
	(void)info;
	return X86_EXIT;
}

static const uint8_t registers_code[] = {
	0x48, 0x01, 0xc8,	/* add rax, rcx */
	0x48, 0x31, 0xc2,	/* xor rdx, rax */
	0x48, 0xc1, 0xe6, 0x03, /* shl rsi, 3 */
	0x4c, 0x8d, 0x04, 0x32, /* lea r8, [rdx+rsi] */
	0x4d, 0x29, 0xc1,	/* sub r9, r8 */
	0x49, 0x21, 0xd2,	/* and r10, rdx */
	0x48, 0xff, 0xc9,	/* dec rcx */
	0x75, 0xe7,		/* jnz */
	0xf4,
};

static const uint8_t stream_code[] = {
	0x48, 0x8b, 0x03,	/* mov rax, [rbx] */
	0x48, 0x03, 0x43, 0x08, /* add rax, [rbx+8] */
	0x48, 0x03, 0x43, 0x10, /* add rax, [rbx+16] */
	0x48, 0x03, 0x43, 0x18, /* add rax, [rbx+24] */
	0x48, 0x03, 0x43, 0x20, /* add rax, [rbx+32] */
	0x48, 0x03, 0x43, 0x28, /* add rax, [rbx+40] */
	0x48, 0x89, 0x43, 0x30, /* mov [rbx+48], rax */
	0x48, 0x89, 0x43, 0x38, /* mov [rbx+56], rax */
	0x48, 0x01, 0xd3,	/* add rbx, rdx */
	0x48, 0xff, 0xc9,	/* dec rcx */
	0x75, 0xd9,		/* jnz */
	0xf4,
};

static const uint8_t chase_code[] = {
	0x48, 0x8b, 0x1b, /* mov rbx, [rbx] */
	0x48, 0xff, 0xc9, /* dec rcx */
	0x75, 0xf8,	  /* jnz */
	0xf4,
};

struct loop {
	const char *name, *unit;
	const uint8_t *code;
	size_t len;
	uint64_t rbx, rdx, count; /* registers on entry; count: iterations */
	unsigned work;		  /* units an iteration */
};

static const struct loop loops[] = {
	{"registers", "instructions", registers_code, sizeof(registers_code), 0, 0, 4000000, 8},
	{"stream", "accesses", stream_code, sizeof(stream_code), DATA_AT, 64, DATA_BYTES / 64, 8},
	{"chase", "loads", chase_code, sizeof(chase_code), DATA_AT, 0, 2000000, 1},
	{"mixed", "accesses", stream_code, sizeof(stream_code), CODE_AT + 2048, 0, 1000000, 8},
};

/* Sattolo's cycle through the first word of each page, at a different line in each. */
static void link_pages(struct flat *f)
{
	uint64_t pages = DATA_BYTES >> 12, state = 1;
	uint32_t *order = malloc(pages * sizeof(*order));

	if (!order)
		abort();
	for (uint64_t i = 0; i < pages; i++)
		order[i] = (uint32_t)i;
	for (uint64_t i = pages - 1; i > 0; i--) {
		uint64_t j;
		uint32_t t = order[i];

		state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
		j = (state >> 33) % i;
		order[i] = order[j];
		order[j] = t;
	}
	for (uint64_t i = 0; i < pages; i++) {
		uint64_t from = DATA_AT + (uint64_t)order[i] * 4096;
		uint64_t to = DATA_AT + (uint64_t)order[(i + 1) % pages] * 4096;

		memcpy(f->mem + from, &to, 8);
	}
	free(order);
}

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double run(struct flat *f, const struct loop *l)
{
	struct x86_state *s = x86_state(f->cpu);
	uint64_t retired;
	double start;

	s->rip = CODE_AT;
	s->gpr[X86_RBX] = l->rbx;
	s->gpr[X86_RDX] = l->rdx;
	s->gpr[X86_RCX] = l->count;
	start = cpu_seconds();
	if (x86_run(f->cpu, UINT64_MAX, &retired) != X86_STOP_EXIT)
		abort();
	return (double)l->count * l->work / (cpu_seconds() - start) / 1e6;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void bench(struct flat *f, struct x86_code *code, const struct loop *l)
{
	double rounds[ROUNDS], sorted[ROUNDS];

	memcpy(f->mem + CODE_AT, l->code, l->len);
	x86_code_invalidate(code, CODE_AT, l->len);
	if (l->code == chase_code)
		link_pages(f);
	for (unsigned i = 0; i < ROUNDS; i++)
		sorted[i] = rounds[i] = run(f, l);
	qsort(sorted, ROUNDS, sizeof(sorted[0]), by_value);
	printf("{\"name\": \"%s\", \"unit\": \"million %s a CPU second\", \"median\": %.1f, "
	       "\"rounds\": [",
	       l->name, l->unit, sorted[ROUNDS / 2]);
	for (unsigned i = 0; i < ROUNDS; i++)
		printf("%s%.1f", i ? ", " : "", rounds[i]);
	printf("]}\n");
}

int main(int argc, char **argv)
{
	static const struct x86_ops ops = {.translate = translate, .special = special};
	struct x86_code *code = x86_code_new(MEM_BYTES >> 12);
	struct flat f = {0};
	struct x86_state *s;

	f.mem = mmap(NULL, MEM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	f.stamps = calloc(MEM_BYTES >> 12, sizeof(*f.stamps));
	f.cpu = x86_cpu_new(&ops, &f, code);
	if (f.mem == MAP_FAILED || !f.stamps || !f.cpu || !code) {
		fprintf(stderr, "x86: out of memory\n");
		return 1;
	}
	memset(f.mem, 0, MEM_BYTES);
	s = x86_state(f.cpu);
	s->cr0 = 0x80010031;
	s->efer = 0xd01;
	s->rflags = 2;
	for (unsigned i = 0; i < X86_LDTR; i++)
		s->seg[i] =
			(struct x86_seg){.limit = 0xffffffff, .ar = i == X86_CS ? 0xa09b : 0xc093};
	x86_mode_changed(f.cpu);
	for (size_t i = 0; i < sizeof(loops) / sizeof(loops[0]); i++)
		if (argc < 2 || !strcmp(argv[1], loops[i].name))
			bench(&f, code, &loops[i]);
	x86_cpu_delete(f.cpu);
	x86_code_delete(code);
	free(f.stamps);
	munmap(f.mem, MEM_BYTES);
	return 0;
}
