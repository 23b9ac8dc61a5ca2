/* SPDX-License-Identifier: MIT */
/* Storage of the translation caches; see tlb.h. */
#include "hw/model/tlb.h"

#include "hw/vmxdef.h"

#include <assert.h>
#include <stdlib.h>

#define SHIFT_4K 12u
#define SHIFT_2M 21u
#define SHIFT_1G 30u

const struct model_tlb_geometry model_tlb_skylake = {
	.name = "skylake",
	.itlb_4k = {128, 8},
	.itlb_2m = {8, 8},
	.dtlb_4k = {64, 4},
	.dtlb_2m = {32, 4},
	.dtlb_1g = {4, 4},
	.stlb = {1536, 12},
	.stlb_1g = {16, 4},
	/* Estimates: Intel publishes none of these. */
	.psc_pml4 = {4, 4},
	.psc_pdpt = {8, 8},
	.psc_pd = {32, 4},
	.gpa_cache = {64, 4},
};

const struct model_tlb_geometry model_tlb_none = {.name = "none"};

struct array_info {
	size_t geometry; /* offset in struct model_tlb_geometry */
	enum model_tlb_structure structure;
	uint8_t level; /* as struct model_tlb_entry has it */
};

#define GEOMETRY(member) offsetof(struct model_tlb_geometry, member)

static const struct array_info array_info[TLB_ARRAYS] = {
	[TLB_I1_4K] = {GEOMETRY(itlb_4k), MODEL_TLB_I1, 1},
	[TLB_I1_2M] = {GEOMETRY(itlb_2m), MODEL_TLB_I1, 1},
	[TLB_D1_4K] = {GEOMETRY(dtlb_4k), MODEL_TLB_D1, 1},
	[TLB_D1_2M] = {GEOMETRY(dtlb_2m), MODEL_TLB_D1, 1},
	[TLB_D1_1G] = {GEOMETRY(dtlb_1g), MODEL_TLB_D1, 1},
	[TLB_L2] = {GEOMETRY(stlb), MODEL_TLB_L2, 1},
	[TLB_L2_1G] = {GEOMETRY(stlb_1g), MODEL_TLB_L2, 1},
	[TLB_PSC_PML4] = {GEOMETRY(psc_pml4), MODEL_TLB_PSC, 4},
	[TLB_PSC_PDPT] = {GEOMETRY(psc_pdpt), MODEL_TLB_PSC, 3},
	[TLB_PSC_PD] = {GEOMETRY(psc_pd), MODEL_TLB_PSC, 2},
	[TLB_GPA] = {GEOMETRY(gpa_cache), MODEL_TLB_GPA, 1},
};

static bool is_leaf_array(unsigned id)
{
	return TLB_LEAF_ARRAYS >> id & 1;
}

static bool is_first_level(unsigned id)
{
	return id <= TLB_D1_1G;
}

enum model_tlb_structure tlb_structure(enum tlb_array_id id)
{
	return array_info[id].structure;
}

/* --- set-up ----------------------------------------------------------------------- */

static int check_level(const struct model_tlb_level *l)
{
	uint32_t sets;

	if (l->entries == 0)
		return 0;
	if (l->ways == 0 || l->entries % l->ways != 0)
		return -EINVAL;
	sets = l->entries / l->ways;
	return (sets & (sets - 1)) == 0 ? 0 : -EINVAL;
}

static const struct model_tlb_level *level_of(const struct model_tlb_geometry *g, unsigned id)
{
	return (const void *)((const char *)g + array_info[id].geometry);
}

