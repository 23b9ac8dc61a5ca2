/* SPDX-License-Identifier: MIT */
/* What takes long: progress, cancelling, and what goes on beside it. */
#include "contract/cases.h"

#include "contract/guests.h"
#include "contract/slow_file.h"

#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define SPARE 5u
#define BIG_IMAGE (4 * MIB)

/* --- several requests at a time ------------------------------------------------------------ */

#define EVENTS_MAX 64u

/* Completions in the order in which they came, and what was told before. */
struct seen {
	struct engine_event done[EVENTS_MAX];
	size_t count;
	uint64_t progress[EVENTS_MAX]; /* events, by token modulo */
	uint64_t last_done[EVENTS_MAX], total[EVENTS_MAX];
};

static uint64_t post(struct contract *c, const struct engine_request *req, const void *payload,
		     size_t payload_bytes, const int *fd)
{
	struct engine_request r = *req;

	r.token = ++c->token;
	assert_int_equal(engine_submit(c->engine, &r, payload, payload_bytes, fd, fd ? 1 : 0), 0);
	return r.token;
}

static uint64_t post_op(struct contract *c, uint64_t vm, enum engine_op op)
{
	struct engine_request req = {.op = op, .vm = vm};

	return post(c, &req, NULL, 0, NULL);
}

static bool completed(const struct seen *seen, uint64_t token)
{
	size_t i;

	for (i = 0; i < seen->count; i++)
		if (seen->done[i].token == token)
			return true;
	return false;
}

static void note_progress(struct seen *seen, const struct engine_event *ev)
{
	size_t i = ev->token % EVENTS_MAX;

	assert_false(completed(seen, ev->token));
	assert_true(ev->total != 0 && ev->done <= ev->total);
	assert_true(ev->done > seen->last_done[i]);
	seen->progress[i]++;
	seen->last_done[i] = ev->done;
	seen->total[i] = ev->total;
}

/* Takes in one event. */
static void take_one(struct contract *c, struct seen *seen)
{
	struct pollfd p = {.fd = engine_event_fd(c->engine), .events = POLLIN};
	struct engine_event ev;

	while (engine_next_event(c->engine, &ev) == -EAGAIN)
		if (poll(&p, 1, 120000) != 1)
			fail_msg("no event came");
	if (ev.type == ENGINE_EVENT_PROGRESS)
		note_progress(seen, &ev);
	if (ev.type == ENGINE_EVENT_COMPLETION) {
		assert_true(seen->count < EVENTS_MAX);
		seen->done[seen->count++] = ev;
	}
	engine_event_release(&ev);
}

static struct engine_event wait_for(struct contract *c, struct seen *seen, uint64_t token)
{
	size_t i = 0;

	for (;;) {
		while (i == seen->count)
			take_one(c, seen);
		if (seen->done[i].token == token)
			return seen->done[i];
		i++;
	}
}

static void wait_progress(struct contract *c, struct seen *seen, uint64_t token)
{
	while (!seen->progress[token % EVENTS_MAX])
		take_one(c, seen);
}

/* --- a create whose file hangs ------------------------------------------------------------- */

static int big_image(void)
{
	int fd = file_of(guest_agent, sizeof(guest_agent));

	assert_int_equal(ftruncate(fd, (off_t)BIG_IMAGE), 0);
	return fd;
}

static uint64_t post_create(struct contract *c, int fd)
{
	struct engine_request req = vm_request();

	req.u.create.has_image = 1;
	return post(c, &req, NULL, 0, &fd);
}

/* The agent answers: its guest runs, and requests to it are served. */
static void check_alive(struct contract *c, uint64_t vm)
{
	agent_do(c, vm, AGENT_WRITE, 0x200000, 77);
	assert_int_equal(agent_do(c, vm, AGENT_READ, 0x200000, 0), 77);
}

