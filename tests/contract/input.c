/* SPDX-License-Identifier: MIT */
/* Input for a guest's serial port. */
#include "contract/cases.h"

#include "contract/guests.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static struct engine_event type_bytes(struct contract *c, uint64_t vm, const void *bytes,
				      uint32_t count)
{
	struct engine_request req = {.op = ENGINE_CONSOLE_WRITE, .vm = vm};

	req.u.console_write.size_bytes = count;
	return call(c, &req, bytes, count, NULL, 0);
}

/* All of it is taken; returns how many wait. */
static uint64_t type_ok(struct contract *c, uint64_t vm, const char *text)
{
	struct engine_event ev = type_bytes(c, vm, text, (uint32_t)strlen(text));
	uint64_t waiting = ev.first;

	if (ev.error.code)
		fail_msg("input: %d: %s", ev.error.code, ev.error.text);
	assert_int_equal(ev.total, strlen(text));
	engine_event_release(&ev);
	return waiting;
}

/* The guest of guests/echo.c, from its file. */
static uint64_t echo_new(struct contract *c)
{
	struct engine_request req = vm_request();
	int fd = open(GUEST_ECHO, O_RDONLY | O_CLOEXEC);
	struct engine_event ev;

	assert_true(fd >= 0);
	req.u.create.image_format = ENGINE_IMAGE_ELF64;
	req.u.create.has_image = 1;
	ev = call(c, &req, NULL, 0, &fd, 1);
	close(fd);
	assert_int_equal(ev.error.code, 0);
	return ev.vm;
}

/* Waits until the guest has printed text. */
static void wait_text(struct contract *c, uint64_t vm, const char *text)
{
	static char got[262144];

	do {
		if (c->state[vm % 256].state != ENGINE_STATE_RUNNING)
			fail_msg("the guest is %s: %s", engine_state_name(c->state[vm % 256].state),
				 c->state[vm % 256].report);
		console_text(c, vm, got, sizeof(got));
	} while (!strstr(got, text));
}

static void conversation(struct contract *c)
{
	uint64_t vm = echo_new(c);
	char text[256];

	op_ok(c, vm, ENGINE_VM_START);
	wait_text(c, vm, "> ");
	type_ok(c, vm, "hello, guest\n");
	wait_text(c, vm, "HELLO, GUEST\n> ");
	type_ok(c, vm, "in ");
	type_ok(c, vm, "parts\n");
	wait_text(c, vm, "IN PARTS\n> ");
	type_ok(c, vm, "quit\n");
	assert_int_equal(wait_state(c, vm, ENGINE_STATE_SHUTOFF).exit_status, 0);
	console_text(c, vm, text, sizeof(text));
	assert_non_null(strstr(text, "echo: 2 lines, 0 overruns"));
	op_ok(c, vm, ENGINE_VM_DELETE);
}

/* As much as waits at all: the guest reads every byte, in order, none overrun. */
static void input_flood(struct contract *c)
{
	static char line[ENGINE_MAX_INPUT];
	uint64_t vm = echo_new(c), done = 0;
	struct engine_event ev;
	char text[64];
	size_t i;

	for (i = 0; i < sizeof(line); i++)
		line[i] = i % 64 == 63 ? '\n' : (char)('a' + i / 64 % 26);
	op_ok(c, vm, ENGINE_VM_START);
	op_ok(c, vm, ENGINE_VM_PAUSE);
	ev = type_bytes(c, vm, line, sizeof(line));
	assert_int_equal(ev.error.code, 0);
	assert_int_equal(ev.total, sizeof(line));
	assert_int_equal(ev.first, sizeof(line));
	/* Full: the rest is not taken, and that is no error. */
	ev = type_bytes(c, vm, "quit\n", 5);
	assert_int_equal(ev.error.code, 0);
	assert_int_equal(ev.total, 0);
	assert_int_equal(ev.first, sizeof(line));
	op_ok(c, vm, ENGINE_VM_RESUME);
	while (done < 5) {
		ev = type_bytes(c, vm, &"quit\n"[done], (uint32_t)(5 - done));
		assert_int_equal(ev.error.code, 0);
		done += ev.total;
	}
	assert_int_equal(wait_state(c, vm, ENGINE_STATE_SHUTOFF).exit_status, 0);
	snprintf(text, sizeof(text), "echo: %u lines, 0 overruns", ENGINE_MAX_INPUT / 64);
	{
		static char got[2 * ENGINE_MAX_INPUT];
		char *at;

		console_text(c, vm, got, sizeof(got));
		assert_non_null(strstr(got, text));
		at = strstr(got, "> ");
		for (i = 0; i < sizeof(line) / 64; i++, at += 66) {
			assert_memory_equal(at, "> ", 2);
			assert_int_equal(at[2], 'A' + i % 26);
			assert_int_equal(at[64], 'A' + i % 26);
			assert_int_equal(at[65], '\n');
		}
	}
	op_ok(c, vm, ENGINE_VM_DELETE);
}

/* What waits is gone with the run that it was meant for. */
static void input_forgotten(struct contract *c)
{
	uint64_t vm = echo_new(c);
	char text[256];

	op_ok(c, vm, ENGINE_VM_START);
	wait_text(c, vm, "> ");
	op_ok(c, vm, ENGINE_VM_PAUSE);
	assert_int_equal(type_ok(c, vm, "quit\n"), 5);
	op_ok(c, vm, ENGINE_VM_RESET);
	wait_text(c, vm, "> ");
	op_ok(c, vm, ENGINE_VM_PAUSE);
	assert_int_equal(type_ok(c, vm, "quit\n"), 5);
	op_ok(c, vm, ENGINE_VM_STOP);
	op_ok(c, vm, ENGINE_VM_START);
	wait_text(c, vm, "> ");
	assert_true(type_ok(c, vm, "x\nquit\n") <= 7);
	assert_int_equal(wait_state(c, vm, ENGINE_STATE_SHUTOFF).exit_status, 0);
	console_text(c, vm, text, sizeof(text));
	assert_non_null(strstr(text, "> X\n> echo: 1 lines"));
	op_ok(c, vm, ENGINE_VM_DELETE);
}

static void bad_input(struct contract *c)
{
	struct engine_request req = {.op = ENGINE_CONSOLE_WRITE};
	static const char big[ENGINE_MAX_INPUT + 1];
	uint64_t vm = echo_new(c);
	struct engine_event ev = type_bytes(c, vm, "a", 1);

	assert_int_equal(ev.error.code, -EBUSY);
	assert_int_equal(ev.error.field, ENGINE_FIELD_STATE);
	req.vm = vm;
	req.u.console_write.size_bytes = sizeof(big);
	assert_int_equal(engine_submit(c->engine, &req, big, sizeof(big), NULL, 0), -EINVAL);
	req.u.console_write.size_bytes = 2;
	assert_int_equal(engine_submit(c->engine, &req, big, 1, NULL, 0), -EINVAL);
	op_ok(c, vm, ENGINE_VM_START);
	/* Nothing is no error. */
	ev = type_bytes(c, vm, NULL, 0);
	assert_int_equal(ev.error.code, 0);
	assert_int_equal(ev.total + ev.first, 0);
	op_ok(c, vm, ENGINE_VM_STOP);
	ev = type_bytes(c, vm, "a", 1);
	assert_int_equal(ev.error.code, -EBUSY);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

const struct contract_case input_cases[] = {
	{"conversation", conversation, 0},
	{"input_flood", input_flood, 0},
	{"input_forgotten", input_forgotten, 0},
	{"bad_input", bad_input, 0},
	{NULL, NULL, 0},
};
