/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * A vCPU and its VM from the inside: shared by the files that run one.
 *
 * Register cache. struct core_vcpu.regs is the truth for the groups in `have`; for
 * the others the VMCS is. Groups in `dirty` (a subset of `have`) differ from the
 * VMCS and are written before the next entry. An exit empties both; core_vcpu_run()
 * returns with every group in `have`. So whatever looks at a vCPU that doesn't run
 * needs no processor.
 */
#ifndef VMXCORE_CORE_VCPU_INTERNAL_H
#define VMXCORE_CORE_VCPU_INTERNAL_H

#include "core/vcpu.h"
#include "hw/vmxdef.h"

/* --- VM ------------------------------------------------------------------------------ */

/* Control values that all vCPUs of a VM start from. */
struct vm_controls {
	uint32_t pin, proc, proc2, exit, entry;
};

/* A page that MSR lists of several vCPUs share (core/msr.c). */
struct msr_page {
	struct msr_page *next;
	struct vmx_msr_entry *entries;
	hpa_t hpa;
	uint32_t used; /* a bit a slot */
};

struct core_vm {
	struct core *core;
	struct core_as *as;
	bool use_vpid;
	bool ran; /* CPUID is fixed from the first run on */
	struct vm_controls controls;
	uint64_t cr0_owned; /* bits the guest changes without an exit */
	uint64_t cr4_owned;
	uint64_t cr4_allowed; /* bits a guest may set at all */
	uint64_t efer_allowed;
	struct core_trace trace;
	struct plat_lock lock; /* msr_pages */
	struct msr_page *msr_pages;
	size_t nr_cpuid;
	struct core_cpuid_entry cpuid[CORE_MAX_CPUID_ENTRIES];
};

/* Looks a leaf up as the guest would see it, before what is reflected. */
const struct core_cpuid_entry *vm_cpuid(const struct core_vm *vm, uint32_t leaf, uint32_t subleaf);

/* --- register groups ------------------------------------------------------------------- */

enum reg_group {
	REG_RIP = 1 << 0,
	REG_RSP = 1 << 1,
	REG_RFLAGS = 1 << 2,
	REG_INTERRUPTIBILITY = 1 << 3,
	REG_ACTIVITY = 1 << 4,
	REG_CR = 1 << 5, /* CR0, CR3, CR4 */
	REG_EFER = 1 << 6,
	REG_DR7 = 1 << 7,
	REG_SEGMENTS = 1 << 8,
	REG_TABLES = 1 << 9, /* GDTR, IDTR */
	REG_SYSENTER = 1 << 10,
	REG_PAT = 1 << 11,
	REG_MSRS = 1 << 12, /* those in the MSR list */
	REG_ALL = (1 << 13) - 1,
};

/* Events waiting for an entry. info 0: empty. */
struct vcpu_events {
	struct core_event raised;   /* an exception (or soft event): first of all */
	struct core_event reinject; /* external interrupt or NMI whose delivery was cut short */
	struct core_event queued;   /* core_vcpu_inject() */
	struct core_event *chosen;  /* in the VMCS for this entry */
	bool raised_again;	    /* raised is a delivery that an exit cut short */
};

/* An IN or OUT that the caller is completing. */
struct vcpu_io {
	uint8_t size; /* 0: none */
	bool in;
	uint32_t insn_length;
};

struct core_vcpu {
	struct core_vm *vm;
	uint32_t index;
	int active_cpu;				      /* -1: VMCLEARed or never loaded */
	struct hw_cpu *hw;			      /* that processor; stale when it is -1 */
	struct core_vcpu *active_next, **active_link; /* in core_cpu.active */
	void *vmcs_page;
	hpa_t vmcs;
	struct vmx_msr_entry *msrs; /* guest list: loaded at entry, stored at exit */
	hpa_t msrs_hpa;
	bool vmcs_written; /* controls are in the VMCS */
	bool launched;
	bool flush_tlb;	  /* linear mappings of its VPID are stale: invalidate before entry */
	bool load_pdptes; /* PDPTEs in the VMCS don't belong to CR3 */
	bool step_trap;	  /* an instruction that core completed had TF set: #DB is due */
	uint8_t cr8;
	uint32_t have, dirty;	  /* enum reg_group */
	uint32_t pin, proc, exit; /* as they are in the VMCS */
	uint64_t timer_more;	  /* preemption-timer units beyond what the field holds */
	uint32_t timer_value;	  /* written at the run's start */
	bool reload_timer;	  /* ... and at each entry, for exits don't save it */
	struct hw_exit last;	  /* of this run */
	struct core_vpid tag;	  /* vcpu_set_tag() only */
	uint32_t tag_moves;	  /* odd: tag is being changed. For who looks while it runs */
	struct core_regs regs;
	struct hw_host_state host; /* as it is in the VMCS */
	struct vcpu_events events;
	struct vcpu_io io;
	uint32_t vmcs_error_field; /* first VMREAD or VMWRITE that failed in this run */
	uint32_t vmcs_error;	   /* its VM-instruction error plus 1; 0: none */
	struct core_stats stats;
	uint64_t exits[VMX_EXIT_REASONS];
};

/* Tens of thousands of them exist at once. */
_Static_assert(sizeof(struct core_vcpu) < 3072, "a vCPU has become big");

/* --- VMCS access: the current one, which is this vCPU's (core/vmstate.c) --------------------- */

