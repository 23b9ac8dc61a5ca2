/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * /dev/vmxcore: what the kernel module offers to a program. Three kinds of descriptors:
 *
 *   the device      open("/dev/vmxcore", O_RDWR | O_CLOEXEC)
 *   a VM            VMXCORE_CREATE_VM on the device
 *   a vCPU          VMXCORE_CREATE_VCPU on a VM
 *
 * A descriptor may be handed on like any other. Closing the last one of a VM's frees all of
 * it, whatever state it is in; a vCPU's keeps its VM. Only the process that made a VM may use
 * its descriptors (-EXDEV otherwise): the memory is that process's.
 *
 * Shapes: every structure is fixed-width, padded by hand, the same for 32- and 64-bit
 * programs; its size is part of the ioctl's number. Unknown flags and padding that is not 0
 * are refused with -EINVAL, so that they can get a meaning later. Structures with a `ret`
 * part are filled on success, and on the errors that say so. Pointers are __u64.
 * Addresses and sizes are bytes. A new field gets a new ioctl number, never a new meaning.
 *
 * Threads: any number; operations on one VM are serialised, a vCPU has one user at a time
 * (-EBUSY), VMXCORE_KICK and VMXCORE_VCPU_STATS apart. VMXCORE_RUN sleeps for nobody: it returns at
 * a signal.
 *
 * Errors, of every ioctl: -EFAULT a pointer can't be read or written, -EINVAL a field is out
 * of its range, -ENOTTY no such ioctl here, -ENOMEM, -ESHUTDOWN the system is on its way
 * down, -EXDEV another process.
 */
#ifndef VMXCORE_UAPI_H
#define VMXCORE_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define VMXCORE_DEVICE "/dev/vmxcore"
#define VMXCORE_ABI 1u

#define VMXCORE_IO 0xB7 /* the ioctls' type byte */

/* --- the device --------------------------------------------------------------------- */

#define VMXCORE_CAP_EPT_2M (1u << 0)
#define VMXCORE_CAP_EPT_1G (1u << 1)
#define VMXCORE_CAP_EPT_EXEC_ONLY (1u << 2)
#define VMXCORE_CAP_EPT_AD (1u << 3)
#define VMXCORE_CAP_VPID (1u << 4)
#define VMXCORE_CAP_UNRESTRICTED (1u << 5)
#define VMXCORE_CAP_PREEMPTION_TIMER (1u << 6)

struct vmxcore_info {
	__u32 abi; /* VMXCORE_ABI of the module */
	__u32 capabilities;
	__u32 processors; /* in VMX operation */
	__u32 max_vcpus_per_vm;
	__u32 max_slots_per_vm;
	__u32 max_operations;	/* of one VMXCORE_APPLY */
	__u32 max_address_bits; /* MAXPHYADDR */
	__u32 tsc_khz;		/* 0: not known */
	__u64 max_slot_bytes;
	__u64 pinned_bytes; /* of all VMs, now */
	__u32 vms;
	__u32 invalidations; /* bit n: there is kind n of struct vmxcore_invalidate */
	__u32 vpid_limit;    /* highest VPID that is used */
	__u32 pad;
};

#define VMXCORE_VM_VPID (1u << 0)
#define VMXCORE_VM_ACCESSED_DIRTY (1u << 1)

struct vmxcore_create_vm {
	__u32 flags; /* VMXCORE_VM_* */
	__u32 pad;
	__u64 max_page_bytes; /* largest EPT leaf; 0: the largest offered */
};

/* _IO: returns the new descriptor, or a negative errno. */
#define VMXCORE_GET_INFO _IOR(VMXCORE_IO, 0x00, struct vmxcore_info)
#define VMXCORE_CREATE_VM _IOW(VMXCORE_IO, 0x01, struct vmxcore_create_vm)

/* --- a VM: memory ----------------------------------------------------------------------- */

