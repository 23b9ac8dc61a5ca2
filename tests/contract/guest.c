/* SPDX-License-Identifier: MIT */
/* What a guest does with its ports, and with other guests on its processor. */
#include "contract/cases.h"

#include "contract/guests.h"

#include <stdio.h>

static void end(struct contract *c, uint64_t vm)
{
	op_ok(c, vm, ENGINE_VM_STOP);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

/* 32-bit IN and OUT; the agent answers what EAX then is. */
static const struct {
	enum agent_op op;
	uint16_t port;
	uint32_t value, answer;
	uint32_t unclaimed; /* accesses counted */
} ports[] = {
	{AGENT_IN, 0x80, 0, 0xffffffff, 1},
	{AGENT_OUT, 0x80, 0x1234, 0x1234, 1},
	{AGENT_IN, 0xffff, 0, 0xffffffff, 1},
	/* LSR, MSR, scratch, and a port that is nobody's. */
	{AGENT_IN, 0x3fd, 0, 0xff00b060, 1},
	{AGENT_OUT, 0x3fc, 0x99000000, 0x99000000, 0},
	{AGENT_IN, 0x3fc, 0, 0x99b06000, 0},
};

static void port_accesses(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t vm = agent_new(c, &req), before;
	uint32_t got;
	size_t i;

	for (i = 0; i < VMX_ARRAY_SIZE(ports); i++) {
		before = stat_of(c, vm, "io.unclaimed");
		got = agent_do(c, vm, ports[i].op, ports[i].port, ports[i].value);
		if (got != ports[i].answer)
			fail_msg("port 0x%x: 0x%x, not 0x%x", ports[i].port, got, ports[i].answer);
		assert_int_equal(stat_of(c, vm, "io.unclaimed") - before, ports[i].unclaimed);
	}
	end(c, vm);
}

/* String output, longer than what is emulated at a time. */
static void string_out(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t vm = agent_new(c, &req);
	static uint8_t text[10000];
	static char got[20001];
	uint32_t i;

	for (i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)('a' + i % 26);
	gpa_write(c, vm, 0x5ffff0, text, sizeof(text));
	agent_do(c, vm, AGENT_OUTS, 0x5ffff0, sizeof(text));
	assert_int_equal(console_text(c, vm, got, sizeof(got)), sizeof(text));
	assert_memory_equal(got, text, sizeof(text));
	/* In parts, so that other guests and requests don't wait for all of it. */
	assert_true(stat_of(c, vm, "emulate.instructions") >= 3);
	end(c, vm);
}

/* An instruction that the VMM executes faults as on a processor, and goes on after it. */
static void emulated_fault(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t vm = vm_new(c, &req, guest_faulter, sizeof(guest_faulter));
	struct engine_state_info s;
	char text[16];

	op_ok(c, vm, ENGINE_VM_START);
	s = wait_state(c, vm, ENGINE_STATE_SHUTOFF);
	assert_int_equal(s.reason, ENGINE_REASON_EXITED);
	assert_int_equal(s.exit_status, 0x260);
	console_text(c, vm, text, sizeof(text));
	assert_string_equal(text, "ABCD");
	assert_int_equal(stat_of(c, vm, "emulate.injected"), 2);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

/*
 * A guest that is stopped while an exception is on its way into it, for its stack is
 * protected, does not find that exception when it starts anew.
 */
static void stopped_in_delivery(struct contract *c)
{
	struct engine_request req = vm_request();
	struct engine_map_op o = {
		.kind = ENGINE_PROTECT, .gpa = 0x17f000, .size_bytes = 4096, .prot = ENGINE_PROT_R};
	uint64_t vm = vm_new(c, &req, guest_faulter, sizeof(guest_faulter));
	struct engine_state_info s;

	apply_ok(c, vm, &o, 0, NULL);
	op_ok(c, vm, ENGINE_VM_START);
	s = wait_state(c, vm, ENGINE_STATE_PAUSED);
	assert_int_equal(s.reason, ENGINE_REASON_EPT_DENIED);
	assert_int_equal(s.gpa & ~UINT64_C(0xfff), 0x17f000);
	op_ok(c, vm, ENGINE_VM_STOP);
	o.prot = 7;
	apply_ok(c, vm, &o, 0, NULL);
	op_ok(c, vm, ENGINE_VM_START);
	assert_int_equal(wait_state(c, vm, ENGINE_STATE_SHUTOFF).exit_status, 0x260);
	/* Resumed instead of stopped, it is delivered. */
	o.prot = ENGINE_PROT_R;
	apply_ok(c, vm, &o, 0, NULL);
	op_ok(c, vm, ENGINE_VM_START);
	wait_state(c, vm, ENGINE_STATE_PAUSED);
	o.prot = 7;
	apply_ok(c, vm, &o, 0, NULL);
	op_ok(c, vm, ENGINE_VM_RESUME);
	assert_int_equal(wait_state(c, vm, ENGINE_STATE_SHUTOFF).exit_status, 0x260);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

/* The machine, VPID on or off: two guests share processor 0, each with its 16 pages. */
static void alternate(struct contract *c, uint32_t use_vpid, struct engine_tlb_stats delta[2])
{
	struct engine_request req = vm_request();
	struct engine_tlb_stats first[2], now[2];
	uint64_t vm[2];
	int i;

	req.u.create.use_vpid = use_vpid;
	req.u.create.ept_page_bytes = 4096;
	for (i = 0; i < 2; i++) {
		vm[i] = vm_new(c, &req, guest_toucher, sizeof(guest_toucher));
		op_ok(c, vm[i], ENGINE_VM_START);
	}
	/* Warm: both have had several turns. */
	do {
		first[0] = tlb_stats_of(c, vm[0], 0);
		first[1] = tlb_stats_of(c, vm[1], 0);
	} while (first[0].retired < 200000 || first[1].retired < 200000);
	do {
		now[0] = tlb_stats_of(c, vm[0], 0);
		now[1] = tlb_stats_of(c, vm[1], 0);
	} while (now[0].retired < first[0].retired + 400000 ||
		 now[1].retired < first[1].retired + 400000);
	for (i = 0; i < 2; i++) {
		delta[i] = now[i];
		delta[i].data_misses -= first[i].data_misses;
		delta[i].fetch_misses -= first[i].fetch_misses;
		delta[i].dropped_transition -= first[i].dropped_transition;
		delta[i].ops_transition -= first[i].ops_transition;
		assert_int_equal(now[i].data_lookups,
				 now[i].data_hits_l1 + now[i].data_hits_l2 + now[i].data_misses);
		assert_int_equal(now[i].fetch_lookups,
				 now[i].fetch_hits_l1 + now[i].fetch_hits_l2 + now[i].fetch_misses);
		end(c, vm[i]);
	}
}

/* With VPIDs the entries outlast the other guest's turn; without, each turn refills. */
static void vpid_keeps(struct contract *c)
{
	struct engine_tlb_stats d[2];
	int i;

	alternate(c, 1, d);
	for (i = 0; i < 2; i++) {
		assert_int_equal(d[i].data_misses, 0);
		assert_int_equal(d[i].fetch_misses, 0);
		assert_int_equal(d[i].ops_transition, 0);
		assert_int_equal(d[i].dropped_transition, 0);
		assert_true(d[i].held_d1 >= 16);
	}
	alternate(c, 0, d);
	for (i = 0; i < 2; i++) {
		/* 400,000 instructions are at least 20 quanta. */
		assert_true(d[i].data_misses >= 16 * 10);
		assert_true(d[i].ops_transition >= 20);
		assert_true(d[i].dropped_transition >= 16 * 10);
		assert_int_equal(d[i].vpid, 0);
	}
}

/* A VM with VPIDs and one without, side by side: only the one has a tag. */
static void vpid_off(struct contract *c)
{
	struct engine_request req = vm_request(), list = {.op = ENGINE_VPID_LIST};
	const struct engine_vpid *v;
	struct engine_event ev;
	uint32_t use_vpid;

	for (use_vpid = 0; use_vpid < 2; use_vpid++) {
		req.u.create.use_vpid = use_vpid;
		list.vm = agent_new(c, &req);
		agent_do(c, list.vm, AGENT_WRITE, 0x500000, 1);
		ev = call_ok(c, &list, NULL, 0);
		v = ev.payload;
		assert_int_equal(ev.payload_bytes, sizeof(*v));
		assert_int_equal(v->use_vpid, use_vpid);
		assert_int_equal(v->vpid != 0, use_vpid);
		assert_int_equal(v->valid, use_vpid);
		assert_int_equal(tlb_stats_of(c, list.vm, 0).vpid, v->vpid);
		engine_event_release(&ev);
		/* Without, entries and exits flush. */
		assert_int_equal(agent_do(c, list.vm, AGENT_READ, 0x500000, 0), 1);
	}
}

/* All counters of a VM as they are when the guest has ended. */
static struct engine_event final_stats(const char *name, const struct engine_config *cfg)
{
	struct contract c = {.name = name};
	struct engine_request req = vm_request(), st = {.op = ENGINE_STATS};
	struct engine_event ev;
	uint64_t vm[2];
	int i;

	contract_open(&c, cfg);
	for (i = 0; i < 2; i++)
		vm[i] = vm_new(&c, &req, guest_work, sizeof(guest_work));
	for (i = 0; i < 2; i++) {
		op_ok(&c, vm[i], ENGINE_VM_START);
		wait_state(&c, vm[i], ENGINE_STATE_SHUTOFF);
	}
	st.vm = vm[1];
	ev = call_ok(&c, &st, NULL, 0);
	contract_close(&c);
	return ev;
}

/* The same machine and requests: the same counters, every one. */
static void deterministic(struct contract *c)
{
	const struct engine_config cfg = {.processors = 3, .seed = 7, .scatter = 1};
	struct engine_event a = final_stats(c->name, &cfg), b = final_stats(c->name, &cfg);

	expect_same_counters(&a, &b);
	engine_event_release(&a);
	engine_event_release(&b);
}

/* The configurations of the machine all run a guest to the same end. */
static const struct {
	struct engine_config cfg;
	uint32_t needs;
} configs[] = {
	/* A TLB's geometry is only had of software, where it is seen. */
	{{.tlb = "none"}, ENGINE_CAP_TLB_STATS},
	{{.scatter = 1, .seed = 3}, 0},
	{{.processors = 1, .quantum = 1}, 0},
	{{.processors = 64, .quantum = 100}, NEEDS_MACHINE},
	{{.vpid_limit = 1}, NEEDS_MACHINE},
};

static void configurations(struct contract *c)
{
	static const uint64_t pages[] = {4096, 2 * MIB, 0};
	size_t i, k;

	for (i = 0; i < VMX_ARRAY_SIZE(configs); i++) {
		if (!contract_meets(c, configs[i].needs))
			continue;
		contract_close(c);
		contract_open(c, &configs[i].cfg);
		for (k = 0; k < VMX_ARRAY_SIZE(pages); k++) {
			struct engine_request req = vm_request();
			uint64_t vm[2];
			int n;

			req.u.create.ept_page_bytes = pages[k];
			req.u.create.accessed_dirty = k % 2;
			for (n = 0; n < 2; n++) {
				vm[n] = vm_new(c, &req, guest_hello, sizeof(guest_hello));
				op_ok(c, vm[n], ENGINE_VM_START);
			}
			for (n = 0; n < 2; n++)
				assert_int_equal(
					wait_state(c, vm[n], ENGINE_STATE_SHUTOFF).exit_status, 42);
			op_ok(c, vm[0], ENGINE_VM_DELETE);
			op_ok(c, vm[1], ENGINE_VM_DELETE);
		}
	}
}

const struct contract_case guest_cases[] = {
	{"port_accesses", port_accesses, 0},
	{"string_out", string_out, 0},
	{"emulated_fault", emulated_fault, 0},
	{"stopped_in_delivery", stopped_in_delivery, 0},
	/* vpid_off without the TLB's counters. */
	{"vpid_keeps", vpid_keeps, ENGINE_CAP_VPID | ENGINE_CAP_TLB_STATS},
	{"vpid_off", vpid_off, ENGINE_CAP_VPID},
	{"deterministic", deterministic, ENGINE_CAP_DETERMINISTIC},
	{"configurations", configurations, 0},
	{NULL, NULL, 0},
};
