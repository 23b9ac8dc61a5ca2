/* SPDX-License-Identifier: MIT */
/*
 * Instructions and events that VMX may intercept: one row each, with the exit and
 * the controls that ask for it; where none does, what the instruction does natively
 * ("Instructions That Cause VM Exits", "Other Causes of VM Exits").
 *
 * The VM-exit instruction-information field is filled for INS and OUTS only: for the
 * other instructions the executor does not say how their operand was written.
 */
#include "hw/model/processor.h"

typedef enum x86_result (*effect_fn)(struct hw_cpu *cpu, struct x86_special_info *info);
typedef uint64_t (*qualify_fn)(const struct x86_special_info *info);

struct special_row {
	enum model_exit reason;
	bool always;	      /* exits without being asked to */
	uint32_t proc, proc2; /* ... or if any of these controls is 1 */
	uint32_t needs_proc2; /* #UD where this control is 0 */
	qualify_fn qualify;   /* NULL: 0 */
	effect_fn effect;     /* otherwise; NULL: nothing happens */
};

static enum x86_result gp(struct hw_cpu *cpu)
{
	return raise(cpu, VECTOR_GP, true, 0);
}

/* --- qualifications --------------------------------------------------------------- */

static uint64_t qualify_linear(const struct x86_special_info *info)
{
	return info->linear;
}

static uint64_t qualify_displacement(const struct x86_special_info *info)
{
	return info->displacement;
}

static uint64_t qualify_dr(const struct x86_special_info *info)
{
	return info->reg | (uint64_t)info->gpr << DRQ_GPR_SHIFT;
}

static uint64_t qualify_dr_read(const struct x86_special_info *info)
{
	return qualify_dr(info) | DRQ_FROM;
}

static uint64_t qualify_task_switch(const struct x86_special_info *info)
{
	return (info->value & TSQ_SELECTOR_MASK) | (uint64_t)info->type << TSQ_SOURCE_SHIFT;
}

/* --- effects ---------------------------------------------------------------------- */

static enum x86_result hlt(struct hw_cpu *cpu, struct x86_special_info *info)
{
	(void)info;
	cpu->st->activity = ACTIVITY_HLT;
	x86_set_attention(cpu->x86, true);
	return X86_OK;
}

static enum x86_result rdtsc(struct hw_cpu *cpu, struct x86_special_info *info)
{
	info->value = cpu_time(cpu) + cpu->tsc_adjust;
	if (cpu->proc & PROC_TSC_OFFSETTING)
		info->value += F(cpu, TSC_OFFSET);
	return X86_OK;
}

static enum x86_result rdpmc(struct hw_cpu *cpu, struct x86_special_info *info)
{
	(void)info;
	return gp(cpu); /* there is no counter */
}

static enum x86_result undefined(struct hw_cpu *cpu, struct x86_special_info *info)
{
	(void)info;
	return raise(cpu, VECTOR_UD, false, 0);
}

static unsigned dr_number(const struct x86_special_info *info)
{
	return info->reg == 4 || info->reg == 5 ? info->reg + 2u : info->reg & 7u;
}

static enum x86_result dr_read(struct hw_cpu *cpu, struct x86_special_info *info)
{
	info->value = cpu->st->dr[dr_number(info)];
	return X86_OK;
}

static enum x86_result dr_write(struct hw_cpu *cpu, struct x86_special_info *info)
{
	unsigned n = dr_number(info);
	uint64_t value = info->value;

	if (n >= 6 && value >> 32)
		return gp(cpu);
	if (n == 6)
		value = (value & (UINT64_C(0xe00f) | DR6_RTM)) | DR6_FIXED1;
	if (n == 7)
		value = (value & UINT64_C(0xffff2fff)) | DR7_FIXED1;
	cpu->st->dr[n] = value;
	return X86_OK;
}

static enum x86_result invlpg(struct hw_cpu *cpu, struct x86_special_info *info)
{
	tlb_drop_invlpg(cpu, info->linear);
	return X86_OK;
}

