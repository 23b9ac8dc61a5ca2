/* SPDX-License-Identifier: MIT */
#include "guest/print.h"

#include <stdarg.h>

#include "guest/io.h"

#define LINE_CONTROL (GUEST_SERIAL_PORT + 3)
#define LINE_STATUS (GUEST_SERIAL_PORT + 5)
#define EIGHT_BITS 3 /* after a reset a character has five */
#define TRANSMITTER_EMPTY 0x20

void print_char(char c)
{
	static int started;

	if (!started) {
		outb(LINE_CONTROL, EIGHT_BITS);
		started = 1;
	}
	while (!(inb(LINE_STATUS) & TRANSMITTER_EMPTY))
		;
	outb(GUEST_SERIAL_PORT, (uint8_t)c);
}

void print_text(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		print_char(text[i]);
}

/* A conversion in progress: flags and width of one % specification. */
struct spec {
	int left, zero, wide;
	unsigned width;
};

static void print_padded(const struct spec *s, const char *text, size_t length)
{
	size_t fill = length < s->width ? s->width - length : 0;

	for (size_t i = 0; !s->left && i < fill; i++)
		print_char(s->zero ? '0' : ' ');
	print_text(text, length);
	for (size_t i = 0; s->left && i < fill; i++)
		print_char(' ');
}

/* Subtracts powers of ten: a 32-bit program has no 64-bit division without libgcc. */
static size_t format_decimal(char *out, uint64_t v)
{
	uint64_t power[20] = {1};
	unsigned n = 1;
	size_t length = 0;

	while (n < 20 && power[n - 1] <= UINT64_MAX / 10) {
		power[n] = (power[n - 1] << 3) + (power[n - 1] << 1);
		n++;
	}
	while (n--) {
		char digit = '0';

		while (v >= power[n]) {
			v -= power[n];
			digit++;
		}
		if (length || digit != '0' || n == 0)
			out[length++] = digit;
	}
	return length;
}

static size_t format_hex(char *out, uint64_t v)
{
	size_t length = 0;

	for (int shift = 60; shift >= 0; shift -= 4) {
		unsigned digit = (unsigned)(v >> shift) & 15;

		if (length || digit || shift == 0)
			out[length++] = "0123456789abcdef"[digit];
	}
	return length;
}

static void print_number(const struct spec *s, char kind, uint64_t v)
{
	char digits[24];
	size_t length;

	if (kind == 'd' && (int64_t)v < 0) {
		print_char('-');
		v = 0 - v;
	}
	length = kind == 'x' ? format_hex(digits, v) : format_decimal(digits, v);
	print_padded(s, digits, length);
}

static size_t text_length(const char *text)
{
	size_t n = 0;

	while (text[n])
		n++;
	return n;
}

static const char *parse_spec(const char *f, struct spec *s)
{
	*s = (struct spec){0};
	for (; *f == '-' || *f == '0'; f++) {
		s->left |= *f == '-';
		s->zero |= *f == '0';
	}
	for (; *f >= '0' && *f <= '9'; f++)
		s->width = s->width * 10 + (unsigned)(*f - '0');
	for (; *f == 'l'; f++)
		s->wide++;
	return f;
}

void print(const char *f, ...)
{
	va_list args;
	struct spec s;

	va_start(args, f);
	for (; *f; f++) {
		if (*f != '%') {
			print_char(*f);
			continue;
		}
		f = parse_spec(f + 1, &s);
		if (*f == 's') {
			const char *text = va_arg(args, const char *);

			print_padded(&s, text, text_length(text));
		} else if (*f == 'c') {
			print_char((char)va_arg(args, int));
		} else if (*f == 'd') {
			print_number(&s, 'd',
				     (uint64_t)(s.wide > 1 ? va_arg(args, long long)
							   : va_arg(args, int)));
		} else if (*f == 'u' || *f == 'x') {
			print_number(&s, *f,
				     s.wide > 1 ? va_arg(args, unsigned long long)
						: va_arg(args, unsigned));
		} else if (*f == 'p') {
			print_text("0x", 2);
			print_number(&s, 'x', (uintptr_t)va_arg(args, void *));
		} else {
			print_char(*f);
		}
	}
	va_end(args);
}
