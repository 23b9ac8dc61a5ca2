// SPDX-License-Identifier: MIT
/* See vcpu_rig.h. */
#include "vcpu_rig.h"
#include <stdlib.h>

static void play(struct hw_cpu *cpu, struct hw_gpregs *regs)
{
	struct rig *r = cpu->machine->ctx;

	if (r->next < r->steps)
		r->script[r->next++](cpu, regs);
}

static void clear_msr(struct rig *r, uint32_t msr, uint64_t bits)
{
	for (unsigned i = 0; i < RIG_CPUS; i++)
		fake_set_msr(fake_cpu(r->m, i), msr, fake_get_msr(fake_cpu(r->m, i), msr) & ~bits);
}

static void apply_options(struct rig *r, const struct rig_options *o)
{
	if (o->no_unrestricted)
		fake_forbid(r->m, IA32_VMX_PROCBASED_CTLS2, PROC2_UNRESTRICTED);
	if (o->no_timer)
		fake_forbid(r->m, IA32_VMX_TRUE_PINBASED_CTLS, PIN_PREEMPTION_TIMER);
	if (o->no_timer_save)
		fake_forbid(r->m, IA32_VMX_TRUE_EXIT_CTLS, VMEXIT_SAVE_PREEMPTION_TIMER);
	if (o->no_true_controls)
		clear_msr(r, IA32_VMX_BASIC, VMX_BASIC_TRUE_CTLS);
	if (o->no_invvpid_single)
		clear_msr(r, IA32_VMX_EPT_VPID_CAP, EPT_VPID_CAP_INVVPID_SINGLE);
}

static int map_memory(struct rig *r)
{
	struct core_map_op op = {
		.kind = CORE_MAP,
		.prot = CORE_PROT_RWX,
		.memtype = CORE_MT_WB,
		.size = RIG_MEMORY,
		.slot = &r->slot,
	};
	struct core_conflict conflict;
	struct core_change change;

	if (plat_mem_create(r->m->plat, PLAT_MEM_ANON, RIG_MEMORY, -1, 0, &r->mem) < 0)
		return -1;
	r->slot = (struct core_slot){.id = 1, .mem = r->mem, .size = RIG_MEMORY};
	return core_as_apply(core_vm_as(r->vm), NULL, &op, 1, 0, &change, &conflict);
}

int rig_create(struct rig *r, const struct rig_options *options)
{
	struct core_vm_config cfg = {.use_vpid = !options->no_vpid};
	struct core_regs regs;

	*r = (struct rig){0};
	if (fake_create(RIG_CPUS, &r->m) < 0)
		return -1;
	apply_options(r, options);
	r->m->guest = play;
	r->m->ctx = r;
	if (core_create(r->m->plat, RIG_CPUS, &r->core) < 0)
		return -1;
	for (unsigned i = 0; i < RIG_CPUS; i++) {
		if (core_cpu_online(r->core, i, fake_cpu(r->m, i)) < 0)
			return -1;
	}
	if (core_vm_create(r->core, &cfg, &r->vm) < 0 || map_memory(r) < 0)
		return -1;
	if (options->cpuid != NULL &&
	    core_vm_set_cpuid(r->vm, options->cpuid, options->nr_cpuid) < 0)
		return -1;
	if (core_vcpu_create(r->vm, 3, &r->v) < 0)
		return -1;
	core_regs_long_mode(&regs, 0x1000, 0x2000, 0x8000);
	return core_vcpu_set_regs(r->v, &regs, NULL);
}

int rig_destroy(struct rig *r)
{
	bool clean = r->m->stale_uses == 0 && r->m->active_on_two == 0 && r->m->entry_errors == 0;

	for (unsigned i = 0; i < RIG_CPUS; i++)
		core_cpu_offline(r->core, i);
	core_vcpu_destroy(r->v);
	core_vm_destroy(r->vm);
	plat_mem_destroy(r->m->plat, r->mem);
	core_destroy(r->core);
	return fake_destroy(r->m) == 0 && clean ? 0 : -1;
}

enum core_run_reason rig_run(struct rig *r, unsigned cpu, const fake_guest_fn *script, size_t steps)
{
	int active = core_vcpu_active_cpu(r->v);

	if (active >= 0 && active != (int)cpu)
		core_vcpu_deactivate(r->v, &r->core->cpus[active]);
	r->script = script;
	r->steps = steps;
	r->next = 0;
	core_vcpu_run(r->v, &r->core->cpus[cpu], 0, &r->exit);
	return r->exit.reason;
}

struct core_regs rig_regs(struct rig *r)
{
	struct core_regs regs;

	core_vcpu_get_regs(r->v, &regs);
	return regs;
}

void rig_set(struct rig *r, const struct core_regs *regs)
{
	if (core_vcpu_set_regs(r->v, regs, NULL) < 0)
		abort();
}
