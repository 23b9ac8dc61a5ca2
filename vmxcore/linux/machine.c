// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * See machine.h. Entering and leaving VMX operation hangs on processor hotplug: its
 * callbacks run on the processor itself, for those that are online now and for those
 * that come later. Source: SDM volume 3, "Restrictions on VMX Operation" (INIT is
 * blocked in VMX operation, so a restart must leave it first).
 */
#define pr_fmt(fmt) "vmxcore: " fmt
#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/reboot.h>
#include <linux/smp.h>
#include <linux/suspend.h>

#include "core/caps.h"
#include "core/vpid.h"
#include "hw/vtx/compat.h"
#include "hw/vtx/mitigate.h"
#include "hw/vtx/perf.h"
#include "hw/vtx/vtx.h"
#include "machine.h"

#if VMXCORE_HAVE_EMERGENCY_CALLBACK
#include <asm/reboot.h>
#endif

static unsigned int vpid_limit = CORE_VPID_MAX;

static int set_vpid_limit(const char *value, const struct kernel_param *kp)
{
	int err = param_set_uint_minmax(value, kp, 1, CORE_VPID_MAX);

	if (err)
		pr_err("vpid_limit=%s: it is 1 to %u\n", value, CORE_VPID_MAX);
	return err;
}

static const struct kernel_param_ops vpid_limit_ops = {
	.set = set_vpid_limit,
	.get = param_get_uint,
};

module_param_cb(vpid_limit, &vpid_limit_ops, &vpid_limit, 0444);
__MODULE_PARM_TYPE(vpid_limit, "uint");
MODULE_PARM_DESC(vpid_limit, "highest VPID that is used on a processor before all are dropped and "
			     "handed out anew (1..65535; default 65535; few show recycling)");

static struct {
	struct mutex lock; /* guards what follows */
	unsigned int holders;
	bool going_down, going_to_sleep;
	struct plat *plat;
	struct core *core;
	int hotplug_state;
} machine = {.lock = __MUTEX_INITIALIZER(machine.lock)};

struct core *machine_core(void)
{
	return machine.core;
}

struct plat *machine_plat(void)
{
	return machine.plat;
}

/* --- one processor --------------------------------------------------------------------- */

static void probe_here(void *ret)
{
	*(enum vtx_state *)ret = vtx_probe();
}

static int state_error(enum vtx_state state, unsigned int cpu)
{
	if (state == VTX_AVAILABLE)
		return 0;
	pr_err("processor %u: %s\n", cpu, vtx_state_text(state));
	return state == VTX_IN_USE ? -EBUSY : -ENODEV;
}

/* What this processor lacks of the controls, of what the first one has, or of MSRs. */
static const char *lacking(void)
{
	const char *missing = NULL;
	struct core_caps caps;

	if (caps_read(vtx_cpu(smp_processor_id()), &caps) == 0)
		missing = caps_missing(&caps);
	if (missing)
		return missing;
	/* Both were zeroed whole before they were filled. */
	if (machine.core->caps_known && memcmp(&caps, &machine.core->caps, sizeof(caps)))
		return "the first processor's VMX capabilities (update its microcode)";
	return "an MSR of those that guests have their own of";
}

static const char *online_error_text(int err)
{
	switch (err) {
	case -EBUSY:
		return vtx_state_text(VTX_IN_USE);
	case -EIO:
		return "VMXON failed";
	case -ENOMEM:
		return "out of memory";
	default:
		return "no VMX";
	}
}

/* Hotplug callback, on the processor itself: it comes up. */
static int processor_online(unsigned int cpu)
{
	int err;

	if (cpu >= CORE_MAX_CPUS)
		return 0; /* stays out of VMX operation: nothing runs there */
	err = state_error(vtx_probe(), cpu);
	if (err)
		return err;
	err = core_cpu_online(machine.core, cpu, vtx_cpu(cpu));
	if (err == -ENOTSUP)
		pr_err("processor %u lacks %s\n", cpu, lacking());
	else if (err)
		pr_err("processor %u: %s (error %d)\n", cpu, online_error_text(err), err);
	return err;
}

/* On the processor itself, which runs no guest meanwhile. */
static void leave_vmx(unsigned int cpu)
{
	if (cpu >= CORE_MAX_CPUS)
		return;
	core_cpu_offline(machine.core, cpu);
}

/* Hotplug callback, on the processor itself: it goes. */
static int processor_offline(unsigned int cpu)
{
	unsigned long flags;

	local_irq_save(flags);
	leave_vmx(cpu);
	local_irq_restore(flags);
	return 0;
}

static void leave_vmx_here(void *unused)
{
	leave_vmx(smp_processor_id());
}

/*
 * A panic, or kexec after one, has no use for locks and lists: VMX operation ends, and that
 * is all. Before 6.6 the kernel does this itself. Where KVM's module is loaded, it has the one
 * place for such a callback, which does the same.
 */
