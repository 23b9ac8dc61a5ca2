// SPDX-License-Identifier: MIT
#include "fake_engine.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define VMS 64
#define CONSOLE (1 << 20)
#define TRACE 30000

struct fake_vm {
	uint64_t id; /* 0: free */
	struct engine_state_info state;
	struct engine_slot_info slots[16];
	size_t slots_count;
	uint8_t memory[1 << 20];
	char console[CONSOLE];
	size_t console_bytes, console_first;
	size_t input_room, input_bytes;
	struct {
		struct engine_trace_set set;
		struct engine_trace_record records[TRACE];
		uint32_t count, room;
		uint64_t seq, told;
	} trace;
	uint32_t vcpus;
};

struct item {
	struct item *next;
	struct engine_event ev;
};

struct engine {
	int fd;
	struct item *first, **last;
	struct item *held, **held_last;
	struct fake_vm vms[VMS];
	uint64_t next_id, newest;
};

static struct engine *open_engine;
static unsigned opened, cancels;
static bool let_cancel = true;
static bool counts_instructions = true;
static uint32_t held_op;
static unsigned counts[ENGINE_OP_COUNT];
static struct engine_error failures[ENGINE_OP_COUNT];
static struct engine_request last;
static struct engine_map_op last_map;
static char last_file[64];

/* --- what tests say ------------------------------------------------------------------ */

static void push(struct engine *e, struct item *it)
{
	const uint64_t one = 1;

	it->next = NULL;
	*e->last = it;
	e->last = &it->next;
	if (write(e->fd, &one, sizeof(one)) != sizeof(one))
		abort();
}

void fake_hold(enum engine_op op)
{
	held_op = op;
}

void fake_release(void)
{
	struct engine *e = open_engine;

	held_op = 0;
	while (e->held) {
		struct item *it = e->held;

		e->held = it->next;
		push(e, it);
	}
	e->held_last = &e->held;
}

size_t fake_held(void)
{
	size_t n = 0;

	for (const struct item *it = open_engine->held; it; it = it->next)
		n++;
	return n;
}

void fake_progress(uint64_t done, uint64_t total)
{
	struct item *it = calloc(1, sizeof(*it));

	it->ev.type = ENGINE_EVENT_PROGRESS;
	it->ev.token = open_engine->held->ev.token;
	it->ev.done = done;
	it->ev.total = total;
	push(open_engine, it);
}

void fake_let_cancel(bool yes)
{
	let_cancel = yes;
}

unsigned fake_cancels(void)
{
	return cancels;
}

void fake_fail_next(enum engine_op op, const struct engine_error *error)
{
	failures[op] = *error;
}

void fake_observe_instructions(bool yes)
{
	counts_instructions = yes;
}

static uint64_t instructions(void)
{
	return counts_instructions ? 1000 : UINT64_MAX;
}

unsigned fake_count(enum engine_op op)
{
	return counts[op];
}

const struct engine_request *fake_last(void)
{
	return &last;
}

const struct engine_map_op *fake_last_map(void)
{
	return &last_map;
}

const char *fake_last_file(void)
{
	return last_file;
}

unsigned fake_open_count(void)
{
	return opened;
}

static struct fake_vm *find(struct engine *e, uint64_t id)
{
	for (size_t i = 0; i < VMS; i++)
		if (id && e->vms[i].id == id)
			return &e->vms[i];
	return NULL;
}

void fake_print(const char *text)
{
	struct engine *e = open_engine;
	struct fake_vm *vm = find(e, e->newest);
	struct item *it = calloc(1, sizeof(*it));

	memcpy(vm->console + vm->console_bytes, text, strlen(text));
	vm->console_bytes += strlen(text);
	it->ev.type = ENGINE_EVENT_CONSOLE;
	it->ev.vm = vm->id;
	push(e, it);
}

void fake_change_state(uint32_t state, uint32_t reason)
{
	struct engine *e = open_engine;
	struct fake_vm *vm = find(e, e->newest);
	struct item *it = calloc(1, sizeof(*it));

	vm->state.state = state;
	vm->state.reason = reason;
	it->ev.type = ENGINE_EVENT_STATE;
	it->ev.vm = vm->id;
	it->ev.state = vm->state;
	push(e, it);
}

void fake_restart(void)
{
	struct fake_vm *vm = find(open_engine, open_engine->newest);

	vm->console_bytes = vm->console_first = 0;
	fake_change_state(ENGINE_STATE_RUNNING, ENGINE_REASON_STARTED);
}

