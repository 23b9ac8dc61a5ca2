// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* A VM's descriptor: slots, mappings, guest memory, invalidations by hand. */
#include <linux/anon_inodes.h>
#include <linux/fs.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/preempt.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/uaccess.h>

#include "dev.h"
#include "machine.h"
#include "plat/kernel.h"

static atomic_t vm_count = ATOMIC_INIT(0);

unsigned int dev_vm_count(void)
{
	return (unsigned int)atomic_read(&vm_count);
}

bool dev_vm_is_mine(const struct dev_vm *vm)
{
	return current->mm == vm->mm;
}

/* --- slots ------------------------------------------------------------------------------ */

static void slot_free(struct core_slot *slot)
{
	plat_kernel_mem_destroy(machine_plat(), slot->mem);
	kfree(slot);
}

static long add_slot(void *object, void *arg)
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

static long remove_slot(void *object, void *arg)
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

static u64 count_extents(const struct core_slot *slot)
{
	u64 offset = 0, bytes, n = 0;
	hpa_t at;

	while (offset < slot->size &&
	       plat_mem_extent(slot->mem, offset, slot->size - offset, &at, &bytes) == 0) {
		offset += bytes;
		n++;
	}
	return n;
}

static long slot_info(void *object, void *arg)
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

static void fill_change(struct vmxcore_change *ret, const struct core_change *c)
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

/* The caller stays on its processor, which executes INVEPT at once; it may sleep. */
static int apply_here(struct dev_vm *vm, const struct core_map_op *ops, u32 count, u32 flags,
		      struct core_change *change, struct core_conflict *conflict)
{
	int err;

	migrate_disable();
	err = core_as_apply(core_vm_as(vm->core), dev_this_cpu(), ops, count, flags, change,
			    conflict);
	migrate_enable();
	return err;
}

static long apply(void *object, void *arg)
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
		fill_change(&a->change, &change);
	}
	kvfree(ops);
	kvfree(in);
	return err;
}

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

static long ranges(void *object, void *arg)
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

static long lookup(void *object, void *arg)
{
	struct core_as *as = core_vm_as(((struct dev_vm *)object)->core);
	struct vmxcore_lookup *l = arg;
	struct core_range range;
	int err = core_as_lookup(as, gpa(l->gpa), &range);

	if (!err)
		fill_range(&l->range, &range);
	return err;
}

static long dirty(void *object, void *arg)
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
	fill_change(&d->change, &change);
	if (!err && copy_to_user(u64_to_user_ptr(d->bitmap), bitmap, bytes))
		err = -EFAULT;
	kvfree(bitmap);
	return err;
}

/* --- guest memory ------------------------------------------------------------------------------
 */

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
static long memory(void *object, void *arg)
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

static long compare_exchange(void *object, void *arg)
{
	struct core_as *as = core_vm_as(((struct dev_vm *)object)->core);
	struct vmxcore_cmpxchg *x = arg;

	if (x->pad)
		return -EINVAL;
	return core_guest_cmpxchg(as, gpa(x->gpa), x->size_bytes, &x->expected, x->desired);
}

/* --- CPUID, invalidations, counters ---------------------------------------------------------- */

static_assert(sizeof(struct vmxcore_cpuid_entry) == sizeof(struct core_cpuid_entry) &&
	      offsetof(struct vmxcore_cpuid_entry, edx) == offsetof(struct core_cpuid_entry, edx));

static long set_cpuid(void *object, void *arg)
{
	const struct vmxcore_cpuid *c = arg;
	struct dev_vm *vm = object;
	struct core_cpuid_entry *entries;
	long err;

	if (c->pad || c->count > CORE_MAX_CPUID_ENTRIES)
		return -EINVAL;
	entries = memdup_user(u64_to_user_ptr(c->entries),
			      (c->count ? c->count : 1) * sizeof(*entries));
	if (IS_ERR(entries))
		return PTR_ERR(entries);
	err = core_vm_set_cpuid(vm->core, entries, c->count);
	kfree(entries);
	return err;
}

struct invalidation {
	const struct vmxcore_invalidate *what;
	struct core_trace *trace;
	u64 eptp;
	int result;
};

enum { INVEPT_SINGLE, INVEPT_ALL, INVVPID_FIRST, KINDS = INVVPID_FIRST + 4 };

