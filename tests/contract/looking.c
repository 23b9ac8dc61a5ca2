/* SPDX-License-Identifier: MIT */
/* Walks, tags, TLB content and counters; and that looking changes none of them. */
#include "contract/cases.h"

#include "contract/guests.h"

#include <elf.h>
#include <stdio.h>

static void end(struct contract *c, uint64_t vm)
{
	op_ok(c, vm, ENGINE_VM_STOP);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

static struct engine_walk walk(struct contract *c, uint64_t vm, uint64_t gva, uint32_t access)
{
	struct engine_request req = {.op = ENGINE_WALK, .vm = vm};
	struct engine_event ev;
	struct engine_walk w;

	req.u.walk.gva = gva;
	req.u.walk.access = access;
	ev = call_ok(c, &req, NULL, 0);
	assert_int_equal(ev.payload_bytes, sizeof(w));
	memcpy(&w, ev.payload, sizeof(w));
	engine_event_release(&ev);
	return w;
}

/* A 64-bit guest that does nothing but spin, or read one address for ever. */
#define CODE_GPA 0x200000u

struct elf_file {
	Elf64_Ehdr eh;
	Elf64_Phdr ph;
	uint8_t code[16];
};

static uint64_t long_mode_guest(struct contract *c, uint64_t memory, uint64_t ept_page,
				const uint8_t *code, size_t code_bytes)
{
	struct engine_request req = vm_request();
	struct elf_file f = {
		.eh = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		       .e_type = ET_EXEC,
		       .e_machine = EM_X86_64,
		       .e_entry = CODE_GPA,
		       .e_phoff = offsetof(struct elf_file, ph),
		       .e_phentsize = sizeof(Elf64_Phdr),
		       .e_phnum = 1},
		.ph = {.p_type = PT_LOAD,
		       .p_offset = offsetof(struct elf_file, code),
		       .p_vaddr = CODE_GPA,
		       .p_paddr = CODE_GPA,
		       .p_filesz = 16,
		       .p_memsz = 16},
	};

	memcpy(f.code, code, code_bytes);
	/* All table pages and all data lie under EPT leaves of one size. */
	req.u.create.memory_bytes = memory;
	req.u.create.ept_page_bytes = ept_page;
	req.u.create.image_format = ENGINE_IMAGE_AUTO;
	return vm_new(c, &req, &f, sizeof(f));
}

static void put_entry(struct contract *c, uint64_t vm, uint64_t at, uint64_t entry)
{
	gpa_write(c, vm, at, &entry, 8);
}

/* Page tables of our own beside the loader's, at 1 MiB: one page of each size. */
#define OWN_PDPT UINT64_C(0x300000)
#define OWN_PD UINT64_C(0x301000)
#define OWN_PT UINT64_C(0x302000)
#define OWN_BASE (UINT64_C(1) << 39) /* PML4 entry 1 */
#define ALL_PAIRS (2048 * MIB)	     /* memory behind all of them */

static const struct {
	uint64_t gva, gpa, page;
	uint32_t refs[3]; /* with EPT pages of 4K, 2M, 1G */
} pairs[] = {
	{OWN_BASE + 0x3123, 0x555000 + 0x123, VMX_SIZE_4K, {24, 19, 14}},
	{OWN_BASE + VMX_SIZE_2M + 0x3123, 0x800000 + 0x3123, VMX_SIZE_2M, {19, 15, 11}},
	{OWN_BASE + VMX_SIZE_1G + 0x3123, 0x40000000 + 0x3123, VMX_SIZE_1G, {14, 11, 8}},
};

static void own_tables(struct contract *c, uint64_t vm)
{
	uint64_t pml4 = walk(c, vm, 0, ENGINE_PROT_R).cr3;

	put_entry(c, vm, pml4 + 8, OWN_PDPT | 3);
	put_entry(c, vm, OWN_PDPT, OWN_PD | 3);
	put_entry(c, vm, OWN_PDPT + 8, UINT64_C(0x40000000) | 0x83);
	put_entry(c, vm, OWN_PD, OWN_PT | 3);
	put_entry(c, vm, OWN_PD + 8, UINT64_C(0x800000) | 0x83);
	put_entry(c, vm, OWN_PT + 3 * 8, UINT64_C(0x555000) | 3);
}

