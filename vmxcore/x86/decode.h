/* SPDX-License-Identifier: MIT */
/*
 * An instruction between the decoder library and the handlers: operands in a
 * neutral form. Each family of instructions builds its operations from it.
 */
#ifndef VMXCORE_X86_DECODE_H
#define VMXCORE_X86_DECODE_H

#include "x86/cpu.h"

enum x86_arg_kind {
	X86_ARG_NONE,
	X86_ARG_REG, /* general register */
	X86_ARG_MEM,
	X86_ARG_IMM,
	X86_ARG_SEG, /* index in imm */
	X86_ARG_CR,
	X86_ARG_DR,
	X86_ARG_FAR, /* selector in imm, offset in far_offset */
};

struct x86_arg {
	uint8_t kind;
	uint8_t size; /* bytes */
	uint16_t reg; /* offset in struct x86_cpu */
	uint64_t imm;
};

struct x86_insn;
typedef bool (*x86_build)(struct x86_insn *in, struct x86_op *op);

/* Fused compare and branch: which half of a pair an instruction can be. */
enum x86_pair { X86_PAIR_NONE, X86_PAIR_CMP, X86_PAIR_TEST, X86_PAIR_DEC, X86_PAIR_JCC };

struct x86_insn {
	const char *mnemonic;
	x86_fn row_fn;
	uint8_t row_arg;
	uint8_t nargs;
	uint8_t osize, asize; /* operand and address size in bytes */
	uint32_t mode;
	struct x86_arg args[4];
	uint64_t far_offset;
	bool lock, rep, repne;
	bool has_mem;
	bool flat; /* the memory operand needs no segment check or base */
	/* Set by the builder. */
	bool end;	  /* the block ends behind it */
	bool sets_flags;  /* overwrites all six without reading any, and can't fault */
	bool transparent; /* neither reads nor writes flags, and can't fault or call out */
	x86_fn no_flags;  /* of one that sets_flags: the same without flags, or NULL */
	uint8_t pair;
	uint8_t pair_form; /* 0: registers, 1: immediate */
};

/* What of an instruction the flag liveness of its block depends on. */
struct x86_live {
	x86_fn no_flags;
	bool sets_flags, transparent;
};

struct x86_decoder *x86_decoder_new(void);
void x86_decoder_delete(struct x86_decoder *d);

/*
 * Decodes one instruction at page offset off. Whatever the bytes are, the
 * operation does what a processor would (#UD, #GP). false: more bytes are needed.
 */
bool x86_decode(struct x86_decoder *d, uint32_t mode, const uint8_t *bytes, unsigned avail,
		unsigned off, struct x86_op *op, struct x86_insn *in);
/* Two neighbours in a block: fuse a compare with its branch. */
void x86_decode_pair(struct x86_op *first, const struct x86_insn *first_in, struct x86_op *second,
		     const struct x86_insn *second_in);
/* The operation that ends a block at page offset off after idx instructions. */
void x86_op_end(struct x86_op *op, unsigned off, unsigned idx);

/* 0..3 for 1, 2, 4, 8 bytes. */
X86_INLINE unsigned x86_log2(unsigned size)
{
	return (unsigned)__builtin_ctz(size);
}

/* Form of the memory operand: B, F or G (mem.h). */
unsigned x86_form_of(const struct x86_insn *in, const struct x86_op *op);

/* Builders, one family each. in->row_arg tells which of the family. */
bool x86_build_alu(struct x86_insn *in, struct x86_op *op);
bool x86_build_unary(struct x86_insn *in, struct x86_op *op);
bool x86_build_mov(struct x86_insn *in, struct x86_op *op);
bool x86_build_movx(struct x86_insn *in, struct x86_op *op);
bool x86_build_lea(struct x86_insn *in, struct x86_op *op);
bool x86_build_xchg(struct x86_insn *in, struct x86_op *op);
bool x86_build_cmov(struct x86_insn *in, struct x86_op *op);
bool x86_build_setcc(struct x86_insn *in, struct x86_op *op);
bool x86_build_shift(struct x86_insn *in, struct x86_op *op);
bool x86_build_jcc(struct x86_insn *in, struct x86_op *op);
bool x86_build_jmp(struct x86_insn *in, struct x86_op *op);
bool x86_build_call(struct x86_insn *in, struct x86_op *op);
bool x86_build_ret(struct x86_insn *in, struct x86_op *op);
bool x86_build_loop(struct x86_insn *in, struct x86_op *op);
bool x86_build_push(struct x86_insn *in, struct x86_op *op);
bool x86_build_pop(struct x86_insn *in, struct x86_op *op);
bool x86_build_enter(struct x86_insn *in, struct x86_op *op);
bool x86_build_imul(struct x86_insn *in, struct x86_op *op);
bool x86_build_inout(struct x86_insn *in, struct x86_op *op);
bool x86_build_far(struct x86_insn *in, struct x86_op *op);
bool x86_build_nop(struct x86_insn *in, struct x86_op *op);
bool x86_build_undefined(struct x86_insn *in, struct x86_op *op);
/* 0: generic; 32 or 64: a stack without segment checks, operands of its width. */
unsigned x86_fast_stack(const struct x86_insn *in, unsigned size);
/*
 * One handler (the row's) whatever the operands: dst and src are the first and
 * second register operand, X86_OPF_MEM tells of a memory operand in place of one of
 * them; a third operand is imm (the register's offset if X86_OPF_IMM is off).
 */
bool x86_build_misc(struct x86_insn *in, struct x86_op *op);

#endif
