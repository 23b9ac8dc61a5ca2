/* SPDX-License-Identifier: MIT */
/* Slots, mappings, and reading and writing a guest's memory from outside. */
#include "engine/soft.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* --- slots ----------------------------------------------------------------------------------- */

static size_t slot_position(const struct soft_vm *vm, uint32_t number)
{
	size_t low = 0, high = vm->slot_count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (vm->slots[mid]->core.id < number)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct soft_slot *soft_find_slot(const struct soft_vm *vm, uint32_t number)
{
	size_t at = slot_position(vm, number);

	return at < vm->slot_count && vm->slots[at]->core.id == number ? vm->slots[at] : NULL;
}

/* Calls fn for each contiguous piece of the slot. */
static void each_extent(const struct soft_slot *slot,
			void (*fn)(void *ctx, hpa_t at, uint64_t bytes), void *ctx)
{
	uint64_t offset = 0, bytes;
	hpa_t at;

	while (offset < slot->core.size &&
	       plat_mem_extent(slot->core.mem, offset, slot->core.size - offset, &at, &bytes) ==
		       0) {
		fn(ctx, at, bytes);
		offset += bytes;
	}
}

static void count_extent(void *ctx, hpa_t at, uint64_t bytes)
{
	struct soft_slot *slot = ctx;

	(void)bytes;
	if (slot->extents++ == 0)
		slot->hpa_first = at;
}

/* What is decoded from it or reached without a lookup is stale. */
static void tell_removed(void *ctx, hpa_t at, uint64_t bytes)
{
	struct soft *s = ctx;

	model_memory_removed(s->model, at, bytes);
}

static void tell_written(void *ctx, hpa_t at, uint64_t bytes)
{
	struct soft *s = ctx;

	model_memory_written(s->model, at, bytes);
}

void soft_slot_written(struct soft *s, struct soft_slot *slot)
{
	each_extent(slot, tell_written, s);
}

static const enum plat_mem_kind mem_kinds[] = {
	[ENGINE_SLOT_ANON] = PLAT_MEM_ANON,
	[ENGINE_SLOT_HUGE] = PLAT_MEM_HUGE_2M,
	[ENGINE_SLOT_FILE] = PLAT_MEM_FILE,
};

static int check_slot(const struct soft *s, const struct soft_vm *vm,
		      const struct engine_slot_add *a, struct soft_reply *reply)
{
	uint64_t left = s->cfg.memory_bytes - s->memory_used;

	if (a->kind >= VMX_ARRAY_SIZE(mem_kinds))
		return soft_fail(reply, -EINVAL, ENGINE_FIELD_KIND, ENGINE_SLOT_FILE,
				 "unknown kind of slot %u", a->kind);
	if (a->size_bytes == 0 || a->size_bytes % VMX_PAGE_SIZE != 0)
		return soft_fail(reply, -EINVAL, ENGINE_FIELD_SIZE, VMX_PAGE_SIZE,
				 "%" PRIu64 " bytes: not a positive multiple of 4096",
				 a->size_bytes);
	if (a->file_offset % VMX_PAGE_SIZE != 0 || a->file_offset > INT64_MAX)
		return soft_fail(reply, -EINVAL, ENGINE_FIELD_OFFSET, VMX_PAGE_SIZE,
				 "file offset %" PRIu64 ": not a multiple of 4096", a->file_offset);
	if (soft_find_slot(vm, a->slot))
		return soft_fail(reply, -EEXIST, ENGINE_FIELD_SLOT, 0,
				 "there is a slot of this number");
	if (vm->slot_count >= SOFT_MAX_SLOTS)
		return soft_fail(reply, -E2BIG, ENGINE_FIELD_SLOT, SOFT_MAX_SLOTS,
				 "the VM has %u slots already", SOFT_MAX_SLOTS);
	if (a->size_bytes > left)
		return soft_fail(reply, -ENOMEM, ENGINE_FIELD_SIZE, left,
				 "%" PRIu64 " bytes: the machine has %" PRIu64 " left",
				 a->size_bytes, left);
	return 0;
}

static int create_mem(struct soft *s, const struct engine_slot_add *a, int fd,
		      struct plat_mem **ret, struct soft_reply *reply)
{
	int err;

	err = plat_mem_create(s->plat, mem_kinds[a->kind], a->size_bytes, fd, a->file_offset, ret);
	if (err == -EFBIG)
		return soft_fail(reply, err, ENGINE_FIELD_FILE, 0,
				 "the file ends before offset %" PRIu64 " plus %" PRIu64 " bytes",
				 a->file_offset, a->size_bytes);
	if (err)
		return soft_fail(reply, err,
				 a->kind == ENGINE_SLOT_FILE ? ENGINE_FIELD_FILE
							     : ENGINE_FIELD_SIZE,
				 0, "the host gives no memory for it: %s", strerrordesc_np(-err));
	return 0;
}

int soft_slot_new(struct soft *s, struct soft_vm *vm, const struct engine_slot_add *a, int fd,
		  struct soft_reply *reply)
{
	size_t at = slot_position(vm, a->slot);
	struct soft_slot **slots, *slot;
	int err = check_slot(s, vm, a, reply);

	if (err)
		return err;
	slots = realloc(vm->slots, (vm->slot_count + 1) * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	vm->slots = slots;
	slot = calloc(1, sizeof(*slot));
	if (!slot)
		return -ENOMEM;
	err = create_mem(s, a, fd, &slot->core.mem, reply);
	if (err) {
		free(slot);
		return err;
	}
	slot->core.id = a->slot;
	slot->core.size = a->size_bytes;
	slot->kind = a->kind;
	slot->huge = plat_mem_is_huge(slot->core.mem);
	each_extent(slot, count_extent, slot);
	s->memory_used += a->size_bytes;
	memmove(&slots[at + 1], &slots[at], (vm->slot_count - at) * sizeof(*slots));
	slots[at] = slot;
	vm->slot_count++;
	return 0;
}

static void free_slot(struct soft *s, struct soft_slot *slot)
{
	each_extent(slot, tell_removed, s);
	s->memory_used -= slot->core.size;
	plat_mem_destroy(s->plat, slot->core.mem);
	free(slot);
}

void soft_slots_free(struct soft *s, struct soft_vm *vm)
{
	size_t i;

	for (i = 0; i < vm->slot_count; i++)
		free_slot(s, vm->slots[i]);
	free(vm->slots);
	vm->slots = NULL;
	vm->slot_count = 0;
}

void soft_slot_free(struct soft *s, struct soft_vm *vm, struct soft_slot *slot)
{
	size_t at = slot_position(vm, slot->core.id);

	free_slot(s, slot);
	vm->slot_count--;
	memmove(&vm->slots[at], &vm->slots[at + 1], (vm->slot_count - at) * sizeof(*vm->slots));
}

#define RANGES_AT_A_TIME 64u

/* The first mapped range that names the slot. */
static bool first_range_of(struct core_as *as, uint32_t number, struct core_range *ret)
{
	struct core_range ranges[RANGES_AT_A_TIME];
	gpa_t from = gpa(0);
	size_t n, i;

	do {
		n = core_as_ranges(as, from, ranges, RANGES_AT_A_TIME);
		for (i = 0; i < n; i++) {
			if (ranges[i].slot != number)
				continue;
			*ret = ranges[i];
			return true;
		}
		from = n ? gpa(ranges[n - 1].gpa.v + ranges[n - 1].size) : from;
	} while (n == RANGES_AT_A_TIME);
	return false;
}

static int refuse_mapped(struct soft_vm *vm, const struct soft_slot *slot, struct soft_reply *reply)
{
	struct engine_error *e = &reply->error;
	struct core_range range;

	if (first_range_of(core_vm_as(vm->core), slot->core.id, &range)) {
		e->existing_first = range.gpa.v;
		e->existing_last = range.gpa.v + range.size - 1;
		e->slot = slot->core.id;
	}
	return soft_fail(reply, -EBUSY, ENGINE_FIELD_SLOT, 0,
			 "%" PRIu64 " bytes of it are mapped, first at 0x%" PRIx64 "-0x%" PRIx64
			 ": unmap them first",
			 slot->core.mapped_bytes, e->existing_first, e->existing_last);
}

int soft_slot_remove(struct soft *s, struct soft_vm *vm, const struct queue_request *rq,
		     struct soft_reply *reply)
{
	uint32_t number = rq->req.u.slot_remove.slot;
	struct soft_slot *slot = soft_find_slot(vm, number);

	if (number == SOFT_RAM_SLOT)
		return soft_fail(reply, -EINVAL, ENGINE_FIELD_SLOT, 0,
				 "the VM's own memory goes with the VM");
	if (!slot)
		return soft_fail(reply, -ENOENT, ENGINE_FIELD_SLOT, 0, "the VM has no such slot");
	if (slot->core.mapped_bytes)
		return refuse_mapped(vm, slot, reply);
	reply->total = slot->core.size;
	return soft_slot_erase(s, vm, slot, reply);
}

int soft_slot_list(struct soft *s, struct soft_vm *vm, const struct queue_request *rq,
		   struct soft_reply *reply)
{
	struct engine_slot_info *info = soft_payload(reply, vm->slot_count, sizeof(*info));
	size_t i;

	(void)s;
	(void)rq;
	if (!info)
		return -ENOMEM;
	for (i = 0; i < vm->slot_count; i++) {
		const struct soft_slot *slot = vm->slots[i];

		info[i] = (struct engine_slot_info){
			.size_bytes = slot->core.size,
			.mapped_bytes = slot->core.mapped_bytes,
			.hpa_first = slot->hpa_first.v,
			.slot = slot->core.id,
			.kind = slot->kind,
			.extents = slot->extents,
			.huge = slot->huge,
		};
	}
	return 0;
}

/* --- mappings ------------------------------------------------------------------------------ */

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
static int refused_value(struct soft_reply *reply, int err, const struct core_map_op *op,
			 const struct core_conflict *c)
{
	enum engine_field field = core_fields[c->field];
	size_t i;

	for (i = 0; i < VMX_ARRAY_SIZE(rules); i++)
		if (rules[i].err == err && rules[i].field == (enum core_field)c->field)
			return soft_fail(reply, err, field, c->limit,
					 "%s 0x%" PRIx64 ": %s 0x%" PRIx64,
					 engine_field_name(field), rules[i].value(op),
					 rules[i].text, c->limit);
	return soft_fail(reply, err, field, c->limit, "%s: %s (limit %" PRIu64 ")",
			 engine_field_name(field), strerrordesc_np(-err), c->limit);
}

/* core's refusal in engine.h's terms. */
static int refused(struct soft_reply *reply, int err, const struct core_map_op *ops,
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
		return soft_fail(reply, err, ENGINE_FIELD_GPA, c->limit,
				 "0x%" PRIx64 "-0x%" PRIx64 " overlaps 0x%" PRIx64 "-0x%" PRIx64
				 ", which is mapped",
				 c->requested_first, c->requested_last, c->existing_first,
				 c->existing_last);
	if (err == -ENOENT)
		return soft_fail(reply, err, ENGINE_FIELD_GPA, c->limit,
				 "0x%" PRIx64 "-0x%" PRIx64 " is not wholly mapped: 0x%" PRIx64
				 "-0x%" PRIx64 " is a hole",
				 c->requested_first, c->requested_last, c->existing_first,
				 c->existing_last);
	if (err == -ENOMEM)
		return soft_fail(reply, err, ENGINE_FIELD_NONE, c->limit,
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

void soft_fill_change(struct engine_change *ret, const struct core_change *c, uint64_t eptp)
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

/*
 * Bytes of EPT tables an operation may add, at most: a table for each 2 MiB, or each
 * 1 GiB where 2 MiB leaves are sure to fit; and a table of each level at both ends.
 */
static uint64_t tables_at_most(const struct soft_vm *vm, const struct core_map_op *op)
{
	uint64_t ends = 8, step = VMX_SIZE_2M, page = vm->config.ept_page_bytes;

	if (op->kind == CORE_MAP || op->kind == CORE_REMAP) {
		const struct soft_slot *slot = soft_find_slot(vm, op->slot->id);
		uint64_t host = slot->hpa_first.v + op->offset;

		if (slot->extents == 1 && page != VMX_SIZE_4K &&
		    (op->gpa.v ^ host) % VMX_SIZE_2M == 0)
			step = VMX_SIZE_1G;
		return (op->size / step + ends) * VMX_PAGE_SIZE;
	}
	return ends * VMX_PAGE_SIZE;
}

static uint64_t tables_now(const struct soft *s)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < s->vm_count; i++)
		sum += core_as_table_bytes(core_vm_as(s->vms[i]->core));
	return sum;
}

static int check_tables(const struct soft *s, const struct soft_vm *vm,
			const struct core_map_op *ops, size_t count, struct soft_reply *reply)
{
	uint64_t now = tables_now(s), left, need = 0;
	size_t i;

	left = now < s->table_bytes_max ? s->table_bytes_max - now : 0;
	for (i = 0; i < count; i++) {
		need += tables_at_most(vm, &ops[i]);
		if (need <= left)
			continue;
		reply->error.index = (uint32_t)i;
		return soft_fail(reply, -ENOMEM, ENGINE_FIELD_SIZE, s->table_bytes_max,
				 "it may need %" PRIu64 " bytes of EPT tables; the machine's bound "
				 "leaves %" PRIu64,
				 need, left);
	}
	return 0;
}

static int apply(struct soft *s, struct soft_vm *vm, const struct core_map_op *ops, size_t count,
		 uint32_t flags, struct core_change *ret, struct soft_reply *reply)
{
	struct core_as *as = core_vm_as(vm->core);
	/* The change runs on the home processor of the first vCPU. */
	struct core_cpu *cpu = s->processor[vm->vcpu_count ? vm->vcpus[0].home : 0].core;
	struct core_conflict conflict = {0};
	int err = core_as_apply(as, cpu, ops, count, flags, ret, &conflict);

	return err ? refused(reply, err, ops, &conflict) : 0;
}

int soft_map_ram(struct soft *s, struct soft_vm *vm, struct soft_reply *reply)
{
	const struct core_map_op op = {
		.kind = CORE_MAP,
		.prot = CORE_PROT_RWX,
		.memtype = CORE_MT_WB,
		.size = vm->slots[0]->core.size,
		.slot = &vm->slots[0]->core,
	};
	struct core_change change;
	int err = check_tables(s, vm, &op, 1, reply);

	return err ? err : apply(s, vm, &op, 1, 0, &change, reply);
}

static int convert_op(const struct soft_vm *vm, const struct engine_map_op *in, uint32_t index,
		      struct core_map_op *out, struct soft_reply *reply)
{
	static const uint32_t kinds[] = {
		[ENGINE_MAP] = CORE_MAP,
		[ENGINE_UNMAP] = CORE_UNMAP,
		[ENGINE_PROTECT] = CORE_PROTECT,
		[ENGINE_REMAP] = CORE_REMAP,
	};
	bool names_slot = in->kind == ENGINE_MAP || in->kind == ENGINE_REMAP;
	struct soft_slot *slot = names_slot ? soft_find_slot(vm, in->slot) : NULL;

	reply->error.index = index;
	if (in->kind >= VMX_ARRAY_SIZE(kinds))
		return soft_fail(reply, -EINVAL, ENGINE_FIELD_KIND, ENGINE_REMAP,
				 "unknown kind of operation %u", in->kind);
	if (names_slot && !slot)
		return soft_fail(reply, -ENOENT, ENGINE_FIELD_SLOT, 0, "the VM has no such slot");
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

static int check_flags(const struct soft *s, uint32_t flags, struct soft_reply *reply)
{
	if (flags & ~(ENGINE_CHANGE_DRY_RUN | ENGINE_CHANGE_SKIP_INVALIDATION))
		return soft_fail(reply, -EINVAL, ENGINE_FIELD_OPERATIONS, 0, "unknown flags 0x%x",
				 flags);
	if ((flags & ENGINE_CHANGE_SKIP_INVALIDATION) && !s->cfg.unsafe_hooks)
		return soft_fail(reply, -EPERM, ENGINE_FIELD_OPERATIONS, 0,
				 "leaving out an invalidation needs unsafe hooks");
	return 0;
}

int soft_mem_apply(struct soft *s, struct soft_vm *vm, const struct queue_request *rq,
		   struct soft_reply *reply)
{
	const struct engine_mem_apply *a = &rq->req.u.apply;
	const struct engine_map_op *in = rq->payload;
	struct core_map_op *ops = NULL;
	struct engine_change *out;
	struct core_change change;
	uint32_t flags = 0, i;
	int err = check_flags(s, a->flags, reply);

	if (err)
		return err;
	flags |= a->flags & ENGINE_CHANGE_DRY_RUN ? CORE_CHANGE_DRY_RUN : 0;
	flags |= a->flags & ENGINE_CHANGE_SKIP_INVALIDATION ? CORE_CHANGE_SKIP_INVALIDATION : 0;
	out = soft_payload(reply, 1, sizeof(*out));
	ops = calloc(a->count, sizeof(*ops));
	if (!out || !ops) {
		err = -ENOMEM;
		goto out;
	}
	for (i = 0; i < a->count && !err; i++)
		err = convert_op(vm, &in[i], i, &ops[i], reply);
	if (!err)
		err = check_tables(s, vm, ops, a->count, reply);
	if (!err)
		err = apply(s, vm, ops, a->count, flags, &change, reply);
	if (!err)
		soft_fill_change(out, &change, core_as_eptp(core_vm_as(vm->core)));
out:
	free(ops);
	return err;
}

/* --- content ------------------------------------------------------------------------------- */

/* One page's worth of a transfer. */
struct piece {
	gpa_t at;
	uint32_t bytes;
};

#define PIECES_MAX (ENGINE_MAX_DATA / 4096u + 2u)

/*
 * Where a guest-virtual address lies, as a debugger wants it: the guest's page tables
 * decide, but neither their permissions nor those of the mapping.
 */
static int locate(struct soft_vm *vm, const struct core_paging_state *ps, uint64_t address,
		  gpa_t *ret, struct soft_reply *reply)
{
	struct core_as *as = core_vm_as(vm->core);
	struct core_walk_result w;
	struct core_range range;

	core_walk(as, ps, gva(address), CORE_PROT_R, &w);
	if (w.outcome == CORE_WALK_OK) {
		*ret = w.gpa;
		return 0;
	}
	if (w.outcome == CORE_WALK_EPT_VIOLATION && (w.qualification & VMX_BIT(8)) &&
	    core_as_lookup(as, w.fault_gpa, &range) == 0) {
		*ret = w.fault_gpa;
		return 0;
	}
	return soft_fail(reply, -EFAULT, ENGINE_FIELD_GVA, address,
			 "the guest maps nothing at gva 0x%" PRIx64, address);
}

/* Splits a transfer at pages; all of it must be there before any of it is done. */
static int split(struct soft_vm *vm, const struct engine_mem_io *io, struct piece *pieces,
		 size_t *ret_count, struct soft_reply *reply)
{
	struct core_paging_state ps;
	uint64_t address = io->address, end = io->address + io->size_bytes;
	struct core_range range;
	size_t n = 0;
	int err;

	core_vcpu_paging_state(vm->vcpus[io->vcpu].core, &ps);
	ps.user = false;
	ps.smap_off = true;
	while (address != end) {
		uint64_t left = end - address, room = VMX_PAGE_SIZE - address % VMX_PAGE_SIZE;
		gpa_t at = gpa(address);

		if (io->kind == ENGINE_ADDR_GVA) {
			err = locate(vm, &ps, address, &at, reply);
			if (err)
				return err;
		}
		if (core_as_lookup(core_vm_as(vm->core), at, &range) != 0)
			return soft_fail(reply, -EFAULT, ENGINE_FIELD_GPA, at.v,
					 "nothing is mapped at gpa 0x%" PRIx64, at.v);
		pieces[n++] = (struct piece){at, (uint32_t)(left < room ? left : room)};
		address += pieces[n - 1].bytes;
	}
	*ret_count = n;
	return 0;
}

static int check_io(const struct soft_vm *vm, const struct engine_mem_io *io,
		    struct soft_reply *reply)
{
	const struct soft_slot *slot;

	if (io->size_bytes == 0 || io->size_bytes > ENGINE_MAX_DATA)
		return soft_fail(reply, -EINVAL, ENGINE_FIELD_SIZE, ENGINE_MAX_DATA,
				 "%u bytes: 1 to %u are possible", io->size_bytes, ENGINE_MAX_DATA);
	if (io->kind > ENGINE_ADDR_SLOT)
		return soft_fail(reply, -EINVAL, ENGINE_FIELD_KIND, ENGINE_ADDR_SLOT,
				 "unknown kind of address %u", io->kind);
	if (io->kind == ENGINE_ADDR_SLOT) {
		slot = soft_find_slot(vm, io->slot);
		if (!slot)
			return soft_fail(reply, -ENOENT, ENGINE_FIELD_SLOT, 0,
					 "the VM has no such slot");
		if (io->address > slot->core.size || slot->core.size - io->address < io->size_bytes)
			return soft_fail(reply, -ERANGE, ENGINE_FIELD_OFFSET, slot->core.size,
					 "offset 0x%" PRIx64 " plus %u bytes is outside the slot's "
					 "0x%" PRIx64 " bytes",
					 io->address, io->size_bytes, slot->core.size);
		return 0;
	}
	if (io->vcpu >= vm->vcpu_count)
		return soft_fail(reply, -EINVAL, ENGINE_FIELD_VCPU, vm->vcpu_count - 1,
				 "vcpu %u: the last is %u", io->vcpu, vm->vcpu_count - 1);
	/* A range may end with the address space, but not wrap. */
	if (io->address + (io->size_bytes - 1) < io->address)
		return soft_fail(reply, -ERANGE,
				 io->kind == ENGINE_ADDR_GVA ? ENGINE_FIELD_GVA : ENGINE_FIELD_GPA,
				 UINT64_MAX, "0x%" PRIx64 " plus %u bytes wraps", io->address,
				 io->size_bytes);
	return 0;
}

static int transfer(struct soft_vm *vm, const struct engine_mem_io *io, uint8_t *buf, bool write,
		    struct soft_reply *reply)
{
	struct core_as *as = core_vm_as(vm->core);
	struct piece pieces[PIECES_MAX];
	size_t count = 0, i;
	int err = split(vm, io, pieces, &count, reply);

	for (i = 0; i < count && !err; i++) {
		err = write ? core_guest_write(as, pieces[i].at, buf, pieces[i].bytes)
			    : core_guest_read(as, pieces[i].at, buf, pieces[i].bytes);
		buf += pieces[i].bytes;
	}
	return err;
}

int soft_mem_read(struct soft *s, struct soft_vm *vm, const struct queue_request *rq,
		  struct soft_reply *reply)
{
	const struct engine_mem_io *io = &rq->req.u.mem;
	uint8_t *buf;
	int err = check_io(vm, io, reply);

	if (err)
		return err;
	buf = soft_payload(reply, io->size_bytes, 1);
	if (!buf)
		return -ENOMEM;
	if (io->kind == ENGINE_ADDR_SLOT)
		return plat_mem_read(s->plat, soft_find_slot(vm, io->slot)->core.mem, io->address,
				     buf, io->size_bytes);
	return transfer(vm, io, buf, false, reply);
}

int soft_mem_write(struct soft *s, struct soft_vm *vm, const struct queue_request *rq,
		   struct soft_reply *reply)
{
	const struct engine_mem_io *io = &rq->req.u.mem;
	int err = check_io(vm, io, reply);

	if (err)
		return err;
	if (io->kind == ENGINE_ADDR_SLOT)
		return plat_mem_write(s->plat, soft_find_slot(vm, io->slot)->core.mem, io->address,
				      rq->payload, io->size_bytes);
	return transfer(vm, io, rq->payload, true, reply);
}