void fake_forget_console(size_t offset)
{
	find(open_engine, open_engine->newest)->console_first = offset;
}

void fake_set_input_room(size_t bytes)
{
	find(open_engine, open_engine->newest)->input_room = bytes;
}

void fake_set_trace_room(uint32_t records)
{
	find(open_engine, open_engine->newest)->trace.room = records;
}

static bool is_traced(const struct engine_trace_set *set, const struct engine_trace_record *r)
{
	const bool all = !(set->exits[0] | set->exits[1]);

	return set->kinds >> r->kind & 1 && (set->vcpu == UINT32_MAX || set->vcpu == r->vcpu) &&
	       (r->kind != ENGINE_TRACE_EXIT || all ||
		set->exits[r->exit_reason / 64] >> r->exit_reason % 64 & 1);
}

void fake_trace(const struct engine_trace_record *record)
{
	struct engine *e = open_engine;
	struct fake_vm *vm = find(e, e->newest);
	struct item *it;

	if (!is_traced(&vm->trace.set, record))
		return;
	vm->trace.seq++;
	if (vm->trace.count == vm->trace.room)
		return;
	vm->trace.records[vm->trace.count] = *record;
	vm->trace.records[vm->trace.count++].seq = vm->trace.seq - 1;
	if (vm->trace.count > 1)
		return; /* told of already */
	it = calloc(1, sizeof(*it));
	it->ev.type = ENGINE_EVENT_TRACE;
	it->ev.vm = vm->id;
	push(e, it);
}

void fake_notice(const struct engine_notice *notice)
{
	struct item *it = calloc(1, sizeof(*it));

	it->ev.type = ENGINE_EVENT_NOTICE;
	it->ev.notice = *notice;
	push(open_engine, it);
}

/* --- the table --------------------------------------------------------------------------- */

size_t engine_count(void)
{
	return 2;
}

int engine_probe(size_t i, struct engine_info *ret)
{
	static const struct engine_info engines[] = {
		{.name = "vmx", .reason = "no VT-x here", .advice = "find a host that has it"},
		{.name = "fake",
		 .available = 1,
		 .capabilities = ENGINE_CAP_EPT_4K | ENGINE_CAP_VPID,
		 .reason = "for tests",
		 .max_vcpus_per_vm = 64,
		 .max_vms = VMS,
		 .max_memory_bytes = 1 << 30},
	};

	if (i >= 2)
		return -EINVAL;
	*ret = engines[i];
	return 0;
}

int engine_open(const char *name, const struct engine_config *cfg, struct engine **ret)
{
	struct engine *e;

	(void)cfg;
	if (strcmp(name, "fake"))
		return -ENOENT;
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
	e->last = &e->first;
	e->held_last = &e->held;
	open_engine = e;
	opened++;
	held_op = 0;
	cancels = 0;
	let_cancel = true;
	counts_instructions = true;
	memset(counts, 0, sizeof(counts));
	memset(failures, 0, sizeof(failures));
	*ret = e;
	return 0;
}

void engine_get_info(struct engine *e, struct engine_info *ret)
{
	(void)e;
	engine_probe(1, ret);
	ret->processors = 2;
}

static void drop(struct item *it)
{
	while (it) {
		struct item *next = it->next;

		free(it->ev.payload);
		free(it);
		it = next;
	}
}

void engine_close(struct engine *e)
{
	drop(e->first);
	drop(e->held);
	close(e->fd);
	free(e);
	opened--;
	open_engine = NULL;
}

int engine_event_fd(struct engine *e)
{
	return e->fd;
}

int engine_next_event(struct engine *e, struct engine_event *ret)
{
	struct item *it = e->first;
	uint64_t one;

	if (!it)
		return -EAGAIN;
	if (read(e->fd, &one, sizeof(one)) != sizeof(one))
		abort();
	e->first = it->next;
	if (!e->first)
		e->last = &e->first;
	*ret = it->ev;
	free(it);
	return 0;
}

void engine_event_release(struct engine_event *ev)
{
	free(ev->payload);
	ev->payload = NULL;
}

/* --- operations ------------------------------------------------------------------------------ */

static int fail(struct engine_event *ev, int code, enum engine_field field, const char *text)
{
	ev->error.code = code;
	ev->error.field = field;
	snprintf(ev->error.text, sizeof(ev->error.text), "%s", text);
	return code;
}

