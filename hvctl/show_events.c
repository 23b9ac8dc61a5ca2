// SPDX-License-Identifier: MIT
/* events: a line each. */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "hvctl/fields.h"
#include "hvctl/stream.h"
#include "hvctl/text.h"

#define SEQ_WIDTH 6
#define TYPE_WIDTH 18 /* of the longest: vm.unexpected-exit */
#define VM_WIDTH 12
#define TEXT_COLUMN (SEQ_WIDTH + 2 + 12 + 2 + TYPE_WIDTH + 2 + VM_WIDTH + 2)

static void separate(struct text_line *l)
{
	if (l->n)
		text_add(l, ", ");
}

/* "shutoff (exited with status 3)" */
static void add_state(struct text_line *l, struct json_object *e)
{
	const char *state = field_string(field_object(e, "state"), "name");
	uint64_t status;

	if (!state)
		return;
	text_add(l, "%s", state);
	if (field_number(e, "exit_status", &status))
		text_add(l, " (exited with status %" PRIu64 ")", status);
	else if (field_string(e, "reason"))
		text_add(l, " (%s)", field_string(e, "reason"));
}

static void add_number(struct text_line *l, struct json_object *e, const char *name,
		       const char *title)
{
	uint64_t v;

	if (!field_number(e, name, &v))
		return;
	separate(l);
	text_add(l, "%s %" PRIu64, title, v);
}

static void add_text(struct text_line *l, struct json_object *e, const char *name,
		     const char *before)
{
	const char *text = field_string(e, name);

	if (!text || !*text)
		return;
	separate(l);
	text_add(l, "%s%s", before, text);
}

/* Everything that the event tells besides its columns. */
static void describe(struct text_line *l, struct json_object *e)
{
	const char *report = field_string(e, "report");

	add_state(l, e);
	add_text(l, e, "detail", "");
	add_number(l, e, "vcpu", "vCPU");
	add_number(l, e, "processor", "processor");
	add_number(l, e, "generation", "generation");
	add_text(l, e, "rip", "rip ");
	if (report && *report)
		text_add(l, "%s%s", l->n ? ": " : "", report);
}

/* A line of its own when the day is another than that of the line before. */
static void show_day(struct hvctl_call *call, const struct tm *t)
{
	const struct hvctl_context *ctx = call->ctx;
	int day_number = t->tm_year * 366 + t->tm_yday + 1;
	char day[64];

	if (day_number == call->day_shown)
		return;
	call->day_shown = day_number;
	strftime(day, sizeof(day), "%A %Y-%m-%d", t);
	fprintf(ctx->out, "%s--- %s ---%s\n", text_style(ctx->colour, STYLE_DIM), day,
		text_style(ctx->colour, STYLE_NONE));
}

static void show_event(struct hvctl_call *call, struct json_object *e, uint64_t max)
{
	const struct hvctl_context *ctx = call->ctx;
	uint64_t ns = field_count(e, "time_ns");
	const char *type = field_text(e, "type", "?");
	time_t seconds = (time_t)(ns / 1000000000);
	struct text_line l = {.n = 0};
	char clock[16] = "";
	struct tm t = {0};

	(void)max;
	localtime_r(&seconds, &t);
	show_day(call, &t);
	strftime(clock, sizeof(clock), "%H:%M:%S", &t);
	describe(&l, e);
	fprintf(ctx->out, "%*" PRIu64 "  %s.%03u  %s%-*s%s  %-*s", SEQ_WIDTH, field_count(e, "seq"),
		clock, (unsigned)(ns / 1000000 % 1000), text_style(ctx->colour, STYLE_BOLD),
		TYPE_WIDTH, type, text_style(ctx->colour, STYLE_NONE), l.n ? VM_WIDTH : 0,
		field_text(e, "vm", "-"));
	fputs(l.n ? "  " : "", ctx->out);
	if (ctx->out_terminal)
		text_wrap(ctx->out, TEXT_COLUMN, l.text);
	else
		fprintf(ctx->out, "%s\n", l.text);
}

static const struct hvctl_stream events = {
	.notification = "event",
	.item = "event",
	.items = "events",
	.show = show_event,
};

static int run_events(struct hvctl_call *call)
{
	return hvctl_stream(call, PROTO_METHOD_events_subscribe, call->params, &events);
}

static const struct hvctl_option event_options[] = {
	{"count", "N", "end after so many events", hvctl_set_count},
	{NULL, NULL, NULL, NULL},
};

const struct hvctl_verb hvctl_verb_events_subscribe = {
	.example = "--type vm.state --since 0",
	.options = event_options,
	.run = run_events,
};

/* Without verbs: their connection is the subscription's or the request's own. */
const struct hvctl_verb hvctl_verb_subscription_end = {.example = ""};
const struct hvctl_verb hvctl_verb_request_cancel = {.example = ""};