static void create_progress(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t other = agent_new(c, &req), token;
	struct seen seen = {0};
	struct engine_event ev;
	int fd = big_image();

	slow_file_hold(fd, (long)BIG_IMAGE / 2);
	token = post_create(c, fd);
	wait_progress(c, &seen, token);
	assert_int_equal(seen.total[token % EVENTS_MAX], BIG_IMAGE);
	check_alive(c, other);
	slow_file_release();
	ev = wait_for(c, &seen, token);
	assert_int_equal(ev.error.code, 0);
	op_ok(c, ev.vm, ENGINE_VM_START);
	op_ok(c, ev.vm, ENGINE_VM_STOP);
	op_ok(c, ev.vm, ENGINE_VM_DELETE);
	close(fd);
}

static void create_cancel(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t other = agent_new(c, &req), token;
	struct seen seen = {0};
	struct engine_event ev;
	int fd = big_image();

	slow_file_hold(fd, 0);
	token = post_create(c, fd);
	slow_file_wait();
	engine_cancel(c->engine, token);
	ev = wait_for(c, &seen, token);
	assert_int_equal(ev.error.code, -ECANCELED);
	assert_int_equal(ev.vm, 0);
	check_alive(c, other);
	slow_file_release();
	token = post_create(c, fd);
	assert_int_equal(wait_for(c, &seen, token).error.code, 0);
	close(fd);
}

/* More files hang, and are given up, than are read at a time. */
static void creates_cancelled(struct contract *c)
{
	struct seen seen = {0};
	uint64_t token[20];
	int fd = big_image();
	size_t i;

	slow_file_hold(fd, 0);
	for (i = 0; i < VMX_ARRAY_SIZE(token); i++)
		token[i] = post_create(c, fd);
	slow_file_wait();
	for (i = 0; i < VMX_ARRAY_SIZE(token); i++)
		engine_cancel(c->engine, token[i]);
	for (i = 0; i < VMX_ARRAY_SIZE(token); i++)
		assert_int_equal(wait_for(c, &seen, token[i]).error.code, -ECANCELED);
	slow_file_release();
	token[0] = post_create(c, fd);
	assert_int_equal(wait_for(c, &seen, token[0]).error.code, 0);
	close(fd);
}

/* --- one VM's requests -------------------------------------------------------------------- */

static uint64_t post_file_slot(struct contract *c, uint64_t vm, int fd)
{
	struct engine_request req = {.op = ENGINE_SLOT_ADD, .vm = vm};

	req.u.slot_add = (struct engine_slot_add){
		.size_bytes = MIB, .slot = SPARE, .kind = ENGINE_SLOT_FILE};
	return post(c, &req, NULL, 0, &fd);
}

static void check_order(const struct seen *seen, size_t from, const uint64_t *tokens, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (seen->done[from + i].token != tokens[i])
			fail_msg("completion %zu is of token %lu instead of %lu", i,
				 (unsigned long)seen->done[from + i].token,
				 (unsigned long)tokens[i]);
}

static void order(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t vm = agent_new(c, &req), other = vm_new(c, &req, NULL, 0), tokens[4], token;
	struct seen seen = {0};
	int fd = big_image();

	slow_file_hold(fd, 0);
	tokens[0] = post_file_slot(c, vm, fd);
	tokens[1] = post_op(c, vm, ENGINE_SLOT_LIST);
	tokens[2] = post_op(c, vm, ENGINE_VM_STOP);
	tokens[3] = post_op(c, vm, ENGINE_VM_DELETE);
	token = post_op(c, other, ENGINE_VM_INFO);
	wait_for(c, &seen, token);
	assert_int_equal(seen.count, 1);
	slow_file_release();
	wait_for(c, &seen, tokens[3]);
	check_order(&seen, 1, tokens, VMX_ARRAY_SIZE(tokens));
	close(fd);
}

