// SPDX-License-Identifier: MIT
/* memory.slot.add, slot.list, map, unmap, remap, protect, read, write, walk */
#include "hvd/methods/memory.h"
#include "hvd/call.h"
#include "hvd/methods/files.h"
#include <string.h>

_Static_assert((int)PROTO_PROT_R == ENGINE_PROT_R &&
		       (int)PROTO_PROT_RWX == (ENGINE_PROT_R | ENGINE_PROT_W | ENGINE_PROT_X) &&
		       (int)PROTO_ACCESS_WRITE == ENGINE_PROT_W &&
		       (int)PROTO_ACCESS_FETCH == ENGINE_PROT_X,
	       "permissions");
_Static_assert((int)PROTO_SLOT_ANON == ENGINE_SLOT_ANON &&
		       (int)PROTO_SLOT_HUGE == ENGINE_SLOT_HUGE &&
		       (int)PROTO_SLOT_FILE == ENGINE_SLOT_FILE,
	       "kinds of slots");
_Static_assert((int)PROTO_OUTCOME_EPT_MISCONFIG == ENGINE_WALK_EPT_MISCONFIG &&
		       (int)PROTO_OUTCOME_PAGE_FAULT == ENGINE_WALK_PAGE_FAULT &&
		       (int)PROTO_OUTCOME_EPT_VIOLATION == ENGINE_WALK_EPT_VIOLATION,
	       "outcomes of walks");

static void no_memory(struct call *c)
{
	call_failf(c, PROTO_ERROR_NO_MEMORY, "", "out of memory for the reply");
}

/* --- slots --------------------------------------------------------------------------- */

static void describe_slot(struct call *c, const struct engine_slot_info *in, struct proto_slot *out)
{
	const struct slot *slot = vm_slot_by_number(c->vm, in->slot);

	*out = (struct proto_slot){
		.slot = proto_strdup(&c->arena, slot ? slot->name : "?"),
		.kind = in->kind,
		.size_bytes = in->size_bytes,
		.mapped_bytes = in->mapped_bytes,
		.extents = in->extents,
		.huge = in->huge != 0,
	};
	if (in->hpa_first != UINT64_MAX)
		PROTO_SET(out, hpa_first, in->hpa_first);
}

static void on_slots(struct call *c, const struct engine_event *ev)
{
	const struct engine_slot_info *slots = ev->payload;
	const size_t n = ev->payload_bytes / sizeof(*slots);
	struct proto_slot_list result = {.slots = proto_alloc(&c->arena, n, sizeof(*result.slots)),
					 .slots_count = n};

	if (!result.slots) {
		no_memory(c);
		return;
	}
	for (size_t i = 0; i < n; i++)
		describe_slot(c, &slots[i], &result.slots[i]);
	call_reply(c, &result);
}

void method_memory_slot_list(struct call *c)
{
	const struct proto_vm_params *p = c->params;
	struct engine_request req = {.op = ENGINE_SLOT_LIST};

	if (!call_find_vm(c, p->vm))
		return;
	req.vm = c->vm->id;
	call_submit(c, &req, NULL, 0, NULL, 0, on_slots);
}

/* The reply is the new slot's row of the list. */
static void on_slots_with_new(struct call *c, const struct engine_event *ev)
{
	const struct engine_slot_info *slots = ev->payload;
	const uint32_t *number = c->state;
	struct proto_slot result;

	for (size_t i = 0; i < ev->payload_bytes / sizeof(*slots); i++) {
		if (slots[i].slot != *number)
			continue;
		describe_slot(c, &slots[i], &result);
		call_reply(c, &result);
		return;
	}
	call_failf(c, PROTO_ERROR_INTERNAL, "", "the engine does not list the new slot");
}

static void on_slot_added(struct call *c, const struct engine_event *ev)
{
	struct engine_request req = {.op = ENGINE_SLOT_LIST, .vm = c->vm->id};
	const uint32_t *number = c->state;

	if (ev->error.code) {
		vm_slot_remove(c->vm, *number);
		call_fail_engine(c, &ev->error);
		return;
	}
	vm_slot_by_number(c->vm, *number)->ready = true;
	c->committed = true;
	call_submit(c, &req, NULL, 0, NULL, 0, on_slots_with_new);
}

/* The name is taken before the engine is asked. */
static bool take_slot(struct call *c, const char *name)
{
	uint32_t *number = proto_alloc(&c->arena, 1, sizeof(*number));
	const int r = number ? vm_slot_add(c->vm, name, number) : -ENOMEM;
	struct proto_error err;

	c->state = number;
	if (!r)
		return true;
	if (r == -EEXIST) {
		proto_fail(&err, PROTO_ERROR_EXISTS, "slot", "%s has a slot %s already",
			   c->vm->name, name);
	} else if (r == -ENOSPC) {
		proto_fail(&err, PROTO_ERROR_LIMIT, "slot", "%s has %u slots already", c->vm->name,
			   HVD_SLOTS_MAX);
		err.has_limit = true;
		err.limit = HVD_SLOTS_MAX;
	} else {
		proto_fail(&err, PROTO_ERROR_NO_MEMORY, "", "out of memory");
	}
	call_fail(c, &err);
	return false;
}

