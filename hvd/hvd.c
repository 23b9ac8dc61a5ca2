// SPDX-License-Identifier: MIT
/* Starting and stopping, in order. */
#include "hvd/hvd.h"
#include "hvd/events.h"
#include "hvd/load.h"
#include "hvd/log.h"
#include "hvd/registry.h"
#include "hvd/requests.h"
#include "hvd/server.h"
#include "hvd/store.h"
#include <string.h>
#include <time.h>

const struct hvd_bounds hvd_default_bounds = {
	.connections = 64,
	.connections_per_uid = 32,
	.waits_per_connection = 64,
	.requests_per_connection = 128,
	.subscriptions_per_connection = 32,
	.output_bytes = 1u << 20,
	.client_timeout_ms = 30000,
};

uint64_t hvd_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

uint64_t hvd_time_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

uint64_t hvd_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static int open_engine(struct hvd *h)
{
	int r = engines_open(&h->engines, h->config.engine, &h->config.engine_config, &h->engine);

	if (!r)
		h->engine_info = h->engines.engine[h->engines.taken];
	return r;
}

void hvd_set_access(struct hvd *h)
{
	h->rules.by_groups = h->config.access == ACCESS_BY_ROLES;
	for (size_t i = 0; i < ACCESS_ROLES; i++)
		h->rules.groups[i].name = h->config.groups[i];
	access_find_groups(&h->rules);
}

int hvd_start(struct hvd *h, const struct hvd_config *config)
{
	int r;

	*h = (struct hvd){.config = *config, .started_ms = hvd_now_ms()};
	h->base = event_base_new();
	h->registry = registry_new();
	hvd_set_access(h);
	if (!h->base || !h->registry)
		return -ENOMEM;
	r = events_start(h);
	if (!r && config->state_dir && *config->state_dir)
		r = store_open(config->state_dir, h->base, &h->store);
	if (!r)
		r = open_engine(h);
	if (!r)
		r = requests_start(h);
	if (!r && h->store)
		r = load_definitions(h);
	if (!r)
		r = server_start(h);
	if (!r)
		log_info("%s on engine %s, %u processors: %s; %s", h->config.socket,
			 h->engine_info.name, h->engine_info.processors, h->engine_info.reason,
			 h->engines.why);
	return r;
}

void hvd_stop(struct hvd *h)
{
	h->stopping = true;
	server_quiesce(h);
	/* First the disk, then the engine: what a request has stored, it may still take back. */
	store_stop(h->store);
	requests_stop(h);
	server_stop(h);
	store_close(h->store);
	if (h->engine)
		engine_close(h->engine);
	registry_free(h->registry);
	events_stop(h);
	if (h->base)
		event_base_free(h->base);
	*h = (struct hvd){.stopping = true};
}
