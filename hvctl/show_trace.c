// SPDX-License-Identifier: MIT
/* trace: a line a VM exit or invalidation. */
#include <inttypes.h>
#include <string.h>

#include "hvctl/fields.h"
#include "hvctl/qualification.h"
#include "hvctl/stream.h"
#include "hvctl/text.h"

/* The columns' least widths: what is wider moves the rest of its line. */
#define SEQ_WIDTH 6
#define TIME_WIDTH 13
#define VCPU_WIDTH 4
#define WHAT_WIDTH 16
#define RIP_WIDTH 10

/* "write on r-x; gpa 0x400000, gva 0x7000" */
static void describe_exit(struct text_line *l, struct json_object *r)
{
	char text[QUALIFICATION_LEN];
	uint64_t qualification;

	if (field_number(r, "qualification", &qualification) &&
	    qualification_text(field_text(r, "exit", ""), qualification, text))
		text_add(l, "%s", text);
	if (field_string(r, "gpa"))
		text_add(l, "%sgpa %s", l->n ? "; " : "", field_string(r, "gpa"));
	if (field_string(r, "gva"))
		text_add(l, "%sgva %s", l->n ? ", " : "", field_string(r, "gva"));
}

/* "INVEPT single-context, EP4TA 0x12000; shootdown, processor 1" */
static void describe_invalidation(struct text_line *l, struct json_object *r)
{
	const char *name = field_text(r, "invalidation", "?");
	const char *type = strchr(name, '-');
	uint64_t vpid;

	text_add(l, "%s %s", strncmp(name, "invept", 6) == 0 ? "INVEPT" : "INVVPID",
		 type ? type + 1 : name);
	if (field_string(r, "ep4ta"))
		text_add(l, ", EP4TA %s", field_string(r, "ep4ta"));
	else if (field_number(r, "vpid", &vpid))
		text_add(l, ", VPID %" PRIu64, vpid);
	if (field_string(r, "gva"))
		text_add(l, ", gva %s", field_string(r, "gva"));
	text_add(l, "; %s, processor %" PRIu64, field_text(r, "cause", "?"),
		 field_count(r, "processor"));
}

/* Guest time; the host's, in seconds, where the engine can't observe that. */
static const char *time_text(char *buf, struct json_object *r)
{
	uint64_t ns;

	if (field_object(r, "guest_time") || !field_number(r, "time_ns", &ns))
		return text_member(buf, r, "guest_time");
	snprintf(buf, TEXT_NUMBER, "%" PRIu64 ".%06" PRIu64, ns / 1000000000, ns / 1000 % 1000000);
	return buf;
}

static void show_record(const struct hvctl_context *ctx, struct json_object *r)
{
	bool invalidation = strcmp(field_text(r, "kind", ""), "invalidation") == 0;
	bool violation = strcmp(field_text(r, "kind", ""), "violation") == 0;
	char seq[TEXT_NUMBER], time[TEXT_NUMBER], vcpu[TEXT_NUMBER];
	struct text_line l = {.n = 0};

	fprintf(ctx->out, "%*s  %*s  %*s  %s", SEQ_WIDTH, text_member(seq, r, "seq"), TIME_WIDTH,
		time_text(time, r), VCPU_WIDTH, text_member(vcpu, r, "vcpu"),
		text_style(ctx->colour, invalidation ? STYLE_BOLD
					: violation  ? STYLE_WARN
						     : STYLE_NONE));
	if (invalidation) {
		describe_invalidation(&l, r);
	} else {
		describe_exit(&l, r);
		fprintf(ctx->out, "%-*s  %-*s%s", WHAT_WIDTH, field_text(r, "exit", "?"),
			l.n ? RIP_WIDTH : 0, field_text(r, "rip", "-"), l.n ? "  " : "");
	}
	fprintf(ctx->out, "%s%s\n", l.text, text_style(ctx->colour, STYLE_NONE));
}

static void show_trace(struct hvctl_call *call, struct json_object *params, uint64_t max)
{
	size_t n = field_items(params, "records");

	for (size_t i = 0; i < n && i < max; i++)
		show_record(call->ctx, field_item(params, "records", i));
}

/* A pipe gets records only. */
static void begin(struct hvctl_call *call, struct json_object *result)
{
	const struct hvctl_context *ctx = call->ctx;

	(void)result;
	if (!ctx->out_terminal)
		return;
	fprintf(ctx->out, "%s%*s  %*s  %*s  %-*s  %-*s  %s%s\n",
		text_style(ctx->colour, STYLE_BOLD), SEQ_WIDTH, "seq", TIME_WIDTH, "time",
		VCPU_WIDTH, "vCPU", WHAT_WIDTH, "what", RIP_WIDTH, "rip", "qualification",
		text_style(ctx->colour, STYLE_NONE));
}

static const struct hvctl_stream trace = {
	.notification = "trace",
	.item = "record",
	.items = "records",
	.list = "records",
	.begin = begin,
	.show = show_trace,
};

static int run_trace(struct hvctl_call *call)
{
	return hvctl_stream(call, PROTO_METHOD_trace_subscribe, call->params, &trace);
}

static const struct hvctl_option trace_options[] = {
	{"count", "N", "end after so many records", hvctl_set_count},
	{NULL, NULL, NULL, NULL},
};

const struct hvctl_verb hvctl_verb_trace_subscribe = {
	.example = "demo --kind violation --kind invalidation --count 20",
	.options = trace_options,
	.run = run_trace,
};
