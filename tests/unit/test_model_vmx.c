/* SPDX-License-Identifier: MIT */
/* The VMX instructions: operand checks, error numbers, where VMCS data lives. */
#include "unit/test_model_rig.h"

#include <stdlib.h>

/* --- errors ----------------------------------------------------------------------- */

enum insn {
	VMXON,
	VMCLEAR,
	VMPTRLD,
	VMREAD,
	VMWRITE,
	INVEPT,
	INVVPID,
	VMLAUNCH,
	VMRESUME,
};

enum operand { OP_REGION, OP_UNALIGNED, OP_BEYOND, OP_VMXON_REGION, OP_NO_REVISION, OP_SHADOW };

struct error_case {
	const char *name;
	enum insn insn;
	uint64_t a, b, c;
	bool no_current; /* there is no current VMCS */
	enum hw_result result;
	unsigned error;
};

#define GOOD_EPTP (0x100000 | 6 | 3 << 3)

static const struct error_case error_cases[] = {
	{"VMXON in root", VMXON, OP_REGION, 0, 0, false, HW_FAIL_VALID, 15},
	{"VMXON in root, no VMCS", VMXON, OP_REGION, 0, 0, true, HW_FAIL_INVALID, 0},
	{"VMCLEAR", VMCLEAR, OP_REGION, 0, 0, false, HW_SUCCEED, 0},
	{"VMCLEAR unaligned", VMCLEAR, OP_UNALIGNED, 0, 0, false, HW_FAIL_VALID, 2},
	{"VMCLEAR beyond", VMCLEAR, OP_BEYOND, 0, 0, false, HW_FAIL_VALID, 2},
	{"VMCLEAR beyond, no VMCS", VMCLEAR, OP_BEYOND, 0, 0, true, HW_FAIL_INVALID, 0},
	{"VMCLEAR VMXON region", VMCLEAR, OP_VMXON_REGION, 0, 0, false, HW_FAIL_VALID, 3},
	{"VMPTRLD", VMPTRLD, OP_REGION, 0, 0, true, HW_SUCCEED, 0},
	{"VMPTRLD unaligned", VMPTRLD, OP_UNALIGNED, 0, 0, false, HW_FAIL_VALID, 9},
	{"VMPTRLD beyond", VMPTRLD, OP_BEYOND, 0, 0, false, HW_FAIL_VALID, 9},
	{"VMPTRLD VMXON region", VMPTRLD, OP_VMXON_REGION, 0, 0, false, HW_FAIL_VALID, 10},
	{"VMPTRLD revision", VMPTRLD, OP_NO_REVISION, 0, 0, false, HW_FAIL_VALID, 11},
	{"VMPTRLD shadow", VMPTRLD, OP_SHADOW, 0, 0, false, HW_FAIL_VALID, 11},
	{"VMREAD", VMREAD, VMCS_GUEST_RIP, 0, 0, false, HW_SUCCEED, 0},
	{"VMREAD no VMCS", VMREAD, VMCS_GUEST_RIP, 0, 0, true, HW_FAIL_INVALID, 0},
	{"VMREAD no field", VMREAD, 0x6fff, 0, 0, false, HW_FAIL_VALID, 12},
	{"VMREAD reserved bit", VMREAD, 0x10000 | VMCS_VPID, 0, 0, false, HW_FAIL_VALID, 12},
	{"VMREAD high of 32-bit", VMREAD, VMCS_EXIT_REASON | 1, 0, 0, false, HW_FAIL_VALID, 12},
	{"VMREAD of a lacking feature", VMREAD, VMCS_PML_ADDRESS, 0, 0, false, HW_FAIL_VALID, 12},
	{"VMREAD read-only", VMREAD, VMCS_EXIT_REASON, 0, 0, false, HW_SUCCEED, 0},
	{"VMWRITE", VMWRITE, VMCS_GUEST_RIP, 1, 0, false, HW_SUCCEED, 0},
	{"VMWRITE no VMCS", VMWRITE, VMCS_GUEST_RIP, 1, 0, true, HW_FAIL_INVALID, 0},
	{"VMWRITE no field", VMWRITE, 0x0001, 1, 0, false, HW_FAIL_VALID, 12},
	{"VMWRITE read-only", VMWRITE, VMCS_EXIT_REASON, 1, 0, false, HW_FAIL_VALID, 13},
	{"INVEPT type 0", INVEPT, 0, GOOD_EPTP, 0, false, HW_FAIL_VALID, 28},
	{"INVEPT type 3", INVEPT, 3, GOOD_EPTP, 0, false, HW_FAIL_VALID, 28},
	{"INVEPT single", INVEPT, 1, GOOD_EPTP, 0, false, HW_SUCCEED, 0},
	{"INVEPT memory type", INVEPT, 1, 0x100000 | 1 | 3 << 3, 0, false, HW_FAIL_VALID, 28},
	{"INVEPT uncacheable", INVEPT, 1, 0x100000 | 3 << 3, 0, false, HW_SUCCEED, 0},
	{"INVEPT walk length 5", INVEPT, 1, 0x100000 | 6 | 4 << 3, 0, false, HW_FAIL_VALID, 28},
	{"INVEPT A/D", INVEPT, 1, GOOD_EPTP | EPTP_AD, 0, false, HW_SUCCEED, 0},
	{"INVEPT bit 7", INVEPT, 1, GOOD_EPTP | 0x80, 0, false, HW_FAIL_VALID, 28},
	{"INVEPT bit 11", INVEPT, 1, GOOD_EPTP | 0x800, 0, false, HW_FAIL_VALID, 28},
	{"INVEPT beyond", INVEPT, 1, GOOD_EPTP | VMX_BIT(46), 0, false, HW_FAIL_VALID, 28},
	{"INVEPT all ignores the EPTP", INVEPT, 2, UINT64_MAX, 0, false, HW_SUCCEED, 0},
	{"INVEPT, no VMCS", INVEPT, 9, 0, 0, true, HW_FAIL_INVALID, 0},
	{"INVVPID address", INVVPID, 0, 1, 0x1000, false, HW_SUCCEED, 0},
	{"INVVPID address, VPID 0", INVVPID, 0, 0, 0x1000, false, HW_FAIL_VALID, 28},
	{"INVVPID not canonical", INVVPID, 0, 1, VMX_BIT(47), false, HW_FAIL_VALID, 28},
	{"INVVPID canonical high", INVVPID, 0, 1, UINT64_C(0xffff800000000000), false, HW_SUCCEED,
	 0},
	{"INVVPID single", INVVPID, 1, 65535, VMX_BIT(47), false, HW_SUCCEED, 0},
	{"INVVPID single, VPID 0", INVVPID, 1, 0, 0, false, HW_FAIL_VALID, 28},
	{"INVVPID bit 16", INVVPID, 1, 0x10001, 0, false, HW_FAIL_VALID, 28},
	{"INVVPID all", INVVPID, 2, 0, 0, false, HW_SUCCEED, 0},
	{"INVVPID all, bit 63", INVVPID, 2, VMX_BIT(63), 0, false, HW_FAIL_VALID, 28},
	{"INVVPID keep globals", INVVPID, 3, 1, 0, false, HW_SUCCEED, 0},
	{"INVVPID keep globals, VPID 0", INVVPID, 3, 0, 0, false, HW_FAIL_VALID, 28},
	{"INVVPID type 4", INVVPID, 4, 1, 0, false, HW_FAIL_VALID, 28},
	{"VMLAUNCH, no VMCS", VMLAUNCH, 0, 0, 0, true, HW_FAIL_INVALID, 0},
	{"VMRESUME, no VMCS", VMRESUME, 0, 0, 0, true, HW_FAIL_INVALID, 0},
	{"VMRESUME, clear", VMRESUME, 0, 0, 0, false, HW_FAIL_VALID, 5},
	{"VMLAUNCH, no controls", VMLAUNCH, 0, 0, 0, false, HW_FAIL_VALID, 7},
};

