/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The two-dimensional walk; see walk.h. Sources: SDM volume 3, "Hierarchical Paging
 * Structures: an Overview" and the sections on each paging mode, "Access Rights",
 * "Page-Fault Exceptions", "EPT Translation Mechanism", "Exit Qualification for EPT
 * Violations".
 */
#include "core/walk.h"
#include "core/as_internal.h"

#define CR0_WP VMX_BIT(16)
#define CR0_PG VMX_BIT(31)
#define CR4_PSE VMX_BIT(4)
#define CR4_PAE VMX_BIT(5)
#define CR4_PGE VMX_BIT(7)
#define CR4_LA57 VMX_BIT(12)
#define CR4_SMEP VMX_BIT(20)
#define CR4_SMAP VMX_BIT(21)
#define EFER_LMA VMX_BIT(10)
#define EFER_NXE VMX_BIT(11)

/* A guest paging-structure entry. */
#define PTE_P VMX_BIT(0)
#define PTE_W VMX_BIT(1)
#define PTE_U VMX_BIT(2)
#define PTE_A VMX_BIT(5)
#define PTE_D VMX_BIT(6)
#define PTE_PS VMX_BIT(7)
#define PTE_G VMX_BIT(8)
#define PTE_NX VMX_BIT(63)
#define PTE_ADDR UINT64_C(0x000ffffffffff000)

/* #PF error code. */
#define PF_P 1u
#define PF_W 2u
#define PF_U 4u
#define PF_RSVD 8u
#define PF_I 16u

/* Exit qualification of an EPT violation. */
#define QUAL_READ VMX_BIT(0)
#define QUAL_WRITE VMX_BIT(1)
#define QUAL_FETCH VMX_BIT(2)
#define QUAL_ALLOWED_SHIFT 3
#define QUAL_LINEAR_VALID VMX_BIT(7)
#define QUAL_FINAL VMX_BIT(8)
#define QUAL_LINEAR_USER VMX_BIT(9)
#define QUAL_LINEAR_WRITABLE VMX_BIT(10)
#define QUAL_LINEAR_XD VMX_BIT(11)
/* IA32_VMX_EPT_VPID_CAP: advanced VM-exit information for EPT violations. */
#define CAP_ADVANCED_EXIT_INFO VMX_BIT(22)

/* MAXPHYADDR up to which PSE-36 gives address bits ("32-Bit Paging"). */
#define PSE36_BITS 40u

/*
 * A guest paging mode. Levels count from `levels` (the root's entries) to 1. A level may
 * have a large page where large[level] is set.
 */
struct mode {
	unsigned levels;
	unsigned entry_bytes;
	unsigned index_bits;
	unsigned root_index_bits;
	unsigned linear_bits; /* what is translated; above it: sign extension or nothing */
	bool large[6];
	bool large_needs_pse;
	bool has_nx;
	bool pdpte_root; /* the root's entries are PAE's PDPTEs: no W, U, A, XD */
};

static const struct mode mode_32 = {
	.levels = 2,
	.entry_bytes = 4,
	.index_bits = 10,
	.root_index_bits = 10,
	.linear_bits = 32,
	.large = {[2] = true},
	.large_needs_pse = true,
};

static const struct mode mode_pae = {
	.levels = 3,
	.entry_bytes = 8,
	.index_bits = 9,
	.root_index_bits = 2,
	.linear_bits = 32,
	.large = {[2] = true},
	.has_nx = true,
	.pdpte_root = true,
};

static const struct mode mode_4level = {
	.levels = 4,
	.entry_bytes = 8,
	.index_bits = 9,
	.root_index_bits = 9,
	.linear_bits = 48,
	.large = {[2] = true, [3] = true},
	.has_nx = true,
};

static const struct mode mode_5level = {
	.levels = 5,
	.entry_bytes = 8,
	.index_bits = 9,
	.root_index_bits = 9,
	.linear_bits = 57,
	.large = {[2] = true, [3] = true},
	.has_nx = true,
};

/* NULL: paging is off. */
static const struct mode *mode_of(const struct core_paging_state *ps)
{
	if (!(ps->cr0 & CR0_PG))
		return NULL;
	if (ps->efer & EFER_LMA)
		return ps->cr4 & CR4_LA57 ? &mode_5level : &mode_4level;
	return ps->cr4 & CR4_PAE ? &mode_pae : &mode_32;
}

/* The walk under way. */
struct walk {
	struct core_as *as;
	const struct core_paging_state *ps;
	const struct mode *mode;
	uint64_t linear;
	uint32_t access;
	struct core_walk_result *ret;

