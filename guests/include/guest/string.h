/* SPDX-License-Identifier: MIT */
/* The four functions that a compiler may call, and what the programs need to read words. */
#ifndef GUEST_STRING_H
#define GUEST_STRING_H

#include <stddef.h>
#include <stdint.h>

void *memcpy(void *to, const void *from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
int memcmp(const void *a, const void *b, size_t size);

/*
 * The number after "name=" in a command line, decimal or 0x hexadecimal, with K, M or G
 * for binary multiples; otherwise when the word is absent.
 */
uint64_t option_number(const char *cmdline, const char *name, uint64_t otherwise);
/* 1 if the command line has the word "name=value". */
int option_is(const char *cmdline, const char *name, const char *value);

#endif
