// SPDX-License-Identifier: MIT
#include "server_rig.h"
#include "fake_engine.h"
#include "hvd/log.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

char folder[64], path[96];

/* --- a daemon in this thread ------------------------------------------------------------ */

struct hvd daemon_;

void start_with(const struct hvd_bounds *bounds)
{
	const struct hvd_config config = {.socket = path, .engine = "fake", .bounds = *bounds};

	assert_int_equal(hvd_start(&daemon_, &config), 0);
}

int start(void **state)
{
	(void)state;
	start_with(&hvd_default_bounds);
	return 0;
}

unsigned open_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static unsigned descriptors_before;

int stop(void **state)
{
	(void)state;
	hvd_stop(&daemon_);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(fake_open_count(), 0);
	return 0;
}

void turn(void)
{
	const struct timeval soon = {.tv_usec = 2000};

	event_base_loopexit(daemon_.base, &soon);
	event_base_dispatch(daemon_.base);
}

/* --- clients ------------------------------------------------------------------------------- */

struct client connect_client(void)
{
	struct client c = {.fd = proto_connect(path), .in = {.limit = SIZE_MAX}};

	assert_true(c.fd >= 0);
	fcntl(c.fd, F_SETFL, O_NONBLOCK);
	return c;
}

void disconnect(struct client *c)
{
	close(c->fd);
	proto_framer_free(&c->in);
	turn();
}

void send_bytes(struct client *c, const char *data, size_t len)
{
	while (len) {
		const ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL);

		if (n > 0) {
			data += n;
			len -= (size_t)n;
		} else if (errno == EAGAIN) {
			turn();
		} else {
			return; /* the daemon hung up: the test looks at what it said */
		}
	}
}

void say(struct client *c, const char *line)
{
	send_bytes(c, line, strlen(line));
	send_bytes(c, "\n", 1);
}

/* Takes what there is; NULL: no whole line. */
char *take_line(struct client *c)
{
	size_t room, len;
	ssize_t n;
	char *buf;

	while (proto_framer_next(&c->in, &buf, &len)) {
		assert_int_equal(proto_framer_reserve(&c->in, 4096, &buf, &room), 0);
		n = recv(c->fd, buf, room, 0);
		if (n <= 0) {
			c->eof |= !n || errno == ECONNRESET;
			return NULL;
		}
		proto_framer_filled(&c->in, (size_t)n);
	}
	return buf;
}

struct json_object *hear(struct client *c)
{
	const uint64_t begin = hvd_now_ms();
	struct json_object *obj;
	char *line = take_line(c);

	while (!line && !c->eof && hvd_now_ms() - begin < PATIENCE_MS) {
		turn();
		line = take_line(c);
	}
	if (!line)
		fail_msg("no reply%s", c->eof ? ": the daemon hung up" : "");
	assert_int_equal(proto_json_parse_reply(line, strlen(line), &obj, NULL), 0);
	return obj;
}

void hear_nothing(struct client *c)
{
	const char *line;

	for (int i = 0; i < 5; i++)
		turn();
	line = take_line(c);
	if (line)
		fail_msg("unexpected: %s", line);
}

void hear_eof(struct client *c)
{
	const uint64_t begin = hvd_now_ms();

	while (!c->eof && hvd_now_ms() - begin < PATIENCE_MS) {
		assert_null(take_line(c));
		turn();
	}
	assert_true(c->eof);
}

/* The member at a path of names: "error.data.kind". NULL: none, or null. */
struct json_object *at(struct json_object *obj, const char *where)
{
	char names[100], *name, *save;

	strcpy(names, where);
	for (name = strtok_r(names, ".", &save); name; name = strtok_r(NULL, ".", &save))
		if (!json_object_object_get_ex(obj, name, &obj))
			return NULL;
	return obj;
}

void expect(struct client *c, const char *where, const char *value)
{
	struct json_object *obj = hear(c), *v = at(obj, where);

	if (!v || strcmp(json_object_get_string(v), value))
		fail_msg("%s is not %s: %s", where, value, json_object_to_json_string(obj));
	json_object_put(obj);
}

void expect_error(struct client *c, const char *kind, const char *field)
{
	struct json_object *obj = hear(c), *k = at(obj, "error.data.kind"),
			   *f = at(obj, "error.data.field");

	if (!k || strcmp(json_object_get_string(k), kind) ||
	    strcmp(f ? json_object_get_string(f) : "", field))
		fail_msg("not %s of %s: %s", kind, field, json_object_to_json_string(obj));
	json_object_put(obj);
}

void call(struct client *c, const char *method, const char *params)
{
	char line[8192];

	snprintf(line, sizeof(line),
		 "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":%s}", method, params);
	say(c, line);
}

void create(struct client *c, const char *name)
{
	char params[200];

	snprintf(params, sizeof(params), "{\"name\":\"%s\"}", name);
	call(c, "vm.create", params);
	expect(c, "result.vm", name);
}

int make_folder(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/hvd-test-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/hvd.sock", folder);
	signal(SIGPIPE, SIG_IGN);
	if (!getenv("HVD_TEST_LOG"))
		log_set_level(LOG_LEVEL_ERROR);
	descriptors_before = open_descriptors();
	return 0;
}

int remove_folder(void **state)
{
	(void)state;
	assert_int_equal(open_descriptors(), descriptors_before);
	return rmdir(folder);
}
