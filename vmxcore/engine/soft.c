/* SPDX-License-Identifier: MIT */
/* The soft backend: making its machine, and its table. */
#include "engine/soft.h"

#include <stdio.h>
#include <stdlib.h>

/* Room beyond the slots: EPT tables, VMCSs, and what alignment to 1 GiB wastes. */
#define ARENA_SLACK (UINT64_C(8) << 30)
#define PROBE_MEMORY (UINT64_C(16) << 20)

static const struct model_tlb_geometry *const geometries[] = {&model_tlb_skylake, &model_tlb_none};

/* --- its parts' calls --------------------------------------------------------------------- */

static void kick(void *ctx, unsigned cpu)
{
	struct soft *f = ctx;

	if (f->model)
		model_cpu_kick(f->model, cpu);
}

static void written(void *ctx, hpa_t addr, uint64_t size)
{
	struct soft *f = ctx;

	if (f->model)
		model_memory_written(f->model, addr, size);
}

static void misuse(void *ctx, enum model_misuse what, unsigned cpu, hpa_t vmcs)
{
	struct soft *f = ctx;

	(void)what;
	(void)vmcs;
	f->processor[cpu].vmcs_misuses++;
}

/* --- its configuration -------------------------------------------------------------------- */

/* "" is the first. NULL: no such geometry. */
static const struct model_tlb_geometry *find_geometry(const char name[24])
{
	size_t i;

	if (!name[0])
		return geometries[0];
	for (i = 0; i < VMX_ARRAY_SIZE(geometries); i++)
		if (strncmp(geometries[i]->name, name, sizeof(geometries[i]->name)) == 0)
			return geometries[i];
	return NULL;
}

static int soft_config(struct engine_config *cfg)
{
	if (cfg->processors == 0)
		cfg->processors = SOFT_PROCESSORS_DEFAULT;
	if (cfg->memory_bytes == 0)
		cfg->memory_bytes = SOFT_MEMORY_DEFAULT;
	if (cfg->quantum == 0)
		cfg->quantum = SOFT_QUANTUM_DEFAULT;
	if (cfg->vpid_limit == 0)
		cfg->vpid_limit = CORE_VPID_MAX;
	if (cfg->processors > CORE_MAX_CPUS || cfg->memory_bytes > SOFT_MEMORY_MAX ||
	    cfg->quantum > SOFT_QUANTUM_MAX || cfg->vpid_limit > CORE_VPID_MAX ||
	    !find_geometry(cfg->tlb))
		return -EINVAL;
	return 0;
}

/* --- making the machine ------------------------------------------------------------------- */

static int processors_online(struct soft *f)
{
	struct vmm *s = f->vmm;
	uint32_t i;
	int err;

	for (i = 0; i < s->cfg.processors; i++) {
		struct soft_processor *p = &f->processor[i];

		p->hw = model_cpu(f->model, i);
		err = core_cpu_online(f->core, i, p->hw);
		if (err)
			return err;
		p->core = &f->core->cpus[i];
		core_vpid_pool_init(&p->core->vpids, s->cfg.vpid_limit);
		s->processor[i].generation_told = p->core->vpids.generation;
	}
	s->processors = s->cfg.processors;
	return 0;
}

/* Undoes machine_init() as far as it came. Returns what was not given back. */
static size_t machine_fini(struct soft *f)
{
	uint32_t i;

	emulator_delete(f->emulator);
	if (f->core) {
		for (i = f->vmm->cfg.processors; i-- > 0;)
			if (f->core->cpus[i].online)
				core_cpu_offline(f->core, i);
		core_destroy(f->core);
	}
	if (f->model)
		model_destroy(f->model);
	f->model = NULL;
	return f->plat ? plat_user_destroy(f->plat) : 0;
}

static int machine_init(struct soft *f)
{
	const struct engine_config *cfg = &f->vmm->cfg;
	uint64_t arena = cfg->memory_bytes + cfg->memory_bytes / 8 + ARENA_SLACK;
	struct plat_user_config pc = {
		.arena_bytes = (arena + VMX_PAGE_SIZE - 1) & VMX_PAGE_MASK,
		.cpus = cfg->processors,
		.scatter = cfg->scatter,
		.seed = cfg->seed,
		.kick = kick,
		.kick_ctx = f,
		.written = written,
		.written_ctx = f,
	};
	struct model_config mc = {
		.cpus = cfg->processors,
		.tlb = find_geometry(cfg->tlb),
		.misuse = misuse,
		.ctx = f,
	};
	int err = plat_user_create(&pc, &f->plat);

	if (err)
		return err;
	mc.plat = f->plat;
	err = model_create(&mc, &f->model);
	if (!err)
		err = core_create(f->plat, cfg->processors, &f->core);
	if (!err)
		err = processors_online(f);
	if (!err) {
		f->emulator = emulator_new(&backend_soft);
		err = f->emulator ? 0 : -ENOMEM;
	}
	return err;
}

static int soft_open(struct vmm *s)
{
	struct soft *f = calloc(1, sizeof(*f));
	int err;

	if (!f)
		return -ENOMEM;
	f->vmm = s;
	err = machine_init(f);
	if (err) {
		machine_fini(f);
		free(f);
		return err;
	}
	s->back = f;
	return 0;
}