/* What waits behind a delete finds the VM gone. */
static void after_delete(struct contract *c)
{
	struct engine_request req = vm_request();
	struct seen seen = {0};
	uint64_t vm, tokens[3];

	req.u.create.memory_bytes = 64 * MIB;
	vm = vm_new(c, &req, NULL, 0);
	tokens[0] = post_op(c, vm, ENGINE_VM_DELETE);
	tokens[1] = post_op(c, vm, ENGINE_VM_INFO);
	tokens[2] = post_op(c, vm, ENGINE_VM_DELETE);
	wait_for(c, &seen, tokens[2]);
	check_order(&seen, 0, tokens, VMX_ARRAY_SIZE(tokens));
	assert_int_equal(seen.done[0].error.code, 0);
	assert_int_equal(seen.done[1].error.code, -ENOENT);
	assert_int_equal(seen.done[2].error.code, -ENOENT);
}

/* A second start is a job: what is asked meanwhile sees its end. */
static void restart_order(struct contract *c)
{
	struct engine_request req = vm_request();
	struct seen seen = {0};
	uint64_t vm, tokens[3];

	req.u.create.memory_bytes = 64 * MIB;
	vm = agent_new(c, &req);
	check_alive(c, vm);
	op_ok(c, vm, ENGINE_VM_STOP);
	tokens[0] = post_op(c, vm, ENGINE_VM_START);
	tokens[1] = post_op(c, vm, ENGINE_VM_PAUSE);
	tokens[2] = post_op(c, vm, ENGINE_VM_RESET);
	wait_for(c, &seen, tokens[2]);
	check_order(&seen, 0, tokens, VMX_ARRAY_SIZE(tokens));
	assert_int_equal(seen.done[0].error.code, 0);
	assert_int_equal(seen.done[1].error.code, 0);
	assert_int_equal(seen.done[2].error.code, 0);
	assert_int_equal(seen.done[2].state.state, ENGINE_STATE_RUNNING);
	c->agent_seq = 0;
	check_alive(c, vm);
}

static void slot_cancel(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t vm = vm_new(c, &req, NULL, 0), slot, info, list;
	struct seen seen = {0};
	struct engine_event ev;
	int fd = big_image();
	unsigned i;

	slow_file_hold(fd, 0);
	slot = post_file_slot(c, vm, fd);
	info = post_op(c, vm, ENGINE_VM_INFO);
	list = post_op(c, vm, ENGINE_SLOT_LIST);
	slow_file_wait();
	engine_cancel(c->engine, info);
	ev = wait_for(c, &seen, info);
	assert_int_equal(ev.error.code, -ECANCELED);
	assert_int_equal(seen.count, 1);
	/* Most of these are cancelled before the engine's thread has seen them. */
	for (i = 0; i < EVENTS_MAX / 2; i++) {
		info = post_op(c, vm, ENGINE_VM_INFO);
		engine_cancel(c->engine, info);
		assert_int_equal(wait_for(c, &seen, info).error.code, -ECANCELED);
	}
	engine_cancel(c->engine, slot);
	assert_int_equal(wait_for(c, &seen, slot).error.code, -ECANCELED);
	ev = wait_for(c, &seen, list);
	assert_int_equal(ev.error.code, 0);
	slow_file_release();
	slot = post_file_slot(c, vm, fd);
	assert_int_equal(wait_for(c, &seen, slot).error.code, 0);
	close(fd);
}

static void cancel_unknown(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t vm = vm_new(c, &req, NULL, 0);

	engine_cancel(c->engine, 0);
	engine_cancel(c->engine, UINT64_MAX);
	/* One that is completed. */
	engine_cancel(c->engine, c->token);
	op_ok(c, vm, ENGINE_VM_INFO);
}

/* --- large changes --------------------------------------------------------------------------- */

#define BIG (UINT64_C(16) << 30)
#define BIG_GPA (UINT64_C(64) << 30)
#define TRIES 50

static const struct engine_map_op map_big = {.gpa = BIG_GPA,
					     .size_bytes = BIG,
					     .kind = ENGINE_MAP,
					     .slot = SPARE,
					     .prot = 7,
					     .memtype = 6};
