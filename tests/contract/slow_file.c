/* SPDX-License-Identifier: MIT */
#include "contract/slow_file.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

ssize_t __real_pread(int fd, void *buf, size_t size, off_t offset);
ssize_t __wrap_pread(int fd, void *buf, size_t size, off_t offset);
int __real_fstat(int fd, struct stat *st);
int __wrap_fstat(int fd, struct stat *st);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool held;
static ino_t held_ino;
static off_t held_offset;
static unsigned inside;

static void pass(int fd, off_t offset)
{
	struct stat st;

	if (__real_fstat(fd, &st) != 0)
		return;
	pthread_mutex_lock(&lock);
	inside++;
	while (held && st.st_ino == held_ino && offset >= held_offset) {
		pthread_cond_broadcast(&changed);
		pthread_cond_wait(&changed, &lock);
	}
	inside--;
	pthread_mutex_unlock(&lock);
}

ssize_t __wrap_pread(int fd, void *buf, size_t size, off_t offset)
{
	pass(fd, offset);
	return __real_pread(fd, buf, size, offset);
}

int __wrap_fstat(int fd, struct stat *st)
{
	pass(fd, 0);
	return __real_fstat(fd, st);
}

void slow_file_hold(int fd, long offset)
{
	struct stat st;

	if (__real_fstat(fd, &st) != 0)
		return;
	pthread_mutex_lock(&lock);
	held = true;
	held_ino = st.st_ino;
	held_offset = offset;
	pthread_mutex_unlock(&lock);
}

void slow_file_release(void)
{
	pthread_mutex_lock(&lock);
	held = false;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

void slow_file_wait(void)
{
	pthread_mutex_lock(&lock);
	while (inside == 0)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}