static void *payload(struct engine_event *ev, size_t bytes)
{
	ev->payload = calloc(1, bytes ? bytes : 1);
	ev->payload_bytes = bytes;
	return ev->payload;
}

static void create(struct engine *e, const struct engine_request *req, struct engine_event *ev)
{
	struct fake_vm *vm = NULL;

	for (size_t i = 0; i < VMS && !vm; i++)
		if (!e->vms[i].id)
			vm = &e->vms[i];
	if (!vm) {
		fail(ev, -ENOSPC, ENGINE_FIELD_NONE, "too many VMs");
		return;
	}
	memset(vm, 0, sizeof(*vm));
	vm->id = ++e->next_id;
	vm->trace.room = TRACE;
	vm->input_room = CONSOLE;
	vm->vcpus = req->u.create.vcpus;
	vm->state.state = ENGINE_STATE_SHUTOFF;
	vm->state.reason = ENGINE_REASON_CREATED;
	vm->slots[0] = (struct engine_slot_info){.size_bytes = req->u.create.memory_bytes,
						 .mapped_bytes = req->u.create.memory_bytes,
						 .extents = 1,
						 .hpa_first = 0x100000};
	vm->slots_count = 1;
	e->newest = vm->id;
	ev->vm = vm->id;
	ev->state = vm->state;
}

/* op, states in which it is allowed (bits), the state afterwards */
static const struct {
	uint32_t op, from, to, reason;
} moves[] = {
	{ENGINE_VM_START, 1 << 5 | 1 << 6, ENGINE_STATE_RUNNING, ENGINE_REASON_STARTED},
	{ENGINE_VM_PAUSE, 1 << 1, ENGINE_STATE_PAUSED, ENGINE_REASON_USER},
	{ENGINE_VM_RESUME, 1 << 3, ENGINE_STATE_RUNNING, ENGINE_REASON_USER},
	{ENGINE_VM_STOP, 1 << 1 | 1 << 3 | 1 << 5 | 1 << 6, ENGINE_STATE_SHUTOFF,
	 ENGINE_REASON_USER},
	{ENGINE_VM_DELETE, 1 << 5 | 1 << 6, 0, 0},
};

static bool move(struct fake_vm *vm, uint32_t op, struct engine_event *ev)
{
	for (size_t i = 0; i < sizeof(moves) / sizeof(moves[0]); i++) {
		if (moves[i].op != op)
			continue;
		if (!(moves[i].from >> vm->state.state & 1)) {
			fail(ev, -EBUSY, ENGINE_FIELD_STATE, "the VM's state does not allow it");
			return true;
		}
		if (op == ENGINE_VM_DELETE)
			vm->id = 0;
		if (op == ENGINE_VM_START)
			vm->console_bytes = vm->console_first = 0;
		vm->state.state = moves[i].to;
		vm->state.reason = moves[i].reason;
		vm->state.guest_time = instructions();
		ev->state = vm->state;
		return true;
	}
	return false;
}

static void io(struct fake_vm *vm, const struct engine_request *req, const void *data,
	       struct engine_event *ev)
{
	const struct engine_mem_io *m = &req->u.mem;

	if (m->address > sizeof(vm->memory) || m->size_bytes > sizeof(vm->memory) - m->address) {
		fail(ev, -EFAULT, ENGINE_FIELD_GPA, "nothing is mapped there");
		return;
	}
	if (req->op == ENGINE_MEM_WRITE)
		memcpy(vm->memory + m->address, data, m->size_bytes);
	else
		memcpy(payload(ev, m->size_bytes), vm->memory + m->address, m->size_bytes);
}

static void walk(const struct engine_request *req, struct engine_event *ev)
{
	struct engine_walk *w = payload(ev, sizeof(*w));

	w->gva = req->u.walk.gva;
	w->gpa = req->u.walk.gva & 0xffff;
	w->hpa = 0x100000 + w->gpa;
	w->ept_page_bytes = 4096;
	w->processor = UINT32_MAX;
	w->refs_with_caches = UINT32_MAX;
	w->permissions = 7;
	w->refs_ept = 1;
	w->count = 1;
	w->refs[0] = (struct engine_walk_ref){.hpa = 0x5000, .entry = 7, .level = 1, .leaf = 1};
}

