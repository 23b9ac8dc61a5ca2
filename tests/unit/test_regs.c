// SPDX-License-Identifier: MIT
/*
 * Register values that VM entry would refuse are refused by name, one change to a
 * good state each; and the starting states are good ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "vcpu_rig.h"

static struct rig r;

static int setup(void **state)
{
	(void)state;
	return rig_create(&r, &(struct rig_options){0});
}

static int setup_no_unrestricted(void **state)
{
	(void)state;
	return rig_create(&r, &(struct rig_options){.no_unrestricted = true});
}

static int teardown(void **state)
{
	(void)state;
	return rig_destroy(&r);
}

enum base { LONG, FLAT, RESET, VM86 };

static void base_regs(enum base base, struct core_regs *ret)
{
	if (base == LONG)
		core_regs_long_mode(ret, 0x1000, 0x2000, 0x8000);
	else if (base == RESET)
		core_regs_reset(ret);
	else
		core_regs_protected_flat(ret, 0x1000);
	if (base != VM86)
		return;
	ret->rflags |= RFLAGS_VM;
	for (unsigned i = CORE_ES; i <= CORE_GS; i++)
		ret->seg[i] = (struct core_segment){
			.sel = 0x1000, .base = 0x10000, .limit = 0xffff, .ar = 0xf3};
}

static void starting_states_are_accepted(void **state)
{
	(void)state;
	for (int b = LONG; b <= VM86; b++) {
		struct core_regs regs;
		const char *field = "";

		base_regs(b, &regs);
		if (core_vcpu_set_regs(r.v, &regs, &field) < 0)
			fail_msg("state %d: %s", b, field);
	}
}

#define F(m) offsetof(struct core_regs, m), sizeof(((struct core_regs *)0)->m)
#define SEG_AR(s) F(seg[CORE_##s].ar)

static const struct {
	enum base base;
	const char *field; /* NULL: accepted */
	size_t offset, size;
	uint64_t value;
} cases[] = {
	{LONG, "cr0", F(cr0), CR0_PG | CR0_NE},
	{LONG, "cr0", F(cr0), CR0_PG | CR0_PE | VMX_BIT(32)},
	{LONG, "cr0", F(cr0), CR0_PG | CR0_PE | VMX_BIT(7)},
	{LONG, "efer", F(cr0), CR0_PE | CR0_NE}, /* LMA without paging */
	{LONG, "cr4", F(cr4), 0},		 /* LMA without PAE */
	{LONG, "cr4", F(cr4), CR4_PAE | CR4_VMXE},
	{LONG, "cr4", F(cr4), CR4_PAE | VMX_BIT(50)},
	{LONG, NULL, F(cr4), CR4_PAE | CR4_PCIDE | CR4_PGE | CR4_SMEP | CR4_OSFXSR},
	{FLAT, "cr4", F(cr4), CR4_PCIDE},
	{LONG, "cr3", F(cr3), VMX_BIT(51)},
	{LONG, NULL, F(cr3), 0x1fff},
	{LONG, "efer", F(efer), EFER_LME},
	{LONG, "efer", F(efer), EFER_LME | EFER_LMA | VMX_BIT(9)},
	{LONG, NULL, F(efer), EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE},
	{FLAT, "efer", F(efer), EFER_LME | EFER_LMA},
	{FLAT, NULL, F(efer), EFER_LME},
	{LONG, "dr7", F(dr7), VMX_BIT(32)},
	{LONG, "dr6", F(gp.dr6), VMX_BIT(32)},
	{LONG, "pat", F(pat), 0x0002},
	{LONG, "pat", F(pat), VMX_BIT(59)},
	{LONG, "sysenter_cs", F(sysenter_cs), VMX_BIT(32)},
	{LONG, "sysenter_esp", F(sysenter_esp), VMX_BIT(47)},
	{LONG, "sysenter_eip", F(sysenter_eip), VMX_BIT(48)},
	{LONG, "lstar", F(lstar), VMX_BIT(63)},
	{LONG, "cstar", F(cstar), VMX_BIT(47)},
	{LONG, "fmask", F(fmask), VMX_BIT(32)},
	{LONG, "kernel_gs_base", F(kernel_gs_base), VMX_BIT(47)},
	{LONG, NULL, F(kernel_gs_base), 0xffff800000000000},
	{LONG, "tsc_aux", F(tsc_aux), VMX_BIT(32)},
	{LONG, "tr.sel", F(seg[CORE_TR].sel), SEL_TI},
	{LONG, "ldtr.sel", F(seg[CORE_LDTR].sel), SEL_TI},
	{LONG, "tr.base", F(seg[CORE_TR].base), VMX_BIT(47)},
	{LONG, "fs.base", F(seg[CORE_FS].base), VMX_BIT(47)},
	{LONG, NULL, F(seg[CORE_GS].base), 0xffffffffffff0000},
	{LONG, "ldtr.base", F(seg[CORE_LDTR].base), VMX_BIT(47)},
	{LONG, "cs.base", F(seg[CORE_CS].base), VMX_BIT(32)},
	{LONG, "ss.base", F(seg[CORE_SS].base), VMX_BIT(32)},
	{LONG, "es.base", F(seg[CORE_ES].base), VMX_BIT(32)},
	{VM86, "cs.base", F(seg[CORE_CS].base), 0},
	{VM86, "gs.limit", F(seg[CORE_GS].limit), 0xfffe},
	{VM86, "ds.ar", SEG_AR(DS), 0x93},
	{LONG, "rflags", F(rflags), RFLAGS_FIXED1 | RFLAGS_VM},
	{LONG, NULL, SEG_AR(CS), 0xa093},    /* the manual has no objection */
	{LONG, "cs.ar", SEG_AR(CS), 0xe09b}, /* L and D */
	{LONG, "cs.ar", SEG_AR(CS), 0xa09a}, /* not accessed */
	{LONG, "cs.ar", SEG_AR(CS), 0xa08b}, /* system */
	{LONG, "cs.ar", SEG_AR(CS), 0xa01b}, /* not present */
	{LONG, "cs.ar", SEG_AR(CS), 0xa0fb}, /* DPL 3, SS's is 0 */
	{LONG, "cs.ar", SEG_AR(CS), 0x209b}, /* limit needs G */
	{LONG, "cs.ar", SEG_AR(CS), 0x1a09b},
	{LONG, "cs.ar", SEG_AR(CS), 0xa19b}, /* reserved */
	{LONG, NULL, SEG_AR(CS), 0xa09f},    /* conforming */
	{FLAT, NULL, SEG_AR(CS), 0xc093},    /* as big real mode leaves it */
	{LONG, "ss.ar", SEG_AR(SS), 0xc091}, /* read-only */
	{LONG, "ss.ar", SEG_AR(SS), 0xc09b},
	{LONG, NULL, SEG_AR(SS), 0xc097}, /* expand-down */
	{LONG, NULL, SEG_AR(SS), 0x10000},
	{RESET, "cs.ar", SEG_AR(SS), 0xf3}, /* then CS.DPL is not SS.DPL */
	{LONG, "ds.ar", SEG_AR(DS), 0xc092},
	{LONG, "es.ar", SEG_AR(ES), 0xc099}, /* code that can't be read */
	{LONG, NULL, SEG_AR(ES), 0xc09b},
	{LONG, NULL, SEG_AR(FS), 0x1c099}, /* unusable: whatever else */
	{LONG, "gs.ar", SEG_AR(GS), 0x30000},
	{LONG, "tr.ar", SEG_AR(TR), 0x83}, /* 16-bit in IA-32e mode */
	{FLAT, NULL, SEG_AR(TR), 0x83},
	{LONG, "tr.ar", SEG_AR(TR), 0x89}, /* not busy */
	{LONG, "tr.ar", SEG_AR(TR), 0x1008b},
	{LONG, "tr.ar", SEG_AR(TR), 0x0b},
	{LONG, "ldtr.ar", SEG_AR(LDTR), 0x83},
	{LONG, NULL, SEG_AR(LDTR), 0x10000},
	{LONG, "gdtr_base", F(gdtr_base), VMX_BIT(47)},
	{LONG, "idtr_base", F(idtr_base), VMX_BIT(47)},
	{LONG, "gdtr_limit", F(gdtr_limit), 0x10000},
	{LONG, "idtr_limit", F(idtr_limit), 0x10000},
	{LONG, "rip", F(rip), VMX_BIT(47)},
	{LONG, NULL, F(rip), 0xffffffff80000000},
	{FLAT, "rip", F(rip), VMX_BIT(32)},
	{LONG, "rflags", F(rflags), 0},
	{LONG, "rflags", F(rflags), RFLAGS_FIXED1 | VMX_BIT(3)},
	{LONG, "rflags", F(rflags), RFLAGS_FIXED1 | VMX_BIT(22)},
	{LONG, "activity", F(activity), 4},
	{LONG, NULL, F(activity), ACTIVITY_HLT},
	{LONG, "interruptibility", F(interruptibility), BLOCKED_BY_STI}, /* IF is 0 */
	{LONG, NULL, F(interruptibility), BLOCKED_BY_MOV_SS},
	{LONG, "interruptibility", F(interruptibility), 3},
	{LONG, "interruptibility", F(interruptibility), BLOCKED_BY_SMI},
	{LONG, "interruptibility", F(interruptibility), 0x20},
};

