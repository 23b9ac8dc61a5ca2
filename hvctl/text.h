/* SPDX-License-Identifier: MIT */
/* Numbers and tables for people: separators, units, aligned columns, colour. */
#ifndef HVCTL_TEXT_H
#define HVCTL_TEXT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <json-c/json.h>

#define TEXT_WIDTH 100 /* columns that every view fits in */
#define TEXT_NUMBER 40

enum text_style { STYLE_NONE, STYLE_BOLD, STYLE_DIM, STYLE_GOOD, STYLE_WARN, STYLE_COUNT };

/* "" unless colour is on. STYLE_NONE ends a style. */
const char *text_style(bool colour, enum text_style style);

/* 12,480,112. buf holds TEXT_NUMBER characters; returned. */
char *text_count(char *buf, uint64_t v);
/* "64 MiB", "4 KiB", "3,072 bytes": only what is exact. */
char *text_size(char *buf, uint64_t bytes);
/* "1.5 GiB", "812.0 KiB": one decimal, rounded down. */
char *text_about(char *buf, uint64_t bytes);
/* "4K", "2M", "1G": page sizes. */
char *text_page(char *buf, uint64_t bytes);
/* A member as a count; "-" if it is null (not observable). */
char *text_member(char *buf, struct json_object *obj, const char *name);
/* a / b with one decimal; "-" when b is 0. */
char *text_ratio(char *buf, uint64_t a, uint64_t b);
/* 100 a / b with two decimals and '%', rounded down: 100.00% is all of them. */
char *text_percent(char *buf, uint64_t a, uint64_t b);
/* "1 entry", "2 entries": count and the noun that fits it. */
char *text_plural(char *buf, size_t size, uint64_t n, const char *one, const char *many);
/* Milliseconds as "1 h 02 min", "12.345 s". */
char *text_duration(char *buf, uint64_t ms);

/* A table: cells are added row by row, left to right; columns take their widest cell. */
struct table;
struct table_column {
	const char *title;
	bool right; /* numbers */
};

struct table *table_new(const struct table_column *columns, size_t count);
void table_cell(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints "indent" spaces before each line and frees the table. Empty columns are left out. */
void table_print(struct table *t, FILE *out, int indent, bool colour);

/* A text that grows; what is beyond its room is cut off. Zero-initialise it. */
struct text_line {
	char text[1024];
	size_t n;
};
void text_add(struct text_line *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Prints text in lines of at most TEXT_WIDTH characters, continued at the same indent. */
void text_wrap(FILE *out, int indent, const char *text);
/* Bytes that a terminal should not obey (all control characters but newline and tab)
 * become '?', when safe is asked for. */
void text_guest(FILE *out, const uint8_t *data, size_t size, bool safe);

#endif
