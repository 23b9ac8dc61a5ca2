// SPDX-License-Identifier: MIT
/* Structures from JSON and from a command line, and back; the tables' own consistency. */
#include "proto/proto.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct json_object *parse(const char *text)
{
	struct json_object *obj = NULL;
	struct proto_error err;

	if (proto_json_parse(text, strlen(text), &obj, &err))
		fail_msg("%s: %s", text, err.text);
	return obj;
}

/* --- what is refused, how, and which field is named ------------------------------------- */

static const struct {
	const char *method, *params, *field;
	enum proto_error_kind kind;
	uint64_t limit; /* 0: none */
} refused[] = {
	/* form of the whole */
	{"vm.get", "[]", "params", PROTO_ERROR_INVALID_TYPE, 0},
	{"vm.get", "\"vm\"", "params", PROTO_ERROR_INVALID_TYPE, 0},
	{"vm.get", "7", "params", PROTO_ERROR_INVALID_TYPE, 0},
	{"vm.get", "{}", "vm", PROTO_ERROR_MISSING_PARAMETER, 0},
	{"vm.get", "{\"vm\":\"a\",\"wm\":1}", "wm", PROTO_ERROR_UNKNOWN_PARAMETER, 0},
	{"daemon.info", "{\"verbose\":true}", "verbose", PROTO_ERROR_UNKNOWN_PARAMETER, 0},
	/* names */
	{"vm.get", "{\"vm\":null}", "vm", PROTO_ERROR_INVALID_TYPE, 0},
	{"vm.get", "{\"vm\":1}", "vm", PROTO_ERROR_INVALID_TYPE, 0},
	{"vm.get", "{\"vm\":\"\"}", "vm", PROTO_ERROR_INVALID_VALUE, 0},
	{"vm.get", "{\"vm\":\"-a\"}", "vm", PROTO_ERROR_INVALID_VALUE, 0},
	{"vm.get", "{\"vm\":\".a\"}", "vm", PROTO_ERROR_INVALID_VALUE, 0},
	{"vm.get", "{\"vm\":\"a/b\"}", "vm", PROTO_ERROR_INVALID_VALUE, 0},
	{"vm.get", "{\"vm\":\"a b\"}", "vm", PROTO_ERROR_INVALID_VALUE, 0},
	{"vm.get", "{\"vm\":\"\\u00e9\"}", "vm", PROTO_ERROR_INVALID_VALUE, 0},
	{"vm.get", "{\"vm\":\"a123456789b123456789c123456789d123456789e123456789f123456789abcd\"}",
	 "vm", PROTO_ERROR_OUT_OF_RANGE, 63},
	/* integers */
	{"vm.create", "{\"name\":\"a\",\"vcpus\":0}", "vcpus", PROTO_ERROR_OUT_OF_RANGE, 1},
	{"vm.create", "{\"name\":\"a\",\"vcpus\":65}", "vcpus", PROTO_ERROR_OUT_OF_RANGE, 64},
	{"vm.create", "{\"name\":\"a\",\"vcpus\":-1}", "vcpus", PROTO_ERROR_OUT_OF_RANGE, 1},
	{"vm.create", "{\"name\":\"a\",\"vcpus\":1.0}", "vcpus", PROTO_ERROR_INVALID_TYPE, 0},
	{"vm.create", "{\"name\":\"a\",\"vcpus\":1e0}", "vcpus", PROTO_ERROR_INVALID_TYPE, 0},
	{"vm.create", "{\"name\":\"a\",\"vcpus\":\"1\"}", "vcpus", PROTO_ERROR_INVALID_TYPE, 0},
	{"vm.create", "{\"name\":\"a\",\"vcpus\":true}", "vcpus", PROTO_ERROR_INVALID_TYPE, 0},
	{"vm.create", "{\"name\":\"a\",\"vcpus\":null}", "vcpus", PROTO_ERROR_INVALID_TYPE, 0},
	{"vm.create", "{\"name\":\"a\",\"vcpus\":[1]}", "vcpus", PROTO_ERROR_INVALID_TYPE, 0},
	{"vm.create", "{\"name\":\"a\",\"vcpus\":{}}", "vcpus", PROTO_ERROR_INVALID_TYPE, 0},
	{"vm.create", "{\"name\":\"a\",\"vcpus\":4294967297}", "vcpus", PROTO_ERROR_OUT_OF_RANGE,
	 64},
	{"vm.create", "{\"name\":\"a\",\"vcpus\":18446744073709551615}", "vcpus",
	 PROTO_ERROR_OUT_OF_RANGE, 64},
	{"vm.create", "{\"name\":\"a\",\"vcpus\":18446744073709551617}", "vcpus",
	 PROTO_ERROR_OUT_OF_RANGE, 64},
	{"vm.create", "{\"name\":\"a\",\"vcpus\":-99999999999999999999}", "vcpus",
	 PROTO_ERROR_OUT_OF_RANGE, 1},
	{"vm.create", "{\"name\":\"a\",\"memory_bytes\":1048575}", "memory_bytes",
	 PROTO_ERROR_OUT_OF_RANGE, 1048576},
	{"console.read", "{\"vm\":\"a\",\"offset\":18446744073709551616}", "offset",
	 PROTO_ERROR_OUT_OF_RANGE, UINT64_MAX},
	{"memory.read", "{\"vm\":\"a\",\"gpa\":\"0x0\",\"size_bytes\":1048577}", "size_bytes",
	 PROTO_ERROR_OUT_OF_RANGE, 1048576},
	{"memory.read", "{\"vm\":\"a\",\"gpa\":\"0x0\",\"size_bytes\":0}", "size_bytes",
	 PROTO_ERROR_OUT_OF_RANGE, 1},
	{"memory.mappings", "{\"vm\":\"a\",\"max\":0}", "max", PROTO_ERROR_OUT_OF_RANGE, 1},
	{"memory.mappings", "{\"vm\":\"a\",\"max\":4097}", "max", PROTO_ERROR_OUT_OF_RANGE, 4096},
	{"memory.dirty", "{\"vm\":\"a\",\"gpa\":\"0x0\",\"size_bytes\":0}", "size_bytes",
	 PROTO_ERROR_OUT_OF_RANGE, 1},
	{"memory.dirty", "{\"vm\":\"a\",\"gpa\":\"0x0\",\"size_bytes\":34359738369}", "size_bytes",
	 PROTO_ERROR_OUT_OF_RANGE, UINT64_C(1) << 35},
	{"memory.dirty", "{\"vm\":\"a\",\"gpa\":\"0x0\",\"size_bytes\":4096,\"clear\":1}", "clear",
	 PROTO_ERROR_INVALID_TYPE, 0},
	{"tlb.invalidate", "{\"vm\":\"a\",\"vpid\":0}", "vpid", PROTO_ERROR_OUT_OF_RANGE, 1},
	{"tlb.invalidate", "{\"vm\":\"a\",\"vpid\":65536}", "vpid", PROTO_ERROR_OUT_OF_RANGE,
	 65535},
	{"tlb.invalidate", "{\"vm\":\"a\",\"processor\":64}", "processor", PROTO_ERROR_OUT_OF_RANGE,
	 63},
	{"tlb.flush", "{\"vm\":\"a\",\"type\":\"individual-address\"}", "type",
	 PROTO_ERROR_INVALID_VALUE, 0},
	{"vcpu.inject", "{\"vm\":\"a\",\"vector\":256}", "vector", PROTO_ERROR_OUT_OF_RANGE, 255},
	{"vcpu.inject", "{\"vm\":\"a\",\"error_code\":32768}", "error_code",
	 PROTO_ERROR_OUT_OF_RANGE, 32767},
	{"vcpu.get", "{\"vm\":\"a\",\"vcpu\":64}", "vcpu", PROTO_ERROR_OUT_OF_RANGE, 63},
	/* lists of objects */
	{"memory.batch", "{\"vm\":\"a\",\"packed\":{\"op\":\"remap\"}}", "packed.records",
	 PROTO_ERROR_MISSING_PARAMETER, 0},
	{"memory.batch", "{\"vm\":\"a\",\"packed\":{\"op\":\"remap\",\"records\":\"AAA\"}}",
	 "packed.records", PROTO_ERROR_INVALID_TYPE, 0},
	{"memory.batch", "{\"vm\":\"a\",\"packed\":{\"records\":\"\"}}", "packed.op",
	 PROTO_ERROR_MISSING_PARAMETER, 0},
	{"memory.batch", "{\"vm\":\"a\",\"operations\":{}}", "operations", PROTO_ERROR_INVALID_TYPE,
	 0},
	{"memory.batch", "{\"vm\":\"a\",\"operations\":[7]}", "operations[0]",
	 PROTO_ERROR_INVALID_TYPE, 0},
	{"memory.batch", "{\"vm\":\"a\",\"operations\":[{\"op\":\"unmap\",\"gpa\":\"0x0\"}]}",
	 "operations[0].size_bytes", PROTO_ERROR_MISSING_PARAMETER, 0},
	{"memory.batch",
	 "{\"vm\":\"a\",\"operations\":[{\"op\":\"turn\",\"gpa\":\"0x0\",\"size_bytes\":1}]}",
	 "operations[0].op", PROTO_ERROR_INVALID_VALUE, 0},
	{"vcpu.set", "{\"vm\":\"a\",\"registers\":[{\"name\":\"rip\",\"value\":1}]}",
	 "registers[0].value", PROTO_ERROR_INVALID_TYPE, 0},
	{"vcpu.set",
	 "{\"vm\":\"a\",\"registers\":[{\"name\":\"a12345678901234567890123\",\"value\":\"0x1\"}]}",
	 "registers[0].name", PROTO_ERROR_OUT_OF_RANGE, 23},
	/* addresses */
	{"memory.walk", "{\"vm\":\"a\",\"gva\":4096}", "gva", PROTO_ERROR_INVALID_TYPE, 0},
	{"memory.walk", "{\"vm\":\"a\",\"gva\":\"4096\"}", "gva", PROTO_ERROR_INVALID_TYPE, 0},
	{"memory.walk", "{\"vm\":\"a\",\"gva\":\"0x\"}", "gva", PROTO_ERROR_INVALID_TYPE, 0},
	{"memory.walk", "{\"vm\":\"a\",\"gva\":\"\"}", "gva", PROTO_ERROR_INVALID_TYPE, 0},
	{"memory.walk", "{\"vm\":\"a\",\"gva\":\"0x1g\"}", "gva", PROTO_ERROR_INVALID_TYPE, 0},
	{"memory.walk", "{\"vm\":\"a\",\"gva\":\" 0x1\"}", "gva", PROTO_ERROR_INVALID_TYPE, 0},
	{"memory.walk", "{\"vm\":\"a\",\"gva\":\"-0x1\"}", "gva", PROTO_ERROR_INVALID_TYPE, 0},
	{"memory.walk", "{\"vm\":\"a\",\"gva\":\"0x10000000000000000\"}", "gva",
	 PROTO_ERROR_INVALID_TYPE, 0},
	/* enumerations, booleans, strings */
	{"memory.protect", "{\"vm\":\"a\",\"gpa\":\"0x0\",\"size_bytes\":4096,\"prot\":\"wx\"}",
	 "prot", PROTO_ERROR_INVALID_VALUE, 0},
	{"memory.protect", "{\"vm\":\"a\",\"gpa\":\"0x0\",\"size_bytes\":4096,\"prot\":7}", "prot",
	 PROTO_ERROR_INVALID_TYPE, 0},
	{"memory.unmap", "{\"vm\":\"a\",\"gpa\":\"0x0\",\"size_bytes\":4096,\"dry_run\":1}",
	 "dry_run", PROTO_ERROR_INVALID_TYPE, 0},
	{"vm.create", "{\"name\":\"a\",\"command_line\":[]}", "command_line",
	 PROTO_ERROR_INVALID_TYPE, 0},
	/* files */
	{"vm.create", "{\"name\":\"a\",\"image\":0}", "image", PROTO_ERROR_INVALID_TYPE, 0},
	{"vm.create", "{\"name\":\"a\",\"image\":{}}", "image", PROTO_ERROR_INVALID_TYPE, 0},
	{"vm.create", "{\"name\":\"a\",\"image\":{\"fd\":0,\"path\":\"/x\"}}", "image",
	 PROTO_ERROR_INVALID_TYPE, 0},
	{"vm.create", "{\"name\":\"a\",\"image\":{\"url\":\"x\"}}", "image.url",
	 PROTO_ERROR_UNKNOWN_PARAMETER, 0},
	{"vm.create", "{\"name\":\"a\",\"image\":{\"fd\":-1}}", "image.fd",
	 PROTO_ERROR_OUT_OF_RANGE, 0},
	{"vm.create", "{\"name\":\"a\",\"image\":{\"fd\":32}}", "image.fd",
	 PROTO_ERROR_OUT_OF_RANGE, 31},
	{"vm.create", "{\"name\":\"a\",\"image\":{\"path\":\"\"}}", "image.path",
	 PROTO_ERROR_OUT_OF_RANGE, 1},
	{"vm.create", "{\"name\":\"a\",\"image\":{\"path\":5}}", "image.path",
	 PROTO_ERROR_INVALID_TYPE, 0},
	/* lists */
	{"vm.create", "{\"name\":\"a\",\"modules\":{}}", "modules", PROTO_ERROR_INVALID_TYPE, 0},
	{"vm.create", "{\"name\":\"a\",\"modules\":[{\"fd\":0},{\"fd\":\"1\"}]}", "modules[1].fd",
	 PROTO_ERROR_INVALID_TYPE, 0},
	{"vm.create", "{\"name\":\"a\",\"processors\":[0,64]}", "processors[1]",
	 PROTO_ERROR_OUT_OF_RANGE, 63},
	{"vm.create", "{\"name\":\"a\",\"processors\":[null]}", "processors[0]",
	 PROTO_ERROR_INVALID_TYPE, 0},
	{"tlb.entries", "{\"structures\":[\"l2\",\"l3\"]}", "structures[1]",
	 PROTO_ERROR_INVALID_VALUE, 0},
	{"tlb.entries", "{\"structures\":[\"l2\",\"l2\",\"l2\",\"l2\",\"l2\",\"l2\"]}",
	 "structures", PROTO_ERROR_OUT_OF_RANGE, 5},
	/* base64 */
	{"memory.write", "{\"vm\":\"a\",\"data\":\"AAA\"}", "data", PROTO_ERROR_INVALID_TYPE, 0},
	{"memory.write", "{\"vm\":\"a\",\"data\":\"AA=A\"}", "data", PROTO_ERROR_INVALID_TYPE, 0},
	{"memory.write", "{\"vm\":\"a\",\"data\":\"AA\\n=\"}", "data", PROTO_ERROR_INVALID_TYPE, 0},
	{"memory.write", "{\"vm\":\"a\",\"data\":\"AB==\"}", "data", PROTO_ERROR_INVALID_TYPE, 0},
	{"memory.write", "{\"vm\":\"a\",\"data\":\"====\"}", "data", PROTO_ERROR_INVALID_TYPE, 0},
	{"memory.write", "{\"vm\":\"a\",\"data\":\"\"}", "data", PROTO_ERROR_OUT_OF_RANGE, 1},
	{"memory.write", "{\"vm\":\"a\",\"data\":[]}", "data", PROTO_ERROR_INVALID_TYPE, 0},
};