int tlb_init(struct tlb *tlb, const struct model_tlb_geometry *geometry, struct x86_cpu *x86)
{
	const size_t each = sizeof(struct tlb_entry) + sizeof(uint64_t) + sizeof(uint32_t);
	size_t total = 0;
	char *at;

	for (unsigned id = 0; id < TLB_ARRAYS; id++) {
		if (check_level(level_of(geometry, id)))
			return -EINVAL;
		/* An even number keeps the next array's alignment. */
		total += (level_of(geometry, id)->entries + 1u) & ~1u;
	}
	*tlb = (struct tlb){.x86 = x86};
	tlb->memory = calloc(total + 1, each);
	if (!tlb->memory)
		return -ENOMEM;
	at = tlb->memory;
	for (unsigned id = 0; id < TLB_ARRAYS; id++) {
		const struct model_tlb_level *l = level_of(geometry, id);
		struct tlb_array *a = &tlb->array[id];
		size_t room = (l->entries + 1u) & ~1u;

		a->count = l->entries;
		a->ways = l->ways;
		a->sets = l->entries ? (uint32_t)(l->entries / l->ways) : 0;
		a->entry = (void *)at;
		at += room * sizeof(*a->entry);
		a->stamp = (void *)at;
		at += room * sizeof(*a->stamp);
		a->key = (void *)at;
		at += room * sizeof(*a->key);
	}
	return 0;
}

void tlb_fini(struct tlb *tlb)
{
	free(tlb->memory);
	*tlb = (struct tlb){0};
}

/* --- finding ---------------------------------------------------------------------- */

/* Not PCID: global entries answer under every one. Never 0. */
static uint32_t make_key(uint64_t linear, unsigned shift, uint64_t space, uint16_t vpid)
{
	uint64_t page = linear >> shift;
	uint32_t mix = (uint32_t)page ^ (uint32_t)(page >> 29) ^ (uint32_t)(space >> 7);

	return (mix ^ (uint32_t)vpid * 0x9e3779b1u ^ shift << 26) | 0x80000000u;
}

static uint32_t first_way(const struct tlb_array *a, uint64_t linear, unsigned shift)
{
	return ((uint32_t)(linear >> shift) & (a->sets - 1)) * a->ways;
}

static unsigned size_of(unsigned shift)
{
	return shift == SHIFT_4K ? 0 : shift == SHIFT_2M ? 1 : shift == SHIFT_1G ? 2 : 3;
}

static bool matches(const struct tlb_entry *e, uint64_t linear, unsigned shift,
		    const struct tlb_tags *tags)
{
	return e->linear == (linear >> shift) << shift && e->shift == shift &&
	       e->vpid == tags->vpid && e->space == tags->space &&
	       (e->pcid == tags->pcid || (e->flags & TLB_GLOBAL));
}

int tlb_find(const struct tlb *tlb, enum tlb_array_id id, unsigned shift, uint64_t linear,
	     const struct tlb_tags *tags)
{
	const struct tlb_array *a = &tlb->array[id];
	uint32_t key, first;

	if (a->held_by_size[size_of(shift)] == 0)
		return -1;
	key = make_key(linear, shift, tags->space, tags->vpid);
	first = first_way(a, linear, shift);
	for (uint32_t i = first; i < first + a->ways; i++) {
		if (a->key[i] == key && matches(&a->entry[i], linear, shift, tags))
			return (int)i;
	}
	return -1;
}

enum tlb_array_id tlb_first_level(const struct tlb *tlb, bool fetch, unsigned shift,
				  unsigned *ret_shift)
{
	static const struct {
		uint8_t shift, fetch, data;
	} order[] = {
		{SHIFT_1G, TLB_ARRAYS, TLB_D1_1G},
		{SHIFT_2M, TLB_I1_2M, TLB_D1_2M},
		{SHIFT_4K, TLB_I1_4K, TLB_D1_4K},
	};

	for (size_t i = 0; i < VMX_ARRAY_SIZE(order); i++) {
		unsigned id = fetch ? order[i].fetch : order[i].data;

		if (order[i].shift <= shift && id < TLB_ARRAYS && tlb->array[id].count != 0) {
			*ret_shift = order[i].shift;
			return (enum tlb_array_id)id;
		}
	}
	return TLB_ARRAYS;
}

enum tlb_array_id tlb_second_level(const struct tlb *tlb, unsigned shift, unsigned *ret_shift)
{
	if (shift >= SHIFT_1G && tlb->array[TLB_L2_1G].count != 0) {
		*ret_shift = SHIFT_1G;
		return TLB_L2_1G;
	}
	if (tlb->array[TLB_L2].count == 0)
		return TLB_ARRAYS;
	*ret_shift = shift >= SHIFT_2M ? SHIFT_2M : SHIFT_4K;
	return TLB_L2;
}

/* --- putting in, taking out ------------------------------------------------------- */

