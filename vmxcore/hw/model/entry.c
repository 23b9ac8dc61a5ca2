/* SPDX-License-Identifier: MIT */
/* VM entry: checks, loading guest state, MSR loading, then running ("VM Entries"). */
#include "hw/model/processor.h"

/* Bits of CR0 that entries and exits leave as they are ("Loading Guest Control Registers ..."). */
#define CR0_KEPT (CR0_ET | CR0_NW | CR0_CD)

static enum hw_result entry_fail(struct hw_cpu *cpu, unsigned number)
{
	F(cpu, INSTRUCTION_ERROR) = number;
	return HW_FAIL_VALID;
}

static void cache_controls(struct hw_cpu *cpu)
{
	cpu->pin = (uint32_t)F(cpu, PIN_CONTROLS);
	cpu->proc = (uint32_t)F(cpu, PROC_CONTROLS);
	cpu->proc2 = cpu->proc & PROC_SECONDARY_CONTROLS ? (uint32_t)F(cpu, PROC_CONTROLS_2) : 0;
	cpu->entry_ctl = (uint32_t)F(cpu, ENTRY_CONTROLS);
	cpu->exit_ctl = (uint32_t)F(cpu, EXIT_CONTROLS);
}

/* --- loading guest state ---------------------------------------------------------- */

static void load_segments(struct hw_cpu *cpu)
{
	const uint64_t *field = cpu->current->field;
	struct x86_state *st = cpu->st;

	for (unsigned i = 0; i < X86_SEG_COUNT; i++) {
		const struct segment_fields *f = &segment_fields[i];

		st->seg[i] = (struct x86_seg){
			.base = field[f->base],
			.limit = (uint32_t)field[f->limit],
			.ar = (uint32_t)field[f->ar],
			.sel = (uint16_t)field[f->selector],
		};
	}
	st->gdtr.base = F(cpu, GUEST_GDTR_BASE);
	st->gdtr.limit = (uint16_t)F(cpu, GUEST_GDTR_LIMIT);
	st->idtr.base = F(cpu, GUEST_IDTR_BASE);
	st->idtr.limit = (uint16_t)F(cpu, GUEST_IDTR_LIMIT);
}

static void load_msrs(struct hw_cpu *cpu)
{
	struct x86_state *st = cpu->st;
	uint64_t lma = cpu->entry_ctl & VMENTRY_IA32E_GUEST ? EFER_LMA : 0;

	st->sysenter_cs = F(cpu, GUEST_SYSENTER_CS);
	st->sysenter_esp = F(cpu, GUEST_SYSENTER_ESP);
	st->sysenter_eip = F(cpu, GUEST_SYSENTER_EIP);
	st->pat = cpu->entry_ctl & VMENTRY_LOAD_PAT ? F(cpu, GUEST_PAT) : cpu->host.pat;
	if (cpu->entry_ctl & VMENTRY_LOAD_EFER) {
		st->efer = F(cpu, GUEST_EFER);
	} else {
		st->efer = (cpu->host.efer & ~EFER_LMA) | lma;
		if (F(cpu, GUEST_CR0) & CR0_PG)
			st->efer = (st->efer & ~EFER_LME) | (lma ? EFER_LME : 0);
	}
	if (cpu->entry_ctl & VMENTRY_LOAD_DEBUG) {
		cpu->debugctl = F(cpu, GUEST_DEBUGCTL);
		st->dr[7] = (F(cpu, GUEST_DR7) & UINT64_C(0xffff2fff)) | DR7_FIXED1;
	}
}

static void load_pdptes(struct hw_cpu *cpu)
{
	uint64_t at = cpu->st->cr3 & 0xffffffe0u;
	const uint64_t field[4] = {
		F(cpu, GUEST_PDPTE0),
		F(cpu, GUEST_PDPTE1),
		F(cpu, GUEST_PDPTE2),
		F(cpu, GUEST_PDPTE3),
	};

	if (cpu->mmu.mode != PAGING_PAE)
		return;
	for (unsigned i = 0; i < 4; i++)
		cpu->mmu.pdpte[i] = cpu->proc2 & PROC2_EPT ? field[i] : mem_read64(cpu, at + 8 * i);
}

