// SPDX-License-Identifier: MIT
/* The form of definitions: what goes in comes out, and what can't be is refused by name. */
#include "hvd/definition.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define UUID "01234567-89ab-4def-8123-456789abcdef"
#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const struct stored_file files[] = {{10, HASH}, {20, HASH}, {30, HASH}};

static struct json_object *parse(const char *text)
{
	struct json_object *obj;

	assert_int_equal(proto_json_parse(text, strlen(text), &obj, NULL), 0);
	return obj;
}

/* --- from vm.create and back --------------------------------------------------------------- */

static const char *const params[] = {
	"{\"name\":\"a\"}",
	"{\"name\":\"a.b_c-d\",\"memory_bytes\":70368744177664,\"vcpus\":64}",
	"{\"name\":\"a\",\"image\":{\"fd\":0},\"image_format\":\"elf64\",\"command_line\":\"x "
	"\\\"\\\\\\u00e9\\n\"}",
	"{\"name\":\"a\",\"image\":{\"fd\":0},\"modules\":[{\"fd\":1},{\"fd\":2}],\"vpid\":false,"
	"\"accessed_dirty\":false,\"ept_page\":\"1G\",\"huge_pages\":true}",
	"{\"name\":\"a\",\"image\":{\"fd\":0},\"image_format\":\"flat\",\"load_gpa\":"
	"\"0xfffffffffffff000\",\"vcpus\":3,\"processors\":[2,1,0]}",
	"{\"name\":\"a\",\"start\":true}",
};

/* What a VM is made with, whichever way it was given; without files, start and transient. */
static char *settings(const struct proto_vm_create_params *p)
{
	struct proto_vm_create_params copy = *p;
	struct json_object *obj;
	char *text;

	copy.has_modules = copy.start = false;
	obj = proto_encode(proto_desc_vm_create_params(), &copy);
	json_object_object_del(obj, "image");
	json_object_object_del(obj, "modules");
	text = strdup(proto_json_text(obj, NULL));
	json_object_put(obj);
	return text;
}

static void check_round_trip(const char *json)
{
	struct json_object *obj = parse(json);
	struct proto_arena arena = {NULL};
	struct proto_vm_create_params p, again;
	struct definition *def, *read;
	char *text, *second, *given, *got;
	struct proto_error err;
	size_t len;

	assert_int_equal(proto_decode(proto_desc_vm_create_params(), obj, &p, &arena, &err), 0);
	assert_int_equal(definition_new(&p, UUID, files, &def), 0);
	assert_int_equal(definition_text(def, &text, &len), 0);
	assert_int_equal(strlen(text), len);
	assert_int_equal(definition_read(text, len, &read, &err), 0);
	assert_int_equal(definition_text(read, &second, &len), 0);
	assert_string_equal(text, second);
	assert_int_equal(definition_check(read, p.name, &err), 0);
	assert_int_equal(definition_file_count(read), p.has_image + p.modules_count);
	definition_params(read, &again);
	assert_int_equal(again.has_image, p.has_image);
	assert_int_equal(again.modules_count, p.modules_count);
	given = settings(&p);
	got = settings(&again);
	assert_string_equal(given, got);
	free(given), free(got), free(text), free(second);
	definition_free(def);
	definition_free(read);
	proto_arena_free(&arena);
	json_object_put(obj);
}

static void test_round_trip(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(params); i++)
		check_round_trip(params[i]);
}

/* Each member that vm.create and a definition share is carried over: none is forgotten. */
static void test_every_setting(void **state)
{
	static const char *const others[] = {"image", "modules", "start", "transient", "progress"};
	const struct proto_struct *from = proto_desc_vm_create_params();
	const struct proto_struct *to = proto_desc_definition();

	(void)state;
	for (size_t i = 0; i < from->count; i++) {
		const struct proto_field *f = &from->fields[i];
		const struct proto_field *t = proto_field_by_name(to, f->name);
		bool other = false;

		for (size_t k = 0; k < COUNT(others); k++)
			other |= !strcmp(f->name, others[k]);
		if (other)
			continue;
		assert_non_null(t);
		assert_int_equal(t->type, f->type);
		assert_int_equal(t->presence, f->presence);
		assert_int_equal(t->size, f->size);
		assert_int_equal(t->min, f->min);
		assert_int_equal(t->max, f->max);
		assert_int_equal(t->dflt, f->dflt);
	}
}

