/* SPDX-License-Identifier: MIT */
/*
 * What only a software processor shows: what its caches hold, counters of every lookup, and
 * traces in guest time. Looking touches none of it.
 */
#include "engine/soft.h"

#include <assert.h>
#include <stdlib.h>

static_assert((int)MODEL_TLB_I1 == (int)ENGINE_TLB_I1, "as the model numbers them");
static_assert((int)MODEL_TLB_D1 == (int)ENGINE_TLB_D1, "as the model numbers them");
static_assert((int)MODEL_TLB_L2 == (int)ENGINE_TLB_L2, "as the model numbers them");
static_assert((int)MODEL_TLB_PSC == (int)ENGINE_TLB_PSC, "as the model numbers them");
static_assert((int)MODEL_TLB_GPA == (int)ENGINE_TLB_GPA, "as the model numbers them");
static_assert((int)MODEL_TLB_STRUCTURES == (int)ENGINE_TLB_STRUCTURES, "as the model has them");

static struct hw_cpu *hw_of(const struct vmm *s, uint32_t processor)
{
	return soft_of(s)->processor[processor].hw;
}

/* --- walks --------------------------------------------------------------------------------- */

/* The lowest level whose entry a paging-structure cache gives, so that the guest's walk
 * begins below it; 0: none. */
static unsigned psc_level(struct hw_cpu *hw, const struct engine_walk *out)
{
	unsigned level;

	if (!out->vpid)
		return 0;
	for (level = 2; level <= 4; level++)
		if (model_psc_peek(hw, (uint16_t)out->vpid, (uint16_t)out->pcid, out->ep4ta,
				   out->gva, level))
			return level;
	return 0;
}

/*
 * Would a walk with the caches as they are skip this reference? A cached
 * paging-structure entry of level n saves the guest's references down to n and what
 * locates them; a cached guest-physical mapping saves the EPT references for its page.
 */
static bool skipped(struct hw_cpu *hw, uint64_t ep4ta, unsigned psc, const struct core_walk_ref *r)
{
	unsigned guest_level = r->dimension == CORE_WALK_GUEST ? r->level : r->for_level;

	if (psc && guest_level >= psc)
		return true;
	return r->dimension == CORE_WALK_EPT && model_gpa_peek(hw, ep4ta, r->gpa);
}

void soft_walk_caches(struct vmm_vcpu *v, const struct core_walk_result *w, struct engine_walk *out)
{
	struct hw_cpu *hw = hw_of(v->vm->machine, out->processor);
	unsigned psc = psc_level(hw, out);
	uint32_t i;

	out->refs_with_caches = 0;
	for (i = 0; i < w->count; i++) {
		bool skip = skipped(hw, out->ep4ta, psc, &w->refs[i]);

		out->refs[i].cached = skip;
		out->refs[i].cached_valid = 1;
		out->refs_with_caches += !skip;
	}
	if (out->vpid)
		out->tlb_level = model_tlb_peek(hw, (uint16_t)out->vpid, (uint16_t)out->pcid,
						out->ep4ta, out->gva) &
				 7u;
	out->tlb_level_valid = 1;
}

/* --- what a vCPU holds, and its counters --------------------------------------------------- */

void soft_vpid_held(struct vmm_vcpu *v, const struct vmm_tag *tag, struct engine_vpid *out)
{
	uint32_t held[MODEL_TLB_STRUCTURES] = {0};

	if (tag->valid && tag->vpid)
		model_tlb_held(hw_of(v->vm->machine, tag->processor), tag->vpid, held);
	out->tlb_valid = 1;
	out->held_i1 = held[MODEL_TLB_I1];
	out->held_d1 = held[MODEL_TLB_D1];
	out->held_l2 = held[MODEL_TLB_L2];
}

static void fill_capacity(const struct model_tlb_geometry *g, struct engine_tlb_stats *out)
{
	out->size_i1 = (uint32_t)g->itlb_4k.entries + g->itlb_2m.entries;
	out->size_d1 = (uint32_t)g->dtlb_4k.entries + g->dtlb_2m.entries + g->dtlb_1g.entries;
	out->size_l2 = (uint32_t)g->stlb.entries + g->stlb_1g.entries;
	out->size_psc = (uint32_t)g->psc_pml4.entries + g->psc_pdpt.entries + g->psc_pd.entries;
	out->size_gpa = g->gpa_cache.entries;
}

/* Guest-physical mappings carry no VPID: they are the VM's by its EP4TA. */
static uint32_t held_gpa(struct hw_cpu *hw, uint64_t ep4ta, uint32_t capacity)
{
	struct model_tlb_entry *e = calloc(capacity ? capacity : 1, sizeof(*e));
	uint32_t held = 0;
	size_t skip = 0, total, i;

	if (!e)
		return 0;
	do {
		total = model_tlb_list(hw, -1, skip, e, capacity);
		for (i = 0; i < capacity && skip + i < total; i++)
			held += e[i].structure == MODEL_TLB_GPA && e[i].ep4ta == ep4ta;
		skip += capacity;
	} while (capacity && skip < total);
	free(e);
	return held;
}

