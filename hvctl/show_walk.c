// SPDX-License-Identifier: MIT
/* walk: the two-dimensional grid. A row a guest level, a column an EPT level. */
#include <inttypes.h>
#include <string.h>

#include "hvctl/fields.h"
#include "hvctl/qualification.h"
#include "hvctl/text.h"
#include "hvctl/verb.h"

#define LEVELS 5

static const char *const level_names[LEVELS + 1] = {"page", "PT", "PD", "PDPT", "PML4", "PML5"};

/* One row: what is being located, the EPT references that do it, and the guest's entry. */
struct grid_row {
	bool used;
	const char *gpa;
	char cell[LEVELS + 1][12]; /* by EPT level */
	struct json_object *guest; /* NULL for the final address */
	unsigned guest_number;
};

struct grid {
	struct grid_row row[LEVELS + 1]; /* by guest level; 0: the final address */
	bool five[2];			 /* EPT, guest have a fifth level */
};

static bool is_guest(struct json_object *ref)
{
	return strcmp(field_text(ref, "dimension", ""), "guest") == 0;
}

static void fill_cell(struct grid *g, struct json_object *ref, unsigned number)
{
	uint64_t level = field_count(ref, "level");
	uint64_t row = is_guest(ref) ? level : field_count(ref, "for_level");
	struct grid_row *r;

	if (level > LEVELS || row > LEVELS)
		return;
	r = &g->row[row];
	r->used = true;
	g->five[is_guest(ref)] |= level == LEVELS;
	if (is_guest(ref)) {
		r->guest = ref;
		r->guest_number = number;
	} else {
		r->gpa = field_text(ref, "gpa", "?");
		snprintf(r->cell[level], sizeof(r->cell[level]), "%u%s", number,
			 field_bool(ref, "cached") ? "*" : "");
	}
	if (is_guest(ref) && !r->gpa)
		r->gpa = field_text(ref, "gpa", "?");
}

static void print_row(struct table *t, const struct grid *g, unsigned level,
		      struct json_object *walk)
{
	const struct grid_row *r = &g->row[level];

	table_cell(t, "%s", level_names[level]);
	table_cell(t, "%s", r->gpa ? r->gpa : "");
	for (unsigned e = LEVELS; e > 0; e--)
		table_cell(t, "%s",
			   e == LEVELS && !g->five[0] ? ""
			   : r->cell[e][0]	      ? r->cell[e]
						      : ".");
	if (r->guest) {
		table_cell(t, "%u%s", r->guest_number, field_bool(r->guest, "cached") ? "*" : "");
		table_cell(t, "%s", field_text(r->guest, "hpa", "?"));
		table_cell(t, "entry %s%s", field_text(r->guest, "entry", "?"),
			   field_bool(r->guest, "leaf") ? " leaf" : "");
	} else {
		table_cell(t, "%s", "");
		table_cell(t, "%s", field_text(walk, "hpa", "-"));
		table_cell(t, "%s", field_string(walk, "hpa") ? "the translation" : "");
	}
}

static void print_grid(const struct hvctl_context *ctx, struct json_object *walk)
{
	static const struct table_column columns[] = {
		{"to find", false}, {"at gpa", false}, {"EPT PML5", true}, {"EPT PML4", true},
		{"PDPT", true},	    {"PD", true},      {"PT", true},	   {"guest", true},
		{"at hpa", false},  {"", false}};
	struct grid grid = {0};
	struct table *t = table_new(columns, 10);

	for (size_t i = 0; i < field_items(walk, "refs"); i++)
		fill_cell(&grid, field_item(walk, "refs", i), (unsigned)i + 1);
	for (unsigned level = LEVELS; level > 0; level--) {
		if (grid.row[level].used)
			print_row(t, &grid, level, walk);
	}
	if (grid.row[0].used)
		print_row(t, &grid, 0, walk);
	table_print(t, ctx->out, 2, ctx->colour);
}

