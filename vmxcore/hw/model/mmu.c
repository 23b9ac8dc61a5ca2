/* SPDX-License-Identifier: MIT */
/*
 * Address translation: TLB lookup, guest page walk, EPT walk.
 *
 * Choices where the manual leaves room:
 *  - A cached translation is used as it stands. If its permissions deny an access,
 *    the fault or violation is raised from it, without a fresh walk, and then
 *    invalidates it ("Optional Invalidation": a permission added in memory without
 *    an invalidation costs at most one such event). A write whose D flag is not
 *    known to be set walks afresh.
 *  - A flags of entries above the leaf are set as the walk goes by; A and D of the
 *    leaf once the guest's permissions allow the access, before the page's own
 *    guest-physical address is translated.
 *  - A read-modify-write that violates EPT sets bits 0 and 1 of the qualification; an
 *    update of a guest A or D flag (A/D flags for EPT off) sets bit 1 alone.
 *
 * Sources: SDM volume 3, "Paging", "EPT Translation Mechanism", "EPT Violations",
 * "EPT Misconfigurations", "Accessed and Dirty Flags for EPT".
 */
#include "hw/model/processor.h"

/* Where a paging mode's walk begins and how an entry's index is cut out. */
struct mode_info {
	uint8_t levels; /* read from memory (PAE's PDPTEs are registers) */
	uint8_t index_bits;
	uint8_t entry_bytes;
};

static const struct mode_info mode_info[PAGING_MODES] = {
	[PAGING_OFF] = {0, 9, 8},
	[PAGING_32] = {2, 10, 4},
	[PAGING_PAE] = {2, 9, 8},
	[PAGING_4LEVEL] = {4, 9, 8},
};

/* One guest walk on its way. */
struct walk {
	struct hw_cpu *cpu;
	uint64_t linear;
	uint32_t access;
	uint64_t table_gpa, table_hpa;
	uint8_t flags;	     /* accumulated, enum tlb_flag */
	uint8_t table_flags; /* EPT permissions of the table's page */
	unsigned level;
	unsigned refs_guest, refs_ept;
	bool shortened;
};

static unsigned level_shift(enum paging_mode mode, unsigned level)
{
	return 12 + (level - 1) * mode_info[mode].index_bits;
}

/* --- context ---------------------------------------------------------------------- */

static enum paging_mode current_mode(const struct x86_state *st)
{
	if (!(st->cr0 & CR0_PG))
		return PAGING_OFF;
	if (st->efer & EFER_LMA)
		return PAGING_4LEVEL;
	return st->cr4 & CR4_PAE ? PAGING_PAE : PAGING_32;
}

void mmu_update(struct hw_cpu *cpu)
{
	const struct x86_state *st = cpu->st;
	struct mmu next = cpu->mmu;
	bool paging = (st->cr0 & CR0_PG) != 0;
	bool pcid = paging && (st->cr4 & CR4_PCIDE);

	next.mode = current_mode(st);
	next.ept = (cpu->proc2 & PROC2_EPT) != 0;
	next.eptp = next.ept ? F(cpu, EPT_POINTER) : 0;
	next.ept_ad = (next.eptp & EPTP_AD) != 0;
	next.space = next.ept ? (next.eptp & EPT_ADDR_MASK) | TLB_SPACE_EPT : 0;
	next.tags.space = next.space | (paging ? 0 : TLB_SPACE_UNPAGED);
	next.tags.vpid = cpu->proc2 & PROC2_VPID ? (uint16_t)F(cpu, VPID) : 0;
	next.tags.pcid = pcid ? (uint16_t)(st->cr3 & CR3_PCID_MASK) : 0;
	next.wp = (st->cr0 & CR0_WP) != 0;
	next.smep = paging && (st->cr4 & CR4_SMEP);
	next.smap = paging && (st->cr4 & CR4_SMAP);
	next.pse = (st->cr4 & CR4_PSE) != 0;
	next.pge = (st->cr4 & CR4_PGE) != 0;
	next.nxe = next.mode >= PAGING_PAE && (st->efer & EFER_NXE);
	next.address_bits =
		((UINT64_C(1) << plat_maxphyaddr(cpu->model->plat)) - 1) & PTE_ADDR_MASK;
	if (next.tags.space != cpu->mmu.tags.space || next.tags.vpid != cpu->mmu.tags.vpid ||
	    next.tags.pcid != cpu->mmu.tags.pcid || next.mode != cpu->mmu.mode ||
	    next.eptp != cpu->mmu.eptp || next.ept != cpu->mmu.ept || next.wp != cpu->mmu.wp ||
	    next.smep != cpu->mmu.smep || next.smap != cpu->mmu.smap || next.nxe != cpu->mmu.nxe)
		x86_front_flush(cpu->x86);
	cpu->mmu = next;
}