/* Remembers the first failure of a run, which is reported as a failed entry. */
void vcpu_note_error(struct core_vcpu *v, uint32_t field, enum hw_result r);

static inline uint64_t vcpu_vmread(struct core_vcpu *v, uint32_t field)
{
	uint64_t value = 0;
	enum hw_result r = hw_vmread(v->hw, field, &value);

	if (__builtin_expect(r != HW_SUCCEED, 0))
		vcpu_note_error(v, field, r);
	return value;
}

static inline void vcpu_vmwrite(struct core_vcpu *v, uint32_t field, uint64_t value)
{
	enum hw_result r = hw_vmwrite(v->hw, field, value);

	if (__builtin_expect(r != HW_SUCCEED, 0))
		vcpu_note_error(v, field, r);
}

/* Reads groups that the cache lacks. */
void vcpu_fetch(struct core_vcpu *v, uint32_t missing);
static inline void vcpu_need(struct core_vcpu *v, uint32_t wanted)
{
	if (wanted & ~v->have)
		vcpu_fetch(v, wanted & ~v->have);
}
/* Writes what is dirty. */
void vcpu_flush_regs(struct core_vcpu *v);
/* Rewrites host-state fields that changed since they were written; all: every one. */
void vcpu_write_host_state(struct core_vcpu *v, bool all);
/* Writes controls and constants; once in a VMCS's life. */
void vcpu_write_controls(struct core_vcpu *v);
/* Sets a control field, if it isn't so already. */
void vcpu_set_control(struct core_vcpu *v, uint32_t field, uint32_t *current, uint32_t value);

/* On the processor that runs it; others may look (core_vcpu_vpid()). */
void vcpu_set_tag(struct core_vcpu *v, const struct core_vpid *tag);

/* PDPTEs of PAE paging at cr3. -EFAULT not in memory, -EINVAL a reserved bit is set. */
int vcpu_read_pdptes(struct core_vcpu *v, uint64_t cr3, uint64_t ret[4]);

static inline const struct core_caps *vcpu_caps(const struct core_vcpu *v)
{
	return &v->vm->core->caps;
}

/* CR0 bits that VMX fixes to 1 for this VM's guests. */
uint64_t vm_cr0_fixed1(const struct core_vm *vm);
/* PAE paging: PDPTEs are registers. */
static inline bool paging_is_pae(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
	return cr0 & CR0_PG && cr4 & CR4_PAE && !(efer & EFER_LMA);
}

/* --- events (core/event.c) -------------------------------------------------------------------- */

/* Queues an exception for the next entry. */
void event_raise(struct core_vcpu *v, unsigned vector);
void event_raise_error(struct core_vcpu *v, unsigned vector, uint32_t error);
void event_raise_info(struct core_vcpu *v, uint32_t info, uint32_t error, uint32_t length);
/* Chooses what the next entry injects and which windows it asks for. */
void event_before_entry(struct core_vcpu *v);
/* Takes back what the exit cut short; needed if something was, or had been chosen. */
void event_after_exit(struct core_vcpu *v);
/* Something waits for an entry. */
static inline bool event_waits(const struct core_vcpu *v)
{
	return (v->events.raised.info | v->events.reinject.info | v->events.queued.info) != 0;
}

/* The entry failed: what was chosen stays queued. */
void event_entry_failed(struct core_vcpu *v);
/* Something wakes a halted vCPU. */
bool event_wakes(struct core_vcpu *v);

/* --- exits --------------------------------------------------------------------------------- */

enum exit_step { EXIT_RESUME, EXIT_RETURN };

typedef enum exit_step (*exit_handler)(struct core_vcpu *v, struct core_run_exit *ret);

#define EXIT_REASON(number, NAME, name, handler, doc) \
	enum exit_step exit_##handler(struct core_vcpu *v, struct core_run_exit *ret);
#include "core/exits.def"
#undef EXIT_REASON

/* By basic reason; NULL: one that nobody knows. */
extern const exit_handler exit_handlers[VMX_EXIT_REASONS];

/* Never NULL. */
static inline exit_handler core_exit_handler(uint32_t basic_reason)
{
	if (basic_reason >= VMX_EXIT_REASONS || exit_handlers[basic_reason] == NULL)
		return exit_unexpected;
	return exit_handlers[basic_reason];
}

static inline enum exit_step exit_return(struct core_run_exit *ret, enum core_run_reason reason)
{
	ret->reason = reason;
	return EXIT_RETURN;
}

/* Records the exit that has just happened; changes nothing of the vCPU. */
void exit_trace(struct core_vcpu *v, uint32_t basic);

/* #GP(0) for the instruction that exited. */
enum exit_step exit_raise_gp(struct core_vcpu *v);
/* Moves RIP past the instruction that exited, with all that completing it implies. */
void vcpu_skip_instruction(struct core_vcpu *v);
void vcpu_advance(struct core_vcpu *v, uint32_t length);

/* --- register values (core/regs_check.c) --------------------------------------------------- */

/* 0, or -EINVAL and the name of the first register that VM entry would refuse. */
int regs_check(const struct core_vm *vm, const struct core_regs *regs, uint32_t interruptibility,
	       const char **ret_field);

static inline bool canonical48(uint64_t a)
{
	return (uint64_t)((int64_t)(a << 16) >> 16) == a;
}

#endif
