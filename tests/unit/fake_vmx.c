// SPDX-License-Identifier: MIT
/* See fake_vmx.h. The checks are written from the manual, apart from core's. */
#include "fake_vmx.h"
#include <stdlib.h>

#define NO_VMCS UINT64_MAX

/* A VMCS region's content: the header is the manual's, the rest is ours. */
struct fake_vmcs {
	uint32_t revision, abort;
	uint32_t launched, active; /* active: processor + 1 */
	uint64_t last_cpu, moves;
	uint64_t field[VMCS_FIELD_COUNT];
};

_Static_assert(sizeof(struct fake_vmcs) <= 4096, "fits its region");

/* --- machine ---------------------------------------------------------------------------- */

static uint64_t control(uint32_t must, uint32_t may)
{
	return (uint64_t)may << 32 | must;
}

static const struct fake_msr default_msrs[] = {
	{IA32_FEATURE_CONTROL, FEATURE_CONTROL_LOCKED | FEATURE_CONTROL_VMX},
	{IA32_VMX_BASIC, FAKE_REVISION | UINT64_C(4096) << VMX_BASIC_SIZE_SHIFT |
				 (uint64_t)MEMTYPE_WB << VMX_BASIC_MEMTYPE_SHIFT |
				 VMX_BASIC_TRUE_CTLS},
	{IA32_VMX_MISC, 5 | VMX_MISC_EXIT_STORES_LMA | VMX_MISC_HLT_STATE |
				UINT64_C(4) << VMX_MISC_CR3_TARGETS_SHIFT},
	{IA32_VMX_CR0_FIXED0, CR0_PE | CR0_NE | CR0_PG},
	{IA32_VMX_CR0_FIXED1, 0xffffffff},
	{IA32_VMX_CR4_FIXED0, CR4_VMXE},
	{IA32_VMX_CR4_FIXED1, 0x3767ff},
	{IA32_VMX_EPT_VPID_CAP,
	 EPT_VPID_CAP_EXEC_ONLY | EPT_VPID_CAP_WALK_4 | EPT_VPID_CAP_UC | EPT_VPID_CAP_WB |
		 EPT_VPID_CAP_2M | EPT_VPID_CAP_1G | EPT_VPID_CAP_INVEPT | EPT_VPID_CAP_AD |
		 EPT_VPID_CAP_INVEPT_SINGLE | EPT_VPID_CAP_INVEPT_ALL | EPT_VPID_CAP_INVVPID |
		 EPT_VPID_CAP_INVVPID_ADDRESS | EPT_VPID_CAP_INVVPID_SINGLE |
		 EPT_VPID_CAP_INVVPID_ALL | EPT_VPID_CAP_INVVPID_KEEP_GLOBAL},
	{IA32_STAR, 0x1111},
	{IA32_LSTAR, 0x2222},
	{IA32_CSTAR, 0x3333},
	{IA32_FMASK, 0x4444},
	{IA32_KERNEL_GS_BASE, 0x5555},
	{IA32_TSC_AUX, 0x6666},
};

static void default_controls(struct hw_cpu *c)
{
	/* "Reserved controls and default settings": the default1 bits that must stay 1. */
	fake_set_msr(c, IA32_VMX_TRUE_PINBASED_CTLS, control(0x16, 0xff));
	fake_set_msr(c, IA32_VMX_TRUE_PROCBASED_CTLS, control(0x04006172, 0xfff9fffe));
	fake_set_msr(c, IA32_VMX_TRUE_EXIT_CTLS, control(0x36dfb, 0x01ffffff));
	fake_set_msr(c, IA32_VMX_TRUE_ENTRY_CTLS, control(0x11fb, 0x3ffff));
	fake_set_msr(c, IA32_VMX_PROCBASED_CTLS2,
		     control(0, PROC2_EPT | PROC2_RDTSCP | PROC2_VPID | PROC2_WBINVD |
					PROC2_UNRESTRICTED | PROC2_INVPCID));
	/* Without TRUE controls CR3 accesses exit, too. */
	fake_set_msr(c, IA32_VMX_PINBASED_CTLS, control(0x16, 0xff));
	fake_set_msr(c, IA32_VMX_PROCBASED_CTLS, control(0x0401e172, 0xfff9fffe));
	fake_set_msr(c, IA32_VMX_EXIT_CTLS, control(0x36dff, 0x01ffffff));
	fake_set_msr(c, IA32_VMX_ENTRY_CTLS, control(0x11ff, 0x3ffff));
}

