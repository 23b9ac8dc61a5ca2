/* SPDX-License-Identifier: MIT */
#include "guest/trap.h"

#include "guest/cpu.h"
#include "guest/io.h"
#include "guest/print.h"
#include "guest/segments.h"

volatile struct trap_seen trap_seen;
volatile uintptr_t trap_fixup;
volatile uintptr_t trap_skip;
volatile int trap_expected;
int (*trap_hook)(struct trap_frame *frame);

extern const uintptr_t trap_stubs[TRAP_VECTORS];

#ifdef __x86_64__
struct gate {
	uint16_t offset_low, selector;
	uint8_t ist, type;
	uint16_t offset_middle;
	uint32_t offset_high, reserved;
};
_Static_assert(sizeof(struct gate) == 16, "64-bit gate");
#else
struct gate {
	uint16_t offset_low, selector;
	uint8_t reserved, type;
	uint16_t offset_middle;
};
_Static_assert(sizeof(struct gate) == 8, "32-bit gate");
#endif

#define GATE_INTERRUPT 0x8e
#define GATE_RING3 0x60

static struct gate idt[TRAP_VECTORS] __attribute__((aligned(16)));

static void set_gate(unsigned vector, uintptr_t stub, uint8_t type)
{
	struct gate *g = &idt[vector];

	g->offset_low = (uint16_t)stub;
	g->selector = SEL_CODE;
	g->type = type;
	g->offset_middle = (uint16_t)(stub >> 16);
#ifdef __x86_64__
	g->offset_high = (uint32_t)(stub >> 32);
#endif
}

void trap_init(void)
{
	struct {
		uint16_t limit;
		uintptr_t base;
	} __attribute__((packed)) pointer = {sizeof(idt) - 1, (uintptr_t)idt};

	for (unsigned i = 0; i < TRAP_VECTORS; i++)
		set_gate(i, trap_stubs[i], GATE_INTERRUPT);
	set_gate(TRAP_BP, trap_stubs[TRAP_BP], GATE_INTERRUPT | GATE_RING3);
	set_gate(TRAP_OF, trap_stubs[TRAP_OF], GATE_INTERRUPT | GATE_RING3);
	set_gate(TRAP_INT_USER, trap_stubs[TRAP_INT_USER], GATE_INTERRUPT | GATE_RING3);
	__asm__ volatile("lidt %0" : : "m"(pointer));
}

static _Noreturn void unexpected(const struct trap_frame *f)
{
	print("unexpected trap %u, error 0x%x, at 0x%llx, cr2 0x%llx\n", (unsigned)f->vector,
	      (unsigned)f->error, (unsigned long long)f->ip, (unsigned long long)read_cr2());
	guest_exit(0x100 + (uint32_t)f->vector);
}

void trap_handle(struct trap_frame *f)
{
	if (trap_hook && trap_hook(f))
		return;
	if (!trap_expected)
		unexpected(f);
	trap_expected = 0;
	trap_seen.vector = (int)f->vector;
	trap_seen.error = (uint32_t)f->error;
	trap_seen.ip = f->ip;
	trap_seen.cs = (uint16_t)f->cs;
	trap_seen.cr2 = f->vector == TRAP_PF ? read_cr2() : 0;
	if (trap_fixup)
		f->ip = trap_fixup;
	else
		f->ip += trap_skip;
	trap_fixup = 0;
	trap_skip = 0;
}
