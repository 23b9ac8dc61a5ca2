/* SPDX-License-Identifier: MIT */
/* What makes a guest leave: intercepted instructions, timer, kick, windows, HLT. */
#include "unit/test_model_rig.h"

#include <pthread.h>

#define NATIVE (-1)
#define FAULT(vector) (-2 - (int)(vector))

/* --- instructions ----------------------------------------------------------------- */

struct intercept_case {
	const char *name;
	enum x86_special what;
	struct x86_special_info info;
	uint32_t proc, proc2, proc2_clear;
	int outcome; /* exit reason, NATIVE or FAULT(vector) */
	uint64_t qualification;
};

#define CR(number, v, gpr_) .info = {.reg = (number), .value = (v), .gpr = (gpr_)}
#define PORT(p, n) .port = (p), .size = (n)

/* The guest: CR0 mask PE|TS with shadow PE, CR4 mask VMXE with shadow 0, two CR3 targets. */
static const struct intercept_case intercept_cases[] = {
	{"CPUID", X86_SP_CPUID, .outcome = EXIT_CPUID},
	{"INVD", X86_SP_INVD, .outcome = EXIT_INVD},
	{"XSETBV", X86_SP_XSETBV, .outcome = EXIT_XSETBV},
	{"GETSEC", X86_SP_GETSEC, .outcome = EXIT_GETSEC},
	{"RSM", X86_SP_RSM, .outcome = FAULT(VECTOR_UD)},
	{"triple fault", X86_SP_TRIPLE_FAULT, .outcome = EXIT_TRIPLE_FAULT},
	{"VMREAD", X86_SP_VMX_OTHER, .info = {.type = 23}, .outcome = 23},
	{"PAUSE", X86_SP_PAUSE, .outcome = NATIVE},
	{"PAUSE exiting", X86_SP_PAUSE, .proc = PROC_PAUSE, .outcome = EXIT_PAUSE},
	{"HLT exiting", X86_SP_HLT, .proc = PROC_HLT, .outcome = EXIT_HLT},
	{"MONITOR", X86_SP_MONITOR, .outcome = NATIVE},
	{"MONITOR exiting", X86_SP_MONITOR, .proc = PROC_MONITOR, .outcome = EXIT_MONITOR},
	{"MWAIT exiting", X86_SP_MWAIT, .proc = PROC_MWAIT, .outcome = EXIT_MWAIT},
	{"WBINVD", X86_SP_WBINVD, .outcome = NATIVE},
	{"WBINVD exiting", X86_SP_WBINVD, .proc2 = PROC2_WBINVD, .outcome = EXIT_WBINVD},
	{"RDPMC", X86_SP_RDPMC, .outcome = FAULT(VECTOR_GP)},
	{"RDPMC exiting", X86_SP_RDPMC, .proc = PROC_RDPMC, .outcome = EXIT_RDPMC},
	{"RDTSC exiting", X86_SP_RDTSC, .proc = PROC_RDTSC, .outcome = EXIT_RDTSC},
	{"RDTSCP exiting", X86_SP_RDTSCP, .proc = PROC_RDTSC, .outcome = EXIT_RDTSCP},
	{"RDTSCP off", X86_SP_RDTSCP, .proc2_clear = PROC2_RDTSCP, .outcome = FAULT(VECTOR_UD)},
	{"INVLPG", X86_SP_INVLPG, .info = {.linear = 0x1000}, .outcome = NATIVE},
	{"INVLPG exiting", X86_SP_INVLPG, .info = {.linear = 0x1234}, .proc = PROC_INVLPG,
	 .outcome = EXIT_INVLPG, .qualification = 0x1234},
	{"INVPCID", X86_SP_INVPCID, .info = {.type = 2}, .outcome = NATIVE},
	{"INVPCID off", X86_SP_INVPCID, .proc2_clear = PROC2_INVPCID, .outcome = FAULT(VECTOR_UD)},
	{"INVPCID type 4", X86_SP_INVPCID, .info = {.type = 4}, .outcome = FAULT(VECTOR_GP)},
	{"INVPCID PCID without PCIDE", X86_SP_INVPCID, .info = {.type = 1, .desc = {1, 0}},
	 .outcome = FAULT(VECTOR_GP)},
	{"INVPCID reserved", X86_SP_INVPCID, .info = {.type = 2, .desc = {0x1000, 0}},
	 .outcome = FAULT(VECTOR_GP)},
	{"INVPCID not canonical", X86_SP_INVPCID, .info = {.type = 0, .desc = {0, VMX_BIT(50)}},
	 .outcome = FAULT(VECTOR_GP)},
	{"INVPCID exiting", X86_SP_INVPCID, .info = {.displacement = 0x10}, .proc = PROC_INVLPG,
	 .outcome = EXIT_INVPCID, .qualification = 0x10},
	{"LGDT", X86_SP_DTABLE, .outcome = NATIVE},
	{"LGDT exiting", X86_SP_DTABLE, .proc2 = PROC2_DESCRIPTOR_TABLE, .outcome = EXIT_GDTR_IDTR},
	{"LTR exiting", X86_SP_LDTR_TR, .proc2 = PROC2_DESCRIPTOR_TABLE, .outcome = EXIT_LDTR_TR},
	{"task switch", X86_SP_TASK_SWITCH, .info = {.value = 0x28, .type = 2},
	 .outcome = EXIT_TASK_SWITCH, .qualification = 0x28 | UINT64_C(2) << 30},

	{"MOV from CR0", X86_SP_CR_READ, CR(0, 0, 1), .outcome = NATIVE},
	{"MOV from CR3", X86_SP_CR_READ, CR(3, 0, 1), .outcome = NATIVE},
	{"CR3-store exiting", X86_SP_CR_READ, CR(3, 0, 1), .proc = PROC_CR3_STORE,
	 .outcome = EXIT_CR_ACCESS, .qualification = 0x113},
	{"CR8-store exiting", X86_SP_CR_READ, CR(8, 0, 15), .proc = PROC_CR8_STORE,
	 .outcome = EXIT_CR_ACCESS, .qualification = 0xf18},
	{"MOV to CR0", X86_SP_CR_WRITE, CR(0, CR0_PE | CR0_NE | CR0_PG | CR0_WP, 2),
	 .outcome = NATIVE},
	{"MOV to CR0, a masked bit", X86_SP_CR_WRITE,
	 CR(0, CR0_PE | CR0_NE | CR0_PG | CR0_WP | CR0_TS, 2), .outcome = EXIT_CR_ACCESS,
	 .qualification = 0x200},
	{"MOV to CR0, NE clear", X86_SP_CR_WRITE, CR(0, CR0_PE | CR0_PG, 0),
	 .outcome = FAULT(VECTOR_GP)},
	{"MOV to CR0, PG clear in 64-bit mode", X86_SP_CR_WRITE, CR(0, CR0_PE | CR0_NE, 0),
	 .outcome = FAULT(VECTOR_GP)},
	{"MOV to CR0, NW without CD", X86_SP_CR_WRITE, CR(0, CR0_PE | CR0_NE | CR0_PG | CR0_NW, 0),
	 .outcome = FAULT(VECTOR_GP)},
	{"MOV to CR3", X86_SP_CR_WRITE, CR(3, 0x10000, 0), .outcome = NATIVE},
	{"MOV to CR3, reserved", X86_SP_CR_WRITE, CR(3, VMX_BIT(60), 0),
	 .outcome = FAULT(VECTOR_GP)},
	{"MOV to CR3, bit 63 without PCIDE", X86_SP_CR_WRITE, CR(3, VMX_BIT(63), 0),
	 .outcome = FAULT(VECTOR_GP)},
	{"CR3-load exiting", X86_SP_CR_WRITE, CR(3, 0x10000, 7), .proc = PROC_CR3_LOAD,
	 .outcome = EXIT_CR_ACCESS, .qualification = 0x703},
	{"CR3-load exiting, a target", X86_SP_CR_WRITE, CR(3, 0x20000, 7), .proc = PROC_CR3_LOAD,
	 .outcome = NATIVE},
	{"CR3-load exiting, beyond the count", X86_SP_CR_WRITE, CR(3, 0x30000, 7),
	 .proc = PROC_CR3_LOAD, .outcome = EXIT_CR_ACCESS, .qualification = 0x703},
	{"MOV to CR4", X86_SP_CR_WRITE, CR(4, CR4_PAE | CR4_SMEP, 0), .outcome = NATIVE},
	{"MOV to CR4, VMXE is the host's", X86_SP_CR_WRITE, CR(4, CR4_PAE | CR4_VMXE, 3),
	 .outcome = EXIT_CR_ACCESS, .qualification = 0x304},
	{"MOV to CR4, PAE clear in long mode", X86_SP_CR_WRITE, CR(4, 0, 0),
	 .outcome = FAULT(VECTOR_GP)},
	{"MOV to CR4, LA57", X86_SP_CR_WRITE, CR(4, CR4_PAE | CR4_LA57, 0),
	 .outcome = FAULT(VECTOR_GP)},
	{"CR8-load exiting", X86_SP_CR_WRITE, CR(8, 1, 0), .proc = PROC_CR8_LOAD,
	 .outcome = EXIT_CR_ACCESS, .qualification = 8},
	{"MOV to CR8", X86_SP_CR_WRITE, CR(8, 15, 0), .outcome = NATIVE},
	{"MOV to CR8, reserved", X86_SP_CR_WRITE, CR(8, 16, 0), .outcome = FAULT(VECTOR_GP)},
	{"CLTS, masked, shadow clear", X86_SP_CLTS, .outcome = NATIVE},
	{"LMSW", X86_SP_LMSW, .info = {.value = CR0_PE | CR0_MP}, .outcome = NATIVE},
	{"LMSW, TS", X86_SP_LMSW, .info = {.value = CR0_PE | CR0_TS}, .outcome = EXIT_CR_ACCESS,
	 .qualification = 0x30 | UINT64_C(9) << 16},
	{"LMSW, PE clear does nothing", X86_SP_LMSW, .info = {.value = 0}, .outcome = NATIVE},

	{"MOV DR", X86_SP_DR_READ, .info = {.reg = 7}, .outcome = NATIVE},
	{"MOV-DR exiting, read", X86_SP_DR_READ, .info = {.reg = 7, .gpr = 5}, .proc = PROC_MOV_DR,
	 .outcome = EXIT_MOV_DR, .qualification = 0x517},
	{"MOV-DR exiting, write", X86_SP_DR_WRITE, .info = {.reg = 3}, .proc = PROC_MOV_DR,
	 .outcome = EXIT_MOV_DR, .qualification = 3},
	{"MOV to DR7, high half", X86_SP_DR_WRITE, .info = {.reg = 7, .value = VMX_BIT(40)},
	 .outcome = FAULT(VECTOR_GP)},

	{"IN, no bitmap", X86_SP_IN, .info = {PORT(0x60, 1)}, .outcome = NATIVE},
	{"IN, unconditional", X86_SP_IN, .info = {PORT(0x60, 1)}, .proc = PROC_UNCONDITIONAL_IO,
	 .outcome = EXIT_IO, .qualification = 0x600008},
	{"OUT imm8", X86_SP_OUT, .info = {PORT(0xf4, 4), .imm_port = true},
	 .proc = PROC_UNCONDITIONAL_IO, .outcome = EXIT_IO, .qualification = 0xf40043},
	{"REP OUTSB", X86_SP_OUT, .info = {PORT(0xe9, 1), .string = true, .rep = true},
	 .proc = PROC_UNCONDITIONAL_IO, .outcome = EXIT_IO, .qualification = 0xe90030},
	{"bitmap clear beats unconditional", X86_SP_OUT, .info = {PORT(0x60, 1)},
	 .proc = PROC_UNCONDITIONAL_IO | PROC_IO_BITMAPS, .outcome = NATIVE},
	{"bitmap A", X86_SP_OUT, .info = {PORT(0x70, 1)}, .proc = PROC_IO_BITMAPS,
	 .outcome = EXIT_IO, .qualification = 0x700000},
	{"bitmap A, last byte", X86_SP_OUT, .info = {PORT(0x6d, 4)}, .proc = PROC_IO_BITMAPS,
	 .outcome = EXIT_IO, .qualification = 0x6d0003},
	{"bitmap A, beside", X86_SP_OUT, .info = {PORT(0x6c, 4)}, .proc = PROC_IO_BITMAPS,
	 .outcome = NATIVE},
	{"bitmap B", X86_SP_OUT, .info = {PORT(0x8070, 1)}, .proc = PROC_IO_BITMAPS,
	 .outcome = EXIT_IO, .qualification = 0x80700000},
	{"wraps", X86_SP_OUT, .info = {PORT(0xffff, 2)}, .proc = PROC_IO_BITMAPS,
	 .outcome = EXIT_IO, .qualification = 0xffff0001},
};