static void default_host(struct hw_cpu *c)
{
	c->host = (struct hw_host_state){
		.cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG,
		.cr3 = 0x1000,
		.cr4 = CR4_PAE | CR4_MCE | CR4_PGE,
		.cs = 0x10,
		.ss = 0x18,
		.tr = 0x40,
		.tr_base = 0xffff880000000000 + c->id,
		.gs_base = 0xffff888000000000,
		.pat = PAT_RESET,
		.efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE,
	};
}

int fake_create(unsigned cpus, struct fake_machine **ret)
{
	struct plat_user_config cfg = {.cpus = cpus, .arena_bytes = UINT64_C(8) << 30};
	struct fake_machine *m = calloc(1, sizeof(*m));
	int err;

	if (m == NULL || cpus > FAKE_MAX_CPUS)
		return -ENOMEM;
	err = plat_user_create(&cfg, &m->plat);
	if (err < 0)
		return err;
	m->nr_cpus = cpus;
	for (unsigned i = 0; i < cpus; i++) {
		struct hw_cpu *c = calloc(1, sizeof(*c));

		if (c == NULL)
			return -ENOMEM;
		m->cpu[i] = c;
		c->machine = m;
		c->id = i;
		c->current = NO_VMCS;
		for (size_t k = 0; k < VMX_ARRAY_SIZE(default_msrs); k++)
			fake_set_msr(c, default_msrs[k].msr, default_msrs[k].value);
		default_controls(c);
		default_host(c);
	}
	*ret = m;
	return 0;
}

size_t fake_destroy(struct fake_machine *m)
{
	size_t left = plat_user_destroy(m->plat);

	for (unsigned i = 0; i < m->nr_cpus; i++)
		free(m->cpu[i]);
	free(m);
	return left;
}

struct hw_cpu *fake_cpu(struct fake_machine *m, unsigned cpu)
{
	return m->cpu[cpu];
}

/* --- MSRs --------------------------------------------------------------------------------- */

static struct fake_msr *find_msr(struct hw_cpu *c, uint32_t msr)
{
	for (size_t i = 0; i < c->nr_msrs; i++) {
		if (c->msrs[i].msr == msr)
			return &c->msrs[i];
	}
	return NULL;
}

void fake_set_msr(struct hw_cpu *c, uint32_t msr, uint64_t value)
{
	struct fake_msr *row = find_msr(c, msr);

	if (row == NULL) {
		if (c->nr_msrs == FAKE_MAX_MSRS)
			abort();
		row = &c->msrs[c->nr_msrs++];
	}
	*row = (struct fake_msr){msr, value};
}

void fake_remove_msr(struct hw_cpu *c, uint32_t msr)
{
	struct fake_msr *row = find_msr(c, msr);

	if (row != NULL)
		row->msr = UINT32_MAX;
}

uint64_t fake_get_msr(struct hw_cpu *c, uint32_t msr)
{
	const struct fake_msr *row = find_msr(c, msr);

	return row == NULL ? 0 : row->value;
}

void fake_forbid(struct fake_machine *m, uint32_t msr, uint32_t bits)
{
	for (unsigned i = 0; i < m->nr_cpus; i++)
		fake_set_msr(m->cpu[i], msr,
			     fake_get_msr(m->cpu[i], msr) & ~((uint64_t)bits << 32));
}

int hw_rdmsr(struct hw_cpu *c, uint32_t msr, uint64_t *ret)
{
	const struct fake_msr *row = find_msr(c, msr);

	if (row == NULL)
		return -EIO;
	*ret = row->value;
	return 0;
}

int hw_wrmsr(struct hw_cpu *c, uint32_t msr, uint64_t value)
{
	struct fake_msr *row = find_msr(c, msr);

	if (row == NULL)
		return -EIO;
	row->value = value;
	return 0;
}

void hw_read_host_state(struct hw_cpu *c, struct hw_host_state *ret)
{
	*ret = c->host;
	if (c->vmxe)
		ret->cr4 |= CR4_VMXE;
}

