/* SPDX-License-Identifier: MIT */
/* Verbs that subscribe: notifications are printed as they come, until something ends it. */
#ifndef HVCTL_STREAM_H
#define HVCTL_STREAM_H

#include <json-c/json.h>

#include "hvctl/verb.h"

struct hvctl_stream {
	const char *notification; /* its name: "event" */
	const char *item;	  /* what --count and gaps count: "event" */
	const char *items;	  /* "events" */
	const char *list;	  /* member with several of them; NULL: a notification is one */
	/* The subscription's reply has come; may be NULL. */
	void (*begin)(struct hvctl_call *call, struct json_object *result);
	/* Prints a notification, of its list the first max items. Not with --json. */
	void (*show)(struct hvctl_call *call, struct json_object *params, uint64_t max);
};

/*
 * Subscribes by the method and prints, with --json each notification's params as they are,
 * until --count, Ctrl-C or the end of who reads the output: HVCTL_OK. Also by the daemon
 * (HVCTL_REFUSED) and errors.
 */
int hvctl_stream(struct hvctl_call *call, enum proto_method_id id, const void *params,
		 const struct hvctl_stream *stream);

/* A hvctl_option's set for --count. */
int hvctl_set_count(struct hvctl_call *call, const char *text);

/* Writes what is printed so far: HVCTL_OK. Sets ctx->unread if nobody reads it. */
int hvctl_flush(struct hvctl_context *ctx);

/* "--- 37 events missed: 812 to 848 ---": a line between the others. */
void hvctl_show_gap(struct hvctl_call *call, struct json_object *gap, const char *item,
		    const char *items);

#endif