static void console(struct fake_vm *vm, const struct engine_request *req, struct engine_event *ev)
{
	const uint64_t offset = req->u.console.offset < vm->console_first ? vm->console_first
									  : req->u.console.offset;
	size_t n = offset < vm->console_bytes ? vm->console_bytes - offset : 0;

	n = n < req->u.console.max_bytes ? n : req->u.console.max_bytes;
	memcpy(payload(ev, n), vm->console + (n ? offset : 0), n);
	ev->first = offset;
	ev->total = vm->console_bytes;
}

static void input(struct fake_vm *vm, const struct engine_request *req, struct engine_event *ev)
{
	const size_t n = req->u.console_write.size_bytes, room = vm->input_room;

	ev->total = n < room ? n : room;
	vm->input_room -= ev->total;
	vm->input_bytes += ev->total;
	ev->first = vm->input_bytes;
}

static void set_trace(struct fake_vm *vm, const struct engine_request *req, struct engine_event *ev)
{
	ev->total = vm->trace.seq - vm->trace.told;
	vm->trace.set = req->u.trace_set;
	vm->trace.count = 0;
	vm->trace.seq = vm->trace.told = 0;
}

static void read_trace(struct fake_vm *vm, const struct engine_request *req,
		       struct engine_event *ev)
{
	const uint32_t max = req->u.trace_read.max;
	const uint32_t n = vm->trace.count < max ? vm->trace.count : max;
	struct engine_trace_record *out = payload(ev, n * sizeof(*out));

	memcpy(out, vm->trace.records, n * sizeof(*out));
	vm->trace.count -= n;
	memmove(vm->trace.records, vm->trace.records + n, vm->trace.count * sizeof(*out));
	ev->total = (n ? out[0].seq : vm->trace.seq) - vm->trace.told;
	vm->trace.told = n ? out[n - 1].seq + 1 : vm->trace.seq;
}

static void counters(const struct engine_request *req, struct engine_event *ev)
{
	static const char *const names[] = {"exit.cpuid", "exit.hlt", "invept", "retired"};
	struct engine_stat *s = payload(ev, 4 * sizeof(*s));

	for (uint32_t i = 0; i < 4; i++) {
		s[i] = (struct engine_stat){.vm = req->vm,
					    .scope = req->vm ? ENGINE_SCOPE_VM
							     : ENGINE_SCOPE_PROCESSOR,
					    .value = counts[ENGINE_STATS],
					    .observable = 1};
		snprintf(s[i].name, sizeof(s[i].name), "%s", names[i]);
	}
	s[3].observable = counts_instructions;
}

static void change(const void *data, struct engine_event *ev)
{
	struct engine_change *c = payload(ev, sizeof(*c));

	memcpy(&last_map, data, sizeof(last_map));
	c->entries_written = last_map.size_bytes / 4096;
	c->need = 2;
	strcpy(c->instruction, "INVEPT");
	strcpy(c->type, "single-context");
	strcpy(c->reason, "leaf-address-changed");
	c->invept_issued = 1;
}

static void add_slot(struct fake_vm *vm, const struct engine_slot_add *add, struct engine_event *ev)
{
	if (add->size_bytes % 4096) {
		fail(ev, -EINVAL, ENGINE_FIELD_SIZE, "not a multiple of 4096");
		ev->error.limit = 4096;
		return;
	}
	vm->slots[vm->slots_count++] = (struct engine_slot_info){.slot = add->slot,
								 .kind = add->kind,
								 .size_bytes = add->size_bytes,
								 .extents = 1,
								 .hpa_first = UINT64_MAX};
}

static void info(const struct fake_vm *vm, struct engine_event *ev)
{
	struct engine_vcpu_info *v = payload(ev, vm->vcpus * sizeof(*v));

	for (uint32_t i = 0; i < vm->vcpus; i++)
		v[i] = (struct engine_vcpu_info){
			.vcpu = i, .processor = i % 2, .rip = 0x1000, .retired = instructions()};
	ev->state = vm->state;
	ev->state.guest_time = instructions();
	ev->state.console_bytes = vm->console_bytes;
}

static void stats(const struct engine_request *req, struct engine_event *ev)
{
	struct engine_tlb_stats *s = payload(ev, sizeof(*s));

	/* what an engine without sight of the TLB says */
	s->vm = req->vm;
	s->processor = 1;
}

static void perform(struct engine *e, const struct engine_request *req, const void *data,
		    struct engine_event *ev)
{
	struct fake_vm *vm = find(e, req->vm);

