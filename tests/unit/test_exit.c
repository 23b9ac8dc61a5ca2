// SPDX-License-Identifier: MIT
/* Every basic exit reason has a row, every row a handler, every counter a name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/vcpu_internal.h"

/* "VMX Basic Exit Reasons": numbers that the appendix leaves out. */
static const uint32_t unassigned[] = {35, 38, 42, 71, 82, 83, 86, 87};

static bool is_unassigned(uint32_t n)
{
	for (size_t i = 0; i < VMX_ARRAY_SIZE(unassigned); i++) {
		if (unassigned[i] == n)
			return true;
	}
	return false;
}

static void every_number_has_a_row(void **state)
{
	(void)state;
	for (uint32_t n = 0; n < VMX_EXIT_REASONS; n++) {
		assert_non_null(core_exit_handler(n));
		if (is_unassigned(n)) {
			assert_null(core_exit_name(n));
			assert_ptr_equal(core_exit_handler(n), exit_unexpected);
			continue;
		}
		if (core_exit_name(n) == NULL)
			fail_msg("exit reason %u has no row", n);
		assert_non_null(core_exit_doc(n));
	}
	assert_null(core_exit_name(VMX_EXIT_REASONS));
	assert_null(core_exit_name(UINT32_MAX));
	assert_ptr_equal(core_exit_handler(UINT32_MAX), exit_unexpected);
}

static void names_are_unique(void **state)
{
	(void)state;
	for (uint32_t a = 0; a < VMX_EXIT_REASONS; a++) {
		for (uint32_t b = 0; b < a && core_exit_name(a) != NULL; b++) {
			if (core_exit_name(b) != NULL)
				assert_string_not_equal(core_exit_name(a), core_exit_name(b));
		}
	}
}

static void known_numbers(void **state)
{
	(void)state;
	assert_int_equal(VMX_EXIT_CPUID, 10);
	assert_int_equal(VMX_EXIT_CR_ACCESS, 28);
	assert_int_equal(VMX_EXIT_ENTRY_GUEST_STATE, 33);
	assert_int_equal(VMX_EXIT_EPT_VIOLATION, 48);
	assert_int_equal(VMX_EXIT_PREEMPTION_TIMER, 52);
	assert_int_equal(VMX_EXIT_TDCALL, 77);
	assert_string_equal(core_exit_name(48), "ept-violation");
}

static void counters_have_names(void **state)
{
	(void)state;
	for (int i = 0; i < CORE_STAT_COUNT; i++) {
		assert_non_null(core_stat_info[i].name);
		assert_non_null(core_stat_info[i].unit);
		assert_true(strlen(core_stat_info[i].doc) > 0);
		assert_true(core_stat_info[i].scope <= CORE_SCOPE_VCPU);
		for (int k = 0; k < i; k++)
			assert_string_not_equal(core_stat_info[i].name, core_stat_info[k].name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_number_has_a_row),
		cmocka_unit_test(names_are_unique),
		cmocka_unit_test(known_numbers),
		cmocka_unit_test(counters_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
