/* SPDX-License-Identifier: MIT */
/* VM entry: each check violated alone; MSR areas; what entry loads and exit saves. */
#include "unit/test_model_rig.h"

#define HOLE UINT64_C(0x0000900000000000) /* not canonical */
#define WIDE VMX_BIT(46)		  /* beyond the physical address width */

/* One or two fields made wrong: (value & ~clear) | set. */
struct change {
	uint32_t field;
	uint64_t set, clear;
};

struct check_case {
	const char *check; /* the row of entry_checks.def that must refuse */
	struct change change[3];
};

#define ALL UINT64_MAX
#define INJECT(type, vector, bits)                                                 \
	{                                                                          \
		VMCS_ENTRY_INTR_INFO, INTR_VALID | (type) | (vector) | (bits), ALL \
	}
#define NOT_LONG                                        \
	{VMCS_ENTRY_CONTROLS, 0, VMENTRY_IA32E_GUEST},  \
	{                                               \
		VMCS_GUEST_EFER, 0, EFER_LMA | EFER_LME \
	}

static const struct check_case check_cases[] = {
	{"PIN_CONTROLS", {{VMCS_PIN_CONTROLS, 0, PIN_EXTERNAL_INTERRUPT}}},
	{"PIN_CONTROLS", {{VMCS_PIN_CONTROLS, PIN_POSTED_INTERRUPTS, 0}}},
	{"PROC_CONTROLS", {{VMCS_PROC_CONTROLS, PROC_TPR_SHADOW, 0}}},
	{"PROC_CONTROLS", {{VMCS_PROC_CONTROLS, 0, 2}}},
	{"PROC_CONTROLS_2", {{VMCS_PROC_CONTROLS_2, PROC2_PML, 0}}},
	{"CR3_TARGET_COUNT", {{VMCS_CR3_TARGET_COUNT, 5, 0}}},
	{"IO_BITMAPS", {{VMCS_PROC_CONTROLS, PROC_IO_BITMAPS, 0}, {VMCS_IO_BITMAP_A, 1, 0}}},
	{"IO_BITMAPS", {{VMCS_PROC_CONTROLS, PROC_IO_BITMAPS, 0}, {VMCS_IO_BITMAP_B, WIDE, 0}}},
	{"MSR_BITMAP", {{VMCS_PROC_CONTROLS, PROC_MSR_BITMAPS, 0}, {VMCS_MSR_BITMAP, 8, 0}}},
	{"VIRTUAL_NMIS", {{VMCS_PIN_CONTROLS, PIN_VIRTUAL_NMIS, 0}}},
	{"NMI_WINDOW", {{VMCS_PROC_CONTROLS, PROC_NMI_WINDOW, 0}}},
	{"VPID", {{VMCS_VPID, 0, ALL}}},
	{"EPT_POINTER", {{VMCS_EPT_POINTER, 2, 4}}},
	{"EPT_POINTER", {{VMCS_EPT_POINTER, 1 << 3, 2 << 3}}},
	{"EPT_POINTER", {{VMCS_EPT_POINTER, 0x100, 0}}},
	{"EPT_POINTER", {{VMCS_EPT_POINTER, WIDE, 0}}},
	{"UNRESTRICTED_WITHOUT_EPT", {{VMCS_PROC_CONTROLS_2, 0, PROC2_EPT}}},
	{"EXIT_CONTROLS", {{VMCS_EXIT_CONTROLS, VMEXIT_ACK_INTERRUPT, 0}}},
	{"SAVE_TIMER_WITHOUT_TIMER", {{VMCS_EXIT_CONTROLS, VMEXIT_SAVE_PREEMPTION_TIMER, 0}}},
	{"EXIT_MSR_STORE",
	 {{VMCS_EXIT_MSR_STORE_COUNT, 1, 0}, {VMCS_EXIT_MSR_STORE_ADDRESS, 8, 0}}},
	{"EXIT_MSR_LOAD",
	 {{VMCS_EXIT_MSR_LOAD_COUNT, 2, 0}, {VMCS_EXIT_MSR_LOAD_ADDRESS, WIDE - 16, 0}}},
	{"ENTRY_CONTROLS", {{VMCS_ENTRY_CONTROLS, VMENTRY_TO_SMM, 0}}},
	{"INTR_TYPE", {INJECT(INTR_TYPE_RESERVED, 0, 0)}},
	{"INTR_TYPE", {INJECT(INTR_TYPE_NMI, 3, 0)}},
	{"INTR_TYPE", {INJECT(INTR_TYPE_HARD_EXCEPTION, 32, 0)}},
	{"INTR_TYPE", {INJECT(INTR_TYPE_OTHER, 0, 0)}},
	{"INTR_RESERVED", {INJECT(INTR_TYPE_NMI, 2, 1 << 12)}},
	{"INTR_DELIVER_ERROR_CODE", {INJECT(INTR_TYPE_HARD_EXCEPTION, VECTOR_GP, 0)}},
	{"INTR_DELIVER_ERROR_CODE", {INJECT(INTR_TYPE_HARD_EXCEPTION, VECTOR_UD, INTR_ERROR_CODE)}},
	{"INTR_ERROR_CODE",
	 {INJECT(INTR_TYPE_HARD_EXCEPTION, VECTOR_GP, INTR_ERROR_CODE),
	  {VMCS_ENTRY_ERROR_CODE, 0x10000, 0}}},
	{"INTR_LENGTH", {INJECT(INTR_TYPE_SOFT_INT, 0x80, 0)}},
	{"INTR_LENGTH",
	 {INJECT(INTR_TYPE_SOFT_EXCEPTION, 3, 0), {VMCS_ENTRY_INSTRUCTION_LENGTH, 16, 0}}},
	{"ENTRY_MSR_LOAD",
	 {{VMCS_ENTRY_MSR_LOAD_COUNT, 1, 0}, {VMCS_ENTRY_MSR_LOAD_ADDRESS, 1, 0}}},

	{"HOST_CR0", {{VMCS_HOST_CR0, 0, CR0_NE}}},
	{"HOST_CR0", {{VMCS_HOST_CR0, VMX_BIT(32), 0}}},
	{"HOST_CR4", {{VMCS_HOST_CR4, 0, CR4_VMXE}}},
	{"HOST_CR4", {{VMCS_HOST_CR4, CR4_LA57, 0}}},
	{"HOST_CR3", {{VMCS_HOST_CR3, WIDE, 0}}},
	{"HOST_SYSENTER", {{VMCS_HOST_SYSENTER_ESP, HOLE, 0}}},
	{"HOST_SYSENTER", {{VMCS_HOST_SYSENTER_EIP, HOLE, 0}}},
	{"HOST_PAT", {{VMCS_EXIT_CONTROLS, VMEXIT_LOAD_PAT, 0}, {VMCS_HOST_PAT, 2, 0}}},
	{"HOST_EFER", {{VMCS_HOST_EFER, 0, EFER_LME}}},
	{"HOST_EFER", {{VMCS_HOST_EFER, VMX_BIT(9), 0}}},
	{"HOST_SELECTORS", {{VMCS_HOST_FS_SELECTOR, 3, 0}}},
	{"HOST_SELECTORS", {{VMCS_HOST_TR_SELECTOR, 4, 0}}},
	{"HOST_CS_TR", {{VMCS_HOST_CS_SELECTOR, 0, ALL}}},
	{"HOST_CS_TR", {{VMCS_HOST_TR_SELECTOR, 0, ALL}}},
	{"HOST_BASES", {{VMCS_HOST_GS_BASE, HOLE, 0}}},
	{"HOST_BASES", {{VMCS_HOST_IDTR_BASE, HOLE, 0}}},
	{"HOST_SS",
	 {{VMCS_EXIT_CONTROLS, 0, VMEXIT_HOST_64}, {VMCS_HOST_EFER, 0, EFER_LME | EFER_LMA}}},
	{"HOST_ADDRESS_SPACE_SIZE",
	 {{VMCS_EXIT_CONTROLS, 0, VMEXIT_HOST_64},
	  {VMCS_HOST_EFER, 0, EFER_LME | EFER_LMA},
	  {VMCS_HOST_SS_SELECTOR, 0x18, 0}}},
	{"HOST_PAE", {{VMCS_HOST_CR4, 0, CR4_PAE}}},

	{"CR0_FIXED", {{VMCS_GUEST_CR0, 0, CR0_NE}}},
	{"CR0_FIXED", {{VMCS_PROC_CONTROLS_2, 0, PROC2_UNRESTRICTED}, {VMCS_GUEST_CR0, 0, CR0_PG}}},
	{"CR0_PG_WITHOUT_PE", {{VMCS_GUEST_CR0, 0, CR0_PE}}},
	{"CR4_FIXED", {{VMCS_GUEST_CR4, 0, CR4_VMXE}}},
	{"DEBUGCTL", {{VMCS_ENTRY_CONTROLS, VMENTRY_LOAD_DEBUG, 0}, {VMCS_GUEST_DEBUGCTL, 4, 0}}},
	{"IA32E_PAGING", {{VMCS_GUEST_CR4, 0, CR4_PAE}}},
	{"IA32E_PAGING", {{VMCS_GUEST_CR0, 0, CR0_PG}}},
	{"PCIDE_WITHOUT_IA32E", {NOT_LONG, {VMCS_GUEST_CR4, CR4_PCIDE, 0}}},
	{"CR3", {{VMCS_GUEST_CR3, WIDE, 0}}},
	{"DR7", {{VMCS_ENTRY_CONTROLS, VMENTRY_LOAD_DEBUG, 0}, {VMCS_GUEST_DR7, VMX_BIT(32), 0}}},
	{"SYSENTER", {{VMCS_GUEST_SYSENTER_EIP, HOLE, 0}}},
	{"PAT", {{VMCS_ENTRY_CONTROLS, VMENTRY_LOAD_PAT, 0}, {VMCS_GUEST_PAT, 8, 0}}},
	{"EFER", {{VMCS_GUEST_EFER, 0, EFER_LMA}}},
	{"EFER", {{VMCS_GUEST_EFER, 0, EFER_LME}}},
	{"EFER", {{VMCS_GUEST_EFER, 2, 0}}},

	{"TR_SELECTOR", {{VMCS_GUEST_TR_SELECTOR, 4, 0}}},
	{"LDTR_SELECTOR", {{VMCS_GUEST_LDTR_AR, 0x82, ALL}, {VMCS_GUEST_LDTR_SELECTOR, 4, 0}}},
	{"SS_RPL", {{VMCS_PROC_CONTROLS_2, 0, PROC2_UNRESTRICTED}, {VMCS_GUEST_SS_SELECTOR, 3, 0}}},
	{"V8086_SEGMENTS", {{VMCS_GUEST_RFLAGS, RFLAGS_VM, 0}}},
	{"TR_FS_GS_BASE", {{VMCS_GUEST_FS_BASE, HOLE, 0}}},
	{"LDTR_BASE", {{VMCS_GUEST_LDTR_AR, 0x82, ALL}, {VMCS_GUEST_LDTR_BASE, HOLE, 0}}},
	{"CS_BASE", {{VMCS_GUEST_CS_BASE, VMX_BIT(32), 0}}},
	{"DATA_BASES", {{VMCS_GUEST_SS_BASE, VMX_BIT(32), 0}}},
	{"CS_TYPE", {{VMCS_GUEST_CS_AR, 0, 1}}},
	{"CS_TYPE", {{VMCS_PROC_CONTROLS_2, 0, PROC2_UNRESTRICTED}, {VMCS_GUEST_CS_AR, 3, 8}}},
	{"SS_TYPE", {{VMCS_GUEST_SS_AR, 0, 2}}},
	{"DATA_TYPES", {{VMCS_GUEST_DS_AR, 0xc092, ALL}, {VMCS_GUEST_DS_LIMIT, 0xfff, 0}}},
	{"DATA_TYPES", {{VMCS_GUEST_GS_AR, 0xc099, ALL}, {VMCS_GUEST_GS_LIMIT, 0xfff, 0}}},
	{"CODE_DATA_S", {{VMCS_GUEST_CS_AR, 0, AR_S}}},
	{"CS_DPL", {{VMCS_GUEST_CS_AR, 3 << 5, 0}}},
	{"SS_DPL_RPL",
	 {{VMCS_PROC_CONTROLS_2, 0, PROC2_UNRESTRICTED},
	  {VMCS_GUEST_SS_SELECTOR, 3, 0},
	  {VMCS_GUEST_CS_SELECTOR, 3, 0}}},
	{"SS_DPL_REAL_MODE", {{VMCS_GUEST_CS_AR, 3, 0xf | AR_L}, {VMCS_GUEST_SS_AR, 3 << 5, 0}}},
	{"DATA_DPL",
	 {{VMCS_PROC_CONTROLS_2, 0, PROC2_UNRESTRICTED},
	  {VMCS_GUEST_ES_AR, 0x93, ALL},
	  {VMCS_GUEST_ES_SELECTOR, 3, 0}}},
	{"CODE_DATA_P", {{VMCS_GUEST_SS_AR, 0, AR_P}}},
	{"CODE_DATA_RESERVED", {{VMCS_GUEST_CS_AR, 0x100, 0}}},
	{"CS_D_L", {{VMCS_GUEST_CS_AR, AR_DB, 0}}},
	{"CODE_DATA_G", {{VMCS_GUEST_CS_LIMIT, 0, 1}}},
	{"CODE_DATA_G", {{VMCS_GUEST_CS_AR, 0, AR_G}}},
	{"TR_TYPE", {{VMCS_GUEST_TR_AR, 0, 8}}},
	{"TR_RIGHTS", {{VMCS_GUEST_TR_AR, AR_UNUSABLE, 0}}},
	{"TR_RIGHTS", {{VMCS_GUEST_TR_AR, 0, AR_P}}},
	{"TR_G", {{VMCS_GUEST_TR_AR, AR_G, 0}}},
	{"LDTR", {{VMCS_GUEST_LDTR_AR, 0x83, ALL}}},
	{"DESCRIPTOR_TABLES", {{VMCS_GUEST_GDTR_BASE, HOLE, 0}}},
	{"DESCRIPTOR_TABLES", {{VMCS_GUEST_IDTR_LIMIT, 0x10000, 0}}},
	{"RIP", {{VMCS_GUEST_RIP, HOLE, 0}}},
	{"RIP", {{VMCS_GUEST_RIP, VMX_BIT(33), 0}, {VMCS_GUEST_CS_AR, 0, AR_L}}},
	{"RFLAGS_RESERVED", {{VMCS_GUEST_RFLAGS, 0, 2}}},
	{"RFLAGS_RESERVED", {{VMCS_GUEST_RFLAGS, 8, 0}}},
	{"RFLAGS_RESERVED", {{VMCS_GUEST_RFLAGS, VMX_BIT(22), 0}}},
	{"RFLAGS_IF", {INJECT(INTR_TYPE_EXTERNAL, 0x20, 0)}},
	{"ACTIVITY", {{VMCS_GUEST_ACTIVITY, 2, 0}}},
	{"ACTIVITY", {{VMCS_GUEST_ACTIVITY, 3, 0}}},
	{"ACTIVITY_HLT_DPL",
	 {{VMCS_GUEST_ACTIVITY, 1, 0},
	  {VMCS_GUEST_SS_AR, 3 << 5, 0},
	  {VMCS_GUEST_CS_AR, 3 << 5, 0}}},
	{"ACTIVITY_BLOCKING",
	 {{VMCS_GUEST_ACTIVITY, 1, 0}, {VMCS_GUEST_INTERRUPTIBILITY, BLOCKED_BY_MOV_SS, 0}}},
	{"ACTIVITY_INJECTION",
	 {{VMCS_GUEST_ACTIVITY, 1, 0}, INJECT(INTR_TYPE_HARD_EXCEPTION, VECTOR_UD, 0)}},
	{"INTERRUPTIBILITY_RESERVED", {{VMCS_GUEST_INTERRUPTIBILITY, 1 << 5, 0}}},
	{"INTERRUPTIBILITY_RESERVED", {{VMCS_GUEST_INTERRUPTIBILITY, BLOCKED_BY_SMI, 0}}},
	{"STI_AND_MOV_SS",
	 {{VMCS_GUEST_INTERRUPTIBILITY, 3, 0}, {VMCS_GUEST_RFLAGS, RFLAGS_IF, 0}}},
	{"STI_WITHOUT_IF", {{VMCS_GUEST_INTERRUPTIBILITY, BLOCKED_BY_STI, 0}}},
	{"BLOCKED_INTERRUPT",
	 {INJECT(INTR_TYPE_EXTERNAL, 0x20, 0),
	  {VMCS_GUEST_RFLAGS, RFLAGS_IF, 0},
	  {VMCS_GUEST_INTERRUPTIBILITY, BLOCKED_BY_STI, 0}}},
	{"BLOCKED_NMI",
	 {INJECT(INTR_TYPE_NMI, 2, 0), {VMCS_GUEST_INTERRUPTIBILITY, BLOCKED_BY_MOV_SS, 0}}},
	{"BLOCKED_VIRTUAL_NMI",
	 {INJECT(INTR_TYPE_NMI, 2, 0),
	  {VMCS_GUEST_INTERRUPTIBILITY, BLOCKED_BY_NMI, 0},
	  {VMCS_PIN_CONTROLS, PIN_NMI | PIN_VIRTUAL_NMIS, 0}}},
	{"PENDING_DEBUG_RESERVED", {{VMCS_GUEST_PENDING_DEBUG, 0x10, 0}}},
	{"PENDING_DEBUG_BS",
	 {{VMCS_GUEST_RFLAGS, RFLAGS_TF, 0}, {VMCS_GUEST_INTERRUPTIBILITY, BLOCKED_BY_MOV_SS, 0}}},
	{"LINK_POINTER", {{VMCS_VMCS_LINK_POINTER, 0, 1}}},
	{"LINK_POINTER", {{VMCS_VMCS_LINK_POINTER, 0, ALL}}},
	{"PDPTES", {NOT_LONG, {VMCS_GUEST_PDPTE2, PTE_P | PTE_W, 0}}},
};

