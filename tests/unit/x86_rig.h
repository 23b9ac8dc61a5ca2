/* SPDX-License-Identifier: MIT */
/*
 * A processor over a small flat memory, for tests of the executor: linear address
 * = offset in the memory (+ base), page permissions in a table, every callback
 * recorded.
 */
#ifndef TEST_X86_RIG_H
#define TEST_X86_RIG_H

#include "x86/x86.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define RIG_PAGES 256u
#define RIG_BYTES (RIG_PAGES * 4096u)

/* Page permissions. */
#define RIG_R 1u
#define RIG_W 2u
#define RIG_X 4u
#define RIG_U 8u
#define RIG_DEVICE 16u
#define RIG_NO_KEEP 32u /* translations are not to be kept */
#define RIG_EXIT 64u	/* translate() answers EXIT */

struct x86_rig {
	uint8_t *mem;
	uint64_t base; /* linear address of mem[0] */
	uint32_t perm[RIG_PAGES];
	uint32_t frame[RIG_PAGES];    /* page of mem that a linear page shows */
	uint64_t stamp[2][RIG_PAGES]; /* data, fetch */
	struct x86_cpu *cpu;
	struct x86_code *code;

	/* What callbacks saw. */
	unsigned translates[2]; /* data, fetch */
	unsigned device_reads, device_writes;
	uint64_t device_value, device_last;
	bool device_exit;
	unsigned unimplemented;
	char mnemonic[32];
	struct {
		enum x86_special what;
		struct x86_special_info info;
		struct x86_fault fault;
		uint32_t vectoring;
	} log[64];
	unsigned logged;
	/* What they answer. */
	bool exit_on[X86_SP_COUNT];
	bool exit_exceptions;
	bool attention;
	unsigned attention_asked;
	void (*on_special)(struct x86_rig *r, enum x86_special what, struct x86_special_info *info);
	void (*on_translate)(struct x86_rig *r, uint64_t linear, uint32_t access);
	uint64_t tsc;
};

/* The callbacks; env is the rig. */
extern const struct x86_ops rig_ops;

/* Flags say which mode: 64-bit or 32-bit flat, CPL 0, interrupts off. */
struct x86_rig *rig_new(bool mode64, bool cached);
void rig_delete(struct x86_rig *r);
/* The state of a flat processor, as after rig_new(). */
void rig_reset(struct x86_rig *r, bool mode64);
/* Puts bytes at a linear address and tells the code cache. */
void rig_put(struct x86_rig *r, uint64_t linear, const void *bytes, size_t len);
uint64_t rig_get(struct x86_rig *r, uint64_t linear, unsigned size);
void rig_set(struct x86_rig *r, uint64_t linear, unsigned size, uint64_t v);
/* Runs at most max instructions; asserts how it stopped. Returns how many retired. */
uint64_t rig_run(struct x86_rig *r, uint64_t max, enum x86_stop stop);
/* Drops a page's kept translations, as a TLB that replaces the entry. */
void rig_drop(struct x86_rig *r, uint64_t linear);

#define CODE(r, at, ...)                                           \
	do {                                                       \
		static const uint8_t code_bytes[] = {__VA_ARGS__}; \
		rig_put(r, at, code_bytes, sizeof(code_bytes));    \
	} while (0)

#endif
