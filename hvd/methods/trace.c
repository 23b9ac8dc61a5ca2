// SPDX-License-Identifier: MIT
/* trace.subscribe */
#include "hvd/stream.h"
#include "hvd/tracing.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((int)PROTO_TRACE_EXIT == ENGINE_TRACE_EXIT &&
		       (int)PROTO_TRACE_VIOLATION == ENGINE_TRACE_VIOLATION &&
		       (int)PROTO_TRACE_INVALIDATION == ENGINE_TRACE_INVALIDATION,
	       "kinds of record");
_Static_assert((int)PROTO_TRACE_CAUSE_NONE == ENGINE_CAUSE_NONE &&
		       (int)PROTO_TRACE_CAUSE_CHANGE == ENGINE_CAUSE_CHANGE &&
		       (int)PROTO_TRACE_CAUSE_SHOOTDOWN == ENGINE_CAUSE_SHOOTDOWN &&
		       (int)PROTO_TRACE_CAUSE_DEFERRED == ENGINE_CAUSE_DEFERRED &&
		       (int)PROTO_TRACE_CAUSE_FIRST_USE == ENGINE_CAUSE_FIRST_USE &&
		       (int)PROTO_TRACE_CAUSE_REQUEST == ENGINE_CAUSE_REQUEST &&
		       (int)PROTO_TRACE_CAUSE_RECYCLE == ENGINE_CAUSE_RECYCLE &&
		       (int)PROTO_TRACE_CAUSE_PAGING == ENGINE_CAUSE_PAGING,
	       "causes");
_Static_assert((int)PROTO_INVALIDATION_INVEPT_SINGLE == ENGINE_INVEPT_SINGLE &&
		       (int)PROTO_INVALIDATION_INVEPT_ALL == ENGINE_INVEPT_ALL &&
		       (int)PROTO_INVALIDATION_INVVPID_ADDRESS == ENGINE_INVVPID_ADDRESS &&
		       (int)PROTO_INVALIDATION_INVVPID_SINGLE == ENGINE_INVVPID_SINGLE &&
		       (int)PROTO_INVALIDATION_INVVPID_ALL == ENGINE_INVVPID_ALL &&
		       (int)PROTO_INVALIDATION_INVVPID_KEEP_GLOBAL == ENGINE_INVVPID_KEEP_GLOBAL,
	       "invalidations");

#define RECORDS_PER_NOTIFICATION 256u
#define EXIT_REASONS 128u /* bits of engine_trace_set.exits */
/* "Basic Exit Reasons" */
#define EXIT_EPT_VIOLATION 48
#define EXIT_EPT_MISCONFIG 49

/* Records that this client will not get. */
struct loss {
	uint64_t count, first_seq;
};

struct item {
	struct engine_trace_record record;
	struct loss before;
};

/*
 * What comes while the room is full is lost: so what is kept is what led up to the loss, and
 * each loss has its place before the record that came after it.
 */
struct trace_client {
	struct tracer tracer;
	struct hvd *hvd;
	struct vm *vm;	       /* with a reference */
	struct call *call;     /* until it is answered */
	struct stream *stream; /* from then on */
	uint64_t next_seq;     /* of the next record that comes */
	struct loss behind;    /* all that is kept */
	bool over;	       /* the VM is gone: all is told that is kept, no more */
	uint32_t size, first, count;
	struct item items[];
};

static struct trace_client *client_of(struct tracer *t)
{
	return (struct trace_client *)((char *)t - offsetof(struct trace_client, tracer));
}

static void client_free(struct trace_client *tc)
{
	tc->hvd->trace_records -= tc->size;
	vm_unref(tc->vm);
	free(tc);
}

/* --- what comes ------------------------------------------------------------------------- */

static void add_loss(struct loss *loss, uint64_t first_seq, uint64_t count)
{
	if (!loss->count)
		loss->first_seq = first_seq;
	loss->count += count;
}

static void on_lost(struct tracer *t, uint64_t first_seq, uint64_t count)
{
	struct trace_client *tc = client_of(t);

	add_loss(&tc->behind, first_seq, count);
	tc->next_seq = first_seq + count;
}

static void on_record(struct tracer *t, const struct engine_trace_record *r)
{
	struct trace_client *tc = client_of(t);
	struct item *item;

	tc->next_seq = r->seq + 1;
	if (!tracing_wants(&t->wants, r))
		return;
	if (tc->count == tc->size) {
		add_loss(&tc->behind, r->seq, 1);
		return;
	}
	item = &tc->items[(tc->first + tc->count++) % tc->size];
	item->record = *r;
	item->before = tc->behind;
	tc->behind.count = 0;
}

