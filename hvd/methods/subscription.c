// SPDX-License-Identifier: MIT
/* subscription.end */
#include "hvd/stream.h"

void method_subscription_end(struct call *c)
{
	const struct proto_subscription_params *p = c->params;
	const struct proto_subscription result = {.subscription = p->subscription};
	struct stream *s = stream_find(c, p->subscription);

	if (!s) {
		call_failf(c, PROTO_ERROR_NOT_FOUND, "subscription",
			   "the connection has no subscription %u", p->subscription);
		return;
	}
	stream_close(s);
	call_reply(c, &result);
}
