// SPDX-License-Identifier: MIT
/*
 * Where a fuzzer begins, from the tables: gen_seeds FOLDER writes FOLDER/hvd.dict (names of
 * methods, parameters and values) and FOLDER/TARGET/... (a request or more of each method).
 */
#include "fuzz.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static const char *folder;

static void write_file(const char *target, const char *name, const void *data, size_t size)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, target);
	CHECK(!mkdir(path, 0777) || errno == EEXIST);
	snprintf(path, sizeof(path), "%s/%s/%s", folder, target, name);
	f = fopen(path, "wb");
	CHECK(f && fwrite(data, 1, size, f) == size && !fclose(f));
}

/* --- the dictionary --------------------------------------------------------------------- */

static void word(FILE *f, const char *text)
{
	fputc('"', f);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', f);
		fputc(*text, f);
	}
	fputs("\"\n", f);
}

static void quoted(FILE *f, const char *text, const char *behind)
{
	char s[256];

	snprintf(s, sizeof(s), "\"%s\"%s", text, behind);
	word(f, s);
}

static void write_dictionary(void)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/hvd.dict", folder);
	f = fopen(path, "w");
	CHECK(f);
	for (size_t i = 0; i < PROTO_METHOD_COUNT; i++)
		quoted(f, proto_methods[i].name, "");
	for (size_t i = 0; i < PROTO_NOTIFICATION_COUNT; i++)
		quoted(f, proto_notifications[i].name, "");
	for (size_t i = 0; i < PROTO_METHOD_COUNT; i++)
		for (size_t k = 0; k < proto_methods[i].params()->count; k++)
			quoted(f, proto_methods[i].params()->fields[k].name, ":");
	for (size_t i = 0; proto_enums[i]; i++)
		for (size_t k = 0; k < proto_enums[i]->count; k++)
			quoted(f, proto_enums[i]->values[k].name, "");
	for (size_t i = 0; i < PROTO_ERROR_COUNT; i++)
		quoted(f, proto_error_info[i].name, "");
	quoted(f, "jsonrpc", ":\"2.0\",");
	quoted(f, "id", ":");
	quoted(f, "method", ":");
	quoted(f, "params", ":{");
	quoted(f, "result", ":{");
	quoted(f, "error", ":{");
	word(f, "0x200000");
	word(f, "18446744073709551615");
	CHECK(!fclose(f));
}

/* --- inputs ---------------------------------------------------------------------------------- */

/* A request of the method: with what is required, or with everything. */
static struct json_object *request(const struct proto_method *m, bool full)
{
	static uint8_t ones[4096];
	struct choices c = {ones, full ? sizeof(ones) : 0};
	struct json_object *r = json_object_new_object();

	memset(ones, 1, sizeof(ones));
	json_object_object_add(r, "jsonrpc", json_object_new_string("2.0"));
	json_object_object_add(r, "id", json_object_new_int(1));
	json_object_object_add(r, "method", json_object_new_string(m->name));
	json_object_object_add(r, "params", choose_params(&c, m->params()));
	return r;
}

static void prefixed(const char *target, const char *name, const char *prefix, size_t prefix_size,
		     const char *text, size_t size)
{
	char *data = malloc(prefix_size + size);

	CHECK(data);
	memcpy(data, prefix, prefix_size);
	memcpy(data + prefix_size, text, size);
	write_file(target, name, data, prefix_size + size);
	free(data);
}

static void write_method(size_t i, bool full)
{
	struct json_object *r = request(&proto_methods[i], full);
	const char codec[2] = {(char)i, 0}, bytes[3] = {0, 0, 1};
	uint8_t made[200] = {1, 0, (uint8_t)i, 1};
	const char *text;
	char name[128];
	size_t len;

	snprintf(name, sizeof(name), "%s%s", proto_methods[i].name, full ? ".full" : "");
	text = proto_json_text(json_object_object_get(r, "params"), &len);
	prefixed("codec", name, codec, sizeof(codec), text, len);
	text = proto_json_text(r, &len);
	prefixed("daemon", name, bytes, sizeof(bytes), text, len);
	memset(made + 4, full, sizeof(made) - 4);
	snprintf(name, sizeof(name), "%s%s.made", proto_methods[i].name, full ? ".full" : "");
	write_file("daemon", name, made, sizeof(made));
	json_object_put(r);
}

static void write_replies(void)
{
	static const char *const streams[] = {
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"a\":\"AAEC\"}}\n",
		("{\"jsonrpc\":\"2.0\",\"id\":2,\"error\":{\"code\":-32001,\"message\":\"m\","
		 "\"data\":{\"kind\":\"not-found\",\"field\":\"vm\",\"limit\":7}}}\n"),
		"{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{\"seq\":1}}\n",
		"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32007,\"message\":\"m\"}}\n",
	};
	char all[1024] = "", name[16];

	for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
		snprintf(name, sizeof(name), "%zu", i);
		prefixed("reply", name, "\0\4", 2, streams[i], strlen(streams[i]));
		strncat(all, streams[i], sizeof(all) - strlen(all) - 1);
		prefixed("framing", name, "\377\7", 2, all, strlen(all));
	}
	prefixed("reply", "all", "\1\5", 2, all, strlen(all));
	snprintf(all, sizeof(all), "%s%s%s", streams[1], streams[0], streams[0]);
	prefixed("reply", "twice", "\0\0", 2, all, strlen(all));
}

/* Sequences of one ioctl after the other as it should be, and of all of them at random. */
static void write_device(void)
{
	uint8_t data[2048];
	uint32_t random = 1;
	char name[32];

	for (unsigned cmd = 0; cmd < 32; cmd++) {
		for (size_t i = 0; i < sizeof(data); i++)
			data[i] = i % 8 == 2 ? (uint8_t)cmd : i % 8 == 3 ? 5 : 0;
		snprintf(name, sizeof(name), "right-%u", cmd);
		write_file("device", name, data, 256);
		for (size_t i = 0; i < sizeof(data); i++) {
			random = random * 1103515245u + 12345;
			data[i] = (uint8_t)(random >> 16);
		}
		snprintf(name, sizeof(name), "random-%u", cmd);
		write_file("device", name, data, sizeof(data));
	}
}

int main(int argc, char **argv)
{
	CHECK(argc == 2);
	folder = argv[1];
	CHECK(!mkdir(folder, 0777) || errno == EEXIST);
	write_dictionary();
	for (size_t i = 0; i < PROTO_METHOD_COUNT; i++) {
		write_method(i, false);
		write_method(i, true);
	}
	write_replies();
	write_device();
	return 0;
}
