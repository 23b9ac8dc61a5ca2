// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Events on their way into a guest.
 *
 * Three places, in order: an exception that must come before anything else (raised
 * by an exit handler, or cut short in delivery), an external interrupt or NMI cut
 * short in delivery, and what the caller queued. An entry takes at most one;
 * whichever of the latter two can't go now asks for its window.
 *
 * Source: SDM volume 3, "Event Injection", "Information for VM Exits That Occur
 * During Event Delivery".
 */
#include "core/caps.h"
#include "core/vcpu_internal.h"
#include "core/vmcs.h"

#define VECTORING_KEEP (INTR_VALID | INTR_ERROR_CODE | INTR_TYPE_MASK | INTR_VECTOR_MASK)

static uint32_t type_of(const struct core_event *e)
{
	return e->info & INTR_TYPE_MASK;
}

static bool is_soft(uint32_t type)
{
	return type == INTR_TYPE_SOFT_INT || type == INTR_TYPE_SOFT_EXCEPTION ||
	       type == INTR_TYPE_PRIV_SOFT_EXCEPTION;
}

/* --- raising --------------------------------------------------------------------------------- */

/*
 * A raised exception displaces a fault or software event that was cut short: its
 * instruction executes again afterwards, and raises it again.
 */
void event_raise_info(struct core_vcpu *v, uint32_t info, uint32_t error, uint32_t length)
{
	v->events.raised = (struct core_event){
		.info = info | INTR_VALID, .error_code = error, .insn_length = length};
	v->events.raised_again = false;
}

/* "Delivery of error codes": real mode has none. */
void event_raise_error(struct core_vcpu *v, unsigned vector, uint32_t error)
{
	uint32_t info = vector | INTR_TYPE_HARD_EXCEPTION;

	vcpu_need(v, REG_CR);
	if (v->regs.cr0 & CR0_PE)
		info |= INTR_ERROR_CODE;
	event_raise_info(v, info, error, 0);
}

void event_raise(struct core_vcpu *v, unsigned vector)
{
	event_raise_info(v, vector | INTR_TYPE_HARD_EXCEPTION, 0, 0);
}

/* --- injecting ----------------------------------------------------------------------------- */

static bool deliverable(struct core_vcpu *v, const struct core_event *e)
{
	uint32_t type = type_of(e);

	if (type != INTR_TYPE_EXTERNAL && type != INTR_TYPE_NMI)
		return true;
	vcpu_need(v, REG_RFLAGS | REG_INTERRUPTIBILITY);
	if (v->regs.interruptibility & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS))
		return false;
	if (type == INTR_TYPE_NMI)
		return !(v->regs.interruptibility & BLOCKED_BY_NMI);
	return v->regs.rflags & RFLAGS_IF;
}

/* The one of the two that waits, or NULL. */
static struct core_event *next_waiting(struct core_vcpu *v)
{
	if (v->events.reinject.info != 0)
		return &v->events.reinject;
	return v->events.queued.info != 0 ? &v->events.queued : NULL;
}

bool event_wakes(struct core_vcpu *v)
{
	struct core_event *e = next_waiting(v);

	if (v->regs.activity != ACTIVITY_HLT)
		return e != NULL && v->regs.activity == ACTIVITY_SHUTDOWN &&
		       type_of(e) == INTR_TYPE_NMI && deliverable(v, e);
	return v->step_trap || v->events.raised.info != 0 || (e != NULL && deliverable(v, e));
}

static void write_event(struct core_vcpu *v, const struct core_event *e)
{
	vcpu_vmwrite(v, VMCS_ENTRY_INTR_INFO, e->info);
	if (e->info & INTR_ERROR_CODE)
		vcpu_vmwrite(v, VMCS_ENTRY_ERROR_CODE, e->error_code);
	if (is_soft(type_of(e)))
		vcpu_vmwrite(v, VMCS_ENTRY_INSTRUCTION_LENGTH, e->insn_length);
}

/* Nothing is written in vain: most entries have no event, no window, and none before. */
void event_before_entry(struct core_vcpu *v)
{
	const struct core_caps *caps = vcpu_caps(v);
	uint32_t proc = v->vm->controls.proc;
	struct core_event *waiting = next_waiting(v);

	v->events.chosen = NULL;
	if (v->events.raised.info != 0) {
		v->events.chosen = &v->events.raised;
	} else if (waiting != NULL && deliverable(v, waiting)) {
		v->events.chosen = waiting;
		waiting = NULL;
	}
	if (waiting != NULL) {
		bool nmi = type_of(waiting) == INTR_TYPE_NMI;

		/* Without virtual NMIs there is no NMI window: tried again at each entry. */
		if (!nmi)
			proc |= PROC_INTERRUPT_WINDOW;
		else if (v->pin & PIN_VIRTUAL_NMIS && caps_allow(caps->proc, PROC_NMI_WINDOW))
			proc |= PROC_NMI_WINDOW;
	}
	vcpu_set_control(v, VMCS_PROC_CONTROLS, &v->proc, proc);
	if (v->events.chosen != NULL)
		write_event(v, v->events.chosen);
}

