// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* See run.h. */
#define pr_fmt(fmt) "vmxcore: " fmt
#include <linux/irqflags.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/task_work.h>
#include <linux/vtime.h>

#include <asm/fpu/api.h>
#include <asm/tsc.h>

#include "events.h"
#include "hw/vtx/vtx.h"
#include "machine.h"
#include "run.h"

/*
 * A turn in the guest ends after so long though no interrupt of the host's ends it: the timer
 * tick may be off. Then the scheduler, signals and VMXCORE_KICK get their chance.
 */
#define SLICE_US_MIN 100u
#define SLICE_US_MAX 1000000u
#define SLICE_TICKS_UNKNOWN (1u << 24) /* where nobody knows the TSC's rate */

static unsigned int slice_us = 10000;

static int set_slice_us(const char *value, const struct kernel_param *kp)
{
	int err = param_set_uint_minmax(value, kp, SLICE_US_MIN, SLICE_US_MAX);

	if (err)
		pr_err("slice_us=%s: it is %u to %u\n", value, SLICE_US_MIN, SLICE_US_MAX);
	return err;
}

static const struct kernel_param_ops slice_us_ops = {
	.set = set_slice_us,
	.get = param_get_uint,
};

module_param_cb(slice_us, &slice_us_ops, &slice_us, 0644);
__MODULE_PARM_TYPE(slice_us, "uint");
MODULE_PARM_DESC(slice_us, "longest stay in a guest without a look at the host's scheduler and "
			   "signals, in microseconds (100..1000000; default 10000)");

struct runner {
	struct core_vcpu *vcpu;
	struct fpu_guest fpu;
	bool interrupted;
	int cpu; /* a turn is under way there; -1: none */
	struct events events;
};

int runner_create(struct core_vcpu *vcpu, struct runner **ret)
{
	struct runner *r = kzalloc(sizeof(*r), GFP_KERNEL_ACCOUNT);

	if (!r)
		return -ENOMEM;
	r->vcpu = vcpu;
	r->cpu = -1;
	if (!fpu_alloc_guest_fpstate(&r->fpu)) {
		kfree(r);
		return -ENOMEM;
	}
	events_init(&r->events);
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
	events_destroy(&r->events);
	fpu_free_guest_fpstate(&r->fpu);
	kfree(r);
}

/* --- running --------------------------------------------------------------------------------- */

void runner_interrupt(struct runner *r)
{
	int cpu;

	WRITE_ONCE(r->interrupted, true);
	smp_mb(); /* pairs with the one in run_turn() */
	cpu = READ_ONCE(r->cpu);
	if (cpu >= 0)
		plat_cpu_kick(machine_plat(), (unsigned int)cpu);
}

/* On the processor that runs it, interrupts off. Its time counts as a guest's. */
static void run_here(struct runner *r, struct core_cpu *cpu, uint64_t budget_ticks,
		     struct core_run_exit *ret)
{
	vtime_account_guest_enter();
	vtx_begin(cpu->hw);
	core_vcpu_run(r->vcpu, cpu, budget_ticks, ret);
	vtx_end(cpu->hw);
	/* The timer's interrupt, if it was what ended the turn, finds the guest's time still on. */
	local_irq_enable();
	local_irq_disable();
	vtime_account_guest_exit();
}

/* Stays on the processor where the vCPU is active, or which it can come to. */
static unsigned int settle(struct runner *r)
{
	for (;;) {
		unsigned int id = get_cpu();
		int active = core_vcpu_active_cpu(r->vcpu);

		if (active < 0 || active == (int)id)
			return id;
		put_cpu();
		runner_deactivate(r);
	}
}

/* One turn: until an exit that core does not handle, at most so many ticks in the guest. */
static int run_turn(struct runner *r, uint64_t budget_ticks, struct core_run_exit *ret)
{
	unsigned int id = settle(r);
	struct core_cpu *cpu = id < CORE_MAX_CPUS ? &machine_core()->cpus[id] : NULL;
	int err = 0;

	local_irq_disable();
	/*
	 * Who interrupts sets the flag and then looks where we are; we say where we are and
	 * then look at the flag. An interrupt that it sends now is pending until the entry,
	 * which it ends at once.
	 */
	WRITE_ONCE(r->cpu, (int)id);
	smp_mb();
	if (!cpu || !cpu->online)
		err = -ESHUTDOWN;
	else if (READ_ONCE(r->interrupted))
		err = -EINTR;
	else
		run_here(r, cpu, budget_ticks, ret);
	WRITE_ONCE(r->cpu, -1);
	local_irq_enable();
	put_cpu();
	return err;
}

/* --- a run is made of turns ------------------------------------------------------------------ */

static uint64_t slice_ticks(void)
{
	return tsc_khz ? div_u64((uint64_t)tsc_khz * READ_ONCE(slice_us), 1000)
		       : SLICE_TICKS_UNKNOWN;
}

/* A turn that nobody but us need see the end of. */
static bool goes_on(const struct core_run_exit *x)
{
	return x->reason == CORE_RUN_KICKED || x->reason == CORE_RUN_BUDGET;
}

/* What the handler of machine checks has in store for this thread happens on its way out. */
static bool machine_check_waits(const struct core_run_exit *x)
{
	return x->reason == CORE_RUN_KICKED && x->exit_reason == VMX_EXIT_EXCEPTION_NMI &&
	       task_work_pending(current);
}

/*
 * One turn of those that make up a run; takes what it used from *left (UINT64_MAX: there is
 * no budget). Where the processor doesn't count across exits, the time until the turn's end
 * stands for the time in the guest.
 */
static int run_slice(struct runner *r, uint64_t *left, struct core_run_exit *ret)
{
	bool counts = machine_core()->caps.save_preemption_timer;
	uint64_t ticks = min(*left, slice_ticks()), from = rdtsc_ordered(), used;
	int err = run_turn(r, ticks, ret);

	if (err || !goes_on(ret) || *left == UINT64_MAX)
		return err;
	if (ret->reason == CORE_RUN_BUDGET)
		used = ticks;
	else
		used = counts ? ticks - min(ticks, ret->ticks_left) : rdtsc_ordered() - from;
	*left -= min(*left, used);
	if (*left == 0)
		ret->reason = CORE_RUN_BUDGET;
	return 0;
}

int runner_run(struct runner *r, uint64_t budget_ticks, struct core_run_exit *ret)
{
	uint64_t left = budget_ticks ? budget_ticks : UINT64_MAX;
	int err;

	if (current->flags & PF_KTHREAD)
		return -EPERM;
	events_attach(&r->events);
	fpu_swap_kvm_fpstate(&r->fpu, true);
	do {
		err = run_slice(r, &left, ret);
		if (err || !goes_on(ret) || left == 0)
			break;
		if (signal_pending(current) || machine_check_waits(ret))
			err = -EINTR;
		cond_resched();
	} while (!err);
	fpu_swap_kvm_fpstate(&r->fpu, false);
	if (err == -EINTR)
		WRITE_ONCE(r->interrupted, false);
	return err;
}

u32 runner_events(struct runner *r, u64 values[2])
{
	static_assert(EVENT_KINDS == 2);
	return events_read(&r->events, values);
}
