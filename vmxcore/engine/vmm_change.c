/* SPDX-License-Identifier: MIT */
/* Mappings: requests to core and back, and large ones in pieces. */
#include "engine/vmm_change.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Entries of EPT tables that a piece looks at: about a millisecond at most. */
#define PIECE_ENTRIES 131072u
/* What touches no more than this is done at once. */
#define WHOLE_BYTES VMX_SIZE_1G
/* From this size on an operation may rebuild the gigabytes at its ends. */
#define REBUILD_BYTES (UINT64_C(16) << 20)
#define REBUILD_TABLES (2 * UINT64_C(514))

/* --- core's answers in engine.h's terms ------------------------------------------------------- */

static const enum engine_field core_fields[] = {
	[CORE_FIELD_NONE] = ENGINE_FIELD_NONE,	      [CORE_FIELD_KIND] = ENGINE_FIELD_KIND,
	[CORE_FIELD_GPA] = ENGINE_FIELD_GPA,	      [CORE_FIELD_SIZE] = ENGINE_FIELD_SIZE,
	[CORE_FIELD_SLOT] = ENGINE_FIELD_SLOT,	      [CORE_FIELD_OFFSET] = ENGINE_FIELD_OFFSET,
	[CORE_FIELD_PROT] = ENGINE_FIELD_PROT,	      [CORE_FIELD_MEMTYPE] = ENGINE_FIELD_MEMTYPE,
	[CORE_FIELD_COUNT] = ENGINE_FIELD_OPERATIONS,
};

static uint64_t value_gpa(const struct core_map_op *op)
{
	return op->gpa.v;
}

static uint64_t value_size(const struct core_map_op *op)
{
	return op->size;
}

static uint64_t value_offset(const struct core_map_op *op)
{
	return op->offset;
}

static uint64_t value_prot(const struct core_map_op *op)
{
	return op->prot;
}

static uint64_t value_memtype(const struct core_map_op *op)
{
	return op->memtype;
}

/* What is wrong with a value; the limit follows. */
static const struct rule {
	int err;
	enum core_field field;
	uint64_t (*value)(const struct core_map_op *op);
	const char *text;
} rules[] = {
	{-EINVAL, CORE_FIELD_GPA, value_gpa, "not a multiple of"},
	{-ERANGE, CORE_FIELD_GPA, value_gpa, "the guest-physical address space ends at"},
	{-EINVAL, CORE_FIELD_SIZE, value_size, "not a positive multiple of"},
	{-ERANGE, CORE_FIELD_SIZE, value_size, "what fits there, in slot and address space, is"},
	{-EINVAL, CORE_FIELD_OFFSET, value_offset, "not a multiple of"},
	{-ERANGE, CORE_FIELD_OFFSET, value_offset, "the slot ends at"},
	{-EINVAL, CORE_FIELD_PROT, value_prot,
	 "no combination of r (1), w (2) and x (4) that an EPT entry can express; all are"},
	{-EINVAL, CORE_FIELD_MEMTYPE, value_memtype,
	 "memory types are 0 UC, 1 WC, 4 WT, 5 WP and 6 WB; the highest is"},
};

/* A value of one operation is out of bounds. */
static int refused_value(struct vmm_reply *reply, int err, const struct core_map_op *op,
			 const struct core_conflict *c)
{
	enum engine_field field = core_fields[c->field];
	size_t i;

	for (i = 0; i < VMX_ARRAY_SIZE(rules); i++)
		if (rules[i].err == err && rules[i].field == (enum core_field)c->field)
			return vmm_fail(reply, err, field, c->limit,
					"%s 0x%" PRIx64 ": %s 0x%" PRIx64, engine_field_name(field),
					rules[i].value(op), rules[i].text, c->limit);
	return vmm_fail(reply, err, field, c->limit, "%s: %s (limit %" PRIu64 ")",
			engine_field_name(field), strerrordesc_np(-err), c->limit);
}

