/* SPDX-License-Identifier: MIT */
/*
 * The two-dimensional walk, on real guest page tables built in guest memory: references
 * counted, page faults, EPT violations and misconfigurations with their error codes and
 * qualifications, and that a walk leaves no trace.
 */
#include "mem_fixture.h"

#include "core/walk.h"

#include <stdlib.h>

#define P 1ull
#define RW 2ull
#define US 4ull
#define ACC 0x20ull
#define DIRTY 0x40ull
#define PS 0x80ull
#define GLOBAL 0x100ull
#define NX (1ull << 63)
#define ALL (P | RW | US | ACC | DIRTY)

#define CR0_BASE 0x80000011ull
#define CR0_WP (1ull << 16)
#define CR4_PSE (1ull << 4)
#define CR4_PAE (1ull << 5)
#define CR4_PGE (1ull << 7)
#define CR4_LA57 (1ull << 12)
#define CR4_SMEP (1ull << 20)
#define CR4_SMAP (1ull << 21)
#define LONG 0x500ull
#define NXE (1ull << 11)

struct guest {
	struct mem_machine m;
	struct core_slot slot;
	struct core_as *as;
	struct core_paging_state ps;
	uint64_t next_table, table_step;
	uint64_t root;
	unsigned levels;
	unsigned index_bits, entry_bytes;
};

#define TABLES_AT MiB(16)

static void guest_start(struct guest *g, uint64_t ept_page, unsigned ept_levels, bool ad,
			unsigned maxphyaddr)
{
	struct core_as_config cfg = {
		.max_page_bytes = ept_page, .walk_length = ept_levels, .accessed_dirty = ad};

	memset(g, 0, sizeof(*g));
	mem_machine_start(&g->m, &(struct mem_machine_config){.maxphyaddr = maxphyaddr});
	g->slot = mem_slot(&g->m, 1, GiB(3));
	assert_int_equal(core_as_create(g->m.core, &cfg, &g->as), 0);
	/* With 4 KiB leaves a little is enough: nothing else is used. */
	mem_map(g->as, 0, ept_page == VMX_SIZE_4K ? MiB(64) : GiB(3), &g->slot, 0);
	g->next_table = TABLES_AT;
	g->levels = 4;
	g->index_bits = 9;
	g->entry_bytes = 8;
	g->root = g->next_table;
	g->next_table += 4096;
	g->ps = (struct core_paging_state){
		.cr0 = CR0_BASE | CR0_WP, .cr3 = g->root, .cr4 = CR4_PAE, .efer = LONG};
}

static void guest_stop(struct guest *g)
{
	core_as_destroy(g->as);
	mem_slot_drop(&g->m, &g->slot);
	mem_machine_stop(&g->m);
}

static void guest_5level(struct guest *g)
{
	g->levels = 5;
	g->ps.cr4 |= CR4_LA57;
}

static void guest_32bit(struct guest *g)
{
	g->levels = 2;
	g->index_bits = 10;
	g->entry_bytes = 4;
	g->ps.cr4 = CR4_PSE;
	g->ps.efer = 0;
}

static void guest_pae(struct guest *g)
{
	g->levels = 3;
	g->ps.cr4 = CR4_PAE;
	g->ps.efer = 0;
}

static uint64_t entry_at(const struct guest *g, uint64_t table, uint64_t linear, unsigned level)
{
	uint64_t index = linear >> (12 + (level - 1) * g->index_bits);

	return table + (index & ((1ull << g->index_bits) - 1)) * g->entry_bytes;
}

static uint64_t get(struct guest *g, uint64_t a)
{
	uint64_t v = 0;

	assert_int_equal(core_guest_read(g->as, gpa(a), &v, g->entry_bytes), 0);
	return v;
}

static void put(struct guest *g, uint64_t a, uint64_t v)
{
	assert_int_equal(core_guest_write(g->as, gpa(a), &v, g->entry_bytes), 0);
}

