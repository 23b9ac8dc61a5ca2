/* SPDX-License-Identifier: MIT */
#include "unit/test_model_scene.h"

#include <stdlib.h>

#define PLAIN (PTE_P | PTE_W | PTE_A | PTE_D)

static const struct page {
	uint64_t linear, target, size, flags;
} pages[] = {
	{HERE, TARGET, VMX_SIZE_4K, PLAIN},
	{HERE_GLOBAL, TARGET + 0x1000, VMX_SIZE_4K, PLAIN | PTE_G},
	{HERE_READ_ONLY, TARGET + 0x2000, VMX_SIZE_4K, PTE_P | PTE_A},
	{HERE_2M, TARGET + VMX_SIZE_2M, VMX_SIZE_2M, PLAIN},
	{HERE_2M_GLOBAL, TARGET + VMX_SIZE_2M, VMX_SIZE_2M, PLAIN | PTE_G},
	{THERE_1G, 0, VMX_SIZE_1G, PLAIN},
	{THERE_1G_GLOBAL, 0, VMX_SIZE_1G, PLAIN | PTE_G},
	{FAR, TARGET + 0x4000, VMX_SIZE_4K, PLAIN},
	{HIGH, TARGET + 0x5000, VMX_SIZE_4K, PLAIN | PTE_G},
	/* From here on, not for every EPT. */
	{HERE_EPT_READ_ONLY, TARGET + 0x9000, VMX_SIZE_4K, PLAIN},
	{HERE_EPT_BAD, TARGET + 0xa000, VMX_SIZE_4K, PLAIN},
	{HERE_EPT_ABSENT, TARGET + 0xb000, VMX_SIZE_4K, PLAIN},
};
#define PAGES_FOR_ALL 9u

static const uint16_t vpids[] = {0, 1, 2, 0xffff};
static const uint16_t pcids[] = {0, 2, 3, 0xfff};

uint32_t scene_random(struct scene *s)
{
	s->random ^= s->random << 13;
	s->random ^= s->random >> 17;
	s->random ^= s->random << 5;
	return s->random >> 3;
}

struct tags scene_tags(struct scene *s)
{
	struct tags t = {.vpid = PICK(s, vpids), .pcid = PICK(s, pcids)};

	if (scene_random(s) % 4 != 0)
		t.eptp = PICK(s, s->eptp);
	return t;
}

uint64_t scene_linear(struct scene *s)
{
	static const uint64_t inside[] = {0, 0, 0x1000, 0x7000, 0x12000};

	return pages[scene_random(s) % PAGES_FOR_ALL].linear + PICK(s, inside) +
	       scene_random(s) % VMX_PAGE_SIZE;
}

uint64_t scene_gpa(struct scene *s)
{
	static const uint64_t start[] = {
		0, TARGET, TARGET + 0x1000, TARGET + 0x2000, TARGET + VMX_SIZE_2M, TARGET * 2};

	return PICK(s, start) + scene_random(s) % VMX_PAGE_SIZE;
}

/* --- memory ----------------------------------------------------------------------- */

/* Guest tables below `root`, whose addresses are guest-physical plus `base`. */
static uint64_t *table_entry(struct rig *r, uint64_t root, uint64_t base, uint64_t linear,
			     unsigned level)
{
	uint64_t table = root;

	for (unsigned l = 4;; l--) {
		uint64_t *e = rig_ptr(r, r->ram_hpa + (table - base) +
						 (linear >> (12 + 9 * (l - 1)) & 0x1ff) * 8);

		if (l == level)
			return e;
		if (!(*e & PTE_P))
			*e = (rig_cr3(r) + base) | PTE_P | PTE_W | PTE_U | PTE_A;
		table = *e & PTE_ADDR_MASK;
	}
}

