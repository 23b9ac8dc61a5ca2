// SPDX-License-Identifier: MIT
/* stats.subscribe */
#include "hvd/methods/stats.h"
#include "hvd/requests.h"
#include "hvd/stream.h"
#include "hvd/watch.h"
#include <stdlib.h>
#include <string.h>

/* A report is asked for only when the one before it is with the client. */
enum phase { IDLE, ASKED, READY };

#define VCPUS_MAX 512u /* of a report with tlb */

struct reporter {
	struct watch watch; /* with vm */
	struct hvd *hvd;
	struct stream *stream; /* NULL: ended, but answers are still on their way */
	struct event *timer;
	struct proto_arena kept; /* names */
	const char **names;
	size_t name_count;
	uint64_t vm; /* the engine's id; 0: all */
	bool tlb;
	enum phase phase;
	unsigned pending; /* requests to the engine */
	bool failed;	  /* one of them */
	bool too_many;	  /* counters: the loop is not to be busy for long with a report */
	uint64_t skipped; /* since the report before */
	struct proto_arena arena;
	struct proto_stats_report report;
};

static struct reporter *reporter_of(struct watch *w)
{
	return (struct reporter *)((char *)w - offsetof(struct reporter, watch));
}

static void reporter_free(struct reporter *r)
{
	if (r->vm)
		watch_end(&r->watch);
	if (r->timer)
		event_free(r->timer);
	proto_arena_free(&r->arena);
	proto_arena_free(&r->kept);
	free(r);
}

/* --- a report ---------------------------------------------------------------------------- */

static void forget_report(struct reporter *r)
{
	proto_arena_free(&r->arena);
	r->report = (struct proto_stats_report){0};
	r->phase = IDLE;
}

/* All answers are here. */
static void finish(struct reporter *r)
{
	if (!r->stream) {
		reporter_free(r);
		return;
	}
	if (r->failed) {
		forget_report(r);
		r->skipped++;
		return;
	}
	r->report.subscription = stream_id(r->stream);
	r->report.time_ns = hvd_time_ns();
	r->report.skipped = r->skipped;
	r->skipped = 0;
	r->phase = READY;
	stream_wake(r->stream);
}

static void on_answer(struct reporter *r, const struct engine_event *ev, int err)
{
	r->failed |= ev->error.code || err;
	if (!--r->pending)
		finish(r);
}

static void on_stats(void *ctx, const struct engine_event *ev)
{
	struct reporter *r = ctx;
	const struct stats_filter filter = {
		.prefixes = r->names, .prefix_count = r->name_count, .max = PROTO_STATS_MAX};
	uint64_t total = 0;
	const int err = stats_take(r->hvd, &r->arena, ev, &filter, &r->report.stats,
				   &r->report.stats_count, &total);

	r->too_many |= total > PROTO_STATS_MAX;
	on_answer(r, ev, err);
}

static void on_tlb(void *ctx, const struct engine_event *ev)
{
	struct reporter *r = ctx;
	const int err =
		stats_take_tlb(r->hvd, &r->arena, ev, &r->report.vcpus, &r->report.vcpus_count);

	r->too_many |= r->report.vcpus_count > VCPUS_MAX;
	on_answer(r, ev, err);
}

static void submit(struct reporter *r, enum engine_op op, request_done_fn *done)
{
	const struct engine_request req = {.op = op, .vm = r->vm};

	if (requests_submit(r->hvd, &req, NULL, 0, NULL, 0, done, r))
		r->failed = true;
	else
		r->pending++;
}

/* Both at once, so that the engine answers both as of the same time if it can. */
static void ask(struct reporter *r)
{
	r->phase = ASKED;
	r->failed = false;
	submit(r, ENGINE_STATS, on_stats);
	if (r->tlb)
		submit(r, ENGINE_TLB_STATS, on_tlb);
	if (!r->pending)
		finish(r);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct reporter *r = arg;

	(void)fd, (void)what;
	if (r->phase == IDLE)
		ask(r);
	else
		r->skipped++;
}

/* --- the stream ----------------------------------------------------------------------------- */

static void fill(struct stream *s, void *ctx)
{
	struct reporter *r = ctx;

	if (r->phase != READY)
		return;
	if (r->too_many) {
		stream_end(s,
			   "it has more counters than a report may have: name a VM, or counters");
		return;
	}
	stream_send(s, PROTO_NOTIFICATION_stats, &r->report);
	forget_report(r);
}

static void on_end(void *ctx)
{
	struct reporter *r = ctx;

	r->stream = NULL;
	event_del(r->timer);
	if (!r->pending)
		reporter_free(r);
}

static void on_vm_gone(struct watch *w)
{
	struct reporter *r = reporter_of(w);

	if (r->stream)
		stream_end(r->stream, "the VM was deleted");
}

static watch_fn *const watch_fns[WATCH_COUNT] = {[WATCH_GONE] = on_vm_gone};
static const struct stream_ops ops = {fill, on_end};

/* --- stats.subscribe -------------------------------------------------------------------------- */

static bool keep_names(struct reporter *r, const struct proto_stats_subscribe_params *p)
{
	r->names = proto_alloc(&r->kept, p->names_count, sizeof(*r->names));
	if (!r->names)
		return false;
	for (size_t i = 0; i < p->names_count; i++) {
		r->names[i] = proto_strdup(&r->kept, p->names[i]);
		if (!r->names[i])
			return false;
	}
	r->name_count = p->names_count;
	return true;
}

static bool start_timer(struct reporter *r, uint32_t interval_ms)
{
	const struct timeval interval = {.tv_sec = (time_t)(interval_ms / 1000),
					 .tv_usec = (suseconds_t)(interval_ms % 1000) * 1000};

	r->timer = event_new(r->hvd->base, -1, EV_PERSIST, on_timer, r);
	return r->timer && !event_add(r->timer, &interval);
}

/* NULL: *err says why. */
static struct reporter *reporter_new(struct call *c, const struct proto_stats_subscribe_params *p,
				     struct proto_error *err)
{
	struct reporter *r = calloc(1, sizeof(*r));

	proto_fail(err, PROTO_ERROR_NO_MEMORY, "", "out of memory");
	if (!r)
		return NULL;
	r->hvd = c->hvd;
	r->tlb = p->tlb;
	if (p->has_vm) {
		r->vm = c->vm->id;
		watch_begin(&r->watch, c->vm, watch_fns);
	}
	if (keep_names(r, p) && start_timer(r, p->interval_ms))
		r->stream = stream_new(c, &ops, r, err);
	if (r->stream)
		return r;
	reporter_free(r);
	return NULL;
}

void method_stats_subscribe(struct call *c)
{
	const struct proto_stats_subscribe_params *p = c->params;
	struct proto_subscription result;
	struct proto_error err;
	struct reporter *r;

	if (p->has_names && !p->names_count) {
		call_failf(c, PROTO_ERROR_INVALID_VALUE, "names",
			   "none are given: leave it out for all");
		return;
	}
	if (p->has_vm && !call_find_vm(c, p->vm))
		return;
	r = reporter_new(c, p, &err);
	if (!r) {
		call_fail(c, &err);
		return;
	}
	result = (struct proto_subscription){.subscription = stream_id(r->stream)};
	ask(r);
	call_reply(c, &result);
}
