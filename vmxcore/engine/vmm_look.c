/* SPDX-License-Identifier: MIT */
/* Looking at vCPUs, walks, tags and TLB content. Nothing here changes any of them. */
#include "engine/vmm.h"

#include <inttypes.h>
#include <stdlib.h>

#define CR0_PG VMX_BIT(31)
#define CR4_PCIDE VMX_BIT(17)
#define CR3_PCID UINT64_C(0xfff)

int vmm_vm_info(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		struct vmm_reply *reply)
{
	struct engine_vcpu_info *info = vmm_payload(reply, vm->vcpu_count, sizeof(*info));
	uint32_t i;

	(void)s;
	(void)rq;
	if (!info)
		return -ENOMEM;
	for (i = 0; i < vm->vcpu_count; i++) {
		const struct vmm_vcpu *v = &vm->vcpus[i];
		struct core_regs r;
		bool valid;
		struct core_vpid tag = core_vcpu_vpid(v->core, &valid);

		core_vcpu_get_regs(v->core, &r);
		info[i] = (struct engine_vcpu_info){
			.vcpu = i,
			.processor = v->home,
			.vpid = valid ? tag.vpid : 0,
			.activity = r.activity,
			.rip = r.rip,
			.retired = v->account.retired,
			.exits = v->exits,
		};
	}
	return 0;
}

int vmm_console_read(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		     struct vmm_reply *reply)
{
	const struct engine_console_read *c = &rq->req.u.console;
	uint8_t *buf;

	(void)s;
	if (c->max_bytes > ENGINE_MAX_DATA)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_SIZE, ENGINE_MAX_DATA,
				"%u bytes: at most %u at a time", c->max_bytes, ENGINE_MAX_DATA);
	buf = vmm_payload(reply, c->max_bytes, 1);
	if (!buf)
		return -ENOMEM;
	reply->payload_bytes =
		console_read(&vm->console, c->offset, buf, c->max_bytes, &reply->first);
	reply->total = vm->console.total;
	return 0;
}

/* --- walks --------------------------------------------------------------------------------- */

/* What a vCPU's cached translations are tagged with now. */
struct tags {
	struct hw_cpu *hw;
	uint64_t ep4ta;
	uint16_t vpid, pcid;
	bool tagged; /* false: its next entry finds nothing tagged (fresh VPID, or none) */
};

static struct tags tags_of(struct vmm *s, const struct vmm_vcpu *v,
			   const struct core_paging_state *ps)
{
	struct tags t = {
		.hw = s->processor[v->home].hw,
		.ep4ta = core_ep4ta(core_as_eptp(core_vm_as(v->vm->core))),
		.pcid = ps->cr4 & CR4_PCIDE ? (uint16_t)(ps->cr3 & CR3_PCID) : 0,
	};
	bool valid;
	struct core_vpid vpid = core_vcpu_vpid(v->core, &valid);

	t.tagged = core_vm_uses_vpid(v->vm->core) && valid && vpid.vpid && vpid.cpu == v->home;
	t.vpid = t.tagged ? vpid.vpid : 0;
	return t;
}

/* The lowest level whose entry a paging-structure cache gives, so that the guest's walk
 * begins below it; 0: none. */
static unsigned psc_level(const struct tags *t, uint64_t linear)
{
	unsigned level;

	if (!t->tagged)
		return 0;
	for (level = 2; level <= 4; level++)
		if (model_psc_peek(t->hw, t->vpid, t->pcid, t->ep4ta, linear, level))
			return level;
	return 0;
}

/*
 * Would a walk with the caches as they are skip this reference? A cached
 * paging-structure entry of level n saves the guest's references down to n and what
 * locates them; a cached guest-physical mapping saves the EPT references for its page.
 */
static bool skipped(const struct tags *t, unsigned psc, const struct core_walk_ref *r)
{
	unsigned guest_level = r->dimension == CORE_WALK_GUEST ? r->level : r->for_level;

	if (psc && guest_level >= psc)
		return true;
	return r->dimension == CORE_WALK_EPT && model_gpa_peek(t->hw, t->ep4ta, r->gpa);
}

