// SPDX-License-Identifier: MIT
/* stats.get; counters as proto's structures */
#include "hvd/methods/stats.h"
#include <string.h>

_Static_assert((int)PROTO_SCOPE_PROCESSOR == ENGINE_SCOPE_PROCESSOR &&
		       (int)PROTO_SCOPE_VM == ENGINE_SCOPE_VM &&
		       (int)PROTO_SCOPE_VCPU == ENGINE_SCOPE_VCPU,
	       "scopes");

/* NULL: it is not known (any more), or there is no memory. */
static const char *vm_name(struct hvd *h, struct proto_arena *arena, uint64_t id)
{
	const struct vm *vm = registry_find_id(h->registry, id);

	return vm ? proto_strdup(arena, vm->name) : NULL;
}

/* --- the TLB's ------------------------------------------------------------------------- */

static void describe_tlb(struct hvd *h, struct proto_arena *arena,
			 const struct engine_tlb_stats *in, struct proto_tlb_vcpu *out)
{
	const size_t bars = sizeof(in->walk_refs_histogram) / sizeof(in->walk_refs_histogram[0]);

	out->vm = vm_name(h, arena, in->vm);
	out->vcpu = in->vcpu;
	if (in->processor != UINT32_MAX)
		PROTO_SET(out, processor, in->processor);
	if (in->vpid)
		PROTO_SET(out, vpid, in->vpid);
	if (!in->observable)
		return;
	PROTO_SET(out, retired, in->retired);
#define TLB_STAT(name, unit, doc) PROTO_SET(out, name, in->name);
#include <vmxcore/tlb_stats.def>
#undef TLB_STAT
	out->held = (struct proto_tlb_cache){.i1 = in->held_i1,
					     .d1 = in->held_d1,
					     .l2 = in->held_l2,
					     .psc = in->held_psc,
					     .gpa = in->held_gpa};
	out->capacity = (struct proto_tlb_cache){.i1 = in->size_i1,
						 .d1 = in->size_d1,
						 .l2 = in->size_l2,
						 .psc = in->size_psc,
						 .gpa = in->size_gpa};
	out->has_held = out->has_capacity = true;
	out->walk_refs_histogram = proto_alloc(arena, bars, sizeof(uint64_t));
	if (!out->walk_refs_histogram)
		return;
	memcpy(out->walk_refs_histogram, in->walk_refs_histogram, bars * sizeof(uint64_t));
	out->walk_refs_histogram_count = bars;
	out->has_walk_refs_histogram = true;
}

int stats_take_tlb(struct hvd *h, struct proto_arena *arena, const struct engine_event *ev,
		   struct proto_tlb_vcpu **ret, size_t *ret_count)
{
	const struct engine_tlb_stats *stats = ev->payload;
	const size_t n = ev->payload_bytes / sizeof(*stats);
	struct proto_tlb_vcpu *vcpus = proto_alloc(arena, n, sizeof(*vcpus));

	if (!vcpus)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		describe_tlb(h, arena, &stats[i], &vcpus[i]);
	*ret = vcpus;
	*ret_count = n;
	return 0;
}

/* --- all others --------------------------------------------------------------------------- */

static bool is_named(const struct engine_stat *stat, const struct stats_filter *f)
{
	for (size_t i = 0; i < f->prefix_count; i++)
		if (!strncmp(stat->name, f->prefixes[i], strlen(f->prefixes[i])))
			return true;
	return !f->prefix_count;
}

static void describe_stat(struct hvd *h, struct proto_arena *arena, const struct engine_stat *in,
			  struct proto_stat *out)
{
	const char *vm = in->vm ? vm_name(h, arena, in->vm) : NULL;

	*out = (struct proto_stat){
		.name = proto_strndup(arena, in->name, strnlen(in->name, sizeof(in->name))),
		.unit = proto_strndup(arena, in->unit, strnlen(in->unit, sizeof(in->unit))),
		.scope = in->scope,
	};
	if (in->observable)
		PROTO_SET(out, value, in->value);
	if (vm)
		PROTO_SET(out, vm, vm);
	if (in->scope == ENGINE_SCOPE_VCPU)
		PROTO_SET(out, vcpu, in->vcpu);
	if (in->scope == ENGINE_SCOPE_PROCESSOR)
		PROTO_SET(out, processor, in->processor);
}

int stats_take(struct hvd *h, struct proto_arena *arena, const struct engine_event *ev,
	       const struct stats_filter *filter, struct proto_stat **ret, size_t *ret_count,
	       uint64_t *ret_total)
{
	const struct engine_stat *in = ev->payload;
	const size_t n = ev->payload_bytes / sizeof(*in);
	struct proto_stat *stats;
	uint64_t total = 0;
	size_t count = 0;

	stats = proto_alloc(arena, n < filter->max ? n : filter->max, sizeof(*stats));
	if (!stats)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (!is_named(&in[i], filter))
			continue;
		if (total++ >= filter->skip && count < filter->max)
			describe_stat(h, arena, &in[i], &stats[count++]);
	}
	*ret = stats;
	*ret_count = count;
	*ret_total = total;
	return 0;
}

/* --- stats.get ------------------------------------------------------------------------------ */

static void on_stats(struct call *c, const struct engine_event *ev)
{
	const struct proto_stats_params *p = c->params;
	const struct stats_filter filter = {.prefixes = p->names,
					    .prefix_count = p->names_count,
					    .skip = p->skip,
					    .max = p->max};
	struct proto_stats result = {0};

	if (stats_take(c->hvd, &c->arena, ev, &filter, &result.stats, &result.stats_count,
		       &result.total)) {
		call_failf(c, PROTO_ERROR_NO_MEMORY, "", "out of memory for the reply");
		return;
	}
	if (p->skip + result.stats_count < result.total)
		PROTO_SET(&result, next_skip, p->skip + result.stats_count);
	call_reply(c, &result);
}

void method_stats_get(struct call *c)
{
	const struct proto_stats_params *p = c->params;
	struct engine_request req = {.op = ENGINE_STATS};

	if (p->has_vm && !call_find_vm(c, p->vm))
		return;
	req.vm = p->has_vm ? c->vm->id : 0;
	call_submit(c, &req, NULL, 0, NULL, 0, on_stats);
}
