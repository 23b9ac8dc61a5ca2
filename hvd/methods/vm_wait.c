// SPDX-License-Identifier: MIT
/* vm.wait: calls that end when a VM changes state or prints a text. */
#include "hvd/methods/vm.h"
#include "hvd/requests.h"
#include "hvd/waits.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define FETCH_BYTES (64u << 10)

struct wait {
	struct call *call;	   /* NULL: ended, but a fetch of the console is still on its way */
	struct vm *vm;		   /* with a reference */
	struct wait *next, **back; /* of vm->waits */
	struct event *timer;
	/* until console: */
	size_t text_len;
	uint64_t offset; /* of the console, up to where it has been searched */
	char *tail;	 /* the last text_len - 1 bytes before it, which may begin the text */
	size_t tail_len;
	bool fetching;
	bool again; /* something was printed meanwhile */
	bool stale; /* what is being fetched is of an earlier run */
};

static void fetch(struct wait *w);

static const struct proto_vm_wait_params *params(const struct wait *w)
{
	return w->call->params;
}

/* --- the end of a wait --------------------------------------------------------------- */

static void wait_free(struct wait *w)
{
	vm_unref(w->vm);
	free(w->tail);
	free(w);
}

/* Takes the call off the wait; the wait goes, too, unless a fetch will still come back. */
static struct call *end(struct wait *w)
{
	struct call *c = w->call;

	*w->back = w->next;
	if (w->next)
		w->next->back = w->back;
	if (w->timer)
		event_free(w->timer);
	w->timer = NULL;
	w->call = NULL;
	if (!w->fetching)
		wait_free(w);
	return c;
}

static void end_reached(struct wait *w, const uint64_t *next_offset)
{
	struct proto_vm_wait_result result = {0};
	struct call *c = w->call;

	VM_DESCRIBE(c, &result, w->vm);
	if (next_offset)
		PROTO_SET(&result, next_offset, *next_offset);
	call_reply(end(w), &result);
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct wait *w = arg;
	const char *until = proto_enum_name(&proto_enum_until, params(w)->until);
	const char *state = engine_state_name(w->vm->state.state);
	const uint64_t timeout_ms = params(w)->timeout_ms;
	char name[PROTO_NAME_MAX + 1];

	(void)fd, (void)what;
	memcpy(name, w->vm->name, sizeof(name));
	call_failf(end(w), PROTO_ERROR_TIMEOUT, "", "%s is %s: not %s within %" PRIu64 " ms", name,
		   state, until, timeout_ms);
}

static void on_cancel(struct call *c)
{
	struct wait *w = c->state;

	call_failf(end(w), PROTO_ERROR_CANCELLED, "", "the wait was given up");
}

/* --- states ------------------------------------------------------------------------------- */

static bool state_reached(const struct wait *w)
{
	const uint32_t state = w->vm->state.state;

	switch (params(w)->until) {
	case PROTO_UNTIL_STOPPED:
		return vm_is_stopped(w->vm);
	case PROTO_UNTIL_PAUSED:
		return state == ENGINE_STATE_PAUSED;
	case PROTO_UNTIL_RUNNING:
		return state == ENGINE_STATE_RUNNING;
	default:
		return false;
	}
}

/* A new start begins a new console. */
static void look_again(struct wait *w)
{
	if (w->vm->state.state == ENGINE_STATE_RUNNING &&
	    w->vm->state.reason == ENGINE_REASON_STARTED) {
		w->offset = params(w)->offset;
		w->tail_len = 0;
		w->stale = w->fetching;
	}
	fetch(w);
}

static void check(struct wait *w)
{
	if (w->vm->phase == VM_GONE)
		call_failf(end(w), PROTO_ERROR_NOT_FOUND, "vm", "the VM was deleted");
	else if (params(w)->until == PROTO_UNTIL_CONSOLE)
		look_again(w);
	else if (state_reached(w))
		end_reached(w, NULL);
}

void waits_state_changed(struct vm *vm)
{
	vm_ref(vm);
	for (struct wait *w = vm->waits, *next; w; w = next) {
		next = w->next;
		check(w);
	}
	vm_unref(vm);
}

/* --- the console --------------------------------------------------------------------------- */

void waits_console_printed(struct vm *vm)
{
	for (struct wait *w = vm->waits, *next; w; w = next) {
		next = w->next;
		if (params(w)->until == PROTO_UNTIL_CONSOLE)
			fetch(w);
	}
}

/* Keeps the end of what was searched, in case the text goes on in what follows. */
static void keep_tail(struct wait *w, const char *data, size_t len)
{
	const size_t keep = len < w->text_len - 1 ? len : w->text_len - 1;

	memmove(w->tail, data + len - keep, keep);
	w->tail_len = keep;
}

