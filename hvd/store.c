// SPDX-License-Identifier: MIT
/* Jobs: from the loop to the thread, and back. */
#include "hvd/log.h"
#include "hvd/store_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define BATCH_MAX 64 /* jobs whose files are open at a time */

/* --- jobs ----------------------------------------------------------------------------- */

static void job_free(struct store_job *job)
{
	for (size_t i = 0; i < DEFINITION_FILES_MAX; i++)
		if (job->fds[i] >= 0)
			close(job->fds[i]);
	free(job->text);
	free(job->data);
	free(job);
}

static struct store_job *job_new(enum store_op op, store_done_fn *done, void *ctx)
{
	struct store_job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->op = op;
	job->done = done;
	job->ctx = ctx;
	for (size_t i = 0; i < DEFINITION_FILES_MAX; i++)
		job->fds[i] = -1;
	return job;
}

/* Frees the job first: done may ask for another one. */
static void finish(struct store *s, struct store_job *job)
{
	const struct store_result res = {
		.err = job->err,
		.text = job->what,
		.files = job->files,
		.fds = job->fds,
		.fd_count = job->err || job->op != STORE_COPY ? 0 : job->count,
		.data = job->data,
		.data_bytes = job->data_bytes,
		.total_bytes = job->total_bytes,
	};

	s->outstanding--;
	if (job->done)
		job->done(job->ctx, &res);
	else if (job->err)
		log_warning("%s: %s", s->path, job->what);
	job_free(job);
}

static int submit(struct store *s, struct store_job *job)
{
	if (s->outstanding >= STORE_JOBS_MAX) {
		job_free(job);
		return -EAGAIN;
	}
	s->outstanding++;
	if (s->in_place) {
		store_disk_run(s, job);
		finish(s, job);
		return 0;
	}
	pthread_mutex_lock(&s->mutex);
	*s->queue_end = job;
	s->queue_end = &job->next;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->mutex);
	return 0;
}

/* --- the thread ---------------------------------------------------------------------------- */

static void hand_back(struct store *s, struct store_job *jobs)
{
	const uint64_t one = 1;

	while (jobs) {
		struct store_job *job = jobs;

		jobs = job->next;
		job->next = NULL;
		*s->finished_end = job;
		s->finished_end = &job->next;
	}
	/* It can't fail: the counter is far from full, and nothing blocks. */
	if (write(s->event_fd, &one, sizeof(one)) < 0)
		return;
}

/* The first of the queue are cut off; the lock is held. */
static void take_batch(struct store *s)
{
	struct store_job *last = s->queue;

	for (unsigned n = 1; n < BATCH_MAX && last->next; n++)
		last = last->next;
	s->queue = last->next;
	if (!s->queue)
		s->queue_end = &s->queue;
	last->next = NULL;
}

/* What has come meanwhile is one batch, which shares its synchronizing. */
static void *run(void *arg)
{
	struct store *s = arg;
	struct store_job *batch;

	pthread_mutex_lock(&s->mutex);
	while (!s->closing) {
		batch = s->queue;
		if (!batch) {
			pthread_cond_wait(&s->wake, &s->mutex);
			continue;
		}
		take_batch(s);
		pthread_mutex_unlock(&s->mutex);
		store_disk_run(s, batch);
		pthread_mutex_lock(&s->mutex);
		hand_back(s, batch);
	}
	pthread_mutex_unlock(&s->mutex);
	return NULL;
}

static struct store_job *take_finished(struct store *s)
{
	struct store_job *jobs;

	pthread_mutex_lock(&s->mutex);
	jobs = s->finished;
	s->finished = NULL;
	s->finished_end = &s->finished;
	pthread_mutex_unlock(&s->mutex);
	return jobs;
}

static void deliver(struct store *s)
{
	for (struct store_job *job = take_finished(s), *next; job; job = next) {
		next = job->next;
		finish(s, job);
		log_set_context(NULL);
	}
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
	uint64_t count;

	(void)what;
	if (read(fd, &count, sizeof(count)) == sizeof(count))
		deliver(arg);
}

