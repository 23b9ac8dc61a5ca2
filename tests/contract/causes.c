/* SPDX-License-Identifier: MIT */
/* Why an invalidation was executed, and what the engine tells without being asked. */
#include "contract/cases.h"

#include "contract/guests.h"
#include "contract/tracing.h"

#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define TARGET UINT64_C(0x400000)
#define CODE UINT64_C(0x500000)
#define NOWHERE UINT64_C(0x2000000)
#define SPARE 5u
#define MAX_RECORDS 64u

static void end(struct contract *c, uint64_t vm)
{
	op_ok(c, vm, ENGINE_VM_STOP);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

/* Records read into r; how many. */
static size_t take_records(struct contract *c, uint64_t vm,
			   struct engine_trace_record r[MAX_RECORDS])
{
	struct trace_records got = trace_get(c, vm, MAX_RECORDS);
	size_t n = got.count;

	assert_int_equal(got.lost, 0);
	memcpy(r, got.at, n * sizeof(*r));
	trace_put(&got);
	return n;
}

/* Exactly one record waits: this. */
static struct engine_trace_record only(struct contract *c, uint64_t vm,
				       enum engine_trace_cause cause)
{
	struct engine_trace_record r[MAX_RECORDS];
	size_t n = take_records(c, vm, r);

	if (n != 1 || r[0].cause != (uint32_t)cause)
		fail_msg("%zu records, the first of cause %u, not %u", n, n ? r[0].cause : 0,
			 cause);
	assert_int_equal(r[0].kind, ENGINE_TRACE_INVALIDATION);
	assert_int_equal(r[0].rip | r[0].qualification | r[0].exit_reason | r[0].gpa, 0);
	return r[0];
}

/* --- causes ---------------------------------------------------------------------------------- */

static uint64_t ep4ta_of(struct contract *c, uint64_t vm)
{
	struct engine_request req = {.op = ENGINE_MAPPING_LIST, .vm = vm};
	struct engine_event ev;
	uint64_t ep4ta;

	req.u.mapping_list.max = 1;
	ev = call_ok(c, &req, NULL, 0);
	ep4ta = ((const struct engine_mappings *)ev.payload)->ep4ta;
	engine_event_release(&ev);
	return ep4ta;
}

static void remap(struct contract *c, uint64_t vm)
{
	static uint64_t offset;
	const struct engine_map_op o = {.kind = ENGINE_REMAP,
					.gpa = TARGET,
					.size_bytes = 4096,
					.slot = SPARE,
					.offset_bytes = offset++ % 2 * 4096};

	apply_ok(c, vm, &o, 0, NULL);
}

/* vCPU 1, which nothing starts, gets the registers of vCPU 0 and runs at TARGET. */
static void second_vcpu(struct contract *c, uint64_t vm)
{
	struct engine_request req = {.op = ENGINE_VCPU_GET, .vm = vm};
	struct engine_event ev = call_ok(c, &req, NULL, 0), done;
	struct engine_register *r = ev.payload;
	uint32_t i, n = (uint32_t)(ev.payload_bytes / sizeof(*r));

	for (i = 0; i < n; i++)
		if (strcmp(r[i].name, "rip") == 0)
			r[i].value = CODE;
	req.op = ENGINE_VCPU_SET;
	req.u.vcpu = (struct engine_vcpu_req){.vcpu = 1, .count = n};
	done = call_ok(c, &req, r, ev.payload_bytes);
	engine_event_release(&done);
	engine_event_release(&ev);
}

static void expect_invept(const struct engine_trace_record *r, uint64_t ep4ta, uint32_t vcpu,
			  uint32_t processor)
{
	assert_int_equal(r->invalidation, ENGINE_INVEPT_SINGLE);
	assert_int_equal(r->ep4ta, ep4ta);
	assert_int_equal(r->vcpu, vcpu);
	assert_int_equal(r->processor, processor);
	assert_int_equal(r->gva_valid, 0);
	assert_int_equal(r->vpid != 0, vcpu != UINT32_MAX);
}

/* The first use of an EP4TA, a change at once, and one that another processor catches up on. */
static void causes_of_changes(struct contract *c)
{
	struct engine_request req = vm_request();
	struct engine_trace_record r[MAX_RECORDS];
	uint64_t vm, ep4ta;
	size_t n, i;

	req.u.create.vcpus = 2;
	req.u.create.processor[0] = 1;
	req.u.create.processor[1] = 0;
	vm = vm_new(c, &req, guest_agent, sizeof(guest_agent));
	ep4ta = ep4ta_of(c, vm);
	slot_add(c, vm, SPARE, MIB);
	gpa_write(c, vm, CODE, guest_toucher, sizeof(guest_toucher));
	trace_on(c, vm, KIND(INVALIDATION), MAX_RECORDS);
	/* Never used anywhere: nobody has to be told of this one. */
	remap(c, vm);
	assert_int_equal(take_records(c, vm, r), 0);
	op_ok(c, vm, ENGINE_VM_START);
	agent_do(c, vm, AGENT_READ, TARGET, 0);
	r[0] = only(c, vm, ENGINE_CAUSE_FIRST_USE);
	expect_invept(&r[0], ep4ta, 0, 1);
	remap(c, vm);
	r[0] = only(c, vm, ENGINE_CAUSE_CHANGE);
	expect_invept(&r[0], ep4ta, UINT32_MAX, 1);

	op_ok(c, vm, ENGINE_VM_PAUSE);
	second_vcpu(c, vm);
	op_ok(c, vm, ENGINE_VM_RESUME);
	do
		n = take_records(c, vm, r);
	while (n == 0);
	assert_int_equal(n, 1);
	assert_int_equal(r[0].cause, ENGINE_CAUSE_FIRST_USE);
	expect_invept(&r[0], ep4ta, 1, 0);
	remap(c, vm);
	for (n = 0; n < 2;)
		n += take_records(c, vm, &r[n]);
	assert_int_equal(n, 2);
	assert_int_equal(r[0].cause, ENGINE_CAUSE_CHANGE);
	expect_invept(&r[0], ep4ta, UINT32_MAX, 1);
	assert_int_equal(r[1].cause, ENGINE_CAUSE_DEFERRED);
	expect_invept(&r[1], ep4ta, 1, 0);
	for (i = 0; i < 2; i++)
		assert_true(trace_time(&r[i]) > 0);
	end(c, vm);
}

/*
 * Whoever it is that executes it, and whenever: it names the EP4TA, and is executed where the
 * EP4TA is in use.
 */
static void cause_of_change(struct contract *c)
{
	struct engine_request req = vm_request();
	struct engine_trace_record r[MAX_RECORDS];
	uint64_t vm = vm_new(c, &req, guest_agent, sizeof(guest_agent)), ep4ta = ep4ta_of(c, vm);
	size_t n, i, round;

	slot_add(c, vm, SPARE, MIB);
	trace_on(c, vm, KIND(INVALIDATION), MAX_RECORDS);
	remap(c, vm);
	assert_int_equal(take_records(c, vm, r), 0);
	op_ok(c, vm, ENGINE_VM_START);
	agent_do(c, vm, AGENT_READ, TARGET, 0);
	r[0] = only(c, vm, ENGINE_CAUSE_FIRST_USE);
	expect_invept(&r[0], ep4ta, 0, 0);
	for (round = 0; round < 8; round++) {
		remap(c, vm);
		/* Maybe at the entry after this. */
		agent_do(c, vm, AGENT_READ, TARGET, 0);
		do
			n = take_records(c, vm, r);
		while (n == 0);
		for (i = 0; i < n; i++) {
			assert_int_equal(r[i].kind, ENGINE_TRACE_INVALIDATION);
			assert_in_range(r[i].cause, ENGINE_CAUSE_CHANGE, ENGINE_CAUSE_DEFERRED);
			assert_true(trace_time(&r[i]) > 0);
			expect_invept(&r[i], ep4ta, r[i].vcpu, 0);
			if (r[i].cause == ENGINE_CAUSE_CHANGE)
				assert_int_equal(r[i].vcpu, UINT32_MAX);
			else if (r[i].cause == ENGINE_CAUSE_DEFERRED)
				assert_int_equal(r[i].vcpu, 0);
		}
	}
	end(c, vm);
}

/* By hand, each kind as it is asked for. */
static void causes_of_requests(struct contract *c)
{
	struct engine_request create = vm_request(), req = {.op = ENGINE_INVALIDATE};
	uint64_t vm = agent_new(c, &create), ep4ta = ep4ta_of(c, vm);
	struct engine_trace_record r;
	struct engine_event ev;
	uint32_t kind;

	agent_do(c, vm, AGENT_READ, TARGET, 0);
	trace_on(c, vm, KIND(INVALIDATION), MAX_RECORDS);
	req.vm = vm;
	for (kind = 0; kind < ENGINE_INVALIDATIONS; kind++) {
		bool invept = kind <= ENGINE_INVEPT_ALL;
		bool tagged = !invept && kind != ENGINE_INVVPID_ALL;
		bool address = kind == ENGINE_INVVPID_ADDRESS;

		req.u.invalidate = (struct engine_invalidate_req){
			.kind = kind, .gva = TARGET, .processor = ENGINE_ANY_PROCESSOR};
		ev = call_ok(c, &req, NULL, 0);
		engine_event_release(&ev);
		r = only(c, vm, ENGINE_CAUSE_REQUEST);
		assert_int_equal(r.invalidation, kind);
		assert_int_equal(r.ep4ta, kind == ENGINE_INVEPT_SINGLE ? ep4ta : 0);
		assert_int_equal(r.vpid, tagged ? tlb_stats_of(c, vm, 0).vpid : 0);
		assert_int_equal(r.vcpu, tagged ? 0 : UINT32_MAX);
		assert_int_equal(r.gva, address ? TARGET : 0);
		assert_int_equal(r.gva_valid, address);
	}
	/* A VPID by its number is nobody's in particular. */
	req.u.invalidate = (struct engine_invalidate_req){
		.kind = ENGINE_INVVPID_SINGLE, .vpid = 60000, .processor = 1};
	ev = call_ok(c, &req, NULL, 0);
	engine_event_release(&ev);
	r = only(c, vm, ENGINE_CAUSE_REQUEST);
	assert_int_equal(r.vpid, 60000);
	assert_int_equal(r.vcpu, UINT32_MAX);
	assert_int_equal(r.processor, 1);
	end(c, vm);
}

/* Another CR3 from outside takes what the guest's own MOV would have. */
static void cause_of_paging(struct contract *c)
{
	static const struct engine_register cr3 = {.name = "cr3", .value = 0x600000};
	struct engine_request create = vm_request(), req = {.op = ENGINE_VCPU_SET};
	uint64_t vm = agent_new(c, &create);
	struct engine_trace_record r;
	struct engine_event ev;

	agent_do(c, vm, AGENT_READ, TARGET, 0);
	trace_on(c, vm, KIND(INVALIDATION), MAX_RECORDS);
	op_ok(c, vm, ENGINE_VM_PAUSE);
	req.vm = vm;
	req.u.vcpu.count = 1;
	ev = call_ok(c, &req, &cr3, sizeof(cr3));
	engine_event_release(&ev);
	op_ok(c, vm, ENGINE_VM_RESUME);
	agent_do(c, vm, AGENT_READ, TARGET, 0);
	r = only(c, vm, ENGINE_CAUSE_PAGING);
	assert_int_equal(r.invalidation, ENGINE_INVVPID_SINGLE);
	assert_int_equal(r.vcpu, 0);
	assert_int_equal(r.vpid, tlb_stats_of(c, vm, 0).vpid);
	end(c, vm);
}

/* --- recycled VPIDs ------------------------------------------------------------------------- */

/* Of a ring that may have overflowed. */
static size_t take_full(struct contract *c, uint64_t vm, struct engine_trace_record r[MAX_RECORDS])
{
	struct trace_records got = trace_get(c, vm, MAX_RECORDS);
	size_t n = got.count;

	memcpy(r, got.at, n * sizeof(*r));
	trace_put(&got);
	return n;
}

/*
 * Nothing runs any more. Where not every entry is seen, new generations are looked for now and
 * then: until the last that was told is the latest.
 */
static void settle_notices(struct contract *c)
{
	const struct engine_notice *last;

	if (contract_has(c, ENGINE_CAP_DETERMINISTIC))
		return;
	do
		last = &c->notices[(c->notice_count - 1) % VMX_ARRAY_SIZE(c->notices)];
	while (last->generation != stat_of(c, 0, "vpid_generation"));
}

/* Two guests and one VPID: each entry begins a generation, for itself. */
static void recycled(struct contract *c)
{
	static const struct engine_config one = {.processors = 1, .vpid_limit = 1};
	struct engine_request req = vm_request();
	struct engine_trace_record r[MAX_RECORDS];
	uint64_t vm[2], generation = 0;
	uint32_t i, told;
	size_t n, k;

	contract_close(c);
	contract_open(c, &one);
	for (i = 0; i < 2; i++) {
		vm[i] = vm_new(c, &req, guest_toucher, sizeof(guest_toucher));
		trace_on(c, vm[i], KIND(INVALIDATION), MAX_RECORDS);
		op_ok(c, vm[i], ENGINE_VM_START);
	}
	while (stat_of(c, 0, "vpid_recycles") < 20)
		;
	wait_notice(c, 0);
	/* As many as there is room for, at most. */
	for (i = 0; i < 2; i++) {
		n = take_full(c, vm[i], r);
		assert_true(n >= 9);
		for (k = 0; k < n; k++) {
			if (r[k].cause == ENGINE_CAUSE_FIRST_USE)
				continue;
			assert_int_equal(r[k].cause, ENGINE_CAUSE_RECYCLE);
			assert_int_equal(r[k].invalidation, ENGINE_INVVPID_ALL);
			assert_int_equal(r[k].vcpu, 0);
			assert_int_equal(r[k].vpid, 0);
		}
	}
	for (i = 0; i < 2; i++)
		op_ok(c, vm[i], ENGINE_VM_PAUSE);
	op_ok(c, vm[0], ENGINE_VM_INFO); /* what was told meanwhile is behind us */
	settle_notices(c);
	told = c->notice_count;
	assert_true(told > 0);
	for (i = told > 64 ? told - 64 : 0; i < told; i++) {
		const struct engine_notice *x = &c->notices[i % 64];

		assert_int_equal(x->kind, ENGINE_NOTICE_VPIDS_RECYCLED);
		assert_true(x->vm == vm[0] || x->vm == vm[1]);
		assert_int_equal(x->processor, 0);
		assert_true(x->generation > generation);
		generation = x->generation;
	}
	/* The last that was told is the latest there was. */
	assert_int_equal(generation, stat_of(c, 0, "vpid_generation"));
	end(c, vm[0]);
	end(c, vm[1]);
}

/* --- a client that fetches nothing --------------------------------------------------------- */

/*
 * An agent whose mailbox lies in a file of ours: it does what it is asked without a
 * request to the engine, so no event is fetched meanwhile.
 */
static volatile uint32_t *shared_mailbox(struct contract *c, uint64_t vm)
{
	struct engine_request req = {.op = ENGINE_SLOT_ADD, .vm = vm};
	const struct engine_map_op o = {
		.kind = ENGINE_REMAP, .gpa = AGENT_MAILBOX, .size_bytes = 4096, .slot = SPARE};
	static const uint8_t page[4096];
	int fd = file_of(page, sizeof(page));
	struct engine_event ev;
	void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	assert_true(at != MAP_FAILED);
	req.u.slot_add = (struct engine_slot_add){
		.size_bytes = 4096, .slot = SPARE, .kind = ENGINE_SLOT_FILE};
	ev = call(c, &req, NULL, 0, &fd, 1);
	assert_int_equal(ev.error.code, 0);
	close(fd);
	apply_ok(c, vm, &o, 0, NULL);
	return at;
}

static void ask(volatile uint32_t *box, uint32_t number, enum agent_op what, uint32_t address)
{
	box[1] = (uint32_t)what;
	box[2] = address;
	__atomic_store_n(&box[0], number, __ATOMIC_RELEASE);
	while (__atomic_load_n(&box[4], __ATOMIC_ACQUIRE) != number)
		sched_yield();
}

/* Many records, many recycles: one event of each kind waits, and the notice is the latest. */
static void coalesced(struct contract *c)
{
	static const struct engine_config one = {.processors = 1, .vpid_limit = 1};
	struct engine_request req = vm_request();
	volatile uint32_t *box;
	uint64_t vm, other;
	uint32_t i, notices;

	contract_close(c);
	contract_open(c, &one);
	vm = vm_new(c, &req, guest_agent, sizeof(guest_agent));
	other = vm_new(c, &req, guest_toucher, sizeof(guest_toucher));
	box = shared_mailbox(c, vm);
	trace_on(c, vm, KIND(VIOLATION), MAX_RECORDS);
	op_ok(c, vm, ENGINE_VM_START);
	op_ok(c, other, ENGINE_VM_START);
	op_ok(c, vm, ENGINE_VM_INFO);
	notices = c->notice_count;
	assert_int_equal(c->trace_events[vm % 256], 0);
	/* A quantum ends after 64 exits at the latest: at least 30 of them, however slow we are. */
	for (i = 1; i <= 2000; i++)
		ask(box, i, AGENT_READ, (uint32_t)NOWHERE);
	/* It ends, and with it the recycling; only then, most likely, are events fetched. */
	box[1] = AGENT_EXIT4;
	__atomic_store_n(&box[0], i, __ATOMIC_RELEASE);
	usleep(100000);
	wait_state(c, vm, ENGINE_STATE_SHUTOFF);
	op_ok(c, other, ENGINE_VM_PAUSE);
	op_ok(c, vm, ENGINE_VM_INFO);
	settle_notices(c);
	assert_in_range(c->trace_events[vm % 256], 1, 3);
	assert_in_range(c->notice_count, notices + 1, notices + 10);
	assert_int_equal(c->notices[(c->notice_count - 1) % 64].generation,
			 stat_of(c, 0, "vpid_generation"));
	assert_true(stat_of(c, 0, "vpid_generation") > 30);
	assert_int_equal(munmap((void *)(uintptr_t)box, 4096), 0);
	end(c, vm);
	end(c, other);
}

/* --- instructions that are not there -------------------------------------------------------- */

static void unimplemented(struct contract *c)
{
	static const struct {
		const char *name;
		uint64_t rip;
	} missed[] = {{"sha1nexte", CODE + 0x33}, {"sha1msg1", CODE + 0x3b}};
	struct engine_request req = vm_request();
	uint64_t vm;
	size_t i, round;

	for (round = 0; round < 2; round++) {
		uint32_t told = c->notice_count;

		vm = agent_new(c, &req);
		gpa_write(c, vm, CODE, guest_missing, sizeof(guest_missing));
		agent_do(c, vm, AGENT_CALL, CODE, 0);
		wait_notice(c, told + 1);
		agent_do(c, vm, AGENT_CALL, CODE, 0);
		assert_int_equal(stat_of(c, vm, "ud.sha1nexte"), 4);
		op_ok(c, vm, ENGINE_VM_RESET);
		c->agent_seq = 0;
		gpa_write(c, vm, CODE, guest_missing, sizeof(guest_missing));
		agent_do(c, vm, AGENT_CALL, CODE, 0);
		op_ok(c, vm, ENGINE_VM_INFO);
		/* Each once, for each VM anew. */
		assert_int_equal(c->notice_count, told + VMX_ARRAY_SIZE(missed));
		for (i = 0; i < VMX_ARRAY_SIZE(missed); i++) {
			const struct engine_notice *x = &c->notices[(told + i) % 64];

			assert_int_equal(x->kind, ENGINE_NOTICE_UNIMPLEMENTED);
			assert_int_equal(x->vm, vm);
			assert_int_equal(x->vcpu, 0);
			assert_string_equal(x->text, missed[i].name);
			assert_int_equal(x->rip, missed[i].rip);
		}
		end(c, vm);
	}
}

const struct contract_case cause_cases[] = {
	/* Which processor changes a mapping is only known where there is one thread. */
	{"causes_of_changes", causes_of_changes, ENGINE_CAP_VPID | ENGINE_CAP_DETERMINISTIC},
	{"cause_of_change", cause_of_change, ENGINE_CAP_VPID},
	{"causes_of_requests", causes_of_requests, ENGINE_CAP_VPID},
	{"cause_of_paging", cause_of_paging, ENGINE_CAP_VPID},
	{"recycled", recycled, ENGINE_CAP_VPID | NEEDS_MACHINE},
	{"coalesced", coalesced, ENGINE_CAP_VPID | NEEDS_MACHINE},
	/* A real processor has them all, or raises #UD without an exit. */
	{"unimplemented", unimplemented, ENGINE_CAP_TLB_STATS},
	{NULL, NULL, 0},
};
