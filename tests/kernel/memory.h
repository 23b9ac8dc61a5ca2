/* SPDX-License-Identifier: MIT */
/* The stand-in kernel's memory, for tests: what it has given out, and when it gives no more. */
#ifndef TESTS_KERNEL_MEMORY_H
#define TESTS_KERNEL_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Blocks of kmalloc() and the like, and core's, that are not freed. */
uint64_t memory_blocks_used(void);
/*
 * The n-th allocation from now on fails (1: the next one), of any thread: blocks, core's
 * tables, locks; 0: none does.
 */
void memory_fail_at(uint64_t n);
/* It has come to that. */
bool memory_has_failed(void);
/* One more allocation: it is to fail. */
bool memory_fails(void);

/*
 * All of the user's addresses that can be copied from and to; none of 0 bytes: all that the
 * process has. For who passes addresses at random: a copy must not hit the test itself.
 */
void memory_set_user(const void *base, size_t bytes);

/* The calling process is the one that calls from now on: at first, and in a child. */
void memory_of_process(void);

#endif
