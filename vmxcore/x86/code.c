// SPDX-License-Identifier: MIT
/*
 * The code cache: blocks in one arena, page tables of blocks in one pool, both
 * bounded; when either is used up everything goes and decoding starts afresh.
 * That happens between blocks only, so no handler ever runs in freed memory.
 */
#include "x86/code.h"
#include "x86/decode.h"
#include "x86/front.h"
#include <stdlib.h>

#define ARENA_BYTES ((size_t)48 << 20)
#define PAGES_MAX 2048u
#define HASH_SIZE 4096u

struct x86_code {
	uint8_t *arena;
	size_t used; /* bytes; starts at one unit, so that 0 means none */
	struct x86_page *pages;
	unsigned pages_used, pages_max;
	struct x86_page *hash[HASH_SIZE];
	uint64_t gen;
	struct x86_cpu *cpus;
};

struct x86_code *x86_code_new(uint64_t pages)
{
	struct x86_code *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	/* A page may be decoded in more than one mode. */
	c->pages_max = pages * 2 < PAGES_MAX ? (unsigned)(pages * 2) + 2 : PAGES_MAX;
	c->pages = calloc(c->pages_max, sizeof(*c->pages));
	c->arena = calloc(1, ARENA_BYTES);
	c->used = X86_ARENA_UNIT;
	c->gen = 1;
	if (c->pages && c->arena)
		return c;
	x86_code_delete(c);
	return NULL;
}

void x86_code_delete(struct x86_code *code)
{
	if (!code)
		return;
	free(code->arena);
	free(code->pages);
	free(code);
}

void x86_code_attach(struct x86_code *code, struct x86_cpu *cpu)
{
	cpu->arena = code->arena;
	cpu->code_next = code->cpus;
	code->cpus = cpu;
}

void x86_code_detach(struct x86_code *code, struct x86_cpu *cpu)
{
	struct x86_cpu **p = &code->cpus;

	while (*p && *p != cpu)
		p = &(*p)->code_next;
	if (*p)
		*p = cpu->code_next;
}

uint64_t x86_code_gen(const struct x86_code *code)
{
	return code->gen;
}

bool x86_code_owns(const struct x86_code *code, const struct x86_op *op)
{
	uintptr_t at = (uintptr_t)op, start;

	if (!code)
		return false;
	start = (uintptr_t)code->arena;
	return at >= start && at < start + ARENA_BYTES;
}

static unsigned hash_of(uint64_t hpa)
{
	return (unsigned)(((hpa >> 12) * UINT64_C(0x9e3779b97f4a7c15)) >> 52) & (HASH_SIZE - 1);
}

static struct x86_page *page_first(const struct x86_code *code, uint64_t hpa)
{
	struct x86_page *p = code->hash[hash_of(hpa)];

	while (p && p->hpa != hpa)
		p = p->hash_next;
	return p;
}

/* The same page in another mode, if it is there. */
static struct x86_page *page_other(struct x86_page *p)
{
	uint64_t hpa = p->hpa;

	do {
		p = p->hash_next;
	} while (p && p->hpa != hpa);
	return p;
}

bool x86_code_flagged(const struct x86_code *code, uint64_t hpa)
{
	struct x86_page *p = code ? page_first(code, hpa & VMX_PAGE_MASK) : NULL;

	for (; p; p = page_other(p))
		if (p->blocks)
			return true;
	return false;
}

/* Everything decoded goes. Never while a block runs. */
static void code_reset(struct x86_code *code)
{
	memset(code->hash, 0, sizeof(code->hash));
	code->pages_used = 0;
	code->used = X86_ARENA_UNIT;
	code->gen++;
	for (struct x86_cpu *c = code->cpus; c; c = c->code_next)
		x86_page_none(c);
}

struct x86_page *x86_code_page(struct x86_code *code, uint64_t hpa, uint32_t mode)
{
	struct x86_page *p = page_first(code, hpa);
	struct x86_page **head;

	while (p && p->mode != mode)
		p = page_other(p);
	if (p)
		return p;
	if (code->pages_used == code->pages_max)
		code_reset(code);
	p = &code->pages[code->pages_used++];
	memset(p, 0, sizeof(*p));
	p->hpa = hpa;
	p->mode = mode;
	head = &code->hash[hash_of(hpa)];
	p->hash_next = *head;
	*head = p;
	return p;
}

static void cover_add(struct x86_page *p, unsigned start, unsigned end)
{
	for (unsigned i = start; i < end; i++)
		p->cover[i / 64] |= UINT64_C(1) << (i % 64);
}

static bool cover_hit(const struct x86_page *p, unsigned start, unsigned end)
{
	unsigned first = start / 64, last = (end - 1) / 64;

	for (unsigned w = first; w <= last; w++) {
		uint64_t mask = ~UINT64_C(0);

		if (w == first)
			mask &= ~UINT64_C(0) << (start % 64);
		if (w == last)
			mask &= ~UINT64_C(0) >> (63 - (end - 1) % 64);
		if (p->cover[w] & mask)
			return true;
	}
	return false;
}

/* Processors that run this block leave it after the instruction they are in. */
static void block_stop(struct x86_code *code, const struct x86_block *b)
{
	for (struct x86_cpu *c = code->cpus; c; c = c->code_next)
		if (c->op >= b->ops && c->op < b->ops + b->n)
			x86_leave_block(c);
}

