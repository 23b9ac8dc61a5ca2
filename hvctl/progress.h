/* SPDX-License-Identifier: MIT */
/* How far a long request is, on one line of a terminal. */
#ifndef HVCTL_PROGRESS_H
#define HVCTL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <json-c/json.h>

#define PROGRESS_AFTER_MS 300 /* what is done sooner shows nothing */

struct progress {
	FILE *out;	  /* a terminal */
	const char *what; /* NULL: no request is in progress */
	uint64_t started_ms;
	bool shown;
};

/* A request begins, named so. */
void progress_begin(struct progress *p, const char *what);
/* A hvctl_notify_fn; arg is the struct progress. */
void progress_notify(void *arg, const char *name, struct json_object *params);
/* Wipes the line, if there is one. p may be NULL. */
void progress_end(struct progress *p);

/*
 * "create  [=====>     ]  45 %  1.2 of 2.7 GiB  812.0 MiB/s", in at most columns
 * characters and size bytes. elapsed_ms: since the request was sent.
 */
void progress_line(char *buf, size_t size, unsigned columns, const char *what, uint64_t done,
		   uint64_t total, uint64_t elapsed_ms);

#endif
