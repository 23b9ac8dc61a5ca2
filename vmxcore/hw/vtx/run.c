// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Entering a guest, and keeping the host whole around it. Sources: SDM volume 3,
 * "Loading Host State", "Host-State Area", "Checks on Host Segment and
 * Descriptor-Table Registers".
 */
#include <linux/build_bug.h>
#include <linux/hw_breakpoint.h>
#include <linux/kernel.h>
#include <linux/sched.h>

#include <asm/cpu_entry_area.h>
#include <asm/cpufeature.h>
#include <asm/debugreg.h>
#include <asm/desc.h>
#include <asm/fpu/api.h>
#include <asm/mce.h>
#include <asm/msr.h>
#include <asm/segment.h>
#include <asm/special_insns.h>
#include <asm/trapnr.h>

#include "hw/vtx/compat.h"
#include "hw/vtx/fields.h"
#include "hw/vtx/mitigate.h"
#include "hw/vtx/perf.h"
#include "hw/vtx/vtx.h"

#if VMXCORE_HAVE_FRED
#include <asm/fred.h>
#endif

#define SELECTOR_RPL_TI 7 /* must be 0 in the host-state area */

static_assert(offsetof(struct hw_gpregs, r) == 0 && HW_R15 == 15);

int vtx_enter(struct hw_gpregs *regs, u64 *host_rsp, bool launch);
extern char vtx_exit[];

/* --- host state -------------------------------------------------------------------- */

static u16 host_selector(u16 sel)
{
	return sel & SELECTOR_RPL_TI ? 0 : sel;
}

/* Of a processor, as long as it is online. */
static void read_fixed_state(struct hw_cpu *cpu, struct hw_host_state *h)
{
	struct desc_ptr dt;

	h->cs = __KERNEL_CS;
	h->ss = __KERNEL_DS;
	store_tr(h->tr);
	h->tr_base = (unsigned long)&get_cpu_entry_area(cpu->id)->tss.x86_tss;
	native_store_gdt(&dt);
	h->gdtr_base = dt.address;
	store_idt(&dt);
	h->idtr_base = dt.address;
	rdmsrq(MSR_GS_BASE, h->gs_base);
	rdmsrq(MSR_IA32_SYSENTER_CS, h->sysenter_cs);
	rdmsrq(MSR_IA32_SYSENTER_ESP, h->sysenter_esp);
	rdmsrq(MSR_IA32_SYSENTER_EIP, h->sysenter_eip);
	rdmsrq(MSR_IA32_CR_PAT, h->pat);
	rdmsrq(MSR_EFER, h->efer);
}

/*
 * What belongs to the task and its address space. Selectors of user space (RPL 3, or in
 * the LDT) can't stand in the host-state area: the exit loads null instead, and
 * vtx_end() brings them back.
 */
static void read_task_state(struct hw_host_state *h)
{
	u16 sel;

	h->cr0 = read_cr0();
	h->cr3 = __read_cr3();
	h->cr4 = __read_cr4();
	savesegment(es, sel);
	h->es = host_selector(sel);
	savesegment(ds, sel);
	h->ds = host_selector(sel);
	savesegment(fs, sel);
	h->fs = host_selector(sel);
	savesegment(gs, sel);
	h->gs = host_selector(sel);
	rdmsrq(MSR_FS_BASE, h->fs_base);
}

void hw_read_host_state(struct hw_cpu *cpu, struct hw_host_state *ret)
{
	if (!cpu->host_fixed)
		read_fixed_state(cpu, &cpu->host);
	cpu->host_fixed = true;
	/* Core asks before each entry: no task can come between begin and end. */
	if (!cpu->host_read)
		read_task_state(&cpu->host);
	cpu->host_read = cpu->begun;
	*ret = cpu->host;
}

static void save_selectors(struct hw_cpu *cpu)
{
	savesegment(ds, cpu->ds);
	savesegment(es, cpu->es);
	savesegment(fs, cpu->fs);
	savesegment(gs, cpu->gs);
	store_ldt(cpu->ldt);
	rdmsrq(MSR_FS_BASE, cpu->fs_base);
}

static void restore_selectors(struct hw_cpu *cpu)
{
	if (unlikely(cpu->ldt))
		asm volatile("lldt %0" : : "m"(cpu->ldt));
	if (unlikely(cpu->ds & SELECTOR_RPL_TI))
		loadsegment(ds, cpu->ds);
	if (unlikely(cpu->es & SELECTOR_RPL_TI))
		loadsegment(es, cpu->es);
	if (unlikely(cpu->gs & SELECTOR_RPL_TI))
		load_gs_index(cpu->gs);
	if (unlikely(cpu->fs & SELECTOR_RPL_TI)) {
		loadsegment(fs, cpu->fs);
		wrmsrq(MSR_FS_BASE, cpu->fs_base);
	}
}

