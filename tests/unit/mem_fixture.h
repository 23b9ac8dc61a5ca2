/* SPDX-License-Identifier: MIT */
/*
 * What the tests of core's memory half share: a user-space machine, a struct core made by
 * hand, and a fake of the two instructions that this half issues.
 */
#ifndef TESTS_UNIT_MEM_FIXTURE_H
#define TESTS_UNIT_MEM_FIXTURE_H

#include "core/as_internal.h"
#include "plat/user.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MiB(n) ((uint64_t)(n) << 20)
#define GiB(n) ((uint64_t)(n) << 30)

/* The fake processor: remembers what it was told. */
struct hw_cpu {
	unsigned invept_count, invvpid_count;
	uint64_t invept_type, invvpid_type;
	struct hw_invept_desc invept;
	struct hw_invvpid_desc invvpid;
	enum hw_result answer;
};

struct mem_machine {
	struct plat *plat;
	struct core *core;
	struct hw_cpu hw[CORE_MAX_CPUS];
	unsigned kicks[CORE_MAX_CPUS];
	uint64_t written_bytes; /* as plat_mem_written() was told */
	size_t pages_before;
};

struct mem_machine_config {
	unsigned cpus; /* 0: 2 */
	unsigned maxphyaddr;
	bool scatter;
	uint64_t seed;
	uint64_t arena_bytes;
};

/* Every capability is on; tests turn off what they want off. */
void mem_machine_start(struct mem_machine *m, const struct mem_machine_config *cfg);
/* Asserts that nothing was left behind. */
void mem_machine_stop(struct mem_machine *m);

struct core_slot mem_slot(struct mem_machine *m, uint32_t id, uint64_t size);
void mem_slot_drop(struct mem_machine *m, struct core_slot *slot);

struct core_as *mem_as(struct mem_machine *m, uint64_t max_page_bytes, bool accessed_dirty);

/* One operation, R/W/X write-back where it maps; asserts the result. */
struct core_change mem_map(struct core_as *as, uint64_t a, uint64_t size, struct core_slot *slot,
			   uint64_t offset);
struct core_change mem_do(struct core_as *as, struct core_map_op op, uint32_t flags);

static inline uint64_t test_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

#endif
