/* SPDX-License-Identifier: MIT */
/* One connection to the daemon: requests out, replies in. */
#ifndef HVCTL_CLIENT_H
#define HVCTL_CLIENT_H

#include "hvctl/verb.h"

struct hvctl_client;

/* An exit code; *ret on HVCTL_OK. Says how to start a daemon if there is none. */
int hvctl_connect(const struct hvctl_context *ctx, struct hvctl_client **ret);
void hvctl_disconnect(struct hvctl_client *client);
/*
 * Sends a request (params may be NULL; stays the caller's) and waits for its reply.
 * HVCTL_OK: *ret_result is the "result" member, to be put. Otherwise the message has
 * been printed (with --json: the "error" member, on ctx->err).
 */
int hvctl_request(struct hvctl_client *client, const struct proto_method *method, const char *name,
		  struct json_object *params, const int *fds, size_t fd_count,
		  struct json_object **ret_result);
/* As hvctl_request() for a call's method, from a structure of its parameters. */
int hvctl_request_params(struct hvctl_call *call, enum proto_method_id id, const void *params,
			 struct json_object **ret_result);

#endif
