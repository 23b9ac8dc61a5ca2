/* SPDX-License-Identifier: MIT */
/* A change of mappings, as replies tell it. */
#ifndef HVD_METHODS_MEMORY_H
#define HVD_METHODS_MEMORY_H

#include "hvd/call.h"

void memory_describe_change(struct call *c, const struct engine_change *in, bool dry_run,
			    struct proto_change *out);

#endif
