// SPDX-License-Identifier: MIT
#include "hvd/tracing.h"
#include "hvd/log.h"
#include "hvd/requests.h"
#include "hvd/watch.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOM 16384u /* records kept by the engine, between two reads */
/* So many take all that there is, and tell what was lost behind it. */
#define READS_FOR_ALL (ROOM / ENGINE_MAX_TRACE_READ + 1)

struct tracing {
	struct watch watch;
	struct hvd *hvd;
	struct tracer *tracers;
	struct engine_trace_set set;   /* in force: covers all that are live; kinds 0: none */
	struct engine_trace_set asked; /* the latest that was asked for */
	unsigned pending;	       /* requests to the engine */
	uint64_t next_seq;
	bool more; /* the engine may have more */
	bool keep; /* it has refused to change it: not asked again until another one comes */
	bool gone; /* the VM was deleted */
};

static void advance(struct tracing *t);

/* --- what is wanted -------------------------------------------------------------------- */

bool tracing_wants(const struct engine_trace_set *set, const struct engine_trace_record *r)
{
	if (!(set->kinds >> r->kind & 1))
		return false;
	if (set->vcpu != UINT32_MAX && set->vcpu != r->vcpu)
		return false;
	if (r->kind != ENGINE_TRACE_EXIT || !(set->exits[0] | set->exits[1]))
		return true;
	return r->exit_reason < 128 && set->exits[r->exit_reason / 64] >> r->exit_reason % 64 & 1;
}

/* Adds what one wants; no exits stands for all of them. */
static void unite(struct engine_trace_set *all, const struct engine_trace_set *one)
{
	const uint32_t exit = 1u << ENGINE_TRACE_EXIT;
	const bool every = (all->kinds & exit && !(all->exits[0] | all->exits[1])) ||
			   (one->kinds & exit && !(one->exits[0] | one->exits[1]));

	if (!all->kinds)
		all->vcpu = one->vcpu;
	else if (all->vcpu != one->vcpu)
		all->vcpu = UINT32_MAX;
	for (int i = 0; i < 2; i++)
		all->exits[i] = every ? 0 : all->exits[i] | one->exits[i];
	all->kinds |= one->kinds;
	all->records = ROOM;
}

static struct engine_trace_set wanted(const struct tracing *t)
{
	struct engine_trace_set all = {0};

	for (const struct tracer *one = t->tracers; one; one = one->next)
		unite(&all, &one->wants);
	return all;
}

static bool same(const struct engine_trace_set *a, const struct engine_trace_set *b)
{
	return a->kinds == b->kinds && a->vcpu == b->vcpu && a->exits[0] == b->exits[0] &&
	       a->exits[1] == b->exits[1];
}

/* --- those who trace ----------------------------------------------------------------------- */

static void let_go(struct tracer *one)
{
	struct tracer **link = &one->tracing->tracers;

	while (*link != one)
		link = &(*link)->next;
	*link = one->next;
	one->tracing = NULL;
}

static struct tracer *first_in(const struct tracing *t, int state)
{
	struct tracer *one = t->tracers;

	while (one && (int)one->state != state)
		one = one->next;
	return one;
}

static void mark_asked(struct tracing *t)
{
	for (struct tracer *one = t->tracers; one; one = one->next)
		if (one->state == TRACER_WAITS)
			one->state = TRACER_ASKED;
}

/* To those for whom it was asked: err NULL, they begin. Any may begin and end others. */
static void tell_begun(struct tracing *t, const struct engine_error *err)
{
	struct tracer *one;

	t->pending++; /* t stays */
	while ((one = first_in(t, TRACER_ASKED))) {
		if (err)
			let_go(one);
		else
			one->state = TRACER_LIVE;
		one->ops->begun(one, err);
	}
	t->pending--;
}

static void tell_lost(struct tracing *t, uint64_t count)
{
	if (!count)
		return;
	for (struct tracer *one = t->tracers; one; one = one->next)
		if (one->state == TRACER_LIVE)
			one->ops->lost(one, t->next_seq, count);
	t->next_seq += count;
}

static void tell_record(struct tracing *t, const struct engine_trace_record *r)
{
	struct engine_trace_record copy = *r;

	copy.seq = t->next_seq++;
	for (struct tracer *one = t->tracers; one; one = one->next)
		if (one->state == TRACER_LIVE)
			one->ops->record(one, &copy);
}

static void tell_read(struct tracing *t)
{
	for (struct tracer *one = t->tracers; one; one = one->next)
		if (one->state == TRACER_LIVE)
			one->ops->read(one);
}

/* --- the engine's trace --------------------------------------------------------------------- */

