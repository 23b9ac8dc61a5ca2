/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The operations of a batch on the mapping list: what each must look like, what must be
 * mapped or free, and what it does. They follow one another: each sees the list as the
 * ones before it leave it.
 */
#include "core/as_internal.h"

/* Execution aside, what EPT can express: writable implies readable ("EPT Misconfigurations"). */
#define MEMTYPES_VALID                                                               \
	(1u << CORE_MT_UC | 1u << CORE_MT_WC | 1u << CORE_MT_WT | 1u << CORE_MT_WP | \
	 1u << CORE_MT_WB)

static int refuse(struct as_change *c, int error, enum core_field field, uint64_t limit)
{
	c->conflict.field = field;
	c->conflict.limit = limit;
	return error;
}

/* --- checks that need no list -------------------------------------------------------------- */

static int check_range(struct as_change *c, const struct core_map_op *op)
{
	uint64_t limit = c->as->gpa_limit;

	if (op->gpa.v % VMX_PAGE_SIZE != 0)
		return refuse(c, -EINVAL, CORE_FIELD_GPA, VMX_PAGE_SIZE);
	if (op->size == 0 || op->size % VMX_PAGE_SIZE != 0)
		return refuse(c, -EINVAL, CORE_FIELD_SIZE, VMX_PAGE_SIZE);
	if (op->gpa.v >= limit)
		return refuse(c, -ERANGE, CORE_FIELD_GPA, limit);
	if (op->size > limit - op->gpa.v)
		return refuse(c, -ERANGE, CORE_FIELD_SIZE, limit - op->gpa.v);
	return 0;
}

static int check_source(struct as_change *c, const struct core_map_op *op)
{
	if (!op->slot)
		return refuse(c, -EINVAL, CORE_FIELD_SLOT, 0);
	if (op->offset % VMX_PAGE_SIZE != 0)
		return refuse(c, -EINVAL, CORE_FIELD_OFFSET, VMX_PAGE_SIZE);
	if (op->offset >= op->slot->size)
		return refuse(c, -ERANGE, CORE_FIELD_OFFSET, op->slot->size);
	if (op->size > op->slot->size - op->offset)
		return refuse(c, -ERANGE, CORE_FIELD_SIZE, op->slot->size - op->offset);
	return 0;
}

static int check_prot(struct as_change *c, const struct core_map_op *op)
{
	bool readable = op->prot & CORE_PROT_R;

	if (op->prot == 0 || (op->prot & ~CORE_PROT_RWX) != 0)
		return refuse(c, -EINVAL, CORE_FIELD_PROT, CORE_PROT_RWX);
	if ((op->prot & CORE_PROT_W) && !readable)
		return refuse(c, -EINVAL, CORE_FIELD_PROT, CORE_PROT_RWX);
	if (!readable && !c->as->ept.rules.exec_only)
		return refuse(c, -EINVAL, CORE_FIELD_PROT, CORE_PROT_RWX);
	return 0;
}

static int check_type(struct as_change *c, const struct core_map_op *op)
{
	if (op->memtype > CORE_MT_WB || !(MEMTYPES_VALID >> op->memtype & 1))
		return refuse(c, -EINVAL, CORE_FIELD_MEMTYPE, CORE_MT_WB);
	if (op->ignore_pat > 1)
		return refuse(c, -EINVAL, CORE_FIELD_MEMTYPE, 1);
	return 0;
}

/* --- checks against the list ----------------------------------------------------------------- */

static int check_free(struct as_change *c, const struct core_map_op *op)
{
	const struct mem_range *r = mem_ranges_at(&c->edit, mem_ranges_seek(&c->edit, op->gpa.v));

	if (!r || r->gpa >= op->gpa.v + op->size)
		return 0;
	c->conflict.existing_first = r->gpa;
	c->conflict.existing_last = mem_range_end(r) - 1;
	c->conflict.existing_slot = r->slot->id;
	return refuse(c, -EEXIST, CORE_FIELD_GPA, 0);
}

static int check_mapped(struct as_change *c, const struct core_map_op *op)
{
	uint64_t at = op->gpa.v, end = at + op->size;
	struct mem_pos pos = mem_ranges_seek(&c->edit, at);

	while (at < end) {
		const struct mem_range *r = mem_ranges_at(&c->edit, pos);

		if (!r || r->gpa > at) {
			c->conflict.existing_first = at;
			c->conflict.existing_last = (r && r->gpa < end ? r->gpa : end) - 1;
			return refuse(c, -ENOENT, CORE_FIELD_GPA, 0);
		}
		at = mem_range_end(r);
		pos = mem_ranges_next(&c->edit, pos);
	}
	return 0;
}