static enum x86_result invpcid(struct hw_cpu *cpu, struct x86_special_info *info)
{
	uint64_t pcid = info->desc[0], linear = info->desc[1];
	bool names_pcid = info->type <= 1;

	if (info->type > 3 || pcid > CR3_PCID_MASK)
		return gp(cpu);
	if (names_pcid && pcid != 0 && !(cpu->st->cr4 & CR4_PCIDE))
		return gp(cpu);
	if (info->type == 0 && !canonical(linear))
		return gp(cpu);
	tlb_drop_invpcid(cpu, info->type, (uint16_t)pcid, linear);
	return X86_OK;
}

/* No device stands on this processor's bus: reads give ones. */
static enum x86_result io_in(struct hw_cpu *cpu, struct x86_special_info *info)
{
	(void)cpu;
	info->value = info->size == 1 ? 0xffu : info->size == 2 ? 0xffffu : 0xffffffffu;
	return X86_OK;
}

/* --- decisions that one control bit does not make --------------------------------- */

static bool io_exits(struct hw_cpu *cpu, const struct x86_special_info *info)
{
	if (!(cpu->proc & PROC_IO_BITMAPS))
		return (cpu->proc & PROC_UNCONDITIONAL_IO) != 0;
	for (unsigned i = 0; i < info->size; i++) {
		uint32_t port = info->port + i;
		uint64_t map = port & 0x8000 ? F(cpu, IO_BITMAP_B) : F(cpu, IO_BITMAP_A);

		/* An access that wraps around the port space exits. */
		if (port > 0xffff)
			return true;
		if (mem_read8(cpu, map + (port & 0x7fff) / 8) >> (port % 8) & 1)
			return true;
	}
	return false;
}

static enum x86_result io(struct hw_cpu *cpu, struct x86_special_info *info, bool in)
{
	uint64_t qualification = (info->size - 1u) | (in ? IOQ_IN : 0) |
				 (info->string ? IOQ_STRING : 0) | (info->rep ? IOQ_REP : 0) |
				 (info->imm_port ? IOQ_IMMEDIATE : 0) |
				 (uint64_t)info->port << IOQ_PORT_SHIFT;
	uint32_t address_size = info->address_size == 8 ? 2 : info->address_size == 4 ? 1 : 0;

	if (!io_exits(cpu, info))
		return in ? io_in(cpu, info) : X86_OK;
	exit_insn(cpu, EXIT_IO, qualification);
	if (info->string) {
		cpu->exit.linear = info->linear;
		cpu->exit.insn_info = address_size << 7 | (in ? 0 : (uint32_t)info->seg << 15);
	}
	return X86_EXIT;
}

static enum x86_result in(struct hw_cpu *cpu, struct x86_special_info *info)
{
	return io(cpu, info, true);
}

static enum x86_result out(struct hw_cpu *cpu, struct x86_special_info *info)
{
	return io(cpu, info, false);
}

static bool msr_exits(struct hw_cpu *cpu, uint32_t msr, bool write)
{
	uint64_t map = F(cpu, MSR_BITMAP);
	uint32_t bit;

	if (!(cpu->proc & PROC_MSR_BITMAPS))
		return true;
	if (msr < MSR_BITMAP_LOW_COUNT) {
		map += write ? MSR_BITMAP_WRITE_LOW : MSR_BITMAP_READ_LOW;
		bit = msr;
	} else if (msr - MSR_BITMAP_HIGH_FIRST < MSR_BITMAP_LOW_COUNT) {
		map += write ? MSR_BITMAP_WRITE_HIGH : MSR_BITMAP_READ_HIGH;
		bit = msr - MSR_BITMAP_HIGH_FIRST;
	} else {
		return true;
	}
	return mem_read8(cpu, map + bit / 8) >> (bit % 8) & 1;
}

