// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Exit reasons: names, and the handler of each. */
#include "core/exit.h"
#include "core/vcpu_internal.h"
#include "core/vmcs.h"

struct exit_info {
	const char *name, *doc;
};

static const struct exit_info exit_infos[VMX_EXIT_REASONS] = {
#define EXIT_REASON(number, NAME, name_, handler, doc_) [number] = {.name = (name_), .doc = (doc_)},
#include "core/exits.def"
#undef EXIT_REASON
};

static const struct exit_info *info_of(uint32_t basic_reason)
{
	static const struct exit_info none;

	return basic_reason < VMX_EXIT_REASONS ? &exit_infos[basic_reason] : &none;
}

const char *core_exit_name(uint32_t basic_reason)
{
	return info_of(basic_reason)->name;
}

const char *core_exit_doc(uint32_t basic_reason)
{
	return info_of(basic_reason)->doc;
}

const exit_handler exit_handlers[VMX_EXIT_REASONS] = {
#define EXIT_REASON(number, NAME, name, handler, doc) [number] = exit_##handler,
#include "core/exits.def"
#undef EXIT_REASON
};

/* The default: the report that core_vcpu_run() fills says it all. */
enum exit_step exit_unexpected(struct core_vcpu *v, struct core_run_exit *ret)
{
	(void)v;
	return exit_return(ret, CORE_RUN_UNEXPECTED);
}

/* --- the trace ----------------------------------------------------------------------------- */

/* "Exit Qualification for EPT Violations"; a misconfiguration has none. */
static void fill_violation(struct core_vcpu *v, struct core_trace_record *r)
{
	r->gpa = gpa(vcpu_vmread(v, VMCS_GUEST_PHYSICAL_ADDRESS));
	if (r->exit_reason == VMX_EXIT_EPT_MISCONFIG)
		return;
	r->qualification = vcpu_vmread(v, VMCS_EXIT_QUALIFICATION);
	r->gva_valid = r->qualification & EPTV_LINEAR_VALID;
	if (r->gva_valid)
		r->gva = gva(vcpu_vmread(v, VMCS_GUEST_LINEAR_ADDRESS));
}

void exit_trace(struct core_vcpu *v, uint32_t basic)
{
	bool ept = basic == VMX_EXIT_EPT_VIOLATION || basic == VMX_EXIT_EPT_MISCONFIG;
	struct core_trace_record r = {
		.vcpu = v->index,
		.processor = (uint16_t)v->active_cpu,
		.exit_reason = (uint16_t)basic,
		.vpid = v->vm->use_vpid ? v->tag.vpid : 0,
		.kind = ept ? CORE_TRACE_VIOLATION : CORE_TRACE_EXIT,
	};

	if (!core_trace_wants(&v->vm->trace, r.kind, basic))
		return;
	/* Past the register cache, so that a run is the same with and without a trace. */
	r.rip = vcpu_vmread(v, VMCS_GUEST_RIP);
	if (ept)
		fill_violation(v, &r);
	else
		r.qualification = vcpu_vmread(v, VMCS_EXIT_QUALIFICATION);
	core_trace_add(&v->vm->trace, &r);
}