static uint64_t operand(struct rig *r, enum operand o)
{
	uint64_t at = rig_vmcs_region(r);

	switch (o) {
	case OP_REGION:
		return at;
	case OP_UNALIGNED:
		return at + 0x800;
	case OP_BEYOND:
		return VMX_BIT(46);
	case OP_VMXON_REGION:
		return r->cpu->vmxon_region;
	case OP_NO_REVISION:
		*(uint32_t *)rig_ptr(r, at) = MODEL_VMCS_REVISION + 1;
		return at;
	case OP_SHADOW:
		*(uint32_t *)rig_ptr(r, at) |= VMCS_REVISION_SHADOW;
		return at;
	}
	return 0;
}

static enum hw_result execute(struct rig *r, const struct error_case *c)
{
	struct hw_invept_desc invept = {c->b, 0};
	struct hw_invvpid_desc invvpid = {c->b, c->c};
	uint64_t value;

	switch (c->insn) {
	case VMXON:
		return hw_vmxon(r->cpu, hpa(operand(r, (enum operand)c->a)));
	case VMCLEAR:
		return hw_vmclear(r->cpu, hpa(operand(r, (enum operand)c->a)));
	case VMPTRLD:
		return hw_vmptrld(r->cpu, hpa(operand(r, (enum operand)c->a)));
	case VMREAD:
		return hw_vmread(r->cpu, (uint32_t)c->a, &value);
	case VMWRITE:
		return hw_vmwrite(r->cpu, (uint32_t)c->a, c->b);
	case INVEPT:
		return hw_invept(r->cpu, c->a, &invept);
	case INVVPID:
		return hw_invvpid(r->cpu, c->a, &invvpid);
	case VMLAUNCH:
		return hw_enter(r->cpu, &r->regs, true);
	case VMRESUME:
		return hw_enter(r->cpu, &r->regs, false);
	}
	return HW_FAULT_UD;
}