void method_memory_slot_add(struct call *c)
{
	const struct proto_slot_add_params *p = c->params;
	struct engine_request req = {.op = ENGINE_SLOT_ADD};
	struct files files = {.count = 0};
	struct proto_error err;

	if (p->has_file && p->huge) {
		call_failf(c, PROTO_ERROR_INVALID_VALUE, "huge", "a file's pages are the file's");
		return;
	}
	if (p->has_file_offset_bytes && !p->has_file) {
		call_failf(c, PROTO_ERROR_INVALID_VALUE, "file_offset_bytes", "needs a file");
		return;
	}
	if (!call_find_vm(c, p->vm))
		return;
	if (p->has_file && !files_add(c, &p->file, "file", true, &files, &err)) {
		files_close(&files);
		call_fail(c, &err);
		return;
	}
	if (take_slot(c, p->slot)) {
		req.vm = c->vm->id;
		req.u.slot_add = (struct engine_slot_add){
			.size_bytes = p->size_bytes,
			.file_offset = p->file_offset_bytes,
			.slot = *(uint32_t *)c->state,
			.kind = p->has_file ? ENGINE_SLOT_FILE
				: p->huge   ? ENGINE_SLOT_HUGE
					    : ENGINE_SLOT_ANON,
		};
		call_submit_raw(c, &req, NULL, 0, files.fds, files.count, on_slot_added);
	}
	files_close(&files);
}

/* --- mappings ------------------------------------------------------------------------------ */

static const char *or_null(struct call *c, const char *text)
{
	return *text ? proto_strdup(&c->arena, text) : NULL;
}

void memory_describe_change(struct call *c, const struct engine_change *in, bool dry_run,
			    struct proto_change *out)
{
	struct proto_invalidation *inv = &out->invalidation;
	const char *text;

	*out = (struct proto_change){
		.dry_run = dry_run,
		.entries_written = in->entries_written,
		.entries_split = in->entries_split,
		.tables_merged = in->tables_merged,
		.tables_allocated = in->tables_allocated,
		.tables_freed = in->tables_freed,
		.ep4ta = in->ep4ta,
		.invept_issued = in->invept_issued,
		.processors_interrupted = in->processors_interrupted,
		.processors_deferred = in->processors_deferred,
	};
	inv->need = in->need;
	inv->reason = proto_strdup(&c->arena, in->reason);
	inv->text = proto_strdup(&c->arena, in->text);
	text = or_null(c, in->instruction);
	if (text)
		PROTO_SET(inv, instruction, text);
	text = or_null(c, in->type);
	if (text)
		PROTO_SET(inv, type, text);
	text = or_null(c, in->section);
	if (text)
		PROTO_SET(inv, section, text);
}

static void on_changed(struct call *c, const struct engine_event *ev)
{
	const bool *dry_run = c->state;
	struct proto_change result;

	if (ev->payload_bytes < sizeof(struct engine_change)) {
		call_failf(c, PROTO_ERROR_INTERNAL, "", "the engine's reply is too short");
		return;
	}
	memory_describe_change(c, ev->payload, *dry_run, &result);
	call_reply(c, &result);
}

/* slot: NULL for operations that name none. */
static void change(struct call *c, const char *vm, const char *slot, struct engine_map_op op,
		   bool *dry_run, bool skip_invalidation)
{
	struct engine_request req = {.op = ENGINE_MEM_APPLY};

	if (skip_invalidation && !c->hvd->config.engine_config.unsafe_hooks) {
		call_failf(c, PROTO_ERROR_DENIED, "skip_invalidation",
			   "only hvd --unsafe-hooks leaves out an invalidation");
		return;
	}
	if (!call_find_vm(c, vm) || (slot && !call_find_slot(c, slot, &op.slot)))
		return;
	c->state = dry_run;
	req.vm = c->vm->id;
	req.u.apply.count = 1;
	req.u.apply.flags = (*dry_run ? ENGINE_CHANGE_DRY_RUN : 0) |
			    (skip_invalidation ? ENGINE_CHANGE_SKIP_INVALIDATION : 0);
	call_submit(c, &req, &op, sizeof(op), NULL, 0, on_changed);
}

void method_memory_map(struct call *c)
{
	struct proto_map_params *p = c->params;
	const struct engine_map_op op = {.kind = ENGINE_MAP,
					 .gpa = p->gpa,
					 .size_bytes = p->size_bytes,
					 .offset_bytes = p->offset_bytes,
					 .prot = p->prot,
					 .memtype = p->memory_type};

	change(c, p->vm, p->slot, op, &p->dry_run, p->skip_invalidation);
}

