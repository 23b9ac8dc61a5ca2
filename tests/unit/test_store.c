// SPDX-License-Identifier: MIT
/* The store by itself: the order of what reaches the disk, and what failures leave. */
#include "disk_rig.h"
#include "hvd/log.h"
#include "hvd/store.h"
#include "server_rig.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define UUID "01234567-89ab-4def-8123-456789abcdef"
#define TEXT "{\n  \"what\": \"is stored is not the store's business\"\n}\n"

static char state[96];
static struct event_base *base;
static struct store *store;

static int open_store(void **unused)
{
	(void)unused;
	snprintf(state, sizeof(state), "%s/state", folder);
	base = event_base_new();
	disk_watch(state);
	return store_open(state, base, &store);
}

static int close_store(void **unused)
{
	char command[128];

	(void)unused;
	store_stop(store);
	store_close(store);
	event_base_free(base);
	disk_watch("");
	snprintf(command, sizeof(command), "rm -r %s", state);
	return system(command);
}

/* --- waiting for a job ------------------------------------------------------------------ */

struct seen {
	bool done;
	int err;
	size_t fd_count, data_bytes;
	struct stored_file file;
	char data[64], text[STORE_TEXT_LEN];
};

static void on_done(void *ctx, const struct store_result *res)
{
	struct seen *seen = ctx;

	assert_false(seen->done);
	seen->done = true;
	seen->err = res->err;
	seen->fd_count = res->fd_count;
	snprintf(seen->text, sizeof(seen->text), "%s", res->text);
	if (res->fd_count)
		seen->file = res->files[0];
	seen->data_bytes = res->data_bytes;
	if (res->data)
		memcpy(seen->data, res->data, res->data_bytes);
	disk_note("done");
}

static int await(struct seen *seen)
{
	const uint64_t begin = hvd_now_ms();

	while (!seen->done && hvd_now_ms() - begin < PATIENCE_MS) {
		const struct timeval soon = {.tv_usec = 100000};

		event_base_loopexit(base, &soon);
		event_base_loop(base, EVLOOP_ONCE);
	}
	assert_true(seen->done);
	return seen->err;
}

static int put(const char *name, bool has_files)
{
	struct seen seen = {.done = false};

	assert_int_equal(
		store_put(store, name, strdup(TEXT), strlen(TEXT), has_files, on_done, &seen), 0);
	return await(&seen);
}

static int take_away(const char *name)
{
	struct seen seen = {.done = false};

	assert_int_equal(store_remove(store, name, on_done, &seen), 0);
	return await(&seen);
}

static int image(size_t bytes)
{
	const int fd = memfd_create("image", MFD_CLOEXEC);

	for (size_t i = 0; i < bytes; i++)
		assert_int_equal(write(fd, &"abcdefg"[i % 7], 1), 1);
	return fd;
}

static int copy(size_t bytes, struct seen *seen)
{
	const int fds[] = {image(bytes), image(3)};

	*seen = (struct seen){.done = false};
	assert_int_equal(store_copy(store, UUID, true, fds, 2, on_done, seen), 0);
	close(fds[0]);
	close(fds[1]);
	return await(seen);
}

static bool there(const char *name)
{
	char where[160];

	snprintf(where, sizeof(where), "%s/%s", state, name);
	return !access(where, F_OK);
}

static void check_content(const char *name, const char *text)
{
	char where[160], buf[200] = "";
	FILE *f;

	snprintf(where, sizeof(where), "%s/%s", state, name);
	f = fopen(where, "re");
	assert_non_null(f);
	assert_int_equal(fread(buf, 1, sizeof(buf) - 1, f), strlen(text));
	assert_string_equal(buf, text);
	fclose(f);
}

/* --- the order ------------------------------------------------------------------------------- */

/* What a reply promises is on the disk; a name never before what it names. */
static void test_order(void **unused)
{
	struct seen seen;

	(void)unused;
	disk_clear();
	assert_int_equal(copy(100, &seen), 0);
	assert_string_equal(disk_trace(), "fsync images/" UUID ".image\n"
					  "fsync images/" UUID ".module0\n"
					  "done\n");
	disk_clear();
	assert_int_equal(put("a", true), 0);
	assert_string_equal(disk_trace(), "fsync .a.json.new\n"
					  "fsync images\n"
					  "rename .a.json.new a.json\n"
					  "fsync .\n"
					  "done\n");
	disk_clear();
	assert_int_equal(put("b", false), 0);
	assert_string_equal(disk_trace(), "fsync .b.json.new\n"
					  "rename .b.json.new b.json\n"
					  "fsync .\n"
					  "done\n");
	disk_clear();
	assert_int_equal(take_away("a"), 0);
	assert_string_equal(disk_trace(), "rename a.json .a.json.old\n"
					  "fsync .\n"
					  "unlink .a.json.old\n"
					  "done\n");
}

static unsigned count(const char *what)
{
	unsigned n = 0;

	for (const char *p = disk_trace(); (p = strstr(p, what)); p++)
		n++;
	return n;
}

