/* SPDX-License-Identifier: MIT */
/*
 * Guest memory from a handler: the fast front inline, everything else in mem.c.
 * Each access counts one lookup a page and stamps the translation it used.
 */
#ifndef VMXCORE_X86_MEM_H
#define VMXCORE_X86_MEM_H

#include "x86/cpu.h"

/* --- host memory: relaxed, never torn when aligned, any alignment -------------------- */

#if defined(__SANITIZE_THREAD__)
#define X86_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define X86_TSAN 1
#endif
#endif

struct x86_packed16 {
	uint16_t v;
} __attribute__((packed, may_alias));
struct x86_packed32 {
	uint32_t v;
} __attribute__((packed, may_alias));
struct x86_packed64 {
	uint64_t v;
} __attribute__((packed, may_alias));

#ifdef X86_TSAN
/* The same accesses in a form that the race detector knows. */
uint64_t x86_host_load(const uint8_t *p, unsigned bits);
void x86_host_store(uint8_t *p, unsigned bits, uint64_t v);
#else
X86_INLINE uint64_t x86_host_load(const uint8_t *p, unsigned bits)
{
	if (bits == 64)
		return ((const volatile struct x86_packed64 *)p)->v;
	if (bits == 32)
		return ((const volatile struct x86_packed32 *)p)->v;
	if (bits == 16)
		return ((const volatile struct x86_packed16 *)p)->v;
	return *(const volatile uint8_t *)p;
}

X86_INLINE void x86_host_store(uint8_t *p, unsigned bits, uint64_t v)
{
	if (bits == 64)
		((volatile struct x86_packed64 *)p)->v = v;
	else if (bits == 32)
		((volatile struct x86_packed32 *)p)->v = (uint32_t)v;
	else if (bits == 16)
		((volatile struct x86_packed16 *)p)->v = (uint16_t)v;
	else
		*(volatile uint8_t *)p = (uint8_t)v;
}
#endif

/* --- slow paths (mem.c); 0 or X86S_* --------------------------------------------------- */

/* seg: whose fault a non-canonical address is (#SS for X86_SS, else #GP). */
int64_t x86_slow_read(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, unsigned bits,
		      unsigned seg); /* value in cpu->tmp */
int64_t x86_slow_write(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, unsigned bits,
		       unsigned seg, uint64_t v);
/* Value in cpu->rmw_buf, where x86_slow_commit() takes the new one from. */
int64_t x86_slow_rmw(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, unsigned bits,
		     unsigned seg);
int64_t x86_slow_commit(struct x86_cpu *cpu);

/*
 * The slow path as the tail of a handler: translates and reads, then goes on with
 * fn, which takes the operand from cpu->tmp (read) or cpu->rmw_buf (read-modify-
 * write). It keeps calls, and with them stack frames, out of the fast path.
 */
int64_t x86_read_resume(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, unsigned bits,
			x86_fn fn);
int64_t x86_rmw_resume(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, unsigned bits,
		       x86_fn fn);
/* The write of a handler that has nothing else to do. */
int64_t x86_write_next(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, unsigned bits,
		       uint64_t v);

/* Linear address into cpu->lin, with segment checks. 0 or X86S_FAULT. */
int64_t x86_ea_checked(struct x86_cpu *cpu, const struct x86_op *op, unsigned size,
		       uint32_t access);
/* offset in a segment to a linear address; access X86_READ/X86_WRITE. */
int64_t x86_seg_linear(struct x86_cpu *cpu, unsigned seg, uint64_t offset, unsigned size,
		       uint32_t access, uint64_t *ret_linear);

/*
 * Translates an access of 1..16 bytes, both pages, and counts it. access has
 * X86_USER or X86_IMPLICIT as the caller wants it; x86_access() gives the usual.
 */
int64_t x86_ref_get(struct x86_cpu *cpu, uint64_t va, unsigned size, uint32_t access, unsigned seg,
		    struct x86_ref *ret);
int64_t x86_ref_read(struct x86_cpu *cpu, const struct x86_ref *ref, void *buf);
int64_t x86_ref_write(struct x86_cpu *cpu, const struct x86_ref *ref, const void *buf);
/* The host pointer if the access is one aligned piece of memory, else NULL. */
uint8_t *x86_ref_atomic(const struct x86_ref *ref, unsigned size);

