// SPDX-License-Identifier: MIT
/*
 * What the store's thread does on the disk. A batch of jobs goes through stages together, so
 * that one fsync() of a folder serves all of them; within a stage they keep their order.
 */
#include "hvd/store_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE (1u << 20)

int store_disk_error(const struct store *s, struct store_job *job, const char *file)
{
	job->err = -errno;
	snprintf(job->what, sizeof(job->what), "%.120s/%s: %s", s->path, file,
		 strerrordesc_np(-job->err));
	return job->err;
}

/* --- bytes ---------------------------------------------------------------------------- */

static int write_all(int fd, const uint8_t *data, size_t size)
{
	while (size) {
		const ssize_t n = write(fd, data, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		size -= (size_t)n;
	}
	return 0;
}

/* For file systems between which the kernel does not copy. From the offset that to has. */
static int copy_by_hand(int from, int to, off_t offset)
{
	uint8_t *piece = malloc(PIECE);
	ssize_t n = 1;
	int r = 0;

	if (!piece)
		return -ENOMEM;
	while (!r && n > 0 && (uint64_t)offset <= ENGINE_MAX_IMAGE) {
		n = pread(from, piece, PIECE, offset);
		if (n > 0) {
			r = write_all(to, piece, (size_t)n);
			offset += n;
		} else if (n < 0 && errno == EINTR) {
			n = 1;
		} else if (n < 0) {
			r = -errno;
		}
	}
	free(piece);
	return r;
}

/*
 * Shares the blocks where the file system can, else lets the kernel copy, else copies. It
 * does not go on for ever if the source grows as fast.
 */
static int copy_content(int from, int to)
{
	off_t in = 0;
	ssize_t n = 1;

	if (!ioctl(to, FICLONE, from))
		return 0;
	while (n > 0 && (uint64_t)in <= ENGINE_MAX_IMAGE)
		n = copy_file_range(from, &in, to, NULL, PIECE * 64, 0);
	if (n >= 0)
		return 0;
	if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG || errno == EIO)
		return -errno;
	return copy_by_hand(from, to, in);
}

/*
 * Of several files, each is on its way before the first is waited for: then that one's commit
 * is most often the others' as well. A hint, no more.
 */