/* What has come while the thread was at work shares its synchronizing. */
static void test_batch(void **unused)
{
	struct seen seen[100] = {{.done = false}};
	char name[16];

	(void)unused;
	disk_clear();
	for (size_t i = 0; i < COUNT(seen); i++) {
		snprintf(name, sizeof(name), "vm%zu", i);
		assert_int_equal(
			store_put(store, name, strdup(TEXT), strlen(TEXT), true, on_done, &seen[i]),
			0);
	}
	for (size_t i = 0; i < COUNT(seen); i++)
		assert_int_equal(await(&seen[i]), 0);
	assert_int_equal(count(".json.new\n"), 100);
	assert_in_range(count("fsync .\n"), 1, 50);
	assert_in_range(count("fsync images\n"), 1, 50);
	for (size_t i = 0; i < COUNT(seen); i++) {
		snprintf(name, sizeof(name), "vm%zu.json", i);
		check_content(name, TEXT);
	}
}

/* --- contents --------------------------------------------------------------------------------- */

static void check_copies(void)
{
	struct seen seen;

	assert_int_equal(copy(20, &seen), 0);
	assert_int_equal(seen.fd_count, 2);
	assert_int_equal(seen.file.size_bytes, 20);
	/* of abcdefgabcdefgabcdef */
	assert_string_equal(seen.file.sha256,
			    "b9828ab4068e09cf2aa23f128b406a65c79a79d3fe0c4379f347d426195a0c31");
	check_content("images/" UUID ".image", "abcdefgabcdefgabcdef");
	check_content("images/" UUID ".module0", "abc");
	store_sweep(store, UUID, true, 2);
}

static void test_content(void **unused)
{
	(void)unused;
	check_copies();
	disk_no_copy(1);
	check_copies();
	disk_stutter(1);
	check_copies();
	assert_int_equal(put("a", false), 0);
	check_content("a.json", TEXT);
}

static void test_read(void **unused)
{
	static const struct {
		size_t index, max, expected;
		uint64_t offset, total;
		const char *data;
	} cases[] = {
		{0, 8, 8, 0, 20, "abcdefga"}, {0, 64, 6, 14, 20, "abcdef"}, {0, 64, 0, 20, 20, ""},
		{0, 64, 0, 1 << 30, 20, ""},  {1, 2, 2, 1, 3, "bc"},
	};
	struct seen seen;

	(void)unused;
	assert_int_equal(copy(20, &seen), 0);
	for (size_t i = 0; i < COUNT(cases); i++) {
		seen = (struct seen){.done = false};
		assert_int_equal(store_read(store, UUID, true, cases[i].index, cases[i].offset,
					    cases[i].max, on_done, &seen),
				 0);
		assert_int_equal(await(&seen), 0);
		assert_int_equal(seen.data_bytes, cases[i].expected);
		assert_memory_equal(seen.data, cases[i].data, cases[i].expected);
	}
	seen = (struct seen){.done = false};
	assert_int_equal(store_read(store, UUID, true, 2, 0, 8, on_done, &seen), 0);
	assert_int_equal(await(&seen), -ENOENT);
	assert_non_null(strstr(seen.text, UUID ".module1"));
}

/* One that is there is nobody's to replace. */
static void test_exists(void **unused)
{
	(void)unused;
	assert_int_equal(put("a", false), 0);
	assert_int_equal(put("a", false), -EEXIST);
	assert_false(there(".a.json.new"));
	check_content("a.json", TEXT);
	assert_int_equal(take_away("a"), 0);
	assert_int_equal(take_away("a"), 0); /* what is gone is gone */
	assert_int_equal(put("a", false), 0);
}

/* --- failures -----------------------------------------------------------------------------------
 */

static const int errors[] = {ENOSPC, EIO, EDQUOT, EROFS, ENOMEM};

/* Whichever call fails: the error is told, and the folder is as it was. */
static void test_put_fails(void **unused)
{
	size_t n = 0;

	(void)unused;
	do {
		const int err = errors[n % COUNT(errors)];
		int r;

		disk_fail(++n, err);
		r = put("a", true);
		if (!disk_failed()) {
			assert_int_equal(r, 0);
			break;
		}
		assert_int_equal(r, -err);
		assert_false(there("a.json"));
		assert_false(there(".a.json.new"));
	} while (n < 100);
	assert_in_range(n, 6, 99); /* openat, write, fsync, fsync, rename, fsync */
	check_content("a.json", TEXT);
}

static void test_remove_fails(void **unused)
{
	size_t n = 0;
	int r;

	(void)unused;
	assert_int_equal(put("a", false), 0);
	do {
		disk_fail(++n, EIO);
		r = take_away("a");
		assert_int_equal(there("a.json"), r != 0);
		if (!r && disk_failed()) /* only what is left over could not be removed */
			assert_true(there(".a.json.old"));
	} while (r);
	assert_int_equal(n, 3); /* rename, fsync; unlink matters to nobody */
}