/* core's refusal in engine.h's terms. */
static int refused(struct vmm_reply *reply, int err, const struct core_map_op *ops,
		   const struct core_conflict *c)
{
	struct engine_error *e = &reply->error;

	e->index = c->op_index;
	e->slot = c->existing_slot;
	e->requested_first = c->requested_first;
	e->requested_last = c->requested_last;
	e->existing_first = c->existing_first;
	e->existing_last = c->existing_last;
	if (err == -EEXIST)
		return vmm_fail(reply, err, ENGINE_FIELD_GPA, c->limit,
				"0x%" PRIx64 "-0x%" PRIx64 " overlaps 0x%" PRIx64 "-0x%" PRIx64
				", which is mapped",
				c->requested_first, c->requested_last, c->existing_first,
				c->existing_last);
	if (err == -ENOENT)
		return vmm_fail(reply, err, ENGINE_FIELD_GPA, c->limit,
				"0x%" PRIx64 "-0x%" PRIx64 " is not wholly mapped: 0x%" PRIx64
				"-0x%" PRIx64 " is a hole",
				c->requested_first, c->requested_last, c->existing_first,
				c->existing_last);
	if (err == -ENOMEM)
		return vmm_fail(reply, err, ENGINE_FIELD_NONE, c->limit,
				"out of memory for EPT tables or ranges");
	return refused_value(reply, err, &ops[c->op_index], c);
}

static const struct {
	const char *instruction, *type;
} instructions[] = {
	[INVAL_INSN_NONE] = {"", ""},
	[INVAL_INSN_INVEPT_SINGLE] = {"INVEPT", "single-context"},
	[INVAL_INSN_INVEPT_ALL] = {"INVEPT", "all-context"},
	[INVAL_INSN_INVVPID_ADDRESS] = {"INVVPID", "individual-address"},
	[INVAL_INSN_INVVPID_SINGLE] = {"INVVPID", "single-context"},
	[INVAL_INSN_INVVPID_ALL] = {"INVVPID", "all-context"},
};

static void copy_text(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from);
}

void vmm_fill_change(struct engine_change *ret, const struct core_change *c, uint64_t eptp)
{
	const struct inval_reason_info *why = &inval_reason_info[c->decision.reason];

	*ret = (struct engine_change){
		.entries_written = c->entries_written,
		.entries_split = c->entries_split,
		.tables_merged = c->tables_merged,
		.tables_allocated = c->tables_allocated,
		.tables_freed = c->tables_freed,
		.ep4ta = core_ep4ta(eptp),
		.need = c->decision.need,
		.invept_issued = c->invept_issued,
		.processors_interrupted = c->processors_interrupted,
		.processors_deferred = c->processors_deferred,
	};
	copy_text(ret->instruction, sizeof(ret->instruction),
		  instructions[c->decision.instruction].instruction);
	copy_text(ret->type, sizeof(ret->type), instructions[c->decision.instruction].type);
	copy_text(ret->reason, sizeof(ret->reason), why->name);
	copy_text(ret->text, sizeof(ret->text), why->text);
	copy_text(ret->section, sizeof(ret->section), why->section);
}

/* --- the bound on tables -----------------------------------------------------------------------
 */

/*
 * Bytes of EPT tables an operation may add, at most: a table for each 2 MiB, or each
 * 1 GiB where 2 MiB leaves are sure to fit; and a table of each level at both ends. Large
 * ones build new tables before they free the old.
 */
