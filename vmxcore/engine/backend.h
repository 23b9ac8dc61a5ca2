/* SPDX-License-Identifier: MIT */
/*
 * What the VMM's user-space half (vmm.h) needs of what runs its guests. Two of them:
 *
 *   soft   core over the software processor, in this process; vCPUs run in quanta on the
 *          machine's thread
 *   vmx    core in the kernel module, by ioctls; a thread a vCPU
 *
 * The vocabulary is core's: its operations, results and numbers are plain structures. A
 * backend keeps its own behind the `back` members of struct vmm, vmm_vm, vmm_vcpu and
 * vmm_slot. Everything is called by the machine's thread with the VM's lock held, unless
 * it says otherwise; a vCPU's own thread holds the lock, too, when it calls anything.
 *
 * Results: 0 or a negative errno; ret_ parameters are untouched on failure.
 */
#ifndef VMXCORE_ENGINE_BACKEND_H
#define VMXCORE_ENGINE_BACKEND_H

#include "core/as.h"
#include "core/trace.h"
#include "core/vcpu.h"
#include "engine/kind.h"

struct stat_list;
struct vmm;
struct vmm_slot;
struct vmm_vcpu;
struct vmm_vm;
struct work;

/* A vCPU's tag, and the pool that it came from. */
struct vmm_tag {
	uint16_t vpid;	    /* 0: none yet */
	bool valid;	    /* it would be used again on that processor */
	uint32_t processor; /* that it is of; the vCPU's home if there is none */
	uint64_t generation, pool_generation;
	uint32_t pool_left, pool_limit;
};

struct backend {
	const char *name;
	/* Trace records' guest_time is the host's CLOCK_MONOTONIC in ns instead. */
	bool trace_host_time;

	/* --- the machine --- */

	/* Fills in defaults; -EINVAL beyond the bounds. */
	int (*config)(struct engine_config *cfg);
	/* From s->cfg: s->back and s->processors. */
	int (*open)(struct vmm *s);
	/* Every VM is gone. Returns how many pages and slots were forgotten: a defect. */
	size_t (*close)(struct vmm *s);
	/* All but advice: reason says why it can be taken. Also of an engine that is only probed.
	 */
	void (*describe)(const struct vmm *s, struct engine_info *ret);
	/* Bit n: the processor has invalidations of kind n (enum engine_invalidation). */
	uint32_t (*invalidations)(const struct vmm *s);
	/* Runs something for a bounded while; false: nothing is runnable. NULL: vCPUs have
	 * threads of their own. No VM's lock is held. */
	bool (*run_some)(struct vmm *s);
	/* How long the machine's thread may sleep when nothing else is to be done, in ms, or
	 * QUEUE_FOREVER; it calls poll() then and after requests. Either may be NULL. No VM's
	 * lock is held. */
	int (*patience)(struct vmm *s);
	void (*poll)(struct vmm *s);

	/* --- VMs --- */

	/* From vm->config, with what CPUID answers (x86/). */
	int (*vm_open)(struct vmm_vm *vm);
	/* What an error of vm_open() means here, and what to do about it; *text stays where it is
	 * no more than its name. NULL: it never is. */
	void (*vm_error)(int err, char *text, size_t size);
	/* Its vCPUs are closed; its slots are closed after it. Nobody else has the VM any more:
	 * for this, for vcpu_close() and for the slots' end the lock is not held. */
	void (*vm_close)(struct vmm_vm *vm);
	/* As core_as_shrink(), before vm_close() of a large one. NULL: not needed. */
	bool (*vm_shrink)(struct vmm_vm *vm, uint64_t *at, uint64_t max_entries);
	uint64_t (*eptp)(struct vmm_vm *vm);
	uint64_t (*table_bytes)(struct vmm_vm *vm);
	void (*as_stats)(struct vmm_vm *vm, struct core_stats *ret);

	/* --- vCPUs --- */

	/* v->vm, v->index, v->home and v->pinned are set. */
	int (*vcpu_open)(struct vmm_vcpu *v);
	/* It is not to run, nor in guest. Also one whose vcpu_open() failed (v->back is NULL). */
	void (*vcpu_close)(struct vmm_vcpu *v);
	/* As close and open, so that nothing of its former life is left; counters are kept
	 * by the caller. On an error it is what it was. */
	int (*vcpu_renew)(struct vmm_vcpu *v);
	/*
	 * Whether it is to run from now on. Stopping one does not wait for it to leave its
	 * guest: vcpu_hold() does. Called again with what holds already, it does nothing.
	 */
	void (*vcpu_run)(struct vmm_vcpu *v, bool run);
	/*
	 * Takes it out of its guest and waits until it is, and keeps it out until it is
	 * released. They nest. The VM's lock is let go of meanwhile: look at its state again.
	 * All that follows needs a vCPU that is held, or the vCPU's own thread. NULL: where
	 * requests are served none is in guest.
	 */
	void (*vcpu_hold)(struct vmm_vcpu *v);
	void (*vcpu_release)(struct vmm_vcpu *v);

