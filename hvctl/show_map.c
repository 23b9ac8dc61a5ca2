// SPDX-License-Identifier: MIT
/*
 * mappings --map: guest-physical memory as a picture. A range is as high as its size is long
 * when written down, for a hole may be a million times what lies beside it.
 */
#include <inttypes.h>
#include <string.h>

#include "hvctl/fields.h"
#include "hvctl/show.h"
#include "hvctl/text.h"

#define BAR 24		 /* cells of a line */
#define LINES_MAX 12	 /* of the largest range there can be: 2^52 bytes take 9 */
#define RANGES_HIGH 24	 /* with more ranges than these, each is one line */
#define RANGES_SHOWN 256 /* and of more than these, the rest is left to the table */
#define FACTOR_BITS 5	 /* a range 32 times as large is a line higher */
#define PAGE_BITS 12

/* The leaf sizes, largest first, and their letters in the picture. */
static const struct {
	const char *member, *page;
	uint64_t bytes;
	char letter;
} sizes[] = {
	{"size_1g", "1G", UINT64_C(1) << 30, 'G'},
	{"size_2m", "2M", UINT64_C(1) << 21, 'M'},
	{"size_4k", "4K", UINT64_C(1) << 12, 'k'},
};
#define SIZES (sizeof(sizes) / sizeof(*sizes))

struct picture {
	struct table *table;
	bool flat; /* a line a range */
	int digits;
	size_t ranges, left_out;
	bool seen[SIZES], gaps, holes; /* what the legend has to explain */
};

/* 4 KiB: 1; 128 KiB: 2; 4 MiB: 3; ... */
static unsigned height(const struct picture *p, uint64_t size)
{
	unsigned lines = 1;

	for (size >>= PAGE_BITS; !p->flat && size >> FACTOR_BITS; size >>= FACTOR_BITS)
		lines++;
	return lines;
}

/* Shares of the range, not places: what the reply tells is how many leaves of each size. */
static void fill(struct picture *p, char *cells, size_t count, struct json_object *m)
{
	struct json_object *leaves = field_object(m, "leaves");
	uint64_t size = field_count(m, "size_bytes");
	size_t at = 0;

	for (size_t i = 0; i < SIZES; i++) {
		uint64_t n = field_count(leaves, sizes[i].member);
		double share = size ? (double)n * (double)sizes[i].bytes / (double)size : 0;
		size_t want = (size_t)(share * (double)count + 0.5);

		if (!n)
			continue;
		p->seen[i] = true;
		want = want ? want : 1; /* what is there is seen */
		want = want < count - at ? want : count - at;
		memset(cells + at, sizes[i].letter, want);
		at += want;
	}
	memset(cells + at, ' ', count - at);
	p->gaps |= at < count;
}

/* "32 x 2M, 1 x 4K" */
static void leaves_cell(struct table *t, struct json_object *m)
{
	struct json_object *leaves = field_object(m, "leaves");
	struct text_line l = {.n = 0};
	char number[TEXT_NUMBER];

	for (size_t i = 0; i < SIZES; i++) {
		if (field_count(leaves, sizes[i].member))
			text_add(&l, "%s%s x %s", l.n ? ", " : "",
				 text_member(number, leaves, sizes[i].member), sizes[i].page);
	}
	table_cell(t, "%s", l.n ? l.text : "none yet");
}

static void blank_cells(struct table *t, unsigned n)
{
	while (n--)
		table_cell(t, "%s", "");
}

/* A range: m NULL, a hole. */
static void draw(struct picture *p, uint64_t first, uint64_t size, struct json_object *m)
{
	unsigned lines = height(p, size);
	char cells[BAR * LINES_MAX], number[TEXT_NUMBER];
	struct table *t = p->table;

	if (p->ranges++ >= RANGES_SHOWN) {
		p->left_out++;
		return;
	}
	p->holes |= !m;
	memset(cells, ' ', sizeof(cells));
	if (m)
		fill(p, cells, (size_t)BAR * lines, m);
	for (unsigned i = 0; i < lines; i++) {
		char side = m ? '|' : ':';

		if (i)
			table_cell(t, "%s", "");
		else
			table_cell(t, "0x%0*" PRIx64, p->digits, first);
		table_cell(t, "%c%.*s%c", side, BAR, cells + (size_t)BAR * i, side);
		if (i) {
			blank_cells(t, 5);
			continue;
		}
		if (m)
			table_cell(t, "%s+0x%" PRIx64, field_text(m, "slot", "?"),
				   field_count(m, "offset_bytes"));
		else
			table_cell(t, "not mapped");
		table_cell(t, "%s", m ? field_text(m, "prot", "?") : "");
		table_cell(t, "%s", m ? field_text(m, "memory_type", "?") : "");
		table_cell(t, "%s", text_size(number, size));
		if (m)
			leaves_cell(t, m);
		else
			blank_cells(t, 1);
	}
}

static void legend(const struct picture *p, FILE *out)
{
	struct text_line l = {.n = 0};

	for (size_t i = 0; i < SIZES; i++) {
		if (p->seen[i])
			text_add(&l, "%s %c a leaf of %s", l.n ? "," : "", sizes[i].letter,
				 sizes[i].page);
	}
	if (p->gaps)
		text_add(&l, "%s blank no leaf yet", l.n ? "," : "");
	text_add(&l, "%s shares of a range, not places.", l.n ? ";" : "");
	if (p->flat)
		text_add(&l, " Heights mean nothing: there are too many ranges.");
	else
		text_add(&l, " A range that is 32 times as large is a line higher.");
	fputs(" ", out);
	text_wrap(out, 2, l.text);
	if (p->left_out)
		fprintf(out, "  ... %zu ranges more: without --map, all are listed\n", p->left_out);
}

static size_t count_ranges(struct json_object *result, uint64_t asked)
{
	size_t n = field_items(result, "mappings"), ranges = n;
	uint64_t at = 0;

	for (size_t i = 0; i < n; i++) {
		struct json_object *m = field_item(result, "mappings", i);

		ranges += field_count(m, "gpa") > at && (i || !asked);
		at = field_count(m, "gpa") + field_count(m, "size_bytes");
	}
	return ranges;
}

void show_picture(const struct hvctl_context *ctx, struct json_object *result, uint64_t asked)
{
	static const struct table_column columns[] = {
		{"from", false}, {"leaves", false}, {"slot+offset", false},
		{"prot", false}, {"type", false},   {"size", true},
		{"", false}};
	struct picture p = {.table = table_new(columns, 7),
			    .digits = show_address_digits(result),
			    .flat = count_ranges(result, asked) > RANGES_HIGH};
	uint64_t at = 0;

	for (size_t i = 0; i < field_items(result, "mappings"); i++) {
		struct json_object *m = field_item(result, "mappings", i);
		uint64_t gpa = field_count(m, "gpa");

		/* a hole before the first that was asked for is not known to be one */
		if (gpa > at && (i || !asked))
			draw(&p, at, gpa - at, NULL);
		draw(&p, gpa, field_count(m, "size_bytes"), m);
		at = gpa + field_count(m, "size_bytes");
	}
	if (p.ranges && !p.left_out) {
		table_cell(p.table, "0x%0*" PRIx64, p.digits, at);
		table_cell(p.table, "'%.*s'", BAR, "--------------------------------------------");
		blank_cells(p.table, 5);
	}
	table_print(p.table, ctx->out, 2, ctx->colour);
	if (p.ranges)
		legend(&p, ctx->out);
}
