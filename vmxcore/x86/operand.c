// SPDX-License-Identifier: MIT
/* Operands of the handlers that take any form, and locked read-modify-write. */
#include "x86/code.h"
#include "x86/exec.h"
#include "x86/flags.h"
#include "x86/mem.h"

int64_t x86_mem_linear(struct x86_cpu *cpu, const struct x86_op *op, unsigned size, uint32_t access,
		       uint64_t *ret)
{
	int64_t st;

	if (op->flags & X86_OPF_PLAIN) {
		*ret = x86_offset(cpu, op);
		return 0;
	}
	st = x86_ea_checked(cpu, op, size, access);
	*ret = cpu->lin;
	return st;
}

int64_t x86_rm_read(struct x86_cpu *cpu, const struct x86_op *op, unsigned reg, unsigned bits,
		    uint64_t *ret)
{
	uint64_t va;
	int64_t st;

	if (!(op->flags & X86_OPF_MEM)) {
		*ret = x86_get(cpu, reg, bits);
		return 0;
	}
	st = x86_mem_linear(cpu, op, bits / 8, X86_READ, &va);
	return st ? st : x86_rd(cpu, op, va, bits, op->seg, ret);
}

int64_t x86_rm_write(struct x86_cpu *cpu, const struct x86_op *op, unsigned reg, unsigned bits,
		     uint64_t v)
{
	uint64_t va;
	int64_t st;

	if (!(op->flags & X86_OPF_MEM)) {
		x86_set(cpu, reg, bits, v);
		return 0;
	}
	st = x86_mem_linear(cpu, op, bits / 8, X86_WRITE, &va);
	return st ? st : x86_wr(cpu, op, va, bits, op->seg, v);
}

int64_t x86_mem_linear_at(struct x86_cpu *cpu, const struct x86_op *op, uint64_t delta,
			  unsigned size, uint32_t access, uint64_t *ret)
{
	uint64_t offset = (x86_offset(cpu, op) + delta) & op->amask;

	if (op->flags & X86_OPF_PLAIN) {
		*ret = offset;
		return 0;
	}
	x86_sync(cpu, op);
	return x86_seg_linear(cpu, op->seg, offset, size, access, ret);
}

static int64_t locked_at(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va,
			 x86_modify modify, uint64_t *ret_old);

int64_t x86_modify_at(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, x86_modify modify)
{
	unsigned bits = op->size * 8u;
	uint8_t *p;
	bool slow;
	int64_t st;

	if (op->flags & X86_OPF_LOCK)
		return locked_at(cpu, op, va, modify, NULL);
	st = x86_rmw(cpu, op, va, bits, &p, &slow);
	if (st)
		return st;
	x86_host_store(p, bits, modify(cpu, op, x86_host_load(p, bits), bits));
	return slow ? x86_slow_commit(cpu) : 0;
}

int64_t x86_rm_modify(struct x86_cpu *cpu, const struct x86_op *op, x86_modify modify)
{
	unsigned bits = op->size * 8u;
	uint64_t va;
	int64_t st;

	if (!(op->flags & X86_OPF_MEM)) {
		x86_set(cpu, op->dst, bits, modify(cpu, op, x86_get(cpu, op->dst, bits), bits));
		return 0;
	}
	st = x86_mem_linear(cpu, op, op->size, X86_READ | X86_WRITE, &va);
	return st ? st : x86_modify_at(cpu, op, va, modify);
}

