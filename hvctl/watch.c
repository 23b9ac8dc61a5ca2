// SPDX-License-Identifier: MIT
#include "hvctl/watch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "hvctl/fields.h"
#include "hvctl/show.h"
#include "hvctl/stream.h"
#include "hvctl/text.h"

#define ROWS 24 /* of a terminal that does not tell */

/* --- what counters grow by ------------------------------------------------------------ */

/* Two reports; before is NULL for the first. */
struct pair {
	struct json_object *now, *before;
	uint64_t ns; /* between them */
};

static bool same(struct json_object *a, struct json_object *b, const char *name)
{
	struct json_object *x = field_object(a, name), *y = field_object(b, name);

	return (!x && !y) || (x && y && json_object_equal(x, y));
}

/* The item of the earlier report's list that is the same thing as the i-th of the later. */
static struct json_object *earlier(const struct pair *p, const char *list, size_t i)
{
	static const char *const keys[] = {"name", "vm", "vcpu", "scope"};
	struct json_object *now = field_item(p->now, list, i);
	size_t n = field_items(p->before, list);

	for (size_t k = 0; k < n; k++) {
		/* nearly always at the same place */
		struct json_object *before = field_item(p->before, list, (i + k) % n);
		bool equal = true;

		for (size_t m = 0; m < sizeof(keys) / sizeof(*keys) && equal; m++)
			equal = same(now, before, keys[m]);
		/* a vCPU's counters go with it from processor to processor */
		if (equal && (field_object(now, "vcpu") || same(now, before, "processor")))
			return before;
	}
	return NULL;
}

/* What it grew by; false if that is not known, as for a VM that was made anew meanwhile. */
static bool growth(struct json_object *now, struct json_object *before, const char *name,
		   uint64_t *ret)
{
	uint64_t a, b;

	if (!field_number(now, name, &a) || !field_number(before, name, &b) || a < b)
		return false;
	*ret = a - b;
	return true;
}

static void rate_cell(struct table *t, const struct pair *p, struct json_object *now,
		      struct json_object *before, const char *name)
{
	char number[TEXT_NUMBER];
	uint64_t grown;
	double rate;

	if (!p->ns || !growth(now, before, name, &grown)) {
		table_cell(t, "-");
		return;
	}
	rate = (double)grown * 1e9 / (double)p->ns;
	if (grown && rate < 10)
		table_cell(t, "%.1f", rate);
	else
		table_cell(t, "%s", text_count(number, rate < 1e18 ? (uint64_t)(rate + 0.5) : 0));
}

/* --- counters of the hypervisor --------------------------------------------------------- */

static void show_counters(struct hvctl_call *call, const struct pair *p)
{
	static const struct table_column columns[] = {{"of", false},
						      {"counter", false},
						      {"total", true},
						      {"per second", true},
						      {"unit", false}};
	struct table *t = table_new(columns, 5);
	char number[TEXT_NUMBER];
	size_t zeros = 0;

	for (size_t i = 0; i < field_items(p->now, "stats"); i++) {
		struct json_object *s = field_item(p->now, "stats", i);

		if (!call->all && field_object(s, "value") && !field_count(s, "value")) {
			zeros++;
			continue;
		}
		show_scope_cell(t, s);
		table_cell(t, "%s", field_text(s, "name", "?"));
		table_cell(t, "%s", text_member(number, s, "value"));
		rate_cell(t, p, s, earlier(p, "stats", i), "value");
		table_cell(t, "%s", field_text(s, "unit", ""));
	}
	table_print(t, call->ctx->out, 0, call->ctx->colour);
	if (zeros)
		fprintf(call->ctx->out, "%s at 0 left out (--all shows them)\n",
			text_plural(number, sizeof(number), zeros, "counter", "counters"));
}

/* --- counters of the TLB ------------------------------------------------------------------ */

static void count_row(struct table *t, const struct pair *p, struct json_object *v,
		      struct json_object *before, const char *title, const char *name,
		      const char *entries)
{
	char number[TEXT_NUMBER];

	table_cell(t, "%s", title);
	table_cell(t, "%s", text_member(number, v, name));
	rate_cell(t, p, v, before, name);
	table_cell(t, "%s", entries ? text_member(number, v, entries) : "");
	if (entries)
		rate_cell(t, p, v, before, entries);
	else
		table_cell(t, "%s", "");
}

static void drop_rows(struct table *t, const struct pair *p, struct json_object *v,
		      struct json_object *before)
{
	struct show_cause cause;
	char title[80];
	size_t i = 0;

	while (show_next_cause(v, &i, &cause)) {
		snprintf(title, sizeof(title), "dropped by %s", cause.title);
		count_row(t, p, v, before, title, cause.ops, cause.dropped);
	}
}