static void invalidate_here(void *arg)
{
	static const enum hw_invvpid_type types[] = {HW_INVVPID_ADDRESS, HW_INVVPID_SINGLE,
						     HW_INVVPID_ALL, HW_INVVPID_SINGLE_KEEP_GLOBAL};
	struct invalidation *i = arg;
	const struct vmxcore_invalidate *w = i->what;
	const struct inval_origin origin = {
		.trace = i->trace,
		.vcpu = CORE_TRACE_NO_VCPU,
		.vpid = (u16)w->vpid,
		.cause = CORE_CAUSE_REQUEST,
	};
	struct core_cpu *cpu = dev_this_cpu();

	if (!cpu)
		i->result = -ENODEV;
	else if (w->kind == INVEPT_SINGLE)
		i->result = inval_invept(cpu, i->eptp, &origin);
	else if (w->kind == INVEPT_ALL)
		i->result = inval_invept_all(cpu, &origin);
	else
		i->result = inval_invvpid(cpu, types[w->kind - INVVPID_FIRST], (u16)w->vpid,
					  gva(w->gva), &origin);
}

static long invalidate(void *object, void *arg)
{
	struct dev_vm *vm = object;
	struct invalidation i = {.what = arg,
				 .trace = core_vm_trace(vm->core),
				 .eptp = core_as_eptp(core_vm_as(vm->core))};

	if (i.what->pad || i.what->kind >= KINDS || i.what->vpid > U16_MAX)
		return -EINVAL;
	if (i.what->processor >= machine_core()->nr_cpus)
		return -ENODEV;
	if (smp_call_function_single((int)i.what->processor, invalidate_here, &i, 1))
		return -ENODEV;
	return i.result;
}

static long stats(void *object, void *arg)
{
	struct dev_vm *vm = object;
	struct vmxcore_stats *s = arg;
	const struct core_stats *from;
	u64 values[CORE_STAT_COUNT];
	u32 room = s->count, i;

	if (s->processor != ~0u && s->processor >= machine_core()->nr_cpus)
		return -ENODEV;
	from = s->processor == ~0u ? core_as_stats(core_vm_as(vm->core))
				   : &machine_core()->cpus[s->processor].stats;
	for (i = 0; i < CORE_STAT_COUNT; i++)
		values[i] = core_stat_get(from, (enum core_stat)i);
	s->count = CORE_STAT_COUNT;
	return copy_to_user(u64_to_user_ptr(s->values), values,
			    min_t(u32, room, CORE_STAT_COUNT) * sizeof(u64))
		       ? -EFAULT
		       : 0;
}

/* --- the trace ------------------------------------------------------------------------------- */

/* Atomic, as the ring's lock wants. */
static u64 trace_clock(void *ctx)
{
	return ktime_get_ns();
}

static long trace_set(void *object, void *arg)
{
	struct dev_vm *vm = object;
	const struct vmxcore_trace_set *s = arg;
	const struct core_trace_settings settings = {
		.kinds = s->kinds,
		.vcpu = s->vcpu,
		.exits = {s->exits[0], s->exits[1]},
		.records = s->records,
		.guest_time = trace_clock,
	};

	if (s->pad)
		return -EINVAL;
	return core_trace_set(core_vm_trace(vm->core), &settings);
}

static void fill_record(struct vmxcore_trace_record *out, const struct core_trace_record *r)
{
	*out = (struct vmxcore_trace_record){
		.seq = r->seq,
		.time_ns = r->guest_time,
		.rip = r->rip,
		.gpa = r->gpa.v,
		.gva = r->gva.v,
		.qualification = r->qualification,
		.ep4ta = r->ep4ta,
		.vcpu = r->vcpu,
		.processor = r->processor,
		.exit_reason = r->exit_reason,
		.vpid = r->vpid,
		.kind = r->kind,
		.invalidation = r->insn,
		.cause = r->cause,
		.gva_valid = r->gva_valid,
	};
}

static long trace_read(void *object, void *arg)
{
	struct dev_vm *vm = object;
	struct vmxcore_trace_read *q = arg;
	struct vmxcore_trace_record *out;
	struct core_trace_record *found;
	size_t n, i;
	long err = -ENOMEM;

	if (q->pad || q->count == 0 || q->count > DEV_MAX_TRACE_READ)
		return -EINVAL;
	found = kvcalloc(q->count, sizeof(*found), GFP_KERNEL_ACCOUNT);
	out = kvcalloc(q->count, sizeof(*out), GFP_KERNEL_ACCOUNT);
	if (!found || !out)
		goto out;
	n = core_trace_read(core_vm_trace(vm->core), found, q->count, &q->lost);
	for (i = 0; i < n; i++)
		fill_record(&out[i], &found[i]);
	q->count = (u32)n;
	err = copy_to_user(u64_to_user_ptr(q->records), out, n * sizeof(*out)) ? -EFAULT : 0;
out:
	kvfree(out);
	kvfree(found);
	return err;
}

