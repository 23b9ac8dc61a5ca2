// SPDX-License-Identifier: MIT
/* vpids, tlb, tlb-entries, stats. */
#include <inttypes.h>
#include <string.h>

#include "hvctl/fields.h"
#include "hvctl/show.h"
#include "hvctl/stream.h"
#include "hvctl/text.h"
#include "hvctl/verb.h"
#include "hvctl/watch.h"

/* --- vpids --------------------------------------------------------------------------- */

static void show_vpids(struct hvctl_call *call, struct json_object *result)
{
	static const struct table_column columns[] = {
		{"VM", false}, {"vCPU", true}, {"processor", true},  {"VPID", true},
		{"", false},   {"gen", true},  {"pool gen", true},   {"left", true},
		{"L1I", true}, {"L1D", true},  {"L2 entries", true},
	};
	struct table *t = table_new(columns, 11);
	char number[TEXT_NUMBER];

	for (size_t i = 0; i < field_items(result, "vpids"); i++) {
		struct json_object *v = field_item(result, "vpids", i);
		struct json_object *held = field_object(v, "held");
		bool taken = field_object(v, "vpid") != NULL;

		table_cell(t, "%s", field_text(v, "vm", "?"));
		table_cell(t, "%s", text_member(number, v, "vcpu"));
		table_cell(t, "%s", text_member(number, v, "processor"));
		table_cell(t, "%s", text_member(number, v, "vpid"));
		table_cell(t, "%s",
			   !field_bool(v, "enabled") ? "off"
			   : !taken		     ? "not yet taken"
			   : field_bool(v, "valid")  ? "valid"
						     : "stale");
		table_cell(t, "%s", text_member(number, v, "generation"));
		table_cell(t, "%s", text_member(number, v, "pool_generation"));
		table_cell(t, "%s", text_member(number, v, "pool_left"));
		table_cell(t, "%s", text_member(number, held, "i1"));
		table_cell(t, "%s", text_member(number, held, "d1"));
		table_cell(t, "%s", text_member(number, held, "l2"));
	}
	table_print(t, call->ctx->out, 0, call->ctx->colour);
	if (!field_items(result, "vpids"))
		fputs("no vCPU has run yet\n", call->ctx->out);
}

const struct hvctl_verb hvctl_verb_vpid_list = {.example = "demo", .show = show_vpids};

/* --- tlb ------------------------------------------------------------------------------- */

/* Lookups of one side: prefix_lookups, prefix_hits_l1, ... */
static void lookup_row(struct table *t, struct json_object *v, const char *title,
		       const char *prefix)
{
	static const char *const parts[] = {"lookups", "hits_l1", "hits_l2", "misses"};
	char number[TEXT_NUMBER], name[48];
	uint64_t lookups, misses;

	table_cell(t, "%s", title);
	for (size_t i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "%s_%s", prefix, parts[i]);
		table_cell(t, "%s", text_member(number, v, name));
	}
	snprintf(name, sizeof(name), "%s_lookups", prefix);
	lookups = field_count(v, name);
	snprintf(name, sizeof(name), "%s_misses", prefix);
	misses = field_count(v, name);
	table_cell(t, "%s", text_percent(number, lookups - misses, lookups));
}

static void show_lookups(const struct hvctl_context *ctx, struct json_object *v)
{
	static const struct table_column columns[] = {{"", false},	 {"lookups", true},
						      {"hits L1", true}, {"hits L2", true},
						      {"misses", true},	 {"hit rate", true}};
	struct table *t = table_new(columns, 6);

	lookup_row(t, v, "data", "data");
	lookup_row(t, v, "instructions", "fetch");
	table_print(t, ctx->out, 2, ctx->colour);
}

