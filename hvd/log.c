// SPDX-License-Identifier: MIT
#define SD_JOURNAL_SUPPRESS_LOCATION
#include "hvd/log.h"
#include <errno.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

static const struct {
	const char *name;
	int priority; /* syslog's */
} levels[] = {
	[LOG_LEVEL_ERROR] = {"error", 3},
	[LOG_LEVEL_WARNING] = {"warning", 4},
	[LOG_LEVEL_INFO] = {"info", 6},
	[LOG_LEVEL_DEBUG] = {"debug", 7},
};

static enum log_level threshold = LOG_LEVEL_INFO;
static _Thread_local const struct log_context *context;

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

void log_set_context(const struct log_context *about)
{
	context = about;
}

void log_forget_context(const struct log_context *about)
{
	if (context == about)
		context = NULL;
}

/* --- the journal -------------------------------------------------------------------- */

/* Is standard error what JOURNAL_STREAM speaks of? sd-daemon tells by device and inode. */
static bool is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;
	char *end;

	if (!stream)
		return false;
	device = strtoull(stream, &end, 10);
	if (*end != ':')
		return false;
	inode = strtoull(end + 1, &end, 10);
	return !*end && fstat(STDERR_FILENO, &st) == 0 && st.st_dev == (dev_t)device &&
	       st.st_ino == (ino_t)inode;
}

#define FIELDS_MAX 8
#define FIELD_BYTES 640

struct entry {
	struct iovec fields[FIELDS_MAX];
	char text[FIELDS_MAX][FIELD_BYTES];
	int count;
};

static void add(struct entry *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void add(struct entry *e, const char *fmt, ...)
{
	char *text = e->text[e->count];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, FIELD_BYTES, fmt, ap);
	va_end(ap);
	e->fields[e->count++] = (struct iovec){.iov_base = text, .iov_len = strlen(text)};
}

static bool to_journal(enum log_level level, const char *line)
{
	const struct log_context *c = context;
	struct entry e;

	e.count = 0;
	add(&e, "MESSAGE=%s", line);
	add(&e, "PRIORITY=%d", levels[level].priority);
	add(&e, "SYSLOG_IDENTIFIER=hvd");
	if (c && c->vm)
		add(&e, "HVD_VM=%s", c->vm);
	if (c && c->method)
		add(&e, "HVD_METHOD=%s", c->method);
	if (c && c->request)
		add(&e, "HVD_REQUEST=%s", json_object_to_json_string(c->request));
	if (c && c->has_peer) {
		add(&e, "HVD_PEER_UID=%u", c->uid);
		add(&e, "HVD_PEER_PID=%d", c->pid);
	}
	return sd_journal_sendv(e.fields, e.count) == 0;
}

/* --- lines ---------------------------------------------------------------------------- */

/* One write a line, and no control characters: the text may quote what a client sent. */
void log_line(enum log_level level, const char *fmt, ...)
{
	static _Atomic int journal = -1; /* not known yet */
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
	if (journal < 0)
		journal = is_journal();
	if (journal && to_journal(level, line))
		return;
	if (journal)
		fprintf(stderr, "<%d>%s\n", levels[level].priority, line);
	else
		fprintf(stderr, "hvd: %s%s%s\n",
			level <= LOG_LEVEL_WARNING ? levels[level].name : "",
			level <= LOG_LEVEL_WARNING ? ": " : "", line);
}