int hw_set_vmxe(struct hw_cpu *c, bool on)
{
	c->vmxe = on;
	return 0;
}

enum hw_result hw_vmread_fields(struct hw_cpu *c, const struct hw_field *fields, size_t count,
				void *base, size_t *ret_done)
{
	enum hw_result r = HW_SUCCEED;
	uint64_t value = 0;

	for (*ret_done = 0; *ret_done < count && r == HW_SUCCEED; *ret_done += r == HW_SUCCEED) {
		r = hw_vmread(c, fields[*ret_done].field, &value);
		if (r == HW_SUCCEED)
			hw_field_store(&fields[*ret_done], base, value);
	}
	return r;
}

enum hw_result hw_after_exit(struct hw_cpu *c, struct hw_exit *ret)
{
	const struct {
		uint32_t field;
		uint64_t *to;
	} rows[] = {
		{VMCS_EXIT_REASON, &ret->reason},
		{VMCS_IDT_VECTORING_INFO, &ret->vectoring_info},
		{VMCS_EXIT_INSTRUCTION_LENGTH, &ret->insn_length},
		{VMCS_GUEST_INTERRUPTIBILITY, &ret->interruptibility},
		{VMCS_GUEST_RIP, &ret->rip},
		{VMCS_GUEST_RFLAGS, &ret->rflags},
	};
	enum hw_result r = HW_SUCCEED;

	c->after_exits++;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(rows) && r == HW_SUCCEED; i++)
		r = hw_vmread(c, rows[i].field, rows[i].to);
	return r;
}

/* --- the VMCS -------------------------------------------------------------------------------- */

static struct fake_vmcs *vmcs_at(struct hw_cpu *c, uint64_t addr)
{
	if (addr == NO_VMCS || addr & 0xfff)
		return NULL;
	return plat_hpa_ptr(c->machine->plat, hpa(addr));
}

static uint64_t *field_of(struct fake_vmcs *v, uint32_t field)
{
	bool high;
	int ix = vmcs_field_index(field, &high);

	if (ix < 0 || high)
		abort();
	return &v->field[ix];
}

uint64_t fake_get(struct hw_cpu *c, uint32_t field)
{
	return *field_of(vmcs_at(c, c->current), field);
}

void fake_set(struct hw_cpu *c, uint32_t field, uint64_t value)
{
	*field_of(vmcs_at(c, c->current), field) = value;
}

void fake_exit(struct hw_cpu *c, uint32_t reason, uint64_t qualification, uint32_t insn_length)
{
	fake_set(c, VMCS_EXIT_REASON, reason);
	fake_set(c, VMCS_EXIT_QUALIFICATION, qualification);
	fake_set(c, VMCS_EXIT_INSTRUCTION_LENGTH, insn_length);
}

static enum hw_result fail(struct hw_cpu *c, uint32_t error)
{
	if (c->current == NO_VMCS)
		return HW_FAIL_INVALID;
	fake_set(c, VMCS_INSTRUCTION_ERROR, error);
	return HW_FAIL_VALID;
}

enum hw_result hw_vmxon(struct hw_cpu *c, hpa_t region)
{
	const struct fake_vmcs *r = vmcs_at(c, region.v);

	if (c->machine->fail_vmxon != HW_SUCCEED)
		return c->machine->fail_vmxon;
	if (!c->vmxe)
		return HW_FAULT_UD;
	if (r == NULL || r->revision != FAKE_REVISION)
		return HW_FAIL_INVALID;
	c->vmxon = true;
	c->vmxon_region = region.v;
	c->current = NO_VMCS;
	return HW_SUCCEED;
}

enum hw_result hw_vmxoff(struct hw_cpu *c)
{
	if (!c->vmxon)
		return HW_FAULT_UD;
	c->vmxon = false;
	return HW_SUCCEED;
}

enum hw_result hw_vmclear(struct hw_cpu *c, hpa_t vmcs)
{
	struct fake_vmcs *v = vmcs_at(c, vmcs.v);

	if (!c->vmxon)
		return HW_FAULT_UD;
	if (v == NULL)
		return fail(c, VMERR_VMCLEAR_ADDRESS);
	if (vmcs.v == c->vmxon_region)
		return fail(c, VMERR_VMCLEAR_VMXON_POINTER);
	c->vmclears++;
	v->launched = 0;
	v->active = 0;
	if (c->current == vmcs.v)
		c->current = NO_VMCS;
	return HW_SUCCEED;
}

