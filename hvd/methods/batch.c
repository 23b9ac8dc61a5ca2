// SPDX-License-Identifier: MIT
/* memory.batch: a list of operations, or many of one kind as packed records. */
#include "hvd/methods/memory.h"
#include <endian.h>
#include <stdio.h>
#include <string.h>

_Static_assert((int)PROTO_MAP_KIND_MAP == ENGINE_MAP && (int)PROTO_MAP_KIND_UNMAP == ENGINE_UNMAP &&
		       (int)PROTO_MAP_KIND_PROTECT == ENGINE_PROTECT &&
		       (int)PROTO_MAP_KIND_REMAP == ENGINE_REMAP,
	       "kinds of changes");
_Static_assert(PROTO_PACKED_MAX <= ENGINE_MAX_OPS && PROTO_OPERATIONS_MAX <= ENGINE_MAX_OPS,
	       "operations of a batch");

/* What each kind of change takes besides gpa and size_bytes. */
static const struct {
	bool source, prot, type;
} takes[] = {
	[PROTO_MAP_KIND_MAP] = {true, true, true},
	[PROTO_MAP_KIND_UNMAP] = {false, false, false},
	[PROTO_MAP_KIND_PROTECT] = {false, true, false},
	[PROTO_MAP_KIND_REMAP] = {true, false, false},
};

/* --- what both forms say of a change ---------------------------------------------------- */

struct terms {
	uint32_t op; /* enum of map_kind */
	uint32_t prot, memory_type;
	const char *slot;
	bool has_slot, has_offset, has_prot, has_memory_type;
	size_t index; /* of the operation */
	bool packed;  /* terms of all of them: no index */
};

/* The member that is there against the table, or not there; NULL: all is well. */
static const char *wrong_member(const struct terms *t, bool *ret_missing)
{
	const bool need_prot = t->op == PROTO_MAP_KIND_PROTECT;

	*ret_missing = (takes[t->op].source && !t->has_slot) || (need_prot && !t->has_prot);
	if (t->has_slot != takes[t->op].source)
		return "slot";
	if (t->has_offset && !takes[t->op].source)
		return "offset_bytes";
	if (need_prot ? !t->has_prot : t->has_prot && !takes[t->op].prot)
		return "prot";
	return t->has_memory_type && !takes[t->op].type ? "memory_type" : NULL;
}

static void fail_terms(struct call *c, const struct terms *t, enum proto_error_kind kind,
		       const char *member, const char *text, const char *what)
{
	char field[PROTO_FIELD_LEN];

	if (t->packed)
		snprintf(field, sizeof(field), "packed.%s", member);
	else
		snprintf(field, sizeof(field), "operations[%zu].%s", t->index, member);
	call_failf(c, kind, field, "%s %s", text, what);
}

/* Fills all but gpa, size and offset. false: the call has failed, with the member named. */
static bool check_terms(struct call *c, const struct terms *t, struct engine_map_op *out)
{
	const char *op = proto_enum_name(&proto_enum_map_kind, t->op);
	const struct slot *slot = t->has_slot ? vm_slot_by_name(c->vm, t->slot) : NULL;
	bool missing;
	const char *member = wrong_member(t, &missing);
	char text[PROTO_NAME_MAX + 32];

	if (member) {
		fail_terms(c, t,
			   missing ? PROTO_ERROR_MISSING_PARAMETER : PROTO_ERROR_INVALID_VALUE,
			   member, op, missing ? "needs it" : "takes none");
		return false;
	}
	if (t->has_slot && (!slot || !slot->ready)) {
		snprintf(text, sizeof(text), "%s has no slot", c->vm->name);
		fail_terms(c, t, PROTO_ERROR_NOT_FOUND, "slot", text, t->slot);
		return false;
	}
	*out = (struct engine_map_op){
		.kind = t->op,
		.slot = slot ? slot->number : 0,
		.prot = t->has_prot ? t->prot : PROTO_PROT_RWX,
		.memtype = t->has_memory_type ? t->memory_type : PROTO_MEMTYPE_WB,
	};
	return true;
}

/* --- a list of operations ---------------------------------------------------------------- */

static bool read_operation(struct call *c, const struct proto_map_operation *o, size_t i,
			   struct engine_map_op *out)
{
	const struct terms t = {
		.op = o->op,
		.prot = o->prot,
		.memory_type = o->memory_type,
		.slot = o->slot,
		.has_slot = o->has_slot,
		.has_offset = o->has_offset_bytes,
		.has_prot = o->has_prot,
		.has_memory_type = o->has_memory_type,
		.index = i,
	};

	if (!check_terms(c, &t, out))
		return false;
	out->gpa = o->gpa;
	out->size_bytes = o->size_bytes;
	out->offset_bytes = o->has_offset_bytes ? o->offset_bytes : 0;
	return true;
}

static bool read_operations(struct call *c, const struct proto_batch_params *p,
			    struct engine_map_op *out)
{
	for (size_t i = 0; i < p->operations_count; i++)
		if (!read_operation(c, &p->operations[i], i, &out[i]))
			return false;
	return true;
}

/* --- packed records ------------------------------------------------------------------------ */

static size_t record_bytes(const struct proto_packed_operations *p)
{
	return takes[p->op].source ? 2 * sizeof(uint64_t) : sizeof(uint64_t);
}

static uint64_t load_le64(const uint8_t *from)
{
	uint64_t v;

	memcpy(&v, from, sizeof(v));
	return le64toh(v);
}

