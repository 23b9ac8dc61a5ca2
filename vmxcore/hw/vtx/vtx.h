/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * hw.h on a real processor: what its user in the kernel needs besides hw.h.
 *
 * One struct hw_cpu for each logical processor, used on that processor only, with
 * preemption off. A run of one vCPU is bracketed:
 *
 *	local_irq_save(); vtx_begin(cpu); ... hw_enter() ... vtx_end(cpu);
 *	local_irq_restore();
 *
 * Interrupts stay off from begin to end, so nothing that begin saw (selectors, debug
 * registers, FPU ownership) can change before end puts the host's values back. An
 * interrupt that arrives meanwhile ends the guest's turn with an exit and is taken
 * after end.
 *
 * Who switches what. "entry, exit": the processor, by the VMCS ("Guest-State Area",
 * "Host-State Area", "Loading Host State"), or by the MSR lists of core/msr.c ("VM-Exit
 * Controls for MSRs").
 *
 *	general registers, CR2		enter.S, hw_enter()
 *	RIP, RSP, RFLAGS, CR0, CR3, CR4	entry, exit; the host's CR3 (with its PCID) and CR4
 *					are read in each bracket, for they are the task's
 *	segments, FS and GS base	entry, exit; selectors of user space and LDTR, which an
 *					exit can't load, by vtx_end()
 *	GDTR's and TR's limits		vtx_end(): an exit leaves fixed ones; IDTR's is harmless
 *	SYSENTER_*, PAT, EFER		entry, exit
 *	STAR, LSTAR, CSTAR, FMASK,
 *	KERNEL_GS_BASE, TSC_AUX		MSR lists
 *	DR7, IA32_DEBUGCTL		entry; an exit clears them: the host's by vtx_end()
 *	DR0-DR3, DR6			dr_load_guest(), dr_unload_guest(); the host's come back
 *					where it has breakpoints on
 *	FPU, SSE, XSAVE state		the kernel, around a run (linux/run.c)
 *	XCR0, XSS			nobody: the guest's CR4.OSXSAVE stays 0, so it has neither
 *					XSETBV nor what they would enable
 *	PKRU				nobody: CR4.PKE stays 0
 *	SPEC_CTRL			nobody: see mitigate.h
 *	performance counters		perf.h
 *	NMI, machine check		hw_after_exit()
 *	external interrupts		stay pending until the caller turns interrupts on
 */
#ifndef VMXCORE_HW_VTX_H
#define VMXCORE_HW_VTX_H

#include "hw/hw.h"

struct hw_cpu {
	unsigned int id; /* the kernel's processor number */
	bool vmxe;	 /* CR4.VMXE was set by us */
	u64 host_rsp;	 /* held by the current VMCS, with host RIP; 0: not yet */
	hpa_t last_vmcs; /* the last one that was made current; 0: none, or it is gone (mitigate.c)
			  */
	struct hw_host_state host;
	bool host_fixed; /* what of it never changes has been read */
	/* Between begin and end. */
	bool begun;
	bool host_read;		 /* the rest of it has been read */
	u16 ds, es, fs, gs, ldt; /* the host's */
	unsigned long fs_base;
	struct hw_gpregs *guest;  /* whose debug registers the hardware holds, or NULL */
	unsigned long dr[4], dr6; /* as loaded */
	unsigned long debugctl;	  /* the host's IA32_DEBUGCTL */
	bool perf_is_guest;	  /* performance counters are as guests have them */
	bool nmi_seen;		  /* ... and may have been changed since */
};

struct hw_cpu *vtx_cpu(unsigned int cpu);

enum vtx_state {
	VTX_AVAILABLE,
	VTX_ABSENT,   /* CPUID.1:ECX.VMX is 0 */
	VTX_DISABLED, /* IA32_FEATURE_CONTROL is locked with VMX outside SMX forbidden */
	VTX_IN_USE,   /* CR4.VMXE is set, and not by us */
	VTX_STATE_COUNT
};

/* Of the processor it runs on; changes nothing. */
enum vtx_state vtx_probe(void);
/* One sentence: what it means and what to do about it. */
const char *vtx_state_text(enum vtx_state state);

/* The system is going down hard: out of VMX operation, if in it. Any context. */
void vtx_emergency(void);

/* Interrupts are off. */
void vtx_begin(struct hw_cpu *cpu);
void vtx_end(struct hw_cpu *cpu);

#endif