static void test_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(refused); i++) {
		const struct proto_method *m = proto_method_by_name(refused[i].method);
		struct proto_arena arena = {0};
		struct proto_error err;
		struct json_object *obj = parse(refused[i].params);
		unsigned char out[4096];
		int r;

		assert_non_null(m);
		assert_true(m->params()->size <= sizeof(out));
		memset(out, 0xa5, sizeof(out));
		r = proto_decode(m->params(), obj, out, &arena, &err);
		if (r >= 0 || err.kind != refused[i].kind || strcmp(err.field, refused[i].field) ||
		    (refused[i].limit && err.limit != refused[i].limit))
			fail_msg("%s %s: %d %s field '%s' limit %llu: %s", refused[i].method,
				 refused[i].params, r,
				 r < 0 ? proto_error_info[err.kind].name : "accepted",
				 r < 0 ? err.field : "", r < 0 ? (unsigned long long)err.limit : 0,
				 r < 0 ? err.text : "");
		assert_int_equal(r, -proto_error_info[err.kind].err);
		assert_true(*err.text);
		/* nothing has been written */
		for (size_t k = 0; k < sizeof(out); k++)
			assert_int_equal(out[k], 0xa5);
		json_object_put(obj);
		proto_arena_free(&arena);
	}
}

static void test_string_limit(void **state)
{
	const struct proto_struct *desc = proto_desc_vm_create_params();
	const size_t max = (size_t)proto_field_by_name(desc, "command_line")->max;
	char *text = malloc(max + 100);

	(void)state;
	for (size_t len = max; len <= max + 1; len++) {
		struct proto_vm_create_params p;
		struct proto_arena arena = {0};
		struct proto_error err;
		struct json_object *obj;
		int n = sprintf(text, "{\"name\":\"a\",\"command_line\":\"");

		memset(text + n, 'x', len);
		strcpy(text + n + len, "\"}");
		obj = parse(text);
		if (len == max) {
			assert_int_equal(proto_decode(desc, obj, &p, &arena, &err), 0);
			assert_int_equal(strlen(p.command_line), max);
		} else {
			assert_true(proto_decode(desc, obj, &p, &arena, &err) < 0);
			assert_int_equal(err.kind, PROTO_ERROR_OUT_OF_RANGE);
			assert_string_equal(err.field, "command_line");
			assert_int_equal(err.limit, max);
		}
		json_object_put(obj);
		proto_arena_free(&arena);
	}
	free(text);
}

