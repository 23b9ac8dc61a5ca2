// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* What is mapped, and the memory behind it. */
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "dev_vm.h"

/* --- what is mapped --------------------------------------------------------------------------- */

static void fill_range(struct vmxcore_range *ret, const struct core_range *r)
{
	*ret = (struct vmxcore_range){
		.gpa = r->gpa.v,
		.size_bytes = r->size,
		.offset_bytes = r->offset,
		.slot = r->slot,
		.prot = r->prot,
		.memtype = r->memtype,
	};
}

static void count_leaves(struct core_as *as, struct vmxcore_range *r)
{
	struct core_leaf_counts c;

	core_as_count_leaves(as, gpa(r->gpa), r->size_bytes, &c);
	r->leaves_4k = c.leaves[1];
	r->leaves_2m = c.leaves[2];
	r->leaves_1g = c.leaves[3];
	r->leaves_accessed = c.accessed;
	r->leaves_dirty = c.dirty;
}

long dev_ranges(void *object, void *arg)
{
	struct core_as *as = core_vm_as(((struct dev_vm *)object)->core);
	struct vmxcore_ranges *q = arg;
	struct vmxcore_range *out;
	struct core_range *found;
	size_t n = 0, i;
	long err = 0;

	if (q->count == 0 || q->count > DEV_MAX_RANGES || q->pad)
		return -EINVAL;
	found = kvcalloc(q->count, sizeof(*found), GFP_KERNEL_ACCOUNT);
	out = kvcalloc(q->count, sizeof(*out), GFP_KERNEL_ACCOUNT);
	if (!found || !out) {
		err = -ENOMEM;
		goto out;
	}
	n = core_as_ranges(as, gpa(q->gpa), found, q->count);
	for (i = 0; i < n; i++) {
		fill_range(&out[i], &found[i]);
		count_leaves(as, &out[i]);
		cond_resched();
	}
	q->count = (u32)n;
	q->eptp = core_as_eptp(as);
	q->table_bytes = core_as_table_bytes(as);
	if (copy_to_user(u64_to_user_ptr(q->ranges), out, n * sizeof(*out)))
		err = -EFAULT;
out:
	kvfree(out);
	kvfree(found);
	return err;
}

long dev_lookup(void *object, void *arg)
{
	struct core_as *as = core_vm_as(((struct dev_vm *)object)->core);
	struct vmxcore_lookup *l = arg;
	struct core_range range;
	int err = core_as_lookup(as, gpa(l->gpa), &range);

	if (!err)
		fill_range(&l->range, &range);
	return err;
}

long dev_dirty(void *object, void *arg)
{
	struct dev_vm *vm = object;
	struct vmxcore_dirty *d = arg;
	struct core_change change = {};
	size_t bytes;
	u8 *bitmap;
	long err;

	if (d->pad || d->clear > 1 || d->size_bytes == 0 || d->size_bytes > DEV_MAX_DIRTY_BYTES ||
	    d->size_bytes % PAGE_SIZE || d->gpa % PAGE_SIZE)
		return -EINVAL;
	bytes = (size_t)(d->size_bytes / PAGE_SIZE + 7) / 8;
	bitmap = kvzalloc(bytes, GFP_KERNEL_ACCOUNT);
	if (!bitmap)
		return -ENOMEM;
	migrate_disable();
	err = core_as_dirty_harvest(core_vm_as(vm->core), dev_this_cpu(), gpa(d->gpa),
				    d->size_bytes, d->clear, bitmap, &change);
	migrate_enable();
	dev_fill_change(&d->change, &change);
	if (!err && copy_to_user(u64_to_user_ptr(d->bitmap), bitmap, bytes))
		err = -EFAULT;
	kvfree(bitmap);
	return err;
}

/* --- guest memory ---------------------------------------------------------------------------- */

/* Nothing of it is mapped away while vm->lock is held. */
static int check_mapped(struct core_as *as, u64 at, u64 size)
{
	while (size) {
		struct core_range r;
		u64 n;

		if (core_as_lookup(as, gpa(at), &r))
			return -EFAULT;
		n = r.gpa.v + r.size - at;
		if (n >= size)
			return 0;
		at += n;
		size -= n;
	}
	return 0;
}

/* A page at a time: core holds a spinlock meanwhile. */
static int copy_guest(struct core_as *as, const struct vmxcore_memory *m, u8 *buf)
{
	u64 at = m->gpa, left = m->size_bytes;
	int err = 0;

	while (left && !err) {
		size_t n = min_t(u64, left, PAGE_SIZE - at % PAGE_SIZE);

		err = m->write ? core_guest_write(as, gpa(at), buf, n)
			       : core_guest_read(as, gpa(at), buf, n);
		at += n;
		buf += n;
		left -= n;
	}
	return err;
}

/* What is to be written is taken in whole before the first byte is: all of it, or nothing. */
long dev_memory(void *object, void *arg)
{
	struct core_as *as = core_vm_as(((struct dev_vm *)object)->core);
	const struct vmxcore_memory *m = arg;
	void __user *user = u64_to_user_ptr(m->buffer);
	void *buf;
	long err;

	if (m->write > 1 || m->size_bytes > DEV_MAX_DATA)
		return -EINVAL;
	if (m->size_bytes == 0)
		return 0;
	if (vmx_range_bad(m->gpa, m->size_bytes))
		return -EINVAL;
	err = check_mapped(as, m->gpa, m->size_bytes);
	if (err)
		return err;
	buf = m->write ? vmemdup_user(user, m->size_bytes)
		       : kvmalloc(m->size_bytes, GFP_KERNEL_ACCOUNT);
	if (IS_ERR_OR_NULL(buf))
		return buf ? PTR_ERR(buf) : -ENOMEM;
	err = copy_guest(as, m, buf);
	if (!err && !m->write && copy_to_user(user, buf, m->size_bytes))
		err = -EFAULT;
	kvfree(buf);
	return err;
}

long dev_cmpxchg(void *object, void *arg)
{
	struct core_as *as = core_vm_as(((struct dev_vm *)object)->core);
	struct vmxcore_cmpxchg *x = arg;

	if (x->pad)
		return -EINVAL;
	return core_guest_cmpxchg(as, gpa(x->gpa), x->size_bytes, &x->expected, x->desired);
}
