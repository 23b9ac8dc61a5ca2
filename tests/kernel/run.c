/* SPDX-License-Identifier: MIT */
/* vmxcore/linux/run.h: a guest's turns on the software processors. */
#include "run.h"

#include <linux/slab.h>
#include <linux/smp.h>

#include "kernel/hardware.h"
#include "machine.h"

/*
 * Longest turn, in ticks: then others may have the processor, and what they have written is
 * seen by those that execute it. A kernel's timer does the first of these.
 */
#define TURN_TICKS 20000u

struct runner {
	struct core_vcpu *vcpu;
	bool interrupted;
};

int runner_create(struct core_vcpu *vcpu, struct runner **ret)
{
	struct runner *r = kzalloc(sizeof(*r), GFP_KERNEL_ACCOUNT);

	if (!r)
		return -ENOMEM;
	r->vcpu = vcpu;
	*ret = r;
	return 0;
}

/* --- where it is active ---------------------------------------------------------------- */

static void deactivate_call(void *arg)
{
	struct runner *r = arg;
	int cpu = (int)smp_processor_id();

	/* That processor's own leaving of VMX operation may have come first. */
	if (core_vcpu_active_cpu(r->vcpu) == cpu)
		core_vcpu_deactivate(r->vcpu, &machine_core()->cpus[cpu]);
}

static void runner_deactivate(struct runner *r)
{
	int cpu = core_vcpu_active_cpu(r->vcpu);

	if (cpu >= 0)
		(void)smp_call_function_single(cpu, deactivate_call, r, 1);
}

void runner_destroy(struct runner *r)
{
	if (!r)
		return;
	runner_deactivate(r);
	kfree(r);
}

/* --- running --------------------------------------------------------------------------------- */

void runner_interrupt(struct runner *r)
{
	int cpu;

	plat_store(&r->interrupted, true);
	plat_mb(); /* before looking where it runs: it looks at the flag after it got there */
	cpu = core_vcpu_active_cpu(r->vcpu);
	if (cpu >= 0)
		plat_cpu_kick(machine_plat(), (unsigned int)cpu);
}

static int run_turn(struct runner *r, uint64_t ticks, struct core_run_exit *ret)
{
	struct core_cpu *cpu;
	unsigned int id;
	int active, err = 0;

	for (;;) {
		id = get_cpu();
		active = core_vcpu_active_cpu(r->vcpu);
		if (active < 0 || active == (int)id)
			break;
		put_cpu();
		runner_deactivate(r);
	}
	cpu = &machine_core()->cpus[id];
	if (!cpu->online) {
		err = -ESHUTDOWN;
	} else if (plat_load(&r->interrupted)) {
		err = -EINTR;
	} else {
		machine_before_turn(id);
		core_vcpu_run(r->vcpu, cpu, ticks, ret);
		machine_after_turn(id);
	}
	put_cpu();
	return err;
}

/* A turn that was kicked counts for nothing, as the kernel's does. */
int runner_run(struct runner *r, uint64_t budget_ticks, struct core_run_exit *ret)
{
	uint64_t left = budget_ticks ? budget_ticks : UINT64_MAX;
	int err;

	for (;;) {
		uint64_t ticks = left < TURN_TICKS ? left : TURN_TICKS;

		err = run_turn(r, ticks, ret);
		if (err)
			break;
		if (ret->reason == CORE_RUN_KICKED)
			continue;
		if (ret->reason != CORE_RUN_BUDGET || left == ticks)
			break;
		if (budget_ticks)
			left -= ticks;
	}
	if (err == -EINTR)
		plat_store(&r->interrupted, false);
	return err;
}
