/* SPDX-License-Identifier: MIT */
/* Walks, counters, tags, traces, and invalidations by hand. */
#include "engine/vmx.h"

#include "plat/atomic.h"

#include <assert.h>
#include <time.h>

/* While some VM is traced, new records are looked for this often; nothing announces them. */
#define TRACE_POLL_MS 20
/* While some vCPU may run, new generations of VPIDs are. */
#define VPID_POLL_MS 500

/* --- walks ------------------------------------------------------------------------------ */

#define SAME(a, b) static_assert((int)(a) == (int)(b), #a " is " #b)
SAME(CORE_WALK_OK, ENGINE_WALK_OK);
SAME(CORE_WALK_NOT_CANONICAL, ENGINE_WALK_NOT_CANONICAL);
SAME(CORE_WALK_PAGE_FAULT, ENGINE_WALK_PAGE_FAULT);
SAME(CORE_WALK_EPT_VIOLATION, ENGINE_WALK_EPT_VIOLATION);
SAME(CORE_WALK_EPT_MISCONFIG, ENGINE_WALK_EPT_MISCONFIG);
SAME(CORE_WALK_MAX_REFS, VMX_ARRAY_SIZE(((struct vmxcore_walk *)0)->refs));

static void take_walk(struct core_walk_result *ret, const struct vmxcore_walk *w)
{
	uint32_t i;

	*ret = (struct core_walk_result){
		.outcome = (enum core_walk_outcome)w->outcome,
		.error_code = w->error_code,
		.qualification = w->qualification,
		.fault_gpa = gpa(w->fault_gpa),
		.gpa = gpa(w->gpa),
		.hpa = hpa(w->hpa),
		.guest_page_bytes = w->guest_page_bytes,
		.ept_page_bytes = w->ept_page_bytes,
		.permissions = w->permissions,
		.user_accessible = w->user_accessible,
		.global = w->global,
		.refs_guest = w->refs_guest,
		.refs_ept = w->refs_ept,
		.count = w->count < CORE_WALK_MAX_REFS ? w->count : CORE_WALK_MAX_REFS,
	};
	for (i = 0; i < ret->count; i++)
		ret->refs[i] = (struct core_walk_ref){
			.dimension = w->refs[i].dimension,
			.level = w->refs[i].level,
			.for_level = w->refs[i].for_level,
			.leaf = w->refs[i].leaf,
			.hpa = w->refs[i].hpa,
			.gpa = w->refs[i].gpa,
			.entry = w->refs[i].entry,
		};
}

int vmx_walk(struct vmm_vcpu *v, gva_t a, uint32_t access, bool user, bool smap_off,
	     struct core_walk_result *ret)
{
	struct vmx_vcpu *b = vmx_vcpu_of(v);
	struct vmxcore_walk w = {.gva = a.v, .access = access, .user = user, .smap_off = smap_off};
	int err = vmx_flush(b);

	if (!err)
		err = vmx_call(b->fd, VMXCORE_WALK, &w);
	if (!err)
		take_walk(ret, &w);
	return err;
}

/* --- counters ----------------------------------------------------------------------------- */

static_assert(sizeof(struct core_stats) == CORE_STAT_COUNT * sizeof(uint64_t),
	      "counters are handed on as they are");

/* processor: UINT32_MAX: the VM's. Zeros where it can't be told. */
static int get_stats(int fd, uint32_t processor, struct core_stats *values,
		     struct vmxcore_stats *ret)
{
	*values = (struct core_stats){0};
	*ret = (struct vmxcore_stats){
		.values = vmx_pointer(values->v),
		.count = CORE_STAT_COUNT,
		.processor = processor,
	};
	return vmx_call(fd, VMXCORE_STATS, ret);
}

void vmx_as_stats(struct vmm_vm *vm, struct core_stats *ret)
{
	struct vmxcore_stats s;

	(void)get_stats(vmx_vm_of(vm)->fd, UINT32_MAX, ret, &s);
}

void vmx_vcpu_stats(struct vmm_vcpu *v, struct core_stats *ret,
		    uint64_t ret_exits[VMX_EXIT_REASONS])
{
	struct vmxcore_vcpu_stats s = {
		.values = vmx_pointer(ret->v),
		.exits = vmx_pointer(ret_exits),
		.count = CORE_STAT_COUNT,
		.exit_count = VMX_EXIT_REASONS,
	};

	*ret = (struct core_stats){0};
	memset(ret_exits, 0, VMX_EXIT_REASONS * sizeof(*ret_exits));
	(void)vmx_call(vmx_vcpu_of(v)->fd, VMXCORE_VCPU_STATS, &s);
}

static const struct {
	const char *name, *unit;
	uint32_t bit;
} events[VMX_EVENTS] = {
	{"dtlb_load_misses", "misses", VMXCORE_EVENT_DTLB_LOAD_MISSES},
	{"ept_walk_cycles", "cycles", VMXCORE_EVENT_EPT_WALK_CYCLES},
};

