// SPDX-License-Identifier: MIT
#include "hvctl/text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "hvctl/fields.h"

const char *text_style(bool colour, enum text_style style)
{
	static const char *const codes[STYLE_COUNT] = {
		[STYLE_NONE] = "\033[0m",  [STYLE_BOLD] = "\033[1m",  [STYLE_DIM] = "\033[2m",
		[STYLE_GOOD] = "\033[32m", [STYLE_WARN] = "\033[33m",
	};

	return colour ? codes[style] : "";
}

/* What can't be known, or has no meaning. */
static char *text_none(char *buf)
{
	buf[0] = '-';
	buf[1] = 0;
	return buf;
}

char *text_count(char *buf, uint64_t v)
{
	char digits[24];
	int length = snprintf(digits, sizeof(digits), "%" PRIu64, v);
	char *to = buf;

	for (int i = 0; i < length; i++) {
		if (i && (length - i) % 3 == 0)
			*to++ = ',';
		*to++ = digits[i];
	}
	*to = 0;
	return buf;
}

static const struct {
	unsigned shift;
	const char *unit, *page;
} size_units[] = {{40, "TiB", "T"}, {30, "GiB", "G"}, {20, "MiB", "M"}, {10, "KiB", "K"}};

char *text_size(char *buf, uint64_t bytes)
{
	char number[TEXT_NUMBER];

	for (size_t i = 0; bytes && i < sizeof(size_units) / sizeof(*size_units); i++) {
		uint64_t unit = UINT64_C(1) << size_units[i].shift;

		if (bytes % unit == 0) {
			snprintf(buf, TEXT_NUMBER, "%.30s %s", text_count(number, bytes / unit),
				 size_units[i].unit);
			return buf;
		}
	}
	snprintf(buf, TEXT_NUMBER, "%.30s byte%s", text_count(number, bytes),
		 bytes == 1 ? "" : "s");
	return buf;
}

char *text_about(char *buf, uint64_t bytes)
{
	char number[TEXT_NUMBER];

	for (size_t i = 0; i < sizeof(size_units) / sizeof(*size_units); i++) {
		uint64_t unit = UINT64_C(1) << size_units[i].shift;

		if (bytes < unit)
			continue;
		snprintf(buf, TEXT_NUMBER, "%.24s.%u %s", text_count(number, bytes / unit),
			 (unsigned)(bytes % unit * 10 / unit), size_units[i].unit);
		return buf;
	}
	return text_size(buf, bytes);
}

char *text_page(char *buf, uint64_t bytes)
{
	for (size_t i = 0; bytes && i < sizeof(size_units) / sizeof(*size_units); i++) {
		uint64_t unit = UINT64_C(1) << size_units[i].shift;

		if (bytes % unit == 0) {
			snprintf(buf, TEXT_NUMBER, "%" PRIu64 "%s", bytes / unit,
				 size_units[i].page);
			return buf;
		}
	}
	snprintf(buf, TEXT_NUMBER, "%" PRIu64, bytes);
	return buf;
}

char *text_member(char *buf, struct json_object *obj, const char *name)
{
	uint64_t v;

	if (!field_number(obj, name, &v))
		return text_none(buf);
	return text_count(buf, v);
}

char *text_ratio(char *buf, uint64_t a, uint64_t b)
{
	if (!b)
		return text_none(buf);
	snprintf(buf, TEXT_NUMBER, "%.1f", (double)a / (double)b);
	return buf;
}

char *text_percent(char *buf, uint64_t a, uint64_t b)
{
	uint64_t hundredths;

	if (!b)
		return text_none(buf);
	/* counters are 64 bits wide: large ones lose digits that do not show */
	while (a > UINT64_MAX / 10000) {
		a >>= 1;
		b >>= 1;
	}
	hundredths = b ? a * 10000 / b : 0;
	snprintf(buf, TEXT_NUMBER, "%" PRIu64 ".%02" PRIu64 "%%", hundredths / 100,
		 hundredths % 100);
	return buf;
}

char *text_plural(char *buf, size_t size, uint64_t n, const char *one, const char *many)
{
	char number[TEXT_NUMBER];

	snprintf(buf, size, "%s %s", text_count(number, n), n == 1 ? one : many);
	return buf;
}

char *text_duration(char *buf, uint64_t ms)
{
	if (ms >= 3600000)
		snprintf(buf, TEXT_NUMBER, "%" PRIu64 " h %02" PRIu64 " min", ms / 3600000,
			 ms / 60000 % 60);
	else if (ms >= 60000)
		snprintf(buf, TEXT_NUMBER, "%" PRIu64 " min %02" PRIu64 " s", ms / 60000,
			 ms / 1000 % 60);
	else
		snprintf(buf, TEXT_NUMBER, "%" PRIu64 ".%03" PRIu64 " s", ms / 1000, ms % 1000);
	return buf;
}

