/* SPDX-License-Identifier: MIT */
/*
 * libhvd: a program's side of hvd's socket. Methods, parameters, results and notifications
 * are those of the API's reference (docs/api.md); they are json-c's objects here.
 *
 *	struct hvd_client *client;
 *	struct json_object *result;
 *	struct hvd_error err;
 *
 *	if (hvd_client_open(NULL, &client, &err) < 0 ||
 *	    hvd_client_call(client, "vm.list", NULL, NULL, 0, &result, &err) < 0)
 *		fprintf(stderr, "%s\n", err.text);
 *
 * Return values: 0 (or what a function says), or a negative errno. -EREMOTEIO means that the
 * daemon refused the request, and that struct hvd_error says why. Every other error is of
 * this side. What a function gives through a pointer is untouched when it fails.
 *
 * After -ECONNRESET (the daemon hung up), -EBADMSG (it sent what is no reply), -ENOBUFS (more was
 * received than may be held), a request that was sent in part, or a refusal that is of no request
 * (-EREMOTEIO; the daemon takes no more clients, say), the connection can't be followed any more:
 * each function returns that error again, every outstanding request ends with it, and
 * hvd_client_close() is what is left.
 *
 * Threads: a client belongs to one thread at a time; clients don't share anything. Nothing here
 * prints, aborts, forks, changes signals or the descriptor's flags.
 *
 * Callbacks are called from inside hvd_client_call(), _wait(), _dispatch(), _next() and
 * _close() only. In a callback, hvd_client_call(), _wait(), _dispatch() and _next() return
 * -EDEADLK, and hvd_client_close() must not be called; everything else may be.
 */
#ifndef HVD_CLIENT_H
#define HVD_CLIENT_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define HVD_API __attribute__((visibility("default")))
#else
#define HVD_API
#endif

/* The variable that names the daemon's socket, and the socket without it. */
#define HVD_SOCKET_VARIABLE "HVD_SOCKET"
#define HVD_SOCKET_PATH "/run/hvd/hvd.sock"

#define HVD_FDS_MAX 32			    /* descriptors with one request */
#define HVD_REQUEST_MAX ((size_t)4 << 20)   /* bytes of a request */
#define HVD_HELD_DEFAULT ((size_t)64 << 20) /* bytes received and not yet taken */

#define HVD_KIND_SIZE 32
#define HVD_FIELD_SIZE 96
#define HVD_TEXT_SIZE 512

/* A connection. */
struct hvd_client;

/*
 * Why something failed. Plain data: nothing in it has to be freed. Where a function takes one
 * it may be NULL, and is written only if the function fails.
 */
struct hvd_error {
	int code;	/* JSON-RPC's, of the daemon's refusal; 0: of this side */
	bool has_limit; /* the refusal names a limit */
	uint64_t limit;
	char kind[HVD_KIND_SIZE];   /* "not-found", "overlap", ...: the reference lists them; "" */
	char field[HVD_FIELD_SIZE]; /* the parameter it is about: "size_bytes"; "" if none */
	char text[HVD_TEXT_SIZE];   /* for people, one line */
};

/* --- a connection --------------------------------------------------------------------- */

/*
 * Connects to the socket at path; NULL: to the one that the environment's HVD_SOCKET names, else
 * to HVD_SOCKET_PATH. *ret is to be closed. The daemon is not spoken to yet: who may not use it
 * finds that out with the first request.
 */
HVD_API int hvd_client_open(const char *path, struct hvd_client **ret, struct hvd_error *err);
/*
 * As above, over a connected stream socket. On success, fd belongs to the client, which
 * closes it.
 */
HVD_API int hvd_client_adopt(int fd, struct hvd_client **ret);
/*
 * Hangs up. Outstanding requests end with -ECANCELED: their callbacks are called. The daemon
 * carries out what it had received, and ends what waits. NULL is allowed.
 */
HVD_API void hvd_client_close(struct hvd_client *client);

/*
 * For poll(): readable when hvd_client_dispatch() has something to do. Some may have been
 * received already: before polling, call hvd_client_dispatch(client, 0) until it returns 0.
 * Not to be read, written or closed.
 */
HVD_API int hvd_client_fd(const struct hvd_client *client);

/*
 * How long hvd_client_call() waits for its reply, and every function until the socket takes a
 * request, in milliseconds; -1, the default: without end.
 */
HVD_API void hvd_client_set_timeout(struct hvd_client *client, int timeout_ms);
/*
 * Bytes of messages that may have been received and not yet taken, one that is incomplete
 * among them; the default is HVD_HELD_DEFAULT. Memory is a multiple of it, since parsed objects
 * are larger than their text.
 */
HVD_API void hvd_client_set_held_max(struct hvd_client *client, size_t bytes);

/* --- requests --------------------------------------------------------------------------- */