/* true: the text is there, and the call is over. */
static bool search(struct wait *w, const struct engine_event *ev)
{
	const size_t len = ev->payload_bytes;
	char *all = malloc(w->tail_len + len + 1), *found;
	uint64_t next_offset;

	if (!all) {
		call_failf(end(w), PROTO_ERROR_NO_MEMORY, "", "out of memory");
		return true;
	}
	if (ev->first != w->offset) /* older bytes are lost: nothing goes on */
		w->tail_len = 0;
	memcpy(all, w->tail, w->tail_len);
	if (len)
		memcpy(all + w->tail_len, ev->payload, len);
	found = memmem(all, w->tail_len + len, params(w)->text, w->text_len);
	if (found) {
		next_offset = ev->first - w->tail_len + (uint64_t)(found - all) + w->text_len;
		free(all);
		end_reached(w, &next_offset);
		return true;
	}
	keep_tail(w, all, w->tail_len + len);
	free(all);
	w->offset = ev->first + len;
	return false;
}

static bool will_not_print(const struct wait *w)
{
	return vm_is_stopped(w->vm) && w->vm->state.reason != ENGINE_REASON_CREATED;
}

static void fail_stopped(struct wait *w)
{
	const char *reason = engine_reason_name(w->vm->state.reason);
	char name[PROTO_NAME_MAX + 1];

	memcpy(name, w->vm->name, sizeof(name));
	call_failf(end(w), PROTO_ERROR_INVALID_STATE, "vm",
		   "%s stopped (%s) and has not printed the text", name, reason);
}

static void on_fetched(void *ctx, const struct engine_event *ev)
{
	struct wait *w = ctx;
	struct proto_error err;

	w->fetching = false;
	if (!w->call) {
		wait_free(w);
		return;
	}
	if (ev->error.code) {
		call_error_from_engine(w->call, &ev->error, &err);
		call_fail(end(w), &err);
		return;
	}
	if (w->stale) {
		w->stale = w->again = false;
		fetch(w);
		return;
	}
	if (search(w, ev))
		return;
	if (w->again || w->offset < ev->total) {
		w->again = false;
		fetch(w);
	} else if (will_not_print(w)) {
		fail_stopped(w);
	}
}

/* One at a time; what happens meanwhile asks for another. */
static void fetch(struct wait *w)
{
	struct engine_request req = {.op = ENGINE_CONSOLE_READ, .vm = w->vm->id};
	int r;

	if (w->fetching) {
		w->again = true;
		return;
	}
	req.u.console.offset = w->offset;
	req.u.console.max_bytes = FETCH_BYTES;
	w->fetching = true;
	r = requests_submit(w->call->hvd, &req, NULL, 0, NULL, 0, on_fetched, w);
	if (!r)
		return;
	w->fetching = false;
	call_failf(end(w), PROTO_ERROR_BUSY, "", "the engine takes no request: %s", strerror(-r));
}

/* --- vm.wait ------------------------------------------------------------------------------- */

static bool check_params(struct call *c, const struct proto_vm_wait_params *p)
{
	const bool console = p->until == PROTO_UNTIL_CONSOLE;

	if (console && (!p->has_text || !*p->text))
		call_failf(c, PROTO_ERROR_MISSING_PARAMETER, "text",
			   "until console needs the text to wait for");
	else if (!console && p->has_text)
		call_failf(c, PROTO_ERROR_INVALID_VALUE, "text", "goes with until console only");
	else if (!console && p->has_offset)
		call_failf(c, PROTO_ERROR_INVALID_VALUE, "offset", "goes with until console only");
	else
		return true;
	return false;
}

static struct wait *wait_new(struct call *c, const struct proto_vm_wait_params *p)
{
	struct wait *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->text_len = p->has_text ? strlen(p->text) : 1;
	w->tail = malloc(w->text_len);
	w->timer = event_new(c->hvd->base, -1, 0, on_timeout, w);
	if (!w->tail || !w->timer) {
		if (w->timer)
			event_free(w->timer);
		free(w->tail);
		free(w);
		return NULL;
	}
	w->call = c;
	w->vm = vm_ref(c->vm);
	w->offset = p->offset;
	w->next = c->vm->waits;
	w->back = &c->vm->waits;
	if (w->next)
		w->next->back = &w->next;
	c->vm->waits = w;
	c->state = w;
	c->cancel = on_cancel;
	return w;
}

void method_vm_wait(struct call *c)
{
	const struct proto_vm_wait_params *p = c->params;
	struct timeval timeout;
	struct wait *w;

	if (!check_params(c, p) || !call_find_vm(c, p->vm))
		return;
	w = wait_new(c, p);
	if (!w) {
		call_failf(c, PROTO_ERROR_NO_MEMORY, "", "out of memory");
		return;
	}
	if (p->has_timeout_ms) {
		timeout.tv_sec = (time_t)(p->timeout_ms / 1000);
		timeout.tv_usec = (suseconds_t)(p->timeout_ms % 1000) * 1000;
		event_add(w->timer, &timeout);
	}
	if (p->until == PROTO_UNTIL_CONSOLE)
		fetch(w);
	else if (state_reached(w))
		end_reached(w, NULL);
}