static bool names(const char *text, const char *check)
{
	size_t n = strlen(check);

	return text && strncmp(text, check, n) == 0 && text[n] == ' ';
}

static const struct {
	const char *check;
	int stage; /* VM-instruction error, or 33 */
	uint64_t qualification;
} rows[] = {
#define STAGE_CONTROLS 7
#define STAGE_HOST 8
#define STAGE_GUEST 33
#define CHECK(stage, name, qualification, section, holds) {#name, STAGE_##stage, qualification},
#include "hw/model/entry_checks.def"
#undef CHECK
};

/* RFLAGS_VM can't fail alone in this guest (segments come first); HOST_RIP is the processor's. */
static const char *const uncovered[] = {"RFLAGS_VM", "HOST_RIP"};

/* An encoding may be 0: VPID. */
static bool used(const struct change *c)
{
	return c->set != 0 || c->clear != 0;
}

static void violate(struct rig *r, const struct check_case *c)
{
	uint64_t before[3], at = rig_get(r, VMCS_GUEST_RIP);
	enum hw_result result;
	size_t row = 0;

	for (size_t i = 0; i < 3; i++) {
		if (!used(&c->change[i]))
			break;
		before[i] = rig_get(r, c->change[i].field);
		rig_set_bits(r, c->change[i].field, 0, c->change[i].clear);
		rig_set_bits(r, c->change[i].field, c->change[i].set, 0);
	}
	while (strcmp(rows[row].check, c->check) != 0)
		assert_true(++row < VMX_ARRAY_SIZE(rows));
	result = hw_enter(r->cpu, &r->regs, true);
	if (!names(model_entry_refused(r->cpu), c->check))
		fail_msg("%s: refused by %s", c->check, model_entry_refused(r->cpu));
	if (rows[row].stage == 33) {
		assert_int_equal(result, HW_SUCCEED);
		assert_true(rig_get(r, VMCS_EXIT_REASON) == (33 | EXIT_REASON_ENTRY_FAILURE));
		assert_true(rig_get(r, VMCS_EXIT_QUALIFICATION) == rows[row].qualification);
	} else {
		assert_int_equal(result, HW_FAIL_VALID);
		assert_int_equal(rig_get(r, VMCS_INSTRUCTION_ERROR), rows[row].stage);
	}
	for (size_t i = 3; i-- > 0;) {
		if (used(&c->change[i]))
			rig_set(r, c->change[i].field, before[i]);
	}
	assert_true(rig_get(r, VMCS_GUEST_RIP) == at); /* nothing was saved */
}

