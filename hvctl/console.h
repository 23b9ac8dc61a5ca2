/* SPDX-License-Identifier: MIT */
/* What a VM prints, as it prints it, until it has stopped. */
#ifndef HVCTL_CONSOLE_H
#define HVCTL_CONSOLE_H

#include "hvctl/verb.h"

struct console {
	struct hvctl_call *call;
	const char *vm;
	bool safe;		   /* control characters do not reach the terminal */
	uint64_t offset;	   /* of the next byte */
	bool held;		   /* a carriage return whose newline may follow */
	char last;		   /* the last byte printed; 0: none */
	bool stopped;		   /* the VM can't print any more */
	struct json_object *state; /* then: what vm.wait said */
	bool over;		   /* the daemon ended the subscription */
	int code;
};

/*
 * Attaches: what is kept is printed first, from offset if it is not NULL, then all that
 * comes, inside hvctl_wait(). call and safe are set. An exit code.
 */
int console_begin(struct console *c, const char *vm, const uint64_t *offset);
/* It goes on: neither stopped, over nor failed. */
bool console_going(const struct console *c);
/* Prints what the VM printed just before it stopped. c->code, or one of its own. */
int console_finish(struct console *c);
void console_free(struct console *c);

#endif