/* --- raising ---------------------------------------------------------------------- */

static enum x86_result page_fault(struct hw_cpu *cpu, uint64_t linear, uint32_t access,
				  uint32_t why)
{
	struct x86_fault *f = x86_pending(cpu->x86);
	uint32_t error = why;

	if (access & X86_USER)
		error |= PFEC_U;
	if (access & X86_WRITE)
		error |= PFEC_W;
	if ((access & X86_EXEC) && (cpu->mmu.nxe || cpu->mmu.smep))
		error |= PFEC_I;
	*f = (struct x86_fault){
		.vector = VECTOR_PF, .has_error = true, .error = error, .cr2 = linear};
	tlb_drop_page_fault(cpu, linear);
	return X86_FAULT;
}

static enum x86_result ept_exit(struct hw_cpu *cpu, enum gpa_outcome outcome, uint64_t gpa_addr,
				uint64_t qualification, uint64_t linear)
{
	if (outcome == GPA_MISCONFIG) {
		exit_with(cpu, EXIT_EPT_MISCONFIG, 0);
		cpu->exit.gpa = gpa_addr;
		return X86_EXIT;
	}
	exit_with(cpu, EXIT_EPT_VIOLATION, qualification);
	cpu->exit.gpa = gpa_addr;
	cpu->exit.linear = qualification & EPTV_LINEAR_VALID ? linear : 0;
	tlb_drop_ept_violation(cpu, gpa_addr, (qualification & EPTV_LINEAR_VALID) != 0, linear);
	return X86_EXIT;
}

/* Bits 2:0 of the qualification for an access to the page itself. */
static uint64_t access_bits(uint32_t access)
{
	return ((access & X86_READ) ? EPTV_READ : 0) | ((access & X86_WRITE) ? EPTV_WRITE : 0) |
	       ((access & X86_EXEC) ? EPTV_FETCH : 0);
}

/* --- the guest's dimension -------------------------------------------------------- */

/* Translates the address of the table for w->level and remembers its page's rights. */
static enum x86_result locate_table(struct walk *w)
{
	struct hw_cpu *cpu = w->cpu;
	struct gpa_map map;
	/* With A/D flags for EPT, accesses to guest paging structures count as writes. */
	uint64_t need = cpu->mmu.ept_ad ? EPT_R | EPT_W : EPT_R;
	enum gpa_outcome outcome = gpa_translate(cpu, w->table_gpa, need, &map);

	w->refs_ept += map.refs;
	if (outcome != GPA_OK) {
		uint64_t at = w->table_gpa;
		uint64_t index = w->linear >> level_shift(cpu->mmu.mode, w->level);
		const struct mode_info *m = &mode_info[cpu->mmu.mode];

		at += (index & ((1u << m->index_bits) - 1)) * m->entry_bytes;
		return ept_exit(cpu, outcome, at,
				need | map.permission << EPTV_ENTRY_SHIFT | EPTV_LINEAR_VALID,
				w->linear);
	}
	w->table_hpa = map.hpa;
	w->table_flags = (uint8_t)(map.permission << TLB_EPT_SHIFT | (map.dirty ? TLB_DIRTY : 0));
	return X86_OK;
}

