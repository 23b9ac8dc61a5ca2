// SPDX-License-Identifier: MIT
/* Verbs whose rows are there and whose code is not. */
#include "hvctl/verb.h"

static void show(struct hvctl_call *call, struct json_object *result)
{
	fprintf(call->ctx->out, "%s\n", proto_json_text(result, NULL));
}

const struct hvctl_verb hvctl_verb_console_attach = {.example = "demo", .show = show};
const struct hvctl_verb hvctl_verb_console_write = {.example = "demo --data 41", .show = show};
const struct hvctl_verb hvctl_verb_events_subscribe = {.example = "", .show = show};
const struct hvctl_verb hvctl_verb_trace_subscribe = {.example = "demo", .show = show};
const struct hvctl_verb hvctl_verb_stats_subscribe = {.example = "demo", .show = show};
const struct hvctl_verb hvctl_verb_subscription_end = {.example = "", .show = show};
const struct hvctl_verb hvctl_verb_request_cancel = {.example = "", .show = show};
