/* SPDX-License-Identifier: MIT */
/*
 * Lines to standard error; where that is the journal, entries of it, with fields that say
 * whom and what a line is about: HVD_VM, HVD_METHOD, HVD_REQUEST, HVD_PEER_UID, HVD_PEER_PID.
 *
 * Threads: the loop's, but for levels error and warning, which any may log.
 */
#ifndef HVD_LOG_H
#define HVD_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Lines above the level are left out; the default is LOG_LEVEL_INFO. */
void log_set_level(enum log_level level);
/* 0, or -EINVAL: "error", "warning", "info", "debug". */
int log_level_by_name(const char *name, enum log_level *ret);

struct json_object;

/* What is being looked after. NULL: not known. */
struct log_context {
	const char *vm, *method;
	struct json_object *request; /* its id */
	bool has_peer;
	unsigned uid;
	int pid;
};

/* The lines of this thread are about it until the next call of this; NULL: nothing. */
void log_set_context(const struct log_context *about);
/* It goes away: lines are about nothing, if they were about this. */
void log_forget_context(const struct log_context *about);

void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
