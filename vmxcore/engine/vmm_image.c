/* SPDX-License-Identifier: MIT */
#include "engine/vmm_image.h"

#include "plat/atomic.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_PIECE ((size_t)1 << 20)
#define COMPARE_PIECE ((size_t)4 << 20)

struct image_read {
	struct work work;
	int fds[ENGINE_MAX_FDS];
	uint32_t count;
	uint64_t memory_left; /* of the machine, when it began */
	struct vmm_blob *blob[ENGINE_MAX_FDS];
	struct vmm_blob *like; /* that one of them is being compared with */
	size_t compared;
	/* What is wrong. */
	int err;
	uint32_t index;
	uint64_t limit;
	char text[ENGINE_TEXT_LEN];
};

/* --- reading, on a thread of its own ------------------------------------------------------- */

static int refuse(struct image_read *r, int err, uint64_t limit, const char *text)
{
	r->err = err;
	r->limit = limit;
	snprintf(r->text, sizeof(r->text), "%s", text);
	return err;
}

static int check_file(struct image_read *r, uint32_t file, uint64_t *ret_size)
{
	uint64_t left = r->memory_left - r->work.total;
	struct stat st;

	r->index = file;
	if (fstat(r->fds[file], &st) != 0 || !S_ISREG(st.st_mode))
		return refuse(r, -EINVAL, 0, "not a regular file");
	if (st.st_size <= 0)
		return refuse(r, -EINVAL, 0, "the file is empty");
	if ((uint64_t)st.st_size > ENGINE_MAX_IMAGE) {
		snprintf(r->text, sizeof(r->text),
			 "the file has %" PRIu64 " bytes; at most %" PRIu64 " are loaded",
			 (uint64_t)st.st_size, ENGINE_MAX_IMAGE);
		r->limit = ENGINE_MAX_IMAGE;
		return r->err = -EFBIG;
	}
	if ((uint64_t)st.st_size > left) {
		snprintf(r->text, sizeof(r->text),
			 "no memory left to keep the file's %" PRIu64 " bytes",
			 (uint64_t)st.st_size);
		r->limit = left;
		return r->err = -ENOMEM;
	}
	*ret_size = (uint64_t)st.st_size;
	return 0;
}

static int read_piece(int fd, uint8_t *to, size_t size, size_t offset)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pread(fd, to + done, size - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO; /* it became shorter */
		done += (size_t)n;
	}
	return 0;
}

/* Tells contents apart quickly; equal ones are compared. */
static uint64_t hash_of(const uint8_t *data, size_t size)
{
	uint64_t h = UINT64_C(0x9e3779b97f4a7c15) ^ size, word = 0;

	for (; size >= 8; size -= 8, data += 8) {
		memcpy(&word, data, 8);
		h = (h ^ word) * UINT64_C(0xff51afd7ed558ccd);
		h ^= h >> 32;
	}
	word = 0;
	memcpy(&word, data, size);
	h = (h ^ word) * UINT64_C(0xc4ceb9fe1a85ec53);
	return h ^ h >> 29;
}

static int read_file(struct image_read *r, uint32_t file)
{
	struct vmm_blob *b = r->blob[file];
	char text[ENGINE_TEXT_LEN];
	size_t at, n;
	int err;

	r->index = file;
	for (at = 0; at < b->size; at += n) {
		if (plat_load(&r->work.stop))
			return r->err = -ECANCELED;
		n = b->size - at < READ_PIECE ? b->size - at : READ_PIECE;
		err = read_piece(r->fds[file], b->data + at, n, at);
		if (err) {
			snprintf(text, sizeof(text), "reading the file failed: %s",
				 strerrordesc_np(-err));
			return refuse(r, err, 0, text);
		}
		plat_fetch_add(&r->work.done, n);
	}
	b->hash = hash_of(b->data, b->size);
	return 0;
}

static int open_file(struct image_read *r, uint32_t file)
{
	struct vmm_blob *b;
	uint64_t size;
	int err = check_file(r, file, &size);

	if (err)
		return err;
	b = calloc(1, sizeof(*b));
	if (!b)
		return r->err = -ENOMEM;
	r->blob[file] = b;
	b->data = malloc((size_t)size);
	if (!b->data)
		return r->err = -ENOMEM;
	b->size = (size_t)size;
	plat_fetch_add(&r->work.total, size);
	return 0;
}

