/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * All that hvd sees of an engine: a table of engines, and one queue of fixed-width
 * requests with tokens, completed through events. No pointer and no callback of
 * hvd crosses, so an engine can later live in a process of its own.
 *
 * Shapes: structures are fixed-width and padded by hand; addresses and sizes are
 * bytes; ids are the caller's or the engine's 32/64-bit numbers, never names.
 * Threads: every function may be called from one thread at a time (hvd's loop);
 * none of them waits for a guest. engine_event_fd() becomes readable when
 * engine_next_event() has something.
 */
#ifndef VMXCORE_ENGINE_H
#define VMXCORE_ENGINE_H

#include <vmxcore/types.h>

/* --- engines ------------------------------------------------------------------------ */

#define ENGINE_NAME_LEN 16
#define ENGINE_TEXT_LEN 160

enum engine_capability {
	ENGINE_CAP_EPT_4K = 1 << 0,
	ENGINE_CAP_EPT_2M = 1 << 1,
	ENGINE_CAP_EPT_1G = 1 << 2,
	ENGINE_CAP_EPT_EXEC_ONLY = 1 << 3,
	ENGINE_CAP_EPT_AD = 1 << 4,
	ENGINE_CAP_VPID = 1 << 5,
	ENGINE_CAP_TLB_STATS = 1 << 6,	 /* lookups, hits and misses are observable */
	ENGINE_CAP_TLB_ENTRIES = 1 << 7, /* the TLB's content is observable */
	ENGINE_CAP_UNSAFE_HOOKS = 1 << 8,
	ENGINE_CAP_DETERMINISTIC = 1 << 9,
};

struct engine_info {
	char name[ENGINE_NAME_LEN]; /* "soft", "vmx" */
	uint32_t available;
	uint32_t capabilities;
	char reason[ENGINE_TEXT_LEN]; /* why it is not available, or why it is taken */
	char advice[ENGINE_TEXT_LEN]; /* what to do about it; may be empty */
	uint32_t processors;	      /* 0 when not open */
	uint32_t max_vcpus_per_vm;
	uint32_t max_vms;
	uint32_t pad;
	uint64_t max_memory_bytes; /* all slots of all VMs */
	char tlb_geometry[24];	   /* empty if unknown */
};

struct engine_config {
	uint32_t processors;   /* logical processors of the machine, 1..64; 0: 2 */
	uint32_t unsafe_hooks; /* allow ENGINE_CHANGE_SKIP_INVALIDATION; soft only */
	uint64_t memory_bytes; /* bound on all slots; 0: the engine's default */
	uint64_t quantum;      /* instructions a vCPU runs before the next; 0: default */
	uint64_t seed;
	uint32_t scatter;    /* soft: host-physical memory in shuffled 4 KiB pages */
	uint32_t vpid_limit; /* highest VPID used, 1..65535; 0: 65535 */
	char tlb[24];	     /* soft: geometry preset, "" = skylake, "none" */
};

struct engine; /* an open engine */

/* Number of engines in the table, in order of preference ("vmx", "soft"). */
size_t engine_count(void);
/* Probes engine i without opening it. -EINVAL no such engine. */
int engine_probe(size_t i, struct engine_info *ret);
/* -ENOENT no engine of that name, -ENODEV not available, -EINVAL config, -ENOMEM. */
int engine_open(const char *name, const struct engine_config *cfg, struct engine **ret);
void engine_get_info(struct engine *e, struct engine_info *ret);
/* Stops every VM, frees all; completions not yet fetched are dropped. */
void engine_close(struct engine *e);

/* --- requests ------------------------------------------------------------------------- */

enum engine_op {
	ENGINE_VM_CREATE = 1,
	ENGINE_VM_START,  /* shutoff or crashed -> running; if it has run before, the RAM slot is
			   * zeroed and the image loaded into it again. Mappings stay as they are */
	ENGINE_VM_PAUSE,  /* running -> paused; completes once no vCPU is in guest */
	ENGINE_VM_RESUME, /* paused -> running */
	ENGINE_VM_STOP,	  /* any -> shutoff */
	ENGINE_VM_DELETE, /* shutoff or crashed only; frees all slots */
	ENGINE_VM_INFO,	  /* payload: struct engine_vcpu_info[] */
	ENGINE_SLOT_ADD,
	ENGINE_SLOT_LIST,     /* payload: struct engine_slot_info[] */
	ENGINE_MEM_APPLY,     /* payload in: struct engine_map_op[]; out: struct engine_change */
	ENGINE_MEM_READ,      /* payload out: bytes */
	ENGINE_MEM_WRITE,     /* payload in: bytes */
	ENGINE_WALK,	      /* payload out: struct engine_walk */
	ENGINE_VPID_LIST,     /* payload out: struct engine_vpid[] */
	ENGINE_TLB_STATS,     /* payload out: struct engine_tlb_stats[], one a vCPU */
	ENGINE_TLB_ENTRIES,   /* payload out: struct engine_tlb_entry[] */
	ENGINE_STATS,	      /* payload out: struct engine_stat[]; of a VM, or with vm 0 of the
			       * processors and every VM */
	ENGINE_CONSOLE_READ,  /* payload out: bytes */
	ENGINE_MAPPING_LIST,  /* payload out: struct engine_mappings */
	ENGINE_DIRTY,	      /* payload out: struct engine_dirty */
	ENGINE_SLOT_REMOVE,   /* one that nothing maps; total: bytes given back */
	ENGINE_VM_RESET,      /* any but shutoff -> running, as STOP and START, but with no
			       * state between: slots, mappings and counters stay */
	ENGINE_INVALIDATE,    /* payload out: struct engine_invalidated[], one a processor */
	ENGINE_VCPU_GET,      /* payload out: struct engine_register[] */
	ENGINE_VCPU_SET,      /* payload in: struct engine_register[], out: all, as they are now.
			       * Paused, or never started: a start makes all registers anew */
	ENGINE_VCPU_INJECT,   /* running or paused; -EBUSY: an event is queued already */
	ENGINE_VMCS_GET,      /* payload out: struct engine_vmcs_field[] */
	ENGINE_CONSOLE_WRITE, /* payload in: bytes for the guest's serial port, at most
			       * ENGINE_MAX_INPUT; total: how many were taken, which are the first;
			       * first: how many now wait for the guest. The rest did not fit.
			       * Running or paused; a start forgets what waits */
	ENGINE_TRACE_SET,     /* what of a VM is traced from now on; records not read are dropped;
			       * total: so many, those lost for want of room included */
	ENGINE_TRACE_READ,    /* payload out: struct engine_trace_record[], oldest first; total:
			       * records lost for want of room between the last that was read
			       * before and the first of these (or now, if there is none) */
	ENGINE_OP_COUNT
};

#define ENGINE_MAX_VCPUS 64u
#define ENGINE_MAX_MODULES 16u
#define ENGINE_CMDLINE_LEN 1024u
#define ENGINE_MAX_DATA (UINT32_C(1) << 20) /* bytes of one read or write */
#define ENGINE_MAX_IMAGE (UINT64_C(256) << 20)

enum engine_image_format {
	ENGINE_IMAGE_AUTO, /* by its content: Multiboot header, ELF64, else an error */
	ENGINE_IMAGE_MULTIBOOT,
	ENGINE_IMAGE_ELF64,
	ENGINE_IMAGE_FLAT,
};

/*
 * A VM with memory_bytes of RAM in slot 0, mapped at 0, R/W/X, write-back. fds: the
 * image (if has_image), then one a module. The engine copies the files; the caller
 * keeps its descriptors. A refused image refuses the VM (error.field names it).
 * vCPU 0 starts at the image's entry point; the others wait for a start-up IPI, which
 * nothing sends yet.
 */
struct engine_vm_create {
	uint64_t memory_bytes;	 /* multiple of 4096; at least 1 MiB */
	uint64_t ept_page_bytes; /* largest EPT leaf; 0: the largest offered */
	uint64_t load_gpa;	 /* flat images; 0: 0x100000 */
	uint32_t vcpus;		 /* 1..ENGINE_MAX_VCPUS */
	uint32_t use_vpid;	 /* 0 or 1 */
	uint32_t accessed_dirty; /* 0 or 1 */
	uint32_t huge_pages;	 /* RAM in 2 MiB host pages if they can be had */
	uint32_t image_format;	 /* enum engine_image_format */
	uint32_t has_image;
	uint32_t modules;		      /* count; Multiboot only */
	uint32_t processor[ENGINE_MAX_VCPUS]; /* home of each vCPU; ENGINE_ANY_PROCESSOR */
	char cmdline[ENGINE_CMDLINE_LEN];     /* NUL-terminated; Multiboot and ELF64 */
};
#define ENGINE_ANY_PROCESSOR UINT32_MAX

enum engine_slot_kind { ENGINE_SLOT_ANON, ENGINE_SLOT_HUGE, ENGINE_SLOT_FILE };

/*
 * slot: the caller's number, unique in the VM, not 0. fds: the file for ENGINE_SLOT_FILE,
 * open for reading and writing, shared with whoever else maps it. A memfd that allows
 * sealing is sealed against shrinking; pages of another file that its owner cuts off
 * later read as zeros, and are no longer the file's.
 */
struct engine_slot_add {
	uint64_t size_bytes;
	uint64_t file_offset;
	uint32_t slot;
	uint32_t kind;
};

struct engine_slot_info {
	uint64_t size_bytes;
	uint64_t mapped_bytes;
	uint64_t hpa_first; /* of its first extent; soft only, else UINT64_MAX */
	uint32_t slot;
	uint32_t kind;
	uint32_t extents; /* contiguous pieces of host memory */
	uint32_t huge;	  /* the host really gave huge pages */
};

enum engine_map_kind { ENGINE_MAP, ENGINE_UNMAP, ENGINE_PROTECT, ENGINE_REMAP };

#define ENGINE_PROT_R 1u
#define ENGINE_PROT_W 2u
#define ENGINE_PROT_X 4u

struct engine_map_op {
	uint64_t gpa;
	uint64_t size_bytes;
	uint64_t offset_bytes; /* MAP, REMAP */
	uint32_t kind;	       /* enum engine_map_kind */
	uint32_t slot;	       /* MAP, REMAP */
	uint32_t prot;	       /* MAP, PROTECT: ENGINE_PROT_* */
	uint32_t memtype;      /* MAP: 0 UC, 1 WC, 4 WT, 5 WP, 6 WB */
};

#define ENGINE_CHANGE_DRY_RUN 1u
#define ENGINE_CHANGE_SKIP_INVALIDATION 2u /* -EPERM without unsafe_hooks */

#define ENGINE_MAX_OPS 65536u

struct engine_mem_apply {
	uint32_t count; /* operations in the payload, 1..ENGINE_MAX_OPS */
	uint32_t flags; /* ENGINE_CHANGE_* */
};

struct engine_change {
	uint64_t entries_written, entries_split, tables_merged;
	uint64_t tables_allocated, tables_freed;
	uint64_t ep4ta;
	uint32_t need; /* 0 none, 1 optional, 2 required */
	uint32_t invept_issued;
	uint32_t processors_interrupted, processors_deferred;
	char instruction[24]; /* "INVEPT", "" */
	char type[32];	      /* "single-context" */
	char reason[40];      /* "leaf-address-changed" */
	char text[160];
	char section[80]; /* the manual's section title */
};

#define ENGINE_MAX_MAPPINGS 4096u

/* Mapped ranges that end after gpa, in order. */
struct engine_mapping_list_req {
	uint64_t gpa;
	uint32_t max; /* 1..ENGINE_MAX_MAPPINGS */
	uint32_t pad;
};

/* A mapped range, and the EPT leaves that are there for it. */
struct engine_mapping {
	uint64_t gpa, size_bytes, offset_bytes;
	uint64_t leaves_4k, leaves_2m, leaves_1g;
	uint64_t leaves_accessed, leaves_dirty; /* of these; with accessed_dirty only */
	uint32_t slot, prot, memtype, pad;
};

struct engine_mappings {
	uint64_t ep4ta;
	uint64_t table_bytes; /* of the whole EPT, its root among them */
	uint64_t next_gpa;    /* if more: where to go on */
	uint32_t accessed_dirty;
	uint32_t more;
	uint32_t count;
	uint32_t pad;
	struct engine_mapping mapping[];
};

#define ENGINE_MAX_DIRTY_BYTES ((uint64_t)ENGINE_MAX_DATA * 8u * 4096u)

/* Both multiples of 4096, at most ENGINE_MAX_DIRTY_BYTES. */
struct engine_dirty_req {
	uint64_t gpa, size_bytes;
	uint32_t clear; /* clear the flags that are told, and invalidate */
	uint32_t pad;
};

/*
 * A dirty leaf sets the bit of each page of it that is in the range. A large leaf that
 * the range cuts is told, but not cleared: its other pages have not been told.
 */
struct engine_dirty {
	struct engine_change change; /* entries_written: leaves cleared */
	uint64_t dirty_pages;	     /* bits set */
	uint64_t bitmap_bytes;
	uint8_t bitmap[]; /* bit n: page n of the range */
};

/* Not slot 0. -EBUSY: parts of it are mapped; existing_first..last is the first such. */
struct engine_slot_remove {
	uint32_t slot;
	uint32_t pad;
};

enum engine_address_kind { ENGINE_ADDR_GPA, ENGINE_ADDR_GVA, ENGINE_ADDR_SLOT };

struct engine_mem_io {
	uint64_t address;    /* gpa, gva, or offset in the slot */
	uint32_t size_bytes; /* at most ENGINE_MAX_DATA */
	uint32_t kind;	     /* enum engine_address_kind */
	uint32_t slot;
	uint32_t vcpu; /* whose paging, for GVA */
};

struct engine_walk_req {
	uint64_t gva;
	uint32_t vcpu;
	uint32_t access; /* one of ENGINE_PROT_* */
	uint32_t user;	 /* a user-mode access */
	uint32_t pad;
};

struct engine_walk_ref {
	uint64_t hpa; /* of the entry */
	uint64_t gpa; /* guest refs: of the entry; EPT refs: what is being translated */
	uint64_t entry;
	uint8_t dimension; /* 0 EPT, 1 guest */
	uint8_t level;	   /* 5..1 */
	uint8_t for_level; /* EPT refs: guest level being located, 0: final address */
	uint8_t leaf;
	uint8_t cached;	      /* a paging-structure cache or guest-physical entry would skip it */
	uint8_t cached_valid; /* 0: not observable */
	uint8_t pad[2];
};

enum engine_walk_outcome {
	ENGINE_WALK_OK,
	ENGINE_WALK_NOT_CANONICAL,
	ENGINE_WALK_PAGE_FAULT,
	ENGINE_WALK_EPT_VIOLATION,
	ENGINE_WALK_EPT_MISCONFIG,
};

struct engine_walk {
	uint64_t gva, gpa, hpa, cr3, ep4ta;
	uint64_t fault_gpa, qualification;
	uint64_t guest_page_bytes; /* 0: paging off */
	uint64_t ept_page_bytes;
	uint32_t outcome;    /* enum engine_walk_outcome */
	uint32_t error_code; /* of the page fault */
	uint32_t permissions;
	uint32_t user_accessible;
	uint32_t global;
	uint32_t vcpu, processor;
	uint32_t vpid; /* 0: none now */
	uint32_t pcid;
	uint32_t refs_guest, refs_ept;
	uint32_t refs_with_caches; /* of a walk with the paging-structure and guest-physical
				    * caches as they are now; UINT32_MAX not observable */
	uint32_t tlb_level;	   /* bits: 1 I1, 2 D1, 4 L2 hold the translation */
	uint32_t tlb_level_valid;
	uint32_t slot; /* slot of the final address, UINT32_MAX none */
	uint32_t count;
	uint64_t slot_offset;
	struct engine_walk_ref refs[35];
};

struct engine_vpid {
	uint64_t vm;
	uint64_t generation;
	uint64_t pool_generation; /* the processor's; equal: still valid */
	uint32_t vcpu;
	uint32_t processor;
	uint32_t vpid; /* 0: none taken yet, or VPIDs off */
	uint32_t valid;
	uint32_t pool_left; /* VPIDs before this processor's next generation */
	uint32_t pool_limit;
	uint32_t use_vpid;
	uint32_t tlb_valid;		    /* the following are observable */
	uint32_t held_i1, held_d1, held_l2; /* TLB entries under this tag now */
	uint32_t pad;
};

struct engine_tlb_stats {
	uint64_t vm;
	uint32_t vcpu;
	uint32_t processor;
	uint32_t vpid;
	uint32_t observable; /* 0: every counter below is null */
	uint64_t retired;    /* instructions */
#define TLB_STAT(name, unit, doc) uint64_t name;
#include <vmxcore/tlb_stats.def>
#undef TLB_STAT
	uint32_t held_i1, held_d1, held_l2, held_psc, held_gpa;
	uint32_t size_i1, size_d1, size_l2, size_psc, size_gpa; /* capacity, of the processor */
	uint64_t walk_refs_histogram[64];
};

enum engine_tlb_structure {
	ENGINE_TLB_I1,	/* first level, instructions */
	ENGINE_TLB_D1,	/* first level, data */
	ENGINE_TLB_L2,	/* second level, shared */
	ENGINE_TLB_PSC, /* paging-structure caches */
	ENGINE_TLB_GPA, /* guest-physical mappings */
	ENGINE_TLB_STRUCTURES
};

/* vm 0: every VM. */
struct engine_tlb_entries_req {
	uint32_t processor;
	uint32_t max; /* at most 65536 */
	uint64_t skip;
	int32_t vpid;	     /* < 0: every tag */
	uint32_t structures; /* bits 1 << enum engine_tlb_structure; 0: all */
};

struct engine_tlb_entry {
	uint64_t linear, host, ep4ta, page_bytes;
	uint64_t vm;   /* 0: not a known VM's tag */
	uint32_t vcpu; /* UINT32_MAX: the VM's, and none of its vCPUs' */
	uint16_t vpid, pcid;
	uint8_t structure, level, global, dirty;
	uint8_t read, write, exec, user;
};

enum engine_stat_scope { ENGINE_SCOPE_PROCESSOR, ENGINE_SCOPE_VM, ENGINE_SCOPE_VCPU };

/* A counter, self-describing. Exits are named "exit.<reason>", unimplemented
 * instructions "ud.<mnemonic>". */
struct engine_stat {
	char name[48];
	char unit[16];
	uint64_t value;
	uint64_t vm;
	uint32_t scope;
	uint32_t processor; /* ENGINE_SCOPE_PROCESSOR; UINT32_MAX otherwise */
	uint32_t vcpu;	    /* ENGINE_SCOPE_VCPU */
	uint32_t observable;
};

/* The kinds of INVEPT and INVVPID ("Operations that Invalidate Cached Mappings"). */
enum engine_invalidation {
	ENGINE_INVEPT_SINGLE,
	ENGINE_INVEPT_ALL,
	ENGINE_INVVPID_ADDRESS,
	ENGINE_INVVPID_SINGLE,
	ENGINE_INVVPID_ALL,
	ENGINE_INVVPID_KEEP_GLOBAL,
	ENGINE_INVALIDATIONS
};

/*
 * An invalidation by hand: exactly the instruction that is asked for, with the VM's EP4TA
 * or a VPID of its. It takes entries, and counts as any other does. What changes of
 * mappings still owe (ENGINE_CHANGE_SKIP_INVALIDATION) they go on owing.
 */
struct engine_invalidate_req {
	uint64_t gva;	    /* INVVPID_ADDRESS */
	uint32_t kind;	    /* enum engine_invalidation */
	uint32_t processor; /* ENGINE_ANY_PROCESSOR: INVEPT on each vCPU's home, INVVPID on
			     * the home of vcpu */
	uint32_t vcpu;	    /* INVVPID: whose VPID */
	uint32_t vpid;	    /* INVVPID: this one instead, 1..65535; 0: the vCPU's */
};

struct engine_invalidated {
	uint64_t ep4ta; /* INVEPT_SINGLE */
	uint32_t processor;
	uint32_t vpid;	     /* INVVPID, but INVVPID_ALL */
	uint32_t observable; /* 0: what was dropped is not known */
	uint32_t dropped_i1, dropped_d1, dropped_l2, dropped_psc, dropped_gpa;
	char instruction[24]; /* "INVVPID" */
	char type[40];	      /* "individual-address" */
};

enum engine_register_group {
	ENGINE_REGISTER_GENERAL,
	ENGINE_REGISTER_CONTROL,
	ENGINE_REGISTER_SEGMENT,
	ENGINE_REGISTER_DEBUG,
	ENGINE_REGISTER_MSR,
	ENGINE_REGISTER_STATE, /* "Guest Non-Register State" */
};

#define ENGINE_MAX_REGISTERS 128u

/* Self-describing. To set: name and value count. */
struct engine_register {
	char name[24]; /* "rip", "cs.base"; NUL-terminated */
	uint64_t value;
	uint32_t bits;
	uint32_t group; /* enum engine_register_group */
};

/* -EINVAL: VM entry would refuse it (field registers; index: which of them, UINT32_MAX
 * another one), -ENOENT no register of that name, -ERANGE it has fewer bits. */
struct engine_vcpu_req {
	uint32_t vcpu;
	uint32_t count; /* VCPU_SET: registers in the payload */
};

enum engine_event_kind { ENGINE_EVENT_INTERRUPT, ENGINE_EVENT_NMI, ENGINE_EVENT_EXCEPTION };

/* "Event Injection". An interrupt waits until the guest takes interrupts. */
struct engine_inject {
	uint32_t vcpu;
	uint32_t kind;	 /* enum engine_event_kind */
	uint32_t vector; /* NMI: 2 */
	uint32_t has_error_code;
	uint32_t error_code;
	uint32_t pad;
};

struct engine_vmcs_req {
	uint32_t vcpu;
	uint32_t pad;
	char field[40]; /* its name; "": every field that the processor has */
};

/* As VMREAD gives it: registers that were set since the last exit are not in it yet. */
struct engine_vmcs_field {
	char name[40];
	char text[72];
	uint64_t value;
	uint32_t encoding;
	uint8_t width; /* 0 16 bits, 1 64, 2 32, 3 natural */
	uint8_t type;  /* 0 control, 1 read-only data, 2 guest state, 3 host state */
	uint8_t pad[2];
};

#define ENGINE_MAX_INPUT 65536u

/*
 * The guest's UART takes bytes as the guest looks for them, so that none is overrun. It
 * has no interrupt: a guest that halts waits for nothing, and ends (REASON_HALTED).
 */
struct engine_console_write {
	uint32_t size_bytes; /* of the payload, at most ENGINE_MAX_INPUT */
	uint32_t pad;
};

enum engine_trace_kind {
	ENGINE_TRACE_EXIT,	   /* a VM exit, but violations */
	ENGINE_TRACE_VIOLATION,	   /* an EPT violation or misconfiguration */
	ENGINE_TRACE_INVALIDATION, /* INVEPT or INVVPID that the hypervisor executed for the VM */
	ENGINE_TRACE_KINDS
};

enum engine_trace_cause {
	ENGINE_CAUSE_NONE,
	ENGINE_CAUSE_CHANGE,	/* at once, by the processor that changed a mapping */
	ENGINE_CAUSE_SHOOTDOWN, /* interrupted in guest for a change */
	ENGINE_CAUSE_DEFERRED,	/* at entry, for a change made while the VM was elsewhere */
	ENGINE_CAUSE_FIRST_USE, /* first use of an EP4TA on this processor */
	ENGINE_CAUSE_REQUEST,	/* by hand */
	ENGINE_CAUSE_RECYCLE,	/* a new generation of VPIDs on this processor */
	ENGINE_CAUSE_PAGING,	/* paging registers that the hypervisor set for the guest */
	ENGINE_CAUSE_COUNT
};

#define ENGINE_MAX_TRACE 65536u	    /* records that an engine keeps for a VM */
#define ENGINE_MAX_TRACE_READ 4096u /* ... and gives at a time */

/*
 * In force until it is set again or the VM is deleted, over stops and starts. When the room
 * is used up, the newest records are lost. -ENOMEM: all VMs' room together has a bound.
 */
struct engine_trace_set {
	uint64_t exits[2]; /* kind EXIT: bit n: basic reason n; both 0: every reason */
	uint32_t kinds;	   /* bits 1 << enum engine_trace_kind; 0: nothing, and the room goes */
	uint32_t records;  /* room, 1..ENGINE_MAX_TRACE */
	uint32_t vcpu;	   /* this one only; UINT32_MAX: all, and what is of none */
	uint32_t pad;
};

/* A read that leaves records is followed by another ENGINE_EVENT_TRACE. */
struct engine_trace_read {
	uint32_t max; /* 1..ENGINE_MAX_TRACE_READ */
	uint32_t pad;
};

/*
 * Taken where it happens. What a kind has not is 0. An INVEPT is the VM's if it names its
 * EP4TA, an INVVPID if it names a VPID of its; by hand, if it was asked for with the VM. A
 * RECYCLE takes every VM's entries: it is recorded for the VM whose entry caused it.
 */
struct engine_trace_record {
	uint64_t seq;	     /* of the VM, since tracing was set: lost ones leave a gap */
	uint64_t guest_time; /* instructions retired by the VM; UINT64_MAX: not observable */
	uint64_t time_ns; /* host, CLOCK_MONOTONIC; UINT64_MAX: the engine's time is guest time */
	uint64_t rip;
	uint64_t gpa, gva; /* VIOLATION; INVVPID individual-address: gva */
	uint64_t qualification;
	uint64_t ep4ta;	       /* INVEPT single-context */
	uint32_t kind;	       /* enum engine_trace_kind */
	uint32_t vcpu;	       /* UINT32_MAX: none */
	uint32_t processor;    /* that it happened on */
	uint32_t exit_reason;  /* basic */
	uint32_t vpid;	       /* the vCPU's there; INVVPID: that it names */
	uint32_t invalidation; /* enum engine_invalidation */
	uint32_t cause;	       /* enum engine_trace_cause */
	uint8_t gva_valid;
	uint8_t pad[3];
};

/* Reads what the guest printed. offset counts from the VM's last start. */
struct engine_console_read {
	uint64_t offset;
	uint32_t max_bytes; /* at most ENGINE_MAX_DATA */
	uint32_t pad;
};

struct engine_request {
	uint64_t token; /* the caller's; comes back in the completion */
	uint64_t vm;	/* the engine's id from VM_CREATE; 0 where none */
	uint32_t op;	/* enum engine_op */
	uint32_t pad;
	union {
		struct engine_vm_create create;
		struct engine_slot_add slot_add;
		struct engine_mem_apply apply;
		struct engine_mem_io mem;
		struct engine_walk_req walk;
		struct engine_tlb_entries_req tlb_entries;
		struct engine_console_read console;
		struct engine_mapping_list_req mapping_list;
		struct engine_dirty_req dirty;
		struct engine_slot_remove slot_remove;
		struct engine_invalidate_req invalidate;
		struct engine_vcpu_req vcpu;
		struct engine_inject inject;
		struct engine_vmcs_req vmcs;
		struct engine_console_write console_write;
		struct engine_trace_set trace_set;
		struct engine_trace_read trace_read;
	} u;
};

/*
 * Queues a request; copies everything it is given and duplicates the descriptors.
 * 0, or -EINVAL (malformed: op, sizes), -ENOMEM, -EAGAIN (queue full: 4096). What
 * the operation itself says comes with the completion.
 */
int engine_submit(struct engine *e, const struct engine_request *req, const void *payload,
		  size_t payload_bytes, const int *fds, size_t fd_count);

/*
 * Asks that the request with this token end early. It completes all the same: with
 * -ECANCELED, and has changed nothing; or as if nothing had been asked, when it was done or
 * could not be undone any more. Which can take long enough to matter: VM_CREATE, VM_START,
 * VM_RESET, VM_DELETE, SLOT_ADD, MEM_APPLY. These work in pieces, between which guests run
 * and other VMs' requests are served, and tell how far they are (ENGINE_EVENT_PROGRESS).
 * Requests to one VM are done one after the other.
 */
void engine_cancel(struct engine *e, uint64_t token);

/* --- events ------------------------------------------------------------------------------ */

/* The libvirt domain states that hvd uses (virDomainState). */
enum engine_vm_state {
	ENGINE_STATE_RUNNING = 1,
	ENGINE_STATE_PAUSED = 3,
	ENGINE_STATE_SHUTOFF = 5,
	ENGINE_STATE_CRASHED = 6,
};

enum engine_state_reason {
	ENGINE_REASON_NONE,
	ENGINE_REASON_CREATED, /* shutoff: never started */
	ENGINE_REASON_STARTED,
	ENGINE_REASON_USER,	    /* paused, resumed or stopped by request */
	ENGINE_REASON_EXITED,	    /* shutoff: the guest wrote its exit status to port 0xf4 */
	ENGINE_REASON_HALTED,	    /* shutoff: every vCPU halted with nothing to wake it */
	ENGINE_REASON_EPT_DENIED,   /* paused: a mapping forbids an access; resume retries it */
	ENGINE_REASON_TRIPLE_FAULT, /* crashed */
	ENGINE_REASON_UNEXPECTED,   /* crashed: an exit with no handler; see report */
	ENGINE_REASON_ENTRY_FAILED, /* crashed: VM entry refused; see report */
	ENGINE_REASON_INTERNAL,	    /* crashed: a defect of the engine; see report */
	ENGINE_REASON_COUNT
};

struct engine_state_info {
	uint32_t state;	      /* enum engine_vm_state */
	uint32_t reason;      /* enum engine_state_reason */
	uint32_t exit_status; /* EXITED */
	uint32_t vcpu;	      /* that caused it */
	uint64_t rip, gpa, gva, qualification;
	uint32_t exit_reason, insn_error;
	uint64_t guest_time;	/* instructions retired by the VM; UINT64_MAX: not observable */
	uint64_t console_bytes; /* printed since its last start */
	char report[ENGINE_TEXT_LEN]; /* one line for people */
};

struct engine_vcpu_info {
	uint32_t vcpu, processor;
	uint32_t vpid, activity; /* activity: VMCS format */
	uint64_t rip, exits;
	uint64_t retired; /* instructions; UINT64_MAX: not observable */
};

/* Which input was wrong. */
enum engine_field {
	ENGINE_FIELD_NONE,
	ENGINE_FIELD_VM,
	ENGINE_FIELD_STATE, /* the VM's state does not allow it */
	ENGINE_FIELD_MEMORY,
	ENGINE_FIELD_VCPUS,
	ENGINE_FIELD_PROCESSOR,
	ENGINE_FIELD_IMAGE,
	ENGINE_FIELD_MODULE,
	ENGINE_FIELD_CMDLINE,
	ENGINE_FIELD_LOAD_GPA,
	ENGINE_FIELD_EPT_PAGE,
	ENGINE_FIELD_SLOT,
	ENGINE_FIELD_KIND,
	ENGINE_FIELD_GPA,
	ENGINE_FIELD_GVA,
	ENGINE_FIELD_SIZE,
	ENGINE_FIELD_OFFSET,
	ENGINE_FIELD_PROT,
	ENGINE_FIELD_MEMTYPE,
	ENGINE_FIELD_OPERATIONS,
	ENGINE_FIELD_VCPU,
	ENGINE_FIELD_FILE,
	ENGINE_FIELD_VPID,
	ENGINE_FIELD_REGISTERS,
	ENGINE_FIELD_VECTOR,
	ENGINE_FIELD_ERROR_CODE,
	ENGINE_FIELD_FIELD, /* of a VMCS */
	ENGINE_FIELD_COUNT
};

struct engine_error {
	int32_t code;	/* negative errno; 0: success */
	uint32_t field; /* enum engine_field */
	uint32_t index; /* operation of a batch */
	uint32_t slot;	/* of the existing mapping (overlap) */
	uint64_t limit;
	uint64_t requested_first, requested_last;
	uint64_t existing_first, existing_last;
	char text[ENGINE_TEXT_LEN]; /* what is wrong, for people; names no VM or slot */
};

enum engine_event_type {
	ENGINE_EVENT_COMPLETION,
	ENGINE_EVENT_STATE,    /* a VM changed state (also for requested changes) */
	ENGINE_EVENT_CONSOLE,  /* a VM printed; coalesced */
	ENGINE_EVENT_TRACE,    /* a VM has trace records to read; coalesced */
	ENGINE_EVENT_NOTICE,   /* see notice */
	ENGINE_EVENT_PROGRESS, /* of the request with this token: done of total bytes; now and
				* then, and never after its completion */
};

enum engine_notice_kind {
	ENGINE_NOTICE_VPIDS_RECYCLED, /* a processor ran out of VPIDs and began a new generation.
				       * One waits at a time for each processor: the latest */
	ENGINE_NOTICE_UNIMPLEMENTED,  /* a guest met an instruction that is not implemented: the
				       * first time for this VM and instruction, and the first
				       * 64 instructions of a VM */
};

struct engine_notice {
	uint64_t vm; /* VPIDS_RECYCLED: whose entry caused it; 0: none */
	uint64_t rip;
	uint64_t generation; /* VPIDS_RECYCLED: the new one */
	uint32_t kind;	     /* enum engine_notice_kind */
	uint32_t vcpu;
	uint32_t processor;
	uint32_t pad;
	char text[48]; /* UNIMPLEMENTED: the mnemonic */
};

struct engine_event {
	uint32_t type;
	uint32_t op; /* of the request completed */
	uint64_t token;
	uint64_t vm; /* VM_CREATE: the new id */
	struct engine_error error;
	struct engine_state_info state; /* STATE events; VM_* completions */
	uint64_t payload_bytes;
	uint64_t total; /* TLB_ENTRIES: matching in all; CONSOLE_READ: bytes printed so far;
			 * SLOT_REMOVE: bytes given back */
	uint64_t first; /* CONSOLE_READ: offset of the payload's first byte; later than asked
			 * for when older bytes are no longer kept */
	uint64_t done;	/* PROGRESS: bytes, of total */
	struct engine_notice notice; /* NOTICE */
	void *payload;		     /* the engine's, until engine_event_release() */
};

int engine_event_fd(struct engine *e);
/* 0 and *ret filled, or -EAGAIN. A completion precedes state events it caused later. */
int engine_next_event(struct engine *e, struct engine_event *ret);
void engine_event_release(struct engine_event *ev);

const char *engine_state_name(uint32_t state);	 /* "running" */
const char *engine_reason_name(uint32_t reason); /* "ept-denied" */
const char *engine_field_name(uint32_t field);
/* "ept-violation", by basic exit reason; NULL if there is none of this number. */
const char *engine_exit_name(uint32_t basic_reason);

#endif
