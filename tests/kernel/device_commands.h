/* SPDX-License-Identifier: MIT */
/* Every ioctl of uapi.h, and what it wants to be right. */
#ifndef TESTS_KERNEL_DEVICE_COMMANDS_H
#define TESTS_KERNEL_DEVICE_COMMANDS_H

#include "kernel/device_rig.h"

enum device_object { OF_DEVICE, OF_VM, OF_VCPU, OBJECTS };

struct device_command {
	const char *name;
	unsigned long cmd;
	enum device_object of;
};

#define DEVICE_COMMANDS 27u
extern const struct device_command device_commands[DEVICE_COMMANDS];

/* An argument of any of them. */
union device_arg {
	struct vmxcore_info info;
	struct vmxcore_create_vm create_vm;
	struct vmxcore_slot slot;
	struct vmxcore_slot_number slot_number;
	struct vmxcore_slot_info slot_info;
	struct vmxcore_apply apply;
	struct vmxcore_ranges ranges;
	struct vmxcore_dirty dirty;
	struct vmxcore_memory memory;
	struct vmxcore_cmpxchg cmpxchg;
	struct vmxcore_lookup lookup;
	struct vmxcore_cpuid cpuid;
	struct vmxcore_invalidate invalidate;
	struct vmxcore_stats stats;
	struct vmxcore_trace_set trace_set;
	struct vmxcore_trace_read trace_read;
	struct vmxcore_vm_info vm_info;
	struct vmxcore_create_vcpu create_vcpu;
	struct vmxcore_run run;
	struct vmxcore_complete_io complete_io;
	struct vmxcore_regs regs;
	struct vmxcore_set_regs set_regs;
	struct vmxcore_event event;
	struct vmxcore_walk walk;
	struct vmxcore_vcpu_stats vcpu_stats;
	struct vmxcore_vmcs_field vmcs_field;
	uint8_t bytes[2048];
};

/* What pointers in arguments lead to; room for the most that is read or written. */
struct device_buffers {
	struct vmxcore_map_op op[4];
	uint8_t room[1 << 16];
};

/*
 * An argument that is right: it does what it says on a rig with vCPU 0 that was just opened, but
 * for COMPLETE_IO, VMCS_READ and INJECT, which want a guest that has run.
 */
void device_arg_right(const struct rig *r, struct device_buffers *b, unsigned long cmd,
		      union device_arg *ret);

#endif
