// SPDX-License-Identifier: MIT
#include "disk_rig.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* As the linker calls them (--wrap). */
int __real_openat(int dir, const char *path, int flags, ...);
ssize_t __real_write(int fd, const void *data, size_t size);
ssize_t __real_pread(int fd, void *data, size_t size, off_t offset);
int __real_fsync(int fd);
int __real_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __real_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags);
int __real_unlinkat(int dir, const char *path, int flags);
ssize_t __real_copy_file_range(int from, off_t *in, int to, off_t *out, size_t size,
			       unsigned flags);
int __wrap_openat(int dir, const char *path, int flags, ...);
ssize_t __wrap_write(int fd, const void *data, size_t size);
ssize_t __wrap_pread(int fd, void *data, size_t size, off_t offset);
int __wrap_fsync(int fd);
int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __wrap_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags);
int __wrap_unlinkat(int dir, const char *path, int flags);
ssize_t __wrap_copy_file_range(int from, off_t *in, int to, off_t *out, size_t size,
			       unsigned flags);

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char watched[128], trace[8192], copy[8192];
static size_t countdown;
static int failure;
static bool failed, stutters, no_copy;
static unsigned interruptions;

/* "images/x" of a descriptor below the folder, "." of the folder; NULL: it is elsewhere. */
static const char *place(int fd, char buf[512])
{
	const size_t len = strlen(watched);
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, buf, 511);
	if (n < 0 || !len)
		return NULL;
	buf[n] = '\0';
	if (strncmp(buf, watched, len) != 0)
		return NULL;
	return buf[len] == '/' ? buf + len + 1 : ".";
}

static void add(const char *text)
{
	const size_t used = strlen(trace);

	snprintf(trace + used, sizeof(trace) - used, "%s\n", text);
}

/* Counts a call about fd, and writes text down; true: it shall fail, errno is set. */
static bool intercept(int fd, const char *text)
{
	char buf[512];
	bool fails;

	if (!place(fd, buf))
		return false;
	pthread_mutex_lock(&mutex);
	fails = countdown && !--countdown;
	failed |= fails;
	if (text && !fails)
		add(text);
	pthread_mutex_unlock(&mutex);
	if (fails)
		errno = failure;
	return fails;
}

static bool interrupted(void)
{
	if (!stutters || ++interruptions % 3)
		return false;
	errno = EINTR;
	return true;
}

int __wrap_openat(int dir, const char *path, int flags, ...)
{
	mode_t mode;
	va_list ap;

	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	return intercept(dir, NULL) ? -1 : __real_openat(dir, path, flags, mode);
}

ssize_t __wrap_write(int fd, const void *data, size_t size)
{
	char buf[512];

	if (!place(fd, buf))
		return __real_write(fd, data, size);
	if (intercept(fd, NULL) || interrupted())
		return -1;
	return __real_write(fd, data, stutters && size ? 1 : size);
}

ssize_t __wrap_pread(int fd, void *data, size_t size, off_t offset)
{
	if (intercept(fd, NULL) || interrupted())
		return -1;
	return __real_pread(fd, data, stutters && size > 7 ? 7 : size, offset);
}

int __wrap_fsync(int fd)
{
	char buf[512], text[600];
	const char *where = place(fd, buf);

	snprintf(text, sizeof(text), "fsync %s", where ? where : "elsewhere");
	return intercept(fd, text) ? -1 : __real_fsync(fd);
}

static bool intercept_rename(int dir, const char *from, const char *to)
{
	char text[600];

	snprintf(text, sizeof(text), "rename %s %s", from, to);
	return intercept(dir, text);
}

int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	return intercept_rename(from_dir, from, to) ? -1
						    : __real_renameat(from_dir, from, to_dir, to);
}

int __wrap_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
	return intercept_rename(from_dir, from, to)
		       ? -1
		       : __real_renameat2(from_dir, from, to_dir, to, flags);
}

int __wrap_unlinkat(int dir, const char *path, int flags)
{
	char text[600];

	snprintf(text, sizeof(text), "unlink %s", path);
	return intercept(dir, text) ? -1 : __real_unlinkat(dir, path, flags);
}

ssize_t __wrap_copy_file_range(int from, off_t *in, int to, off_t *out, size_t size, unsigned flags)
{
	if (intercept(to, NULL))
		return -1;
	if (no_copy) {
		errno = EXDEV;
		return -1;
	}
	return __real_copy_file_range(from, in, to, out, size, flags);
}

/* --- what tests say ------------------------------------------------------------------------- */

void disk_watch(const char *folder)
{
	snprintf(watched, sizeof(watched), "%s", folder);
	disk_stutter(0);
	disk_no_copy(0);
	disk_clear();
}

const char *disk_trace(void)
{
	pthread_mutex_lock(&mutex);
	memcpy(copy, trace, sizeof(copy));
	pthread_mutex_unlock(&mutex);
	return copy;
}

void disk_note(const char *text)
{
	pthread_mutex_lock(&mutex);
	add(text);
	pthread_mutex_unlock(&mutex);
}

void disk_clear(void)
{
	disk_fail(0, 0);
	pthread_mutex_lock(&mutex);
	trace[0] = '\0';
	pthread_mutex_unlock(&mutex);
}

void disk_fail(size_t n, int err)
{
	pthread_mutex_lock(&mutex);
	countdown = n;
	failure = err;
	failed = false;
	pthread_mutex_unlock(&mutex);
}

int disk_failed(void)
{
	bool r;

	pthread_mutex_lock(&mutex);
	r = failed;
	pthread_mutex_unlock(&mutex);
	return r;
}

void disk_stutter(int on)
{
	stutters = on;
}

void disk_no_copy(int on)
{
	no_copy = on;
}
