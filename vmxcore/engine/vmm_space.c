/* SPDX-License-Identifier: MIT */
/* What an address space maps, as its EPT has it, and which of it is dirty. */
#include "engine/vmm.h"

#include <inttypes.h>
#include <stdlib.h>

/* --- mapped ranges --------------------------------------------------------------------------- */

static void fill_mapping(struct vmm_vm *vm, const struct core_range *r, struct engine_mapping *out)
{
	struct core_leaf_counts c;

	vm->machine->backend->count_leaves(vm, r, &c);
	*out = (struct engine_mapping){
		.gpa = r->gpa.v,
		.size_bytes = r->size,
		.offset_bytes = r->offset,
		.leaves_4k = c.leaves[1],
		.leaves_2m = c.leaves[2],
		.leaves_1g = c.leaves[3],
		.leaves_accessed = c.accessed,
		.leaves_dirty = c.dirty,
		.slot = r->slot,
		.prot = r->prot,
		.memtype = r->memtype,
	};
}

/* "Extended-Page-Table Pointer (EPTP)": bit 6 enables the flags. */
static bool has_flags(struct vmm_vm *vm)
{
	return (vm->machine->backend->eptp(vm) & VMX_BIT(6)) != 0;
}

int vmm_mapping_list(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		     struct vmm_reply *reply)
{
	const struct engine_mapping_list_req *q = &rq->req.u.mapping_list;
	struct core_range *ranges;
	struct engine_mappings *out;
	size_t found, n, i;

	if (q->max < 1 || q->max > ENGINE_MAX_MAPPINGS)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_SIZE, ENGINE_MAX_MAPPINGS,
				"%u mappings: 1 to %u at a time", q->max, ENGINE_MAX_MAPPINGS);
	/* One more than asked for tells whether there is more. */
	ranges = calloc(q->max + 1, sizeof(*ranges));
	if (!ranges)
		return -ENOMEM;
	found = s->backend->ranges(vm, gpa(q->gpa), ranges, q->max + 1);
	n = found < q->max ? found : q->max;
	out = vmm_payload(reply, 1, sizeof(*out) + n * sizeof(out->mapping[0]));
	if (out) {
		out->ep4ta = core_ep4ta(s->backend->eptp(vm));
		out->table_bytes = s->backend->table_bytes(vm);
		out->accessed_dirty = has_flags(vm);
		out->more = found > n;
		out->next_gpa = found > n ? ranges[n].gpa.v : 0;
		out->count = (uint32_t)n;
		for (i = 0; i < n; i++)
			fill_mapping(vm, &ranges[i], &out->mapping[i]);
	}
	free(ranges);
	return out ? 0 : -ENOMEM;
}

/* --- dirty pages ------------------------------------------------------------------------------ */

static int check_dirty(struct vmm_vm *vm, const struct engine_dirty_req *q, struct vmm_reply *reply)
{
	if (q->clear > 1)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_KIND, 1, "clear must be 0 or 1");
	if (q->gpa % VMX_PAGE_SIZE != 0)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_GPA, VMX_PAGE_SIZE,
				"0x%" PRIx64 " is not a multiple of 4096", q->gpa);
	if (q->size_bytes == 0 || q->size_bytes % VMX_PAGE_SIZE != 0)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_SIZE, VMX_PAGE_SIZE,
				"%" PRIu64 " is not a positive multiple of 4096", q->size_bytes);
	if (q->size_bytes > ENGINE_MAX_DIRTY_BYTES)
		return vmm_fail(reply, -ERANGE, ENGINE_FIELD_SIZE, ENGINE_MAX_DIRTY_BYTES,
				"%" PRIu64 " bytes: at most %" PRIu64 " at a time", q->size_bytes,
				ENGINE_MAX_DIRTY_BYTES);
	if (!has_flags(vm))
		return vmm_fail(reply, -ENOTSUP, ENGINE_FIELD_NONE, 0,
				"this VM's EPT has no accessed and dirty flags");
	return 0;
}

static uint64_t bits_set(const uint8_t *bitmap, size_t bytes)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < bytes; i++)
		sum += (unsigned)__builtin_popcount(bitmap[i]);
	return sum;
}

int vmm_dirty(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
	      struct vmm_reply *reply)
{
	const struct engine_dirty_req *q = &rq->req.u.dirty;
	size_t bytes = (size_t)((q->size_bytes / VMX_PAGE_SIZE + 7) / 8);
	struct engine_dirty *out;
	struct core_change change;
	int err = check_dirty(vm, q, reply);

	if (err)
		return err;
	out = vmm_payload(reply, 1, sizeof(*out) + bytes);
	if (!out)
		return -ENOMEM;
	err = s->backend->dirty(vm, gpa(q->gpa), q->size_bytes, q->clear, out->bitmap, &change);
	if (err == -ERANGE || err == -EINVAL)
		return vmm_fail(reply, err, ENGINE_FIELD_GPA, 0,
				"0x%" PRIx64 " plus %" PRIu64
				" bytes is beyond the guest-physical address space",
				q->gpa, q->size_bytes);
	if (err)
		return err;
	vmm_fill_change(&out->change, &change, s->backend->eptp(vm));
	out->bitmap_bytes = bytes;
	out->dirty_pages = bits_set(out->bitmap, bytes);
	return 0;
}
