// SPDX-License-Identifier: MIT
/* Numbers of several rounds, as JSON. */
#include "api.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static bool first = true;

void series_add(struct series *s, double v)
{
	s->values = realloc(s->values, (s->count + 1) * sizeof(*s->values));
	if (!s->values)
		die("out of memory");
	s->values[s->count++] = v;
}

static int by_value(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double *sorted_values(const struct series *s)
{
	double *sorted = need(s->count, sizeof(*sorted));

	memcpy(sorted, s->values, s->count * sizeof(*sorted));
	qsort(sorted, s->count, sizeof(*sorted), by_value);
	return sorted;
}

double series_median(const struct series *s)
{
	double *sorted = sorted_values(s), m;
	const size_t half = s->count / 2;

	m = s->count % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
	free(sorted);
	return m;
}

void series_free(struct series *s)
{
	free(s->values);
	*s = (struct series){0};
}

int compare_u32(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

uint32_t percentile(const uint32_t *sorted, size_t n, unsigned hundredths)
{
	return n ? sorted[(n - 1) * hundredths / 100] : 0;
}

/* A JSON string of what /proc says; quotes and control characters have no place in it. */
static void print_text(const char *text)
{
	putchar('"');
	for (; *text; text++)
		if (*text != '"' && *text != '\\' && (unsigned char)*text >= ' ')
			putchar(*text);
	putchar('"');
}

static void print_processor(void)
{
	char line[256] = "", *colon = NULL;
	FILE *f = fopen("/proc/cpuinfo", "re");

	while (f && !colon && fgets(line, sizeof(line), f))
		colon = strncmp(line, "model name", 10) == 0 ? strchr(line, ':') : NULL;
	if (f)
		fclose(f);
	print_text(colon ? colon + 2 : "unknown");
}

void report_begin(const struct bench *b)
{
	struct utsname host;

	if (uname(&host) < 0)
		die("uname");
	printf("{\n \"host\": ");
	print_processor();
	printf(",\n \"kernel\": ");
	print_text(host.release);
	printf(",\n \"processors\": %ld, \"daemon_processor\": ", sysconf(_SC_NPROCESSORS_ONLN));
	printf(b->daemon_processor < 0 ? "null" : "%d", b->daemon_processor);
	printf(", \"client_processor\": ");
	printf(b->client_processor < 0 ? "null" : "%d", b->client_processor);
	printf(",\n \"engine\": \"soft\", \"rounds\": %u, \"quick\": %s,\n \"results\": [\n",
	       b->rounds, b->quick ? "true" : "false");
}

void report_end(void)
{
	printf("\n ]\n}\n");
}

void report(const char *unit, struct series *s, const char *name, ...)
{
	double *sorted = sorted_values(s);
	va_list ap;

	printf("%s  {\"name\": \"", first ? "" : ",\n");
	first = false;
	va_start(ap, name);
	vprintf(name, ap);
	va_end(ap);
	printf("\", \"unit\": \"%s\", \"median\": %.7g, \"min\": %.7g, \"max\": %.7g, "
	       "\"rounds\": [",
	       unit, series_median(s), sorted[0], sorted[s->count - 1]);
	for (size_t i = 0; i < s->count; i++)
		printf("%s%.7g", i ? ", " : "", s->values[i]);
	printf("]}");
	fflush(stdout);
	free(sorted);
	series_free(s);
}
