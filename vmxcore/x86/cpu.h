/* SPDX-License-Identifier: MIT */
/*
 * Inside the executor: a processor, a decoded operation, and how operations run.
 *
 * An operation's handler does its work and calls the handler of the operation
 * behind it in the block (a tail call where the compiler makes one; the depth is
 * bounded by a block's length where it does not). The last handler of a block
 * returns how many of the block's instructions have retired, or a negative
 * X86S_* status: then cpu->op names the instruction that did not complete.
 */
#ifndef VMXCORE_X86_CPU_H
#define VMXCORE_X86_CPU_H

#include "x86/x86.h"

#define X86_LIKELY(x) __builtin_expect(!!(x), 1)
#define X86_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define X86_INLINE static inline __attribute__((always_inline))
#define X86_COLD __attribute__((cold, noinline))

#define X86_PAGE 4096u
#define X86_MAX_INSN 15

struct x86_cpu;
struct x86_op;
struct x86_page;
struct x86_decoder;

typedef int64_t (*x86_fn)(struct x86_cpu *cpu, const struct x86_op *op);

enum {
	X86S_FAULT = -1,    /* cpu->fault is pending; the instruction did nothing */
	X86S_EXIT = -2,	    /* a callback answered X86_EXIT */
	X86S_PARTIAL = -3,  /* REP: some iterations done, the instruction is to be resumed */
	X86S_DIVERTED = -4, /* INT n: a fault on its way was delivered in its place */
};

/*
 * One instruction. Registers are byte offsets in struct x86_cpu, so that AH, the
 * zero slot, the page's RIP and segment bases need no special case.
 */
struct x86_op {
	x86_fn fn;
	uint64_t imm;
	uint64_t amask; /* width of the effective address, or of a branch's target */
	int64_t disp;
	uint16_t base, index;
	uint16_t dst, src;
	uint16_t off; /* of the instruction in its page */
	uint8_t len;
	uint8_t idx; /* instructions before this one in the block */
	uint8_t scale;
	uint8_t seg;  /* of the memory operand, enum x86_seg_index */
	uint8_t size; /* operand size in bytes */
	uint8_t arg;  /* what the handler's table row says */
	uint8_t flags;
	uint8_t asize; /* address size in bytes */
};

/* x86_op.flags */
#define X86_OPF_MEM 1u /* the r/m operand is in memory */
#define X86_OPF_REP 2u
#define X86_OPF_REPNE 4u
#define X86_OPF_LOCK 8u
#define X86_OPF_IMM 16u	  /* the last operand is immediate */
#define X86_OPF_STORE 32u /* the r/m operand is the destination (MOV, MOVBE) */
#define X86_OPF_PLAIN 64u /* memory operand needs no segment check (see x86_ea) */

/* What a block is decoded for, besides the bytes. */
#define X86_M_64 1u   /* 64-bit code */
#define X86_M_32 2u   /* CS.D */
#define X86_M_SS32 4u /* SS.B */
#define X86_M_FLAT 8u /* CS DS ES SS: base 0, limit 4 GiB, usable for every access */
#define X86_M_LMA 16u /* IA-32e mode (compatibility mode if not X86_M_64) */

/*
 * The fast front of the data TLB: one compare tells tag, permission and page
 * crossing. A tag that must not match has other index bits than its slot.
 */
#define X86_FRONT_SLOTS 256u

struct x86_front {
	uint64_t rtag, wtag;
	uint8_t *host;
	uint64_t *stamp;
};

/* Data tables by privilege; X86_FRONT_NONE is never filled (alignment checks on). */
enum {
	X86_FRONT_USER,
	X86_FRONT_SUPER,
	X86_FRONT_SUPER_AC, /* CR4.SMAP and EFLAGS.AC: user pages are open */
	X86_FRONT_NONE,
	X86_FRONT_TABLES
};

#define X86_IFRONT_SLOTS 64u

struct x86_ifront {
	uint64_t tag; /* linear address of the page */
	uint8_t *host;
	uint64_t *stamp;
	struct x86_page *page; /* decoded code; valid while gen is the code cache's */
	uint64_t gen;
};

#define X86_SLOTS (X86_FRONT_TABLES * X86_FRONT_SLOTS + 2 * X86_IFRONT_SLOTS)
#define X86_BUCKETS 256u