/* Sets A or D in a guest entry: a write as EPT sees it. */
static enum x86_result guest_set_flags(struct walk *w, uint64_t offset, uint64_t entry,
				       uint64_t flags, bool *ret_changed)
{
	struct hw_cpu *cpu = w->cpu;
	unsigned bytes = mode_info[cpu->mmu.mode].entry_bytes;

	if (!(w->table_flags & TLB_EPT_W)) {
		uint64_t rights = (w->table_flags & TLB_EPT_RWX) >> TLB_EPT_SHIFT;

		return ept_exit(cpu, GPA_VIOLATION, w->table_gpa + offset,
				EPTV_WRITE | rights << EPTV_ENTRY_SHIFT | EPTV_LINEAR_VALID,
				w->linear);
	}
	*ret_changed = !mem_set_flags(cpu, w->table_hpa + offset, bytes, entry, flags);
	return X86_OK;
}

static bool guest_leaf(const struct hw_cpu *cpu, uint64_t entry, unsigned level)
{
	if (level == 1)
		return true;
	if (!(entry & PTE_PS))
		return false;
	if (cpu->mmu.mode == PAGING_32)
		return cpu->mmu.pse;
	return level == 2 || (level == 3 && cpu->model->features.page_1g);
}

/* Reserved bits of a present entry ("Hierarchical Paging Structures", the tables of formats). */
static bool guest_reserved(const struct hw_cpu *cpu, uint64_t entry, unsigned level)
{
	bool leaf = guest_leaf(cpu, entry, level);
	uint64_t reserved;

	if (cpu->mmu.mode == PAGING_32) {
		unsigned width = plat_maxphyaddr(cpu->model->plat);
		unsigned high = width > 40 ? 8 : width - 32;

		if (level == 1 || !leaf)
			return false;
		/* Bits 20:13 are address bits 39:32, as far as they exist. */
		reserved = cpu->model->features.pse36 ? 0x3fe000u & ~(((1u << high) - 1) << 13)
						      : 0x3fe000u;
		return (entry & reserved) != 0;
	}
	reserved = PTE_ADDR_MASK & ~cpu->mmu.address_bits;
	if (!cpu->mmu.nxe)
		reserved |= PTE_XD;
	if (cpu->mmu.mode == PAGING_PAE)
		reserved |= UINT64_C(0x7ff) << 52;
	if (level >= 3 && !leaf)
		reserved |= PTE_PS;
	if (leaf && level > 1)
		reserved |= (UINT64_C(1) << level_shift(cpu->mmu.mode, level)) - 0x2000;
	return (entry & reserved) != 0;
}

static uint64_t leaf_base(const struct hw_cpu *cpu, uint64_t entry, unsigned shift)
{
	if (cpu->mmu.mode == PAGING_32 && shift == 22)
		return (entry & 0xffc00000u) | (entry >> 13 & 0xff) << 32;
	if (cpu->mmu.mode == PAGING_32)
		entry &= 0xffffffffu;
	return entry & PTE_ADDR_MASK & ~((UINT64_C(1) << shift) - 1);
}

static void accumulate(uint8_t *flags, uint64_t entry, bool nxe)
{
	if (!(entry & PTE_W))
		*flags &= (uint8_t)~TLB_GUEST_W;
	if (!(entry & PTE_U))
		*flags &= (uint8_t)~TLB_GUEST_U;
	if (nxe && (entry & PTE_XD))
		*flags |= TLB_GUEST_XD;
}

static enum tlb_array_id psc_array(unsigned level)
{
	return level == 4 ? TLB_PSC_PML4 : level == 3 ? TLB_PSC_PDPT : TLB_PSC_PD;
}

/* The entry of w->level was used and points to the table that w now holds. */
static void psc_fill(const struct walk *w, unsigned level)
{
	struct hw_cpu *cpu = w->cpu;
	unsigned shift = level_shift(cpu->mmu.mode, level);
	const struct tlb_entry e = {
		.linear = w->linear >> shift << shift,
		.host = w->table_hpa,
		.gpa = w->table_gpa,
		.space = cpu->mmu.tags.space,
		.owner = cpu->account,
		.vpid = cpu->mmu.tags.vpid,
		.pcid = cpu->mmu.tags.pcid,
		.shift = (uint8_t)shift,
		.flags = (uint8_t)((w->flags & (TLB_GUEST_W | TLB_GUEST_U | TLB_GUEST_XD)) |
				   w->table_flags),
	};

	tlb_insert_fresh(&cpu->tlb, psc_array(level), &e, ++cpu->tlb.clock);
}

