// SPDX-License-Identifier: MIT
/*
 * The two encoders give the same bytes: every structure of the tables, filled with values
 * that pseudo-random numbers choose, the unpleasant ones among them.
 */
#include "proto/proto.h"
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ROUNDS 60
#define DEPTH_MAX 6

static uint64_t seed;

static uint64_t random64(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static uint64_t below(uint64_t n)
{
	return random64() % n;
}

/* --- values ---------------------------------------------------------------------------- */

static uint64_t number(void)
{
	static const uint64_t values[] = {
		0, 1, 9, 10, UINT32_MAX, INT64_MAX, UINT64_C(1) << 63, UINT64_MAX};

	return below(2) ? values[below(sizeof(values) / sizeof(values[0]))]
			: random64() >> below(64);
}

static const char *string(struct proto_arena *a)
{
	static const char *const values[] = {
		"",	      "demo",	      "a\"b\\c/d",
		"\b\n\r\t\f", "\x01\x1f\x7f", "h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"};
	const size_t len = below(40);
	char *s;

	if (below(8) == 0)
		return NULL;
	if (below(2))
		return values[below(sizeof(values) / sizeof(values[0]))];
	s = proto_alloc(a, len + 1, 1);
	for (size_t i = 0; i < len; i++)
		s[i] = (char)(1 + below(255)); /* mostly no UTF-8 */
	return s;
}

static struct json_object *json(void)
{
	static const char *const values[] = {
		"null",
		"true",
		"0",
		"-1",
		"18446744073709551615",
		"1.50",
		"1e400",
		"\"a\"",
		"\"\"",
		"9223372036854775807",
		"[1,{}]",
		"{\"a\":\"/\"}",
		"\"\\u0001\\\"\"",
		"-9223372036854775808",
		"\"\xc3\xa9\"",
	};
	const char *text = values[below(sizeof(values) / sizeof(values[0]))];
	struct json_object *obj;

	assert_int_equal(proto_json_parse(text, strlen(text), &obj, NULL), 0);
	return obj;
}

/* --- structures --------------------------------------------------------------------------- */

static struct json_object *kept[100000];
static size_t kept_count;

static void fill(const struct proto_struct *desc, void *out, struct proto_arena *a, int depth);

static void fill_value(const struct proto_field *f, void *out, struct proto_arena *a, int depth)
{
	struct proto_bytes *b = out;
	struct proto_file *file = out;

	switch (f->type) {
	case PROTO_BOOL:
		*(bool *)out = below(2);
		break;
	case PROTO_U32:
		*(uint32_t *)out = (uint32_t)number();
		break;
	case PROTO_U64:
	case PROTO_SIZE:
	case PROTO_ADDR:
		*(uint64_t *)out = number();
		break;
	case PROTO_NAME:
	case PROTO_STRING:
		*(const char **)out = string(a);
		break;
	case PROTO_BYTES:
		b->size = below(20);
		b->data = proto_alloc(a, b->size, 1);
		for (size_t i = 0; i < b->size; i++)
			b->data[i] = (uint8_t)random64();
		break;
	case PROTO_FILE:
		/* of requests alone: its bytes are the file system's, as they are */
		file->path = below(2) ? "/a \"b\"\x01" : NULL;
		file->fd = (uint32_t)number();
		break;
	case PROTO_ENUM:
		*(uint32_t *)out =
			below(8) ? f->en->values[below(f->en->count)].number : (uint32_t)number();
		break;
	case PROTO_STRUCT:
		fill(f->sub(), out, a, depth + 1);
		break;
	case PROTO_JSON:
		assert_true(kept_count < sizeof(kept) / sizeof(kept[0]));
		*(struct json_object **)out = kept[kept_count++] = json();
		break;
	case PROTO_TYPE_COUNT:
		break;
	}
}

static void fill(const struct proto_struct *desc, void *out, struct proto_arena *a, int depth)
{
	for (size_t i = 0; i < desc->count; i++) {
		const struct proto_field *f = &desc->fields[i];
		unsigned char *base = out;
		unsigned char *items;
		size_t n = depth < DEPTH_MAX ? below(4) : 0;

		*(bool *)(base + f->has_offset) = below(2);
		if (!f->list) {
			fill_value(f, base + f->offset, a, depth);
			continue;
		}
		items = proto_alloc(a, n, f->size);
		for (size_t k = 0; k < n; k++)
			fill_value(f, items + k * f->size, a, depth);
		*(unsigned char **)(base + f->offset) = items;
		*(size_t *)(base + f->count_offset) = n;
	}
}

static void compare(const struct proto_struct *desc, const void *in, size_t round)
{
	struct json_object *obj = proto_encode(desc, in);
	struct proto_text text = {.data = NULL};
	const char *expected;
	size_t len;

	assert_non_null(obj);
	expected = proto_json_text(obj, &len);
	proto_print(&text, desc, in);
	assert_false(text.failed);
	if (text.size != len || memcmp(text.data, expected, len) != 0)
		fail_msg("%s, round %zu:\n%s\n%.*s", desc->id, round, expected, (int)text.size,
			 text.data);
	proto_text_free(&text);
	json_object_put(obj);
}

static void test_same_bytes(void **state)
{
	(void)state;
	for (size_t i = 0; proto_structs[i]; i++) {
		const struct proto_struct *desc = proto_structs[i]();

		for (size_t round = 0; round < ROUNDS; round++) {
			struct proto_arena a = {0};
			void *in = proto_alloc(&a, 1, desc->size);

			seed = (i + 1) * 1000003 + round;
			fill(desc, in, &a, 0);
			compare(desc, in, round);
			proto_arena_free(&a);
			while (kept_count)
				json_object_put(kept[--kept_count]);
		}
	}
}

/* --- text that grows ---------------------------------------------------------------------------
 */

static void test_growing(void **state)
{
	static char piece[5000];
	struct proto_text t = {.data = NULL};
	size_t expected = 0;

	(void)state;
	for (size_t n = 0; n < 5000; n += 7) {
		memset(piece, (int)(n & 0x7f), n);
		proto_text_add(&t, piece, n);
		expected += n;
		assert_int_equal(t.size, expected);
	}
	for (size_t n = 0, at = 0; n < 5000; at += n, n += 7)
		for (size_t k = 0; k < n; k++)
			assert_int_equal(t.data[at + k], (char)(n & 0x7f));
	/* what can't be had is told, and the rest is lost */
	assert_null(proto_text_room(&t, SIZE_MAX / 2));
	assert_true(t.failed);
	proto_text_add(&t, "x", 1);
	assert_int_equal(t.size, expected);
	proto_text_free(&t);
	assert_false(t.failed);
}

/* --- the arena that decoded structures live in --------------------------------------------------
 */

static void test_arena(void **state)
{
	static const size_t sizes[] = {0,   1,	 15,   16,   17,    100,  511,
				       512, 513, 1024, 5000, 16384, 70000};
	const size_t count = sizeof(sizes) / sizeof(sizes[0]) * 40;
	struct {
		unsigned char *p;
		size_t size;
	} pieces[520];
	struct proto_arena a = {0};

	(void)state;
	assert_true(count <= sizeof(pieces) / sizeof(pieces[0]));
	seed = 1;
	for (size_t i = 0; i < count; i++) {
		pieces[i].size = sizes[below(sizeof(sizes) / sizeof(sizes[0]))];
		pieces[i].p = proto_alloc(&a, pieces[i].size, 1);
		assert_non_null(pieces[i].p);
		assert_int_equal((uintptr_t)pieces[i].p % _Alignof(max_align_t), 0);
		for (size_t k = 0; k < pieces[i].size; k++)
			assert_int_equal(pieces[i].p[k], 0);
		memset(pieces[i].p, (int)(i & 0xff), pieces[i].size);
	}
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < pieces[i].size; k++)
			if (pieces[i].p[k] != (i & 0xff))
				fail_msg("piece %zu of %zu bytes has been written over", i,
					 pieces[i].size);
	assert_null(proto_alloc(&a, SIZE_MAX, 2));
	assert_null(proto_alloc(&a, SIZE_MAX / 2, 1));
	proto_arena_free(&a);
	assert_null(a.blocks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_bytes),
		cmocka_unit_test(test_growing),
		cmocka_unit_test(test_arena),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
