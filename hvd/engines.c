// SPDX-License-Identifier: MIT
#include "hvd/engines.h"
#include "hvd/log.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool is_auto(const char *name)
{
	return !name || !strcmp(name, ENGINES_AUTO);
}

static bool is_wanted(const struct engine_info *info, const char *name)
{
	return is_auto(name) || !strcmp(info->name, name);
}

static void probe_all(struct engines *e)
{
	*e = (struct engines){0};
	while (e->count < ENGINES_MAX && e->count < engine_count() &&
	       !engine_probe(e->count, &e->engine[e->count]))
		e->count++;
	e->taken = e->count;
}

/* --- one of them ------------------------------------------------------------------------- */

/* The options that an engine may refuse, as far as they are not at their defaults. */
static void list_options(const struct engine_config *cfg, char *to, size_t size)
{
	const struct {
		const char *name;
		bool given;
	} options[] = {
		{"processors", cfg->processors != 0},
		{"memory", cfg->memory_bytes != 0},
		{"vpid-limit", cfg->vpid_limit != 0 && cfg->vpid_limit != 65535},
		{"quantum", cfg->quantum != 0},
		{"tlb", *cfg->tlb && strcmp(cfg->tlb, "skylake") != 0},
		{"unsafe-hooks", cfg->unsafe_hooks != 0},
	};
	size_t n = 0;

	*to = '\0';
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (options[i].given && n < size)
			n += (size_t)snprintf(to + n, size - n, "%s%s", n ? ", " : "",
					      options[i].name);
}

static void note_refused_options(struct engine_info *info, const struct engine_config *cfg)
{
	char names[80];

	list_options(cfg, names, sizeof(names));
	snprintf(info->reason, sizeof(info->reason), "it does not take an option as it is%s%s",
		 *names ? ": one of " : "", names);
	snprintf(info->advice, sizeof(info->advice), "see the section [engine] of hvd.conf(5)");
}

/* What the engine says now is better than the number that open() returned. */
static void note_failure(struct engine_info *info, size_t i, const struct engine_config *cfg,
			 int err)
{
	struct engine_info now;

	if (err != -EINVAL && !engine_probe(i, &now) && !now.available) {
		*info = now;
		return;
	}
	info->available = 0;
	*info->advice = '\0';
	if (err == -EINVAL)
		note_refused_options(info, cfg);
	else
		snprintf(info->reason, sizeof(info->reason), "it can't be opened: %s",
			 strerror(-err));
}

/* A client that was told it may leave out an invalidation must not find that it can't. */
static bool lacks_hooks(struct engine_info *info, const struct engine_config *cfg)
{
	if (!cfg->unsafe_hooks || info->capabilities & ENGINE_CAP_UNSAFE_HOOKS)
		return false;
	info->available = 0;
	snprintf(info->reason, sizeof(info->reason),
		 "it can't leave out an invalidation, which unsafe-hooks asks for");
	snprintf(info->advice, sizeof(info->advice),
		 "start hvd without unsafe-hooks, or with --engine soft");
	return true;
}

static int try_open(struct engines *e, size_t i, const struct engine_config *cfg,
		    struct engine **ret)
{
	struct engine_info *info = &e->engine[i];
	struct engine *engine;
	int r;

	if (!info->available)
		return -ENODEV;
	r = engine_open(info->name, cfg, &engine);
	if (r) {
		note_failure(info, i, cfg, r);
		return r;
	}
	engine_get_info(engine, info);
	if (lacks_hooks(info, cfg)) {
		engine_close(engine);
		return -ENODEV;
	}
	*ret = engine;
	return 0;
}

/* --- the choice -------------------------------------------------------------------------- */

static void log_refused(const struct engine_info *info, enum log_level level)
{
	log_line(level, "engine %s is not available: %s%s%s", info->name, info->reason,
		 *info->advice ? "; " : "", info->advice);
}

/* Of several that were passed over, the most preferred is what people ask about. */
static void explain(struct engines *e, bool automatic)
{
	if (!automatic)
		snprintf(e->why, sizeof(e->why), "it was asked for");
	else if (!e->taken)
		snprintf(e->why, sizeof(e->why), "auto: the most preferred one is available");
	else
		snprintf(e->why, sizeof(e->why), "auto: %s is not available: %s", e->engine[0].name,
			 e->engine[0].reason);
}

static int none_of_that_name(const struct engines *e, const char *name)
{
	log_error("there is no engine %s", name);
	for (size_t i = 0; i < e->count; i++)
		log_info("engine %s is %savailable: %s", e->engine[i].name,
			 e->engine[i].available ? "" : "not ", e->engine[i].reason);
	return -ENOENT;
}

/*
 * The reasons of all that were passed over: errors if no other runs, a warning of one that
 * was there and did not open.
 */
static void log_all_refused(const struct engines *e, const char *name, uint32_t opened)
{
	const bool fatal = e->taken == e->count;

	for (size_t i = 0; i < e->taken; i++)
		if (is_wanted(&e->engine[i], name))
			log_refused(&e->engine[i], fatal	     ? LOG_LEVEL_ERROR
						   : opened >> i & 1 ? LOG_LEVEL_WARNING
								     : LOG_LEVEL_INFO);
	if (fatal && is_auto(name))
		log_error("no engine is available");
}

int engines_open(struct engines *e, const char *name, const struct engine_config *cfg,
		 struct engine **ret)
{
	uint32_t opened = 0; /* bit n: it was tried */
	int r = -ENOENT;

	probe_all(e);
	for (size_t i = 0; i < e->count && r; i++) {
		if (!is_wanted(&e->engine[i], name))
			continue;
		opened |= (uint32_t)(e->engine[i].available != 0) << i;
		r = try_open(e, i, cfg, ret);
		if (!r)
			e->taken = i;
	}
	log_all_refused(e, name, opened);
	if (!r)
		explain(e, is_auto(name));
	else if (is_auto(name))
		r = -ENODEV;
	else if (r == -ENOENT)
		r = none_of_that_name(e, name);
	return r;
}
