/* SPDX-License-Identifier: MIT */
#include "mem_fixture.h"

#include <stdlib.h>

static void on_kick(void *ctx, unsigned cpu)
{
	struct mem_machine *m = ctx;

	m->kicks[cpu]++;
	/* It leaves at once, as far as anybody can tell. */
	inval_leave(&m->core->cpus[cpu]);
}

static void on_written(void *ctx, hpa_t addr, uint64_t size)
{
	struct mem_machine *m = ctx;

	(void)addr;
	m->written_bytes += size;
}

void mem_machine_start(struct mem_machine *m, const struct mem_machine_config *cfg)
{
	struct plat_user_config pc = {
		.arena_bytes = cfg->arena_bytes,
		.cpus = cfg->cpus ? cfg->cpus : 2,
		.maxphyaddr = cfg->maxphyaddr,
		.scatter = cfg->scatter,
		.seed = cfg->seed,
		.kick = on_kick,
		.kick_ctx = m,
		.written = on_written,
		.written_ctx = m,
	};

	memset(m, 0, sizeof(*m));
	assert_int_equal(plat_user_create(&pc, &m->plat), 0);
	m->core = calloc(1, sizeof(*m->core));
	assert_non_null(m->core);
	m->core->plat = m->plat;
	m->core->nr_cpus = pc.cpus;
	m->core->caps = (struct core_caps){
		.ept_vpid = VMX_BIT(22),
		.ept = true,
		.vpid = true,
		.ept_exec_only = true,
		.ept_2m = true,
		.ept_1g = true,
		.ept_ad = true,
		.ept_walk5 = true,
		.invept_single = true,
		.invept_all = true,
		.invvpid_address = true,
		.invvpid_single = true,
		.invvpid_all = true,
		.invvpid_keep_global = true,
	};
	for (unsigned i = 0; i < pc.cpus; i++) {
		m->core->cpus[i].core = m->core;
		m->core->cpus[i].id = i;
		m->core->cpus[i].hw = &m->hw[i];
	}
}

void mem_machine_stop(struct mem_machine *m)
{
	assert_int_equal(plat_user_pages_used(m->plat), 0);
	assert_int_equal(plat_user_destroy(m->plat), 0);
	free(m->core);
}

struct core_slot mem_slot(struct mem_machine *m, uint32_t id, uint64_t size)
{
	struct core_slot slot = {.id = id, .size = size};

	assert_int_equal(plat_mem_create(m->plat, PLAT_MEM_ANON, size, -1, 0, &slot.mem), 0);
	return slot;
}

void mem_slot_drop(struct mem_machine *m, struct core_slot *slot)
{
	assert_int_equal(slot->mapped_bytes, 0);
	plat_mem_destroy(m->plat, slot->mem);
}

struct core_as *mem_as(struct mem_machine *m, uint64_t max_page_bytes, bool accessed_dirty)
{
	struct core_as_config cfg = {
		.max_page_bytes = max_page_bytes,
		.accessed_dirty = accessed_dirty,
		.walk_length = 4,
	};
	struct core_as *as;

	assert_int_equal(core_as_create(m->core, &cfg, &as), 0);
	return as;
}

struct core_change mem_do(struct core_as *as, struct core_map_op op, uint32_t flags)
{
	struct core_change change;
	struct core_conflict conflict;

	assert_int_equal(core_as_apply(as, NULL, &op, 1, flags, &change, &conflict), 0);
	return change;
}

struct core_change mem_map(struct core_as *as, uint64_t a, uint64_t size, struct core_slot *slot,
			   uint64_t offset)
{
	return mem_do(as,
		      (struct core_map_op){
			      .kind = CORE_MAP,
			      .prot = CORE_PROT_RWX,
			      .memtype = CORE_MT_WB,
			      .gpa = gpa(a),
			      .size = size,
			      .slot = slot,
			      .offset = offset,
		      },
		      0);
}

enum hw_result hw_invept(struct hw_cpu *cpu, uint64_t type, const struct hw_invept_desc *desc)
{
	cpu->invept_count++;
	cpu->invept_type = type;
	cpu->invept = *desc;
	return cpu->answer;
}

enum hw_result hw_invvpid(struct hw_cpu *cpu, uint64_t type, const struct hw_invvpid_desc *desc)
{
	cpu->invvpid_count++;
	cpu->invvpid_type = type;
	cpu->invvpid = *desc;
	return cpu->answer;
}