static void each_is_refused_by_name(void **state)
{
	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(cases); i++) {
		struct core_regs regs, before, after;
		const char *field = "nothing";
		int err;

		base_regs(cases[i].base, &regs);
		memcpy((char *)&regs + cases[i].offset, &cases[i].value, cases[i].size);
		before = rig_regs(&r);
		err = core_vcpu_set_regs(r.v, &regs, &field);
		if (cases[i].field == NULL) {
			if (err != 0)
				fail_msg("case %zu: %s refused", i, field);
			continue;
		}
		if (err != -EINVAL || strcmp(field, cases[i].field) != 0)
			fail_msg("case %zu: %d, %s, not %s", i, err, field, cases[i].field);
		after = rig_regs(&r);
		assert_memory_equal(&before, &after, sizeof(after));
	}
}

/* Two fields at once. */
static void combinations(void **state)
{
	struct core_regs regs;
	const char *field = NULL;

	(void)state;
	base_regs(LONG, &regs);
	regs.activity = ACTIVITY_HLT;
	regs.seg[CORE_SS].ar |= 3 << AR_DPL_SHIFT;
	regs.seg[CORE_CS].ar |= 3 << AR_DPL_SHIFT;
	assert_int_equal(core_vcpu_set_regs(r.v, &regs, &field), -EINVAL);
	assert_string_equal(field, "activity");
	regs.activity = ACTIVITY_ACTIVE;
	assert_int_equal(core_vcpu_set_regs(r.v, &regs, &field), 0);
	/* HLT in a shadow */
	base_regs(LONG, &regs);
	regs.activity = ACTIVITY_HLT;
	regs.interruptibility = BLOCKED_BY_MOV_SS;
	assert_int_equal(core_vcpu_set_regs(r.v, &regs, &field), -EINVAL);
	assert_string_equal(field, "activity");
	/* G against the limit, the other way round */
	base_regs(FLAT, &regs);
	regs.seg[CORE_DS].limit = 0xffffe;
	assert_int_equal(core_vcpu_set_regs(r.v, &regs, &field), -EINVAL);
	assert_string_equal(field, "ds.ar");
	/* No name wanted. */
	assert_int_equal(core_vcpu_set_regs(r.v, &regs, NULL), -EINVAL);
}

