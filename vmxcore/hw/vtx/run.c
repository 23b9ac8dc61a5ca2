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
#include <asm/msr.h>
#include <asm/segment.h>
#include <asm/special_insns.h>

#include "hw/vtx/fields.h"
#include "hw/vtx/vtx.h"

#define PROC_MOV_DR_EXITING BIT(23)
#define SELECTOR_RPL_TI 7 /* must be 0 in the host-state area */

static_assert(offsetof(struct hw_gpregs, r) == 0 && HW_R15 == 15);

int vtx_enter(struct hw_gpregs *regs, u64 *host_rsp, bool launch);
extern char vtx_exit[];

/* --- host state -------------------------------------------------------------------- */

static u16 host_selector(u16 sel)
{
	return sel & SELECTOR_RPL_TI ? 0 : sel;
}

/*
 * Selectors of user space (RPL 3, or in the LDT) can't stand in the host-state
 * area: the exit loads null instead, and vtx_end() brings them back.
 */
void hw_read_host_state(struct hw_cpu *cpu, struct hw_host_state *ret)
{
	struct desc_ptr dt;
	u16 sel;

	*ret = (struct hw_host_state){
		.cr0 = read_cr0(),
		.cr3 = __read_cr3(),
		.cr4 = __read_cr4(),
		.cs = __KERNEL_CS,
		.ss = __KERNEL_DS,
		.tr_base = (unsigned long)&get_cpu_entry_area(cpu->id)->tss.x86_tss,
	};
	savesegment(es, sel);
	ret->es = host_selector(sel);
	savesegment(ds, sel);
	ret->ds = host_selector(sel);
	savesegment(fs, sel);
	ret->fs = host_selector(sel);
	savesegment(gs, sel);
	ret->gs = host_selector(sel);
	store_tr(ret->tr);
	native_store_gdt(&dt);
	ret->gdtr_base = dt.address;
	store_idt(&dt);
	ret->idtr_base = dt.address;
	rdmsrl(MSR_FS_BASE, ret->fs_base);
	rdmsrl(MSR_GS_BASE, ret->gs_base);
	rdmsrl(MSR_IA32_SYSENTER_CS, ret->sysenter_cs);
	rdmsrl(MSR_IA32_SYSENTER_ESP, ret->sysenter_esp);
	rdmsrl(MSR_IA32_SYSENTER_EIP, ret->sysenter_eip);
	rdmsrl(MSR_IA32_CR_PAT, ret->pat);
	rdmsrl(MSR_EFER, ret->efer);
}

static void save_selectors(struct hw_cpu *cpu)
{
	savesegment(ds, cpu->ds);
	savesegment(es, cpu->es);
	savesegment(fs, cpu->fs);
	savesegment(gs, cpu->gs);
	store_ldt(cpu->ldt);
	rdmsrl(MSR_FS_BASE, cpu->fs_base);
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
		wrmsrl(MSR_FS_BASE, cpu->fs_base);
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

static void dr_load_guest(struct hw_cpu *cpu, const struct hw_gpregs *regs)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cpu->dr); i++) {
		if (likely(cpu->dr[i] == regs->dr[i]))
			continue;
		dr_write(i, regs->dr[i]);
		cpu->dr[i] = regs->dr[i];
	}
	if (unlikely(cpu->dr6 != regs->dr6)) {
		set_debugreg(regs->dr6, 6);
		get_debugreg(cpu->dr6, 6);
	}
}

/* DR6 changes by a guest's #DB; the others only by its MOV, where that doesn't exit. */
static void dr_save_guest(struct hw_cpu *cpu, struct hw_gpregs *regs)
{
	unsigned int i;

	get_debugreg(cpu->dr6, 6);
	regs->dr6 = cpu->dr6;
	if (likely(cpu->mov_dr_exits))
		return;
	dr_read(cpu->dr);
	for (i = 0; i < ARRAY_SIZE(cpu->dr); i++)
		regs->dr[i] = cpu->dr[i];
}

/* --- the bracket ---------------------------------------------------------------------------- */

static void flush_l1d(void)
{
	/* Nothing but core runs between two entries of one bracket: once is enough. */
	if (static_cpu_has_bug(X86_BUG_L1TF) && static_cpu_has(X86_FEATURE_FLUSH_L1D))
		native_wrmsrl(MSR_IA32_FLUSH_CMD, L1D_FLUSH);
}

void vtx_begin(struct hw_cpu *cpu)
{
	lockdep_assert_irqs_disabled();
	if (test_thread_flag(TIF_NEED_FPU_LOAD))
		switch_fpu_return();
	save_selectors(cpu);
	/* A host breakpoint must not fire at an address that is the guest's. */
	if (hw_breakpoint_active())
		set_debugreg(0, 7);
	dr_read(cpu->dr);
	get_debugreg(cpu->dr6, 6);
	flush_l1d();
}

void vtx_end(struct hw_cpu *cpu)
{
	/* An exit leaves GDTR's limit at 0xffff and TR's at 0x67. */
	load_fixmap_gdt(cpu->id);
	invalidate_tss_limit();
	restore_selectors(cpu);
	set_debugreg(DR6_RESERVED, 6);
	if (hw_breakpoint_active())
		hw_breakpoint_restore();
	/* User space that runs next on this processor: the kernel flushes on the way. */
	if (cpu_feature_enabled(X86_FEATURE_IBPB_EXIT_TO_USER))
		this_cpu_write(x86_ibpb_exit_to_user, true);
}

/* --- entry ---------------------------------------------------------------------------------------
 */

/* A VMCS became current, or its controls changed. */
static enum hw_result reread(struct hw_cpu *cpu)
{
	enum hw_result r;
	u64 proc;

	r = hw_vmwrite(cpu, VTX_FIELD_HOST_RIP, (unsigned long)vtx_exit);
	if (!r)
		r = hw_vmread(cpu, VTX_FIELD_PROC_CONTROLS, &proc);
	if (r)
		return r;
	cpu->mov_dr_exits = proc & PROC_MOV_DR_EXITING;
	cpu->reread = false;
	return HW_SUCCEED;
}

enum hw_result hw_enter(struct hw_cpu *cpu, struct hw_gpregs *regs, bool launch)
{
	enum hw_result r;

	if (unlikely(cpu->reread)) {
		r = reread(cpu);
		if (r)
			return r;
	}
	dr_load_guest(cpu, regs);
	if (native_read_cr2() != regs->cr2)
		native_write_cr2(regs->cr2);
	r = vtx_enter(regs, &cpu->host_rsp, launch);
	regs->cr2 = native_read_cr2();
	dr_save_guest(cpu, regs);
	return r;
}

/*
 * An NMI that came while the guest ran ended its turn, and is blocked since: its
 * handler runs here, and unblocks with IRET. An interrupt is still pending in the
 * interrupt controller (no acknowledge on exit) and comes when the caller turns
 * interrupts on. Descriptor-table limits are put back by vtx_end().
 */
void hw_after_exit(struct hw_cpu *cpu)
{
	u64 reason, info;

	if (hw_vmread(cpu, VTX_FIELD_EXIT_REASON, &reason) || reason != 0)
		return;
	if (hw_vmread(cpu, VTX_FIELD_EXIT_INTR_INFO, &info))
		return;
	/* valid, type 2 ("VM-Exit Interruption-Information Field") */
	if ((info & 0x80000700) == 0x80000200)
		asm volatile("int $2" : : : "memory");
}