static bool is_fragment(const struct tlb_entry *e)
{
	return e->shift < e->guest_shift;
}

/* The slot becomes free; the executor's front is the caller's business. */
static void clear_slot(struct tlb *tlb, unsigned id, uint32_t i)
{
	struct tlb_array *a = &tlb->array[id];

	if (is_leaf_array(id) && is_fragment(&a->entry[i]))
		tlb->fragments--;
	a->key[i] = 0;
	a->held--;
	a->held_by_size[size_of(a->entry[i].shift)]--;
}

void tlb_remove(struct tlb *tlb, enum tlb_array_id id, int index)
{
	if (is_first_level(id))
		x86_front_drop(tlb->x86, &tlb->array[id].stamp[index]);
	clear_slot(tlb, id, (uint32_t)index);
}

/* The way to fill: a free one (the first), else the least recently used. */
static uint32_t victim(const struct tlb_array *a, uint32_t first)
{
	uint32_t best = first;

	for (uint32_t i = first; i < first + a->ways; i++) {
		if (a->key[i] == 0)
			return i;
		if (a->stamp[i] < a->stamp[best])
			best = i;
	}
	return best;
}

/* A leaf entry of `old` makes room for one of `filler`. */
static void count_fill(const struct tlb_entry *old, bool same_page, struct model_account *filler)
{
	if (old && same_page && old->owner == filler)
		return; /* the same translation again: neither displaced nor added */
	if (old && old->owner == filler)
		filler->evicted_own++;
	else if (old)
		old->owner->evicted_by_others++;
	filler->fills++;
}

static int insert(struct tlb *tlb, enum tlb_array_id id, const struct tlb_entry *e, uint64_t stamp,
		  int found)
{
	struct tlb_array *a = &tlb->array[id];
	uint32_t i = found >= 0 ? (uint32_t)found : victim(a, first_way(a, e->linear, e->shift));

	if (is_leaf_array(id))
		count_fill(a->key[i] ? &a->entry[i] : NULL, found >= 0, e->owner);
	if (a->key[i] != 0)
		tlb_remove(tlb, id, (int)i);
	a->entry[i] = *e;
	a->key[i] = make_key(e->linear, e->shift, e->space, e->vpid);
	a->stamp[i] = stamp;
	a->held++;
	a->held_by_size[size_of(e->shift)]++;
	if (is_leaf_array(id) && is_fragment(e))
		tlb->fragments++;
	return (int)i;
}

static int find_same(struct tlb *tlb, enum tlb_array_id id, const struct tlb_entry *e)
{
	const struct tlb_tags tags = {.space = e->space, .vpid = e->vpid, .pcid = e->pcid};

	return tlb_find(tlb, id, e->shift, e->linear, &tags);
}

int tlb_insert(struct tlb *tlb, enum tlb_array_id id, const struct tlb_entry *e, uint64_t stamp)
{
	if (tlb->array[id].count == 0)
		return -1;
	return insert(tlb, id, e, stamp, find_same(tlb, id, e));
}

int tlb_insert_fresh(struct tlb *tlb, enum tlb_array_id id, const struct tlb_entry *e,
		     uint64_t stamp)
{
	if (tlb->array[id].count == 0)
		return -1;
	assert(find_same(tlb, id, e) < 0);
	return insert(tlb, id, e, stamp, -1);
}

/* --- invalidation ----------------------------------------------------------------- */

static bool selected(const struct tlb_entry *e, const struct tlb_select *s)
{
	bool global = (e->flags & TLB_GLOBAL) != 0;

	if (s->by_vpid && e->vpid != s->vpid)
		return false;
	if (s->by_nonzero_vpid && e->vpid == 0)
		return false;
	if (s->by_pcid && e->pcid != s->pcid && !(s->pcid_or_global && global))
		return false;
	if (s->keep_global && global)
		return false;
	if (s->by_space && (e->space & ~TLB_SPACE_UNPAGED) != s->space)
		return false;
	if (s->combined && !(e->space & TLB_SPACE_EPT))
		return false;
	if (s->by_address) {
		unsigned shift = e->guest_shift > e->shift ? e->guest_shift : e->shift;

		return e->linear >> shift == s->address >> shift;
	}
	return true;
}

