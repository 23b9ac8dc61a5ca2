/* SPDX-License-Identifier: MIT */
/* VM exits: information fields, saving guest state, loading host state ("VM Exits"). */
#include "hw/model/processor.h"

#define CR0_KEPT (CR0_ET | CR0_NW | CR0_CD)
/* VMX-abort indicator: "loading host MSRs" failed ("VMX Aborts"). */
#define REGION_ABORT 4u
#define ABORT_HOST_MSRS 4u
#define ABORT_SAVING_MSRS 1u

enum x86_result exit_with(struct hw_cpu *cpu, enum model_exit reason, uint64_t qualification)
{
	cpu->exit = (struct exit_info){.reason = reason, .qualification = qualification};
	return X86_EXIT;
}

enum x86_result exit_insn(struct hw_cpu *cpu, enum model_exit reason, uint64_t qualification)
{
	exit_with(cpu, reason, qualification);
	cpu->exit.insn_length_valid = true;
	return X86_EXIT;
}

/* --- "Recording VM-Exit Information and Updating VM-Entry Control Fields" --------- */

static bool software_event(uint32_t info)
{
	uint32_t type = info & INTR_TYPE_MASK;

	return type == INTR_TYPE_SOFT_INT || type == INTR_TYPE_PRIV_SOFT_EXCEPTION ||
	       type == INTR_TYPE_SOFT_EXCEPTION;
}

static void record(struct hw_cpu *cpu)
{
	const struct exit_info *e = &cpu->exit;
	const struct x86_state *st = cpu->st;
	bool vectoring = (st->vectoring_info & INTR_VALID) != 0;
	bool length = e->insn_length_valid || (vectoring && software_event(st->vectoring_info));

	F(cpu, EXIT_REASON) = e->reason;
	F(cpu, EXIT_QUALIFICATION) = e->qualification;
	F(cpu, GUEST_LINEAR_ADDRESS) = e->linear;
	F(cpu, GUEST_PHYSICAL_ADDRESS) = e->gpa;
	F(cpu, EXIT_INTR_INFO) = e->intr_info;
	F(cpu, EXIT_INTR_ERROR_CODE) = e->intr_error;
	F(cpu, IDT_VECTORING_INFO) = vectoring ? st->vectoring_info : 0;
	F(cpu, IDT_VECTORING_ERROR_CODE) =
		vectoring && (st->vectoring_info & INTR_ERROR_CODE) ? st->vectoring_error : 0;
	F(cpu, EXIT_INSTRUCTION_LENGTH) = length ? st->insn_length : 0;
	F(cpu, EXIT_INSTRUCTION_INFO) = e->insn_info;
	F(cpu, ENTRY_INTR_INFO) &= ~(uint64_t)INTR_VALID;
	if (st->efer & EFER_LMA)
		F(cpu, ENTRY_CONTROLS) |= VMENTRY_IA32E_GUEST;
	else
		F(cpu, ENTRY_CONTROLS) &= ~(uint64_t)VMENTRY_IA32E_GUEST;
}

/* --- "Saving Guest State" --------------------------------------------------------- */

static void save_segments(struct hw_cpu *cpu)
{
	uint64_t *field = cpu->current->field;
	const struct x86_state *st = cpu->st;

	for (unsigned i = 0; i < X86_SEG_COUNT; i++) {
		const struct segment_fields *f = &segment_fields[i];

		field[f->base] = st->seg[i].base;
		field[f->limit] = st->seg[i].limit;
		field[f->ar] = st->seg[i].ar;
		field[f->selector] = st->seg[i].sel;
	}
	F(cpu, GUEST_GDTR_BASE) = st->gdtr.base;
	F(cpu, GUEST_GDTR_LIMIT) = st->gdtr.limit;
	F(cpu, GUEST_IDTR_BASE) = st->idtr.base;
	F(cpu, GUEST_IDTR_LIMIT) = st->idtr.limit;
}

static void save_msrs(struct hw_cpu *cpu)
{
	const struct x86_state *st = cpu->st;

	F(cpu, GUEST_SYSENTER_CS) = (uint32_t)st->sysenter_cs;
	F(cpu, GUEST_SYSENTER_ESP) = st->sysenter_esp;
	F(cpu, GUEST_SYSENTER_EIP) = st->sysenter_eip;
	if (cpu->exit_ctl & VMEXIT_SAVE_PAT)
		F(cpu, GUEST_PAT) = st->pat;
	if (cpu->exit_ctl & VMEXIT_SAVE_EFER)
		F(cpu, GUEST_EFER) = st->efer;
	if (cpu->exit_ctl & VMEXIT_SAVE_DEBUG) {
		F(cpu, GUEST_DR7) = st->dr[7];
		F(cpu, GUEST_DEBUGCTL) = cpu->debugctl;
	}
}

static void save_pdptes(struct hw_cpu *cpu)
{
	if (!(cpu->proc2 & PROC2_EPT) || cpu->mmu.mode != PAGING_PAE)
		return;
	F(cpu, GUEST_PDPTE0) = cpu->mmu.pdpte[0];
	F(cpu, GUEST_PDPTE1) = cpu->mmu.pdpte[1];
	F(cpu, GUEST_PDPTE2) = cpu->mmu.pdpte[2];
	F(cpu, GUEST_PDPTE3) = cpu->mmu.pdpte[3];
}

