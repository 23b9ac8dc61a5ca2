/* SPDX-License-Identifier: MIT */
/*
 * The vmx backend, inside: core in the kernel module, reached by ioctls (vmx_dev.h,
 * include/vmxcore/uapi.h), with a thread for each vCPU that runs its guest.
 *
 * What belongs to a vCPU is protected by its VM's lock. Its thread lets go of the lock while
 * it is in VMXCORE_RUN, and for nothing else.
 */
#ifndef VMXCORE_ENGINE_VMX_H
#define VMXCORE_ENGINE_VMX_H

#include "engine/vmm.h"
#include "engine/vmx_dev.h"

#include <vmxcore/uapi.h>

/* Behind struct vmm. */
struct vmx {
	int fd; /* the device */
	struct vmxcore_info info;
	bool fewer;	    /* processors than there are: each vCPU stays on its home */
	uint32_t traced;    /* VMs that are traced now */
	size_t objects;	    /* VMs, vCPUs and slots that are open */
	uint32_t running;   /* vCPUs that may run. Atomic */
	bool look_due;	    /* for new generations of VPIDs; the machine's thread's */
	uint64_t looked_ms; /* when that was done last, CLOCK_MONOTONIC */
};

/* Behind struct vmm_vm. */
struct vmx_vm {
	int fd;
	uint64_t eptp;
	struct emulator *emulator; /* its vCPUs' threads have it in turn, with the VM's lock */
	bool traced;
	uint32_t stale; /* atomic: slots' mapped_bytes are out of date */
};

/* What the processor's counters may tell of a guest: bit n of VMXCORE_VCPU_STATS's events. */
#define VMX_EVENTS 2u

/* Behind struct vmm_vcpu. */
struct vmx_vcpu {
	struct vmm_vcpu *vcpu;
	int fd; /* -1: a renewal failed */
	pthread_t thread;
	pthread_cond_t go;  /* its thread: look again */
	pthread_cond_t out; /* it has left its guest */
	bool run, closing;
	bool in_guest; /* its thread is in VMXCORE_RUN, or about to be */
	unsigned holds;
	bool io_due; /* the last exit's IN or OUT is to be completed, with io_value */
	uint32_t io_value;
	uint32_t processor; /* it ran on last */
	uint32_t bound;	    /* its thread is; VMX_DEV_ANY */
	uint32_t lost;	    /* processors out of VMX operation that it met, one after the other */
	char field[24];	    /* the register that VMXCORE_SET_REGS refused last */
	uint64_t past_events[VMX_EVENTS]; /* of those before the last renewal */
};

/* Behind struct vmm_slot. */
struct vmx_slot {
	uint8_t *base;
	uint64_t bytes;
	bool guarded; /* plat/guard.h */
	bool added;   /* the module has pinned it */
};

static inline struct vmx *vmx_of(const struct vmm *s)
{
	return s->back;
}

static inline struct vmx_vm *vmx_vm_of(const struct vmm_vm *vm)
{
	return vm->back;
}

static inline struct vmx_vcpu *vmx_vcpu_of(const struct vmm_vcpu *v)
{
	return v->back;
}

static inline long vmx_ioctl(int fd, unsigned long cmd, void *arg)
{
	return vmx_dev->ioctl(fd, cmd, arg);
}

/* For calls that give no result but success. */
static inline int vmx_call(int fd, unsigned long cmd, void *arg)
{
	long r = vmx_ioctl(fd, cmd, arg);

	return r < 0 ? (int)r : 0;
}

static inline uint64_t vmx_pointer(const void *p)
{
	return (uintptr_t)p;
}

/* --- vmx_probe.c --- */
void vmx_probe(struct engine_info *ret);
/* Opens the device and asks it: 0 and a descriptor, or why not (the same as vmx_probe()). */
int vmx_device_open(int *ret_fd, struct vmxcore_info *ret);
void vmx_vm_error(int err, char *text, size_t size);
void vmx_describe_device(const struct vmxcore_info *info, struct engine_info *ret);
/* Bytes of RAM. */
uint64_t vmx_host_memory(void);

/* --- vmx_vm.c --- */
int vmx_vm_open(struct vmm_vm *vm);
void vmx_vm_close(struct vmm_vm *vm);
uint64_t vmx_eptp(struct vmm_vm *vm);
uint64_t vmx_table_bytes(struct vmm_vm *vm);

/* --- vmx_run.c: threads --- */
int vmx_vcpu_open(struct vmm_vcpu *v);
void vmx_vcpu_close(struct vmm_vcpu *v);
int vmx_vcpu_renew(struct vmm_vcpu *v);
void vmx_vcpu_run(struct vmm_vcpu *v, bool run);
void vmx_vcpu_hold(struct vmm_vcpu *v);
void vmx_vcpu_release(struct vmm_vcpu *v);
uint32_t vmx_processor(const struct vmm_vcpu *v);