static void show_walks(const struct hvctl_context *ctx, struct json_object *v)
{
	uint64_t guest = field_count(v, "walk_refs_guest"), ept = field_count(v, "walk_refs_ept");
	char a[TEXT_NUMBER], b[TEXT_NUMBER];

	fprintf(ctx->out, "  walks         %s, %s references each", text_member(a, v, "walks"),
		text_ratio(b, guest + ept, field_count(v, "walks")));
	fprintf(ctx->out, " (guest %s, EPT %s)", text_member(a, v, "walk_refs_guest"),
		text_member(b, v, "walk_refs_ept"));
	fprintf(ctx->out, "; %s faulted\n", text_member(a, v, "walks_faulted"));
	fprintf(ctx->out, "                shortened: %s by paging-structure caches, ",
		text_member(a, v, "psc_hits"));
	fprintf(ctx->out, "%s by guest-physical mappings\n", text_member(a, v, "gpa_hits"));
}

void show_held(const struct hvctl_context *ctx, struct json_object *v)
{
	static const struct {
		const char *name, *title;
	} caches[] = {{"i1", "L1I"},
		      {"d1", "L1D"},
		      {"l2", "L2"},
		      {"psc", "paging-structure"},
		      {"gpa", "guest-physical"}};
	struct json_object *held = field_object(v, "held");
	struct json_object *capacity = field_object(v, "capacity");
	char a[TEXT_NUMBER], b[TEXT_NUMBER];

	if (!held)
		return;
	fputs("  entries held  ", ctx->out);
	for (size_t i = 0; i < sizeof(caches) / sizeof(*caches); i++)
		fprintf(ctx->out, "%s%s %s/%s", i ? "   " : "", caches[i].title,
			text_member(a, held, caches[i].name),
			text_member(b, capacity, caches[i].name));
	fputc('\n', ctx->out);
}

/* The causes that drop entries, by the counters' names. */
static const struct {
	const char *name, *title;
} causes[] = {
	{"transition", "VM entry/exit (VPID off)"},
	{"mov_cr3", "MOV CR3"},
	{"mov_cr0_cr4", "MOV CR0/CR4"},
	{"invlpg", "INVLPG"},
	{"invpcid", "INVPCID"},
	{"page_fault", "#PF"},
	{"ept_violation", "EPT violation"},
	{"invept_single", "INVEPT single-context"},
	{"invept_all", "INVEPT all-context"},
	{"invvpid", "INVVPID"},
};

/* By the name behind "ops_" of its counter. */
static const char *cause_title(const char *name)
{
	for (size_t i = 0; i < sizeof(causes) / sizeof(*causes); i++) {
		if (strcmp(causes[i].name, name) == 0)
			return causes[i].title;
	}
	return name; /* a counter newer than this table */
}

/* The table of counters says which there are. */
bool show_next_cause(struct json_object *v, size_t *i, struct show_cause *ret)
{
	const struct proto_struct *desc = proto_desc_tlb_vcpu();

	while (*i < desc->count) {
		const char *name = desc->fields[(*i)++].name;

		if (strncmp(name, "ops_", 4) != 0)
			continue;
		snprintf(ret->dropped, sizeof(ret->dropped), "dropped_%s", name + 4);
		if (!field_count(v, name) && !field_count(v, ret->dropped))
			continue;
		ret->ops = name;
		ret->title = cause_title(name + 4);
		return true;
	}
	return false;
}

/* One line a cause that happened. */
static void show_drops(const struct hvctl_context *ctx, struct json_object *v)
{
	static const struct table_column columns[] = {
		{"dropped by", false}, {"times", true}, {"entries", true}};
	struct table *t = table_new(columns, 3);
	char number[TEXT_NUMBER];
	struct show_cause cause;
	size_t i = 0;

	while (show_next_cause(v, &i, &cause)) {
		table_cell(t, "%s", cause.title);
		table_cell(t, "%s", text_member(number, v, cause.ops));
		table_cell(t, "%s", text_member(number, v, cause.dropped));
	}
	table_cell(t, "%s", "capacity, own fills");
	table_cell(t, "%s", "");
	table_cell(t, "%s", text_member(number, v, "evicted_own"));
	table_cell(t, "%s", "capacity, other tags");
	table_cell(t, "%s", "");
	table_cell(t, "%s", text_member(number, v, "evicted_by_others"));
	table_print(t, ctx->out, 2, ctx->colour);
}

