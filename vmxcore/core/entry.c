// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * VM entries: what comes before one, the entry, what comes after, until something
 * is the caller's.
 *
 * Order before an entry matters: everything that writes the VMCS or invalidates by
 * VPID first; inval_enter() last, for from there on a change of the EPT must find
 * this processor.
 */
#include "core/inval.h"
#include "core/msr.h"
#include "core/vcpu_internal.h"
#include "core/vmcs.h"

/* --- the run's budget ---------------------------------------------------------------------- */

/*
 * The preemption timer counts down once each 2^rate TSC ticks. Rounded up: 0 would
 * exit before the first instruction, for ever. With "save VMX-preemption timer
 * value" it goes on where the last exit stopped it; without, each entry starts anew.
 */
static void load_timer(struct core_vcpu *v)
{
	uint64_t value = v->timer_more > UINT32_MAX ? UINT32_MAX : v->timer_more;

	v->timer_more -= value;
	v->timer_value = (uint32_t)value;
	vcpu_vmwrite(v, VMCS_PREEMPTION_TIMER, value);
}

static void start_timer(struct core_vcpu *v, uint64_t budget_ticks)
{
	const struct core_caps *caps = vcpu_caps(v);
	uint32_t pin = v->vm->controls.pin, exit = v->vm->controls.exit;
	uint64_t mask = VMX_BIT(caps->preemption_rate) - 1;
	bool on = budget_ticks != 0 && caps->preemption_timer;

	if (on)
		pin |= PIN_PREEMPTION_TIMER;
	if (on && caps->save_preemption_timer)
		exit |= VMEXIT_SAVE_PREEMPTION_TIMER;
	vcpu_set_control(v, VMCS_PIN_CONTROLS, &v->pin, pin);
	vcpu_set_control(v, VMCS_EXIT_CONTROLS, &v->exit, exit);
	v->timer_more = 0;
	v->reload_timer = on && !caps->save_preemption_timer;
	if (!on)
		return;
	v->timer_more = (budget_ticks >> caps->preemption_rate) + ((budget_ticks & mask) != 0);
	load_timer(v);
}

static uint64_t ticks_left(struct core_vcpu *v)
{
	uint64_t units = v->timer_more;

	if (!(v->exit & VMEXIT_SAVE_PREEMPTION_TIMER))
		return 0;
	units += vcpu_vmread(v, VMCS_PREEMPTION_TIMER);
	return units << vcpu_caps(v)->preemption_rate;
}

enum exit_step exit_preemption_timer(struct core_vcpu *v, struct core_run_exit *ret)
{
	if (v->timer_more == 0)
		return exit_return(ret, CORE_RUN_BUDGET);
	load_timer(v);
	return EXIT_RESUME;
}

/* --- coming to a processor ----------------------------------------------------------------- */

static void link_active(struct core_vcpu *v, struct core_cpu *cpu)
{
	v->active_next = cpu->active;
	v->active_link = &cpu->active;
	if (cpu->active != NULL)
		cpu->active->active_link = &v->active_next;
	cpu->active = v;
	v->hw = cpu->hw;
	plat_store(&v->active_cpu, (int)cpu->id);
}

static void unlink_active(struct core_vcpu *v)
{
	*v->active_link = v->active_next;
	if (v->active_next != NULL)
		v->active_next->active_link = v->active_link;
	v->active_next = NULL;
	v->active_link = NULL;
	/* Who sees that it is active nowhere sees how it was left. */
	plat_store_release(&v->active_cpu, -1);
}

/*
 * "Initializing a VMCS": VMCLEAR before the region is used at all; VMPTRLD makes
 * it active and current; then every field that matters is written.
 */
static enum hw_result make_current(struct core_vcpu *v, struct core_cpu *cpu)
{
	enum hw_result r = HW_SUCCEED;

	if (!v->vmcs_written && v->active_cpu < 0)
		r = hw_vmclear(cpu->hw, v->vmcs);
	if (r == HW_SUCCEED)
		r = hw_vmptrld(cpu->hw, v->vmcs);
	if (r == HW_SUCCEED)
		cpu->loaded = v;
	return r;
}

