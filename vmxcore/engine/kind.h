/* SPDX-License-Identifier: MIT */
/* Behind engine.h: what an engine provides to the table. */
#ifndef VMXCORE_ENGINE_KIND_H
#define VMXCORE_ENGINE_KIND_H

#include <vmxcore/engine.h>

#define ENGINE_QUEUE_MAX 4096u
#define ENGINE_MAX_FDS (1u + ENGINE_MAX_MODULES)

struct engine_ops {
	void (*get_info)(struct engine *e, struct engine_info *ret);
	void (*close)(struct engine *e);
	/* The shape has been checked (engine_request_check). */
	int (*submit)(struct engine *e, const struct engine_request *req, const void *payload,
		      size_t payload_bytes, const int *fds, size_t fd_count);
	int (*event_fd)(struct engine *e);
	int (*next_event)(struct engine *e, struct engine_event *ret);
	void (*cancel)(struct engine *e, uint64_t token);
};

/* An engine's own structure begins with this one. */
struct engine {
	const struct engine_ops *ops;
};

struct engine_kind {
	const char *name;
	/* *ret is zero but for its name. */
	void (*probe)(struct engine_info *ret);
	int (*open)(const struct engine_config *cfg, struct engine **ret);
};

extern const struct engine_kind engine_vmx;
extern const struct engine_kind engine_soft;

/* 0, or -EINVAL: op, payload size or number of descriptors are not as the op has them. */
int engine_request_check(const struct engine_request *req, const void *payload,
			 size_t payload_bytes, const int *fds, size_t fd_count);

#endif