/* What the hot entry of a slot does not hold; chained by stamp for x86_front_drop(). */
struct x86_slot {
	uint64_t page; /* linear */
	uint64_t hpa;
	uint64_t *stamp; /* NULL: free */
	uint32_t allow;
	uint16_t next, prev; /* slot number + 1; 0: none */
};

/* An access to memory that has been translated in full: reading and writing it can't fault. */
struct x86_ref {
	uint8_t *host[2]; /* NULL: device memory */
	uint64_t hpa[2];
	uint8_t len[2]; /* the second is 0 unless the access crosses a page */
};

/* Decoded single instructions, valid while the bytes are what they were. */
#define X86_SINGLES 256u

struct x86_single {
	uint8_t bytes[16];
	struct x86_op op[2];
	uint32_t mode;
	uint16_t off;
	uint8_t len; /* 0: free */
};

/* An event on its way through the IDT. */
struct x86_event {
	struct x86_fault fault;
	uint8_t type;	     /* of the interruption-information field */
	uint8_t insn_length; /* software events: RIP is advanced by it */
};

/* Interruption types ("VM-Entry Controls for Event Injection"). */
enum {
	X86_EV_INTERRUPT = 0,
	X86_EV_NMI = 2,
	X86_EV_EXCEPTION = 3,
	X86_EV_SOFT_INT = 4,
	X86_EV_PRIV_SOFT = 5,
	X86_EV_SOFT_EXC = 6,
};

enum {
	X86_DE = 0,
	X86_DB = 1,
	X86_BP = 3,
	X86_OF = 4,
	X86_BR = 5,
	X86_UD = 6,
	X86_NM = 7,
	X86_DF = 8,
	X86_TS = 10,
	X86_NP = 11,
	X86_SSF = 12, /* #SS */
	X86_GP = 13,
	X86_PF = 14,
	X86_AC = 17,
};

struct x86_cpu {
	struct x86_state st; /* first: x86_op offsets count from here */
	uint64_t zero;	     /* always 0: base or index of an address that has none */
	uint64_t rip_page;   /* RIP of the current code page's first byte */

	/* Arithmetic flags, see flags.h. z and s are kept apart: paired, they are stored as a
	 * vector. */
	uint64_t fl_z, fl_c, fl_s;

	uint64_t data_clock;
	struct x86_front *front; /* table of the current privilege */
	uint64_t tmp;		 /* value of a slow read */
	uint64_t lin;		 /* of x86_ea_checked() */
	uint8_t rmw_buf[16];	 /* of a slow read-modify-write */

	/* Run loop. */
	uint64_t retired;     /* at the start of the current block */
	uint64_t fetch_extra; /* fetch lookups beyond one a retired instruction */
	uint64_t target;      /* x86_run() ends when retired is this */
	uint64_t rip_mask;
	uint64_t sp_mask;
	struct x86_page *page; /* current code page; NULL: none, rip_page is unreachable */
	uint8_t *arena;	       /* of the code cache; blocks are offsets in it */
	uint64_t *istamp;
	uint8_t *ihost;
	uint16_t islot;
	const struct x86_op *op; /* the instruction that called out; NULL between instructions */
	uint32_t fetching;	 /* lookups of the fetch in progress (op NULL) */
	struct x86_op *patched;	 /* operation that was replaced to leave its block */
	x86_fn patched_fn;
	uint32_t todo; /* X86_TODO_*: looked at between blocks */
	bool stepping; /* TF was set when this instruction began */
	uint8_t cpl;
	uint32_t mode;
	uint32_t stuck; /* events and partial repeats while retired was stuck_at */
	uint64_t stuck_at;

	struct x86_fault fault;
	struct x86_ref rmw;
	uint64_t rmw_flags[3]; /* fl_* before a slow read-modify-write */

	const struct x86_ops *ops;
	void *env;
	struct x86_code *code;
	struct x86_cpu *code_next; /* processors that share the code cache */
	struct x86_decoder *decoder;
	struct x86_single *singles;

	struct x86_front fronts[X86_FRONT_TABLES][X86_FRONT_SLOTS];
	struct x86_ifront ifronts[2][X86_IFRONT_SLOTS]; /* supervisor, user */
	struct x86_slot slots[X86_SLOTS];
	uint16_t buckets[X86_BUCKETS];
};

