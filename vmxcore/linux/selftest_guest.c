// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* The host's side of tests/vtx/guest.S: it answers steps by changing translations. */
#define pr_fmt(fmt) "vmxcore: " fmt
#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/moduleparam.h>

#include <asm/apic.h>
#include <asm/nmi.h>

#include "machine.h"
#include "selftest.h"

#define FLAG_GPA 0x500000
#define UNMAPPED_GPA 0x7000000
#define SPARE_NEW 0x0000
#define SPARE_UNMAPPED 0x1000
#define VECTOR 32
#define CPUID_ROUNDS 1000
#define EXTERNAL_INTERRUPT(vector) (0x80000000u | (vector))

/* Everything here is of a page. */
#define PAGE_OP(what, at, ...)                                                  \
	{                                                                       \
		.kind = (what), .gpa = {(at)}, .size = PAGE_SIZE, ##__VA_ARGS__ \
	}

static bool selftest_hotplug;
module_param(selftest_hotplug, bool, 0400);
MODULE_PARM_DESC(selftest_hotplug, "let the self-test take a processor offline and back");

/* --- the thread that acts while the guest spins ------------------------------------------ */

static struct task_struct *changer;
static int changer_error;
static unsigned int taken_cpu; /* taken offline; 0: none, for the first is never taken */

#define NMI_NAME "vmxcore-selftest"
#define NMI_WAIT_MS 2000

static atomic_t nmi_sent, nmi_seen;

static int on_nmi(unsigned int type, struct pt_regs *regs)
{
	if (!atomic_xchg(&nmi_sent, 0))
		return NMI_DONE;
	atomic_inc(&nmi_seen);
	return NMI_HANDLED;
}

/* An NMI that ends a guest's turn still reaches the host's handlers, once. */
static int send_nmi(void)
{
	unsigned int i;

	atomic_set(&nmi_seen, 0);
	if (register_nmi_handler(NMI_LOCAL, on_nmi, 0, NMI_NAME))
		return -EIO;
	atomic_set(&nmi_sent, 1);
	apic->send_IPI((int)test_second_cpu(), NMI_VECTOR);
	for (i = 0; i < NMI_WAIT_MS && !atomic_read(&nmi_seen); i++)
		msleep(1);
	unregister_nmi_handler(NMI_LOCAL, NMI_NAME);
	pr_info("host: %d NMI handled\n", atomic_read(&nmi_seen));
	return atomic_read(&nmi_seen) == 1 ? 0 : -EIO;
}

static int changer_main(void *arg)
{
	struct test_vm *t = arg;
	const struct core_map_op back =
		PAGE_OP(CORE_REMAP, TEST_TEXT_GPA, .slot = &t->slot[TEST_SLOT_RAM],
			.offset = TEST_TEXT_GPA);
	u32 flag = 0;

	while (!flag && !kthread_should_stop()) {
		usleep_range(50, 100);
		plat_kernel_mem_read(t->mem[TEST_SLOT_RAM], FLAG_GPA, &flag, sizeof(flag));
	}
	if (flag) {
		int err = send_nmi();

		runner_interrupt(t->runner);
		changer_error = test_change(t, "remap under the spinning guest", &back) ?: err;
	}
	while (!kthread_should_stop())
		msleep(1);
	return 0;
}

static int start(struct test_vm *t)
{
	static const char old[] = "OLD", new[] = "NEW", spare[] = "of the spare slot\n";
	int err = plat_kernel_mem_write(t->mem[TEST_SLOT_RAM], TEST_TEXT_GPA, old, sizeof(old));

	if (!err)
		err = plat_kernel_mem_write(t->mem[TEST_SLOT_SPARE], SPARE_NEW, new, sizeof(new));
	if (!err)
		err = plat_kernel_mem_write(t->mem[TEST_SLOT_SPARE], SPARE_UNMAPPED, spare,
					    sizeof(spare));
	if (err)
		return err;
	changer_error = 0;
	changer = kthread_create(changer_main, t, "vmxcore-changer");
	if (IS_ERR(changer))
		return (int)PTR_ERR(changer);
	kthread_bind(changer, test_first_cpu());
	wake_up_process(changer);
	return 0;
}

static void stop(struct test_vm *t)
{
	kthread_stop(changer);
	if (taken_cpu)
		add_cpu(taken_cpu);
	taken_cpu = 0;
}

/* --- steps ------------------------------------------------------------------------------- */