/* --- vmx_vcpu.c: registers and events --- */
/* Completes the IN or OUT that is due, so that the vCPU is as after the instruction. */
int vmx_flush(struct vmx_vcpu *b);
int vmx_get_regs(struct vmm_vcpu *v, struct core_regs *ret);
int vmx_set_regs(struct vmm_vcpu *v, const struct core_regs *regs, const char **ret_field);
int vmx_inject(struct vmm_vcpu *v, const struct core_event *event);
int vmx_complete_io(struct vmm_vcpu *v, uint32_t value);
int vmx_complete_emulation(struct vmm_vcpu *v, const struct core_regs *regs);
int vmx_vmcs_read(struct vmm_vcpu *v, uint32_t field, uint64_t *ret);
bool vmx_retired(const struct vmm_vcpu *v, uint64_t *ret);
const char *vmx_entry_refused(struct vmm_vcpu *v);

/* --- vmx_space.c: mappings, and memory through them --- */
int vmx_apply(struct vmm_vm *vm, const struct core_map_op *ops, size_t count, uint32_t flags,
	      struct core_change *ret, struct core_conflict *ret_conflict);
int vmx_lookup(struct vmm_vm *vm, gpa_t a, struct core_range *ret);
size_t vmx_ranges(struct vmm_vm *vm, gpa_t from, struct core_range *ret, size_t max);
void vmx_count_leaves(struct vmm_vm *vm, const struct core_range *range,
		      struct core_leaf_counts *ret);
int vmx_dirty(struct vmm_vm *vm, gpa_t at, uint64_t size, bool clear, uint8_t *bitmap,
	      struct core_change *ret);
int vmx_read(struct vmm_vm *vm, gpa_t a, void *buf, size_t len);
int vmx_write(struct vmm_vm *vm, gpa_t a, const void *buf, size_t len);
int vmx_cmpxchg(struct vmm_vm *vm, gpa_t a, unsigned size, uint64_t *expected, uint64_t desired);
const void *vmx_code(struct vmm_vm *vm, const struct core_walk_result *at, void *buf);

/* --- vmx_mem.c: slots --- */
int vmx_slot_open(struct vmm_vm *vm, struct vmm_slot *slot, int fd, uint64_t file_offset);
int vmx_slot_populate(struct vmm_vm *vm, struct vmm_slot *slot, uint64_t *done);
void vmx_slot_close(struct vmm_vm *vm, struct vmm_slot *slot);
int vmx_slot_read(struct vmm_vm *vm, const struct vmm_slot *slot, uint64_t offset, void *buf,
		  size_t len);
int vmx_slot_write(struct vmm_vm *vm, struct vmm_slot *slot, uint64_t offset, const void *buf,
		   size_t len);
void vmx_slot_zero(struct vmm_vm *vm, struct vmm_slot *slot, uint64_t offset, uint64_t bytes,
		   bool give_back);
void vmx_slot_written(struct vmm_vm *vm, struct vmm_slot *slot);
void vmx_slots_mapped(struct vmm_vm *vm);
void vmx_slot_error(uint32_t kind, int err, char *text, size_t size);

/* --- vmx_look.c: walks, counters, tags, traces, invalidations --- */
int vmx_walk(struct vmm_vcpu *v, gva_t a, uint32_t access, bool user, bool smap_off,
	     struct core_walk_result *ret);
void vmx_tag(struct vmm_vcpu *v, struct vmm_tag *ret);
void vmx_as_stats(struct vmm_vm *vm, struct core_stats *ret);
void vmx_vcpu_stats(struct vmm_vcpu *v, struct core_stats *ret,
		    uint64_t ret_exits[VMX_EXIT_REASONS]);
void vmx_more_vcpu_stats(struct stat_list *l, struct vmm_vcpu *v);
/* The vCPU that the module has is about to go: its events are kept. */
void vmx_keep_events(struct vmx_vcpu *b);
void vmx_processor_stats(struct stat_list *l, struct vmm *s, uint32_t processor);
uint32_t vmx_invalidations(const struct vmm *s);
int vmx_invalidate(struct vmm_vm *vm, const struct engine_invalidate_req *q, uint32_t processor,
		   uint16_t vpid, uint32_t vcpu, struct engine_invalidated *out);
int vmx_trace_set(struct vmm_vm *vm, const struct engine_trace_set *q, uint64_t *ret_untold);
int vmx_trace_read(struct vmm_vm *vm, struct core_trace_record *ret, size_t max, size_t *ret_count,
		   uint64_t *ret_lost);
size_t vmx_trace_waiting(struct vmm_vm *vm, uint64_t *ret_seq);
int vmx_patience(struct vmm *s);
void vmx_poll(struct vmm *s);

#endif
