/* SPDX-License-Identifier: MIT */
/* Puts the engines that are for tests only behind the table of engines. */
#include "contract/blind.h"
#include "contract/strict.h"

#include "engine/vmm.h"

#include <stdio.h>

static const struct {
	const char *name;
	struct backend (*backend)(void);
	uint32_t lacks; /* of the soft engine's capabilities */
} more[] = {
	{STRICT_NAME, strict_backend, 0},
	{BLIND_NAME, blind_backend, BLIND_LACKS},
};

int __real_engine_open(const char *name, const struct engine_config *cfg, struct engine **ret);
int __wrap_engine_open(const char *name, const struct engine_config *cfg, struct engine **ret);
size_t __real_engine_count(void);
size_t __wrap_engine_count(void);
int __real_engine_probe(size_t i, struct engine_info *ret);
int __wrap_engine_probe(size_t i, struct engine_info *ret);

int __wrap_engine_open(const char *name, const struct engine_config *cfg, struct engine **ret)
{
	static struct backend backends[VMX_ARRAY_SIZE(more)];
	size_t i;

	for (i = 0; i < VMX_ARRAY_SIZE(more); i++) {
		if (strcmp(name, more[i].name) != 0)
			continue;
		backends[i] = more[i].backend();
		return vmm_open(&backends[i], cfg, ret);
	}
	return __real_engine_open(name, cfg, ret);
}

/* The last of the table. */
size_t __wrap_engine_count(void)
{
	return __real_engine_count() + VMX_ARRAY_SIZE(more);
}

int __wrap_engine_probe(size_t i, struct engine_info *ret)
{
	size_t first = __real_engine_count();

	if (i < first)
		return __real_engine_probe(i, ret);
	if (i - first >= VMX_ARRAY_SIZE(more))
		return -EINVAL;
	*ret = (struct engine_info){0};
	engine_soft.probe(ret);
	snprintf(ret->name, sizeof(ret->name), "%s", more[i - first].name);
	ret->capabilities &= ~more[i - first].lacks;
	return 0;
}
