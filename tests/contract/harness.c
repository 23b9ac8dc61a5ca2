/* SPDX-License-Identifier: MIT */
#include "contract/harness.h"

#include "contract/guests.h"
#include "contract/strict.h"

#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

/* Long enough for a loaded machine under a sanitizer; only a hang gets there. */
#define PATIENCE_MS 120000

void (*contract_hardware)(const struct engine_config *cfg);

void contract_open(struct contract *c, const struct engine_config *cfg)
{
	struct engine_config without = *cfg;
	const char *name = c->name;
	int err;

	*c = (struct contract){.name = name};
	if (contract_hardware)
		contract_hardware(cfg);
	err = engine_open(name, cfg, &c->engine);
	without.unsafe_hooks = 0;
	if (err == -EINVAL && cfg->unsafe_hooks)
		err = engine_open(name, &without, &c->engine);
	if (err)
		fail_msg("engine %s does not open: %d", name, err);
	engine_get_info(c->engine, &c->info);
	assert_string_equal(c->info.name, name);
}

void contract_close(struct contract *c)
{
	engine_close(c->engine);
	c->engine = NULL;
}

bool contract_has(const struct contract *c, uint32_t capabilities)
{
	return (c->info.capabilities & capabilities) == capabilities;
}

/* Engines that make large changes in one piece. */
static bool has_pieces(const struct contract *c)
{
	static const char *const without[] = {STRICT_NAME, "vmx"};
	size_t i;

	for (i = 0; i < VMX_ARRAY_SIZE(without); i++)
		if (strcmp(without[i], c->name) == 0)
			return false;
	return true;
}

/* Real hardware is as it is. */
static bool has_machine(const struct contract *c)
{
	return contract_hardware || strcmp(c->name, "vmx") != 0;
}

bool contract_meets(const struct contract *c, uint32_t needs)
{
	if ((needs & NEEDS_PIECES) && !has_pieces(c))
		return false;
	if ((needs & NEEDS_MACHINE) && !has_machine(c))
		return false;
	return contract_has(c, needs & ~(NEEDS_PIECES | NEEDS_MACHINE));
}

void expect_reached(const struct contract *c, const struct engine_change *ch)
{
	uint32_t now = ch->invept_issued + ch->processors_interrupted;

	if (contract_has(c, ENGINE_CAP_DETERMINISTIC))
		assert_int_equal(now, 1);
	else
		assert_in_range(now + ch->processors_deferred, 1, c->info.processors);
}

/* --- events ------------------------------------------------------------------------------ */

static void wait_readable(struct contract *c)
{
	struct pollfd p = {.fd = engine_event_fd(c->engine), .events = POLLIN};

	if (poll(&p, 1, PATIENCE_MS) != 1)
		fail_msg("no event came");
}

/* Takes in one event; true: it is the completion of token. */
static bool take(struct contract *c, uint64_t token, struct engine_event *ret)
{
	struct engine_event ev;

	while (engine_next_event(c->engine, &ev) == -EAGAIN)
		wait_readable(c);
	if (ev.type == ENGINE_EVENT_COMPLETION) {
		/* One at a time is under way: any other would be a second completion. */
		assert_true(ev.token == token);
		/* Older STATE events are behind us; the one for this change is still to come. */
		if (((ev.op >= ENGINE_VM_START && ev.op <= ENGINE_VM_STOP) ||
		     ev.op == ENGINE_VM_RESET) &&
		    !ev.error.code)
			c->state[ev.vm % 256] = ev.state;
		*ret = ev;
		return true;
	}
	if (ev.type == ENGINE_EVENT_STATE) {
		c->state[ev.vm % 256] = ev.state;
		c->state_events[ev.vm % 256]++;
	} else if (ev.type == ENGINE_EVENT_CONSOLE) {
		c->console_events++;
	} else if (ev.type == ENGINE_EVENT_TRACE) {
		c->trace_events[ev.vm % 256]++;
	} else if (ev.type == ENGINE_EVENT_NOTICE) {
		c->notices[c->notice_count++ % VMX_ARRAY_SIZE(c->notices)] = ev.notice;
	} else {
		assert_int_equal(ev.type, ENGINE_EVENT_PROGRESS);
	}
	engine_event_release(&ev);
	return false;
}

struct engine_event call(struct contract *c, const struct engine_request *req, const void *payload,
			 size_t payload_bytes, const int *fds, size_t fd_count)
{
	struct engine_request r = *req;
	struct engine_event ev = {0};
	int err;

	r.token = ++c->token;
	err = engine_submit(c->engine, &r, payload, payload_bytes, fds, fd_count);
	if (err)
		fail_msg("submit of op %u: %d", req->op, err);
	while (!take(c, r.token, &ev))
		;
	assert_int_equal(ev.op, req->op);
	return ev;
}

struct engine_event call_ok(struct contract *c, const struct engine_request *req,
			    const void *payload, size_t payload_bytes)
{
	struct engine_event ev = call(c, req, payload, payload_bytes, NULL, 0);

	if (ev.error.code)
		fail_msg("op %u: %d, %s: %s", req->op, ev.error.code,
			 engine_field_name(ev.error.field), ev.error.text);
	return ev;
}

