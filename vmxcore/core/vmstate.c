// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Between a vCPU's registers and its VMCS: which field holds which member, by
 * group, and the host's and control fields.
 */
#include "core/caps.h"
#include "core/msr.h"
#include "core/vcpu_internal.h"
#include "core/vmcs.h"

/* --- access ------------------------------------------------------------------------------ */

void vcpu_note_error(struct core_vcpu *v, uint32_t field, enum hw_result r)
{
	uint64_t number = 0;

	if (v->vmcs_error != 0)
		return;
	if (r == HW_FAIL_VALID)
		(void)hw_vmread(v->hw, VMCS_INSTRUCTION_ERROR, &number);
	v->vmcs_error = (uint32_t)number + 1;
	v->vmcs_error_field = field;
}

void vcpu_set_control(struct core_vcpu *v, uint32_t field, uint32_t *current, uint32_t value)
{
	if (*current == value)
		return;
	vcpu_vmwrite(v, field, value);
	*current = value;
}

/* --- members that are fields --------------------------------------------------------------- */

#define MEMBER_BYTES(type, m) ((uint8_t)sizeof(((type *)0)->m))
#define ROW(type, field, m)                                            \
	{                                                              \
		VMCS_##field, offsetof(type, m), MEMBER_BYTES(type, m) \
	}
#define REG(field, m) ROW(struct core_regs, field, m)
#define HOST(field, m) ROW(struct hw_host_state, field, m)

static const struct hw_field rip_rows[] = {REG(GUEST_RIP, rip)};
static const struct hw_field rsp_rows[] = {REG(GUEST_RSP, rsp)};
static const struct hw_field rflags_rows[] = {REG(GUEST_RFLAGS, rflags)};
static const struct hw_field intr_rows[] = {REG(GUEST_INTERRUPTIBILITY, interruptibility)};
static const struct hw_field activity_rows[] = {REG(GUEST_ACTIVITY, activity)};
static const struct hw_field efer_rows[] = {REG(GUEST_EFER, efer)};
static const struct hw_field dr7_rows[] = {REG(GUEST_DR7, dr7)};
static const struct hw_field pat_rows[] = {REG(GUEST_PAT, pat)};