/* The references of a two-dimensional walk, for every pair of page sizes. */
static void walk_references(struct contract *c)
{
	static const uint8_t spin[] = {0xeb, 0xfe};
	static const uint64_t ept[] = {VMX_SIZE_4K, VMX_SIZE_2M, VMX_SIZE_1G};
	size_t e, i;

	for (e = 0; e < VMX_ARRAY_SIZE(ept); e++) {
		uint64_t vm = long_mode_guest(c, ALL_PAIRS, ept[e], spin, sizeof(spin));

		own_tables(c, vm);
		for (i = 0; i < VMX_ARRAY_SIZE(pairs); i++) {
			struct engine_walk w = walk(c, vm, pairs[i].gva, ENGINE_PROT_R);

			assert_int_equal(w.outcome, ENGINE_WALK_OK);
			assert_int_equal(w.gpa, pairs[i].gpa);
			assert_int_equal(w.guest_page_bytes, pairs[i].page);
			assert_int_equal(w.ept_page_bytes, ept[e]);
			assert_int_equal(w.refs_guest + w.refs_ept, pairs[i].refs[e]);
			assert_int_equal(w.count, pairs[i].refs[e]);
			/* It has never run: nothing is cached. */
			assert_int_equal(w.refs_with_caches, contract_has(c, ENGINE_CAP_TLB_ENTRIES)
								     ? pairs[i].refs[e]
								     : UINT32_MAX);
			assert_int_equal(w.tlb_level, 0);
			assert_int_equal(w.slot, 0);
			assert_int_equal(w.slot_offset, pairs[i].gpa);
		}
		assert_int_equal(walk(c, vm, OWN_BASE + 0x5000, ENGINE_PROT_R).outcome,
				 ENGINE_WALK_PAGE_FAULT);
		assert_int_equal(walk(c, vm, UINT64_C(1) << 47, ENGINE_PROT_R).outcome,
				 ENGINE_WALK_NOT_CANONICAL);
		op_ok(c, vm, ENGINE_VM_DELETE);
	}
}

static uint64_t walk_refs(const struct engine_tlb_stats *s)
{
	return s->walk_refs_guest + s->walk_refs_ept;
}

/*
 * Which references a walk would make with the caches as they are is a forecast: the guest
 * then makes that access, and the processor's own count must be the forecast.
 */
static void walk_forecast(struct contract *c, uint64_t ept_page)
{
	/* 1: mov 0x400000,%rbx; mov (%rbx),%eax; jmp 1b */
	static const uint8_t code[] = {0x48, 0x8b, 0x1c, 0x25, 0,    0,
				       0x40, 0,	   0x8b, 0x03, 0xeb, 0xf4};
	static const uint64_t gvas[] = {
		OWN_BASE + 0x3000,
		OWN_BASE + 0x4000,
		OWN_BASE + VMX_SIZE_2M,
		OWN_BASE + VMX_SIZE_1G,
		OWN_BASE + VMX_SIZE_1G + 0x5000,
		OWN_BASE + VMX_SIZE_2M + 0x7000,
		0x600000,
		UINT64_C(0x40000000),
	};
	uint64_t vm = long_mode_guest(c, ALL_PAIRS, ept_page, code, sizeof(code)), before;
	struct engine_tlb_stats s;
	struct engine_walk w;
	size_t i;

	own_tables(c, vm);
	put_entry(c, vm, OWN_PT + 4 * 8, UINT64_C(0x556000) | 3);
	put_entry(c, vm, 0x400000, 0x400000);
	op_ok(c, vm, ENGINE_VM_START);
	while (tlb_stats_of(c, vm, 0).data_lookups < 100)
		;
	for (i = 0; i < VMX_ARRAY_SIZE(gvas); i++) {
		op_ok(c, vm, ENGINE_VM_PAUSE);
		w = walk(c, vm, gvas[i], ENGINE_PROT_R);
		assert_int_equal(w.outcome, ENGINE_WALK_OK);
		s = tlb_stats_of(c, vm, 0);
		before = walk_refs(&s);
		put_entry(c, vm, 0x400000, gvas[i]);
		op_ok(c, vm, ENGINE_VM_RESUME);
		while (!(walk(c, vm, gvas[i], ENGINE_PROT_R).tlb_level & 6))
			;
		s = tlb_stats_of(c, vm, 0);
		/* One the TLB holds already takes no walk. */
		if (walk_refs(&s) - before != (w.tlb_level & 6 ? 0 : w.refs_with_caches))
			fail_msg("EPT page 0x%lx, gva 0x%lx: forecast %u of %u (TLB %u), made %lu",
				 (unsigned long)ept_page, (unsigned long)gvas[i],
				 w.refs_with_caches, w.refs_guest + w.refs_ept, w.tlb_level,
				 (unsigned long)(walk_refs(&s) - before));
	}
	end(c, vm);
}

