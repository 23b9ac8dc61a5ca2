/* SPDX-License-Identifier: MIT */
/*
 * The software VT-x processor: what the soft engine and tests see of it besides
 * hw.h. A struct model is a machine's processors; its memory is the arena of a
 * user-space platform (plat/user.h).
 *
 * It caches as hardware does: a translation stays until an event of "Operations
 * that Invalidate Cached Mappings" removes it, however stale it has become.
 *
 * Implemented: the controls that the capability MSRs offer (caps.c), VM entry's checks
 * (entry_checks.def), MSR areas, event injection, exits with their information
 * fields; EPT with 4 levels, every page size, execute-only, A/D flags; VPID; guests
 * with paging off, 32-bit, PAE and 4-level paging, PCID, SMEP, SMAP, NX.
 *
 * Not: an interrupt controller behind the processor (external-interrupt exiting must
 * be 1), TPR shadow and APIC virtualization, monitor trap flag, VM functions, #VE,
 * page-modification log, mode-based execute control, VMCS shadowing, TSC scaling, SMM,
 * 5-level paging, memory types (checked, without effect), a 32-bit host; the
 * instruction-information field but for INS and OUTS.
 *
 * Threads: one thread at a time for all processors of a model, except
 * model_cpu_kick(), which any thread may call.
 */
#ifndef VMXCORE_MODEL_H
#define VMXCORE_MODEL_H

#include "hw/hw.h"
#include "plat/user.h"

struct model;

/* Entries and ways of each structure; 0 entries: structure absent. Sets are powers of two. */
struct model_tlb_level {
	uint16_t entries;
	uint16_t ways;
};

struct model_tlb_geometry {
	char name[24];
	struct model_tlb_level itlb_4k, itlb_2m;
	struct model_tlb_level dtlb_4k, dtlb_2m, dtlb_1g;
	struct model_tlb_level stlb; /* 4 KiB and 2 MiB pages share it */
	struct model_tlb_level stlb_1g;
	struct model_tlb_level psc_pml4, psc_pdpt, psc_pd; /* paging-structure caches */
	struct model_tlb_level gpa_cache;		   /* guest-physical mappings */
};

/* Skylake's published first and second level; paging-structure caches are estimates. */
extern const struct model_tlb_geometry model_tlb_skylake;
/* No caching structures at all: every access walks. */
extern const struct model_tlb_geometry model_tlb_none;

/* Software that broke a rule hardware does not check. */
enum model_misuse {
	MODEL_VMCS_ACTIVE_ON_TWO, /* VMPTRLD of a VMCS that is active elsewhere, no VMCLEAR */
};

struct model_config {
	struct plat *plat; /* a plat/user.c machine; outlives the model */
	unsigned cpus;
	const struct model_tlb_geometry *tlb; /* NULL: model_tlb_skylake */
	/* Others write memory that it executes, and nobody tells it (model_memory_written()):
	 * instructions are looked at anew each time, which is slower. */
	bool unheard_writes;
	void (*misuse)(void *ctx, enum model_misuse what, unsigned cpu,
		       hpa_t vmcs); /* may be NULL */
	void *ctx;
};

int model_create(const struct model_config *cfg, struct model **ret); /* -EINVAL -ENOMEM */
void model_destroy(struct model *m);
struct hw_cpu *model_cpu(struct model *m, unsigned cpu);

/* A pending external interrupt: the processor leaves its guest at the next boundary. */
void model_cpu_kick(struct model *m, unsigned cpu);
/* Memory was written by something that is not a guest (API, loader, core). */
void model_memory_written(struct model *m, hpa_t addr, uint64_t size);

/*
 * Memory is about to go away. Stale translations of it may stay, as on hardware;
 * what is read through them from now on is what an empty bus gives.
 */
void model_memory_removed(struct model *m, hpa_t addr, uint64_t size);

/*
 * Which check refused the last VM entry, "NAME (section title)"; NULL if none did.
 * What the error number and exit reason 33 don't tell.
 */
const char *model_entry_refused(struct hw_cpu *cpu);