void event_entry_failed(struct core_vcpu *v)
{
	if (v->events.chosen == NULL)
		return;
	/* Only an exit clears the valid bit. */
	vcpu_vmwrite(v, VMCS_ENTRY_INTR_INFO, 0);
	v->events.chosen = NULL;
}

/* --- what the exit cut short --------------------------------------------------------------- */

static void take_back(struct core_vcpu *v, uint32_t info)
{
	struct core_event e = {.info = info & VECTORING_KEEP};
	uint32_t type = type_of(&e);

	if (info & INTR_ERROR_CODE)
		e.error_code = (uint32_t)vcpu_vmread(v, VMCS_IDT_VECTORING_ERROR_CODE);
	if (is_soft(type))
		e.insn_length = (uint32_t)v->last.insn_length;
	if (type == INTR_TYPE_NMI) {
		/* It blocked further NMIs as its delivery began; its next delivery must not be
		 * blocked by itself. */
		vcpu_need(v, REG_INTERRUPTIBILITY);
		v->regs.interruptibility &= ~BLOCKED_BY_NMI;
		v->dirty |= REG_INTERRUPTIBILITY;
	}
	if (type == INTR_TYPE_NMI || type == INTR_TYPE_EXTERNAL) {
		v->events.reinject = e;
	} else {
		v->events.raised = e;
		v->events.raised_again = true;
	}
}

void event_after_exit(struct core_vcpu *v)
{
	struct vcpu_events *ev = &v->events;

	if (ev->chosen != NULL) {
		bool again = ev->chosen == &ev->reinject ||
			     (ev->chosen == &ev->raised && ev->raised_again);

		core_stat_add(&v->stats, CORE_STAT_EVENTS_INJECTED, 1);
		if (again)
			core_stat_add(&v->stats, CORE_STAT_EVENTS_REINJECTED, 1);
		ev->chosen->info = 0;
		ev->chosen = NULL;
	}
	if (v->last.vectoring_info & INTR_VALID)
		take_back(v, (uint32_t)v->last.vectoring_info);
}

/* --- the caller's -------------------------------------------------------------------------- */

/* Vectors that each type may have, lowest and highest; length: has an instruction length. */
struct event_rule {
	uint8_t first, last;
	bool allowed, length;
};

static const struct event_rule event_rules[8] = {
	[INTR_TYPE_EXTERNAL >> INTR_TYPE_SHIFT] = {0, 255, true, false},
	[INTR_TYPE_NMI >> INTR_TYPE_SHIFT] = {VECTOR_NMI, VECTOR_NMI, true, false},
	[INTR_TYPE_HARD_EXCEPTION >> INTR_TYPE_SHIFT] = {0, 31, true, false},
	[INTR_TYPE_SOFT_INT >> INTR_TYPE_SHIFT] = {0, 255, true, true},
	[INTR_TYPE_PRIV_SOFT_EXCEPTION >> INTR_TYPE_SHIFT] = {VECTOR_DB, VECTOR_DB, true, true},
	[INTR_TYPE_SOFT_EXCEPTION >> INTR_TYPE_SHIFT] = {VECTOR_BP, VECTOR_OF, true, true},
};

/* "Checks on VM-Entry Control Fields", the part on VM-entry event injection. */
static bool event_well_formed(const struct core_vcpu *v, const struct core_event *e)
{
	const struct event_rule *rule = &event_rules[type_of(e) >> INTR_TYPE_SHIFT];
	uint32_t vector = e->info & INTR_VECTOR_MASK;
	bool zero_length = vcpu_caps(v)->misc & VMX_MISC_INJECT_LENGTH_0;
	bool needs_error;

	if (!(e->info & INTR_VALID) || e->info & INTR_ENTRY_RESERVED || !rule->allowed)
		return false;
	if (vector < rule->first || vector > rule->last)
		return false;
	needs_error = type_of(e) == INTR_TYPE_HARD_EXCEPTION &&
		      VECTORS_WITH_ERROR_CODE & 1u << (vector & 31) && v->regs.cr0 & CR0_PE;
	if (needs_error != !!(e->info & INTR_ERROR_CODE))
		return false;
	if (needs_error && e->error_code > 0x7fff)
		return false;
	return !rule->length || (e->insn_length <= 15 && (e->insn_length > 0 || zero_length));
}

int core_vcpu_inject(struct core_vcpu *v, const struct core_event *event)
{
	if (!event_well_formed(v, event))
		return -EINVAL;
	if (v->events.queued.info != 0)
		return -EBUSY;
	v->events.queued = *event;
	return 0;
}
