/* SPDX-License-Identifier: MIT */
/* Text on the first serial port. */
#ifndef GUEST_PRINT_H
#define GUEST_PRINT_H

#include <stddef.h>
#include <stdint.h>

void print_char(char c);
void print_text(const char *text, size_t length);
/* %s %c %d %u %x %llu %llx %p %%, with a field width and '0' or '-'. */
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
