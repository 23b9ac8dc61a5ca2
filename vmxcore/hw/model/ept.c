/* SPDX-License-Identifier: MIT */
/*
 * Guest-physical to host-physical: the EPT walk and the cache of its results ("EPT
 * Translation Mechanism"). A flags of entries above the leaf are set as the walk goes
 * by; A and D of the leaf once the permissions allow the access.
 */
#include "hw/model/processor.h"

#define EPT_LEVELS 4u
#define NO_EPT_SHIFT 30u /* with EPT off host addresses are contiguous without end */
#define GPA_BITS_4LEVEL 48u

bool mmu_eptp_ok(const struct hw_cpu *cpu, uint64_t eptp)
{
	uint64_t type = eptp & EPTP_MEMTYPE_MASK;

	return (type == MEMTYPE_UC || type == MEMTYPE_WB) &&
	       (eptp & EPTP_WALK_MASK) >> EPTP_WALK_SHIFT == EPT_LEVELS - 1 &&
	       !(eptp & (EPTP_SUPERVISOR_SHADOW_STACK | EPTP_RESERVED_LOW)) &&
	       !beyond_physical(cpu, eptp);
}

/* --- memory ----------------------------------------------------------------------- */

bool mem_set_flags(struct hw_cpu *cpu, uint64_t addr, unsigned bytes, uint64_t old, uint64_t flags)
{
	void *p = mem_ptr(cpu, addr);
	bool ok;

	if (!p)
		return true; /* nobody there: the write is lost */
	if (bytes == 8) {
		uint64_t expected = old;

		ok = plat_cmpxchg((uint64_t *)p, &expected, old | flags);
	} else {
		uint32_t expected = (uint32_t)old;

		ok = plat_cmpxchg((uint32_t *)p, &expected, (uint32_t)(old | flags));
	}
	if (ok)
		x86_code_invalidate(cpu->model->code, addr, bytes);
	return ok;
}

/* --- the EPT dimension ------------------------------------------------------------ */

static bool ept_leaf(uint64_t entry, unsigned level)
{
	return level == 1 || (level <= 3 && (entry & EPT_LARGE));
}

/* "EPT Misconfigurations"; the entry is present. */
static bool ept_misconfigured(const struct hw_cpu *cpu, uint64_t entry, unsigned level)
{
	uint64_t reserved = EPT_ADDR_MASK & ~cpu->mmu.address_bits;
	uint64_t type = (entry & EPT_MEMTYPE_MASK) >> EPT_MEMTYPE_SHIFT;

	if ((entry & EPT_W) && !(entry & EPT_R))
		return true;
	if (!ept_leaf(entry, level)) {
		reserved |= EPT_MEMTYPE_MASK | EPT_IGNORE_PAT;
		if (level == EPT_LEVELS)
			reserved |= EPT_LARGE;
		return (entry & reserved) != 0;
	}
	reserved |= (UINT64_C(1) << (12 + 9 * (level - 1))) - VMX_PAGE_SIZE;
	return (entry & reserved) || type == 2 || type == 3 || type == 7;
}

/*
 * Walks the EPT for an access that needs `need` (EPT_R, EPT_W, EPT_X). ret is filled
 * in any case: permission and refs as far as the walk came.
 */
static enum gpa_outcome ept_walk(struct hw_cpu *cpu, uint64_t addr, uint64_t need,
				 struct gpa_map *ret)
{
	uint64_t table = cpu->mmu.eptp & EPT_ADDR_MASK, entry, at, flags;
	unsigned level = EPT_LEVELS, shift;
	bool leaf;

