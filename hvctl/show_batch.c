// SPDX-License-Identifier: MIT
/* batch: operations one by one, from a JSON file, or packed from lines of text. */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hvctl/show.h"
#include "hvctl/verb.h"

/* --- operations ------------------------------------------------------------------------ */

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

/* "remap" or "gpa=0x400000": a member of an operation, or of what packed ones share. */
static int set_member(struct hvctl_call *call, const char *option, const struct proto_struct *desc,
		      void *out, char *word)
{
	char *equals = strchr(word, '=');
	const char *name = equals ? word : "op";
	const struct proto_field *f;
	struct proto_error err = {0};

	if (equals)
		*equals = 0;
	f = proto_field_by_option(desc, name);
	if (!f)
		return hvctl_fail(call->ctx, HVCTL_USAGE, "%s: an operation has no %s", option,
				  name);
	if (proto_set_from_string(f, out, equals ? equals + 1 : word, &call->arena, &err))
		return hvctl_fail(call->ctx, HVCTL_USAGE, "%s: %s: %s", option, err.field,
				  err.text);
	return HVCTL_OK;
}

static int set_members(struct hvctl_call *call, const char *option, const struct proto_struct *desc,
		       void *out, const char *text)
{
	char *words = proto_strdup(&call->arena, text), *save = NULL;
	int code = HVCTL_OK;

	if (!words)
		return hvctl_fail(call->ctx, HVCTL_LOCAL, "out of memory");
	for (char *w = strtok_r(words, ",", &save); w && !code; w = strtok_r(NULL, ",", &save))
		code = set_member(call, option, desc, out, w);
	return code;
}

static int set_op(struct hvctl_call *call, const char *text)
{
	const struct proto_struct *desc = proto_desc_map_operation();
	struct proto_error err = {0};
	struct proto_map_operation *o;
	int code;

	if (call->raw)
		return hvctl_fail(call->ctx, HVCTL_USAGE, "op: operations are given twice");
	o = next_operation(call, &code);
	if (o)
		code = set_members(call, "op", desc, o, text);
	if (!code && proto_check_required(desc, o, &err))
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

/* --- packed records -------------------------------------------------------------------- */

static int set_packed(struct hvctl_call *call, const char *text)
{
	struct proto_batch_params *p = call->params;
	int code;

	if (p->has_packed)
		return hvctl_fail(call->ctx, HVCTL_USAGE, "packed: is given twice");
	p->has_packed = true;
	code = set_members(call, "packed", proto_desc_packed_operations(), &p->packed, text);
	if (!code && !p->packed.has_op)
		code = hvctl_fail(call->ctx, HVCTL_USAGE,
				  "packed: which change? map, unmap, protect or remap comes first");
	return code;
}

static int set_records(struct hvctl_call *call, const char *path)
{
	call->file = path;
	return HVCTL_OK;
}

/* Where lines of records come from, and where they go. */
struct record_reader {
	const struct hvctl_context *ctx;
	const char *name;
	size_t line, words; /* of a record: 1 gpa, 2 gpa and offset */
	size_t records;
	uint64_t *out; /* of the wire's order */
};

static int bad_line(const struct record_reader *r, const char *text, const char *what)
{
	return hvctl_fail(r->ctx, HVCTL_USAGE, "%s:%zu: %s%s", r->name, r->line, text, what);
}

/* "0x400000 8K # comment" */
static int read_record(struct record_reader *r, char *line)
{
	char *save = NULL, *word;
	size_t n = 0;

	line[strcspn(line, "#\n")] = '\0';
	for (word = strtok_r(line, " \t\r", &save); word; word = strtok_r(NULL, " \t\r", &save)) {
		uint64_t v;

		if (n == r->words)
			return bad_line(r, "one number too many: ", word);
		if (r->records == PROTO_PACKED_MAX)
			return bad_line(r, "more records than one batch takes", "");
		if (proto_parse_size(word, &v))
			return bad_line(r, word, ": not a number (4096, 0x1000, 4K)");
		r->out[r->records * r->words + n++] = htole64(v);
	}
	if (!n)
		return HVCTL_OK;
	if (n < r->words)
		return bad_line(r, "a record is guest-physical address and offset", "");
	r->records++;
	return HVCTL_OK;
}

static int read_lines(struct record_reader *r, FILE *file)
{
	char *line = NULL;
	size_t size = 0;
	int code = HVCTL_OK;

	while (!code && getline(&line, &size, file) >= 0) {
		r->line++;
		code = read_record(r, line);
	}
	if (!code && ferror(file))
		code = hvctl_fail(r->ctx, HVCTL_LOCAL, "%s: cannot be read", r->name);
	free(line);
	return code;
}

static int read_records(struct hvctl_call *call, struct proto_packed_operations *p)
{
	const bool input = strcmp(call->file, "-") == 0;
	const bool source = p->op == PROTO_MAP_KIND_MAP || p->op == PROTO_MAP_KIND_REMAP;
	struct record_reader r = {.ctx = call->ctx,
				  .name = input ? "standard input" : call->file,
				  .words = source ? 2 : 1};
	FILE *file = input ? stdin : fopen(call->file, "re");
	int code;

	if (!file)
		return hvctl_fail(call->ctx, HVCTL_LOCAL, "%s: %s", call->file, strerror(errno));
	r.out = proto_alloc(&call->arena, PROTO_PACKED_MAX * r.words, sizeof(*r.out));
	code = r.out ? read_lines(&r, file) : hvctl_fail(call->ctx, HVCTL_LOCAL, "out of memory");
	if (!input)
		fclose(file);
	if (!code && !r.records)
		code = hvctl_fail(call->ctx, HVCTL_USAGE, "%s: no records", r.name);
	p->records = (struct proto_bytes){.data = (uint8_t *)r.out,
					  .size = r.records * r.words * sizeof(*r.out)};
	p->has_records = true;
	return code;
}

/* --- the verb ------------------------------------------------------------------------------ */

static int prepare_batch(struct hvctl_call *call)
{
	struct proto_batch_params *p = call->params;

	if (p->has_packed != (call->file != NULL))
		return hvctl_fail(call->ctx, HVCTL_USAGE,
				  "--packed says what is done, --records where: both are needed");
	if (p->has_packed && p->has_operations)
		return hvctl_fail(call->ctx, HVCTL_USAGE, "packed: operations are given twice");
	if (p->has_packed)
		return read_records(call, &p->packed);
	if (!p->has_operations)
		return hvctl_fail(call->ctx, HVCTL_USAGE,
				  "batch of what? --op OPERATION, again and again, --file PATH, or "
				  "--packed OPERATION --records PATH");
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
	{"packed", "OPERATION",
	 "many changes of one kind, what they share: remap,slot=spare or protect,size=2M,prot=r; "
	 "size is 4K if it is not there",
	 set_packed},
	{"records", "PATH",
	 "where to do what --packed says, a line each: address and offset, as 0x400000 8K (map, "
	 "remap), or the address alone (unmap, protect); # begins a comment; - is standard input",
	 set_records},
	{NULL, NULL, NULL, NULL},
};

const struct hvctl_verb hvctl_verb_memory_batch = {
	.example = "demo --op unmap,gpa=0x200000,size=4K --op protect,gpa=0x400000,size=4K,prot=r",
	.options = batch_options,
	.prepare = prepare_batch,
	.show = show_batch,
};
