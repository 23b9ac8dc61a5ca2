// SPDX-License-Identifier: MIT
/* create, start, pause, resume, stop, delete, list, get, wait, slot-add, slots. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "hvctl/fields.h"
#include "hvctl/show.h"
#include "hvctl/text.h"
#include "hvctl/verb.h"

static const char *state_name(struct json_object *obj)
{
	return field_text(field_object(obj, "state"), "name", "?");
}

static enum text_style state_style(const char *state)
{
	return strcmp(state, "running") == 0   ? STYLE_GOOD
	       : strcmp(state, "shutoff") == 0 ? STYLE_DIM
					       : STYLE_WARN;
}

/* "exited with status 3", "ept-denied" */
static void reason_text(char *buf, size_t size, struct json_object *obj)
{
	uint64_t status;

	if (field_number(obj, "exit_status", &status))
		snprintf(buf, size, "exited with status %" PRIu64, status);
	else
		snprintf(buf, size, "%s", field_text(obj, "reason", ""));
}

static void print_report(FILE *out, struct json_object *obj)
{
	const char *report = field_string(obj, "report");

	if (!report || !*report)
		return;
	fputs("  ", out);
	text_wrap(out, 2, report);
}

void show_state_line(FILE *out, bool colour, struct json_object *result)
{
	const char *state = state_name(result);
	char reason[64];

	reason_text(reason, sizeof(reason), result);
	fprintf(out, "%s: %s%s%s (%s)\n", field_text(result, "vm", "?"),
		text_style(colour, state_style(state)), state, text_style(colour, STYLE_NONE),
		reason);
	print_report(out, result);
}

static void show_state(struct hvctl_call *call, struct json_object *result)
{
	show_state_line(call->ctx->out, call->ctx->colour, result);
}

/* "VPID 1", "VPIDs 1 2 3", "VPID not yet taken", "VPID off" */
static void vpid_text(char *buf, size_t size, struct json_object *vm)
{
	size_t count = field_items(vm, "vcpus"), n;
	uint64_t vpid;
	bool any = false;

	if (!field_bool(vm, "vpid_enabled")) {
		snprintf(buf, size, "VPID off");
		return;
	}
	n = (size_t)snprintf(buf, size, "VPID%s", count > 1 ? "s" : "");
	for (size_t i = 0; i < count && n < size; i++) {
		if (!field_number(field_item(vm, "vcpus", i), "vpid", &vpid))
			continue;
		n += (size_t)snprintf(buf + n, size - n, " %" PRIu64, vpid);
		any = true;
	}
	if (!any)
		snprintf(buf, size, "VPIDs on");
}

static void show_created(struct hvctl_call *call, struct json_object *result)
{
	const struct hvctl_context *ctx = call->ctx;
	const char *state = state_name(result);
	const char *page = field_text(result, "ept_page", "?");
	char vcpus[32], vpid[160];

	vpid_text(vpid, sizeof(vpid), result);
	fprintf(ctx->out, "%s: %s%s%s on %s (%s),\n  %s, %s, EPT pages %s%s\n",
		field_text(result, "vm", "?"), text_style(ctx->colour, state_style(state)), state,
		text_style(ctx->colour, STYLE_NONE), field_text(result, "engine", "?"),
		field_text(result, "engine_reason", ""),
		text_plural(vcpus, sizeof(vcpus), field_items(result, "vcpus"), "vCPU", "vCPUs"),
		vpid, strcmp(page, "largest") == 0 ? "" : "up to ",
		strcmp(page, "largest") == 0 ? "as large as possible" : page);
	print_report(ctx->out, result);
}

const struct hvctl_verb hvctl_verb_vm_create = {
	.example = "demo guests/remap.elf --memory 64M --run",
	.file_flags = O_RDONLY,
	.options = definition_options,
	.prepare = definition_prepare,
	.show = show_created,
};
const struct hvctl_verb hvctl_verb_vm_start = {.example = "demo", .show = show_state};
const struct hvctl_verb hvctl_verb_vm_pause = {.example = "demo", .show = show_state};
const struct hvctl_verb hvctl_verb_vm_resume = {.example = "demo", .show = show_state};
const struct hvctl_verb hvctl_verb_vm_stop = {.example = "demo", .show = show_state};
const struct hvctl_verb hvctl_verb_vm_reset = {.example = "demo", .show = show_state};
const struct hvctl_verb hvctl_verb_vm_wait = {
	.example = "demo --until console --text ready --timeout 5000",
	.show = show_state,
};

static void show_deleted(struct hvctl_call *call, struct json_object *result)
{
	fprintf(call->ctx->out, "%s: deleted\n", field_text(result, "vm", "?"));
}

const struct hvctl_verb hvctl_verb_vm_delete = {.example = "demo", .show = show_deleted};

static void show_list(struct hvctl_call *call, struct json_object *result)
{
	static const struct table_column columns[] = {{"VM", false},
						      {"state", false},
						      {"reason", false},
						      {"instructions", true},
						      {"console bytes", true}};
	struct table *t = table_new(columns, 5);
	char number[TEXT_NUMBER], reason[64];

	for (size_t i = 0; i < field_items(result, "vms"); i++) {
		struct json_object *vm = field_item(result, "vms", i);

		reason_text(reason, sizeof(reason), vm);
		table_cell(t, "%s", field_text(vm, "vm", "?"));
		table_cell(t, "%s", state_name(vm));
		table_cell(t, "%s", reason);
		table_cell(t, "%s", text_member(number, vm, "guest_time"));
		table_cell(t, "%s", text_member(number, vm, "console_bytes"));
	}
	table_print(t, call->ctx->out, 0, call->ctx->colour);
	if (!field_items(result, "vms"))
		fputs("no VMs: 'hvctl create NAME IMAGE --run' makes one\n", call->ctx->out);
}