/*
 * Host memory that may be mapped into the guest: [address, address + size_bytes) of the
 * calling process. It is pinned at once, for writing and for long, and counts as the process's
 * locked memory (RLIMIT_MEMLOCK); what can't be pinned so (files of block devices, device memory,
 * the kernel's own) is -EFAULT or -EOPNOTSUPP. The pages stay until the slot goes, though the
 * process unmap them or end. Use a memfd sealed against shrinking, or hugetlb memory: then
 * the process and its guest go on seeing the same pages.
 * -EEXIST the number is taken, -ENOSPC max_slots_per_vm, -EPERM beyond RLIMIT_MEMLOCK, or
 * the module's parameter max_pinned_mib.
 */
struct vmxcore_slot {
	__u32 slot;
	__u32 flags;	  /* 0 */
	__u64 address;	  /* multiple of 4096 */
	__u64 size_bytes; /* multiple of 4096, at most max_slot_bytes */
};

/* -ENOENT, -EBUSY: a range names it. */
struct vmxcore_slot_number {
	__u32 slot;
	__u32 pad;
};

struct vmxcore_slot_info {
	__u32 slot; /* in */
	__u32 pad;
	/* ret */
	__u64 size_bytes, mapped_bytes;
	__u64 extents; /* contiguous pieces of host-physical memory */
};

#define VMXCORE_MAP 0u
#define VMXCORE_UNMAP 1u
#define VMXCORE_PROTECT 2u
#define VMXCORE_REMAP 3u

struct vmxcore_map_op {
	__u64 gpa;
	__u64 size_bytes;
	__u64 offset_bytes; /* MAP, REMAP */
	__u32 kind;
	__u32 slot;    /* MAP, REMAP */
	__u32 prot;    /* MAP, PROTECT: 1 read, 2 write, 4 execute */
	__u32 memtype; /* MAP: 0 UC, 1 WC, 4 WT, 5 WP, 6 WB */
};

#define VMXCORE_CHANGE_DRY_RUN (1u << 0)

/* What a change did, or would do; as core counts it. */
struct vmxcore_change {
	__u64 entries_written, entries_split, tables_merged;
	__u64 tables_allocated, tables_freed;
	__u32 need;	   /* 0 none, 1 optional, 2 required */
	__u32 instruction; /* 0 none, 1 INVEPT single-context, 2 INVEPT all-context */
	__u32 reason;	   /* number of the row of inval_reasons.def */
	__u32 invept_issued;
	__u32 processors_interrupted, processors_deferred;
};

/* Why a change was refused; field: 0 none, 1 kind, 2 gpa, 3 size, 4 slot, 5 offset, 6 prot,
 * 7 memtype, 8 count. */
struct vmxcore_conflict {
	__u32 op_index;
	__u32 field;
	__u64 limit;
	__u64 requested_first, requested_last;
	__u64 existing_first, existing_last;
	__u32 existing_slot, pad;
};

/*
 * All of the operations, or none; one invalidation. The change holds on every processor
 * when it returns. -EEXIST overlap, -ENOENT hole, -ERANGE bounds, -E2BIG: then conflict is
 * filled, as it is with -EINVAL of an operation (conflict.field is not 0). -EINTR: the
 * process is to end; nothing has changed.
 */
struct vmxcore_apply {
	__u64 operations; /* pointer to struct vmxcore_map_op[count] */
	__u32 count;	  /* 1..max_operations */
	__u32 flags;	  /* VMXCORE_CHANGE_* */
	/* ret */
	struct vmxcore_change change;
	struct vmxcore_conflict conflict;
};

/* Ranges that end after gpa, in order; count: room, and then how many there are. */
struct vmxcore_range {
	__u64 gpa, size_bytes, offset_bytes;
	__u64 leaves_4k, leaves_2m, leaves_1g;
	__u64 leaves_accessed, leaves_dirty;
	__u32 slot, prot, memtype, pad;
};

struct vmxcore_ranges {
	__u64 gpa;
	__u64 ranges; /* pointer to struct vmxcore_range[count] */
	__u32 count;  /* 1..4096 */
	__u32 pad;
	/* ret */
	__u64 eptp;
	__u64 table_bytes;
};

/* bitmap: (size / 4096 + 7) / 8 bytes; bit n: page n was written. */
struct vmxcore_dirty {
	__u64 gpa, size_bytes; /* at most 32 GiB */
	__u64 bitmap;
	__u32 clear;
	__u32 pad;
	/* ret */
	struct vmxcore_change change;
};