static void errors(void **state)
{
	struct rig r;

	(void)state;
	rig_create(&r, NULL, 1);
	for (size_t i = 0; i < VMX_ARRAY_SIZE(error_cases); i++) {
		const struct error_case *c = &error_cases[i];
		hpa_t region = hpa(rig_vmcs_region(&r));
		enum hw_result got;

		assert_int_equal(hw_vmclear(r.cpu, region), HW_SUCCEED);
		assert_int_equal(hw_vmptrld(r.cpu, region), HW_SUCCEED);
		if (c->no_current)
			assert_int_equal(hw_vmclear(r.cpu, region), HW_SUCCEED);
		got = execute(&r, c);
		if (got != c->result)
			fail_msg("%s: %d", c->name, got);
		if (got == HW_FAIL_VALID && rig_get(&r, VMCS_INSTRUCTION_ERROR) != c->error)
			fail_msg("%s: error %u", c->name,
				 (unsigned)rig_get(&r, VMCS_INSTRUCTION_ERROR));
		if (!c->no_current)
			assert_int_equal(hw_vmclear(r.cpu, region), HW_SUCCEED);
	}
	rig_destroy(&r);
}

/* --- VMXON and outside ------------------------------------------------------------ */

static void vmxon(void **state)
{
	struct hw_invvpid_desc invvpid = {1, 0};
	struct hw_invept_desc invept = {GOOD_EPTP, 0};
	uint64_t value = 77;
	struct hw_cpu *cpu;
	hpa_t region, out = hpa(77);
	struct rig r;

	(void)state;
	rig_create(&r, NULL, 1);
	cpu = r.cpu;
	region = hpa(cpu->vmxon_region);
	assert_int_equal(hw_set_vmxe(cpu, false), -EIO);
	assert_int_equal(hw_vmxoff(cpu), HW_SUCCEED);
	assert_int_equal(hw_vmxoff(cpu), HW_FAULT_UD);
	assert_int_equal(hw_vmclear(cpu, region), HW_FAULT_UD);
	assert_int_equal(hw_vmptrld(cpu, region), HW_FAULT_UD);
	assert_int_equal(hw_vmptrst(cpu, &out), HW_FAULT_UD);
	assert_int_equal(hw_vmread(cpu, VMCS_VPID, &value), HW_FAULT_UD);
	assert_int_equal(hw_vmwrite(cpu, VMCS_VPID, 1), HW_FAULT_UD);
	assert_int_equal(hw_invept(cpu, 2, &invept), HW_FAULT_UD);
	assert_int_equal(hw_invvpid(cpu, 2, &invvpid), HW_FAULT_UD);
	assert_int_equal(hw_enter(cpu, &r.regs, true), HW_FAULT_UD);
	assert_true(value == 77 && out.v == 77);

	assert_int_equal(hw_set_vmxe(cpu, false), 0);
	assert_int_equal(hw_vmxon(cpu, region), HW_FAULT_UD);
	assert_int_equal(hw_set_vmxe(cpu, true), 0);
	assert_int_equal(hw_vmxon(cpu, hpa(region.v + 8)), HW_FAIL_INVALID);
	assert_int_equal(hw_vmxon(cpu, hpa(VMX_BIT(46))), HW_FAIL_INVALID);
	assert_int_equal(hw_vmxon(cpu, hpa(rig_page(&r))), HW_FAIL_INVALID);
	cpu->host.cr0 &= ~CR0_NE;
	assert_int_equal(hw_vmxon(cpu, region), HW_FAULT_GP);
	cpu->host.cr0 |= CR0_NE;
	cpu->feature_control = FEATURE_CONTROL_LOCKED;
	assert_int_equal(hw_vmxon(cpu, region), HW_FAULT_GP);
	cpu->feature_control |= FEATURE_CONTROL_VMX;
	assert_int_equal(hw_vmxon(cpu, region), HW_SUCCEED);
	assert_int_equal(hw_vmptrst(cpu, &out), HW_SUCCEED);
	assert_true(out.v == UINT64_MAX);
	assert_int_equal(hw_wrmsr(cpu, IA32_FEATURE_CONTROL, 0), -EIO);
	rig_destroy(&r);
}