static size_t soft_close(struct vmm *s)
{
	struct soft *f = soft_of(s);
	size_t leaked = machine_fini(f);

	s->back = NULL;
	free(f);
	return leaked;
}

static void soft_describe(const struct vmm *s, struct engine_info *ret)
{
	const struct soft *f = soft_of(s);
	const struct core_caps *c = &f->core->caps;

	*ret = (struct engine_info){
		.name = "soft",
		.available = 1,
		.capabilities = ENGINE_CAP_EPT_4K | ENGINE_CAP_TLB_STATS | ENGINE_CAP_TLB_ENTRIES |
				ENGINE_CAP_DETERMINISTIC,
		.reason = "a software VT-x processor: needs nothing of the host's",
		.processors = s->cfg.processors,
		.max_vcpus_per_vm = ENGINE_MAX_VCPUS,
		.max_vms = VMM_MAX_VMS,
		.max_memory_bytes = s->cfg.memory_bytes,
	};
	ret->capabilities |= c->ept_2m ? ENGINE_CAP_EPT_2M : 0;
	ret->capabilities |= c->ept_1g ? ENGINE_CAP_EPT_1G : 0;
	ret->capabilities |= c->ept_exec_only ? ENGINE_CAP_EPT_EXEC_ONLY : 0;
	ret->capabilities |= c->ept_ad ? ENGINE_CAP_EPT_AD : 0;
	ret->capabilities |= c->vpid ? ENGINE_CAP_VPID : 0;
	ret->capabilities |= s->cfg.unsafe_hooks ? ENGINE_CAP_UNSAFE_HOOKS : 0;
	memcpy(ret->tlb_geometry, model_geometry(f->model)->name, sizeof(ret->tlb_geometry));
	ret->tlb_geometry[sizeof(ret->tlb_geometry) - 1] = '\0';
}

/* --- the tables --------------------------------------------------------------------------- */

const struct backend backend_soft = {
	.name = "soft",
	.config = soft_config,
	.open = soft_open,
	.close = soft_close,
	.describe = soft_describe,
	.invalidations = soft_invalidations,
	.run_some = soft_run_some,
	.vm_open = soft_vm_open,
	.vm_close = soft_vm_close,
	.vm_shrink = soft_vm_shrink,
	.eptp = soft_eptp,
	.table_bytes = soft_table_bytes,
	.as_stats = soft_as_stats,
	.vcpu_open = soft_vcpu_open,
	.vcpu_close = soft_vcpu_close,
	.vcpu_renew = soft_vcpu_renew,
	.vcpu_run = soft_vcpu_run,
	.get_regs = soft_get_regs,
	.set_regs = soft_set_regs,
	.inject = soft_inject,
	.complete_io = soft_complete_io,
	.complete_emulation = soft_complete_emulation,
	.walk = soft_walk,
	.vmcs_read = soft_vmcs_read,
	.tag = soft_tag,
	.vcpu_stats = soft_vcpu_stats,
	.retired = soft_retired,
	.processor = soft_processor_of,
	.entry_refused = soft_entry_refused,
	.apply = soft_apply,
	.change_begin = soft_change_begin,
	.change_step = core_as_change_step,
	.change_cancel = core_as_change_cancel,
	.change_progress = core_as_change_progress,
	.lookup = soft_lookup,
	.ranges = soft_ranges,
	.count_leaves = soft_count_leaves,
	.dirty = soft_dirty,
	.read = soft_read,
	.write = soft_write,
	.cmpxchg = soft_cmpxchg,
	.code = soft_code,
	.slot_open = soft_slot_open,
	.slot_close = soft_slot_close,
	.slot_read = soft_slot_read,
	.slot_write = soft_slot_write,
	.slot_fill = soft_slot_fill,
	.slot_zero = soft_slot_zero,
	.slot_written = soft_slot_written,
	.walk_caches = soft_walk_caches,
	.vpid_held = soft_vpid_held,
	.tlb_stats = soft_tlb_stats,
	.tlb_entries = soft_tlb_entries,
	.invalidate = soft_invalidate,
	.trace_set = soft_trace_set,
	.trace_read = soft_trace_read,
	.trace_waiting = soft_trace_waiting,
	.more_vcpu_stats = soft_more_vcpu_stats,
	.processor_stats = soft_processor_stats,
};

/* Makes a small machine and asks it. */
static void soft_probe(struct engine_info *ret)
{
	struct vmm *s = calloc(1, sizeof(*s));
	int err = -ENOMEM;

	if (s) {
		s->cfg = (struct engine_config){.processors = 1, .memory_bytes = PROBE_MEMORY};
		err = soft_config(&s->cfg);
		if (!err)
			err = soft_open(s);
	}
	if (err) {
		snprintf(ret->reason, sizeof(ret->reason), "the machine can't be made: %s",
			 strerrordesc_np(-err));
		snprintf(ret->advice, sizeof(ret->advice),
			 "it reserves address space: look at ulimit -v");
	} else {
		soft_describe(s, ret);
		ret->processors = 0;
		ret->max_memory_bytes = SOFT_MEMORY_MAX;
		soft_close(s);
	}
	free(s);
}

static int soft_engine_open(const struct engine_config *cfg, struct engine **ret)
{
	return vmm_open(&backend_soft, cfg, ret);
}

const struct engine_kind engine_soft = {
	.name = "soft",
	.probe = soft_probe,
	.open = soft_engine_open,
};
