/* SPDX-License-Identifier: MIT */
/* Lines to standard error: with a level that journald reads when it is at the other end. */
#ifndef HVD_LOG_H
#define HVD_LOG_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Lines above the level are left out; the default is LOG_LEVEL_INFO. */
void log_set_level(enum log_level level);
/* 0, or -EINVAL: "error", "warning", "info", "debug". */
int log_level_by_name(const char *name, enum log_level *ret);
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
