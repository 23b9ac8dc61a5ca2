/* SPDX-License-Identifier: MIT */
/* What the parts of the software processor share; not for anyone outside hw/model. */
#ifndef VMXCORE_MODEL_PROCESSOR_H
#define VMXCORE_MODEL_PROCESSOR_H

#include "core/vmcs.h"
#include "hw/model/tlb.h"
#include "hw/vmxdef.h"
#include "plat/atomic.h"

#define MODEL_MAX_CPUS 64u
#define MODEL_VMCS_REVISION 0x4d564458u
#define MODEL_CR3_TARGETS 4u
#define MODEL_MSR_LIST_MAX 512u

/* --- VMCS data -------------------------------------------------------------------- */

/*
 * A VMCS that is active on a processor. Its memory region is not looked at again
 * until VMCLEAR writes it back.
 */
struct vmcs_data {
	uint64_t hpa;
	bool launched;
	uint32_t epoch; /* VMXON under which it was launched */
	uint64_t field[VMCS_FIELD_COUNT];
};

/* Open addressing by hpa; grows as VMCSs become active. */
struct vmcs_table {
	struct vmcs_data **slot;
	uint32_t size; /* 0 or a power of two */
	uint32_t count;
};

struct vmcs_data *vmcs_table_find(const struct vmcs_table *t, uint64_t addr);
int vmcs_table_add(struct vmcs_table *t, struct vmcs_data *v); /* -ENOMEM */
void vmcs_table_remove(struct vmcs_table *t, struct vmcs_data *v);
void vmcs_table_fini(struct vmcs_table *t);
/* Does this processor have the field? */
bool vmcs_field_supported(unsigned index);
unsigned vmcs_highest_index(void); /* for IA32_VMX_VMCS_ENUM */

/* Where selector, base, limit and rights of a guest segment lie, by enum x86_seg_index. */
struct segment_fields {
	uint8_t selector, base, limit, ar; /* enum vmcs_index */
};
extern const struct segment_fields segment_fields[X86_SEG_COUNT];

/* --- the MMU ---------------------------------------------------------------------- */

enum paging_mode { PAGING_OFF, PAGING_32, PAGING_PAE, PAGING_4LEVEL, PAGING_MODES };

/* What translation depends on, taken from the registers by mmu_update(). */
struct mmu {
	struct tlb_tags tags;
	uint64_t space; /* EP4TA | TLB_SPACE_EPT, the tag of guest-physical mappings; 0: no EPT */
	uint64_t eptp;
	uint64_t pdpte[4];     /* PAE: loaded, not cached ("PDPTE Registers") */
	uint64_t address_bits; /* mask of the physical-address bits 51:12 that exist */
	enum paging_mode mode;
	bool ept, ept_ad;
	bool wp, smep, smap, nxe, pge, pse;
};

/* Recomputes the context; flushes the executor's front if anything changed. */
void mmu_update(struct hw_cpu *cpu);
enum x86_result mmu_translate(void *env, uint64_t linear, uint32_t access, struct x86_xlate *ret);

/* Why a guest-physical access did not work. */
enum gpa_outcome { GPA_OK, GPA_VIOLATION, GPA_MISCONFIG };

struct gpa_map {
	uint64_t hpa;	     /* translation of the address itself */
	uint64_t permission; /* AND of bits 2:0 of the entries read */
	unsigned shift;	     /* size of the EPT page */
	bool dirty;	     /* a write needs no EPT D flag set */
	unsigned refs;	     /* entries read */
};

/* For an access that needs all of `need` (EPT_R, EPT_W, EPT_X). *ret holds permission
 * and refs in any case. Invalidates nothing: that is for who turns it into an exit. */
enum gpa_outcome gpa_translate(struct hw_cpu *cpu, uint64_t addr, uint64_t need,
			       struct gpa_map *ret);
/* Sets flags in a paging-structure entry that reads as `old`, atomically; false: it has
 * changed meanwhile. */
bool mem_set_flags(struct hw_cpu *cpu, uint64_t addr, unsigned bytes, uint64_t old, uint64_t flags);