/* --- what is accepted ---------------------------------------------------------------------- */

static void test_defaults(void **state)
{
	struct json_object *obj = parse("{\"name\":\"demo\"}");
	struct proto_vm_create_params p;
	struct proto_arena arena = {0};

	(void)state;
	assert_int_equal(proto_decode(proto_desc_vm_create_params(), obj, &p, &arena, NULL), 0);
	assert_string_equal(p.name, "demo");
	assert_true(p.has_name);
	assert_false(p.has_image);
	assert_false(p.has_memory_bytes);
	assert_int_equal(p.memory_bytes, 64 << 20);
	assert_int_equal(p.vcpus, 1);
	assert_true(p.vpid);
	assert_true(p.accessed_dirty);
	assert_false(p.start);
	assert_string_equal(p.command_line, "");
	assert_int_equal(p.modules_count, 0);
	assert_false(p.has_load_gpa);
	json_object_put(obj);
	proto_arena_free(&arena);
}

static void test_values(void **state)
{
	struct json_object *obj = parse(
		"{\"name\":\"a.b_c-9\",\"memory_bytes\":70368744177664,\"image\":{\"fd\":31},"
		"\"modules\":[{\"fd\":0},{\"path\":\"/m\"}],\"vpid\":false,\"ept_page\":\"1G\","
		"\"load_gpa\":\"0xFFFFffffFFFFffff\",\"processors\":[3,0],\"vcpus\":2,"
		"\"command_line\":\"\\u20ac \\ud83d\\ude00\"}");
	struct proto_vm_create_params p;
	struct proto_arena arena = {0};

	(void)state;
	assert_int_equal(proto_decode(proto_desc_vm_create_params(), obj, &p, &arena, NULL), 0);
	json_object_put(obj);
	assert_string_equal(p.name, "a.b_c-9");
	assert_true(p.memory_bytes == UINT64_C(70368744177664));
	assert_null(p.image.path);
	assert_int_equal(p.image.fd, 31);
	assert_int_equal(p.modules_count, 2);
	assert_null(p.modules[0].path);
	assert_string_equal(p.modules[1].path, "/m");
	assert_false(p.vpid);
	assert_int_equal(p.ept_page, 0x40000000);
	assert_true(p.load_gpa == UINT64_MAX);
	assert_int_equal(p.processors_count, 2);
	assert_int_equal(p.processors[0], 3);
	assert_int_equal(p.processors[1], 0);
	assert_string_equal(p.command_line, "\xe2\x82\xac \xf0\x9f\x98\x80");
	proto_arena_free(&arena);
}

