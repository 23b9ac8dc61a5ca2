// SPDX-License-Identifier: MIT
/*
 * Bits: BT family, scans, counts, BMI1 and BMI2, BSWAP, MOVBE, CMPXCHG, XADD.
 * Undefined flags: BT leaves all but CF alone; BSF and BSR set ZF, clear the others'
 * words to what the result gives, and leave the destination alone when the source is 0.
 */
#include "x86/code.h"
#include "x86/decode.h"
#include "x86/exec.h"
#include "x86/flags.h"
#include "x86/mem.h"

enum { BT, BTS, BTR, BTC };

static uint64_t bt_change(unsigned k, uint64_t v, unsigned bit)
{
	uint64_t m = UINT64_C(1) << bit;

	return k == BTS ? v | m : k == BTR ? v & ~m : k == BTC ? v ^ m : v;
}

static uint64_t bt_modify(struct x86_cpu *cpu, const struct x86_op *op, uint64_t old, unsigned bits)
{
	uint64_t n = op->flags & X86_OPF_IMM ? op->imm : x86_get(cpu, op->src, bits);
	unsigned bit = (unsigned)n & (bits - 1);

	x86_fl_set_cf(cpu, (old >> bit) & 1);
	return bt_change(op->arg, old, bit);
}

/*
 * A bit offset in a register reaches beyond the operand in memory: signed, in
 * units of the operand.
 */
static int64_t bt_displacement(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned bits = op->size * 8u;

	if (op->flags & X86_OPF_IMM)
		return 0;
	return (x86_sext(x86_get(cpu, op->src, bits), bits) >> x86_log2(bits)) * op->size;
}

int64_t x86_do_bt(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned bits = op->size * 8u;
	uint64_t va, v;
	int64_t st;

	if (!(op->flags & X86_OPF_MEM)) {
		v = bt_modify(cpu, op, x86_get(cpu, op->dst, bits), bits);
		if (op->arg != BT)
			x86_set(cpu, op->dst, bits, v);
		return x86_next(cpu, op);
	}
	st = x86_mem_linear_at(cpu, op, (uint64_t)bt_displacement(cpu, op), op->size,
			       op->arg == BT ? X86_READ : X86_READ | X86_WRITE, &va);
	if (st)
		return st;
	if (op->arg == BT) {
		st = x86_rd(cpu, op, va, bits, op->seg, &v);
		if (!st)
			bt_modify(cpu, op, v, bits);
	} else {
		st = x86_modify_at(cpu, op, va, bt_modify);
	}
	return st ? st : x86_next(cpu, op);
}

/* arg: 0 BSF, 1 BSR, 2 TZCNT, 3 LZCNT, 4 POPCNT */
int64_t x86_do_scan(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned bits = op->size * 8u;
	uint64_t v, r;
	int64_t st = x86_rm_read(cpu, op, op->src, bits, &v);

	if (st)
		return st;
	if (op->arg == 4) {
		r = (uint64_t)__builtin_popcountll(v);
		x86_set(cpu, op->dst, bits, r);
		/* SF OF AF CF PF are cleared. */
		cpu->fl_z = v;
		cpu->fl_s = 1;
		cpu->fl_c = 0;
		return x86_next(cpu, op);
	}
	if (op->arg < 2) {
		r = !v	      ? 0
		    : op->arg ? 63u - (unsigned)__builtin_clzll(v)
			      : (unsigned)__builtin_ctzll(v);
		if (v)
			x86_set(cpu, op->dst, bits, r);
		x86_fl_result(cpu, r, bits);
		cpu->fl_z = v;
		cpu->fl_c = 0;
		return x86_next(cpu, op);
	}
	if (!v)
		r = bits;
	else
		r = op->arg == 2 ? (unsigned)__builtin_ctzll(v)
				 : (unsigned)__builtin_clzll(v) - (64 - bits);
	x86_set(cpu, op->dst, bits, r);
	x86_fl_result(cpu, r, bits);
	x86_fl_set_co(cpu, !v, false);
	return x86_next(cpu, op);
}