/* First-level entries whose front entries must go: a few by name, more all at once. */
struct front_drops {
	const uint64_t *stamp[4];
	unsigned count;
};

static void drop_slot(struct tlb *tlb, unsigned id, uint32_t i, size_t counter,
		      struct front_drops *front)
{
	struct tlb_array *a = &tlb->array[id];

	if (is_first_level(id)) {
		if (front->count < VMX_ARRAY_SIZE(front->stamp))
			front->stamp[front->count] = &a->stamp[i];
		front->count++;
	}
	if (is_leaf_array(id))
		++*(uint64_t *)(void *)((char *)a->entry[i].owner + counter);
	clear_slot(tlb, id, i);
}

static void drop_scan(struct tlb *tlb, unsigned id, const struct tlb_select *sel, size_t counter,
		      struct front_drops *front)
{
	struct tlb_array *a = &tlb->array[id];

	for (uint32_t i = 0; i < a->count && a->held != 0; i++) {
		if (a->key[i] != 0 && selected(&a->entry[i], sel))
			drop_slot(tlb, id, i, counter, front);
	}
}

/* Only the sets that an entry for the address can be in. */
static void drop_probe(struct tlb *tlb, unsigned id, const struct tlb_select *sel, size_t counter,
		       struct front_drops *front)
{
	static const uint8_t shifts[] = {SHIFT_4K, SHIFT_2M, SHIFT_1G};
	struct tlb_array *a = &tlb->array[id];

	for (size_t s = 0; s < VMX_ARRAY_SIZE(shifts); s++) {
		uint32_t first = first_way(a, sel->address, shifts[s]);

		for (uint32_t i = first; i < first + a->ways; i++) {
			if (a->key[i] != 0 && selected(&a->entry[i], sel))
				drop_slot(tlb, id, i, counter, front);
		}
	}
}

void tlb_drop(struct tlb *tlb, const struct tlb_select *sel, size_t counter)
{
	struct front_drops front = {.count = 0};

	for (unsigned id = 0; id < TLB_ARRAYS; id++) {
		if (!(sel->arrays >> id & 1) || tlb->array[id].held == 0)
			continue;
		/* Fragments of one guest page lie in many sets. */
		if (sel->by_address && is_leaf_array(id) && tlb->fragments == 0)
			drop_probe(tlb, id, sel, counter, &front);
		else
			drop_scan(tlb, id, sel, counter, &front);
	}
	if (front.count > VMX_ARRAY_SIZE(front.stamp)) {
		x86_front_flush(tlb->x86);
		return;
	}
	for (unsigned i = 0; i < front.count; i++)
		x86_front_drop(tlb->x86, front.stamp[i]);
}

void tlb_change_owner(struct tlb *tlb, struct model_account *from, struct model_account *to)
{
	for (unsigned id = 0; id < TLB_ARRAYS; id++) {
		struct tlb_array *a = &tlb->array[id];

		for (uint32_t i = 0; i < a->count; i++) {
			if (a->key[i] != 0 && a->entry[i].owner == from)
				a->entry[i].owner = to;
		}
	}
}

/* --- looking ---------------------------------------------------------------------- */

void tlb_describe(const struct tlb *tlb, enum tlb_array_id id, uint32_t index,
		  struct model_tlb_entry *ret)
{
	const struct tlb_entry *e = &tlb->array[id].entry[index];
	bool guest = id != TLB_GPA;

	*ret = (struct model_tlb_entry){
		.linear = e->linear,
		.host = e->host,
		.ep4ta = e->space & EPT_ADDR_MASK,
		.page_size = UINT64_C(1) << e->shift,
		.vpid = e->vpid,
		.pcid = e->pcid,
		.structure = (uint8_t)array_info[id].structure,
		.level = array_info[id].level,
		.global = (e->flags & TLB_GLOBAL) != 0,
		.read = (e->flags & TLB_EPT_R) != 0,
		.write = (e->flags & TLB_EPT_W) && (!guest || (e->flags & TLB_GUEST_W)),
		.exec = (e->flags & TLB_EPT_X) && !(e->flags & TLB_GUEST_XD),
		.user = !guest || (e->flags & TLB_GUEST_U),
		.dirty = (e->flags & TLB_DIRTY) != 0,
	};
}
