// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Exits by events: exceptions, interrupts, windows, the end of a guest.
 * Source: SDM volume 3, "Information for VM Exits Due to Vectored Events".
 */
#include "core/vcpu_internal.h"
#include "core/vmcs.h"

/*
 * An IRET that faulted had already ended the blocking of NMIs; it will execute
 * again, so until then they are blocked. The bit means nothing for a double fault,
 * or where an event was being delivered.
 */
static void restore_nmi_blocking(struct core_vcpu *v)
{
	if (v->last.vectoring_info & INTR_VALID)
		return;
	vcpu_need(v, REG_INTERRUPTIBILITY);
	v->regs.interruptibility |= BLOCKED_BY_NMI;
	v->dirty |= REG_INTERRUPTIBILITY;
}

/* What delivery would have done before pushing: set DR6, clear DR7.GD. */
static void give_back_debug(struct core_vcpu *v)
{
	const uint64_t causes = PENDING_DBG_B_MASK | DR6_BD | DR6_BS;
	uint64_t q = vcpu_vmread(v, VMCS_EXIT_QUALIFICATION);

	v->regs.gp.dr6 = (v->regs.gp.dr6 & ~PENDING_DBG_B_MASK) | DR6_FIXED1 | (q & causes);
	vcpu_need(v, REG_DR7);
	if (v->regs.dr7 & DR7_GD) {
		v->regs.dr7 &= ~DR7_GD;
		v->dirty |= REG_DR7;
	}
}

enum exit_step exit_exception_nmi(struct core_vcpu *v, struct core_run_exit *ret)
{
	uint32_t info = (uint32_t)vcpu_vmread(v, VMCS_EXIT_INTR_INFO);
	uint32_t vector = info & INTR_VECTOR_MASK, type = info & INTR_TYPE_MASK;
	uint32_t error = 0, length = 0;

	/* The host's; hw_after_exit() has let it in. */
	if (type == INTR_TYPE_NMI)
		return EXIT_RESUME;
	/* So is a machine check that the host survived: it may have to do with the caller. */
	if (vector == VECTOR_MC)
		return exit_return(ret, CORE_RUN_KICKED);
	if (info & INTR_NMI_UNBLOCKING && vector != VECTOR_DF)
		restore_nmi_blocking(v);
	if (vector != VECTOR_DB && vector != VECTOR_AC)
		return exit_return(ret, CORE_RUN_UNEXPECTED);
	if (vector == VECTOR_DB)
		give_back_debug(v);
	if (info & INTR_ERROR_CODE)
		error = (uint32_t)vcpu_vmread(v, VMCS_EXIT_INTR_ERROR_CODE);
	if (type == INTR_TYPE_PRIV_SOFT_EXCEPTION)
		length = (uint32_t)v->last.insn_length;
	event_raise_info(v, vector | type | (info & INTR_ERROR_CODE), error, length);
	return EXIT_RESUME;
}

enum exit_step exit_external_interrupt(struct core_vcpu *v, struct core_run_exit *ret)
{
	(void)v;
	return exit_return(ret, CORE_RUN_KICKED);
}

/* The next entry finds the window open, and clears the control. */
enum exit_step exit_interrupt_window(struct core_vcpu *v, struct core_run_exit *ret)
{
	(void)v;
	(void)ret;
	return EXIT_RESUME;
}

enum exit_step exit_nmi_window(struct core_vcpu *v, struct core_run_exit *ret)
{
	return exit_interrupt_window(v, ret);
}

enum exit_step exit_triple_fault(struct core_vcpu *v, struct core_run_exit *ret)
{
	(void)v;
	return exit_return(ret, CORE_RUN_TRIPLE_FAULT);
}
