/* SPDX-License-Identifier: MIT */
/* VMs come, run, stop for a reason, start again, and go. */
#include "contract/cases.h"

#include "contract/guests.h"

#include <stdio.h>

static void hello(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t vm = vm_new(c, &req, guest_hello, sizeof(guest_hello));
	struct engine_state_info s;
	char text[32];

	op_ok(c, vm, ENGINE_VM_START);
	s = wait_state(c, vm, ENGINE_STATE_SHUTOFF);
	assert_int_equal(s.reason, ENGINE_REASON_EXITED);
	assert_int_equal(s.exit_status, 42);
	assert_int_equal(s.console_bytes, 6);
	assert_true(s.guest_time > 20); /* or not to be observed */
	assert_int_equal(console_text(c, vm, text, sizeof(text)), 6);
	assert_string_equal(text, "hello\n");
	assert_true(c->console_events >= 1);
	assert_int_equal(c->state_events[vm % 256], 2);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

/* Starting again is as the first time, whatever the guest did to its memory. */
static void again(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t vm = agent_new(c, &req);
	uint32_t zero = 0, i;
	char text[8];

	for (i = 0; i < 3; i++) {
		c->agent_seq = 0;
		/* Spoils its memory, its first instruction included. */
		agent_do(c, vm, AGENT_WRITE, 0x500000, 0x11223344);
		agent_do(c, vm, AGENT_WRITE, 0x100000, 0xffffffff);
		agent_do(c, vm, AGENT_PRINT, 0x500000, 0);
		console_text(c, vm, text, sizeof(text));
		assert_string_equal(text, "D");
		agent_post(c, vm, AGENT_EXIT1, 0, i);
		assert_int_equal(wait_state(c, vm, ENGINE_STATE_SHUTOFF).exit_status, i);
		/* What it left is there until it starts again. */
		gpa_read(c, vm, 0x500000, &zero, 4);
		assert_int_equal(zero, 0x11223344);
		op_ok(c, vm, ENGINE_VM_START);
		gpa_read(c, vm, 0x500000, &zero, 4);
		assert_int_equal(zero, 0);
	}
	op_ok(c, vm, ENGINE_VM_STOP);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

static void pause_resume(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t vm = agent_new(c, &req);
	struct engine_tlb_stats before, after;
	uint32_t i;

	for (i = 0; i < 20; i++) {
		agent_do(c, vm, AGENT_WRITE, 0x500000, i);
		op_ok(c, vm, ENGINE_VM_PAUSE);
		assert_int_equal(wait_state(c, vm, ENGINE_STATE_PAUSED).reason, ENGINE_REASON_USER);
		/* Paused, it makes no progress. */
		before = tlb_stats_of(c, vm, 0);
		op_ok(c, vm, ENGINE_VM_INFO);
		after = tlb_stats_of(c, vm, 0);
		assert_int_equal(before.retired, after.retired);
		agent_post(c, vm, AGENT_READ, 0x500000, 0);
		op_ok(c, vm, ENGINE_VM_RESUME);
		assert_int_equal(agent_wait(c, vm), i);
	}
	op_ok(c, vm, ENGINE_VM_STOP);
	assert_int_equal(wait_state(c, vm, ENGINE_STATE_SHUTOFF).reason, ENGINE_REASON_USER);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

/* Which requests a state refuses. A guest is brought into each of them. */
enum in_state { IN_SHUTOFF, IN_RUNNING, IN_PAUSED, IN_CRASHED, IN_STATES };

static const struct {
	enum engine_op op;
	bool allowed[IN_STATES];
} rules[] = {
	{ENGINE_VM_PAUSE, {false, true, false, false}},
	{ENGINE_VM_RESUME, {false, false, true, false}},
	{ENGINE_VM_STOP, {true, true, true, true}},
	{ENGINE_VM_START, {true, false, false, true}},
	{ENGINE_VM_DELETE, {true, false, false, true}},
};

static uint64_t bring_into(struct contract *c, enum in_state state)
{
	struct engine_request req = vm_request();
	uint64_t vm = agent_new(c, &req);

	if (state == IN_SHUTOFF)
		op_ok(c, vm, ENGINE_VM_STOP);
	if (state == IN_PAUSED)
		op_ok(c, vm, ENGINE_VM_PAUSE);
	if (state == IN_CRASHED) {
		agent_post(c, vm, AGENT_CRASH, 0, 0);
		wait_state(c, vm, ENGINE_STATE_CRASHED);
	}
	return vm;
}

static void states(struct contract *c)
{
	size_t i;
	int st;

	for (i = 0; i < VMX_ARRAY_SIZE(rules); i++) {
		for (st = 0; st < IN_STATES; st++) {
			uint64_t vm = bring_into(c, (enum in_state)st);
			struct engine_event ev = op(c, vm, rules[i].op);

			if (rules[i].allowed[st]) {
				assert_int_equal(ev.error.code, 0);
			} else {
				assert_int_equal(ev.error.code, -EBUSY);
				assert_int_equal(ev.error.field, ENGINE_FIELD_STATE);
				assert_true(ev.error.text[0] != '\0');
			}
			engine_event_release(&ev);
			if (rules[i].op == ENGINE_VM_DELETE && rules[i].allowed[st])
				continue;
			op_ok(c, vm, ENGINE_VM_STOP);
			op_ok(c, vm, ENGINE_VM_DELETE);
		}
	}
}

static const struct {
	enum agent_op op;
	uint32_t value, status;
} exits[] = {
	{AGENT_EXIT1, 0x1234567f, 0x7f},
	{AGENT_EXIT2, 0x12345678, 0x5678},
	{AGENT_EXIT4, 0xdeadbeef, 0xdeadbeef},
	{AGENT_EXIT1, 0, 0},
};

static void exit_status(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t vm = agent_new(c, &req);
	struct engine_state_info s;
	size_t i;

	for (i = 0; i < VMX_ARRAY_SIZE(exits); i++) {
		c->agent_seq = 0;
		agent_post(c, vm, exits[i].op, 0, exits[i].value);
		s = wait_state(c, vm, ENGINE_STATE_SHUTOFF);
		assert_int_equal(s.reason, ENGINE_REASON_EXITED);
		assert_int_equal(s.exit_status, exits[i].status);
		op_ok(c, vm, ENGINE_VM_START);
	}
	op_ok(c, vm, ENGINE_VM_STOP);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

static void halted(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t vm = agent_new(c, &req);
	struct engine_state_info s;

	agent_post(c, vm, AGENT_HALT, 0, 0);
	s = wait_state(c, vm, ENGINE_STATE_SHUTOFF);
	assert_int_equal(s.reason, ENGINE_REASON_HALTED);
	assert_true(s.report[0] != '\0');
	op_ok(c, vm, ENGINE_VM_DELETE);
}

/* One guest's end is not the others'. */
static void triple_fault(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t other = agent_new(c, &req), vm;
	uint32_t seq = c->agent_seq;
	struct engine_state_info s;

	vm = agent_new(c, &req);
	agent_post(c, vm, AGENT_CRASH, 0, 0);
	s = wait_state(c, vm, ENGINE_STATE_CRASHED);
	assert_int_equal(s.reason, ENGINE_REASON_TRIPLE_FAULT);
	assert_non_null(strstr(s.report, "triple fault"));
	c->agent_seq = seq;
	agent_do(c, other, AGENT_WRITE, 0x500000, 1);
	/* Stopped, it can start again. */
	op_ok(c, vm, ENGINE_VM_STOP);
	op_ok(c, vm, ENGINE_VM_START);
	c->agent_seq = 0;
	agent_do(c, vm, AGENT_WRITE, 0x500000, 1);
	op_ok(c, vm, ENGINE_VM_STOP);
	op_ok(c, vm, ENGINE_VM_DELETE);
	op_ok(c, other, ENGINE_VM_STOP);
	op_ok(c, other, ENGINE_VM_DELETE);
}

/* The first vCPU runs; the others wait for a start-up IPI. */
static void many_vcpus(struct contract *c)
{
	struct engine_request req = vm_request();
	struct engine_request info = {.op = ENGINE_VM_INFO};
	const struct engine_vcpu_info *v;
	struct engine_event ev;
	bool counted;
	uint64_t vm;
	uint32_t i;

	req.u.create.vcpus = 4;
	for (i = 0; i < 4; i++)
		req.u.create.processor[i] = ENGINE_ANY_PROCESSOR;
	vm = agent_new(c, &req);
	agent_do(c, vm, AGENT_WRITE, 0x500000, 1);
	info.vm = vm;
	ev = call_ok(c, &info, NULL, 0);
	assert_int_equal(ev.payload_bytes, 4 * sizeof(*v));
	v = ev.payload;
	assert_int_equal(v[0].activity, 0);
	assert_true(v[0].retired > 0);
	counted = v[0].retired != UINT64_MAX;
	for (i = 1; i < 4; i++) {
		assert_int_equal(v[i].vcpu, i);
		assert_int_equal(v[i].activity, 3);
		assert_true(v[i].retired == (counted ? 0 : UINT64_MAX));
		/* Spread over the processors; the first may have moved. */
		assert_int_equal(v[i].processor, (v[1].processor + i - 1) % c->info.processors);
	}
	engine_event_release(&ev);
	agent_post(c, vm, AGENT_HALT, 0, 0);
	assert_int_equal(wait_state(c, vm, ENGINE_STATE_SHUTOFF).reason, ENGINE_REASON_HALTED);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

static void no_image(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t vm = vm_new(c, &req, NULL, 0);
	struct engine_event ev = op(c, vm, ENGINE_VM_START);

	assert_int_equal(ev.error.code, -EINVAL);
	assert_int_equal(ev.error.field, ENGINE_FIELD_IMAGE);
	engine_event_release(&ev);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

/* Closing takes running VMs with it. */
static void close_running(struct contract *c)
{
	struct engine_request req = vm_request();
	int i;

	for (i = 0; i < 3; i++)
		agent_new(c, &req);
}

/* The console keeps the last of what was printed, and says where that begins. */
static void console_overflow(struct contract *c)
{
	struct engine_request req = vm_request(), rd = {.op = ENGINE_CONSOLE_READ};
	uint64_t vm = vm_new(c, &req, guest_flood, sizeof(guest_flood));
	struct engine_event ev;
	const uint8_t *p;
	size_t i;

	op_ok(c, vm, ENGINE_VM_START);
	assert_int_equal(wait_state(c, vm, ENGINE_STATE_SHUTOFF).console_bytes, 1500000);
	rd.vm = vm;
	rd.u.console.max_bytes = ENGINE_MAX_DATA;
	ev = call_ok(c, &rd, NULL, 0);
	assert_int_equal(ev.total, 1500000);
	assert_int_equal(ev.payload_bytes, ENGINE_MAX_DATA);
	assert_int_equal(ev.first, 1500000 - ENGINE_MAX_DATA);
	p = ev.payload;
	for (i = 0; i < ev.payload_bytes; i++)
		if (p[i] != (uint8_t)(1500000 - (ev.first + i)))
			fail_msg("byte %zu is 0x%02x", i, p[i]);
	engine_event_release(&ev);
	rd.u.console.offset = 1499999;
	ev = call_ok(c, &rd, NULL, 0);
	assert_int_equal(ev.payload_bytes, 1);
	assert_int_equal(ev.first, 1499999);
	engine_event_release(&ev);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

/* Many VMs at once, each with its own end. */
static void crowd(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t vm[40];
	size_t i;

	req.u.create.memory_bytes = 8 * MIB;
	for (i = 0; i < VMX_ARRAY_SIZE(vm); i++) {
		req.u.create.processor[0] = ENGINE_ANY_PROCESSOR;
		vm[i] = vm_new(c, &req, guest_hello, sizeof(guest_hello));
	}
	for (i = 0; i < VMX_ARRAY_SIZE(vm); i++)
		op_ok(c, vm[i], ENGINE_VM_START);
	for (i = 0; i < VMX_ARRAY_SIZE(vm); i++)
		assert_int_equal(wait_state(c, vm[i], ENGINE_STATE_SHUTOFF).exit_status, 42);
	for (i = 0; i < VMX_ARRAY_SIZE(vm); i++)
		op_ok(c, vm[i], ENGINE_VM_DELETE);
	/* Ids are not used again: a late request must not reach another VM. */
	assert_true(vm_new(c, &req, NULL, 0) > vm[VMX_ARRAY_SIZE(vm) - 1]);
}

const struct contract_case lifecycle_cases[] = {
	{"hello", hello, 0},
	{"again", again, 0},
	{"pause_resume", pause_resume, 0},
	{"states", states, 0},
	{"exit_status", exit_status, 0},
	{"halted", halted, 0},
	{"triple_fault", triple_fault, 0},
	{"many_vcpus", many_vcpus, 0},
	{"no_image", no_image, 0},
	{"close_running", close_running, 0},
	{"console_overflow", console_overflow, 0},
	{"crowd", crowd, 0},
	{NULL, NULL, 0},
};