static const struct engine_map_op unmap_big = {
	.gpa = BIG_GPA, .size_bytes = BIG, .kind = ENGINE_UNMAP};

/* Large enough for a change of it not to be done at once. Where memory is pinned, it has to
 * be there. */
static uint64_t big_of(const struct contract *c)
{
	return contract_has(c, ENGINE_CAP_DETERMINISTIC) ? BIG : (UINT64_C(1) << 30) + 2 * MIB;
}

/* A VM with the agent, pages of 4 KiB, and a large slot. */
static uint64_t with_big_slot(struct contract *c, uint64_t size)
{
	struct engine_request req = vm_request();
	uint64_t vm;

	req.u.create.ept_page_bytes = 4096;
	vm = agent_new(c, &req);
	slot_add(c, vm, SPARE, size);
	return vm;
}

static uint64_t post_apply(struct contract *c, uint64_t vm, const struct engine_map_op *op)
{
	struct engine_request req = {.op = ENGINE_MEM_APPLY, .vm = vm};

	req.u.apply.count = 1;
	return post(c, &req, op, sizeof(*op), NULL);
}

/* Mapped bytes of the slot, and bytes of the VM's EPT tables. */
static void look(struct contract *c, uint64_t vm, uint64_t *ret_mapped, uint64_t *ret_tables)
{
	struct engine_request req = {.op = ENGINE_MAPPING_LIST, .vm = vm};
	struct engine_event ev;
	const struct engine_mappings *m;

	req.u.mapping_list.max = 16;
	ev = call_ok(c, &req, NULL, 0);
	m = ev.payload;
	*ret_tables = m->table_bytes;
	*ret_mapped = 0;
	for (uint32_t i = 0; i < m->count; i++)
		*ret_mapped += m->mapping[i].slot == SPARE ? 4096 * m->mapping[i].leaves_4k : 0;
	engine_event_release(&ev);
}

/* Other VMs, and this one's guest, go on while a change is built; then it holds as a whole. */
static void big_map(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t vm = with_big_slot(c, BIG), other, tokens[2], mapped, tables, before;
	uint32_t seq = c->agent_seq;
	struct engine_change dry, change;
	struct seen seen = {0};

	look(c, vm, &mapped, &before);
	apply_ok(c, vm, &map_big, ENGINE_CHANGE_DRY_RUN, &dry);
	look(c, vm, &mapped, &tables);
	assert_true(mapped == 0 && tables == before);
	other = agent_new(c, &req);
	tokens[0] = post_apply(c, vm, &map_big);
	tokens[1] = post_op(c, vm, ENGINE_VM_INFO);
	wait_progress(c, &seen, tokens[0]);
	assert_int_equal(seen.total[tokens[0] % EVENTS_MAX], BIG);
	wait_for(c, &seen, tokens[1]);
	check_order(&seen, 0, tokens, VMX_ARRAY_SIZE(tokens));
	check_alive(c, other);
	c->agent_seq = seq;
	look(c, vm, &mapped, &tables);
	assert_int_equal(mapped, BIG);
	assert_int_equal(tables - before, (dry.tables_allocated - dry.tables_freed) * 4096);
	assert_int_equal(dry.entries_written, BIG / 4096);
	apply_ok(c, vm, &unmap_big, 0, &change);
	assert_int_equal(change.entries_written, BIG / 4096);
	assert_int_equal(change.need, 2);
	look(c, vm, &mapped, &tables);
	assert_true(mapped == 0 && tables == before);
	check_alive(c, vm);
}

/* Cancelled when it has begun, unless it was faster. */
static bool cancelled(struct contract *c, uint64_t vm, const struct engine_map_op *op)
{
	struct seen seen = {0};
	uint64_t token = post_apply(c, vm, op);
	struct engine_event ev;

	wait_progress(c, &seen, token);
	engine_cancel(c->engine, token);
	ev = wait_for(c, &seen, token);
	assert_true(ev.error.code == 0 || ev.error.code == -ECANCELED);
	return ev.error.code != 0;
}