/* Puts the VMCS of v in place on cpu. */
static enum hw_result activate(struct core_vcpu *v, struct core_cpu *cpu)
{
	bool arrives = v->active_cpu < 0;

	if (cpu->loaded != v) {
		enum hw_result r = make_current(v, cpu);

		if (r != HW_SUCCEED)
			return r;
	}
	if (!arrives)
		return HW_SUCCEED;
	link_active(v, cpu);
	if (v->tag.vpid != 0 && v->tag.cpu != cpu->id)
		core_stat_add(&v->stats, CORE_STAT_VMCS_MIGRATIONS, 1);
	if (!v->vmcs_written) {
		v->have = REG_ALL;
		v->dirty = REG_ALL;
		v->load_pdptes = true;
		vcpu_write_controls(v);
	}
	vcpu_vmwrite(v, VMCS_EXIT_MSR_LOAD_ADDRESS, cpu->host_msrs_hpa.v);
	vcpu_write_host_state(v, true);
	v->vmcs_written = true;
	return HW_SUCCEED;
}

void core_vcpu_deactivate(struct core_vcpu *v, struct core_cpu *cpu)
{
	if (v->active_cpu != (int)cpu->id)
		return;
	/* Writes what the processor keeps of it to memory, and makes it "clear". */
	(void)hw_vmclear(cpu->hw, v->vmcs);
	if (cpu->loaded == v)
		cpu->loaded = NULL;
	v->launched = false;
	unlink_active(v);
}

int core_vcpu_vmcs_read(struct core_vcpu *v, struct core_cpu *cpu, uint32_t field, uint64_t *ret)
{
	bool high;

	if (vmcs_field_index(field, &high) < 0)
		return -EINVAL;
	if (v->active_cpu < 0 || v->active_cpu != (int)cpu->id)
		return -ENODATA;
	if (cpu->loaded != v && make_current(v, cpu) != HW_SUCCEED)
		return -EIO;
	/* A field of the manual that this processor doesn't have. */
	return hw_vmread(cpu->hw, field, ret) == HW_SUCCEED ? 0 : -EINVAL;
}

/* --- one entry ----------------------------------------------------------------------------- */

/* Where there is no single-context INVVPID, a VPID that was never used will do. */
static void flush_tag(struct core_vcpu *v, struct core_cpu *cpu)
{
	const struct inval_origin origin = {.trace = &v->vm->trace,
					    .vcpu = v->index,
					    .vpid = v->tag.vpid,
					    .cause = CORE_CAUSE_PAGING};

	if (core_vpid_valid(cpu, &v->tag) &&
	    (!vcpu_caps(v)->invvpid_single ||
	     inval_invvpid(cpu, HW_INVVPID_SINGLE, v->tag.vpid, gva(0), &origin) < 0))
		vcpu_set_tag(v, &(const struct core_vpid){0});
}

/*
 * The tag of linear and combined mappings. What software did to the paging
 * registers needs what the guest's own instruction would have invalidated.
 */
static void prepare_tlb(struct core_vcpu *v, struct core_cpu *cpu)
{
	bool flush = v->flush_tlb;
	struct core_vpid tag;

	v->flush_tlb = false;
	/* Without VPID, the entry itself invalidates. */
	if (!v->vm->use_vpid)
		return;
	if (flush)
		flush_tag(v, cpu);
	tag = v->tag;
	if (core_vpid_take(cpu, &tag, &v->vm->trace, v->index)) {
		vcpu_set_tag(v, &tag);
		core_stat_add(&v->stats, CORE_STAT_VPIDS_TAKEN, 1);
		vcpu_vmwrite(v, VMCS_VPID, v->tag.vpid);
	}
}

static enum exit_step vmcs_failed(struct core_vcpu *v, struct core_run_exit *ret)
{
	ret->insn_error = v->vmcs_error - 1;
	ret->qualification = v->vmcs_error_field;
	core_stat_add(&v->stats, CORE_STAT_ENTRY_FAILURES, 1);
	return exit_return(ret, CORE_RUN_ENTRY_FAILED);
}