static void print_tags(const struct hvctl_context *ctx, struct json_object *walk)
{
	struct json_object *tlb = field_object(walk, "tlb");
	char number[TEXT_NUMBER], line[160];
	size_t n;

	n = (size_t)snprintf(line, sizeof(line), "gva %s  vCPU %s  VPID %s  PCID ",
			     field_text(walk, "gva", "?"),
			     json_object_get_string(field_object(walk, "vcpu")),
			     text_member(number, walk, "vpid"));
	snprintf(line + n, sizeof(line) - n, "%s  EP4TA %s  CR3 %s",
		 text_member(number, walk, "pcid"), field_text(walk, "ep4ta", "?"),
		 field_text(walk, "cr3", "?"));
	fprintf(ctx->out, "%s%s%s\n", text_style(ctx->colour, STYLE_BOLD), line,
		text_style(ctx->colour, STYLE_NONE));
	if (!tlb)
		return;
	fputs("in the TLB now:", ctx->out);
	if (field_bool(tlb, "i1"))
		fputs(" L1I", ctx->out);
	if (field_bool(tlb, "d1"))
		fputs(" L1D", ctx->out);
	if (field_bool(tlb, "l2"))
		fputs(" L2", ctx->out);
	if (!field_bool(tlb, "i1") && !field_bool(tlb, "d1") && !field_bool(tlb, "l2"))
		fputs(" no", ctx->out);
	fputc('\n', ctx->out);
}

/* "page fault, error code 0x2": how a walk that does not end well ends. */
static void print_outcome(const struct hvctl_context *ctx, struct json_object *walk)
{
	const char *outcome = field_text(walk, "outcome", "?");
	char text[QUALIFICATION_LEN];
	uint64_t code;

	if (strcmp(outcome, "ok") == 0)
		return;
	fprintf(ctx->out, "%sends in: %s", text_style(ctx->colour, STYLE_WARN), outcome);
	if (field_number(walk, "error_code", &code)) {
		page_fault_text(code, text);
		fprintf(ctx->out, ", error code 0x%" PRIx64 " (%s)", code, text);
	}
	if (field_string(walk, "fault_gpa"))
		fprintf(ctx->out, " at gpa %s", field_string(walk, "fault_gpa"));
	if (field_number(walk, "qualification", &code) && qualification_text(outcome, code, text))
		fprintf(ctx->out, ", exit qualification 0x%" PRIx64 " (%s)", code, text);
	fprintf(ctx->out, "%s\n", text_style(ctx->colour, STYLE_NONE));
}

static void print_result(const struct hvctl_context *ctx, struct json_object *walk)
{
	char page[TEXT_NUMBER];
	uint64_t bytes;

	if (!field_string(walk, "hpa"))
		return;
	fprintf(ctx->out, "gpa %s", field_text(walk, "gpa", "?"));
	if (field_string(walk, "slot"))
		fprintf(ctx->out, ", slot %s + 0x%" PRIx64, field_string(walk, "slot"),
			field_count(walk, "slot_offset_bytes"));
	fprintf(ctx->out, "; guest page %s",
		field_number(walk, "guest_page_bytes", &bytes) ? text_page(page, bytes)
							       : "none (paging off)");
	fprintf(ctx->out, ", EPT page %s",
		field_number(walk, "ept_page_bytes", &bytes) ? text_page(page, bytes) : "-");
	fprintf(ctx->out, "; allowed %s%s%s\n", field_text(walk, "permissions", "?"),
		field_bool(walk, "user_accessible") ? ", user mode too" : "",
		field_bool(walk, "global") ? ", global" : "");
}

static void print_count(const struct hvctl_context *ctx, struct json_object *walk)
{
	struct json_object *refs = field_object(walk, "references");
	char a[64], b[TEXT_NUMBER];

	fprintf(ctx->out, "%s cold",
		text_plural(a, sizeof(a), field_count(refs, "total"), "reference", "references"));
	fprintf(ctx->out, " (%s guest", text_member(b, refs, "guest"));
	fprintf(ctx->out, " + %s EPT)", text_member(b, refs, "ept"));
	if (field_object(refs, "with_caches"))
		fprintf(ctx->out, ", %s with the caches as they are now (* is skipped)",
			text_member(b, refs, "with_caches"));
	fputc('\n', ctx->out);
}

static void show_walk(struct hvctl_call *call, struct json_object *result)
{
	print_tags(call->ctx, result);
	if (field_items(result, "refs"))
		print_grid(call->ctx, result);
	print_outcome(call->ctx, result);
	print_result(call->ctx, result);
	print_count(call->ctx, result);
}

const struct hvctl_verb hvctl_verb_memory_walk = {
	.example = "demo 0x401000",
	.show = show_walk,
};