static void prepare(struct rig *r)
{
	uint64_t a = rig_page(r), b = rig_page(r);

	((uint8_t *)rig_ptr(r, a))[0x70 / 8] |= 1; /* port 0x70 */
	((uint8_t *)rig_ptr(r, b))[0x70 / 8] |= 1; /* port 0x8070 */
	rig_set(r, VMCS_IO_BITMAP_A, a);
	rig_set(r, VMCS_IO_BITMAP_B, b);
	rig_set(r, VMCS_CR0_MASK, CR0_PE | CR0_TS);
	rig_set(r, VMCS_CR0_SHADOW, CR0_PE);
	rig_set(r, VMCS_CR4_MASK, CR4_VMXE);
	rig_set(r, VMCS_CR3_TARGET_COUNT, 2);
	rig_set(r, VMCS_CR3_TARGET_1, 0x20000);
	rig_set(r, VMCS_CR3_TARGET_2, 0x30000);
}

static void intercepts(void **state)
{
	uint64_t eptp;
	struct rig r;

	(void)state;
	rig_create(&r, NULL, 1);
	eptp = rig_ept(&r, VMX_SIZE_1G, 0);
	for (size_t i = 0; i < VMX_ARRAY_SIZE(intercept_cases); i++) {
		const struct intercept_case *c = &intercept_cases[i];
		struct step s;
		int got;

		rig_vmcs(&r, 1, eptp, 0x10000);
		prepare(&r);
		rig_set_bits(&r, VMCS_PROC_CONTROLS, c->proc, 0);
		rig_set_bits(&r, VMCS_PROC_CONTROLS_2, c->proc2, c->proc2_clear);
		s = rig_special(&r, c->what, c->info);
		got = s.result == X86_EXIT    ? (int)rig_get(&r, VMCS_EXIT_REASON)
		      : s.result == X86_FAULT ? FAULT(s.fault.vector)
					      : NATIVE;
		if (got != c->outcome)
			fail_msg("%s: %d", c->name, got);
		if (got < 0)
			continue;
		if (rig_get(&r, VMCS_EXIT_QUALIFICATION) != c->qualification)
			fail_msg("%s: qualification %#lx", c->name,
				 (unsigned long)rig_get(&r, VMCS_EXIT_QUALIFICATION));
		if (c->what != X86_SP_TRIPLE_FAULT)
			assert_int_equal(rig_get(&r, VMCS_EXIT_INSTRUCTION_LENGTH), 3);
	}
	rig_destroy(&r);
}

