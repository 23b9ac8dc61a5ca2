// SPDX-License-Identifier: MIT
/* mappings, dirty, batch. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "hvctl/fields.h"
#include "hvctl/show.h"
#include "hvctl/text.h"

/* --- mappings ------------------------------------------------------------------------ */

/* Hexadecimal digits that the highest address of the map takes. */
static int address_digits(struct json_object *result)
{
	size_t n = field_items(result, "mappings");
	struct json_object *last = n ? field_item(result, "mappings", n - 1) : NULL;
	uint64_t end = field_count(last, "gpa") + field_count(last, "size_bytes") - 1;
	int digits = 1;

	while (last && digits < 16 && end >> 4 * digits)
		digits++;
	return digits;
}

/* A count of leaves; nothing for none, so that unused columns go. */
static void leaves_cell(struct table *t, struct json_object *obj, const char *name)
{
	char number[TEXT_NUMBER];

	table_cell(t, "%s", field_count(obj, name) ? text_member(number, obj, name) : "");
}

static void range_cells(struct table *t, int digits, uint64_t first, uint64_t size)
{
	char number[TEXT_NUMBER];

	table_cell(t, "0x%0*" PRIx64 "-0x%0*" PRIx64, digits, first, digits, first + size - 1);
	table_cell(t, "%s", text_size(number, size));
}

static void hole_row(struct table *t, int digits, uint64_t first, uint64_t end)
{
	range_cells(t, digits, first, end - first);
	table_cell(t, "not mapped");
	for (int i = 0; i < 7; i++)
		table_cell(t, "%s", "");
}

static void mapping_row(struct table *t, int digits, struct json_object *m)
{
	struct json_object *leaves = field_object(m, "leaves");
	char number[TEXT_NUMBER];

	range_cells(t, digits, field_count(m, "gpa"), field_count(m, "size_bytes"));
	table_cell(t, "%s+0x%" PRIx64, field_text(m, "slot", "?"), field_count(m, "offset_bytes"));
	table_cell(t, "%s", field_text(m, "prot", "?"));
	table_cell(t, "%s", field_text(m, "memory_type", "?"));
	leaves_cell(t, leaves, "size_4k");
	leaves_cell(t, leaves, "size_2m");
	leaves_cell(t, leaves, "size_1g");
	table_cell(t, "%s", field_object(m, "accessed") ? text_member(number, m, "accessed") : "");
	table_cell(t, "%s", field_object(m, "dirty") ? text_member(number, m, "dirty") : "");
}

/* A hole before the first mapping that was asked for is not known to be one. */
static void map_rows(struct table *t, struct json_object *result, uint64_t asked)
{
	int digits = address_digits(result);
	uint64_t at = 0;

	for (size_t i = 0; i < field_items(result, "mappings"); i++) {
		struct json_object *m = field_item(result, "mappings", i);
		uint64_t gpa = field_count(m, "gpa");

		if (gpa > at && (i || !asked))
			hole_row(t, digits, at, gpa);
		mapping_row(t, digits, m);
		at = gpa + field_count(m, "size_bytes");
	}
}

static void show_mappings(struct hvctl_call *call, struct json_object *result)
{
	static const struct table_column columns[] = {
		{"guest-physical", false}, {"size", true}, {"slot+offset", false}, {"prot", false},
		{"type", false},	   {"4K", true},   {"2M", true},	   {"1G", true},
		{"accessed", true},	   {"dirty", true}};
	const struct proto_mappings_params *p = call->params;
	const struct hvctl_context *ctx = call->ctx;
	struct table *t = table_new(columns, 10);
	char number[TEXT_NUMBER];

	fprintf(ctx->out, "%s: EP4TA %s, %s of EPT tables, accessed and dirty flags %s\n",
		field_text(result, "vm", "?"), field_text(result, "ep4ta", "?"),
		text_size(number, field_count(result, "table_bytes")),
		field_bool(result, "accessed_dirty") ? "on" : "off");
	map_rows(t, result, p->gpa);
	table_print(t, ctx->out, 2, ctx->colour);
	if (!field_items(result, "mappings"))
		fputs("  nothing is mapped\n", ctx->out);
	if (field_string(result, "next_gpa"))
		fprintf(ctx->out, "there is more: --gpa %s\n", field_string(result, "next_gpa"));
}

const struct hvctl_verb hvctl_verb_memory_mappings = {.example = "demo", .show = show_mappings};

/* --- dirty -------------------------------------------------------------------------------- */

#define RANGES_SHOWN 40