static void run(struct work *w)
{
	struct image_read *r = (struct image_read *)w;
	uint32_t i;

	for (i = 0; i < r->count; i++)
		if (open_file(r, i) != 0)
			return;
	for (i = 0; i < r->count; i++)
		if (read_file(r, i) != 0)
			return;
}

/* --- the machine's side ------------------------------------------------------------------------
 */

static void blob_free(struct vmm_blob *b)
{
	if (!b)
		return;
	free(b->data);
	free(b);
}

static void drop(struct work *w)
{
	struct image_read *r = (struct image_read *)w;
	uint32_t i;

	for (i = 0; i < r->count; i++) {
		close(r->fds[i]);
		blob_free(r->blob[i]);
	}
	free(r);
}

void image_read_drop(struct vmm *s, struct image_read *r)
{
	if (!r)
		return;
	vmm_blob_put(s, r->like);
	drop(&r->work);
}

int image_read_new(const struct vmm *s, struct queue_request *rq, struct image_read **ret)
{
	struct image_read *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->work.run = run;
	r->work.drop = drop;
	r->memory_left = s->cfg.memory_bytes - s->memory_used;
	r->count = (uint32_t)rq->fd_count;
	memcpy(r->fds, rq->fds, rq->fd_count * sizeof(rq->fds[0]));
	rq->fd_count = 0;
	*ret = r;
	return 0;
}

struct work *image_read_work(struct image_read *r)
{
	return &r->work;
}

bool image_read_failed(const struct image_read *r, struct vmm_reply *reply)
{
	if (!r->err)
		return false;
	reply->error.index = r->index ? r->index - 1 : 0;
	vmm_fail(reply, r->err, r->index ? ENGINE_FIELD_MODULE : ENGINE_FIELD_IMAGE, r->limit, "%s",
		 r->text[0] ? r->text : strerrordesc_np(-r->err));
	return true;
}

/* --- sharing -------------------------------------------------------------------------------------
 */

static struct vmm_blob **bucket_of(struct vmm *s, const struct vmm_blob *b)
{
	return &s->blobs[b->hash % VMM_BLOB_BUCKETS];
}

static struct vmm_blob *find_like(struct vmm *s, const struct vmm_blob *b)
{
	struct vmm_blob *o = *bucket_of(s, b);

	while (o && (o->hash != b->hash || o->size != b->size))
		o = o->next;
	return o;
}

static int keep(struct vmm *s, struct vmm_blob *b, struct vmm_reply *reply)
{
	uint64_t left = s->cfg.memory_bytes - s->memory_used;

	if (b->size > left)
		return vmm_fail(reply, -ENOMEM, ENGINE_FIELD_IMAGE, left,
				"no memory left to keep the file's %zu bytes", b->size);
	s->memory_used += b->size;
	b->users = 1;
	b->next = *bucket_of(s, b);
	*bucket_of(s, b) = b;
	return 0;
}

/* Is it like what it is compared with? 1: as far as it has been looked at. */
static int compare(struct vmm *s, struct image_read *r, const struct vmm_blob *b)
{
	size_t left = b->size - r->compared, n = left < COMPARE_PIECE ? left : COMPARE_PIECE;
	bool same = memcmp(b->data + r->compared, r->like->data + r->compared, n) == 0;

	r->compared += n;
	if (same && r->compared < b->size)
		return 1;
	if (!same) {
		vmm_blob_put(s, r->like);
		r->like = NULL;
	}
	return 0;
}

int image_take(struct vmm *s, struct image_read *r, uint32_t file, struct vmm_blob **ret,
	       struct vmm_reply *reply)
{
	struct vmm_blob *b = r->blob[file];
	int err;

	if (!r->like) {
		r->like = find_like(s, b);
		r->compared = 0;
		if (r->like)
			r->like->users++;
	}
	if (r->like && compare(s, r, b) != 0)
		return 1;
	if (r->like) {
		*ret = r->like;
		r->like = NULL;
		return 0;
	}
	err = keep(s, b, reply);
	if (err)
		return err;
	r->blob[file] = NULL;
	*ret = b;
	return 0;
}

void vmm_blob_put(struct vmm *s, struct vmm_blob *b)
{
	struct vmm_blob **at;

	if (!b || --b->users != 0)
		return;
	at = bucket_of(s, b);
	while (*at != b)
		at = &(*at)->next;
	*at = b->next;
	s->memory_used -= b->size;
	blob_free(b);
}
