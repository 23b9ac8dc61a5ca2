// SPDX-License-Identifier: MIT
/* info, engines, discover. */
#include <string.h>

#include "hvctl/fields.h"
#include "hvctl/text.h"
#include "hvctl/verb.h"

/* Lists of words: "ept-4k ept-2m". */
static void print_words(FILE *out, int indent, struct json_object *obj, const char *name)
{
	char line[1024] = "";
	size_t n = 0;

	for (size_t i = 0; i < field_items(obj, name) && n < sizeof(line); i++)
		n += (size_t)snprintf(line + n, sizeof(line) - n, "%s%s", i ? " " : "",
				      json_object_get_string(field_item(obj, name, i)));
	text_wrap(out, indent, line);
}

#define ENGINE_INDENT 14 /* of what is told of an engine */

static void show_engine(const struct hvctl_context *ctx, struct json_object *e)
{
	const char *mark = field_bool(e, "taken")	? "in use"
			   : field_bool(e, "available") ? "available"
							: "not available";
	const char *advice = field_string(e, "advice");
	char number[TEXT_NUMBER];

	fprintf(ctx->out, "%s%s%s: %s\n", text_style(ctx->colour, STYLE_BOLD),
		field_text(e, "name", "?"), text_style(ctx->colour, STYLE_NONE), mark);
	fprintf(ctx->out, "  why         ");
	text_wrap(ctx->out, ENGINE_INDENT, field_text(e, "reason", ""));
	if (advice && *advice) {
		fprintf(ctx->out, "  to change   ");
		text_wrap(ctx->out, ENGINE_INDENT, advice);
	}
	if (field_items(e, "capabilities")) {
		fprintf(ctx->out, "  can do      ");
		print_words(ctx->out, ENGINE_INDENT, e, "capabilities");
	}
	if (field_object(e, "processors"))
		fprintf(ctx->out, "  processors  %s\n", text_member(number, e, "processors"));
	if (field_string(e, "tlb_geometry"))
		fprintf(ctx->out, "  TLB         %s\n", field_string(e, "tlb_geometry"));
}

static void show_engines(struct hvctl_call *call, struct json_object *result)
{
	for (size_t i = 0; i < field_items(result, "engines"); i++)
		show_engine(call->ctx, field_item(result, "engines", i));
}

const struct hvctl_verb hvctl_verb_engine_list = {.example = "", .show = show_engines};

#define LIMIT_DOC 48 /* column of a limit's explanation */

static void show_limits(const struct hvctl_context *ctx, struct json_object *limits)
{
	const struct proto_struct *desc = proto_desc_limits();
	char number[TEXT_NUMBER], value[TEXT_NUMBER + 32];

	fprintf(ctx->out, "%slimits%s\n", text_style(ctx->colour, STYLE_BOLD),
		text_style(ctx->colour, STYLE_NONE));
	for (size_t i = 0; i < desc->count; i++) {
		const struct proto_field *f = &desc->fields[i];

		if (f->type == PROTO_SIZE)
			text_size(value, field_count(limits, f->name));
		else
			snprintf(value, sizeof(value), "%s %s",
				 text_member(number, limits, f->name), f->unit);
		fprintf(ctx->out, "  %-22s %-*s", f->name, LIMIT_DOC - 25, value);
		text_wrap(ctx->out, LIMIT_DOC, f->doc);
	}
}

static void show_state_dir(const struct hvctl_context *ctx, struct json_object *result)
{
	const char *folder = field_string(result, "state_dir");
	const uint64_t damaged = field_count(result, "damaged_definitions");
	char number[TEXT_NUMBER];

	if (!folder)
		fputs("definitions are not stored: VMs end with the daemon\n\n", ctx->out);
	else
		fprintf(ctx->out, "definitions in %s: %s VMs made of them at its start\n%s", folder,
			text_member(number, result, "defined_vms"), damaged ? "" : "\n");
	if (damaged)
		fprintf(ctx->out, "%s%s set aside: damaged, see its log%s\n\n",
			text_style(ctx->colour, STYLE_WARN),
			text_member(number, result, "damaged_definitions"),
			text_style(ctx->colour, STYLE_NONE));
}

/* The one in use, why it is, and what keeps the others from it. */
static void show_choice(const struct hvctl_context *ctx, struct json_object *result)
{
	show_engine(ctx, field_object(result, "engine"));
	fprintf(ctx->out, "  taken       ");
	text_wrap(ctx->out, ENGINE_INDENT, field_text(result, "engine_choice", "?"));
	for (size_t i = 0; i < field_items(result, "engines"); i++) {
		struct json_object *e = field_item(result, "engines", i);

		if (!field_bool(e, "taken"))
			show_engine(ctx, e);
	}
}

static void show_info(struct hvctl_call *call, struct json_object *result)
{
	const struct hvctl_context *ctx = call->ctx;
	char number[TEXT_NUMBER];

	fprintf(ctx->out, "hvd %s, process %s, up %s\n", field_text(result, "version", "?"),
		json_object_get_string(field_object(result, "pid")),
		text_duration(number, field_count(result, "uptime_ms")));
	fprintf(ctx->out, "socket %s, %s VMs%s\n", field_text(result, "socket", "?"),
		text_member(number, result, "vms"),
		field_bool(result, "unsafe_hooks") ? ", UNSAFE HOOKS: invalidations can be left out"
						   : "");
	show_state_dir(ctx, result);
	show_choice(ctx, result);
	fputc('\n', ctx->out);
	show_limits(ctx, field_object(result, "limits"));
}

const struct hvctl_verb hvctl_verb_daemon_info = {.example = "", .show = show_info};

/* A document for programs: JSON in any case, here with line breaks. */
static void show_discover(struct hvctl_call *call, struct json_object *result)
{
	fprintf(call->ctx->out, "%s\n",
		json_object_to_json_string_ext(result, JSON_C_TO_STRING_PRETTY |
							       JSON_C_TO_STRING_SPACED |
							       JSON_C_TO_STRING_NOSLASHESCAPE));
}

const struct hvctl_verb hvctl_verb_rpc_discover = {.example = "", .show = show_discover};
