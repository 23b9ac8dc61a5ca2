/* SPDX-License-Identifier: MIT */
/*
 * vtx_same TESTED_SOCKET OTHER_SOCKET GUESTS_DIR: runs each guest of same_guests.c on two
 * daemons, does the same to both, and compares how it ended, what it printed, every register
 * and what is in the memory that it was loaded to. A line for each; status 0 if all are the
 * same.
 */
#include "same.h"

#include <errno.h>
#include <fcntl.h>
#include <hvd/client.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define IMAGE_GPA "0x100000"
#define CALL_TIMEOUT_MS 120000
#define CONSOLE_MAX 65536
/* tests/vtx runs where a slow processor is the rule */
#define ACKNOWLEDGE_TRIES 20000

/* One of the two, and what the guest came to there. */
struct side {
	const char *name;
	struct hvd_client *hvd;
	struct json_object *vm, *registers, *memory;
	char console[CONSOLE_MAX];
};

/* --- requests ------------------------------------------------------------------------- */

static _Noreturn void die(const struct side *s, const char *what, const char *why)
{
	printf("FAILED: on %s: %s: %s\n", s->name, what, why);
	exit(1);
}

/* Puts params; the result is the caller's. */
static struct json_object *call(struct side *s, const char *method, struct json_object *params,
				const int *fds, size_t fd_count)
{
	struct json_object *result;
	struct hvd_error err;

	if (hvd_client_call(s->hvd, method, params, fds, fd_count, &result, &err) < 0)
		die(s, method, err.text);
	json_object_put(params);
	return result;
}

/* {"vm": name, members} */
static struct json_object *params_of(const char *name, const char *key, const char *members)
{
	char text[512];
	struct json_object *params;

	snprintf(text, sizeof(text), "{\"%s\":\"%s\"%s%s}", key, name, *members ? "," : "",
		 members);
	params = json_tokener_parse(text);
	if (!params) {
		printf("FAILED: no JSON: %s\n", text);
		exit(1);
	}
	return params;
}

static struct json_object *call_text(struct side *s, const char *method, const char *vm,
				     const char *members)
{
	return call(s, method, params_of(vm, "vm", members), NULL, 0);
}

static void create(struct side *s, const struct same_guest *g, const char *guests)
{
	char path[512], members[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", guests, g->image);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die(s, path, strerror(errno));
	snprintf(members, sizeof(members),
		 "\"image\":{\"fd\":0},\"start\":true,\"memory_bytes\":%u%s%s", g->memory_bytes,
		 *g->create ? "," : "", g->create);
	json_object_put(call(s, "vm.create", params_of(g->name, "name", members), &fd, 1));
	close(fd);
}

static struct json_object *member(struct json_object *object, const char *name)
{
	struct json_object *value = NULL;

	json_object_object_get_ex(object, name, &value);
	return value;
}

/* Until the guest has copied the mailbox's word to its answer. */
static void wait_acknowledged(struct side *s, const char *vm)
{
	const struct timespec pause = {.tv_nsec = 5000000};

	for (unsigned i = 0; i < ACKNOWLEDGE_TRIES; i++) {
		struct json_object *result =
			call_text(s, "memory.read", vm, "\"gpa\":\"0x300000\",\"size_bytes\":8");
		uint32_t words[2] = {0};
		size_t size = 0;
		int err = hvd_json_get_bytes(member(result, "data"), words, sizeof(words), &size);

		json_object_put(result);
		if (err < 0 || size != sizeof(words))
			die(s, vm, "the mailbox can't be read");
		if (words[0] == words[1])
			return;
		nanosleep(&pause, NULL);
	}
	die(s, vm, "no answer in the mailbox");
}

static void drive(struct side *s, const struct same_guest *g)
{
	for (size_t i = 0; i < SAME_STEPS && g->steps[i].method; i++) {
		if (strcmp(g->steps[i].method, SAME_ACKNOWLEDGED) == 0)
			wait_acknowledged(s, g->name);
		else
			json_object_put(
				call_text(s, g->steps[i].method, g->name, g->steps[i].members));
	}
}

/* --- the outcome ------------------------------------------------------------------------ */

static void look(struct side *s, const char *vm)
{
	struct json_object *result;
	size_t size = 0;

	json_object_put(call_text(s, "vm.wait", vm, ""));
	s->vm = call_text(s, "vm.get", vm, "");
	s->registers = call_text(s, "vcpu.get", vm, "");
	s->memory =
		call_text(s, "memory.read", vm, "\"gpa\":\"" IMAGE_GPA "\",\"size_bytes\":65536");
	result = call_text(s, "console.read", vm, "");
	if (hvd_json_get_bytes(member(result, "data"), s->console, sizeof(s->console) - 1, &size) <
	    0)
		die(s, vm, "what it printed can't be read");
	s->console[size] = '\0';
	json_object_put(result);
}

static void forget(struct side *s, const char *vm)
{
	json_object_put(s->vm);
	json_object_put(s->registers);
	json_object_put(s->memory);
	json_object_put(call_text(s, "vm.delete", vm, ""));
}

static const char *text_of(struct json_object *value)
{
	return value ? json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN) : "nothing";
}

/* Returns 1, and says so, if they differ. */
static unsigned differ(const char *vm, const char *what, struct json_object *a,
		       struct json_object *b)
{
	if (strcmp(text_of(a), text_of(b)) == 0)
		return 0;
	printf("%s: DIFFERENT %s: %.200s\n", vm, what, text_of(a));
	printf("%s: ... and on the other: %.200s\n", vm, text_of(b));
	return 1;
}

