/* SPDX-License-Identifier: MIT */
/* INVEPT and INVVPID by hand on the software processor, which shows what they took. */
#include "engine/soft.h"

typedef int (*execute_fn)(struct core_cpu *cpu, uint64_t eptp, uint16_t vpid, gva_t a,
			  const struct inval_origin *origin);

static int invept_single(struct core_cpu *cpu, uint64_t eptp, uint16_t vpid, gva_t a,
			 const struct inval_origin *origin)
{
	(void)vpid;
	(void)a;
	return inval_invept(cpu, eptp, origin);
}

static int invept_all(struct core_cpu *cpu, uint64_t eptp, uint16_t vpid, gva_t a,
		      const struct inval_origin *origin)
{
	(void)eptp;
	(void)vpid;
	(void)a;
	return inval_invept_all(cpu, origin);
}

#define INVVPID(name, type)                                                          \
	static int name(struct core_cpu *cpu, uint64_t eptp, uint16_t vpid, gva_t a, \
			const struct inval_origin *origin)                           \
	{                                                                            \
		(void)eptp;                                                          \
		return inval_invvpid(cpu, type, vpid, a, origin);                    \
	}
INVVPID(invvpid_address, HW_INVVPID_ADDRESS)
INVVPID(invvpid_single, HW_INVVPID_SINGLE)
INVVPID(invvpid_all, HW_INVVPID_ALL)
INVVPID(invvpid_keep_global, HW_INVVPID_SINGLE_KEEP_GLOBAL)

/* core widens a type that the processor lacks; by hand, only what is asked for is done. */
static const struct {
	size_t supported; /* offset in struct core_caps of a bool */
	execute_fn execute;
	bool is_invvpid;
} kinds[ENGINE_INVALIDATIONS] = {
#define CAP(x) offsetof(struct core_caps, x)
	[ENGINE_INVEPT_SINGLE] = {CAP(invept_single), invept_single, false},
	[ENGINE_INVEPT_ALL] = {CAP(invept_all), invept_all, false},
	[ENGINE_INVVPID_ADDRESS] = {CAP(invvpid_address), invvpid_address, true},
	[ENGINE_INVVPID_SINGLE] = {CAP(invvpid_single), invvpid_single, true},
	[ENGINE_INVVPID_ALL] = {CAP(invvpid_all), invvpid_all, true},
	[ENGINE_INVVPID_KEEP_GLOBAL] = {CAP(invvpid_keep_global), invvpid_keep_global, true},
#undef CAP
};

uint32_t soft_invalidations(const struct vmm *s)
{
	const struct core_caps *caps = &soft_of(s)->core->caps;
	uint32_t mask = 0, kind;
	bool yes;

	for (kind = 0; kind < ENGINE_INVALIDATIONS; kind++) {
		memcpy(&yes, (const char *)caps + kinds[kind].supported, sizeof(yes));
		if (yes && (!kinds[kind].is_invvpid || caps->vpid))
			mask |= UINT32_C(1) << kind;
	}
	return mask;
}

int soft_invalidate(struct vmm_vm *vm, const struct engine_invalidate_req *q, uint32_t processor,
		    uint16_t vpid, uint32_t vcpu, struct engine_invalidated *out)
{
	const struct soft_processor *p = &soft_of(vm->machine)->processor[processor];
	const struct inval_origin origin = {
		.trace = core_vm_trace(soft_vm_of(vm)),
		.vcpu = vcpu,
		.cause = CORE_CAUSE_REQUEST,
	};
	uint32_t before[MODEL_TLB_STRUCTURES], after[MODEL_TLB_STRUCTURES];
	int err;

	model_tlb_held(p->hw, -1, before);
	err = kinds[q->kind].execute(p->core, soft_eptp(vm), vpid, gva(q->gva), &origin);
	if (err)
		return err;
	model_tlb_held(p->hw, -1, after);
	out->observable = 1;
	out->dropped_i1 = before[MODEL_TLB_I1] - after[MODEL_TLB_I1];
	out->dropped_d1 = before[MODEL_TLB_D1] - after[MODEL_TLB_D1];
	out->dropped_l2 = before[MODEL_TLB_L2] - after[MODEL_TLB_L2];
	out->dropped_psc = before[MODEL_TLB_PSC] - after[MODEL_TLB_PSC];
	out->dropped_gpa = before[MODEL_TLB_GPA] - after[MODEL_TLB_GPA];
	return 0;
}
