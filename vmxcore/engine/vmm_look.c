/* SPDX-License-Identifier: MIT */
/* Looking at vCPUs, walks, tags and TLB content. Nothing here changes any of them. */
#include "engine/vmm.h"

#include <inttypes.h>
#include <stdlib.h>

#define RFLAGS_AC VMX_BIT(18)
#define CR4_PCIDE VMX_BIT(17)
#define CR3_PCID UINT64_C(0xfff)

static int fill_vcpu(struct vmm_vcpu *v, struct engine_vcpu_info *out)
{
	const struct backend *b = v->vm->machine->backend;
	struct core_regs r;
	struct vmm_tag tag;
	int err;

	vmm_hold(v);
	err = b->get_regs(v, &r);
	vmm_release(v);
	if (err)
		return err;
	b->tag(v, &tag);
	*out = (struct engine_vcpu_info){
		.vcpu = v->index,
		.processor = b->processor(v),
		.vpid = tag.valid ? tag.vpid : 0,
		.activity = r.activity,
		.rip = r.rip,
		.exits = v->exits,
		.retired = UINT64_MAX,
	};
	b->retired(v, &out->retired);
	return 0;
}

int vmm_vm_info(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		struct vmm_reply *reply)
{
	struct engine_vcpu_info *info = vmm_payload(reply, vm->vcpu_count, sizeof(*info));
	uint32_t i;
	int err = 0;

	(void)s;
	(void)rq;
	if (!info)
		return -ENOMEM;
	for (i = 0; i < vm->vcpu_count && !err; i++)
		err = fill_vcpu(&vm->vcpus[i], &info[i]);
	return err;
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

static void fill_refs(struct engine_walk *out, const struct core_walk_result *w)
{
	uint32_t i;

	out->count = w->count;
	out->refs_with_caches = UINT32_MAX;
	for (i = 0; i < w->count; i++) {
		const struct core_walk_ref *r = &w->refs[i];

		out->refs[i] = (struct engine_walk_ref){
			.hpa = r->hpa,
			.gpa = r->gpa,
			.entry = r->entry,
			.dimension = r->dimension,
			.level = r->level,
			.for_level = r->for_level,
			.leaf = r->leaf,
		};
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

static void fill_slot(struct engine_walk *out, struct vmm_vm *vm, const struct core_walk_result *w)
{
	struct core_range range;

	out->slot = UINT32_MAX;
	if (w->outcome != CORE_WALK_OK || vm->machine->backend->lookup(vm, w->gpa, &range) != 0)
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

/* What the vCPU's cached translations are tagged with now; vpid 0: its next entry finds
 * nothing tagged (fresh VPID, or none). */
static void fill_tags(struct engine_walk *out, struct vmm_vcpu *v, const struct core_regs *r)
{
	const struct backend *b = v->vm->machine->backend;
	struct vmm_tag tag;

	b->tag(v, &tag);
	out->vcpu = v->index;
	out->processor = b->processor(v);
	out->cr3 = r->cr3;
	out->pcid = r->cr4 & CR4_PCIDE ? (uint32_t)(r->cr3 & CR3_PCID) : 0;
	out->ep4ta = core_ep4ta(b->eptp(v->vm));
	if (v->vm->config.use_vpid && tag.valid && tag.processor == out->processor)
		out->vpid = tag.vpid;
}

/* It is held. */
static int walk(struct vmm_vcpu *v, const struct engine_walk_req *q, struct engine_walk *out)
{
	const struct backend *b = v->vm->machine->backend;
	struct core_walk_result w;
	struct core_regs r;
	int err = b->get_regs(v, &r);

	if (!err)
		err = b->walk(v, gva(q->gva), q->access, q->user, (r.rflags & RFLAGS_AC) != 0, &w);
	if (err)
		return err;
	out->gva = q->gva;
	fill_walk(out, &w);
	fill_refs(out, &w);
	fill_slot(out, v->vm, &w);
	fill_tags(out, v, &r);
	if (b->walk_caches)
		b->walk_caches(v, &w, out);
	return 0;
}

int vmm_walk(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
	     struct vmm_reply *reply)
{
	const struct engine_walk_req *q = &rq->req.u.walk;
	struct engine_walk *out;
	int err = check_walk(vm, q, reply);

	(void)s;
	if (err)
		return err;
	out = vmm_payload(reply, 1, sizeof(*out));
	if (!out)
		return -ENOMEM;
	vmm_hold(&vm->vcpus[q->vcpu]);
	err = walk(&vm->vcpus[q->vcpu], q, out);
	vmm_release(&vm->vcpus[q->vcpu]);
	return err;
}

/* --- tags ---------------------------------------------------------------------------------- */

static void each_of(struct vmm_vm *vm, void (*fn)(struct vmm_vcpu *v, void *ctx), void *ctx)
{
	uint32_t i;

	for (i = 0; i < vm->vcpu_count; i++)
		fn(&vm->vcpus[i], ctx);
}

/* Calls fn for each vCPU of vm, whose lock is held, or of every VM. */
static void each_vcpu(struct vmm *s, struct vmm_vm *vm, void (*fn)(struct vmm_vcpu *v, void *ctx),
		      void *ctx)
{
	size_t i;

	if (vm) {
		each_of(vm, fn, ctx);
		return;
	}
	for (i = 0; i < s->vm_count; i++) {
		vmm_lock(s, s->vms[i]);
		each_of(s->vms[i], fn, ctx);
		vmm_unlock(s);
	}
}

/* That each_vcpu() would call fn for: the list changes on this thread only. */
static size_t count_vcpus(const struct vmm *s, const struct vmm_vm *vm)
{
	size_t n = 0, i;

	for (i = 0; i < s->vm_count; i++)
		if (!vm || vm == s->vms[i])
			n += s->vms[i]->vcpu_count;
	return n;
}

static void add_vpid(struct vmm_vcpu *v, void *ctx)
{
	const struct backend *b = v->vm->machine->backend;
	struct engine_vpid **next = ctx, *out = (*next)++;
	struct vmm_tag tag;

	b->tag(v, &tag);
	*out = (struct engine_vpid){
		.vm = v->vm->id,
		.vcpu = v->index,
		.processor = tag.processor,
		.vpid = tag.vpid,
		.generation = tag.generation,
		.pool_generation = tag.pool_generation,
		.valid = tag.valid && tag.vpid,
		.pool_left = tag.pool_left,
		.pool_limit = tag.pool_limit,
		.use_vpid = v->vm->config.use_vpid,
	};
	if (b->vpid_held)
		b->vpid_held(v, &tag, out);
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

static void add_tlb_stats(struct vmm_vcpu *v, void *ctx)
{
	const struct backend *b = v->vm->machine->backend;
	struct engine_tlb_stats **next = ctx, *out = (*next)++;
	struct vmm_tag tag;

	b->tag(v, &tag);
	*out = (struct engine_tlb_stats){
		.vm = v->vm->id,
		.vcpu = v->index,
		.processor = b->processor(v),
		.vpid = tag.valid ? tag.vpid : 0,
	};
	if (b->tlb_stats)
		b->tlb_stats(v, out);
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

/* Whose tags these are on a processor: a VM's by its EP4TA, its vCPUs' by their VPIDs there. */
struct owner {
	uint64_t ep4ta, vm;
	uint32_t vcpu;
	uint16_t vpid; /* 0: none on that processor */
};

struct owners {
	struct owner *owner; /* by EP4TA, then vCPU */
	size_t count;
	uint32_t processor;
};

static void add_owner(struct vmm_vcpu *v, void *ctx)
{
	const struct backend *b = v->vm->machine->backend;
	struct owners *o = ctx;
	struct vmm_tag tag;

	b->tag(v, &tag);
	o->owner[o->count++] = (struct owner){
		.ep4ta = core_ep4ta(b->eptp(v->vm)),
		.vm = v->vm->id,
		.vcpu = v->index,
		.vpid = tag.valid && tag.processor == o->processor ? tag.vpid : 0,
	};
}

static int compare_owners(const void *a, const void *b)
{
	const struct owner *x = a, *y = b;

	if (x->ep4ta != y->ep4ta)
		return x->ep4ta < y->ep4ta ? -1 : 1;
	return x->vcpu < y->vcpu ? -1 : x->vcpu > y->vcpu;
}

/* The vCPUs of vm, or of every VM. */
static int find_owners(struct vmm *s, struct vmm_vm *vm, uint32_t processor, struct owners *ret)
{
	size_t count = count_vcpus(s, vm);

	*ret = (struct owners){.owner = calloc(count ? count : 1, sizeof(struct owner)),
			       .processor = processor};
	if (!ret->owner)
		return -ENOMEM;
	each_vcpu(s, vm, add_owner, ret);
	qsort(ret->owner, ret->count, sizeof(*ret->owner), compare_owners);
	return 0;
}

/* Fills vm and vcpu; false: none of the owners'. */
static bool fill_owner(const struct owners *o, struct engine_tlb_entry *e)
{
	size_t low = 0, high = o->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (o->owner[mid].ep4ta < e->ep4ta)
			low = mid + 1;
		else
			high = mid;
	}
	e->vm = 0;
	e->vcpu = NO_VCPU;
	for (; low < o->count && o->owner[low].ep4ta == e->ep4ta; low++) {
		e->vm = o->owner[low].vm;
		/* Guest-physical mappings carry no VPID. */
		if (e->structure != ENGINE_TLB_GPA && e->vpid && o->owner[low].vpid == e->vpid)
			e->vcpu = o->owner[low].vcpu;
	}
	return e->vm != 0;
}

static int check_entries(const struct vmm *s, const struct engine_tlb_entries_req *q,
			 struct vmm_reply *reply)
{
	if (q->processor >= s->processors)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_PROCESSOR, s->processors - 1,
				"processor %u: the last is %u", q->processor, s->processors - 1);
	if (q->max > 65536)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_SIZE, 65536,
				"%u entries: at most 65536 at a time", q->max);
	if (q->vpid > (int32_t)CORE_VPID_MAX)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_VPID, CORE_VPID_MAX,
				"VPID %d: the highest is %u", q->vpid, CORE_VPID_MAX);
	if (q->structures >> ENGINE_TLB_STRUCTURES)
		return vmm_fail(reply, -EINVAL, ENGINE_FIELD_KIND,
				(UINT64_C(1) << ENGINE_TLB_STRUCTURES) - 1,
				"unknown structures 0x%x", q->structures);
	if (!s->backend->tlb_entries)
		return vmm_fail(reply, -ENOTSUP, ENGINE_FIELD_NONE, 0,
				"the %s engine can't look into a processor's TLB",
				s->backend->name);
	return 0;
}

/* Moves what is asked for to the front of all; returns how much, *ret_total is without q's
 * skip and max. */
static size_t select_entries(const struct engine_tlb_entries_req *q, const struct owners *owners,
			     bool owned, struct engine_tlb_entry *all, size_t count,
			     uint64_t *ret_total)
{
	uint64_t total = 0;
	size_t n = 0, i;

	for (i = 0; i < count; i++) {
		if (q->structures && !(q->structures >> all[i].structure & 1))
			continue;
		if (!fill_owner(owners, &all[i]) && owned)
			continue;
		if (total++ >= q->skip && n < q->max)
			all[n++] = all[i];
	}
	*ret_total = total;
	return n;
}

int vmm_tlb_entries(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
		    struct vmm_reply *reply)
{
	const struct engine_tlb_entries_req *q = &rq->req.u.tlb_entries;
	struct engine_tlb_entry *all;
	struct owners owners;
	size_t count;
	int err = check_entries(s, q, reply);

	if (err)
		return err;
	err = find_owners(s, vm, q->processor, &owners);
	if (err)
		return err;
	err = s->backend->tlb_entries(s, q->processor, q->vpid, &all, &count);
	if (!err) {
		count = select_entries(q, &owners, vm != NULL, all, count, &reply->total);
		reply->payload = all;
		reply->payload_bytes = count * sizeof(*all);
	}
	free(owners.owner);
	return err;
}
