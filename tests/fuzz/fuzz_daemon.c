// SPDX-License-Identifier: MIT
/*
 * The daemon, in this process over the fake engine, and a client that may do everything. The
 * first byte chooses what the rest is: even, bytes that the client sends, cut in pieces; odd,
 * choices from which requests are made by the tables. What must hold: each request of ours is
 * answered once, in order but for those that may be late, with a result or an error that has a
 * kind; afterwards no descriptor is left, and every VM can be deleted.
 */
#include "../unit/fake_engine.h"
#include "fuzz.h"
#include "hvd/hvd.h"
#include "hvd/log.h"
#include "hvd/registry.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUESTS_MAX 24u
#define PATIENCE_MS 15000 /* until it counts as hung */
#define DESCRIPTORS 200	  /* more are never open */
#define LAST_ID 1000000	  /* of the request that ends an input */

static struct hvd daemon_;
static char path[64];
static int file;	     /* goes with requests */
static unsigned descriptors; /* before the client came */

struct client {
	int fd;
	struct proto_framer in;
	bool gone;
	bool answered[REQUESTS_MAX];
	bool last;
};

static void turn(void)
{
	event_base_loop(daemon_.base, EVLOOP_NONBLOCK);
}

/* Turns, until begun_ms is too long ago. Some of what ends waits for a timer: it may sleep. */
static bool turn_patiently(uint64_t begun_ms)
{
	const uint64_t passed = hvd_now_ms() - begun_ms;

	if (passed > 20)
		usleep(1000);
	turn();
	return passed < PATIENCE_MS;
}

static unsigned open_descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < DESCRIPTORS; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* --- what comes back ---------------------------------------------------------------------- */

static void check_error(struct json_object *error)
{
	struct json_object *data, *kind;

	CHECK(json_object_object_get_ex(error, "data", &data));
	CHECK(json_object_object_get_ex(data, "kind", &kind));
	CHECK(proto_error_kind_by_name(json_object_get_string(kind)) < PROTO_ERROR_COUNT);
}

static void check_message(struct client *c, struct json_object *m)
{
	struct json_object *id, *v;
	int64_t n;

	CHECK(json_object_is_type(m, json_type_object));
	if (json_object_object_get_ex(m, "method", &v))
		return;
	CHECK(json_object_object_get_ex(m, "id", &id));
	if (json_object_object_get_ex(m, "error", &v))
		check_error(v);
	else
		CHECK(json_object_object_get_ex(m, "result", &v));
	if (!json_object_is_type(id, json_type_int))
		return;
	n = json_object_get_int64(id);
	if (n == LAST_ID)
		c->last = true;
	if (n < 0 || n >= REQUESTS_MAX)
		return;
	CHECK(!c->answered[n]);
	c->answered[n] = true;
}

static void check_line(struct client *c, const char *line, size_t len)
{
	struct json_object *m;

	CHECK(!proto_json_parse_reply(line, len, &m, NULL));
	if (json_object_is_type(m, json_type_array))
		for (size_t i = 0; i < json_object_array_length(m); i++)
			check_message(c, json_object_array_get_idx(m, i));
	else
		check_message(c, m);
	json_object_put(m);
}

static void receive(struct client *c)
{
	size_t room, len;
	ssize_t n;
	char *buf;

	for (;;) {
		while (!proto_framer_next(&c->in, &buf, &len))
			check_line(c, buf, len);
		CHECK(!proto_framer_reserve(&c->in, 4096, &buf, &room));
		n = recv(c->fd, buf, room, MSG_DONTWAIT);
		if (n <= 0)
			break;
		proto_framer_filled(&c->in, (size_t)n);
	}
	if (!n || (errno != EAGAIN && errno != EINTR))
		c->gone = true;
}

/* --- what goes out --------------------------------------------------------------------------- */

static void send_bytes(struct client *c, const char *text, size_t len, unsigned fds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * 4)];
	} control = {.bytes = {0}};
	struct iovec iov = {(void *)(uintptr_t)text, len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	const uint64_t begun = hvd_now_ms();

	if (fds) {
		struct cmsghdr *h;

		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * fds);
		h = CMSG_FIRSTHDR(&msg);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(sizeof(int) * fds);
		for (unsigned i = 0; i < fds; i++)
			memcpy(CMSG_DATA(h) + i * sizeof(int), &file, sizeof(int));
	}
	while (iov.iov_len && !c->gone) {
		const ssize_t n = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0) {
			iov.iov_base = (char *)iov.iov_base + n;
			iov.iov_len -= (size_t)n;
			msg.msg_control = NULL;
			msg.msg_controllen = 0;
			continue;
		}
		c->gone |= errno == EPIPE;
		CHECK(turn_patiently(begun));
		receive(c);
	}
}

static void send_request(struct client *c, const char *method, struct json_object *params, int id,
			 unsigned fds)
{
	struct json_object *r = json_object_new_object();
	const char *text;
	size_t len;

	json_object_object_add(r, "jsonrpc", json_object_new_string("2.0"));
	json_object_object_add(r, "id", json_object_new_int(id));
	json_object_object_add(r, "method", json_object_new_string(method));
	if (params)
		json_object_object_add(r, "params", params);
	text = proto_json_text(r, &len);
	send_bytes(c, text, len, fds);
	send_bytes(c, "\n", 1, 0);
	json_object_put(r);
}

