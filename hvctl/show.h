/* SPDX-License-Identifier: MIT */
/* Parts of views that several files share. */
#ifndef HVCTL_SHOW_H
#define HVCTL_SHOW_H

#include "hvctl/verb.h"

/* r: a "change" object; left_out: its invalidation was, as asked. */
void show_change(struct hvctl_call *call, struct json_object *r, bool left_out);

#endif