/* --- control registers, seen by the guest ----------------------------------------- */

static void shadows(void **state)
{
	struct rig r;
	struct step s;

	(void)state;
	rig_create(&r, NULL, 1);
	rig_vmcs(&r, 1, rig_ept(&r, VMX_SIZE_1G, 0), 0x10000);
	rig_set(&r, VMCS_CR0_MASK, CR0_TS | CR0_NE);
	rig_set(&r, VMCS_CR0_SHADOW, CR0_TS);
	rig_set(&r, VMCS_CR4_MASK, CR4_VMXE | CR4_MCE);
	rig_set(&r, VMCS_CR4_SHADOW, CR4_MCE);
	s = rig_special(&r, X86_SP_CR_READ, (struct x86_special_info){.reg = 0});
	assert_true((s.value & (CR0_TS | CR0_NE | CR0_PE)) == (CR0_TS | CR0_PE));
	s = rig_special(&r, X86_SP_SMSW, (struct x86_special_info){0});
	assert_true(s.value & CR0_TS);
	s = rig_special(&r, X86_SP_CR_READ, (struct x86_special_info){.reg = 4});
	assert_true(s.value == (CR4_PAE | CR4_PGE | CR4_MCE));
	/* CLTS exits where the shadow has TS. */
	s = rig_special(&r, X86_SP_CLTS, (struct x86_special_info){0});
	assert_int_equal(s.result, X86_EXIT);
	assert_true(rig_get(&r, VMCS_EXIT_QUALIFICATION) == CRQ_CLTS << CRQ_TYPE_SHIFT);
	/* An unmasked bit reaches the register; a masked one keeps its real value. */
	s = rig_special(&r, X86_SP_CR_WRITE,
			(struct x86_special_info){.reg = 0, .value = CR0_PE | CR0_PG | CR0_TS});
	assert_int_equal(s.result, X86_OK);
	assert_true(rig_get(&r, VMCS_GUEST_CR0) == (CR0_PE | CR0_PG | CR0_NE | CR0_ET));
	rig_destroy(&r);
}