static int step_remap(struct test_vm *t)
{
	const struct core_map_op op = PAGE_OP(
		CORE_REMAP, TEST_TEXT_GPA, .slot = &t->slot[TEST_SLOT_SPARE], .offset = SPARE_NEW);

	return test_change(t, "remap to the spare slot", &op);
}

static int step_spun(struct test_vm *t)
{
	pr_info("host: interrupted by its runner: %llu\n", t->interrupts);
	return changer_error;
}

static int step_read_only(struct test_vm *t)
{
	const struct core_map_op op = PAGE_OP(CORE_PROTECT, TEST_TEXT_GPA, .prot = CORE_PROT_R);

	return test_change(t, "make it read-only", &op);
}

static int step_no_execute(struct test_vm *t)
{
	const struct core_map_op op =
		PAGE_OP(CORE_PROTECT, UNMAPPED_GPA, .prot = CORE_PROT_R | CORE_PROT_W);

	return test_change(t, "take execution away", &op);
}

static int step_budget(struct test_vm *t)
{
	t->budgets = 0;
	return 0;
}

static int step_cpuid(struct test_vm *t)
{
	u32 ticks = 0;
	int err = plat_kernel_mem_read(t->mem[TEST_SLOT_RAM], FLAG_GPA, &ticks, sizeof(ticks));

	if (err)
		return err;
	pr_info("host: budget ran out %s\n", t->budgets ? "while it counted" : "never");
	pr_info("host: %u ticks a CPUID exit\n", ticks / CPUID_ROUNDS);
	return t->budgets ? 0 : -EIO;
}

/* Its VMCS is active on the processor that goes: it must be VMCLEARed there. */
static int step_move(struct test_vm *t)
{
	const struct core_map_op op = PAGE_OP(
		CORE_REMAP, TEST_TEXT_GPA, .slot = &t->slot[TEST_SLOT_SPARE], .offset = SPARE_NEW);
	unsigned int from = test_second_cpu();
	int err = 0;

	if (selftest_hotplug && from != test_first_cpu()) {
		taken_cpu = from;
		err = remove_cpu(from);
		pr_info("host: processor %u is offline and %s VMX operation: %d\n", from,
			machine_core()->cpus[from].online ? "still in" : "out of", err);
	}
	if (!err)
		err = test_run_on(test_first_cpu());
	pr_info("host: the vCPU goes on on processor %u\n", test_first_cpu());
	return err ? err : test_change(t, "remap after the move", &op);
}

static int step_back(struct test_vm *t)
{
	int err = 0;

	if (taken_cpu) {
		err = add_cpu(taken_cpu);
		pr_info("host: processor %u is online and %s VMX operation: %d\n", taken_cpu,
			machine_core()->cpus[taken_cpu].online ? "in" : "out of", err);
		taken_cpu = 0;
	}
	pr_info("host: the vCPU goes on on processor %u\n", test_second_cpu());
	return err ? err : test_run_on(test_second_cpu());
}

static int (*const steps[])(struct test_vm *t) = {
	NULL,	     step_remap, step_spun, step_read_only, step_no_execute,
	step_budget, step_cpuid, step_move, step_back,
};

static int step(struct test_vm *t, uint8_t number)
{
	if (number >= ARRAY_SIZE(steps) || !steps[number])
		return -EINVAL;
	return steps[number](t);
}

/* --- what the guest runs into --------------------------------------------------------------- */

/* Grants all, and lets it try again. */
static int denied(struct test_vm *t, const struct core_run_exit *e)
{
	const struct core_map_op op =
		PAGE_OP(CORE_PROTECT, e->gpa.v & PAGE_MASK, .prot = CORE_PROT_RWX);

	return test_change(t, "allow it", &op);
}

static int unmapped(struct test_vm *t, const struct core_run_exit *e)
{
	const struct core_map_op op =
		PAGE_OP(CORE_MAP, UNMAPPED_GPA, .prot = CORE_PROT_RWX, .memtype = CORE_MT_WB,
			.slot = &t->slot[TEST_SLOT_SPARE], .offset = SPARE_UNMAPPED);

	return test_change(t, "map it", &op);
}

static int halted(struct test_vm *t)
{
	const struct core_event event = {.info = EXTERNAL_INTERRUPT(VECTOR)};

	pr_info("host: HLT, injecting vector %d\n", VECTOR);
	return core_vcpu_inject(t->vcpu, &event);
}

const struct test_program test_program_guest = {
	.name = "guest",
	.file = "guest.bin",
	.status = 0x2a,
	.start = start,
	.step = step,
	.denied = denied,
	.unmapped = unmapped,
	.halted = halted,
	.stop = stop,
};
