// SPDX-License-Identifier: MIT
/* The table of VMCS fields against what the encodings themselves say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/vmcs.h"

static void encodings_say_the_same(void **state)
{
	(void)state;
	for (int i = 0; i < VMCS_FIELD_COUNT; i++) {
		const struct vmcs_field_info *f = &vmcs_field_info[i];

		assert_int_equal(f->width, f->encoding >> 13 & 3);
		assert_int_equal(f->type, f->encoding >> 10 & 3);
		assert_int_equal(f->encoding & 1, 0);
		assert_int_equal(f->encoding & ~0x6ffeu, 0);
		assert_non_null(f->doc);
		assert_true(f->doc[0] != '\0');
	}
}

static void rows_are_unique_and_ordered(void **state)
{
	(void)state;
	for (int i = 0; i < VMCS_FIELD_COUNT; i++) {
		for (int k = 0; k < i; k++) {
			assert_string_not_equal(vmcs_field_info[i].name, vmcs_field_info[k].name);
			assert_true(vmcs_field_info[i].encoding > vmcs_field_info[k].encoding);
		}
	}
}

/* All 2^16 encodings, and some with high bits: exactly the table's are found. */
static void lookup_is_exact(void **state)
{
	unsigned found = 0, high_halves = 0;

	(void)state;
	for (uint32_t e = 0; e < 0x10000; e++) {
		bool high = false;
		int i = vmcs_field_index(e, &high);

		if (i < 0)
			continue;
		assert_int_equal(vmcs_field_info[i].encoding, e - (high ? 1 : 0));
		if (high)
			assert_int_equal(vmcs_field_info[i].width, VMCS_WIDTH_64);
		found += !high;
		high_halves += high;
	}
	assert_int_equal(found, VMCS_FIELD_COUNT);
	assert_true(high_halves > 0 && high_halves < found);
	for (unsigned bit = 15; bit < 32; bit++) {
		bool high;

		assert_int_equal(vmcs_field_index(VMCS_GUEST_RIP | 1u << bit, &high), -1);
	}
}

static void names_are_found(void **state)
{
	(void)state;
	for (int i = 0; i < VMCS_FIELD_COUNT; i++)
		assert_int_equal(vmcs_field_by_name(vmcs_field_info[i].name), i);
	assert_int_equal(vmcs_field_by_name("guest_ri"), -1);
	assert_int_equal(vmcs_field_by_name("guest_rip2"), -1);
	assert_int_equal(vmcs_field_by_name(""), -1);
}

/* Spot checks of the manual's appendix, at the ends of each group. */
static void known_encodings(void **state)
{
	(void)state;
	assert_int_equal(VMCS_VPID, 0x0000);
	assert_int_equal(VMCS_GUEST_TR_SELECTOR, 0x080e);
	assert_int_equal(VMCS_HOST_TR_SELECTOR, 0x0c0c);
	assert_int_equal(VMCS_EPT_POINTER, 0x201a);
	assert_int_equal(VMCS_GUEST_PHYSICAL_ADDRESS, 0x2400);
	assert_int_equal(VMCS_VMCS_LINK_POINTER, 0x2800);
	assert_int_equal(VMCS_GUEST_PDPTE3, 0x2810);
	assert_int_equal(VMCS_HOST_EFER, 0x2c02);
	assert_int_equal(VMCS_PIN_CONTROLS, 0x4000);
	assert_int_equal(VMCS_PROC_CONTROLS_2, 0x401e);
	assert_int_equal(VMCS_EXIT_REASON, 0x4402);
	assert_int_equal(VMCS_GUEST_TR_AR, 0x4822);
	assert_int_equal(VMCS_PREEMPTION_TIMER, 0x482e);
	assert_int_equal(VMCS_HOST_SYSENTER_CS, 0x4c00);
	assert_int_equal(VMCS_CR4_SHADOW, 0x6006);
	assert_int_equal(VMCS_EXIT_QUALIFICATION, 0x6400);
	assert_int_equal(VMCS_GUEST_LINEAR_ADDRESS, 0x640a);
	assert_int_equal(VMCS_GUEST_RIP, 0x681e);
	assert_int_equal(VMCS_HOST_RIP, 0x6c16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encodings_say_the_same),
		cmocka_unit_test(rows_are_unique_and_ordered),
		cmocka_unit_test(lookup_is_exact),
		cmocka_unit_test(names_are_found),
		cmocka_unit_test(known_encodings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
