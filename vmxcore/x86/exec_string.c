// SPDX-License-Identifier: MIT
/*
 * String instructions. Each iteration is complete before the next begins: a fault
 * or an interruption leaves the registers where the instruction can be resumed. It
 * retires once, when the count is used up.
 */
#include "x86/exec.h"
#include "x86/flags.h"
#include "x86/mem.h"

/* Iterations between looks at whether somebody wants the processor. */
#define POLL 4096u
/* Iterations after which the run loop gets control in any case. */
#define REP_MAX 65536u

#define RCX X86_REG(X86_RCX)
#define RSI X86_REG(X86_RSI)
#define RDI X86_REG(X86_RDI)

static bool is_flat(const struct x86_cpu *cpu, const struct x86_op *op, unsigned seg)
{
	if (seg == X86_FS || seg == X86_GS)
		return false;
	return (cpu->mode & X86_M_64) ||
	       ((cpu->mode & X86_M_FLAT) && op->asize == 4 && seg != X86_CS);
}

static int64_t index_linear(struct x86_cpu *cpu, const struct x86_op *op, unsigned seg,
			    unsigned reg, uint32_t access, uint64_t *ret)
{
	uint64_t offset = x86_get(cpu, reg, op->asize * 8u);

	if (is_flat(cpu, op, seg)) {
		*ret = offset;
		return 0;
	}
	x86_sync(cpu, op);
	return x86_seg_linear(cpu, seg, offset, op->size, access, ret);
}

static int64_t read_si(struct x86_cpu *cpu, const struct x86_op *op, uint64_t *ret)
{
	uint64_t va;
	int64_t st = index_linear(cpu, op, op->seg, RSI, X86_READ, &va);

	return st ? st : x86_rd(cpu, op, va, op->size * 8u, op->seg, ret);
}

static int64_t read_di(struct x86_cpu *cpu, const struct x86_op *op, uint64_t *ret)
{
	uint64_t va;
	int64_t st = index_linear(cpu, op, X86_ES, RDI, X86_READ, &va);

	return st ? st : x86_rd(cpu, op, va, op->size * 8u, X86_ES, ret);
}

static int64_t write_di(struct x86_cpu *cpu, const struct x86_op *op, uint64_t v)
{
	uint64_t va;
	int64_t st = index_linear(cpu, op, X86_ES, RDI, X86_WRITE, &va);

	return st ? st : x86_wr(cpu, op, va, op->size * 8u, X86_ES, v);
}

static void advance(struct x86_cpu *cpu, const struct x86_op *op, unsigned reg, uint64_t n)
{
	uint64_t by = n * op->size;
	unsigned bits = op->asize * 8u;

	if (cpu->st.rflags & X86_FL_DF)
		by = -by;
	x86_set(cpu, reg, bits, (x86_get(cpu, reg, bits) + by) & x86_mask(bits));
}

static int64_t movs_one(struct x86_cpu *cpu, const struct x86_op *op)
{
	uint64_t v;
	int64_t st = read_si(cpu, op, &v);

	if (!st)
		st = write_di(cpu, op, v);
	if (st)
		return st;
	advance(cpu, op, RSI, 1);
	advance(cpu, op, RDI, 1);
	return 0;
}

static int64_t stos_one(struct x86_cpu *cpu, const struct x86_op *op)
{
	int64_t st = write_di(cpu, op, cpu->st.gpr[X86_RAX]);

	if (!st)
		advance(cpu, op, RDI, 1);
	return st;
}

static int64_t lods_one(struct x86_cpu *cpu, const struct x86_op *op)
{
	uint64_t v;
	int64_t st = read_si(cpu, op, &v);

	if (st)
		return st;
	x86_set(cpu, X86_REG(X86_RAX), op->size * 8u, v);
	advance(cpu, op, RSI, 1);
	return 0;
}

static int64_t cmps_one(struct x86_cpu *cpu, const struct x86_op *op)
{
	uint64_t a, b;
	int64_t st = read_si(cpu, op, &a);

	if (!st)
		st = read_di(cpu, op, &b);
	if (st)
		return st;
	x86_do_sub(cpu, a, b, 0, op->size * 8u);
	advance(cpu, op, RSI, 1);
	advance(cpu, op, RDI, 1);
	return 0;
}

static int64_t scas_one(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned bits = op->size * 8u;
	uint64_t b;
	int64_t st = read_di(cpu, op, &b);

	if (st)
		return st;
	x86_do_sub(cpu, x86_get(cpu, X86_REG(X86_RAX), bits), b, 0, bits);
	advance(cpu, op, RDI, 1);
	return 0;
}