/* --- launch state ----------------------------------------------------------------- */

static void launch_state(void **state)
{
	struct rig r;
	uint64_t eptp;
	hpa_t vmcs, vmxon_region;

	(void)state;
	rig_create(&r, NULL, 1);
	eptp = rig_ept(&r, VMX_SIZE_2M, 0);
	rig_vmcs(&r, 1, eptp, 0x10000);
	assert_int_equal(hw_vmptrst(r.cpu, &vmcs), HW_SUCCEED);
	assert_int_equal(rig_run(&r, NULL, 0), EXIT_VMCALL); /* VMLAUNCH */
	assert_int_equal(hw_enter(r.cpu, &r.regs, true), HW_FAIL_VALID);
	assert_int_equal(rig_get(&r, VMCS_INSTRUCTION_ERROR), 4);
	assert_int_equal(hw_enter(r.cpu, &r.regs, false), HW_SUCCEED);
	/* VMCLEAR makes it clear again, and keeps the fields. */
	assert_int_equal(hw_vmclear(r.cpu, vmcs), HW_SUCCEED);
	assert_int_equal(hw_vmptrld(r.cpu, vmcs), HW_SUCCEED);
	assert_int_equal(hw_enter(r.cpu, &r.regs, false), HW_FAIL_VALID);
	assert_int_equal(rig_get(&r, VMCS_INSTRUCTION_ERROR), 5);
	assert_int_equal(hw_enter(r.cpu, &r.regs, true), HW_SUCCEED);
	/* VMXOFF and VMXON between launch and resume. */
	vmxon_region = hpa(r.cpu->vmxon_region);
	assert_int_equal(hw_vmxoff(r.cpu), HW_SUCCEED);
	assert_int_equal(hw_vmxon(r.cpu, vmxon_region), HW_SUCCEED);
	assert_int_equal(hw_vmptrld(r.cpu, vmcs), HW_SUCCEED);
	assert_int_equal(hw_enter(r.cpu, &r.regs, false), HW_FAIL_VALID);
	assert_int_equal(rig_get(&r, VMCS_INSTRUCTION_ERROR), 6);
	rig_destroy(&r);
}

/* --- fields ----------------------------------------------------------------------- */