static void walk_caches(struct contract *c)
{
	walk_forecast(c, VMX_SIZE_4K);
	walk_forecast(c, VMX_SIZE_2M);
	walk_forecast(c, VMX_SIZE_1G);
}

/* What a processor's own walk would have marked accessed and dirty is not marked. */
static void check_unmarked(struct contract *c, uint64_t vm)
{
	uint64_t entry;

	gpa_read(c, vm, OWN_PT + 3 * 8, &entry, 8);
	assert_int_equal(entry, 0x555000 | 3);
	gpa_read(c, vm, OWN_PD, &entry, 8);
	assert_int_equal(entry, OWN_PT | 3);
}

/* Looking leaves no trace: neither in counters, nor in tables, nor in what is cached. */
static void no_trace(struct contract *c)
{
	/* 1: incl 0x400000; jmp 1b */
	static const uint8_t count[] = {0xff, 0x04, 0x25, 0, 0, 0x40, 0, 0xeb, 0xf7};
	const bool sees = contract_has(c, ENGINE_CAP_TLB_STATS);
	uint64_t vm = long_mode_guest(c, 16 * MIB, VMX_SIZE_4K, count, sizeof(count));
	struct engine_request st = {.op = ENGINE_STATS, .vm = vm};
	struct engine_tlb_stats before, after;
	struct engine_event counted[2];
	uint32_t refs, turns = 0;
	int i;

	own_tables(c, vm);
	op_ok(c, vm, ENGINE_VM_START);
	while (turns < 100)
		gpa_read(c, vm, 0x400000, &turns, sizeof(turns));
	op_ok(c, vm, ENGINE_VM_PAUSE);
	before = tlb_stats_of(c, vm, 0);
	counted[0] = call_ok(c, &st, NULL, 0);
	refs = walk(c, vm, OWN_BASE + 0x3000, ENGINE_PROT_R).refs_with_caches;
	assert_int_equal(refs != UINT32_MAX, sees);
	for (i = 0; i < 10; i++)
		assert_int_equal(walk(c, vm, OWN_BASE + 0x3000, ENGINE_PROT_W).refs_with_caches,
				 refs);
	counted[1] = call_ok(c, &st, NULL, 0);
	after = tlb_stats_of(c, vm, 0);
	expect_same_counters(&counted[0], &counted[1]);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(walk(c, vm, OWN_BASE + 0x3000, ENGINE_PROT_R).tlb_level, 0);
	check_unmarked(c, vm);
	engine_event_release(&counted[0]);
	engine_event_release(&counted[1]);
	end(c, vm);
}

static struct engine_event entries(struct contract *c, uint64_t vm, uint32_t processor, int vpid,
				   uint64_t skip, uint32_t max)
{
	struct engine_request req = {.op = ENGINE_TLB_ENTRIES, .vm = vm};

	req.u.tlb_entries = (struct engine_tlb_entries_req){
		.processor = processor, .max = max, .skip = skip, .vpid = vpid};
	return call_ok(c, &req, NULL, 0);
}