	*ret = (struct gpa_map){.permission = EPT_RWX};
	if (addr >> GPA_BITS_4LEVEL) {
		ret->permission = 0;
		return GPA_VIOLATION;
	}
	for (;; level--) {
		shift = 12 + 9 * (level - 1);
		at = table + (addr >> shift & 0x1ff) * 8;
	again:
		entry = mem_read64(cpu, at);
		ret->refs++;
		if (!(entry & EPT_RWX)) {
			ret->permission = 0;
			return GPA_VIOLATION;
		}
		if (ept_misconfigured(cpu, entry, level))
			return GPA_MISCONFIG;
		leaf = ept_leaf(entry, level);
		flags = cpu->mmu.ept_ad ? EPT_A : 0;
		if (leaf) {
			ret->permission &= entry;
			if ((ret->permission & need) != need)
				return GPA_VIOLATION;
			if (cpu->mmu.ept_ad && (need & EPT_W))
				flags |= EPT_D;
		}
		if ((flags & ~entry) && !mem_set_flags(cpu, at, 8, entry, flags))
			goto again;
		if (leaf)
			break;
		ret->permission &= entry;
		table = entry & EPT_ADDR_MASK;
	}
	ret->shift = shift;
	ret->hpa = (entry & EPT_ADDR_MASK & ~((UINT64_C(1) << shift) - 1)) |
		   (addr & ((UINT64_C(1) << shift) - 1));
	ret->dirty = !cpu->mmu.ept_ad || ((entry | flags) & EPT_D);
	return GPA_OK;
}

static int gpa_find(struct hw_cpu *cpu, uint64_t addr)
{
	static const uint8_t shifts[] = {12, 21, 30};
	const struct tlb_tags tags = {.space = cpu->mmu.space};

	for (size_t i = 0; i < VMX_ARRAY_SIZE(shifts); i++) {
		int found = tlb_find(&cpu->tlb, TLB_GPA, shifts[i], addr, &tags);

		if (found >= 0)
			return found;
	}
	return -1;
}

static void gpa_fill(struct hw_cpu *cpu, uint64_t addr, const struct gpa_map *map, bool fresh)
{
	uint64_t inside = (UINT64_C(1) << map->shift) - 1;
	const struct tlb_entry e = {
		.linear = addr & ~inside,
		.host = map->hpa & ~inside,
		.gpa = addr & ~inside,
		.space = cpu->mmu.space,
		.owner = cpu->account,
		.shift = (uint8_t)map->shift,
		.flags = (uint8_t)((map->permission & EPT_RWX) << TLB_EPT_SHIFT |
				   (map->dirty ? TLB_DIRTY : 0)),
	};

	if (fresh)
		tlb_insert_fresh(&cpu->tlb, TLB_GPA, &e, ++cpu->tlb.clock);
	else
		tlb_insert(&cpu->tlb, TLB_GPA, &e, ++cpu->tlb.clock);
}

/* Guest-physical to host-physical, from the cached mappings or by a walk. */
enum gpa_outcome gpa_translate(struct hw_cpu *cpu, uint64_t addr, uint64_t need,
			       struct gpa_map *ret)
{
	enum gpa_outcome outcome;
	int found;

	if (!cpu->mmu.ept) {
		*ret = (struct gpa_map){
			.hpa = addr, .permission = EPT_RWX, .shift = NO_EPT_SHIFT, .dirty = true};
		return GPA_OK;
	}
	found = gpa_find(cpu, addr);
	if (found >= 0) {
		const struct tlb_entry *e = tlb_entry_at(&cpu->tlb, TLB_GPA, found);
		uint64_t inside = (UINT64_C(1) << e->shift) - 1;

		*ret = (struct gpa_map){
			.hpa = e->host | (addr & inside),
			.permission = (e->flags & TLB_EPT_RWX) >> TLB_EPT_SHIFT,
			.shift = e->shift,
			.dirty = (e->flags & TLB_DIRTY) != 0,
		};
		if ((ret->permission & need) != need || ret->dirty || !(need & EPT_W)) {
			tlb_touch(&cpu->tlb, TLB_GPA, found);
			cpu->account->gpa_hits++;
			return (ret->permission & need) == need ? GPA_OK : GPA_VIOLATION;
		}
		tlb_remove(&cpu->tlb, TLB_GPA, found);
	}
	outcome = ept_walk(cpu, addr, need, ret);
	cpu->account->walk_refs_ept += ret->refs;
	if (outcome == GPA_OK)
		gpa_fill(cpu, addr, ret, found < 0);
	return outcome;
}