/* "data 99.99% hit": lookups of one side since the last report. */
static void show_hits(FILE *out, struct json_object *v, struct json_object *before,
		      const char *title, const char *prefix)
{
	uint64_t lookups = 0, misses = 0;
	char name[48], number[TEXT_NUMBER];

	snprintf(name, sizeof(name), "%s_lookups", prefix);
	growth(v, before, name, &lookups);
	snprintf(name, sizeof(name), "%s_misses", prefix);
	growth(v, before, name, &misses);
	fprintf(out, "%s %s hit, ", title,
		text_percent(number, lookups >= misses ? lookups - misses : 0, lookups));
}

static void show_interval(FILE *out, struct json_object *v, struct json_object *before)
{
	uint64_t walks = 0, guest = 0, ept = 0;
	char number[TEXT_NUMBER];

	if (!before)
		return;
	growth(v, before, "walks", &walks);
	growth(v, before, "walk_refs_guest", &guest);
	growth(v, before, "walk_refs_ept", &ept);
	fputs("  since then    ", out);
	show_hits(out, v, before, "data", "data");
	show_hits(out, v, before, "instructions", "fetch");
	fprintf(out, "%s references a walk\n", text_ratio(number, guest + ept, walks));
}

static void show_vcpu(struct hvctl_call *call, const struct pair *p, size_t i)
{
	static const struct {
		const char *title, *name;
	} rows[] = {
		{"instructions", "retired"},
		{"data lookups", "data_lookups"},
		{"  misses", "data_misses"},
		{"instruction lookups", "fetch_lookups"},
		{"  misses", "fetch_misses"},
		{"walks", "walks"},
		{"  guest references", "walk_refs_guest"},
		{"  EPT references", "walk_refs_ept"},
	};
	static const struct table_column columns[] = {{"", false},
						      {"total", true},
						      {"per second", true},
						      {"entries", true},
						      {"per second", true}};
	struct json_object *v = field_item(p->now, "vcpus", i), *before = earlier(p, "vcpus", i);
	const struct hvctl_context *ctx = call->ctx;
	char a[TEXT_NUMBER], b[TEXT_NUMBER], c[TEXT_NUMBER];
	struct table *t;

	fprintf(ctx->out, "%s%s vCPU %s on processor %s, VPID %s%s%s\n",
		text_style(ctx->colour, STYLE_BOLD), field_text(v, "vm", "?"),
		text_member(a, v, "vcpu"), text_member(b, v, "processor"),
		text_member(c, v, "vpid"), text_style(ctx->colour, STYLE_NONE),
		field_object(v, "data_lookups") ? "" : ": this engine can't observe its TLB");
	if (!field_object(v, "data_lookups"))
		return;
	t = table_new(columns, 5);
	for (size_t k = 0; k < sizeof(rows) / sizeof(*rows); k++)
		count_row(t, p, v, before, rows[k].title, rows[k].name, NULL);
	drop_rows(t, p, v, before);
	table_print(t, ctx->out, 2, ctx->colour);
	show_interval(ctx->out, v, before);
	show_held(ctx, v);
}

/* --- a report ------------------------------------------------------------------------------ */

static void show_head(const struct hvctl_context *ctx, const struct pair *p)
{
	uint64_t ns = field_count(p->now, "time_ns"), skipped = field_count(p->now, "skipped");
	time_t seconds = (time_t)(ns / 1000000000);
	char clock[16] = "", text[TEXT_NUMBER];
	struct tm t = {0};

	localtime_r(&seconds, &t);
	strftime(clock, sizeof(clock), "%H:%M:%S", &t);
	fprintf(ctx->out, "%s%s.%03u", text_style(ctx->colour, STYLE_DIM), clock,
		(unsigned)(ns / 1000000 % 1000));
	if (p->before)
		fprintf(ctx->out, ", %s later", text_duration(text, p->ns / 1000000));
	if (skipped)
		fprintf(ctx->out, ", %s skipped",
			text_plural(text, sizeof(text), skipped, "report", "reports"));
	fprintf(ctx->out, "%s\n", text_style(ctx->colour, STYLE_NONE));
}

void watch_show(struct hvctl_call *call, unsigned views, struct json_object *report,
		struct json_object *before)
{
	uint64_t now_ns = field_count(report, "time_ns");
	uint64_t before_ns = field_count(before, "time_ns");
	struct pair p = {.now = report,
			 .before = before,
			 .ns = before && now_ns > before_ns ? now_ns - before_ns : 0};

	show_head(call->ctx, &p);
	for (size_t i = 0; (views & WATCH_TLB) && i < field_items(report, "vcpus"); i++)
		show_vcpu(call, &p, i);
	if (views & WATCH_STATS)
		show_counters(call, &p);
}