static void each_check_alone(void **state)
{
	struct rig r;

	(void)state;
	rig_create(&r, NULL, 1);
	rig_vmcs(&r, 1, rig_ept(&r, VMX_SIZE_2M, 0), 0x10000);
	for (size_t i = 0; i < VMX_ARRAY_SIZE(check_cases); i++)
		violate(&r, &check_cases[i]);
	/* The launch state is still clear, and what is left is valid. */
	assert_int_equal(rig_run(&r, NULL, 0), EXIT_VMCALL);
	rig_destroy(&r);
}

static void every_check_has_a_case(void **state)
{
	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(rows); i++) {
		bool found = false;

		for (size_t c = 0; c < VMX_ARRAY_SIZE(check_cases); c++)
			found |= strcmp(check_cases[c].check, rows[i].check) == 0;
		for (size_t c = 0; c < VMX_ARRAY_SIZE(uncovered); c++)
			found |= strcmp(uncovered[c], rows[i].check) == 0;
		if (!found)
			fail_msg("no case violates %s", rows[i].check);
	}
}

/* --- MSR areas -------------------------------------------------------------------- */

static void put_msr(struct rig *r, uint64_t area, unsigned n, uint64_t msr, uint64_t value)
{
	rig_ptr(r, area)[2 * n] = msr;
	rig_ptr(r, area)[2 * n + 1] = value;
}

