/* SPDX-License-Identifier: MIT */
/* Segment descriptors and segment registers. */
#ifndef VMXCORE_X86_SEG_H
#define VMXCORE_X86_SEG_H

#include "x86/cpu.h"

struct x86_desc {
	uint64_t raw;
	uint64_t linear; /* where it is */
	uint16_t sel;
	struct x86_seg seg; /* as a segment register would hold it */
};

/* System descriptor types (S = 0). */
enum {
	X86_SYS_TSS16 = 1,
	X86_SYS_LDT = 2,
	X86_SYS_TSS16_BUSY = 3,
	X86_SYS_CALL16 = 4,
	X86_SYS_TASK_GATE = 5,
	X86_SYS_INT16 = 6,
	X86_SYS_TRAP16 = 7,
	X86_SYS_TSS = 9,
	X86_SYS_TSS_BUSY = 11,
	X86_SYS_CALL = 12,
	X86_SYS_INT = 14,
	X86_SYS_TRAP = 15,
};

/* Reads a descriptor; outside its table: `vector` with the selector | ext. */
int64_t x86_desc_read(struct x86_cpu *cpu, uint16_t sel, uint8_t vector, unsigned ext,
		      struct x86_desc *ret);
/* Implicit supervisor read of up to 8 bytes (GDT, LDT, IDT, TSS). */
int64_t x86_system_read(struct x86_cpu *cpu, uint64_t va, unsigned size, uint64_t *ret);
int64_t x86_system_write(struct x86_cpu *cpu, uint64_t va, unsigned size, uint64_t v);
/* Sets the accessed bit in memory if it is clear. */
int64_t x86_desc_accessed(struct x86_cpu *cpu, struct x86_desc *d);

/* The error: sel without RPL, | ext. */
static inline int64_t x86_sel_fault(struct x86_cpu *cpu, uint8_t vector, uint16_t sel, unsigned ext)
{
	return x86_fault_code(cpu, vector, (sel & 0xfffcu) | ext);
}

/* MOV/POP/Lxx to ES SS DS FS GS. Changes nothing on a fault. */
int64_t x86_seg_load(struct x86_cpu *cpu, unsigned seg, uint16_t sel);
/* A stack segment for privilege cpl: RPL, DPL, type, presence; faults with `vector`. */
int64_t x86_ss_check(struct x86_cpu *cpu, uint16_t sel, unsigned cpl, uint8_t vector, unsigned ext,
		     struct x86_desc *ret);
/* CS for a far transfer that leaves CPL at cpl; ret->seg.sel has RPL = cpl. */
int64_t x86_cs_check(struct x86_cpu *cpu, uint16_t sel, unsigned cpl, struct x86_desc *ret);
/* What L and D say about a code segment is allowed in this mode. */
bool x86_cs_mode_ok(const struct x86_cpu *cpu, const struct x86_seg *s);
/* A null selector in a segment register. */
struct x86_seg x86_seg_null(uint16_t sel, unsigned dpl);
/* Data segments that the new CPL may not use become null (return to outer privilege). */
void x86_seg_outer(struct x86_cpu *cpu, unsigned cpl);

#endif
