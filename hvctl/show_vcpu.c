// SPDX-License-Identifier: MIT
/* flush, invalidate; regs, set-regs, inject, vmcs. */
#include <inttypes.h>
#include <string.h>

#include "hvctl/fields.h"
#include "hvctl/text.h"
#include "hvctl/verb.h"

/* --- invalidations by hand -------------------------------------------------------------- */

static void what_cell(struct table *t, struct json_object *e)
{
	char number[TEXT_NUMBER];

	if (field_string(e, "ep4ta"))
		table_cell(t, "EP4TA %s", field_string(e, "ep4ta"));
	else if (field_object(e, "vpid") && field_string(e, "gva"))
		table_cell(t, "VPID %s, %s", text_member(number, e, "vpid"),
			   field_string(e, "gva"));
	else if (field_object(e, "vpid"))
		table_cell(t, "VPID %s", text_member(number, e, "vpid"));
	else
		table_cell(t, "everything");
}

static void show_invalidated(struct hvctl_call *call, struct json_object *result)
{
	static const struct table_column columns[] = {
		{"processor", true}, {"executed", false},
		{"of", false},	     {"L1I", true},
		{"L1D", true},	     {"L2", true},
		{"PSC", true},	     {"GPA entries dropped", true}};
	static const char *const caches[] = {"i1", "d1", "l2", "psc", "gpa"};
	struct table *t = table_new(columns, 8);
	char number[TEXT_NUMBER];

	for (size_t i = 0; i < field_items(result, "executed"); i++) {
		struct json_object *e = field_item(result, "executed", i);
		struct json_object *dropped = field_object(e, "dropped");

		table_cell(t, "%s", text_member(number, e, "processor"));
		table_cell(t, "%s %s", field_text(e, "instruction", "?"),
			   field_text(e, "type", "?"));
		what_cell(t, e);
		for (size_t k = 0; k < sizeof(caches) / sizeof(*caches); k++)
			table_cell(t, "%s", text_member(number, dropped, caches[k]));
	}
	table_print(t, call->ctx->out, 0, call->ctx->colour);
}

const struct hvctl_verb hvctl_verb_tlb_flush = {.example = "demo", .show = show_invalidated};
const struct hvctl_verb hvctl_verb_tlb_invalidate = {
	.example = "demo --type individual-address --gva 0x400000",
	.show = show_invalidated,
};

/* --- registers ---------------------------------------------------------------------------- */

static bool in_group(struct json_object *r, const char *group)
{
	return strcmp(field_text(r, "group", ""), group) == 0;
}

/* "rip 0x0000000000100000", as many in a line as there is room for. */
static void show_group(const struct hvctl_context *ctx, struct json_object *result,
		       const char *group, int name_width, size_t in_line)
{
	size_t n = 0;

	for (size_t i = 0; i < field_items(result, "registers"); i++) {
		struct json_object *r = field_item(result, "registers", i);
		uint64_t value = field_count(r, "value"), bits = field_count(r, "bits");

		if (!in_group(r, group))
			continue;
		if (n && n % in_line == 0)
			fputc('\n', ctx->out);
		n++;
		fprintf(ctx->out, "  %-*s 0x%0*" PRIx64, name_width, field_text(r, "name", "?"),
			bits && bits <= 64 ? (int)bits / 4 : 1, value);
	}
	if (n)
		fputc('\n', ctx->out);
}

/* A register by name; 0 if there is none. */
static uint64_t named(struct json_object *result, const char *segment, const char *part)
{
	char name[16];

	snprintf(name, sizeof(name), "%s%s", segment, part);
	for (size_t i = 0; i < field_items(result, "registers"); i++) {
		struct json_object *r = field_item(result, "registers", i);

		if (strcmp(field_text(r, "name", ""), name) == 0)
			return field_count(r, "value");
	}
	return 0;
}

static void show_segments(const struct hvctl_context *ctx, struct json_object *result)
{
	static const char *const segments[] = {"cs", "ds", "es", "fs", "gs", "ss", "tr", "ldtr"};
	static const char *const tables[] = {"gdtr", "idtr"};
	static const struct table_column columns[] = {
		{"", false}, {"sel", false}, {"base", false}, {"limit", false}, {"ar", false}};
	struct table *t = table_new(columns, 5);

	for (size_t i = 0; i < sizeof(segments) / sizeof(*segments); i++) {
		table_cell(t, "%s", segments[i]);
		table_cell(t, "0x%04" PRIx64, named(result, segments[i], ".sel"));
		table_cell(t, "0x%016" PRIx64, named(result, segments[i], ".base"));
		table_cell(t, "0x%08" PRIx64, named(result, segments[i], ".limit"));
		table_cell(t, "0x%05" PRIx64, named(result, segments[i], ".ar"));
	}
	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++) {
		table_cell(t, "%s", tables[i]);
		table_cell(t, "%s", "");
		table_cell(t, "0x%016" PRIx64, named(result, tables[i], "_base"));
		table_cell(t, "0x%08" PRIx64, named(result, tables[i], "_limit"));
		table_cell(t, "%s", "");
	}
	table_print(t, ctx->out, 2, ctx->colour);
}