static void fill_refs(struct engine_walk *out, const struct core_walk_result *w,
		      const struct tags *t, uint64_t linear)
{
	unsigned psc = psc_level(t, linear);
	uint32_t i;

	out->count = w->count;
	for (i = 0; i < w->count; i++) {
		const struct core_walk_ref *r = &w->refs[i];
		bool skip = skipped(t, psc, r);

		out->refs[i] = (struct engine_walk_ref){
			.hpa = r->hpa,
			.gpa = r->gpa,
			.entry = r->entry,
			.dimension = r->dimension,
			.level = r->level,
			.for_level = r->for_level,
			.leaf = r->leaf,
			.cached = skip,
			.cached_valid = 1,
		};
		out->refs_with_caches += !skip;
	}
}

static const enum engine_walk_outcome outcomes[] = {
	[CORE_WALK_OK] = ENGINE_WALK_OK,
	[CORE_WALK_NOT_CANONICAL] = ENGINE_WALK_NOT_CANONICAL,
	[CORE_WALK_PAGE_FAULT] = ENGINE_WALK_PAGE_FAULT,
	[CORE_WALK_EPT_VIOLATION] = ENGINE_WALK_EPT_VIOLATION,
	[CORE_WALK_EPT_MISCONFIG] = ENGINE_WALK_EPT_MISCONFIG,
};

static void fill_walk(struct engine_walk *out, const struct core_walk_result *w)
{
	out->outcome = outcomes[w->outcome];
	out->gpa = w->gpa.v;
	out->hpa = w->hpa.v;
	out->fault_gpa = w->fault_gpa.v;
	out->qualification = w->qualification;
	out->guest_page_bytes = w->guest_page_bytes;
	out->ept_page_bytes = w->ept_page_bytes;
	out->error_code = w->error_code;
	out->permissions = w->permissions;
	out->user_accessible = w->user_accessible;
	out->global = w->global;
	out->refs_guest = w->refs_guest;
	out->refs_ept = w->refs_ept;
}

static void fill_slot(struct engine_walk *out, struct core_as *as, const struct core_walk_result *w)
{
	struct core_range range;

	out->slot = UINT32_MAX;
	if (w->outcome != CORE_WALK_OK || core_as_lookup(as, w->gpa, &range) != 0)
		return;
	out->slot = range.slot;
	out->slot_offset = range.offset + (w->gpa.v - range.gpa.v);
}

static int check_walk(const struct vmm_vm *vm, const struct engine_walk_req *q,
		      struct vmm_reply *reply)
{
	if (q->vcpu >= vm->vcpu_count)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_VCPU, vm->vcpu_count - 1,
				"vcpu %u: the last is %u", q->vcpu, vm->vcpu_count - 1);
	if (q->access != ENGINE_PROT_R && q->access != ENGINE_PROT_W && q->access != ENGINE_PROT_X)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_PROT, 0,
				"access must be one of read, write and execute");
	if (q->user > 1)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_PROT, 1, "user must be 0 or 1");
	return 0;
}

int vmm_walk(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
	     struct vmm_reply *reply)
{
	const struct engine_walk_req *q = &rq->req.u.walk;
	const struct vmm_vcpu *v;
	struct core_paging_state ps;
	struct core_walk_result w;
	struct engine_walk *out;
	struct tags t;
	int err = check_walk(vm, q, reply);

	if (err)
		return err;
	out = vmm_payload(reply, 1, sizeof(*out));
	if (!out)
		return -ENOMEM;
	v = &vm->vcpus[q->vcpu];
	core_vcpu_paging_state(v->core, &ps);
	ps.user = q->user;
	core_walk(core_vm_as(vm->core), &ps, gva(q->gva), q->access, &w);
	t = tags_of(s, v, &ps);
	fill_walk(out, &w);
	fill_refs(out, &w, &t, q->gva);
	fill_slot(out, core_vm_as(vm->core), &w);
	out->gva = q->gva;
	out->cr3 = ps.cr3;
	out->ep4ta = t.ep4ta;
	out->vcpu = q->vcpu;
	out->processor = v->home;
	out->vpid = t.vpid;
	out->pcid = t.pcid;
	out->tlb_level = t.tagged ? model_tlb_peek(t.hw, t.vpid, t.pcid, t.ep4ta, q->gva) & 7u : 0;
	out->tlb_level_valid = 1;
	return 0;
}