const struct hvctl_verb hvctl_verb_vm_list = {.example = "", .show = show_list};

static void show_vcpus(const struct hvctl_context *ctx, struct json_object *vm)
{
	static const struct table_column columns[] = {
		{"vCPU", true}, {"processor", true},	{"VPID", true}, {"activity", false},
		{"rip", false}, {"instructions", true}, {"exits", true}};
	struct table *t = table_new(columns, 7);
	char number[TEXT_NUMBER];

	for (size_t i = 0; i < field_items(vm, "vcpus"); i++) {
		struct json_object *v = field_item(vm, "vcpus", i);

		table_cell(t, "%s", text_member(number, v, "id"));
		table_cell(t, "%s", text_member(number, v, "processor"));
		table_cell(t, "%s", text_member(number, v, "vpid"));
		table_cell(t, "%s", field_text(v, "activity", "-"));
		table_cell(t, "%s", field_text(v, "rip", "-"));
		table_cell(t, "%s", text_member(number, v, "retired"));
		table_cell(t, "%s", text_member(number, v, "exits"));
	}
	table_print(t, ctx->out, 2, ctx->colour);
}

static void show_cause(const struct hvctl_context *ctx, struct json_object *cause)
{
	char number[TEXT_NUMBER];

	if (!cause)
		return;
	fprintf(ctx->out, "  stopped by  vCPU %s at rip %s: gva %s, gpa %s, exit reason %s,",
		text_member(number, cause, "vcpu"), field_text(cause, "rip", "?"),
		field_text(cause, "gva", "?"), field_text(cause, "gpa", "?"),
		json_object_get_string(field_object(cause, "exit_reason")));
	fprintf(ctx->out, "\n              exit qualification %s, VM-instruction error %s\n",
		field_text(cause, "qualification", "?"),
		text_member(number, cause, "instruction_error"));
}

static void show_get(struct hvctl_call *call, struct json_object *result)
{
	const struct hvctl_context *ctx = call->ctx;
	char number[TEXT_NUMBER];

	show_state(call, result);
	fprintf(ctx->out, "  uuid        %s\n", field_text(result, "uuid", "?"));
	fprintf(ctx->out, "  definition  %s\n",
		field_bool(result, "persistent") ? "stored" : "none: it ends with the daemon");
	fprintf(ctx->out, "  engine      %s: ", field_text(result, "engine", "?"));
	text_wrap(ctx->out, 14, field_text(result, "engine_reason", ""));
	fprintf(ctx->out, "  memory      %s, largest EPT page: %s\n",
		text_size(number, field_count(result, "memory_bytes")),
		strcmp(field_text(result, "ept_page", "?"), "largest") == 0
			? "as large as possible"
			: field_text(result, "ept_page", "?"));
	fprintf(ctx->out, "  VPIDs       %s\n", field_bool(result, "vpid_enabled") ? "on" : "off");
	fprintf(ctx->out, "  guest time  %s instructions\n",
		text_member(number, result, "guest_time"));
	fprintf(ctx->out, "  console     %s bytes\n", text_member(number, result, "console_bytes"));
	show_cause(ctx, field_object(result, "cause"));
	show_vcpus(ctx, result);
}

const struct hvctl_verb hvctl_verb_vm_get = {.example = "demo", .show = show_get};

static void slot_row(struct table *t, struct json_object *slot)
{
	char number[TEXT_NUMBER];

	table_cell(t, "%s", field_text(slot, "slot", "?"));
	table_cell(t, "%s", field_text(slot, "kind", "?"));
	table_cell(t, "%s", text_size(number, field_count(slot, "size_bytes")));
	table_cell(t, "%s", text_size(number, field_count(slot, "mapped_bytes")));
	table_cell(t, "%s", text_member(number, slot, "extents"));
	table_cell(t, "%s", field_bool(slot, "huge") ? "2M" : "4K");
	table_cell(t, "%s", field_text(slot, "hpa_first", "-"));
}

static const struct table_column slot_columns[] = {
	{"slot", false},   {"kind", false},	 {"size", true}, {"mapped", true},
	{"extents", true}, {"host pages", true}, {"hpa", false}};

static void show_slots(struct hvctl_call *call, struct json_object *result)
{
	struct table *t = table_new(slot_columns, 7);

	for (size_t i = 0; i < field_items(result, "slots"); i++)
		slot_row(t, field_item(result, "slots", i));
	table_print(t, call->ctx->out, 0, call->ctx->colour);
}

const struct hvctl_verb hvctl_verb_memory_slot_list = {.example = "demo", .show = show_slots};

static void show_slot(struct hvctl_call *call, struct json_object *result)
{
	struct table *t = table_new(slot_columns, 7);

	slot_row(t, result);
	table_print(t, call->ctx->out, 0, call->ctx->colour);
}

const struct hvctl_verb hvctl_verb_memory_slot_add = {
	.example = "demo spare --size 4M",
	.file_flags = O_RDWR,
	.show = show_slot,
};

static void show_slot_removed(struct hvctl_call *call, struct json_object *result)
{
	char number[TEXT_NUMBER];

	fprintf(call->ctx->out, "slot %s: removed, %s given back\n",
		field_text(result, "slot", "?"),
		text_size(number, field_count(result, "size_bytes")));
}

const struct hvctl_verb hvctl_verb_memory_slot_remove = {
	.example = "demo spare",
	.show = show_slot_removed,
};
