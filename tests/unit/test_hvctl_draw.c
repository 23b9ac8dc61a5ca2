// SPDX-License-Identifier: MIT
/* Drawn things: the map of guest-physical memory, progress, qualifications in words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hvctl/progress.h"
#include "hvctl/qualification.h"
#include "hvctl/show.h"
#include "hvctl/text.h"
#include "hvctl/watch.h"

static void test_qualifications(void **state)
{
	static const struct {
		const char *exit;
		uint64_t qualification;
		const char *text; /* NULL: nothing to say */
	} cases[] = {
		{"io-instruction", 0x3f80000, "out 1 byte, port 0x3f8"},
		{"io-instruction", 0x3f80009, "in 2 bytes, port 0x3f8"},
		{"io-instruction", 0xf40033, "rep outs 4 bytes, port 0xf4"},
		{"control-register-access", 0x3, "mov cr3, rax"},
		{"control-register-access", 0x714, "mov rdi, cr4"},
		{"control-register-access", 0xf00, "mov cr0, r15"},
		{"control-register-access", 0x20, "clts"},
		{"control-register-access", 0x80010030, "lmsw 0x8001"},
		{"mov-dr", 0x107, "mov dr7, rcx"},
		{"mov-dr", 0x316, "mov rbx, dr6"},
		{"ept-violation", 0x181, "read on ---"},
		{"ept-violation", 0x1aa, "write on r-x"},
		{"ept-violation", 0x19c, "fetch on rw-"},
		{"ept-violation", 0x8b, "read+write on r--, in a page walk"},
		{"ept-violation", 0x2, "write on ---"},
		{"invlpg", 0x7000, "address 0x7000"},
		{"cpuid", 0, NULL},
		{"task-switch", 0x40000008, "qualification 0x40000008"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char text[QUALIFICATION_LEN] = "untouched";
		bool any = qualification_text(cases[i].exit, cases[i].qualification, text);

		assert_int_equal(any, cases[i].text != NULL);
		assert_string_equal(text, cases[i].text ? cases[i].text : "untouched");
	}
}

