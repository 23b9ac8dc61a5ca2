/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * A virtual processor: its VMCS, registers, VPID and statistics, and running it.
 *
 * Threads: one at a time in a vCPU. core_vcpu_run() is called on the processor it
 * names, which nothing else uses meanwhile.
 */
#ifndef VMXCORE_CORE_VCPU_H
#define VMXCORE_CORE_VCPU_H

#include "core/exit.h"
#include "core/vm.h"
#include "core/vpid.h"
#include "core/walk.h"

enum core_seg {
	CORE_ES,
	CORE_CS,
	CORE_SS,
	CORE_DS,
	CORE_FS,
	CORE_GS,
	CORE_LDTR,
	CORE_TR,
	CORE_SEG_COUNT
};

/* Access rights in the VMCS format ("Guest Register State"). */
struct core_segment {
	uint64_t base;
	uint32_t limit;
	uint32_t ar;
	uint16_t sel;
};

/* All architectural state of a vCPU; set before it first runs, and between runs. */
struct core_regs {
	struct hw_gpregs gp; /* gp.r[HW_RSP] mirrors rsp */
	uint64_t rip, rsp, rflags;
	uint64_t cr0, cr3, cr4, dr7; /* as the guest sees them */
	uint64_t efer, pat;
	uint64_t star, lstar, cstar, fmask, kernel_gs_base, tsc_aux;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	struct core_segment seg[CORE_SEG_COUNT];
	uint64_t gdtr_base, idtr_base;
	uint32_t gdtr_limit, idtr_limit;
	uint32_t interruptibility, activity; /* VMCS formats */
};

/* An event to inject, in the VM-entry interruption-information format. */
struct core_event {
	uint32_t info;
	uint32_t error_code;
	uint32_t insn_length;
};

enum core_run_reason {
	CORE_RUN_BUDGET,	/* the preemption timer ran out */
	CORE_RUN_KICKED,	/* an external interrupt (or a machine check that it has
				 * handled): the host wants the processor */
	CORE_RUN_HLT,		/* HLT with nothing pending; activity is HLT */
	CORE_RUN_IO,		/* IN or OUT, not string; see io. The caller completes it */
	CORE_RUN_EMULATE,	/* the instruction must be emulated: string I/O, or an access to a
				 * guest-physical address that no range maps (gpa). If
				 * vectoring_info is valid it was the delivery of that event, not
				 * the instruction, that made the access: there is nothing to
				 * emulate; the next run delivers it again */
	CORE_RUN_EPT_DENIED,	/* a mapped range forbids the access; RIP at the instruction */
	CORE_RUN_EPT_MISCONFIG, /* an EPT entry of ours is malformed: a defect, reported */
	CORE_RUN_TRIPLE_FAULT,
	CORE_RUN_UNEXPECTED,   /* an exit reason that should not happen; see report */
	CORE_RUN_ENTRY_FAILED, /* VM entry failed; see report */
};

struct core_io {
	uint16_t port;
	uint8_t size; /* 1, 2, 4 */
	uint8_t in;
	uint32_t value; /* of an OUT */
};

struct core_run_exit {
	enum core_run_reason reason;
	uint32_t exit_reason; /* basic exit reason; bit 31 kept for late entry failures */
	uint32_t insn_error;  /* VM-instruction error number of a failed entry, else 0 */
	uint64_t qualification;
	uint64_t rip;
	uint32_t insn_length;
	gpa_t gpa;    /* EPT violation, misconfiguration */
	gva_t linear; /* if linear_valid */
	bool linear_valid;
	struct core_io io;
	uint32_t intr_info, intr_error; /* VM-exit interruption information */
	uint32_t vectoring_info, vectoring_error;
	uint64_t ticks_left; /* of the budget, where the processor counts down across exits
			      * (core_caps.save_preemption_timer); else 0 */
};

/* Allocates VMCS and MSR area, sets the controls. -ENOMEM. May sleep. */
int core_vcpu_create(struct core_vm *vm, uint32_t index, struct core_vcpu **ret);
/*
 * The vCPU must not be active on a processor: core_vcpu_deactivate() on the
 * processor core_vcpu_active_cpu() names comes first. May sleep.
 */
