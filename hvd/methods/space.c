// SPDX-License-Identifier: MIT
/* memory.slot.remove, batch, mappings, dirty */
#include "hvd/methods/memory.h"
#include <stdio.h>
#include <string.h>

_Static_assert((int)PROTO_MAP_KIND_MAP == ENGINE_MAP && (int)PROTO_MAP_KIND_UNMAP == ENGINE_UNMAP &&
		       (int)PROTO_MAP_KIND_PROTECT == ENGINE_PROTECT &&
		       (int)PROTO_MAP_KIND_REMAP == ENGINE_REMAP,
	       "kinds of changes");
_Static_assert(PROTO_MAPPINGS_MAX <= ENGINE_MAX_MAPPINGS, "mappings of a reply");
_Static_assert(PROTO_DIRTY_BYTES_MAX == ENGINE_MAX_DIRTY_BYTES, "a range of dirty pages");

static void malformed(struct call *c)
{
	call_failf(c, PROTO_ERROR_INTERNAL, "", "the engine's reply is malformed");
}

/* --- memory.slot.remove --------------------------------------------------------------- */

static void on_slot_removed(struct call *c, const struct engine_event *ev)
{
	const struct proto_slot_params *p = c->params;
	const struct proto_slot_removed result = {.slot = p->slot, .size_bytes = ev->total};
	const uint32_t *number = c->state;
	struct slot *slot = vm_slot_by_number(c->vm, *number);

	if (ev->error.code) {
		if (slot)
			slot->ready = true;
		call_fail_engine(c, &ev->error);
		return;
	}
	vm_slot_remove(c->vm, *number);
	call_reply(c, &result);
}

/* Nobody else gets at the name until the engine has answered. */
void method_memory_slot_remove(struct call *c)
{
	const struct proto_slot_params *p = c->params;
	struct engine_request req = {.op = ENGINE_SLOT_REMOVE};
	uint32_t *number = proto_alloc(&c->arena, 1, sizeof(*number));

	if (!number) {
		call_failf(c, PROTO_ERROR_NO_MEMORY, "", "out of memory");
		return;
	}
	if (!call_find_vm(c, p->vm) || !call_find_slot(c, p->slot, number))
		return;
	c->state = number;
	vm_slot_by_number(c->vm, *number)->ready = false;
	req.vm = c->vm->id;
	req.u.slot_remove.slot = *number;
	call_submit_raw(c, &req, NULL, 0, NULL, 0, on_slot_removed);
}

/* --- memory.batch ----------------------------------------------------------------------- */

/* What each kind of change takes besides gpa and size_bytes. */
static const struct {
	bool slot, prot, type;
} takes[] = {
	[PROTO_MAP_KIND_MAP] = {true, true, true},
	[PROTO_MAP_KIND_UNMAP] = {false, false, false},
	[PROTO_MAP_KIND_PROTECT] = {false, true, false},
	[PROTO_MAP_KIND_REMAP] = {true, false, false},
};

/* The member that is there against the table, or not there; NULL: all is well. */
static const char *wrong_member(const struct proto_map_operation *o, bool *ret_missing)
{
	const bool need_prot = o->op == PROTO_MAP_KIND_PROTECT;

	*ret_missing = (takes[o->op].slot && !o->has_slot) || (need_prot && !o->has_prot);
	if (o->has_slot != takes[o->op].slot)
		return "slot";
	if (o->has_offset_bytes && !takes[o->op].slot)
		return "offset_bytes";
	if (need_prot ? !o->has_prot : o->has_prot && !takes[o->op].prot)
		return "prot";
	return o->has_memory_type && !takes[o->op].type ? "memory_type" : NULL;
}