static void test_copy_fails(void **unused)
{
	struct seen seen;
	size_t n = 0;
	int r;

	(void)unused;
	disk_no_copy(1);
	do {
		disk_fail(++n, ENOSPC);
		r = copy(100, &seen);
		if (!disk_failed())
			break;
		/* copy_file_range() may fail: then it is done by hand */
		if (!r) {
			store_sweep(store, UUID, true, 2);
			continue;
		}
		assert_int_equal(r, -ENOSPC);
		assert_int_equal(seen.fd_count, 0);
		assert_false(there("images/" UUID ".image"));
		assert_false(there("images/" UUID ".module0"));
	} while (n < 100);
	assert_int_equal(r, 0);
	assert_in_range(n, 8, 99);
}

/* The name of what failed, and why, for people; and which kind of error it is for programs. */
static void test_errors(void **unused)
{
	static const struct {
		int err;
		enum proto_error_kind kind;
	} kinds[] = {
		{ENOSPC, PROTO_ERROR_LIMIT},	 {EDQUOT, PROTO_ERROR_LIMIT},
		{EFBIG, PROTO_ERROR_LIMIT},	 {EIO, PROTO_ERROR_FILE_ERROR},
		{EROFS, PROTO_ERROR_FILE_ERROR}, {EACCES, PROTO_ERROR_FILE_ERROR},
		{ENOMEM, PROTO_ERROR_NO_MEMORY}, {EEXIST, PROTO_ERROR_EXISTS},
		{EAGAIN, PROTO_ERROR_BUSY},	 {ECANCELED, PROTO_ERROR_CANCELLED},
	};
	struct proto_error err;
	struct seen seen = {.done = false};

	(void)unused;
	for (size_t i = 0; i < COUNT(kinds); i++) {
		const struct store_result res = {.err = -kinds[i].err, .text = ""};

		store_error(&res, "it can't be done", &err);
		assert_int_equal(err.kind, kinds[i].kind);
	}
	disk_fail(1, ENOSPC);
	store_put(store, "a", strdup(TEXT), strlen(TEXT), false, on_done, &seen);
	await(&seen);
	assert_non_null(strstr(seen.text, state));
	assert_non_null(strstr(seen.text, ".a.json.new: No space left on device"));
}

/* --- the end
 * -------------------------------------------------------------------------------------- */

/* Each job is done once: with its result, or cancelled before it was begun. */
static void test_stop(void **unused)
{
	struct seen seen[50] = {{.done = false}}, late = {.done = false};
	char name[20];

	(void)unused;
	for (size_t i = 0; i < COUNT(seen); i++) {
		snprintf(name, sizeof(name), "vm%zu", i);
		assert_int_equal(store_put(store, name, strdup(TEXT), strlen(TEXT), false, on_done,
					   &seen[i]),
				 0);
	}
	store_stop(store);
	for (size_t i = 0; i < COUNT(seen); i++) {
		snprintf(name, sizeof(name), "vm%zu.json", i);
		assert_true(seen[i].done);
		assert_true(!seen[i].err || seen[i].err == -ECANCELED);
		assert_int_equal(there(name), !seen[i].err);
	}
	/* afterwards in place: what was begun is ended properly */
	assert_int_equal(
		store_put(store, "late", strdup(TEXT), strlen(TEXT), false, on_done, &late), 0);
	assert_true(late.done && !late.err);
	late.done = false;
	assert_int_equal(store_remove(store, "late", on_done, &late), 0);
	assert_true(late.done && !late.err);
	assert_false(there("late.json"));
}

static void test_lock(void **unused)
{
	struct store *second;

	(void)unused;
	assert_int_equal(store_open(state, base, &second), -EBUSY);
	store_stop(store);
	store_close(store);
	assert_int_equal(store_open(state, base, &store), 0);
}

/* Opening fails as clearly, and leaves nothing open. */
static void test_open_fails(void **unused)
{
	struct store *second;
	size_t n = 0;
	int r;

	(void)unused;
	store_stop(store);
	store_close(store);
	do {
		const unsigned before = open_descriptors();

		disk_fail(++n, EACCES);
		r = store_open(state, base, &second);
		if (r)
			assert_int_equal(open_descriptors(), before);
	} while (r && n < 20);
	assert_int_equal(r, 0);
	assert_in_range(n, 3, 19);
	store = second;
}

#define STORE_TEST(f) cmocka_unit_test_setup_teardown(f, open_store, close_store)

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(test_order),	       STORE_TEST(test_batch),
		STORE_TEST(test_content),      STORE_TEST(test_read),
		STORE_TEST(test_exists),       STORE_TEST(test_put_fails),
		STORE_TEST(test_remove_fails), STORE_TEST(test_copy_fails),
		STORE_TEST(test_errors),       STORE_TEST(test_stop),
		STORE_TEST(test_lock),	       STORE_TEST(test_open_fails),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