	/* As core_vcpu_get_regs(), _set_regs(), ... */
	int (*get_regs)(struct vmm_vcpu *v, struct core_regs *ret);
	int (*set_regs)(struct vmm_vcpu *v, const struct core_regs *regs, const char **ret_field);
	int (*inject)(struct vmm_vcpu *v, const struct core_event *event);
	int (*complete_io)(struct vmm_vcpu *v, uint32_t value);
	int (*complete_emulation)(struct vmm_vcpu *v, const struct core_regs *regs);
	/* A walk as core_walk() does it, with the vCPU's registers. */
	int (*walk)(struct vmm_vcpu *v, gva_t a, uint32_t access, bool user, bool smap_off,
		    struct core_walk_result *ret);
	/* -ENODATA: it has never run; -EINVAL: the processor has no such field. */
	int (*vmcs_read)(struct vmm_vcpu *v, uint32_t field, uint64_t *ret);

	/* These need no hold. */
	void (*tag)(struct vmm_vcpu *v, struct vmm_tag *ret);
	/* Since the vCPU was opened or renewed. */
	void (*vcpu_stats)(struct vmm_vcpu *v, struct core_stats *ret,
			   uint64_t ret_exits[VMX_EXIT_REASONS]);
	/* Instructions, over renewals; false: not observable. */
	bool (*retired)(const struct vmm_vcpu *v, uint64_t *ret);
	/* Where it runs, or ran last. */
	uint32_t (*processor)(const struct vmm_vcpu *v);
	/* Which check of VM entry refused it the last time; NULL: not known. */
	const char *(*entry_refused)(struct vmm_vcpu *v);

	/* --- mappings --- */

	/* As core_as_apply(), from a processor of the backend's choice. */
	int (*apply)(struct vmm_vm *vm, const struct core_map_op *ops, size_t count, uint32_t flags,
		     struct core_change *ret, struct core_conflict *ret_conflict);
	/*
	 * The same in pieces, as core_as_change_begin() and so on. change_begin NULL: apply() is
	 * the only way. A large change is then work for another thread, which calls apply()
	 * without the VM's lock; no other request to the VM is served meanwhile.
	 */
	int (*change_begin)(struct vmm_vm *vm, const struct core_map_op *ops, size_t count,
			    uint32_t flags, struct as_change **ret,
			    struct core_conflict *ret_conflict);
	int (*change_step)(struct as_change *c, uint64_t max_entries, struct core_change *ret);
	void (*change_cancel)(struct as_change *c);
	void (*change_progress)(const struct as_change *c, uint64_t *ret_done, uint64_t *ret_total);

	/* As core_as_lookup(), core_as_ranges(), core_as_count_leaves(), core_as_dirty_harvest().
	 */
	int (*lookup)(struct vmm_vm *vm, gpa_t a, struct core_range *ret);
	size_t (*ranges)(struct vmm_vm *vm, gpa_t from, struct core_range *ret, size_t max);
	void (*count_leaves)(struct vmm_vm *vm, const struct core_range *range,
			     struct core_leaf_counts *ret);
	int (*dirty)(struct vmm_vm *vm, gpa_t gpa, uint64_t size, bool clear, uint8_t *bitmap,
		     struct core_change *ret);

	/* --- memory --- */

	/* As core_guest_read(), core_guest_write(), core_guest_cmpxchg(); at most
	 * ENGINE_MAX_DATA. */
	int (*read)(struct vmm_vm *vm, gpa_t a, void *buf, size_t len);
	int (*write)(struct vmm_vm *vm, gpa_t a, const void *buf, size_t len);
	int (*cmpxchg)(struct vmm_vm *vm, gpa_t a, unsigned size, uint64_t *expected,
		       uint64_t desired);
	/* The bytes of the page at a, to be decoded; of *buf if they have to be copied. NULL: no
	 * memory. A whole page, until the next call for this VM. */
	const void *(*code)(struct vmm_vm *vm, const struct core_walk_result *at, void *buf);

