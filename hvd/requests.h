/* SPDX-License-Identifier: MIT */
/* Requests to the engine in progress, by token; and the engine's events. */
#ifndef HVD_REQUESTS_H
#define HVD_REQUESTS_H

#include "hvd/hvd.h"

typedef void request_done_fn(void *ctx, const struct engine_event *ev);
/* How far it is: ev->done of ev->total. Never after done. */
typedef void request_progress_fn(void *ctx, const struct engine_event *ev);

/* Whom to tell of a request. */
struct request_watch {
	request_done_fn *done;
	request_progress_fn *progress; /* NULL: nobody asks */
	void *ctx;
};

/* Joins the engine's events to the loop. -ENOMEM. */
int requests_start(struct hvd *h);
/* Those in progress complete with -ECANCELED; the engine sends nothing any more. */
void requests_stop(struct hvd *h);

/*
 * done(ctx, completion) is called later, exactly once, from the loop. req->token is
 * filled in. 0 or a negative errno; then done is not called.
 */
int requests_submit(struct hvd *h, const struct engine_request *req, const void *payload,
		    size_t payload_bytes, const int *fds, size_t fd_count, request_done_fn *done,
		    void *ctx);
/* As requests_submit(). *ret_token is for engine_cancel(), until done is called. */
int requests_submit_long(struct hvd *h, const struct engine_request *req, const void *payload,
			 size_t payload_bytes, const int *fds, size_t fd_count,
			 const struct request_watch *watch, uint64_t *ret_token);

#endif