static void fill_operation(const struct proto_map_operation *o, const struct slot *slot,
			   struct engine_map_op *out)
{
	*out = (struct engine_map_op){
		.gpa = o->gpa,
		.size_bytes = o->size_bytes,
		.offset_bytes = o->has_offset_bytes ? o->offset_bytes : 0,
		.kind = o->op,
		.slot = slot ? slot->number : 0,
		.prot = o->has_prot ? o->prot : PROTO_PROT_RWX,
		.memtype = o->has_memory_type ? o->memory_type : PROTO_MEMTYPE_WB,
	};
}

/* false: the call has failed, with the operation's member named. */
static bool check_operation(struct call *c, const struct proto_map_operation *o, size_t i,
			    struct engine_map_op *out)
{
	const char *op = proto_enum_name(&proto_enum_map_kind, o->op);
	const struct slot *slot = o->has_slot ? vm_slot_by_name(c->vm, o->slot) : NULL;
	char field[PROTO_FIELD_LEN];
	bool missing;
	const char *member = wrong_member(o, &missing);

	snprintf(field, sizeof(field), "operations[%zu].%s", i, member ? member : "slot");
	if (member && missing)
		call_failf(c, PROTO_ERROR_MISSING_PARAMETER, field, "%s needs it", op);
	else if (member)
		call_failf(c, PROTO_ERROR_INVALID_VALUE, field, "%s takes none", op);
	else if (o->has_slot && (!slot || !slot->ready))
		call_failf(c, PROTO_ERROR_NOT_FOUND, field, "%s has no slot %s", c->vm->name,
			   o->slot);
	else {
		fill_operation(o, slot, out);
		return true;
	}
	return false;
}

/* The engine tells which operation and which of its values: the reply names both. */
static void fail_operation(struct call *c, const struct engine_error *err)
{
	const char *member =
		err->field == ENGINE_FIELD_MEMTYPE ? "memory_type" : engine_field_name(err->field);
	struct proto_error e;

	call_error_from_engine(c, err, &e);
	if (err->field == ENGINE_FIELD_NONE || err->field == ENGINE_FIELD_OPERATIONS ||
	    err->field == ENGINE_FIELD_VM || err->field == ENGINE_FIELD_STATE)
		member = "";
	if (*member)
		snprintf(e.field, sizeof(e.field), "operations[%u].%s", err->index, member);
	call_fail(c, &e);
}

static void on_batch_done(struct call *c, const struct engine_event *ev)
{
	const struct proto_batch_params *p = c->params;
	struct proto_change result;

	if (ev->error.code) {
		fail_operation(c, &ev->error);
		return;
	}
	if (ev->payload_bytes < sizeof(struct engine_change)) {
		malformed(c);
		return;
	}
	memory_describe_change(c, ev->payload, p->dry_run, &result);
	call_reply(c, &result);
}

static bool check_batch(struct call *c, const struct proto_batch_params *p)
{
	if (!p->operations_count)
		call_failf(c, PROTO_ERROR_INVALID_VALUE, "operations", "one at least is needed");
	else if (p->skip_invalidation && !c->hvd->config.engine_config.unsafe_hooks)
		call_failf(c, PROTO_ERROR_DENIED, "skip_invalidation",
			   "only hvd --unsafe-hooks leaves out an invalidation");
	else
		return true;
	return false;
}

void method_memory_batch(struct call *c)
{
	const struct proto_batch_params *p = c->params;
	struct engine_request req = {.op = ENGINE_MEM_APPLY};
	struct engine_map_op *ops = proto_alloc(&c->arena, p->operations_count, sizeof(*ops));

	if (!ops) {
		call_failf(c, PROTO_ERROR_NO_MEMORY, "", "out of memory");
		return;
	}
	if (!check_batch(c, p) || !call_find_vm(c, p->vm))
		return;
	for (size_t i = 0; i < p->operations_count; i++)
		if (!check_operation(c, &p->operations[i], i, &ops[i]))
			return;
	req.vm = c->vm->id;
	req.u.apply.count = (uint32_t)p->operations_count;
	req.u.apply.flags = (p->dry_run ? ENGINE_CHANGE_DRY_RUN : 0) |
			    (p->skip_invalidation ? ENGINE_CHANGE_SKIP_INVALIDATION : 0);
	call_submit_raw(c, &req, ops, p->operations_count * sizeof(*ops), NULL, 0, on_batch_done);
}