enum hw_result hw_vmptrld(struct hw_cpu *c, hpa_t vmcs)
{
	struct fake_vmcs *v = vmcs_at(c, vmcs.v);

	if (!c->vmxon)
		return HW_FAULT_UD;
	if (v == NULL)
		return fail(c, VMERR_VMPTRLD_ADDRESS);
	if (vmcs.v == c->vmxon_region)
		return fail(c, VMERR_VMPTRLD_VMXON_POINTER);
	if (v->revision != FAKE_REVISION)
		return fail(c, VMERR_VMPTRLD_REVISION);
	if (v->active != 0 && v->active != c->id + 1)
		c->machine->active_on_two++;
	c->vmptrlds++;
	v->active = c->id + 1;
	c->current = vmcs.v;
	return HW_SUCCEED;
}

enum hw_result hw_vmptrst(struct hw_cpu *c, hpa_t *ret)
{
	*ret = hpa(c->current);
	return c->vmxon ? HW_SUCCEED : HW_FAULT_UD;
}

enum hw_result hw_vmread(struct hw_cpu *c, uint32_t field, uint64_t *ret)
{
	bool high;
	int ix = vmcs_field_index(field, &high);

	if (!c->vmxon)
		return HW_FAULT_UD;
	if (c->current == NO_VMCS)
		return HW_FAIL_INVALID;
	if (ix < 0)
		return fail(c, VMERR_UNSUPPORTED_FIELD);
	*ret = vmcs_at(c, c->current)->field[ix] >> (high ? 32 : 0);
	return HW_SUCCEED;
}

enum hw_result hw_vmwrite(struct hw_cpu *c, uint32_t field, uint64_t value)
{
	bool high;
	int ix = vmcs_field_index(field, &high);

	if (!c->vmxon)
		return HW_FAULT_UD;
	if (c->current == NO_VMCS)
		return HW_FAIL_INVALID;
	if (ix < 0 || high)
		return fail(c, VMERR_UNSUPPORTED_FIELD);
	if (vmcs_field_info[ix].type == VMCS_TYPE_READONLY)
		return fail(c, VMERR_READ_ONLY_FIELD);
	c->vmwrites++;
	vmcs_at(c, c->current)->field[ix] = value & vmcs_width_mask(vmcs_field_info[ix].width);
	return HW_SUCCEED;
}

/* --- invalidation -------------------------------------------------------------------------- */

enum hw_result hw_invept(struct hw_cpu *c, uint64_t type, const struct hw_invept_desc *desc)
{
	if (desc->reserved != 0 || (type != HW_INVEPT_SINGLE && type != HW_INVEPT_ALL))
		return fail(c, VMERR_INVEPT_INVVPID_OPERAND);
	if (type == HW_INVEPT_SINGLE)
		c->invept_single++;
	else
		c->invept_all++;
	return HW_SUCCEED;
}

enum hw_result hw_invvpid(struct hw_cpu *c, uint64_t type, const struct hw_invvpid_desc *desc)
{
	if (type > 3 || desc->vpid > 0xffff || (type != HW_INVVPID_ALL && desc->vpid == 0))
		return fail(c, VMERR_INVEPT_INVVPID_OPERAND);
	c->invvpid[type]++;
	if (type == HW_INVVPID_ALL)
		memset(c->tlb, 0, sizeof(c->tlb));
	else if (type == HW_INVVPID_SINGLE)
		c->tlb[desc->vpid].owner = 0;
	return HW_SUCCEED;
}

/* Uses and fills the TLB as the guest's first instruction would. */
static void use_tlb(struct hw_cpu *c, struct fake_vmcs *v)
{
	unsigned vpid = fake_get(c, VMCS_VPID) & 0xffff;

	if (v->last_cpu != c->id + 1) {
		v->last_cpu = c->id + 1;
		v->moves++;
	}
	if (!(fake_get(c, VMCS_PROC_CONTROLS_2) & PROC2_VPID))
		return;
	/* Another's, or its own from before it ran elsewhere: its guest's own INVLPG there
	 * did not reach this processor. */
	if (c->tlb[vpid].owner != 0 &&
	    (c->tlb[vpid].owner != c->current || c->tlb[vpid].moves != v->moves))
		c->machine->stale_uses++;
	c->tlb[vpid].owner = c->current;
	c->tlb[vpid].moves = v->moves;
}

