// SPDX-License-Identifier: MIT
/* mappings, dirty. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "hvctl/fields.h"
#include "hvctl/show.h"
#include "hvctl/text.h"

/* --- mappings ------------------------------------------------------------------------ */

int show_address_digits(struct json_object *result)
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
	int digits = show_address_digits(result);
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
	char number[TEXT_NUMBER];

	fprintf(ctx->out, "%s: EP4TA %s, %s of EPT tables, accessed and dirty flags %s\n",
		field_text(result, "vm", "?"), field_text(result, "ep4ta", "?"),
		text_size(number, field_count(result, "table_bytes")),
		field_bool(result, "accessed_dirty") ? "on" : "off");
	if (call->picture) {
		show_picture(ctx, result, p->gpa);
	} else {
		struct table *t = table_new(columns, 10);

		map_rows(t, result, p->gpa);
		table_print(t, ctx->out, 2, ctx->colour);
	}
	if (!field_items(result, "mappings"))
		fputs("  nothing is mapped\n", ctx->out);
	if (field_string(result, "next_gpa"))
		fprintf(ctx->out, "there is more: --gpa %s\n", field_string(result, "next_gpa"));
}

static int set_picture(struct hvctl_call *call, const char *text)
{
	(void)text;
	call->picture = true;
	return HVCTL_OK;
}

static const struct hvctl_option mappings_options[] = {
	{"map", NULL, "draw them: each range with its leaves, and the holes between", set_picture},
	{NULL, NULL, NULL, NULL},
};

const struct hvctl_verb hvctl_verb_memory_mappings = {
	.example = "demo --map",
	.options = mappings_options,
	.show = show_mappings,
};

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

static const struct hvctl_option dirty_options[] = {
	{"all", NULL, "list every range of dirty pages", hvctl_set_all},
	{NULL, NULL, NULL, NULL},
};

const struct hvctl_verb hvctl_verb_memory_dirty = {
	.example = "demo --gpa 0 --size 64M --clear",
	.options = dirty_options,
	.show = show_dirty,
};
