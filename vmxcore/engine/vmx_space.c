/* SPDX-License-Identifier: MIT */
/* What is mapped, changing it, and guest memory through the mappings. */
#include "engine/vmx.h"

#include "plat/atomic.h"

#include <assert.h>
#include <stdlib.h>

#define SAME(a, b) static_assert((int)(a) == (int)(b), #a " is " #b)
SAME(VMXCORE_MAP, CORE_MAP);
SAME(VMXCORE_UNMAP, CORE_UNMAP);
SAME(VMXCORE_PROTECT, CORE_PROTECT);
SAME(VMXCORE_REMAP, CORE_REMAP);
SAME(CORE_PROT_RWX, 7);
SAME(CORE_MT_UC, 0);
SAME(CORE_MT_WC, 1);
SAME(CORE_MT_WT, 4);
SAME(CORE_MT_WP, 5);
SAME(CORE_MT_WB, 6);
SAME(CORE_FIELD_NONE, 0);
SAME(CORE_FIELD_KIND, 1);
SAME(CORE_FIELD_GPA, 2);
SAME(CORE_FIELD_SIZE, 3);
SAME(CORE_FIELD_SLOT, 4);
SAME(CORE_FIELD_OFFSET, 5);
SAME(CORE_FIELD_PROT, 6);
SAME(CORE_FIELD_MEMTYPE, 7);
SAME(CORE_FIELD_COUNT, 8);
SAME(INVAL_NONE, 0);
SAME(INVAL_OPTIONAL, 1);
SAME(INVAL_REQUIRED, 2);
SAME(INVAL_INSN_NONE, 0);
SAME(INVAL_INSN_INVEPT_SINGLE, 1);
SAME(INVAL_INSN_INVEPT_ALL, 2);
#undef SAME

/* --- changes ---------------------------------------------------------------------------- */

static void take_change(struct core_change *ret, const struct vmxcore_change *c)
{
	*ret = (struct core_change){
		.entries_written = c->entries_written,
		.entries_split = c->entries_split,
		.tables_merged = c->tables_merged,
		.tables_allocated = c->tables_allocated,
		.tables_freed = c->tables_freed,
		.decision = {.need = (enum inval_need)c->need,
			     .instruction = (enum inval_instruction)c->instruction,
			     /* A row that this side has not would be read past the table. */
			     .reason = c->reason < INVAL_REASON_COUNT ? (enum inval_reason)c->reason
								      : INVAL_REASON_NO_CHANGE},
		.invept_issued = c->invept_issued,
		.processors_interrupted = c->processors_interrupted,
		.processors_deferred = c->processors_deferred,
	};
}

static void take_conflict(struct core_conflict *ret, const struct vmxcore_conflict *c)
{
	*ret = (struct core_conflict){
		.op_index = c->op_index,
		.field = c->field,
		.limit = c->limit,
		.requested_first = c->requested_first,
		.requested_last = c->requested_last,
		.existing_first = c->existing_first,
		.existing_last = c->existing_last,
		.existing_slot = c->existing_slot,
	};
}

static void fill_ops(struct vmxcore_map_op *out, const struct core_map_op *ops, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		out[i] = (struct vmxcore_map_op){
			.gpa = ops[i].gpa.v,
			.size_bytes = ops[i].size,
			.offset_bytes = ops[i].offset,
			.kind = ops[i].kind,
			.slot = ops[i].slot ? ops[i].slot->id : 0,
			.prot = ops[i].prot,
			.memtype = ops[i].memtype,
		};
}

/* By another thread than the machine's for a large change, without the VM's lock. */
int vmx_apply(struct vmm_vm *vm, const struct core_map_op *ops, size_t count, uint32_t flags,
	      struct core_change *ret, struct core_conflict *ret_conflict)
{
	struct vmx_vm *b = vmx_vm_of(vm);
	struct vmxcore_apply a = {
		.count = (uint32_t)count,
		.flags = flags & CORE_CHANGE_DRY_RUN ? VMXCORE_CHANGE_DRY_RUN : 0,
	};
	struct vmxcore_map_op one, *out = &one;
	int err;

	if (count > CORE_MAX_OPS)
		return -E2BIG;
	if (flags & ~CORE_CHANGE_DRY_RUN)
		return -ENOTSUP;
	if (count > 1)
		out = calloc(count, sizeof(*out));
	if (!out)
		return -ENOMEM;
	fill_ops(out, ops, count);
	a.operations = vmx_pointer(out);
	plat_store(&b->stale, 1u);
	err = vmx_call(b->fd, VMXCORE_APPLY, &a);
	if (err && ret_conflict)
		take_conflict(ret_conflict, &a.conflict);
	if (!err)
		take_change(ret, &a.change);
	if (out != &one)
		free(out);
	return err;
}

