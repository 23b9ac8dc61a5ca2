// SPDX-License-Identifier: MIT
/* Every method has a row: hvctl_verb_<method id>, beside its code. */
#include "hvctl/verb.h"

#define METHOD(id, name, verb, positional, role, flags, params, result, doc) \
	extern const struct hvctl_verb hvctl_verb_##id;
#include "proto/methods.def"
#undef METHOD

#define METHOD(id, name, verb, positional, role, flags, params, result, doc) \
	[PROTO_METHOD_##id] = &hvctl_verb_##id,
const struct hvctl_verb *const hvctl_verbs[PROTO_METHOD_COUNT] = {
#include "proto/methods.def"
};
#undef METHOD