/* --- entry checks -------------------------------------------------------------------------- */

struct entry_check {
	const char *name;
	bool (*ok)(struct hw_cpu *c);
};

static bool allowed(struct hw_cpu *c, uint32_t field, uint32_t msr)
{
	uint32_t value = (uint32_t)fake_get(c, field);
	uint64_t cap = fake_get_msr(c, msr);

	return (value & (uint32_t)cap) == (uint32_t)cap && !(value & ~(uint32_t)(cap >> 32));
}

static bool true_controls(struct hw_cpu *c)
{
	return fake_get_msr(c, IA32_VMX_BASIC) & VMX_BASIC_TRUE_CTLS;
}

static bool c_pin(struct hw_cpu *c)
{
	return allowed(c, VMCS_PIN_CONTROLS,
		       true_controls(c) ? IA32_VMX_TRUE_PINBASED_CTLS : IA32_VMX_PINBASED_CTLS);
}

static bool c_proc(struct hw_cpu *c)
{
	return allowed(c, VMCS_PROC_CONTROLS,
		       true_controls(c) ? IA32_VMX_TRUE_PROCBASED_CTLS : IA32_VMX_PROCBASED_CTLS);
}

static bool c_proc2(struct hw_cpu *c)
{
	return allowed(c, VMCS_PROC_CONTROLS_2, IA32_VMX_PROCBASED_CTLS2);
}

static bool c_exit(struct hw_cpu *c)
{
	return allowed(c, VMCS_EXIT_CONTROLS,
		       true_controls(c) ? IA32_VMX_TRUE_EXIT_CTLS : IA32_VMX_EXIT_CTLS);
}

static bool c_entry(struct hw_cpu *c)
{
	return allowed(c, VMCS_ENTRY_CONTROLS,
		       true_controls(c) ? IA32_VMX_TRUE_ENTRY_CTLS : IA32_VMX_ENTRY_CTLS);
}

static bool c_nmi(struct hw_cpu *c)
{
	uint64_t pin = fake_get(c, VMCS_PIN_CONTROLS), proc = fake_get(c, VMCS_PROC_CONTROLS);

	if (pin & PIN_VIRTUAL_NMIS && !(pin & PIN_NMI))
		return false;
	return !(proc & PROC_NMI_WINDOW) || pin & PIN_VIRTUAL_NMIS;
}

static bool c_timer(struct hw_cpu *c)
{
	return !(fake_get(c, VMCS_EXIT_CONTROLS) & VMEXIT_SAVE_PREEMPTION_TIMER) ||
	       fake_get(c, VMCS_PIN_CONTROLS) & PIN_PREEMPTION_TIMER;
}

static bool c_vpid(struct hw_cpu *c)
{
	return !(fake_get(c, VMCS_PROC_CONTROLS_2) & PROC2_VPID) || fake_get(c, VMCS_VPID) != 0;
}

static bool c_ept(struct hw_cpu *c)
{
	uint64_t eptp = fake_get(c, VMCS_EPT_POINTER), proc2 = fake_get(c, VMCS_PROC_CONTROLS_2);

	if (!(proc2 & PROC2_EPT))
		return !(proc2 & PROC2_UNRESTRICTED);
	return (eptp & EPTP_MEMTYPE_MASK) == MEMTYPE_WB &&
	       (eptp & EPTP_WALK_MASK) >> EPTP_WALK_SHIFT == 3 && !(eptp & EPTP_RESERVED_LOW);
}

static bool c_addresses(struct hw_cpu *c)
{
	return fake_get(c, VMCS_MSR_BITMAP) != 0 && !(fake_get(c, VMCS_MSR_BITMAP) & 0xfff) &&
	       !(fake_get(c, VMCS_ENTRY_MSR_LOAD_ADDRESS) & 0xf) &&
	       !(fake_get(c, VMCS_EXIT_MSR_STORE_ADDRESS) & 0xf) &&
	       !(fake_get(c, VMCS_EXIT_MSR_LOAD_ADDRESS) & 0xf) &&
	       fake_get(c, VMCS_CR3_TARGET_COUNT) <= 4;
}