/* Work between blocks. */
#define X86_TODO_PATCH 1u /* an operation of the last block was replaced */
#define X86_TODO_PAGE 2u  /* the current code page's translation went away */
#define X86_TODO_ATTENTION 4u
#define X86_TODO_STEP 8u      /* TF, RF or an interrupt shadow: one instruction at a time */
#define X86_TODO_ACTIVITY 16u /* no longer active (HLT, shutdown) */

#define X86_REG(i) ((uint16_t)(offsetof(struct x86_cpu, st.gpr) + 8u * (unsigned)(i)))
#define X86_REG_ZERO ((uint16_t)offsetof(struct x86_cpu, zero))
#define X86_REG_RIP_PAGE ((uint16_t)offsetof(struct x86_cpu, rip_page))

typedef uint16_t __attribute__((may_alias)) x86_u16a;
typedef uint32_t __attribute__((may_alias)) x86_u32a;
typedef uint64_t __attribute__((may_alias)) x86_u64a;

X86_INLINE uint8_t *x86_reg(struct x86_cpu *cpu, unsigned off)
{
	return (uint8_t *)cpu + off;
}

X86_INLINE uint64_t x86_r64(struct x86_cpu *cpu, unsigned off)
{
	return *(x86_u64a *)x86_reg(cpu, off);
}

/* The low `bits` of a register, zero-extended. `bits` is a constant in hot code. */
X86_INLINE uint64_t x86_get(struct x86_cpu *cpu, unsigned off, unsigned bits)
{
	if (bits == 64)
		return *(x86_u64a *)x86_reg(cpu, off);
	if (bits == 32)
		return *(x86_u32a *)x86_reg(cpu, off);
	if (bits == 16)
		return *(x86_u16a *)x86_reg(cpu, off);
	return *x86_reg(cpu, off);
}

/* 32-bit results clear the upper half, smaller ones leave the rest alone. */
X86_INLINE void x86_set(struct x86_cpu *cpu, unsigned off, unsigned bits, uint64_t v)
{
	if (bits == 64)
		*(x86_u64a *)x86_reg(cpu, off) = v;
	else if (bits == 32)
		*(x86_u64a *)x86_reg(cpu, off) = (uint32_t)v;
	else if (bits == 16)
		*(x86_u16a *)x86_reg(cpu, off) = (uint16_t)v;
	else
		*x86_reg(cpu, off) = (uint8_t)v;
}

X86_INLINE uint64_t x86_mask(unsigned bits)
{
	return ~UINT64_C(0) >> (64 - bits);
}

X86_INLINE int64_t x86_sext(uint64_t v, unsigned bits)
{
	return (int64_t)(v << (64 - bits)) >> (64 - bits);
}

/* Continue with the operation behind op. */
X86_INLINE int64_t x86_next(struct x86_cpu *cpu, const struct x86_op *op)
{
	return op[1].fn(cpu, op + 1);
}

X86_INLINE uint64_t x86_op_rip(const struct x86_cpu *cpu, const struct x86_op *op)
{
	return (cpu->rip_page + op->off) & cpu->rip_mask;
}

X86_INLINE uint64_t x86_op_next_rip(const struct x86_cpu *cpu, const struct x86_op *op)
{
	return (cpu->rip_page + op->off + op->len) & cpu->rip_mask;
}

/* Before anything that may call out or fault: which instruction, and its RIP. */
X86_INLINE void x86_sync(struct x86_cpu *cpu, const struct x86_op *op)
{
	cpu->op = op;
	cpu->st.rip = x86_op_rip(cpu, op);
	cpu->st.insn_length = op->len;
}

/* A handler that has set RIP: op and those before it have retired, the block is left. */
X86_INLINE int64_t x86_done(const struct x86_op *op)
{
	return op->idx + 1;
}

X86_INLINE bool x86_canonical(uint64_t va)
{
	return (uint64_t)((int64_t)(va << 16) >> 16) == va;
}

X86_INLINE bool x86_is64(const struct x86_cpu *cpu)
{
	return cpu->mode & X86_M_64;
}

/* --- faults ------------------------------------------------------------------------- */

/* Fills cpu->fault; X86S_FAULT. */
static inline int64_t x86_fault0(struct x86_cpu *cpu, uint8_t vector)
{
	cpu->fault = (struct x86_fault){.vector = vector};
	return X86S_FAULT;
}

