// SPDX-License-Identifier: MIT
/*
 * vm.create and vm.delete between an engine that fails where it is told to and a disk that
 * does: both have the VM, or neither has.
 */
#include "disk_rig.h"
#include "fake_engine.h"
#include "hvd/registry.h"
#include "server_rig.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char state[96], image[128];

static void start_daemon(void)
{
	const struct hvd_config config = {
		.socket = path, .state_dir = state, .engine = "fake", .bounds = hvd_default_bounds};

	assert_int_equal(hvd_start(&daemon_, &config), 0);
}

static void write_image(const char *text)
{
	FILE *f = fopen(image, "we");

	fputs(text, f);
	fclose(f);
}

static int start_stored(void **unused)
{
	(void)unused;
	snprintf(state, sizeof(state), "%s/state", folder);
	snprintf(image, sizeof(image), "%s/image", folder);
	write_image("the image");
	disk_watch(state);
	start_daemon();
	return 0;
}

static int stop_stored(void **unused)
{
	char command[300];

	(void)unused;
	hvd_stop(&daemon_);
	disk_watch("");
	snprintf(command, sizeof(command), "rm -r %s %s", state, image);
	return system(command);
}

static void restart(void)
{
	hvd_stop(&daemon_);
	disk_clear();
	start_daemon();
}

/* --- what there is ------------------------------------------------------------------------ */

static bool stored(const char *name)
{
	char where[160];

	snprintf(where, sizeof(where), "%s/%s.json", state, name);
	return !access(where, F_OK);
}

/* Files in the folder of images. */
static unsigned images(void)
{
	char command[160];
	unsigned n = 0;
	FILE *p;

	snprintf(command, sizeof(command), "ls -A %s/images | wc -l", state);
	p = popen(command, "r");
	assert_int_equal(fscanf(p, "%u", &n), 1);
	pclose(p);
	return n;
}

static void until_images(unsigned n)
{
	const uint64_t begin = hvd_now_ms();

	while (images() != n && hvd_now_ms() - begin < PATIENCE_MS)
		turn();
	assert_int_equal(images(), n);
}

/* The engine has got the request that it is to hold. */
static void until_held(void)
{
	const uint64_t begin = hvd_now_ms();

	while (!fake_held() && hvd_now_ms() - begin < PATIENCE_MS)
		turn();
	assert_int_equal(fake_held(), 1);
}

static void ask_create(struct client *c, const char *name, const char *more)
{
	char params[300];

	snprintf(params, sizeof(params), "{\"name\":\"%s\",\"image\":{\"path\":\"%s\"}%s}", name,
		 image, more);
	call(c, "vm.create", params);
}

static void ask_delete(struct client *c, const char *name)
{
	char params[100];

	snprintf(params, sizeof(params), "{\"vm\":\"%s\"}", name);
	call(c, "vm.delete", params);
}

/* Nothing of the VM is left, now and after a start anew; its name is free. */
static void check_nothing(struct client *c, const char *name)
{
	assert_null(registry_find(daemon_.registry, name));
	assert_false(stored(name));
	until_images(0);
	ask_create(c, name, "");
	expect(c, "result.persistent", "true");
	ask_delete(c, name);
	expect(c, "result.vm", name);
	until_images(0);
}

/* --- creations -------------------------------------------------------------------------------- */

static void test_engine_refuses(void **unused)
{
	static const uint32_t ops[] = {ENGINE_VM_CREATE, ENGINE_VM_START, ENGINE_VM_INFO};
	const struct engine_error no = {.code = -EINVAL, .text = "no"};
	struct client c = connect_client();

	(void)unused;
	for (size_t i = 0; i < COUNT(ops); i++) {
		fake_fail_next(ops[i], &no);
		ask_create(&c, "a", ",\"start\":true");
		expect_error(&c, "invalid-value", "");
		check_nothing(&c, "a");
	}
	disconnect(&c);
}

static void test_disk_fails(void **unused)
{
	struct client c = connect_client();
	size_t n = 0;

	(void)unused;
	do {
		struct json_object *obj;
		bool made;

		disk_fail(++n, ENOSPC);
		ask_create(&c, "a", "");
		obj = hear(&c);
		made = at(obj, "result");
		if (!made)
			assert_string_equal(json_object_get_string(at(obj, "error.data.kind")),
					    "limit");
		assert_int_equal(stored("a"), made);
		assert_int_equal(images(), made);
		json_object_put(obj);
		if (made && !disk_failed())
			break;
		disk_fail(0, 0);
		if (made) {
			ask_delete(&c, "a");
			expect(&c, "result.vm", "a");
		}
		until_images(0);
	} while (n < 100);
	assert_in_range(n, 10, 99);
	disconnect(&c);
}

