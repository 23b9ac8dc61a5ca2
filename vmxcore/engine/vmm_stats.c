/* SPDX-License-Identifier: MIT */
/* Every counter there is, as a list that describes itself. */
#include "engine/vmm.h"

#include <stdio.h>
#include <stdlib.h>

/* NULL: out of memory, and the list has failed. */
static struct engine_stat *new_row(struct stat_list *l, const char *prefix, const char *name,
				   const char *unit)
{
	struct engine_stat *row;

	if (l->count == l->room) {
		size_t room = l->room ? l->room * 2 : 256;

		row = realloc(l->row, room * sizeof(*row));
		if (!row) {
			l->failed = true;
			return NULL;
		}
		l->row = row;
		l->room = room;
	}
	row = &l->row[l->count++];
	*row = l->scope;
	snprintf(row->name, sizeof(row->name), "%s%s", prefix, name);
	snprintf(row->unit, sizeof(row->unit), "%s", unit);
	return row;
}

void stat_add(struct stat_list *l, const char *prefix, const char *name, const char *unit,
	      uint64_t value)
{
	struct engine_stat *row = new_row(l, prefix, name, unit);

	if (!row)
		return;
	row->value = value;
	row->observable = 1;
}

void stat_add_null(struct stat_list *l, const char *prefix, const char *name, const char *unit)
{
	new_row(l, prefix, name, unit);
}

void stat_add_core(struct stat_list *l, const struct core_stats *stats,
		   const struct core_stats *past, enum core_stat_scope scope)
{
	unsigned i;

	for (i = 0; i < CORE_STAT_COUNT; i++)
		if (core_stat_info[i].scope == scope)
			stat_add(l, "", core_stat_info[i].name, core_stat_info[i].unit,
				 core_stat_get(stats, i) + (past ? past->v[i] : 0));
}

/* --- vCPUs -------------------------------------------------------------------------------- */

static void add_exits(struct stat_list *l, const struct vmm_vcpu *v,
		      const uint64_t exits[VMX_EXIT_REASONS])
{
	uint32_t i;

	for (i = 0; i < VMX_EXIT_REASONS; i++)
		if (core_exit_name(i))
			stat_add(l, "exit.", core_exit_name(i), "exits",
				 exits[i] + v->past_exits[i]);
}

static void add_retired(struct stat_list *l, const struct vmm_vcpu *v)
{
	uint64_t retired;

	if (v->vm->machine->backend->retired(v, &retired))
		stat_add(l, "", "retired", "instructions", retired);
	else
		stat_add_null(l, "", "retired", "instructions");
}

static void add_vcpu(struct stat_list *l, struct vmm_vcpu *v)
{
	const struct backend *b = v->vm->machine->backend;
	uint64_t exits[VMX_EXIT_REASONS];
	struct core_stats stats;

	l->scope = (struct engine_stat){
		.vm = v->vm->id,
		.scope = ENGINE_SCOPE_VCPU,
		.processor = UINT32_MAX,
		.vcpu = v->index,
	};
	b->vcpu_stats(v, &stats, exits);
	add_retired(l, v);
	stat_add(l, "", "exits_to_engine", "exits", v->exits);
	stat_add_core(l, &stats, &v->past, CORE_SCOPE_VCPU);
	add_exits(l, v, exits);
	b->more_vcpu_stats(l, v);
}

/* --- VMs and processors ---------------------------------------------------------------------- */

static uint64_t mapped_bytes(struct vmm_vm *vm)
{
	uint64_t sum = 0;
	size_t i;

	vmm_slots_mapped(vm);
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

static void add_vm(struct stat_list *l, struct vmm_vm *vm)
{
	const struct backend *b = vm->machine->backend;
	struct core_stats stats;
	uint32_t i;

	l->scope = (struct engine_stat){
		.vm = vm->id, .scope = ENGINE_SCOPE_VM, .processor = UINT32_MAX};
	b->as_stats(vm, &stats);
	stat_add_core(l, &stats, NULL, CORE_SCOPE_AS);
	stat_add(l, "memory.", "slots", "slots", vm->slot_count);
	stat_add(l, "memory.", "slot_bytes", "bytes", slot_bytes(vm));
	stat_add(l, "memory.", "mapped_bytes", "bytes", mapped_bytes(vm));
	stat_add(l, "memory.", "ept_table_bytes", "bytes", b->table_bytes(vm));
	stat_add(l, "io.", "in", "accesses", vm->bus.ins);
	stat_add(l, "io.", "out", "accesses", vm->bus.outs);
	stat_add(l, "io.", "unclaimed", "accesses", vm->bus.unclaimed);
	stat_add(l, "mmio.", "unclaimed", "accesses", vm->mmio_unclaimed);
	stat_add(l, "emulate.", "instructions", "instructions", vm->emulated);
	stat_add(l, "emulate.", "injected", "exceptions", vm->injected);
	stat_add(l, "console.", "bytes", "bytes", vm->console.total);
	if (b->more_vm_stats)
		b->more_vm_stats(l, vm);
	for (i = 0; i < vm->vcpu_count; i++)
		add_vcpu(l, &vm->vcpus[i]);
}

static void add_all(struct stat_list *l, struct vmm *s)
{
	uint32_t i;
	size_t k;

	for (i = 0; i < s->processors; i++) {
		l->scope = (struct engine_stat){.scope = ENGINE_SCOPE_PROCESSOR, .processor = i};
		s->backend->processor_stats(l, s, i);
	}
	for (k = 0; k < s->vm_count; k++) {
		vmm_lock(s, s->vms[k]);
		add_vm(l, s->vms[k]);
		vmm_unlock(s);
	}
}

int vmm_stats(struct vmm *s, struct vmm_vm *vm, const struct queue_request *rq,
	      struct vmm_reply *reply)
{
	struct stat_list l = {0};

	(void)rq;
	if (vm)
		add_vm(&l, vm);
	else
		add_all(&l, s);
	if (l.failed) {
		free(l.row);
		return -ENOMEM;
	}
	reply->payload = l.row;
	reply->payload_bytes = l.count * sizeof(*l.row);
	return 0;
}