static long create_vcpu(void *object, void *arg)
{
	return dev_vcpu_create(object, arg);
}

/* --- the descriptor ------------------------------------------------------------------------------
 */

static const struct dev_ioctl rows[] = {
	{VMXCORE_ADD_SLOT, add_slot},
	{VMXCORE_REMOVE_SLOT, remove_slot},
	{VMXCORE_SLOT_INFO, slot_info},
	{VMXCORE_APPLY, apply, .out_on_error = true},
	{VMXCORE_RANGES, ranges},
	{VMXCORE_DIRTY, dirty},
	{VMXCORE_MEMORY, memory},
	{VMXCORE_CMPXCHG, compare_exchange, .out_on_error = true},
	{VMXCORE_LOOKUP, lookup},
	{VMXCORE_SET_CPUID, set_cpuid},
	{VMXCORE_INVALIDATE, invalidate},
	{VMXCORE_STATS, stats},
	{VMXCORE_TRACE_SET, trace_set},
	{VMXCORE_TRACE_READ, trace_read},
	{VMXCORE_CREATE_VCPU, create_vcpu},
};

static long vm_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct dev_vm *vm = file->private_data;
	long r;

	if (!dev_vm_is_mine(vm))
		return -EXDEV;
	if (mutex_lock_killable(&vm->lock))
		return -EINTR;
	r = dev_ioctl(rows, ARRAY_SIZE(rows), vm, cmd, arg);
	mutex_unlock(&vm->lock);
	return r;
}

static void vm_free(struct kref *refs)
{
	struct dev_vm *vm = container_of(refs, struct dev_vm, refs);
	struct core_slot *slot;
	unsigned long number;

	/* Its vCPUs held it: they are gone. */
	core_vm_destroy(vm->core);
	xa_for_each(&vm->slots, number, slot) slot_free(slot);
	xa_destroy(&vm->slots);
	mmdrop(vm->mm);
	mutex_destroy(&vm->lock);
	kfree(vm);
	atomic_dec(&vm_count);
	machine_put();
}

void dev_vm_put(struct dev_vm *vm)
{
	kref_put(&vm->refs, vm_free);
}

static int vm_release(struct inode *inode, struct file *file)
{
	dev_vm_put(file->private_data);
	return 0;
}

static const struct file_operations vm_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = vm_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.release = vm_release,
	.llseek = noop_llseek,
};

/* The machine is held: by the VM from now on. */
static int vm_new(const struct core_vm_config *cfg, struct dev_vm **ret)
{
	struct dev_vm *vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	int err;

	if (!vm)
		return -ENOMEM;
	err = core_vm_create(machine_core(), cfg, &vm->core);
	if (err) {
		kfree(vm);
		return err;
	}
	kref_init(&vm->refs);
	mutex_init(&vm->lock);
	xa_init(&vm->slots);
	vm->mm = current->mm;
	mmgrab(vm->mm);
	atomic_inc(&vm_count);
	*ret = vm;
	return 0;
}

long dev_vm_create(const struct vmxcore_create_vm *c)
{
	const struct core_vm_config cfg = {
		.as = {.max_page_bytes = c->max_page_bytes,
		       .accessed_dirty = c->flags & VMXCORE_VM_ACCESSED_DIRTY,
		       .walk_length = 4},
		.use_vpid = c->flags & VMXCORE_VM_VPID,
	};
	struct dev_vm *vm;
	int fd, err;

	if (c->flags & ~(VMXCORE_VM_VPID | VMXCORE_VM_ACCESSED_DIRTY) || c->pad)
		return -EINVAL;
	err = machine_get();
	if (err)
		return err;
	err = vm_new(&cfg, &vm);
	if (err) {
		machine_put();
		return err;
	}
	fd = anon_inode_getfd("vmxcore-vm", &vm_fops, vm, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		dev_vm_put(vm);
	return fd;
}