static void big_map_cancel(struct contract *c)
{
	uint64_t vm = with_big_slot(c, BIG), mapped, tables, before;
	int i;

	look(c, vm, &mapped, &before);
	for (i = 0; i < TRIES && !cancelled(c, vm, &map_big); i++)
		apply_ok(c, vm, &unmap_big, 0, NULL);
	assert_true(i < TRIES);
	look(c, vm, &mapped, &tables);
	assert_true(mapped == 0 && tables == before);
	apply_ok(c, vm, &map_big, 0, NULL);
	look(c, vm, &mapped, &before);
	for (i = 0; i < TRIES && !cancelled(c, vm, &unmap_big); i++)
		apply_ok(c, vm, &map_big, 0, NULL);
	assert_true(i < TRIES);
	look(c, vm, &mapped, &tables);
	assert_true(mapped == BIG && tables == before);
	check_alive(c, vm);
}

/* Cancelled or not, whole or in pieces: all of a change holds, or nothing. */
static void big_whole(struct contract *c)
{
	uint64_t vm = with_big_slot(c, big_of(c)), mapped, tables, before, token;
	struct engine_map_op ops[] = {map_big, unmap_big};
	struct seen seen = {0};
	size_t i;
	int err;

	look(c, vm, &mapped, &before);
	for (i = 0; i < 6; i++) {
		struct engine_map_op *o = &ops[i % 2];
		bool is_map = o->kind == ENGINE_MAP;

		o->size_bytes = big_of(c);
		token = post_apply(c, vm, o);
		/* At once, and when it may be under way, or done. */
		usleep(i * 5000);
		engine_cancel(c->engine, token);
		err = wait_for(c, &seen, token).error.code;
		assert_true(err == 0 || err == -ECANCELED);
		look(c, vm, &mapped, &tables);
		assert_int_equal(mapped, (err == 0) == is_map ? o->size_bytes : 0);
		assert_int_equal(tables == before, mapped == 0);
		if (err)
			apply_ok(c, vm, o, 0, NULL);
	}
	check_alive(c, vm);
}

/* Whole or in pieces: requests behind it wait, others do not; another is under way at the end. */
static void big_map_beside(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t vm = with_big_slot(c, big_of(c)), other = agent_new(c, &req), tokens[2], mapped,
		 tables, before;
	struct engine_map_op map = map_big, unmap = unmap_big;
	struct engine_change dry;
	struct seen seen = {0};

	map.size_bytes = unmap.size_bytes = big_of(c);
	look(c, vm, &mapped, &before);
	apply_ok(c, vm, &map, ENGINE_CHANGE_DRY_RUN, &dry);
	look(c, vm, &mapped, &tables);
	assert_true(mapped == 0 && tables == before);
	assert_int_equal(dry.entries_written, map.size_bytes / 4096);
	tokens[0] = post_apply(c, vm, &map);
	tokens[1] = post_op(c, vm, ENGINE_VM_INFO);
	wait_for(c, &seen, tokens[1]);
	check_order(&seen, 0, tokens, VMX_ARRAY_SIZE(tokens));
	look(c, vm, &mapped, &tables);
	assert_int_equal(mapped, map.size_bytes);
	assert_int_equal(tables - before, (dry.tables_allocated - dry.tables_freed) * 4096);
	check_alive(c, other);
	assert_int_equal(apply(c, vm, &map, 0, NULL, NULL), -EEXIST);
	look(c, vm, &mapped, &before);
	assert_true(mapped == map.size_bytes && tables == before);
	post_apply(c, vm, &unmap);
}

static void close_while_mapping(struct contract *c)
{
	uint64_t vm = with_big_slot(c, BIG), token = post_apply(c, vm, &map_big);
	struct seen seen = {0};

	wait_progress(c, &seen, token);
	contract_close(c);
}

