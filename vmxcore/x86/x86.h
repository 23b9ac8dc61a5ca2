/* SPDX-License-Identifier: MIT */
/*
 * x86 instruction decoding and execution over a register file and access
 * callbacks. User space only. Two users:
 *   hw/model           runs guests: translate() is the model's MMU with its TLB
 *   engine emulation   one instruction after an EMULATE exit: translate() walks
 *                      without side effects and gives device memory
 *
 * This header is the seam: behind it an executor may be an interpreter of
 * compact operations or a translator. See docs/architecture.md, "Executor".
 *
 * Threads: one thread at a time in a struct x86_cpu and in the struct x86_code
 * that it shares with other processors of its machine.
 */
#ifndef VMXCORE_X86_H
#define VMXCORE_X86_H

#include <vmxcore/types.h>

enum x86_gpr {
	X86_RAX,
	X86_RCX,
	X86_RDX,
	X86_RBX,
	X86_RSP,
	X86_RBP,
	X86_RSI,
	X86_RDI,
	X86_R8,
	X86_R9,
	X86_R10,
	X86_R11,
	X86_R12,
	X86_R13,
	X86_R14,
	X86_R15,
	X86_GPR_COUNT
};

enum x86_seg_index {
	X86_ES,
	X86_CS,
	X86_SS,
	X86_DS,
	X86_FS,
	X86_GS,
	X86_LDTR,
	X86_TR,
	X86_SEG_COUNT
};

/* Access rights in the format of the VMCS ("Guest Register State"):
 * 3:0 type, 4 S, 6:5 DPL, 7 P, 12 AVL, 13 L, 14 D/B, 15 G, 16 unusable. */
struct x86_seg {
	uint64_t base;
	uint32_t limit; /* in bytes, scaled by G */
	uint32_t ar;
	uint16_t sel;
};

struct x86_dtable {
	uint64_t base;
	uint16_t limit;
};

/* Architectural state. flags are materialised here whenever x86_run() is not running. */
struct x86_state {
	uint64_t gpr[X86_GPR_COUNT];
	uint64_t rip;
	uint64_t rflags;
	struct x86_seg seg[X86_SEG_COUNT];
	struct x86_dtable gdtr, idtr;
	uint64_t cr0, cr2, cr3, cr4, cr8;
	uint64_t dr[8];
	uint64_t efer, pat, tsc_aux;
	uint64_t star, lstar, cstar, fmask, kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint32_t interruptibility; /* VMCS format: bit 0 STI, 1 MOV SS, 3 NMI blocking */
	uint32_t activity;	   /* VMCS format: 0 active, 1 HLT, 2 shutdown, 3 wait-for-SIPI */
	/* Event being delivered through the IDT when a callback returned X86_EXIT, in
	 * the format of the IDT-vectoring information field; 0 if none. */
	uint32_t vectoring_info;
	uint32_t vectoring_error;
	uint32_t insn_length; /* of the instruction that caused X86_EXIT */
};

/* What a callback answers. */
enum x86_result {
	X86_OK = 0,
	X86_FAULT, /* an exception is pending in *x86_pending(cpu); the instruction did nothing */
	X86_EXIT,  /* leave x86_run() with X86_STOP_EXIT; the instruction did nothing */
};

struct x86_fault {
	uint8_t vector;
	bool has_error;
	uint32_t error;
	uint64_t cr2; /* vector 14: the address; CR2 is written at delivery, not before.
		       * Vector 1: bits for DR6, written at delivery, too */
};

/* Access kinds of translate(). */
#define X86_READ 1u
#define X86_WRITE 2u /* with X86_READ: read-modify-write, checked as a write */
#define X86_EXEC 4u
#define X86_USER 8u	 /* user-mode access (CPL 3, not an implicit supervisor access) */
#define X86_IMPLICIT 16u /* implicit supervisor access: GDT, IDT, TSS (for SMAP) */