static uint64_t tables_at_most(struct vmm_vm *vm, const struct core_map_op *op)
{
	uint64_t ends = 8 + (op->size >= REBUILD_BYTES ? REBUILD_TABLES : 0);
	uint64_t step = VMX_SIZE_2M, page = vm->config.ept_page_bytes;

	if (op->kind == CORE_MAP || op->kind == CORE_REMAP) {
		const struct vmm_slot *slot = vmm_find_slot(vm, op->slot->id);
		uint64_t host = slot->hpa_first.v + op->offset;

		/* Where the host's address is not told, nothing is sure. */
		if (slot->extents == 1 && slot->hpa_first.v != UINT64_MAX && page != VMX_SIZE_4K &&
		    (op->gpa.v ^ host) % VMX_SIZE_2M == 0)
			step = VMX_SIZE_1G;
		return (op->size / step + ends) * VMX_PAGE_SIZE;
	}
	if (op->kind == CORE_PROTECT && op->size >= REBUILD_BYTES)
		return vm->machine->backend->table_bytes(vm) + ends * VMX_PAGE_SIZE;
	return ends * VMX_PAGE_SIZE;
}

/*
 * Bytes of a whole set of tables for all that lies between the first and the last of the
 * operations, in whole gigabytes: many small ones that are neighbours add no more.
 */
static uint64_t tables_between(const struct core_map_op *ops, size_t count)
{
	uint64_t first = UINT64_MAX, last = 0, bytes = 0;
	unsigned shift;
	size_t i;

	for (i = 0; i < count; i++) {
		/* Operations that core will refuse, perhaps. */
		if (vmx_range_bad(ops[i].gpa.v, ops[i].size))
			return UINT64_MAX;
		first = ops[i].gpa.v < first ? ops[i].gpa.v : first;
		if (ops[i].gpa.v + (ops[i].size - 1) > last)
			last = ops[i].gpa.v + (ops[i].size - 1);
	}
	first &= ~(VMX_SIZE_1G - 1);
	last |= VMX_SIZE_1G - 1;
	for (shift = 21; shift <= 48; shift += 9)
		bytes += ((last >> shift) - (first >> shift) + 1) * VMX_PAGE_SIZE;
	return bytes;
}

static int check_tables(const struct vmm *s, struct vmm_vm *vm, const struct core_map_op *ops,
			size_t count, uint64_t *ret_need, struct vmm_reply *reply)
{
	uint64_t now = s->table_bytes + s->table_promised, left, need = 0;
	uint64_t between = tables_between(ops, count);
	size_t i;

	left = now < s->table_bytes_max ? s->table_bytes_max - now : 0;
	for (i = 0; i < count; i++) {
		need += tables_at_most(vm, &ops[i]);
		if (need <= left || between <= left)
			continue;
		reply->error.index = (uint32_t)i;
		return vmm_fail(reply, -ENOMEM, ENGINE_FIELD_SIZE, s->table_bytes_max,
				"it may need %" PRIu64 " bytes of EPT tables; the machine's bound "
				"leaves %" PRIu64,
				need, left);
	}
	*ret_need = need < between ? need : between;
	return 0;
}

/* --- whole, or in pieces ------------------------------------------------------------------------
 */

static bool is_large(const struct vmm_change *c)
{
	uint64_t left = WHOLE_BYTES;
	size_t i;

	for (i = 0; i < c->count; i++) {
		if (c->ops[i].size > left)
			return true;
		left -= c->ops[i].size;
	}
	return false;
}

/* A large change in a backend that has no pieces: whole, by another thread. */
struct vmm_change_whole {
	struct work work;
	struct vmm_change *change;
	struct core_conflict conflict;
	bool begun;
	int err;
};

static void whole_run(struct work *w)
{
	struct vmm_change_whole *whole = (struct vmm_change_whole *)w;
	struct vmm_change *c = whole->change;

	whole->err = c->vm->machine->backend->apply(c->vm, c->ops, c->count, c->flags, &c->result,
						    &whole->conflict);
}

static void whole_drop(struct work *w)
{
	free(w);
}

static int new_whole(struct vmm_change *c)
{
	size_t i;

	c->whole = calloc(1, sizeof(*c->whole));
	if (!c->whole)
		return -ENOMEM;
	c->whole->work.run = whole_run;
	c->whole->work.drop = whole_drop;
	c->whole->change = c;
	for (i = 0; i < c->count; i++)
		c->whole->work.total += c->ops[i].size;
	return 0;
}

