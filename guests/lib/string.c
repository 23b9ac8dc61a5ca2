/* SPDX-License-Identifier: MIT */
#include "guest/string.h"

void *memcpy(void *to, const void *from, size_t size)
{
	void *d = to;

	__asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(size) : : "memory");
	return to;
}

void *memmove(void *to, const void *from, size_t size)
{
	uint8_t *d = to;
	const uint8_t *s = from;

	if (d <= s || d >= s + size)
		return memcpy(to, from, size);
	while (size--) {
		d[size] = s[size];
		__asm__ volatile("" : : : "memory");
	}
	return to;
}

void *memset(void *to, int value, size_t size)
{
	void *d = to;

	__asm__ volatile("rep stosb" : "+D"(d), "+c"(size) : "a"(value) : "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
	const uint8_t *x = a, *y = b;

	for (size_t i = 0; i < size; i++) {
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	}
	return 0;
}

/* The text after "name=", or NULL. */
static const char *option_find(const char *line, const char *name)
{
	while (line && *line) {
		const char *n = name;

		while (*line == ' ')
			line++;
		while (*n && *line == *n) {
			line++;
			n++;
		}
		if (!*n && *line == '=')
			return line + 1;
		while (*line && *line != ' ')
			line++;
	}
	return NULL;
}

static int digit_value(char c, unsigned base)
{
	int v = -1;

	if (c >= '0' && c <= '9')
		v = c - '0';
	else if (c >= 'a' && c <= 'f')
		v = c - 'a' + 10;
	else if (c >= 'A' && c <= 'F')
		v = c - 'A' + 10;
	return v < (int)base ? v : -1;
}

uint64_t option_number(const char *line, const char *name, uint64_t otherwise)
{
	const char *at = option_find(line, name);
	unsigned base = 10;
	uint64_t v = 0;

	if (!at || digit_value(*at, 10) < 0)
		return otherwise;
	if (at[0] == '0' && at[1] == 'x') {
		base = 16;
		at += 2;
	}
	for (; digit_value(*at, base) >= 0; at++)
		v = v * base + (unsigned)digit_value(*at, base);
	if (*at == 'K')
		v <<= 10;
	else if (*at == 'M')
		v <<= 20;
	else if (*at == 'G')
		v <<= 30;
	return v;
}

int option_is(const char *line, const char *name, const char *value)
{
	const char *at = option_find(line, name);

	while (at && *value && *at == *value) {
		at++;
		value++;
	}
	return at && !*value && (!*at || *at == ' ');
}
