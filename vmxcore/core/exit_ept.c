// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * EPT violations and misconfigurations. RIP stays at the instruction; what was
 * being delivered is delivered again.
 * Source: SDM volume 3, "EPT Violations", "Exit Qualification for EPT Violations".
 */
#include "core/vcpu_internal.h"
#include "core/vmcs.h"

_Static_assert(EPTV_READ == CORE_PROT_R && EPTV_WRITE == CORE_PROT_W && EPTV_FETCH == CORE_PROT_X,
	       "the access bits of the qualification are permissions");

#define ACCESS_MASK (EPTV_READ | EPTV_WRITE | EPTV_FETCH)

enum access_verdict {
	ACCESS_ALLOWED, /* by the mappings and by the EPT as they are now */
	ACCESS_DENIED,
	ACCESS_UNMAPPED,
	ACCESS_INCONSISTENT, /* the mappings allow it and the EPT doesn't */
};

static enum access_verdict judge(struct core_as *as, gpa_t a, uint32_t access)
{
	struct core_range range;
	struct core_leaf leaf;

	if (core_as_lookup(as, a, &range) < 0)
		return ACCESS_UNMAPPED;
	if (access & ~range.prot)
		return ACCESS_DENIED;
	if (core_as_leaf(as, a, &leaf) < 0 || access & ~leaf.entry)
		return ACCESS_INCONSISTENT;
	return ACCESS_ALLOWED;
}

static const enum core_run_reason verdict_reason[] = {
	[ACCESS_DENIED] = CORE_RUN_EPT_DENIED,
	[ACCESS_UNMAPPED] = CORE_RUN_EMULATE,
	[ACCESS_INCONSISTENT] = CORE_RUN_UNEXPECTED,
};

/*
 * A change may come between the two looks that judge() takes, so one inconsistent
 * answer proves nothing; the same several times in a row does.
 */
#define LOOKS 8

enum exit_step exit_ept_violation(struct core_vcpu *v, struct core_run_exit *ret)
{
	uint64_t q = vcpu_vmread(v, VMCS_EXIT_QUALIFICATION);
	gpa_t a = gpa(vcpu_vmread(v, VMCS_GUEST_PHYSICAL_ADDRESS));
	enum access_verdict verdict = ACCESS_INCONSISTENT;

	/* As for a fault of IRET: see exit_exception_nmi(). */
	if (q & EPTV_NMI_UNBLOCKING && !(v->last.vectoring_info & INTR_VALID)) {
		vcpu_need(v, REG_INTERRUPTIBILITY);
		v->regs.interruptibility |= BLOCKED_BY_NMI;
		v->dirty |= REG_INTERRUPTIBILITY;
	}
	for (unsigned i = 0; i < LOOKS && verdict == ACCESS_INCONSISTENT; i++)
		verdict = judge(v->vm->as, a, (uint32_t)(q & ACCESS_MASK));
	/* The violation itself has dropped the stale translation. */
	if (verdict == ACCESS_ALLOWED) {
		core_stat_add(&v->stats, CORE_STAT_EPT_RETRIES, 1);
		return EXIT_RESUME;
	}
	return exit_return(ret, verdict_reason[verdict]);
}

enum exit_step exit_ept_misconfig(struct core_vcpu *v, struct core_run_exit *ret)
{
	(void)v;
	return exit_return(ret, CORE_RUN_EPT_MISCONFIG);
}
