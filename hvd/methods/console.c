// SPDX-License-Identifier: MIT
/* console.read, console.attach, console.write */
#include "hvd/requests.h"
#include "hvd/stream.h"
#include "hvd/watch.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(PROTO_INPUT_MAX == ENGINE_MAX_INPUT, "input of one request");

/* --- console.read ----------------------------------------------------------------------- */

static void on_console(struct call *c, const struct engine_event *ev)
{
	const struct proto_console result = {
		.offset = ev->first,
		.data = {.data = ev->payload, .size = ev->payload_bytes},
		.next_offset = ev->first + ev->payload_bytes,
		.total_bytes = ev->total,
	};

	call_reply(c, &result);
}

void method_console_read(struct call *c)
{
	const struct proto_console_read_params *p = c->params;
	struct engine_request req = {.op = ENGINE_CONSOLE_READ};

	if (!call_find_vm(c, p->vm))
		return;
	req.vm = c->vm->id;
	req.u.console.offset = p->offset;
	req.u.console.max_bytes = p->max_bytes;
	call_submit(c, &req, NULL, 0, NULL, 0, on_console);
}

/* --- console.write ------------------------------------------------------------------------ */

static void on_written(struct call *c, const struct engine_event *ev)
{
	const struct proto_console_written result = {
		.accepted_bytes = (uint32_t)ev->total,
		.waiting_bytes = (uint32_t)ev->first,
	};

	call_reply(c, &result);
}

void method_console_write(struct call *c)
{
	const struct proto_console_write_params *p = c->params;
	struct engine_request req = {.op = ENGINE_CONSOLE_WRITE};

	if (!call_find_vm(c, p->vm))
		return;
	req.vm = c->vm->id;
	req.u.console_write.size_bytes = (uint32_t)p->data.size;
	call_submit(c, &req, p->data.data, p->data.size, NULL, 0, on_written);
}

/* --- console.attach ------------------------------------------------------------------------ */

#define PIECE_BYTES (64u << 10)

/*
 * What was printed stays in the engine; here is one piece of it at most, on its way to the
 * client. A client that reads slowly is told later, and what the engine has dropped
 * meanwhile is left out: the next offset is higher than the last one's end.
 */
struct attachment {
	struct watch watch;
	struct hvd *hvd;
	struct stream *stream; /* NULL: ended, but a read is still on its way */
	uint64_t offset;       /* of the next byte to read */
	struct {
		uint8_t *data; /* NULL: none */
		size_t bytes;
		uint64_t offset;
		bool restarted;
	} piece;
	bool reading;
	bool more;	/* perhaps: ask the engine */
	bool stale;	/* what is being read was asked for with an offset of an earlier run */
	bool restarted; /* the next piece is the first of a run */
};

static struct attachment *attachment_of(struct watch *w)
{
	return (struct attachment *)((char *)w - offsetof(struct attachment, watch));
}

static void attachment_free(struct attachment *a)
{
	watch_end(&a->watch);
	free(a->piece.data);
	free(a);
}

/* false: out of memory. */
static bool keep_piece(struct attachment *a, const struct engine_event *ev)
{
	a->piece.data = malloc(ev->payload_bytes + 1);
	if (!a->piece.data)
		return false;
	if (ev->payload_bytes)
		memcpy(a->piece.data, ev->payload, ev->payload_bytes);
	a->piece.bytes = ev->payload_bytes;
	a->piece.offset = ev->first;
	a->piece.restarted = a->restarted;
	a->restarted = false;
	a->offset = ev->first + ev->payload_bytes;
	a->more |= a->offset < ev->total;
	return true;
}

/* Of a deleted VM, WATCH_GONE will tell. */
static void on_read_failed(struct attachment *a, const struct engine_error *err)
{
	if (err->code != -ENOENT)
		stream_end(a->stream, *err->text ? err->text : strerror(-err->code));
}

static void on_read(void *ctx, const struct engine_event *ev)
{
	struct attachment *a = ctx;

	a->reading = false;
	if (!a->stream) {
		attachment_free(a);
		return;
	}
	if (ev->error.code) {
		on_read_failed(a, &ev->error);
		return;
	}
	if (a->stale) {
		a->stale = false;
		a->more = true;
	} else if ((ev->payload_bytes || a->restarted) && !keep_piece(a, ev)) {
		stream_end(a->stream, "out of memory");
		return;
	}
	if (a->piece.data || a->more)
		stream_wake(a->stream);
}