int vmx_dirty(struct vmm_vm *vm, gpa_t at, uint64_t size, bool clear, uint8_t *bitmap,
	      struct core_change *ret)
{
	struct vmxcore_dirty d = {
		.gpa = at.v,
		.size_bytes = size,
		.bitmap = vmx_pointer(bitmap),
		.clear = clear,
	};
	int err = vmx_call(vmx_vm_of(vm)->fd, VMXCORE_DIRTY, &d);

	if (!err)
		take_change(ret, &d.change);
	return err;
}

/* --- what is mapped --------------------------------------------------------------------------- */

static void take_range(struct core_range *ret, const struct vmxcore_range *r)
{
	*ret = (struct core_range){
		.gpa = gpa(r->gpa),
		.size = r->size_bytes,
		.slot = r->slot,
		.prot = r->prot,
		.memtype = r->memtype,
		.offset = r->offset_bytes,
	};
}

int vmx_lookup(struct vmm_vm *vm, gpa_t a, struct core_range *ret)
{
	struct vmxcore_lookup l = {.gpa = a.v};
	int err = vmx_call(vmx_vm_of(vm)->fd, VMXCORE_LOOKUP, &l);

	if (!err)
		take_range(ret, &l.range);
	return err;
}

#define RANGES_AT_A_TIME 256u

/* How many were got: less than asked for at the end, or when it can't be told. */
static size_t get_ranges(struct vmm_vm *vm, gpa_t from, struct vmxcore_range *ret, size_t max)
{
	struct vmxcore_ranges q = {
		.gpa = from.v,
		.ranges = vmx_pointer(ret),
		.count = (uint32_t)max,
	};

	if (vmx_call(vmx_vm_of(vm)->fd, VMXCORE_RANGES, &q))
		return 0;
	return q.count < max ? q.count : max;
}

size_t vmx_ranges(struct vmm_vm *vm, gpa_t from, struct core_range *ret, size_t max)
{
	struct vmxcore_range some[RANGES_AT_A_TIME];
	size_t n = 0, want, got, i;

	do {
		want = max - n < RANGES_AT_A_TIME ? max - n : RANGES_AT_A_TIME;
		if (!want)
			break;
		got = get_ranges(vm, from, some, want);
		for (i = 0; i < got; i++)
			take_range(&ret[n + i], &some[i]);
		n += got;
		if (got)
			from = gpa(some[got - 1].gpa + some[got - 1].size_bytes);
	} while (got == want);
	return n;
}

void vmx_count_leaves(struct vmm_vm *vm, const struct core_range *range,
		      struct core_leaf_counts *ret)
{
	struct vmxcore_range r;

	*ret = (struct core_leaf_counts){0};
	if (get_ranges(vm, range->gpa, &r, 1) != 1 || r.gpa != range->gpa.v)
		return;
	ret->leaves[1] = r.leaves_4k;
	ret->leaves[2] = r.leaves_2m;
	ret->leaves[3] = r.leaves_1g;
	ret->accessed = r.leaves_accessed;
	ret->dirty = r.leaves_dirty;
}

/* --- guest memory ------------------------------------------------------------------------- */

static int transfer(struct vmm_vm *vm, gpa_t a, uint64_t buffer, size_t len, uint32_t write)
{
	struct vmxcore_memory m = {
		.gpa = a.v, .buffer = buffer, .size_bytes = (uint32_t)len, .write = write};

	if (len > ENGINE_MAX_DATA)
		return -EINVAL;
	return vmx_call(vmx_vm_of(vm)->fd, VMXCORE_MEMORY, &m);
}

int vmx_read(struct vmm_vm *vm, gpa_t a, void *buf, size_t len)
{
	return transfer(vm, a, vmx_pointer(buf), len, 0);
}

int vmx_write(struct vmm_vm *vm, gpa_t a, const void *buf, size_t len)
{
	return transfer(vm, a, vmx_pointer(buf), len, 1);
}

int vmx_cmpxchg(struct vmm_vm *vm, gpa_t a, unsigned size, uint64_t *expected, uint64_t desired)
{
	struct vmxcore_cmpxchg x = {
		.gpa = a.v, .expected = *expected, .desired = desired, .size_bytes = size};
	int err = vmx_call(vmx_vm_of(vm)->fd, VMXCORE_CMPXCHG, &x);

	if (err == 0 || err == -EAGAIN)
		*expected = x.expected;
	return err;
}

const void *vmx_code(struct vmm_vm *vm, const struct core_walk_result *at, void *buf)
{
	return vmx_read(vm, gpa(at->gpa.v & VMX_PAGE_MASK), buf, VMX_PAGE_SIZE) ? NULL : buf;
}