/* false: the call has failed. */
static bool check_records(struct call *c, const struct proto_packed_operations *p)
{
	const char *op = proto_enum_name(&proto_enum_map_kind, p->op);
	struct proto_error err;

	if (p->records.size % record_bytes(p)) {
		call_failf(c, PROTO_ERROR_INVALID_VALUE, "packed.records",
			   "%zu bytes are no multiple of %zu, which a record of %s has",
			   p->records.size, record_bytes(p), op);
		return false;
	}
	if (p->records.size / record_bytes(p) <= PROTO_PACKED_MAX)
		return true;
	proto_fail(&err, PROTO_ERROR_OUT_OF_RANGE, "packed.records", "%zu records, the limit is %u",
		   p->records.size / record_bytes(p), PROTO_PACKED_MAX);
	err.has_limit = true;
	err.limit = PROTO_PACKED_MAX;
	call_fail(c, &err);
	return false;
}

static bool read_packed(struct call *c, const struct proto_packed_operations *p,
			struct engine_map_op *out)
{
	const struct terms t = {
		.op = p->op,
		.prot = p->prot,
		.memory_type = p->memory_type,
		.slot = p->slot,
		.has_slot = p->has_slot,
		.has_prot = p->has_prot,
		.has_memory_type = p->has_memory_type,
		.packed = true,
	};
	const size_t size = record_bytes(p), n = p->records.size / size;
	const uint8_t *record = p->records.data;
	struct engine_map_op op;

	if (!check_terms(c, &t, &op))
		return false;
	op.size_bytes = p->size_bytes;
	for (size_t i = 0; i < n; i++, record += size) {
		op.gpa = load_le64(record);
		if (takes[p->op].source)
			op.offset_bytes = load_le64(record + sizeof(uint64_t));
		out[i] = op;
	}
	return true;
}

/* --- the engine's answer --------------------------------------------------------------------- */

/* A record has gpa and offset; that a size does not fit there is of the record, too. */
static bool is_of_record(const struct engine_error *err)
{
	return err->field == ENGINE_FIELD_GPA || err->field == ENGINE_FIELD_OFFSET ||
	       (err->field == ENGINE_FIELD_SIZE && err->code != -EINVAL);
}

/* The engine tells which operation and which of its values: the reply names both. */
static void fail_operation(struct call *c, const struct engine_error *err, bool packed)
{
	const char *member =
		err->field == ENGINE_FIELD_MEMTYPE ? "memory_type" : engine_field_name(err->field);
	struct proto_error e;

	call_error_from_engine(c, err, &e);
	if (err->field == ENGINE_FIELD_NONE || err->field == ENGINE_FIELD_OPERATIONS ||
	    err->field == ENGINE_FIELD_VM || err->field == ENGINE_FIELD_STATE)
		member = "";
	if (*member && !packed)
		snprintf(e.field, sizeof(e.field), "operations[%u].%s", err->index, member);
	else if (*member && is_of_record(err))
		snprintf(e.field, sizeof(e.field), "packed.records[%u].%s", err->index, member);
	else if (*member)
		snprintf(e.field, sizeof(e.field), "packed.%s", member);
	call_fail(c, &e);
}

static void on_batch_done(struct call *c, const struct engine_event *ev)
{
	const struct proto_batch_params *p = c->params;
	struct proto_change result;

	if (ev->error.code) {
		fail_operation(c, &ev->error, p->has_packed);
		return;
	}
	if (ev->payload_bytes < sizeof(struct engine_change)) {
		call_failf(c, PROTO_ERROR_INTERNAL, "", "the engine's reply is malformed");
		return;
	}
	memory_describe_change(c, ev->payload, p->dry_run, &result);
	call_reply(c, &result);
}

/* --- memory.batch ------------------------------------------------------------------------------
 */

/* How many changes they are; 0: the call has failed. */
static size_t check_batch(struct call *c, const struct proto_batch_params *p)
{
	const char *form = p->has_packed ? "packed.records" : "operations";
	size_t n = p->operations_count;

	if (p->has_packed && p->has_operations) {
		call_failf(c, PROTO_ERROR_INVALID_VALUE, "packed",
			   "either operations or packed, not both");
		return 0;
	}
	if (!p->has_packed && !p->has_operations) {
		call_failf(c, PROTO_ERROR_MISSING_PARAMETER, form, "this or packed is needed");
		return 0;
	}
	if (p->skip_invalidation && !c->hvd->config.engine_config.unsafe_hooks) {
		call_failf(c, PROTO_ERROR_DENIED, "skip_invalidation",
			   "only hvd --unsafe-hooks leaves out an invalidation");
		return 0;
	}
	if (p->has_packed && !check_records(c, &p->packed))
		return 0;
	if (p->has_packed)
		n = p->packed.records.size / record_bytes(&p->packed);
	if (!n)
		call_failf(c, PROTO_ERROR_INVALID_VALUE, form, "one at least is needed");
	return n;
}

void method_memory_batch(struct call *c)
{
	const struct proto_batch_params *p = c->params;
	struct engine_request req = {.op = ENGINE_MEM_APPLY};
	const size_t n = check_batch(c, p);
	struct engine_map_op *ops;

	if (!n || !call_find_vm(c, p->vm))
		return;
	ops = proto_alloc(&c->arena, n, sizeof(*ops));
	if (!ops) {
		call_failf(c, PROTO_ERROR_NO_MEMORY, "", "out of memory");
		return;
	}
	if (p->has_packed ? !read_packed(c, &p->packed, ops) : !read_operations(c, p, ops))
		return;
	req.vm = c->vm->id;
	req.u.apply.count = (uint32_t)n;
	req.u.apply.flags = (p->dry_run ? ENGINE_CHANGE_DRY_RUN : 0) |
			    (p->skip_invalidation ? ENGINE_CHANGE_SKIP_INVALIDATION : 0);
	call_submit_raw(c, &req, ops, n * sizeof(*ops), NULL, 0, on_batch_done);
}