/* Without unrestricted guests privilege levels must agree with selectors. */
static void selectors_and_levels(void **state)
{
	struct core_regs regs;
	const char *field = NULL;

	(void)state;
	base_regs(LONG, &regs);
	assert_int_equal(core_vcpu_set_regs(r.v, &regs, &field), 0);
	regs.seg[CORE_SS].sel |= 3;
	assert_int_equal(core_vcpu_set_regs(r.v, &regs, &field), -EINVAL);
	assert_string_equal(field, "ss.sel");
	regs.seg[CORE_CS].sel |= 3;
	assert_int_equal(core_vcpu_set_regs(r.v, &regs, &field), -EINVAL);
	assert_string_equal(field, "ss.ar");
	base_regs(LONG, &regs);
	regs.seg[CORE_ES].sel |= 3;
	assert_int_equal(core_vcpu_set_regs(r.v, &regs, &field), -EINVAL);
	assert_string_equal(field, "es.ar");
	base_regs(FLAT, &regs);
	regs.cr0 |= CR0_PG;
	regs.seg[CORE_CS].ar = 0xc093;
	assert_int_equal(core_vcpu_set_regs(r.v, &regs, &field), -EINVAL);
	assert_string_equal(field, "cs.ar");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(starting_states_are_accepted),
		T(each_is_refused_by_name),
		T(combinations),
		cmocka_unit_test_setup_teardown(selectors_and_levels, setup_no_unrestricted,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