	if (failures[req->op].code) {
		ev->error = failures[req->op];
		failures[req->op].code = 0;
		return;
	}
	if (req->op == ENGINE_VM_CREATE) {
		create(e, req, ev);
		return;
	}
	ev->vm = req->vm;
	if (!vm && req->vm) {
		fail(ev, -ENOENT, ENGINE_FIELD_VM, "no such VM");
		return;
	}
	if (vm && move(vm, req->op, ev))
		return;
	if (req->op == ENGINE_VM_INFO)
		info(vm, ev);
	else if (req->op == ENGINE_SLOT_ADD)
		add_slot(vm, &req->u.slot_add, ev);
	else if (req->op == ENGINE_SLOT_LIST)
		memcpy(payload(ev, vm->slots_count * sizeof(vm->slots[0])), vm->slots,
		       vm->slots_count * sizeof(vm->slots[0]));
	else if (req->op == ENGINE_MEM_APPLY)
		change(data, ev);
	else if (req->op == ENGINE_MEM_READ || req->op == ENGINE_MEM_WRITE)
		io(vm, req, data, ev);
	else if (req->op == ENGINE_WALK)
		walk(req, ev);
	else if (req->op == ENGINE_CONSOLE_READ)
		console(vm, req, ev);
	else if (req->op == ENGINE_TLB_STATS)
		stats(req, ev);
	else if (req->op == ENGINE_STATS)
		counters(req, ev);
	else if (req->op == ENGINE_CONSOLE_WRITE)
		input(vm, req, ev);
	else if (req->op == ENGINE_TRACE_SET)
		set_trace(vm, req, ev);
	else if (req->op == ENGINE_TRACE_READ)
		read_trace(vm, req, ev);
}

int engine_submit(struct engine *e, const struct engine_request *req, const void *data,
		  size_t data_bytes, const int *fds, size_t fd_count)
{
	struct item *it = calloc(1, sizeof(*it));
	ssize_t n;

	(void)data_bytes;
	if (!it)
		return -ENOMEM;
	last = *req;
	memset(last_file, 0, sizeof(last_file));
	if (fd_count) {
		n = pread(fds[0], last_file, sizeof(last_file) - 1, 0);
		(void)n;
	}
	counts[req->op]++;
	it->ev.type = ENGINE_EVENT_COMPLETION;
	it->ev.op = req->op;
	it->ev.token = req->token;
	perform(e, req, data, &it->ev);
	if (req->op != held_op) {
		push(e, it);
		return 0;
	}
	*e->held_last = it;
	e->held_last = &it->next;
	return 0;
}

/* --- names --------------------------------------------------------------------------------- */

const char *engine_state_name(uint32_t state)
{
	return state == 1 ? "running" : state == 3 ? "paused" : state == 5 ? "shutoff" : "crashed";
}

const char *engine_reason_name(uint32_t reason)
{
	static const char *const names[] = {"none", "created", "started", "user", "exited"};

	return reason < 5 ? names[reason] : "internal";
}

const char *engine_field_name(uint32_t field)
{
	static const char *const names[ENGINE_FIELD_COUNT] = {[ENGINE_FIELD_SLOT] = "slot",
							      [ENGINE_FIELD_GPA] = "gpa",
							      [ENGINE_FIELD_IMAGE] = "image",
							      [ENGINE_FIELD_SIZE] = "size_bytes"};

	return field < ENGINE_FIELD_COUNT && names[field] ? names[field] : "";
}

void engine_cancel(struct engine *e, uint64_t token)
{
	struct item **link = &e->held, *it;
	struct fake_vm *vm;

	cancels++;
	while (*link && (*link)->ev.token != token)
		link = &(*link)->next;
	it = *link;
	if (!it || !let_cancel)
		return;
	*link = it->next;
	if (!*link)
		e->held_last = link;
	vm = it->ev.op == ENGINE_VM_CREATE ? find(e, it->ev.vm) : NULL;
	if (vm)
		vm->id = 0;
	if (it->ev.op == ENGINE_VM_START) {
		vm = find(e, it->ev.vm);
		vm->state.state = ENGINE_STATE_SHUTOFF;
	}
	fail(&it->ev, -ECANCELED, ENGINE_FIELD_NONE, "cancelled");
	push(e, it);
}

const char *engine_exit_name(uint32_t basic_reason)
{
	static const char *const names[] = {
		[10] = "cpuid", [12] = "hlt", [30] = "io-instruction", [48] = "ept-violation"};

	return basic_reason < sizeof(names) / sizeof(names[0]) ? names[basic_reason] : NULL;
}