/* Signals are the loop's. */
static int start_thread(struct store *s)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&s->thread, NULL, run, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

/* --- the folder ------------------------------------------------------------------------------ */

static int complain(const char *path, const char *below, int err)
{
	log_error("the state directory %s%s%s can't be used: %s (hvd runs as uid %u)", path,
		  *below ? "/" : "", below, strerror(err), (unsigned)geteuid());
	return -err;
}

/* In the file stands who has it: for the message of the next, and for people. */
static int tell_owner(const struct store *s)
{
	char text[32];
	const ssize_t n = pread(s->lock, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	log_error("the state directory %s is in use by another daemon (%s/" STORE_LOCK
		  " is locked; process %s)",
		  s->path, s->path, *text ? text : "unknown");
	return -EBUSY;
}

static int take_lock(struct store *s)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char text[32];
	int len;

	s->lock = openat(s->dir, STORE_LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->lock < 0)
		return complain(s->path, STORE_LOCK, errno);
	if (fcntl(s->lock, F_OFD_SETLK, &lock) < 0)
		return errno == EAGAIN || errno == EACCES ? tell_owner(s)
							  : complain(s->path, STORE_LOCK, errno);
	len = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	/* That the disk is full need not stop a daemon that only reads. */
	if (ftruncate(s->lock, 0) < 0 || pwrite(s->lock, text, (size_t)len, 0) != len)
		log_warning("%s/" STORE_LOCK ": %s", s->path, strerror(errno));
	return 0;
}

static int open_folders(struct store *s)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
	int r;

	if (mkdir(s->path, 0750) < 0 && errno != EEXIST)
		return complain(s->path, "", errno);
	s->dir = open(s->path, flags);
	if (s->dir < 0)
		return complain(s->path, "", errno);
	r = take_lock(s);
	if (r)
		return r;
	if (mkdirat(s->dir, DEFINITION_IMAGES, 0750) < 0 && errno != EEXIST)
		return complain(s->path, DEFINITION_IMAGES, errno);
	s->images = openat(s->dir, DEFINITION_IMAGES, flags | O_NOFOLLOW);
	if (s->images < 0)
		return complain(s->path, DEFINITION_IMAGES, errno);
	/* The folder of images is what later definitions rely on. */
	return fsync(s->dir) < 0 ? complain(s->path, "", errno) : 0;
}

static int join_loop(struct store *s, struct event_base *base)
{
	int r;

	s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->event_fd < 0)
		return -errno;
	s->ready = event_new(base, s->event_fd, EV_READ | EV_PERSIST, on_ready, s);
	if (!s->ready || event_add(s->ready, NULL))
		return -ENOMEM;
	r = start_thread(s);
	s->in_place = r != 0;
	return r;
}