static void on_read(void *ctx, const struct engine_event *ev)
{
	struct tracing *t = ctx;
	const struct engine_trace_record *r = ev->payload;
	const size_t n = ev->payload_bytes / sizeof(*r);

	t->pending--;
	if (!ev->error.code) {
		tell_lost(t, ev->total);
		for (size_t i = 0; i < n; i++) {
			if (i)
				tell_lost(t, r[i].seq - r[i - 1].seq - 1);
			tell_record(t, &r[i]);
		}
		tell_read(t);
		/* Also after the last, for what was lost behind it. */
		t->more |= n != 0;
	}
	advance(t);
}

static int submit_read(struct tracing *t)
{
	struct engine_request req = {.op = ENGINE_TRACE_READ, .vm = t->watch.vm->id};
	int r;

	req.u.trace_read.max = ENGINE_MAX_TRACE_READ;
	r = requests_submit(t->hvd, &req, NULL, 0, NULL, 0, on_read, t);
	t->pending += !r;
	t->more &= r != 0;
	return r;
}

static void read_all(struct tracing *t)
{
	for (unsigned i = 0; t->set.kinds && i < READS_FOR_ALL && !submit_read(t); i++)
		;
}

static void on_refused(struct tracing *t, const struct engine_error *err)
{
	log_debug("%s: the trace can't be set: %d (%s)", t->watch.vm->name, err->code, err->text);
	t->keep = true;
	tell_begun(t, err);
}

static void on_set(void *ctx, const struct engine_event *ev)
{
	struct tracing *t = ctx;

	t->pending--;
	if (ev->error.code) {
		on_refused(t, &ev->error);
	} else {
		tell_lost(t, ev->total);
		tell_read(t);
		t->set = t->asked;
		tell_begun(t, NULL);
	}
	advance(t);
}

/* Setting drops what has not been read, and tells how much that is: all is read just before. */
static void change(struct tracing *t, const struct engine_trace_set *set)
{
	struct engine_request req = {.op = ENGINE_TRACE_SET, .vm = t->watch.vm->id};
	struct engine_error err = {0};

	read_all(t);
	mark_asked(t);
	req.u.trace_set = t->asked = *set;
	err.code = requests_submit(t->hvd, &req, NULL, 0, NULL, 0, on_set, t);
	if (!err.code) {
		t->pending++;
		return;
	}
	snprintf(err.text, sizeof(err.text), "the engine takes no request: %s",
		 strerror(-err.code));
	on_refused(t, &err);
}

static void tracing_free(struct tracing *t)
{
	t->watch.vm->tracing = NULL;
	watch_end(&t->watch);
	free(t);
}

/* What comes next, when the engine has answered all. May free it. */
static void advance(struct tracing *t)
{
	while (!t->pending) {
		const struct engine_trace_set want = wanted(t);

		if (!t->gone && !t->keep && !same(&want, &t->set)) {
			change(t, &want);
		} else if (first_in(t, TRACER_WAITS)) {
			mark_asked(t);
			tell_begun(t, NULL);
		} else if (!t->tracers) {
			tracing_free(t);
			return;
		} else if (!t->more || submit_read(t)) {
			return; /* refused: with the next that the engine tells of */
		}
	}
}

/* --- the VM --------------------------------------------------------------------------------- */

static struct tracing *tracing_of(struct watch *w)
{
	return (struct tracing *)((char *)w - offsetof(struct tracing, watch));
}

static void on_traced(struct watch *w)
{
	struct tracing *t = tracing_of(w);

	t->more = true;
	advance(t);
}

static void on_deleting(struct watch *w)
{
	read_all(tracing_of(w));
}

static void on_gone(struct watch *w)
{
	const struct engine_error err = {
		.code = -ENOENT, .field = ENGINE_FIELD_VM, .text = "the VM was deleted"};
	struct tracing *t = tracing_of(w);
	struct tracer *one;

	t->gone = true;
	mark_asked(t);
	tell_begun(t, &err);
	t->pending++; /* t stays */
	while ((one = t->tracers)) {
		let_go(one);
		one->ops->gone(one);
	}
	t->pending--;
	advance(t);
}

static watch_fn *const watch_fns[WATCH_COUNT] = {
	[WATCH_TRACED] = on_traced,
	[WATCH_DELETING] = on_deleting,
	[WATCH_GONE] = on_gone,
};

static struct tracing *tracing_new(struct hvd *h, struct vm *vm)
{
	struct tracing *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->hvd = h;
	t->next_seq = 1;
	watch_begin(&t->watch, vm, watch_fns);
	vm->tracing = t;
	return t;
}

int tracing_begin(struct hvd *h, struct vm *vm, struct tracer *one)
{
	struct tracing *t = vm->tracing ? vm->tracing : tracing_new(h, vm);

	if (!t)
		return -ENOMEM;
	one->tracing = t;
	one->state = TRACER_WAITS;
	one->next = t->tracers;
	t->tracers = one;
	t->keep = false;
	advance(t);
	return 0;
}

void tracing_end(struct tracer *one)
{
	struct tracing *t = one->tracing;

	if (!t)
		return;
	let_go(one);
	advance(t);
}
