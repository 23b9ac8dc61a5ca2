/* SPDX-License-Identifier: MIT */
/*
 * VMX non-root operation: event injection, then instructions until an exit. At each
 * boundary where the executor stops, what could end the run is asked in the order of
 * "Priority Among Concurrent Events": preemption timer, NMI window, interrupt
 * window, external interrupt.
 */
#include "hw/model/processor.h"

/* Instructions between two looks at what other threads may have sent. */
#define CHUNK UINT64_C(4096)

static bool shadowed(const struct hw_cpu *cpu)
{
	return (cpu->st->interruptibility & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS)) != 0;
}

static bool interrupt_window_open(const struct hw_cpu *cpu)
{
	return (cpu->proc & PROC_INTERRUPT_WINDOW) && (cpu->st->rflags & RFLAGS_IF) &&
	       !shadowed(cpu);
}

static bool nmi_window_open(const struct hw_cpu *cpu)
{
	return (cpu->proc & PROC_NMI_WINDOW) &&
	       !(cpu->st->interruptibility & (BLOCKED_BY_NMI | BLOCKED_BY_MOV_SS));
}

/* A window is wanted, and only the shadow of STI or MOV SS keeps it shut. */
static bool about_to_open(const struct hw_cpu *cpu)
{
	return shadowed(cpu) &&
	       (((cpu->proc & PROC_INTERRUPT_WINDOW) && (cpu->st->rflags & RFLAGS_IF)) ||
		(cpu->proc & PROC_NMI_WINDOW));
}

bool run_attention(void *env)
{
	struct hw_cpu *cpu = env;

	if (cpu->through_shadow)
		return cpu->st->activity != ACTIVITY_ACTIVE;
	return cpu->st->activity != ACTIVITY_ACTIVE || interrupt_window_open(cpu) ||
	       nmi_window_open(cpu) || about_to_open(cpu);
}

/* --- events at entry -------------------------------------------------------------- */

static enum x86_result inject(struct hw_cpu *cpu)
{
	uint32_t info = (uint32_t)F(cpu, ENTRY_INTR_INFO);
	enum x86_result r;

	cpu->st->activity = ACTIVITY_ACTIVE;
	cpu->st->interruptibility &= ~(BLOCKED_BY_STI | BLOCKED_BY_MOV_SS);
	r = x86_inject(cpu->x86, info, (uint32_t)F(cpu, ENTRY_ERROR_CODE),
		       (uint32_t)F(cpu, ENTRY_INSTRUCTION_LENGTH));
	if (r == X86_OK && (info & INTR_TYPE_MASK) == INTR_TYPE_NMI)
		cpu->st->interruptibility |= BLOCKED_BY_NMI;
	return r;
}

/*
 * Debug exceptions that were pending when the guest last left ("Pending Debug
 * Exceptions"). Those beside an injected event are lost.
 */
static enum x86_result deliver_pending_debug(struct hw_cpu *cpu)
{
	uint64_t pending = F(cpu, GUEST_PENDING_DEBUG);
	struct x86_fault fault = {.vector = VECTOR_DB};
	struct x86_special_info info = {.fault = &fault};
	uint64_t dr6 = pending & (PENDING_DBG_B_MASK | PENDING_DBG_BS);
	enum x86_result r;

	if (!(pending & (PENDING_DBG_ENABLED | PENDING_DBG_BS)) ||
	    (cpu->st->interruptibility & BLOCKED_BY_MOV_SS))
		return X86_OK;
	F(cpu, GUEST_PENDING_DEBUG) = 0;
	info.value = dr6;
	r = special(cpu, X86_SP_EXCEPTION, &info);
	if (r != X86_OK)
		return r;
	cpu->st->dr[6] = (cpu->st->dr[6] & ~PENDING_DBG_B_MASK) | dr6;
	cpu->st->activity = ACTIVITY_ACTIVE;
	return x86_inject(cpu->x86, INTR_VALID | INTR_TYPE_HARD_EXCEPTION | VECTOR_DB, 0, 0);
}

/* --- running ---------------------------------------------------------------------- */

static bool timer_on(const struct hw_cpu *cpu)
{
	return (cpu->pin & PIN_PREEMPTION_TIMER) != 0;
}

/* Fills cpu->exit and answers true if the guest leaves at this boundary. */
static bool boundary_exit(struct hw_cpu *cpu)
{
	if (timer_on(cpu) && cpu->timer_left == 0)
		exit_with(cpu, EXIT_PREEMPTION_TIMER, 0);
	else if (nmi_window_open(cpu))
		exit_with(cpu, EXIT_NMI_WINDOW, 0);
	else if (interrupt_window_open(cpu))
		exit_with(cpu, EXIT_INTERRUPT_WINDOW, 0);
	else if (plat_load_acquire(&cpu->kicked) && plat_exchange(&cpu->kicked, 0))
		exit_with(cpu, EXIT_EXTERNAL_INTERRUPT, 0);
	else
		return false;
	return true;
}

/* Before a run: nothing has asked for an exit. The executor also stops for HLT. */
#define NO_EXIT UINT32_MAX

/* In HLT nothing retires: guest time jumps to the timer, or somebody has to kick. */
static void wait_in_hlt(struct hw_cpu *cpu)
{
	if (!timer_on(cpu)) {
		plat_cpu_relax();
		return;
	}
	cpu->time_jumps += cpu->timer_left;
	cpu->timer_left = 0;
}

void run_guest(struct hw_cpu *cpu)
{
	enum x86_result r;

	r = F(cpu, ENTRY_INTR_INFO) & INTR_VALID ? inject(cpu) : deliver_pending_debug(cpu);
	if (r == X86_EXIT)
		return;
	while (!boundary_exit(cpu)) {
		uint64_t max = CHUNK, retired;
		enum x86_stop stop;

		if (cpu->st->activity != ACTIVITY_ACTIVE) {
			wait_in_hlt(cpu);
			continue;
		}
		if (timer_on(cpu) && cpu->timer_left < max)
			max = cpu->timer_left;
		/* One instruction ends the shadow; then the window is asked for again. */
		cpu->through_shadow = about_to_open(cpu);
		if (cpu->through_shadow)
			max = 1;
		cpu->exit.reason = NO_EXIT;
		stop = x86_run(cpu->x86, max, &retired);
		cpu->timer_left -= timer_on(cpu) ? retired : 0;
		if (stop == X86_STOP_EXIT && cpu->exit.reason != NO_EXIT)
			return;
	}
}
