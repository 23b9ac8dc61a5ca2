// SPDX-License-Identifier: MIT
/* Numbers and tables for people. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hvctl/text.h"

static void test_count(void **state)
{
	static const struct {
		uint64_t v;
		const char *text;
	} cases[] = {
		{0, "0"},
		{7, "7"},
		{999, "999"},
		{1000, "1,000"},
		{12480112, "12,480,112"},
		{123456, "123,456"},
		{UINT64_MAX, "18,446,744,073,709,551,615"},
	};
	char buf[TEXT_NUMBER];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_string_equal(text_count(buf, cases[i].v), cases[i].text);
}

static void test_size(void **state)
{
	static const struct {
		uint64_t v;
		const char *size, *page;
	} cases[] = {
		{0, "0 bytes", "0"},
		{1, "1 byte", "1"},
		{3072, "3 KiB", "3K"},
		{3073, "3,073 bytes", "3073"},
		{4096, "4 KiB", "4K"},
		{UINT64_C(2) << 20, "2 MiB", "2M"},
		{(UINT64_C(2) << 20) + 4096, "2,052 KiB", "2052K"},
		{UINT64_C(1) << 30, "1 GiB", "1G"},
		{UINT64_C(1) << 46, "64 TiB", "64T"},
		{UINT64_MAX, "18,446,744,073,709,551,615 bytes", "18446744073709551615"},
	};
	char buf[TEXT_NUMBER];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_string_equal(text_size(buf, cases[i].v), cases[i].size);
		assert_string_equal(text_page(buf, cases[i].v), cases[i].page);
	}
}

static void test_ratios(void **state)
{
	char buf[TEXT_NUMBER];

	(void)state;
	assert_string_equal(text_ratio(buf, 49, 10), "4.9");
	assert_string_equal(text_ratio(buf, 1, 0), "-");
	assert_string_equal(text_percent(buf, 1, 3), "33.33%");
	assert_string_equal(text_percent(buf, 0, 0), "-");
	assert_string_equal(text_percent(buf, 99999, 100000), "99.99%");
	assert_string_equal(text_percent(buf, 5, 5), "100.00%");
	assert_string_equal(text_percent(buf, UINT64_MAX, UINT64_MAX), "100.00%");
	assert_string_equal(text_percent(buf, UINT64_MAX / 2 + 1, UINT64_MAX), "50.00%");
	assert_string_equal(text_plural(buf, sizeof(buf), 1, "page", "pages"), "1 page");
	assert_string_equal(text_plural(buf, sizeof(buf), 1000, "page", "pages"), "1,000 pages");
	assert_string_equal(text_duration(buf, 61500), "1 min 01 s");
	assert_string_equal(text_duration(buf, 7), "0.007 s");
	assert_string_equal(text_duration(buf, 3720000), "1 h 02 min");
}

/* What `print` writes, in memory of the caller. */
struct capture {
	char *text;
	size_t size;
	FILE *file;
};

static FILE *capture_start(struct capture *c)
{
	c->file = open_memstream(&c->text, &c->size);
	assert_non_null(c->file);
	return c->file;
}

static void capture_expect(struct capture *c, const char *want)
{
	fclose(c->file);
	assert_string_equal(c->text, want);
	free(c->text);
}

static void test_table(void **state)
{
	static const struct table_column columns[] = {{"VM", false}, {"hits", true}, {"", false}};
	struct table *t = table_new(columns, 3);
	struct capture c;

	(void)state;
	table_cell(t, "%s", "a");
	table_cell(t, "%s", "1,000");
	table_cell(t, "%s", "x");
	table_cell(t, "%s", "longer");
	table_cell(t, "%s", "7");
	table_cell(t, "%s", "");
	table_print(t, capture_start(&c), 2, false);
	capture_expect(&c, "  VM       hits\n"
			   "  a       1,000  x\n"
			   "  longer      7\n");
}

static void test_table_empty_column(void **state)
{
	static const struct table_column columns[] = {{"a", false}, {"never", true}, {"b", false}};
	struct table *t = table_new(columns, 3);
	struct capture c;

	(void)state;
	table_cell(t, "%s", "1");
	table_cell(t, "%s", "");
	table_cell(t, "%s", "2");
	table_print(t, capture_start(&c), 0, true);
	capture_expect(&c, "\033[1ma  b\033[0m\n1  2\n");
}

static void test_wrap(void **state)
{
	struct capture c;
	char text[240], want[400];

	(void)state;
	memset(text, 'x', sizeof(text));
	for (size_t i = 9; i < sizeof(text); i += 10)
		text[i] = ' ';
	text[sizeof(text) - 1] = 0;
	text_wrap(capture_start(&c), 10, text);
	/* 90 columns beside the indent: eight words of nine, then a ninth that fits exactly */
	snprintf(want, sizeof(want), "%.89s\n%10s%.89s\n%10s%.59s\n", text, "", text + 90, "",
		 text + 180);
	capture_expect(&c, want);
}

static void test_guest_text(void **state)
{
	static const uint8_t evil[] = "ok\r\n\033[2Jx\tz\xff\n";
	struct capture c;

	(void)state;
	text_guest(capture_start(&c), evil, sizeof(evil) - 1, true);
	capture_expect(&c, "ok\n?[2Jx\tz?\n");
	text_guest(capture_start(&c), evil, sizeof(evil) - 1, false);
	capture_expect(&c, "ok\r\n\033[2Jx\tz\xff\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_count),
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_ratios),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_table_empty_column),
		cmocka_unit_test(test_wrap),
		cmocka_unit_test(test_guest_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
