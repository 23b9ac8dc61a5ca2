/* SPDX-License-Identifier: MIT */
/*
 * What the fuzz targets share. An input is read as a source of choices: the fuzzer's changes
 * of it are changes of what is done.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include "proto/proto.h"
#include <stdio.h>
#include <stdlib.h>

#define CHECK(what)                                                                \
	do {                                                                       \
		if (!(what)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what); \
			abort();                                                   \
		}                                                                  \
	} while (0)

/* A target: called with each input. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- an input as choices (choices.c) ---------------------------------------------------- */

struct choices {
	const uint8_t *p;
	size_t left;
};

/* The next byte; 0 when there is none left: the plainest choice. */
uint8_t choose_byte(struct choices *c);
/* below: 1..256 */
unsigned choose(struct choices *c, unsigned below);

/*
 * Parameters by their descriptor: mostly right, some at their limits, of the wrong type, missing,
 * or too many. All choices 0: what is required, and that as it is usual. NULL: no parameters.
 */
struct json_object *choose_params(struct choices *c, const struct proto_struct *desc);

#endif