static void msr_areas(void **state)
{
	static const struct {
		uint64_t msr, value;
		bool ok;
	} cases[] = {
		{IA32_STAR, 0x1234, true},
		{IA32_LSTAR, UINT64_C(0xffffffff81000000), true},
		{IA32_LSTAR, HOLE, false},
		{IA32_FS_BASE, 0, false},
		{IA32_GS_BASE, 0, false},
		{IA32_VMX_BASIC, 0, false},
		{0x802, 0, false},
		{0x12345, 0, false},
		{IA32_STAR | VMX_BIT(32), 0, false},
		{IA32_EFER, EFER_NXE, false}, /* LME can't change while paging is on */
		{IA32_EFER, EFER_NXE | EFER_LME | EFER_SCE, true},
		{IA32_PAT, 0x0606060606060606, true},
	};
	uint64_t load, store, host, value;
	struct rig r;

	(void)state;
	rig_create(&r, NULL, 1);
	rig_vmcs(&r, 1, rig_ept(&r, VMX_SIZE_2M, 0), 0x10000);
	load = rig_page(&r);
	store = rig_page(&r);
	host = rig_page(&r);
	rig_set(&r, VMCS_ENTRY_MSR_LOAD_ADDRESS, load);
	rig_set(&r, VMCS_ENTRY_MSR_LOAD_COUNT, 2);
	put_msr(&r, load, 0, IA32_FMASK, 0x200);
	for (size_t i = 0; i < VMX_ARRAY_SIZE(cases); i++) {
		bool launch = !r.cpu->current->launched;

		put_msr(&r, load, 1, cases[i].msr, cases[i].value);
		assert_int_equal(hw_enter(r.cpu, &r.regs, launch), HW_SUCCEED);
		value = rig_get(&r, VMCS_EXIT_REASON);
		if (cases[i].ok) {
			assert_true(value == EXIT_VMCALL);
		} else {
			assert_true(value == (EXIT_MSR_LOADING | EXIT_REASON_ENTRY_FAILURE));
			assert_true(rig_get(&r, VMCS_EXIT_QUALIFICATION) == 2);
		}
	}
	/* Exit stores the guest's values, then loads the host's. */
	put_msr(&r, load, 1, IA32_STAR, 0xaaaa);
	put_msr(&r, store, 0, IA32_STAR, 0);
	put_msr(&r, host, 0, IA32_STAR, 0xbbbb);
	rig_set(&r, VMCS_EXIT_MSR_STORE_ADDRESS, store);
	rig_set(&r, VMCS_EXIT_MSR_STORE_COUNT, 1);
	rig_set(&r, VMCS_EXIT_MSR_LOAD_ADDRESS, host);
	rig_set(&r, VMCS_EXIT_MSR_LOAD_COUNT, 1);
	assert_int_equal(rig_run(&r, NULL, 0), EXIT_VMCALL);
	assert_true(rig_ptr(&r, store)[1] == 0xaaaa);
	assert_int_equal(hw_rdmsr(r.cpu, IA32_STAR, &value), 0);
	assert_true(value == 0xbbbb);
	/* A host MSR that can't be loaded: VMX abort. */
	put_msr(&r, host, 0, IA32_LSTAR, HOLE);
	value = r.cpu->current->hpa;
	assert_int_equal(hw_enter(r.cpu, &r.regs, false), HW_SUCCEED);
	assert_int_equal(hw_enter(r.cpu, &r.regs, false), HW_FAULT_UD);
	assert_int_equal(rig_ptr(&r, value)[0] >> 32, 4);
	rig_destroy(&r);
}