/*
 * Reads the four PDPTEs of a PAE guest through EPT. false: in *ret_bad the result
 * that the caller turns into its fault: X86_FAULT (reserved bits) or X86_EXIT (EPT;
 * cpu->exit is filled).
 */
bool mmu_load_pdptes(struct hw_cpu *cpu, uint64_t cr3, uint64_t ret_pdpte[4],
		     enum x86_result *ret_bad);
bool mmu_pdpte_ok(const struct hw_cpu *cpu, uint64_t pdpte);
bool mmu_eptp_ok(const struct hw_cpu *cpu, uint64_t eptp);

/* --- invalidation ----------------------------------------------------------------- */

void tlb_drop_transition(struct hw_cpu *cpu); /* VM entry or exit, VPID off */
void tlb_drop_mov_cr3(struct hw_cpu *cpu, uint64_t source);
void tlb_drop_mov_cr0(struct hw_cpu *cpu, uint64_t old, uint64_t value);
void tlb_drop_mov_cr4(struct hw_cpu *cpu, uint64_t old, uint64_t value);
void tlb_drop_invlpg(struct hw_cpu *cpu, uint64_t linear);
void tlb_drop_invpcid(struct hw_cpu *cpu, uint64_t type, uint16_t pcid, uint64_t linear);
void tlb_drop_page_fault(struct hw_cpu *cpu, uint64_t linear);
void tlb_drop_ept_violation(struct hw_cpu *cpu, uint64_t gpa, bool linear_valid, uint64_t linear);
void tlb_drop_invept(struct hw_cpu *cpu, uint64_t type, uint64_t eptp);
void tlb_drop_invvpid(struct hw_cpu *cpu, uint64_t type, uint16_t vpid, uint64_t linear);

/* --- accounts --------------------------------------------------------------------- */

/* An account that has run here, findable by what it last ran under. */
struct account_link {
	struct model_account *account;
	struct account_link *next, **prev; /* all of this processor */
	/* Chains of one hash bucket each; prev_vpid NULL: it has not entered a guest here. */
	struct account_link *next_vpid, **prev_vpid;
	struct account_link *next_space, **prev_space;
	struct account_link *next_account;
	uint64_t space;
	uint16_t vpid;
};

#define ACCOUNT_BUCKETS 1024u

struct account_index {
	struct account_link *all;
	struct account_link *by_account[ACCOUNT_BUCKETS];
	struct account_link *by_vpid[ACCOUNT_BUCKETS];
	struct account_link *by_space[ACCOUNT_BUCKETS];
};

/* Moves what the executor counted since the last time into the account. */
void account_drain(struct hw_cpu *cpu);
/* The current account runs under these tags from now on. */
void account_tag(struct hw_cpu *cpu, uint16_t vpid, uint64_t space);
void account_count_invept(struct hw_cpu *cpu, bool single, uint64_t space);
void account_count_invvpid(struct hw_cpu *cpu, bool all, uint16_t vpid);
void account_unimplemented(void *env, const char *mnemonic, uint64_t rip);
void account_fini(struct hw_cpu *cpu);

/* --- exits ------------------------------------------------------------------------ */

/* "VMX Basic Exit Reasons": those that this processor can give. */
enum model_exit {
	EXIT_EXCEPTION_NMI = 0,
	EXIT_EXTERNAL_INTERRUPT = 1,
	EXIT_TRIPLE_FAULT = 2,
	EXIT_INTERRUPT_WINDOW = 7,
	EXIT_NMI_WINDOW = 8,
	EXIT_TASK_SWITCH = 9,
	EXIT_CPUID = 10,
	EXIT_GETSEC = 11,
	EXIT_HLT = 12,
	EXIT_INVD = 13,
	EXIT_INVLPG = 14,
	EXIT_RDPMC = 15,
	EXIT_RDTSC = 16,
	EXIT_VMCALL = 18,
	EXIT_CR_ACCESS = 28,
	EXIT_MOV_DR = 29,
	EXIT_IO = 30,
	EXIT_RDMSR = 31,
	EXIT_WRMSR = 32,
	EXIT_BAD_GUEST_STATE = 33,
	EXIT_MSR_LOADING = 34,
	EXIT_MWAIT = 36,
	EXIT_MONITOR = 39,
	EXIT_PAUSE = 40,
	EXIT_GDTR_IDTR = 46,
	EXIT_LDTR_TR = 47,
	EXIT_EPT_VIOLATION = 48,
	EXIT_EPT_MISCONFIG = 49,
	EXIT_RDTSCP = 51,
	EXIT_PREEMPTION_TIMER = 52,
	EXIT_WBINVD = 54,
	EXIT_XSETBV = 55,
	EXIT_INVPCID = 58,
};