static void save_guest(struct hw_cpu *cpu, struct hw_gpregs *regs)
{
	const struct x86_state *st = cpu->st;

	F(cpu, GUEST_RIP) = st->rip;
	F(cpu, GUEST_RSP) = st->gpr[X86_RSP];
	F(cpu, GUEST_RFLAGS) = st->rflags;
	F(cpu, GUEST_CR0) = st->cr0;
	F(cpu, GUEST_CR3) = st->cr3;
	F(cpu, GUEST_CR4) = st->cr4;
	F(cpu, GUEST_INTERRUPTIBILITY) = st->interruptibility;
	F(cpu, GUEST_ACTIVITY) = st->activity;
	save_segments(cpu);
	save_msrs(cpu);
	save_pdptes(cpu);
	if (cpu->exit_ctl & VMEXIT_SAVE_PREEMPTION_TIMER)
		F(cpu, PREEMPTION_TIMER) = cpu->timer_left;
	memcpy(regs->r, st->gpr, sizeof(regs->r));
	regs->cr2 = st->cr2;
	memcpy(regs->dr, st->dr, sizeof(regs->dr));
	regs->dr6 = st->dr[6];
}

/* --- MSR areas, and the end of a processor that can't go on ----------------------- */

/* The processor shuts down: no VMX instruction works on it any more. */
static void vmx_abort(struct hw_cpu *cpu, uint32_t indicator)
{
	uint64_t head = mem_read64(cpu, cpu->current->hpa);

	mem_write64(cpu, cpu->current->hpa,
		    (head & 0xffffffffu) | (uint64_t)indicator << 8 * REGION_ABORT);
	cpu->vmx_on = false;
	cpu->current = NULL;
}

static bool store_msr_area(struct hw_cpu *cpu)
{
	uint64_t at = F(cpu, EXIT_MSR_STORE_ADDRESS), value;

	for (uint64_t i = 0; i < F(cpu, EXIT_MSR_STORE_COUNT); i++, at += 16) {
		uint64_t head = mem_read64(cpu, at);

		if (i >= MODEL_MSR_LIST_MAX || head >> 32 ||
		    msr_read(cpu, (uint32_t)head, &value) != 0)
			return false;
		mem_write64(cpu, at + 8, value);
	}
	return true;
}

static bool load_msr_area(struct hw_cpu *cpu)
{
	uint64_t at = F(cpu, EXIT_MSR_LOAD_ADDRESS);

	for (uint64_t i = 0; i < F(cpu, EXIT_MSR_LOAD_COUNT); i++, at += 16) {
		uint64_t head = mem_read64(cpu, at);
		uint32_t msr = (uint32_t)head;

		if (i >= MODEL_MSR_LIST_MAX || head >> 32 || msr == IA32_FS_BASE ||
		    msr == IA32_GS_BASE || msr_write_root(cpu, msr, mem_read64(cpu, at + 8)) != 0)
			return false;
	}
	return true;
}

/* --- "Loading Host State" --------------------------------------------------------- */

static void load_host(struct hw_cpu *cpu)
{
	struct host_regs *h = &cpu->host;

	h->cr0 = (F(cpu, HOST_CR0) & ~CR0_KEPT) | (cpu->st->cr0 & CR0_KEPT);
	h->cr3 = F(cpu, HOST_CR3);
	h->cr4 = F(cpu, HOST_CR4);
	h->efer |= EFER_LMA | EFER_LME;
	if (cpu->exit_ctl & VMEXIT_LOAD_EFER)
		h->efer = F(cpu, HOST_EFER);
	if (cpu->exit_ctl & VMEXIT_LOAD_PAT)
		h->pat = F(cpu, HOST_PAT);
	h->sysenter_cs = F(cpu, HOST_SYSENTER_CS);
	h->sysenter_esp = F(cpu, HOST_SYSENTER_ESP);
	h->sysenter_eip = F(cpu, HOST_SYSENTER_EIP);
	h->es = (uint16_t)F(cpu, HOST_ES_SELECTOR);
	h->cs = (uint16_t)F(cpu, HOST_CS_SELECTOR);
	h->ss = (uint16_t)F(cpu, HOST_SS_SELECTOR);
	h->ds = (uint16_t)F(cpu, HOST_DS_SELECTOR);
	h->fs = (uint16_t)F(cpu, HOST_FS_SELECTOR);
	h->gs = (uint16_t)F(cpu, HOST_GS_SELECTOR);
	h->tr = (uint16_t)F(cpu, HOST_TR_SELECTOR);
	h->fs_base = F(cpu, HOST_FS_BASE);
	h->gs_base = F(cpu, HOST_GS_BASE);
	h->tr_base = F(cpu, HOST_TR_BASE);
	h->gdtr_base = F(cpu, HOST_GDTR_BASE);
	h->idtr_base = F(cpu, HOST_IDTR_BASE);
	cpu->debugctl = 0;
}

static void finish(struct hw_cpu *cpu)
{
	cpu->in_guest = false;
	load_host(cpu);
	if (!load_msr_area(cpu))
		vmx_abort(cpu, ABORT_HOST_MSRS);
}

void exit_commit(struct hw_cpu *cpu, struct hw_gpregs *regs)
{
	record(cpu);
	save_guest(cpu, regs);
	if (!store_msr_area(cpu)) {
		cpu->in_guest = false;
		vmx_abort(cpu, ABORT_SAVING_MSRS);
		return;
	}
	if (!(cpu->proc2 & PROC2_VPID))
		tlb_drop_transition(cpu);
	finish(cpu);
}

/* "VM-Entry Failures During or After Loading Guest State" */
void exit_entry_failure(struct hw_cpu *cpu, enum model_exit reason, uint64_t qualification)
{
	F(cpu, EXIT_REASON) = reason | EXIT_REASON_ENTRY_FAILURE;
	F(cpu, EXIT_QUALIFICATION) = qualification;
	finish(cpu);
}