/* --- tags ---------------------------------------------------------------------------------- */

/* Calls fn for each vCPU of vm, or of every VM. */
static void each_vcpu(struct vmm *s, struct vmm_vm *vm,
		      void (*fn)(struct vmm *s, struct vmm_vcpu *v, void *ctx), void *ctx)
{
	size_t i;
	uint32_t k;

	for (i = 0; i < s->vm_count; i++)
		for (k = 0; k < s->vms[i]->vcpu_count && (!vm || vm == s->vms[i]); k++)
			fn(s, &s->vms[i]->vcpus[k], ctx);
}

static size_t count_vcpus(const struct vmm *s, const struct vmm_vm *vm)
{
	size_t n = 0, i;

	for (i = 0; i < s->vm_count; i++)
		if (!vm || vm == s->vms[i])
			n += s->vms[i]->vcpu_count;
	return n;
}

static void add_vpid(struct vmm *s, struct vmm_vcpu *v, void *ctx)
{
	struct engine_vpid **next = ctx, *out = (*next)++;
	uint32_t held[MODEL_TLB_STRUCTURES] = {0};
	bool valid;
	struct core_vpid tag = core_vcpu_vpid(v->core, &valid);
	uint32_t cpu = tag.vpid ? tag.cpu : v->home;
	const struct core_cpu *core = s->processor[cpu].core;

	if (valid && tag.vpid)
		model_tlb_held(s->processor[cpu].hw, tag.vpid, held);
	*out = (struct engine_vpid){
		.vm = v->vm->id,
		.vcpu = v->index,
		.processor = cpu,
		.vpid = tag.vpid,
		.generation = tag.generation,
		.pool_generation = core->vpids.generation,
		.valid = valid && tag.vpid,
		.pool_left = core_vpid_left(core),
		.pool_limit = core->vpids.limit,
		.use_vpid = core_vm_uses_vpid(v->vm->core),
		.tlb_valid = 1,
		.held_i1 = held[MODEL_TLB_I1],
		.held_d1 = held[MODEL_TLB_D1],
		.held_l2 = held[MODEL_TLB_L2],
	};
}

int vmm_vpid_list(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		  struct vmm_reply *reply)
{
	struct engine_vpid *out = vmm_payload(reply, count_vcpus(s, vm), sizeof(*out));

	(void)rq;
	if (!out)
		return -ENOMEM;
	each_vcpu(s, vm, add_vpid, &out);
	return 0;
}

/* --- the TLB's counters -------------------------------------------------------------------- */

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

static void add_tlb_stats(struct vmm *s, struct vmm_vcpu *v, void *ctx)
{
	struct engine_tlb_stats **next = ctx, *out = (*next)++;
	const struct model_account *a = &v->account;
	uint32_t held[MODEL_TLB_STRUCTURES] = {0};
	bool valid;
	struct core_vpid tag = core_vcpu_vpid(v->core, &valid);
	struct hw_cpu *hw = s->processor[v->home].hw;

	if (valid && tag.vpid && tag.cpu == v->home)
		model_tlb_held(hw, tag.vpid, held);
	*out = (struct engine_tlb_stats){
		.vm = v->vm->id,
		.vcpu = v->index,
		.processor = v->home,
		.vpid = valid ? tag.vpid : 0,
		.observable = 1,
		.retired = a->retired,
#define TLB_STAT(name, unit, doc) .name = a->name,
#include <vmxcore/tlb_stats.def>
#undef TLB_STAT
		.held_i1 = held[MODEL_TLB_I1],
		.held_d1 = held[MODEL_TLB_D1],
		.held_l2 = held[MODEL_TLB_L2],
		.held_psc = held[MODEL_TLB_PSC],
	};
	fill_capacity(model_geometry(s->model), out);
	out->held_gpa =
		held_gpa(hw, core_ep4ta(core_as_eptp(core_vm_as(v->vm->core))), out->size_gpa);
	memcpy(out->walk_refs_histogram, a->walk_refs_histogram, sizeof(out->walk_refs_histogram));
}

int vmm_tlb_stats(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		  struct vmm_reply *reply)
{
	struct engine_tlb_stats *out = vmm_payload(reply, count_vcpus(s, vm), sizeof(*out));

	(void)rq;
	if (!out)
		return -ENOMEM;
	each_vcpu(s, vm, add_tlb_stats, &out);
	return 0;
}