int64_t x86_do_bswap(struct x86_cpu *cpu, const struct x86_op *op)
{
	uint64_t v = x86_get(cpu, op->dst, 64);

	if (op->size == 8)
		x86_set(cpu, op->dst, 64, __builtin_bswap64(v));
	else if (op->size == 4)
		x86_set(cpu, op->dst, 32, __builtin_bswap32((uint32_t)v));
	else
		x86_set(cpu, op->dst, 16, 0); /* undefined; processors give 0 */
	return x86_next(cpu, op);
}

int64_t x86_do_movbe(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned bits = op->size * 8u;
	bool store = op->flags & X86_OPF_STORE;
	uint64_t v;
	int64_t st = 0;

	if (store)
		v = x86_get(cpu, op->src, bits);
	else
		st = x86_rm_read(cpu, op, 0, bits, &v);
	if (st)
		return st;
	v = __builtin_bswap64(v) >> (64 - bits);
	if (store)
		st = x86_rm_write(cpu, op, 0, bits, v);
	else
		x86_set(cpu, op->dst, bits, v);
	return st ? st : x86_next(cpu, op);
}

/* --- compare and exchange ------------------------------------------------------------------ */

static uint64_t cmpxchg_modify(struct x86_cpu *cpu, const struct x86_op *op, uint64_t old,
			       unsigned bits)
{
	uint64_t acc = x86_get(cpu, X86_REG(X86_RAX), bits);

	x86_do_sub(cpu, acc, old, 0, bits);
	cpu->tmp = old;
	return acc == old ? x86_get(cpu, op->src, bits) : old;
}

/* The destination is written in either case; the accumulator only if they differ. */
int64_t x86_do_cmpxchg(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned bits = op->size * 8u;
	int64_t st;

	if (op->flags & X86_OPF_MEM) {
		st = x86_rm_modify(cpu, op, cmpxchg_modify);
		if (st)
			return st;
	} else {
		uint64_t old = x86_get(cpu, op->dst, bits);
		uint64_t v = cmpxchg_modify(cpu, op, old, bits);

		if (cpu->fl_z == 0)
			x86_set(cpu, op->dst, bits, v);
		cpu->tmp = old;
	}
	if (cpu->fl_z != 0)
		x86_set(cpu, X86_REG(X86_RAX), bits, cpu->tmp);
	return x86_next(cpu, op);
}

/* CMPXCHG8B and 16B: half is 4 or 8 bytes. */
static bool pair_exchange(struct x86_cpu *cpu, uint8_t mem[16], unsigned half)
{
	uint64_t low = 0, high = 0;
	unsigned bits = half * 8;
	bool same;

	memcpy(&low, mem, half);
	memcpy(&high, mem + half, half);
	same = low == x86_get(cpu, X86_REG(X86_RAX), bits) &&
	       high == x86_get(cpu, X86_REG(X86_RDX), bits);
	if (same) {
		memcpy(mem, &cpu->st.gpr[X86_RBX], half);
		memcpy(mem + half, &cpu->st.gpr[X86_RCX], half);
	} else {
		cpu->tmp = low;
		cpu->lin = high;
	}
	return same;
}

static int64_t pair_done(struct x86_cpu *cpu, const struct x86_op *op, bool same, unsigned half)
{
	if (!same) {
		x86_set(cpu, X86_REG(X86_RAX), half * 8, cpu->tmp);
		x86_set(cpu, X86_REG(X86_RDX), half * 8, cpu->lin);
	}
	x86_fl_set_zf(cpu, same);
	return x86_next(cpu, op);
}