/* --- MSRs ------------------------------------------------------------------------- */

static void msr_bitmap(void **state)
{
	static const struct {
		uint32_t msr;
		bool write, bit, exits;
	} cases[] = {
		{IA32_SYSENTER_CS, false, false, false}, {IA32_SYSENTER_CS, false, true, true},
		{IA32_SYSENTER_CS, true, false, false},	 {IA32_SYSENTER_CS, true, true, true},
		{IA32_STAR, false, true, true},		 {IA32_STAR, true, true, true},
		{IA32_STAR, true, false, false},	 {0x40000000, false, false, true},
		{0xc0002000, true, false, true},	 {0x2000, false, false, true},
	};
	struct rig r;

	(void)state;
	rig_create(&r, NULL, 1);
	rig_vmcs(&r, 1, rig_ept(&r, VMX_SIZE_1G, 0), 0x10000);
	for (size_t i = 0; i < VMX_ARRAY_SIZE(cases); i++) {
		uint32_t msr = cases[i].msr;
		unsigned page = (cases[i].write ? 2048u : 0u) + (msr >> 31 ? 1024u : 0u);
		uint64_t map = rig_page(&r);
		struct step s;

		if (cases[i].bit)
			((uint8_t *)rig_ptr(&r, map))[page + (msr & 0x1fff) / 8] |= 1 << msr % 8;
		rig_set(&r, VMCS_MSR_BITMAP, map);
		rig_set_bits(&r, VMCS_PROC_CONTROLS, PROC_MSR_BITMAPS, 0);
		r.regs.r[HW_RCX] = msr;
		r.regs.r[HW_RAX] = 0x1234;
		s = rig_special(&r, cases[i].write ? X86_SP_WRMSR : X86_SP_RDMSR,
				(struct x86_special_info){0});
		assert_int_equal(s.result, cases[i].exits ? X86_EXIT : X86_OK);
		if (cases[i].exits)
			assert_int_equal(rig_get(&r, VMCS_EXIT_REASON),
					 cases[i].write ? EXIT_WRMSR : EXIT_RDMSR);
	}
	assert_true(rig_get(&r, VMCS_GUEST_SYSENTER_CS) == 0x1234);
	/* Without bitmaps every one exits. */
	rig_set_bits(&r, VMCS_PROC_CONTROLS, 0, PROC_MSR_BITMAPS);
	assert_int_equal(rig_special(&r, X86_SP_RDMSR, (struct x86_special_info){0}).result,
			 X86_EXIT);
	rig_destroy(&r);
}