static void load_guest(struct hw_cpu *cpu, const struct hw_gpregs *regs)
{
	struct x86_state *st = cpu->st;

	memcpy(st->gpr, regs->r, sizeof(st->gpr));
	st->gpr[X86_RSP] = F(cpu, GUEST_RSP);
	st->rip = F(cpu, GUEST_RIP);
	st->rflags = F(cpu, GUEST_RFLAGS);
	st->cr0 = (F(cpu, GUEST_CR0) & CR0_DEFINED & ~CR0_KEPT) | (cpu->host.cr0 & CR0_KEPT);
	st->cr2 = regs->cr2;
	st->cr3 = F(cpu, GUEST_CR3);
	st->cr4 = F(cpu, GUEST_CR4);
	memcpy(st->dr, regs->dr, sizeof(regs->dr));
	st->dr[6] = regs->dr6;
	load_msrs(cpu);
	load_segments(cpu);
	st->interruptibility = (uint32_t)F(cpu, GUEST_INTERRUPTIBILITY);
	st->activity = (uint32_t)F(cpu, GUEST_ACTIVITY);
	st->vectoring_info = 0;
	st->vectoring_error = 0;
	st->insn_length = 0;
	x86_mode_changed(cpu->x86);
	mmu_update(cpu);
	load_pdptes(cpu);
	cpu->timer_left = F(cpu, PREEMPTION_TIMER);
	x86_set_attention(cpu->x86, (cpu->proc & (PROC_INTERRUPT_WINDOW | PROC_NMI_WINDOW)) != 0);
}

/* "Loading MSRs": 0, or the number of the entry that fails, from 1. */
static uint64_t load_msr_area(struct hw_cpu *cpu)
{
	uint64_t at = F(cpu, ENTRY_MSR_LOAD_ADDRESS);

	for (uint64_t i = 0; i < F(cpu, ENTRY_MSR_LOAD_COUNT); i++, at += 16) {
		uint64_t head = mem_read64(cpu, at);
		uint32_t msr = (uint32_t)head;

		/* Bits 63:32 are reserved; bases of FS and GS come from the VMCS. */
		if (i >= MODEL_MSR_LIST_MAX || head >> 32 || msr == IA32_FS_BASE ||
		    msr == IA32_GS_BASE || (msr >= IA32_X2APIC_FIRST && msr <= IA32_X2APIC_LAST) ||
		    msr_write(cpu, msr, mem_read64(cpu, at + 8)) != 0)
			return i + 1;
	}
	return 0;
}

/* --- the instruction -------------------------------------------------------------- */

static enum hw_result check_launch_state(struct hw_cpu *cpu, bool launch)
{
	const struct vmcs_data *v = cpu->current;

	if (launch)
		return v->launched ? entry_fail(cpu, VMERR_VMLAUNCH_NOT_CLEAR) : HW_SUCCEED;
	if (!v->launched)
		return entry_fail(cpu, VMERR_VMRESUME_NOT_LAUNCHED);
	return v->epoch == cpu->vmx_epoch ? HW_SUCCEED
					  : entry_fail(cpu, VMERR_VMRESUME_AFTER_VMXOFF);
}

static void enter(struct hw_cpu *cpu, struct hw_gpregs *regs)
{
	uint64_t bad;

	if (!(cpu->proc2 & PROC2_VPID))
		tlb_drop_transition(cpu);
	cpu->in_guest = true;
	load_guest(cpu, regs);
	account_tag(cpu, cpu->mmu.tags.vpid, cpu->mmu.space);
	bad = load_msr_area(cpu);
	if (bad != 0) {
		cpu->refused = "MSR area (Loading MSRs)";
		exit_entry_failure(cpu, EXIT_MSR_LOADING, bad);
		return;
	}
	cpu->current->launched = true;
	cpu->current->epoch = cpu->vmx_epoch;
	run_guest(cpu);
	exit_commit(cpu, regs);
}

enum hw_result hw_enter(struct hw_cpu *cpu, struct hw_gpregs *regs, bool launch)
{
	enum hw_result r;
	uint64_t qualification;

	if (!cpu->vmx_on)
		return HW_FAULT_UD;
	if (!cpu->current)
		return HW_FAIL_INVALID;
	r = check_launch_state(cpu, launch);
	if (r != HW_SUCCEED)
		return r;
	F(cpu, HOST_RIP) = cpu->host.rip;
	F(cpu, HOST_RSP) = cpu->host.rsp;
	cache_controls(cpu);
	cpu->refused = check_controls(cpu);
	if (cpu->refused)
		return entry_fail(cpu, VMERR_ENTRY_CONTROLS);
	cpu->refused = check_host_state(cpu);
	if (cpu->refused)
		return entry_fail(cpu, VMERR_ENTRY_HOST_STATE);
	cpu->refused = check_guest_state(cpu, &qualification);
	if (cpu->refused)
		exit_entry_failure(cpu, EXIT_BAD_GUEST_STATE, qualification);
	else
		enter(cpu, regs);
	account_drain(cpu);
	return HW_SUCCEED;
}

const char *model_entry_refused(struct hw_cpu *cpu)
{
	return cpu->refused;
}