static void test_page_faults(void **state)
{
	static const struct {
		uint64_t code;
		const char *text;
	} cases[] = {
		{0x0, "read, supervisor, not present"},
		{0x2, "write, supervisor, not present"},
		{0x7, "write, user, not allowed"},
		{0x15, "fetch, user, not allowed"},
		{0x9, "read, supervisor, a reserved bit is set"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char text[QUALIFICATION_LEN];

		page_fault_text(cases[i].code, text);
		assert_string_equal(text, cases[i].text);
	}
}

static void test_progress_line(void **state)
{
	static const struct {
		unsigned columns;
		uint64_t done, total, elapsed_ms;
		const char *line;
	} cases[] = {
		{100, 0, 1 << 30, 0,
		 "create  [>                                       ]    0 %  0 bytes of 1.0 GiB  0 "
		 "bytes/s"},
		{100, 3 << 28, 1 << 30, 1000,
		 "create  [==============================>         ]   75 %  768.0 MiB of 1.0 GiB  "
		 "768.0 MiB/s"},
		{70, 1 << 29, 1 << 30, 2000,
		 "create  [=========>        ]   50 %  512.0 MiB of 1.0 GiB  256.0 MiB/s"},
		/* no room for a bar, then not even for the text */
		{50, 1 << 29, 1 << 30, 2000, " 50 %  512.0 MiB of 1.0 GiB  256.0 MiB/s"},
		{10, 1 << 29, 1 << 30, 2000, " 50 %  512"},
		/* more than all, of nothing, and numbers without end */
		{60, 5, 4, 1000, "create  [============]  100 %  5 bytes of 4 bytes  5 bytes/s"},
		{60, 0, 0, 1000, "create  [>           ]    0 %  0 bytes of 0 bytes  0 bytes/s"},
		{100, UINT64_MAX, UINT64_MAX, 1,
		 "create  [==================================]  100 %  16,777,215.9 TiB of "
		 "16,777,215.9 "
		 "TiB  0 bytes/s"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char line[TEXT_WIDTH + 1];

		progress_line(line, sizeof(line), cases[i].columns, "create", cases[i].done,
			      cases[i].total, cases[i].elapsed_ms);
		assert_string_equal(line, cases[i].line);
		assert_true(strlen(line) <= cases[i].columns);
	}
}

/* --- the map -------------------------------------------------------------------------- */

/* To be freed. */
static char *picture(const char *json, uint64_t asked)
{
	char *text = NULL;
	size_t size = 0;
	struct hvctl_context ctx = {.err = stderr};
	struct json_object *result = json_tokener_parse(json);

	assert_non_null(result);
	ctx.out = open_memstream(&text, &size);
	assert_non_null(ctx.out);
	show_picture(&ctx, result, asked);
	fclose(ctx.out);
	json_object_put(result);
	return text;
}

#define MAPPING(gpa, size, slot, prot, k4, m2, g1)                                   \
	"{\"gpa\":\"" gpa "\",\"size_bytes\":" #size ",\"slot\":\"" slot             \
	"\",\"offset_bytes\":0,\"prot\":\"" prot                                     \
	"\",\"memory_type\":\"wb\",\"leaves\":{\"size_4k\":" #k4 ",\"size_2m\":" #m2 \
	",\"size_1g\":" #g1 "}}"

static void test_map(void **state)
{
	static const char json[] =
		"{\"mappings\":[" MAPPING("0x0", 4194304, "ram", "rwx", 0, 1, 0) "," MAPPING(
			"0x400000", 4096, "spare", "r", 1, 0,
			0) "," MAPPING("0x401000", 126976, "ram", "rw", 0, 0,
				       0) "," MAPPING("0x40000000", 2147483648, "huge", "rwx", 512,
						      0, 1) "]}";
	static const char with_hole[] =
		"  from        leaves                      slot+offset  prot  type           size\n"
		"  0x00000000  |MMMMMMMMMMMMMMMMMMMMMMMM|  ram+0x0      rwx   wb            4 MiB  "
		"1 "
		"x 2M\n"
		"              |MMMMMMMMMMMM            |\n"
		"              |                        |\n"
		"  0x00400000  |kkkkkkkkkkkkkkkkkkkkkkkk|  spare+0x0    r     wb            4 KiB  "
		"1 "
		"x 4K\n"
		"  0x00401000  |                        |  ram+0x0      rw    wb          124 KiB  "
		"none yet\n"
		"  0x00420000  :                        :  not mapped               1,044,352 KiB\n"
		"              :                        :\n"
		"              :                        :\n"
		"              :                        :\n"
		"  0x40000000  |GGGGGGGGGGGGGGGGGGGGGGGG|  huge+0x0     rwx   wb            2 GiB  "
		"1 "
		"x 1G, 512 x 4K\n"
		"              |GGGGGGGGGGGGGGGGGGGGGGGG|\n"
		"              |k                       |\n"
		"              |                        |\n"
		"  0xc0000000  '------------------------'\n"
		"  G a leaf of 1G, M a leaf of 2M, k a leaf of 4K, blank no leaf yet; shares of a "
		"range, not places.\n"
		"  A range that is 32 times as large is a line higher.\n";
	char *text = picture(json, 0);

	(void)state;
	assert_string_equal(text, with_hole);
	free(text);
	/* below what was asked for, nothing is known to be a hole */
	text = picture("{\"mappings\":[" MAPPING("0x400000", 4096, "s", "r", 1, 0, 0) "]}", 4096);
	assert_null(strstr(text, "not mapped"));
	free(text);
	text = picture("{\"mappings\":[]}", 0);
	assert_string_equal(text, "");
	free(text);
}

/* Many ranges: a line each, and not without end. */
static void test_map_of_many(void **state)
{
	static const struct {
		unsigned mappings, lines;
		const char *has;
	} cases[] = {
		/* title, mappings, holes between, border, legend */
		{12, 1 + 12 + 11 + 1 + 2, "32 times"},
		{13, 1 + 13 + 12 + 1 + 1, "Heights mean nothing"},
		{300, 1 + 256 + 1 + 1, "... 343 ranges more"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char *json = NULL, *text;
		size_t size = 0;
		FILE *out = open_memstream(&json, &size);
		unsigned lines = 0;

		assert_non_null(out);
		fputs("{\"mappings\":[", out);
		for (unsigned n = 0; n < cases[i].mappings; n++)
			fprintf(out,
				"%s{\"gpa\":\"0x%x\",\"size_bytes\":4096,\"slot\":\"s\","
				"\"offset_bytes\":0,\"leaves\":{\"size_4k\":1}}",
				n ? "," : "", n * 8192);
		fputs("]}", out);
		fclose(out);
		text = picture(json, 0);
		for (char *p = text; *p; p++)
			lines += *p == '\n';
		if (lines != cases[i].lines || !strstr(text, cases[i].has))
			fail_msg("%u lines, not %u:\n%s", lines, cases[i].lines, text);
		free(text);
		free(json);
	}
}

/* What does not belong there must not crash it, and no cell overflows. */
static void test_map_of_nonsense(void **state)
{
	static const char *const replies[] = {
		"{}",
		"{\"mappings\":[{}]}",
		"{\"mappings\":[1,null,[]]}",
		("{\"mappings\":[{\"gpa\":\"0x0\",\"size_bytes\":18446744073709551615,\"leaves\":{"
		 "\"size_4k\":18446744073709551615,\"size_2m\":18446744073709551615,\"size_1g\":"
		 "18446744073709551615}}]}"),
		("{\"mappings\":[{\"gpa\":\"0x10000000000000\",\"size_bytes\":4503599627370496,"
		 "\"leaves\":{\"size_1g\":4194304}}]}"),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(replies) / sizeof(*replies); i++)
		free(picture(replies[i], 0));
}

/* --- watch ---------------------------------------------------------------------------- */

static void test_watch_of_nonsense(void **state)
{
	static const char *const reports[] = {
		"{}",
		"{\"stats\":[{}],\"vcpus\":[{}]}",
		"{\"stats\":[1,null],\"vcpus\":[[],\"x\"],\"time_ns\":\"x\"}",
		("{\"time_ns\":5,\"stats\":[{\"name\":\"a\",\"value\":null}],\"vcpus\":[{\"vm\":"
		 "\"d\","
		 "\"vcpu\":0,\"data_lookups\":18446744073709551615}]}"),
		("{\"time_ns\":6,\"stats\":[{\"name\":\"a\",\"value\":18446744073709551615}],"
		 "\"vcpus\":[{\"vm\":\"d\",\"vcpu\":0,\"data_lookups\":0}]}"),
	};
	const size_t n = sizeof(reports) / sizeof(*reports);

	(void)state;
	for (size_t i = 0; i < n * n; i++) {
		struct json_object *now = json_tokener_parse(reports[i / n]);
		struct json_object *before = json_tokener_parse(reports[i % n]);
		struct hvctl_context ctx = {.err = stderr};
		struct hvctl_call call = {.ctx = &ctx, .all = true};
		char *text = NULL;
		size_t size = 0;

		ctx.out = open_memstream(&text, &size);
		assert_non_null(ctx.out);
		watch_show(&call, WATCH_STATS | WATCH_TLB, now, before);
		fclose(ctx.out);
		free(text);
		json_object_put(now);
		json_object_put(before);
	}
}

static void test_about(void **state)
{
	char buf[TEXT_NUMBER];

	(void)state;
	assert_string_equal(text_about(buf, 0), "0 bytes");
	assert_string_equal(text_about(buf, 1), "1 byte");
	assert_string_equal(text_about(buf, 1023), "1,023 bytes");
	assert_string_equal(text_about(buf, 1024), "1.0 KiB");
	assert_string_equal(text_about(buf, 1535), "1.4 KiB");
	assert_string_equal(text_about(buf, UINT64_C(5) << 29), "2.5 GiB");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_qualifications),	  cmocka_unit_test(test_page_faults),
		cmocka_unit_test(test_progress_line),	  cmocka_unit_test(test_map),
		cmocka_unit_test(test_map_of_many),	  cmocka_unit_test(test_map_of_nonsense),
		cmocka_unit_test(test_watch_of_nonsense), cmocka_unit_test(test_about),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
