// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * VPIDs with generations.
 *
 * Invariant: between two INVVPID all-context on a processor, no VPID there is
 * handed to two vCPUs, and none is handed twice to the same one. So whatever is
 * cached under a VPID was cached by the vCPU that holds it, since it took it.
 */
#include "core/vpid.h"
#include "core/inval.h"

void core_vpid_pool_init(struct core_vpid_pool *pool, uint32_t limit)
{
	if (limit == 0 || limit > CORE_VPID_MAX)
		limit = CORE_VPID_MAX;
	if (pool->generation == 0) {
		pool->generation = 1;
		pool->next = 1;
	}
	/* A pool that was in use is exhausted: the next take begins a generation. */
	if (pool->next != 1)
		pool->next = limit + 1;
	pool->limit = limit;
}

bool core_vpid_valid(const struct core_cpu *cpu, const struct core_vpid *tag)
{
	return tag->vpid != 0 && tag->cpu == cpu->id &&
	       tag->generation == core_vpid_generation(cpu);
}

static void begin_generation(struct core_cpu *cpu, struct core_trace *trace, uint32_t vcpu)
{
	const struct inval_origin origin = {
		.trace = trace, .vcpu = vcpu, .cause = CORE_CAUSE_RECYCLE};

	/* Before any VPID of the new generation is used. Can't fail: core uses VPIDs
	 * only where all-context INVVPID is offered. */
	(void)inval_invvpid(cpu, HW_INVVPID_ALL, 0, gva(0), &origin);
	core_stat_add(&cpu->stats, CORE_STAT_VPID_RECYCLES, 1);
	/* Others may look: in between, the new generation has none left. */
	plat_store(&cpu->vpids.generation, cpu->vpids.generation + 1);
	plat_store_release(&cpu->vpids.next, 1);
}

bool core_vpid_take(struct core_cpu *cpu, struct core_vpid *tag, struct core_trace *trace,
		    uint32_t vcpu)
{
	struct core_vpid_pool *pool = &cpu->vpids;

	if (core_vpid_valid(cpu, tag))
		return false;
	if (pool->next > pool->limit)
		begin_generation(cpu, trace, vcpu);
	tag->generation = pool->generation;
	tag->cpu = cpu->id;
	tag->vpid = (uint16_t)pool->next;
	plat_store(&pool->next, pool->next + 1);
	return true;
}

uint64_t core_vpid_generation(const struct core_cpu *cpu)
{
	return plat_load(&cpu->vpids.generation);
}

uint32_t core_vpid_left(const struct core_cpu *cpu)
{
	const struct core_vpid_pool *pool = &cpu->vpids;

	uint32_t next = plat_load_acquire(&pool->next);

	return next > pool->limit ? 0 : pool->limit - next + 1;
}
