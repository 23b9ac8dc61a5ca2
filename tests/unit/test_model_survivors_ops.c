/* SPDX-License-Identifier: MIT */
/*
 * The operations, as instructions of a guest or calls of hw.h: one row each, with the
 * rule that says what they invalidate. Those that fault, fail or exit invalidate nothing.
 */
#include "unit/test_model_survivors.h"

/* --- guest operations ----------------------------------------------------------- */

static void special_step(struct step *ret, enum x86_special what, struct x86_special_info info)
{
	*ret = (struct step){.kind = STEP_SPECIAL, .what = what, .info = info};
}

static void step_invlpg(struct scene *s, const struct op *op, struct step *ret)
{
	(void)op;
	special_step(ret, X86_SP_INVLPG, (struct x86_special_info){.linear = s->linear});
}

/* operand: the type */
static void step_invpcid(struct scene *s, const struct op *op, struct step *ret)
{
	if (!(op->cr4 & CR4_PCIDE) && !op->faults)
		s->named.pcid = 0;
	else if (op->faults && s->named.pcid == 0)
		s->named.pcid = 3;
	special_step(ret, X86_SP_INVPCID,
		     (struct x86_special_info){.type = (uint32_t)op->operand,
					       .desc = {s->named.pcid, s->linear}});
}

/* operand: bits besides the root and, with PCIDE=1, the PCID */
static void step_mov_cr3(struct scene *s, const struct op *op, struct step *ret)
{
	uint64_t root = rig_get(&s->r, VMCS_GUEST_CR3) & PTE_ADDR_MASK;
	uint64_t pcid = op->cr4 & CR4_PCIDE ? s->named.pcid : 0;

	special_step(ret, X86_SP_CR_WRITE,
		     (struct x86_special_info){.reg = 3, .value = root | pcid | op->operand});
}

/* operand: the bits that change */
static void step_mov_cr4(struct scene *s, const struct op *op, struct step *ret)
{
	(void)s;
	special_step(
		ret, X86_SP_CR_WRITE,
		(struct x86_special_info){.reg = 4, .value = (op->cr4 | CR4_VMXE) ^ op->operand});
}

static void step_mov_cr0(struct scene *s, const struct op *op, struct step *ret)
{
	special_step(
		ret, X86_SP_CR_WRITE,
		(struct x86_special_info){.value = rig_get(&s->r, VMCS_GUEST_CR0) ^ op->operand});
}

/* operand: the special */
static void step_plain(struct scene *s, const struct op *op, struct step *ret)
{
	(void)s;
	special_step(ret, (enum x86_special)op->operand, (struct x86_special_info){0});
}

static void step_write(struct scene *s, const struct op *op, struct step *ret)
{
	if (op->operand)
		s->linear = op->operand + scene_random(s) % VMX_PAGE_SIZE;
	*ret = (struct step){.kind = STEP_WRITE, .linear = s->linear};
}

static void step_fetch(struct scene *s, const struct op *op, struct step *ret)
{
	step_write(s, op, ret);
	ret->kind = STEP_FETCH;
}

static void step_user_read(struct scene *s, const struct op *op, struct step *ret)
{
	step_write(s, op, ret);
	ret->kind = STEP_READ;
	ret->who = X86_USER;
}

/* A write to a page that the fourth EPT does not give to be written. */
static void step_violate(struct scene *s, const struct op *op, struct step *ret)
{
	step_write(s, op, ret);
	s->gpa = TARGET + (s->linear - HERE);
}

static void step_violate_table(struct scene *s, const struct op *op, struct step *ret)
{
	step_write(s, op, ret);
	s->gpa = TARGET_TABLE_ABSENT; /* of the first entry */
}

/* --- what some of them need ----------------------------------------------------- */

/* A cached translation of the address with these permissions: the first that is found. */
static void put_current(struct scene *s, enum tlb_array_id id, unsigned flags)
{
	const struct tlb_entry e = {
		.linear = s->linear & VMX_PAGE_MASK,
		.gpa = s->gpa & VMX_PAGE_MASK,
		.host = s->r.ram_hpa + (s->gpa & VMX_PAGE_MASK),
		.space = s->now.eptp ? (s->now.eptp & EPT_ADDR_MASK) | TLB_SPACE_EPT : 0,
		.owner = &s->r.account,
		.vpid = s->now.vpid,
		.pcid = s->now.pcid,
		.shift = 12,
		.guest_shift = 12,
		.flags = (uint8_t)flags,
	};

	s->gpa = e.gpa | (s->linear & ~VMX_PAGE_MASK);
	assert_true(tlb_insert(&s->r.cpu->tlb, id, &e, 0) >= 0);
}

