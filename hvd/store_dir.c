// SPDX-License-Identifier: MIT
/* The state directory as the daemon finds it at its start. */
#include "hvd/log.h"
#include "hvd/store_internal.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ASIDE_MAX 1000 /* files of one name that are set aside */

static int fail_errno(struct proto_error *err, const char *field, int code)
{
	proto_fail(err, code == -ENOMEM ? PROTO_ERROR_NO_MEMORY : PROTO_ERROR_FILE_ERROR, field,
		   "%s", strerror(-code));
	return code;
}

/* --- listing -------------------------------------------------------------------------- */

/* Calls fn for each name in the folder until one is not 0. */
static int each_name(int dir, int (*fn)(void *ctx, const char *name), void *ctx)
{
	const int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;
	int r = d ? 0 : -errno;

	if (!d) {
		if (copy >= 0)
			close(copy);
		return r;
	}
	while (!r) {
		errno = 0;
		entry = readdir(d);
		if (!entry) {
			r = -errno;
			break;
		}
		r = fn(ctx, entry->d_name);
	}
	closedir(d);
	return r;
}

struct listing {
	struct store *s;
	struct store_names *ret;
};

static bool ends_with(const char *s, const char *end)
{
	const size_t len = strlen(s), n = strlen(end);

	return len > n && !strcmp(s + len - n, end);
}

static int add_name(struct store_names *l, const char *name)
{
	if (l->count == l->size) {
		const size_t size = l->size ? l->size * 2 : 64;
		void *names = reallocarray(l->names, size, sizeof(*l->names));

		if (!names)
			return -ENOMEM;
		l->names = names;
		l->size = size;
	}
	snprintf(l->names[l->count++], sizeof(*l->names), "%s", name);
	return 0;
}

static int on_name(void *ctx, const char *name)
{
	struct listing *l = ctx;

	if (*name != '.' && ends_with(name, STORE_SUFFIX))
		return add_name(l->ret, name);
	l->ret->aside |= strstr(name, STORE_SUFFIX STORE_DAMAGED) != NULL;
	if (*name == '.' &&
	    (ends_with(name, STORE_SUFFIX ".new") || ends_with(name, STORE_SUFFIX ".old"))) {
		log_info("%s/%s: was not finished; removed", l->s->path, name);
		unlinkat(l->s->dir, name, 0);
	}
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

int store_list(struct store *s, struct store_names *ret)
{
	struct store_names names = {.names = NULL};
	struct listing l = {s, &names};
	const int r = each_name(s->dir, on_name, &l);

	if (r) {
		log_error("the state directory %s can't be read: %s", s->path, strerror(-r));
		free(names.names);
		return r;
	}
	if (names.count)
		qsort(names.names, names.count, sizeof(*names.names), by_name);
	*ret = names;
	return 0;
}

/* --- reading -------------------------------------------------------------------------- */

static int open_regular(int dir, const char *name, struct stat *st)
{
	const int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	int r = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, st) < 0)
		r = -errno;
	else if (!S_ISREG(st->st_mode))
		r = -EINVAL; /* a folder, a device: not what it should be */
	if (r)
		close(fd);
	return r ? r : fd;
}

static int read_text(int fd, size_t size, char **ret, struct proto_error *err)
{
	char *text = malloc(size + 1);
	ssize_t n;

	if (!text)
		return fail_errno(err, "", -ENOMEM);
	n = pread(fd, text, size, 0);
	if (n < 0 || (size_t)n != size) {
		free(text);
		return fail_errno(err, "", n < 0 ? -errno : -EIO);
	}
	text[size] = '\0';
	*ret = text;
	return 0;
}

int store_read_text(struct store *s, const char *name, char **ret, size_t *ret_len,
		    struct proto_error *err)
{
	struct stat st;
	const int fd = open_regular(s->dir, name, &st);
	int r;

	if (fd < 0)
		return fail_errno(err, "", fd);
	if (st.st_size > DEFINITION_BYTES_MAX)
		r = proto_fail(err, PROTO_ERROR_TOO_LARGE, "", "it has more than %u bytes",
			       DEFINITION_BYTES_MAX);
	else
		r = read_text(fd, (size_t)st.st_size, ret, err);
	close(fd);
	if (!r)
		*ret_len = (size_t)st.st_size;
	return r;
}

static int check_content(int fd, const struct stat *st, const struct proto_definition_file *f,
			 struct proto_error *err)
{
	char sha256[PROTO_SHA256_LEN];
	uint64_t size = (uint64_t)st->st_size;
	int r = size == f->size_bytes ? proto_digest_file(fd, &size, sha256) : 0;

	if (r)
		return fail_errno(err, f->path, r);
	if (size != f->size_bytes)
		return proto_fail(err, PROTO_ERROR_FILE_ERROR, f->path,
				  "it has %llu bytes, not %llu", (unsigned long long)size,
				  (unsigned long long)f->size_bytes);
	if (strcmp(sha256, f->sha256) != 0)
		return proto_fail(err, PROTO_ERROR_FILE_ERROR, f->path,
				  "its content is not what was stored: the SHA-256 differs");
	return 0;
}

int store_open_file(struct store *s, const struct definition *def, size_t i, int *ret_fd,
		    struct proto_error *err)
{
	const struct proto_definition_file *f = definition_file(def, i);
	struct stat st;
	const int fd = open_regular(s->dir, f->path, &st);
	int r;

	if (fd < 0)
		return fail_errno(err, f->path, fd);
	r = check_content(fd, &st, f, err);
	if (r) {
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

/* --- putting in order ----------------------------------------------------------------- */

int store_set_aside(struct store *s, const char *name, char ret[STORE_ASIDE_LEN])
{
	char to[STORE_ASIDE_LEN];

	for (unsigned i = 0; i < ASIDE_MAX; i++) {
		char number[8] = "";

		if (i)
			snprintf(number, sizeof(number), ".%u", i);
		snprintf(to, sizeof(to), "%s" STORE_DAMAGED "%s", name, number);
		if (!store_rename_new(s, name, to)) {
			memcpy(ret, to, sizeof(to));
			return fsync(s->dir) < 0 ? -errno : 0;
		}
		if (errno != EEXIST)
			return -errno;
	}
	return -EEXIST;
}

struct tidying {
	struct store *s;
	const char **uuids;
	size_t count;
	bool keep;
};

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* UUIDs have 36 characters; a file of theirs begins with one. */
static int on_image(void *ctx, const char *name)
{
	const struct tidying *t = ctx;
	char begin[37];
	const char *key = begin;

	snprintf(begin, sizeof(begin), "%.36s", name);
	if (!strcmp(name, ".") || !strcmp(name, "..") ||
	    bsearch(&key, t->uuids, t->count, sizeof(*t->uuids), by_text))
		return 0;
	if (t->keep) {
		log_warning("%s/" DEFINITION_IMAGES "/%s: no definition names it; kept while there "
			    "is a *" STORE_SUFFIX STORE_DAMAGED,
			    t->s->path, name);
		return 0;
	}
	log_info("%s/" DEFINITION_IMAGES "/%s: no definition names it; removed", t->s->path, name);
	unlinkat(t->s->images, name, 0);
	return 0;
}

int store_tidy(struct store *s, const char **uuids, size_t count, bool keep)
{
	struct tidying t = {s, uuids, count, keep};
	int r;

	qsort(uuids, count, sizeof(*uuids), by_text);
	r = each_name(s->images, on_image, &t);
	if (r)
		log_error("%s/" DEFINITION_IMAGES " can't be read: %s", s->path, strerror(-r));
	return r;
}