/* --- debug registers -------------------------------------------------------------------- */

static void dr_read(unsigned long dr[4])
{
	get_debugreg(dr[0], 0);
	get_debugreg(dr[1], 1);
	get_debugreg(dr[2], 2);
	get_debugreg(dr[3], 3);
}

static void dr_write(unsigned int i, unsigned long value)
{
	switch (i) {
	case 0:
		set_debugreg(value, 0);
		break;
	case 1:
		set_debugreg(value, 1);
		break;
	case 2:
		set_debugreg(value, 2);
		break;
	case 3:
		set_debugreg(value, 3);
		break;
	}
}

/*
 * The guest's stay loaded from entry to entry; of its copy, software changes DR6 at most.
 * DR6 is read back after each exit, for a guest's #DB changes it; the others by vtx_end():
 * a guest's MOV to them doesn't exit.
 */
static noinline void dr_load_guest(struct hw_cpu *cpu, struct hw_gpregs *regs)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cpu->dr) && cpu->guest != regs; i++) {
		if (likely(cpu->dr[i] == regs->dr[i]))
			continue;
		dr_write(i, regs->dr[i]);
		cpu->dr[i] = regs->dr[i];
	}
	if (unlikely(cpu->dr6 != regs->dr6)) {
		set_debugreg(regs->dr6, 6);
		cpu->dr6 = regs->dr6;
	}
	cpu->guest = regs;
}

static void dr_unload_guest(struct hw_cpu *cpu)
{
	unsigned int i;

	if (!cpu->guest)
		return;
	dr_read(cpu->dr);
	for (i = 0; i < ARRAY_SIZE(cpu->dr); i++)
		cpu->guest->dr[i] = cpu->dr[i];
	cpu->guest = NULL;
	set_debugreg(DR6_RESERVED, 6);
}

/* --- the bracket ---------------------------------------------------------------------------- */

void vtx_begin(struct hw_cpu *cpu)
{
	lockdep_assert_irqs_disabled();
	cpu->begun = true;
	if (test_thread_flag(TIF_NEED_FPU_LOAD))
		switch_fpu_return();
	save_selectors(cpu);
	/* A host breakpoint must not fire at an address that is the guest's. */
	if (hw_breakpoint_active())
		set_debugreg(0, 7);
	dr_read(cpu->dr);
	get_debugreg(cpu->dr6, 6);
	cpu->debugctl = get_debugctlmsr();
	vtx_perf_to_guest(cpu);
	mitigate_before_entries();
}

void vtx_end(struct hw_cpu *cpu)
{
	vtx_perf_to_host(cpu);
	/* An exit leaves GDTR's limit at 0xffff and TR's at 0x67. */
	load_fixmap_gdt(cpu->id);
	invalidate_tss_limit();
	restore_selectors(cpu);
	dr_unload_guest(cpu);
	/* DR7 was cleared by vtx_begin(), and by each exit, which also clears IA32_DEBUGCTL. */
	if (hw_breakpoint_active())
		hw_breakpoint_restore();
	if (cpu->debugctl)
		update_debugctlmsr(cpu->debugctl);
	cpu->begun = false;
	cpu->host_read = false;
	mitigate_before_user();
}

/* --- entry -------------------------------------------------------------------------------- */

/* A VMCS that has just become current: vtx_enter() adds host RSP. */
static noinline enum hw_result write_host_rip(struct hw_cpu *cpu)
{
	return hw_vmwrite(cpu, VTX_FIELD_HOST_RIP, (unsigned long)vtx_exit);
}

enum hw_result hw_enter(struct hw_cpu *cpu, struct hw_gpregs *regs, bool launch)
{
	enum hw_result r;

	if (unlikely(!cpu->host_rsp)) {
		r = write_host_rip(cpu);
		if (r)
			return r;
	}
	if (unlikely(cpu->guest != regs || cpu->dr6 != regs->dr6))
		dr_load_guest(cpu, regs);
	if (unlikely(READ_ONCE(cpu->nmi_seen)))
		vtx_perf_to_guest(cpu);
	if (native_read_cr2() != regs->cr2)
		native_write_cr2(regs->cr2);
	r = vtx_enter(regs, &cpu->host_rsp, launch);
	regs->cr2 = native_read_cr2();
	cpu->dr6 = native_get_debugreg(6); /* where there is VMX, nobody is in between */
	regs->dr6 = cpu->dr6;
	return r;
}