/* --- on the screen -------------------------------------------------------------------------- */

static size_t rows_of(FILE *out)
{
	struct winsize size;

	if (ioctl(fileno(out), TIOCGWINSZ, &size) < 0 || !size.ws_row)
		return ROWS;
	return size.ws_row;
}

static size_t count_lines(const char *text)
{
	size_t n = 0;

	while ((text = strchr(text, '\n'))) {
		text++;
		n++;
	}
	return n;
}

/*
 * Over what stands there, from the top; no line wraps, and nothing scrolls: the last row is
 * the cursor's.
 */
static void paint(FILE *out, const char *text)
{
	size_t rows = rows_of(out), lines = count_lines(text);
	size_t shown = lines < rows ? lines : rows > 2 ? rows - 2 : 0;

	fputs("\033[H\033[?7l", out);
	for (size_t i = 0; i < shown; i++) {
		int n = (int)strcspn(text, "\n");

		fprintf(out, "%.*s\033[K\n", n, text);
		text += n + 1;
	}
	if (shown < lines)
		fprintf(out, "... %zu more lines than this terminal has\033[K\n", lines - shown);
	fputs("\033[J\033[?7h", out);
}

static void show_report(struct hvctl_call *call, unsigned views, struct json_object *report)
{
	struct hvctl_context *ctx = call->ctx;
	FILE *out = ctx->out;
	char *text = NULL;
	size_t size = 0;

	ctx->out = open_memstream(&text, &size);
	if (ctx->out) {
		watch_show(call, views, report, call->previous);
		fclose(ctx->out);
	}
	ctx->out = out;
	if (text && ctx->out_terminal)
		paint(out, text);
	else if (text)
		fprintf(out, "%s%s", call->previous ? "\n" : "", text);
	free(text);
	json_object_put(call->previous);
	call->previous = json_object_get(report);
}

static void show_both(struct hvctl_call *call, struct json_object *params, uint64_t max)
{
	(void)max;
	show_report(call, WATCH_STATS | WATCH_TLB, params);
}

static void show_stats_only(struct hvctl_call *call, struct json_object *params, uint64_t max)
{
	(void)max;
	show_report(call, WATCH_STATS, params);
}

static void show_tlb_only(struct hvctl_call *call, struct json_object *params, uint64_t max)
{
	(void)max;
	show_report(call, WATCH_TLB, params);
}

static int watch(struct hvctl_call *call, const struct proto_stats_subscribe_params *p,
		 unsigned views)
{
	struct hvctl_stream stream = {
		.notification = "stats",
		.item = "report",
		.items = "reports",
		.show = views == WATCH_STATS ? show_stats_only
			: views == WATCH_TLB ? show_tlb_only
					     : show_both,
	};
	int code = hvctl_stream(call, PROTO_METHOD_stats_subscribe, p, &stream);

	json_object_put(call->previous);
	call->previous = NULL;
	return code;
}

int hvctl_watch(struct hvctl_call *call, const char *vm, unsigned views)
{
	struct proto_stats_subscribe_params p = {.end_of_fields = false};

	if (vm)
		PROTO_SET(&p, vm, vm);
	PROTO_SET(&p, interval_ms, call->watch_ms);
	PROTO_SET(&p, tlb, (views & WATCH_TLB) != 0);
	return watch(call, &p, views);
}

int hvctl_set_watch(struct hvctl_call *call, const char *text)
{
	char *end;
	double seconds = 1;

	if (text) {
		errno = 0;
		seconds = strtod(text, &end);
		if (errno || end == text || *end || !(seconds >= 0.1 && seconds <= 3600))
			return hvctl_fail(call->ctx, HVCTL_USAGE,
					  "watch: %s: seconds from 0.1 to 3600", text);
	}
	call->watch_ms = (uint32_t)(seconds * 1000);
	return HVCTL_OK;
}

int hvctl_check_watch(struct hvctl_call *call)
{
	if (call->count && !call->watch_ms)
		return hvctl_fail(call->ctx, HVCTL_USAGE, "count: only with --watch");
	return HVCTL_OK;
}

/* --- the verb ----------------------------------------------------------------------------------
 */

static int run_watch(struct hvctl_call *call)
{
	const struct proto_stats_subscribe_params *p = call->params;

	return watch(call, p, WATCH_STATS | (p->tlb ? WATCH_TLB : 0));
}

static const struct hvctl_option watch_options[] = {
	{"all", NULL, "counters that are 0, too", hvctl_set_all},
	{"count", "N", "end after so many times", hvctl_set_count},
	{NULL, NULL, NULL, NULL},
};

const struct hvctl_verb hvctl_verb_stats_subscribe = {
	.example = "demo --interval 500 --name exit.",
	.options = watch_options,
	.run = run_watch,
};