/* --- exceptions ------------------------------------------------------------------- */

static void exceptions(void **state)
{
	static const struct {
		uint32_t error, mask, match;
		bool bit, exits;
	} cases[] = {
		{0, 0, 0, false, false},
		{0, 0, 0, true, true},
		{0, 0, 1, true, false},
		{0, 0, 1, false, true},
		{PFEC_U, PFEC_U, PFEC_U, true, true},
		{0, PFEC_U, PFEC_U, true, false},
		{0, PFEC_U, PFEC_U, false, true},
	};
	struct x86_fault ud = {.vector = VECTOR_BP};
	struct rig r;

	(void)state;
	rig_create(&r, NULL, 1);
	rig_vmcs(&r, 1, rig_ept(&r, VMX_SIZE_1G, 0), rig_cr3(&r));
	for (size_t i = 0; i < VMX_ARRAY_SIZE(cases); i++) {
		struct step s = {.kind = STEP_READ, .linear = 0x5123, .who = cases[i].error};

		s.who = cases[i].error & PFEC_U ? X86_USER : 0;
		rig_set(&r, VMCS_EXCEPTION_BITMAP, cases[i].bit ? 1u << VECTOR_PF : 0);
		rig_set(&r, VMCS_PAGE_FAULT_MASK, cases[i].mask);
		rig_set(&r, VMCS_PAGE_FAULT_MATCH, cases[i].match);
		assert_int_equal(rig_run(&r, &s, 1),
				 cases[i].exits ? EXIT_EXCEPTION_NMI : EXIT_VMCALL);
		if (!cases[i].exits)
			continue;
		assert_true(rig_get(&r, VMCS_EXIT_QUALIFICATION) == 0x5123);
		assert_true(rig_get(&r, VMCS_EXIT_INTR_INFO) ==
			    (INTR_VALID | INTR_TYPE_HARD_EXCEPTION | INTR_ERROR_CODE | VECTOR_PF));
		assert_true(rig_get(&r, VMCS_EXIT_INTR_ERROR_CODE) == cases[i].error);
		assert_int_equal(rig_get(&r, VMCS_EXIT_INSTRUCTION_LENGTH), 0);
	}
	rig_set(&r, VMCS_EXCEPTION_BITMAP, 1u << VECTOR_BP);
	rig_special(&r, X86_SP_EXCEPTION,
		    (struct x86_special_info){.fault = &ud, .software = true});
	assert_true(rig_get(&r, VMCS_EXIT_INTR_INFO) ==
		    (INTR_VALID | INTR_TYPE_SOFT_EXCEPTION | VECTOR_BP));
	assert_int_equal(rig_get(&r, VMCS_EXIT_INSTRUCTION_LENGTH), 3);
	rig_destroy(&r);
}