int store_open(const char *path, struct event_base *base, struct store **ret)
{
	struct store *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->dir = s->images = s->lock = s->event_fd = -1;
	s->in_place = true;
	s->queue_end = &s->queue;
	s->finished_end = &s->finished;
	pthread_mutex_init(&s->mutex, NULL);
	pthread_cond_init(&s->wake, NULL);
	s->path = strdup(path);
	r = s->path ? open_folders(s) : -ENOMEM;
	if (!r)
		r = join_loop(s, base);
	if (r) {
		store_stop(s);
		store_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

void store_stop(struct store *s)
{
	struct store_job *left;

	if (!s)
		return;
	if (!s->in_place) {
		pthread_mutex_lock(&s->mutex);
		s->closing = true;
		pthread_cond_signal(&s->wake);
		pthread_mutex_unlock(&s->mutex);
		pthread_join(s->thread, NULL);
		s->in_place = true;
	}
	left = s->queue;
	s->queue = NULL;
	s->queue_end = &s->queue;
	deliver(s);
	for (struct store_job *next; left; left = next) {
		next = left->next;
		left->next = NULL;
		left->err = -ECANCELED;
		snprintf(left->what, sizeof(left->what), "the daemon is stopping");
		if (left->op == STORE_SWEEP) {
			left->err = 0;
			store_disk_run(s, left);
		}
		finish(s, left);
	}
}

void store_close(struct store *s)
{
	if (!s)
		return;
	if (s->ready)
		event_free(s->ready);
	for (size_t i = 0; i < 4; i++) {
		const int fds[] = {s->event_fd, s->images, s->dir, s->lock};

		if (fds[i] >= 0)
			close(fds[i]);
	}
	pthread_cond_destroy(&s->wake);
	pthread_mutex_destroy(&s->mutex);
	free(s->path);
	free(s);
}

/* --- what is asked of it -------------------------------------------------------------------- */

int store_copy(struct store *s, const char *uuid, bool image, const int *fds, size_t count,
	       store_done_fn *done, void *ctx)
{
	struct store_job *job = job_new(STORE_COPY, done, ctx);

	if (!job)
		return -ENOMEM;
	snprintf(job->uuid, sizeof(job->uuid), "%s", uuid);
	job->image = image;
	for (job->count = 0; job->count < count; job->count++) {
		job->fds[job->count] = fcntl(fds[job->count], F_DUPFD_CLOEXEC, 0);
		if (job->fds[job->count] < 0) {
			const int err = errno;

			job_free(job);
			return -err;
		}
	}
	return submit(s, job);
}

int store_put(struct store *s, const char *name, char *text, size_t text_bytes, bool has_files,
	      store_done_fn *done, void *ctx)
{
	struct store_job *job = job_new(STORE_PUT, done, ctx);

	if (!job) {
		free(text);
		return -ENOMEM;
	}
	snprintf(job->name, sizeof(job->name), "%s", name);
	job->text = text;
	job->text_bytes = text_bytes;
	job->has_files = has_files;
	return submit(s, job);
}

int store_remove(struct store *s, const char *name, store_done_fn *done, void *ctx)
{
	struct store_job *job = job_new(STORE_REMOVE, done, ctx);

	if (!job)
		return -ENOMEM;
	snprintf(job->name, sizeof(job->name), "%s", name);
	return submit(s, job);
}

void store_sweep(struct store *s, const char *uuid, bool image, size_t count)
{
	struct store_job *job = count ? job_new(STORE_SWEEP, NULL, NULL) : NULL;

	if (!job)
		return;
	snprintf(job->uuid, sizeof(job->uuid), "%s", uuid);
	job->image = image;
	job->count = count;
	submit(s, job);
}

int store_read(struct store *s, const char *uuid, bool image, size_t i, uint64_t offset,
	       size_t max_bytes, store_done_fn *done, void *ctx)
{
	struct store_job *job = job_new(STORE_READ, done, ctx);

	if (!job)
		return -ENOMEM;
	snprintf(job->uuid, sizeof(job->uuid), "%s", uuid);
	job->image = image;
	job->index = i;
	job->offset = offset;
	job->data_bytes = max_bytes;
	return submit(s, job);
}

int store_error(const struct store_result *res, const char *what, struct proto_error *ret)
{
	static const struct {
		int err;
		enum proto_error_kind kind;
	} kinds[] = {
		{-ENOSPC, PROTO_ERROR_LIMIT},  {-EDQUOT, PROTO_ERROR_LIMIT},
		{-EFBIG, PROTO_ERROR_LIMIT},   {-ENOMEM, PROTO_ERROR_NO_MEMORY},
		{-EEXIST, PROTO_ERROR_EXISTS}, {-ECANCELED, PROTO_ERROR_CANCELLED},
		{-EAGAIN, PROTO_ERROR_BUSY},
	};
	enum proto_error_kind kind = PROTO_ERROR_FILE_ERROR;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (kinds[i].err == res->err)
			kind = kinds[i].kind;
	return proto_fail(ret, kind, "", "%s: %s", what,
			  *res->text ? res->text : strerror(-res->err));
}