static bool bit(const uint8_t *bitmap, size_t bytes, uint64_t n)
{
	return n / 8 < bytes && bitmap[n / 8] >> n % 8 & 1;
}

/* Ranges of dirty pages, the first of them unless all are asked for. */
static void show_ranges(struct hvctl_call *call, const uint8_t *bitmap, size_t bytes, uint64_t gpa)
{
	FILE *out = call->ctx->out;
	uint64_t pages = (uint64_t)bytes * 8, first, n;
	size_t shown = 0, left = 0;
	char number[64];

	for (n = 0; n < pages; n++) {
		if (!bit(bitmap, bytes, n))
			continue;
		for (first = n; bit(bitmap, bytes, n + 1);)
			n++;
		if (shown++ >= RANGES_SHOWN && !call->all) {
			left++;
			continue;
		}
		fprintf(out, "  0x%" PRIx64 "-0x%" PRIx64 "  %s\n", gpa + first * 4096,
			gpa + n * 4096 + 4095,
			text_plural(number, sizeof(number), n - first + 1, "page", "pages"));
	}
	if (left)
		fprintf(out, "  ... %s more (--all shows them)\n",
			text_plural(number, sizeof(number), left, "range", "ranges"));
}

static void show_dirty(struct hvctl_call *call, struct json_object *result)
{
	uint64_t gpa = field_count(result, "gpa"), size = field_count(result, "size_bytes");
	const char *text = field_text(result, "bitmap", "");
	size_t length = strlen(text), bytes = 0;
	uint8_t *bitmap = malloc(length / 4 * 3 + 1);
	char a[TEXT_NUMBER], b[64];

	if (!bitmap || proto_base64_decode(text, length, bitmap, &bytes)) {
		call->code = hvctl_fail(call->ctx, bitmap ? HVCTL_NO_DAEMON : HVCTL_LOCAL,
					bitmap ? "the daemon's \"bitmap\" is not base64"
					       : "out of memory");
		free(bitmap);
		return;
	}
	fprintf(call->ctx->out, "0x%" PRIx64 "-0x%" PRIx64 ": %s of %s dirty\n", gpa,
		gpa + size - 1, text_member(a, result, "dirty_pages"),
		text_plural(b, sizeof(b), size / 4096, "page", "pages"));
	show_ranges(call, bitmap, bytes, gpa);
	free(bitmap);
	if (field_bool(result, "cleared"))
		show_change(call, field_object(result, "change"), false);
}

static int set_all(struct hvctl_call *call, const char *text)
{
	(void)text;
	call->all = true;
	return HVCTL_OK;
}

static const struct hvctl_option dirty_options[] = {
	{"all", NULL, "list every range of dirty pages", set_all},
	{NULL, NULL, NULL, NULL},
};

const struct hvctl_verb hvctl_verb_memory_dirty = {
	.example = "demo --gpa 0 --size 64M --clear",
	.options = dirty_options,
	.show = show_dirty,
};

/* --- batch ---------------------------------------------------------------------------------- */

/* Room for one more operation; NULL after a message. */
static struct proto_map_operation *next_operation(struct hvctl_call *call, int *ret_code)
{
	struct proto_batch_params *p = call->params;

	if (!p->operations)
		p->operations =
			proto_alloc(&call->arena, PROTO_OPERATIONS_MAX, sizeof(*p->operations));
	*ret_code = HVCTL_OK;
	if (!p->operations)
		*ret_code = hvctl_fail(call->ctx, HVCTL_LOCAL, "out of memory");
	else if (p->operations_count == PROTO_OPERATIONS_MAX)
		*ret_code = hvctl_fail(call->ctx, HVCTL_USAGE, "op: more than %d operations",
				       PROTO_OPERATIONS_MAX);
	if (*ret_code)
		return NULL;
	p->has_operations = true;
	return &p->operations[p->operations_count++];
}

/* "remap" or "gpa=0x400000" */
static int set_member(struct hvctl_call *call, struct proto_map_operation *o, char *word)
{
	const struct proto_struct *desc = proto_desc_map_operation();
	char *equals = strchr(word, '=');
	const char *name = equals ? word : "op";
	const struct proto_field *f;
	struct proto_error err = {0};

	if (equals)
		*equals = 0;
	f = proto_field_by_option(desc, name);
	if (!f)
		return hvctl_fail(call->ctx, HVCTL_USAGE, "op: an operation has no %s", name);
	if (proto_set_from_string(f, o, equals ? equals + 1 : word, &call->arena, &err))
		return hvctl_fail(call->ctx, HVCTL_USAGE, "op: %s: %s", err.field, err.text);
	return HVCTL_OK;
}