/* VM-exit interruption information of those that are the host's: valid bit, type, vector. */
#define EXIT_INTR_MASK 0x800007ffu
#define EXIT_INTR_NMI 0x80000202u
#define EXIT_INTR_MC 0x80000312u
#define REASON_MASK 0xffffu
#define REASON_EXCEPTION_OR_NMI 0u
#define REASON_MC_DURING_ENTRY 41u

/* False: a VMREAD failed. */
static bool read_exit(struct hw_exit *ret)
{
	bool ok = false;

	asm volatile(
		"1: vmread %[reason_field], %[reason]\n\t"
		"jbe 2f\n\t"
		"vmread %[vectoring_field], %[vectoring]\n\t"
		"jbe 2f\n\t"
		"vmread %[length_field], %[length]\n\t"
		"jbe 2f\n\t"
		"vmread %[blocking_field], %[blocking]\n\t"
		"jbe 2f\n\t"
		"vmread %[rip_field], %[rip]\n\t"
		"jbe 2f\n\t"
		"vmread %[rflags_field], %[rflags]\n\t"
		"seta %[ok]\n"
		"2:\n" _ASM_EXTABLE(1b, 2b)
		: [ok] "+r"(ok), [reason] "=m"(ret->reason), [vectoring] "=m"(ret->vectoring_info),
		  [length] "=m"(ret->insn_length), [blocking] "=m"(ret->interruptibility),
		  [rip] "=m"(ret->rip), [rflags] "=m"(ret->rflags)
		: [reason_field] "r"((u64)VTX_FIELD_EXIT_REASON),
		  [vectoring_field] "r"((u64)VTX_FIELD_IDT_VECTORING_INFO),
		  [length_field] "r"((u64)VTX_FIELD_EXIT_INSN_LENGTH),
		  [blocking_field] "r"((u64)VTX_FIELD_GUEST_INTERRUPTIBILITY),
		  [rip_field] "r"((u64)VTX_FIELD_GUEST_RIP),
		  [rflags_field] "r"((u64)VTX_FIELD_GUEST_RFLAGS)
		: "cc");
	return ok;
}

/*
 * "VM Exits Due to NMIs": NMIs are blocked since the exit, as in their handler, and its IRET
 * unblocks them. The gate in the IDT has the stack that the handler wants; with FRED there is
 * no such gate, and the kernel has a way in.
 */
static void host_nmi(void)
{
#if VMXCORE_HAVE_FRED
	if (cpu_feature_enabled(X86_FEATURE_FRED)) {
		fred_entry_from_kvm(EVENT_TYPE_NMI, X86_TRAP_NMI);
		return;
	}
#endif
	asm volatile("int $2" : : : "memory");
}

/*
 * To the handler it hit a user's program, which the guest's is for the host: what can be
 * survived there ends that program at most. A kernel without a handler has CR4.MCE clear.
 */
static void host_machine_check(void)
{
#ifdef CONFIG_X86_MCE
	struct pt_regs regs = {.cs = __USER_CS, .flags = X86_EFLAGS_IF};

	do_machine_check(&regs);
#endif
}

/*
 * An NMI or a machine check ended the guest's turn instead of going through the host's IDT:
 * its handler runs here.
 */
static noinline void hand_to_host(struct hw_cpu *cpu, u32 reason)
{
	u64 info;

	if (reason == REASON_MC_DURING_ENTRY)
		host_machine_check();
	if (reason != REASON_EXCEPTION_OR_NMI || hw_vmread(cpu, VTX_FIELD_EXIT_INTR_INFO, &info))
		return;
	if ((info & EXIT_INTR_MASK) == EXIT_INTR_NMI)
		host_nmi();
	else if ((info & EXIT_INTR_MASK) == EXIT_INTR_MC)
		host_machine_check();
}

/*
 * An external interrupt is still pending in the interrupt controller (no acknowledge on
 * exit), and comes when the caller turns interrupts on. Descriptor-table limits are put
 * back by vtx_end().
 */
enum hw_result hw_after_exit(struct hw_cpu *cpu, struct hw_exit *ret)
{
	u32 reason;

	if (unlikely(!read_exit(ret)))
		return HW_FAIL_INVALID;
	reason = ret->reason & REASON_MASK;
	if (unlikely(reason == REASON_EXCEPTION_OR_NMI || reason == REASON_MC_DURING_ENTRY))
		hand_to_host(cpu, reason);
	return HW_SUCCEED;
}