/* Begins at the deepest table that a paging-structure cache knows. */
static bool psc_start(struct walk *w)
{
	struct hw_cpu *cpu = w->cpu;

	for (unsigned level = 2; level <= mode_info[cpu->mmu.mode].levels; level++) {
		enum tlb_array_id id = psc_array(level);
		int found = tlb_find(&cpu->tlb, id, level_shift(cpu->mmu.mode, level), w->linear,
				     &cpu->mmu.tags);
		const struct tlb_entry *e;

		if (found < 0)
			continue;
		e = tlb_entry_at(&cpu->tlb, id, found);
		tlb_touch(&cpu->tlb, id, found);
		w->level = level - 1;
		w->table_hpa = e->host;
		w->table_gpa = e->gpa;
		w->flags = e->flags & (TLB_GUEST_W | TLB_GUEST_U | TLB_GUEST_XD);
		w->table_flags = e->flags & (TLB_EPT_RWX | TLB_DIRTY);
		w->shortened = true;
		cpu->account->psc_hits++;
		return true;
	}
	return false;
}

/* Begins at CR3 (PAE: at the PDPTE register). */
static enum x86_result root_start(struct walk *w)
{
	struct hw_cpu *cpu = w->cpu;
	uint64_t pdpte;

	w->level = mode_info[cpu->mmu.mode].levels;
	w->flags = TLB_GUEST_W | TLB_GUEST_U;
	switch (cpu->mmu.mode) {
	case PAGING_PAE:
		pdpte = cpu->mmu.pdpte[w->linear >> 30 & 3];
		if (!(pdpte & PTE_P))
			return page_fault(cpu, w->linear, w->access, 0);
		w->table_gpa = pdpte & PTE_ADDR_MASK;
		break;
	case PAGING_32:
		w->table_gpa = cpu->st->cr3 & 0xfffff000u;
		break;
	default:
		w->table_gpa = cpu->st->cr3 & PTE_ADDR_MASK;
	}
	return locate_table(w);
}

/* Does the guest dimension allow the access? ("Access Rights") */
static bool guest_allows(const struct hw_cpu *cpu, unsigned flags, uint32_t access)
{
	const struct mmu *m = &cpu->mmu;
	bool user = (access & X86_USER) != 0;

	if (m->mode == PAGING_OFF)
		return true;
	if (user && !(flags & TLB_GUEST_U))
		return false;
	if (access & X86_EXEC)
		return !(flags & TLB_GUEST_XD) && (user || !m->smep || !(flags & TLB_GUEST_U));
	if (m->smap && !user && (flags & TLB_GUEST_U) &&
	    ((access & X86_IMPLICIT) || !(cpu->st->rflags & RFLAGS_AC)))
		return false;
	return !(access & X86_WRITE) || (flags & TLB_GUEST_W) || (!user && !m->wp);
}

static uint64_t ept_need(uint32_t access)
{
	return ((access & X86_READ) ? EPT_R : 0) | ((access & X86_WRITE) ? EPT_W : 0) |
	       ((access & X86_EXEC) ? EPT_X : 0);
}

/* Reads the entry of w->level, checks it, sets its A (and D) flag. */
static enum x86_result use_entry(struct walk *w, uint64_t *ret_entry, bool *ret_leaf)
{
	struct hw_cpu *cpu = w->cpu;
	const struct mode_info *m = &mode_info[cpu->mmu.mode];
	uint64_t index = w->linear >> level_shift(cpu->mmu.mode, w->level);
	uint64_t offset = (index & ((1u << m->index_bits) - 1)) * m->entry_bytes;
	uint64_t entry, want;
	uint8_t flags;
	bool changed = false;
	enum x86_result r;