/* --- the TLB's content --------------------------------------------------------------------- */

#define NO_VCPU UINT32_MAX

/* Whose tags these are on a processor. */
struct owner {
	struct vmm_vm *vm;
	uint32_t vcpu;
};

struct owner_search {
	const struct model_tlb_entry *e;
	uint32_t processor;
	struct owner found;
};

static void match_owner(struct vmm *s, struct vmm_vcpu *v, void *ctx)
{
	struct owner_search *q = ctx;
	bool valid;
	struct core_vpid tag = core_vcpu_vpid(v->core, &valid);

	(void)s;
	if (core_ep4ta(core_as_eptp(core_vm_as(v->vm->core))) != q->e->ep4ta)
		return;
	if (!q->found.vm)
		q->found = (struct owner){v->vm, NO_VCPU};
	if (q->e->structure != MODEL_TLB_GPA && q->e->vpid && valid && tag.cpu == q->processor &&
	    tag.vpid == q->e->vpid)
		q->found.vcpu = v->index;
}

static struct owner owner_of(struct vmm *s, uint32_t processor, const struct model_tlb_entry *e)
{
	struct owner_search q = {.e = e, .processor = processor, .found = {NULL, NO_VCPU}};

	each_vcpu(s, NULL, match_owner, &q);
	return q.found;
}

static struct engine_tlb_entry convert_entry(const struct model_tlb_entry *e, struct owner owner)
{
	return (struct engine_tlb_entry){
		.linear = e->linear,
		.host = e->host,
		.ep4ta = e->ep4ta,
		.page_bytes = e->page_size,
		.vm = owner.vm ? owner.vm->id : 0,
		.vcpu = owner.vcpu,
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

static int check_entries(const struct vmm *s, const struct engine_tlb_entries_req *q,
			 struct vmm_reply *reply)
{
	if (q->processor >= s->cfg.processors)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_PROCESSOR, s->cfg.processors - 1,
				"processor %u: the last is %u", q->processor,
				s->cfg.processors - 1);
	if (q->max > 65536)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_SIZE, 65536,
				"%u entries: at most 65536 at a time", q->max);
	if (q->vpid > (int32_t)CORE_VPID_MAX)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_VPID, CORE_VPID_MAX,
				"VPID %d: the highest is %u", q->vpid, CORE_VPID_MAX);
	if (q->structures >> MODEL_TLB_STRUCTURES)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_KIND,
				(UINT64_C(1) << MODEL_TLB_STRUCTURES) - 1,
				"unknown structures 0x%x", q->structures);
	return 0;
}

/* All entries of a processor under a tag; *ret is malloc'ed. */
static int list_entries(struct hw_cpu *hw, int vpid, struct model_tlb_entry **ret,
			size_t *ret_count)
{
	size_t total = model_tlb_list(hw, vpid, 0, NULL, 0);
	struct model_tlb_entry *all = calloc(total ? total : 1, sizeof(*all));

	if (!all)
		return -ENOMEM;
	*ret_count = model_tlb_list(hw, vpid, 0, all, total);
	*ret = all;
	return 0;
}

int vmm_tlb_entries(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		    struct vmm_reply *reply)
{
	const struct engine_tlb_entries_req *q = &rq->req.u.tlb_entries;
	struct model_tlb_entry *all;
	struct engine_tlb_entry *out;
	size_t count, room, i, n = 0;
	int err = check_entries(s, q, reply);

	if (err)
		return err;
	err = list_entries(s->processor[q->processor].hw, q->vpid, &all, &count);
	if (err)
		return err;
	room = count < q->max ? count : q->max;
	out = vmm_payload(reply, room, sizeof(*out));
	for (i = 0; i < count && out; i++) {
		struct owner owner;

		if (q->structures && !(q->structures >> all[i].structure & 1))
			continue;
		owner = owner_of(s, q->processor, &all[i]);
		if (vm && owner.vm != vm)
			continue;
		if (reply->total++ >= q->skip && n < room)
			out[n++] = convert_entry(&all[i], owner);
	}
	reply->payload_bytes = n * sizeof(*out);
	free(all);
	return out ? 0 : -ENOMEM;
}