#define SEGMENT(name)                                              \
	REG(GUEST_##name##_SELECTOR, seg[CORE_##name].sel),        \
		REG(GUEST_##name##_BASE, seg[CORE_##name].base),   \
		REG(GUEST_##name##_LIMIT, seg[CORE_##name].limit), \
		REG(GUEST_##name##_AR, seg[CORE_##name].ar)

static const struct hw_field segment_rows[] = {
	SEGMENT(ES), SEGMENT(CS), SEGMENT(SS),	 SEGMENT(DS),
	SEGMENT(FS), SEGMENT(GS), SEGMENT(LDTR), SEGMENT(TR),
};

static const struct hw_field table_rows[] = {
	REG(GUEST_GDTR_BASE, gdtr_base),
	REG(GUEST_IDTR_BASE, idtr_base),
	REG(GUEST_GDTR_LIMIT, gdtr_limit),
	REG(GUEST_IDTR_LIMIT, idtr_limit),
};

static const struct hw_field sysenter_rows[] = {
	REG(GUEST_SYSENTER_CS, sysenter_cs),
	REG(GUEST_SYSENTER_ESP, sysenter_esp),
	REG(GUEST_SYSENTER_EIP, sysenter_eip),
};

static const struct hw_field host_rows[] = {
	HOST(HOST_CR3, cr3), /* the rows most likely to differ come first */
	HOST(HOST_CR4, cr4),
	HOST(HOST_FS_BASE, fs_base),
	HOST(HOST_GS_BASE, gs_base),
	HOST(HOST_CR0, cr0),
	HOST(HOST_ES_SELECTOR, es),
	HOST(HOST_CS_SELECTOR, cs),
	HOST(HOST_SS_SELECTOR, ss),
	HOST(HOST_DS_SELECTOR, ds),
	HOST(HOST_FS_SELECTOR, fs),
	HOST(HOST_GS_SELECTOR, gs),
	HOST(HOST_TR_SELECTOR, tr),
	HOST(HOST_TR_BASE, tr_base),
	HOST(HOST_GDTR_BASE, gdtr_base),
	HOST(HOST_IDTR_BASE, idtr_base),
	HOST(HOST_SYSENTER_CS, sysenter_cs),
	HOST(HOST_SYSENTER_ESP, sysenter_esp),
	HOST(HOST_SYSENTER_EIP, sysenter_eip),
	HOST(HOST_EFER, efer),
	HOST(HOST_PAT, pat), /* last: left out where exits don't load it */
};

/* By size, for memcpy() of a size that the compiler doesn't know is a call. */
static uint64_t get_member(const void *base, const struct hw_field *row)
{
	const char *at = (const char *)base + row->offset;
	uint64_t value = 0;

	if (row->bytes == 8)
		memcpy(&value, at, 8);
	else if (row->bytes == 4)
		memcpy(&value, at, 4);
	else
		memcpy(&value, at, 2);
	return value;
}

static void read_rows(struct core_vcpu *v, const struct hw_field *rows, size_t count)
{
	size_t done;
	enum hw_result r = hw_vmread_fields(v->hw, rows, count, &v->regs, &done);

	if (r != HW_SUCCEED)
		vcpu_note_error(v, rows[done].field, r);
}

static void write_rows(struct core_vcpu *v, const struct hw_field *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		vcpu_vmwrite(v, rows[i].field, get_member(&v->regs, &rows[i]));
}

/* --- groups that are more than rows -------------------------------------------------------- */

uint64_t vm_cr0_fixed1(const struct core_vm *vm)
{
	const struct core_caps *caps = &vm->core->caps;

	/* "Unrestricted guest" frees PE and PG. */
	return caps->cr0_fixed0 & ~(caps->unrestricted ? CR0_PE | CR0_PG : 0);
}

/* What the guest sees: its own bits from the register, the rest from the shadow. */
static void read_cr(struct core_vcpu *v)
{
	const struct core_vm *vm = v->vm;
	struct core_regs *r = &v->regs;

	/* The shadows hold what was last written: the cached value's host-owned bits. */
	r->cr0 = (vcpu_vmread(v, VMCS_GUEST_CR0) & vm->cr0_owned) | (r->cr0 & ~vm->cr0_owned);
	r->cr4 = (vcpu_vmread(v, VMCS_GUEST_CR4) & vm->cr4_owned) | (r->cr4 & ~vm->cr4_owned);
	r->cr3 = vcpu_vmread(v, VMCS_GUEST_CR3);
}

static void write_cr(struct core_vcpu *v)
{
	const struct core_caps *caps = vcpu_caps(v);
	const struct core_regs *r = &v->regs;
	uint64_t cr0 = (r->cr0 & ~(CR0_CD | CR0_NW)) | vm_cr0_fixed1(v->vm);
	uint64_t cr4 = (r->cr4 & ~CR4_MCE) | caps->cr4_fixed0;

	/* A machine check that hits the guest must be the host's, whatever the guest set. */
	cr4 |= v->host.cr4 & CR4_MCE;
	vcpu_vmwrite(v, VMCS_GUEST_CR0, cr0 & caps->cr0_fixed1);
	vcpu_vmwrite(v, VMCS_GUEST_CR4, cr4 & caps->cr4_fixed1);
	vcpu_vmwrite(v, VMCS_GUEST_CR3, r->cr3);
	vcpu_vmwrite(v, VMCS_CR0_SHADOW, r->cr0);
	vcpu_vmwrite(v, VMCS_CR4_SHADOW, r->cr4);
}

/*
 * "IA-32e mode guest" must equal EFER.LMA. An exit stores LMA there where
 * unrestricted guests exist ("Saving Control Registers, Debug Registers, and
 * MSRs"), so the field isn't cached.
 */
static void write_efer_group(struct core_vcpu *v)
{
	uint32_t entry = v->vm->controls.entry;

	if (v->regs.efer & EFER_LMA)
		entry |= VMENTRY_IA32E_GUEST;
	vcpu_vmwrite(v, VMCS_ENTRY_CONTROLS, entry);
	write_rows(v, efer_rows, VMX_ARRAY_SIZE(efer_rows));
}

static const uint16_t msr_members[MSR_SWITCHED_MAX] = {
	offsetof(struct core_regs, star),	    offsetof(struct core_regs, lstar),
	offsetof(struct core_regs, cstar),	    offsetof(struct core_regs, fmask),
	offsetof(struct core_regs, kernel_gs_base), offsetof(struct core_regs, tsc_aux),
};

static void read_msrs(struct core_vcpu *v)
{
	for (unsigned i = 0; i < msr_switched_count(vcpu_caps(v)); i++)
		memcpy((char *)&v->regs + msr_members[i], &v->msrs[i].value, sizeof(uint64_t));
}

static void write_msrs(struct core_vcpu *v)
{
	for (unsigned i = 0; i < MSR_SWITCHED_MAX; i++)
		memcpy(&v->msrs[i].value, (char *)&v->regs + msr_members[i], sizeof(uint64_t));
}

static bool pat_is_switched(const struct core_vcpu *v)
{
	return v->vm->controls.entry & VMENTRY_LOAD_PAT;
}

static void read_pat_group(struct core_vcpu *v)
{
	if (pat_is_switched(v))
		read_rows(v, pat_rows, VMX_ARRAY_SIZE(pat_rows));
}

static void write_pat_group(struct core_vcpu *v)
{
	if (pat_is_switched(v))
		write_rows(v, pat_rows, VMX_ARRAY_SIZE(pat_rows));
}

/* --- groups -------------------------------------------------------------------------------- */

struct reg_group_row {
	uint32_t group;
	uint8_t count;
	const struct hw_field *rows;
	/* Where rows are not all there is to it. */
	void (*read)(struct core_vcpu *v);
	void (*write)(struct core_vcpu *v);
};

#define ROWS(group, r)                                  \
	{                                               \
		group, VMX_ARRAY_SIZE(r), r, NULL, NULL \
	}

static const struct reg_group_row groups[] = {
	ROWS(REG_RIP, rip_rows),
	ROWS(REG_RSP, rsp_rows),
	ROWS(REG_RFLAGS, rflags_rows),
	ROWS(REG_INTERRUPTIBILITY, intr_rows),
	ROWS(REG_ACTIVITY, activity_rows),
	{REG_CR, 0, NULL, read_cr, write_cr},
	{REG_EFER, VMX_ARRAY_SIZE(efer_rows), efer_rows, NULL, write_efer_group},
	ROWS(REG_DR7, dr7_rows),
	ROWS(REG_SEGMENTS, segment_rows),
	ROWS(REG_TABLES, table_rows),
	ROWS(REG_SYSENTER, sysenter_rows),
	{REG_PAT, 0, NULL, read_pat_group, write_pat_group},
	{REG_MSRS, 0, NULL, read_msrs, write_msrs},
};

void vcpu_fetch(struct core_vcpu *v, uint32_t missing)
{
	for (size_t i = 0; i < VMX_ARRAY_SIZE(groups); i++) {
		const struct reg_group_row *g = &groups[i];

		if (!(missing & g->group))
			continue;
		if (g->read != NULL)
			g->read(v);
		else
			read_rows(v, g->rows, g->count);
	}
	v->have |= missing;
	if (missing & REG_RSP)
		v->regs.gp.r[HW_RSP] = v->regs.rsp;
}

int vcpu_read_pdptes(struct core_vcpu *v, uint64_t cr3, uint64_t ret[4])
{
	/* "PDPTE Registers": bits 2:1, 8:5 and those beyond MAXPHYADDR are reserved. */
	uint64_t reserved = UINT64_C(0x1e6) | ~(VMX_BIT(plat_maxphyaddr(v->vm->core->plat)) - 1);

	/* The table is 32 bytes, on a 32-byte boundary below 4 GiB. */
	if (core_guest_read(v->vm->as, gpa(cr3 & UINT64_C(0xffffffe0)), ret, 32) < 0)
		return -EFAULT;
	for (unsigned i = 0; i < 4; i++) {
		if (ret[i] & PTE_P && ret[i] & reserved)
			return -EINVAL;
	}
	return 0;
}

/*
 * Under EPT, entry takes PDPTEs from the VMCS ("Loading Page-Directory-Pointer-
 * Table Entries"). Needed after software changed the paging mode or CR3. A
 * malformed table fails the entry, as the manual has it; one that isn't in memory
 * leaves no page present, so the guest faults at its first fetch.
 */
static void write_pdptes(struct core_vcpu *v)
{
	static const uint32_t fields[4] = {VMCS_GUEST_PDPTE0, VMCS_GUEST_PDPTE1, VMCS_GUEST_PDPTE2,
					   VMCS_GUEST_PDPTE3};
	uint64_t pdptes[4];

	v->load_pdptes = false;
	vcpu_need(v, REG_CR | REG_EFER);
	if (!paging_is_pae(v->regs.cr0, v->regs.cr4, v->regs.efer))
		return;
	if (vcpu_read_pdptes(v, v->regs.cr3, pdptes) == -EFAULT)
		memset(pdptes, 0, sizeof(pdptes));
	for (unsigned i = 0; i < 4; i++)
		vcpu_vmwrite(v, fields[i], pdptes[i]);
}

/*
 * A single-step trap that is due, and the rule between BS and TF where something
 * delays debug exceptions ("Checks on Guest Non-Register State").
 */
static void write_pending_debug(struct core_vcpu *v)
{
	bool delayed, step;
	uint64_t pending;

	vcpu_need(v, REG_RFLAGS | REG_INTERRUPTIBILITY | REG_ACTIVITY);
	delayed = v->regs.interruptibility & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS) ||
		  v->regs.activity == ACTIVITY_HLT;
	if (!delayed && !v->step_trap)
		return;
	step = delayed ? v->regs.rflags & RFLAGS_TF : true;
	pending = vcpu_vmread(v, VMCS_GUEST_PENDING_DEBUG) & ~PENDING_DBG_BS;
	vcpu_vmwrite(v, VMCS_GUEST_PENDING_DEBUG, pending | (step ? PENDING_DBG_BS : 0));
	v->step_trap = false;
}

void vcpu_flush_regs(struct core_vcpu *v)
{
	const uint32_t debug = REG_RFLAGS | REG_INTERRUPTIBILITY | REG_ACTIVITY;

	if (v->load_pdptes)
		write_pdptes(v);
	if (v->step_trap || v->dirty & debug)
		write_pending_debug(v);
	for (size_t i = 0; i < VMX_ARRAY_SIZE(groups) && v->dirty != 0; i++) {
		const struct reg_group_row *g = &groups[i];

		if (!(v->dirty & g->group))
			continue;
		v->dirty &= ~g->group;
		if (g->write != NULL)
			g->write(v);
		else
			write_rows(v, g->rows, g->count);
	}
}

/* --- host state ---------------------------------------------------------------------------- */

void vcpu_write_host_state(struct core_vcpu *v, bool all)
{
	size_t count = VMX_ARRAY_SIZE(host_rows);
	struct hw_host_state now;
	uint64_t mce;

	if (!(v->vm->controls.exit & VMEXIT_LOAD_PAT))
		count--;
	memset(&now, 0, sizeof(now));
	hw_read_host_state(v->hw, &now);
	/* The usual case, once an entry: nothing has changed. Both were zeroed whole.
	 * NOLINTNEXTLINE */
	if (!all && memcmp(&now, &v->host, sizeof(now)) == 0)
		return;
	mce = (now.cr4 ^ v->host.cr4) & CR4_MCE;
	for (size_t i = 0; i < count; i++) {
		uint64_t value = get_member(&now, &host_rows[i]);

		if (all || value != get_member(&v->host, &host_rows[i]))
			vcpu_vmwrite(v, host_rows[i].field, value);
	}
	memcpy(&v->host, &now, sizeof(now)); /* padding too: they are compared as bytes */
	/* The guest's CR4 borrows the host's MCE. */
	if (mce != 0) {
		vcpu_need(v, REG_CR);
		v->dirty |= REG_CR;
	}
}

/* --- controls ------------------------------------------------------------------------------ */

/*
 * #MC is the host's business. #DB and #AC are taken and given back, for a guest can
 * make the processor deliver them for ever without an instruction boundary at which
 * an interrupt would get through.
 */
#define EXCEPTIONS ((1u << VECTOR_DB) | (1u << VECTOR_AC) | (1u << VECTOR_MC))

void vcpu_write_controls(struct core_vcpu *v)
{
	const struct core_vm *vm = v->vm;
	const struct vm_controls *c = &vm->controls;
	unsigned msrs = msr_switched_count(vcpu_caps(v));
	const struct {
		uint32_t field;
		uint64_t value;
	} rows[] = {
		{VMCS_PIN_CONTROLS, c->pin},
		{VMCS_PROC_CONTROLS, c->proc},
		{VMCS_PROC_CONTROLS_2, c->proc2},
		{VMCS_EXIT_CONTROLS, c->exit},
		{VMCS_ENTRY_CONTROLS, c->entry},
		{VMCS_EXCEPTION_BITMAP, EXCEPTIONS},
		{VMCS_PAGE_FAULT_MASK, 0},
		{VMCS_PAGE_FAULT_MATCH, 0},
		{VMCS_CR3_TARGET_COUNT, 0},
		{VMCS_MSR_BITMAP, vm->core->msr_bitmap_hpa.v},
		{VMCS_ENTRY_MSR_LOAD_ADDRESS, v->msrs_hpa.v},
		{VMCS_ENTRY_MSR_LOAD_COUNT, msrs},
		{VMCS_EXIT_MSR_STORE_ADDRESS, v->msrs_hpa.v},
		{VMCS_EXIT_MSR_STORE_COUNT, msrs},
		{VMCS_EXIT_MSR_LOAD_COUNT, msrs},
		{VMCS_ENTRY_INTR_INFO, 0},
		{VMCS_EPT_POINTER, core_as_eptp(vm->as)},
		{VMCS_VMCS_LINK_POINTER, VMCS_LINK_NONE},
		{VMCS_CR0_MASK, ~vm->cr0_owned},
		{VMCS_CR4_MASK, ~vm->cr4_owned},
		{VMCS_GUEST_DEBUGCTL, 0},
		{VMCS_GUEST_PENDING_DEBUG, 0},
	};

	for (size_t i = 0; i < VMX_ARRAY_SIZE(rows); i++)
		vcpu_vmwrite(v, rows[i].field, rows[i].value);
	v->pin = c->pin;
	v->proc = c->proc;
	v->exit = c->exit;
}