/* --- the preemption timer, HLT and time ------------------------------------------- */

static void timer(void **state)
{
	struct step steps[100] = {0};
	uint64_t before;
	struct rig r;

	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(steps); i++)
		steps[i].kind = STEP_NOP;
	rig_create(&r, NULL, 1);
	rig_vmcs(&r, 1, rig_ept(&r, VMX_SIZE_1G, 0), 0x10000);
	rig_set_bits(&r, VMCS_PIN_CONTROLS, PIN_PREEMPTION_TIMER, 0);
	rig_set_bits(&r, VMCS_EXIT_CONTROLS, VMEXIT_SAVE_PREEMPTION_TIMER, 0);
	before = model_cpu_time(r.cpu);
	rig_set(&r, VMCS_PREEMPTION_TIMER, 37);
	assert_int_equal(rig_run(&r, steps, 100), EXIT_PREEMPTION_TIMER);
	assert_int_equal(r.step_next, 37);
	assert_int_equal(rig_get(&r, VMCS_PREEMPTION_TIMER), 0);
	assert_true(model_cpu_time(r.cpu) == before + 37);
	rig_set(&r, VMCS_PREEMPTION_TIMER, 0);
	assert_int_equal(rig_run(&r, steps, 100), EXIT_PREEMPTION_TIMER);
	assert_int_equal(r.step_next, 0);
	/* Another exit saves what is left. */
	rig_set(&r, VMCS_PREEMPTION_TIMER, 250);
	assert_int_equal(rig_run(&r, steps, 100), EXIT_VMCALL);
	assert_int_equal(rig_get(&r, VMCS_PREEMPTION_TIMER), 150);
	/* In HLT guest time jumps to the timer. */
	steps[10] = (struct step){.kind = STEP_SPECIAL, .what = X86_SP_HLT};
	before = model_cpu_time(r.cpu);
	rig_set(&r, VMCS_PREEMPTION_TIMER, 5000);
	assert_int_equal(rig_run(&r, steps, 100), EXIT_PREEMPTION_TIMER);
	assert_int_equal(r.step_next, 11);
	assert_int_equal(rig_get(&r, VMCS_GUEST_ACTIVITY), ACTIVITY_HLT);
	assert_true(model_cpu_time(r.cpu) == before + 5000);
	rig_destroy(&r);
}

