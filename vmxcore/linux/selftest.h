/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The module's own proof that core drives this processor's VMX: guests run under EPT
 * and VPID while pages are remapped and protected. Everything is logged, in lines
 * that tests/vtx compares.
 */
#ifndef VMXCORE_LINUX_SELFTEST_H
#define VMXCORE_LINUX_SELFTEST_H

#include "plat/kernel.h"
#include "run.h"

/* dir holds guest.bin, hello32.bin and remap.bin. 0, or what went wrong first. */
int selftest_run(const char *dir);

/* --- inside the self-test: a VM with RAM at 0 and a spare slot ----------------------------- */

#define TEST_RAM_BYTES (UINT64_C(8) << 20)
#define TEST_SPARE_BYTES UINT64_C(0x4000)
#define TEST_LOAD_GPA 0x100000
#define TEST_TEXT_GPA 0x400000 /* both programs have the page here that is remapped */
#define TEST_BUDGET 100000     /* TSC ticks of one turn */

enum { TEST_SLOT_RAM, TEST_SLOT_SPARE, TEST_SLOTS };

struct test_vm {
	const struct test_program *program;
	struct core_vm *vm;
	struct core_vcpu *vcpu;
	struct runner *runner;
	struct plat_mem *mem[TEST_SLOTS];
	struct core_slot slot[TEST_SLOTS];
	char line[128]; /* of console output, up to its end */
	size_t used;
	uint32_t status; /* written to the exit port */
	bool ended;
	uint64_t budgets;    /* turns that ended by the preemption timer */
	uint64_t interrupts; /* ... by runner_interrupt() */
	int stage;	     /* the program's own */
};

/* What a program's host side does; each may be NULL where the program has no use for it. */
struct test_program {
	const char *name;
	const char *file;
	bool long_mode;
	uint32_t status; /* expected */
	int (*start)(struct test_vm *t);
	int (*step)(struct test_vm *t, uint8_t number);
	int (*denied)(struct test_vm *t, const struct core_run_exit *e);
	int (*unmapped)(struct test_vm *t, const struct core_run_exit *e);
	int (*halted)(struct test_vm *t);
	int (*budget)(struct test_vm *t);
	void (*stop)(struct test_vm *t);
};

extern const struct test_program test_program_guest, test_program_hello, test_program_remap,
	test_program_many;

/* Applies one change from where the caller runs, and logs what it did. */
int test_change(struct test_vm *t, const char *what, const struct core_map_op *op);
/* Moves the current thread to a processor. */
int test_run_on(unsigned int cpu);
/* The processors that the test uses; equal if there is but one. */
unsigned int test_first_cpu(void);
unsigned int test_second_cpu(void);

#endif