/* --- the operations ------------------------------------------------------------------------ */

static int edit_map(struct as_change *c, const struct core_map_op *op)
{
	struct mem_range r = {
		.gpa = op->gpa.v,
		.size = op->size,
		.offset = op->offset,
		.slot = op->slot,
		.attrs = op->prot | (uint64_t)op->memtype << EPT_MEMTYPE_SHIFT |
			 (op->ignore_pat ? EPT_IGNORE_PAT : 0),
	};

	return mem_ranges_insert(&c->edit, &r);
}

static int edit_unmap(struct as_change *c, const struct core_map_op *op)
{
	return mem_ranges_erase(&c->edit, op->gpa.v, op->gpa.v + op->size);
}

static int edit_protect(struct as_change *c, const struct core_map_op *op)
{
	return mem_ranges_protect(&c->edit, op->gpa.v, op->gpa.v + op->size, op->prot);
}

static int edit_remap(struct as_change *c, const struct core_map_op *op)
{
	return mem_ranges_retarget(&c->edit, op->gpa.v, op->gpa.v + op->size, op->slot, op->offset);
}

typedef int (*op_fn)(struct as_change *c, const struct core_map_op *op);

/* Each kind: its checks in order, and what it does. */
static const struct {
	op_fn checks[5];
	op_fn edit;
} kinds[] = {
	[CORE_MAP] = {{check_range, check_source, check_prot, check_type, check_free}, edit_map},
	[CORE_UNMAP] = {{check_range, check_mapped}, edit_unmap},
	[CORE_PROTECT] = {{check_range, check_prot, check_mapped}, edit_protect},
	[CORE_REMAP] = {{check_range, check_source, check_mapped}, edit_remap},
};

static int edit_one(struct as_change *c, const struct core_map_op *op)
{
	int rc;

	if (op->kind >= VMX_ARRAY_SIZE(kinds))
		return refuse(c, -EINVAL, CORE_FIELD_KIND, VMX_ARRAY_SIZE(kinds) - 1);
	for (unsigned i = 0; i < VMX_ARRAY_SIZE(kinds[0].checks); i++) {
		if (!kinds[op->kind].checks[i])
			break;
		rc = kinds[op->kind].checks[i](c, op);
		if (rc)
			return rc;
	}
	rc = kinds[op->kind].edit(c, op);
	if (rc)
		return rc;
	if (c->edit.total > CORE_MAX_RANGES)
		return refuse(c, -E2BIG, CORE_FIELD_COUNT, CORE_MAX_RANGES);
	return 0;
}

#define OPS_PER_REST 1024u

/* In the order that was asked for: what is wrong is the first operation that can't be done. */
static int edit_as_given(struct as_change *c)
{
	for (size_t i = 0; i < c->count; i++) {
		const struct core_map_op *op = &c->ops[i];
		int rc = edit_one(c, op);

		if (i % OPS_PER_REST == OPS_PER_REST - 1)
			plat_rest();
		if (rc) {
			c->conflict.op_index = (uint32_t)i;
			c->conflict.requested_first = op->gpa.v;
			c->conflict.requested_last = op->gpa.v + op->size - 1;
			return rc;
		}
	}
	return 0;
}

/*
 * Operations that are apart see nothing of each other, but for the number of ranges, to
 * which each adds two at most.
 */
static bool any_order_will_do(const struct as_change *c)
{
	return c->edit.total + 2 * c->count <= CORE_MAX_RANGES && as_operations_apart(c);
}

/* The operations' order is not that of their addresses: the processor can't guess the next. */
#define OPS_AHEAD 8u

static int edit_by_address(struct as_change *c)
{
	int rc = 0;

	for (size_t i = 0; i < c->count && rc == 0; i++) {
		if (i + OPS_AHEAD < c->count)
			__builtin_prefetch(&c->ops[c->order[i + OPS_AHEAD].index]);
		if (i % OPS_PER_REST == OPS_PER_REST - 1)
			plat_rest();
		rc = edit_one(c, &c->ops[c->order[i].index]);
	}
	return rc;
}

int as_edit_ranges(struct as_change *c)
{
	int rc;

	if (c->count == 1 || !any_order_will_do(c))
		return edit_as_given(c);
	rc = edit_by_address(c);
	if (rc == 0)
		return 0;
	/* Anew, for the error that is the first in the order given. */
	memset(&c->conflict, 0, sizeof(c->conflict));
	mem_ranges_abort(&c->edit);
	rc = mem_ranges_begin(&c->as->ranges, &c->edit);
	return rc ? rc : edit_as_given(c);
}
