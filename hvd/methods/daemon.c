// SPDX-License-Identifier: MIT
/* daemon.info, engine.list, rpc.discover */
#include "hvd/call.h"
#include "hvd/conn.h"
#include "hvd/events.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* enum engine_capability is proto's numbers as bits. */
static const uint32_t capability_bits[] = {
	[PROTO_CAP_EPT_4K] = ENGINE_CAP_EPT_4K,
	[PROTO_CAP_EPT_2M] = ENGINE_CAP_EPT_2M,
	[PROTO_CAP_EPT_1G] = ENGINE_CAP_EPT_1G,
	[PROTO_CAP_EPT_EXEC_ONLY] = ENGINE_CAP_EPT_EXEC_ONLY,
	[PROTO_CAP_EPT_AD] = ENGINE_CAP_EPT_AD,
	[PROTO_CAP_VPID] = ENGINE_CAP_VPID,
	[PROTO_CAP_TLB_STATS] = ENGINE_CAP_TLB_STATS,
	[PROTO_CAP_TLB_ENTRIES] = ENGINE_CAP_TLB_ENTRIES,
	[PROTO_CAP_UNSAFE_HOOKS] = ENGINE_CAP_UNSAFE_HOOKS,
	[PROTO_CAP_DETERMINISTIC] = ENGINE_CAP_DETERMINISTIC,
};
#define CAPABILITIES (sizeof(capability_bits) / sizeof(capability_bits[0]))

static bool describe_engine(struct call *c, const struct engine_info *info, bool taken,
			    struct proto_engine *ret)
{
	uint32_t *list = proto_alloc(&c->arena, CAPABILITIES, sizeof(*list));

	*ret = (struct proto_engine){
		.name = proto_strdup(&c->arena, info->name),
		.available = info->available != 0,
		.taken = taken,
		.reason = proto_strdup(&c->arena, info->reason),
		.capabilities = list,
		.max_vcpus_per_vm = info->max_vcpus_per_vm,
		.max_vms = info->max_vms,
		.max_memory_bytes = info->max_memory_bytes,
	};
	if (!list || !ret->name || !ret->reason)
		return false;
	for (uint32_t i = 0; i < CAPABILITIES; i++)
		if (info->capabilities & capability_bits[i])
			list[ret->capabilities_count++] = i;
	if (*info->advice)
		PROTO_SET(ret, advice, proto_strdup(&c->arena, info->advice));
	if (info->processors)
		PROTO_SET(ret, processors, info->processors);
	if (*info->tlb_geometry)
		PROTO_SET(ret, tlb_geometry, proto_strdup(&c->arena, info->tlb_geometry));
	return true;
}

static void no_memory(struct call *c)
{
	call_failf(c, PROTO_ERROR_NO_MEMORY, "", "out of memory for the reply");
}

static bool describe_engines(struct call *c, struct proto_daemon_info *info)
{
	const struct engines *e = &c->hvd->engines;

	info->engine_choice = proto_strdup(&c->arena, e->why);
	info->engines = proto_alloc(&c->arena, e->count, sizeof(*info->engines));
	if (!info->engine_choice || !info->engines)
		return false;
	for (size_t i = 0; i < e->count; i++)
		if (!describe_engine(c, &e->engine[i], i == e->taken,
				     &info->engines[info->engines_count++]))
			return false;
	return true;
}