void method_memory_unmap(struct call *c)
{
	struct proto_unmap_params *p = c->params;
	const struct engine_map_op op = {
		.kind = ENGINE_UNMAP, .gpa = p->gpa, .size_bytes = p->size_bytes};

	change(c, p->vm, NULL, op, &p->dry_run, p->skip_invalidation);
}

void method_memory_remap(struct call *c)
{
	struct proto_remap_params *p = c->params;
	const struct engine_map_op op = {.kind = ENGINE_REMAP,
					 .gpa = p->gpa,
					 .size_bytes = p->size_bytes,
					 .offset_bytes = p->offset_bytes};

	change(c, p->vm, p->slot, op, &p->dry_run, p->skip_invalidation);
}

void method_memory_protect(struct call *c)
{
	struct proto_protect_params *p = c->params;
	const struct engine_map_op op = {.kind = ENGINE_PROTECT,
					 .gpa = p->gpa,
					 .size_bytes = p->size_bytes,
					 .prot = p->prot};

	change(c, p->vm, NULL, op, &p->dry_run, p->skip_invalidation);
}

/* --- content ---------------------------------------------------------------------------------- */

/* The ways to name memory that memory.read and memory.write share. */
struct target {
	bool has_gpa, has_gva, has_vcpu, has_slot, has_offset;
	uint64_t gpa, gva, offset;
	uint32_t vcpu;
	const char *slot;
};

#define TARGET(p)                                                                                  \
	{                                                                                          \
		.has_gpa = (p)->has_gpa, .has_gva = (p)->has_gva, .has_vcpu = (p)->has_vcpu,       \
		.has_slot = (p)->has_slot, .has_offset = (p)->has_offset_bytes, .gpa = (p)->gpa,   \
		.gva = (p)->gva, .offset = (p)->offset_bytes, .vcpu = (p)->vcpu, .slot = (p)->slot \
	}

/* false: the call has failed */
static bool check_target(struct call *c, const struct target *t)
{
	const int given = t->has_gpa + t->has_gva + t->has_slot;

	if (!given)
		call_failf(c, PROTO_ERROR_MISSING_PARAMETER, "gpa",
			   "one of gpa, gva and slot is needed");
	else if (given > 1)
		call_failf(c, PROTO_ERROR_INVALID_VALUE, t->has_slot ? "slot" : "gva",
			   "only one of gpa, gva and slot can be given");
	else if (t->has_vcpu && !t->has_gva)
		call_failf(c, PROTO_ERROR_INVALID_VALUE, "vcpu", "goes with gva only");
	else if (t->has_offset && !t->has_slot)
		call_failf(c, PROTO_ERROR_INVALID_VALUE, "offset_bytes", "goes with slot only");
	else
		return true;
	return false;
}

/* The slot's number is filled in by the caller, who has looked it up. */
static struct engine_mem_io target_io(const struct target *t, uint32_t size_bytes)
{
	return (struct engine_mem_io){
		.address = t->has_gpa	? t->gpa
			   : t->has_gva ? t->gva
					: t->offset,
		.size_bytes = size_bytes,
		.kind = t->has_gpa   ? ENGINE_ADDR_GPA
			: t->has_gva ? ENGINE_ADDR_GVA
				     : ENGINE_ADDR_SLOT,
		.vcpu = t->vcpu,
	};
}

static bool prepare_io(struct call *c, const char *vm, const struct target *t, uint64_t size_bytes,
		       struct engine_request *req)
{
	if (!check_target(c, t) || !call_find_vm(c, vm))
		return false;
	req->vm = c->vm->id;
	req->u.mem = target_io(t, (uint32_t)size_bytes);
	return !t->has_slot || call_find_slot(c, t->slot, &req->u.mem.slot);
}

static void on_read(struct call *c, const struct engine_event *ev)
{
	const struct proto_read_result result = {
		.size_bytes = ev->payload_bytes,
		.data = {.data = ev->payload, .size = ev->payload_bytes},
	};

	call_reply(c, &result);
}

void method_memory_read(struct call *c)
{
	const struct proto_read_params *p = c->params;
	const struct target t = TARGET(p);
	struct engine_request req = {.op = ENGINE_MEM_READ};

	if (prepare_io(c, p->vm, &t, p->size_bytes, &req))
		call_submit(c, &req, NULL, 0, NULL, 0, on_read);
}

static void on_written(struct call *c, const struct engine_event *ev)
{
	const struct proto_write_params *p = c->params;
	const struct proto_write_result result = {.size_bytes = p->data.size};

	(void)ev;
	call_reply(c, &result);
}