/* VMLAUNCH or VMRESUME itself failed: nothing was loaded, nothing has changed. */
static enum exit_step entry_failed_early(struct core_vcpu *v, enum hw_result r,
					 struct core_run_exit *ret)
{
	event_entry_failed(v);
	if (r == HW_FAIL_VALID)
		ret->insn_error = (uint32_t)vcpu_vmread(v, VMCS_INSTRUCTION_ERROR);
	core_stat_add(&v->stats, CORE_STAT_ENTRY_FAILURES, 1);
	return exit_return(ret, CORE_RUN_ENTRY_FAILED);
}

/* Guest state was refused while it was loaded: the VMCS keeps it, the launch state too. */
enum exit_step exit_entry_failed(struct core_vcpu *v, struct core_run_exit *ret)
{
	event_entry_failed(v);
	core_stat_add(&v->stats, CORE_STAT_ENTRY_FAILURES, 1);
	return exit_return(ret, CORE_RUN_ENTRY_FAILED);
}

/* What hw_after_exit() has read belongs to the register cache. */
static void take_exit(struct core_vcpu *v)
{
	v->regs.rip = v->last.rip;
	v->regs.rflags = v->last.rflags;
	v->regs.interruptibility = (uint32_t)v->last.interruptibility;
	v->have = REG_RIP | REG_RFLAGS | REG_INTERRUPTIBILITY;
}

static enum exit_step handle_exit(struct core_vcpu *v, struct core_run_exit *ret)
{
	uint32_t reason = (uint32_t)v->last.reason;
	uint32_t basic = reason & EXIT_REASON_BASIC_MASK;

	ret->exit_reason = basic | (reason & EXIT_REASON_ENTRY_FAILURE);
	if (basic < VMX_EXIT_REASONS)
		plat_fetch_add(&v->exits[basic], 1);
	if (core_trace_on(&v->vm->trace))
		exit_trace(v, basic);
	if (reason & EXIT_REASON_ENTRY_FAILURE)
		return exit_entry_failed(v, ret);
	core_stat_add(&v->stats, CORE_STAT_ENTRIES, 1);
	v->launched = true;
	take_exit(v);
	if (v->events.chosen != NULL || v->last.vectoring_info & INTR_VALID)
		event_after_exit(v);
	return core_exit_handler(basic)(v, ret);
}

/* --- before an entry ----------------------------------------------------------------------- */

/* All that the VMCS and this processor need before an entry. */
static void prepare(struct core_vcpu *v, struct core_cpu *cpu)
{
	prepare_tlb(v, cpu);
	event_before_entry(v);
	/* An event wakes; entry with HLT would let the processor wait in the guest. */
	if (v->have & REG_ACTIVITY && v->regs.activity != ACTIVITY_ACTIVE) {
		v->regs.activity = ACTIVITY_ACTIVE;
		v->dirty |= REG_ACTIVITY;
	}
	vcpu_flush_regs(v);
	if (v->reload_timer)
		vcpu_vmwrite(v, VMCS_PREEMPTION_TIMER, v->timer_value);
}

/*
 * The same after an exit that was handled. Most leave nothing but a new RIP: where nothing
 * else of what prepare() looks at can have changed in between, it need not look.
 */
static void prepare_again(struct core_vcpu *v, struct core_cpu *cpu)
{
	if (v->dirty != REG_RIP || event_waits(v) ||
	    v->flush_tlb | v->load_pdptes | v->step_trap | v->reload_timer) {
		prepare(v, cpu);
		return;
	}
	v->dirty = 0;
	vcpu_vmwrite(v, VMCS_GUEST_RIP, v->regs.rip);
}

static enum exit_step enter_once(struct core_vcpu *v, struct core_cpu *cpu,
				 struct core_run_exit *ret)
{
	enum hw_result r;