void method_daemon_info(struct call *c)
{
	const struct hvd *h = c->hvd;
	const struct hvd_bounds *b = &h->config.bounds;
	const struct proto_limits limits = {
		.message_bytes = PROTO_MESSAGE_MAX,
		.message_depth = PROTO_DEPTH_MAX,
		.message_values = PROTO_VALUES_MAX,
		.batch_requests = PROTO_BATCH_MAX,
		.batch_reply_bytes = RPC_BATCH_REPLY_MAX,
		.message_descriptors = PROTO_FDS_MAX,
		.connections = b->connections,
		.connections_per_uid = b->connections_per_uid,
		.output_bytes = b->output_bytes,
		.client_timeout_ms = b->client_timeout_ms,
		.waits_per_connection = b->waits_per_connection,
		.requests_per_connection = b->requests_per_connection,
		.waiting_bytes = CONN_WAITING_BYTES_MAX,
		.waiting_descriptors = CONN_WAITING_FDS_MAX,
		.subscriptions_per_connection = b->subscriptions_per_connection,
		.data_bytes = PROTO_BYTES_MAX,
		.name_characters = PROTO_NAME_MAX,
		.vms = h->engine_info.max_vms,
		.vcpus_per_vm = h->engine_info.max_vcpus_per_vm,
		.slots_per_vm = HVD_SLOTS_MAX,
		.memory_bytes = h->engine_info.max_memory_bytes,
		.image_bytes = ENGINE_MAX_IMAGE,
		.modules = ENGINE_MAX_MODULES,
		.command_line_bytes = ENGINE_CMDLINE_LEN - 1,
		.tlb_entries = PROTO_TLB_ENTRIES_MAX,
		.mappings = PROTO_MAPPINGS_MAX,
		.operations = PROTO_OPERATIONS_MAX,
		.packed_operations = PROTO_PACKED_MAX,
		.dirty_bytes = PROTO_DIRTY_BYTES_MAX,
		.registers = PROTO_REGISTERS_MAX,
		.stats = PROTO_STATS_MAX,
		.events = HVD_EVENTS_KEPT,
		.trace_records = HVD_TRACE_RECORDS,
		.input_bytes = PROTO_INPUT_MAX,
	};
	struct proto_daemon_info info = {
		.version = HVD_VERSION,
		.pid = (uint32_t)getpid(),
		.uptime_ms = hvd_now_ms() - h->started_ms,
		.socket = h->config.socket,
		.unsafe_hooks = h->config.engine_config.unsafe_hooks != 0,
		.vms = (uint32_t)registry_count(h->registry),
		.defined_vms = h->defined,
		.damaged_definitions = h->damaged,
		.limits = limits,
	};

	if (h->store)
		PROTO_SET(&info, state_dir, h->config.state_dir);
	if (describe_engine(c, &h->engine_info, true, &info.engine) && describe_engines(c, &info))
		call_reply(c, &info);
	else
		no_memory(c);
}

/*
 * One that has become available since the start, and would have been preferred: a running
 * daemon does not change its engine.
 */
static void advise_restart(const struct hvd *h, struct engine_info *info, size_t i)
{
	const bool automatic = !h->config.engine || !strcmp(h->config.engine, ENGINES_AUTO);

	if (info->available && i < h->engines.taken && !*info->advice)
		snprintf(info->advice, sizeof(info->advice), "%s",
			 automatic ? "restart hvd: it chooses its engine when it starts"
				   : "start hvd with --engine auto");
}

void method_engine_list(struct call *c)
{
	struct proto_engine_list list = {0};

	list.engines = proto_alloc(&c->arena, engine_count(), sizeof(*list.engines));
	if (!list.engines) {
		no_memory(c);
		return;
	}
	for (size_t i = 0; i < engine_count(); i++) {
		struct engine_info info;
		bool taken;

		if (engine_probe(i, &info))
			continue;
		taken = !strcmp(info.name, c->hvd->engine_info.name);
		advise_restart(c->hvd, &info, i);
		if (!describe_engine(c, taken ? &c->hvd->engine_info : &info, taken,
				     &list.engines[list.engines_count++])) {
			no_memory(c);
			return;
		}
	}
	call_reply(c, &list);
}

/* Takes obj; gives one that prints as it does, without going through it again. NULL: no memory. */
static struct json_object *printed(struct json_object *obj)
{
	struct json_object *ret = json_object_new_object();
	size_t len;
	const char *text = obj ? proto_json_text(obj, &len) : NULL;
	char *copy = text ? strdup(text) : NULL;

	json_object_put(obj);
	if (!ret || !copy) {
		json_object_put(ret);
		free(copy);
		return NULL;
	}
	json_object_set_serializer(ret, json_object_userdata_to_json_string, copy,
				   json_object_free_userdata);
	return ret;
}

void method_rpc_discover(struct call *c)
{
	/* Large, and always the same: made once. */
	static struct json_object *methods, *components;
	struct proto_openrpc doc = {.openrpc = "1.2.6",
				    .info = {.title = "hvd", .version = HVD_VERSION}};

	if (!methods)
		methods = printed(proto_openrpc_methods());
	if (!components)
		components = printed(proto_openrpc_components());
	if (!methods || !components) {
		no_memory(c);
		return;
	}
	doc.methods = methods;
	doc.components = components;
	call_reply(c, &doc);
}
