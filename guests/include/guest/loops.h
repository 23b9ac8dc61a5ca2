/* SPDX-License-Identifier: MIT */
/*
 * Three loops whose instructions are known one by one, so that their speed means the same
 * in a guest and on the host (bench/native.c):
 *   a  register instructions only
 *   b  six loads and two stores a 64-byte line, line after line
 *   c  a chase of pointers, one random cycle through all lines
 */
#ifndef GUEST_LOOPS_H
#define GUEST_LOOPS_H

#include <stdint.h>

#define LOOP_LINE 64u
#define LOOP_A_INSTRUCTIONS 8u /* a turn */
#define LOOP_B_ACCESSES 8u     /* a line */

/* `turns` times eight instructions. */
static inline uint64_t loop_a(uint64_t turns)
{
	uint64_t x = 1, y = 2, z = 3, v = 4, w = 5;

	__asm__ volatile("1:	addq $3, %1\n"
			 "	xorq %0, %2\n"
			 "	leaq 7(%3,%0), %3\n"
			 "	subq %0, %4\n"
			 "	orq %0, %5\n"
			 "	addq $5, %1\n"
			 "	decq %0\n"
			 "	jnz 1b"
			 : "+r"(turns), "+r"(x), "+r"(y), "+r"(z), "+r"(v), "+r"(w)
			 :
			 : "cc");
	return x ^ y ^ z ^ v ^ w;
}

/* One pass over [first, first + size). */
static inline uint64_t loop_b(uint64_t first, uint64_t size)
{
	uint64_t at = first, end = first + size, sum = 0;

	__asm__ volatile("1:	addq (%0), %1\n"
			 "	addq 8(%0), %1\n"
			 "	addq 16(%0), %1\n"
			 "	addq 24(%0), %1\n"
			 "	addq 32(%0), %1\n"
			 "	addq 40(%0), %1\n"
			 "	movq %1, 48(%0)\n"
			 "	movq %1, 56(%0)\n"
			 "	addq $64, %0\n"
			 "	cmpq %2, %0\n"
			 "	jb 1b"
			 : "+r"(at), "+r"(sum)
			 : "r"(end)
			 : "memory", "cc");
	return sum;
}

/* Sattolo's shuffle: a permutation of the lines that is a single cycle. */
static inline void loop_c_prepare(uint64_t first, uint64_t size)
{
	uint64_t lines = size / LOOP_LINE, seed = 0x9e3779b97f4a7c15ull;

	for (uint64_t i = 0; i < lines; i++)
		*(uint64_t *)(uintptr_t)(first + i * LOOP_LINE) = first + i * LOOP_LINE;
	for (uint64_t i = lines - 1; i > 0; i--) {
		uint64_t *a = (uint64_t *)(uintptr_t)(first + i * LOOP_LINE), *b, t;

		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		b = (uint64_t *)(uintptr_t)(first + seed % i * LOOP_LINE);
		t = *a;
		*a = *b;
		*b = t;
	}
}

/* `steps` pointers further. */
static inline uint64_t loop_c(uint64_t first, uint64_t steps)
{
	__asm__ volatile("1:	movq (%0), %0\n"
			 "	decq %1\n"
			 "	jnz 1b"
			 : "+r"(first), "+r"(steps)
			 :
			 : "memory", "cc");
	return first;
}

#endif
