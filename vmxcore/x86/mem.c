// SPDX-License-Identifier: MIT
/*
 * Guest memory, slow: front misses, page crossings, device memory, pages that
 * hold decoded code, alignment checks, segment checks.
 */
#include "x86/mem.h"
#include "x86/code.h"
#include "x86/flags.h"
#include "x86/front.h"

#ifdef X86_TSAN
uint64_t x86_host_load(const uint8_t *p, unsigned bits)
{
	uint64_t v = 0;

	if ((uintptr_t)p % (bits / 8)) {
		for (unsigned i = 0; i < bits / 8; i++)
			v |= (uint64_t)__atomic_load_n(p + i, __ATOMIC_RELAXED) << (8 * i);
		return v;
	}
	if (bits == 64)
		return __atomic_load_n((const x86_u64a *)p, __ATOMIC_RELAXED);
	if (bits == 32)
		return __atomic_load_n((const x86_u32a *)p, __ATOMIC_RELAXED);
	if (bits == 16)
		return __atomic_load_n((const x86_u16a *)p, __ATOMIC_RELAXED);
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

void x86_host_store(uint8_t *p, unsigned bits, uint64_t v)
{
	if ((uintptr_t)p % (bits / 8)) {
		for (unsigned i = 0; i < bits / 8; i++)
			__atomic_store_n(p + i, (uint8_t)(v >> (8 * i)), __ATOMIC_RELAXED);
		return;
	}
	if (bits == 64)
		__atomic_store_n((x86_u64a *)p, v, __ATOMIC_RELAXED);
	else if (bits == 32)
		__atomic_store_n((x86_u32a *)p, (uint32_t)v, __ATOMIC_RELAXED);
	else if (bits == 16)
		__atomic_store_n((x86_u16a *)p, (uint16_t)v, __ATOMIC_RELAXED);
	else
		__atomic_store_n(p, (uint8_t)v, __ATOMIC_RELAXED);
}
#endif

static int64_t address_fault(struct x86_cpu *cpu, unsigned seg)
{
	return x86_fault_code(cpu, seg == X86_SS ? X86_SSF : X86_GP, 0);
}

int64_t x86_ref_get(struct x86_cpu *cpu, uint64_t va, unsigned size, uint32_t access, unsigned seg,
		    struct x86_ref *ret)
{
	unsigned room = X86_PAGE - (unsigned)(va & (X86_PAGE - 1));
	struct x86_ref r = {0};
	int64_t st;

	if (cpu->st.efer & X86_EFER_LMA) {
		if (!x86_canonical(va) || !x86_canonical(va + size - 1))
			return address_fault(cpu, seg);
	}
	if (!(cpu->st.efer & X86_EFER_LMA))
		va = (uint32_t)va;
	if (cpu->front == cpu->fronts[X86_FRONT_NONE] && (access & X86_USER) && (va & (size - 1)))
		return x86_fault_code(cpu, X86_AC, 0);

	r.len[0] = (uint8_t)(size < room ? size : room);
	r.len[1] = (uint8_t)(size - r.len[0]);
	st = x86_front_lookup(cpu, va, access, &r.host[0], &r.hpa[0]);
	if (st)
		return st;
	r.hpa[0] |= va & (X86_PAGE - 1);
	if (r.host[0])
		r.host[0] += va & (X86_PAGE - 1);
	if (r.len[1]) {
		uint64_t second = va + r.len[0];

		if (!x86_is64(cpu) && !(access & X86_IMPLICIT) && va <= UINT32_MAX)
			second = (uint32_t)second;
		st = x86_front_lookup(cpu, second, access, &r.host[1], &r.hpa[1]);
		if (st)
			return st;
	}
	*ret = r;
	return 0;
}

static bool whole(unsigned len)
{
	return len == 1 || len == 2 || len == 4 || len == 8;
}

static int64_t part_read(struct x86_cpu *cpu, const struct x86_ref *ref, unsigned i, uint8_t *buf)
{
	unsigned len = ref->len[i];
	uint64_t v;

	if (!ref->host[i]) {
		memset(buf, 0xff, len); /* what an absent device drives */
		for (unsigned at = 0; at < len && cpu->ops->mmio;) {
			unsigned n = len - at > 8 ? 8 : len - at;
			int64_t st = x86_status(
				cpu->ops->mmio(cpu->env, ref->hpa[i] + at, buf + at, n, false));

			if (st)
				return st;
			at += n;
		}
		return 0;
	}
	if (whole(len)) {
		v = x86_host_load(ref->host[i], len * 8);
		memcpy(buf, &v, len);
		return 0;
	}
	for (unsigned at = 0; at < len; at++)
		buf[at] = (uint8_t)x86_host_load(ref->host[i] + at, 8);
	return 0;
}

static int64_t part_write(struct x86_cpu *cpu, const struct x86_ref *ref, unsigned i,
			  const uint8_t *buf)
{
	unsigned len = ref->len[i];
	uint64_t v = 0;

	if (!ref->host[i]) {
		uint8_t copy[16];

		memcpy(copy, buf, len);
		for (unsigned at = 0; at < len && cpu->ops->mmio;) {
			unsigned n = len - at > 8 ? 8 : len - at;
			int64_t st = x86_status(
				cpu->ops->mmio(cpu->env, ref->hpa[i] + at, copy + at, n, true));

			if (st)
				return st;
			at += n;
		}
		return 0;
	}
	if (whole(len)) {
		memcpy(&v, buf, len);
		x86_host_store(ref->host[i], len * 8, v);
	} else {
		for (unsigned at = 0; at < len; at++)
			x86_host_store(ref->host[i] + at, 8, buf[at]);
	}
	x86_code_written(cpu->code, ref->hpa[i], len);
	return 0;
}

int64_t x86_ref_read(struct x86_cpu *cpu, const struct x86_ref *ref, void *buf)
{
	int64_t st = part_read(cpu, ref, 0, buf);

	if (!st && ref->len[1])
		st = part_read(cpu, ref, 1, (uint8_t *)buf + ref->len[0]);
	return st;
}

int64_t x86_ref_write(struct x86_cpu *cpu, const struct x86_ref *ref, const void *buf)
{
	int64_t st = part_write(cpu, ref, 0, buf);

	if (!st && ref->len[1])
		st = part_write(cpu, ref, 1, (const uint8_t *)buf + ref->len[0]);
	return st;
}

uint8_t *x86_ref_atomic(const struct x86_ref *ref, unsigned size)
{
	if (!ref->host[0] || ref->len[1] || ((uintptr_t)ref->host[0] & (size - 1)))
		return NULL;
	return ref->host[0];
}

int64_t x86_slow_read(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, unsigned bits,
		      unsigned seg)
{
	x86_sync(cpu, op);
	return x86_read_linear(cpu, va, bits / 8, x86_access(cpu, X86_READ), seg, &cpu->tmp);
}

int64_t x86_read_linear(struct x86_cpu *cpu, uint64_t va, unsigned size, uint32_t access,
			unsigned seg, uint64_t *ret)
{
	struct x86_ref ref;
	uint64_t v = 0;
	int64_t st = x86_ref_get(cpu, va, size, access, seg, &ref);

	if (!st)
		st = x86_ref_read(cpu, &ref, &v);
	if (!st)
		*ret = v;
	return st;
}

int64_t x86_slow_write(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, unsigned bits,
		       unsigned seg, uint64_t v)
{
	struct x86_ref ref;
	int64_t st;

	x86_sync(cpu, op);
	st = x86_ref_get(cpu, va, bits / 8, x86_access(cpu, X86_WRITE), seg, &ref);
	return st ? st : x86_ref_write(cpu, &ref, &v);
}

int64_t x86_slow_rmw(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, unsigned bits,
		     unsigned seg)
{
	int64_t st;

	x86_sync(cpu, op);
	st = x86_ref_get(cpu, va, bits / 8, x86_access(cpu, X86_READ | X86_WRITE), seg, &cpu->rmw);
	if (st)
		return st;
	/* Taken back if the write to a device exits. */
	cpu->rmw_flags[0] = cpu->fl_z;
	cpu->rmw_flags[1] = cpu->fl_s;
	cpu->rmw_flags[2] = cpu->fl_c;
	memset(cpu->rmw_buf, 0, sizeof(cpu->rmw_buf));
	return x86_ref_read(cpu, &cpu->rmw, cpu->rmw_buf);
}

int64_t x86_slow_commit(struct x86_cpu *cpu)
{
	int64_t st = x86_ref_write(cpu, &cpu->rmw, cpu->rmw_buf);

	if (st) {
		cpu->fl_z = cpu->rmw_flags[0];
		cpu->fl_s = cpu->rmw_flags[1];
		cpu->fl_c = cpu->rmw_flags[2];
	}
	return st;
}

int64_t x86_read_resume(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, unsigned bits,
			x86_fn fn)
{
	int64_t st = x86_slow_read(cpu, op, va, bits, op->seg);

	return st ? st : fn(cpu, op);
}

int64_t x86_rmw_resume(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, unsigned bits,
		       x86_fn fn)
{
	int64_t st = x86_slow_rmw(cpu, op, va, bits, op->seg);

	return st ? st : fn(cpu, op);
}

int64_t x86_write_next(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, unsigned bits,
		       uint64_t v)
{
	int64_t st = x86_slow_write(cpu, op, va, bits, op->seg, v);

	return st ? st : x86_next(cpu, op);
}

static bool limit_bad(const struct x86_seg *s, uint64_t offset, unsigned size)
{
	uint64_t last = offset + size - 1;

	if ((s->ar & (X86_AR_CODE | X86_AR_DOWN_CONF)) == X86_AR_DOWN_CONF) {
		uint64_t top = s->ar & X86_AR_DB ? 0xffffffffu : 0xffffu;

		return offset <= s->limit || last > top;
	}
	/* Offsets wrap in a segment of 4 GiB. */
	return last > s->limit && s->limit != 0xffffffffu;
}

static bool type_bad(const struct x86_seg *s, uint32_t access)
{
	if (s->ar & X86_AR_UNUSABLE)
		return true;
	if ((access & X86_WRITE) && (s->ar & (X86_AR_CODE | X86_AR_WRITE)) != X86_AR_WRITE)
		return true;
	return (access & X86_READ) && (s->ar & (X86_AR_CODE | X86_AR_WRITE)) == X86_AR_CODE;
}

int64_t x86_seg_linear(struct x86_cpu *cpu, unsigned seg, uint64_t offset, unsigned size,
		       uint32_t access, uint64_t *ret_linear)
{
	const struct x86_seg *s = &cpu->st.seg[seg];

	if (x86_is64(cpu)) {
		*ret_linear = offset + (seg == X86_FS || seg == X86_GS ? s->base : 0);
		return 0;
	}
	if (type_bad(s, access) || limit_bad(s, offset, size))
		return address_fault(cpu, seg);
	*ret_linear = (uint32_t)(s->base + offset);
	return 0;
}

int64_t x86_ea_checked(struct x86_cpu *cpu, const struct x86_op *op, unsigned size, uint32_t access)
{
	int64_t st;

	cpu->op = op; /* the fault needs no more */
	st = x86_seg_linear(cpu, op->seg, x86_offset(cpu, op), size, access, &cpu->lin);
	if (st)
		x86_sync(cpu, op);
	return st;
}