#if VMXCORE_HAVE_EMERGENCY_CALLBACK && (IS_ENABLED(CONFIG_KVM_INTEL) || IS_ENABLED(CONFIG_KVM_AMD))
static void emergency_register(void)
{
	cpu_emergency_register_virt_callback(vtx_emergency);
}

static void emergency_unregister(void)
{
	cpu_emergency_unregister_virt_callback(vtx_emergency);
}
#else
static void emergency_register(void)
{
}

static void emergency_unregister(void)
{
}
#endif

/* --- all of them ----------------------------------------------------------------------------- */

int machine_probe(void)
{
	unsigned int cpu;
	int err = 0;

	cpus_read_lock();
	for_each_online_cpu(cpu)
	{
		enum vtx_state state = VTX_ABSENT;

		smp_call_function_single((int)cpu, probe_here, &state, 1);
		err = state_error(state, cpu);
		if (err)
			break;
	}
	cpus_read_unlock();
	return err;
}

static int machine_start(void)
{
	unsigned int cpus = min(nr_cpu_ids, CORE_MAX_CPUS), cpu;
	int err;

	err = plat_kernel_create(cpus, &machine.plat);
	if (err)
		return err;
	err = core_create(machine.plat, cpus, &machine.core);
	if (err)
		goto out_plat;
	machine.core->small_exec = mitigate_small_exec();
	for (cpu = 0; cpu < cpus; cpu++)
		core_vpid_pool_init(&machine.core->cpus[cpu].vpids, vpid_limit);
	err = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "virt/vmxcore:online", processor_online,
				processor_offline);
	if (err < 0)
		goto out_core;
	machine.hotplug_state = err;
	emergency_register();
	return 0;

out_core:
	core_destroy(machine.core);
	machine.core = NULL;
out_plat:
	plat_kernel_destroy(machine.plat);
	machine.plat = NULL;
	return err;
}

static uint64_t machine_stop(void)
{
	uint64_t pages;

	emergency_unregister();
	cpuhp_remove_state(machine.hotplug_state);
	core_destroy(machine.core);
	machine.core = NULL;
	pages = plat_kernel_destroy(machine.plat);
	machine.plat = NULL;
	WARN_ON(pages != 0);
	return pages;
}

int machine_get(void)
{
	int err = 0;

	mutex_lock(&machine.lock);
	if (machine.going_down || machine.going_to_sleep)
		err = -ESHUTDOWN;
	else if (machine.holders == 0)
		err = machine_start();
	if (!err)
		machine.holders++;
	mutex_unlock(&machine.lock);
	return err;
}

uint64_t machine_put(void)
{
	uint64_t left = 0;

	mutex_lock(&machine.lock);
	if (--machine.holders == 0)
		left = machine_stop();
	mutex_unlock(&machine.lock);
	return left;
}

/* --- the system's ways down ---------------------------------------------------------------- */

/*
 * Restart and power-off reach processors by INIT, which VMX operation blocks. Runs
 * of guests end by the interrupt, and find their processor out of VMX operation.
 */
static int going_down(struct notifier_block *nb, unsigned long action, void *data)
{
	mutex_lock(&machine.lock);
	machine.going_down = true;
	if (machine.holders)
		on_each_cpu(leave_vmx_here, NULL, 1);
	mutex_unlock(&machine.lock);
	return NOTIFY_DONE;
}

/*
 * Sleep loses VMX operation and what is cached of a VMCS: not while it is in use, and until
 * it is over nobody begins to. Who refuses is told of the end, too.
 */
static int going_to_sleep(struct notifier_block *nb, unsigned long action, void *data)
{
	bool sleeps = action == PM_SUSPEND_PREPARE || action == PM_HIBERNATION_PREPARE, in_use;

	if (!sleeps && action != PM_POST_SUSPEND && action != PM_POST_HIBERNATION)
		return NOTIFY_DONE;
	mutex_lock(&machine.lock);
	in_use = machine.holders != 0;
	machine.going_to_sleep = sleeps && !in_use;
	mutex_unlock(&machine.lock);
	if (!sleeps || !in_use)
		return NOTIFY_DONE;
	pr_err("the system can't sleep while virtual machines exist: stop them first\n");
	return NOTIFY_BAD;
}

static struct notifier_block reboot_notifier = {.notifier_call = going_down};
static struct notifier_block sleep_notifier = {.notifier_call = going_to_sleep};

int machine_init(void)
{
	int err = register_reboot_notifier(&reboot_notifier);

	if (err)
		return err;
	err = register_pm_notifier(&sleep_notifier);
	if (err)
		goto out_reboot;
	err = vtx_perf_init();
	if (err)
		goto out_sleep;
	mitigate_report();
	return 0;

out_sleep:
	unregister_pm_notifier(&sleep_notifier);
out_reboot:
	unregister_reboot_notifier(&reboot_notifier);
	return err;
}

void machine_exit(void)
{
	vtx_perf_exit();
	unregister_pm_notifier(&sleep_notifier);
	unregister_reboot_notifier(&reboot_notifier);
}