/* Maps linear to target with a leaf at `level`; tables get table_flags. Where its leaf lies. */
static uint64_t guest_map(struct guest *g, uint64_t linear, uint64_t target, unsigned level,
			  uint64_t leaf_flags, uint64_t table_flags)
{
	uint64_t table = g->root, at;

	for (unsigned l = g->levels; l > level; l--) {
		at = entry_at(g, table, linear, l);
		if (!(get(g, at) & P)) {
			put(g, at, g->next_table | table_flags);
			g->next_table += 4096;
		}
		table = get(g, at) & 0x000ffffffffff000;
	}
	at = entry_at(g, table, linear, level);
	put(g, at, target | leaf_flags | (level > 1 ? PS : 0));
	return at;
}

static struct core_walk_result walk(struct guest *g, uint64_t linear, uint32_t access)
{
	struct core_walk_result r;
	uint32_t ept = 0, guest = 0;

	memset(&r, 0xcc, sizeof(r));
	core_walk(g->as, &g->ps, gva(linear), access, &r);
	for (uint32_t i = 0; i < r.count; i++) {
		ept += r.refs[i].dimension == CORE_WALK_EPT;
		guest += r.refs[i].dimension == CORE_WALK_GUEST;
	}
	assert_int_equal(ept, r.refs_ept);
	assert_int_equal(guest, r.refs_guest);
	return r;
}

/* --- references ---------------------------------------------------------------------------- */

static const struct {
	unsigned guest_level; /* 1: 4 KiB, 2: 2 MiB, 3: 1 GiB */
	uint64_t ept_page;
	unsigned guest_levels, ept_levels;
	uint32_t refs;
} references[] = {
	{1, VMX_SIZE_4K, 4, 4, 24}, {1, VMX_SIZE_2M, 4, 4, 19}, {1, VMX_SIZE_1G, 4, 4, 14},
	{2, VMX_SIZE_4K, 4, 4, 19}, {2, VMX_SIZE_2M, 4, 4, 15}, {2, VMX_SIZE_1G, 4, 4, 11},
	{3, VMX_SIZE_4K, 4, 4, 14}, {3, VMX_SIZE_2M, 4, 4, 11}, {3, VMX_SIZE_1G, 4, 4, 8},
	{1, VMX_SIZE_4K, 5, 4, 29}, {1, VMX_SIZE_4K, 4, 5, 29}, {1, VMX_SIZE_4K, 5, 5, 35},
};

static void test_references(void **state)
{
	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(references); i++) {
		unsigned level = references[i].guest_level;
		uint64_t bytes = 1ull << (12 + 9 * (level - 1)), linear = GiB(5) + 3 * bytes;
		uint64_t target = level == 1 ? MiB(3) : level == 2 ? MiB(4) : 0;
		uint64_t inside = 0x1234 % bytes;
		struct core_walk_result r;
		struct core_leaf leaf;
		struct guest g;
		uint32_t n = 0;

		guest_start(&g, references[i].ept_page, references[i].ept_levels, true, 46);
		if (references[i].guest_levels == 5)
			guest_5level(&g);
		guest_map(&g, linear, target, level, ALL | GLOBAL, ALL);
		g.ps.cr4 |= CR4_PGE;
		r = walk(&g, linear + inside, CORE_PROT_W);
		assert_int_equal(r.outcome, CORE_WALK_OK);
		assert_int_equal(r.count, references[i].refs);
		assert_int_equal(r.refs_guest, references[i].guest_levels - (level - 1));
		assert_int_equal(r.gpa.v, target + inside);
		assert_int_equal(core_as_leaf(g.as, gpa(target + inside), &leaf), 0);
		assert_int_equal(r.hpa.v, leaf.hpa.v + (target + inside - leaf.gpa.v));
		assert_int_equal(r.guest_page_bytes, bytes);
		assert_int_equal(r.ept_page_bytes, references[i].ept_page);
		assert_int_equal(r.permissions, CORE_PROT_RWX);
		assert_true(r.user_accessible && r.global);
		/* In order: for each guest level its EPT references, then the guest's; then the
		 * last. */
		for (unsigned gl = references[i].guest_levels;; gl--) {
			unsigned for_level = gl < level ? 0 : gl;

			for (unsigned el = references[i].ept_levels;; el--) {
				assert_int_equal(r.refs[n].dimension, CORE_WALK_EPT);
				assert_int_equal(r.refs[n].level, el);
				assert_int_equal(r.refs[n].for_level, for_level);
				if (r.refs[n++].leaf)
					break;
			}
			assert_int_equal(1ull << (12 + 9 * (r.refs[n - 1].level - 1)),
					 references[i].ept_page);
			if (for_level == 0)
				break;
			assert_int_equal(r.refs[n].dimension, CORE_WALK_GUEST);
			assert_int_equal(r.refs[n].level, gl);
			assert_int_equal(r.refs[n].leaf, gl == level);
			assert_int_equal(r.refs[n].entry, get(&g, r.refs[n].gpa));
			assert_int_equal(r.refs[n].gpa, r.refs[n - 1].gpa);
			n++;
		}
		assert_int_equal(n, r.count);
		guest_stop(&g);
	}
}