static void tsc(void **state)
{
	struct step steps[3] = {{.kind = STEP_NOP},
				{.kind = STEP_SPECIAL, .what = X86_SP_RDTSC},
				{.kind = STEP_SPECIAL, .what = X86_SP_RDTSCP}};
	struct rig r;

	(void)state;
	rig_create(&r, NULL, 1);
	rig_vmcs(&r, 1, rig_ept(&r, VMX_SIZE_1G, 0), 0x10000);
	model_cpu_advance_time(r.cpu, 1000);
	rig_set_bits(&r, VMCS_PROC_CONTROLS, PROC_TSC_OFFSETTING, 0);
	rig_set(&r, VMCS_TSC_OFFSET, (uint64_t)-300);
	assert_int_equal(rig_run(&r, steps, 3), EXIT_VMCALL);
	assert_int_equal(steps[1].value, 701);
	assert_int_equal(steps[2].value, 702);
	assert_int_equal(hw_wrmsr(r.cpu, IA32_TSC, 5), 0);
	rig_set_bits(&r, VMCS_PROC_CONTROLS, 0, PROC_TSC_OFFSETTING);
	assert_int_equal(rig_run(&r, steps, 3), EXIT_VMCALL);
	assert_int_equal(steps[1].value, 6);
	rig_destroy(&r);
}

/* --- interrupts ------------------------------------------------------------------- */

static void *kicker(void *arg)
{
	struct rig *r = arg;

	model_cpu_kick(r->model, 0);
	return NULL;
}

static void kick(void **state)
{
	struct step hlt = {.kind = STEP_SPECIAL, .what = X86_SP_HLT};
	pthread_t thread;
	struct rig r;

	(void)state;
	rig_create(&r, NULL, 1);
	rig_vmcs(&r, 1, rig_ept(&r, VMX_SIZE_1G, 0), 0x10000);
	model_cpu_kick(r.model, 0);
	assert_int_equal(rig_run(&r, NULL, 0), EXIT_EXTERNAL_INTERRUPT);
	assert_int_equal(rig_get(&r, VMCS_EXIT_INTR_INFO), 0); /* no acknowledge on exit */
	assert_int_equal(rig_run(&r, NULL, 0), EXIT_VMCALL);
	/* Halted without a timer: only another thread ends it. */
	assert_int_equal(pthread_create(&thread, NULL, kicker, &r), 0);
	assert_int_equal(rig_run(&r, &hlt, 1), EXIT_EXTERNAL_INTERRUPT);
	pthread_join(thread, NULL);
	rig_destroy(&r);
}

