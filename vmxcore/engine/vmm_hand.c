/* SPDX-License-Identifier: MIT */
/* INVEPT and INVVPID by hand. */
#include "engine/vmm.h"

#include <inttypes.h>
#include <stdio.h>

/* --- the instructions ------------------------------------------------------------------------- */

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
	const char *instruction, *type;
	size_t supported; /* offset in struct core_caps of a bool */
	execute_fn execute;
	bool is_invvpid, tagged, addressed;
} kinds[ENGINE_INVALIDATIONS] = {
#define CAP(x) offsetof(struct core_caps, x)
	[ENGINE_INVEPT_SINGLE] = {"INVEPT", "single-context", CAP(invept_single), invept_single,
				  false, false, false},
	[ENGINE_INVEPT_ALL] = {"INVEPT", "all-context", CAP(invept_all), invept_all, false, false,
			       false},
	[ENGINE_INVVPID_ADDRESS] = {"INVVPID", "individual-address", CAP(invvpid_address),
				    invvpid_address, true, true, true},
	[ENGINE_INVVPID_SINGLE] = {"INVVPID", "single-context", CAP(invvpid_single), invvpid_single,
				   true, true, false},
	[ENGINE_INVVPID_ALL] = {"INVVPID", "all-context", CAP(invvpid_all), invvpid_all, true,
				false, false},
	[ENGINE_INVVPID_KEEP_GLOBAL] = {"INVVPID", "single-context-retaining-globals",
					CAP(invvpid_keep_global), invvpid_keep_global, true, true,
					false},
#undef CAP
};

static bool supported(const struct core *core, uint32_t kind)
{
	bool yes;

	memcpy(&yes, (const char *)&core->caps + kinds[kind].supported, sizeof(yes));
	return yes && (!kinds[kind].is_invvpid || core->caps.vpid);
}

/* --- what is asked for --------------------------------------------------------------------- */

/* 48 bits of linear address: bits 63:47 are equal. */
static bool is_canonical(uint64_t a)
{
	return a >> 47 == 0 || a >> 47 == 0x1ffff;
}

static int check(const struct vmm *s, const struct vmm_vm *vm,
		 const struct engine_invalidate_req *q, struct vmm_reply *reply)
{
	if (q->kind >= ENGINE_INVALIDATIONS)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_KIND, ENGINE_INVALIDATIONS - 1,
				"unknown kind of invalidation %u", q->kind);
	if (!supported(s->core, q->kind))
		return vmm_fail(reply, -ENOTSUP, ENGINE_FIELD_KIND, 0, "the processor has no %s %s",
				kinds[q->kind].instruction, kinds[q->kind].type);
	if (q->processor != ENGINE_ANY_PROCESSOR && q->processor >= s->cfg.processors)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_PROCESSOR, s->cfg.processors - 1,
				"processor %u: the last is %u", q->processor,
				s->cfg.processors - 1);
	if (q->vcpu >= vm->vcpu_count)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_VCPU, vm->vcpu_count - 1,
				"vcpu %u: the last is %u", q->vcpu, vm->vcpu_count - 1);
	if (q->vpid > CORE_VPID_MAX)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_VPID, CORE_VPID_MAX,
				"VPID %u: 1 to %u are possible", q->vpid, CORE_VPID_MAX);
	if (kinds[q->kind].addressed && !is_canonical(q->gva))
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_GVA, 0,
				"0x%" PRIx64 " is not canonical: INVVPID would fail", q->gva);
	return 0;
}