	/* Of the guest entries used so far, ANDed. */
	bool writable, user, executable;
	uint64_t gpa; /* the final address */
	/* Entries used: where, for A and D. */
	struct {
		uint64_t gpa, entry;
		uint64_t ept_allow;
		bool has_accessed;
	} used[5];
	unsigned used_count;
	/* The last EPT translation. */
	uint64_t ept_allow, ept_hpa, ept_page_bytes;
};

static struct core_walk_ref *add_ref(struct walk *w)
{
	/* The bound is that of a 5-level guest on 5-level EPT: no walk is longer. */
	return &w->ret->refs[w->ret->count++];
}

/* --- the EPT dimension ------------------------------------------------------------------- */

/*
 * Bits 0 to 2. With A/D on, an access to a guest paging structure counts as a write
 * and sets both ("Exit Qualification for EPT Violations").
 */
static uint64_t access_bits(const struct walk *w, bool final, bool setting_ad)
{
	if (final)
		return w->access;
	if (setting_ad)
		return QUAL_WRITE;
	return w->as->ept.accessed_dirty ? QUAL_READ | QUAL_WRITE : QUAL_READ;
}

static bool violation(struct walk *w, uint64_t a, bool final, uint64_t accessed, uint64_t allow)
{
	struct core_walk_result *r = w->ret;

	r->outcome = CORE_WALK_EPT_VIOLATION;
	r->fault_gpa = gpa(a);
	r->qualification = accessed | allow << QUAL_ALLOWED_SHIFT | QUAL_LINEAR_VALID;
	if (!final)
		return false;
	r->qualification |= QUAL_FINAL;
	if (!(w->as->core->caps.ept_vpid & CAP_ADVANCED_EXIT_INFO))
		return false;
	/* With paging off every linear address is user-mode, writable and executable. */
	r->qualification |= (w->user ? QUAL_LINEAR_USER : 0) |
			    (w->writable ? QUAL_LINEAR_WRITABLE : 0) |
			    (w->executable ? 0 : QUAL_LINEAR_XD);
	return false;
}

/*
 * Translates a guest-physical address, listing each reference; for_level 0: the final
 * one. false: the outcome is written. The lock is held.
 */
static bool ept_translate(struct walk *w, uint64_t a, unsigned for_level)
{
	const struct ept *ept = &w->as->ept;
	bool final = for_level == 0;
	uint64_t need = access_bits(w, final, false), allow = EPT_RWX, entry;
	hpa_t at = ept->root_hpa;
	unsigned level = ept->levels;

	/* Past what the walk can translate: nothing is mapped there. */
	if (a >> (ept_shift(level) + 9) != 0)
		return violation(w, a, final, need, 0);
	for (;; level--) {
		struct core_walk_ref *ref;

		at.v += ept_index(a, level) * sizeof(uint64_t);
		entry = plat_load((uint64_t *)plat_hpa_ptr(ept->plat, at));
		ref = add_ref(w);
		*ref = (struct core_walk_ref){
			.dimension = CORE_WALK_EPT,
			.level = (uint8_t)level,
			.for_level = (uint8_t)for_level,
			.hpa = at.v,
			.gpa = a,
			.entry = entry,
		};
		w->ret->refs_ept++;
		allow &= entry & EPT_RWX;
		if (!ept_present(entry, false))
			return violation(w, a, final, need, 0);
		if (ept_misconfigured(&ept->rules, entry, level)) {
			w->ret->outcome = CORE_WALK_EPT_MISCONFIG;
			w->ret->fault_gpa = gpa(a);
			return false;
		}
		if (ept_is_leaf(entry, level)) {
			ref->leaf = 1;
			break;
		}
		at = hpa(entry & EPT_ADDR);
	}
	if (need & ~allow)
		return violation(w, a, final, need, allow);
	w->ept_allow = allow;
	w->ept_page_bytes = ept_span_bytes(level);
	w->ept_hpa = ept_leaf_addr(entry, level) + (a & (w->ept_page_bytes - 1));
	return true;
}

/* --- the guest dimension --------------------------------------------------------------------- */

static bool page_fault(struct walk *w, uint32_t why)
{
	const struct core_paging_state *ps = w->ps;
	bool nx_on = (ps->cr4 & CR4_PAE) && (ps->efer & EFER_NXE);

	w->ret->outcome = CORE_WALK_PAGE_FAULT;
	w->ret->error_code = why;
	if (w->access == CORE_PROT_W)
		w->ret->error_code |= PF_W;
	if (ps->user)
		w->ret->error_code |= PF_U;
	if (w->access == CORE_PROT_X && (nx_on || (ps->cr4 & CR4_SMEP)))
		w->ret->error_code |= PF_I;
	return false;
}

