/* SPDX-License-Identifier: MIT */
/*
 * The soft backend, inside: one machine, core over the software processor, whose vCPUs the
 * machine's thread runs in quanta. Everything below belongs to that thread after open.
 */
#ifndef VMXCORE_ENGINE_SOFT_H
#define VMXCORE_ENGINE_SOFT_H

#include "engine/vmm.h"
#include "hw/model/model.h"
#include "plat/user.h"

#define SOFT_QUANTUM_DEFAULT UINT64_C(20000)
#define SOFT_QUANTUM_MAX UINT64_C(10000000)
#define SOFT_PROCESSORS_DEFAULT 2u
#define SOFT_MEMORY_DEFAULT (UINT64_C(256) << 30)
#define SOFT_MEMORY_MAX (UINT64_C(8) << 40)

/* Behind struct vmm_vcpu. */
struct soft_vcpu {
	struct vmm_vcpu *vcpu;
	struct core_vcpu *core;
	struct model_account account;
	uint32_t unimplemented_told; /* rows of the account that a notice was made of */
	/* Circular list of its processor's runnable vCPUs; NULL: not on it. */
	struct soft_vcpu *next, *prev;
};

struct soft_processor {
	struct core_cpu *core;
	struct hw_cpu *hw;
	struct soft_vcpu *turn; /* the next to run; NULL: none is runnable */
	uint64_t vmcs_misuses;	/* a VMCS was active elsewhere, too: a defect */
};

/* Behind struct vmm. A VM's is its struct core_vm, a slot's slot->core.mem. */
struct soft {
	struct vmm *vmm;
	struct plat *plat;
	struct model *model;
	struct core *core;
	struct emulator *emulator;
	struct soft_processor processor[CORE_MAX_CPUS];
	uint32_t turn; /* processor to go on with */
};

static inline struct soft *soft_of(const struct vmm *s)
{
	return s->back;
}

static inline struct soft_vcpu *soft_vcpu_of(const struct vmm_vcpu *v)
{
	return v->back;
}

static inline struct core_vm *soft_vm_of(const struct vmm_vm *vm)
{
	return vm->back;
}

static inline struct core_as *soft_as_of(const struct vmm_vm *vm)
{
	return core_vm_as(soft_vm_of(vm));
}

/* --- soft_run.c --- */
bool soft_run_some(struct vmm *s);
void soft_vcpu_run(struct vmm_vcpu *v, bool run);

/* --- soft_vm.c: VMs and vCPUs --- */
int soft_vm_open(struct vmm_vm *vm);
void soft_vm_close(struct vmm_vm *vm);
bool soft_vm_shrink(struct vmm_vm *vm, uint64_t *at, uint64_t max_entries);
uint64_t soft_eptp(struct vmm_vm *vm);
uint64_t soft_table_bytes(struct vmm_vm *vm);
void soft_as_stats(struct vmm_vm *vm, struct core_stats *ret);
int soft_vcpu_open(struct vmm_vcpu *v);
void soft_vcpu_close(struct vmm_vcpu *v);
int soft_vcpu_renew(struct vmm_vcpu *v);
int soft_get_regs(struct vmm_vcpu *v, struct core_regs *ret);
int soft_set_regs(struct vmm_vcpu *v, const struct core_regs *regs, const char **ret_field);
int soft_inject(struct vmm_vcpu *v, const struct core_event *event);
int soft_complete_io(struct vmm_vcpu *v, uint32_t value);
int soft_complete_emulation(struct vmm_vcpu *v, const struct core_regs *regs);
int soft_walk(struct vmm_vcpu *v, gva_t a, uint32_t access, bool user, bool smap_off,
	      struct core_walk_result *ret);
int soft_vmcs_read(struct vmm_vcpu *v, uint32_t field, uint64_t *ret);
void soft_tag(struct vmm_vcpu *v, struct vmm_tag *ret);
void soft_vcpu_stats(struct vmm_vcpu *v, struct core_stats *ret,
		     uint64_t ret_exits[VMX_EXIT_REASONS]);
