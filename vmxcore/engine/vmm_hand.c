/* SPDX-License-Identifier: MIT */
/* INVEPT and INVVPID by hand. */
#include "engine/vmm.h"

#include <inttypes.h>
#include <stdio.h>

static const struct {
	const char *instruction, *type;
	bool is_invvpid, tagged, addressed;
} kinds[ENGINE_INVALIDATIONS] = {
	[ENGINE_INVEPT_SINGLE] = {"INVEPT", "single-context", false, false, false},
	[ENGINE_INVEPT_ALL] = {"INVEPT", "all-context", false, false, false},
	[ENGINE_INVVPID_ADDRESS] = {"INVVPID", "individual-address", true, true, true},
	[ENGINE_INVVPID_SINGLE] = {"INVVPID", "single-context", true, true, false},
	[ENGINE_INVVPID_ALL] = {"INVVPID", "all-context", true, false, false},
	[ENGINE_INVVPID_KEEP_GLOBAL] = {"INVVPID", "single-context-retaining-globals", true, true,
					false},
};

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
	if (!(s->backend->invalidations(s) >> q->kind & 1))
		return vmm_fail(reply, -ENOTSUP, ENGINE_FIELD_KIND, 0, "the processor has no %s %s",
				kinds[q->kind].instruction, kinds[q->kind].type);
	if (q->processor != ENGINE_ANY_PROCESSOR && q->processor >= s->processors)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_PROCESSOR, s->processors - 1,
				"processor %u: the last is %u", q->processor, s->processors - 1);
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
	struct vmm_tag tag;

	*ret = (uint16_t)q->vpid;
	if (q->vpid || !kinds[q->kind].tagged)
		return 0;
	if (!vm->config.use_vpid)
		return vmm_fail(reply, -ENODATA, ENGINE_FIELD_VCPU, 0,
				"the VM uses no VPIDs: its entries and exits flush");
	vm->machine->backend->tag(&vm->vcpus[q->vcpu], &tag);
	if (!tag.valid || !tag.vpid || tag.processor != processor)
		return vmm_fail(reply, -ENODATA, ENGINE_FIELD_VCPU, 0,
				"vcpu %u has no VPID on processor %u now: nothing there is its",
				q->vcpu, processor);
	*ret = tag.vpid;
	return 0;
}

static uint32_t home_of(const struct vmm_vcpu *v)
{
	return v->pinned ? v->home : v->vm->machine->backend->processor(v);
}

/* Bit n: processor n. */
static uint64_t processors_of(const struct vmm_vm *vm, const struct engine_invalidate_req *q)
{
	uint64_t mask = 0;
	uint32_t i;

	if (q->processor != ENGINE_ANY_PROCESSOR)
		return VMX_BIT(q->processor);
	if (kinds[q->kind].is_invvpid)
		return VMX_BIT(home_of(&vm->vcpus[q->vcpu]));
	for (i = 0; i < vm->vcpu_count; i++)
		mask |= VMX_BIT(home_of(&vm->vcpus[i]));
	return mask;
}

/* --- doing it ------------------------------------------------------------------------------ */

static int execute(struct vmm_vm *vm, const struct engine_invalidate_req *q, uint32_t processor,
		   uint16_t vpid, struct engine_invalidated *out)
{
	const struct backend *b = vm->machine->backend;
	uint32_t vcpu = kinds[q->kind].tagged && !q->vpid ? q->vcpu : CORE_TRACE_NO_VCPU;
	int err = b->invalidate(vm, q, processor, vpid, vcpu, out);

	if (err)
		return err;
	out->ep4ta = q->kind == ENGINE_INVEPT_SINGLE ? core_ep4ta(b->eptp(vm)) : 0;
	out->processor = processor;
	out->vpid = vpid;
	snprintf(out->instruction, sizeof(out->instruction), "%s", kinds[q->kind].instruction);
	snprintf(out->type, sizeof(out->type), "%s", kinds[q->kind].type);
	return 0;
}

static int refuse_offline(uint32_t processor, struct vmm_reply *reply)
{
	return vmm_fail(reply, -ENODATA, ENGINE_FIELD_PROCESSOR, 0,
			"processor %u is offline: it holds nothing", processor);
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
	for (i = 0; i < s->processors; i++) {
		if (!(mask & VMX_BIT(i)))
			continue;
		err = find_vpid(vm, q, i, &vpid, reply);
		if (!err)
			err = execute(vm, q, i, vpid, &out[n]);
		if (err == -ENODEV && q->processor == i)
			return refuse_offline(i, reply);
		if (err && err != -ENODEV)
			return err;
		n += !err;
	}
	reply->payload_bytes = n * sizeof(*out);
	return 0;
}