static bool c_event(struct hw_cpu *c)
{
	uint32_t info = (uint32_t)fake_get(c, VMCS_ENTRY_INTR_INFO);
	uint32_t type = info & INTR_TYPE_MASK, vector = info & INTR_VECTOR_MASK;
	uint64_t length = fake_get(c, VMCS_ENTRY_INSTRUCTION_LENGTH);
	bool pe = fake_get(c, VMCS_GUEST_CR0) & CR0_PE;
	bool soft = type == INTR_TYPE_SOFT_INT || type == INTR_TYPE_SOFT_EXCEPTION ||
		    type == INTR_TYPE_PRIV_SOFT_EXCEPTION;
	bool code = type == INTR_TYPE_HARD_EXCEPTION && vector < 32 &&
		    VECTORS_WITH_ERROR_CODE >> vector & 1 && pe;

	if (!(info & INTR_VALID))
		return true;
	if (info & INTR_ENTRY_RESERVED || type == INTR_TYPE_RESERVED || type == INTR_TYPE_OTHER)
		return false;
	if ((type == INTR_TYPE_NMI && vector != 2) ||
	    (type == INTR_TYPE_HARD_EXCEPTION && vector > 31))
		return false;
	if (code != !!(info & INTR_ERROR_CODE))
		return false;
	if (code && fake_get(c, VMCS_ENTRY_ERROR_CODE) > 0x7fff)
		return false;
	return !soft || (length >= 1 && length <= 15);
}

static const struct entry_check control_checks[] = {
	{"pin", c_pin},	    {"proc", c_proc},	{"proc2", c_proc2},	    {"exit", c_exit},
	{"entry", c_entry}, {"nmi", c_nmi},	{"timer", c_timer},	    {"vpid", c_vpid},
	{"ept", c_ept},	    {"event", c_event}, {"addresses", c_addresses},
};

static bool h_cr(struct hw_cpu *c)
{
	uint64_t cr0 = fake_get(c, VMCS_HOST_CR0), cr4 = fake_get(c, VMCS_HOST_CR4);
	uint64_t f0 = fake_get_msr(c, IA32_VMX_CR0_FIXED0);
	uint64_t f4 = fake_get_msr(c, IA32_VMX_CR4_FIXED0);

	return (cr0 & f0) == f0 && (cr4 & f4) == f4 && cr4 & CR4_PAE;
}

static bool h_segments(struct hw_cpu *c)
{
	static const uint32_t sel[] = {VMCS_HOST_ES_SELECTOR, VMCS_HOST_CS_SELECTOR,
				       VMCS_HOST_SS_SELECTOR, VMCS_HOST_DS_SELECTOR,
				       VMCS_HOST_FS_SELECTOR, VMCS_HOST_GS_SELECTOR,
				       VMCS_HOST_TR_SELECTOR};

	for (size_t i = 0; i < VMX_ARRAY_SIZE(sel); i++) {
		if (fake_get(c, sel[i]) & 7)
			return false;
	}
	return fake_get(c, VMCS_HOST_CS_SELECTOR) != 0 && fake_get(c, VMCS_HOST_TR_SELECTOR) != 0;
}

static bool h_64(struct hw_cpu *c)
{
	uint64_t efer = fake_get(c, VMCS_HOST_EFER);

	return fake_get(c, VMCS_EXIT_CONTROLS) & VMEXIT_HOST_64 && efer & EFER_LMA &&
	       efer & EFER_LME && !(fake_get(c, VMCS_EXIT_CONTROLS) & VMEXIT_ACK_INTERRUPT);
}

/* Every field is what this processor's registers are now. */
static bool h_current(struct hw_cpu *c)
{
	return fake_get(c, VMCS_HOST_CR3) == c->host.cr3 &&
	       fake_get(c, VMCS_HOST_TR_BASE) == c->host.tr_base &&
	       fake_get(c, VMCS_HOST_GS_BASE) == c->host.gs_base &&
	       fake_get(c, VMCS_HOST_PAT) == c->host.pat;
}

static const struct entry_check host_checks[] = {
	{"host-cr", h_cr},
	{"host-segments", h_segments},
	{"host-64", h_64},
	{"host-current", h_current},
};