/*
 * Sends a request and waits for its reply; meanwhile, others are handled as by
 * hvd_client_dispatch().
 *
 * params: a JSON object, or NULL for none; remains the caller's. fds: descriptors that go with
 * the request, at most HVD_FDS_MAX, for parameters {"fd": n}; remain the caller's.
 * *ret_result: the result, to be put by the caller; ret_result may be NULL.
 *
 * 0; -EREMOTEIO; -ETIMEDOUT: no reply in time (hvd_client_set_timeout()); the request is still
 * carried out, its reply will be dropped; -EMSGSIZE: larger than HVD_REQUEST_MAX, nothing was
 * sent; -E2BIG: too many descriptors; -EINVAL: params is no object.
 */
HVD_API int hvd_client_call(struct hvd_client *client, const char *method,
			    struct json_object *params, const int *fds, size_t fd_count,
			    struct json_object **ret_result, struct hvd_error *err);

/*
 * How a request ended. status: 0 and the result; -EREMOTEIO and the error; or another negative
 * errno and the error, of this side. result, err: valid until the callback returns; to keep the
 * result, json_object_get() it.
 */
typedef void hvd_reply_fn(void *ctx, int status, struct json_object *result,
			  const struct hvd_error *err);

/*
 * Sends a request and does not wait for its reply: any number may be outstanding. The daemon
 * carries them out in order and replies in order, but for vm.wait and its like, whose replies
 * may come later. Waits until the socket has taken the request, and receives meanwhile, so that
 * neither side waits for the other for ever.
 *
 * fn is called once, when the reply has come or can't come any more, unless this function fails.
 * fn NULL: the reply is kept for hvd_client_wait(). *ret_id (may be NULL with fn): the
 * request's id.
 */
HVD_API int hvd_client_send(struct hvd_client *client, const char *method,
			    struct json_object *params, const int *fds, size_t fd_count,
			    hvd_reply_fn *fn, void *ctx, uint64_t *ret_id, struct hvd_error *err);
/*
 * Waits for the reply to a request that was sent without callback; timeout_ms -1: without end.
 * As hvd_client_call() otherwise, but after -ETIMEDOUT, or -EINTR (a signal handler has run), the
 * request can be waited for again. -ENOENT: no such request, or its reply has been given.
 */
HVD_API int hvd_client_wait(struct hvd_client *client, uint64_t id, int timeout_ms,
			    struct json_object **ret_result, struct hvd_error *err);
/*
 * Asks that an outstanding request end early (request.cancel), and does not wait: the request is
 * answered in any case, with the error "cancelled" if it has changed nothing. -ENOENT: there is
 * none of that id.
 */
HVD_API int hvd_client_cancel(struct hvd_client *client, uint64_t id);
/* Requests whose replies have not come. */
HVD_API size_t hvd_client_outstanding(const struct hvd_client *client);

/*
 * Handles what has been received: calls the callbacks of replies and notifications. If there is
 * nothing, waits so many milliseconds for it (-1: without end; 0: not at all). The number of
 * messages handled, 0 if none came; -EINTR if a signal handler has run.
 */
HVD_API int hvd_client_dispatch(struct hvd_client *client, int timeout_ms);

/*
 * The "error" member of the latest reply that was a refusal, as the daemon sent it: its "data" has
 * what struct hvd_error has no place for. It belongs to the client, until the next function that
 * receives. NULL: there was none.
 */
HVD_API struct json_object *hvd_client_error_object(const struct hvd_client *client);

/* --- notifications ------------------------------------------------------------------------ */

/*
 * What the daemon sends by itself, to a client that has subscribed. params: valid until the
 * callback returns.
 */
typedef void hvd_notification_fn(void *ctx, const char *method, struct json_object *params);

/*
 * From now on, fn gets each notification as it comes, in order, those that are kept first. NULL,
 * the default: they are kept for hvd_client_next(), and count as held. ctx is the caller's.
 */
HVD_API void hvd_client_on_notification(struct hvd_client *client, hvd_notification_fn *fn,
					void *ctx);
/*
 * The next notification: *ret, to be put, is the message, with its members "method" and
 * "params". Waits as hvd_client_wait() does: 0, -ETIMEDOUT, -EINTR, ... Notifications that came
 * before the connection ended are given before its error is.
 */
HVD_API int hvd_client_next(struct hvd_client *client, int timeout_ms, struct json_object **ret);

/* --- values ------------------------------------------------------------------------------- */

/*
 * Bulk data is base64 on the wire, an address a string "0x...". The values that are made are
 * for json_object_object_add(), and NULL when out of memory.
 */
HVD_API struct json_object *hvd_json_bytes(const void *data, size_t size);
HVD_API struct json_object *hvd_json_address(uint64_t address);
/*
 * 0 and *ret_size bytes at buf; -EINVAL: not a string of base64 (NULL included); -ENOSPC: more than
 * size bytes; -ENOMEM.
 */
HVD_API int hvd_json_get_bytes(struct json_object *value, void *buf, size_t size, size_t *ret_size);
/* 0, or -EINVAL: not an address of at most 64 bits (NULL included). */
HVD_API int hvd_json_get_address(struct json_object *value, uint64_t *ret);

#ifdef __cplusplus
}
#endif

#endif