struct engine_event op(struct contract *c, uint64_t vm, enum engine_op what)
{
	struct engine_request req = {.op = what, .vm = vm};

	return call(c, &req, NULL, 0, NULL, 0);
}

void op_ok(struct contract *c, uint64_t vm, enum engine_op what)
{
	struct engine_request req = {.op = what, .vm = vm};
	struct engine_event ev = call_ok(c, &req, NULL, 0);

	engine_event_release(&ev);
}

/* --- VMs ------------------------------------------------------------------------------------ */

struct engine_request vm_request(void)
{
	struct engine_request req = {.op = ENGINE_VM_CREATE};

	req.u.create = (struct engine_vm_create){
		.memory_bytes = 16 * MIB,
		.vcpus = 1,
		.use_vpid = 1,
		.accessed_dirty = 1,
		.image_format = ENGINE_IMAGE_FLAT,
	};
	return req;
}

int file_of(const void *bytes, size_t size)
{
	int fd = memfd_create("contract", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, size), (ssize_t)size);
	return fd;
}

uint64_t vm_new(struct contract *c, const struct engine_request *req, const void *image,
		size_t image_bytes)
{
	struct engine_request r = *req;
	struct engine_event ev;
	int fd = -1;

	if (image) {
		fd = file_of(image, image_bytes);
		r.u.create.has_image = 1;
	}
	ev = call(c, &r, NULL, 0, &fd, image ? 1 : 0);
	if (image)
		close(fd);
	if (ev.error.code)
		fail_msg("create: %d, %s: %s", ev.error.code, engine_field_name(ev.error.field),
			 ev.error.text);
	assert_true(ev.vm != 0);
	assert_int_equal(ev.state.state, ENGINE_STATE_SHUTOFF);
	assert_int_equal(ev.state.reason, ENGINE_REASON_CREATED);
	return ev.vm;
}

static bool is_final(uint32_t state)
{
	return state != ENGINE_STATE_RUNNING;
}

struct engine_state_info wait_state(struct contract *c, uint64_t vm, enum engine_vm_state state)
{
	struct engine_event ev;

	while (c->state[vm % 256].state != state) {
		const struct engine_state_info *s = &c->state[vm % 256];

		if (is_final(s->state) && s->state)
			fail_msg("state %s (%s) instead of %s: %s", engine_state_name(s->state),
				 engine_reason_name(s->reason), engine_state_name(state),
				 s->report);
		assert_false(take(c, 0, &ev));
	}
	return c->state[vm % 256];
}

void wait_trace(struct contract *c, uint64_t vm, uint32_t count)
{
	struct engine_event ev;

	while (c->trace_events[vm % 256] <= count)
		assert_false(take(c, 0, &ev));
}

void wait_notice(struct contract *c, uint32_t count)
{
	struct engine_event ev;

	while (c->notice_count <= count)
		assert_false(take(c, 0, &ev));
}

uint64_t console_text(struct contract *c, uint64_t vm, char *text, size_t size)
{
	struct engine_request req = {.op = ENGINE_CONSOLE_READ, .vm = vm};
	struct engine_event ev;
	uint64_t total;

	req.u.console.max_bytes = (uint32_t)(size - 1);
	ev = call_ok(c, &req, NULL, 0);
	assert_true(ev.payload_bytes < size);
	memcpy(text, ev.payload, ev.payload_bytes);
	text[ev.payload_bytes] = '\0';
	total = ev.total;
	engine_event_release(&ev);
	return total;
}

void slot_add(struct contract *c, uint64_t vm, uint32_t slot, uint64_t size)
{
	struct engine_request req = {.op = ENGINE_SLOT_ADD, .vm = vm};
	struct engine_event ev;

	req.u.slot_add = (struct engine_slot_add){.size_bytes = size, .slot = slot};
	ev = call_ok(c, &req, NULL, 0);
	engine_event_release(&ev);
}

static void memory_write(struct contract *c, uint64_t vm, struct engine_mem_io io,
			 const void *bytes)
{
	struct engine_request req = {.op = ENGINE_MEM_WRITE, .vm = vm};
	struct engine_event ev;

	req.u.mem = io;
	ev = call_ok(c, &req, bytes, io.size_bytes);
	engine_event_release(&ev);
}

void slot_write(struct contract *c, uint64_t vm, uint32_t slot, uint64_t offset, const void *bytes,
		uint32_t size)
{
	memory_write(c, vm,
		     (struct engine_mem_io){.address = offset,
					    .size_bytes = size,
					    .kind = ENGINE_ADDR_SLOT,
					    .slot = slot},
		     bytes);
}

void gpa_write(struct contract *c, uint64_t vm, uint64_t gpa, const void *bytes, uint32_t size)
{
	memory_write(
		c, vm,
		(struct engine_mem_io){.address = gpa, .size_bytes = size, .kind = ENGINE_ADDR_GPA},
		bytes);
}