/* The TLB's content is whose it says, and can be read in pages. */
static void tlb_entries(struct contract *c)
{
	struct engine_request req = vm_request();
	const struct engine_tlb_entry *e, *one;
	struct engine_event all, part;
	struct engine_tlb_stats s;
	uint64_t vm[2], k, found = 0;
	int i;

	req.u.create.ept_page_bytes = 4096;
	for (i = 0; i < 2; i++) {
		vm[i] = vm_new(c, &req, guest_toucher, sizeof(guest_toucher));
		op_ok(c, vm[i], ENGINE_VM_START);
	}
	while (tlb_stats_of(c, vm[0], 0).retired < 100000 ||
	       tlb_stats_of(c, vm[1], 0).retired < 100000)
		;
	op_ok(c, vm[0], ENGINE_VM_PAUSE);
	op_ok(c, vm[1], ENGINE_VM_PAUSE);
	for (i = 0; i < 2; i++) {
		s = tlb_stats_of(c, vm[i], 0);
		all = entries(c, vm[i], 0, -1, 0, 65536);
		e = all.payload;
		assert_int_equal(all.payload_bytes, all.total * sizeof(*e));
		found = 0;
		for (k = 0; k < all.total; k++) {
			assert_int_equal(e[k].vm, vm[i]);
			if (e[k].structure == 1 && e[k].linear >= 0x400000)
				found++;
			if (e[k].structure < 4)
				assert_int_equal(e[k].vpid, s.vpid);
		}
		assert_int_equal(found, 16);
		for (k = 0; k < all.total; k++) {
			part = entries(c, vm[i], 0, -1, k, 1);
			one = part.payload;
			assert_int_equal(part.payload_bytes, sizeof(*one));
			assert_int_equal(part.total, all.total);
			assert_memory_equal(one, &e[k], sizeof(*one));
			engine_event_release(&part);
		}
		engine_event_release(&all);
		/* By tag, over all VMs. */
		part = entries(c, 0, 0, (int)s.vpid, 0, 0);
		assert_true(part.total >= s.held_i1 + s.held_d1 + s.held_l2);
		assert_int_equal(part.payload_bytes, 0);
		engine_event_release(&part);
		/* Nothing of it is on another processor. */
		part = entries(c, vm[i], 1, -1, 0, 65536);
		assert_int_equal(part.total, 0);
		engine_event_release(&part);
	}
	end(c, vm[0]);
	end(c, vm[1]);
}

/* Tags of one processor differ. */
static void vpids(struct contract *c)
{
	const bool sees = contract_has(c, ENGINE_CAP_TLB_STATS);
	struct engine_request req = vm_request(), list = {.op = ENGINE_VPID_LIST};
	const struct engine_vpid *v;
	struct engine_event ev;
	uint64_t vm[3];
	int i;

	for (i = 0; i < 3; i++) {
		vm[i] = agent_new(c, &req);
		agent_do(c, vm[i], AGENT_WRITE, 0x500000, 1);
	}
	ev = call_ok(c, &list, NULL, 0);
	assert_int_equal(ev.payload_bytes, 3 * sizeof(*v));
	v = ev.payload;
	for (i = 0; i < 3; i++) {
		assert_int_equal(v[i].vm, vm[i]);
		assert_true(v[i].vpid != 0 && v[i].valid);
		assert_int_equal(v[i].generation, v[i].pool_generation);
		assert_true(v[i].vpid != v[(i + 1) % 3].vpid);
		assert_int_equal(v[i].processor, 0);
		assert_int_equal(v[i].tlb_valid, sees);
		assert_int_equal(v[i].held_d1 > 0, sees);
	}
	engine_event_release(&ev);
}