/* Guest memory through the mappings, whatever they permit. -EFAULT: not mapped. */
struct vmxcore_memory {
	__u64 gpa;
	__u64 buffer;
	__u32 size_bytes; /* at most 1 MiB */
	__u32 write;
};

/* Atomically; size 1, 2, 4, 8, naturally aligned. -EAGAIN: it was different; then expected
 * holds what was there. */
struct vmxcore_cmpxchg {
	__u64 gpa;
	__u64 expected, desired;
	__u32 size_bytes, pad;
};

struct vmxcore_lookup {
	__u64 gpa; /* -ENOENT: nothing is mapped there */
	/* ret */
	struct vmxcore_range range; /* without leaves */
};

struct vmxcore_cpuid_entry {
	__u32 leaf, subleaf, eax, ebx, ecx, edx;
};

struct vmxcore_cpuid {
	__u64 entries;
	__u32 count; /* at most 64 */
	__u32 pad;
};

/* INVEPT or INVVPID by hand, of a kind of enum engine_invalidation that
 * vmxcore_info.invalidations has. */
struct vmxcore_invalidate {
	__u64 gva;
	__u32 kind;
	__u32 processor; /* on it; -ENODEV not in VMX operation */
	__u32 vpid;	 /* INVVPID */
	__u32 vcpu;	 /* whose VPID it is, for the trace; ~0: nobody's */
};

/*
 * core's counters in the order of stats.def: of the VM's address space, or of a processor
 * (-ENODEV: there is none of that number), with its pool of VPIDs.
 */
struct vmxcore_stats {
	__u64 values;	 /* pointer to __u64[count] */
	__u32 count;	 /* room; then how many there are */
	__u32 processor; /* ~0: the VM's */
	/* ret, of a processor */
	__u64 pool_generation;
	__u32 pool_left, pool_limit;
	__u32 online; /* in VMX operation */
	__u32 pad;
};

struct vmxcore_vm_info {
	__u64 eptp;
	__u64 table_bytes; /* of the EPT, its root among them */
};

/*
 * What of the VM is traced from now on; records that were not read are dropped. kinds: bits
 * 1 exits, 2 EPT violations and misconfigurations, 4 invalidations; 0: nothing, and the
 * room goes. exits: of kind exit, bit n: basic reason n; both 0: every reason.
 */
struct vmxcore_trace_set {
	__u64 exits[2];
	__u32 kinds;
	__u32 records; /* room, 1..65536 */
	__u32 vcpu;    /* this one only; ~0: all */
	__u32 pad;
	/* ret */
	__u64 untold; /* records dropped that nobody had read, those lost for want of room too */
};

struct vmxcore_trace_record {
	__u64 seq;     /* of the VM, since tracing was set: lost ones leave a gap */
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u64 rip, gpa, gva, qualification, ep4ta;
	__u32 vcpu; /* ~0: none */
	__u16 processor, exit_reason, vpid;
	__u8 kind;	   /* 0 exit, 1 violation, 2 invalidation */
	__u8 invalidation; /* as in struct vmxcore_invalidate */
	__u8 cause;	   /* as enum engine_trace_cause */
	__u8 gva_valid;
	__u8 pad[2];
};

/*
 * Oldest first; count: room, 0..4096, and then how many there are. With no room it only tells
 * of what waits.
 */
struct vmxcore_trace_read {
	__u64 records;
	__u32 count;
	__u32 pad;
	/* ret */
	__u64 lost;	/* before the first of them, for want of room; 0 if count was 0 */
	__u64 next_seq; /* of the next record: moves with each that is added or lost */
	__u32 waiting;	/* after these */
	__u32 pad2;
};