static enum x86_result rdmsr(struct hw_cpu *cpu, struct x86_special_info *info)
{
	uint64_t *gpr = cpu->st->gpr, value;
	uint32_t msr = (uint32_t)gpr[X86_RCX];

	(void)info;
	if (msr_exits(cpu, msr, false))
		return exit_insn(cpu, EXIT_RDMSR, 0);
	if (msr_read(cpu, msr, &value) != 0)
		return gp(cpu);
	if (msr == IA32_TSC && (cpu->proc & PROC_TSC_OFFSETTING))
		value += F(cpu, TSC_OFFSET);
	gpr[X86_RAX] = (uint32_t)value;
	gpr[X86_RDX] = value >> 32;
	return X86_OK;
}

static enum x86_result wrmsr(struct hw_cpu *cpu, struct x86_special_info *info)
{
	const uint64_t *gpr = cpu->st->gpr;
	uint32_t msr = (uint32_t)gpr[X86_RCX];
	uint64_t value = gpr[X86_RDX] << 32 | (uint32_t)gpr[X86_RAX];

	(void)info;
	if (msr_exits(cpu, msr, true))
		return exit_insn(cpu, EXIT_WRMSR, 0);
	return msr_write(cpu, msr, value) == 0 ? X86_OK : gp(cpu);
}

/* "Exception Bitmap"; page faults are matched by error code as well. */
static bool exception_exits(const struct hw_cpu *cpu, const struct x86_fault *f)
{
	bool bit = F(cpu, EXCEPTION_BITMAP) >> f->vector & 1;

	if (f->vector != VECTOR_PF)
		return bit;
	if ((f->error & F(cpu, PAGE_FAULT_MASK)) == F(cpu, PAGE_FAULT_MATCH))
		return bit;
	return !bit;
}

static uint32_t exception_type(const struct x86_special_info *info)
{
	if (!info->software)
		return INTR_TYPE_HARD_EXCEPTION;
	return info->fault->vector == VECTOR_DB ? INTR_TYPE_PRIV_SOFT_EXCEPTION
						: INTR_TYPE_SOFT_EXCEPTION;
}

static enum x86_result exception(struct hw_cpu *cpu, struct x86_special_info *info)
{
	const struct x86_fault *f = info->fault;
	uint64_t qualification = 0;

	if (f->vector > 31 || !exception_exits(cpu, f))
		return X86_OK;
	if (f->vector == VECTOR_PF)
		qualification = f->cr2;
	else if (f->vector == VECTOR_DB)
		qualification = info->value & DBQ_DR6_MASK;
	exit_with(cpu, EXIT_EXCEPTION_NMI, qualification);
	cpu->exit.insn_length_valid = info->software;
	cpu->exit.intr_info = INTR_VALID | exception_type(info) | f->vector |
			      (f->has_error ? INTR_ERROR_CODE : 0);
	cpu->exit.intr_error = f->has_error ? f->error : 0;
	return X86_EXIT;
}

/* info.type is the basic exit reason. */
static enum x86_result vmx_other(struct hw_cpu *cpu, struct x86_special_info *info)
{
	return exit_insn(cpu, (enum model_exit)info->type, info->displacement);
}

static enum x86_result triple_fault(struct hw_cpu *cpu, struct x86_special_info *info)
{
	(void)info;
	return exit_with(cpu, EXIT_TRIPLE_FAULT, 0);
}

/* --- the table -------------------------------------------------------------------- */

