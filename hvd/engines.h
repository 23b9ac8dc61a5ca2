/* SPDX-License-Identifier: MIT */
/* Which engine a daemon runs its VMs on, and why no other. */
#ifndef HVD_ENGINES_H
#define HVD_ENGINES_H

#include <stddef.h>
#include <vmxcore/engine.h>

#define ENGINES_AUTO "auto" /* the first that can be used */
#define ENGINES_MAX 16u	    /* of the table; as many as engine.list has room for */
#define ENGINES_WHY_LEN (ENGINE_TEXT_LEN + 64)

/* How the engines were found at the start, in order of preference. */
struct engines {
	struct engine_info
		engine[ENGINES_MAX]; /* one that was tried and did not open: not available */
	size_t count;
	size_t taken;		   /* == count: none */
	char why[ENGINES_WHY_LEN]; /* that one: "auto: vmx is not available: ..." */
};

/*
 * Opens the engine of this name; with NULL or ENGINES_AUTO the first one that can be used
 * with this configuration. 0 and *ret, of which e->engine[e->taken] has what it says of
 * itself. *e is filled in any case; reasons and advice have been logged.
 * -ENOENT no engine of that name, -ENODEV it, or every one, is not available; else why it
 * does not open.
 */
int engines_open(struct engines *e, const char *name, const struct engine_config *cfg,
		 struct engine **ret);

#endif