/* 2^53 and beyond, where doubles lose count, up to the last. */
static void test_integers_exact(void **state)
{
	static const uint64_t values[] = {0,
					  1,
					  (UINT64_C(1) << 53) - 1,
					  (UINT64_C(1) << 53) + 1,
					  INT64_MAX,
					  (uint64_t)INT64_MAX + 1,
					  UINT64_MAX - 1,
					  UINT64_MAX};

	(void)state;
	for (size_t i = 0; i < COUNT(values); i++) {
		struct proto_console_read_params p;
		struct proto_console out = {.next_offset = values[i]};
		struct proto_arena arena = {0};
		struct json_object *obj;
		char text[80], expected[80];

		sprintf(text, "{\"vm\":\"a\",\"offset\":%llu}", (unsigned long long)values[i]);
		obj = parse(text);
		assert_int_equal(
			proto_decode(proto_desc_console_read_params(), obj, &p, &arena, NULL), 0);
		assert_true(p.offset == values[i]);
		json_object_put(obj);
		obj = proto_encode(proto_desc_console(), &out);
		sprintf(expected, "\"next_offset\":%llu,", (unsigned long long)values[i]);
		assert_non_null(strstr(proto_json_text(obj, NULL), expected));
		json_object_put(obj);
		proto_arena_free(&arena);
	}
}