/* A pool of one VPID recycles it. */
static void vpids_recycled(struct contract *c)
{
	static const struct engine_config one = {.processors = 1, .vpid_limit = 1};
	struct engine_request req = vm_request();
	uint64_t vm[2];
	int i;

	contract_close(c);
	contract_open(c, &one);
	for (i = 0; i < 2; i++) {
		vm[i] = vm_new(c, &req, guest_toucher, sizeof(guest_toucher));
		op_ok(c, vm[i], ENGINE_VM_START);
	}
	for (i = 0; i < 2; i++)
		while (stat_of(c, vm[i], "vpids_taken") < 2)
			;
	assert_true(stat_of(c, 0, "vpid_recycles") >= 2);
	assert_true(stat_of(c, 0, "vpid_generation") >= 2);
	assert_int_equal(stat_of(c, 0, "vpids_left"), 0);
}

/* Counters describe themselves, and agree with each other. */
static void stats(struct contract *c)
{
	struct engine_request req = vm_request(), st = {.op = ENGINE_STATS};
	uint64_t vm = vm_new(c, &req, guest_hello, sizeof(guest_hello));
	const struct engine_stat *s;
	struct engine_tlb_stats t;
	struct engine_event ev;
	size_t i;

	op_ok(c, vm, ENGINE_VM_START);
	wait_state(c, vm, ENGINE_STATE_SHUTOFF);
	t = tlb_stats_of(c, vm, 0);
	assert_int_equal(t.observable, contract_has(c, ENGINE_CAP_TLB_STATS));
	if (t.observable) {
		assert_int_equal(stat_of(c, vm, "retired"), t.retired);
		assert_int_equal(stat_of(c, vm, "tlb.fetch_lookups"), t.fetch_lookups);
	}
	assert_int_equal(stat_of(c, vm, "exit.io-instruction"), 7);
	assert_int_equal(stat_of(c, vm, "io.out"), 7);
	assert_int_equal(stat_of(c, vm, "io.unclaimed"), 0);
	assert_int_equal(stat_of(c, vm, "console.bytes"), 6);
	assert_int_equal(stat_of(c, vm, "memory.mapped_bytes"), 16 * MIB);
	assert_true(stat_of(c, vm, "memory.ept_table_bytes") >= 3 * 4096);
	assert_int_equal(stat_of(c, vm, "maps"), 1);
	st.vm = 0;
	ev = call_ok(c, &st, NULL, 0);
	s = ev.payload;
	assert_true(ev.payload_bytes > 0);
	for (i = 0; i < ev.payload_bytes / sizeof(*s); i++) {
		assert_true(s[i].name[0] && s[i].unit[0]);
		assert_int_equal(s[i].scope == ENGINE_SCOPE_PROCESSOR, s[i].vm == 0);
		assert_int_equal(s[i].scope == ENGINE_SCOPE_PROCESSOR,
				 s[i].processor != UINT32_MAX);
	}
	engine_event_release(&ev);
	op_ok(c, vm, ENGINE_VM_DELETE);
}

/* --- what can be observed ------------------------------------------------------------------ */

/* Of a vCPU's counters those whose names begin so: all observable, or none. */
static bool counted(struct contract *c, uint64_t vm, const char *prefix)
{
	struct engine_request req = {.op = ENGINE_STATS, .vm = vm};
	struct engine_event ev = call_ok(c, &req, NULL, 0);
	const struct engine_stat *s = ev.payload;
	size_t i, seen[2] = {0};

	for (i = 0; i < ev.payload_bytes / sizeof(*s); i++)
		if (strncmp(s[i].name, prefix, strlen(prefix)) == 0)
			seen[s[i].observable]++;
	engine_event_release(&ev);
	assert_true(!seen[0] != !seen[1]);
	return seen[1] != 0;
}

static void observed_walk(struct contract *c, uint64_t vm, bool sees)
{
	struct engine_walk w = walk(c, vm, 0x100000, ENGINE_PROT_R);
	uint32_t i;

	assert_int_equal(w.outcome, ENGINE_WALK_OK);
	assert_int_equal(w.refs_with_caches != UINT32_MAX, sees);
	assert_int_equal(w.tlb_level_valid, sees);
	assert_int_equal(w.count, w.refs_guest + w.refs_ept);
	for (i = 0; i < w.count; i++)
		assert_int_equal(w.refs[i].cached_valid, sees);
}

