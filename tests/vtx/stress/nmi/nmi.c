// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Sends NMIs, and counts those that arrive: a number to "send" is a processor's. */
#include <linux/atomic.h>
#include <linux/cpu.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/nmi.h>

#include <asm/apic.h>
#include <asm/nmi.h>

#define NAME "vmxcore-stress"

static atomic_t on_the_way = ATOMIC_INIT(0);
static unsigned int handled;
module_param(handled, uint, 0444);
MODULE_PARM_DESC(handled, "NMIs that have arrived");

static int on_nmi(unsigned int type, struct pt_regs *regs)
{
	if (!atomic_add_unless(&on_the_way, -1, 0))
		return NMI_DONE;
	WRITE_ONCE(handled, handled + 1);
	return NMI_HANDLED;
}

static int send(const char *text, const struct kernel_param *kp)
{
	unsigned int cpu;
	int err = kstrtouint(text, 0, &cpu);

	if (err)
		return err;
	cpus_read_lock();
	if (cpu < nr_cpu_ids && cpu_online(cpu)) {
		atomic_inc(&on_the_way);
		apic->send_IPI((int)cpu, NMI_VECTOR);
	} else {
		err = -ENODEV;
	}
	cpus_read_unlock();
	return err;
}

static const struct kernel_param_ops send_ops = {.set = send};
module_param_cb(send, &send_ops, NULL, 0200);
MODULE_PARM_DESC(send, "send an NMI to this processor");

static int __init nmi_init(void)
{
	return register_nmi_handler(NMI_LOCAL, on_nmi, 0, NAME);
}

static void __exit nmi_exit(void)
{
	unregister_nmi_handler(NMI_LOCAL, NAME);
}

module_init(nmi_init);
module_exit(nmi_exit);
MODULE_DESCRIPTION("NMIs for a test");
MODULE_LICENSE("Dual MIT/GPL");