/* --- memory.mappings ---------------------------------------------------------------------- */

static void describe_mapping(struct call *c, const struct engine_mapping *in, bool flags,
			     struct proto_mapping *out)
{
	const struct slot *slot = vm_slot_by_number(c->vm, in->slot);

	*out = (struct proto_mapping){
		.gpa = in->gpa,
		.size_bytes = in->size_bytes,
		.slot = proto_strdup(&c->arena, slot ? slot->name : "?"),
		.offset_bytes = in->offset_bytes,
		.prot = in->prot,
		.memory_type = in->memtype,
		.leaves = {.size_4k = in->leaves_4k,
			   .size_2m = in->leaves_2m,
			   .size_1g = in->leaves_1g},
	};
	if (flags) {
		PROTO_SET(out, accessed, in->leaves_accessed);
		PROTO_SET(out, dirty, in->leaves_dirty);
	}
}

static void on_mappings(struct call *c, const struct engine_event *ev)
{
	const struct engine_mappings *m = ev->payload;
	struct proto_mappings result = {.vm = c->vm->name};

	if (ev->payload_bytes < sizeof(*m) ||
	    ev->payload_bytes - sizeof(*m) < m->count * sizeof(m->mapping[0])) {
		malformed(c);
		return;
	}
	result.mappings = proto_alloc(&c->arena, m->count, sizeof(*result.mappings));
	if (!result.mappings) {
		call_failf(c, PROTO_ERROR_NO_MEMORY, "", "out of memory for the reply");
		return;
	}
	result.mappings_count = m->count;
	result.ep4ta = m->ep4ta;
	result.table_bytes = m->table_bytes;
	result.accessed_dirty = m->accessed_dirty != 0;
	if (m->more)
		PROTO_SET(&result, next_gpa, m->next_gpa);
	for (size_t i = 0; i < m->count; i++)
		describe_mapping(c, &m->mapping[i], m->accessed_dirty, &result.mappings[i]);
	call_reply(c, &result);
}

void method_memory_mappings(struct call *c)
{
	const struct proto_mappings_params *p = c->params;
	struct engine_request req = {.op = ENGINE_MAPPING_LIST};

	if (!call_find_vm(c, p->vm))
		return;
	req.vm = c->vm->id;
	req.u.mapping_list.gpa = p->gpa;
	req.u.mapping_list.max = p->max;
	call_submit(c, &req, NULL, 0, NULL, 0, on_mappings);
}

/* --- memory.dirty --------------------------------------------------------------------------- */

static void on_dirty(struct call *c, const struct engine_event *ev)
{
	const struct proto_dirty_params *p = c->params;
	struct engine_dirty *d = ev->payload;
	struct proto_dirty result = {
		.gpa = p->gpa, .size_bytes = p->size_bytes, .cleared = p->clear};

	if (ev->payload_bytes < sizeof(*d) || ev->payload_bytes - sizeof(*d) < d->bitmap_bytes) {
		malformed(c);
		return;
	}
	result.dirty_pages = d->dirty_pages;
	result.bitmap = (struct proto_bytes){.data = d->bitmap, .size = d->bitmap_bytes};
	memory_describe_change(c, &d->change, false, &result.change);
	call_reply(c, &result);
}

void method_memory_dirty(struct call *c)
{
	const struct proto_dirty_params *p = c->params;
	struct engine_request req = {.op = ENGINE_DIRTY};

	if (!call_find_vm(c, p->vm))
		return;
	req.vm = c->vm->id;
	req.u.dirty = (struct engine_dirty_req){
		.gpa = p->gpa, .size_bytes = p->size_bytes, .clear = p->clear};
	call_submit(c, &req, NULL, 0, NULL, 0, on_dirty);
}