/*
 * One page's translation. A fast table in front of the TLB may keep it and serve
 * later accesses of the kinds in `allow` to the same 4 KiB page under the same
 * privilege without a call, until x86_front_flush() or x86_front_drop(). Each
 * access so served stores the access clock through `stamp`, which gives the TLB
 * behind it exact least-recently-used order. stamp NULL: not to be kept.
 */
struct x86_xlate {
	uint8_t *host; /* the 4 KiB page; NULL: device memory, goes to ops->mmio */
	uint64_t hpa;  /* host-physical address of the page (emulation: guest-physical) */
	uint64_t *stamp;
	uint32_t allow; /* X86_READ | X86_WRITE | X86_EXEC */
};

/*
 * Instructions whose effect belongs to the processor around the executor (and
 * which VMX may intercept). The callback performs the effect, or answers FAULT
 * or EXIT. The executor has already checked CPL and operand faults that come
 * before a VM exit ("Relative Priority of Faults and VM Exits").
 */
enum x86_special {
	X86_SP_CPUID, /* reads and writes state->gpr */
	X86_SP_RDMSR, /* ECX; EDX:EAX */
	X86_SP_WRMSR,
	X86_SP_CR_READ,	 /* info.reg = CR number, info.gpr = register; value out */
	X86_SP_CR_WRITE, /* value in */
	X86_SP_CLTS,
	X86_SP_LMSW, /* value in; info.has_mem, info.linear if from memory */
	X86_SP_SMSW, /* value out */
	X86_SP_DR_READ,
	X86_SP_DR_WRITE,
	X86_SP_IN, /* info.port, info.size; value out (string forms: each iteration) */
	X86_SP_OUT,
	X86_SP_HLT,
	X86_SP_PAUSE,
	X86_SP_INVLPG,	/* info.linear */
	X86_SP_INVPCID, /* info.type, info.desc[2] */
	X86_SP_INVD,
	X86_SP_WBINVD,
	X86_SP_RDTSC,  /* value out */
	X86_SP_RDTSCP, /* value out; TSC_AUX is the executor's */
	X86_SP_RDPMC,
	X86_SP_XSETBV,
	X86_SP_VMCALL,
	X86_SP_VMX_OTHER, /* VMXON, VMREAD ...: info.type = basic exit reason */
	X86_SP_MONITOR,
	X86_SP_MWAIT,
	X86_SP_DTABLE,	    /* LGDT LIDT SGDT SIDT: before it happens */
	X86_SP_LDTR_TR,	    /* LLDT LTR SLDT STR: before it happens */
	X86_SP_TASK_SWITCH, /* info.value = selector, info.type = source (VMX qualification 31:30)
			     */
	X86_SP_EXCEPTION,   /* info.fault: before delivery; OK delivers it. #DB: value is DR6's bits
			     */
	X86_SP_TRIPLE_FAULT,
	X86_SP_RSM,
	X86_SP_GETSEC,
	X86_SP_COUNT
};

struct x86_special_info {
	uint64_t value;
	uint64_t linear; /* memory operand's linear address (string I/O, INVLPG, LMSW ...) */
	uint64_t desc[2];
	uint32_t type;
	uint16_t port;
	uint8_t size; /* operand bytes */
	uint8_t reg, gpr;
	uint8_t seg;	      /* enum x86_seg_index of a string operand */
	uint8_t address_size; /* bytes: 2, 4 or 8 */
	bool has_mem, string, rep, imm_port;
	uint64_t displacement; /* of a memory operand, for the exit qualification */
	const struct x86_fault *fault;
	bool software; /* exception by INT3/INTO/INT n/INT1 */
};

struct x86_ops {
	/*
	 * Translates a linear address (canonical and segment checks are done). Writes
	 * *ret, or answers FAULT with x86_pending() filled, or EXIT. Called for each
	 * access that the fast table can't serve; a page-crossing access translates
	 * both pages before it changes anything.
	 */
	enum x86_result (*translate)(void *env, uint64_t linear, uint32_t access,
				     struct x86_xlate *ret);
	/* Device memory (x86_xlate.host NULL), within one page, size 1..8. May be NULL. */
	enum x86_result (*mmio)(void *env, uint64_t gpa, void *buf, unsigned size, bool write);
	enum x86_result (*special)(void *env, enum x86_special what, struct x86_special_info *info);
	/* An instruction that the executor does not implement, just before its #UD. */
	void (*unimplemented)(void *env, const char *mnemonic, uint64_t rip);
	/* Asked between instructions while x86_set_attention() is on. true: stop. */
	bool (*attention)(void *env);
};