/* How many forward elements at va lie within its page, at most n. */
static uint64_t in_page(const struct x86_op *op, uint64_t va, uint64_t n)
{
	uint64_t room = (X86_PAGE - (va & (X86_PAGE - 1))) / op->size;

	return n < room ? n : room;
}

/*
 * As many forward iterations as one page and the fast front allow, counted and
 * stamped as if they ran one by one. 0: do one the general way.
 */
static uint64_t stos_bulk(struct x86_cpu *cpu, const struct x86_op *op, uint64_t n)
{
	uint64_t va = x86_get(cpu, RDI, op->asize * 8u);
	struct x86_front *f = x86_front_of(cpu, va);
	uint64_t off = va ^ f->wtag;
	unsigned bits = op->size * 8u;

	if (off > X86_PAGE - op->size || !is_flat(cpu, op, X86_ES))
		return 0;
	n = in_page(op, va, n);
	for (uint64_t i = 0; i < n; i++)
		x86_host_store(f->host + off + i * op->size, bits, cpu->st.gpr[X86_RAX]);
	*f->stamp = cpu->data_clock += n;
	advance(cpu, op, RDI, n);
	return n;
}

static uint64_t movs_bulk(struct x86_cpu *cpu, const struct x86_op *op, uint64_t n)
{
	uint64_t from = x86_get(cpu, RSI, op->asize * 8u), to = x86_get(cpu, RDI, op->asize * 8u);
	struct x86_front *r = x86_front_of(cpu, from), *w = x86_front_of(cpu, to);
	uint64_t roff = from ^ r->rtag, woff = to ^ w->wtag;
	unsigned bits = op->size * 8u;

	if (roff > X86_PAGE - op->size || woff > X86_PAGE - op->size)
		return 0;
	if (!is_flat(cpu, op, op->seg) || !is_flat(cpu, op, X86_ES))
		return 0;
	n = in_page(op, to, in_page(op, from, n));
	for (uint64_t i = 0; i < n; i++)
		x86_host_store(w->host + woff + i * op->size, bits,
			       x86_host_load(r->host + roff + i * op->size, bits));
	cpu->data_clock += 2 * n;
	*r->stamp = cpu->data_clock - 1;
	*w->stamp = cpu->data_clock;
	advance(cpu, op, RSI, n);
	advance(cpu, op, RDI, n);
	return n;
}

static const struct {
	int64_t (*one)(struct x86_cpu *cpu, const struct x86_op *op);
	uint64_t (*bulk)(struct x86_cpu *cpu, const struct x86_op *op, uint64_t n);
	bool compares;
} string_rows[] = {
	{movs_one, movs_bulk, false}, {stos_one, stos_bulk, false}, {lods_one, NULL, false},
	{cmps_one, NULL, true},	      {scas_one, NULL, true},
};

static bool rep_interrupted(const struct x86_cpu *cpu, uint64_t done)
{
	if (cpu->stepping || done >= REP_MAX)
		return true;
	return done >= POLL && (cpu->todo & X86_TODO_ATTENTION);
}

static int64_t string_rep(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned k = op->arg, bits = op->asize * 8u;
	bool while_zf = op->flags & X86_OPF_REP;
	uint64_t count = x86_get(cpu, RCX, bits), done = 0;
	int64_t st;

	while (count) {
		uint64_t n = 0;

		if (done && rep_interrupted(cpu, done)) {
			x86_sync(cpu, op);
			return X86S_PARTIAL;
		}
		if (string_rows[k].bulk && !(cpu->st.rflags & X86_FL_DF) && !cpu->stepping)
			n = string_rows[k].bulk(cpu, op, count < POLL ? count : POLL);
		if (!n) {
			st = string_rows[k].one(cpu, op);
			if (st)
				return st;
			n = 1;
		}
		count -= n;
		done += n;
		x86_set(cpu, RCX, bits, count);
		if (string_rows[k].compares && (cpu->fl_z == 0) != while_zf)
			break;
	}
	return x86_next(cpu, op);
}

/* arg indexes string_rows. */
int64_t x86_do_string(struct x86_cpu *cpu, const struct x86_op *op)
{
	int64_t st;

	if (op->flags & (X86_OPF_REP | X86_OPF_REPNE))
		return string_rep(cpu, op);
	st = string_rows[op->arg].one(cpu, op);
	return st ? st : x86_next(cpu, op);
}
