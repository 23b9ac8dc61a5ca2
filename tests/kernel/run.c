/* SPDX-License-Identifier: MIT */
/* vmxcore/linux/run.h: a guest's turns on the software processors. */
#include <unistd.h>

#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/smp.h>

#include "kernel/hardware.h"
#include "machine.h"
#include "run.h"

/* Longest turn, in ticks: then others may have the processor. */
#define TURN_TICKS 20000u

struct runner {
	struct core_vcpu *vcpu;
	bool interrupted;
	int cpu; /* a turn is under way there; -1: none */
};

int runner_create(struct core_vcpu *vcpu, struct runner **ret)
{
	struct runner *r = kzalloc(sizeof(*r), GFP_KERNEL_ACCOUNT);

	if (!r)
		return -ENOMEM;
	r->vcpu = vcpu;
	r->cpu = -1;
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
	plat_mb(); /* pairs with the one in run_turn() */
	cpu = plat_load(&r->cpu);
	if (cpu >= 0)
		plat_cpu_kick(machine_plat(), (unsigned int)cpu);
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

/*
 * Who interrupts sets the flag and then looks where we are; we say where we are and then look
 * at the flag. A kick stays with the processor until a guest on it has left for it.
 */
static int run_turn(struct runner *r, uint64_t ticks, struct core_run_exit *ret)
{
	unsigned int id = settle(r);
	struct core_cpu *cpu = &machine_core()->cpus[id];
	int err = 0;

	plat_store(&r->cpu, (int)id);
	plat_mb();
	if (!cpu->online) {
		err = -ESHUTDOWN;
	} else if (plat_load(&r->interrupted)) {
		err = -EINTR;
	} else {
		machine_before_turn(id);
		core_vcpu_run(r->vcpu, cpu, ticks, ret);
		machine_after_turn(id);
	}
	plat_store(&r->cpu, -1);
	put_cpu();
	/* A lock that is let go of goes to whoever asks next, and that would be us again. */
	usleep(20);
	return err;
}

/* The software processor has no counters of such events. */
u32 runner_events(struct runner *r, u64 values[2])
{
	(void)r;
	(void)values;
	return 0;
}

/* --- a run is made of turns ------------------------------------------------------------------ */

/* A turn that nobody but us need see the end of. */
static bool goes_on(const struct core_run_exit *x)
{
	return x->reason == CORE_RUN_KICKED || x->reason == CORE_RUN_BUDGET;
}

/* Takes what it used from *left (UINT64_MAX: there is no budget). */
static int run_slice(struct runner *r, uint64_t *left, struct core_run_exit *ret)
{
	uint64_t ticks = min_t(uint64_t, *left, TURN_TICKS), used = ticks;
	int err = run_turn(r, ticks, ret);

	if (err || !goes_on(ret) || *left == UINT64_MAX)
		return err;
	if (ret->reason == CORE_RUN_KICKED)
		used -= min_t(uint64_t, ticks, ret->ticks_left);
	*left -= used;
	if (*left == 0)
		ret->reason = CORE_RUN_BUDGET;
	return 0;
}

int runner_run(struct runner *r, uint64_t budget_ticks, struct core_run_exit *ret)
{
	uint64_t left = budget_ticks ? budget_ticks : UINT64_MAX;
	int err;

	do {
		err = run_slice(r, &left, ret);
		if (err || !goes_on(ret) || left == 0)
			break;
		if (fatal_signal_pending(current))
			err = -EINTR;
	} while (!err);
	if (err == -EINTR)
		plat_store(&r->interrupted, false);
	return err;
}