static uint64_t make_tables(struct rig *r, uint64_t base)
{
	uint64_t root = rig_cr3(r) + base;

	for (size_t i = 0; i < VMX_ARRAY_SIZE(pages); i++) {
		const struct page *p = &pages[i];
		unsigned level = p->size == VMX_SIZE_1G ? 3 : p->size == VMX_SIZE_2M ? 2 : 1;

		*table_entry(r, root, base, p->linear, level) =
			(p->target + base) | p->flags | (level > 1 ? PTE_PS : 0);
	}
	*table_entry(r, root, base, HERE_TABLE_ABSENT, 2) =
		(TARGET_TABLE_ABSENT + base) | PTE_P | PTE_W | PTE_A;
	memset(rig_gpa_ptr(r, TARGET_TABLE_ABSENT), 0, VMX_PAGE_SIZE);
	return root;
}

static void make_epts(struct scene *s)
{
	struct rig *r = &s->r;
	uint64_t small;

	s->eptp[0] = rig_ept(r, VMX_SIZE_2M, 0);
	s->eptp[1] = rig_ept(r, VMX_SIZE_2M, EPTP_AD);
	s->eptp[2] = rig_ept(r, VMX_SIZE_1G, 0);
	small = s->eptp[SCENE_EPT_4K] = rig_ept(r, VMX_SIZE_4K, 0);
	rig_ept_map(r, small, TARGET + 0x9000, r->ram_hpa + TARGET + 0x9000, VMX_SIZE_4K, EPT_R);
	rig_ept_map(r, small, TARGET + 0xa000, r->ram_hpa + TARGET + 0xa000, VMX_SIZE_4K, EPT_W);
	rig_ept_map(r, small, TARGET + 0xb000, r->ram_hpa + TARGET + 0xb000, VMX_SIZE_4K, 0);
}

static void snapshot_init(struct snapshot *shot, size_t count)
{
	shot->held = calloc(count, sizeof(*shot->held));
	shot->entry = calloc(count, sizeof(*shot->entry));
	assert_true(shot->held && shot->entry);
}

static void snapshot_fini(struct snapshot *shot)
{
	free(shot->held);
	free(shot->entry);
}

void scene_create(struct scene *s, const struct model_tlb_geometry *geometry)
{
	size_t slots = 0;

	*s = (struct scene){.random = 1};
	rig_create(&s->r, geometry, 1);
	make_epts(s);
	s->root_ept = make_tables(&s->r, 0);
	s->root_native = make_tables(&s->r, s->r.ram_hpa);
	s->root_legacy = rig_cr3(&s->r);
	rig_vmcs(&s->r, 1, s->eptp[0], s->root_ept);
	s->vmcs = s->r.cpu->current->hpa;
	for (unsigned id = 0; id < TLB_ARRAYS; id++)
		slots += s->r.cpu->tlb.array[id].count;
	snapshot_init(&s->before, slots);
	snapshot_init(&s->after, slots);
}

void scene_destroy(struct scene *s)
{
	snapshot_fini(&s->before);
	snapshot_fini(&s->after);
	rig_destroy(&s->r);
}

/* --- the caches ------------------------------------------------------------------- */

void scene_look(const struct scene *s, struct snapshot *ret)
{
	for (unsigned id = 0, slot = 0; id < TLB_ARRAYS; id++) {
		const struct tlb_array *a = &s->r.cpu->tlb.array[id];

		for (uint32_t i = 0; i < a->count; i++, slot++) {
			ret->held[slot] = a->key[i] != 0;
			ret->entry[slot] = a->entry[i];
		}
	}
}

void scene_clear(struct scene *s)
{
	struct tlb *tlb = &s->r.cpu->tlb;

	for (unsigned id = 0; id < TLB_ARRAYS; id++) {
		for (uint32_t i = 0; i < tlb->array[id].count; i++) {
			if (tlb->array[id].key[i] != 0)
				tlb_remove(tlb, (enum tlb_array_id)id, (int)i);
		}
		assert_int_equal(tlb->array[id].held, 0);
	}
	assert_int_equal(tlb->fragments, 0);
}

