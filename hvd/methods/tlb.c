// SPDX-License-Identifier: MIT
/* vpid.list, tlb.stats, tlb.entries */
#include "hvd/methods/stats.h"

static void no_memory(struct call *c)
{
	call_failf(c, PROTO_ERROR_NO_MEMORY, "", "out of memory for the reply");
}

/* The VM of an engine's id; NULL if it is not known (any more). */
static const char *vm_name(struct call *c, uint64_t id)
{
	const struct vm *vm = registry_find_id(c->hvd->registry, id);

	return vm ? proto_strdup(&c->arena, vm->name) : NULL;
}

/* A request about one VM, or (name NULL) about all. */
static void ask(struct call *c, const char *name, struct engine_request *req, call_done_fn *done)
{
	if (name && !call_find_vm(c, name))
		return;
	req->vm = name ? c->vm->id : 0;
	call_submit(c, req, NULL, 0, NULL, 0, done);
}

/* --- vpid.list ------------------------------------------------------------------------- */

static void describe_vpid(const struct engine_vpid *in, const char *vm, struct proto_vpid *out)
{
	*out = (struct proto_vpid){
		.vm = vm,
		.vcpu = in->vcpu,
		.processor = in->processor,
		.enabled = in->use_vpid != 0,
		.valid = in->valid != 0,
		.generation = in->generation,
		.pool_generation = in->pool_generation,
		.pool_left = in->pool_left,
		.pool_limit = in->pool_limit,
	};
	if (in->vpid)
		PROTO_SET(out, vpid, in->vpid);
	if (in->tlb_valid) {
		out->held.i1 = in->held_i1;
		out->held.d1 = in->held_d1;
		out->held.l2 = in->held_l2;
		out->has_held = true;
	}
}

static void on_vpids(struct call *c, const struct engine_event *ev)
{
	const struct engine_vpid *vpids = ev->payload;
	const size_t n = ev->payload_bytes / sizeof(*vpids);
	struct proto_vpid_list result = {.vpids = proto_alloc(&c->arena, n, sizeof(*result.vpids))};

	if (!result.vpids) {
		no_memory(c);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		const char *vm = vm_name(c, vpids[i].vm);

		if (vm)
			describe_vpid(&vpids[i], vm, &result.vpids[result.vpids_count++]);
	}
	call_reply(c, &result);
}

void method_vpid_list(struct call *c)
{
	const struct proto_vpid_list_params *p = c->params;
	struct engine_request req = {.op = ENGINE_VPID_LIST};

	ask(c, p->vm, &req, on_vpids);
}

/* --- tlb.stats -------------------------------------------------------------------------- */

static void on_tlb_stats(struct call *c, const struct engine_event *ev)
{
	struct proto_tlb_stats result = {0};

	if (stats_take_tlb(c->hvd, &c->arena, ev, &result.vcpus, &result.vcpus_count))
		no_memory(c);
	else
		call_reply(c, &result);
}

void method_tlb_stats(struct call *c)
{
	const struct proto_vm_params *p = c->params;
	struct engine_request req = {.op = ENGINE_TLB_STATS};

	ask(c, p->vm, &req, on_tlb_stats);
}

/* --- tlb.entries --------------------------------------------------------------------------- */

static uint32_t permissions(const struct engine_tlb_entry *e)
{
	return (e->read ? ENGINE_PROT_R : 0u) | (e->write ? ENGINE_PROT_W : 0u) |
	       (e->exec ? ENGINE_PROT_X : 0u);
}

static void describe_entry(struct call *c, const struct engine_tlb_entry *in,
			   struct proto_tlb_entry *out)
{
	const char *vm = in->vm ? vm_name(c, in->vm) : NULL;

	*out = (struct proto_tlb_entry){
		.structure = in->structure,
		.level = in->level,
		.address = in->linear,
		.hpa = in->host,
		.page_bytes = in->page_bytes,
		.vpid = in->vpid,
		.pcid = in->pcid,
		.ep4ta = in->ep4ta,
		.global = in->global != 0,
		.dirty = in->dirty != 0,
		.permissions = permissions(in),
		.user = in->user != 0,
	};
	if (vm) {
		PROTO_SET(out, vm, vm);
		/* Guest-physical mappings are the VM's, and none of its vCPUs'. */
		if (in->vcpu != UINT32_MAX)
			PROTO_SET(out, vcpu, in->vcpu);
	}
}

static void on_entries(struct call *c, const struct engine_event *ev)
{
	const struct proto_tlb_entries_params *p = c->params;
	const struct engine_tlb_entry *entries = ev->payload;
	const size_t n = ev->payload_bytes / sizeof(*entries);
	struct proto_tlb_entries result = {
		.processor = p->processor,
		.total = ev->total,
		.entries = proto_alloc(&c->arena, n, sizeof(*result.entries)),
		.entries_count = n,
	};

	if (!result.entries) {
		no_memory(c);
		return;
	}
	if (n && p->skip + n < ev->total)
		PROTO_SET(&result, next_skip, p->skip + n);
	for (size_t i = 0; i < n; i++)
		describe_entry(c, &entries[i], &result.entries[i]);
	call_reply(c, &result);
}

void method_tlb_entries(struct call *c)
{
	const struct proto_tlb_entries_params *p = c->params;
	struct engine_request req = {.op = ENGINE_TLB_ENTRIES};

	req.u.tlb_entries = (struct engine_tlb_entries_req){
		.processor = p->processor,
		.max = p->max,
		.skip = p->skip,
		.vpid = p->has_vpid ? (int32_t)p->vpid : -1,
	};
	for (size_t i = 0; i < p->structures_count; i++)
		req.u.tlb_entries.structures |= 1u << p->structures[i];
	if (p->processor >= c->hvd->engine_info.processors) {
		call_failf(c, PROTO_ERROR_NOT_FOUND, "processor", "%u: there are %u processors",
			   p->processor, c->hvd->engine_info.processors);
		return;
	}
	ask(c, p->vm, &req, on_entries);
}