static int begin_large(struct vmm *s, struct vmm_change *c, struct core_conflict *conflict)
{
	int err;

	if (s->backend->change_begin)
		err = s->backend->change_begin(c->vm, c->ops, c->count, c->flags, &c->pieces,
					       conflict);
	else
		err = new_whole(c);
	if (!err)
		s->table_promised += c->promised;
	return err;
}

int vmm_change_begin(struct vmm *s, struct vmm_change *c, struct vmm_reply *reply)
{
	const struct backend *b = s->backend;
	struct core_conflict conflict = {0};
	bool large = is_large(c);
	int err = check_tables(s, c->vm, c->ops, c->count, &c->promised, reply);

	if (err)
		return err;
	c->tables_before = b->table_bytes(c->vm);
	if (large) {
		err = begin_large(s, c, &conflict);
	} else {
		err = b->apply(c->vm, c->ops, c->count, c->flags, &c->result, &conflict);
		s->table_bytes += b->table_bytes(c->vm) - c->tables_before;
	}
	if (err)
		return refused(reply, err, c->ops, &conflict);
	return large ? VMM_JOB_MORE : 0;
}

/* A large one has ended: r. */
static int end_large(struct vmm *s, struct vmm_change *c, int r, const struct core_conflict *why,
		     struct vmm_reply *reply)
{
	s->table_promised -= c->promised;
	s->table_bytes += s->backend->table_bytes(c->vm) - c->tables_before;
	return r && r != -ECANCELED ? refused(reply, r, c->ops, why) : r;
}

static int step_whole(struct vmm *s, struct vmm_change *c, struct vmm_job *job)
{
	struct vmm_change_whole *whole = c->whole;
	int r;

	if (vmm_job_at_work(job))
		return VMM_JOB_PARK;
	if (!whole->begun && vmm_job_cancelled(job)) {
		whole->err = -ECANCELED;
	} else if (!whole->begun) {
		whole->begun = true;
		r = vmm_job_work(job, s->movers, &whole->work);
		if (r >= 0)
			return r;
		whole_run(&whole->work); /* no thread to be had */
	}
	r = end_large(s, c, whole->err, &whole->conflict, &job->reply);
	c->whole = NULL;
	free(whole);
	return r;
}

int vmm_change_step(struct vmm *s, struct vmm_change *c, struct vmm_job *job)
{
	static const struct core_conflict none;
	const struct backend *b = s->backend;
	int r;

	if (c->whole)
		return step_whole(s, c, job);
	if (vmm_job_cancelled(job))
		b->change_cancel(c->pieces);
	r = b->change_step(c->pieces, PIECE_ENTRIES, &c->result);
	if (r == 1) {
		b->change_progress(c->pieces, &job->done, &job->total);
		job->done += job->before;
		job->total += job->before;
		return VMM_JOB_MORE;
	}
	c->pieces = NULL;
	return end_large(s, c, r, &none, &job->reply);
}

void vmm_change_ram(struct vmm_vm *vm, struct core_map_op *op, struct vmm_change *ret)
{
	*op = (struct core_map_op){
		.kind = CORE_MAP,
		.prot = CORE_PROT_RWX,
		.memtype = CORE_MT_WB,
		.size = vm->slots[0]->core.size,
		.slot = &vm->slots[0]->core,
	};
	*ret = (struct vmm_change){.vm = vm, .ops = op, .count = 1};
}

/* --- requests
 * ------------------------------------------------------------------------------------- */

static int convert_op(const struct vmm_vm *vm, const struct engine_map_op *in, uint32_t index,
		      struct core_map_op *out, struct vmm_reply *reply)
{
	static const uint32_t kinds[] = {
		[ENGINE_MAP] = CORE_MAP,
		[ENGINE_UNMAP] = CORE_UNMAP,
		[ENGINE_PROTECT] = CORE_PROTECT,
		[ENGINE_REMAP] = CORE_REMAP,
	};
	bool names_slot = in->kind == ENGINE_MAP || in->kind == ENGINE_REMAP;
	struct vmm_slot *slot = names_slot ? vmm_find_slot(vm, in->slot) : NULL;

