/* SPDX-License-Identifier: MIT */
/* The engines there are, in order of preference, and the way to one that is open. */
#include "core/exit.h"
#include "engine/kind.h"

#include <stdlib.h>

static const struct engine_kind *const kinds[] = {&engine_vmx, &engine_soft};

size_t engine_count(void)
{
	return VMX_ARRAY_SIZE(kinds);
}

static void copy_name(char to[ENGINE_NAME_LEN], const char *name)
{
	size_t n = strlen(name);

	n = n < ENGINE_NAME_LEN ? n : ENGINE_NAME_LEN - 1;
	memcpy(to, name, n);
	to[n] = '\0';
}

int engine_probe(size_t i, struct engine_info *ret)
{
	if (i >= VMX_ARRAY_SIZE(kinds))
		return -EINVAL;
	*ret = (struct engine_info){0};
	copy_name(ret->name, kinds[i]->name);
	kinds[i]->probe(ret);
	return 0;
}

int engine_open(const char *name, const struct engine_config *cfg, struct engine **ret)
{
	size_t i;

	for (i = 0; i < VMX_ARRAY_SIZE(kinds); i++)
		if (strcmp(kinds[i]->name, name) == 0)
			return kinds[i]->open(cfg, ret);
	return -ENOENT;
}

void engine_get_info(struct engine *e, struct engine_info *ret)
{
	*ret = (struct engine_info){0};
	e->ops->get_info(e, ret);
}

void engine_close(struct engine *e)
{
	if (e)
		e->ops->close(e);
}

int engine_submit(struct engine *e, const struct engine_request *req, const void *payload,
		  size_t payload_bytes, const int *fds, size_t fd_count)
{
	int err = engine_request_check(req, payload, payload_bytes, fds, fd_count);

	return err ? err : e->ops->submit(e, req, payload, payload_bytes, fds, fd_count);
}

void engine_cancel(struct engine *e, uint64_t token)
{
	e->ops->cancel(e, token);
}

int engine_event_fd(struct engine *e)
{
	return e->ops->event_fd(e);
}

int engine_next_event(struct engine *e, struct engine_event *ret)
{
	return e->ops->next_event(e, ret);
}

void engine_event_release(struct engine_event *ev)
{
	free(ev->payload);
	ev->payload = NULL;
	ev->payload_bytes = 0;
}

const char *engine_exit_name(uint32_t basic_reason)
{
	return core_exit_name(basic_reason);
}