	if (v->vmcs_error != 0) {
		event_entry_failed(v);
		return vmcs_failed(v, ret);
	}
	inval_enter(cpu, v->vm->as);
	r = hw_enter(cpu->hw, &v->regs.gp, !v->launched);
	inval_leave(cpu);
	if (r != HW_SUCCEED)
		return entry_failed_early(v, r, ret);
	r = hw_after_exit(cpu->hw, &v->last);
	if (r != HW_SUCCEED) {
		vcpu_note_error(v, VMCS_EXIT_REASON, r);
		event_entry_failed(v);
		return vmcs_failed(v, ret);
	}
	return handle_exit(v, ret);
}

/* --- a run --------------------------------------------------------------------------------- */

/* What an exit tells, for those who print it or act on it. */
static void fill_report(struct core_vcpu *v, struct core_run_exit *ret)
{
	uint32_t basic = ret->exit_reason & EXIT_REASON_BASIC_MASK;
	bool io = basic == VMX_EXIT_IO_INSTRUCTION;
	bool ept = basic == VMX_EXIT_EPT_VIOLATION || basic == VMX_EXIT_EPT_MISCONFIG;

	ret->qualification = vcpu_vmread(v, VMCS_EXIT_QUALIFICATION);
	if (ret->exit_reason & EXIT_REASON_ENTRY_FAILURE)
		return;
	ret->insn_length = (uint32_t)v->last.insn_length;
	ret->intr_info = (uint32_t)vcpu_vmread(v, VMCS_EXIT_INTR_INFO);
	ret->intr_error = (uint32_t)vcpu_vmread(v, VMCS_EXIT_INTR_ERROR_CODE);
	ret->vectoring_info = (uint32_t)v->last.vectoring_info;
	ret->vectoring_error = (uint32_t)vcpu_vmread(v, VMCS_IDT_VECTORING_ERROR_CODE);
	if (ept)
		ret->gpa = gpa(vcpu_vmread(v, VMCS_GUEST_PHYSICAL_ADDRESS));
	ret->linear_valid =
		(io && ret->qualification & IOQ_STRING) ||
		(basic == VMX_EXIT_EPT_VIOLATION && ret->qualification & EPTV_LINEAR_VALID);
	if (ret->linear_valid)
		ret->linear = gva(vcpu_vmread(v, VMCS_GUEST_LINEAR_ADDRESS));
}

/* Halted (or shut down, or waiting for SIPI) with nothing that would wake it. */
static bool stays_halted(struct core_vcpu *v)
{
	return v->regs.activity != ACTIVITY_ACTIVE && !event_wakes(v);
}

void core_vcpu_run(struct core_vcpu *v, struct core_cpu *cpu, uint64_t budget_ticks,
		   struct core_run_exit *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->rip = v->regs.rip;
	v->io.size = 0;
	v->vmcs_error = 0;
	if (stays_halted(v)) {
		ret->exit_reason = VMX_EXIT_HLT;
		ret->reason = CORE_RUN_HLT;
		return;
	}
	/* Active elsewhere, or no VMX operation here: entering would corrupt the VMCS. */
	if (!cpu->online || (v->active_cpu >= 0 && v->active_cpu != (int)cpu->id) ||
	    activate(v, cpu) != HW_SUCCEED) {
		core_stat_add(&v->stats, CORE_STAT_ENTRY_FAILURES, 1);
		ret->reason = CORE_RUN_ENTRY_FAILED;
		return;
	}
	plat_store(&v->vm->ran, true);
	msr_refresh_host(cpu);
	start_timer(v, budget_ticks);
	/* It changes in no run: nothing else happens on this processor meanwhile. */
	vcpu_write_host_state(v, false);
	prepare(v, cpu);
	while (enter_once(v, cpu, ret) == EXIT_RESUME) {
		ret->exit_reason = 0; /* of an exit that was handled */
		prepare_again(v, cpu);
	}
	if (ret->reason != CORE_RUN_ENTRY_FAILED || ret->exit_reason != 0)
		fill_report(v, ret);
	ret->ticks_left = ticks_left(v);
	vcpu_need(v, REG_ALL);
	ret->rip = v->regs.rip;
}