/* --- accounting ------------------------------------------------------------------- */

#define MODEL_UNIMPLEMENTED_MAX 32

/* Instructions that raised #UD because the executor lacks them. */
struct model_unimplemented {
	char mnemonic[24];
	uint64_t count;
	uint64_t first_rip;
};

/*
 * Where a processor counts while it runs a vCPU. Owned by the caller; zeroed at
 * first. Linear counters first (tlb_stats.def), then the retired instructions.
 */
struct model_account {
#define TLB_STAT(name, unit, doc) uint64_t name;
#include <vmxcore/tlb_stats.def>
#undef TLB_STAT
	uint64_t retired;
	uint64_t walk_refs_histogram[64]; /* completed walks by references read */
	struct model_unimplemented unimplemented[MODEL_UNIMPLEMENTED_MAX];
	uint32_t unimplemented_count; /* rows used */
	uint64_t unimplemented_other; /* beyond the rows */
};

/*
 * The account of what follows on this processor; NULL: the processor's own (host).
 * Every TLB entry remembers the account that filled it, so drops and evictions
 * are charged to the owner. model_account_forget() before an account is freed.
 */
void model_cpu_set_account(struct hw_cpu *cpu, struct model_account *account);
void model_account_forget(struct model *m, struct model_account *account);

/* Guest time of a processor: instructions retired on it, plus jumps. */
uint64_t model_cpu_time(struct hw_cpu *cpu);
/* Moves guest time forward (all processors halted). */
void model_cpu_advance_time(struct hw_cpu *cpu, uint64_t ticks);

/* --- looking without touching ----------------------------------------------------- */

enum model_tlb_structure {
	MODEL_TLB_I1,  /* first level, instructions */
	MODEL_TLB_D1,  /* first level, data */
	MODEL_TLB_L2,  /* second level, shared */
	MODEL_TLB_PSC, /* paging-structure caches */
	MODEL_TLB_GPA, /* guest-physical mappings */
	MODEL_TLB_STRUCTURES
};

struct model_tlb_entry {
	uint64_t linear;    /* start of the page (GPA structure: guest-physical) */
	uint64_t host;	    /* host-physical start (PSC: the table it points to) */
	uint64_t ep4ta;	    /* 0: EPT was off */
	uint64_t page_size; /* 4 KiB, 2 MiB, 1 GiB: what the entry covers */
	uint16_t vpid;
	uint16_t pcid;
	uint8_t structure; /* enum model_tlb_structure */
	uint8_t level;	   /* PSC: 4 PML4E, 3 PDPTE, 2 PDE; else 1 */
	uint8_t global;
	uint8_t read, write, exec, user; /* effective permissions */
	uint8_t dirty;
};

/*
 * Copies at most max entries of one processor, in a stable order, skipping `skip`;
 * vpid < 0: every tag. Returns how many match in all. Changes nothing.
 */
size_t model_tlb_list(struct hw_cpu *cpu, int vpid, size_t skip, struct model_tlb_entry *ret,
		      size_t max);
/* Geometry in use, and entries held now in each structure under a VPID (< 0: all). */
const struct model_tlb_geometry *model_geometry(struct model *m);
void model_tlb_held(struct hw_cpu *cpu, int vpid, uint32_t ret_held[MODEL_TLB_STRUCTURES]);
/*
 * Would this lookup hit, and where? Returns a bit (1 << enum model_tlb_structure)
 * for each structure that holds it. Changes nothing.
 */
uint32_t model_tlb_peek(struct hw_cpu *cpu, uint16_t vpid, uint16_t pcid, uint64_t ep4ta,
			uint64_t linear);
/* Is a paging-structure entry cached: level 4, 3, 2 for `linear` under these tags? */
bool model_psc_peek(struct hw_cpu *cpu, uint16_t vpid, uint16_t pcid, uint64_t ep4ta,
		    uint64_t linear, unsigned level);
/* Is a guest-physical mapping cached? */
bool model_gpa_peek(struct hw_cpu *cpu, uint64_t ep4ta, uint64_t gpa);

#endif