static uint64_t bits_between(unsigned high, unsigned low)
{
	return high < low ? 0 : ((UINT64_C(2) << high) - 1) & ~((UINT64_C(1) << low) - 1);
}

/* Reserved bits of a present entry of this level. */
static uint64_t reserved_bits(const struct walk *w, uint64_t entry, unsigned level, bool large)
{
	const struct mode *m = w->mode;
	unsigned maxphyaddr = w->as->ept.rules.maxphyaddr;
	uint64_t reserved;

	if (m->entry_bytes == 4) {
		unsigned high = maxphyaddr < PSE36_BITS ? maxphyaddr : PSE36_BITS;

		/* Bits 20:13 are address bits 39:32 as far as there are any; 21 is reserved. */
		return large ? bits_between(21, 13 + (high - 32)) : 0;
	}
	if (m->pdpte_root && level == m->levels)
		return bits_between(2, 1) | bits_between(8, 5) | bits_between(63, maxphyaddr);
	reserved = bits_between(m == &mode_pae ? 62 : 51, maxphyaddr);
	if (!(w->ps->efer & EFER_NXE))
		reserved |= PTE_NX;
	if (large)
		reserved |= bits_between(12 + (level - 1) * m->index_bits - 1, 13);
	else if ((entry & PTE_PS) && level > 1)
		reserved |= PTE_PS; /* no large page at this level */
	return reserved;
}

/* Guest-physical address of the page that a leaf entry maps. */
static uint64_t leaf_page(const struct mode *m, uint64_t entry, unsigned level)
{
	if (level == 1)
		return entry & PTE_ADDR;
	if (m->entry_bytes == 4)
		return (entry & UINT64_C(0xffc00000)) | (entry >> 13 & 0xff) << 32;
	return entry & PTE_ADDR & ~((UINT64_C(1) << (12 + (level - 1) * m->index_bits)) - 1);
}

/* Reads the guest entry at guest-physical a, having translated it. */
static bool read_entry(struct walk *w, uint64_t a, unsigned level, uint64_t *ret)
{
	const void *p;

	if (!ept_translate(w, a, level))
		return false;
	p = plat_hpa_ptr(w->as->core->plat, hpa(w->ept_hpa));
	if (w->mode->entry_bytes == 4)
		*ret = p ? plat_load((const uint32_t *)p) : UINT32_MAX;
	else
		*ret = p ? plat_load((const uint64_t *)p) : UINT64_MAX; /* no memory: all ones */
	*add_ref(w) = (struct core_walk_ref){
		.dimension = CORE_WALK_GUEST,
		.level = (uint8_t)level,
		.hpa = w->ept_hpa,
		.gpa = a,
		.entry = *ret,
	};
	w->ret->refs_guest++;
	return true;
}

static uint64_t index_of(const struct walk *w, unsigned level)
{
	const struct mode *m = w->mode;
	unsigned bits = level == m->levels ? m->root_index_bits : m->index_bits;

	return w->linear >> (12 + (level - 1) * m->index_bits) & ((UINT64_C(1) << bits) - 1);
}

/* Where the root table lies, by CR3's format in each mode. */
static uint64_t root_address(const struct walk *w)
{
	if (w->mode == &mode_32)
		return w->ps->cr3 & UINT64_C(0xfffff000);
	if (w->mode == &mode_pae)
		return w->ps->cr3 & UINT64_C(0xffffffe0);
	return w->ps->cr3 & PTE_ADDR;
}

/* Notes that an entry is used: its rights, and that its A flag will be set. */
static void use_entry(struct walk *w, uint64_t a, unsigned level, uint64_t entry, bool in_memory)
{
	bool has_rights = !(w->mode->pdpte_root && level == w->mode->levels);

	if (in_memory) {
		w->used[w->used_count].gpa = a;
		w->used[w->used_count].entry = entry;
		w->used[w->used_count].ept_allow = w->ept_allow;
		w->used[w->used_count].has_accessed = has_rights;
		w->used_count++;
	}
	if (!has_rights)
		return;
	w->writable = w->writable && (entry & PTE_W);
	w->user = w->user && (entry & PTE_U);
	if (w->mode->has_nx && (w->ps->efer & EFER_NXE) && (entry & PTE_NX))
		w->executable = false;
}