	do {
		entry = m->entry_bytes == 8 ? mem_read64(cpu, w->table_hpa + offset)
					    : mem_read32(cpu, w->table_hpa + offset);
		w->refs_guest++;
		if (!(entry & PTE_P))
			return page_fault(cpu, w->linear, w->access, 0);
		if (guest_reserved(cpu, entry, w->level))
			return page_fault(cpu, w->linear, w->access, PFEC_P | PFEC_RSVD);
		flags = w->flags;
		accumulate(&flags, entry, cpu->mmu.nxe);
		*ret_leaf = guest_leaf(cpu, entry, w->level);
		want = PTE_A;
		if (*ret_leaf) {
			if (!guest_allows(cpu, flags, w->access))
				return page_fault(cpu, w->linear, w->access, PFEC_P);
			if (w->access & X86_WRITE)
				want |= PTE_D;
		}
		if (want & ~entry) {
			r = guest_set_flags(w, offset, entry, want, &changed);
			if (r != X86_OK)
				return r;
		}
	} while (changed);
	w->flags = flags;
	*ret_entry = entry | want;
	return X86_OK;
}

/* Guest-virtual to guest-physical. */
static enum x86_result guest_walk(struct walk *w, uint64_t *ret_gpa, unsigned *ret_shift)
{
	struct hw_cpu *cpu = w->cpu;
	enum x86_result r;
	uint64_t entry = 0;
	bool leaf;

	if (cpu->mmu.mode == PAGING_OFF) {
		w->flags = TLB_GUEST_W | TLB_GUEST_U | TLB_DIRTY;
		*ret_gpa = w->linear;
		*ret_shift = 0;
		return X86_OK;
	}
	if (!psc_start(w)) {
		r = root_start(w);
		if (r != X86_OK)
			return r;
	}
	for (;;) {
		unsigned shift = level_shift(cpu->mmu.mode, w->level);

		r = use_entry(w, &entry, &leaf);
		if (r != X86_OK)
			return r;
		if (leaf) {
			if (entry & PTE_D)
				w->flags |= TLB_DIRTY;
			if (cpu->mmu.pge && (entry & PTE_G))
				w->flags |= TLB_GLOBAL;
			*ret_gpa = leaf_base(cpu, entry, shift) |
				   (w->linear & ((UINT64_C(1) << shift) - 1));
			*ret_shift = shift;
			return X86_OK;
		}
		w->table_gpa = leaf_base(cpu, entry, 12);
		w->level--;
		r = locate_table(w);
		if (r != X86_OK)
			return r;
		psc_fill(w, w->level + 1);
	}
}

/* --- filling and using the TLB ---------------------------------------------------- */

/* The part of `e` that a page of this size around `linear` covers. */
static struct tlb_entry cut(const struct tlb_entry *e, uint64_t linear, unsigned shift)
{
	struct tlb_entry r = *e;
	uint64_t inside;

	if (shift >= e->shift)
		return r;
	inside = (linear & ((UINT64_C(1) << e->shift) - 1)) >> shift << shift;
	r.linear += inside;
	r.host += inside;
	r.gpa += inside;
	r.shift = (uint8_t)shift;
	return r;
}

/* fresh: the lookup before found nothing there. */
static uint64_t *fill_first_level(struct hw_cpu *cpu, const struct tlb_entry *e, uint64_t linear,
				  bool fetch, bool fresh)
{
	unsigned shift;
	enum tlb_array_id id = tlb_first_level(&cpu->tlb, fetch, e->shift, &shift);
	uint64_t now = fetch ? x86_fetch_clock(cpu->x86) : x86_data_clock(cpu->x86);
	struct tlb_entry piece;
	int i;

	if (id == TLB_ARRAYS)
		return NULL;
	piece = cut(e, linear, shift);
	piece.owner = cpu->account;
	i = fresh ? tlb_insert_fresh(&cpu->tlb, id, &piece, now)
		  : tlb_insert(&cpu->tlb, id, &piece, now);
	return &cpu->tlb.array[id].stamp[i];
}