static void show_tlb_vcpu(const struct hvctl_context *ctx, struct json_object *v)
{
	char a[TEXT_NUMBER], b[TEXT_NUMBER], c[TEXT_NUMBER];

	fprintf(ctx->out, "%s%s vCPU %s on processor %s, VPID %s%s",
		text_style(ctx->colour, STYLE_BOLD), field_text(v, "vm", "?"),
		text_member(a, v, "vcpu"), text_member(b, v, "processor"),
		text_member(c, v, "vpid"), text_style(ctx->colour, STYLE_NONE));
	if (!field_object(v, "data_lookups")) {
		fputs(": this engine can't observe its TLB\n", ctx->out);
		return;
	}
	fprintf(ctx->out, ": %s instructions\n", text_member(a, v, "retired"));
	show_lookups(ctx, v);
	show_walks(ctx, v);
	show_held(ctx, v);
	show_drops(ctx, v);
}

static void show_tlb(struct hvctl_call *call, struct json_object *result)
{
	for (size_t i = 0; i < field_items(result, "vcpus"); i++) {
		if (i)
			fputc('\n', call->ctx->out);
		show_tlb_vcpu(call->ctx, field_item(result, "vcpus", i));
	}
}

static int run_tlb(struct hvctl_call *call)
{
	const struct proto_vm_params *p = call->params;

	return call->watch_ms ? hvctl_watch(call, p->vm, WATCH_TLB) : hvctl_run_once(call);
}

static const struct hvctl_option tlb_options[] = {
	{"watch", "[=SECONDS]", HVCTL_WATCH_DOC, hvctl_set_watch},
	{"count", "N", "with --watch: end after so many times", hvctl_set_count},
	{NULL, NULL, NULL, NULL},
};

const struct hvctl_verb hvctl_verb_tlb_stats = {
	.example = "demo",
	.options = tlb_options,
	.prepare = hvctl_check_watch,
	.run = run_tlb,
	.show = show_tlb,
};

/* --- tlb-entries -------------------------------------------------------------------------- */

static const char *structure_title(const char *structure)
{
	static const struct {
		const char *name, *title;
	} titles[] = {{"i1", "L1I"}, {"d1", "L1D"}, {"l2", "L2"}, {"psc", "PSC"}, {"gpa", "GPA"}};

	for (size_t i = 0; i < sizeof(titles) / sizeof(*titles); i++) {
		if (strcmp(titles[i].name, structure) == 0)
			return titles[i].title;
	}
	return structure;
}

/* Paging-structure entries have no page; they name their level. */
static void page_cell(struct table *t, struct json_object *e)
{
	static const char *const levels[] = {
		[2] = "PDE", [3] = "PDPTE", [4] = "PML4E", [5] = "PML5E"};
	uint64_t level = field_count(e, "level");
	char page[TEXT_NUMBER];

	if (strcmp(field_text(e, "structure", ""), "psc") == 0 && level >= 2 && level <= 5)
		table_cell(t, "%s", levels[level]);
	else
		table_cell(t, "%s", text_page(page, field_count(e, "page_bytes")));
}

static void entry_row(struct table *t, struct json_object *e)
{
	char number[TEXT_NUMBER];

	table_cell(t, "%s", structure_title(field_text(e, "structure", "?")));
	table_cell(t, "%s", text_member(number, e, "vpid"));
	table_cell(t, "%s", text_member(number, e, "pcid"));
	table_cell(t, "%s", field_text(e, "ep4ta", "?"));
	table_cell(t, "%s", field_text(e, "address", "?"));
	table_cell(t, "%s", field_text(e, "hpa", "?"));
	page_cell(t, e);
	table_cell(t, "%s%s%s%s", field_text(e, "permissions", "?"),
		   field_bool(e, "user") ? " user" : "", field_bool(e, "global") ? " global" : "",
		   field_bool(e, "dirty") ? " dirty" : "");
	/* guest-physical mappings belong to an EPT: to a VM, and to none of its vCPUs */
	if (field_string(e, "vm") && field_object(e, "vcpu"))
		table_cell(t, "%s/%s", field_string(e, "vm"), text_member(number, e, "vcpu"));
	else
		table_cell(t, "%s", field_text(e, "vm", ""));
}