/* --- tables ------------------------------------------------------------------------- */

struct table {
	const struct table_column *columns;
	size_t column_count;
	char **cells;
	size_t cell_count, cell_room;
	bool failed; /* out of memory: the table prints as far as it goes */
};

struct table *table_new(const struct table_column *columns, size_t count)
{
	struct table *t = calloc(1, sizeof(*t));

	if (!t)
		abort();
	t->columns = columns;
	t->column_count = count;
	return t;
}

static bool table_grow(struct table *t)
{
	size_t room = t->cell_room ? 2 * t->cell_room : 64;
	char **cells;

	if (t->cell_count < t->cell_room)
		return true;
	cells = reallocarray(t->cells, room, sizeof(*cells));
	if (!cells)
		return false;
	t->cells = cells;
	t->cell_room = room;
	return true;
}

void table_cell(struct table *t, const char *fmt, ...)
{
	va_list args;
	char *text = NULL;

	va_start(args, fmt);
	if (t->failed || !table_grow(t) || vasprintf(&text, fmt, args) < 0)
		t->failed = true;
	else
		t->cells[t->cell_count++] = text;
	va_end(args);
}

/* Columns of a UTF-8 text. */
static size_t text_columns(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

/* The column's width; 0 if no row has anything in it. */
static size_t column_width(const struct table *t, size_t column)
{
	size_t widest = 0, title = text_columns(t->columns[column].title);

	for (size_t i = column; i < t->cell_count; i += t->column_count) {
		size_t n = text_columns(t->cells[i]);

		widest = n > widest ? n : widest;
	}
	if (!widest)
		return 0;
	return widest > title ? widest : title;
}

static void print_row(const struct table *t, FILE *out, int indent, const size_t *width,
		      char *const *row, const char *start, const char *end)
{
	size_t pending = (size_t)indent;

	fputs(start, out);
	for (size_t c = 0; c < t->column_count; c++) {
		const char *text = row ? row[c] : t->columns[c].title;
		size_t fill;

		if (!width[c])
			continue;
		fill = width[c] - text_columns(text);
		/* blanks wait until a text follows: no line ends in blanks */
		if (t->columns[c].right)
			pending += fill;
		if (*text)
			fprintf(out, "%*s%s", (int)pending, "", text);
		pending = *text ? 0 : pending + text_columns(text);
		if (!t->columns[c].right)
			pending += fill;
		pending += 2;
	}
	fprintf(out, "%s\n", end);
}

static bool has_titles(const struct table *t)
{
	for (size_t c = 0; c < t->column_count; c++) {
		if (t->columns[c].title[0])
			return true;
	}
	return false;
}

void table_print(struct table *t, FILE *out, int indent, bool colour)
{
	size_t *width = calloc(t->column_count, sizeof(*width));
	size_t rows = t->cell_count / t->column_count;

	for (size_t c = 0; width && c < t->column_count; c++)
		width[c] = column_width(t, c);
	if (width && rows && has_titles(t))
		print_row(t, out, indent, width, NULL, text_style(colour, STYLE_BOLD),
			  text_style(colour, STYLE_NONE));
	for (size_t r = 0; width && r < rows; r++)
		print_row(t, out, indent, width, t->cells + r * t->column_count, "", "");
	if (!width || t->failed)
		fputs("(out of memory: the rest is left out)\n", out);
	for (size_t i = 0; i < t->cell_count; i++)
		free(t->cells[i]);
	free(t->cells);
	free(width);
	free(t);
}

void text_add(struct text_line *l, const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(l->text + l->n, sizeof(l->text) - l->n, fmt, args);
	va_end(args);
	l->n += n > 0 ? (size_t)n : 0;
	if (l->n >= sizeof(l->text))
		l->n = sizeof(l->text) - 1;
}

void text_wrap(FILE *out, int indent, const char *text)
{
	size_t room = TEXT_WIDTH - (size_t)indent;

	while (strlen(text) > room) {
		size_t n = room;

		while (n && text[n] != ' ')
			n--;
		if (!n)
			break; /* one word longer than the line */
		fprintf(out, "%.*s\n%*s", (int)n, text, indent, "");
		text += n + 1;
	}
	fprintf(out, "%s\n", text);
}

void text_guest(FILE *out, const uint8_t *data, size_t size, bool safe)
{
	for (size_t i = 0; i < size; i++) {
		bool control = data[i] < 0x20 || data[i] >= 0x7f;

		/* a carriage return before a newline is how serial lines end */
		if (safe && data[i] == '\r' && i + 1 < size && data[i + 1] == '\n')
			continue;
		if (safe && control && data[i] != '\n' && data[i] != '\t')
			putc('?', out);
		else
			putc(data[i], out);
	}
}