static void begin_writing(int fd)
{
	sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

/* --- copies of images ------------------------------------------------------------------- */

/* Under its own name at once: it is nothing before a definition names it. */
static int copy_one(struct store *s, struct store_job *job, size_t i)
{
	char name[DEFINITION_FILE_LEN], file[STORE_NAME_LEN];
	struct stored_file *info = &job->files[i];
	struct stat st;
	int fd, r;

	definition_file_name(name, job->uuid, job->image, i);
	snprintf(file, sizeof(file), DEFINITION_IMAGES "/%s", name);
	fd = openat(s->images, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return store_disk_error(s, job, file);
	r = copy_content(job->fds[i], fd);
	if (!r && (fstat(fd, &st) < 0 || (uint64_t)st.st_size > ENGINE_MAX_IMAGE))
		r = -EFBIG;
	if (!r)
		r = proto_digest_file(fd, &info->size_bytes, info->sha256);
	close(job->fds[i]);
	job->fds[i] = fd;
	begin_writing(fd);
	if (!r)
		return 0;
	errno = -r;
	return store_disk_error(s, job, file);
}

static void sweep(struct store *s, struct store_job *job)
{
	char name[DEFINITION_FILE_LEN];

	for (size_t i = 0; i < job->count; i++) {
		definition_file_name(name, job->uuid, job->image, i);
		if (unlinkat(s->images, name, 0) < 0 && errno != ENOENT && !job->err)
			store_disk_error(s, job, name);
	}
}

/* With the last descriptor, the room is free again: before anybody is told. */
static void drop_copies(struct store *s, struct store_job *job)
{
	for (size_t i = 0; i < job->count; i++) {
		if (job->fds[i] >= 0)
			close(job->fds[i]);
		job->fds[i] = -1;
	}
	sweep(s, job);
}

static void copy(struct store *s, struct store_job *job)
{
	int r = 0;

	for (size_t i = 0; i < job->count && !r; i++)
		r = copy_one(s, job, i);
	if (r)
		drop_copies(s, job);
}

static void sync_copies(struct store *s, struct store_job *job)
{
	char name[DEFINITION_FILE_LEN];

	for (size_t i = 0; i < job->count && !job->err; i++) {
		definition_file_name(name, job->uuid, job->image, i);
		if (fsync(job->fds[i]) < 0)
			store_disk_error(s, job, name);
	}
	if (job->err)
		drop_copies(s, job);
}

static void read_piece(struct store *s, struct store_job *job)
{
	char name[DEFINITION_FILE_LEN];
	const size_t max = job->data_bytes;
	struct stat st;
	ssize_t n = -1;
	int fd;

	job->data_bytes = 0;
	job->data = malloc(max);
	definition_file_name(name, job->uuid, job->image, job->index);
	fd = openat(s->images, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (job->data && fd >= 0 && !fstat(fd, &st)) {
		do
			n = pread(fd, job->data, max, (off_t)job->offset);
		while (n < 0 && errno == EINTR);
	}
	if (n < 0) {
		store_disk_error(s, job, name);
	} else {
		job->data_bytes = (size_t)n;
		job->total_bytes = (uint64_t)st.st_size;
	}
	if (fd >= 0)
		close(fd);
}

/* --- definitions ------------------------------------------------------------------------ */

static const char *file_name(char out[STORE_NAME_LEN], const struct store_job *job,
			     const char *before, const char *after)
{
	snprintf(out, STORE_NAME_LEN, "%s%s" STORE_SUFFIX "%s", before, job->name, after);
	return out;
}

/* Not every file system can refuse to replace; then nobody else must be at work here. */
int store_rename_new(const struct store *s, const char *from, const char *to)
{
	if (!renameat2(s->dir, from, s->dir, to, RENAME_NOREPLACE))
		return 0;
	if (errno != EINVAL && errno != ENOSYS && errno != EPERM)
		return -1;
	if (!faccessat(s->dir, to, F_OK, AT_SYMLINK_NOFOLLOW)) {
		errno = EEXIST;
		return -1;
	}
	return renameat(s->dir, from, s->dir, to);
}

static void put_temporary(struct store *s, struct store_job *job)
{
	char name[STORE_NAME_LEN];
	int fd, r;

	file_name(name, job, ".", ".new");
	fd = openat(s->dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		store_disk_error(s, job, name);
		return;
	}
	r = write_all(fd, (const uint8_t *)job->text, job->text_bytes);
	begin_writing(fd);
	job->fds[0] = fd;
	errno = -r;
	if (r)
		store_disk_error(s, job, name);
}

static void put_sync(struct store *s, struct store_job *job)
{
	char name[STORE_NAME_LEN];

	file_name(name, job, ".", ".new");
	if (!job->err && fsync(job->fds[0]) < 0)
		store_disk_error(s, job, name);
	if (job->fds[0] >= 0)
		close(job->fds[0]);
	job->fds[0] = -1;
}

static void put_name(struct store *s, struct store_job *job)
{
	char from[STORE_NAME_LEN], to[STORE_NAME_LEN];

	file_name(from, job, ".", ".new");
	file_name(to, job, "", "");
	if (job->err || store_rename_new(s, from, to) < 0) {
		if (!job->err)
			store_disk_error(s, job, to);
		unlinkat(s->dir, from, 0);
		return;
	}
	job->changed = true;
}

static void put_undo(struct store *s, struct store_job *job)
{
	char name[STORE_NAME_LEN];

	unlinkat(s->dir, file_name(name, job, "", ""), 0);
}

/* Aside first: what has not reached the disk can be taken back. */
static void remove_name(struct store *s, struct store_job *job)
{
	char from[STORE_NAME_LEN], to[STORE_NAME_LEN];

	file_name(from, job, "", "");
	file_name(to, job, ".", ".old");
	/* One that somebody has taken away is what was asked for. */
	if (renameat(s->dir, from, s->dir, to) < 0 && errno != ENOENT)
		store_disk_error(s, job, from);
	else
		job->changed = true;
}

static void remove_undo(struct store *s, struct store_job *job)
{
	char from[STORE_NAME_LEN], to[STORE_NAME_LEN];

	renameat(s->dir, file_name(from, job, ".", ".old"), s->dir, file_name(to, job, "", ""));
}

static void remove_end(struct store *s, struct store_job *job)
{
	char name[STORE_NAME_LEN];

	unlinkat(s->dir, file_name(name, job, ".", ".old"), 0);
}

/* --- a batch ------------------------------------------------------------------------------ */

typedef void stage_fn(struct store *s, struct store_job *job);

static const struct {
	stage_fn *content; /* all that is not the definition's name */
	stage_fn *sync;	   /* puts it on the disk */
	stage_fn *name;	   /* when that, and the folder of images, is on the disk */
	stage_fn *undo;	   /* the folder can't be synchronized */
	stage_fn *end;	   /* ... or it is */
} stages[STORE_OPS] = {
	[STORE_COPY] = {.content = copy, .sync = sync_copies},
	[STORE_READ] = {.content = read_piece},
	[STORE_SWEEP] = {.content = sweep},
	[STORE_PUT] = {.content = put_temporary,
		       .sync = put_sync,
		       .name = put_name,
		       .undo = put_undo},
	[STORE_REMOVE] = {.name = remove_name, .undo = remove_undo, .end = remove_end},
};

/* The files that definitions name are to be found before the definitions are. */
static void sync_images(struct store *s, struct store_job *jobs)
{
	bool needed = false;

	for (struct store_job *job = jobs; job; job = job->next)
		needed |= job->has_files && !job->err;
	if (!needed || !fsync(s->images))
		return;
	for (struct store_job *job = jobs; job; job = job->next)
		if (job->has_files && !job->err)
			store_disk_error(s, job, DEFINITION_IMAGES);
}

static void sync_names(struct store *s, struct store_job *jobs)
{
	bool needed = false;
	int err;

	for (struct store_job *job = jobs; job; job = job->next)
		needed |= job->changed;
	err = needed && fsync(s->dir) < 0 ? errno : 0;
	for (struct store_job *job = jobs; job; job = job->next) {
		stage_fn *next = err ? stages[job->op].undo : stages[job->op].end;

		if (!job->changed)
			continue;
		if (next)
			next(s, job);
		errno = err;
		if (err)
			store_disk_error(s, job, "");
	}
}

void store_disk_run(struct store *s, struct store_job *jobs)
{
	for (struct store_job *job = jobs; job; job = job->next)
		if (stages[job->op].content)
			stages[job->op].content(s, job);
	for (struct store_job *job = jobs; job; job = job->next)
		if (stages[job->op].sync)
			stages[job->op].sync(s, job);
	sync_images(s, jobs);
	for (struct store_job *job = jobs; job; job = job->next)
		if (stages[job->op].name)
			stages[job->op].name(s, job);
	sync_names(s, jobs);
}
