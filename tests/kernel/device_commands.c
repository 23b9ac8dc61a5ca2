/* SPDX-License-Identifier: MIT */
#include "kernel/device_commands.h"

#include <string.h>

#define ROW(name, of)                     \
	{                                 \
#name, VMXCORE_##name, of \
	}

const struct device_command device_commands[DEVICE_COMMANDS] = {
	ROW(GET_INFO, OF_DEVICE), ROW(CREATE_VM, OF_DEVICE), ROW(ADD_SLOT, OF_VM),
	ROW(REMOVE_SLOT, OF_VM),  ROW(SLOT_INFO, OF_VM),     ROW(APPLY, OF_VM),
	ROW(RANGES, OF_VM),	  ROW(DIRTY, OF_VM),	     ROW(MEMORY, OF_VM),
	ROW(CMPXCHG, OF_VM),	  ROW(LOOKUP, OF_VM),	     ROW(SET_CPUID, OF_VM),
	ROW(INVALIDATE, OF_VM),	  ROW(STATS, OF_VM),	     ROW(TRACE_SET, OF_VM),
	ROW(TRACE_READ, OF_VM),	  ROW(VM_INFO, OF_VM),	     ROW(CREATE_VCPU, OF_VM),
	ROW(RUN, OF_VCPU),	  ROW(KICK, OF_VCPU),	     ROW(GET_REGS, OF_VCPU),
	ROW(SET_REGS, OF_VCPU),	  ROW(INJECT, OF_VCPU),	     ROW(WALK, OF_VCPU),
	ROW(VCPU_STATS, OF_VCPU), ROW(VMCS_READ, OF_VCPU),   ROW(COMPLETE_IO, OF_VCPU),
};

/* The VM's registers as they are: what may be set again. */
static void same_regs(const struct rig *r, struct vmxcore_set_regs *s)
{
	must(r->vcpu[0], VMXCORE_GET_REGS, &s->regs);
}

static void right_of_vm(const struct rig *r, struct device_buffers *b, unsigned long cmd,
			union device_arg *a)
{
	const uint64_t room = (uintptr_t)b->room;

	if (cmd == VMXCORE_ADD_SLOT)
		a->slot = (struct vmxcore_slot){
			.slot = 7, .address = (uintptr_t)r->spare, .size_bytes = 8192};
	if (cmd == VMXCORE_REMOVE_SLOT)
		a->slot_number.slot = SLOT_SPARE;
	if (cmd == VMXCORE_SLOT_INFO)
		a->slot_info.slot = SLOT_RAM;
	b->op[0] = (struct vmxcore_map_op){.kind = VMXCORE_MAP,
					   .gpa = 0x40000000,
					   .size_bytes = 8192,
					   .offset_bytes = 4096,
					   .slot = SLOT_SPARE,
					   .prot = 3,
					   .memtype = 6};
	if (cmd == VMXCORE_APPLY)
		a->apply = (struct vmxcore_apply){.operations = (uintptr_t)b->op, .count = 1};
	if (cmd == VMXCORE_RANGES)
		a->ranges = (struct vmxcore_ranges){.ranges = room, .count = 8};
	if (cmd == VMXCORE_DIRTY)
		a->dirty = (struct vmxcore_dirty){.size_bytes = 0x10000, .bitmap = room};
	if (cmd == VMXCORE_MEMORY)
		a->memory = (struct vmxcore_memory){
			.gpa = TEXT_GPA, .buffer = room, .size_bytes = 4096, .write = 1};
	if (cmd == VMXCORE_CMPXCHG)
		a->cmpxchg =
			(struct vmxcore_cmpxchg){.gpa = TEXT_GPA, .size_bytes = 8, .desired = 1};
	if (cmd == VMXCORE_SET_CPUID)
		a->cpuid = (struct vmxcore_cpuid){.entries = room, .count = 2};
	if (cmd == VMXCORE_STATS)
		a->stats = (struct vmxcore_stats){.values = room, .count = 64, .processor = ~0u};
	if (cmd == VMXCORE_TRACE_SET)
		a->trace_set = (struct vmxcore_trace_set){.kinds = 7, .records = 16, .vcpu = ~0u};
	if (cmd == VMXCORE_TRACE_READ)
		a->trace_read = (struct vmxcore_trace_read){.records = room, .count = 4};
	if (cmd == VMXCORE_CREATE_VCPU)
		a->create_vcpu.index = 3;
}

static void right_of_vcpu(const struct rig *r, struct device_buffers *b, unsigned long cmd,
			  union device_arg *a)
{
	if (cmd == VMXCORE_RUN)
		a->run.budget_ticks = 100;
	if (cmd == VMXCORE_SET_REGS)
		same_regs(r, &a->set_regs);
	/* #GP(0) */
	if (cmd == VMXCORE_INJECT)
		a->event.info = 1u << 31 | 1u << 11 | 3u << 8 | 13;
	if (cmd == VMXCORE_WALK)
		a->walk = (struct vmxcore_walk){.gva = CODE_GPA, .access = 1};
	if (cmd == VMXCORE_VCPU_STATS)
		a->vcpu_stats = (struct vmxcore_vcpu_stats){.values = (uintptr_t)b->room,
							    .exits = (uintptr_t)b->room + 4096,
							    .count = 64,
							    .exit_count = 64};
	if (cmd == VMXCORE_VMCS_READ)
		a->vmcs_field.encoding = 0x681e; /* guest RIP */
}

void device_arg_right(const struct rig *r, struct device_buffers *b, unsigned long cmd,
		      union device_arg *ret)
{
	memset(ret, 0, sizeof(*ret));
	right_of_vm(r, b, cmd, ret);
	right_of_vcpu(r, b, cmd, ret);
}