void gpa_read(struct contract *c, uint64_t vm, uint64_t gpa, void *bytes, uint32_t size)
{
	struct engine_request req = {.op = ENGINE_MEM_READ, .vm = vm};
	struct engine_event ev;

	req.u.mem =
		(struct engine_mem_io){.address = gpa, .size_bytes = size, .kind = ENGINE_ADDR_GPA};
	ev = call_ok(c, &req, NULL, 0);
	assert_int_equal(ev.payload_bytes, size);
	memcpy(bytes, ev.payload, size);
	engine_event_release(&ev);
}

int apply(struct contract *c, uint64_t vm, const struct engine_map_op *map_op, uint32_t flags,
	  struct engine_change *ret, struct engine_error *ret_error)
{
	struct engine_request req = {.op = ENGINE_MEM_APPLY, .vm = vm};
	struct engine_event ev;
	int err;

	req.u.apply = (struct engine_mem_apply){.count = 1, .flags = flags};
	ev = call(c, &req, map_op, sizeof(*map_op), NULL, 0);
	err = ev.error.code;
	if (ret_error)
		*ret_error = ev.error;
	if (!err) {
		assert_int_equal(ev.payload_bytes, sizeof(struct engine_change));
		if (ret)
			memcpy(ret, ev.payload, sizeof(*ret));
	}
	engine_event_release(&ev);
	return err;
}

void apply_ok(struct contract *c, uint64_t vm, const struct engine_map_op *map_op, uint32_t flags,
	      struct engine_change *ret)
{
	struct engine_error e;
	int err = apply(c, vm, map_op, flags, ret, &e);

	if (err)
		fail_msg("apply at 0x%lx: %d, %s: %s", (unsigned long)map_op->gpa, err,
			 engine_field_name(e.field), e.text);
}

uint64_t stat_of(struct contract *c, uint64_t vm, const char *name)
{
	struct engine_request req = {.op = ENGINE_STATS, .vm = vm};
	struct engine_event ev = call_ok(c, &req, NULL, 0);
	const struct engine_stat *s = ev.payload;
	size_t n = ev.payload_bytes / sizeof(*s), i;
	uint64_t sum = 0;
	bool found = false;

	for (i = 0; i < n; i++) {
		if (strcmp(s[i].name, name) != 0)
			continue;
		sum += s[i].value;
		found = true;
	}
	engine_event_release(&ev);
	if (!found)
		fail_msg("no counter %s", name);
	return sum;
}

void expect_same_counters(const struct engine_event *a, const struct engine_event *b)
{
	const struct engine_stat *x = a->payload, *y = b->payload;
	size_t i;

	assert_int_equal(a->payload_bytes, b->payload_bytes);
	for (i = 0; i < a->payload_bytes / sizeof(*x); i++)
		if (strcmp(x[i].name, y[i].name) != 0 || x[i].value != y[i].value)
			fail_msg("%s: %lu and %lu", x[i].name, (unsigned long)x[i].value,
				 (unsigned long)y[i].value);
}

struct engine_tlb_stats tlb_stats_of(struct contract *c, uint64_t vm, uint32_t vcpu)
{
	struct engine_request req = {.op = ENGINE_TLB_STATS, .vm = vm};
	struct engine_event ev = call_ok(c, &req, NULL, 0);
	const struct engine_tlb_stats *s = ev.payload;
	struct engine_tlb_stats ret;

	assert_true((vcpu + 1) * sizeof(*s) <= ev.payload_bytes);
	ret = s[vcpu];
	engine_event_release(&ev);
	return ret;
}

/* --- the agent ----------------------------------------------------------------------------- */

uint64_t agent_new(struct contract *c, const struct engine_request *req)
{
	uint64_t vm = vm_new(c, req, guest_agent, sizeof(guest_agent));

	op_ok(c, vm, ENGINE_VM_START);
	c->agent_seq = 0;
	return vm;
}

void agent_post(struct contract *c, uint64_t vm, enum agent_op what, uint64_t address,
		uint32_t value)
{
	const uint32_t words[3] = {(uint32_t)what, (uint32_t)address, value};
	const uint32_t seq = ++c->agent_seq;

	/* The guest looks meanwhile: the word that it waits for comes last. */
	gpa_write(c, vm, AGENT_MAILBOX + 4, words, sizeof(words));
	gpa_write(c, vm, AGENT_MAILBOX, &seq, sizeof(seq));
}

uint32_t agent_wait(struct contract *c, uint64_t vm)
{
	uint32_t answer[2];

	do {
		if (is_final(c->state[vm % 256].state))
			fail_msg("the agent's VM is %s: %s",
				 engine_state_name(c->state[vm % 256].state),
				 c->state[vm % 256].report);
		gpa_read(c, vm, AGENT_MAILBOX + 16, answer, sizeof(answer));
	} while (answer[0] != c->agent_seq);
	return answer[1];
}

uint32_t agent_do(struct contract *c, uint64_t vm, enum agent_op what, uint64_t address,
		  uint32_t value)
{
	agent_post(c, vm, what, address, value);
	return agent_wait(c, vm);
}