static void fill_held(struct vmm_vcpu *v, struct engine_tlb_stats *out)
{
	struct hw_cpu *hw = hw_of(v->vm->machine, v->home);
	uint32_t held[MODEL_TLB_STRUCTURES] = {0};
	struct vmm_tag tag;

	soft_tag(v, &tag);
	if (tag.valid && tag.vpid && tag.processor == v->home)
		model_tlb_held(hw, tag.vpid, held);
	out->held_i1 = held[MODEL_TLB_I1];
	out->held_d1 = held[MODEL_TLB_D1];
	out->held_l2 = held[MODEL_TLB_L2];
	out->held_psc = held[MODEL_TLB_PSC];
	out->held_gpa = held_gpa(hw, core_ep4ta(soft_eptp(v->vm)), out->size_gpa);
}

void soft_tlb_stats(struct vmm_vcpu *v, struct engine_tlb_stats *out)
{
	const struct model_account *a = &soft_vcpu_of(v)->account;

	out->observable = 1;
	out->retired = a->retired;
#define TLB_STAT(name, unit, doc) out->name = a->name;
#include <vmxcore/tlb_stats.def>
#undef TLB_STAT
	fill_capacity(model_geometry(soft_of(v->vm->machine)->model), out);
	fill_held(v, out);
	memcpy(out->walk_refs_histogram, a->walk_refs_histogram, sizeof(out->walk_refs_histogram));
}

/* --- the TLB's content --------------------------------------------------------------------- */

static struct engine_tlb_entry convert_entry(const struct model_tlb_entry *e)
{
	return (struct engine_tlb_entry){
		.linear = e->linear,
		.host = e->host,
		.ep4ta = e->ep4ta,
		.page_bytes = e->page_size,
		.vpid = e->vpid,
		.pcid = e->pcid,
		.structure = e->structure,
		.level = e->level,
		.global = e->global,
		.dirty = e->dirty,
		.read = e->read,
		.write = e->write,
		.exec = e->exec,
		.user = e->user,
	};
}

int soft_tlb_entries(struct vmm *s, uint32_t processor, int vpid, struct engine_tlb_entry **ret,
		     size_t *ret_count)
{
	struct hw_cpu *hw = hw_of(s, processor);
	size_t total = model_tlb_list(hw, vpid, 0, NULL, 0), i;
	struct model_tlb_entry *all = calloc(total ? total : 1, sizeof(*all));
	struct engine_tlb_entry *out = calloc(total ? total : 1, sizeof(*out));

	if (!all || !out) {
		free(all);
		free(out);
		return -ENOMEM;
	}
	model_tlb_list(hw, vpid, 0, all, total);
	for (i = 0; i < total; i++)
		out[i] = convert_entry(&all[i]);
	free(all);
	*ret = out;
	*ret_count = total;
	return 0;
}

/* --- traces -------------------------------------------------------------------------------- */

static uint64_t guest_time(void *ctx)
{
	return vmm_guest_time(ctx);
}

int soft_trace_set(struct vmm_vm *vm, const struct engine_trace_set *q, uint64_t *ret_untold)
{
	struct core_trace *t = core_vm_trace(soft_vm_of(vm));
	const struct core_trace_settings settings = {
		.kinds = q->kinds,
		.vcpu = q->vcpu,
		.exits = {q->exits[0], q->exits[1]},
		.records = q->records,
		.guest_time = guest_time,
		.ctx = vm,
	};
	uint64_t untold = core_trace_untold(t); /* nobody records now */
	int err = core_trace_set(t, &settings);

	if (!err)
		*ret_untold = untold;
	return err;
}

int soft_trace_read(struct vmm_vm *vm, struct core_trace_record *ret, size_t max, size_t *ret_count,
		    uint64_t *ret_lost)
{
	*ret_count = core_trace_read(core_vm_trace(soft_vm_of(vm)), ret, max, ret_lost);
	return 0;
}

size_t soft_trace_waiting(struct vmm_vm *vm, uint64_t *ret_seq)
{
	return core_trace_waiting(core_vm_trace(soft_vm_of(vm)), ret_seq);
}

/* --- counters that only this backend has --------------------------------------------------- */

static void add_unimplemented(struct stat_list *l, const struct model_account *a)
{
	uint32_t i;

	for (i = 0; i < a->unimplemented_count; i++)
		stat_add(l, "ud.", a->unimplemented[i].mnemonic, "exceptions",
			 a->unimplemented[i].count);
	if (a->unimplemented_other)
		stat_add(l, "ud.", "other", "exceptions", a->unimplemented_other);
}

void soft_more_vcpu_stats(struct stat_list *l, struct vmm_vcpu *v)
{
	const struct model_account *a = &soft_vcpu_of(v)->account;

#define TLB_STAT(name, unit, doc) stat_add(l, "tlb.", #name, unit, a->name);
#include <vmxcore/tlb_stats.def>
#undef TLB_STAT
	add_unimplemented(l, a);
}

void soft_processor_stats(struct stat_list *l, struct vmm *s, uint32_t processor)
{
	const struct soft_processor *p = &soft_of(s)->processor[processor];

	stat_add(l, "", "guest_time", "ticks", model_cpu_time(p->hw));
	stat_add(l, "", "vcpus", "vCPUs", s->processor[processor].vcpus);
	stat_add(l, "", "vpid_generation", "generations", p->core->vpids.generation);
	stat_add(l, "", "vpids_left", "VPIDs", core_vpid_left(p->core));
	stat_add_core(l, &p->core->stats, NULL, CORE_SCOPE_CPU);
	stat_add(l, "", "vmcs_misuses", "VMCSs", p->vmcs_misuses);
}
