// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* A VM from its creation to its end, and its descriptor. */
#include <linux/anon_inodes.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "dev_vm.h"
#include "machine.h"

static atomic_t vm_count = ATOMIC_INIT(0);

unsigned int dev_vm_count(void)
{
	return (unsigned int)atomic_read(&vm_count);
}

bool dev_vm_is_mine(const struct dev_vm *vm)
{
	return current->mm == vm->mm;
}

/* --- what it is -------------------------------------------------------------------------- */

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

static long vm_info(void *object, void *arg)
{
	const struct core_as *as = core_vm_as(((struct dev_vm *)object)->core);
	struct vmxcore_vm_info *info = arg;

	info->eptp = core_as_eptp(as);
	info->table_bytes = core_as_table_bytes(as);
	return 0;
}

static long create_vcpu(void *object, void *arg)
{
	return dev_vcpu_create(object, arg);
}

/* --- the descriptor -------------------------------------------------------------------------- */

static const struct dev_ioctl rows[] = {
	{VMXCORE_ADD_SLOT, dev_add_slot},     {VMXCORE_REMOVE_SLOT, dev_remove_slot},
	{VMXCORE_SLOT_INFO, dev_slot_info},   {VMXCORE_APPLY, dev_apply, .out_on_error = true},
	{VMXCORE_RANGES, dev_ranges},	      {VMXCORE_DIRTY, dev_dirty},
	{VMXCORE_MEMORY, dev_memory},	      {VMXCORE_CMPXCHG, dev_cmpxchg, .out_on_error = true},
	{VMXCORE_LOOKUP, dev_lookup},	      {VMXCORE_SET_CPUID, set_cpuid},
	{VMXCORE_INVALIDATE, dev_invalidate}, {VMXCORE_STATS, dev_stats},
	{VMXCORE_TRACE_SET, dev_trace_set},   {VMXCORE_TRACE_READ, dev_trace_read},
	{VMXCORE_VM_INFO, vm_info},	      {VMXCORE_CREATE_VCPU, create_vcpu},
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

	/* Its vCPUs held it: they are gone. */
	core_vm_destroy(vm->core);
	dev_slots_free(vm);
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