void core_vcpu_destroy(struct core_vcpu *vcpu);
/* Processor where its VMCS is active (loaded and not VMCLEARed), or -1. */
int core_vcpu_active_cpu(const struct core_vcpu *vcpu);
/* VMCLEAR on cpu (= the active one): afterwards it may run elsewhere or go. Runs there. */
void core_vcpu_deactivate(struct core_vcpu *vcpu, struct core_cpu *cpu);

struct core_vm *core_vcpu_vm(struct core_vcpu *vcpu);
uint32_t core_vcpu_index(const struct core_vcpu *vcpu);

/*
 * Registers, from a cached copy that core_vcpu_run() keeps current; setting takes
 * effect at the next run. -EINVAL: a value that VM entry would refuse (ret_field
 * names it, may be NULL). Not while it runs.
 */
void core_vcpu_get_regs(const struct core_vcpu *vcpu, struct core_regs *ret);
int core_vcpu_set_regs(struct core_vcpu *vcpu, const struct core_regs *regs,
		       const char **ret_field);
void core_vcpu_paging_state(const struct core_vcpu *vcpu, struct core_paging_state *ret);

/* The power-up state ("Processor State After Reset"), real mode at the reset vector. */
void core_regs_reset(struct core_regs *ret);
/* 32-bit flat protected mode, paging off, as Multiboot and flat images start. */
void core_regs_protected_flat(struct core_regs *ret, uint32_t entry);
/* 64-bit mode with the page tables at cr3. */
void core_regs_long_mode(struct core_regs *ret, uint64_t entry, uint64_t cr3, uint64_t rsp);

/*
 * Queues an event for the next entry; one at a time. -EBUSY if one is queued,
 * -EINVAL a malformed one ("Event Injection"). An external interrupt waits for the
 * interrupt window; the rest goes at the next entry.
 */
int core_vcpu_inject(struct core_vcpu *vcpu, const struct core_event *event);

/*
 * Runs it on cpu until something for the caller happens or budget TSC ticks have
 * passed in the guest (0: until something else happens). Moves it here first if it
 * was elsewhere (it must have been deactivated there). Exits that core handles
 * (CPUID, control registers, MSRs, windows, ...) do not return. A vCPU that is halted,
 * with nothing queued that would wake it, is not entered: CORE_RUN_HLT again.
 *
 * CORE_RUN_ENTRY_FAILED: insn_error is the VM-instruction error, or exit_reason has bit
 * 31 set and qualification tells more; both 0: the VMCS could not be made current here.
 * A VMREAD or VMWRITE that failed is reported so, too, with its field as qualification.
 */
void core_vcpu_run(struct core_vcpu *vcpu, struct core_cpu *cpu, uint64_t budget_ticks,
		   struct core_run_exit *ret);

/* After CORE_RUN_IO: value for IN (ignored for OUT); moves RIP past the instruction. */
void core_vcpu_complete_io(struct core_vcpu *vcpu, uint32_t value);
/* After CORE_RUN_EMULATE: the caller has executed the instruction; regs as it left
 * them (core_vcpu_set_regs semantics). Interrupt shadow is cleared. */
int core_vcpu_complete_emulation(struct core_vcpu *vcpu, const struct core_regs *regs);

/* Statistics, also while it runs: each number for itself, and the tag in one piece. */
struct core_stats *core_vcpu_stats(struct core_vcpu *vcpu);
uint64_t core_vcpu_exit_count(const struct core_vcpu *vcpu, uint32_t basic_reason);
/* The tag it last had; *ret_valid tells whether it still is valid there. vpid 0: none. */
struct core_vpid core_vcpu_vpid(const struct core_vcpu *vcpu, bool *ret_valid);
/* VMCS field values by the table, for people; -ENODATA if never run, -EINVAL field. On the
 * active processor only. */
int core_vcpu_vmcs_read(struct core_vcpu *vcpu, struct core_cpu *cpu, uint32_t field,
			uint64_t *ret);

#endif