static bool g_cr(struct hw_cpu *c)
{
	uint64_t cr0 = fake_get(c, VMCS_GUEST_CR0), cr4 = fake_get(c, VMCS_GUEST_CR4);
	bool free = fake_get(c, VMCS_PROC_CONTROLS_2) & PROC2_UNRESTRICTED;
	uint64_t f0 = fake_get_msr(c, IA32_VMX_CR0_FIXED0) & ~(free ? CR0_PE | CR0_PG : 0);
	uint64_t f4 = fake_get_msr(c, IA32_VMX_CR4_FIXED0);

	if ((cr0 & f0) != f0 || (cr4 & f4) != f4 || (cr0 & CR0_PG && !(cr0 & CR0_PE)))
		return false;
	return !(cr4 & ~fake_get_msr(c, IA32_VMX_CR4_FIXED1));
}

static bool g_ia32e(struct hw_cpu *c)
{
	bool ia32e = fake_get(c, VMCS_ENTRY_CONTROLS) & VMENTRY_IA32E_GUEST;
	uint64_t efer = fake_get(c, VMCS_GUEST_EFER), cr0 = fake_get(c, VMCS_GUEST_CR0);

	if (ia32e != !!(efer & EFER_LMA))
		return false;
	if (cr0 & CR0_PG && !!(efer & EFER_LMA) != !!(efer & EFER_LME))
		return false;
	return !ia32e || (cr0 & CR0_PG && fake_get(c, VMCS_GUEST_CR4) & CR4_PAE);
}

static bool g_rflags(struct hw_cpu *c)
{
	uint64_t f = fake_get(c, VMCS_GUEST_RFLAGS);
	uint32_t info = (uint32_t)fake_get(c, VMCS_ENTRY_INTR_INFO);

	if (!(f & RFLAGS_FIXED1) || f & RFLAGS_RESERVED)
		return false;
	return !(info & INTR_VALID && (info & INTR_TYPE_MASK) == INTR_TYPE_EXTERNAL) ||
	       f & RFLAGS_IF;
}

static bool g_interruptibility(struct hw_cpu *c)
{
	uint64_t i = fake_get(c, VMCS_GUEST_INTERRUPTIBILITY);
	uint32_t info = (uint32_t)fake_get(c, VMCS_ENTRY_INTR_INFO);
	uint32_t type = info & INTR_TYPE_MASK;
	bool nmi = info & INTR_VALID && type == INTR_TYPE_NMI;
	bool external = info & INTR_VALID && type == INTR_TYPE_EXTERNAL;

	if (i & ~UINT64_C(0xb) || (i & 3) == 3)
		return false;
	if (i & BLOCKED_BY_STI && !(fake_get(c, VMCS_GUEST_RFLAGS) & RFLAGS_IF))
		return false;
	if (nmi && i & (BLOCKED_BY_MOV_SS | BLOCKED_BY_NMI))
		return false;
	return !external || !(i & 3);
}

static bool g_activity(struct hw_cpu *c)
{
	uint64_t a = fake_get(c, VMCS_GUEST_ACTIVITY);

	/* core never lets the processor wait in the guest. */
	return a == ACTIVITY_ACTIVE;
}

static bool g_pending(struct hw_cpu *c)
{
	uint64_t p = fake_get(c, VMCS_GUEST_PENDING_DEBUG);
	bool tf = fake_get(c, VMCS_GUEST_RFLAGS) & RFLAGS_TF;

	if (!(fake_get(c, VMCS_GUEST_INTERRUPTIBILITY) & 3) &&
	    fake_get(c, VMCS_GUEST_ACTIVITY) != ACTIVITY_HLT)
		return true;
	return tf == !!(p & PENDING_DBG_BS);
}

static bool g_link(struct hw_cpu *c)
{
	return fake_get(c, VMCS_VMCS_LINK_POINTER) == UINT64_MAX;
}

static const struct entry_check guest_checks[] = {
	{"guest-cr", g_cr},
	{"guest-ia32e", g_ia32e},
	{"guest-rflags", g_rflags},
	{"guest-interruptibility", g_interruptibility},
	{"guest-activity", g_activity},
	{"guest-pending-debug", g_pending},
	{"guest-link-pointer", g_link},
};