static void test_nulls(void **state)
{
	struct proto_vcpu vcpu = {.id = 3};
	struct proto_vm_state vm = {
		.vm = "a", .reason = "user", .state = {.name = 3, .libvirt = 3}};
	struct proto_tlb_vcpu tlb = {.vm = "a"};
	struct json_object *obj = proto_encode(proto_desc_vcpu(), &vcpu), *v;

	(void)state;
	assert_string_equal(proto_json_text(obj, NULL),
			    "{\"id\":3,\"processor\":null,\"vpid\":null,\"rip\":null,"
			    "\"activity\":null,\"retired\":null,\"exits\":null}");
	json_object_put(obj);
	PROTO_SET(&vcpu, vpid, 0);
	PROTO_SET(&vcpu, rip, UINT64_C(0xffffffff80000000));
	obj = proto_encode(proto_desc_vcpu(), &vcpu);
	assert_string_equal(proto_json_text(obj, NULL),
			    "{\"id\":3,\"processor\":null,\"vpid\":0,"
			    "\"rip\":\"0xffffffff80000000\","
			    "\"activity\":null,\"retired\":null,\"exits\":null}");
	json_object_put(obj);
	/* optional: left out */
	obj = proto_encode(proto_desc_vm_state(), &vm);
	assert_string_equal(proto_json_text(obj, NULL),
			    "{\"vm\":\"a\",\"state\":{\"name\":\"paused\",\"libvirt\":3},"
			    "\"reason\":\"user\",\"exit_status\":null,\"guest_time\":null,"
			    "\"console_bytes\":null}");
	json_object_put(obj);
	/* every counter of the engine's list is there, and null */
	obj = proto_encode(proto_desc_tlb_vcpu(), &tlb);
#define TLB_STAT(name, unit, doc)                               \
	assert_true(json_object_object_get_ex(obj, #name, &v)); \
	assert_null(v);
#include <vmxcore/tlb_stats.def>
#undef TLB_STAT
	json_object_put(obj);
}

static void test_strings_are_valid(void **state)
{
	struct proto_vm_deleted r = {.vm = "a\xff\xc0\xaf\xed\xa0\x80\xe2\x82z/\"\\\x01"};
	struct json_object *obj = proto_encode(proto_desc_vm_deleted(), &r), *back;
	const char *text;
	size_t len;

	(void)state;
	text = proto_json_text(obj, &len);
	assert_int_equal(proto_json_parse(text, len, &back, NULL), 0);
	assert_string_equal(text, "{\"vm\":\"a????"
				  "???"
				  "?z/\\\"\\\\\\u0001\"}");
	json_object_put(back);
	json_object_put(obj);
}

/* What hvctl sends holds what it was given, and no more; the daemon reads the same. */
static void test_params_round_trip(void **state)
{
	struct proto_remap_params p = {0}, q;
	struct proto_arena arena = {0};
	const struct proto_struct *desc = proto_desc_remap_params();
	struct json_object *obj;

	(void)state;
	proto_set_from_string(proto_field_by_option(desc, "vm"), &p, "demo", &arena, NULL);
	proto_set_from_string(proto_field_by_option(desc, "gpa"), &p, "2M", &arena, NULL);
	proto_set_from_string(proto_field_by_option(desc, "size"), &p, "4K", &arena, NULL);
	proto_set_from_string(proto_field_by_option(desc, "slot"), &p, "spare", &arena, NULL);
	proto_set_from_string(proto_field_by_option(desc, "dry-run"), &p, NULL, &arena, NULL);
	assert_int_equal(proto_check_required(desc, &p, NULL), 0);
	obj = proto_encode_params(desc, &p);
	assert_string_equal(proto_json_text(obj, NULL),
			    "{\"vm\":\"demo\",\"gpa\":\"0x200000\",\"size_bytes\":4096,"
			    "\"slot\":\"spare\",\"dry_run\":true}");
	assert_int_equal(proto_decode(desc, obj, &q, &arena, NULL), 0);
	assert_true(q.gpa == 0x200000 && q.size_bytes == 4096 && q.offset_bytes == 0 && q.dry_run);
	json_object_put(obj);
	proto_arena_free(&arena);
}

/* --- from a command line ------------------------------------------------------------------- */

static const struct {
	const char *text;
	int r;
	uint64_t v;
} sizes[] = {
	{"0", 0, 0},
	{"4096", 0, 4096},
	{"4K", 0, 4096},
	{"4k", 0, 4096},
	{"4KiB", 0, 4096},
	{"64M", 0, 64 << 20},
	{"1G", 0, 1 << 30},
	{"1T", 0, UINT64_C(1) << 40},
	{"0x1000", 0, 4096},
	{"18446744073709551615", 0, UINT64_MAX},
	{"18446744073709551616", -ERANGE, 0},
	{"16777216T", -ERANGE, 0},
	{"16777215T", 0, UINT64_C(16777215) << 40},
	{"0x10000000000000000", -ERANGE, 0},
	{"", -EINVAL, 0},
	{"K", -EINVAL, 0},
	{"-1", -EINVAL, 0},
	{"+1", -EINVAL, 0},
	{" 1", -EINVAL, 0},
	{"1 ", -EINVAL, 0},
	{"1.5G", -EINVAL, 0},
	{"4KB", -EINVAL, 0},
	{"4Ki", -EINVAL, 0},
	{"4KiBx", -EINVAL, 0},
	{"0x", -EINVAL, 0},
	{"1P", -EINVAL, 0},
};

static void test_sizes(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(sizes); i++) {
		uint64_t v = 77;
		const int r = proto_parse_size(sizes[i].text, &v);

		if (r != sizes[i].r || v != (r ? 77 : sizes[i].v))
			fail_msg("'%s': %d, %llu", sizes[i].text, r, (unsigned long long)v);
	}
}

static const struct {
	const char *method, *option, *text, *json; /* json NULL: refused */
} options[] = {
	{"vm.create", "memory", "64M", "\"memory_bytes\":67108864"},
	{"vm.create", "memory", "64Q", NULL},
	{"vm.create", "memory", "1K", NULL},
	{"vm.create", "vcpus", "64", "\"vcpus\":64"},
	{"vm.create", "vcpus", "0x2", "\"vcpus\":2"},
	{"vm.create", "vcpus", "65", NULL},
	{"vm.create", "vcpus", "2K", NULL},
	{"vm.create", "vpid", "off", "\"vpid\":false"},
	{"vm.create", "vpid", "on", "\"vpid\":true"},
	{"vm.create", "vpid", NULL, "\"vpid\":true"},
	{"vm.create", "vpid", "maybe", NULL},
	{"vm.create", "run", NULL, "\"start\":true"},
	{"vm.create", "name", "no such name", NULL},
	{"vm.create", "format", "flat", "\"image_format\":\"flat\""},
	{"vm.create", "format", "elf", NULL},
	{"vm.create", "format", NULL, NULL},
	{"vm.create", "module", "/boot/m", "\"modules\":[{\"path\":\"/boot/m\"}]"},
	{"vm.create", "append", "\xff", NULL},
	{"memory.walk", "gva", "0x401000", "\"gva\":\"0x401000\""},
	{"memory.walk", "gva", "2M", "\"gva\":\"0x200000\""},
	{"memory.walk", "gva", "0", "\"gva\":\"0x0\""},
	{"memory.walk", "gva", "200000", NULL},
	{"memory.walk", "gva", "401000h", NULL},
	{"memory.walk", "gva", "", NULL},
	{"memory.write", "data", "de ad BE ef", "\"data\":\"3q2+7w==\""},
	{"memory.write", "data", "dea", NULL},
	{"memory.write", "data", "xy", NULL},
	{"memory.write", "data", "", NULL},
	{"tlb.entries", "structure", "l2", "\"structures\":[\"l2\"]"},
};

static void test_options(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(options); i++) {
		const struct proto_method *m = proto_method_by_name(options[i].method);
		const struct proto_field *f = proto_field_by_option(m->params(), options[i].option);
		struct proto_arena arena = {0};
		struct proto_error err;
		uint64_t out[512] = {0};
		struct json_object *obj;
		int r;

		assert_non_null(f);
		r = proto_set_from_string(f, out, options[i].text, &arena, &err);
		if ((r == 0) != (options[i].json != NULL))
			fail_msg("--%s %s: %d", options[i].option, options[i].text, r);
		if (r) {
			assert_string_equal(err.field, options[i].option);
		} else {
			obj = proto_encode_params(m->params(), out);
			if (!strstr(proto_json_text(obj, NULL), options[i].json))
				fail_msg("%s: %s", options[i].json, proto_json_text(obj, NULL));
			json_object_put(obj);
		}
		proto_arena_free(&arena);
	}
}