/* What the processor counts of the guest, if it does: a bit for each that is observable. */
static uint32_t read_events(const struct vmx_vcpu *b, uint64_t ret[VMX_EVENTS])
{
	struct vmxcore_vcpu_stats s = {0};

	if (vmx_call(b->fd, VMXCORE_VCPU_STATS, &s) != 0)
		return 0;
	ret[0] = s.dtlb_load_misses;
	ret[1] = s.ept_walk_cycles;
	return s.events;
}

void vmx_keep_events(struct vmx_vcpu *b)
{
	uint64_t values[VMX_EVENTS];
	uint32_t seen = read_events(b, values), i;

	for (i = 0; i < VMX_EVENTS; i++)
		if (seen & events[i].bit)
			b->past_events[i] += values[i];
}

/* The processor's own counters, and what only a software processor can count. */
void vmx_more_vcpu_stats(struct stat_list *l, struct vmm_vcpu *v)
{
	const struct vmx_vcpu *b = vmx_vcpu_of(v);
	uint64_t values[VMX_EVENTS];
	uint32_t seen = read_events(b, values), i;

	for (i = 0; i < VMX_EVENTS; i++)
		if (seen & events[i].bit)
			stat_add(l, "hw.", events[i].name, events[i].unit,
				 b->past_events[i] + values[i]);
		else
			stat_add_null(l, "hw.", events[i].name, events[i].unit);
#define TLB_STAT(name, unit, doc) stat_add_null(l, "tlb.", #name, unit);
#include <vmxcore/tlb_stats.def>
#undef TLB_STAT
}

/*
 * The module keeps a processor's counters while there are VMs, anybody's; a VM of ours asks
 * for them. They begin anew when the processor has been out of VMX operation.
 */
void vmx_processor_stats(struct stat_list *l, struct vmm *s, uint32_t processor)
{
	struct core_stats values;
	struct vmxcore_stats st;
	int err = -ENODEV;
	unsigned i;

	if (s->vm_count)
		err = get_stats(vmx_vm_of(s->vms[0])->fd, processor, &values, &st);
	if (!err) {
		stat_add(l, "", "vpid_generation", "generations", st.pool_generation);
		stat_add(l, "", "vpids_left", "VPIDs", st.pool_left);
		stat_add_core(l, &values, NULL, CORE_SCOPE_CPU);
		return;
	}
	stat_add_null(l, "", "vpid_generation", "generations");
	stat_add_null(l, "", "vpids_left", "VPIDs");
	for (i = 0; i < CORE_STAT_COUNT; i++)
		if (core_stat_info[i].scope == CORE_SCOPE_CPU)
			stat_add_null(l, "", core_stat_info[i].name, core_stat_info[i].unit);
}

/* --- tags ---------------------------------------------------------------------------------- */

/* Of a processor's pool, for a vCPU that has had no tag. */
static void fill_pool(struct vmm_vcpu *v, struct vmm_tag *ret)
{
	struct core_stats values;
	struct vmxcore_stats s;

	if (get_stats(vmx_vm_of(v->vm)->fd, ret->processor, &values, &s))
		return;
	ret->pool_generation = s.pool_generation;
	ret->pool_left = s.pool_left;
	ret->pool_limit = s.pool_limit;
}

void vmx_tag(struct vmm_vcpu *v, struct vmm_tag *ret)
{
	struct vmx_vcpu *b = vmx_vcpu_of(v);
	struct vmxcore_vcpu_stats s = {0};

	*ret = (struct vmm_tag){.processor = v->home};
	if (vmx_call(b->fd, VMXCORE_VCPU_STATS, &s) == 0 && s.vpid) {
		ret->vpid = (uint16_t)s.vpid;
		ret->valid = s.vpid_valid;
		/* Where it is active; it may have been there, and be active nowhere now. */
		if (s.processor < CORE_MAX_CPUS)
			b->processor = s.processor;
		ret->processor = b->processor;
		ret->generation = s.vpid_generation;
		ret->pool_generation = s.pool_generation;
		ret->pool_left = s.pool_left;
		ret->pool_limit = s.pool_limit;
	}
	if (!ret->pool_limit)
		fill_pool(v, ret);
}

/* --- invalidations by hand ------------------------------------------------------------------ */

uint32_t vmx_invalidations(const struct vmm *s)
{
	return vmx_of(s)->info.invalidations;
}

int vmx_invalidate(struct vmm_vm *vm, const struct engine_invalidate_req *q, uint32_t processor,
		   uint16_t vpid, uint32_t vcpu, struct engine_invalidated *out)
{
	struct vmxcore_invalidate i = {
		.gva = q->gva,
		.kind = q->kind,
		.processor = processor,
		.vpid = vpid,
		.vcpu = vcpu,
	};

	(void)out;
	return vmx_call(vmx_vm_of(vm)->fd, VMXCORE_INVALIDATE, &i);
}