/* The VPID that the instruction names. */
static int find_vpid(const struct vmm_vm *vm, const struct engine_invalidate_req *q,
		     uint32_t processor, uint16_t *ret, struct vmm_reply *reply)
{
	bool valid;
	struct core_vpid tag = core_vcpu_vpid(vm->vcpus[q->vcpu].core, &valid);

	*ret = (uint16_t)q->vpid;
	if (q->vpid || !kinds[q->kind].tagged)
		return 0;
	if (!core_vm_uses_vpid(vm->core))
		return vmm_fail(reply, -ENODATA, ENGINE_FIELD_VCPU, 0,
				"the VM uses no VPIDs: its entries and exits flush");
	if (!valid || !tag.vpid || tag.cpu != processor)
		return vmm_fail(reply, -ENODATA, ENGINE_FIELD_VCPU, 0,
				"vcpu %u has no VPID on processor %u now: nothing there is its",
				q->vcpu, processor);
	*ret = tag.vpid;
	return 0;
}

/* Bit n: processor n. */
static uint64_t processors_of(const struct vmm_vm *vm, const struct engine_invalidate_req *q)
{
	uint64_t mask = 0;
	uint32_t i;

	if (q->processor != ENGINE_ANY_PROCESSOR)
		return VMX_BIT(q->processor);
	if (kinds[q->kind].is_invvpid)
		return VMX_BIT(vm->vcpus[q->vcpu].home);
	for (i = 0; i < vm->vcpu_count; i++)
		mask |= VMX_BIT(vm->vcpus[i].home);
	return mask;
}

/* --- doing it ------------------------------------------------------------------------------ */

static int execute(struct vmm *s, struct vmm_vm *vm, const struct engine_invalidate_req *q,
		   uint32_t processor, uint16_t vpid, struct engine_invalidated *out)
{
	struct vmm_processor *p = &s->processor[processor];
	uint64_t eptp = core_as_eptp(core_vm_as(vm->core));
	const struct inval_origin origin = {
		.trace = core_vm_trace(vm->core),
		.vcpu = kinds[q->kind].tagged && !q->vpid ? q->vcpu : CORE_TRACE_NO_VCPU,
		.cause = CORE_CAUSE_REQUEST,
	};
	uint32_t before[MODEL_TLB_STRUCTURES], after[MODEL_TLB_STRUCTURES];
	int err;

	model_tlb_held(p->hw, -1, before);
	err = kinds[q->kind].execute(p->core, eptp, vpid, gva(q->gva), &origin);
	if (err)
		return err;
	model_tlb_held(p->hw, -1, after);
	*out = (struct engine_invalidated){
		.ep4ta = q->kind == ENGINE_INVEPT_SINGLE ? core_ep4ta(eptp) : 0,
		.processor = processor,
		.vpid = vpid,
		.observable = 1,
		.dropped_i1 = before[MODEL_TLB_I1] - after[MODEL_TLB_I1],
		.dropped_d1 = before[MODEL_TLB_D1] - after[MODEL_TLB_D1],
		.dropped_l2 = before[MODEL_TLB_L2] - after[MODEL_TLB_L2],
		.dropped_psc = before[MODEL_TLB_PSC] - after[MODEL_TLB_PSC],
		.dropped_gpa = before[MODEL_TLB_GPA] - after[MODEL_TLB_GPA],
	};
	snprintf(out->instruction, sizeof(out->instruction), "%s", kinds[q->kind].instruction);
	snprintf(out->type, sizeof(out->type), "%s", kinds[q->kind].type);
	return 0;
}

int vmm_invalidate(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		   struct vmm_reply *reply)
{
	const struct engine_invalidate_req *q = &rq->req.u.invalidate;
	struct engine_invalidated *out;
	uint64_t mask;
	uint32_t i, n = 0;
	uint16_t vpid;
	int err = check(s, vm, q, reply);

	if (err)
		return err;
	mask = processors_of(vm, q);
	out = vmm_payload(reply, (size_t)__builtin_popcountll(mask), sizeof(*out));
	if (!out)
		return -ENOMEM;
	for (i = 0; i < s->cfg.processors && !err; i++) {
		if (!(mask & VMX_BIT(i)))
			continue;
		err = find_vpid(vm, q, i, &vpid, reply);
		if (!err)
			err = execute(s, vm, q, i, vpid, &out[n++]);
	}
	return err;
}
