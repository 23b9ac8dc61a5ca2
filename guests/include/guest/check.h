/* SPDX-License-Identifier: MIT */
/* "PASS name" or "FAIL name: got ..., expected ..." lines, and the program's end. */
#ifndef GUEST_CHECK_H
#define GUEST_CHECK_H

#include <stdint.h>

/* 1 when got equals want. */
int check(const char *name, uint64_t got, uint64_t want);
/* Prints "NAME: n passed, m failed" and exits: 0, or 1 when something failed. */
_Noreturn void check_finish(const char *name);

#endif