struct x86_code; /* decoded blocks of a machine, by host-physical page */
struct x86_cpu;

/* pages: bound on host-physical pages (arena size >> 12). NULL: out of memory. */
struct x86_code *x86_code_new(uint64_t pages);
void x86_code_delete(struct x86_code *code);
/* Somebody other than an executor changed memory: blocks decoded from it go. */
void x86_code_invalidate(struct x86_code *code, uint64_t hpa, uint64_t size);

/* code may be NULL (single-instruction emulation: nothing is cached). */
struct x86_cpu *x86_cpu_new(const struct x86_ops *ops, void *env, struct x86_code *code);
void x86_cpu_delete(struct x86_cpu *cpu);
struct x86_state *x86_state(struct x86_cpu *cpu);
/* The exception a callback wants raised when it answers X86_FAULT. */
struct x86_fault *x86_pending(struct x86_cpu *cpu);

/* CR0, CR4, EFER, CS or segment attributes were changed from outside. */
void x86_mode_changed(struct x86_cpu *cpu);
/* Forget every fast translation, data and instruction. */
void x86_front_flush(struct x86_cpu *cpu);
/* Forget those whose stamp pointer is `stamp` (the TLB drops or replaces that entry). */
void x86_front_drop(struct x86_cpu *cpu, const uint64_t *stamp);
/* on: ops->attention is asked at each instruction boundary where something could open
 * (after STI, POPF, IRET, MOV to CR8, and at each block's start). */
void x86_set_attention(struct x86_cpu *cpu, bool on);

enum x86_stop {
	X86_STOP_BUDGET,    /* exactly max instructions have retired */
	X86_STOP_EXIT,	    /* a callback answered X86_EXIT, or state->activity is not 0 any more */
	X86_STOP_ATTENTION, /* ops->attention answered true, or nothing has retired for long: a
			     * guest that only faults, or a REP of millions of iterations (RIP
			     * and registers are where it goes on). Call again. */
};

/* Runs until one of the above; *ret_retired counts instructions that completed. */
enum x86_stop x86_run(struct x86_cpu *cpu, uint64_t max, uint64_t *ret_retired);

/*
 * Delivers an event through the IDT at VM entry ("Event Injection"): info, error
 * and length in the formats of the VM-entry fields. X86_OK, or X86_EXIT (a callback
 * exited during delivery; state->vectoring_info tells the event).
 */
enum x86_result x86_inject(struct x86_cpu *cpu, uint32_t info, uint32_t error, uint32_t length);

/* Exact, at any moment, inside callbacks too. Monotonic for the life of the cpu. */
struct x86_counts {
	uint64_t retired;	/* instructions */
	uint64_t fetch_lookups; /* one an instruction and page it touches */
	uint64_t data_lookups;	/* one an access and page; the access clock */
};

void x86_get_counts(struct x86_cpu *cpu, struct x86_counts *ret);
/* The clocks that stamps are taken from (data_lookups, fetch_lookups), for a TLB's own stamps. */
uint64_t x86_data_clock(struct x86_cpu *cpu);
uint64_t x86_fetch_clock(struct x86_cpu *cpu);

/* What CPUID may advertise: exactly what is implemented. regs: EAX EBX ECX EDX. */
bool x86_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t regs[4]);
struct x86_cpuid_entry {
	uint32_t leaf, subleaf;
	uint32_t regs[4];
};
/* The whole table, for core_vm_set_cpuid(). */
const struct x86_cpuid_entry *x86_cpuid_table(size_t *ret_count);

#endif