static void test_paging_off(void **state)
{
	struct core_walk_result r;
	struct guest g;

	(void)state;
	guest_start(&g, VMX_SIZE_4K, 4, false, 46);
	g.ps = (struct core_paging_state){.cr0 = 0x11};
	r = walk(&g, 0x100002345, CORE_PROT_X);
	assert_int_equal(r.outcome, CORE_WALK_OK);
	assert_int_equal(r.count, 4);
	assert_int_equal(r.gpa.v, 0x2345);
	assert_int_equal(r.guest_page_bytes, 0);
	assert_int_equal(r.permissions, CORE_PROT_RWX);
	/* Every linear address is user-mode, writable and executable then. */
	mem_do(g.as,
	       (struct core_map_op){
		       .kind = CORE_PROTECT, .gpa = gpa(0x2000), .size = 4096, .prot = CORE_PROT_R},
	       0);
	r = walk(&g, 0x2345, CORE_PROT_W);
	assert_int_equal(r.outcome, CORE_WALK_EPT_VIOLATION);
	assert_int_equal(r.qualification, 0x2 | 1 << 3 | 0x180 | 0x600);
	assert_int_equal(r.fault_gpa.v, 0x2345);
	guest_stop(&g);
}

static void test_32bit(void **state)
{
	struct core_walk_result r;
	struct guest g;
	uint64_t at;

	(void)state;
	guest_start(&g, VMX_SIZE_4K, 4, false, 46);
	guest_32bit(&g);
	guest_map(&g, 0xc0123000, 0x5000, 1, ALL, ALL);
	r = walk(&g, 0xffffffffc0123456, CORE_PROT_R); /* linear addresses have 32 bits */
	assert_int_equal(r.outcome, CORE_WALK_OK);
	assert_int_equal(r.gpa.v, 0x5456);
	assert_int_equal(r.guest_page_bytes, 4096);
	assert_int_equal(r.count, 14);
	at = guest_map(&g, 0x00400000, 0x00c00000, 2, ALL, 0);
	r = walk(&g, 0x00654321, CORE_PROT_X);
	assert_int_equal(r.outcome, CORE_WALK_OK);
	assert_int_equal(r.gpa.v, 0xe54321);
	assert_int_equal(r.guest_page_bytes, MiB(4));
	assert_int_equal(r.count, 9);
	/* PSE-36: bits 20:13 are address bits 39:32; bit 21 is reserved. */
	put(&g, at, get(&g, at) | 3 << 13);
	r = walk(&g, 0x00654321, CORE_PROT_R);
	assert_int_equal(r.outcome, CORE_WALK_EPT_VIOLATION);
	assert_int_equal(r.fault_gpa.v, 0x300e54321);
	put(&g, at, get(&g, at) | 1 << 21);
	r = walk(&g, 0x00654321, CORE_PROT_R);
	assert_int_equal(r.outcome, CORE_WALK_PAGE_FAULT);
	assert_int_equal(r.error_code, 9);
	/* CR4.PSE=0: bit 7 is ignored, and the entry names a table. */
	put(&g, at, (g.next_table & ~0xfffull) | ALL | PS);
	put(&g, g.next_table + 4 * 0x254, 0x7000 | ALL | PS);
	g.ps.cr4 = 0;
	r = walk(&g, 0x00654321, CORE_PROT_R);
	assert_int_equal(r.outcome, CORE_WALK_OK);
	assert_int_equal(r.gpa.v, 0x7321);
	guest_stop(&g);
	/* MAXPHYADDR 36: bits 21:17 are reserved. */
	guest_start(&g, VMX_SIZE_4K, 4, false, 39);
	guest_32bit(&g);
	at = guest_map(&g, 0x00400000, 0x00c00000, 2, ALL, 0);
	put(&g, at, get(&g, at) | 1 << 19);
	assert_int_equal(walk(&g, 0x00654321, CORE_PROT_R).outcome, CORE_WALK_EPT_VIOLATION);
	put(&g, at, get(&g, at) | 1 << 20);
	assert_int_equal(walk(&g, 0x00654321, CORE_PROT_R).error_code, 9);
	guest_stop(&g);
}