static void show_regs(struct hvctl_call *call, struct json_object *result)
{
	const struct hvctl_context *ctx = call->ctx;
	char number[TEXT_NUMBER];

	fprintf(ctx->out, "%s%s vCPU %s%s\n", text_style(ctx->colour, STYLE_BOLD),
		field_text(result, "vm", "?"), text_member(number, result, "vcpu"),
		text_style(ctx->colour, STYLE_NONE));
	show_group(ctx, result, "general", 6, 3);
	show_group(ctx, result, "control", 6, 3);
	show_segments(ctx, result);
	show_group(ctx, result, "debug", 6, 3);
	show_group(ctx, result, "msr", 14, 2);
	show_group(ctx, result, "state", 16, 2);
}

const struct hvctl_verb hvctl_verb_vcpu_get = {.example = "demo", .show = show_regs};

/* "rip=0x1000" */
static int set_reg(struct hvctl_call *call, const char *text)
{
	struct proto_vcpu_set_params *p = call->params;
	const struct proto_struct *desc = proto_desc_register_value();
	const char *equals = strchr(text, '=');
	struct proto_error err = {0};
	struct proto_register_value *r;
	char *name;

	if (!equals || equals == text)
		return hvctl_fail(call->ctx, HVCTL_USAGE, "set: %s is not REGISTER=VALUE", text);
	if (p->registers_count == PROTO_REGISTERS_MAX)
		return hvctl_fail(call->ctx, HVCTL_USAGE, "set: more than %d registers",
				  PROTO_REGISTERS_MAX);
	if (!p->registers)
		p->registers =
			proto_alloc(&call->arena, PROTO_REGISTERS_MAX, sizeof(*p->registers));
	name = proto_strndup(&call->arena, text, (size_t)(equals - text));
	if (!p->registers || !name)
		return hvctl_fail(call->ctx, HVCTL_LOCAL, "out of memory");
	r = &p->registers[p->registers_count++];
	p->has_registers = true;
	if (proto_set_from_string(proto_field_by_name(desc, "name"), r, name, &call->arena, &err) ||
	    proto_set_from_string(proto_field_by_name(desc, "value"), r, equals + 1, &call->arena,
				  &err))
		return hvctl_fail(call->ctx, HVCTL_USAGE, "set: %s: %s", text, err.text);
	return HVCTL_OK;
}

static int check_set(struct hvctl_call *call)
{
	const struct proto_vcpu_set_params *p = call->params;

	if (!p->has_registers)
		return hvctl_fail(call->ctx, HVCTL_USAGE,
				  "set-regs: which? --set rip=0x100000, again and again");
	return HVCTL_OK;
}

static const struct hvctl_option set_options[] = {
	{"set", "REGISTER=VALUE", "one more register, by the name that 'hvctl regs' has for it",
	 set_reg},
	{NULL, NULL, NULL, NULL},
};

const struct hvctl_verb hvctl_verb_vcpu_set = {
	.example = "demo --set rip=0x100000 --set rax=0",
	.options = set_options,
	.prepare = check_set,
	.show = show_regs,
};

static void show_injected(struct hvctl_call *call, struct json_object *result)
{
	FILE *out = call->ctx->out;
	char a[TEXT_NUMBER], b[TEXT_NUMBER];

	fprintf(out, "%s vCPU %s: %s vector %s", field_text(result, "vm", "?"),
		text_member(a, result, "vcpu"), field_text(result, "kind", "?"),
		text_member(b, result, "vector"));
	if (field_object(result, "error_code"))
		fprintf(out, ", error code 0x%" PRIx64, field_count(result, "error_code"));
	fputs(" is queued\n", out);
}

const struct hvctl_verb hvctl_verb_vcpu_inject = {
	.example = "demo --kind nmi",
	.show = show_injected,
};

/* --- vmcs ------------------------------------------------------------------------------------ */

static int value_digits(struct json_object *f)
{
	const char *width = field_text(f, "width", "");

	return strcmp(width, "16") == 0 ? 4 : strcmp(width, "32") == 0 ? 8 : 16;
}

static void show_fields(const struct hvctl_context *ctx, struct json_object *result,
			const char *type, const char *title)
{
	static const struct table_column columns[] = {
		{"field", false}, {"encoding", false}, {"value", false}};
	struct table *t = NULL;

	for (size_t i = 0; i < field_items(result, "fields"); i++) {
		struct json_object *f = field_item(result, "fields", i);

		if (strcmp(field_text(f, "type", ""), type) != 0)
			continue;
		if (!t)
			t = table_new(columns, 3);
		table_cell(t, "%s", field_text(f, "name", "?"));
		table_cell(t, "0x%04" PRIx64, field_count(f, "encoding"));
		table_cell(t, "0x%0*" PRIx64, value_digits(f), field_count(f, "value"));
	}
	if (!t)
		return;
	fprintf(ctx->out, "%s%s%s\n", text_style(ctx->colour, STYLE_BOLD), title,
		text_style(ctx->colour, STYLE_NONE));
	table_print(t, ctx->out, 2, ctx->colour);
}

static void show_vmcs(struct hvctl_call *call, struct json_object *result)
{
	show_fields(call->ctx, result, "control", "control fields");
	show_fields(call->ctx, result, "read-only", "read-only data fields");
	show_fields(call->ctx, result, "guest", "guest-state fields");
	show_fields(call->ctx, result, "host", "host-state fields");
	if (field_items(result, "fields") == 1)
		fprintf(call->ctx->out, "  (%s)\n",
			field_text(field_item(result, "fields", 0), "doc", "?"));
}

const struct hvctl_verb hvctl_verb_vmcs_get = {
	.example = "demo --field guest_rip",
	.show = show_vmcs,
};