static void every_field(void **state)
{
	struct rig r;
	hpa_t vmcs;

	(void)state;
	rig_create(&r, NULL, 1);
	rig_vmcs(&r, 1, 0, 0);
	assert_int_equal(hw_vmptrst(r.cpu, &vmcs), HW_SUCCEED);
	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < VMCS_FIELD_COUNT; i++) {
			const struct vmcs_field_info *f = &vmcs_field_info[i];
			uint64_t want = (UINT64_C(0x9e3779b97f4a7c15) * (i + 1)) &
					vmcs_width_mask(f->width);
			uint64_t value;

			if (!vmcs_field_supported(i)) {
				assert_int_equal(hw_vmwrite(r.cpu, f->encoding, 1), HW_FAIL_VALID);
				continue;
			}
			if (f->type == VMCS_TYPE_READONLY)
				continue;
			if (pass == 0)
				rig_set(&r, f->encoding, UINT64_C(0x9e3779b97f4a7c15) * (i + 1));
			assert_true(rig_get(&r, f->encoding) == want);
			if (f->width != VMCS_WIDTH_64)
				continue;
			assert_true(rig_get(&r, f->encoding | 1) == want >> 32);
			rig_set(&r, f->encoding | 1, 0x12345678);
			value = rig_get(&r, f->encoding);
			assert_true(value == (UINT64_C(0x1234567800000000) | (uint32_t)want));
			rig_set(&r, f->encoding, want);
		}
		/* Through memory and back. */
		assert_int_equal(hw_vmclear(r.cpu, vmcs), HW_SUCCEED);
		assert_int_equal(hw_vmptrld(r.cpu, vmcs), HW_SUCCEED);
	}
	rig_destroy(&r);
}

/* --- where the data is ------------------------------------------------------------ */

/* Data stays in the processor until VMCLEAR; a second processor sees the old image. */
static void active_on_two(void **state)
{
	struct hw_cpu *second;
	struct rig r;
	uint64_t value;
	hpa_t vmcs;

	(void)state;
	rig_create(&r, NULL, 2);
	second = model_cpu(r.model, 1);
	rig_vmcs(&r, 1, 0, 0);
	assert_int_equal(hw_vmptrst(r.cpu, &vmcs), HW_SUCCEED);
	rig_set(&r, VMCS_GUEST_RIP, 0x1111);
	assert_int_equal(hw_vmclear(r.cpu, vmcs), HW_SUCCEED);
	assert_int_equal(hw_vmptrld(r.cpu, vmcs), HW_SUCCEED);
	rig_set(&r, VMCS_GUEST_RIP, 0x2222);
	assert_int_equal(r.misuses, 0);
	assert_int_equal(hw_vmptrld(second, vmcs), HW_SUCCEED);
	assert_int_equal(r.misuses, 1);
	assert_int_equal(hw_vmread(second, VMCS_GUEST_RIP, &value), HW_SUCCEED);
	assert_true(value == 0x1111);
	/* Properly: VMCLEAR here, then VMPTRLD there. */
	assert_int_equal(hw_vmclear(second, vmcs), HW_SUCCEED);
	assert_int_equal(hw_vmclear(r.cpu, vmcs), HW_SUCCEED);
	assert_int_equal(hw_vmptrld(second, vmcs), HW_SUCCEED);
	assert_int_equal(r.misuses, 1);
	assert_int_equal(hw_vmread(second, VMCS_GUEST_RIP, &value), HW_SUCCEED);
	assert_true(value == 0x2222);
	rig_destroy(&r);
}

/* Addresses that fall on the same places of the table, added and removed at random. */
static void colliding_addresses(void **state)
{
	static struct vmcs_data data[24];
	struct vmcs_table t = {0};
	bool in[24] = {false};
	uint32_t random = 1;

	(void)state;
	for (unsigned i = 0; i < 24; i++)
		data[i].hpa = (i % 4 + 62 + (i / 4) * 64) * VMX_PAGE_SIZE;
	for (unsigned round = 0; round < 20000; round++) {
		unsigned i;

		random = random * 1103515245 + 12345;
		i = (random >> 16) % 24;
		if (in[i])
			vmcs_table_remove(&t, &data[i]);
		else
			assert_int_equal(vmcs_table_add(&t, &data[i]), 0);
		in[i] = !in[i];
		for (unsigned k = 0; k < 24; k++)
			assert_ptr_equal(vmcs_table_find(&t, data[k].hpa), in[k] ? &data[k] : NULL);
	}
	for (unsigned i = 0; i < 24; i++) {
		if (in[i])
			vmcs_table_remove(&t, &data[i]);
	}
	assert_int_equal(t.count, 0);
	vmcs_table_fini(&t);
}

#define MANY 70000u