static const struct kind {
	uint8_t array, shift, guest_shift;
} kinds[] = {
	{TLB_I1_4K, 12, 12}, {TLB_I1_4K, 12, 21}, {TLB_D1_4K, 12, 12},	 {TLB_D1_4K, 12, 22},
	{TLB_D1_4K, 12, 30}, {TLB_D1_4K, 12, 0},  {TLB_I1_2M, 21, 21},	 {TLB_I1_2M, 21, 30},
	{TLB_D1_2M, 21, 21}, {TLB_D1_2M, 21, 22}, {TLB_D1_2M, 21, 0},	 {TLB_D1_1G, 30, 30},
	{TLB_L2, 12, 12},    {TLB_L2, 12, 12},	  {TLB_L2, 12, 21},	 {TLB_L2, 12, 30},
	{TLB_L2, 12, 0},     {TLB_L2, 21, 21},	  {TLB_L2, 21, 21},	 {TLB_L2, 21, 30},
	{TLB_L2_1G, 30, 30}, {TLB_L2_1G, 30, 0},  {TLB_PSC_PML4, 39, 0}, {TLB_PSC_PDPT, 30, 0},
	{TLB_PSC_PD, 21, 0}, {TLB_PSC_PD, 22, 0}, {TLB_GPA, 12, 0},	 {TLB_GPA, 21, 0},
	{TLB_GPA, 30, 0},
};

static void put(struct scene *s, const struct kind *k)
{
	bool leaf = TLB_LEAF_ARRAYS >> k->array & 1, unpaged = leaf && k->guest_shift == 0;
	struct tags t = scene_tags(s);
	struct tlb_entry e = {
		.linear = k->array == TLB_GPA ? scene_gpa(s) : scene_linear(s),
		.owner = &s->r.account,
		.shift = k->shift,
		.guest_shift = k->guest_shift,
		.flags = TLB_GUEST_W | TLB_EPT_RWX | TLB_DIRTY,
	};

	if (t.eptp == 0 && (unpaged || k->array == TLB_GPA))
		t.eptp = PICK(s, s->eptp);
	e.linear = e.linear >> k->shift << k->shift;
	e.host = e.gpa = e.linear;
	e.space = t.eptp ? (t.eptp & EPT_ADDR_MASK) | TLB_SPACE_EPT : 0;
	if (unpaged)
		e.space |= TLB_SPACE_UNPAGED;
	if (k->array == TLB_GPA) {
		e.host += s->r.ram_hpa; /* as the EPTs have it */
	} else {
		e.vpid = t.vpid;
		e.pcid = unpaged ? 0 : t.pcid;
	}
	if (leaf && !unpaged && scene_random(s) % 3 == 0)
		e.flags |= TLB_GLOBAL;
	tlb_insert(&s->r.cpu->tlb, (enum tlb_array_id)k->array, &e, scene_random(s));
}

void scene_fill_by_hand(struct scene *s)
{
	unsigned count = 40 + scene_random(s) % 260;
	/* Invalidation by address works otherwise where no fragment is held. */
	bool fragments = scene_random(s) % 2 != 0;

	while (count-- > 0) {
		const struct kind *k = &PICK(s, kinds);

		if (fragments || k->guest_shift <= k->shift)
			put(s, k);
	}
}

/* --- guests ----------------------------------------------------------------------- */

struct field_value {
	uint32_t field;
	uint64_t value;
};

