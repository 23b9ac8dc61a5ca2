/* SPDX-License-Identifier: MIT */
/* One connection to the daemon: requests out; replies and notifications in. */
#ifndef HVCTL_CLIENT_H
#define HVCTL_CLIENT_H

#include "hvctl/verb.h"

struct hvctl_client;

/* An exit code; *ret on HVCTL_OK. Says how to start a daemon if there is none. */
int hvctl_connect(const struct hvctl_context *ctx, struct hvctl_client **ret);
/* NULL is fine. The daemon ends the connection's subscriptions. */
void hvctl_disconnect(struct hvctl_client *client);
/*
 * Sends a request (params may be NULL; stays the caller's) and waits for its reply.
 * HVCTL_OK: *ret_result is the "result" member, to be put. Otherwise the message has
 * been printed (with --json: the "error" member, on ctx->err). Ctrl-C asks the daemon to
 * cancel it: HVCTL_INTERRUPTED if that is what became of it.
 */
int hvctl_request(struct hvctl_client *client, const struct proto_method *method, const char *name,
		  struct json_object *params, const int *fds, size_t fd_count,
		  struct json_object **ret_result);
/*
 * From now on an error of this kind is no message: requests return HVCTL_EXPECTED then.
 * PROTO_ERROR_COUNT: none is.
 */
#define HVCTL_EXPECTED (-1)
void hvctl_expect(struct hvctl_client *client, enum proto_error_kind kind);
/*
 * As hvctl_request(), from a structure of its parameters. The call's descriptors go with
 * the call's own method; progress is asked for if a person looks on and the method has it.
 */
int hvctl_request_params(struct hvctl_call *call, enum proto_method_id id, const void *params,
			 struct json_object **ret_result);

/* --- what comes by itself ----------------------------------------------------------------- */

/* params is the client's. Called inside the functions of this header; sends no request. */
typedef void hvctl_notify_fn(void *arg, const char *name, struct json_object *params);

/* Whom notifications go to from now on; fn NULL: nobody. */
void hvctl_on_notification(struct hvctl_client *client, hvctl_notify_fn *fn, void *arg);
/*
 * Sends a request without waiting for its reply, which may come at any time: later()
 * gets its result, or NULL after a message. One at a time.
 */
typedef void hvctl_later_fn(void *arg, int code, struct json_object *result);
int hvctl_request_later(struct hvctl_call *call, enum proto_method_id id, const void *params,
			hvctl_later_fn *fn, void *arg);

#define HVCTL_WOKE_MESSAGE 1u	/* notifications or the later reply: handed over by now */
#define HVCTL_WOKE_INPUT 2u	/* fd can be read, or is at its end */
#define HVCTL_WOKE_INTERRUPT 4u /* Ctrl-C */
#define HVCTL_WOKE_UNREAD 8u	/* nobody reads what is printed any more */

/*
 * Waits for any of these, at most timeout_ms (-1: as long as it takes), *ret_woke 0 then.
 * fd -1: only messages and Ctrl-C. HVCTL_NO_DAEMON after a message when the connection is
 * lost.
 */
int hvctl_wait(struct hvctl_client *client, int fd, int timeout_ms, unsigned *ret_woke);

#endif