/* --- state ------------------------------------------------------------------------ */

static void state_round_trip(void **state)
{
	struct hw_host_state host;
	struct rig r;

	(void)state;
	rig_create(&r, NULL, 1);
	rig_vmcs(&r, 1, rig_ept(&r, VMX_SIZE_2M, 0), 0x10000);
	rig_set(&r, VMCS_GUEST_FS_AR, 0xc093);
	rig_set(&r, VMCS_GUEST_FS_BASE, UINT64_C(0xffff900000001000));
	rig_set(&r, VMCS_GUEST_FS_LIMIT, 0xffffffff);
	rig_set(&r, VMCS_GUEST_FS_SELECTOR, 0x30);
	rig_set(&r, VMCS_GUEST_GDTR_BASE, 0x5000);
	rig_set(&r, VMCS_GUEST_GDTR_LIMIT, 0x7f);
	rig_set(&r, VMCS_GUEST_RSP, 0x9000);
	rig_set(&r, VMCS_GUEST_SYSENTER_EIP, 0x7777);
	rig_set(&r, VMCS_GUEST_INTERRUPTIBILITY, BLOCKED_BY_NMI);
	rig_set(&r, VMCS_HOST_FS_BASE, 0x4444);
	rig_set(&r, VMCS_HOST_GS_SELECTOR, 0x28);
	r.regs.r[HW_R12] = 0x1212;
	r.regs.cr2 = 0x2222;
	r.regs.dr[1] = 0x3333;
	r.regs.dr6 = DR6_FIXED1;
	assert_int_equal(rig_run(&r, NULL, 0), EXIT_VMCALL);
	assert_true(rig_get(&r, VMCS_GUEST_FS_BASE) == UINT64_C(0xffff900000001000));
	assert_true(rig_get(&r, VMCS_GUEST_FS_SELECTOR) == 0x30);
	assert_true(rig_get(&r, VMCS_GUEST_GDTR_LIMIT) == 0x7f);
	assert_true(rig_get(&r, VMCS_GUEST_RSP) == 0x9000);
	assert_true(rig_get(&r, VMCS_GUEST_SYSENTER_EIP) == 0x7777);
	assert_true(rig_get(&r, VMCS_GUEST_INTERRUPTIBILITY) == BLOCKED_BY_NMI);
	assert_true(rig_get(&r, VMCS_GUEST_CR4) == (CR4_PAE | CR4_PGE | CR4_VMXE));
	assert_true(r.regs.r[HW_R12] == 0x1212 && r.regs.cr2 == 0x2222);
	assert_true(r.regs.dr[1] == 0x3333 && r.regs.dr6 == DR6_FIXED1);
	assert_int_equal(rig_get(&r, VMCS_EXIT_INSTRUCTION_LENGTH), 3);
	hw_read_host_state(r.cpu, &host);
	assert_true(host.fs_base == 0x4444 && host.gs == 0x28 && host.cr3 == 0x2000);
	assert_true(host.cr4 == (CR4_PAE | CR4_VMXE));
	rig_destroy(&r);
}