static void observed_tags(struct contract *c, uint64_t vm, bool sees)
{
	struct engine_request req = {.op = ENGINE_VPID_LIST, .vm = vm};
	struct engine_event ev = call_ok(c, &req, NULL, 0);
	struct engine_tlb_stats t = tlb_stats_of(c, vm, 0);

	assert_int_equal(((const struct engine_vpid *)ev.payload)->tlb_valid, sees);
	assert_int_equal(t.observable, sees);
	assert_int_equal(t.vpid, ((const struct engine_vpid *)ev.payload)->vpid);
	assert_int_equal(t.size_d1 != 0, sees);
	engine_event_release(&ev);
}

static void observed_content(struct contract *c, uint64_t vm, bool lists, bool sees)
{
	struct engine_request req = {.op = ENGINE_TLB_ENTRIES, .vm = vm};
	const struct engine_invalidated *done;
	struct engine_event ev;

	req.u.tlb_entries = (struct engine_tlb_entries_req){.max = 16, .vpid = -1};
	ev = call(c, &req, NULL, 0, NULL, 0);
	assert_int_equal(ev.error.code, lists ? 0 : -ENOTSUP);
	assert_int_equal(ev.error.text[0] != '\0', !lists);
	engine_event_release(&ev);
	req = (struct engine_request){.op = ENGINE_INVALIDATE, .vm = vm};
	req.u.invalidate = (struct engine_invalidate_req){.kind = ENGINE_INVEPT_SINGLE,
							  .processor = ENGINE_ANY_PROCESSOR};
	ev = call_ok(c, &req, NULL, 0);
	done = ev.payload;
	assert_int_equal(ev.payload_bytes, sizeof(*done));
	assert_string_equal(done->instruction, "INVEPT");
	assert_int_equal(done->observable, sees);
	engine_event_release(&ev);
}

/* What the engine can't observe is said to be so, in each place that has it. */
static void observed(struct contract *c)
{
	const bool sees = contract_has(c, ENGINE_CAP_TLB_STATS);
	struct engine_request req = vm_request(), get = {.op = ENGINE_VM_INFO};
	const struct engine_vcpu_info *v;
	struct engine_event ev;
	bool counts;

	get.vm = agent_new(c, &req);
	agent_do(c, get.vm, AGENT_WRITE, 0x500000, 1);
	agent_do(c, get.vm, AGENT_PRINT, 0x500000, 0); /* an exit */
	op_ok(c, get.vm, ENGINE_VM_PAUSE);
	ev = call_ok(c, &get, NULL, 0);
	v = ev.payload;
	counts = v->retired != UINT64_MAX;
	assert_true(v->retired > 0 && v->exits != UINT64_MAX);
	assert_int_equal(ev.state.guest_time != UINT64_MAX, counts);
	assert_int_equal(counted(c, get.vm, "retired"), counts);
	engine_event_release(&ev);
	assert_int_equal(counted(c, get.vm, "tlb."), sees);
	assert_true(counted(c, get.vm, "exit."));
	observed_walk(c, get.vm, sees);
	observed_tags(c, get.vm, sees);
	observed_content(c, get.vm, contract_has(c, ENGINE_CAP_TLB_ENTRIES), sees);
	end(c, get.vm);
}

const struct contract_case looking_cases[] = {
	{"walk_references", walk_references, ENGINE_CAP_EPT_2M | ENGINE_CAP_EPT_1G},
	/* What a TLB holds, a real processor doesn't tell. */
	{"walk_caches", walk_caches, ENGINE_CAP_TLB_STATS | ENGINE_CAP_TLB_ENTRIES},
	{"no_trace", no_trace, 0},
	{"tlb_entries", tlb_entries, ENGINE_CAP_TLB_ENTRIES | ENGINE_CAP_VPID},
	{"vpids", vpids, ENGINE_CAP_VPID},
	{"vpids_recycled", vpids_recycled, ENGINE_CAP_VPID | NEEDS_MACHINE},
	{"stats", stats, 0},
	{"observed", observed, 0},
	{NULL, NULL, 0},
};
