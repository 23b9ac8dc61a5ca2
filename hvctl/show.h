/* SPDX-License-Identifier: MIT */
/* Parts of views that several files share. */
#ifndef HVCTL_SHOW_H
#define HVCTL_SHOW_H

#include "hvctl/verb.h"

/* r: a "change" object; left_out: its invalidation was, as asked. */
void show_change(struct hvctl_call *call, struct json_object *r, bool left_out);

/* The bytes of a base64 member, to free(); NULL after a message, call->code is set then. */
uint8_t *show_take_bytes(struct hvctl_call *call, struct json_object *result, const char *name,
			 size_t *ret_size);
/* Hexadecimal digits that the highest address of a "mappings" result takes. */
int show_address_digits(struct json_object *result);
/* The picture of a "mappings" result; asked: the address it was asked to begin at. */
void show_picture(const struct hvctl_context *ctx, struct json_object *result, uint64_t asked);
/* "demo: shutoff (exited with status 3)", and the report. */
void show_state_line(FILE *out, bool colour, struct json_object *result);
/* What dropped entries of a vCPU's TLB: a counter "ops_X" of tlb_vcpu, and "dropped_X" beside it.
 */
struct show_cause {
	const char *ops;
	char dropped[64];
	const char *title;
};

/* The next of those, from *i on, that v (a tlb_vcpu) has counted; false: no more. */
bool show_next_cause(struct json_object *v, size_t *i, struct show_cause *ret);
/* "  entries held  L1I 1/136 ...", of a tlb_vcpu; nothing if it is not known. */
void show_held(const struct hvctl_context *ctx, struct json_object *v);
/* "demo vCPU 0", "processor 1": what a counter belongs to. */
struct table;
void show_scope_cell(struct table *t, struct json_object *stat);
/* create --file: what the definition says and the command line does not. */
extern const struct hvctl_option definition_options[];
int definition_prepare(struct hvctl_call *call);

#endif
