/* SPDX-License-Identifier: MIT */
/* What the store's own files share. */
#ifndef HVD_STORE_INTERNAL_H
#define HVD_STORE_INTERNAL_H

#include "hvd/store.h"
#include <limits.h>
#include <pthread.h>

#define STORE_LOCK ".lock"
#define STORE_SUFFIX ".json"
#define STORE_DAMAGED ".damaged"
#define STORE_NAME_LEN 96 /* of a file of ours: ".", a VM's name, ".json.new" */

enum store_op { STORE_COPY, STORE_PUT, STORE_REMOVE, STORE_SWEEP, STORE_READ, STORE_OPS };

struct store_job {
	struct store_job *next;
	enum store_op op;
	store_done_fn *done;
	void *ctx;
	char name[PROTO_NAME_MAX + 1];
	char uuid[37];
	bool image;
	int fds[DEFINITION_FILES_MAX]; /* copy: the sources, then the copies */
	size_t count;		       /* files: copy, sweep */
	struct stored_file files[DEFINITION_FILES_MAX];
	char *text; /* put */
	size_t text_bytes;
	bool has_files;
	size_t index; /* read */
	uint64_t offset, total_bytes;
	uint8_t *data;
	size_t data_bytes;
	bool changed; /* the directory, which is not yet synchronized */
	int err;
	char what[STORE_TEXT_LEN]; /* with err */
};

struct store {
	char *path;
	int dir, images, lock;
	/* the loop's */
	struct event *ready;
	size_t outstanding;
	bool in_place; /* there is no thread (any more) */
	/* shared with the thread, under mutex */
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t wake;
	bool closing;
	int event_fd;
	struct store_job *queue, **queue_end;
	struct store_job *finished, **finished_end;
};

/* store_disk.c, on the thread: jobs in order, each with its err; they share their fsync()s. */
void store_disk_run(struct store *s, struct store_job *jobs);
/* As rename() within s->dir, but fails with EEXIST if there is a file to. errno. */
int store_rename_new(const struct store *s, const char *from, const char *to);
/* errno and what was being done, for people. Returns -errno. */
int store_disk_error(const struct store *s, struct store_job *job, const char *file);

/* --- store_dir.c: at the start of the daemon, before anybody is served ------------------- */

#define STORE_ASIDE_LEN (NAME_MAX + 16)

struct store_names {
	char (*names)[NAME_MAX + 1]; /* "demo.json", sorted; the caller frees them */
	size_t count, size;
	bool aside; /* there are files that were set aside earlier */
};

/* Lists definitions, and removes what was left half done. A negative errno. */
int store_list(struct store *s, struct store_names *ret);
/* The text of a definition; the caller frees it. A negative errno and *err. */
int store_read_text(struct store *s, const char *name, char **ret, size_t *ret_len,
		    struct proto_error *err);
/* The i-th file of a definition, open for reading, if size and digest are as it says. */
int store_open_file(struct store *s, const struct definition *def, size_t i, int *ret_fd,
		    struct proto_error *err);
/* Renames it to the first free of NAME.damaged, NAME.damaged.1 and so on. */
int store_set_aside(struct store *s, const char *name, char ret[STORE_ASIDE_LEN]);
/*
 * Removes images that belong to none of the UUIDs, which it sorts; with keep, only tells of
 * them in the log.
 */
int store_tidy(struct store *s, const char **uuids, size_t count, bool keep);

#endif