/* From the root to the leaf. */
static bool walk_guest_tables(struct walk *w)
{
	const struct mode *m = w->mode;
	uint64_t table = root_address(w);

	for (unsigned level = m->levels;; level--) {
		uint64_t entry, a = table + index_of(w, level) * m->entry_bytes;
		bool in_memory = !(m->pdpte_root && level == m->levels && w->ps->have_pdptes);
		bool large;

		if (!in_memory)
			entry = w->ps->pdpte[index_of(w, level)];
		else if (!read_entry(w, a, level, &entry))
			return false;
		if (!(entry & PTE_P))
			return page_fault(w, 0);
		large = level > 1 && m->large[level] && (entry & PTE_PS) &&
			(!m->large_needs_pse || (w->ps->cr4 & CR4_PSE));
		if (entry & reserved_bits(w, entry, level, large))
			return page_fault(w, PF_P | PF_RSVD);
		use_entry(w, a, level, entry, in_memory);
		if (level == 1 || large) {
			uint64_t bytes = UINT64_C(1) << (12 + (level - 1) * m->index_bits);

			if (in_memory)
				w->ret->refs[w->ret->count - 1].leaf = 1;
			w->gpa = leaf_page(m, entry, level) + (w->linear & (bytes - 1));
			w->ret->guest_page_bytes = bytes;
			w->ret->global = (entry & PTE_G) && (w->ps->cr4 & CR4_PGE);
			return true;
		}
		table = entry & PTE_ADDR;
	}
}

/* The guest's rights for an access in this mode, as CORE_PROT_* ("Determination of Access Rights").
 */
static uint32_t guest_rights(const struct walk *w)
{
	const struct core_paging_state *ps = w->ps;
	uint32_t rights = CORE_PROT_R;

	if (ps->user) {
		if (!w->user)
			return 0;
		return rights | (w->writable ? CORE_PROT_W : 0) | (w->executable ? CORE_PROT_X : 0);
	}
	if (w->writable || !(ps->cr0 & CR0_WP))
		rights |= CORE_PROT_W;
	if (w->user && (ps->cr4 & CR4_SMAP) && !ps->smap_off)
		rights = 0;
	if (w->executable && !(w->user && (ps->cr4 & CR4_SMEP)))
		rights |= CORE_PROT_X;
	return rights;
}

/*
 * A processor sets A in each entry used and D in the leaf of a write; the EPT must let it
 * write there. Nothing is written here.
 */
static bool check_accessed_dirty(struct walk *w)
{
	for (unsigned i = 0; i < w->used_count; i++) {
		bool leaf = i + 1 == w->used_count;
		uint64_t wanted = PTE_A | (leaf && w->access == CORE_PROT_W ? PTE_D : 0);

		if (!w->used[i].has_accessed || (w->used[i].entry & wanted) == wanted)
			continue;
		if (!(w->used[i].ept_allow & EPT_W))
			return violation(w, w->used[i].gpa, false, access_bits(w, false, true),
					 w->used[i].ept_allow);
	}
	return true;
}

static bool canonical(const struct mode *m, uint64_t a)
{
	uint64_t high = a >> (m->linear_bits - 1);

	return high == 0 || high == UINT64_MAX >> (m->linear_bits - 1);
}

/* From the linear to the guest-physical address. */
static bool walk_guest(struct walk *w, uint32_t *ret_rights)
{
	*ret_rights = CORE_PROT_RWX;
	if (!w->mode) {
		w->gpa = w->linear & UINT32_MAX;
		return true;
	}
	if (w->mode->linear_bits == 32) {
		w->linear &= UINT32_MAX;
	} else if (!canonical(w->mode, w->linear)) {
		w->ret->outcome = CORE_WALK_NOT_CANONICAL;
		return false;
	}
	if (!walk_guest_tables(w))
		return false;
	*ret_rights = guest_rights(w);
	if (!(*ret_rights & w->access))
		return page_fault(w, PF_P);
	return check_accessed_dirty(w);
}

void core_walk(struct core_as *as, const struct core_paging_state *ps, gva_t a, uint32_t access,
	       struct core_walk_result *ret)
{
	struct walk w = {
		.as = as,
		.ps = ps,
		.mode = mode_of(ps),
		.linear = a.v,
		.access = access,
		.ret = ret,
		.writable = true,
		.user = true,
		.executable = true,
	};
	uint32_t rights;

	memset(ret, 0, sizeof(*ret));
	plat_lock(&as->lock);
	if (walk_guest(&w, &rights) && ept_translate(&w, w.gpa, 0)) {
		ret->outcome = CORE_WALK_OK;
		ret->gpa = gpa(w.gpa);
		ret->hpa = hpa(w.ept_hpa);
		ret->ept_page_bytes = w.ept_page_bytes;
		ret->permissions = rights & (uint32_t)w.ept_allow;
		ret->user_accessible = w.user;
	}
	plat_unlock(&as->lock);
}