void method_memory_write(struct call *c)
{
	const struct proto_write_params *p = c->params;
	const struct target t = TARGET(p);
	struct engine_request req = {.op = ENGINE_MEM_WRITE};

	if (prepare_io(c, p->vm, &t, p->data.size, &req))
		call_submit(c, &req, p->data.data, p->data.size, NULL, 0, on_written);
}

/* --- walks --------------------------------------------------------------------------------- */

static void describe_ref(const struct engine_walk_ref *in, struct proto_walk_ref *out)
{
	out->dimension = in->dimension;
	out->level = in->level;
	out->hpa = in->hpa;
	out->entry = in->entry;
	out->leaf = in->leaf != 0;
	PROTO_SET(out, gpa, in->gpa);
	if (in->dimension == PROTO_DIMENSION_EPT)
		PROTO_SET(out, for_level, in->for_level);
	if (in->cached_valid)
		PROTO_SET(out, cached, in->cached != 0);
}

/* What there is only if the walk came to an end of that kind. */
static void describe_outcome(struct call *c, const struct engine_walk *in, struct proto_walk *out)
{
	const struct slot *slot = vm_slot_by_number(c->vm, in->slot);

	if (in->outcome == ENGINE_WALK_OK) {
		PROTO_SET(out, gpa, in->gpa);
		PROTO_SET(out, hpa, in->hpa);
		if (in->guest_page_bytes)
			PROTO_SET(out, guest_page_bytes, in->guest_page_bytes);
		PROTO_SET(out, ept_page_bytes, in->ept_page_bytes);
	}
	if (in->outcome == ENGINE_WALK_OK && in->slot != UINT32_MAX && slot) {
		PROTO_SET(out, slot, slot->name);
		PROTO_SET(out, slot_offset_bytes, in->slot_offset);
	}
	if (in->outcome == ENGINE_WALK_PAGE_FAULT)
		PROTO_SET(out, error_code, in->error_code);
	if (in->outcome == ENGINE_WALK_EPT_VIOLATION || in->outcome == ENGINE_WALK_EPT_MISCONFIG)
		PROTO_SET(out, fault_gpa, in->fault_gpa);
	if (in->outcome == ENGINE_WALK_EPT_VIOLATION)
		PROTO_SET(out, qualification, in->qualification);
}

static void describe_walk(struct call *c, const struct engine_walk *in, struct proto_walk *out)
{
	*out = (struct proto_walk){
		.gva = in->gva,
		.outcome = in->outcome,
		.vcpu = in->vcpu,
		.pcid = in->pcid,
		.ep4ta = in->ep4ta,
		.cr3 = in->cr3,
		.permissions = in->permissions,
		.user_accessible = in->user_accessible != 0,
		.global = in->global != 0,
		.references = {.guest = in->refs_guest,
			       .ept = in->refs_ept,
			       .total = in->refs_guest + in->refs_ept},
		.refs = out->refs,
		.refs_count = in->count,
	};
	if (in->processor != UINT32_MAX)
		PROTO_SET(out, processor, in->processor);
	if (in->vpid)
		PROTO_SET(out, vpid, in->vpid);
	if (in->refs_with_caches != UINT32_MAX)
		PROTO_SET(&out->references, with_caches, in->refs_with_caches);
	if (in->tlb_level_valid) {
		out->tlb.i1 = in->tlb_level & 1;
		out->tlb.d1 = in->tlb_level & 2;
		out->tlb.l2 = in->tlb_level & 4;
		out->has_tlb = true;
	}
	describe_outcome(c, in, out);
	for (size_t i = 0; i < in->count; i++)
		describe_ref(&in->refs[i], &out->refs[i]);
}

static void on_walked(struct call *c, const struct engine_event *ev)
{
	const struct engine_walk *walk = ev->payload;
	struct proto_walk result = {0};

	if (ev->payload_bytes < sizeof(*walk) ||
	    walk->count > sizeof(walk->refs) / sizeof(walk->refs[0])) {
		call_failf(c, PROTO_ERROR_INTERNAL, "", "the engine's reply is malformed");
		return;
	}
	result.refs = proto_alloc(&c->arena, walk->count, sizeof(*result.refs));
	if (!result.refs) {
		no_memory(c);
		return;
	}
	describe_walk(c, walk, &result);
	call_reply(c, &result);
}

void method_memory_walk(struct call *c)
{
	const struct proto_walk_params *p = c->params;
	struct engine_request req = {.op = ENGINE_WALK};

	if (!call_find_vm(c, p->vm))
		return;
	req.vm = c->vm->id;
	req.u.walk = (struct engine_walk_req){
		.gva = p->gva, .vcpu = p->vcpu, .access = p->access, .user = p->user};
	call_submit(c, &req, NULL, 0, NULL, 0, on_walked);
}