/* Compare and swap of an aligned operand. *old is renewed when it fails. */
static bool host_cas(uint8_t *p, unsigned size, uint64_t *old, uint64_t v)
{
	uint32_t o32 = (uint32_t)*old;
	uint16_t o16 = (uint16_t)*old;
	uint8_t o8 = (uint8_t)*old;
	bool done;

	switch (size) {
	case 8:
		return __atomic_compare_exchange_n((x86_u64a *)p, old, v, false, __ATOMIC_SEQ_CST,
						   __ATOMIC_SEQ_CST);
	case 4:
		done = __atomic_compare_exchange_n((x86_u32a *)p, &o32, (uint32_t)v, false,
						   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
		*old = o32;
		return done;
	case 2:
		done = __atomic_compare_exchange_n((x86_u16a *)p, &o16, (uint16_t)v, false,
						   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
		*old = o16;
		return done;
	default:
		done = __atomic_compare_exchange_n(p, &o8, (uint8_t)v, false, __ATOMIC_SEQ_CST,
						   __ATOMIC_SEQ_CST);
		*old = o8;
		return done;
	}
}

static void flags_save(const struct x86_cpu *cpu, uint64_t f[3])
{
	f[0] = cpu->fl_z;
	f[1] = cpu->fl_s;
	f[2] = cpu->fl_c;
}

static void flags_restore(struct x86_cpu *cpu, const uint64_t f[3])
{
	cpu->fl_z = f[0];
	cpu->fl_s = f[1];
	cpu->fl_c = f[2];
}

/* Not one aligned piece of host memory: a plain read and a plain write. */
static int64_t locked_split(struct x86_cpu *cpu, const struct x86_op *op, const struct x86_ref *ref,
			    x86_modify modify, uint64_t *ret_old)
{
	uint64_t flags[3], old = 0, v;
	int64_t st = x86_ref_read(cpu, ref, &old);

	if (st)
		return st;
	flags_save(cpu, flags);
	v = modify(cpu, op, old, op->size * 8u);
	st = x86_ref_write(cpu, ref, &v);
	if (st)
		flags_restore(cpu, flags);
	*ret_old = old;
	return st;
}

static uint64_t locked_host(struct x86_cpu *cpu, const struct x86_op *op, uint8_t *p,
			    x86_modify modify)
{
	unsigned bits = op->size * 8u;
	uint64_t flags[3], old = x86_host_load(p, bits);

	flags_save(cpu, flags);
	while (!host_cas(p, op->size, &old, modify(cpu, op, old, bits)))
		flags_restore(cpu, flags);
	return old;
}

/*
 * Atomic on memory that an aligned access reaches whole. A split lock is two plain
 * accesses: atomic against this machine's other processors when they are
 * serialised, not against other host threads.
 */
static int64_t locked_at(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va,
			 x86_modify modify, uint64_t *ret_old)
{
	struct x86_ref ref;
	uint64_t old;
	uint8_t *p;
	int64_t st;

	p = va & (op->size - 1u) ? NULL : x86_wr_probe(cpu, va, op->size * 8u);
	if (p) {
		old = locked_host(cpu, op, p, modify);
	} else {
		x86_sync(cpu, op);
		st = x86_ref_get(cpu, va, op->size, x86_access(cpu, X86_READ | X86_WRITE), op->seg,
				 &ref);
		if (st)
			return st;
		p = x86_ref_atomic(&ref, op->size);
		if (p) {
			old = locked_host(cpu, op, p, modify);
			x86_code_written(cpu->code, ref.hpa[0], op->size);
		} else {
			st = locked_split(cpu, op, &ref, modify, &old);
			if (st)
				return st;
		}
	}
	if (ret_old)
		*ret_old = old;
	return 0;
}

int64_t x86_locked(struct x86_cpu *cpu, const struct x86_op *op, x86_modify modify,
		   uint64_t *ret_old)
{
	uint64_t va;
	int64_t st = x86_mem_linear(cpu, op, op->size, X86_READ | X86_WRITE, &va);

	return st ? st : locked_at(cpu, op, va, modify, ret_old);
}

#ifdef __x86_64__
__extension__ typedef unsigned __int128 __attribute__((may_alias)) u128a;

__attribute__((target("cx16"))) bool x86_host_cas16(uint8_t *p, const uint8_t old[16],
						    const uint8_t new[16])
{
	u128a o, n;

	memcpy(&o, old, 16);
	memcpy(&n, new, 16);
	return __sync_bool_compare_and_swap((u128a *)(void *)p, o, n);
}
#else
/* No such instruction here: atomic while the machine's processors are serialised. */
bool x86_host_cas16(uint8_t *p, const uint8_t old[16], const uint8_t new[16])
{
	if (memcmp(p, old, 16))
		return false;
	memcpy(p, new, 16);
	return true;
}
#endif