	reply->error.index = index;
	if (in->kind >= VMX_ARRAY_SIZE(kinds))
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_KIND, ENGINE_REMAP,
				"unknown kind of operation %u", in->kind);
	if (names_slot && !slot)
		return vmm_fail(reply, -ENOENT, ENGINE_FIELD_SLOT, 0, "the VM has no such slot");
	*out = (struct core_map_op){
		.kind = kinds[in->kind],
		.prot = in->prot,
		.memtype = in->memtype,
		.gpa = gpa(in->gpa),
		.size = in->size_bytes,
		.slot = slot ? &slot->core : NULL,
		.offset = in->offset_bytes,
	};
	reply->error.index = 0;
	return 0;
}

static int check_flags(const struct vmm *s, uint32_t flags, struct vmm_reply *reply)
{
	if (flags & ~(ENGINE_CHANGE_DRY_RUN | ENGINE_CHANGE_SKIP_INVALIDATION))
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_OPERATIONS, 0, "unknown flags 0x%x",
				flags);
	if ((flags & ENGINE_CHANGE_SKIP_INVALIDATION) && !s->cfg.unsafe_hooks)
		return vmm_fail(reply, -EPERM, ENGINE_FIELD_OPERATIONS, 0,
				"leaving out an invalidation needs unsafe hooks");
	return 0;
}

struct applying {
	struct vmm_change change;
	struct engine_change *out; /* the reply's */
	struct core_map_op ops[];
};

/* r: of the change. */
static int proceed(struct applying *a, int r)
{
	struct vmm_vm *vm = a->change.vm;

	if (r == VMM_JOB_MORE || r == VMM_JOB_PARK)
		return r;
	if (!r)
		vmm_fill_change(a->out, &a->change.result, vm->machine->backend->eptp(vm));
	free(a);
	return r;
}

static int step_apply(struct vmm *s, struct vmm_job *job)
{
	struct applying *a = job->state;

	return proceed(a, vmm_change_step(s, &a->change, job));
}

static int begin_apply(struct vmm *s, struct applying *a, struct vmm_reply *reply)
{
	struct vmm_vm *vm = a->change.vm;
	int r;

	/* Made first: what has begun must go on. */
	if (vmm_job_new(s, vm, reply, step_apply, a) != 0)
		return proceed(a, -ENOMEM);
	r = proceed(a, vmm_change_begin(s, &a->change, reply));
	if (r == VMM_JOB_MORE)
		return 0;
	free(reply->job);
	reply->job = NULL;
	return r;
}

int vmm_mem_apply(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		  struct vmm_reply *reply)
{
	const struct engine_mem_apply *req = &rq->req.u.apply;
	const struct engine_map_op *in = rq->payload;
	struct applying *a;
	uint32_t flags = 0, i;
	int err = check_flags(s, req->flags, reply);

	if (err)
		return err;
	flags |= req->flags & ENGINE_CHANGE_DRY_RUN ? CORE_CHANGE_DRY_RUN : 0;
	flags |= req->flags & ENGINE_CHANGE_SKIP_INVALIDATION ? CORE_CHANGE_SKIP_INVALIDATION : 0;
	a = calloc(1, sizeof(*a) + req->count * sizeof(a->ops[0]));
	if (!a)
		return -ENOMEM;
	a->out = vmm_payload(reply, 1, sizeof(*a->out));
	err = a->out ? 0 : -ENOMEM;
	for (i = 0; i < req->count && !err; i++)
		err = convert_op(vm, &in[i], i, &a->ops[i], reply);
	if (err) {
		free(a);
		return err;
	}
	a->change =
		(struct vmm_change){.vm = vm, .ops = a->ops, .count = req->count, .flags = flags};
	return begin_apply(s, a, reply);
}
