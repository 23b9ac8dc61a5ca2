/* SPDX-License-Identifier: MIT */
/* The daemon's errors, for people. */
#ifndef HVCTL_REFUSED_H
#define HVCTL_REFUSED_H

#include <json-c/json.h>

#include "hvctl/verb.h"

/* Prints what a person may make of connect()'s negative errno. HVCTL_NO_DAEMON. */
int hvctl_connect_failed(const struct hvctl_context *ctx, int err);
/*
 * Prints the "error" member of a reply, and what to try next; with --json the member as
 * it is. The exit code that goes with it. method may be NULL, if name is no method of ours.
 */
int hvctl_refused(const struct hvctl_context *ctx, const struct proto_method *method,
		  const char *name, struct json_object *error);
/* The kind of the "error" member; PROTO_ERROR_COUNT if it is none of ours. */
enum proto_error_kind hvctl_error_kind(struct json_object *error);

#endif