/* --- traces -------------------------------------------------------------------------------- */

int vmx_trace_set(struct vmm_vm *vm, const struct engine_trace_set *q, uint64_t *ret_untold)
{
	struct vmxcore_trace_set t = {
		.exits = {q->exits[0], q->exits[1]},
		.kinds = q->kinds,
		.records = q->kinds ? q->records : 1,
		.vcpu = q->vcpu,
	};
	struct vmx *x = vmx_of(vm->machine);
	struct vmx_vm *b = vmx_vm_of(vm);
	int err = vmx_call(b->fd, VMXCORE_TRACE_SET, &t);

	if (err)
		return err;
	x->traced -= b->traced;
	b->traced = q->kinds != 0;
	x->traced += b->traced;
	*ret_untold = t.untold;
	return 0;
}

static void take_record(struct core_trace_record *out, const struct vmxcore_trace_record *r)
{
	*out = (struct core_trace_record){
		.seq = r->seq,
		.guest_time = r->time_ns,
		.rip = r->rip,
		.gpa = gpa(r->gpa),
		.gva = gva(r->gva),
		.qualification = r->qualification,
		.ep4ta = r->ep4ta,
		.vcpu = r->vcpu,
		.processor = r->processor,
		.exit_reason = r->exit_reason,
		.vpid = r->vpid,
		.kind = r->kind,
		.insn = r->invalidation,
		.cause = r->cause,
		.gva_valid = r->gva_valid,
	};
}

#define RECORDS_AT_A_TIME 64u

int vmx_trace_read(struct vmm_vm *vm, struct core_trace_record *ret, size_t max, size_t *ret_count,
		   uint64_t *ret_lost)
{
	struct vmxcore_trace_record some[RECORDS_AT_A_TIME];
	size_t n = 0, want, i;
	uint64_t lost = 0;

	do {
		struct vmxcore_trace_read q = {.records = vmx_pointer(some)};
		int err;

		want = max - n < RECORDS_AT_A_TIME ? max - n : RECORDS_AT_A_TIME;
		q.count = (uint32_t)want;
		err = vmx_call(vmx_vm_of(vm)->fd, VMXCORE_TRACE_READ, &q);
		/* What was taken before is not to be had again. */
		if (err && n == 0)
			return err;
		if (err || q.count > want)
			break;
		if (n == 0)
			lost = q.lost;
		for (i = 0; i < q.count; i++)
			take_record(&ret[n + i], &some[i]);
		n += q.count;
		if (q.count < want)
			break;
	} while (n < max);
	*ret_count = n;
	*ret_lost = lost;
	return 0;
}

size_t vmx_trace_waiting(struct vmm_vm *vm, uint64_t *ret_seq)
{
	struct vmxcore_trace_read q = {0};

	if (vmx_call(vmx_vm_of(vm)->fd, VMXCORE_TRACE_READ, &q)) {
		*ret_seq = 0;
		return 0;
	}
	*ret_seq = q.next_seq;
	return q.waiting;
}

/* --- what nothing announces ------------------------------------------------------------------ */

/* A look is due as long as some vCPU may run, and once more after that. */
int vmx_patience(struct vmm *s)
{
	struct vmx *x = vmx_of(s);

	if (plat_load(&x->running))
		x->look_due = true;
	if (x->traced)
		return TRACE_POLL_MS;
	return x->look_due ? VPID_POLL_MS : QUEUE_FOREVER;
}

/*
 * A guest that doesn't return to user space tells of no new generation by itself. Each vCPU
 * tells of the processor where it is.
 */
static void look_for_recycled(struct vmm_vm *vm)
{
	uint32_t i;

	for (i = 0; i < vm->vcpu_count; i++) {
		struct vmxcore_vcpu_stats s = {0};
		struct vmm_vcpu *v = &vm->vcpus[i];

		if (vmx_call(vmx_vcpu_of(v)->fd, VMXCORE_VCPU_STATS, &s) == 0 &&
		    s.processor < CORE_MAX_CPUS)
			vmm_tell_recycled(v, s.processor, s.pool_generation);
	}
}

/* Too early after the last look is not due. */
static bool take_look(struct vmx *x)
{
	struct timespec t;
	uint64_t now;

	if (!x->look_due)
		return false;
	clock_gettime(CLOCK_MONOTONIC, &t);
	now = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
	if (now - x->looked_ms < VPID_POLL_MS)
		return false;
	x->looked_ms = now;
	x->look_due = false;
	return true;
}

void vmx_poll(struct vmm *s)
{
	bool look = take_look(vmx_of(s));
	size_t i;

	for (i = 0; i < s->vm_count; i++) {
		struct vmm_vm *vm = s->vms[i];
		bool traced = vmx_vm_of(vm)->traced;

		if (!traced && !look)
			continue;
		vmm_lock(s, vm);
		if (traced)
			vmm_tell_trace(vm);
		if (look)
			look_for_recycled(vm);
		vmm_unlock(s);
	}
}
