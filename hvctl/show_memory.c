// SPDX-License-Identifier: MIT
/* map, unmap, remap, protect; read, write. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "hvctl/fields.h"
#include "hvctl/show.h"
#include "hvctl/text.h"
#include "hvctl/verb.h"

#define LABEL 15 /* columns of "would write    " */

/* --- changes of mappings ------------------------------------------------------------- */

static void label(const struct hvctl_context *ctx, const char *text)
{
	fprintf(ctx->out, "%s%-*s%s", text_style(ctx->colour, STYLE_BOLD), LABEL, text,
		text_style(ctx->colour, STYLE_NONE));
}

static void show_tables(const struct hvctl_context *ctx, struct json_object *r)
{
	static const struct {
		const char *name, *one, *many;
	} rows[] = {
		{"entries_split", "large leaf split", "large leaves split"},
		{"tables_merged", "table merged into a large leaf",
		 "tables merged into large leaves"},
		{"tables_allocated", "table allocated", "tables allocated"},
		{"tables_freed", "table freed", "tables freed"},
	};
	char number[64];

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		uint64_t n = field_count(r, rows[i].name);

		if (!n)
			continue;
		fprintf(ctx->out, ", %s",
			text_plural(number, sizeof(number), n, rows[i].one, rows[i].many));
	}
}

static void show_need(const struct hvctl_context *ctx, struct json_object *r, bool dry,
		      bool left_out)
{
	struct json_object *inval = field_object(r, "invalidation");
	const char *need = field_text(inval, "need", "?");
	const char *instruction = field_string(inval, "instruction");
	const char *section = field_string(inval, "section");

	label(ctx, strcmp(need, "required") == 0   ? "requires"
		   : strcmp(need, "optional") == 0 ? "may take"
						   : "requires");
	if (instruction)
		fprintf(ctx->out, "%s %s  EP4TA %s\n", instruction, field_text(inval, "type", ""),
			field_text(r, "ep4ta", "?"));
	else
		fputs("no invalidation\n", ctx->out);
	fprintf(ctx->out, "%*s", LABEL, "");
	text_wrap(ctx->out, LABEL, field_text(inval, "text", ""));
	if (section)
		fprintf(ctx->out, "%*s(\"%s\")\n", LABEL, "", section);
	if (left_out && !dry && instruction) {
		label(ctx, "LEFT OUT");
		fprintf(ctx->out,
			"%sthe invalidation, as asked: processors may go on using what "
			"they cached%s\n",
			text_style(ctx->colour, STYLE_WARN), text_style(ctx->colour, STYLE_NONE));
	}
}

static void show_processors(const struct hvctl_context *ctx, struct json_object *r, bool dry)
{
	char number[TEXT_NUMBER];

	label(ctx, "processors");
	fprintf(ctx->out, "%s in guest (%s), ", text_member(number, r, "processors_interrupted"),
		dry ? "would be interrupted" : "interrupted, flushed");
	fprintf(ctx->out, "%s deferred", text_member(number, r, "processors_deferred"));
	if (!dry)
		fprintf(ctx->out, "; %s INVEPT issued at once",
			text_member(number, r, "invept_issued"));
	fputc('\n', ctx->out);
}

void show_change(struct hvctl_call *call, struct json_object *r, bool left_out)
{
	const struct hvctl_context *ctx = call->ctx;
	bool dry = field_bool(r, "dry_run");
	char number[64];

	label(ctx, dry ? "would write" : "wrote");
	fputs(text_plural(number, sizeof(number), field_count(r, "entries_written"), "EPT entry",
			  "EPT entries"),
	      ctx->out);
	show_tables(ctx, r);
	fputc('\n', ctx->out);
	show_need(ctx, r, dry, left_out);
	show_processors(ctx, r, dry);
}

#define SHOW_CHANGE(id)                                                       \
	static void show_##id(struct hvctl_call *call, struct json_object *r) \
	{                                                                     \
		const struct proto_##id##_params *p = call->params;           \
                                                                              \
		show_change(call, r, p->skip_invalidation);                   \
	}
SHOW_CHANGE(map)
SHOW_CHANGE(unmap)
SHOW_CHANGE(remap)
SHOW_CHANGE(protect)

const struct hvctl_verb hvctl_verb_memory_map = {
	.example = "demo --gpa 0x8000000 --size 2M --slot spare --prot rw",
	.show = show_map,
};
const struct hvctl_verb hvctl_verb_memory_unmap = {
	.example = "demo --gpa 0x8000000 --size 2M",
	.show = show_unmap,
};
const struct hvctl_verb hvctl_verb_memory_remap = {
	.example = "demo --gpa 0x400000 --size 4K --slot spare --offset 0 --dry-run",
	.show = show_remap,
};
const struct hvctl_verb hvctl_verb_memory_protect = {
	.example = "demo --gpa 0x400000 --size 4K --prot r",
	.show = show_protect,
};

/* --- bytes ------------------------------------------------------------------------------ */

uint8_t *show_take_bytes(struct hvctl_call *call, struct json_object *result, const char *name,
			 size_t *ret_size)
{
	const char *text = field_text(result, name, "");
	size_t length = strlen(text);
	uint8_t *data = malloc(length / 4 * 3 + 1);

	if (!data) {
		call->code = hvctl_fail(call->ctx, HVCTL_LOCAL, "out of memory");
	} else if (proto_base64_decode(text, length, data, ret_size)) {
		call->code = hvctl_fail(call->ctx, HVCTL_NO_DAEMON,
					"the daemon's \"%s\" is not base64", name);
		free(data);
		data = NULL;
	}
	return data;
}