static void put_read_only(struct scene *s)
{
	put_current(s, TLB_D1_4K, TLB_EPT_RWX);
}

static void put_no_execute(struct scene *s)
{
	put_current(s, TLB_I1_4K, TLB_EPT_RWX | TLB_GUEST_XD);
}

static void put_ept_read_only(struct scene *s)
{
	put_current(s, TLB_D1_4K, TLB_GUEST_W | TLB_EPT_R | TLB_DIRTY);
}

static void put_ept_no_execute(struct scene *s)
{
	put_current(s, TLB_I1_4K, TLB_GUEST_W | TLB_EPT_R | TLB_EPT_W | TLB_DIRTY);
}

static void leave_vmx(struct scene *s)
{
	assert_int_equal(hw_vmxoff(s->r.cpu), HW_SUCCEED);
}

/* --- a VMM's operations --------------------------------------------------------- */

/* operand: the type */
static void run_invvpid(struct scene *s, const struct op *op)
{
	struct hw_invvpid_desc d;

	if (s->named.vpid == 0 && op->operand != HW_INVVPID_ALL && !op->faults)
		s->named.vpid = 2;
	d = (struct hw_invvpid_desc){op->faults ? 0 : s->named.vpid, s->linear};
	assert_int_equal(hw_invvpid(s->r.cpu, op->operand, &d),
			 op->faults ? HW_FAIL_VALID : HW_SUCCEED);
}

static void run_invept(struct scene *s, const struct op *op)
{
	struct hw_invept_desc d;

	if (s->named.eptp == 0)
		s->named.eptp = PICK(s, s->eptp);
	/* Walk length 3 is what no entry accepts. */
	d = (struct hw_invept_desc){s->named.eptp ^ (op->faults ? 1u << EPTP_WALK_SHIFT : 0), 0};
	assert_int_equal(hw_invept(s->r.cpu, op->operand, &d),
			 op->faults ? HW_FAIL_VALID : HW_SUCCEED);
}

static void run_vmxoff(struct scene *s, const struct op *op)
{
	(void)op;
	leave_vmx(s);
}

static void run_vmxon(struct scene *s, const struct op *op)
{
	(void)op;
	assert_int_equal(hw_vmxon(s->r.cpu, hpa(s->r.cpu->vmxon_region)), HW_SUCCEED);
}

static void run_vmcs(struct scene *s, const struct op *op)
{
	(void)op;
	assert_int_equal(hw_vmclear(s->r.cpu, hpa(s->vmcs)), HW_SUCCEED);
	assert_int_equal(hw_vmptrld(s->r.cpu, hpa(s->vmcs)), HW_SUCCEED);
}

/* VMfail: the checks of the controls come before anything is touched. */
static void run_failing_entry(struct scene *s, const struct op *op)
{
	uint64_t pin = rig_get(&s->r, VMCS_PIN_CONTROLS);

	(void)op;
	rig_set(&s->r, VMCS_PIN_CONTROLS, 0);
	assert_int_equal(hw_enter(s->r.cpu, &s->r.regs, true), HW_FAIL_VALID);
	rig_set(&s->r, VMCS_PIN_CONTROLS, pin);
}

/* --- the table ------------------------------------------------------------------ */

#define L64 CR4_PAE
#define L64G (CR4_PAE | CR4_PGE)
#define L64P (CR4_PAE | CR4_PGE | CR4_PCIDE)

/* clang-format off */
#define CR4_OP(title, r, m, from, change) \
	.name = title, .rule = r, .mode = m, .cr4 = from, .operand = change, .step = step_mov_cr4
#define CR3_OP(title, r, from, bits) \
	.name = title, .rule = r, .cr4 = from, .operand = bits, .step = step_mov_cr3
#define INVPCID_OP(title, r, from, type) \
	.name = title, .rule = r, .cr4 = from, .operand = type, .step = step_invpcid