static void windows(void **state)
{
	struct step nops[4] = {{.kind = STEP_NOP}, {.kind = STEP_NOP}, {.kind = STEP_NOP}};
	struct rig r;

	(void)state;
	rig_create(&r, NULL, 1);
	rig_vmcs(&r, 1, rig_ept(&r, VMX_SIZE_1G, 0), 0x10000);
	rig_set_bits(&r, VMCS_PROC_CONTROLS, PROC_INTERRUPT_WINDOW, 0);
	assert_int_equal(rig_run(&r, nops, 3), EXIT_VMCALL); /* IF is 0 */
	rig_set_bits(&r, VMCS_GUEST_RFLAGS, RFLAGS_IF, 0);
	assert_int_equal(rig_run(&r, nops, 3), EXIT_INTERRUPT_WINDOW);
	assert_int_equal(r.step_next, 0);
	/* STI's shadow keeps it shut for one instruction. */
	rig_set(&r, VMCS_GUEST_INTERRUPTIBILITY, BLOCKED_BY_STI);
	assert_int_equal(rig_run(&r, nops, 3), EXIT_INTERRUPT_WINDOW);
	assert_int_equal(r.step_next, 1);
	/* A halted guest leaves as well. */
	rig_set(&r, VMCS_GUEST_ACTIVITY, ACTIVITY_HLT);
	assert_int_equal(rig_run(&r, nops, 3), EXIT_INTERRUPT_WINDOW);
	rig_set(&r, VMCS_GUEST_ACTIVITY, ACTIVITY_ACTIVE);
	rig_set_bits(&r, VMCS_PROC_CONTROLS, PROC_NMI_WINDOW, PROC_INTERRUPT_WINDOW);
	rig_set_bits(&r, VMCS_PIN_CONTROLS, PIN_NMI | PIN_VIRTUAL_NMIS, 0);
	rig_set(&r, VMCS_GUEST_INTERRUPTIBILITY, BLOCKED_BY_NMI);
	assert_int_equal(rig_run(&r, nops, 3), EXIT_VMCALL);
	rig_set(&r, VMCS_GUEST_INTERRUPTIBILITY, 0);
	assert_int_equal(rig_run(&r, nops, 3), EXIT_NMI_WINDOW);
	/* The timer comes first, the external interrupt last. */
	rig_set_bits(&r, VMCS_PIN_CONTROLS, PIN_PREEMPTION_TIMER, 0);
	rig_set(&r, VMCS_PREEMPTION_TIMER, 0);
	model_cpu_kick(r.model, 0);
	assert_int_equal(rig_run(&r, nops, 3), EXIT_PREEMPTION_TIMER);
	rig_set(&r, VMCS_PREEMPTION_TIMER, 100);
	assert_int_equal(rig_run(&r, nops, 3), EXIT_NMI_WINDOW);
	rig_set_bits(&r, VMCS_PROC_CONTROLS, 0, PROC_NMI_WINDOW);
	assert_int_equal(rig_run(&r, nops, 3), EXIT_EXTERNAL_INTERRUPT);
	rig_destroy(&r);
}

/* --- PCIDs through MOV to CR3 ----------------------------------------------------- */

static void pcids(void **state)
{
	struct x86_special_info to_cr3 = {.reg = 3};
	uint64_t first, second;
	struct rig r;

	(void)state;
	rig_create(&r, NULL, 1);
	first = rig_cr3(&r);
	second = rig_cr3(&r);
	rig_map(&r, first, 0x1000, 0x800000, VMX_SIZE_4K, PTE_P);
	rig_map(&r, second, 0x1000, 0x900000, VMX_SIZE_4K, PTE_P);
	rig_vmcs(&r, 3, rig_ept(&r, VMX_SIZE_2M, 0), first | 1);
	rig_set_bits(&r, VMCS_GUEST_CR4, CR4_PCIDE, 0);
	assert_true(rig_read(&r, 0x1000).hpa == r.ram_hpa + 0x800000);
	to_cr3.value = second | 2;
	rig_special(&r, X86_SP_CR_WRITE, to_cr3);
	assert_true(rig_read(&r, 0x1000).hpa == r.ram_hpa + 0x900000);
	assert_int_equal(r.account.walks, 2);
	/* Back, keeping what is cached: no walk. */
	to_cr3.value = first | 1 | CR3_NO_FLUSH;
	rig_special(&r, X86_SP_CR_WRITE, to_cr3);
	assert_true(rig_get(&r, VMCS_GUEST_CR3) == (first | 1));
	assert_true(rig_read(&r, 0x1000).hpa == r.ram_hpa + 0x800000);
	assert_int_equal(r.account.walks, 2);
	assert_int_equal(r.account.ops_mov_cr3, 2);
	assert_int_equal(r.account.dropped_mov_cr3, 0);
	/* Without bit 63 that PCID's go. */
	to_cr3.value = first | 1;
	rig_special(&r, X86_SP_CR_WRITE, to_cr3);
	assert_int_equal(r.account.dropped_mov_cr3, 2);
	rig_read(&r, 0x1000);
	assert_int_equal(r.account.walks, 3);
	rig_check_balance(&r);
	rig_destroy(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(intercepts), cmocka_unit_test(shadows),
		cmocka_unit_test(msr_bitmap), cmocka_unit_test(exceptions),
		cmocka_unit_test(timer),      cmocka_unit_test(tsc),
		cmocka_unit_test(kick),	      cmocka_unit_test(windows),
		cmocka_unit_test(pcids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
