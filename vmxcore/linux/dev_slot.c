// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Slots, and changes of what is mapped from them. */
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "dev_vm.h"
#include "machine.h"
#include "plat/kernel.h"

/* --- slots ------------------------------------------------------------------------------ */

static void slot_free(struct core_slot *slot)
{
	plat_kernel_mem_destroy(machine_plat(), slot->mem);
	kfree(slot);
}

long dev_add_slot(void *object, void *arg)
{
	const struct vmxcore_slot *s = arg;
	struct dev_vm *vm = object;
	struct core_slot *slot;
	int err;

	if (s->flags)
		return -EINVAL;
	if (vm->slot_count >= DEV_MAX_SLOTS)
		return -ENOSPC;
	slot = kzalloc(sizeof(*slot), GFP_KERNEL_ACCOUNT);
	if (!slot)
		return -ENOMEM;
	err = xa_insert(&vm->slots, s->slot, XA_ZERO_ENTRY, GFP_KERNEL_ACCOUNT);
	if (err) {
		kfree(slot);
		return err == -EBUSY ? -EEXIST : err;
	}
	err = plat_kernel_mem_pin(machine_plat(), s->address, s->size_bytes, &slot->mem);
	if (err) {
		xa_erase(&vm->slots, s->slot);
		kfree(slot);
		return err;
	}
	slot->id = s->slot;
	slot->size = s->size_bytes;
	/* The place was reserved: this allocates nothing. */
	xa_store(&vm->slots, s->slot, slot, GFP_KERNEL_ACCOUNT);
	vm->slot_count++;
	return 0;
}

long dev_remove_slot(void *object, void *arg)
{
	const struct vmxcore_slot_number *n = arg;
	struct dev_vm *vm = object;
	struct core_slot *slot = xa_load(&vm->slots, n->slot);

	if (n->pad)
		return -EINVAL;
	if (!slot)
		return -ENOENT;
	if (slot->mapped_bytes)
		return -EBUSY;
	xa_erase(&vm->slots, n->slot);
	vm->slot_count--;
	slot_free(slot);
	return 0;
}

void dev_slots_free(struct dev_vm *vm)
{
	struct core_slot *slot;
	unsigned long number;

	xa_for_each(&vm->slots, number, slot) slot_free(slot);
	xa_destroy(&vm->slots);
}

#define EXTENTS_PER_REST 65536u

static u64 count_extents(const struct core_slot *slot)
{
	u64 offset = 0, bytes, n = 0;
	hpa_t at;

	while (offset < slot->size &&
	       plat_mem_extent(slot->mem, offset, slot->size - offset, &at, &bytes) == 0) {
		offset += bytes;
		if (++n % EXTENTS_PER_REST == 0)
			cond_resched();
	}
	return n;
}

long dev_slot_info(void *object, void *arg)
{
	struct vmxcore_slot_info *info = arg;
	struct dev_vm *vm = object;
	struct core_slot *slot = xa_load(&vm->slots, info->slot);

	if (info->pad)
		return -EINVAL;
	if (!slot)
		return -ENOENT;
	info->size_bytes = slot->size;
	info->mapped_bytes = slot->mapped_bytes;
	info->extents = count_extents(slot);
	return 0;
}

/* --- changes of mappings ------------------------------------------------------------------- */

void dev_fill_change(struct vmxcore_change *ret, const struct core_change *c)
{
	*ret = (struct vmxcore_change){
		.entries_written = c->entries_written,
		.entries_split = c->entries_split,
		.tables_merged = c->tables_merged,
		.tables_allocated = c->tables_allocated,
		.tables_freed = c->tables_freed,
		.need = c->decision.need,
		.instruction = c->decision.instruction,
		.reason = c->decision.reason,
		.invept_issued = c->invept_issued,
		.processors_interrupted = c->processors_interrupted,
		.processors_deferred = c->processors_deferred,
	};
}

static void fill_conflict(struct vmxcore_conflict *ret, const struct core_conflict *c)
{
	*ret = (struct vmxcore_conflict){
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

/* -ENOENT, as core says of a hole, but field slot: there is no such slot. */
static int take_ops(struct dev_vm *vm, const struct vmxcore_map_op *in, u32 count,
		    struct core_map_op *out, struct vmxcore_conflict *conflict)
{
	u32 i;

	for (i = 0; i < count; i++) {
		bool names_slot = in[i].kind == VMXCORE_MAP || in[i].kind == VMXCORE_REMAP;

		out[i] = (struct core_map_op){
			.kind = in[i].kind,
			.prot = in[i].prot,
			.memtype = in[i].memtype,
			.gpa = gpa(in[i].gpa),
			.size = in[i].size_bytes,
			.slot = names_slot ? xa_load(&vm->slots, in[i].slot) : NULL,
			.offset = in[i].offset_bytes,
		};
		if (names_slot && !out[i].slot) {
			conflict->op_index = i;
			conflict->field = CORE_FIELD_SLOT;
			return -ENOENT;
		}
	}
	return 0;
}

/* About a millisecond's work. */
#define STEP_ENTRIES 65536u

/*
 * The caller stays on its processor, which executes INVEPT at once; it may sleep. A signal
 * that ends the process gives the change up, as long as nothing of it has been done: others
 * would make a program with a timer begin anew for ever.
 */
static int apply_here(struct dev_vm *vm, const struct core_map_op *ops, u32 count, u32 flags,
		      struct core_change *change, struct core_conflict *conflict)
{
	struct as_change *c;
	int err;

	migrate_disable();
	err = core_as_change_begin(core_vm_as(vm->core), dev_this_cpu(), ops, count, flags, &c,
				   conflict);
	if (!err) {
		do {
			if (fatal_signal_pending(current))
				core_as_change_cancel(c);
			err = core_as_change_step(c, STEP_ENTRIES, change);
			cond_resched();
		} while (err == 1);
	}
	migrate_enable();
	return err == -ECANCELED ? -EINTR : err;
}

long dev_apply(void *object, void *arg)
{
	struct dev_vm *vm = object;
	struct vmxcore_apply *a = arg;
	struct core_conflict conflict = {};
	struct core_change change = {};
	struct vmxcore_map_op *in;
	struct core_map_op *ops;
	long err;

	memset(&a->change, 0, sizeof(a->change));
	memset(&a->conflict, 0, sizeof(a->conflict));
	if (a->count == 0 || a->count > CORE_MAX_OPS || a->flags & ~VMXCORE_CHANGE_DRY_RUN)
		return -EINVAL;
	in = vmemdup_user(u64_to_user_ptr(a->operations), array_size(a->count, sizeof(*in)));
	if (IS_ERR(in))
		return PTR_ERR(in);
	ops = kvcalloc(a->count, sizeof(*ops), GFP_KERNEL_ACCOUNT);
	err = ops ? take_ops(vm, in, a->count, ops, &a->conflict) : -ENOMEM;
	if (!err) {
		err = apply_here(vm, ops, a->count,
				 a->flags & VMXCORE_CHANGE_DRY_RUN ? CORE_CHANGE_DRY_RUN : 0,
				 &change, &conflict);
		fill_conflict(&a->conflict, &conflict);
		dev_fill_change(&a->change, &change);
	}
	kvfree(ops);
	kvfree(in);
	return err;
}