static int set_op(struct hvctl_call *call, const char *text)
{
	struct proto_error err = {0};
	struct proto_map_operation *o;
	char *words, *save = NULL;
	int code;

	if (call->raw)
		return hvctl_fail(call->ctx, HVCTL_USAGE, "op: operations are given twice");
	o = next_operation(call, &code);
	words = o ? proto_strdup(&call->arena, text) : NULL;
	if (o && !words)
		code = hvctl_fail(call->ctx, HVCTL_LOCAL, "out of memory");
	for (char *w = words ? strtok_r(words, ",", &save) : NULL; w && !code;
	     w = strtok_r(NULL, ",", &save))
		code = set_member(call, o, w);
	if (!code && proto_check_required(proto_desc_map_operation(), o, &err))
		code = hvctl_fail(call->ctx, HVCTL_USAGE, "op: %s: %s", err.field, err.text);
	return code;
}

/* A file of at most a message's size, as text to free(); NULL after a message. */
static char *read_text(const struct hvctl_context *ctx, const char *path, size_t *ret_length,
		       int *ret_code)
{
	FILE *file = fopen(path, "rbe");
	char *text = malloc(PROTO_MESSAGE_MAX + 1);
	bool failed;

	*ret_code = HVCTL_LOCAL;
	if (!file || !text) {
		hvctl_fail(ctx, HVCTL_LOCAL, "%s: %s", path, strerror(errno));
		goto out;
	}
	*ret_length = fread(text, 1, PROTO_MESSAGE_MAX + 1, file);
	failed = ferror(file);
	if (failed)
		hvctl_fail(ctx, HVCTL_LOCAL, "%s: cannot be read", path);
	else if (*ret_length > PROTO_MESSAGE_MAX)
		*ret_code = hvctl_fail(ctx, HVCTL_USAGE, "%s: more than %u bytes", path,
				       PROTO_MESSAGE_MAX);
	else
		*ret_code = HVCTL_OK;
out:
	if (file)
		fclose(file);
	if (!*ret_code)
		return text;
	free(text);
	return NULL;
}

/* The file holds a list, as the method's "operations". Decoded here, its errors are early. */
static int set_file(struct hvctl_call *call, const char *path)
{
	struct proto_batch_params *p = call->params, read = {0};
	struct json_object *list = NULL, *params = NULL;
	struct proto_error err = {0};
	size_t length = 0;
	int code;
	char *text = read_text(call->ctx, path, &length, &code);

	if (!text)
		return code;
	if (p->has_operations) {
		code = hvctl_fail(call->ctx, HVCTL_USAGE, "file: operations are given twice");
		goto out;
	}
	if (proto_json_parse(text, length, &list, &err)) {
		code = hvctl_fail(call->ctx, HVCTL_USAGE, "%s: %s", path, err.text);
		goto out;
	}
	params = json_object_new_object();
	json_object_object_add(params, "vm", json_object_new_string("any"));
	json_object_object_add(params, "operations", list);
	if (proto_decode(proto_desc_batch_params(), params, &read, &call->arena, &err)) {
		code = hvctl_fail(call->ctx, HVCTL_USAGE, "%s: %s: %s", path, err.field, err.text);
	} else {
		p->operations = read.operations;
		p->operations_count = read.operations_count;
		p->has_operations = true;
		call->raw = true; /* they are the file's: no more are added */
	}
	json_object_put(params);
out:
	free(text);
	return code;
}

static int check_operations(struct hvctl_call *call)
{
	const struct proto_batch_params *p = call->params;

	if (!p->has_operations)
		return hvctl_fail(call->ctx, HVCTL_USAGE,
				  "batch of what? --op OPERATION, again and again, or --file PATH");
	return HVCTL_OK;
}

static void show_batch(struct hvctl_call *call, struct json_object *result)
{
	const struct proto_batch_params *p = call->params;

	show_change(call, result, p->skip_invalidation);
}

static const struct hvctl_option batch_options[] = {
	{"op", "OPERATION",
	 "one more change: remap,gpa=0x400000,size=4K,slot=spare,offset=0; its members are the "
	 "options of the verb of that name",
	 set_op},
	{"file", "PATH", "the changes, as a JSON list of the method's operations", set_file},
	{NULL, NULL, NULL, NULL},
};

const struct hvctl_verb hvctl_verb_memory_batch = {
	.example = "demo --op unmap,gpa=0x200000,size=4K --op protect,gpa=0x400000,size=4K,prot=r",
	.options = batch_options,
	.prepare = check_operations,
	.show = show_batch,
};