static void test_pae(void **state)
{
	struct core_walk_result r;
	struct guest g;
	uint64_t at;

	(void)state;
	guest_start(&g, VMX_SIZE_4K, 4, false, 46);
	guest_pae(&g);
	guest_map(&g, 0xc0123000, 0x5000, 1, P | ACC, P);
	put(&g, entry_at(&g, get(&g, g.root + 3 * 8) & ~0xfffull, 0xc0123000, 2),
	    get(&g, entry_at(&g, get(&g, g.root + 3 * 8) & ~0xfffull, 0xc0123000, 2)) | ALL);
	/* From memory: three guest references. A PDPTE has no rights: only the rest count. */
	r = walk(&g, 0xc0123456, CORE_PROT_R);
	assert_int_equal(r.outcome, CORE_WALK_OK);
	assert_int_equal(r.count, 3 + 4 * 4);
	/* From the registers, as a processor does: two. */
	g.ps.have_pdptes = true;
	g.ps.pdpte[3] = get(&g, g.root + 3 * 8);
	put(&g, g.root + 3 * 8, 0);
	r = walk(&g, 0xc0123456, CORE_PROT_R);
	assert_int_equal(r.outcome, CORE_WALK_OK);
	assert_int_equal(r.gpa.v, 0x5456);
	assert_int_equal(r.count, 2 + 3 * 4);
	assert_int_equal(walk(&g, 0x40123456, CORE_PROT_R).error_code, 0);
	/* Bits 62:MAXPHYADDR are reserved in PAE entries, where 4-level ones ignore 62:52. */
	at = guest_map(&g, 0x00200000, 0x00400000, 2, ALL, ALL);
	g.ps.pdpte[0] = get(&g, g.root);
	assert_int_equal(walk(&g, 0x00212345, CORE_PROT_W).error_code,
			 0xb); /* a PDPTE's 2:1, 8:5 */
	g.ps.pdpte[0] = (get(&g, g.root) & ~ALL) | P;
	r = walk(&g, 0x00212345, CORE_PROT_W);
	assert_int_equal(r.outcome, CORE_WALK_OK);
	assert_int_equal(r.gpa.v, 0x412345);
	assert_int_equal(r.guest_page_bytes, MiB(2));
	put(&g, at, get(&g, at) | 1ull << 60);
	assert_int_equal(walk(&g, 0x00212345, CORE_PROT_W).error_code, 0xb);
	guest_stop(&g);
}

/* --- page faults --------------------------------------------------------------------------- */