/* Its tables are built and freed beside all else, too. */
static void big_vm(struct contract *c)
{
	struct engine_request req = vm_request();
	struct seen seen = {0};
	struct engine_event ev;
	int fd = big_image();
	uint64_t token;

	req.u.create.memory_bytes = contract_meets(c, NEEDS_PIECES) ? BIG : big_of(c);
	req.u.create.ept_page_bytes = 4096;
	req.u.create.has_image = 1;
	/* The file's part is told first, then the tables'. */
	slow_file_hold(fd, (long)BIG_IMAGE / 2);
	token = post(c, &req, NULL, 0, &fd);
	wait_progress(c, &seen, token);
	slow_file_release();
	ev = wait_for(c, &seen, token);
	assert_int_equal(ev.error.code, 0);
	op_ok(c, ev.vm, ENGINE_VM_DELETE);
	close(fd);
}

/* --- closing ---------------------------------------------------------------------------------- */

static void close_with_jobs(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t vm = agent_new(c, &req);
	int fd = big_image();

	slow_file_hold(fd, 0);
	post_create(c, fd);
	post_file_slot(c, vm, fd);
	post_op(c, vm, ENGINE_VM_INFO);
	slow_file_wait();
	contract_close(c);
	slow_file_release();
	close(fd);
}

/* --- images ----------------------------------------------------------------------------------- */

/* The machine's memory holds two VMs and one image. */
static void shared_image(struct contract *c)
{
	struct engine_config cfg = {.memory_bytes = 2 * 16 * MIB + 8192};
	uint8_t image[8192] = {0xf4};
	struct engine_request req = vm_request();
	struct seen seen = {0};
	uint64_t a, token;
	int fd;

	contract_close(c);
	contract_open(c, &cfg);
	a = vm_new(c, &req, image, sizeof(image));
	vm_new(c, &req, image, sizeof(image));
	op_ok(c, a, ENGINE_VM_DELETE);
	image[8191] = 1;
	fd = file_of(image, sizeof(image));
	token = post_create(c, fd);
	assert_int_equal(wait_for(c, &seen, token).error.code, -ENOMEM);
	close(fd);
	image[8191] = 0;
	vm_new(c, &req, image, sizeof(image));
}

/* A VM that has not run shows its image, and keeps what is written over it. */
static void image_before_start(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t vm = vm_new(c, &req, guest_agent, sizeof(guest_agent));
	uint8_t bytes[sizeof(guest_agent)];
	const uint8_t hlt = 0xf4;

	gpa_read(c, vm, 0x100000, bytes, sizeof(bytes));
	assert_memory_equal(bytes, guest_agent, sizeof(bytes));
	gpa_write(c, vm, 0x100000, &hlt, 1);
	op_ok(c, vm, ENGINE_VM_START);
	assert_int_equal(wait_state(c, vm, ENGINE_STATE_SHUTOFF).reason, ENGINE_REASON_HALTED);
}

const struct contract_case job_cases[] = {
	{"create_progress", create_progress, 0},
	{"create_cancel", create_cancel, 0},
	{"creates_cancelled", creates_cancelled, 0},
	{"order", order, 0},
	{"after_delete", after_delete, 0},
	{"restart_order", restart_order, 0},
	{"slot_cancel", slot_cancel, 0},
	{"cancel_unknown", cancel_unknown, 0},
	{"big_map_beside", big_map_beside, 0},
	{"big_whole", big_whole, 0},
	/* With progress, and cancelled at a time that it tells: the two above without. */
	{"big_map", big_map, NEEDS_PIECES},
	{"big_map_cancel", big_map_cancel, NEEDS_PIECES},
	{"close_while_mapping", close_while_mapping, NEEDS_PIECES},
	{"big_vm", big_vm, 0},
	{"close_with_jobs", close_with_jobs, 0},
	{"shared_image", shared_image, 0},
	{"image_before_start", image_before_start, 0},
	{NULL, NULL, 0},
};