static inline int64_t x86_fault_code(struct x86_cpu *cpu, uint8_t vector, uint32_t error)
{
	cpu->fault = (struct x86_fault){.vector = vector, .has_error = true, .error = error};
	return X86S_FAULT;
}

/* The same from a handler, which has not synchronised. */
static inline int64_t x86_op_fault0(struct x86_cpu *cpu, const struct x86_op *op, uint8_t vector)
{
	x86_sync(cpu, op);
	return x86_fault0(cpu, vector);
}

static inline int64_t x86_op_gp0(struct x86_cpu *cpu, const struct x86_op *op)
{
	x86_sync(cpu, op);
	return x86_fault_code(cpu, X86_GP, 0);
}

/* 0 or X86S_*. */
static inline int64_t x86_status(enum x86_result r)
{
	return r == X86_OK ? 0 : r == X86_FAULT ? X86S_FAULT : X86S_EXIT;
}

/* Brings mode, cpl and the front table in line with the state. */
void x86_refresh(struct x86_cpu *cpu);
void x86_refresh_front(struct x86_cpu *cpu);
void x86_set_rflags(struct x86_cpu *cpu, uint64_t rflags);
/* Leave the current block after the current instruction (its code is gone or stale). */
void x86_leave_block(struct x86_cpu *cpu);
/* ops->special with flags materialised around it. 0 or X86S_*. */
int64_t x86_special(struct x86_cpu *cpu, const struct x86_op *op, enum x86_special what,
		    struct x86_special_info *info);
/* MOV SS and POP SS hold off events; STI too. bit of st.interruptibility. */
#define X86_SHADOW_STI 1u
#define X86_SHADOW_MOV_SS 2u
#define X86_SHADOW_NMI 8u

/* RFLAGS bits. */
#define X86_FL_CF 1u
#define X86_FL_PF 4u
#define X86_FL_AF 0x10u
#define X86_FL_ZF 0x40u
#define X86_FL_SF 0x80u
#define X86_FL_TF 0x100u
#define X86_FL_IF 0x200u
#define X86_FL_DF 0x400u
#define X86_FL_OF 0x800u
#define X86_FL_IOPL 0x3000u
#define X86_FL_NT 0x4000u
#define X86_FL_RF 0x10000u
#define X86_FL_VM 0x20000u
#define X86_FL_AC 0x40000u
#define X86_FL_VIF 0x80000u
#define X86_FL_VIP 0x100000u
#define X86_FL_ID 0x200000u
#define X86_FL_ARITH 0x8d5u

#define X86_CR0_PE 1u
#define X86_CR0_MP 2u
#define X86_CR0_EM 4u
#define X86_CR0_TS 8u
#define X86_CR0_WP 0x10000u
#define X86_CR0_AM 0x40000u
#define X86_CR0_PG 0x80000000u
#define X86_CR4_TSD 4u
#define X86_CR4_DE 8u
#define X86_CR4_PCE 0x100u
#define X86_CR4_UMIP 0x800u
#define X86_CR4_FSGSBASE 0x10000u
#define X86_CR4_OSXSAVE 0x40000u
#define X86_CR4_SMAP 0x200000u
#define X86_EFER_SCE 1u
#define X86_EFER_LME 0x100u
#define X86_EFER_LMA 0x400u
#define X86_DR6_BS 0x4000u
#define X86_DR6_BD 0x2000u
#define X86_DR7_GD 0x2000u

/* Segment access rights. */
#define X86_AR_ACCESSED 1u
#define X86_AR_WRITE 2u	    /* data: writable; code: readable */
#define X86_AR_DOWN_CONF 4u /* data: expand-down; code: conforming */
#define X86_AR_CODE 8u
#define X86_AR_TYPE 15u
#define X86_AR_S 0x10u
#define X86_AR_DPL_SHIFT 5
#define X86_AR_P 0x80u
#define X86_AR_L 0x2000u
#define X86_AR_DB 0x4000u
#define X86_AR_G 0x8000u
#define X86_AR_UNUSABLE 0x10000u

X86_INLINE unsigned x86_ar_dpl(uint32_t ar)
{
	return (ar >> X86_AR_DPL_SHIFT) & 3;
}

#endif