static void fill_second_level(struct hw_cpu *cpu, const struct tlb_entry *e, uint64_t linear,
			      bool fresh)
{
	unsigned shift;
	enum tlb_array_id id = tlb_second_level(&cpu->tlb, e->shift, &shift);
	struct tlb_entry piece;

	if (id == TLB_ARRAYS)
		return;
	piece = cut(e, linear, shift);
	if (fresh)
		tlb_insert_fresh(&cpu->tlb, id, &piece, ++cpu->tlb.clock);
	else
		tlb_insert(&cpu->tlb, id, &piece, ++cpu->tlb.clock);
}

/* What the executor's front may keep of an entry, and where its memory is. */
static void answer(struct hw_cpu *cpu, const struct tlb_entry *e, uint64_t linear, uint32_t access,
		   uint64_t *stamp, struct x86_xlate *ret)
{
	uint64_t inside = linear & ((UINT64_C(1) << e->shift) - 1) & VMX_PAGE_MASK;
	uint32_t who = access & (X86_USER | X86_IMPLICIT);
	bool fetch = (access & X86_EXEC) != 0;

	ret->hpa = e->host | inside;
	ret->host = mem_ptr(cpu, ret->hpa);
	ret->stamp = ret->host ? stamp : NULL; /* memory may come to be there */
	ret->allow = access & (X86_READ | X86_WRITE | X86_EXEC);
	if (!fetch) {
		ret->allow = 0;
		if ((e->flags & TLB_EPT_R) && guest_allows(cpu, e->flags, X86_READ | who))
			ret->allow |= X86_READ;
		if ((e->flags & TLB_EPT_W) && (e->flags & TLB_DIRTY) &&
		    guest_allows(cpu, e->flags, X86_WRITE | who))
			ret->allow |= X86_WRITE;
		/* The executor keeps accesses with EFLAGS.AC set apart; implicit ones pass by it.
		 */
		if (access & X86_IMPLICIT)
			ret->stamp = NULL;
	}
}

/* A cached entry answers a lookup: allowed, or the event that its permissions give. */
enum use { USE_OK, USE_WALK, USE_FAULT, USE_VIOLATION };

static enum use judge(const struct hw_cpu *cpu, const struct tlb_entry *e, uint32_t access)
{
	uint64_t rights = (e->flags & TLB_EPT_RWX) >> TLB_EPT_SHIFT;
	uint64_t need = ept_need(access);

	if (!guest_allows(cpu, e->flags, access))
		return USE_FAULT;
	if ((rights & need) != need)
		return USE_VIOLATION;
	return (access & X86_WRITE) && !(e->flags & TLB_DIRTY) ? USE_WALK : USE_OK;
}

static enum x86_result deny(struct hw_cpu *cpu, const struct tlb_entry *e, enum use use,
			    uint64_t linear, uint32_t access)
{
	uint64_t rights = (e->flags & TLB_EPT_RWX) >> TLB_EPT_SHIFT;
	uint64_t at = e->gpa | (linear & ((UINT64_C(1) << e->shift) - 1));

	if (use == USE_FAULT)
		return page_fault(cpu, linear, access, PFEC_P);
	return ept_exit(cpu, GPA_VIOLATION, at,
			access_bits(access) | rights << EPTV_ENTRY_SHIFT | EPTV_LINEAR_VALID |
				EPTV_FINAL,
			linear);
}