static const struct {
	uint64_t leaf, tables; /* flags, on top of P | ACC | DIRTY */
	uint64_t cr0, cr4, efer;
	bool user, ac;
	uint32_t access;
	int error_code; /* -1: none */
} rights[] = {
	/* Supervisor. */
	{RW, RW, CR0_WP, 0, NXE, false, false, CORE_PROT_W, -1},
	{0, RW, CR0_WP, 0, NXE, false, false, CORE_PROT_W, 3},
	{RW, 0, CR0_WP, 0, NXE, false, false, CORE_PROT_W, 3},
	{0, 0, 0, 0, NXE, false, false, CORE_PROT_W, -1},
	{0, 0, CR0_WP, 0, NXE, false, false, CORE_PROT_R, -1},
	{0, 0, CR0_WP, 0, NXE, false, false, CORE_PROT_X, -1},
	{NX, 0, CR0_WP, 0, NXE, false, false, CORE_PROT_X, 0x11},
	{0, NX, CR0_WP, 0, NXE, false, false, CORE_PROT_X, 0x11},
	{NX, 0, CR0_WP, 0, NXE, false, false, CORE_PROT_R, -1},
	{NX, 0, CR0_WP, 0, 0, false, false, CORE_PROT_R, 9}, /* reserved without NXE */
	/* User. */
	{US, US, CR0_WP, 0, NXE, true, false, CORE_PROT_R, -1},
	{0, US, CR0_WP, 0, NXE, true, false, CORE_PROT_R, 5},
	{US, 0, CR0_WP, 0, NXE, true, false, CORE_PROT_R, 5},
	{US, US, CR0_WP, 0, NXE, true, false, CORE_PROT_W, 7},
	{US, US, 0, 0, NXE, true, false, CORE_PROT_W, 7}, /* WP is the supervisor's */
	{US | RW, US | RW, CR0_WP, 0, NXE, true, false, CORE_PROT_W, -1},
	{US | NX, US, CR0_WP, 0, NXE, true, false, CORE_PROT_X, 0x15},
	{US, US, CR0_WP, CR4_SMEP | CR4_SMAP, NXE, true, false, CORE_PROT_X, -1},
	{0, US, CR0_WP, 0, 0, true, false, CORE_PROT_X, 5}, /* no I/D bit without NXE or SMEP */
	{0, US, CR0_WP, CR4_SMEP, 0, true, false, CORE_PROT_X, 0x15},
	/* SMEP and SMAP: the page is user-accessible only if every entry says so. */
	{US, US, CR0_WP, CR4_SMEP, 0, false, false, CORE_PROT_X, 0x11},
	{US, 0, CR0_WP, CR4_SMEP, 0, false, false, CORE_PROT_X, -1},
	{US, US, CR0_WP, CR4_SMEP, 0, false, false, CORE_PROT_R, -1},
	{US, US, CR0_WP, CR4_SMAP, 0, false, false, CORE_PROT_R, 1},
	{US, US, CR0_WP, CR4_SMAP, 0, false, true, CORE_PROT_R, -1},
	{US | RW, US | RW, CR0_WP, CR4_SMAP, 0, false, false, CORE_PROT_W, 3},
	{US | RW, US | RW, CR0_WP, CR4_SMAP, 0, false, true, CORE_PROT_W, -1},
	{US, US, CR0_WP, CR4_SMAP, 0, false, true, CORE_PROT_W, 3},
	{US, US, 0, CR4_SMAP, 0, false, true, CORE_PROT_W, -1},
	{US, US, 0, CR4_SMAP, 0, false, false, CORE_PROT_W, 3},
	{US, US, CR0_WP, CR4_SMAP, 0, false, false, CORE_PROT_X, -1},
	{US, 0, CR0_WP, CR4_SMAP, 0, false, false, CORE_PROT_R, -1},
};

static void test_rights(void **state)
{
	struct guest g;

	(void)state;
	guest_start(&g, VMX_SIZE_4K, 4, false, 46);
	for (size_t i = 0; i < VMX_ARRAY_SIZE(rights); i++) {
		uint64_t linear = GiB(512) * (i + 1); /* a branch of its own */
		struct core_walk_result r;

		guest_map(&g, linear, 0x5000, 1, rights[i].leaf | P | ACC | DIRTY,
			  rights[i].tables | P | ACC | DIRTY);
		g.ps = (struct core_paging_state){.cr0 = CR0_BASE | rights[i].cr0,
						  .cr3 = g.root,
						  .cr4 = CR4_PAE | rights[i].cr4,
						  .efer = LONG | rights[i].efer,
						  .user = rights[i].user,
						  .smap_off = rights[i].ac};
		r = walk(&g, linear, rights[i].access);
		if (rights[i].error_code < 0
			    ? r.outcome != CORE_WALK_OK
			    : r.outcome != CORE_WALK_PAGE_FAULT ||
				      r.error_code != (uint32_t)rights[i].error_code)
			fail_msg("row %zu: outcome %d, error code %x", i, r.outcome, r.error_code);
		if (r.outcome == CORE_WALK_OK)
			assert_true(r.permissions & rights[i].access);
	}
	guest_stop(&g);
}

