/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The VMX instructions as functions on a logical processor. core issues VMX
 * only through this header; hw/vtx (the real instructions) and hw/model (the
 * software processor) implement it, and one of them is chosen at link time.
 *
 * Every function runs on the processor it names: in the kernel the caller has
 * disabled preemption; the model's processors have one thread at a time.
 *
 * Source: SDM volume 3, "VMX Instruction Reference", "Conventions"
 * (VMsucceed, VMfailInvalid, VMfailValid).
 */
#ifndef VMXCORE_HW_H
#define VMXCORE_HW_H

#include <vmxcore/types.h>

struct hw_cpu; /* a logical processor; opaque to core */

enum hw_result {
	HW_SUCCEED = 0,	     /* VMsucceed */
	HW_FAIL_INVALID = 1, /* CF=1: no current VMCS */
	HW_FAIL_VALID = 2,   /* ZF=1: number in the VM-instruction error field */
	HW_FAULT_UD = 3,     /* the instruction itself is #UD here */
	HW_FAULT_GP = 4,     /* ... or #GP(0): VMXON with CR0/CR4 bits not as fixed */
};

/* Descriptors as INVEPT and INVVPID take them in memory. */
struct hw_invept_desc {
	uint64_t eptp;
	uint64_t reserved; /* must be 0 */
};

struct hw_invvpid_desc {
	uint64_t vpid;	 /* bits 15:0; the rest reserved, must be 0 */
	uint64_t linear; /* type 0 only */
};

enum hw_invept_type {
	HW_INVEPT_SINGLE = 1, /* one EP4TA */
	HW_INVEPT_ALL = 2,
};

enum hw_invvpid_type {
	HW_INVVPID_ADDRESS = 0,
	HW_INVVPID_SINGLE = 1,
	HW_INVVPID_ALL = 2,
	HW_INVVPID_SINGLE_KEEP_GLOBAL = 3,
};

/* Index of a general register, in the encoding's order. */
enum hw_gpr {
	HW_RAX,
	HW_RCX,
	HW_RDX,
	HW_RBX,
	HW_RSP, /* slot unused: RSP is in the VMCS */
	HW_RBP,
	HW_RSI,
	HW_RDI,
	HW_R8,
	HW_R9,
	HW_R10,
	HW_R11,
	HW_R12,
	HW_R13,
	HW_R14,
	HW_R15,
	HW_GPR_COUNT
};

/*
 * Guest state that no VMCS field holds: software loads it before entry and
 * saves it after exit. hw_enter() does both.
 */
struct hw_gpregs {
	uint64_t r[HW_GPR_COUNT];
	uint64_t cr2;
	uint64_t dr[4]; /* DR0..DR3; DR7 is in the VMCS */
	uint64_t dr6;
};

/* A field of the VMCS and its place in a structure: 2, 4 or 8 bytes at an offset. */
struct hw_field {
	uint16_t field;
	uint16_t offset;
	uint8_t bytes;
};

static inline void hw_field_store(const struct hw_field *f, void *base, uint64_t value)
{
	char *at = (char *)base + f->offset;

	/* By size: memcpy() of one that the compiler doesn't know is a call. */
	if (f->bytes == 8)
		memcpy(at, &value, 8);
	else if (f->bytes == 4)
		memcpy(at, &value, 4);
	else
		memcpy(at, &value, 2);
}

/* What the handler of nearly every exit needs: VMCS fields, as VMREAD gives them. */
struct hw_exit {
	uint64_t reason; /* with bit 31, "VM-entry failure" */
	uint64_t vectoring_info;
	uint64_t insn_length; /* of instructions that exit; else undefined */
	uint64_t interruptibility;
	uint64_t rip, rflags;
};

/* Host register values that go into the VMCS host-state area. */
struct hw_host_state {
	uint64_t cr0, cr3, cr4;
	uint16_t es, cs, ss, ds, fs, gs, tr;
	uint64_t fs_base, gs_base, tr_base, gdtr_base, idtr_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t pat, efer;
};

enum hw_result hw_vmxon(struct hw_cpu *cpu, hpa_t region);
enum hw_result hw_vmxoff(struct hw_cpu *cpu);
enum hw_result hw_vmclear(struct hw_cpu *cpu, hpa_t vmcs);
enum hw_result hw_vmptrld(struct hw_cpu *cpu, hpa_t vmcs);
enum hw_result hw_vmptrst(struct hw_cpu *cpu, hpa_t *ret_vmcs);
enum hw_result hw_vmread(struct hw_cpu *cpu, uint32_t field, uint64_t *ret_value);
/* One VMREAD after the other, each to its place. *ret_done: how many succeeded. */
enum hw_result hw_vmread_fields(struct hw_cpu *cpu, const struct hw_field *fields, size_t count,
				void *base, size_t *ret_done);
enum hw_result hw_vmwrite(struct hw_cpu *cpu, uint32_t field, uint64_t value);
enum hw_result hw_invept(struct hw_cpu *cpu, uint64_t type, const struct hw_invept_desc *desc);
enum hw_result hw_invvpid(struct hw_cpu *cpu, uint64_t type, const struct hw_invvpid_desc *desc);

/*
 * VMLAUNCH (launch true) or VMRESUME with the current VMCS; returns after the
 * next VM exit (HW_SUCCEED; late entry failures are exits too, bit 31 of the
 * exit reason) or at once when entry fails early (HW_FAIL_*).
 *
 * Host RIP and RSP are written here: they belong to the code of this function.
 * From one entry to the next of a run, software changes nothing of regs->dr.
 * Interrupts are off on call and on return (hw/vtx).
 */
enum hw_result hw_enter(struct hw_cpu *cpu, struct hw_gpregs *regs, bool launch);

/* RDMSR in root operation; used for the VMX capability MSRs. 0, or -EIO (#GP). */
int hw_rdmsr(struct hw_cpu *cpu, uint32_t msr, uint64_t *ret_value);
int hw_wrmsr(struct hw_cpu *cpu, uint32_t msr, uint64_t value);
void hw_read_host_state(struct hw_cpu *cpu, struct hw_host_state *ret);
/* Sets or clears CR4.VMXE. */
int hw_set_vmxe(struct hw_cpu *cpu, bool on);

/*
 * Called once after each exit, before anything that may sleep: tells of the exit, and lets
 * vtx hand NMIs and machine checks to the host. Not HW_SUCCEED: *ret is undefined.
 */
enum hw_result hw_after_exit(struct hw_cpu *cpu, struct hw_exit *ret);

#endif
