// SPDX-License-Identifier: MIT
/* memory.slot.remove, mappings, dirty */
#include "hvd/methods/memory.h"

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
