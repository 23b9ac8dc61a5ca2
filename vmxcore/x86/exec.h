/* SPDX-License-Identifier: MIT */
/* What the families of handlers share, and the handlers that the table names. */
#ifndef VMXCORE_X86_EXEC_H
#define VMXCORE_X86_EXEC_H

#include "x86/cpu.h"

enum {
	X86_ALU_ADD,
	X86_ALU_OR,
	X86_ALU_ADC,
	X86_ALU_SBB,
	X86_ALU_AND,
	X86_ALU_SUB,
	X86_ALU_XOR,
	X86_ALU_CMP,
	X86_ALU_TEST,
	X86_ALU_COUNT
};

enum { X86_UN_INC, X86_UN_DEC, X86_UN_NEG, X86_UN_NOT, X86_UN_COUNT };
enum {
	X86_SH_ROL,
	X86_SH_ROR,
	X86_SH_RCL,
	X86_SH_RCR,
	X86_SH_SHL,
	X86_SH_SHR,
	X86_SH_SAR,
	X86_SH_COUNT
};

uint64_t x86_alu_generic(struct x86_cpu *cpu, unsigned k, uint64_t a, uint64_t b, unsigned bits);

/* --- read-modify-write (operand.c) ------------------------------------------------------ */

/* New value from the old; sets flags. May be called more than once. */
typedef uint64_t (*x86_modify)(struct x86_cpu *cpu, const struct x86_op *op, uint64_t old,
			       unsigned bits);
/* One atomic operation on op's memory operand. 0 or X86S_*. */
int64_t x86_locked(struct x86_cpu *cpu, const struct x86_op *op, x86_modify modify,
		   uint64_t *ret_old);

/* --- operands of handlers that take any form (operand.c) --------------------------------- */

/* The register or memory operand (register: off). 0 or X86S_*. */
int64_t x86_rm_read(struct x86_cpu *cpu, const struct x86_op *op, unsigned reg, unsigned bits,
		    uint64_t *ret);
int64_t x86_rm_write(struct x86_cpu *cpu, const struct x86_op *op, unsigned reg, unsigned bits,
		     uint64_t v);
/* Read-modify-write of r/m with a function, locked if the prefix is there. */
int64_t x86_rm_modify(struct x86_cpu *cpu, const struct x86_op *op, x86_modify modify);
/* The same on memory at a linear address. */
int64_t x86_modify_at(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, x86_modify modify);
/* 16 bytes, aligned. */
bool x86_host_cas16(uint8_t *p, const uint8_t old[16], const uint8_t new[16]);
/* Linear address of the memory operand (moved by delta), checked for size and access. */
int64_t x86_mem_linear_at(struct x86_cpu *cpu, const struct x86_op *op, uint64_t delta,
			  unsigned size, uint32_t access, uint64_t *ret);
int64_t x86_mem_linear(struct x86_cpu *cpu, const struct x86_op *op, unsigned size, uint32_t access,
		       uint64_t *ret);

/* --- control (exec_branch.c) -------------------------------------------------------------- */

/* Is target a valid RIP here? 0, or #GP(0). */
int64_t x86_check_target(struct x86_cpu *cpu, uint64_t target);

/* --- stack (exec_stack.c) ----------------------------------------------------------------- */

uint64_t x86_sp(const struct x86_cpu *cpu);
void x86_sp_set(struct x86_cpu *cpu, uint64_t sp);
/* An access at a stack pointer, translated but not done. */
int64_t x86_stack_ref(struct x86_cpu *cpu, uint64_t sp, unsigned size, uint32_t access,
		      struct x86_ref *ret);
int64_t x86_push(struct x86_cpu *cpu, const struct x86_op *op, uint64_t v, unsigned size);
/* Reads at SP + skip; the caller moves SP. */
int64_t x86_stack_read(struct x86_cpu *cpu, uint64_t skip, unsigned size, uint64_t *ret);

/* Handlers named by the decode table. */
#define X86_MISC(name) int64_t x86_do_##name(struct x86_cpu *cpu, const struct x86_op *op);
#include "x86/misc.def"
#undef X86_MISC

#endif