static void dump_line(FILE *out, uint64_t address, const uint8_t *data, size_t n)
{
	fprintf(out, "%08" PRIx64 " ", address);
	for (size_t i = 0; i < 16; i++) {
		if (i < n)
			fprintf(out, "%s%02x", i == 8 ? "  " : " ", data[i]);
		else
			fprintf(out, "%s  ", i == 8 ? "  " : " ");
	}
	fputs("  |", out);
	for (size_t i = 0; i < n; i++)
		fputc(data[i] >= 0x20 && data[i] < 0x7f ? data[i] : '.', out);
	fputs("|\n", out);
}

/* As hexdump -C: equal lines are shown as one star. */
static void dump(FILE *out, uint64_t address, const uint8_t *data, size_t size)
{
	bool starred = false;

	for (size_t at = 0; at < size; at += 16) {
		size_t n = size - at < 16 ? size - at : 16;

		if (at && n == 16 && at + 16 < size && memcmp(data + at, data + at - 16, 16) == 0) {
			if (!starred)
				fputs("*\n", out);
			starred = true;
			continue;
		}
		starred = false;
		dump_line(out, address + at, data + at, n);
	}
}

static void show_read(struct hvctl_call *call, struct json_object *result)
{
	const struct proto_read_params *p = call->params;
	uint64_t address = p->has_gpa ? p->gpa : p->has_gva ? p->gva : p->offset_bytes;
	size_t size = 0;
	uint8_t *data = show_take_bytes(call, result, "data", &size);

	if (!data)
		return;
	if (call->raw)
		fwrite(data, 1, size, call->ctx->out);
	else
		dump(call->ctx->out, address, data, size);
	free(data);
}

static const struct hvctl_option read_options[] = {
	{"raw", NULL, "print the bytes as they are, not as a hexadecimal dump", hvctl_set_raw},
	{NULL, NULL, NULL, NULL},
};

const struct hvctl_verb hvctl_verb_memory_read = {
	.example = "demo --gpa 0x400000 --size 64",
	.options = read_options,
	.show = show_read,
};

/* Exactly one of --data, --text, --hex, --file gives the bytes. */
static int set_data(struct hvctl_call *call, const void *data, size_t size, const char *option)
{
	struct proto_write_params *p = call->params;

	if (p->has_data)
		return hvctl_fail(call->ctx, HVCTL_USAGE,
				  "%s: the bytes are given twice; one of --text, --hex, --file",
				  option);
	if (!size || size > PROTO_BYTES_MAX)
		return hvctl_fail(call->ctx, HVCTL_USAGE, "%s: %zu bytes; 1 to %u can be written",
				  option, size, PROTO_BYTES_MAX);
	p->data.data = proto_alloc(&call->arena, size, 1);
	if (!p->data.data)
		return hvctl_fail(call->ctx, HVCTL_LOCAL, "out of memory");
	memcpy(p->data.data, data, size);
	p->data.size = size;
	p->has_data = true;
	return HVCTL_OK;
}

static int set_text(struct hvctl_call *call, const char *text)
{
	/* with its NUL: guests read strings */
	return set_data(call, text, strlen(text) + 1, "text");
}

static int set_hex(struct hvctl_call *call, const char *text)
{
	const struct proto_field *f = proto_field_by_name(call->method->params(), "data");
	const struct proto_write_params *p = call->params;
	struct proto_error err = {0};

	if (p->has_data)
		return set_data(call, "", 0, "hex");
	if (proto_set_from_string(f, call->params, text, &call->arena, &err))
		return hvctl_fail(call->ctx, HVCTL_USAGE, "hex: %s", err.text);
	return HVCTL_OK;
}

static int set_file(struct hvctl_call *call, const char *path)
{
	static uint8_t buf[PROTO_BYTES_MAX + 1];
	FILE *file = fopen(path, "rbe");
	size_t size;
	bool failed;

	if (!file)
		return hvctl_fail(call->ctx, HVCTL_LOCAL, "%s: %s", path, strerror(errno));
	size = fread(buf, 1, sizeof(buf), file);
	failed = ferror(file);
	fclose(file);
	if (failed)
		return hvctl_fail(call->ctx, HVCTL_LOCAL, "%s: cannot be read", path);
	return set_data(call, buf, size, "file");
}

static int check_data(struct hvctl_call *call)
{
	const struct proto_write_params *p = call->params;

	if (!p->has_data)
		return hvctl_fail(call->ctx, HVCTL_USAGE,
				  "write what? --text TEXT, --hex DIGITS or --file PATH");
	return HVCTL_OK;
}

static const struct hvctl_option write_options[] = {
	{"text", "TEXT", "write this text and a zero byte behind it", set_text},
	{"hex", "DIGITS", "write these bytes, in hexadecimal", set_hex},
	{"file", "PATH", "write what the file holds, at most 1 MiB", set_file},
	{NULL, NULL, NULL, NULL},
};

static void show_written(struct hvctl_call *call, struct json_object *result)
{
	char number[64];

	fprintf(call->ctx->out, "%s written\n",
		text_plural(number, sizeof(number), field_count(result, "size_bytes"), "byte",
			    "bytes"));
}

const struct hvctl_verb hvctl_verb_memory_write = {
	.example = "demo --gpa 0x400000 --text NEW",
	.options = write_options,
	.prepare = check_data,
	.show = show_written,
};