static enum x86_result walk_and_fill(struct hw_cpu *cpu, uint64_t linear, uint32_t access,
				     bool fresh, struct x86_xlate *ret)
{
	struct walk w = {.cpu = cpu, .linear = linear, .access = access};
	struct tlb_entry e;
	struct gpa_map map;
	enum gpa_outcome outcome;
	enum x86_result r;
	uint64_t target, inside;
	unsigned guest_shift, shift;

	cpu->account->walks++;
	r = guest_walk(&w, &target, &guest_shift);
	if (r == X86_OK) {
		outcome = gpa_translate(cpu, target, ept_need(access), &map);
		w.refs_ept += map.refs;
		if (outcome != GPA_OK)
			r = ept_exit(cpu, outcome, target,
				     access_bits(access) | map.permission << EPTV_ENTRY_SHIFT |
					     EPTV_LINEAR_VALID | EPTV_FINAL,
				     linear);
	}
	cpu->account->walk_refs_guest += w.refs_guest;
	if (r != X86_OK) {
		cpu->account->walks_faulted++;
		return r;
	}
	cpu->account->walk_refs_histogram[w.refs_guest + w.refs_ept < 63 ? w.refs_guest + w.refs_ept
									 : 63]++;
	shift = guest_shift && guest_shift < map.shift ? guest_shift : map.shift;
	if (shift == 22)
		shift = 21; /* no array holds 4 MiB pages */
	inside = (UINT64_C(1) << shift) - 1;
	e = (struct tlb_entry){
		.linear = linear & ~inside,
		.host = map.hpa & ~inside,
		.gpa = target & ~inside,
		.space = cpu->mmu.tags.space,
		.owner = cpu->account,
		.vpid = cpu->mmu.tags.vpid,
		.pcid = cpu->mmu.tags.pcid,
		.shift = (uint8_t)shift,
		.guest_shift = (uint8_t)guest_shift,
		.flags = (uint8_t)((w.flags & ~TLB_DIRTY) |
				   (map.permission & EPT_RWX) << TLB_EPT_SHIFT |
				   ((w.flags & TLB_DIRTY) && map.dirty ? TLB_DIRTY : 0)),
	};
	fill_second_level(cpu, &e, linear, fresh);
	answer(cpu, &e, linear, access,
	       fill_first_level(cpu, &e, linear, (access & X86_EXEC) != 0, fresh), ret);
	return X86_OK;
}

static void displace(struct hw_cpu *cpu, enum tlb_array_id id, int index)
{
	struct tlb_entry *e = tlb_entry_at(&cpu->tlb, id, index);

	if (e->owner == cpu->account)
		e->owner->evicted_own++;
	else
		e->owner->evicted_by_others++;
	tlb_remove(&cpu->tlb, id, index);
}

static int find_first_level(struct hw_cpu *cpu, uint64_t linear, bool fetch,
			    enum tlb_array_id *ret_id)
{
	static const struct {
		uint8_t shift, fetch, data;
	} order[] = {
		{12, TLB_I1_4K, TLB_D1_4K},
		{21, TLB_I1_2M, TLB_D1_2M},
		{30, TLB_ARRAYS, TLB_D1_1G},
	};

	for (size_t i = 0; i < VMX_ARRAY_SIZE(order); i++) {
		unsigned id = fetch ? order[i].fetch : order[i].data;
		int found;

		if (id == TLB_ARRAYS)
			continue;
		*ret_id = (enum tlb_array_id)id;
		found = tlb_find(&cpu->tlb, *ret_id, order[i].shift, linear, &cpu->mmu.tags);
		if (found >= 0)
			return found;
	}
	return -1;
}

static int find_second_level(struct hw_cpu *cpu, uint64_t linear, enum tlb_array_id *ret_id)
{
	static const struct {
		uint8_t shift, id;
	} order[] = {{12, TLB_L2}, {21, TLB_L2}, {30, TLB_L2_1G}};

	for (size_t i = 0; i < VMX_ARRAY_SIZE(order); i++) {
		int found;

		*ret_id = (enum tlb_array_id)order[i].id;
		found = tlb_find(&cpu->tlb, *ret_id, order[i].shift, linear, &cpu->mmu.tags);
		if (found >= 0)
			return found;
	}
	return -1;
}

/*
 * A write has walked afresh because an entry's D flag was not known to be set. If the
 * page has become larger since, that entry would still be found first: it goes.
 */
static void displace_clean(struct hw_cpu *cpu, uint64_t linear)
{
	enum tlb_array_id id;
	int found;

	while ((found = find_first_level(cpu, linear, false, &id)) >= 0 &&
	       !(tlb_entry_at(&cpu->tlb, id, found)->flags & TLB_DIRTY))
		displace(cpu, id, found);
	while ((found = find_second_level(cpu, linear, &id)) >= 0 &&
	       !(tlb_entry_at(&cpu->tlb, id, found)->flags & TLB_DIRTY))
		displace(cpu, id, found);
}

