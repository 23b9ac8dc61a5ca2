/* SPDX-License-Identifier: MIT */
/*
 * A call: one request being carried out. A method's function gets it with its
 * parameters decoded, and ends it with exactly one of call_reply(), call_fail() and
 * their like, at once or from the completion of an engine request. It is gone then.
 */
#ifndef HVD_CALL_H
#define HVD_CALL_H

#include "hvd/access.h"
#include "hvd/hvd.h"
#include "hvd/log.h"
#include "hvd/registry.h"

struct conn;
struct message;

struct call {
	struct hvd *hvd;
	const struct proto_method *method;
	void *params;		  /* struct proto_<params> */
	struct proto_arena arena; /* of the parameters; for results, too */
	struct peer peer;
	const int *fds; /* descriptors that came with the message; the message closes them */
	size_t fd_count;
	struct vm *vm; /* reference, dropped at the end; may be NULL */
	void *state;   /* the method's own, in the arena */
	/*
	 * What waits for something to happen: ends the call, since the client is gone or
	 * (request.cancel) wishes so. Set by the method; without it, the wish goes to the
	 * engine request in progress.
	 */
	void (*cancel)(struct call *c);
	bool cancelled; /* the client wishes it to end: begin nothing new that takes long */
	bool committed; /* set by the method: engine requests from now on must run to their end */
	struct conn *conn;

	/* rpc.c's and call.c's */
	struct log_context about;
	struct message *message;
	uint64_t token; /* of the engine request in progress */
	bool submitted; /* there is one */
	bool wants_progress;
	uint64_t progress_ms;	/* when the client was told last; 0: never */
	struct json_object *id; /* NULL with has_id: null */
	bool has_id;
};

typedef void call_done_fn(struct call *c, const struct engine_event *ev);

/* A number of an engine's that is UINT64_MAX where the engine can't observe it. */
#define CALL_SET_OBSERVED(ret, field, value)          \
	do {                                          \
		if ((value) != UINT64_MAX)            \
			PROTO_SET(ret, field, value); \
	} while (0)

/* result: struct proto_<result> */
void call_reply(struct call *c, const void *result);
void call_fail(struct call *c, const struct proto_error *err);
void call_failf(struct call *c, enum proto_error_kind kind, const char *field, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* With what the engine says; names parameters as the method does. */
void call_fail_engine(struct call *c, const struct engine_error *err);
void call_error_from_engine(struct call *c, const struct engine_error *err,
			    struct proto_error *ret);

/*
 * Sends an engine request for the call; done gets its completion. If the engine refuses it,
 * the call fails with what the engine says; _raw: done gets that, too. A request that can't
 * even be queued counts as refused, at once: nothing may follow a call of this.
 */
void call_submit(struct call *c, const struct engine_request *req, const void *payload,
		 size_t payload_bytes, const int *fds, size_t fd_count, call_done_fn *done);
void call_submit_raw(struct call *c, const struct engine_request *req, const void *payload,
		     size_t payload_bytes, const int *fds, size_t fd_count, call_done_fn *done);

/* What is logged from now on is about the call again: where something else than the engine is done.
 */
void call_goes_on(struct call *c);

/* Asks the engine to end the request in progress, if there is one, early. */
void call_cancel_request(struct call *c);

/* The VM of that name, ready for requests: c->vm. false: the call has failed. */
bool call_find_vm(struct call *c, const char *name);
/* The slot's number. false: the call has failed. */
bool call_find_slot(struct call *c, const char *name, uint32_t *ret);

/* Every method's function, from methods.def. */
typedef void method_fn(struct call *c);
#define METHOD(id, name, verb, positional, role, flags, params, result, doc) method_fn method_##id;
#include "proto/methods.def"
#undef METHOD

#endif