static bool all_pass(struct hw_cpu *c, const struct entry_check *checks, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (checks[i].ok(c))
			continue;
		c->machine->refused_by = checks[i].name;
		c->machine->entry_errors++;
		return false;
	}
	return true;
}

/* --- MSR lists, entry ---------------------------------------------------------------------- */

static void move_msrs(struct hw_cpu *c, uint32_t address_field, uint32_t count_field, bool load)
{
	uint64_t at = fake_get(c, address_field), count = fake_get(c, count_field);
	struct vmx_msr_entry *list = plat_hpa_ptr(c->machine->plat, hpa(at));

	for (uint64_t i = 0; i < count; i++) {
		if (load)
			fake_set_msr(c, list[i].index, list[i].value);
		else
			list[i].value = fake_get_msr(c, list[i].index);
	}
}

static void note_event(struct hw_cpu *c)
{
	uint32_t info = (uint32_t)fake_get(c, VMCS_ENTRY_INTR_INFO);

	c->last_event = 0;
	if (!(info & INTR_VALID))
		return;
	c->injected++;
	c->last_event = info;
	c->last_event_error = (uint32_t)fake_get(c, VMCS_ENTRY_ERROR_CODE);
	c->last_event_length = (uint32_t)fake_get(c, VMCS_ENTRY_INSTRUCTION_LENGTH);
}

/* What every exit does, whatever its reason. */
static void leave_guest(struct hw_cpu *c)
{
	uint64_t entry = fake_get(c, VMCS_ENTRY_CONTROLS) & ~(uint64_t)VMENTRY_IA32E_GUEST;

	if (fake_get(c, VMCS_GUEST_EFER) & EFER_LMA)
		entry |= VMENTRY_IA32E_GUEST;
	fake_set(c, VMCS_ENTRY_CONTROLS, entry);
	fake_set(c, VMCS_ENTRY_INTR_INFO,
		 fake_get(c, VMCS_ENTRY_INTR_INFO) & ~(uint64_t)INTR_VALID);
	move_msrs(c, VMCS_EXIT_MSR_STORE_ADDRESS, VMCS_EXIT_MSR_STORE_COUNT, false);
	move_msrs(c, VMCS_EXIT_MSR_LOAD_ADDRESS, VMCS_EXIT_MSR_LOAD_COUNT, true);
}

enum hw_result hw_enter(struct hw_cpu *c, struct hw_gpregs *regs, bool launch)
{
	struct fake_vmcs *v = vmcs_at(c, c->current);

	if (!c->vmxon)
		return HW_FAULT_UD;
	if (v == NULL)
		return HW_FAIL_INVALID;
	if (launch && v->launched)
		return fail(c, VMERR_VMLAUNCH_NOT_CLEAR);
	if (!launch && !v->launched)
		return fail(c, VMERR_VMRESUME_NOT_LAUNCHED);
	if (!all_pass(c, control_checks, VMX_ARRAY_SIZE(control_checks)))
		return fail(c, VMERR_ENTRY_CONTROLS);
	if (!all_pass(c, host_checks, VMX_ARRAY_SIZE(host_checks)))
		return fail(c, VMERR_ENTRY_HOST_STATE);
	if (!all_pass(c, guest_checks, VMX_ARRAY_SIZE(guest_checks))) {
		fake_exit(c, 33 | EXIT_REASON_ENTRY_FAILURE, 0, 0);
		move_msrs(c, VMCS_EXIT_MSR_LOAD_ADDRESS, VMCS_EXIT_MSR_LOAD_COUNT, true);
		return HW_SUCCEED;
	}
	note_event(c);
	move_msrs(c, VMCS_ENTRY_MSR_LOAD_ADDRESS, VMCS_ENTRY_MSR_LOAD_COUNT, true);
	use_tlb(c, v);
	v->launched = 1;
	c->last_launch = launch;
	c->entries++;
	fake_set(c, VMCS_IDT_VECTORING_INFO, 0);
	fake_set(c, VMCS_EXIT_INTR_INFO, 0);
	fake_exit(c, 1, 0, 0);
	if (c->machine->guest != NULL)
		c->machine->guest(c, regs);
	leave_guest(c);
	return HW_SUCCEED;
}