/* --- what is refused ------------------------------------------------------------------------- */

#define BEGIN "{\"format\":1,\"uuid\":\"" UUID "\",\"name\":\"a\""
#define IMAGE "\"path\":\"images/" UUID ".image\",\"size_bytes\":1,\"sha256\":\"" HASH "\""
#define MODULE "\"path\":\"images/" UUID ".module0\",\"size_bytes\":1,\"sha256\":\"" HASH "\""

static const struct {
	const char *text, *field;
} refused[] = {
	{"", ""},
	{"null", ""},
	{"[]", "params"},
	{"{}", "format"},
	{BEGIN, ""},
	{BEGIN "}}", ""},
	{BEGIN ",\"name\":\"a\"}", "name"},
	{BEGIN ",\"x\":1}", "x"},
	{BEGIN ",\"vcpus\":65}", "vcpus"},
	{BEGIN ",\"image\":{}}", "image.path"},
	{BEGIN ",\"image\":{" IMAGE ",\"fd\":0}}", "image.fd"},
	{BEGIN ",\"image\":{\"path\":\"x\",\"size_bytes\":0}}", "image.size_bytes"},
	{BEGIN ",\"image\":{\"path\":\"x\",\"sha256\":\"00\"}}", "image.sha256"},
	{"{\"format\":2,\"x\":1}", "format"},
	{"{\"format\":\"1\",\"name\":\"a\"}", "format"},
	{"{\"format\":1}", "name"},
};

/* Well-formed, but none that is stored. */
static const struct {
	const char *text, *field;
} not_stored[] = {
	{"{\"format\":1,\"name\":\"a\"}", "uuid"},
	{"{\"format\":1,\"uuid\":\"" UUID "\",\"name\":\"b\"}", "name"},
	{"{\"format\":1,\"uuid\":\"0123456789abcdef0123456789abcdef----\",\"name\":\"a\"}", "uuid"},
	{"{\"format\":1,\"uuid\":\"01234567-89AB-4def-8123-456789abcdef\",\"name\":\"a\"}", "uuid"},
	{BEGIN ",\"vcpus\":2,\"processors\":[0]}", "processors"},
	{BEGIN ",\"modules\":[{" MODULE "}]}", "modules"},
	{BEGIN ",\"image\":{\"path\":\"images/" UUID ".image\",\"size_bytes\":1}}", "image.sha256"},
	{BEGIN ",\"image\":{\"path\":\"images/" UUID ".image\",\"sha256\":\"" HASH "\"}}",
	 "image.size_bytes"},
	{BEGIN ",\"image\":{\"path\":\"/etc/passwd\",\"size_bytes\":1,\"sha256\":\"" HASH "\"}}",
	 "image.path"},
	{BEGIN ",\"image\":{" MODULE "}}", "image.path"},
	{BEGIN ",\"image\":{" IMAGE "},\"modules\":[{" MODULE "},{" MODULE "}]}",
	 "modules[1].path"},
};

static void test_refused(void **state)
{
	struct definition *def;
	struct proto_error err;

	(void)state;
	for (size_t i = 0; i < COUNT(refused); i++) {
		const char *text = refused[i].text;

		err.field[0] = '\0';
		if (!definition_read(text, strlen(text), &def, &err))
			fail_msg("taken: %s", text);
		assert_string_equal(err.field, refused[i].field);
	}
}

static void test_not_stored(void **state)
{
	struct definition *def;
	struct proto_error err;

	(void)state;
	for (size_t i = 0; i < COUNT(not_stored); i++) {
		const char *text = not_stored[i].text;

		assert_int_equal(definition_read(text, strlen(text), &def, &err), 0);
		if (!definition_check(def, "a", &err))
			fail_msg("taken: %s", text);
		assert_string_equal(err.field, not_stored[i].field);
		definition_free(def);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_every_setting),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_not_stored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