static const struct special_row table[X86_SP_COUNT] = {
	[X86_SP_CPUID] = {.reason = EXIT_CPUID, .always = true},
	[X86_SP_RDMSR] = {.effect = rdmsr},
	[X86_SP_WRMSR] = {.effect = wrmsr},
	[X86_SP_IN] = {.effect = in},
	[X86_SP_OUT] = {.effect = out},
	[X86_SP_VMX_OTHER] = {.effect = vmx_other},
	[X86_SP_TRIPLE_FAULT] = {.effect = triple_fault},
	[X86_SP_CR_READ] = {.effect = cr_read},
	[X86_SP_CR_WRITE] = {.effect = cr_write},
	[X86_SP_CLTS] = {.effect = cr_clts},
	[X86_SP_LMSW] = {.effect = cr_lmsw},
	[X86_SP_SMSW] = {.effect = cr_smsw},
	[X86_SP_DR_READ] = {.reason = EXIT_MOV_DR,
			    .proc = PROC_MOV_DR,
			    .qualify = qualify_dr_read,
			    .effect = dr_read},
	[X86_SP_DR_WRITE] = {.reason = EXIT_MOV_DR,
			     .proc = PROC_MOV_DR,
			     .qualify = qualify_dr,
			     .effect = dr_write},
	[X86_SP_HLT] = {.reason = EXIT_HLT, .proc = PROC_HLT, .effect = hlt},
	[X86_SP_PAUSE] = {.reason = EXIT_PAUSE, .proc = PROC_PAUSE},
	[X86_SP_INVLPG] = {.reason = EXIT_INVLPG,
			   .proc = PROC_INVLPG,
			   .qualify = qualify_linear,
			   .effect = invlpg},
	[X86_SP_INVPCID] = {.reason = EXIT_INVPCID,
			    .proc = PROC_INVLPG,
			    .needs_proc2 = PROC2_INVPCID,
			    .qualify = qualify_displacement,
			    .effect = invpcid},
	[X86_SP_INVD] = {.reason = EXIT_INVD, .always = true},
	[X86_SP_WBINVD] = {.reason = EXIT_WBINVD, .proc2 = PROC2_WBINVD},
	[X86_SP_RDTSC] = {.reason = EXIT_RDTSC, .proc = PROC_RDTSC, .effect = rdtsc},
	[X86_SP_RDTSCP] = {.reason = EXIT_RDTSCP,
			   .proc = PROC_RDTSC,
			   .needs_proc2 = PROC2_RDTSCP,
			   .effect = rdtsc},
	[X86_SP_RDPMC] = {.reason = EXIT_RDPMC, .proc = PROC_RDPMC, .effect = rdpmc},
	[X86_SP_XSETBV] = {.reason = EXIT_XSETBV, .always = true},
	[X86_SP_VMCALL] = {.reason = EXIT_VMCALL, .always = true},
	[X86_SP_MONITOR] = {.reason = EXIT_MONITOR, .proc = PROC_MONITOR},
	[X86_SP_MWAIT] = {.reason = EXIT_MWAIT, .proc = PROC_MWAIT},
	[X86_SP_DTABLE] = {.reason = EXIT_GDTR_IDTR,
			   .proc2 = PROC2_DESCRIPTOR_TABLE,
			   .qualify = qualify_displacement},
	[X86_SP_LDTR_TR] = {.reason = EXIT_LDTR_TR,
			    .proc2 = PROC2_DESCRIPTOR_TABLE,
			    .qualify = qualify_displacement},
	[X86_SP_TASK_SWITCH] = {.reason = EXIT_TASK_SWITCH,
				.always = true,
				.qualify = qualify_task_switch},
	[X86_SP_EXCEPTION] = {.effect = exception},
	[X86_SP_RSM] = {.effect = undefined},
	[X86_SP_GETSEC] = {.reason = EXIT_GETSEC, .always = true},
};

enum x86_result special(void *env, enum x86_special what, struct x86_special_info *info)
{
	struct hw_cpu *cpu = env;
	const struct special_row *row = &table[what];

	if ((cpu->proc2 & row->needs_proc2) != row->needs_proc2)
		return undefined(cpu, info);
	if (row->always || (cpu->proc & row->proc) || (cpu->proc2 & row->proc2))
		return exit_insn(cpu, row->reason, row->qualify ? row->qualify(info) : 0);
	return row->effect ? row->effect(cpu, info) : X86_OK;
}