#define ROOT_OP(title, r, function, type) \
	.name = title, .rule = r, .where = IN_ROOT, .cr4 = L64P, .run = function, .operand = type
#define FAULT_OP(title, make, put) \
	.name = title, .rule = R_PAGE_FAULT, .cr4 = L64P, .step = make, .prepare = put, .faults = true
#define EPT_OP(title, r, make, put, how) \
	.name = title, .rule = r, .cr4 = L64P, .step = make, .prepare = put, .exits = BY(how), .needs_ept = true

const struct op survivor_ops[] = {
	{.name = "VM entry", .where = ENTRY, .cr4 = L64P},
	{.name = "VM exit", .where = EXIT, .cr4 = L64P},
	{.name = "VM entry and exit of a legacy guest", .where = EXIT, .mode = LEGACY},

	{ROOT_OP("VM entry that fails", R_NOTHING, run_failing_entry, 0)},
	{ROOT_OP("VMXOFF", R_NOTHING, run_vmxoff, 0)},
	{ROOT_OP("VMXON", R_NOTHING, run_vmxon, 0), .prepare = leave_vmx},
	{ROOT_OP("VMCLEAR, VMPTRLD", R_NOTHING, run_vmcs, 0)},
	{ROOT_OP("INVVPID 0", R_INVVPID_0, run_invvpid, HW_INVVPID_ADDRESS)},
	{ROOT_OP("INVVPID 1", R_INVVPID_1, run_invvpid, HW_INVVPID_SINGLE)},
	{ROOT_OP("INVVPID 2", R_INVVPID_2, run_invvpid, HW_INVVPID_ALL)},
	{ROOT_OP("INVVPID 3", R_INVVPID_3, run_invvpid, HW_INVVPID_SINGLE_KEEP_GLOBAL)},
	{ROOT_OP("INVVPID 1 of VPID 0", R_NOTHING, run_invvpid, HW_INVVPID_SINGLE), .faults = true},
	{ROOT_OP("INVVPID 4", R_NOTHING, run_invvpid, 4), .faults = true},
	{ROOT_OP("INVEPT 1", R_INVEPT_1, run_invept, HW_INVEPT_SINGLE)},
	{ROOT_OP("INVEPT 2", R_INVEPT_2, run_invept, HW_INVEPT_ALL)},
	{ROOT_OP("INVEPT 1 of a bad EPTP", R_NOTHING, run_invept, HW_INVEPT_SINGLE), .faults = true},

	{.name = "INVLPG", .rule = R_INVLPG, .cr4 = L64P, .step = step_invlpg, .same_tags = true},
	{.name = "INVLPG, PCIDE=0", .rule = R_INVLPG, .cr4 = L64, .step = step_invlpg, .same_tags = true},
	{.name = "INVLPG, legacy", .rule = R_INVLPG, .mode = LEGACY, .step = step_invlpg},
	{.name = "INVLPG, exiting", .cr4 = L64P, .step = step_invlpg, .proc = PROC_INVLPG, .exits = BY(EXIT_INVLPG)},

	{INVPCID_OP("INVPCID 0", R_INVPCID_0, L64P, 0), .same_tags = true},
	{INVPCID_OP("INVPCID 1", R_INVPCID_1, L64P, 1), .same_tags = true},
	{INVPCID_OP("INVPCID 2", R_INVPCID_2, L64P, 2), .same_tags = true},
	{INVPCID_OP("INVPCID 3", R_INVPCID_3, L64P, 3), .same_tags = true},
	{INVPCID_OP("INVPCID 0, PCIDE=0", R_INVPCID_0, L64G, 0), .same_tags = true},
	{INVPCID_OP("INVPCID 1, PCIDE=0", R_INVPCID_1, L64G, 1), .same_tags = true},
	{INVPCID_OP("INVPCID 1, PCIDE=0, a PCID", R_NOTHING, L64G, 1), .faults = true},
	{INVPCID_OP("INVPCID 4", R_NOTHING, L64P, 4), .faults = true},
	{INVPCID_OP("INVPCID 2, exiting", R_NOTHING, L64P, 2), .proc = PROC_INVLPG, .exits = BY(EXIT_INVPCID)},

	{CR3_OP("MOV to CR3, PCIDE=0", R_CR3_ZERO, L64G, 0), .same_tags = true},
	{CR3_OP("MOV to CR3, PCIDE=0, low bits", R_CR3_ZERO, L64G, CR3_PCID_MASK)},
	{CR3_OP("MOV to CR3, PCIDE=0, bit 63", R_NOTHING, L64G, CR3_NO_FLUSH), .faults = true},
	{CR3_OP("MOV to CR3, PCIDE=1", R_CR3_NAMED, L64P, 0)},
	{CR3_OP("MOV to CR3, PCIDE=1, bit 63", R_NOTHING, L64P, CR3_NO_FLUSH)},
	{CR3_OP("MOV to CR3, reserved bit", R_NOTHING, L64P, UINT64_C(1) << 62), .faults = true},
	{CR3_OP("MOV to CR3, legacy", R_CR3_ZERO, 0, 0), .mode = LEGACY},
	{CR3_OP("MOV to CR3, PAE", R_CR3_ZERO, CR4_PAE, 0), .mode = LEGACY, .needs_ept = true},
	{CR3_OP("MOV to CR3, exiting", R_NOTHING, L64P, 0), .proc = PROC_CR3_LOAD, .exits = BY(EXIT_CR_ACCESS)},

	{.name = "CR0.PG 1 to 0", .rule = R_ALL_PCIDS, .mode = LEGACY, .operand = CR0_PG, .step = step_mov_cr0, .needs_ept = true},
	{.name = "CR0.PG 1 to 0, PAE", .rule = R_ALL_PCIDS, .mode = LEGACY, .cr4 = CR4_PAE, .operand = CR0_PG, .step = step_mov_cr0, .needs_ept = true},
	{.name = "CR0.PG 0 to 1", .mode = UNPAGED, .operand = CR0_PG, .step = step_mov_cr0, .needs_ept = true},
	{.name = "CR0.PG 0 to 1, PAE", .mode = UNPAGED, .cr4 = CR4_PAE, .operand = CR0_PG, .step = step_mov_cr0, .needs_ept = true},
	{.name = "CR0.PG 1 to 0 in 64-bit mode", .cr4 = L64G, .operand = CR0_PG, .step = step_mov_cr0, .faults = true},
	{.name = "CR0.WP", .cr4 = L64P, .operand = CR0_WP, .step = step_mov_cr0},
	{.name = "CR0.TS, MP", .cr4 = L64P, .operand = CR0_TS | CR0_MP, .step = step_mov_cr0},
	{.name = "CLTS", .cr4 = L64P, .operand = X86_SP_CLTS, .step = step_plain},

	{CR4_OP("CR4.PGE 1 to 0", R_ALL_PCIDS, LONG, L64P, CR4_PGE)},
	{CR4_OP("CR4.PGE 0 to 1", R_ALL_PCIDS, LONG, L64, CR4_PGE)},
	{CR4_OP("CR4.PGE, legacy", R_ALL_PCIDS, LEGACY, 0, CR4_PGE)},
	{CR4_OP("CR4.PGE, exiting", R_NOTHING, LONG, L64P, CR4_PGE), .cr4_mask = CR4_PGE, .exits = BY(EXIT_CR_ACCESS)},
	{CR4_OP("CR4.PCIDE 1 to 0", R_ALL_PCIDS, LONG, L64P, CR4_PCIDE)},
	{CR4_OP("CR4.PCIDE 0 to 1", R_NOTHING, LONG, L64G, CR4_PCIDE)},
	{CR4_OP("CR4.PAE 0 to 1", R_THIS_PCID, LEGACY, CR4_PGE, CR4_PAE), .needs_ept = true},
	{CR4_OP("CR4.PAE 1 to 0", R_THIS_PCID, LEGACY, CR4_PGE | CR4_PAE, CR4_PAE), .needs_ept = true},
	{CR4_OP("CR4.PAE 0 to 1, paging off", R_THIS_PCID, UNPAGED, 0, CR4_PAE), .needs_ept = true},
	{CR4_OP("CR4.PAE 1 to 0 in 64-bit mode", R_NOTHING, LONG, L64G, CR4_PAE), .faults = true},
	{CR4_OP("CR4.SMEP 0 to 1", R_THIS_PCID, LONG, L64P, CR4_SMEP)},
	{CR4_OP("CR4.SMEP 0 to 1, PCIDE=0", R_THIS_PCID, LONG, L64G, CR4_SMEP)},
	{CR4_OP("CR4.SMEP 0 to 1, legacy", R_THIS_PCID, LEGACY, 0, CR4_SMEP)},
	{CR4_OP("CR4.SMEP 1 to 0", R_NOTHING, LONG, L64P | CR4_SMEP, CR4_SMEP)},
	{CR4_OP("CR4.SMEP 0 to 1 and PGE", R_ALL_PCIDS, LONG, L64P, CR4_SMEP | CR4_PGE)},
	{CR4_OP("CR4.SMAP 0 to 1", R_NOTHING, LONG, L64P, CR4_SMAP)},
	{CR4_OP("CR4.SMAP 1 to 0", R_NOTHING, LONG, L64P | CR4_SMAP, CR4_SMAP)},
	{CR4_OP("CR4.PSE, legacy", R_NOTHING, LEGACY, 0, CR4_PSE)},

	{FAULT_OP("#PF, cached, write", step_write, put_read_only), .fill = BY_HAND},
	{FAULT_OP("#PF, cached, fetch", step_fetch, put_no_execute), .fill = BY_HAND},
	{FAULT_OP("#PF, cached, intercepted", step_write, put_read_only), .fill = BY_HAND, .exceptions = 1u << VECTOR_PF, .exits = BY(EXIT_EXCEPTION_NMI)},
	{FAULT_OP("#PF, not present", step_write, NULL), .fill = BY_GUESTS, .operand = HERE_ABSENT, .same_tags = true},
	{FAULT_OP("#PF, read-only", step_write, NULL), .fill = BY_GUESTS, .operand = HERE_READ_ONLY, .same_tags = true},
	{FAULT_OP("#PF, supervisor's, 4 KiB", step_user_read, NULL), .fill = BY_GUESTS, .operand = HERE, .same_tags = true},
	{FAULT_OP("#PF, supervisor's, global", step_user_read, NULL), .fill = BY_GUESTS, .operand = HERE_GLOBAL, .same_tags = true},
	{FAULT_OP("#PF, supervisor's, 2 MiB", step_user_read, NULL), .fill = BY_GUESTS, .operand = HERE_2M, .same_tags = true},
	{FAULT_OP("#PF, supervisor's, 1 GiB", step_user_read, NULL), .fill = BY_GUESTS, .operand = THERE_1G, .same_tags = true},
	{FAULT_OP("#PF, intercepted", step_user_read, NULL), .fill = BY_GUESTS, .operand = HERE, .exceptions = 1u << VECTOR_PF, .exits = BY(EXIT_EXCEPTION_NMI)},

	{EPT_OP("EPT violation, cached, write", R_VIOLATION, step_write, put_ept_read_only, EXIT_EPT_VIOLATION), .fill = BY_HAND},
	{EPT_OP("EPT violation, cached, fetch", R_VIOLATION, step_fetch, put_ept_no_execute, EXIT_EPT_VIOLATION), .fill = BY_HAND},
	{EPT_OP("EPT violation, read-only", R_VIOLATION, step_violate, NULL, EXIT_EPT_VIOLATION), .fill = BY_GUESTS, .small_ept = true, .operand = HERE_EPT_READ_ONLY},
	{EPT_OP("EPT violation, not present", R_VIOLATION, step_violate, NULL, EXIT_EPT_VIOLATION), .fill = BY_GUESTS, .small_ept = true, .operand = HERE_EPT_ABSENT},
	/* The translation of the linear address is not what failed; its combined mappings go all
	 * the same, or a table's permission added without INVEPT would never be seen. */
	{EPT_OP("EPT violation, of a page table", R_VIOLATION, step_violate_table, NULL, EXIT_EPT_VIOLATION), .fill = BY_GUESTS, .small_ept = true, .operand = HERE_TABLE_ABSENT},
	{EPT_OP("EPT misconfiguration", R_NOTHING, step_violate, NULL, EXIT_EPT_MISCONFIG), .fill = BY_GUESTS, .small_ept = true, .operand = HERE_EPT_BAD},

	{.name = "task switch", .cr4 = L64P, .operand = X86_SP_TASK_SWITCH, .step = step_plain, .exits = BY(EXIT_TASK_SWITCH)},
};
/* clang-format on */

const size_t survivor_op_count = VMX_ARRAY_SIZE(survivor_ops);
