// SPDX-License-Identifier: MIT
#include "hvd/log.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	const char *journal; /* syslog's number, sd-daemon(3) */
} levels[] = {
	[LOG_LEVEL_ERROR] = {"error", "<3>"},
	[LOG_LEVEL_WARNING] = {"warning", "<4>"},
	[LOG_LEVEL_INFO] = {"info", "<6>"},
	[LOG_LEVEL_DEBUG] = {"debug", "<7>"},
};

static enum log_level threshold = LOG_LEVEL_INFO;

void log_set_level(enum log_level level)
{
	threshold = level;
}

int log_level_by_name(const char *name, enum log_level *ret)
{
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (!strcmp(levels[i].name, name)) {
			*ret = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* One write a line, and no control characters: the text may quote what a client sent. */
void log_line(enum log_level level, const char *fmt, ...)
{
	char line[512];
	va_list ap;

	if (level > threshold)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	for (char *p = line; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	if (getenv("JOURNAL_STREAM"))
		fprintf(stderr, "%s%s\n", levels[level].journal, line);
	else
		fprintf(stderr, "hvd: %s%s%s\n",
			level <= LOG_LEVEL_WARNING ? levels[level].name : "",
			level <= LOG_LEVEL_WARNING ? ": " : "", line);
}
