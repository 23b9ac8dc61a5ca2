/* SPDX-License-Identifier: MIT */
/* What proto's own files share. */
#ifndef PROTO_INTERNAL_H
#define PROTO_INTERNAL_H

#include "proto/proto.h"

#define PROTO_NAME_HELP \
	"a name is 1 to 63 letters, digits, '_', '.' and '-', and begins with a letter or digit"

/* v is outside of the field's min..max: the error, with its limit. */
int proto_out_of_range(struct proto_error *err, const char *name, uint64_t v,
		       const struct proto_field *f);
/* The error that lists the names that would have been right. */
int proto_bad_enum(struct proto_error *err, const char *name, const struct proto_enum *en);
/* "0x..." on the wire. 0 or -EINVAL. */
int proto_parse_address(const char *s, size_t len, uint64_t *ret);
void proto_set_default(const struct proto_field *f, void *out);

#endif