static void count_l2_hit(struct hw_cpu *cpu, bool fetch)
{
	if (fetch) {
		cpu->account->fetch_hits_l2++;
		cpu->fetch_not_l1++;
	} else {
		cpu->account->data_hits_l2++;
		cpu->data_not_l1++;
	}
}

static void count_miss(struct hw_cpu *cpu, bool fetch)
{
	if (fetch) {
		cpu->account->fetch_misses++;
		cpu->fetch_not_l1++;
	} else {
		cpu->account->data_misses++;
		cpu->data_not_l1++;
	}
}

enum x86_result mmu_translate(void *env, uint64_t linear, uint32_t access, struct x86_xlate *ret)
{
	struct hw_cpu *cpu = env;
	bool fetch = (access & X86_EXEC) != 0, clean = false;
	enum tlb_array_id id;
	enum x86_result r;
	struct tlb_entry e;
	enum use use;
	int found;

	found = find_first_level(cpu, linear, fetch, &id);
	if (found >= 0) {
		e = *tlb_entry_at(&cpu->tlb, id, found);
		use = judge(cpu, &e, access);
		if (use == USE_OK) {
			uint64_t *stamp = &cpu->tlb.array[id].stamp[found];

			*stamp = fetch ? x86_fetch_clock(cpu->x86) : x86_data_clock(cpu->x86);
			answer(cpu, &e, linear, access, stamp, ret);
			return X86_OK;
		}
		if (use != USE_WALK)
			return deny(cpu, &e, use, linear, access);
		clean = true;
	}
	found = find_second_level(cpu, linear, &id);
	if (found >= 0) {
		e = *tlb_entry_at(&cpu->tlb, id, found);
		use = judge(cpu, &e, access);
		if (use == USE_WALK || clean) {
			clean = true;
		} else {
			count_l2_hit(cpu, fetch);
			tlb_touch(&cpu->tlb, id, found);
			if (use != USE_OK)
				return deny(cpu, &e, use, linear, access);
			answer(cpu, &e, linear, access,
			       fill_first_level(cpu, &e, linear, fetch, true), ret);
			return X86_OK;
		}
	}
	count_miss(cpu, fetch);
	r = walk_and_fill(cpu, linear, access, !clean, ret);
	if (r == X86_OK && clean)
		displace_clean(cpu, linear);
	return r;
}

/* --- PDPTE registers -------------------------------------------------------------- */

bool mmu_pdpte_ok(const struct hw_cpu *cpu, uint64_t pdpte)
{
	uint64_t address = ((UINT64_C(1) << plat_maxphyaddr(cpu->model->plat)) - 1) & PTE_ADDR_MASK;
	uint64_t allowed = address | PTE_P | PTE_PWT | PTE_PCD | 0xe00;

	return !(pdpte & PTE_P) || !(pdpte & ~allowed);
}

bool mmu_load_pdptes(struct hw_cpu *cpu, uint64_t cr3, uint64_t ret_pdpte[4],
		     enum x86_result *ret_bad)
{
	uint64_t base = cr3 & 0xffffffe0u, value[4];
	struct gpa_map map;
	enum gpa_outcome outcome = gpa_translate(cpu, base, EPT_R, &map);

	if (outcome != GPA_OK) {
		/* Not the translation of a linear address: bit 7 is clear. */
		*ret_bad = ept_exit(cpu, outcome, base,
				    EPTV_READ | map.permission << EPTV_ENTRY_SHIFT, 0);
		return false;
	}
	for (unsigned i = 0; i < 4; i++) {
		value[i] = mem_read64(cpu, map.hpa + 8 * i);
		if (!mmu_pdpte_ok(cpu, value[i])) {
			*ret_bad = X86_FAULT;
			return false;
		}
	}
	memcpy(ret_pdpte, value, sizeof(value));
	return true;
}
