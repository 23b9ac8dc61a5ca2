/* SPDX-License-Identifier: MIT */
/* The daemon: what its parts share. One thread, one libevent loop that never waits. */
#ifndef HVD_HVD_H
#define HVD_HVD_H

#include "hvd/access.h"
#include "hvd/engines.h"
#include "proto/proto.h"
#include <event2/event.h>
#include <sys/types.h>
#include <vmxcore/engine.h>

#ifndef HVD_VERSION
#define HVD_VERSION "unknown"
#endif

#define HVD_SLOTS_MAX 512u		      /* of a VM, its RAM included */
#define HVD_TRACE_RECORDS (UINT32_C(1) << 20) /* kept for all who trace: some 100 MiB */

#define HVD_TURN_US 2000u /* what one client may take of the loop before the others get theirs */

/* Bounds of the server; tests make them small. */
struct hvd_bounds {
	unsigned connections;
	unsigned connections_per_uid; /* but root and the daemon's own user */
	unsigned waits_per_connection;
	unsigned requests_per_connection; /* waiting; beyond it, the client isn't read */
	unsigned subscriptions_per_connection;
	size_t output_bytes; /* beyond it, a connection's requests wait */
	unsigned client_timeout_ms;
};

struct hvd_config {
	const char *socket;
	const char *state_dir; /* of definitions; NULL or "": none, every VM is transient */
	/* May be NULL. Called often while stored definitions are read, before the socket is
	 * there: how many of them are done. */
	void (*loading)(size_t done, size_t total);
	const char *engine; /* NULL or "auto": the first that can be used */
	struct engine_config engine_config;
	struct hvd_bounds bounds;
	uint32_t access;      /* enum access_mode; ACCESS_AUTO counts as ACCESS_PRIVATE */
	uint32_t socket_mode; /* 0: 0666 with ACCESS_BY_ROLES, else 0600 */
	const char *groups[ACCESS_ROLES]; /* by role */
	int listen_fd; /* 0, or a socket that listens already; it is not removed */
};

struct server;
struct requests;
struct store;
struct registry;
struct events;

struct hvd {
	struct hvd_config config;
	struct event_base *base;
	struct engine *engine;
	struct engine_info engine_info; /* of the one that is open */
	struct engines engines;		/* as the start found them */
	struct server *server;
	struct requests *requests;
	struct registry *registry;
	struct events *events;
	uint32_t trace_records;	   /* room that trace.subscribe has given, of HVD_TRACE_RECORDS */
	struct store *store;	   /* NULL: none */
	unsigned defined, damaged; /* definitions, at the start */
	struct access_rules rules;
	struct denials denials;
	uint64_t started_ms; /* monotonic */
	bool stopping;
};

extern const struct hvd_bounds hvd_default_bounds;

/* h->rules from h->config. */
void hvd_set_access(struct hvd *h);

/*
 * Opens the engine, then the socket. 0 or a negative errno; the reason has been logged.
 * hvd_stop() takes what hvd_start() gave, also after a failure: VMs end, calls in
 * progress are answered with "cancelled", the socket goes.
 */
int hvd_start(struct hvd *h, const struct hvd_config *config);
void hvd_stop(struct hvd *h);
uint64_t hvd_now_ms(void); /* monotonic */
uint64_t hvd_now_us(void);
uint64_t hvd_time_ns(void); /* since 1970-01-01T00:00:00Z */

#endif
