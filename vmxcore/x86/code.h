/* SPDX-License-Identifier: MIT */
/*
 * Decoded blocks by host-physical page. A block lies within one page, may be
 * entered at its start only, and goes when a byte of it is written.
 */
#ifndef VMXCORE_X86_CODE_H
#define VMXCORE_X86_CODE_H

#include "x86/cpu.h"

#define X86_BLOCK_MAX 48u /* instructions in a block */

struct x86_block {
	struct x86_block *next; /* of its page */
	uint16_t start, end;	/* bytes in the page */
	uint16_t n;		/* instructions */
	struct x86_op ops[];	/* n, and the one that ends the block */
};

/* Decoded code of one page in one mode. */
struct x86_page {
	uint64_t hpa;
	uint32_t mode;
	struct x86_page *hash_next;
	struct x86_block *blocks;
	uint64_t cover[64];	/* a bit for each byte that a block was decoded from */
	uint32_t map[X86_PAGE]; /* block that starts there, in units of the arena; 0: none */
};

#define X86_ARENA_UNIT 8u

/* The block at map value `at`. */
X86_INLINE struct x86_block *x86_code_block(const struct x86_cpu *cpu, uint32_t at)
{
	return (struct x86_block *)(void *)(cpu->arena + (size_t)at * X86_ARENA_UNIT);
}

uint64_t x86_code_gen(const struct x86_code *code);
/* Adds or removes a processor that shares the cache. */
void x86_code_attach(struct x86_code *code, struct x86_cpu *cpu);
void x86_code_detach(struct x86_code *code, struct x86_cpu *cpu);
/* true: some block is decoded from this page. code may be NULL. */
bool x86_code_flagged(const struct x86_code *code, uint64_t hpa);
/* An executor wrote these bytes (within a page). code may be NULL. */
void x86_code_written(struct x86_code *code, uint64_t hpa, unsigned size);
/* The page's decoded code, made if needed. Never NULL. */
struct x86_page *x86_code_page(struct x86_code *code, uint64_t hpa, uint32_t mode);
/* Is the operation one of a cached block? */
bool x86_code_owns(const struct x86_code *code, const struct x86_op *op);
/*
 * Decodes a block at page offset `off` and enters it in the map. Returns NULL if
 * its first instruction may cross the page's end. May drop everything decoded
 * before (memory is bounded): *page is then a new one.
 */
struct x86_block *x86_block_build(struct x86_cpu *cpu, struct x86_page **page, const uint8_t *host,
				  unsigned off);

#endif
