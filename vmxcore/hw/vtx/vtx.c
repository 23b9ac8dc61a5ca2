// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The VMX instructions and the MSRs. Sources: SDM volume 3, "VMX Instruction
 * Reference", "Enabling and Entering VMX Operation".
 */
#include <linux/build_bug.h>
#include <linux/kernel.h>
#include <linux/percpu.h>
#include <linux/perf_event.h>

#include <asm/asm.h>
#include <asm/msr.h>
#include <asm/nospec-branch.h>
#include <asm/processor.h>
#include <asm/tlbflush.h>
#include <asm/trapnr.h>

#include "core/vmcs.h"
#include "hw/vtx/compat.h"
#include "hw/vtx/fields.h"
#include "hw/vtx/mitigate.h"
#include "hw/vtx/vtx.h"

static_assert(VTX_FIELD_EXIT_REASON == VMCS_EXIT_REASON);
static_assert(VTX_FIELD_EXIT_INTR_INFO == VMCS_EXIT_INTR_INFO);
static_assert(VTX_FIELD_IDT_VECTORING_INFO == VMCS_IDT_VECTORING_INFO);
static_assert(VTX_FIELD_EXIT_INSN_LENGTH == VMCS_EXIT_INSTRUCTION_LENGTH);
static_assert(VTX_FIELD_GUEST_INTERRUPTIBILITY == VMCS_GUEST_INTERRUPTIBILITY);
static_assert(VTX_FIELD_GUEST_RIP == VMCS_GUEST_RIP);
static_assert(VTX_FIELD_GUEST_RFLAGS == VMCS_GUEST_RFLAGS);
static_assert(VTX_FIELD_HOST_RSP == VMCS_HOST_RSP);
static_assert(VTX_FIELD_HOST_RIP == VMCS_HOST_RIP);
static_assert(VTX_RESULT_FAULT_UD == HW_FAULT_UD);

static DEFINE_PER_CPU(struct hw_cpu, vtx_cpus);

struct hw_cpu *vtx_cpu(unsigned int cpu)
{
	struct hw_cpu *c = per_cpu_ptr(&vtx_cpus, cpu);

	c->id = cpu;
	return c;
}

/* --- is VMX there --------------------------------------------------------------- */

static const char *const state_text[VTX_STATE_COUNT] = {
	[VTX_AVAILABLE] = "VMX is available",
	[VTX_ABSENT] = "the processor has no VMX (CPUID.1:ECX bit 5 is 0)",
	[VTX_DISABLED] = "VMX is disabled by the firmware (IA32_FEATURE_CONTROL): enable "
			 "virtualization in the firmware's setup",
	[VTX_IN_USE] = "VMX is in use (CR4.VMXE is set), by a running KVM virtual machine perhaps: "
		       "stop KVM's virtual machines, or unload kvm_intel",
};

const char *vtx_state_text(enum vtx_state state)
{
	return (unsigned int)state < VTX_STATE_COUNT ? state_text[state] : "unknown";
}

enum vtx_state vtx_probe(void)
{
	u64 control;

	/* CPUID itself, for the kernel's flag also tells the firmware's decision. */
	if (!(cpuid_ecx(1) & BIT(5)))
		return VTX_ABSENT;
	/* Left unlocked it is core's to set; where there is none, nothing forbids VMXON. */
	if (!rdmsrq_safe(MSR_IA32_FEAT_CTL, &control) && (control & FEAT_CTL_LOCKED) &&
	    !(control & FEAT_CTL_VMX_ENABLED_OUTSIDE_SMX))
		return VTX_DISABLED;
	if ((__read_cr4() & X86_CR4_VMXE) && !this_cpu_read(vtx_cpus.vmxe))
		return VTX_IN_USE;
	return VTX_AVAILABLE;
}

/* --- instructions ------------------------------------------------------------------ */

static_assert(HW_SUCCEED == 0 && HW_FAIL_INVALID == 1 && HW_FAIL_VALID == 2);
static_assert(X86_TRAP_UD > HW_FAIL_VALID && X86_TRAP_GP > HW_FAIL_VALID);

/* What VMX_INSN leaves in RAX. */
static __always_inline enum hw_result result(unsigned long rax)
{
	if (likely(rax == HW_SUCCEED))
		return HW_SUCCEED;
	if (rax <= HW_FAIL_VALID)
		return (enum hw_result)rax;
	return rax == X86_TRAP_UD ? HW_FAULT_UD : HW_FAULT_GP;
}

/*
 * One VMX instruction: CF and ZF are its answer ("Conventions"), and become an enum
 * hw_result in RAX; a fault goes on behind with its vector there (EX_TYPE_FAULT).
 */
#define VMX_INSN(insn, output, ...)                            \
	({                                                     \
		unsigned long rax_ = HW_SUCCEED;               \
                                                               \
		asm volatile("1: " insn "\n\t"                 \
			     "ja 2f\n\t"                       \
			     "setz %%al\n\t"                   \
			     "inc %%eax\n"                     \
			     "2:\n" _ASM_EXTABLE_FAULT(1b, 2b) \
			     : "+a"(rax_)output:__VA_ARGS__    \
			     : "cc", "memory");                \
		result(rax_);                                  \
	})