/* --- registers ------------------------------------------------------------------------------ */

#define AR_DPL 0x60u
#define AR_UNUSABLE 0x10000u

/* A register's value by its name; 0 if there is none. */
static uint64_t register_of(struct json_object *registers, const char *name)
{
	const size_t count = json_object_array_length(registers);
	uint64_t value = 0;

	for (size_t i = 0; i < count; i++) {
		struct json_object *r = json_object_array_get_idx(registers, i);

		if (strcmp(json_object_get_string(member(r, "name")), name) == 0)
			hvd_json_get_address(member(r, "value"), &value);
	}
	return value;
}

/*
 * What a processor saves of a segment that is unusable on both sides is undefined, but for
 * the bit that says so, SS.DPL, and the bases of FS and GS ("Saving Segment Registers and
 * Descriptor-Table Registers").
 */
static bool undefined(struct json_object *left, struct json_object *right, const char *name)
{
	char ar_name[16];
	uint64_t a, b;

	if (strlen(name) < 4 || name[2] != '.' || strcmp(name + 3, "sel") == 0)
		return false;
	if (strcmp(name + 3, "base") == 0 && (name[0] == 'f' || name[0] == 'g'))
		return false;
	snprintf(ar_name, sizeof(ar_name), "%.2s.ar", name);
	a = register_of(left, ar_name);
	b = register_of(right, ar_name);
	if ((a & b & AR_UNUSABLE) == 0)
		return false;
	return strcmp(name, "ss.ar") != 0 || (a & AR_DPL) == (b & AR_DPL);
}

static unsigned differ_registers(const char *vm, struct json_object *a, struct json_object *b,
				 size_t *ret_count)
{
	struct json_object *left = member(a, "registers"), *right = member(b, "registers");
	const size_t count = json_object_array_length(left);
	unsigned n = 0;

	if (count != json_object_array_length(right))
		return differ(vm, "registers", left, right);
	for (size_t i = 0; i < count; i++) {
		struct json_object *r = json_object_array_get_idx(left, i);

		if (!undefined(left, right, json_object_get_string(member(r, "name"))))
			n += differ(vm, "register", r, json_object_array_get_idx(right, i));
	}
	*ret_count = count;
	return n;
}

/* --- all of it ---------------------------------------------------------------------------- */

static unsigned differ_console(const char *vm, const char *a, const char *b)
{
	size_t at = 0;

	if (strcmp(a, b) == 0)
		return 0;
	while (a[at] == b[at])
		at++;
	printf("%s: DIFFERENT console from %zu: %.60s\n", vm, at, a + at);
	printf("%s: ... and on the other: %.60s\n", vm, b + at);
	return 1;
}

static unsigned compare(const char *vm, const struct side *a, const struct side *b)
{
	static const char *const members[] = {"state", "reason", "exit_status", "report", "cause"};
	const char *last = a->console;
	size_t registers = 0, lines = 0;
	unsigned n = 0;

	for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++)
		n += differ(vm, members[i], member(a->vm, members[i]), member(b->vm, members[i]));
	n += differ_console(vm, a->console, b->console);
	n += differ_registers(vm, a->registers, b->registers, &registers);
	n += differ(vm, "memory", member(a->memory, "data"), member(b->memory, "data"));
	for (const char *p = a->console; *p; p++)
		lines += *p == '\n';
	for (const char *p = a->console; *p; p++)
		if (*p == '\n' && p[1])
			last = p + 1;
	printf("%s: %s, status %s, %zu registers, %zu lines: %.*s\n", vm,
	       json_object_get_string(member(a->vm, "reason")),
	       text_of(member(a->vm, "exit_status")), registers, lines, (int)strcspn(last, "\n"),
	       last);
	return n;
}

/* --- every guest -------------------------------------------------------------------------- */

static unsigned run(struct side sides[2], const struct same_guest *g, const char *guests)
{
	unsigned n;

	for (int i = 0; i < 2; i++)
		create(&sides[i], g, guests);
	for (int i = 0; i < 2; i++)
		drive(&sides[i], g);
	for (int i = 0; i < 2; i++)
		look(&sides[i], g->name);
	n = compare(g->name, &sides[0], &sides[1]);
	for (int i = 0; i < 2; i++)
		forget(&sides[i], g->name);
	return n;
}

int main(int argc, char **argv)
{
	static struct side sides[2] = {{.name = "the tested"}, {.name = "the other"}};
	struct hvd_error err;
	unsigned differences = 0;
	size_t i;

	if (argc != 4) {
		fprintf(stderr, "usage: %s TESTED_SOCKET OTHER_SOCKET GUESTS_DIR\n", argv[0]);
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (i = 0; i < 2; i++) {
		if (hvd_client_open(argv[1 + i], &sides[i].hvd, &err) < 0)
			die(&sides[i], argv[1 + i], err.text);
		hvd_client_set_timeout(sides[i].hvd, CALL_TIMEOUT_MS);
	}
	for (i = 0; same_guests[i].name; i++)
		differences += run(sides, &same_guests[i], argv[3]);
	printf("%zu guests, %u differences\n", i, differences);
	for (i = 0; i < 2; i++)
		hvd_client_close(sides[i].hvd);
	return differences != 0;
}