/* The engine gets what is stored: not what the client may change meanwhile. */
static void test_engine_loads_the_copy(void **unused)
{
	struct client c = connect_client();

	(void)unused;
	fake_hold(ENGINE_VM_CREATE);
	ask_create(&c, "a", "");
	until_held();
	assert_string_equal(fake_last_file(), "the image");
	write_image("another image");
	fake_release();
	expect(&c, "result.vm", "a");
	disconnect(&c);
	restart();
	assert_int_equal(daemon_.defined, 1);
	assert_string_equal(fake_last_file(), "the image");
}

/* While it is being made, nobody else can use it, and its name is taken. */
static void test_not_there_yet(void **unused)
{
	struct client c = connect_client(), other = connect_client();

	(void)unused;
	fake_hold(ENGINE_VM_CREATE);
	ask_create(&c, "a", "");
	until_held();
	call(&other, "vm.get", "{\"vm\":\"a\"}");
	expect_error(&other, "busy", "vm");
	ask_create(&other, "a", "");
	expect_error(&other, "exists", "name");
	assert_int_equal(images(), 1);
	assert_false(stored("a"));
	fake_release();
	expect(&c, "result.vm", "a");
	assert_true(stored("a"));
	disconnect(&c);
	disconnect(&other);
}

/* --- deletions ----------------------------------------------------------------------------------
 */

static void test_deletion_fails(void **unused)
{
	const struct engine_error no = {.code = -EIO, .text = "no"};
	struct client c = connect_client();

	(void)unused;
	ask_create(&c, "a", "");
	expect(&c, "result.vm", "a");
	/* on the disk: nothing has happened */
	for (size_t n = 1; n <= 2; n++) {
		disk_fail(n, EIO);
		ask_delete(&c, "a");
		expect_error(&c, "file", "");
		assert_true(stored("a"));
		assert_int_equal(fake_count(ENGINE_VM_DELETE), 0);
	}
	/* in the engine: what was stored is stored again */
	fake_fail_next(ENGINE_VM_DELETE, &no);
	ask_delete(&c, "a");
	expect_error(&c, "internal", "");
	assert_true(stored("a"));
	assert_int_equal(images(), 1);
	call(&c, "vm.get", "{\"vm\":\"a\"}");
	expect(&c, "result.persistent", "true");
	disconnect(&c);
	restart();
	assert_int_equal(daemon_.defined, 1);
	c = connect_client();
	ask_delete(&c, "a");
	expect(&c, "result.vm", "a");
	check_nothing(&c, "a");
	disconnect(&c);
}

/* --- the end of the daemon in between ----------------------------------------------------- */

/* An error that says "cancelled" is true: after a start anew, it is not there. */
static void test_stop_during_creation(void **unused)
{
	static const uint32_t ops[] = {ENGINE_VM_CREATE, ENGINE_VM_START, ENGINE_VM_INFO};

	(void)unused;
	for (size_t i = 0; i < COUNT(ops); i++) {
		struct client c = connect_client();

		fake_hold(ops[i]);
		ask_create(&c, "a", ",\"start\":true");
		until_held();
		hvd_stop(&daemon_);
		assert_false(stored("a"));
		start_daemon();
		assert_int_equal(daemon_.defined, 0);
		assert_int_equal(images(), 0);
		disconnect(&c);
	}
}

/* Its definition is gone, and the engine goes with the daemon: so it is deleted. */
static void test_stop_during_deletion(void **unused)
{
	struct client c = connect_client();

	(void)unused;
	ask_create(&c, "a", "");
	expect(&c, "result.vm", "a");
	fake_hold(ENGINE_VM_DELETE);
	ask_delete(&c, "a");
	until_held();
	hvd_stop(&daemon_);
	expect(&c, "result.vm", "a");
	assert_false(stored("a"));
	start_daemon();
	assert_int_equal(daemon_.defined, 0);
	assert_int_equal(images(), 0);
	disconnect(&c);
}

#define STORED_TEST(f) cmocka_unit_test_setup_teardown(f, start_stored, stop_stored)

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORED_TEST(test_engine_refuses),	 STORED_TEST(test_disk_fails),
		STORED_TEST(test_engine_loads_the_copy), STORED_TEST(test_not_there_yet),
		STORED_TEST(test_deletion_fails),	 STORED_TEST(test_stop_during_creation),
		STORED_TEST(test_stop_during_deletion),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