#define NO_OUTPUT
#define OUTPUT(...) , __VA_ARGS__

enum hw_result hw_vmxon(struct hw_cpu *cpu, hpa_t region)
{
	enum hw_result r;

	/* Processor trace may not be able to run in VMX operation: its driver decides. */
	intel_pt_handle_vmx(1);
	r = VMX_INSN("vmxon %[region]", NO_OUTPUT, [region] "m"(region.v));
	if (r)
		intel_pt_handle_vmx(0);
	cpu->host_rsp = 0;
	cpu->last_vmcs = hpa(0);
	cpu->host_fixed = false;
	return r;
}

enum hw_result hw_vmxoff(struct hw_cpu *cpu)
{
	enum hw_result r = VMX_INSN("vmxoff", NO_OUTPUT, "i"(0));

	if (!r)
		intel_pt_handle_vmx(0);
	cpu->host_rsp = 0;
	return r;
}

enum hw_result hw_vmclear(struct hw_cpu *cpu, hpa_t vmcs)
{
	cpu->host_rsp = 0; /* it may have been the current one */
	mitigate_vcpu_gone(cpu, vmcs);
	return VMX_INSN("vmclear %[vmcs]", NO_OUTPUT, [vmcs] "m"(vmcs.v));
}

enum hw_result hw_vmptrld(struct hw_cpu *cpu, hpa_t vmcs)
{
	cpu->host_rsp = 0;
	mitigate_other_vcpu(cpu, vmcs);
	return VMX_INSN("vmptrld %[vmcs]", NO_OUTPUT, [vmcs] "m"(vmcs.v));
}

enum hw_result hw_vmptrst(struct hw_cpu *cpu, hpa_t *ret_vmcs)
{
	u64 vmcs = 0;
	enum hw_result r = VMX_INSN("vmptrst %[vmcs]", OUTPUT([vmcs] "=m"(vmcs)), "i"(0));

	if (!r)
		*ret_vmcs = hpa(vmcs);
	return r;
}

enum hw_result hw_vmread(struct hw_cpu *cpu, uint32_t field, uint64_t *ret_value)
{
	u64 value = 0;
	enum hw_result r = VMX_INSN("vmread %[field], %[value]",
				    OUTPUT([value] "=r"(value)), [field] "r"((u64)field));

	if (!r)
		*ret_value = value;
	return r;
}

enum hw_result hw_vmread_fields(struct hw_cpu *cpu, const struct hw_field *fields, size_t count,
				void *base, size_t *ret_done)
{
	size_t i;

	for (i = 0; i < count; i++) {
		u64 value;
		enum hw_result r =
			VMX_INSN("vmread %[field], %[value]",
				 OUTPUT([value] "=r"(value)), [field] "r"((u64)fields[i].field));

		if (unlikely(r)) {
			*ret_done = i;
			return r;
		}
		hw_field_store(&fields[i], base, value);
	}
	*ret_done = count;
	return HW_SUCCEED;
}

enum hw_result hw_vmwrite(struct hw_cpu *cpu, uint32_t field, uint64_t value)
{
	return VMX_INSN("vmwrite %[value], %[field]",
			NO_OUTPUT, [value] "rm"(value), [field] "r"((u64)field));
}

enum hw_result hw_invept(struct hw_cpu *cpu, uint64_t type, const struct hw_invept_desc *desc)
{
	return VMX_INSN("invept %[desc], %[type]", NO_OUTPUT, [desc] "m"(*desc), [type] "r"(type));
}

enum hw_result hw_invvpid(struct hw_cpu *cpu, uint64_t type, const struct hw_invvpid_desc *desc)
{
	return VMX_INSN("invvpid %[desc], %[type]", NO_OUTPUT, [desc] "m"(*desc), [type] "r"(type));
}

/* --- registers ------------------------------------------------------------------------ */

int hw_rdmsr(struct hw_cpu *cpu, uint32_t msr, uint64_t *ret_value)
{
	u64 value;

	if (rdmsrq_safe(msr, &value))
		return -EIO;
	*ret_value = value;
	return 0;
}

int hw_wrmsr(struct hw_cpu *cpu, uint32_t msr, uint64_t value)
{
	return wrmsrq_safe(msr, value) ? -EIO : 0;
}

int hw_set_vmxe(struct hw_cpu *cpu, bool on)
{
	if (on)
		cr4_set_bits(X86_CR4_VMXE);
	else
		cr4_clear_bits(X86_CR4_VMXE);
	cpu->vmxe = on;
	return 0;
}

/* Nothing of ours is looked at: it may be what is broken. */
void vtx_emergency(void)
{
	if (!(__read_cr4() & X86_CR4_VMXE))
		return;
	(void)VMX_INSN("vmxoff", NO_OUTPUT, "i"(0));
	cr4_clear_bits(X86_CR4_VMXE);
}
