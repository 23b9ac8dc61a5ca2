/* SPDX-License-Identifier: MIT */
/* Every counter there is, as a list that describes itself. */
#include "engine/vmm.h"

#include <stdio.h>
#include <stdlib.h>

/* A list of counters that grows; rows of the same scope share the template. */
struct list {
	struct engine_stat *row;
	size_t count, room;
	bool failed; /* out of memory: the whole list is refused */
	struct engine_stat scope;
};

static void add(struct list *l, const char *prefix, const char *name, const char *unit,
		uint64_t value)
{
	struct engine_stat *row;

	if (l->count == l->room) {
		size_t room = l->room ? l->room * 2 : 256;

		row = realloc(l->row, room * sizeof(*row));
		if (!row) {
			l->failed = true;
			return;
		}
		l->row = row;
		l->room = room;
	}
	row = &l->row[l->count++];
	*row = l->scope;
	snprintf(row->name, sizeof(row->name), "%s%s", prefix, name);
	snprintf(row->unit, sizeof(row->unit), "%s", unit);
	row->value = value;
	row->observable = 1;
}

/* past: counted before, by a predecessor; may be NULL. */
static void add_core(struct list *l, const struct core_stats *stats, const struct core_stats *past,
		     enum core_stat_scope scope)
{
	unsigned i;

	for (i = 0; i < CORE_STAT_COUNT; i++)
		if (core_stat_info[i].scope == scope)
			add(l, "", core_stat_info[i].name, core_stat_info[i].unit,
			    core_stat_get(stats, i) + (past ? past->v[i] : 0));
}

/* --- vCPUs -------------------------------------------------------------------------------- */

static void add_exits(struct list *l, const struct vmm_vcpu *v)
{
	uint32_t i;

	for (i = 0; i < VMX_EXIT_REASONS; i++)
		if (core_exit_name(i))
			add(l, "exit.", core_exit_name(i), "exits",
			    core_vcpu_exit_count(v->core, i) + v->past_exits[i]);
}

static void add_tlb(struct list *l, const struct model_account *a)
{
#define TLB_STAT(name, unit, doc) add(l, "tlb.", #name, unit, a->name);
#include <vmxcore/tlb_stats.def>
#undef TLB_STAT
}

static void add_unimplemented(struct list *l, const struct model_account *a)
{
	uint32_t i;

	for (i = 0; i < a->unimplemented_count; i++)
		add(l, "ud.", a->unimplemented[i].mnemonic, "exceptions",
		    a->unimplemented[i].count);
	if (a->unimplemented_other)
		add(l, "ud.", "other", "exceptions", a->unimplemented_other);
}

static void add_vcpu(struct list *l, const struct vmm_vcpu *v)
{
	l->scope = (struct engine_stat){
		.vm = v->vm->id,
		.scope = ENGINE_SCOPE_VCPU,
		.processor = UINT32_MAX,
		.vcpu = v->index,
	};
	add(l, "", "retired", "instructions", v->account.retired);
	add(l, "", "exits_to_engine", "exits", v->exits);
	add_core(l, core_vcpu_stats(v->core), &v->past, CORE_SCOPE_VCPU);
	add_exits(l, v);
	add_tlb(l, &v->account);
	add_unimplemented(l, &v->account);
}

/* --- VMs and processors ---------------------------------------------------------------------- */

static uint64_t mapped_bytes(const struct vmm_vm *vm)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < vm->slot_count; i++)
		sum += vm->slots[i]->core.mapped_bytes;
	return sum;
}

static uint64_t slot_bytes(const struct vmm_vm *vm)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < vm->slot_count; i++)
		sum += vm->slots[i]->core.size;
	return sum;
}

static void add_vm(struct list *l, const struct vmm_vm *vm)
{
	struct core_as *as = core_vm_as(vm->core);
	uint32_t i;

	l->scope = (struct engine_stat){
		.vm = vm->id, .scope = ENGINE_SCOPE_VM, .processor = UINT32_MAX};
	add_core(l, core_as_stats(as), NULL, CORE_SCOPE_AS);
	add(l, "memory.", "slots", "slots", vm->slot_count);
	add(l, "memory.", "slot_bytes", "bytes", slot_bytes(vm));
	add(l, "memory.", "mapped_bytes", "bytes", mapped_bytes(vm));
	add(l, "memory.", "ept_table_bytes", "bytes", core_as_table_bytes(as));
	add(l, "io.", "in", "accesses", vm->bus.ins);
	add(l, "io.", "out", "accesses", vm->bus.outs);
	add(l, "io.", "unclaimed", "accesses", vm->bus.unclaimed);
	add(l, "mmio.", "unclaimed", "accesses", vm->mmio_unclaimed);
	add(l, "emulate.", "instructions", "instructions", vm->emulated);
	add(l, "emulate.", "injected", "exceptions", vm->injected);
	add(l, "console.", "bytes", "bytes", vm->console.total);
	for (i = 0; i < vm->vcpu_count; i++)
		add_vcpu(l, &vm->vcpus[i]);
}

static void add_processor(struct list *l, const struct vmm *s, uint32_t i)
{
	const struct vmm_processor *p = &s->processor[i];

	l->scope = (struct engine_stat){.scope = ENGINE_SCOPE_PROCESSOR, .processor = i};
	add(l, "", "guest_time", "ticks", model_cpu_time(p->hw));
	add(l, "", "vcpus", "vCPUs", p->vcpus);
	add(l, "", "vpid_generation", "generations", p->core->vpids.generation);
	add(l, "", "vpids_left", "VPIDs", core_vpid_left(p->core));
	add_core(l, &p->core->stats, NULL, CORE_SCOPE_CPU);
	add(l, "", "vmcs_misuses", "VMCSs", p->vmcs_misuses);
}

int vmm_stats(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
	      struct vmm_reply *reply)
{
	struct list l = {0};
	size_t k;
	uint32_t i;

	(void)rq;
	if (vm)
		add_vm(&l, vm);
	for (i = 0; i < s->cfg.processors && !vm; i++)
		add_processor(&l, s, i);
	for (k = 0; k < s->vm_count && !vm; k++)
		add_vm(&l, s->vms[k]);
	if (l.failed) {
		free(l.row);
		return -ENOMEM;
	}
	reply->payload = l.row;
	reply->payload_bytes = l.count * sizeof(*l.row);
	return 0;
}