static void show_tlb_entries(struct hvctl_call *call, struct json_object *result)
{
	static const struct table_column columns[] = {
		{"cache", false}, {"VPID", true},     {"PCID", true},
		{"EP4TA", false}, {"address", false}, {"hpa", false},
		{"page", false},  {"allows", false},  {"VM/vCPU", false}};
	struct table *t = table_new(columns, 9);
	char a[TEXT_NUMBER], b[TEXT_NUMBER];
	size_t shown = field_items(result, "entries");

	for (size_t i = 0; i < shown; i++)
		entry_row(t, field_item(result, "entries", i));
	table_print(t, call->ctx->out, 0, call->ctx->colour);
	fprintf(call->ctx->out, "%s of %s entries of processor %" PRIu64, text_count(a, shown),
		text_member(b, result, "total"), field_count(result, "processor"));
	if (field_object(result, "next_skip"))
		fprintf(call->ctx->out, "; the next: --skip %" PRIu64,
			field_count(result, "next_skip"));
	fputc('\n', call->ctx->out);
}

const struct hvctl_verb hvctl_verb_tlb_entries = {
	.example = "demo --structure d1 --structure l2",
	.show = show_tlb_entries,
};

/* --- stats --------------------------------------------------------------------------------- */

void show_scope_cell(struct table *t, struct json_object *s)
{
	const char *vm = field_string(s, "vm");
	uint64_t n;

	if (vm && field_number(s, "vcpu", &n))
		table_cell(t, "%s vCPU %" PRIu64, vm, n);
	else if (vm)
		table_cell(t, "%s", vm);
	else if (field_number(s, "processor", &n))
		table_cell(t, "processor %" PRIu64, n);
	else
		table_cell(t, "%s", field_text(s, "scope", ""));
}

static void show_stats(struct hvctl_call *call, struct json_object *result)
{
	static const struct table_column columns[] = {
		{"of", false}, {"counter", false}, {"value", true}, {"unit", false}};
	struct table *t = table_new(columns, 4);
	char number[TEXT_NUMBER];
	size_t zeros = 0;

	for (size_t i = 0; i < field_items(result, "stats"); i++) {
		struct json_object *s = field_item(result, "stats", i);

		if (!call->all && field_object(s, "value") && !field_count(s, "value")) {
			zeros++;
			continue;
		}
		show_scope_cell(t, s);
		table_cell(t, "%s", field_text(s, "name", "?"));
		table_cell(t, "%s", text_member(number, s, "value"));
		table_cell(t, "%s", field_text(s, "unit", ""));
	}
	table_print(t, call->ctx->out, 0, call->ctx->colour);
	if (field_object(result, "next_skip"))
		fprintf(call->ctx->out, "more: --skip %" PRIu64 "\n",
			field_count(result, "next_skip"));
	if (zeros)
		fprintf(call->ctx->out, "%s at 0 left out (--all shows them)\n",
			text_plural(number, sizeof(number), zeros, "counter", "counters"));
}

static const struct hvctl_option stats_options[] = {
	{"all", NULL, "counters that are 0, too", hvctl_set_all},
	{"watch", "[=SECONDS]", HVCTL_WATCH_DOC, hvctl_set_watch},
	{"count", "N", "with --watch: end after so many times", hvctl_set_count},
	{NULL, NULL, NULL, NULL},
};

static int run_stats(struct hvctl_call *call)
{
	const struct proto_stats_params *p = call->params;

	return call->watch_ms ? hvctl_watch(call, p->has_vm ? p->vm : NULL, WATCH_STATS)
			      : hvctl_run_once(call);
}

const struct hvctl_verb hvctl_verb_stats_get = {
	.example = "demo",
	.options = stats_options,
	.prepare = hvctl_check_watch,
	.run = run_stats,
	.show = show_stats,
};