static int read_more(struct attachment *a)
{
	struct engine_request req = {.op = ENGINE_CONSOLE_READ, .vm = a->watch.vm->id};
	int r;

	req.u.console.offset = a->offset;
	req.u.console.max_bytes = PIECE_BYTES;
	r = requests_submit(a->hvd, &req, NULL, 0, NULL, 0, on_read, a);
	a->reading = !r;
	a->more = false;
	return r;
}

static bool tell_piece(struct attachment *a)
{
	const struct proto_console_output out = {
		.subscription = stream_id(a->stream),
		.vm = a->watch.vm->name,
		.offset = a->piece.offset,
		.data = {.data = a->piece.data, .size = a->piece.bytes},
		.restarted = a->piece.restarted,
	};
	const bool room = stream_send(a->stream, PROTO_NOTIFICATION_console, &out);

	free(a->piece.data);
	a->piece.data = NULL;
	return room;
}

static void fill_attached(struct stream *s, void *ctx)
{
	struct attachment *a = ctx;
	bool room = true;

	if (a->piece.data)
		room = tell_piece(a);
	if (room && a->more && !a->reading && read_more(a))
		stream_end(s, "the engine takes no more requests");
}

static void on_detached(void *ctx)
{
	struct attachment *a = ctx;

	a->stream = NULL;
	if (!a->reading)
		attachment_free(a);
}

static void on_vm_printed(struct watch *w)
{
	struct attachment *a = attachment_of(w);

	a->more = true;
	if (a->stream)
		stream_wake(a->stream);
}

/* A start begins a new console; a piece that is here is of the run before. */
static void on_vm_state(struct watch *w)
{
	struct attachment *a = attachment_of(w);
	const struct engine_state_info *state = &w->vm->state;

	if (state->state != ENGINE_STATE_RUNNING || state->reason != ENGINE_REASON_STARTED)
		return;
	a->offset = 0;
	a->stale = a->reading;
	a->restarted = true;
	on_vm_printed(w);
}

static void on_vm_gone(struct watch *w)
{
	struct attachment *a = attachment_of(w);

	if (a->stream)
		stream_end(a->stream, "the VM was deleted");
}

static watch_fn *const attachment_fns[WATCH_COUNT] = {
	[WATCH_STATE] = on_vm_state,
	[WATCH_PRINTED] = on_vm_printed,
	[WATCH_GONE] = on_vm_gone,
};
static const struct stream_ops attachment_ops = {fill_attached, on_detached};

/* NULL: *err says why. */
static struct attachment *attachment_new(struct call *c, const struct engine_event *ev,
					 struct proto_error *err)
{
	struct attachment *a = calloc(1, sizeof(*a));

	if (!a) {
		proto_fail(err, PROTO_ERROR_NO_MEMORY, "", "out of memory");
		return NULL;
	}
	a->hvd = c->hvd;
	a->offset = ev->first;
	watch_begin(&a->watch, c->vm, attachment_fns);
	if (ev->payload_bytes && !keep_piece(a, ev))
		proto_fail(err, PROTO_ERROR_NO_MEMORY, "", "out of memory");
	else
		a->stream = stream_new(c, &attachment_ops, a, err);
	if (a->stream)
		return a;
	attachment_free(a);
	return NULL;
}

static void fail_offset(struct call *c, uint64_t total)
{
	struct proto_error err;

	proto_fail(&err, PROTO_ERROR_OUT_OF_RANGE, "offset",
		   "%s has printed %" PRIu64 " bytes since its last start", c->vm->name, total);
	err.has_limit = true;
	err.limit = total;
	call_fail(c, &err);
}

/* The first piece of what is kept. */
static void on_first_read(struct call *c, const struct engine_event *ev)
{
	const struct proto_console_attach_params *p = c->params;
	struct proto_console_attached result = {.vm = c->vm->name, .offset = ev->first};
	struct attachment *a;
	struct proto_error err;

	if (p->has_offset && p->offset > ev->total) {
		fail_offset(c, ev->total);
		return;
	}
	a = attachment_new(c, ev, &err);
	if (!a) {
		call_fail(c, &err);
		return;
	}
	stream_wake(a->stream);
	result.subscription = stream_id(a->stream);
	call_reply(c, &result);
}

void method_console_attach(struct call *c)
{
	const struct proto_console_attach_params *p = c->params;
	struct engine_request req = {.op = ENGINE_CONSOLE_READ};

	if (!call_find_vm(c, p->vm))
		return;
	req.vm = c->vm->id;
	req.u.console.offset = p->has_offset ? p->offset : 0;
	req.u.console.max_bytes = PIECE_BYTES;
	call_submit(c, &req, NULL, 0, NULL, 0, on_first_read);
}
