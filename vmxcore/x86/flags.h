/* SPDX-License-Identifier: MIT */
/*
 * Arithmetic flags without computing them. Three words hold the six flags, in a
 * form that an operation produces as a by-product and a condition reads with a
 * compare:
 *
 *   fl_z   ZF = (fl_z == 0)
 *   fl_s   SF = bit 63; PF = even parity of bits 7:0
 *   fl_c   CF = bit 63; OF = bit 63 ^ bit 62; AF = bit 3
 *
 * fl_z and fl_s are the result, sign-extended. fl_c is the vector of carries out
 * of each bit, shifted so that the operand's top bit is bit 63: the carry out of
 * the top bit is CF, its difference from the carry into it is OF. The carry out
 * of bit 3 is put back into bit 3.
 */
#ifndef VMXCORE_X86_FLAGS_H
#define VMXCORE_X86_FLAGS_H

#include "x86/cpu.h"

#define X86_C_CF (UINT64_C(1) << 63)
#define X86_C_OF (UINT64_C(1) << 62) /* toggles OF */
#define X86_C_AF UINT64_C(8)

X86_INLINE void x86_fl_result(struct x86_cpu *cpu, uint64_t r, unsigned bits)
{
	uint64_t s = (uint64_t)x86_sext(r, bits);

	cpu->fl_z = s;
	cpu->fl_s = s;
}

X86_INLINE void x86_fl_carries(struct x86_cpu *cpu, uint64_t carries, unsigned bits)
{
	cpu->fl_c = bits == 64 ? carries : (carries << (64 - bits)) | (carries & X86_C_AF);
}

X86_INLINE void x86_fl_logic(struct x86_cpu *cpu, uint64_t r, unsigned bits)
{
	x86_fl_result(cpu, r, bits);
	cpu->fl_c = 0;
}

X86_INLINE bool x86_cf(const struct x86_cpu *cpu)
{
	return cpu->fl_c >> 63;
}

X86_INLINE bool x86_of(const struct x86_cpu *cpu)
{
	return (cpu->fl_c ^ (cpu->fl_c << 1)) >> 63;
}

X86_INLINE bool x86_pf(const struct x86_cpu *cpu)
{
	unsigned v = (unsigned)cpu->fl_s & 0xff;

	v ^= v >> 4;
	return !((0x6996u >> (v & 15)) & 1);
}

/* CF and OF, AF clear. */
X86_INLINE void x86_fl_set_co(struct x86_cpu *cpu, bool cf, bool of)
{
	cpu->fl_c = (cf ? X86_C_CF : 0) | (cf != of ? X86_C_OF : 0);
}

/* Replaces CF, leaves the rest (OF is kept: it is relative to CF). */
X86_INLINE void x86_fl_set_cf(struct x86_cpu *cpu, bool cf)
{
	uint64_t change = (cpu->fl_c ^ ((uint64_t)cf << 63)) & X86_C_CF;

	cpu->fl_c ^= change | change >> 1;
}

X86_INLINE void x86_fl_set_of(struct x86_cpu *cpu, bool of)
{
	if (x86_of(cpu) != of)
		cpu->fl_c ^= X86_C_OF;
}

/* Conditions by the low four bits of Jcc's opcode; cc is a constant in hot code. */
X86_INLINE bool x86_cond(const struct x86_cpu *cpu, unsigned cc)
{
	bool r;

	switch (cc >> 1) {
	case 0:
		r = x86_of(cpu);
		break;
	case 1:
		r = x86_cf(cpu);
		break;
	case 2:
		r = cpu->fl_z == 0;
		break;
	case 3:
		r = x86_cf(cpu) | (cpu->fl_z == 0);
		break;
	case 4:
		r = cpu->fl_s >> 63;
		break;
	case 5:
		r = x86_pf(cpu);
		break;
	case 6:
		r = (cpu->fl_s ^ cpu->fl_c ^ (cpu->fl_c << 1)) >> 63;
		break;
	default:
		r = ((cpu->fl_s ^ cpu->fl_c ^ (cpu->fl_c << 1)) >> 63) | (cpu->fl_z == 0);
		break;
	}
	return r ^ (cc & 1);
}

X86_INLINE uint64_t x86_fl_get(const struct x86_cpu *cpu)
{
	return (x86_cf(cpu) ? X86_FL_CF : 0) | (x86_pf(cpu) ? X86_FL_PF : 0) |
	       (cpu->fl_c & X86_C_AF ? X86_FL_AF : 0) | (cpu->fl_z == 0 ? X86_FL_ZF : 0) |
	       (cpu->fl_s >> 63 ? X86_FL_SF : 0) | (x86_of(cpu) ? X86_FL_OF : 0);
}

X86_INLINE void x86_fl_put(struct x86_cpu *cpu, uint64_t rflags)
{
	bool cf = rflags & X86_FL_CF, of = rflags & X86_FL_OF;

	cpu->fl_z = !(rflags & X86_FL_ZF);
	cpu->fl_s = (rflags & X86_FL_SF ? X86_C_CF : 0) | (rflags & X86_FL_PF ? 0 : 1);
	x86_fl_set_co(cpu, cf, of);
	if (rflags & X86_FL_AF)
		cpu->fl_c |= X86_C_AF;
}

/* ZF alone. */
X86_INLINE void x86_fl_set_zf(struct x86_cpu *cpu, bool zf)
{
	cpu->fl_z = !zf;
}

/* RFLAGS with the arithmetic flags in place. */
X86_INLINE uint64_t x86_rflags(const struct x86_cpu *cpu)
{
	return (cpu->st.rflags & ~(uint64_t)X86_FL_ARITH) | x86_fl_get(cpu) | 2;
}

X86_INLINE uint64_t x86_do_add(struct x86_cpu *cpu, uint64_t a, uint64_t b, unsigned carry,
			       unsigned bits)
{
	uint64_t r = (a + b + carry) & x86_mask(bits);

	x86_fl_result(cpu, r, bits);
	x86_fl_carries(cpu, (a & b) | ((a | b) & ~r), bits);
	return r;
}

X86_INLINE uint64_t x86_do_sub(struct x86_cpu *cpu, uint64_t a, uint64_t b, unsigned borrow,
			       unsigned bits)
{
	uint64_t r = (a - b - borrow) & x86_mask(bits);

	x86_fl_result(cpu, r, bits);
	x86_fl_carries(cpu, (~a & b) | (~(a ^ b) & r), bits);
	return r;
}

/* INC and DEC leave CF alone. */
X86_INLINE uint64_t x86_do_inc(struct x86_cpu *cpu, uint64_t a, unsigned bits)
{
	bool cf = x86_cf(cpu);
	uint64_t r = x86_do_add(cpu, a, 1, 0, bits);

	x86_fl_set_cf(cpu, cf);
	return r;
}

X86_INLINE uint64_t x86_do_dec(struct x86_cpu *cpu, uint64_t a, unsigned bits)
{
	bool cf = x86_cf(cpu);
	uint64_t r = x86_do_sub(cpu, a, 1, 0, bits);

	x86_fl_set_cf(cpu, cf);
	return r;
}

#endif
