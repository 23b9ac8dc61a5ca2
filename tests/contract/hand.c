/* SPDX-License-Identifier: MIT */
/* By hand: invalidations, registers, events, the VMCS. */
#include "contract/cases.h"

#include "contract/guests.h"

#define TARGET UINT64_C(0x400000)
#define OTHER UINT64_C(0x600000)
#define SPARE 5u

static void end(struct contract *c, uint64_t vm)
{
	op_ok(c, vm, ENGINE_VM_STOP);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

static uint64_t agent(struct contract *c)
{
	struct engine_request req = vm_request();

	return agent_new(c, &req);
}

static void refused(const char *name, const struct engine_event *ev, int err,
		    enum engine_field field)
{
	if (ev->error.code != err || ev->error.field != (uint32_t)field || !ev->error.text[0])
		fail_msg("%s: %d, field %s: \"%s\"", name, ev->error.code,
			 engine_field_name(ev->error.field), ev->error.text);
	assert_int_equal(ev->payload_bytes, 0);
}

/* --- invalidations ---------------------------------------------------------------------- */

static struct engine_event invalidate(struct contract *c, uint64_t vm,
				      enum engine_invalidation kind, uint64_t gva)
{
	struct engine_request req = {.op = ENGINE_INVALIDATE, .vm = vm};

	req.u.invalidate = (struct engine_invalidate_req){
		.gva = gva, .kind = kind, .processor = ENGINE_ANY_PROCESSOR};
	return call(c, &req, NULL, 0, NULL, 0);
}

static uint32_t held(const struct engine_tlb_stats *s)
{
	return s->held_i1 + s->held_d1 + s->held_l2;
}

static uint32_t tlb_level(struct contract *c, uint64_t vm, uint64_t gva)
{
	struct engine_request req = {.op = ENGINE_WALK, .vm = vm};
	struct engine_event ev;
	uint32_t level;

	req.u.walk.gva = gva;
	req.u.walk.access = ENGINE_PROT_R;
	ev = call_ok(c, &req, NULL, 0);
	level = ((const struct engine_walk *)ev.payload)->tlb_level;
	engine_event_release(&ev);
	return level;
}

/* What each kind takes of a guest's translations, and what it leaves. */
static const struct {
	enum engine_invalidation kind;
	const char *instruction, *type;
	bool names_ep4ta, names_vpid;
	bool takes_all;	     /* linear and combined mappings of the guest */
	bool takes_gpa;	     /* guest-physical mappings */
	const char *counter; /* of the processors */
} kinds[] = {
	{ENGINE_INVEPT_SINGLE, "INVEPT", "single-context", true, false, true, true,
	 "invept_single"},
	{ENGINE_INVEPT_ALL, "INVEPT", "all-context", false, false, true, true, "invept_all"},
	{ENGINE_INVVPID_ADDRESS, "INVVPID", "individual-address", false, true, false, false,
	 "invvpid_address"},
	{ENGINE_INVVPID_SINGLE, "INVVPID", "single-context", false, true, true, false,
	 "invvpid_single"},
	{ENGINE_INVVPID_ALL, "INVVPID", "all-context", false, false, true, false, "invvpid_all"},
	{ENGINE_INVVPID_KEEP_GLOBAL, "INVVPID", "single-context-retaining-globals", false, true,
	 true, false, "invvpid_keep_global"},
};

/* What was dropped is no longer held; and nothing else was touched. */
static void check_dropped(const struct engine_invalidated *d, const struct engine_tlb_stats *a,
			  const struct engine_tlb_stats *b, bool invept)
{
	uint32_t dropped = held(a) - held(b);
	uint64_t ops = b->ops_invept_single + b->ops_invept_all + b->ops_invvpid -
		       a->ops_invept_single - a->ops_invept_all - a->ops_invvpid;

	assert_int_equal(d->dropped_i1 + d->dropped_d1 + d->dropped_l2, dropped);
	assert_int_equal(d->dropped_gpa, a->held_gpa - b->held_gpa);
	assert_int_equal(ops, 1);
	assert_int_equal(b->ops_invvpid - a->ops_invvpid, !invept);
	assert_int_equal(b->dropped_invept_single + b->dropped_invept_all + b->dropped_invvpid -
				 a->dropped_invept_single - a->dropped_invept_all -
				 a->dropped_invvpid,
			 dropped);
	assert_int_equal(a->data_lookups, b->data_lookups);
	assert_int_equal(a->fetch_lookups, b->fetch_lookups);
	assert_int_equal(a->walks, b->walks);
	assert_int_equal(a->fills, b->fills);
	assert_int_equal(a->retired, b->retired);
}

static void by_hand(struct contract *c)
{
	const bool sees = contract_has(c, ENGINE_CAP_TLB_STATS);
	uint64_t vm = agent(c), count, asked;
	struct engine_tlb_stats before, after;
	const struct engine_invalidated *d;
	struct engine_event ev;
	size_t i;

	for (i = 0; i < VMX_ARRAY_SIZE(kinds); i++) {
		agent_do(c, vm, AGENT_READ, TARGET, 0);
		agent_do(c, vm, AGENT_READ, OTHER, 0);
		op_ok(c, vm, ENGINE_VM_PAUSE);
		count = stat_of(c, 0, kinds[i].counter);
		asked = stat_of(c, 0, "invept_cause_request");
		before = tlb_stats_of(c, vm, 0);
		if (sees) {
			assert_true(held(&before) > 1 && before.held_gpa > 0);
			assert_true(tlb_level(c, vm, TARGET) != 0);
			assert_true(tlb_level(c, vm, OTHER) != 0);
		}
		ev = invalidate(c, vm, kinds[i].kind,
				kinds[i].kind == ENGINE_INVVPID_ADDRESS ? TARGET : 0);
		assert_int_equal(ev.error.code, 0);
		assert_int_equal(ev.payload_bytes, sizeof(*d));
		d = ev.payload;
		after = tlb_stats_of(c, vm, 0);
		assert_string_equal(d->instruction, kinds[i].instruction);
		assert_string_equal(d->type, kinds[i].type);
		assert_int_equal(d->ep4ta != 0, kinds[i].names_ep4ta);
		assert_int_equal(d->vpid, kinds[i].names_vpid ? before.vpid : 0);
		assert_int_equal(d->processor, 0);
		assert_int_equal(d->observable, sees);
		if (sees) {
			check_dropped(d, &before, &after, kinds[i].takes_gpa);
			assert_int_equal(held(&after) == 0, kinds[i].takes_all);
			assert_int_equal(after.held_gpa == 0, kinds[i].takes_gpa);
			assert_int_equal(tlb_level(c, vm, TARGET), 0);
			assert_int_equal(tlb_level(c, vm, OTHER) == 0, kinds[i].takes_all);
		}
		assert_int_equal(stat_of(c, 0, kinds[i].counter), count + 1);
		assert_int_equal(stat_of(c, 0, "invept_cause_request"), asked + kinds[i].takes_gpa);
		engine_event_release(&ev);
		op_ok(c, vm, ENGINE_VM_RESUME);
		/* What was taken is found again. */
		assert_int_equal(agent_do(c, vm, AGENT_READ, TARGET, 0), 0);
	}
	end(c, vm);
}

/* What a change left out, a hand can make good. */
static void pays(struct contract *c)
{
	uint64_t vm = agent(c);
	struct engine_map_op o = {
		.kind = ENGINE_REMAP, .gpa = TARGET, .size_bytes = 4096, .slot = SPARE};
	struct engine_event ev;
	uint32_t word = 77;

	slot_add(c, vm, SPARE, MIB);
	slot_write(c, vm, SPARE, 0, &word, 4);
	assert_int_equal(agent_do(c, vm, AGENT_READ, TARGET, 0), 0);
	apply_ok(c, vm, &o, ENGINE_CHANGE_SKIP_INVALIDATION, NULL);
	assert_int_equal(agent_do(c, vm, AGENT_READ, TARGET, 0), 0);
	ev = invalidate(c, vm, ENGINE_INVEPT_SINGLE, 0);
	assert_int_equal(ev.error.code, 0);
	engine_event_release(&ev);
	assert_int_equal(agent_do(c, vm, AGENT_READ, TARGET, 0), word);
	end(c, vm);
}

/* Without a processor: INVEPT on every home of the VM, INVVPID on the vCPU's. */
static void homes(struct contract *c)
{
	struct engine_request req = vm_request();
	const struct engine_invalidated *d;
	struct engine_event ev;
	uint64_t vm;

	req.u.create.vcpus = 3;
	req.u.create.processor[0] = 1;
	req.u.create.processor[1] = 0;
	req.u.create.processor[2] = 1;
	vm = agent_new(c, &req);
	agent_do(c, vm, AGENT_READ, TARGET, 0);
	ev = invalidate(c, vm, ENGINE_INVEPT_SINGLE, 0);
	d = ev.payload;
	assert_int_equal(ev.payload_bytes, 2 * sizeof(*d));
	assert_int_equal(d[0].processor, 0);
	assert_int_equal(d[0].dropped_i1 + d[0].dropped_d1 + d[0].dropped_l2, 0);
	assert_int_equal(d[1].processor, 1);
	engine_event_release(&ev);
	ev = invalidate(c, vm, ENGINE_INVVPID_SINGLE, 0);
	d = ev.payload;
	assert_int_equal(ev.payload_bytes, sizeof(*d));
	assert_int_equal(d->processor, 1);
	engine_event_release(&ev);
	/* The second vCPU has not run. */
	req = (struct engine_request){.op = ENGINE_INVALIDATE, .vm = vm};
	req.u.invalidate = (struct engine_invalidate_req){
		.kind = ENGINE_INVVPID_SINGLE, .vcpu = 1, .processor = ENGINE_ANY_PROCESSOR};
	ev = call(c, &req, NULL, 0, NULL, 0);
	refused("no VPID yet", &ev, -ENODATA, ENGINE_FIELD_VCPU);
	req.u.invalidate.vcpu = 0;
	req.u.invalidate.processor = 0;
	ev = call(c, &req, NULL, 0, NULL, 0);
	refused("elsewhere", &ev, -ENODATA, ENGINE_FIELD_VCPU);
	/* A VPID by its number needs nobody to have it. */
	req.u.invalidate.vpid = 60000;
	ev = call_ok(c, &req, NULL, 0);
	assert_int_equal(((const struct engine_invalidated *)ev.payload)->vpid, 60000);
	engine_event_release(&ev);
	end(c, vm);
}

/* Wherever its processor is by now, a vCPU that floats is found there. */
static void floating(struct contract *c)
{
	struct engine_request req = vm_request(), list = {.op = ENGINE_VPID_LIST};
	const struct engine_invalidated *d;
	const struct engine_vpid *v;
	struct engine_event tags, ev;
	uint32_t i;

	req.u.create.processor[0] = ENGINE_ANY_PROCESSOR;
	for (i = 0; i < 4; i++) {
		list.vm = agent_new(c, &req);
		agent_do(c, list.vm, AGENT_READ, TARGET, 0);
		op_ok(c, list.vm, ENGINE_VM_PAUSE);
		tags = call_ok(c, &list, NULL, 0);
		v = tags.payload;
		ev = invalidate(c, list.vm, ENGINE_INVVPID_SINGLE, 0);
		if (ev.error.code)
			fail_msg("VM %u: %s", i, ev.error.text);
		d = ev.payload;
		assert_int_equal(ev.payload_bytes, sizeof(*d));
		assert_int_equal(d->processor, v->processor);
		assert_int_equal(d->vpid, v->vpid);
		engine_event_release(&ev);
		engine_event_release(&tags);
	}
}

static const struct {
	struct engine_invalidate_req req;
	int err;
	enum engine_field field;
} bad_invalidations[] = {
	{{.kind = ENGINE_INVALIDATIONS}, -EINVAL, ENGINE_FIELD_KIND},
	{{.kind = UINT32_MAX}, -EINVAL, ENGINE_FIELD_KIND},
	{{.processor = 64}, -EINVAL, ENGINE_FIELD_PROCESSOR},
	{{.vcpu = 1}, -EINVAL, ENGINE_FIELD_VCPU},
	{{.kind = ENGINE_INVVPID_SINGLE, .vpid = 65536}, -EINVAL, ENGINE_FIELD_VPID},
	{{.kind = ENGINE_INVVPID_ADDRESS, .vpid = 1, .gva = UINT64_C(1) << 47},
	 -EINVAL,
	 ENGINE_FIELD_GVA},
	{{.kind = ENGINE_INVVPID_SINGLE}, -ENODATA, ENGINE_FIELD_VCPU},
};

static void bad_hand(struct contract *c)
{
	struct engine_request create = vm_request(), req = {.op = ENGINE_INVALIDATE};
	uint64_t executed = stat_of(c, 0, "invvpid_single") + stat_of(c, 0, "invept_single");
	struct engine_event ev;
	size_t i;

	/* Without VPIDs there is none to name. */
	create.u.create.use_vpid = 0;
	req.vm = vm_new(c, &create, guest_hello, sizeof(guest_hello));
	for (i = 0; i < VMX_ARRAY_SIZE(bad_invalidations); i++) {
		req.u.invalidate = bad_invalidations[i].req;
		ev = call(c, &req, NULL, 0, NULL, 0);
		refused("invalidation", &ev, bad_invalidations[i].err, bad_invalidations[i].field);
	}
	assert_int_equal(stat_of(c, 0, "invvpid_single") + stat_of(c, 0, "invept_single"),
			 executed);
	op_ok(c, req.vm, ENGINE_VM_DELETE);
}

/* --- registers ---------------------------------------------------------------------------- */

static struct engine_event set_regs(struct contract *c, uint64_t vm,
				    const struct engine_register *regs, uint32_t count)
{
	struct engine_request req = {.op = ENGINE_VCPU_SET, .vm = vm};

	req.u.vcpu.count = count;
	return call(c, &req, regs, count * sizeof(*regs), NULL, 0);
}

static struct engine_event get_regs(struct contract *c, uint64_t vm)
{
	struct engine_request req = {.op = ENGINE_VCPU_GET, .vm = vm};

	return call_ok(c, &req, NULL, 0);
}

static uint64_t reg_of(const struct engine_event *ev, const char *name)
{
	const struct engine_register *r = ev->payload;
	size_t i;

	for (i = 0; i < ev->payload_bytes / sizeof(*r); i++)
		if (strcmp(r[i].name, name) == 0)
			return r[i].value;
	fail_msg("no register %s", name);
	return 0;
}

static void registers(struct contract *c)
{
	static const struct engine_register good[] = {
		{.name = "rdi", .value = 0x1122334455667788},
		{.name = "dr0", .value = 0x1000},
		{.name = "fs.base", .value = 0x2000},
		{.name = "cr2", .value = 0x3000},
		{.name = "tsc_aux", .value = 9},
	};
	uint64_t vm = agent(c);
	struct engine_event ev = set_regs(c, vm, good, 1), again;
	size_t i;

	refused("running", &ev, -EBUSY, ENGINE_FIELD_STATE);
	op_ok(c, vm, ENGINE_VM_PAUSE);
	ev = get_regs(c, vm);
	assert_int_equal(reg_of(&ev, "cr0") & 1, 1);
	assert_int_equal(reg_of(&ev, "cs.limit"), UINT32_MAX);
	assert_int_equal(reg_of(&ev, "rflags") & 2, 2);
	assert_int_equal(reg_of(&ev, "interruptibility"), 0);
	assert_true(reg_of(&ev, "rip") >= 0x100000 && reg_of(&ev, "rip") < 0x101000);
	engine_event_release(&ev);
	ev = set_regs(c, vm, good, VMX_ARRAY_SIZE(good));
	assert_int_equal(ev.error.code, 0);
	again = get_regs(c, vm);
	for (i = 0; i < VMX_ARRAY_SIZE(good); i++)
		assert_true(reg_of(&again, good[i].name) == good[i].value);
	assert_int_equal(ev.payload_bytes, again.payload_bytes);
	assert_memory_equal(ev.payload, again.payload, ev.payload_bytes);
	engine_event_release(&ev);
	engine_event_release(&again);
	op_ok(c, vm, ENGINE_VM_RESUME);
	agent_do(c, vm, AGENT_READ, TARGET, 0);
	op_ok(c, vm, ENGINE_VM_STOP);
	ev = set_regs(c, vm, good, 1);
	refused("stopped", &ev, -EBUSY, ENGINE_FIELD_STATE);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

/* Set before the first start, RIP is where the guest begins: behind what prints. */
static void first_rip(struct contract *c)
{
	static const struct engine_register rip = {.name = "rip", .value = 0x100012};
	struct engine_request req = vm_request();
	uint64_t vm = vm_new(c, &req, guest_hello, sizeof(guest_hello));
	struct engine_event ev = set_regs(c, vm, &rip, 1);
	char text[16];

	assert_int_equal(ev.error.code, 0);
	engine_event_release(&ev);
	op_ok(c, vm, ENGINE_VM_START);
	assert_int_equal(wait_state(c, vm, ENGINE_STATE_SHUTOFF).exit_status, 42);
	assert_int_equal(console_text(c, vm, text, sizeof(text)), 0);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

/* A vCPU put to sleep sleeps: with nobody to wake it, the VM ends. */
static void put_to_sleep(struct contract *c)
{
	static const struct engine_register hlt = {.name = "activity", .value = 1};
	uint64_t vm = agent(c);
	struct engine_event ev;

	op_ok(c, vm, ENGINE_VM_PAUSE);
	ev = set_regs(c, vm, &hlt, 1);
	assert_int_equal(ev.error.code, 0);
	engine_event_release(&ev);
	op_ok(c, vm, ENGINE_VM_RESUME);
	assert_int_equal(wait_state(c, vm, ENGINE_STATE_SHUTOFF).reason, ENGINE_REASON_HALTED);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

static const struct {
	struct engine_register regs[2];
	int err;
	uint32_t index;
	const char *text;
} bad_regs[] = {
	{{{.name = "rax"}, {.name = "zax"}}, -ENOENT, 1, "zax"},
	{{{.name = "abcdefghijklmno"}, {.name = "rax"}}, -ENOENT, 0, "abcdefghijklmno"},
	{{{.name = "rax"}, {.name = "cs.sel", .value = 0x10000}}, -ERANGE, 1, "cs.sel"},
	{{{.name = "cs.limit", .value = UINT64_C(1) << 32}, {.name = "rax"}},
	 -ERANGE,
	 0,
	 "cs.limit"},
	{{{.name = "rax", .value = 5}, {.name = "rflags", .value = 0}}, -EINVAL, 1, "rflags"},
	{{{.name = "rax", .value = 5}, {.name = "cr4", .value = UINT64_C(1) << 40}},
	 -EINVAL,
	 1,
	 "cr4"},
	{{{.name = "rax", .value = 5}, {.name = "activity", .value = 2}}, -EINVAL, 1, "activity"},
	{{{.name = "rax", .value = 5}, {.name = "pat", .value = 2}}, -EINVAL, 1, "pat"},
};

static void bad_registers(struct contract *c)
{
	uint64_t vm = agent(c);
	struct engine_request req = {.op = ENGINE_VCPU_GET, .vm = vm};
	struct engine_event before, after, ev;
	size_t i;

	op_ok(c, vm, ENGINE_VM_PAUSE);
	before = get_regs(c, vm);
	for (i = 0; i < VMX_ARRAY_SIZE(bad_regs); i++) {
		ev = set_regs(c, vm, bad_regs[i].regs, 2);
		refused(bad_regs[i].text, &ev, bad_regs[i].err, ENGINE_FIELD_REGISTERS);
		assert_int_equal(ev.error.index, bad_regs[i].index);
		assert_non_null(strstr(ev.error.text, bad_regs[i].text));
	}
	ev = set_regs(c, vm, NULL, 0);
	refused("none", &ev, -EINVAL, ENGINE_FIELD_REGISTERS);
	after = get_regs(c, vm);
	assert_memory_equal(before.payload, after.payload, before.payload_bytes);
	engine_event_release(&before);
	engine_event_release(&after);
	req.u.vcpu.vcpu = 1;
	ev = call(c, &req, NULL, 0, NULL, 0);
	refused("vcpu", &ev, -EINVAL, ENGINE_FIELD_VCPU);
	req.op = ENGINE_VCPU_SET;
	req.u.vcpu.count = ENGINE_MAX_REGISTERS + 1;
	assert_int_equal(engine_submit(c->engine, &req, bad_regs, 1, NULL, 0), -EINVAL);
	end(c, vm);
}

/* --- events ----------------------------------------------------------------------------------- */

static struct engine_event inject(struct contract *c, uint64_t vm, struct engine_inject what)
{
	struct engine_request req = {.op = ENGINE_VCPU_INJECT, .vm = vm};

	req.u.inject = what;
	return call(c, &req, NULL, 0, NULL, 0);
}

/* The agent has no IDT: an exception that reaches it is its end. */
static void exception(struct contract *c)
{
	uint64_t vm = agent(c), injected = stat_of(c, vm, "events_injected");
	struct engine_event ev;

	agent_do(c, vm, AGENT_READ, TARGET, 0);
	ev = inject(c, vm, (struct engine_inject){.kind = ENGINE_EVENT_EXCEPTION, .vector = 6});
	assert_int_equal(ev.error.code, 0);
	engine_event_release(&ev);
	assert_int_equal(wait_state(c, vm, ENGINE_STATE_CRASHED).reason,
			 ENGINE_REASON_TRIPLE_FAULT);
	assert_true(stat_of(c, vm, "events_injected") > injected);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

/* An interrupt waits for a guest that takes none; one waits at a time. */
static void interrupt_waits(struct contract *c)
{
	const struct engine_inject irq = {.kind = ENGINE_EVENT_INTERRUPT, .vector = 32};
	uint64_t vm = agent(c), injected = stat_of(c, vm, "events_injected");
	struct engine_event ev = inject(c, vm, irq);

	assert_int_equal(ev.error.code, 0);
	agent_do(c, vm, AGENT_READ, TARGET, 0);
	ev = inject(c, vm, irq);
	refused("second", &ev, -EBUSY, ENGINE_FIELD_VCPU);
	agent_do(c, vm, AGENT_READ, TARGET, 0);
	assert_int_equal(stat_of(c, vm, "events_injected"), injected);
	end(c, vm);
}

static const struct {
	struct engine_inject req;
	int err;
	enum engine_field field;
} bad_events[] = {
	{{.kind = 3}, -EINVAL, ENGINE_FIELD_KIND},
	{{.vcpu = 9}, -EINVAL, ENGINE_FIELD_VCPU},
	{{.vcpu = 1, .vector = 32}, -ENODATA, ENGINE_FIELD_VCPU},
	{{.kind = ENGINE_EVENT_INTERRUPT, .vector = 256}, -EINVAL, ENGINE_FIELD_VECTOR},
	{{.kind = ENGINE_EVENT_NMI, .vector = 3}, -EINVAL, ENGINE_FIELD_VECTOR},
	{{.kind = ENGINE_EVENT_EXCEPTION, .vector = 32}, -EINVAL, ENGINE_FIELD_VECTOR},
	{{.kind = ENGINE_EVENT_EXCEPTION, .vector = 14}, -EINVAL, ENGINE_FIELD_ERROR_CODE},
	{{.kind = ENGINE_EVENT_EXCEPTION, .vector = 6, .has_error_code = 1},
	 -EINVAL,
	 ENGINE_FIELD_ERROR_CODE},
	{{.kind = ENGINE_EVENT_EXCEPTION, .vector = 14, .has_error_code = 2},
	 -EINVAL,
	 ENGINE_FIELD_ERROR_CODE},
	{{.kind = ENGINE_EVENT_EXCEPTION, .vector = 14, .has_error_code = 1, .error_code = 0x8000},
	 -EINVAL,
	 ENGINE_FIELD_ERROR_CODE},
};

static void bad_injections(struct contract *c)
{
	struct engine_request req = vm_request();
	struct engine_event ev;
	uint64_t vm;
	size_t i;

	req.u.create.vcpus = 2;
	vm = agent_new(c, &req);
	for (i = 0; i < VMX_ARRAY_SIZE(bad_events); i++) {
		ev = inject(c, vm, bad_events[i].req);
		refused("event", &ev, bad_events[i].err, bad_events[i].field);
	}
	agent_do(c, vm, AGENT_READ, TARGET, 0);
	op_ok(c, vm, ENGINE_VM_STOP);
	ev = inject(c, vm, (struct engine_inject){.kind = ENGINE_EVENT_NMI, .vector = 2});
	refused("stopped", &ev, -EBUSY, ENGINE_FIELD_STATE);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

/* --- the VMCS ------------------------------------------------------------------------------ */

static struct engine_event vmcs(struct contract *c, uint64_t vm, const char *field)
{
	struct engine_request req = {.op = ENGINE_VMCS_GET, .vm = vm};

	strcpy(req.u.vmcs.field, field);
	return call(c, &req, NULL, 0, NULL, 0);
}

static uint64_t field_of(struct contract *c, uint64_t vm, const char *name)
{
	struct engine_event ev = vmcs(c, vm, name);
	const struct engine_vmcs_field *f = ev.payload;
	uint64_t value;

	assert_int_equal(ev.error.code, 0);
	assert_int_equal(ev.payload_bytes, sizeof(*f));
	assert_string_equal(f->name, name);
	value = f->value;
	engine_event_release(&ev);
	return value;
}

static void vmcs_fields(struct contract *c)
{
	uint64_t vm = agent(c);
	struct engine_event ev, regs;
	struct engine_tlb_stats s;
	const struct engine_vmcs_field *f;
	size_t n, i;

	agent_do(c, vm, AGENT_READ, TARGET, 0);
	op_ok(c, vm, ENGINE_VM_PAUSE);
	regs = get_regs(c, vm);
	s = tlb_stats_of(c, vm, 0);
	assert_true(field_of(c, vm, "guest_rip") == reg_of(&regs, "rip"));
	assert_true(field_of(c, vm, "guest_cr3") == reg_of(&regs, "cr3"));
	assert_true(field_of(c, vm, "guest_cs_limit") == reg_of(&regs, "cs.limit"));
	assert_true(field_of(c, vm, "vpid") == s.vpid);
	engine_event_release(&regs);
	ev = vmcs(c, vm, "");
	f = ev.payload;
	n = ev.payload_bytes / sizeof(*f);
	assert_true(n > 100 && ev.payload_bytes == n * sizeof(*f));
	for (i = 0; i < n; i++) {
		/* "Field Encoding in VMCS": the encoding says width and type. */
		assert_int_equal(f[i].width, f[i].encoding >> 13 & 3);
		assert_int_equal(f[i].type, f[i].encoding >> 10 & 3);
		assert_true(f[i].name[0] && f[i].text[0]);
		assert_true(field_of(c, vm, f[i].name) == f[i].value);
	}
	engine_event_release(&ev);
	ev = vmcs(c, vm, "guest_rippp");
	refused("no such field", &ev, -ENOENT, ENGINE_FIELD_FIELD);
	op_ok(c, vm, ENGINE_VM_RESUME);
	agent_do(c, vm, AGENT_READ, TARGET, 0);
	end(c, vm);
}

static void vmcs_empty(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t vm = vm_new(c, &req, guest_hello, sizeof(guest_hello));
	struct engine_event ev = vmcs(c, vm, "");

	refused("never ran", &ev, -ENODATA, ENGINE_FIELD_VCPU);
	ev = vmcs(c, vm, "guest_rip");
	refused("never ran", &ev, -ENODATA, ENGINE_FIELD_VCPU);
	req = (struct engine_request){.op = ENGINE_VMCS_GET, .vm = vm};
	req.u.vmcs.vcpu = 1;
	ev = call(c, &req, NULL, 0, NULL, 0);
	refused("vcpu", &ev, -EINVAL, ENGINE_FIELD_VCPU);
	memset(req.u.vmcs.field, 'a', sizeof(req.u.vmcs.field));
	assert_int_equal(engine_submit(c->engine, &req, NULL, 0, NULL, 0), -EINVAL);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

const struct contract_case hand_cases[] = {
	{"by_hand", by_hand, ENGINE_CAP_VPID},
	{"pays", pays, ENGINE_CAP_UNSAFE_HOOKS | ENGINE_CAP_VPID},
	{"homes", homes, ENGINE_CAP_VPID},
	{"floating", floating, ENGINE_CAP_VPID},
	{"bad_hand", bad_hand, 0},
	{"registers", registers, 0},
	{"first_rip", first_rip, 0},
	{"put_to_sleep", put_to_sleep, 0},
	{"bad_registers", bad_registers, 0},
	{"exception", exception, 0},
	{"interrupt_waits", interrupt_waits, 0},
	{"bad_injections", bad_injections, 0},
	{"vmcs_fields", vmcs_fields, ENGINE_CAP_VPID},
	{"vmcs_empty", vmcs_empty, 0},
	{NULL, NULL, 0},
};