static void send_line(struct client *c, const char *text)
{
	send_bytes(c, text, strlen(text), 0);
	send_bytes(c, "\n", 1, 0);
}

/* Until everything that was sent before has been answered. */
static void finish(struct client *c)
{
	const uint64_t begun = hvd_now_ms();

	send_request(c, "daemon.info", NULL, LAST_ID, 0);
	while (!c->last && !c->gone) {
		CHECK(turn_patiently(begun));
		receive(c);
	}
}

/* --- inputs ------------------------------------------------------------------------------------
 */

static void play_bytes(struct client *c, struct choices *in)
{
	const unsigned cut = choose_byte(in), fds = choose(in, 4);

	while (in->left && !c->gone) {
		const size_t piece = cut % 5 ? (size_t)cut * 7 % 509 + 1 : in->left;
		const size_t n = piece < in->left ? piece : in->left;

		send_bytes(c, (const char *)in->p, n, fds);
		in->p += n;
		in->left -= n;
		if (cut & 1)
			turn();
	}
	send_bytes(c, "\n", 1, 0);
	finish(c);
}

/* A VM "a" of 2 MiB with a slot "s", running: what many requests are about. */
static void prepare(struct client *c)
{
	static const char create[] =
		"{\"jsonrpc\":\"2.0\",\"method\":\"vm.create\",\"params\":{\"name\":\"a\","
		"\"image\":{\"fd\":0},\"memory_bytes\":2097152,\"start\":true}}\n";

	send_bytes(c, create, sizeof(create) - 1, 1);
	send_line(c, "{\"jsonrpc\":\"2.0\",\"method\":\"memory.slot.add\",\"params\":{\"vm\":\"a\","
		     "\"slot\":\"s\",\"size_bytes\":65536}}");
}

static bool is_late(int id, const bool *late)
{
	return id < (int)REQUESTS_MAX && late[id];
}

static void play_choices(struct client *c, struct choices *in)
{
	bool late[REQUESTS_MAX] = {false};
	int sent = 0;

	if (choose(in, 4) != 3)
		prepare(c);
	while (in->left && sent < (int)REQUESTS_MAX && !c->gone) {
		const struct proto_method *m = &proto_methods[choose(in, PROTO_METHOD_COUNT)];
		const uint8_t how = choose_byte(in);
		struct json_object *params = how == 255 ? NULL : choose_params(in, m->params());

		late[sent] = m->flags & PROTO_METHOD_LATE;
		send_request(c, m->name, params, sent++, how % 4);
		if (how & 16)
			turn();
	}
	finish(c);
	for (int i = 0; i < sent && !c->gone; i++)
		CHECK(c->answered[i] || is_late(i, late));
	CHECK(!c->gone);
}

/* --- afterwards ----------------------------------------------------------------------------------
 */

static struct client connect_client(void)
{
	struct client c = {.fd = proto_connect(path), .in = {.limit = SIZE_MAX}};

	CHECK(c.fd >= 0);
	return c;
}

static void disconnect(struct client *c)
{
	close(c->fd);
	proto_framer_free(&c->in);
}

static struct json_object *of_vm(const char *name)
{
	struct json_object *params = json_object_new_object();

	json_object_object_add(params, "vm", json_object_new_string(name));
	return params;
}

static void delete_all(void)
{
	struct client c = connect_client();

	for (int i = 0; registry_count(daemon_.registry); i++) {
		const struct vm *vm = registry_at(daemon_.registry, 0);

		CHECK(i < 200);
		c.last = false;
		memset(c.answered, 0, sizeof(c.answered));
		send_request(&c, "vm.stop", of_vm(vm->name), 0, 0);
		send_request(&c, "vm.delete", of_vm(vm->name), 1, 0);
		finish(&c);
	}
	disconnect(&c);
}

/* Connections end when the loop has seen that their clients are gone. */
static void clean_up(void)
{
	const uint64_t begun = hvd_now_ms();

	if (registry_count(daemon_.registry))
		delete_all();
	while (open_descriptors() != descriptors)
		CHECK(turn_patiently(begun));
}

static void stop(void)
{
	hvd_stop(&daemon_);
	close(file);
}

static void start(void)
{
	const struct hvd_config config = {
		.socket = path, .engine = "fake", .bounds = hvd_default_bounds};

	log_set_level(LOG_LEVEL_ERROR);
	snprintf(path, sizeof(path), "/tmp/hvd-fuzz-%d.sock", (int)getpid());
	file = memfd_create("hvd-fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	CHECK(file >= 0 && write(file, "image", 5) == 5 && !ftruncate(file, 1 << 20));
	CHECK(!hvd_start(&daemon_, &config));
	atexit(stop);
	turn();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct choices in = {data, size};
	struct client c;

	if (!daemon_.base)
		start();
	descriptors = open_descriptors();
	c = connect_client();
	if (choose_byte(&in) & 1)
		play_choices(&c, &in);
	else
		play_bytes(&c, &in);
	disconnect(&c);
	clean_up();
	return 0;
}