static void on_read(struct tracer *t)
{
	const struct trace_client *tc = client_of(t);

	if (tc->count || tc->behind.count)
		stream_wake(tc->stream);
}

/* --- telling ------------------------------------------------------------------------------ */

static void describe_invalidation(const struct engine_trace_record *r,
				  struct proto_trace_record *out)
{
	PROTO_SET(out, invalidation, r->invalidation);
	PROTO_SET(out, cause, r->cause);
	if (r->invalidation == ENGINE_INVEPT_SINGLE)
		PROTO_SET(out, ep4ta, r->ep4ta);
	if (r->invalidation == ENGINE_INVVPID_ADDRESS)
		PROTO_SET(out, gva, r->gva);
}

static void describe_exit(const struct engine_trace_record *r, struct proto_trace_record *out)
{
	const char *name = engine_exit_name(r->exit_reason);

	if (name)
		PROTO_SET(out, exit, name);
	PROTO_SET(out, exit_reason, r->exit_reason);
	PROTO_SET(out, rip, r->rip);
	PROTO_SET(out, qualification, r->qualification);
	if (r->kind != ENGINE_TRACE_VIOLATION)
		return;
	PROTO_SET(out, gpa, r->gpa);
	if (r->gva_valid)
		PROTO_SET(out, gva, r->gva);
}

static void describe(const struct engine_trace_record *r, struct proto_trace_record *out)
{
	*out = (struct proto_trace_record){
		.seq = r->seq,
		.kind = r->kind,
		.processor = r->processor,
	};
	CALL_SET_OBSERVED(out, guest_time, r->guest_time);
	CALL_SET_OBSERVED(out, time_ns, r->time_ns);
	if (r->vcpu != UINT32_MAX)
		PROTO_SET(out, vcpu, r->vcpu);
	if (r->vpid)
		PROTO_SET(out, vpid, r->vpid);
	if (r->kind == ENGINE_TRACE_INVALIDATION)
		describe_invalidation(r, out);
	else
		describe_exit(r, out);
}

static bool tell_loss(struct trace_client *tc, struct loss *loss, uint64_t next_seq)
{
	const struct proto_gap gap = {.subscription = stream_id(tc->stream),
				      .missed = loss->count,
				      .first_seq = loss->first_seq,
				      .next_seq = next_seq};

	loss->count = 0;
	return stream_send(tc->stream, PROTO_NOTIFICATION_gap, &gap);
}

/* The first, up to the next loss. */
static bool tell_records(struct trace_client *tc)
{
	static struct proto_trace_record records[RECORDS_PER_NOTIFICATION]; /* one thread */
	struct proto_trace out = {
		.subscription = stream_id(tc->stream), .vm = tc->vm->name, .records = records};

	do {
		describe(&tc->items[tc->first].record, &records[out.records_count++]);
		tc->first = (tc->first + 1) % tc->size;
		tc->count--;
	} while (tc->count && out.records_count < RECORDS_PER_NOTIFICATION &&
		 !tc->items[tc->first].before.count);
	return stream_send(tc->stream, PROTO_NOTIFICATION_trace, &out);
}

static void fill(struct stream *s, void *ctx)
{
	struct trace_client *tc = ctx;
	bool room = true;

	while (room && tc->count) {
		struct item *item = &tc->items[tc->first];

		if (item->before.count)
			room = tell_loss(tc, &item->before, item->record.seq);
		else
			room = tell_records(tc);
	}
	if (room && tc->behind.count)
		(void)tell_loss(tc, &tc->behind, tc->next_seq);
	if (tc->over && !tc->count && !tc->behind.count)
		stream_end(s, "the VM was deleted");
}

static void on_end(void *ctx)
{
	struct trace_client *tc = ctx;

	tracing_end(&tc->tracer);
	client_free(tc);
}

static void on_gone(struct tracer *t)
{
	struct trace_client *tc = client_of(t);

	tc->over = true;
	stream_wake(tc->stream);
}

/* --- trace.subscribe ------------------------------------------------------------------------ */

static const struct stream_ops stream_ops = {fill, on_end};

static void on_begun(struct tracer *t, const struct engine_error *engine_err)
{
	struct trace_client *tc = client_of(t);
	struct call *c = tc->call;
	struct proto_trace_subscribed result = {.vm = c->vm->name, .buffer_records = tc->size};
	struct proto_error err;

	tc->call = NULL;
	if (engine_err)
		call_error_from_engine(c, engine_err, &err);
	else
		tc->stream = stream_new(c, &stream_ops, tc, &err);
	if (!tc->stream) {
		tracing_end(t);
		client_free(tc);
		call_fail(c, &err);
		return;
	}
	result.subscription = stream_id(tc->stream);
	call_reply(c, &result);
}