/* --- events ----------------------------------------------------------------------- */

static void injection(void **state)
{
	struct rig r;

	(void)state;
	rig_create(&r, NULL, 1);
	rig_vmcs(&r, 1, rig_ept(&r, VMX_SIZE_2M, 0), 0x10000);
	rig_set(&r, VMCS_ENTRY_INTR_INFO,
		INTR_VALID | INTR_TYPE_HARD_EXCEPTION | INTR_ERROR_CODE | VECTOR_GP);
	rig_set(&r, VMCS_ENTRY_ERROR_CODE, 0x58);
	assert_int_equal(rig_run(&r, NULL, 0), EXIT_VMCALL);
	assert_int_equal(r.injections, 1);
	assert_true(r.injected ==
		    (INTR_VALID | INTR_TYPE_HARD_EXCEPTION | INTR_ERROR_CODE | VECTOR_GP));
	assert_int_equal(r.injected_error, 0x58);
	assert_false(rig_get(&r, VMCS_ENTRY_INTR_INFO) & INTR_VALID);
	assert_int_equal(rig_run(&r, NULL, 0), EXIT_VMCALL);
	assert_int_equal(r.injections, 1);
	/* An NMI blocks the next. */
	rig_set(&r, VMCS_ENTRY_INTR_INFO, INTR_VALID | INTR_TYPE_NMI | VECTOR_NMI);
	assert_int_equal(rig_run(&r, NULL, 0), EXIT_VMCALL);
	assert_true(rig_get(&r, VMCS_GUEST_INTERRUPTIBILITY) & BLOCKED_BY_NMI);
	/* A pending debug exception is delivered, or exits where #DB is intercepted. */
	rig_set(&r, VMCS_GUEST_PENDING_DEBUG, PENDING_DBG_BS);
	assert_int_equal(rig_run(&r, NULL, 0), EXIT_VMCALL);
	assert_true(r.injected == (INTR_VALID | INTR_TYPE_HARD_EXCEPTION | VECTOR_DB));
	assert_true(r.regs.dr6 & DR6_BS);
	assert_true(rig_get(&r, VMCS_GUEST_PENDING_DEBUG) == 0);
	rig_set(&r, VMCS_GUEST_PENDING_DEBUG, PENDING_DBG_BS);
	rig_set(&r, VMCS_EXCEPTION_BITMAP, 1u << VECTOR_DB);
	assert_int_equal(rig_run(&r, NULL, 0), EXIT_EXCEPTION_NMI);
	assert_true(rig_get(&r, VMCS_EXIT_QUALIFICATION) == DR6_BS);
	rig_destroy(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_check_alone), cmocka_unit_test(every_check_has_a_case),
		cmocka_unit_test(msr_areas),	    cmocka_unit_test(state_round_trip),
		cmocka_unit_test(injection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