/* "VM-Exit Information Fields", gathered where the exit is decided. */
struct exit_info {
	uint32_t reason;
	uint32_t intr_info, intr_error;
	uint32_t insn_info;
	bool insn_length_valid; /* take it from the executor's state */
	uint64_t qualification;
	uint64_t linear;
	uint64_t gpa;
};

/* Fills cpu->exit and answers X86_EXIT. */
enum x86_result exit_with(struct hw_cpu *cpu, enum model_exit reason, uint64_t qualification);
/* The same for an exit that an instruction causes: its length is reported. */
enum x86_result exit_insn(struct hw_cpu *cpu, enum model_exit reason, uint64_t qualification);
/* Saves guest state, stores and loads MSRs, loads host state. */
void exit_commit(struct hw_cpu *cpu, struct hw_gpregs *regs);
/* A late entry failure: no guest state is saved. */
void exit_entry_failure(struct hw_cpu *cpu, enum model_exit reason, uint64_t qualification);

/* --- the processor ---------------------------------------------------------------- */

/* Root-mode registers: what VM exits load and hw_read_host_state() shows. */
struct host_regs {
	uint64_t cr0, cr3, cr4, efer, pat;
	uint64_t fs_base, gs_base, tr_base, gdtr_base, idtr_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t rip, rsp;
	uint16_t es, cs, ss, ds, fs, gs, tr;
};

/* Features that the executor's CPUID offers and the MMU or controls must follow. */
struct features {
	uint64_t cr4_allowed;
	bool page_1g, pse36, nx, rdtscp, invpcid, pcid;
};

struct model {
	struct plat *plat;
	unsigned cpus;
	struct model_tlb_geometry geometry;
	struct features features;
	struct x86_code *code; /* NULL: decoded code is not kept */
	void (*misuse)(void *ctx, enum model_misuse what, unsigned cpu, hpa_t vmcs);
	void *ctx;
	struct hw_cpu *cpu[MODEL_MAX_CPUS];
};

struct hw_cpu {
	struct model *model;
	struct x86_cpu *x86;
	struct x86_state *st; /* the guest's, while in non-root operation */
	struct tlb tlb;
	struct mmu mmu;
	unsigned id;

	/* VMX operation */
	bool vmx_on, in_guest;
	uint32_t vmx_epoch; /* VMXONs so far */
	uint64_t vmxon_region;
	struct vmcs_table vmcs;
	struct vmcs_data *current; /* NULL: the current-VMCS pointer is not valid */
	uint32_t pin, proc, proc2, entry_ctl, exit_ctl; /* of the entry in progress */
	struct exit_info exit;
	const char *refused; /* the entry check that failed last */
	bool through_shadow; /* running the one instruction under the shadow of STI or MOV SS */
	uint64_t timer_left; /* preemption timer, in retired instructions */

	/* root operation */
	struct host_regs host;
	uint64_t feature_control;
	uint64_t debugctl;

	uint64_t time_jumps; /* model_cpu_advance_time(), and waiting in HLT */
	uint64_t tsc_adjust;
	uint32_t kicked; /* set by any thread */

	/* accounting */
	struct model_account *account; /* never NULL */
	struct account_link *link;     /* its link, NULL for own */
	struct model_account own;
	struct account_index index;
	struct x86_counts drained;
	uint64_t fetch_not_l1, data_not_l1; /* lookups since then that the first level missed */
};