static void many_active(void **state)
{
	hpa_t *vmcs = calloc(MANY, sizeof(*vmcs));
	struct rig r;
	uint64_t value;

	(void)state;
	assert_non_null(vmcs);
	rig_create(&r, NULL, 1);
	for (unsigned i = 0; i < MANY; i++) {
		uint32_t *page = plat_page_alloc(r.plat, &vmcs[i]);

		assert_non_null(page);
		*page = MODEL_VMCS_REVISION;
		assert_int_equal(hw_vmclear(r.cpu, vmcs[i]), HW_SUCCEED);
		assert_int_equal(hw_vmptrld(r.cpu, vmcs[i]), HW_SUCCEED);
		rig_set(&r, VMCS_GUEST_RIP, i);
	}
	assert_int_equal(r.cpu->vmcs.count, MANY);
	for (unsigned i = 0; i < MANY; i += 7) {
		assert_int_equal(hw_vmptrld(r.cpu, vmcs[i]), HW_SUCCEED);
		assert_int_equal(rig_get(&r, VMCS_GUEST_RIP), i);
		assert_int_equal(hw_vmclear(r.cpu, vmcs[i]), HW_SUCCEED);
	}
	/* Deleting must not lose those that had collided. */
	for (unsigned i = 0; i < MANY; i++) {
		assert_int_equal(hw_vmptrld(r.cpu, vmcs[i]), HW_SUCCEED);
		assert_int_equal(hw_vmread(r.cpu, VMCS_GUEST_RIP, &value), HW_SUCCEED);
		assert_int_equal(value, i);
		assert_int_equal(hw_vmclear(r.cpu, vmcs[i]), HW_SUCCEED);
		plat_page_free(r.plat, plat_hpa_ptr(r.plat, vmcs[i]), vmcs[i]);
	}
	assert_int_equal(r.cpu->vmcs.count, 0);
	free(vmcs);
	rig_destroy(&r);
}

/* --- capability MSRs -------------------------------------------------------------- */

static void capabilities(void **state)
{
	static const struct {
		uint32_t plain, with_true;
		uint32_t may_be_0; /* of default1, by the TRUE_ MSR */
	} pairs[] = {
		{IA32_VMX_PINBASED_CTLS, IA32_VMX_TRUE_PINBASED_CTLS, 0},
		{IA32_VMX_PROCBASED_CTLS, IA32_VMX_TRUE_PROCBASED_CTLS,
		 PROC_CR3_LOAD | PROC_CR3_STORE},
		{IA32_VMX_EXIT_CTLS, IA32_VMX_TRUE_EXIT_CTLS, VMEXIT_SAVE_DEBUG},
		{IA32_VMX_ENTRY_CTLS, IA32_VMX_TRUE_ENTRY_CTLS, VMENTRY_LOAD_DEBUG},
	};
	uint64_t a, b;
	struct rig r;

	(void)state;
	rig_create(&r, NULL, 1);
	for (size_t i = 0; i < VMX_ARRAY_SIZE(pairs); i++) {
		assert_int_equal(hw_rdmsr(r.cpu, pairs[i].plain, &a), 0);
		assert_int_equal(hw_rdmsr(r.cpu, pairs[i].with_true, &b), 0);
		assert_true(a >> 32 == b >> 32);
		assert_true((uint32_t)(a & ~b) == pairs[i].may_be_0);
		/* What must be 1 may be. */
		assert_false((uint32_t)a & ~(a >> 32));
	}
	assert_int_equal(hw_rdmsr(r.cpu, IA32_VMX_BASIC, &a), 0);
	assert_true((a & VMX_BASIC_REVISION_MASK) == MODEL_VMCS_REVISION);
	assert_true((a >> VMX_BASIC_SIZE_SHIFT & VMX_BASIC_SIZE_MASK) == 4096);
	assert_int_equal(hw_rdmsr(r.cpu, IA32_VMX_MISC, &a), 0);
	assert_true((a & VMX_MISC_TIMER_RATE_MASK) == 0);
	assert_int_equal(hw_rdmsr(r.cpu, IA32_VMX_VMFUNC, &a), -EIO);
	assert_int_equal(hw_rdmsr(r.cpu, 0x12345, &a), -EIO);
	assert_int_equal(hw_wrmsr(r.cpu, IA32_VMX_BASIC, 0), -EIO);
	rig_destroy(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(errors),
		cmocka_unit_test(vmxon),
		cmocka_unit_test(launch_state),
		cmocka_unit_test(every_field),
		cmocka_unit_test(active_on_two),
		cmocka_unit_test(many_active),
		cmocka_unit_test(colliding_addresses),
		cmocka_unit_test(capabilities),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
