/* SPDX-License-Identifier: MIT */
/* Memory is mapped, moved, protected and taken away under a running guest. */
#include "contract/cases.h"

#include <stdio.h>

#define SPARE 5u
#define TARGET UINT64_C(0x400000)

static void end(struct contract *c, uint64_t vm)
{
	op_ok(c, vm, ENGINE_VM_STOP);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

/* A guest, and a slot whose pages hold the letters A, B, ... */
static uint64_t guest_and_spare(struct contract *c, uint64_t ept_page)
{
	struct engine_request req = vm_request();
	uint64_t vm;
	char letter;
	uint32_t i;

	req.u.create.ept_page_bytes = ept_page;
	vm = agent_new(c, &req);
	/* It has been in its guest: a change has somebody to reach. */
	agent_do(c, vm, AGENT_READ, AGENT_BUFFER, 0);
	slot_add(c, vm, SPARE, 2 * MIB);
	for (i = 0; i < 8; i++) {
		letter = (char)('A' + i);
		slot_write(c, vm, SPARE, i * 4096, &letter, 1);
	}
	return vm;
}

static struct engine_map_op remap_to(uint64_t page)
{
	return (struct engine_map_op){.kind = ENGINE_REMAP,
				      .gpa = TARGET,
				      .size_bytes = 4096,
				      .slot = SPARE,
				      .offset_bytes = page * 4096};
}

static char last_printed(struct contract *c, uint64_t vm)
{
	struct engine_request req = {.op = ENGINE_CONSOLE_READ, .vm = vm};
	struct engine_event ev;
	char last;

	req.u.console.max_bytes = ENGINE_MAX_DATA;
	ev = call_ok(c, &req, NULL, 0);
	assert_true(ev.payload_bytes > 0);
	last = ((const char *)ev.payload)[ev.payload_bytes - 1];
	engine_event_release(&ev);
	return last;
}

static char guest_sees(struct contract *c, uint64_t vm)
{
	agent_do(c, vm, AGENT_PRINT, TARGET, 0);
	return last_printed(c, vm);
}

static void remap(struct contract *c)
{
	uint64_t vm = guest_and_spare(c, 0);
	struct engine_change ch;
	struct engine_map_op o;
	uint32_t i;

	for (i = 0; i < 8; i++) {
		o = remap_to(i);
		apply_ok(c, vm, &o, 0, &ch);
		assert_int_equal(ch.entries_written, i ? 1 : ch.entries_written);
		assert_int_equal(ch.need, 2);
		assert_string_equal(ch.instruction, "INVEPT");
		assert_string_equal(ch.type, "single-context");
		assert_true(ch.reason[0] && ch.text[0] && ch.section[0]);
		expect_reached(c, &ch);
		assert_int_equal(guest_sees(c, vm), 'A' + i);
	}
	end(c, vm);
}

/*
 * What an invalidation is for: left out, the guest goes on reading the old page; done,
 * it reads the new one. A thousand times, without an exception.
 */
static void stale(struct contract *c)
{
	uint64_t vm = guest_and_spare(c, 0);
	struct engine_change ch;
	struct engine_map_op o = remap_to(0);
	uint32_t i;

	apply_ok(c, vm, &o, 0, NULL);
	assert_int_equal(guest_sees(c, vm), 'A');
	for (i = 0; i < 1000; i++) {
		char old_letter = (char)('A' + i % 2), new_letter = (char)('A' + (i + 1) % 2);

		o = remap_to((i + 1) % 2);
		apply_ok(c, vm, &o, ENGINE_CHANGE_SKIP_INVALIDATION, &ch);
		assert_int_equal(ch.need, 2);
		assert_int_equal(ch.invept_issued, 0);
		assert_int_equal(guest_sees(c, vm), old_letter);
		/* The same once more: nothing changes but that the debt is paid. */
		apply_ok(c, vm, &o, 0, &ch);
		assert_int_equal(ch.need, 2);
		assert_int_equal(guest_sees(c, vm), new_letter);
	}
	end(c, vm);
}

static const struct {
	uint32_t prot;
	enum agent_op op;
	const char *access;
	uint64_t qualification; /* bits 2:0 */
} denials[] = {
	{ENGINE_PROT_R | ENGINE_PROT_X, AGENT_WRITE, "write", 2},
	{ENGINE_PROT_R, AGENT_CALL, "fetch", 4},
	{ENGINE_PROT_R | ENGINE_PROT_W, AGENT_CALL, "fetch", 4},
	{ENGINE_PROT_R, AGENT_WRITE, "write", 2},
};

/* A forbidden access pauses; resumed, the guest tries again; permitted, it goes on. */
static void protect(struct contract *c)
{
	uint64_t vm = guest_and_spare(c, 0);
	struct engine_map_op o = {.kind = ENGINE_PROTECT, .gpa = TARGET, .size_bytes = 4096};
	static const uint8_t ret = 0xc3;
	struct engine_state_info s;
	size_t i;
	int k;

	for (i = 0; i < VMX_ARRAY_SIZE(denials); i++) {
		/* What AGENT_CALL calls. */
		gpa_write(c, vm, TARGET, &ret, 1);
		agent_do(c, vm, AGENT_READ, TARGET, 0);
		o.prot = denials[i].prot;
		apply_ok(c, vm, &o, 0, NULL);
		agent_post(c, vm, denials[i].op, TARGET, 0xc3);
		for (k = 0; k < 3; k++) {
			s = wait_state(c, vm, ENGINE_STATE_PAUSED);
			assert_int_equal(s.reason, ENGINE_REASON_EPT_DENIED);
			assert_int_equal(s.gpa, TARGET);
			assert_int_equal(s.gva, TARGET);
			assert_int_equal(s.qualification & 7, denials[i].qualification);
			assert_non_null(strstr(s.report, denials[i].access));
			assert_non_null(strstr(s.report, "0x400000"));
			op_ok(c, vm, ENGINE_VM_RESUME);
		}
		wait_state(c, vm, ENGINE_STATE_PAUSED);
		o.prot = ENGINE_PROT_R | ENGINE_PROT_W | ENGINE_PROT_X;
		apply_ok(c, vm, &o, 0, NULL);
		op_ok(c, vm, ENGINE_VM_RESUME);
		agent_wait(c, vm);
	}
	end(c, vm);
}

/* Where nothing is mapped, reads float high and writes go nowhere. */
static void holes(struct contract *c)
{
	uint64_t vm = guest_and_spare(c, 0);
	struct engine_map_op un = {.kind = ENGINE_UNMAP, .gpa = TARGET, .size_bytes = 4096};
	struct engine_map_op map = {.kind = ENGINE_MAP,
				    .gpa = TARGET,
				    .size_bytes = 4096,
				    .slot = SPARE,
				    .offset_bytes = 4096,
				    .prot = ENGINE_PROT_R | ENGINE_PROT_W,
				    .memtype = 6};
	uint32_t words[4];
	uint8_t byte = 'z';

	agent_do(c, vm, AGENT_READ, TARGET, 0);
	apply_ok(c, vm, &un, 0, NULL);
	assert_int_equal(agent_do(c, vm, AGENT_READ, TARGET, 0), UINT32_MAX);
	assert_int_equal(stat_of(c, vm, "mmio.unclaimed"), 1);
	agent_do(c, vm, AGENT_WRITE, TARGET, 5);
	assert_int_equal(agent_do(c, vm, AGENT_READ, TARGET, 0), UINT32_MAX);
	assert_int_equal(stat_of(c, vm, "mmio.unclaimed"), 3);
	/* A string instruction, out of a hole and into memory. */
	agent_do(c, vm, AGENT_COPY, TARGET, 4);
	gpa_read(c, vm, AGENT_BUFFER, words, sizeof(words));
	assert_int_equal(words[0] & words[1] & words[2] & words[3], UINT32_MAX);
	/* A long one is done in parts. */
	agent_do(c, vm, AGENT_FILL, 0xf0000000, 10000);
	assert_int_equal(stat_of(c, vm, "mmio.unclaimed"), 3 + 4 + 10000);
	/* Into a page that comes back, a write went nowhere. */
	apply_ok(c, vm, &map, 0, NULL);
	assert_int_equal(guest_sees(c, vm), 'B');
	slot_write(c, vm, SPARE, 4096, &byte, 1);
	assert_int_equal(guest_sees(c, vm), 'z');
	end(c, vm);
}

/* Code that runs from a hole ends the guest, and says so. */
static void fetch_hole(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t vm = agent_new(c, &req);
	struct engine_state_info s;

	agent_post(c, vm, AGENT_CALL, 0xe0000000, 0);
	s = wait_state(c, vm, ENGINE_STATE_CRASHED);
	assert_int_equal(s.reason, ENGINE_REASON_UNEXPECTED);
	assert_non_null(strstr(s.report, "fetch"));
	assert_int_equal(s.gpa, 0xe0000000);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

/* A dry run says what the real one then does, and changes nothing. */
static const struct engine_map_op plans[] = {
	{.kind = ENGINE_REMAP, .gpa = TARGET, .size_bytes = 4096, .slot = SPARE},
	{.kind = ENGINE_PROTECT, .gpa = TARGET, .size_bytes = 0x10000, .prot = ENGINE_PROT_R},
	{.kind = ENGINE_PROTECT, .gpa = TARGET, .size_bytes = 0x10000, .prot = 7},
	{.kind = ENGINE_UNMAP, .gpa = TARGET, .size_bytes = 0x200000},
	{.kind = ENGINE_MAP,
	 .gpa = TARGET,
	 .size_bytes = 0x200000,
	 .slot = SPARE,
	 .prot = 7,
	 .memtype = 6},
	{.kind = ENGINE_MAP,
	 .gpa = 0x40000000,
	 .size_bytes = 0x200000,
	 .slot = SPARE,
	 .prot = 3,
	 .memtype = 0},
	{.kind = ENGINE_REMAP,
	 .gpa = 0x40000000,
	 .size_bytes = 0x200000,
	 .slot = 0,
	 .offset_bytes = 0x600000},
	{.kind = ENGINE_UNMAP, .gpa = 0x40000000, .size_bytes = 0x200000},
};

/* Who is in its guest, and where it has been, is another matter a moment later. */
static void forget_reached(const struct contract *c, struct engine_change *ch)
{
	if (!contract_has(c, ENGINE_CAP_DETERMINISTIC))
		ch->invept_issued = ch->processors_interrupted = ch->processors_deferred = 0;
}

static void dry_run(struct contract *c)
{
	uint64_t vm = guest_and_spare(c, 0), writes;
	struct engine_change dry, real;
	size_t i;

	for (i = 0; i < VMX_ARRAY_SIZE(plans); i++) {
		memset(&dry, 0, sizeof(dry));
		memset(&real, 0, sizeof(real));
		/* The guest caches what is there. */
		agent_do(c, vm, AGENT_READ, TARGET, 0);
		writes = stat_of(c, vm, "ept_written");
		apply_ok(c, vm, &plans[i], ENGINE_CHANGE_DRY_RUN, &dry);
		assert_int_equal(stat_of(c, vm, "ept_written"), writes);
		apply_ok(c, vm, &plans[i], 0, &real);
		forget_reached(c, &dry);
		forget_reached(c, &real);
		if (memcmp(&dry, &real, sizeof(dry)) != 0)
			fail_msg(
				"plan %zu: written %lu/%lu split %lu/%lu merged %lu/%lu tables "
				"+%lu/%lu -%lu/%lu need %u/%u invept %u/%u int %u/%u def %u/%u "
				"%s/%s",
				i, (unsigned long)dry.entries_written,
				(unsigned long)real.entries_written,
				(unsigned long)dry.entries_split, (unsigned long)real.entries_split,
				(unsigned long)dry.tables_merged, (unsigned long)real.tables_merged,
				(unsigned long)dry.tables_allocated,
				(unsigned long)real.tables_allocated,
				(unsigned long)dry.tables_freed, (unsigned long)real.tables_freed,
				dry.need, real.need, dry.invept_issued, real.invept_issued,
				dry.processors_interrupted, real.processors_interrupted,
				dry.processors_deferred, real.processors_deferred, dry.reason,
				real.reason);
	}
	end(c, vm);
}

/* A batch is done as a whole or not at all. */
static void batch(struct contract *c)
{
	uint64_t vm = guest_and_spare(c, 0);
	struct engine_map_op ops[3] = {
		remap_to(1),
		{.kind = ENGINE_UNMAP, .gpa = 0x600000, .size_bytes = 4096},
		{.kind = ENGINE_UNMAP, .gpa = 0x70000000, .size_bytes = 4096},
	};
	struct engine_request req = {.op = ENGINE_MEM_APPLY, .vm = vm};
	struct engine_event ev;
	const struct engine_change *ch;
	uint32_t word = 0;

	req.u.apply.count = 3;
	ev = call(c, &req, ops, sizeof(ops), NULL, 0);
	assert_int_equal(ev.error.code, -ENOENT);
	assert_int_equal(ev.error.index, 2);
	engine_event_release(&ev);
	gpa_read(c, vm, TARGET, &word, 1);
	assert_int_equal(word, 0);
	gpa_read(c, vm, 0x600000, &word, 4);
	req.u.apply.count = 2;
	ev = call_ok(c, &req, ops, 2 * sizeof(ops[0]));
	ch = ev.payload;
	/* One invalidation covers both. */
	expect_reached(c, ch);
	engine_event_release(&ev);
	assert_int_equal(guest_sees(c, vm), 'B');
	assert_int_equal(agent_do(c, vm, AGENT_READ, 0x600000, 0), UINT32_MAX);
	end(c, vm);
}

#define WIDE 9u
#define WIDE_GPA UINT64_C(0x40000000)
#define WIDE_PAGES 65536u /* as many operations as a batch may have */

/* Page i of the guest's is page (i * factor + 1) modulo their number of the slot's. */
static void wide_batch(struct engine_map_op *ops, uint32_t kind, uint32_t factor)
{
	uint32_t i;

	for (i = 0; i < WIDE_PAGES; i++)
		ops[i] = (struct engine_map_op){
			.kind = kind,
			/* In an order that is not that of the addresses. */
			.gpa = WIDE_GPA + (uint64_t)(i * 40503u % WIDE_PAGES) * 4096,
			.size_bytes = 4096,
			.offset_bytes =
				(uint64_t)((i * 40503u % WIDE_PAGES * factor + 1) % WIDE_PAGES) *
				4096,
			.slot = WIDE,
			.prot = ENGINE_PROT_R | ENGINE_PROT_W,
			.memtype = 6,
		};
}

static void check_wide(struct contract *c, uint64_t vm, uint32_t factor)
{
	uint32_t i, word;

	for (i = 0; i < WIDE_PAGES; i += 4091) {
		gpa_read(c, vm, WIDE_GPA + (uint64_t)i * 4096, &word, 4);
		assert_int_equal(word, (i * factor + 1) % WIDE_PAGES);
	}
}

/* As many operations as there may be; that the last can't be done leaves all as it was. */
static void largest_batch(struct contract *c)
{
	uint64_t vm = guest_and_spare(c, VMX_SIZE_4K);
	struct engine_map_op *ops = calloc(WIDE_PAGES, sizeof(*ops));
	struct engine_request req = {.op = ENGINE_MEM_APPLY, .vm = vm};
	struct engine_event ev;
	uint32_t i, factor;

	assert_non_null(ops);
	req.u.apply.count = WIDE_PAGES;
	slot_add(c, vm, WIDE, (uint64_t)WIDE_PAGES * 4096);
	for (factor = 1; factor < 6; factor += 2)
		for (i = 0; i < WIDE_PAGES; i += 4091) {
			uint32_t page = (i * factor + 1) % WIDE_PAGES;

			slot_write(c, vm, WIDE, (uint64_t)page * 4096, &page, sizeof(page));
		}
	wide_batch(ops, ENGINE_MAP, 1);
	ev = call_ok(c, &req, ops, WIDE_PAGES * sizeof(*ops));
	assert_int_equal(((struct engine_change *)ev.payload)->entries_written, WIDE_PAGES);
	engine_event_release(&ev);
	check_wide(c, vm, 1);
	wide_batch(ops, ENGINE_REMAP, 3);
	ops[WIDE_PAGES - 1].gpa = WIDE_GPA + (uint64_t)WIDE_PAGES * 4096;
	ev = call(c, &req, ops, WIDE_PAGES * sizeof(*ops), NULL, 0);
	assert_int_equal(ev.error.code, -ENOENT);
	assert_int_equal(ev.error.index, WIDE_PAGES - 1);
	engine_event_release(&ev);
	check_wide(c, vm, 1);
	for (factor = 3; factor < 6; factor += 2) {
		wide_batch(ops, ENGINE_REMAP, factor);
		ev = call_ok(c, &req, ops, WIDE_PAGES * sizeof(*ops));
		engine_event_release(&ev);
		check_wide(c, vm, factor);
		assert_int_equal(agent_do(c, vm, AGENT_READ, WIDE_GPA + 4091 * 4096, 0),
				 (4091 * factor + 1) % WIDE_PAGES);
	}
	free(ops);
	end(c, vm);
}

/* The guest's memory read and written by its three kinds of addresses is one memory. */
static void three_addresses(struct contract *c)
{
	uint64_t vm = guest_and_spare(c, 0);
	struct engine_request req = {.op = ENGINE_MEM_READ, .vm = vm};
	struct engine_map_op o = remap_to(2);
	static const uint32_t kinds[] = {ENGINE_ADDR_GPA, ENGINE_ADDR_GVA, ENGINE_ADDR_SLOT};
	struct engine_event ev;
	uint32_t value = 0x01020304;
	size_t i;

	apply_ok(c, vm, &o, 0, NULL);
	agent_do(c, vm, AGENT_WRITE, TARGET + 0x20, value);
	for (i = 0; i < VMX_ARRAY_SIZE(kinds); i++) {
		bool slot = kinds[i] == ENGINE_ADDR_SLOT;

		req.u.mem = (struct engine_mem_io){
			.address = slot ? 2 * 4096 + 0x20 : TARGET + 0x20,
			.size_bytes = 4,
			.kind = kinds[i],
			.slot = slot ? SPARE : 0,
		};
		req.op = ENGINE_MEM_READ;
		ev = call_ok(c, &req, NULL, 0);
		assert_memory_equal(ev.payload, &value, 4);
		engine_event_release(&ev);
		value++;
		req.op = ENGINE_MEM_WRITE;
		ev = call_ok(c, &req, &value, 4);
		engine_event_release(&ev);
		assert_int_equal(agent_do(c, vm, AGENT_READ, TARGET + 0x20, 0), value);
	}
	/* Across the border of two mappings that are apart in host memory. */
	req.u.mem = (struct engine_mem_io){
		.address = TARGET + 4094, .size_bytes = 4, .kind = ENGINE_ADDR_GPA};
	req.op = ENGINE_MEM_WRITE;
	ev = call_ok(c, &req, &value, 4);
	engine_event_release(&ev);
	assert_int_equal(agent_do(c, vm, AGENT_READ, TARGET + 4094, 0), value);
	end(c, vm);
}

/* Code that is changed from outside is executed as it is now. */
static void code_written(struct contract *c)
{
	struct engine_request req = vm_request();
	uint64_t vm = agent_new(c, &req);
	uint8_t code[] = {0xb8, 0, 0, 0, 0, 0xc3}; /* mov $0,%eax; ret */
	uint32_t i;

	for (i = 1; i < 50; i++) {
		code[1] = (uint8_t)i;
		gpa_write(c, vm, TARGET, code, sizeof(code));
		assert_int_equal(agent_do(c, vm, AGENT_CALL, TARGET, 0), i);
	}
	end(c, vm);
}

/* ... and as it is behind a mapping that moved. */
static void code_remapped(struct contract *c)
{
	uint64_t vm = guest_and_spare(c, 0);
	uint8_t code[] = {0xb8, 0, 0, 0, 0, 0xc3};
	struct engine_map_op o;
	uint32_t i;

	for (i = 0; i < 4; i++) {
		code[1] = (uint8_t)(0x40 + i);
		slot_write(c, vm, SPARE, i * 4096, code, sizeof(code));
	}
	for (i = 0; i < 100; i++) {
		o = remap_to(i % 4);
		apply_ok(c, vm, &o, 0, NULL);
		assert_int_equal(agent_do(c, vm, AGENT_CALL, TARGET, 0), 0x40 + i % 4);
	}
	end(c, vm);
}

static void hooks_off(struct contract *c)
{
	const struct engine_config cfg = {0};
	struct engine_map_op o = remap_to(1);
	struct engine_error e;
	uint64_t vm;

	contract_close(c);
	contract_open(c, &cfg);
	vm = guest_and_spare(c, 0);
	assert_int_equal(apply(c, vm, &o, ENGINE_CHANGE_SKIP_INVALIDATION, NULL, &e), -EPERM);
	assert_true(e.text[0] != '\0');
	end(c, vm);
}

const struct contract_case mapping_cases[] = {
	{"remap", remap, 0},
	{"stale", stale, ENGINE_CAP_UNSAFE_HOOKS | ENGINE_CAP_VPID},
	{"protect", protect, 0},
	{"holes", holes, 0},
	{"fetch_hole", fetch_hole, 0},
	{"dry_run", dry_run, 0},
	{"batch", batch, 0},
	{"largest_batch", largest_batch, 0},
	{"three_addresses", three_addresses, 0},
	{"code_written", code_written, 0},
	{"code_remapped", code_remapped, 0},
	{"hooks_off", hooks_off, 0},
	{NULL, NULL, 0},
};
