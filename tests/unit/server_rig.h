/* SPDX-License-Identifier: MIT */
/*
 * A daemon over the fake engine and its clients, all in one thread: clients don't block, and
 * whoever waits lets the daemon's loop turn.
 */
#ifndef SERVER_RIG_H
#define SERVER_RIG_H

#include "hvd/hvd.h"
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define PATIENCE_MS 20000
#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)

struct client {
	int fd;
	struct proto_framer in;
	bool eof;
};

extern char folder[64], path[96]; /* of the socket */
extern struct hvd daemon_;

/* Of the group: a folder; afterwards no descriptor is left. */
int make_folder(void **state);
int remove_folder(void **state);
/* Of a test: a daemon with the default bounds. */
int start(void **state);
int stop(void **state);
void start_with(const struct hvd_bounds *bounds);
void turn(void);

/* Of this process. */
unsigned open_descriptors(void);

struct client connect_client(void);
void disconnect(struct client *c);
void send_bytes(struct client *c, const char *data, size_t len);
void say(struct client *c, const char *line);
/* Takes what there is; NULL: no whole line. */
char *take_line(struct client *c);
/* The next message, which is to be put. */
struct json_object *hear(struct client *c);
void hear_nothing(struct client *c);
void hear_eof(struct client *c);
/* The member at a path of names: "error.data.kind". NULL: none, or null. */
struct json_object *at(struct json_object *obj, const char *where);
/* The next message has this member of that value. */
void expect(struct client *c, const char *where, const char *value);
void expect_error(struct client *c, const char *kind, const char *field);
/* Sends a request with id 1. */
void call(struct client *c, const char *method, const char *params);
void create(struct client *c, const char *name);

#endif