static void test_list_options(void **state)
{
	const struct proto_struct *desc = proto_desc_vm_create_params();
	const struct proto_field *f = proto_field_by_option(desc, "module");
	struct proto_vm_create_params p = {0};
	struct proto_arena arena = {0};
	struct proto_error err;
	char path[32];

	(void)state;
	for (size_t i = 0; i < f->max_count; i++) {
		sprintf(path, "/m%zu", i);
		assert_int_equal(proto_set_from_string(f, &p, path, &arena, &err), 0);
	}
	assert_int_equal(p.modules_count, f->max_count);
	assert_string_equal(p.modules[0].path, "/m0");
	assert_string_equal(p.modules[f->max_count - 1].path, path);
	assert_true(proto_set_from_string(f, &p, "/more", &arena, &err) < 0);
	assert_int_equal(err.limit, f->max_count);
	assert_int_equal(p.modules_count, f->max_count);
	assert_true(proto_check_required(desc, &p, &err) < 0);
	assert_string_equal(err.field, "name");
	proto_arena_free(&arena);
}

/* --- base64 -------------------------------------------------------------------------------- */

static void test_base64(void **state)
{
	uint8_t in[300], out[300];
	char text[404];
	size_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(i * 167 + 13);
	for (size_t len = 0; len <= sizeof(in); len++) {
		proto_base64_encode(in, len, text);
		assert_int_equal(proto_base64_decode(text, proto_base64_length(len), out, &n), 0);
		assert_int_equal(n, len);
		assert_memory_equal(in, out, len);
		/* whatever is cut off or stuck on */
		if (len)
			assert_int_equal(
				proto_base64_decode(text, proto_base64_length(len) - 1, out, &n),
				-EINVAL);
	}
	proto_base64_encode((const uint8_t *)"foobar", 6, text);
	assert_memory_equal(text, "Zm9vYmFy", 8);
	proto_base64_encode((const uint8_t *)"foob", 4, text);
	assert_memory_equal(text, "Zm9vYg==", 8);
}

