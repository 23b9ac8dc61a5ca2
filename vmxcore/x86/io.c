// SPDX-License-Identifier: MIT
/* IN, OUT, INS, OUTS: permission from IOPL and the TSS's bitmap, the access by callback. */
#include "x86/decode.h"
#include "x86/exec.h"
#include "x86/flags.h"
#include "x86/mem.h"
#include "x86/seg.h"

#define RCX X86_REG(X86_RCX)
#define RSI X86_REG(X86_RSI)
#define RDI X86_REG(X86_RDI)

/* "I/O Permission Bit Map": two bytes are read, whatever the port. */
static int64_t bitmap_check(struct x86_cpu *cpu, uint16_t port, unsigned size)
{
	const struct x86_seg *tr = &cpu->st.seg[X86_TR];
	unsigned type = tr->ar & X86_AR_TYPE;
	uint64_t map, bits;
	int64_t st;

	if ((tr->ar & X86_AR_UNUSABLE) || type != X86_SYS_TSS_BUSY || tr->limit < 103)
		return x86_fault_code(cpu, X86_GP, 0);
	st = x86_system_read(cpu, tr->base + 102, 2, &map);
	if (st)
		return st;
	map += port / 8;
	if (map + 1 > tr->limit)
		return x86_fault_code(cpu, X86_GP, 0);
	st = x86_system_read(cpu, tr->base + map, 2, &bits);
	if (st)
		return st;
	if ((bits >> (port % 8)) & ((1u << size) - 1))
		return x86_fault_code(cpu, X86_GP, 0);
	return 0;
}

static int64_t io_allowed(struct x86_cpu *cpu, const struct x86_op *op, uint16_t port)
{
	bool pe = cpu->st.cr0 & X86_CR0_PE;

	if (!pe || cpu->cpl <= ((cpu->st.rflags & X86_FL_IOPL) >> 12))
		return 0;
	x86_sync(cpu, op);
	return bitmap_check(cpu, port, op->size);
}

static uint16_t io_port(struct x86_cpu *cpu, const struct x86_op *op)
{
	return op->flags & X86_OPF_IMM ? (uint16_t)op->imm : (uint16_t)cpu->st.gpr[X86_RDX];
}

/* arg: X86_SP_IN or X86_SP_OUT */
int64_t x86_do_inout(struct x86_cpu *cpu, const struct x86_op *op)
{
	struct x86_special_info info = {
		.port = io_port(cpu, op),
		.size = op->size,
		.imm_port = op->flags & X86_OPF_IMM,
	};
	unsigned bits = op->size * 8u;
	int64_t st = io_allowed(cpu, op, info.port);

	if (st)
		return st;
	if (op->arg == X86_SP_OUT)
		info.value = x86_get(cpu, X86_REG(X86_RAX), bits);
	st = x86_special(cpu, op, (enum x86_special)op->arg, &info);
	if (st)
		return st;
	if (op->arg == X86_SP_IN)
		x86_set(cpu, X86_REG(X86_RAX), bits, info.value);
	/* The access may have raised an interrupt: the boundary is looked at. */
	cpu->st.rip = x86_op_next_rip(cpu, op);
	return x86_done(op);
}

bool x86_build_inout(struct x86_insn *in, struct x86_op *op)
{
	bool out = in->row_arg == X86_SP_OUT;
	const struct x86_arg *port = &in->args[out ? 0 : 1], *data = &in->args[out ? 1 : 0];

	op->size = data->size;
	if (port->kind == X86_ARG_IMM) {
		op->imm = port->imm & 0xff;
		op->flags |= X86_OPF_IMM;
	}
	op->fn = x86_do_inout;
	return true;
}

/* One iteration. The memory side is translated first: its faults come before the access. */
static int64_t io_string_one(struct x86_cpu *cpu, const struct x86_op *op)
{
	bool in = op->arg == X86_SP_IN;
	unsigned bits = op->asize * 8u, reg = in ? RDI : RSI, seg = in ? X86_ES : op->seg;
	uint32_t kind = in ? X86_WRITE : X86_READ;
	struct x86_special_info info = {
		.port = (uint16_t)cpu->st.gpr[X86_RDX],
		.size = op->size,
		.string = true,
		.rep = op->flags & (X86_OPF_REP | X86_OPF_REPNE),
		.seg = (uint8_t)seg,
		.address_size = op->asize,
		.has_mem = true,
	};
	struct x86_ref ref;
	uint64_t step = cpu->st.rflags & X86_FL_DF ? -(uint64_t)op->size : op->size;
	int64_t st = io_allowed(cpu, op, info.port);

	x86_sync(cpu, op);
	if (!st)
		st = x86_seg_linear(cpu, seg, x86_get(cpu, reg, bits), op->size, kind,
				    &info.linear);
	if (!st)
		st = x86_ref_get(cpu, info.linear, op->size, x86_access(cpu, kind), seg, &ref);
	if (!st && !in)
		st = x86_ref_read(cpu, &ref, &info.value);
	if (!st)
		st = x86_special(cpu, op, (enum x86_special)op->arg, &info);
	if (!st && in)
		st = x86_ref_write(cpu, &ref, &info.value);
	if (!st)
		x86_set(cpu, reg, bits, (x86_get(cpu, reg, bits) + step) & x86_mask(bits));
	return st;
}

int64_t x86_do_io_string(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned bits = op->asize * 8u;
	bool rep = op->flags & (X86_OPF_REP | X86_OPF_REPNE);
	uint64_t count = rep ? x86_get(cpu, RCX, bits) : 1, done = 0;
	int64_t st;

	for (; count; done++) {
		if (done && (cpu->stepping || (cpu->todo & X86_TODO_ATTENTION) || done >= 65536)) {
			x86_sync(cpu, op);
			return X86S_PARTIAL;
		}
		st = io_string_one(cpu, op);
		if (st)
			return st;
		count--;
		if (rep)
			x86_set(cpu, RCX, bits, count);
	}
	cpu->st.rip = x86_op_next_rip(cpu, op);
	return x86_done(op);
}
