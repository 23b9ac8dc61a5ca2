/* SPDX-License-Identifier: MIT */
/* Counters again and again, with what they grow by. */
#ifndef HVCTL_WATCH_H
#define HVCTL_WATCH_H

#include "hvctl/verb.h"

#define WATCH_STATS 1u /* counters of the hypervisor */
#define WATCH_TLB 2u   /* those of the TLB */

#define HVCTL_WATCH_DOC                                                                 \
	"show them again and again, with what they grow by in a second, until Ctrl-C; " \
	"default 1"

/* Watches at call->watch_ms. vm NULL: every VM. views: WATCH_*. An exit code. */
int hvctl_watch(struct hvctl_call *call, const char *vm, unsigned views);

/* For the option watch: seconds, as 0.5. */
int hvctl_set_watch(struct hvctl_call *call, const char *text);
/* A verb's prepare: --count needs --watch. */
int hvctl_check_watch(struct hvctl_call *call);

/*
 * One report as text: report and the one before it (NULL: none), which the rates are
 * against. To call->ctx->out.
 */
void watch_show(struct hvctl_call *call, unsigned views, struct json_object *report,
		struct json_object *before);

#endif