static void page_cut(struct x86_code *code, struct x86_page *p, unsigned start, unsigned end)
{
	struct x86_block **at = &p->blocks;

	if (!cover_hit(p, start, end))
		return;
	while (*at) {
		struct x86_block *b = *at;

		if (b->start < end && b->end > start) {
			p->map[b->start] = 0;
			*at = b->next;
			block_stop(code, b);
		} else {
			at = &b->next;
		}
	}
	memset(p->cover, 0, sizeof(p->cover));
	for (struct x86_block *b = p->blocks; b; b = b->next)
		cover_add(p, b->start, b->end);
}

void x86_code_written(struct x86_code *code, uint64_t hpa, unsigned size)
{
	unsigned start = (unsigned)(hpa & (X86_PAGE - 1));
	struct x86_page *p = code ? page_first(code, hpa & VMX_PAGE_MASK) : NULL;

	for (; p; p = page_other(p))
		if (p->blocks)
			page_cut(code, p, start, start + size);
}

void x86_code_invalidate(struct x86_code *code, uint64_t hpa, uint64_t size)
{
	uint64_t last = hpa + size - 1;

	if (!code || !size)
		return;
	if (size <= X86_PAGE) {
		unsigned room = X86_PAGE - (unsigned)(hpa & (X86_PAGE - 1));
		unsigned n = size < room ? (unsigned)size : room;

		x86_code_written(code, hpa, n);
		if (size > n)
			x86_code_written(code, hpa + n, (unsigned)size - n);
		return;
	}
	if (last < hpa)
		last = UINT64_MAX;
	for (unsigned i = 0; i < code->pages_used; i++) {
		struct x86_page *p = &code->pages[i];
		uint64_t end = p->hpa + (X86_PAGE - 1);

		if (!p->blocks || p->hpa > last || end < hpa)
			continue;
		page_cut(code, p, hpa > p->hpa ? (unsigned)(hpa - p->hpa) : 0,
			 last < end ? (unsigned)(last - p->hpa) + 1 : X86_PAGE);
	}
}

static int64_t block_end(struct x86_cpu *cpu, const struct x86_op *op)
{
	cpu->st.rip = x86_op_rip(cpu, op);
	return op->idx;
}

void x86_op_end(struct x86_op *op, unsigned off, unsigned idx)
{
	memset(op, 0, sizeof(*op));
	op->fn = block_end;
	op->off = (uint16_t)off;
	op->idx = (uint8_t)idx;
}

/*
 * Flags that the next writer overwrites before anything can see them need not be
 * computed. A fault, an exit and the block's end see them.
 */
static void block_drop_flags(struct x86_block *b, const struct x86_live *live)
{
	bool seen = true;

	for (unsigned i = b->n; i-- > 0;) {
		if (live[i].sets_flags) {
			if (!seen && live[i].no_flags)
				b->ops[i].fn = live[i].no_flags;
			seen = false;
		} else if (!live[i].transparent) {
			seen = true;
		}
	}
}

/* Decodes at most X86_BLOCK_MAX instructions into b. */
static void block_decode(struct x86_cpu *cpu, struct x86_block *b, const uint8_t *host,
			 unsigned off)
{
	struct x86_insn insns[2], *in = &insns[0], *before = NULL;
	struct x86_live live[X86_BLOCK_MAX];
	uint8_t bytes[16];

	b->start = (uint16_t)off;
	while (b->n < X86_BLOCK_MAX && off < X86_PAGE) {
		unsigned avail = X86_PAGE - off < X86_MAX_INSN ? X86_PAGE - off : X86_MAX_INSN;
		struct x86_op *op = &b->ops[b->n];

		for (unsigned i = 0; i < avail; i++)
			bytes[i] = __atomic_load_n(host + off + i, __ATOMIC_RELAXED);
		if (!x86_decode(cpu->decoder, cpu->mode, bytes, avail, off, op, in))
			break; /* goes on in the next page */
		live[b->n] = (struct x86_live){in->no_flags, in->sets_flags, in->transparent};
		op->idx = (uint8_t)b->n++;
		off += op->len;
		if (before)
			x86_decode_pair(&op[-1], before, op, in);
		if (in->end)
			break;
		before = in;
		in = in == &insns[0] ? &insns[1] : &insns[0];
	}
	block_drop_flags(b, live);
	b->end = (uint16_t)off;
	x86_op_end(&b->ops[b->n], off, b->n);
}

struct x86_block *x86_block_build(struct x86_cpu *cpu, struct x86_page **page, const uint8_t *host,
				  unsigned off)
{
	struct x86_code *code = cpu->code;
	size_t most = sizeof(struct x86_block) + (X86_BLOCK_MAX + 1) * sizeof(struct x86_op);
	struct x86_page *p = *page;
	struct x86_block *b;

	if (code->used + most > ARENA_BYTES) {
		uint64_t hpa = p->hpa;
		uint32_t mode = p->mode;

		code_reset(code);
		*page = p = x86_code_page(code, hpa, mode);
	}
	b = (struct x86_block *)(void *)(code->arena + code->used);
	memset(b, 0, sizeof(*b));
	block_decode(cpu, b, host, off);
	if (!b->n)
		return NULL;
	if (!x86_code_flagged(code, p->hpa))
		for (struct x86_cpu *c = code->cpus; c; c = c->code_next)
			x86_front_protect(c, p->hpa);
	p->map[off] = (uint32_t)(code->used / X86_ARENA_UNIT);
	b->next = p->blocks;
	p->blocks = b;
	cover_add(p, b->start, b->end);
	code->used += sizeof(*b) + (b->n + 1u) * sizeof(struct x86_op);
	return b;
}
