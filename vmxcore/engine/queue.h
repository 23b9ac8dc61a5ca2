/* SPDX-License-Identifier: MIT */
/*
 * The two queues between a caller's thread and an engine's: requests in, events
 * out. Each request gets exactly one completion; requests not yet completed and
 * completions not yet fetched are bounded together.
 */
#ifndef VMXCORE_ENGINE_QUEUE_H
#define VMXCORE_ENGINE_QUEUE_H

#include "engine/kind.h"

#include <pthread.h>

struct queue_event {
	struct queue_event *next;
	struct engine_event event;
	bool *queued; /* cleared when fetched, under the lock; NULL: not wanted */
};

struct queue_request {
	struct queue_request *next;
	struct engine_request req;
	void *payload;
	size_t payload_bytes;
	int fds[ENGINE_MAX_FDS];
	size_t fd_count;
	struct queue_event *completion; /* allocated with it: completing can't fail */
};

struct queue {
	pthread_mutex_t lock;
	pthread_cond_t wake; /* the engine's thread: a request, or closing */
	struct queue_request *first_request, *last_request;
	struct queue_event *first_event, *last_event;
	size_t outstanding;
	int event_fd; /* eventfd: readable while events wait */
	bool closing;
};

int queue_init(struct queue *q); /* -ENOMEM, -EMFILE ... */
/* Nobody uses it any more; what is in it goes. */
void queue_fini(struct queue *q);

/* --- the caller's side --- */
int queue_submit(struct queue *q, const struct engine_request *req, const void *payload,
		 size_t payload_bytes, const int *fds, size_t fd_count);
int queue_next_event(struct queue *q, struct engine_event *ret);
void queue_close(struct queue *q);

/* --- the engine's side --- */
/*
 * All requests there are, oldest first; with wait, sleeps until there is one. NULL with
 * *ret_closing set: end.
 */
struct queue_request *queue_take(struct queue *q, bool wait, bool *ret_closing);
/* Sends rq's completion; rq is gone afterwards. The payload of *event becomes the queue's. */
void queue_complete(struct queue *q, struct queue_request *rq, const struct engine_event *event);
void queue_request_free(struct queue_request *rq);
/* Waits for memory rather than lose an event. */
void queue_push(struct queue *q, const struct engine_event *event);
/* Once in the queue until fetched: *queued says whether it is, and is the queue's to change. */
void queue_push_once(struct queue *q, const struct engine_event *event, bool *queued);
/* The same, but one that waits already becomes this one, at its place in the queue. */
void queue_push_latest(struct queue *q, const struct engine_event *event, bool *queued);
/* Takes events with this `queued` out again: its owner goes away. */
void queue_forget(struct queue *q, const bool *queued);

#endif