void scene_guest(struct scene *s, enum mode mode, uint64_t cr4, const struct tags *tags)
{
	bool ept = tags->eptp != 0, wide = mode == LONG;
	uint64_t root = !wide ? s->root_legacy : ept ? s->root_ept : s->root_native;
	const struct field_value fields[] = {
		{VMCS_VPID, tags->vpid},
		{VMCS_EPT_POINTER, tags->eptp},
		{VMCS_PROC_CONTROLS_2, (tags->vpid ? PROC2_VPID : 0) |
					       (ept ? PROC2_EPT | PROC2_UNRESTRICTED : 0) |
					       PROC2_INVPCID | PROC2_RDTSCP},
		{VMCS_GUEST_CR0,
		 CR0_PE | CR0_ET | CR0_NE | CR0_WP | (mode == UNPAGED ? 0 : CR0_PG)},
		{VMCS_GUEST_CR3, root | (cr4 & CR4_PCIDE ? tags->pcid : 0)},
		{VMCS_GUEST_CR4, cr4 | CR4_VMXE},
		{VMCS_GUEST_EFER, wide ? EFER_LME | EFER_LMA | EFER_NXE : 0},
		{VMCS_GUEST_CS_AR, wide ? 0xa09b : 0xc09b},
		{VMCS_GUEST_ACTIVITY, ACTIVITY_ACTIVE},
		{VMCS_EXCEPTION_BITMAP, 0},
		{VMCS_CR4_MASK, 0},
		{VMCS_CR4_SHADOW, cr4 | CR4_VMXE},
	};

	assert_int_equal(hw_vmclear(s->r.cpu, hpa(s->vmcs)), HW_SUCCEED);
	assert_int_equal(hw_vmptrld(s->r.cpu, hpa(s->vmcs)), HW_SUCCEED);
	for (size_t i = 0; i < VMX_ARRAY_SIZE(fields); i++)
		rig_set(&s->r, fields[i].field, fields[i].value);
	rig_set_bits(&s->r, VMCS_ENTRY_CONTROLS, wide ? VMENTRY_IA32E_GUEST : 0,
		     wide ? 0 : VMENTRY_IA32E_GUEST);
	rig_set_bits(&s->r, VMCS_PROC_CONTROLS, 0, PROC_INVLPG | PROC_CR3_LOAD);
}

struct step scene_access(struct scene *s)
{
	static const enum step_kind how[] = {STEP_READ, STEP_READ, STEP_FETCH};
	const struct page *p = &pages[scene_random(s) % PAGES_FOR_ALL];
	uint64_t reach = p->size > VMX_SIZE_2M * 8 ? VMX_SIZE_2M * 8 : p->size;

	return (struct step){.kind = PICK(s, how),
			     .linear = p->linear + scene_random(s) % 5 * (reach / 5)};
}

/* What the accesses have left is what the layout says of these addresses. */
static void check_fill(const struct scene *s, unsigned id, const struct tlb_entry *e)
{
	bool known = e->space == 0;

	for (unsigned i = 0; i < SCENE_EPTS; i++)
		known |= e->space == ((s->eptp[i] & EPT_ADDR_MASK) | TLB_SPACE_EPT);
	assert_true(known);
	for (size_t i = 0; i < VMX_ARRAY_SIZE(pages) && id <= TLB_L2_1G; i++) {
		const struct page *p = &pages[i];

		if (e->linear < p->linear || e->linear - p->linear >= p->size)
			continue;
		assert_int_equal(UINT64_C(1) << e->guest_shift, p->size);
		assert_int_equal((e->flags & TLB_GLOBAL) != 0, (p->flags & PTE_G) != 0);
		assert_true(e->shift <= e->guest_shift);
		return;
	}
	assert_true(id > TLB_L2_1G);
}

void scene_fill_by_guests(struct scene *s)
{
	const struct tlb *tlb = &s->r.cpu->tlb;
	struct step steps[10];

	for (unsigned guests = 2 + scene_random(s) % 5; guests > 0; guests--) {
		struct tags t = scene_tags(s);

		if (t.vpid == 0)
			t.vpid = 1;
		scene_guest(s, LONG, CR4_PAE | CR4_PGE | CR4_PCIDE, &t);
		for (size_t i = 0; i < VMX_ARRAY_SIZE(steps); i++)
			steps[i] = scene_access(s);
		assert_int_equal(rig_run(&s->r, steps, VMX_ARRAY_SIZE(steps)), EXIT_VMCALL);
	}
	for (unsigned id = 0; id < TLB_ARRAYS; id++) {
		for (uint32_t i = 0; i < tlb->array[id].count; i++) {
			if (tlb->array[id].key[i] != 0)
				check_fill(s, id, &tlb->array[id].entry[i]);
		}
	}
}
