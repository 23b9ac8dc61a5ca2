// SPDX-License-Identifier: MIT
#include "hvctl/stream.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "hvctl/client.h"
#include "hvctl/fields.h"
#include "hvctl/text.h"

struct running {
	struct hvctl_call *call;
	const struct hvctl_stream *stream;
	uint64_t left; /* of --count */
	bool over;
	int code;
};

void hvctl_show_gap(struct hvctl_call *call, struct json_object *gap, const char *item,
		    const char *items)
{
	const struct hvctl_context *ctx = call->ctx;
	uint64_t missed = field_count(gap, "missed"), first = field_count(gap, "first_seq");
	char number[64];

	fprintf(ctx->out, "%s--- %s missed: %" PRIu64, text_style(ctx->colour, STYLE_WARN),
		text_plural(number, sizeof(number), missed, item, items), first);
	if (field_count(gap, "next_seq") > first + 1)
		fprintf(ctx->out, " to %" PRIu64, field_count(gap, "next_seq") - 1);
	fprintf(ctx->out, " ---%s\n", text_style(ctx->colour, STYLE_NONE));
}

/* The items of a notification, as far as they count. */
static void take_items(struct running *r, struct json_object *params)
{
	const struct hvctl_stream *s = r->stream;
	uint64_t items = s->list ? field_items(params, s->list) : 1;

	if (r->call->ctx->json)
		hvctl_print_json(r->call->ctx, params);
	else
		s->show(r->call, params, r->left);
	r->left -= items < r->left ? items : r->left;
	r->over = !r->left;
}

static void on_notification(void *arg, const char *name, struct json_object *params)
{
	struct running *r = arg;
	const struct hvctl_context *ctx = r->call->ctx;

	if (r->over)
		return;
	if (strcmp(name, r->stream->notification) == 0) {
		take_items(r, params);
	} else if (strcmp(name, "gap") == 0 && ctx->json) {
		hvctl_print_json(ctx, params);
	} else if (strcmp(name, "gap") == 0) {
		hvctl_show_gap(r->call, params, r->stream->item, r->stream->items);
	} else if (strcmp(name, "ended") == 0) {
		r->over = true;
		if (ctx->json)
			hvctl_print_json(ctx, params);
		fflush(ctx->out); /* what is said about the end comes last */
		r->code = hvctl_fail(ctx, HVCTL_REFUSED, "the daemon ended the subscription: %s",
				     field_text(params, "reason", "it does not say why"));
	}
}

int hvctl_flush(struct hvctl_context *ctx)
{
	if (!fflush(ctx->out))
		return HVCTL_OK;
	ctx->unread = true;
	if (errno == EPIPE)
		return HVCTL_OK;
	return hvctl_fail(ctx, HVCTL_LOCAL, "writing the output: %s", strerror(errno));
}

int hvctl_stream(struct hvctl_call *call, enum proto_method_id id, const void *params,
		 const struct hvctl_stream *stream)
{
	struct running r = {
		.call = call, .stream = stream, .left = call->count ? call->count : UINT64_MAX};
	struct json_object *result = NULL;
	unsigned woke = 0;

	hvctl_on_notification(call->client, on_notification, &r);
	r.code = hvctl_request_params(call, id, params, &result);
	if (!r.code && stream->begin && !call->ctx->json)
		stream->begin(call, result);
	json_object_put(result);
	while (!r.code && !r.over && !(woke & (HVCTL_WOKE_INTERRUPT | HVCTL_WOKE_UNREAD)) &&
	       !call->ctx->unread) {
		int code = hvctl_flush(call->ctx);

		if (!code && !call->ctx->unread)
			code = hvctl_wait(call->client, -1, -1, &woke);
		r.code = code ? code : r.code;
	}
	call->ctx->unread |= (woke & HVCTL_WOKE_UNREAD) != 0;
	hvctl_on_notification(call->client, NULL, NULL);
	return r.code;
}

int hvctl_set_count(struct hvctl_call *call, const char *text)
{
	if (proto_parse_size(text, &call->count) || !call->count)
		return hvctl_fail(call->ctx, HVCTL_USAGE, "count: %s is no number from 1 on", text);
	return HVCTL_OK;
}