static const struct {
	unsigned leaf_level; /* the leaf is at this level */
	unsigned bad_level;  /* this entry gets the bit */
	uint64_t bits;
	bool reserved;
} reserved_rows[] = {
	{1, 1, 1ull << 46, true},  {1, 2, 1ull << 51, true},  {1, 4, 1ull << 46, true},
	{1, 1, 1ull << 45, false}, {1, 1, 1ull << 52, false}, {1, 1, 1ull << 62, false},
	{1, 4, PS, true},	   {1, 1, PS, false},	      {2, 2, 1ull << 13, true},
	{2, 2, 1ull << 20, true},  {2, 2, 1ull << 12, false}, {3, 3, 1ull << 13, true},
	{3, 3, 1ull << 29, true},  {3, 3, 1ull << 12, false}, {1, 3, 1ull << 62, false},
	{1, 2, NX, true},
};

static void test_reserved(void **state)
{
	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(reserved_rows); i++) {
		struct core_walk_result r;
		struct guest g;
		uint64_t table, at = 0;

		guest_start(&g, VMX_SIZE_4K, 4, false, 46);
		guest_map(&g, GiB(1), 0, reserved_rows[i].leaf_level, ALL, ALL);
		table = g.root;
		for (unsigned l = 4; l >= reserved_rows[i].bad_level; l--) {
			at = entry_at(&g, table, GiB(1), l);
			table = get(&g, at) & 0x000ffffffffff000;
		}
		put(&g, at, get(&g, at) | reserved_rows[i].bits);
		r = walk(&g, GiB(1), CORE_PROT_W);
		if ((r.outcome == CORE_WALK_PAGE_FAULT) != reserved_rows[i].reserved)
			fail_msg("row %zu: outcome %d", i, r.outcome);
		if (reserved_rows[i].reserved)
			assert_int_equal(r.error_code, 0xb);
		/* Not present: no other bit counts. */
		put(&g, at, get(&g, at) & ~P);
		r = walk(&g, GiB(1), CORE_PROT_W);
		assert_int_equal(r.outcome, CORE_WALK_PAGE_FAULT);
		assert_int_equal(r.error_code, 2);
		guest_stop(&g);
	}
}

static void test_canonical(void **state)
{
	static const struct {
		uint64_t linear;
		bool ok4, ok5;
	} rows[] = {
		{0x00007fffffffffff, true, true},  {0x0000800000000000, false, true},
		{0xffff800000000000, true, true},  {0xffff7fffffffffff, false, true},
		{0x00ffffffffffffff, false, true}, {0x0100000000000000, false, false},
		{0xff00000000000000, false, true}, {0xfeffffffffffffff, false, false},
	};
	struct guest g;

	(void)state;
	guest_start(&g, VMX_SIZE_4K, 4, false, 46);
	for (size_t i = 0; i < VMX_ARRAY_SIZE(rows); i++) {
		g.ps.cr4 = CR4_PAE;
		assert_int_equal(walk(&g, rows[i].linear, CORE_PROT_R).outcome,
				 rows[i].ok4 ? CORE_WALK_PAGE_FAULT : CORE_WALK_NOT_CANONICAL);
		g.ps.cr4 = CR4_PAE | CR4_LA57;
		assert_int_equal(walk(&g, rows[i].linear, CORE_PROT_R).outcome,
				 rows[i].ok5 ? CORE_WALK_PAGE_FAULT : CORE_WALK_NOT_CANONICAL);
	}
	guest_stop(&g);
}

/* --- EPT violations ------------------------------------------------------------------------ */

enum where { FINAL, TABLE };