/* --- errors -------------------------------------------------------------------------------- */

static void test_error_json(void **state)
{
	struct proto_error err;
	struct json_object *obj;

	(void)state;
	proto_fail(&err, PROTO_ERROR_OVERLAP, "",
		   "0x200000-0x3fffff overlaps 0x0-0x3ffffff "
		   "(slot ram)");
	strcpy(err.field, "gpa");
	strcpy(err.slot, "ram");
	err.has_requested = err.has_existing = true;
	err.requested[0] = 0x200000;
	err.requested[1] = 0x3fffff;
	err.existing[1] = 0x3ffffff;
	obj = proto_error_json(&err, "memory.map");
	assert_string_equal(
		proto_json_text(obj, NULL),
		"{\"code\":-32004,\"message\":\"memory.map: gpa: 0x200000-0x3fffff overlaps "
		"0x0-0x3ffffff (slot ram)\",\"data\":{\"kind\":\"overlap\",\"field\":\"gpa\","
		"\"requested\":[\"0x200000\",\"0x3fffff\"],\"existing\":[\"0x0\",\"0x3ffffff\"],"
		"\"slot\":\"ram\",\"libvirt\":8}}");
	json_object_put(obj);
	/* what is quoted can't reach a terminal */
	proto_fail(&err, PROTO_ERROR_INVALID_VALUE, "a\x1b[2J", "b\x07\xff\n");
	assert_string_equal(err.field, "a?[2J");
	assert_string_equal(err.text, "b???");
}