static const struct tracer_ops tracer_ops = {
	.begun = on_begun,
	.record = on_record,
	.lost = on_lost,
	.read = on_read,
	.gone = on_gone,
};

/* EXIT_REASONS: there is none of that name. */
static uint32_t exit_reason_of(const char *name)
{
	uint32_t i;

	for (i = 0; i < EXIT_REASONS; i++)
		if (engine_exit_name(i) && !strcmp(engine_exit_name(i), name))
			break;
	return i;
}

static bool take_exits(struct call *c, const struct proto_trace_subscribe_params *p,
		       struct engine_trace_set *ret)
{
	char field[PROTO_FIELD_LEN];

	for (size_t i = 0; i < p->exits_count; i++) {
		const uint32_t reason = exit_reason_of(p->exits[i]);
		const bool violation = reason == EXIT_EPT_VIOLATION || reason == EXIT_EPT_MISCONFIG;

		if (reason == EXIT_REASONS || violation) {
			snprintf(field, sizeof(field), "exits[%zu]", i);
			call_failf(c, PROTO_ERROR_INVALID_VALUE, field,
				   violation ? "%s is of kind violation"
					     : "there is no exit reason %s",
				   p->exits[i]);
			return false;
		}
		ret->exits[reason / 64] |= UINT64_C(1) << reason % 64;
	}
	return true;
}

static bool check_params(struct call *c, const struct proto_trace_subscribe_params *p,
			 uint32_t kinds)
{
	if (p->has_kinds && !p->kinds_count)
		call_failf(c, PROTO_ERROR_INVALID_VALUE, "kinds",
			   "none are given: leave it out for all");
	else if (p->has_exits && !p->exits_count)
		call_failf(c, PROTO_ERROR_INVALID_VALUE, "exits",
			   "none are given: leave it out for all");
	else if (p->has_exits && !(kinds >> ENGINE_TRACE_EXIT & 1))
		call_failf(c, PROTO_ERROR_INVALID_VALUE, "exits", "goes with kind exit only");
	else if (p->has_vcpu && p->vcpu >= c->vm->vcpus)
		call_failf(c, PROTO_ERROR_NOT_FOUND, "vcpu", "%u: %s has %u vCPUs", p->vcpu,
			   c->vm->name, c->vm->vcpus);
	else
		return true;
	return false;
}

static bool take_filter(struct call *c, const struct proto_trace_subscribe_params *p,
			struct engine_trace_set *ret)
{
	*ret = (struct engine_trace_set){.vcpu = p->has_vcpu ? p->vcpu : UINT32_MAX};
	for (size_t i = 0; i < p->kinds_count; i++)
		ret->kinds |= 1u << p->kinds[i];
	if (!p->has_kinds)
		ret->kinds = (1u << ENGINE_TRACE_KINDS) - 1;
	return check_params(c, p, ret->kinds) && take_exits(c, p, ret);
}

/* NULL: the call has failed. */
static struct trace_client *client_new(struct call *c, uint32_t records)
{
	const uint32_t left = HVD_TRACE_RECORDS - c->hvd->trace_records;
	struct trace_client *tc;
	struct proto_error err;

	if (records > left) {
		proto_fail(&err, PROTO_ERROR_LIMIT, "buffer_records",
			   "of %u records for all who trace, %u are left", HVD_TRACE_RECORDS, left);
		err.has_limit = true;
		err.limit = left;
		call_fail(c, &err);
		return NULL;
	}
	tc = calloc(1, sizeof(*tc) + records * sizeof(tc->items[0]));
	if (!tc) {
		call_failf(c, PROTO_ERROR_NO_MEMORY, "buffer_records", "out of memory for %u",
			   records);
		return NULL;
	}
	c->hvd->trace_records += records;
	*tc = (struct trace_client){.hvd = c->hvd, .vm = vm_ref(c->vm), .call = c, .size = records};
	return tc;
}

void method_trace_subscribe(struct call *c)
{
	const struct proto_trace_subscribe_params *p = c->params;
	struct engine_trace_set wants;
	struct trace_client *tc;

	if (!call_find_vm(c, p->vm) || !take_filter(c, p, &wants))
		return;
	tc = client_new(c, p->buffer_records);
	if (!tc)
		return;
	tc->tracer.ops = &tracer_ops;
	tc->tracer.wants = wants;
	if (!tracing_begin(c->hvd, c->vm, &tc->tracer))
		return;
	client_free(tc);
	call_failf(c, PROTO_ERROR_NO_MEMORY, "", "out of memory");
}