static const struct {
	const char *what;
	enum where where;
	uint32_t prot; /* of the page where it happens; 0: unmapped */
	bool ad, no_advanced;
	uint64_t leaf_flags; /* of the guest's leaf */
	bool user;
	uint32_t access;
	uint64_t qualification; /* 0: no violation */
} violations[] = {
	{"read, unmapped", FINAL, 0, false, false, ALL, false, CORE_PROT_R, 0x1 | 0x180 | 0x600},
	{"write, read-only", FINAL, 1, false, false, ALL, false, CORE_PROT_W,
	 0x2 | 0x8 | 0x180 | 0x600},
	{"write, read and execute", FINAL, 5, false, false, ALL, false, CORE_PROT_W,
	 0x2 | 0x28 | 0x180 | 0x600},
	{"fetch, read-only", FINAL, 3, false, false, ALL, false, CORE_PROT_X,
	 0x4 | 0x18 | 0x180 | 0x600},
	{"read, execute-only", FINAL, 4, false, false, ALL, false, CORE_PROT_R,
	 0x1 | 0x20 | 0x180 | 0x600},
	{"supervisor page, read-only, no execute", FINAL, 0, false, false, P | ACC | DIRTY | NX,
	 false, CORE_PROT_R, 0x1 | 0x180 | 0x800},
	{"user page, read-only", FINAL, 0, false, false, P | US | ACC, true, CORE_PROT_R,
	 0x1 | 0x180 | 0x200},
	{"without the capability", FINAL, 0, false, true, ALL, false, CORE_PROT_R, 0x1 | 0x180},
	{"allowed", FINAL, 1, false, false, ALL, false, CORE_PROT_R, 0},
	{"table unmapped", TABLE, 0, false, false, ALL, false, CORE_PROT_W, 0x1 | 0x80},
	{"table unmapped, A/D on", TABLE, 0, true, false, ALL, false, CORE_PROT_R, 0x3 | 0x80},
	{"table read-only", TABLE, 1, false, false, ALL, false, CORE_PROT_W, 0},
	{"table read-only, A/D on", TABLE, 1, true, false, ALL, false, CORE_PROT_R,
	 0x3 | 0x8 | 0x80},
	{"table execute-only", TABLE, 4, false, false, ALL, false, CORE_PROT_R, 0x1 | 0x20 | 0x80},
	{"table read-only, A to be set", TABLE, 1, false, false, P | RW | US, false, CORE_PROT_R,
	 0x2 | 0x8 | 0x80},
	{"table read-only, D to be set", TABLE, 1, false, false, P | RW | US | ACC, false,
	 CORE_PROT_W, 0x2 | 0x8 | 0x80},
	{"table read-only, D not needed", TABLE, 1, false, false, P | RW | US | ACC, false,
	 CORE_PROT_R, 0},
};

static void test_violations(void **state)
{
	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(violations); i++) {
		uint64_t leaf_at, page, fault;
		struct core_map_op op = {.kind = CORE_UNMAP, .size = 4096};
		struct core_walk_result r;
		struct guest g;

		guest_start(&g, VMX_SIZE_4K, 4, violations[i].ad, 46);
		if (violations[i].no_advanced)
			g.m.core->caps.ept_vpid = 0;
		g.ps.efer |= NXE;
		g.ps.user = violations[i].user;
		leaf_at = guest_map(&g, GiB(1), 0x5000, 1, violations[i].leaf_flags, ALL);
		page = violations[i].where == FINAL ? 0x5000 : leaf_at & ~0xfffull;
		fault = violations[i].where == FINAL ? 0x5678 : leaf_at;
		op.gpa = gpa(page);
		if (violations[i].prot != 0) {
			op.kind = CORE_PROTECT;
			op.prot = violations[i].prot;
		}
		mem_do(g.as, op, 0);
		r = walk(&g, GiB(1) + 0x678, violations[i].access);
		if (violations[i].qualification == 0) {
			if (r.outcome != CORE_WALK_OK)
				fail_msg("%s: %d", violations[i].what, r.outcome);
		} else if (r.outcome != CORE_WALK_EPT_VIOLATION ||
			   r.qualification != violations[i].qualification ||
			   r.fault_gpa.v != fault) {
			fail_msg("%s: outcome %d, qualification %llx", violations[i].what,
				 r.outcome, (unsigned long long)r.qualification);
		}
		guest_stop(&g);
	}
}