#define VMXCORE_ADD_SLOT _IOW(VMXCORE_IO, 0x10, struct vmxcore_slot)
#define VMXCORE_REMOVE_SLOT _IOW(VMXCORE_IO, 0x11, struct vmxcore_slot_number)
#define VMXCORE_SLOT_INFO _IOWR(VMXCORE_IO, 0x12, struct vmxcore_slot_info)
#define VMXCORE_APPLY _IOWR(VMXCORE_IO, 0x13, struct vmxcore_apply)
#define VMXCORE_RANGES _IOWR(VMXCORE_IO, 0x14, struct vmxcore_ranges)
#define VMXCORE_DIRTY _IOWR(VMXCORE_IO, 0x15, struct vmxcore_dirty)
#define VMXCORE_MEMORY _IOW(VMXCORE_IO, 0x16, struct vmxcore_memory)
#define VMXCORE_CMPXCHG _IOWR(VMXCORE_IO, 0x17, struct vmxcore_cmpxchg)
#define VMXCORE_LOOKUP _IOWR(VMXCORE_IO, 0x18, struct vmxcore_lookup)
#define VMXCORE_SET_CPUID _IOW(VMXCORE_IO, 0x19, struct vmxcore_cpuid)
#define VMXCORE_INVALIDATE _IOW(VMXCORE_IO, 0x1a, struct vmxcore_invalidate)
#define VMXCORE_STATS _IOWR(VMXCORE_IO, 0x1b, struct vmxcore_stats)
#define VMXCORE_TRACE_SET _IOWR(VMXCORE_IO, 0x1c, struct vmxcore_trace_set)
#define VMXCORE_TRACE_READ _IOWR(VMXCORE_IO, 0x1d, struct vmxcore_trace_read)
#define VMXCORE_VM_INFO _IOR(VMXCORE_IO, 0x1e, struct vmxcore_vm_info)

/* --- a vCPU --------------------------------------------------------------------------- */

struct vmxcore_create_vcpu {
	__u32 index; /* below max_vcpus_per_vm; -EEXIST */
	__u32 pad;
};

struct vmxcore_segment {
	__u64 base;
	__u32 limit;
	__u32 ar; /* the VMCS's format */
	__u16 sel;
	__u16 pad[3];
};

/* Every register; general ones in the order of their encoding, RSP among them. */
struct vmxcore_regs {
	__u64 gpr[16];
	__u64 rip, rflags;
	__u64 cr0, cr2, cr3, cr4;
	__u64 dr[4], dr6, dr7;
	__u64 efer, pat, star, lstar, cstar, fmask, kernel_gs_base, tsc_aux;
	__u64 sysenter_cs, sysenter_esp, sysenter_eip;
	struct vmxcore_segment seg[8]; /* ES CS SS DS FS GS LDTR TR */
	__u64 gdtr_base, idtr_base;
	__u32 gdtr_limit, idtr_limit;
	__u32 interruptibility, activity;
};

#define VMXCORE_EXIT_BUDGET 0u
#define VMXCORE_EXIT_HLT 2u
#define VMXCORE_EXIT_IO 3u
#define VMXCORE_EXIT_EMULATE 4u
#define VMXCORE_EXIT_EPT_DENIED 5u
#define VMXCORE_EXIT_EPT_MISCONFIG 6u
#define VMXCORE_EXIT_TRIPLE_FAULT 7u
#define VMXCORE_EXIT_UNEXPECTED 8u
#define VMXCORE_EXIT_ENTRY_FAILED 9u

/*
 * Runs the vCPU until something is the caller's: 0 and why. The host's interrupts are taken
 * meanwhile, and the thread is scheduled like any other. -EINTR: a signal, or VMXCORE_KICK.
 * -EBUSY another thread runs it, -ENODEV this processor is not in VMX operation. complete:
 * what the last exit wanted, done on the way in, and done though the run then ends with an
 * error.
 */
struct vmxcore_run {
	__u64 budget_ticks; /* TSC ticks in the guest; 0: none */
	__u32 complete;	    /* 1: the last exit was IO; io_value is what IN reads */
	__u32 io_in_value;
	/* ret */
	__u32 reason;	   /* VMXCORE_EXIT_* */
	__u32 exit_reason; /* with bit 31 as the VMCS has it */
	__u32 insn_error;
	__u32 insn_length;
	__u64 qualification;
	__u64 rip;
	__u64 gpa, gva;
	__u32 gva_valid;
	__u32 intr_info, intr_error;
	__u32 vectoring_info, vectoring_error;
	__u16 io_port;
	__u8 io_size, io_in;
	__u32 io_value;	       /* of an OUT */
	__u32 processor;       /* it ran on */
	__u64 pool_generation; /* of that processor's VPIDs */
};

