// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* The device itself, and what all ioctls share. */
#define pr_fmt(fmt) "vmxcore: " fmt
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <asm/tsc.h>

#include "dev.h"
#include "machine.h"
#include "plat/kernel.h"

#define ARG_BYTES_MAX 2048u
#define ARG_BYTES_SMALL 144u /* up to here without an allocation: runs and changes are */

/* --- every ioctl ------------------------------------------------------------------------ */

static const struct dev_ioctl *find(const struct dev_ioctl *rows, size_t count, unsigned int cmd)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (rows[i].cmd == cmd)
			return &rows[i];
	return NULL;
}

long dev_ioctl(const struct dev_ioctl *rows, size_t count, void *object, unsigned int cmd,
	       unsigned long arg)
{
	const struct dev_ioctl *row = find(rows, count, cmd);
	void __user *user = (void __user *)arg;
	size_t size = _IOC_SIZE(cmd);
	u64 small[ARG_BYTES_SMALL / sizeof(u64)] = {};
	void *copy = small;
	long r;

	if (!row || size > ARG_BYTES_MAX)
		return -ENOTTY;
	if (size > sizeof(small))
		copy = kzalloc(size, GFP_KERNEL_ACCOUNT);
	if (!copy)
		return -ENOMEM;
	r = -EFAULT;
	if ((_IOC_DIR(cmd) & _IOC_WRITE) && copy_from_user(copy, user, size))
		goto out;
	r = row->fn(object, copy);
	if ((_IOC_DIR(cmd) & _IOC_READ) && (r >= 0 || row->out_on_error) &&
	    copy_to_user(user, copy, size))
		r = -EFAULT;
out:
	if (copy != small)
		kfree(copy);
	return r;
}

/* --- the device ----------------------------------------------------------------------------- */

static u32 capabilities(const struct core_caps *c)
{
	return (c->ept_2m ? VMXCORE_CAP_EPT_2M : 0) | (c->ept_1g ? VMXCORE_CAP_EPT_1G : 0) |
	       (c->ept_exec_only ? VMXCORE_CAP_EPT_EXEC_ONLY : 0) |
	       (c->ept_ad ? VMXCORE_CAP_EPT_AD : 0) | (c->vpid ? VMXCORE_CAP_VPID : 0) |
	       (c->unrestricted ? VMXCORE_CAP_UNRESTRICTED : 0) |
	       (c->preemption_timer ? VMXCORE_CAP_PREEMPTION_TIMER : 0);
}

u32 dev_invalidations(const struct core_caps *c)
{
	const bool offered[] = {
		c->invept_single,  c->invept_all,  c->invvpid_address,
		c->invvpid_single, c->invvpid_all, c->invvpid_keep_global,
	};
	u32 bits = 0;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(offered); i++)
		bits |= (u32)offered[i] << i;
	return bits;
}

/* VPIDs are taken where none is kept in step with: see core/vpid.h for what two reads give. */
void dev_pool_read(const struct core_cpu *cpu, struct dev_pool *ret)
{
	ret->left = core_vpid_left(cpu);
	ret->generation = core_vpid_generation(cpu);
	ret->limit = cpu->vpids.limit;
}

static u32 processors_online(const struct core *core)
{
	u32 n = 0;
	unsigned int i;

	for (i = 0; i < core->nr_cpus; i++)
		n += core->cpus[i].online;
	return n;
}

/* What the processor offers is known in VMX operation only. */
static long get_info(void *object, void *arg)
{
	struct vmxcore_info *info = arg;
	const struct core_caps *caps;
	int err = machine_get();

	if (err)
		return err;
	caps = &machine_core()->caps;
	*info = (struct vmxcore_info){
		.abi = VMXCORE_ABI,
		.capabilities = capabilities(caps),
		.processors = processors_online(machine_core()),
		.max_vcpus_per_vm = DEV_MAX_VCPUS,
		.max_slots_per_vm = DEV_MAX_SLOTS,
		.max_operations = CORE_MAX_OPS,
		.max_address_bits = plat_maxphyaddr(machine_plat()),
		.tsc_khz = tsc_khz,
		.max_slot_bytes = PLAT_KERNEL_MEM_MAX,
		.pinned_bytes = plat_kernel_pages_pinned(machine_plat()) << PAGE_SHIFT,
		.vms = dev_vm_count(),
		.invalidations = dev_invalidations(caps),
		.vpid_limit = caps->vpid ? machine_core()->cpus[0].vpids.limit : 0,
	};
	machine_put();
	return 0;
}

static long create_vm(void *object, void *arg)
{
	return dev_vm_create(arg);
}

static const struct dev_ioctl rows[] = {
	{VMXCORE_GET_INFO, get_info},
	{VMXCORE_CREATE_VM, create_vm},
};

static long device_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return dev_ioctl(rows, ARRAY_SIZE(rows), NULL, cmd, arg);
}

static const struct file_operations device_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = device_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "vmxcore",
	.mode = 0600,
	.fops = &device_fops,
};

struct core_cpu *dev_this_cpu(void)
{
	unsigned int id = smp_processor_id();
	struct core_cpu *cpu = id < CORE_MAX_CPUS ? &machine_core()->cpus[id] : NULL;

	return cpu && cpu->online ? cpu : NULL;
}

int dev_init(void)
{
	return misc_register(&device);
}

void dev_exit(void)
{
	misc_deregister(&device);
}