/* Atomic on an aligned operand in memory. */
static bool pair_atomic(struct x86_cpu *cpu, uint8_t *p, unsigned half)
{
	uint8_t old[16], new[16];
	bool same;

	for (;;) {
		bool done;

		if (half == 4) {
			uint64_t o = __atomic_load_n((x86_u64a *)p, __ATOMIC_SEQ_CST), n;

			memcpy(new, &o, 8);
			same = pair_exchange(cpu, new, 4);
			memcpy(&n, new, 8);
			done = __atomic_compare_exchange_n((x86_u64a *)p, &o, n, false,
							   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
		} else {
			memcpy(old, p, 16);
			memcpy(new, old, 16);
			same = pair_exchange(cpu, new, 8);
			done = x86_host_cas16(p, old, new);
		}
		if (done)
			return same;
	}
}

int64_t x86_do_cmpxchg_pair(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned half = op->arg; /* 4 or 8 */
	uint8_t mem[16], *p;
	struct x86_ref ref;
	uint64_t va;
	bool same;
	int64_t st;

	st = x86_mem_linear(cpu, op, half * 2, X86_READ | X86_WRITE, &va);
	if (st)
		return st;
	x86_sync(cpu, op);
	if (half == 8 && (va & 15))
		return x86_fault_code(cpu, X86_GP, 0);
	st = x86_ref_get(cpu, va, half * 2, x86_access(cpu, X86_READ | X86_WRITE), op->seg, &ref);
	if (st)
		return st;
	p = x86_ref_atomic(&ref, half * 2);
	if (p) {
		same = pair_atomic(cpu, p, half);
		x86_code_written(cpu->code, ref.hpa[0], half * 2);
		return pair_done(cpu, op, same, half);
	}
	st = x86_ref_read(cpu, &ref, mem);
	if (st)
		return st;
	same = pair_exchange(cpu, mem, half);
	st = x86_ref_write(cpu, &ref, mem);
	return st ? st : pair_done(cpu, op, same, half);
}

static uint64_t xadd_modify(struct x86_cpu *cpu, const struct x86_op *op, uint64_t old,
			    unsigned bits)
{
	cpu->tmp = old;
	return x86_do_add(cpu, old, x86_get(cpu, op->src, bits), 0, bits);
}

int64_t x86_do_xadd(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned bits = op->size * 8u;
	int64_t st;

	if (op->flags & X86_OPF_MEM) {
		st = x86_rm_modify(cpu, op, xadd_modify);
		if (st)
			return st;
		x86_set(cpu, op->src, bits, cpu->tmp);
	} else {
		uint64_t old = x86_get(cpu, op->dst, bits);
		uint64_t sum = xadd_modify(cpu, op, old, bits);

		x86_set(cpu, op->src, bits, old);
		x86_set(cpu, op->dst, bits, sum);
	}
	return x86_next(cpu, op);
}

/* --- BMI1, BMI2, ADX ------------------------------------------------------------------------ */

static void bmi_flags(struct x86_cpu *cpu, uint64_t r, unsigned bits, bool cf)
{
	x86_fl_result(cpu, r, bits);
	x86_fl_set_co(cpu, cf, false);
}

/* dst = ~src & r/m; the third operand is r/m. */
int64_t x86_do_andn(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned bits = op->size * 8u;
	uint64_t v;
	int64_t st = x86_rm_read(cpu, op, (unsigned)op->imm, bits, &v);

	if (st)
		return st;
	v &= ~x86_get(cpu, op->src, bits);
	x86_set(cpu, op->dst, bits, v);
	bmi_flags(cpu, v, bits, false);
	return x86_next(cpu, op);
}

/* arg: 0 BLSI, 1 BLSMSK, 2 BLSR; dst, r/m */
int64_t x86_do_bls(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned bits = op->size * 8u;
	uint64_t v, r;
	int64_t st = x86_rm_read(cpu, op, op->src, bits, &v);

	if (st)
		return st;
	r = op->arg == 0 ? v & -v : op->arg == 1 ? v ^ (v - 1) : v & (v - 1);
	r &= x86_mask(bits);
	x86_set(cpu, op->dst, bits, r);
	bmi_flags(cpu, r, bits, op->arg == 0 ? v != 0 : v == 0);
	return x86_next(cpu, op);
}

/* arg: 0 BEXTR, 1 BZHI, 2 SHLX, 3 SHRX, 4 SARX; dst, r/m, register */
int64_t x86_do_bmi_rmr(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned bits = op->size * 8u, start, len;
	uint64_t v, r, c = x86_get(cpu, (unsigned)op->imm, bits);
	int64_t st = x86_rm_read(cpu, op, op->src, bits, &v);

	if (st)
		return st;
	switch (op->arg) {
	case 0:
		start = c & 0xff;
		len = (c >> 8) & 0xff;
		r = start < bits ? v >> start : 0;
		if (len < bits)
			r &= (UINT64_C(1) << len) - 1;
		break;
	case 1:
		len = c & 0xff;
		r = len < bits ? v & ((UINT64_C(1) << len) - 1) : v;
		break;
	case 2:
		r = v << (c & (bits - 1));
		break;
	case 3:
		r = v >> (c & (bits - 1));
		break;
	default:
		r = (uint64_t)(x86_sext(v, bits) >> (c & (bits - 1)));
		break;
	}
	r &= x86_mask(bits);
	x86_set(cpu, op->dst, bits, r);
	if (op->arg < 2)
		bmi_flags(cpu, r, bits, op->arg == 1 && (c & 0xff) >= bits);
	return x86_next(cpu, op);
}

/* arg: 0 PDEP, 1 PEXT; dst, register, r/m as mask */
int64_t x86_do_pdep(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned bits = op->size * 8u, k = 0;
	uint64_t mask, v = x86_get(cpu, op->src, bits), r = 0;
	int64_t st = x86_rm_read(cpu, op, (unsigned)op->imm, bits, &mask);

	if (st)
		return st;
	for (; mask; mask &= mask - 1, k++) {
		unsigned at = (unsigned)__builtin_ctzll(mask);

		if (op->arg == 0)
			r |= ((v >> k) & 1) << at;
		else
			r |= ((v >> at) & 1) << k;
	}
	x86_set(cpu, op->dst, bits, r);
	return x86_next(cpu, op);
}

int64_t x86_do_rorx(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned bits = op->size * 8u, n = (unsigned)op->imm & (bits - 1);
	uint64_t v;
	int64_t st = x86_rm_read(cpu, op, op->src, bits, &v);

	if (st)
		return st;
	x86_set(cpu, op->dst, bits, n ? (v >> n) | (v << (bits - n)) : v);
	return x86_next(cpu, op);
}

__extension__ typedef unsigned __int128 u128;

/* High half to dst, low half to src; they may be the same: the high half stays. */
int64_t x86_do_mulx(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned bits = op->size * 8u;
	uint64_t v;
	u128 r;
	int64_t st = x86_rm_read(cpu, op, (unsigned)op->imm, bits, &v);

	if (st)
		return st;
	r = (u128)v * x86_get(cpu, X86_REG(X86_RDX), bits);
	x86_set(cpu, op->src, bits, (uint64_t)r & x86_mask(bits));
	x86_set(cpu, op->dst, bits, (uint64_t)(r >> bits) & x86_mask(bits));
	return x86_next(cpu, op);
}

/* arg: 0 ADCX (CF), 1 ADOX (OF) */
int64_t x86_do_adx(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned bits = op->size * 8u;
	uint64_t b;
	u128 r;
	int64_t st = x86_rm_read(cpu, op, op->src, bits, &b);

	if (st)
		return st;
	r = (u128)x86_get(cpu, op->dst, bits) + b + (op->arg ? x86_of(cpu) : x86_cf(cpu));
	x86_set(cpu, op->dst, bits, (uint64_t)r & x86_mask(bits));
	if (op->arg)
		x86_fl_set_of(cpu, (r >> bits) & 1);
	else
		x86_fl_set_cf(cpu, (r >> bits) & 1);
	return x86_next(cpu, op);
}