/* A guest's own fault comes first: the final address is not looked at. */
static void test_fault_before_violation(void **state)
{
	struct core_walk_result r;
	struct guest g;

	(void)state;
	guest_start(&g, VMX_SIZE_4K, 4, false, 46);
	guest_map(&g, GiB(1), GiB(40), 1, P | ACC, ALL);
	r = walk(&g, GiB(1), CORE_PROT_W);
	assert_int_equal(r.outcome, CORE_WALK_PAGE_FAULT);
	assert_int_equal(r.error_code, 3);
	r = walk(&g, GiB(1), CORE_PROT_R);
	assert_int_equal(r.outcome, CORE_WALK_EPT_VIOLATION);
	/* What is ANDed: a not-present entry allows nothing, whatever lies above it. */
	assert_int_equal(r.qualification & 0x38, 0);
	/* Past what a 4-level EPT translates. */
	guest_stop(&g);
	guest_start(&g, VMX_SIZE_4K, 4, false, 52);
	guest_map(&g, GiB(1), 1ull << 50, 1, ALL, ALL);
	r = walk(&g, GiB(1), CORE_PROT_R);
	assert_int_equal(r.outcome, CORE_WALK_EPT_VIOLATION);
	assert_int_equal(r.fault_gpa.v, 1ull << 50);
	guest_stop(&g);
}

static void test_misconfigured(void **state)
{
	struct core_walk_result r;
	struct ept_place place;
	struct guest g;
	uint64_t good;

	(void)state;
	guest_start(&g, VMX_SIZE_4K, 4, false, 46);
	guest_map(&g, GiB(1), 0x5000, 1, ALL, ALL);
	ept_find(&g.as->ept, 0x5000, &place);
	good = place.value;
	plat_store(place.entry, good & ~EPT_R);
	r = walk(&g, GiB(1) + 5, CORE_PROT_R);
	assert_int_equal(r.outcome, CORE_WALK_EPT_MISCONFIG);
	assert_int_equal(r.fault_gpa.v, 0x5005);
	assert_int_equal(r.count, 24);
	/* Without the capability execute-only is a misconfiguration. */
	plat_store(place.entry, (good & ~EPT_RWX) | EPT_X);
	assert_int_equal(walk(&g, GiB(1), CORE_PROT_X).outcome, CORE_WALK_OK);
	g.as->ept.rules.exec_only = false;
	assert_int_equal(walk(&g, GiB(1), CORE_PROT_X).outcome, CORE_WALK_EPT_MISCONFIG);
	plat_store(place.entry, good);
	guest_stop(&g);
}

/* --- no trace ------------------------------------------------------------------------------ */

static uint64_t fingerprint(struct guest *g)
{
	uint64_t h = 1469598103934665603u;
	static uint8_t page[4096];
	struct core_leaf leaf;

	for (uint64_t a = 0; a < MiB(64); a += 4096) {
		assert_int_equal(core_as_leaf(g->as, gpa(a), &leaf), 0);
		h = (h ^ leaf.entry) * 1099511628211u;
		if (a >= TABLES_AT && a < g->next_table) {
			assert_int_equal(core_guest_read(g->as, gpa(a), page, 4096), 0);
			for (unsigned i = 0; i < 4096; i++)
				h = (h ^ page[i]) * 1099511628211u;
		}
	}
	for (unsigned i = 0; i < CORE_STAT_COUNT; i++)
		h = (h ^ g->as->stats.v[i]) * 1099511628211u;
	return h;
}

static void test_no_trace(void **state)
{
	struct guest g;
	uint64_t before;

	(void)state;
	guest_start(&g, VMX_SIZE_4K, 4, true, 46);
	guest_map(&g, GiB(1), 0x5000, 1, P | RW | US, P | RW | US); /* A and D to be set */
	before = fingerprint(&g);
	assert_int_equal(walk(&g, GiB(1), CORE_PROT_W).outcome, CORE_WALK_OK);
	assert_int_equal(walk(&g, GiB(2), CORE_PROT_W).outcome, CORE_WALK_PAGE_FAULT);
	assert_int_equal(fingerprint(&g), before);
	assert_int_equal(g.m.hw[0].invept_count + g.m.hw[0].invvpid_count, 0);
	guest_stop(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_references),
		cmocka_unit_test(test_paging_off),
		cmocka_unit_test(test_32bit),
		cmocka_unit_test(test_pae),
		cmocka_unit_test(test_rights),
		cmocka_unit_test(test_reserved),
		cmocka_unit_test(test_canonical),
		cmocka_unit_test(test_violations),
		cmocka_unit_test(test_fault_before_violation),
		cmocka_unit_test(test_misconfigured),
		cmocka_unit_test(test_no_trace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
