/* SPDX-License-Identifier: MIT */
/* What is mapped and what is dirty, slots that go, and a VM that begins anew. */
#include "contract/cases.h"

#include "contract/guests.h"

#define TARGET UINT64_C(0x400000)
#define HIGH UINT64_C(0x40000000)
#define SPARE 5u
#define RAM (16 * MIB)

static void end(struct contract *c, uint64_t vm)
{
	op_ok(c, vm, ENGINE_VM_STOP);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

static uint64_t agent_with(struct contract *c, uint64_t ept_page, uint32_t accessed_dirty)
{
	struct engine_request req = vm_request();
	uint64_t vm;

	req.u.create.ept_page_bytes = ept_page;
	req.u.create.accessed_dirty = accessed_dirty;
	vm = agent_new(c, &req);
	slot_add(c, vm, SPARE, 2 * MIB);
	return vm;
}

/* --- mapped ranges ------------------------------------------------------------------------ */

/* To be released; its payload is struct engine_mappings. */
static struct engine_event mappings(struct contract *c, uint64_t vm, uint64_t gpa, uint32_t max)
{
	struct engine_request req = {.op = ENGINE_MAPPING_LIST, .vm = vm};
	struct engine_event ev;
	const struct engine_mappings *m;

	req.u.mapping_list = (struct engine_mapping_list_req){.gpa = gpa, .max = max};
	ev = call_ok(c, &req, NULL, 0);
	m = ev.payload;
	assert_int_equal(ev.payload_bytes, sizeof(*m) + m->count * sizeof(m->mapping[0]));
	return ev;
}

/* A page cut out of the RAM, and a slot far above it: what the EPT has for each. */
static const struct engine_map_op layout[] = {
	{.kind = ENGINE_PROTECT, .gpa = TARGET, .size_bytes = 4096, .prot = ENGINE_PROT_R},
	{.kind = ENGINE_MAP,
	 .gpa = HIGH,
	 .size_bytes = 2 * MIB,
	 .slot = SPARE,
	 .prot = ENGINE_PROT_R,
	 .memtype = 0},
};

static const struct {
	uint64_t gpa, size, offset;
	uint32_t slot, prot, memtype;
	uint64_t leaves_4k[2], leaves_2m[2]; /* with 4 KiB and 2 MiB pages */
} ranges[] = {
	{0, TARGET, 0, 0, 7, 6, {1024, 0}, {0, 2}},
	{TARGET, 4096, TARGET, 0, 1, 6, {1, 1}, {0, 0}},
	{TARGET + 4096, RAM - TARGET - 4096, TARGET + 4096, 0, 7, 6, {3071, 511}, {0, 5}},
	{HIGH, 2 * MIB, 0, SPARE, 1, 0, {512, 0}, {0, 1}},
};

static void check_ranges(const struct engine_mappings *m, size_t pages)
{
	size_t i;

	assert_int_equal(m->count, VMX_ARRAY_SIZE(ranges));
	for (i = 0; i < m->count; i++) {
		const struct engine_mapping *r = &m->mapping[i];

		assert_int_equal(r->gpa, ranges[i].gpa);
		assert_int_equal(r->size_bytes, ranges[i].size);
		assert_int_equal(r->offset_bytes, ranges[i].offset);
		assert_int_equal(r->slot, ranges[i].slot);
		assert_int_equal(r->prot, ranges[i].prot);
		assert_int_equal(r->memtype, ranges[i].memtype);
		assert_int_equal(r->leaves_4k, ranges[i].leaves_4k[pages]);
		assert_int_equal(r->leaves_2m, ranges[i].leaves_2m[pages]);
		assert_int_equal(r->leaves_1g, 0);
	}
}

static void mapping_list(struct contract *c)
{
	static const uint64_t page[] = {VMX_SIZE_4K, VMX_SIZE_2M};
	size_t k, i;

	for (k = 0; k < VMX_ARRAY_SIZE(page); k++) {
		uint64_t vm = agent_with(c, page[k], 1);
		struct engine_event ev = mappings(c, vm, 0, 10);
		const struct engine_mappings *m = ev.payload;

		assert_int_equal(m->count, 1);
		assert_int_equal(m->mapping[0].size_bytes, RAM);
		assert_int_equal(m->more, 0);
		assert_true(m->table_bytes >= 3 * 4096 && m->ep4ta != 0);
		engine_event_release(&ev);
		for (i = 0; i < VMX_ARRAY_SIZE(layout); i++)
			apply_ok(c, vm, &layout[i], 0, NULL);
		ev = mappings(c, vm, 0, 10);
		check_ranges(ev.payload, k);
		engine_event_release(&ev);
		/* Piece by piece, it is the same. */
		for (i = 0; i < VMX_ARRAY_SIZE(ranges); i++) {
			ev = mappings(c, vm, ranges[i].gpa, 1);
			m = ev.payload;
			assert_int_equal(m->count, 1);
			assert_int_equal(m->mapping[0].gpa, ranges[i].gpa);
			assert_int_equal(m->more, i + 1 < VMX_ARRAY_SIZE(ranges));
			if (m->more)
				assert_int_equal(m->next_gpa, ranges[i + 1].gpa);
			engine_event_release(&ev);
		}
		end(c, vm);
	}
}

/* One page of a 1 GiB leaf made read-only: every size of leaf is there. */
static void mapping_1g(struct contract *c)
{
	const struct engine_map_op cut = {
		.kind = ENGINE_PROTECT, .gpa = TARGET, .size_bytes = 4096, .prot = ENGINE_PROT_R};
	struct engine_request req = vm_request();
	uint64_t leaves[3] = {0}, vm;
	const struct engine_mappings *m;
	struct engine_event ev;
	uint32_t i;

	req.u.create.memory_bytes = 2048 * MIB;
	req.u.create.ept_page_bytes = VMX_SIZE_1G;
	vm = vm_new(c, &req, guest_hello, sizeof(guest_hello));
	ev = mappings(c, vm, 0, 10);
	assert_int_equal(((const struct engine_mappings *)ev.payload)->mapping[0].leaves_1g, 2);
	engine_event_release(&ev);
	apply_ok(c, vm, &cut, 0, NULL);
	ev = mappings(c, vm, 0, 10);
	m = ev.payload;
	assert_int_equal(m->count, 3);
	for (i = 0; i < m->count; i++) {
		leaves[0] += m->mapping[i].leaves_4k;
		leaves[1] += m->mapping[i].leaves_2m;
		leaves[2] += m->mapping[i].leaves_1g;
	}
	assert_int_equal(leaves[0], 512);
	assert_int_equal(leaves[1], 511);
	assert_int_equal(leaves[2], 1);
	engine_event_release(&ev);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

/* The flags are the guest's doing; looking at them leaves them as they are. */
static void flags(struct contract *c)
{
	uint64_t vm = agent_with(c, VMX_SIZE_4K, 1);
	struct engine_event ev = mappings(c, vm, 0, 1), again;
	const struct engine_mapping *before = ((const struct engine_mappings *)ev.payload)->mapping;
	const struct engine_mapping *after;

	assert_int_equal(((const struct engine_mappings *)ev.payload)->accessed_dirty, 1);
	agent_do(c, vm, AGENT_READ, TARGET, 0);
	agent_do(c, vm, AGENT_READ, TARGET + 0x1000, 0);
	agent_do(c, vm, AGENT_WRITE, TARGET + 0x2000, 1);
	op_ok(c, vm, ENGINE_VM_PAUSE);
	again = mappings(c, vm, 0, 1);
	after = ((const struct engine_mappings *)again.payload)->mapping;
	assert_true(after->leaves_accessed >= before->leaves_accessed + 3);
	assert_true(after->leaves_dirty >= before->leaves_dirty + 1);
	assert_true(after->leaves_dirty < after->leaves_accessed);
	engine_event_release(&ev);
	ev = mappings(c, vm, 0, 1);
	assert_memory_equal(ev.payload, again.payload, ev.payload_bytes);
	engine_event_release(&ev);
	engine_event_release(&again);
	end(c, vm);
}

/* --- dirty pages ---------------------------------------------------------------------------- */

static struct engine_event dirty(struct contract *c, uint64_t vm, uint64_t gpa, uint64_t size,
				 uint32_t clear)
{
	struct engine_request req = {.op = ENGINE_DIRTY, .vm = vm};
	struct engine_event ev;
	const struct engine_dirty *d;

	req.u.dirty = (struct engine_dirty_req){.gpa = gpa, .size_bytes = size, .clear = clear};
	ev = call_ok(c, &req, NULL, 0);
	d = ev.payload;
	assert_int_equal(d->bitmap_bytes, (size / 4096 + 7) / 8);
	assert_int_equal(ev.payload_bytes, sizeof(*d) + d->bitmap_bytes);
	return ev;
}

static uint64_t dirty_pages(struct contract *c, uint64_t vm, uint64_t gpa, uint64_t size,
			    uint32_t clear)
{
	struct engine_event ev = dirty(c, vm, gpa, size, clear);
	uint64_t pages = ((const struct engine_dirty *)ev.payload)->dirty_pages;

	engine_event_release(&ev);
	return pages;
}

/*
 * Cleared and invalidated, the flag is set by the guest's next write: without the
 * invalidation, the TLB entry would let it write unseen.
 */
static void dirty_again(struct contract *c)
{
	uint64_t vm = agent_with(c, VMX_SIZE_4K, 1);
	const struct engine_dirty *d;
	struct engine_event ev;
	int i;

	for (i = 0; i < 20; i++) {
		agent_do(c, vm, AGENT_WRITE, TARGET + 0x3000, 7);
		ev = dirty(c, vm, TARGET, 16 * 4096, 1);
		d = ev.payload;
		assert_int_equal(d->bitmap[0], 1u << 3);
		assert_int_equal(d->bitmap[1], 0);
		assert_int_equal(d->dirty_pages, 1);
		assert_int_equal(d->change.need, 2);
		assert_string_equal(d->change.reason, "dirty-cleared");
		assert_int_equal(d->change.entries_written, 1);
		expect_reached(c, &d->change);
		engine_event_release(&ev);
		ev = dirty(c, vm, TARGET, 16 * 4096, 1);
		d = ev.payload;
		assert_int_equal(d->dirty_pages, 0);
		assert_int_equal(d->change.need, 0);
		assert_int_equal(d->change.invept_issued, 0);
		engine_event_release(&ev);
	}
	/* Without clear it stays. */
	agent_do(c, vm, AGENT_WRITE, TARGET + 0x3000, 7);
	assert_int_equal(dirty_pages(c, vm, TARGET + 0x3000, 4096, 0), 1);
	assert_int_equal(dirty_pages(c, vm, TARGET + 0x3000, 4096, 0), 1);
	/* Nothing is dirty where nothing is mapped. */
	assert_int_equal(dirty_pages(c, vm, HIGH, 16 * MIB, 1), 0);
	end(c, vm);
}

static void dirty_large(struct contract *c)
{
	uint64_t vm = agent_with(c, VMX_SIZE_2M, 1);

	agent_do(c, vm, AGENT_WRITE, TARGET, 7);
	assert_int_equal(dirty_pages(c, vm, TARGET + 0x5000, 9 * 4096, 1), 9);
	assert_int_equal(dirty_pages(c, vm, TARGET, 2 * MIB, 1), 512);
	assert_int_equal(dirty_pages(c, vm, TARGET, 2 * MIB, 1), 0);
	end(c, vm);
}

static const struct {
	struct engine_dirty_req req;
	int err;
	enum engine_field field;
} bad_dirties[] = {
	{{.gpa = 1, .size_bytes = 4096}, -EINVAL, ENGINE_FIELD_GPA},
	{{.gpa = 0, .size_bytes = 0}, -EINVAL, ENGINE_FIELD_SIZE},
	{{.gpa = 0, .size_bytes = 4097}, -EINVAL, ENGINE_FIELD_SIZE},
	{{.gpa = 0, .size_bytes = ENGINE_MAX_DIRTY_BYTES + 4096}, -ERANGE, ENGINE_FIELD_SIZE},
	{{.gpa = 0, .size_bytes = 4096, .clear = 2}, -EINVAL, ENGINE_FIELD_KIND},
	{{.gpa = UINT64_C(1) << 60, .size_bytes = 4096}, -ERANGE, ENGINE_FIELD_GPA},
	{{.gpa = ~UINT64_C(4095), .size_bytes = 8192}, -EINVAL, ENGINE_FIELD_GPA},
};

static void bad_looking(struct contract *c)
{
	uint64_t vm = agent_with(c, 0, 1), plain;
	struct engine_request req = {.op = ENGINE_DIRTY, .vm = vm};
	struct engine_event ev;
	size_t i;

	for (i = 0; i < VMX_ARRAY_SIZE(bad_dirties); i++) {
		req.u.dirty = bad_dirties[i].req;
		ev = call(c, &req, NULL, 0, NULL, 0);
		if (ev.error.code != bad_dirties[i].err ||
		    ev.error.field != (uint32_t)bad_dirties[i].field || !ev.error.text[0])
			fail_msg("row %zu: %d, field %s: %s", i, ev.error.code,
				 engine_field_name(ev.error.field), ev.error.text);
		assert_int_equal(ev.payload_bytes, 0);
	}
	req = (struct engine_request){.op = ENGINE_MAPPING_LIST, .vm = vm};
	ev = call(c, &req, NULL, 0, NULL, 0);
	assert_int_equal(ev.error.code, -EINVAL);
	req.u.mapping_list.max = ENGINE_MAX_MAPPINGS + 1;
	ev = call(c, &req, NULL, 0, NULL, 0);
	assert_int_equal(ev.error.code, -EINVAL);
	end(c, vm);
	/* Without the flags there is nothing to look at. */
	plain = agent_with(c, 0, 0);
	req = (struct engine_request){.op = ENGINE_DIRTY, .vm = plain};
	req.u.dirty.size_bytes = 4096;
	ev = call(c, &req, NULL, 0, NULL, 0);
	assert_int_equal(ev.error.code, -ENOTSUP);
	ev = mappings(c, plain, 0, 1);
	assert_int_equal(((const struct engine_mappings *)ev.payload)->accessed_dirty, 0);
	assert_int_equal(((const struct engine_mappings *)ev.payload)->mapping[0].leaves_dirty, 0);
	engine_event_release(&ev);
	end(c, plain);
}

/* --- slots that go ------------------------------------------------------------------------- */

static struct engine_event slot_remove(struct contract *c, uint64_t vm, uint32_t slot)
{
	struct engine_request req = {.op = ENGINE_SLOT_REMOVE, .vm = vm};

	req.u.slot_remove.slot = slot;
	return call(c, &req, NULL, 0, NULL, 0);
}

static void removed_slot(struct contract *c)
{
	uint64_t vm = agent_with(c, 0, 1);
	struct engine_map_op map = layout[1],
			     un = {.kind = ENGINE_UNMAP, .gpa = HIGH, .size_bytes = 2 * MIB};
	struct engine_event ev = slot_remove(c, vm, 0);
	uint32_t i;

	assert_int_equal(ev.error.code, -EINVAL);
	assert_int_equal(ev.error.field, ENGINE_FIELD_SLOT);
	ev = slot_remove(c, vm, 9);
	assert_int_equal(ev.error.code, -ENOENT);
	/* Its number and its memory are free again: far more than there is room for at once. */
	for (i = 0; i < 2000; i++) {
		ev = slot_remove(c, vm, SPARE);
		assert_int_equal(ev.error.code, 0);
		assert_int_equal(ev.total, 2 * MIB);
		slot_add(c, vm, SPARE, 2 * MIB);
	}
	for (i = 0; i < 3; i++) {
		apply_ok(c, vm, &map, 0, NULL);
		assert_int_equal(agent_do(c, vm, AGENT_READ, HIGH, 0), 0);
		ev = slot_remove(c, vm, SPARE);
		assert_int_equal(ev.error.code, -EBUSY);
		assert_int_equal(ev.error.field, ENGINE_FIELD_SLOT);
		assert_int_equal(ev.error.existing_first, HIGH);
		assert_int_equal(ev.error.existing_last, HIGH + 2 * MIB - 1);
		assert_non_null(strstr(ev.error.text, "2097152 bytes"));
		assert_int_equal(agent_do(c, vm, AGENT_READ, HIGH, 0), 0);
		apply_ok(c, vm, &un, 0, NULL);
	}
	ev = slot_remove(c, vm, SPARE);
	assert_int_equal(ev.error.code, 0);
	assert_int_equal(apply(c, vm, &map, 0, NULL, NULL), -ENOENT);
	assert_int_equal(agent_do(c, vm, AGENT_READ, HIGH, 0), UINT32_MAX);
	end(c, vm);
}

/* A stale translation of memory that is gone leads to an empty bus. */
static void removed_stale(struct contract *c)
{
	uint64_t vm = agent_with(c, 0, 1);
	struct engine_map_op map = layout[1],
			     un = {.kind = ENGINE_UNMAP, .gpa = HIGH, .size_bytes = 2 * MIB};
	uint32_t word = 0x12345678;
	struct engine_event ev;

	slot_write(c, vm, SPARE, 0, &word, 4);
	apply_ok(c, vm, &map, 0, NULL);
	assert_int_equal(agent_do(c, vm, AGENT_READ, HIGH, 0), word);
	apply_ok(c, vm, &un, ENGINE_CHANGE_SKIP_INVALIDATION, NULL);
	assert_int_equal(agent_do(c, vm, AGENT_READ, HIGH, 0), word);
	ev = slot_remove(c, vm, SPARE);
	assert_int_equal(ev.error.code, 0);
	assert_int_equal(agent_do(c, vm, AGENT_READ, HIGH, 0), UINT32_MAX);
	end(c, vm);
}

/* --- reset --------------------------------------------------------------------------------- */

static void reset(struct contract *c)
{
	uint64_t vm = agent_with(c, 0, 1), retired = 0;
	struct engine_map_op map = layout[1];
	uint32_t word = 0x12345678, got, i;
	char text[16];

	slot_write(c, vm, SPARE, 0, &word, 4);
	apply_ok(c, vm, &map, 0, NULL);
	for (i = 0; i < 3; i++) {
		struct engine_event ev;

		assert_int_equal(agent_do(c, vm, AGENT_READ, HIGH, 0), word);
		agent_do(c, vm, AGENT_WRITE, TARGET, 'R');
		agent_do(c, vm, AGENT_PRINT, TARGET, 0);
		assert_true(console_text(c, vm, text, sizeof(text)) == 1 && text[0] == 'R');
		if (i == 1)
			op_ok(c, vm, ENGINE_VM_PAUSE);
		if (i == 2) {
			agent_post(c, vm, AGENT_CRASH, 0, 0);
			wait_state(c, vm, ENGINE_STATE_CRASHED);
		}
		ev = op(c, vm, ENGINE_VM_RESET);
		assert_int_equal(ev.error.code, 0);
		assert_int_equal(ev.state.state, ENGINE_STATE_RUNNING);
		assert_int_equal(ev.state.reason, ENGINE_REASON_STARTED);
		assert_int_equal(ev.state.console_bytes, 0);
		assert_true(ev.state.guest_time > retired || ev.state.guest_time == UINT64_MAX);
		retired = ev.state.guest_time;
		engine_event_release(&ev);
		c->agent_seq = 0;
		gpa_read(c, vm, TARGET, &got, 4);
		assert_int_equal(got, 0);
	}
	end(c, vm);
}

static void reset_shutoff(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t vm = vm_new(c, &req, guest_hello, sizeof(guest_hello));
	struct engine_event ev = op(c, vm, ENGINE_VM_RESET);

	assert_int_equal(ev.error.code, -EBUSY);
	assert_int_equal(ev.error.field, ENGINE_FIELD_STATE);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

const struct contract_case space_cases[] = {
	{"mapping_list", mapping_list, ENGINE_CAP_EPT_2M},
	{"mapping_1g", mapping_1g, ENGINE_CAP_EPT_2M | ENGINE_CAP_EPT_1G},
	{"flags", flags, ENGINE_CAP_EPT_AD},
	{"dirty_again", dirty_again, ENGINE_CAP_EPT_AD},
	{"dirty_large", dirty_large, ENGINE_CAP_EPT_AD | ENGINE_CAP_EPT_2M},
	{"bad_looking", bad_looking, ENGINE_CAP_EPT_AD},
	{"removed_slot", removed_slot, 0},
	{"removed_stale", removed_stale, ENGINE_CAP_UNSAFE_HOOKS | ENGINE_CAP_VPID},
	{"reset", reset, 0},
	{"reset_shutoff", reset_shutoff, 0},
	{NULL, NULL, 0},
};
