// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* See run.h. */
#include <linux/irqflags.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/smp.h>

#include <asm/fpu/api.h>

#include "hw/vtx/vtx.h"
#include "machine.h"
#include "run.h"

struct runner {
	struct core_vcpu *vcpu;
	struct fpu_guest fpu;
	bool interrupted;
};

int runner_create(struct core_vcpu *vcpu, struct runner **ret)
{
	struct runner *r = kzalloc(sizeof(*r), GFP_KERNEL_ACCOUNT);

	if (!r)
		return -ENOMEM;
	r->vcpu = vcpu;
	if (!fpu_alloc_guest_fpstate(&r->fpu)) {
		kfree(r);
		return -ENOMEM;
	}
	*ret = r;
	return 0;
}

/* --- where it is active ---------------------------------------------------------------- */

static void deactivate_call(void *arg)
{
	struct runner *r = arg;
	int cpu = smp_processor_id();

	/* That processor's own leaving of VMX operation may have come first. */
	if (core_vcpu_active_cpu(r->vcpu) == cpu)
		core_vcpu_deactivate(r->vcpu, &machine_core()->cpus[cpu]);
}

/* A processor that is offline has deactivated all on its way. */
static void runner_deactivate(struct runner *r)
{
	int cpu = core_vcpu_active_cpu(r->vcpu);

	if (cpu >= 0)
		smp_call_function_single(cpu, deactivate_call, r, 1);
}

void runner_destroy(struct runner *r)
{
	if (!r)
		return;
	runner_deactivate(r);
	fpu_free_guest_fpstate(&r->fpu);
	kfree(r);
}

/* --- running --------------------------------------------------------------------------------- */

void runner_interrupt(struct runner *r)
{
	int cpu;

	WRITE_ONCE(r->interrupted, true);
	smp_mb(); /* before looking where it runs: it looks at the flag after it got there */
	cpu = core_vcpu_active_cpu(r->vcpu);
	if (cpu >= 0)
		plat_cpu_kick(machine_plat(), (unsigned int)cpu);
}

/* On the processor that runs it, interrupts off. */
static void run_here(struct runner *r, struct core_cpu *cpu, uint64_t budget_ticks,
		     struct core_run_exit *ret)
{
	vtx_begin(cpu->hw);
	core_vcpu_run(r->vcpu, cpu, budget_ticks, ret);
	vtx_end(cpu->hw);
}

/* One turn: until an exit that core does not handle. */
static int run_turn(struct runner *r, uint64_t budget_ticks, struct core_run_exit *ret)
{
	struct core_cpu *cpu;
	int active, err = 0;

	for (;;) {
		unsigned int id = get_cpu();

		active = core_vcpu_active_cpu(r->vcpu);
		if (active < 0 || active == (int)id)
			break;
		put_cpu();
		runner_deactivate(r);
	}
	local_irq_disable();
	cpu = smp_processor_id() < CORE_MAX_CPUS ? &machine_core()->cpus[smp_processor_id()] : NULL;
	if (!cpu || !cpu->online)
		err = -ESHUTDOWN;
	else if (READ_ONCE(r->interrupted))
		err = -EINTR;
	else
		run_here(r, cpu, budget_ticks, ret);
	local_irq_enable();
	put_cpu();
	return err;
}

int runner_run(struct runner *r, uint64_t budget_ticks, struct core_run_exit *ret)
{
	int err;

	if (current->flags & PF_KTHREAD)
		return -EPERM;
	fpu_swap_kvm_fpstate(&r->fpu, true);
	do {
		err = run_turn(r, budget_ticks, ret);
		if (err || ret->reason != CORE_RUN_KICKED)
			break;
		if (signal_pending(current))
			err = -EINTR;
		cond_resched();
	} while (!err);
	fpu_swap_kvm_fpstate(&r->fpu, false);
	if (err == -EINTR)
		WRITE_ONCE(r->interrupted, false);
	return err;
}
