/* SPDX-License-Identifier: MIT */
/* The soft backend's mappings, guest memory and slots. */
#include "engine/soft.h"

/* --- mappings ------------------------------------------------------------------------------- */

/* A change runs on the home processor of the first vCPU. */
static struct core_cpu *processor_of(const struct vmm_vm *vm)
{
	return soft_of(vm->machine)->processor[vm->vcpu_count ? vm->vcpus[0].home : 0].core;
}

int soft_apply(struct vmm_vm *vm, const struct core_map_op *ops, size_t count, uint32_t flags,
	       struct core_change *ret, struct core_conflict *ret_conflict)
{
	return core_as_apply(soft_as_of(vm), processor_of(vm), ops, count, flags, ret,
			     ret_conflict);
}

int soft_change_begin(struct vmm_vm *vm, const struct core_map_op *ops, size_t count,
		      uint32_t flags, struct as_change **ret, struct core_conflict *ret_conflict)
{
	return core_as_change_begin(soft_as_of(vm), processor_of(vm), ops, count, flags, ret,
				    ret_conflict);
}

int soft_lookup(struct vmm_vm *vm, gpa_t a, struct core_range *ret)
{
	return core_as_lookup(soft_as_of(vm), a, ret);
}

size_t soft_ranges(struct vmm_vm *vm, gpa_t from, struct core_range *ret, size_t max)
{
	return core_as_ranges(soft_as_of(vm), from, ret, max);
}

void soft_count_leaves(struct vmm_vm *vm, const struct core_range *range,
		       struct core_leaf_counts *ret)
{
	core_as_count_leaves(soft_as_of(vm), range->gpa, range->size, ret);
}

int soft_dirty(struct vmm_vm *vm, gpa_t gpa, uint64_t size, bool clear, uint8_t *bitmap,
	       struct core_change *ret)
{
	return core_as_dirty_harvest(soft_as_of(vm), processor_of(vm), gpa, size, clear, bitmap,
				     ret);
}

/* --- guest memory --------------------------------------------------------------------------- */

int soft_read(struct vmm_vm *vm, gpa_t a, void *buf, size_t len)
{
	return core_guest_read(soft_as_of(vm), a, buf, len);
}

int soft_write(struct vmm_vm *vm, gpa_t a, const void *buf, size_t len)
{
	return core_guest_write(soft_as_of(vm), a, buf, len);
}

int soft_cmpxchg(struct vmm_vm *vm, gpa_t a, unsigned size, uint64_t *expected, uint64_t desired)
{
	return core_guest_cmpxchg(soft_as_of(vm), a, size, expected, desired);
}

const void *soft_code(struct vmm_vm *vm, const struct core_walk_result *at, void *buf)
{
	(void)buf;
	return plat_hpa_ptr(soft_of(vm->machine)->plat, hpa(at->hpa.v & VMX_PAGE_MASK));
}

/* --- slots ---------------------------------------------------------------------------------- */

static const enum plat_mem_kind mem_kinds[] = {
	[ENGINE_SLOT_ANON] = PLAT_MEM_ANON,
	[ENGINE_SLOT_HUGE] = PLAT_MEM_HUGE_2M,
	[ENGINE_SLOT_FILE] = PLAT_MEM_FILE,
};

/* Calls fn for each contiguous piece of the slot. */
static void each_extent(const struct vmm_slot *slot,
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
	struct vmm_slot *slot = ctx;

	(void)bytes;
	if (slot->extents++ == 0)
		slot->hpa_first = at;
}

/* What is decoded from it or reached without a lookup is stale. */
static void tell_removed(void *ctx, hpa_t at, uint64_t bytes)
{
	model_memory_removed(ctx, at, bytes);
}

static void tell_written(void *ctx, hpa_t at, uint64_t bytes)
{
	model_memory_written(ctx, at, bytes);
}

int soft_slot_open(struct vmm_vm *vm, struct vmm_slot *slot, int fd, uint64_t file_offset)
{
	struct plat *plat = soft_of(vm->machine)->plat;
	int err = plat_mem_create(plat, mem_kinds[slot->kind], slot->core.size, fd, file_offset,
				  &slot->core.mem);

	if (err)
		return err;
	slot->huge = plat_mem_is_huge(slot->core.mem);
	each_extent(slot, count_extent, slot);
	return 0;
}

void soft_slot_close(struct vmm_vm *vm, struct vmm_slot *slot)
{
	struct soft *f = soft_of(vm->machine);

	each_extent(slot, tell_removed, f->model);
	plat_mem_destroy(f->plat, slot->core.mem);
	slot->core.mem = NULL;
}

int soft_slot_read(struct vmm_vm *vm, const struct vmm_slot *slot, uint64_t offset, void *buf,
		   size_t len)
{
	return plat_mem_read(soft_of(vm->machine)->plat, slot->core.mem, offset, buf, len);
}

int soft_slot_write(struct vmm_vm *vm, struct vmm_slot *slot, uint64_t offset, const void *buf,
		    size_t len)
{
	return plat_mem_write(soft_of(vm->machine)->plat, slot->core.mem, offset, buf, len);
}

int soft_slot_fill(struct vmm_vm *vm, struct vmm_slot *slot, uint64_t offset, const void *buf,
		   size_t len)
{
	return plat_mem_fill(soft_of(vm->machine)->plat, slot->core.mem, offset, buf, len);
}

/* What the host has given back reads as zeros: the same, whether it will be used again or not. */
void soft_slot_zero(struct vmm_vm *vm, struct vmm_slot *slot, uint64_t offset, uint64_t bytes,
		    bool give_back)
{
	(void)give_back;
	plat_mem_discard(soft_of(vm->machine)->plat, slot->core.mem, offset, bytes);
}

void soft_slot_written(struct vmm_vm *vm, struct vmm_slot *slot)
{
	each_extent(slot, tell_written, soft_of(vm->machine)->model);
}