/* --- the tables themselves ----------------------------------------------------------------- */

static void test_errors_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < PROTO_ERROR_COUNT; i++) {
		const struct proto_error_info *e = &proto_error_info[i];

		assert_true(e->err > 0);
		assert_true(e->libvirt > 0);
		assert_true((e->code <= -32000 && e->code >= -32099) || e->code == -32700 ||
			    (e->code <= -32600 && e->code >= -32603));
		assert_int_equal(proto_error_kind_by_name(e->name), i);
		/* of the project's own codes, each has one kind */
		for (size_t k = 0; k < i; k++)
			assert_true(proto_error_info[k].code != e->code || e->code == -32602);
	}
}

static void check_fields(const struct proto_struct *desc, bool params, bool verb)
{
	for (size_t i = 0; i < desc->count; i++) {
		const struct proto_field *f = &desc->fields[i];

		assert_true(*f->doc);
		assert_true(strlen(f->name) < 40);
		for (size_t k = 0; k < i; k++) {
			assert_string_not_equal(desc->fields[k].name, f->name);
			if (*f->option)
				assert_string_not_equal(desc->fields[k].option, f->option);
		}
		if (params) {
			/* objects are no options, hvctl's verb has its own for them; progress is
			 * asked for by hvctl itself */
			if (verb && strcmp(f->name, "progress") != 0)
				assert_true(*f->option || f->type == PROTO_STRUCT);
			assert_true(f->presence != PROTO_NULLABLE);
			assert_true(f->type != PROTO_STRUCT || f->presence != PROTO_DEFAULTED);
			assert_true(f->type != PROTO_JSON || !verb);
		} else if (desc != proto_desc_definition()) { /* which is read, too */
			assert_true(f->presence != PROTO_DEFAULTED);
		}
		if (f->presence == PROTO_DEFAULTED && f->type == PROTO_ENUM)
			assert_non_null(proto_enum_name(f->en, (uint32_t)f->dflt));
		else if (f->presence == PROTO_DEFAULTED && f->type != PROTO_STRING)
			assert_true(f->dflt >= f->min && f->dflt <= f->max);
		if (f->type == PROTO_U32)
			assert_true(f->max <= UINT32_MAX);
	}
}

static void test_methods_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < PROTO_METHOD_COUNT; i++) {
		const struct proto_method *m = &proto_methods[i];
		char words[100], *word, *save;

		assert_ptr_equal(proto_method_by_name(m->name), m);
		if (*m->verb)
			assert_ptr_equal(proto_method_by_verb(m->verb), m);
		assert_non_null(proto_enum_name(&proto_enum_role, m->role));
		check_fields(m->params(), true, *m->verb);
		check_fields(m->result(), false, *m->verb);
		strcpy(words, m->positional);
		for (word = strtok_r(words, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
			const struct proto_field *f = proto_field_by_name(m->params(), word);

			assert_non_null(f);
			assert_true(proto_is_positional(m, f));
		}
	}
	assert_null(proto_method_by_name("vm.explode"));
	assert_null(proto_method_by_verb(""));
}

static void test_schema(void **state)
{
	struct json_object *methods = proto_openrpc_methods(),
			   *components = proto_openrpc_components(), *schemas, *s, *required;

	(void)state;
	assert_int_equal(json_object_array_length(methods), PROTO_METHOD_COUNT);
	assert_true(json_object_object_get_ex(components, "schemas", &schemas));
	assert_true(json_object_object_get_ex(schemas, "remap_params", &s));
	assert_true(json_object_object_get_ex(s, "required", &required));
	assert_string_equal(proto_json_text(required, NULL),
			    "[\"vm\",\"gpa\",\"size_bytes\",\"slot\"]");
	for (size_t i = 0; i < PROTO_METHOD_COUNT; i++)
		assert_true(
			json_object_object_get_ex(schemas, proto_methods[i].result()->id, NULL));
	json_object_put(methods);
	json_object_put(components);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_string_limit),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_integers_exact),
		cmocka_unit_test(test_nulls),
		cmocka_unit_test(test_strings_are_valid),
		cmocka_unit_test(test_params_round_trip),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_list_options),
		cmocka_unit_test(test_base64),
		cmocka_unit_test(test_error_json),
		cmocka_unit_test(test_errors_table),
		cmocka_unit_test(test_methods_table),
		cmocka_unit_test(test_schema),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