#define F(cpu, name) ((cpu)->current->field[VMCS_IX_##name])

/* Host-physical memory; NULL where nothing answers (reads as ones, writes are lost). */
static inline void *mem_ptr(const struct hw_cpu *cpu, uint64_t addr)
{
	return plat_hpa_ptr(cpu->model->plat, hpa(addr));
}

uint64_t mem_read64(const struct hw_cpu *cpu, uint64_t addr);
uint32_t mem_read32(const struct hw_cpu *cpu, uint64_t addr);
void mem_write64(struct hw_cpu *cpu, uint64_t addr, uint64_t value);
uint8_t mem_read8(const struct hw_cpu *cpu, uint64_t addr);

/* All address bits beyond the processor's physical width. */
static inline bool beyond_physical(const struct hw_cpu *cpu, uint64_t addr)
{
	return addr >> plat_maxphyaddr(cpu->model->plat) != 0;
}

static inline bool canonical(uint64_t v)
{
	return (uint64_t)((int64_t)(v << 16) >> 16) == v;
}

static inline uint64_t cpu_time(const struct hw_cpu *cpu)
{
	struct x86_counts c;

	x86_get_counts(cpu->x86, &c);
	return c.retired + cpu->time_jumps;
}

/* caps.c */
void features_read(struct features *ret);
int caps_rdmsr(const struct hw_cpu *cpu, uint32_t msr, uint64_t *ret); /* -EIO: no such MSR */
/* Bits allowed and required of a control MSR (TRUE_ form), for the entry checks. */
uint32_t caps_must_be_1(const struct hw_cpu *cpu, uint32_t msr);
uint32_t caps_may_be_1(const struct hw_cpu *cpu, uint32_t msr);
uint64_t caps_cr4_fixed1(const struct hw_cpu *cpu);
#define CAPS_CR0_FIXED0 (CR0_PE | CR0_NE | CR0_PG)
#define CAPS_CR0_FIXED1 UINT64_C(0xffffffff)
#define CAPS_CR4_FIXED0 CR4_VMXE

/* msr.c: MSRs that guests and MSR areas reach. -EIO: #GP. */
int msr_read(struct hw_cpu *cpu, uint32_t msr, uint64_t *ret);
int msr_write(struct hw_cpu *cpu, uint32_t msr, uint64_t value);
bool msr_pat_ok(uint64_t value);
bool msr_efer_ok(const struct hw_cpu *cpu, uint64_t value);

/* entry_checks.c: the title of the first check that fails, NULL if none. */
const char *check_controls(struct hw_cpu *cpu);
const char *check_host_state(struct hw_cpu *cpu);
const char *check_guest_state(struct hw_cpu *cpu, uint64_t *ret_qualification);

/* msr.c, root operation: registers that VM exits load are the host's. */
int msr_read_root(struct hw_cpu *cpu, uint32_t msr, uint64_t *ret);
int msr_write_root(struct hw_cpu *cpu, uint32_t msr, uint64_t value);

/* run.c: runs the guest until cpu->exit is filled. */
void run_guest(struct hw_cpu *cpu);
bool run_attention(void *env);

/* special.c */
enum x86_result special(void *env, enum x86_special what, struct x86_special_info *info);

/* cr.c: control registers, in guest terms */
enum x86_result cr_read(struct hw_cpu *cpu, struct x86_special_info *info);
enum x86_result cr_write(struct hw_cpu *cpu, struct x86_special_info *info);
enum x86_result cr_clts(struct hw_cpu *cpu, struct x86_special_info *info);
enum x86_result cr_lmsw(struct hw_cpu *cpu, struct x86_special_info *info);
enum x86_result cr_smsw(struct hw_cpu *cpu, struct x86_special_info *info);
/* An exception for the executor to raise; answers X86_FAULT. */
enum x86_result raise(struct hw_cpu *cpu, uint8_t vector, bool has_error, uint32_t error);

#endif