bool soft_retired(const struct vmm_vcpu *v, uint64_t *ret);
uint32_t soft_processor_of(const struct vmm_vcpu *v);
const char *soft_entry_refused(struct vmm_vcpu *v);

/* --- soft_mem.c: mappings and memory --- */
int soft_apply(struct vmm_vm *vm, const struct core_map_op *ops, size_t count, uint32_t flags,
	       struct core_change *ret, struct core_conflict *ret_conflict);
int soft_change_begin(struct vmm_vm *vm, const struct core_map_op *ops, size_t count,
		      uint32_t flags, struct as_change **ret, struct core_conflict *ret_conflict);
int soft_lookup(struct vmm_vm *vm, gpa_t a, struct core_range *ret);
size_t soft_ranges(struct vmm_vm *vm, gpa_t from, struct core_range *ret, size_t max);
void soft_count_leaves(struct vmm_vm *vm, const struct core_range *range,
		       struct core_leaf_counts *ret);
int soft_dirty(struct vmm_vm *vm, gpa_t gpa, uint64_t size, bool clear, uint8_t *bitmap,
	       struct core_change *ret);
int soft_read(struct vmm_vm *vm, gpa_t a, void *buf, size_t len);
int soft_write(struct vmm_vm *vm, gpa_t a, const void *buf, size_t len);
int soft_cmpxchg(struct vmm_vm *vm, gpa_t a, unsigned size, uint64_t *expected, uint64_t desired);
const void *soft_code(struct vmm_vm *vm, const struct core_walk_result *at, void *buf);
int soft_slot_open(struct vmm_vm *vm, struct vmm_slot *slot, int fd, uint64_t file_offset);
void soft_slot_close(struct vmm_vm *vm, struct vmm_slot *slot);
int soft_slot_read(struct vmm_vm *vm, const struct vmm_slot *slot, uint64_t offset, void *buf,
		   size_t len);
int soft_slot_write(struct vmm_vm *vm, struct vmm_slot *slot, uint64_t offset, const void *buf,
		    size_t len);
int soft_slot_fill(struct vmm_vm *vm, struct vmm_slot *slot, uint64_t offset, const void *buf,
		   size_t len);
void soft_slot_zero(struct vmm_vm *vm, struct vmm_slot *slot, uint64_t offset, uint64_t bytes,
		    bool give_back);
void soft_slot_written(struct vmm_vm *vm, struct vmm_slot *slot);

/* --- soft_look.c: what only a software processor shows --- */
void soft_walk_caches(struct vmm_vcpu *v, const struct core_walk_result *w,
		      struct engine_walk *out);
void soft_vpid_held(struct vmm_vcpu *v, const struct vmm_tag *tag, struct engine_vpid *out);
void soft_tlb_stats(struct vmm_vcpu *v, struct engine_tlb_stats *out);
int soft_tlb_entries(struct vmm *s, uint32_t processor, int vpid, struct engine_tlb_entry **ret,
		     size_t *ret_count);
int soft_trace_set(struct vmm_vm *vm, const struct engine_trace_set *q, uint64_t *ret_untold);
int soft_trace_read(struct vmm_vm *vm, struct core_trace_record *ret, size_t max, size_t *ret_count,
		    uint64_t *ret_lost);
size_t soft_trace_waiting(struct vmm_vm *vm, uint64_t *ret_seq);
void soft_more_vcpu_stats(struct stat_list *l, struct vmm_vcpu *v);
void soft_processor_stats(struct stat_list *l, struct vmm *s, uint32_t processor);

/* --- soft_hand.c: invalidations by hand --- */
uint32_t soft_invalidations(const struct vmm *s);
int soft_invalidate(struct vmm_vm *vm, const struct engine_invalidate_req *q, uint32_t processor,
		    uint16_t vpid, uint32_t vcpu, struct engine_invalidated *out);

#endif