X86_INLINE uint32_t x86_access(const struct x86_cpu *cpu, uint32_t kind)
{
	return kind | (cpu->cpl == 3 ? X86_USER : 0);
}

/* Values of up to 8 bytes at a linear address. */
int64_t x86_read_linear(struct x86_cpu *cpu, uint64_t va, unsigned size, uint32_t access,
			unsigned seg, uint64_t *ret);

/* --- fast paths ------------------------------------------------------------------------- */

X86_INLINE struct x86_front *x86_front_of(struct x86_cpu *cpu, uint64_t va)
{
	return &cpu->front[(va >> 12) & (X86_FRONT_SLOTS - 1)];
}

/* true: the fast front has served the read. */
X86_INLINE bool x86_rd_probe(struct x86_cpu *cpu, uint64_t va, unsigned bits, uint64_t *ret)
{
	struct x86_front *f = x86_front_of(cpu, va);
	uint64_t off = va ^ f->rtag;

	if (X86_UNLIKELY(off > X86_PAGE - bits / 8))
		return false;
	*f->stamp = ++cpu->data_clock;
	*ret = x86_host_load(f->host + off, bits);
	return true;
}

X86_INLINE int64_t x86_rd(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, unsigned bits,
			  unsigned seg, uint64_t *ret)
{
	int64_t st;

	if (X86_LIKELY(x86_rd_probe(cpu, va, bits, ret)))
		return 0;
	st = x86_slow_read(cpu, op, va, bits, seg);
	*ret = cpu->tmp;
	return st;
}

/* The host pointer for a write or read-modify-write, or NULL: take the slow path. */
X86_INLINE uint8_t *x86_wr_probe(struct x86_cpu *cpu, uint64_t va, unsigned bits)
{
	struct x86_front *f = x86_front_of(cpu, va);
	uint64_t off = va ^ f->wtag;

	if (X86_UNLIKELY(off > X86_PAGE - bits / 8))
		return NULL;
	*f->stamp = ++cpu->data_clock;
	return f->host + off;
}

X86_INLINE int64_t x86_wr(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, unsigned bits,
			  unsigned seg, uint64_t v)
{
	uint8_t *p = x86_wr_probe(cpu, va, bits);

	if (X86_LIKELY(p != NULL)) {
		x86_host_store(p, bits, v);
		return 0;
	}
	return x86_slow_write(cpu, op, va, bits, seg, v);
}

/*
 * Read-modify-write: *ret is where the operand is read and written; *ret_slow
 * tells that x86_slow_commit() must follow.
 */
X86_INLINE int64_t x86_rmw(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, unsigned bits,
			   uint8_t **ret, bool *ret_slow)
{
	uint8_t *p = x86_wr_probe(cpu, va, bits);

	*ret_slow = p == NULL;
	*ret = p;
	if (X86_LIKELY(p != NULL))
		return 0;
	*ret = cpu->rmw_buf;
	return x86_slow_rmw(cpu, op, va, bits, op->seg);
}

/*
 * Effective addresses by form. B: base and displacement; F: with index. Both are
 * for flat addressing. G: anything, with segment checks, out of line.
 */
enum x86_form { X86_FORM_B, X86_FORM_F, X86_FORM_G, X86_FORMS };

X86_INLINE int64_t x86_ea(struct x86_cpu *cpu, const struct x86_op *op, enum x86_form form,
			  unsigned bits, uint32_t access, uint64_t *ret)
{
	int64_t st = 0;

	if (form == X86_FORM_B) {
		*ret = (x86_r64(cpu, op->base) + (uint64_t)op->disp) & op->amask;
	} else if (form == X86_FORM_F) {
		*ret = (x86_r64(cpu, op->base) + (x86_r64(cpu, op->index) << op->scale) +
			(uint64_t)op->disp) &
		       op->amask;
	} else {
		st = x86_ea_checked(cpu, op, bits / 8, access);
		*ret = cpu->lin;
	}
	return st;
}

/* The effective address alone (LEA, and offsets in a segment). */
X86_INLINE uint64_t x86_offset(struct x86_cpu *cpu, const struct x86_op *op)
{
	return (x86_r64(cpu, op->base) + (x86_r64(cpu, op->index) << op->scale) +
		(uint64_t)op->disp) &
	       op->amask;
}

#endif