/* As vmxcore_run.complete, without running: registers and memory are then as after the
 * instruction. -EINVAL: the last exit was not IO, or has been completed. */
struct vmxcore_complete_io {
	__u32 value; /* what IN reads */
	__u32 pad;
};

/* -EINVAL: VM entry would refuse it; field names which, "" if more than one. */
struct vmxcore_set_regs {
	struct vmxcore_regs regs;
	__u32 emulated; /* 1: an instruction was emulated: no interrupt shadow behind it, and
			 * its single-step trap is due */
	__u32 pad;
	/* ret */
	char field[24];
};

struct vmxcore_event {
	__u32 info; /* "VM-Entry Interruption-Information Field" */
	__u32 error_code;
	__u32 insn_length;
	__u32 pad;
};

struct vmxcore_walk_ref {
	__u64 hpa, gpa, entry;
	__u8 dimension, level, for_level, leaf;
	__u32 pad;
};

/* A two-dimensional walk by software, with the vCPU's registers; touches nothing. */
struct vmxcore_walk {
	__u64 gva;
	__u32 access; /* 1 read, 2 write, 4 fetch */
	__u32 user;
	__u32 smap_off; /* EFLAGS.AC is set, and the access is an explicit one */
	__u32 pad;
	/* ret */
	__u32 outcome; /* enum engine_walk_outcome */
	__u32 error_code;
	__u64 qualification, fault_gpa, gpa, hpa, cr3, eptp;
	__u64 guest_page_bytes, ept_page_bytes;
	__u32 permissions, user_accessible, global;
	__u32 refs_guest, refs_ept, count;
	struct vmxcore_walk_ref refs[35];
};

#define VMXCORE_EVENT_DTLB_LOAD_MISSES (1u << 0)
#define VMXCORE_EVENT_EPT_WALK_CYCLES (1u << 1)

/* Needs no turn: also while the vCPU runs. count: room, and then how many there are. */
struct vmxcore_vcpu_stats {
	__u64 values; /* core's counters in the order of stats.def */
	__u64 exits;  /* by basic exit reason */
	__u32 count, exit_count;
	/* ret */
	__u32 processor; /* where its VMCS is active; ~0: nowhere */
	__u32 vpid;	 /* the last it had; 0: none */
	__u32 vpid_valid;
	__u32 pad;
	__u64 vpid_generation, pool_generation;
	__u32 pool_left, pool_limit;
	__u32 events; /* VMXCORE_EVENT_*: the values that are observable */
	__u32 pad2;
	/* of the guest alone, while the processor's counters count it; else 0 */
	__u64 dtlb_load_misses, ept_walk_cycles;
};

/* -ENODATA: it has never run. */
struct vmxcore_vmcs_field {
	__u32 encoding;
	__u32 pad;
	__u64 value;
};

#define VMXCORE_CREATE_VCPU _IOW(VMXCORE_IO, 0x20, struct vmxcore_create_vcpu)
#define VMXCORE_RUN _IOWR(VMXCORE_IO, 0x21, struct vmxcore_run)
#define VMXCORE_KICK _IO(VMXCORE_IO, 0x22) /* the current or next run ends soon */
#define VMXCORE_GET_REGS _IOR(VMXCORE_IO, 0x23, struct vmxcore_regs)
#define VMXCORE_SET_REGS _IOWR(VMXCORE_IO, 0x24, struct vmxcore_set_regs)
#define VMXCORE_INJECT _IOW(VMXCORE_IO, 0x25, struct vmxcore_event)
#define VMXCORE_WALK _IOWR(VMXCORE_IO, 0x26, struct vmxcore_walk)
#define VMXCORE_VCPU_STATS _IOWR(VMXCORE_IO, 0x27, struct vmxcore_vcpu_stats)
#define VMXCORE_VMCS_READ _IOWR(VMXCORE_IO, 0x28, struct vmxcore_vmcs_field)
#define VMXCORE_COMPLETE_IO _IOW(VMXCORE_IO, 0x29, struct vmxcore_complete_io)

#endif