	/*
	 * Memory for a slot: fills slot->core.mem or slot->back, slot->huge, slot->extents and
	 * slot->hpa_first (UINT64_MAX: not told). slot->core.id and .size and slot->kind are
	 * set. Errors as plat_mem_create() has them. May leave much to be done in
	 * slot_populate(), which other threads execute, without a lock.
	 */
	int (*slot_open)(struct vmm_vm *vm, struct vmm_slot *slot, int fd, uint64_t file_offset);
	/* NULL: nothing is left to be done. Executed once, before anything else uses the slot. */
	int (*slot_populate)(struct vmm_vm *vm, struct vmm_slot *slot, uint64_t *done);
	/* Nothing maps it. */
	void (*slot_close)(struct vmm_vm *vm, struct vmm_slot *slot);
	/* Content; -ERANGE. */
	int (*slot_read)(struct vmm_vm *vm, const struct vmm_slot *slot, uint64_t offset, void *buf,
			 size_t len);
	int (*slot_write)(struct vmm_vm *vm, struct vmm_slot *slot, uint64_t offset,
			  const void *buf, size_t len);
	/* Of a VM that does not run, from any thread, without a lock: writes; makes whole pages
	 * zero (give_back: they will not be used again, the host may have them). Then tells that
	 * the slot has been written. */
	int (*slot_fill)(struct vmm_vm *vm, struct vmm_slot *slot, uint64_t offset, const void *buf,
			 size_t len);
	void (*slot_zero)(struct vmm_vm *vm, struct vmm_slot *slot, uint64_t offset, uint64_t bytes,
			  bool give_back);
	void (*slot_written)(struct vmm_vm *vm, struct vmm_slot *slot);
	/* Brings every slot's core.mapped_bytes up to date. NULL: core keeps them. */
	void (*slots_mapped)(struct vmm_vm *vm);
	/* What an error of slot_open() or slot_populate() means here, and what to do about it;
	 * *text stays where it is no more than its name. NULL: it never is. */
	void (*slot_error)(uint32_t kind, int err, char *text, size_t size);

	/* --- looking, and tracing --- */

	/* What the caches hold: cached, cached_valid and refs_with_caches, tlb_level. The rest of
	 * *out is filled; its vpid is 0 where the next entry finds nothing tagged. NULL: not
	 * observable. */
	void (*walk_caches)(struct vmm_vcpu *v, const struct core_walk_result *w,
			    struct engine_walk *out);
	/* held_*, tlb_valid. NULL: not observable. */
	void (*vpid_held)(struct vmm_vcpu *v, const struct vmm_tag *tag, struct engine_vpid *out);
	/* All but vm, vcpu, processor, vpid. NULL: not observable. */
	void (*tlb_stats)(struct vmm_vcpu *v, struct engine_tlb_stats *out);
	/* The content of a processor's TLB; every field but vm and vcpu (owner by tags: upper
	 * half). *ret is malloc'ed. NULL: not observable. */
	int (*tlb_entries)(struct vmm *s, uint32_t processor, int vpid,
			   struct engine_tlb_entry **ret, size_t *ret_count);
	/* Executes it on the processor; out->observable and out->dropped_*, as far as it can
	 * be seen; they are 0. vcpu: whose VPID it names, or CORE_TRACE_NO_VCPU. -ENODEV: the
	 * processor is not there. */
	int (*invalidate)(struct vmm_vm *vm, const struct engine_invalidate_req *q,
			  uint32_t processor, uint16_t vpid, uint32_t vcpu,
			  struct engine_invalidated *out);
	/* As core_trace_set() and so on; set also tells what core_trace_untold() did before. */
	int (*trace_set)(struct vmm_vm *vm, const struct engine_trace_set *q, uint64_t *ret_untold);
	int (*trace_read)(struct vmm_vm *vm, struct core_trace_record *ret, size_t max,
			  size_t *ret_count, uint64_t *ret_lost);
	size_t (*trace_waiting)(struct vmm_vm *vm, uint64_t *ret_seq);

	/* More rows for ENGINE_STATS; l->scope is set. */
	void (*more_vcpu_stats)(struct stat_list *l, struct vmm_vcpu *v);
	void (*more_vm_stats)(struct stat_list *l, struct vmm_vm *vm); /* may be NULL */
	void (*processor_stats)(struct stat_list *l, struct vmm *s, uint32_t processor);
};

extern const struct backend backend_soft;
extern const struct backend backend_vmx;

#endif
