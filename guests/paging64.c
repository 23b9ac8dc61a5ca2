/* SPDX-License-Identifier: MIT */
/*
 * Four-level paging checked from the inside: own tables with 4 KiB, 2 MiB and 1 GiB pages,
 * translations, permissions with the page fault's error code and CR2, accessed and dirty
 * bits, INVLPG, CR3 switches, global pages.
 */
#include "guest/check.h"
#include "guest/cpu.h"
#include "guest/paging.h"
#include "guest/print.h"
#include "guest/trap.h"

#define POOL 0x800000ull
#define POOL_END 0xa00000ull
#define FRAME_A 0xa00000ull /* two frames with known content */
#define FRAME_B 0xa01000ull
#define VALUE_A 0x1111111111111111ull
#define VALUE_B 0x2222222222222222ull

#define TEST_4K 0x0000008000000000ull /* PML4 1 */
#define TEST_2M 0x0000010000000000ull /* PML4 2 */
#define TEST_1G 0x0000018000000000ull /* PML4 3 */
#define HIGH_4K 0xffff800000000000ull /* PML4 256 */
#define ABSENT 0x0000020000000000ull  /* PML4 4 */
#define NOT_CANONICAL 0x0000800000000000ull

#define WRITABLE (PTE_P | PTE_W)

int guest_main(void);

static uint64_t pml4, other_pml4;

static uint64_t *at(uint64_t linear)
{
	return (uint64_t *)(uintptr_t)linear;
}

static uint64_t try_read(uint64_t linear)
{
	uint64_t v = 0;

	TRAP_TRY("movq (%%rbx), %%rcx", : "+c"(v) : "b"(linear) : "rax", "memory");
	return v;
}

static void try_write(uint64_t linear, uint64_t v)
{
	TRAP_TRY("movq %%rcx, (%%rbx)", : : "c"(v), "b"(linear) : "rax", "memory");
}

/* Jumps there; the instruction is a RET if the fetch succeeds. */
static void try_fetch(uint64_t linear)
{
	uintptr_t stack;

	trap_expect();
	__asm__ volatile("movq %%rsp, %0\n\t"
			 "leaq 8f(%%rip), %%rax\n\t"
			 "movq %%rax, trap_fixup(%%rip)\n\t"
			 "call *%%rbx\n"
			 "8:	movq %0, %%rsp"
			 : "=&r"(stack)
			 : "b"(linear)
			 : "rax", "memory", "cc");
	trap_expected = 0;
	trap_fixup = 0;
}

static void expect_fault(const char *name, uint32_t error, uint64_t address)
{
	int good = trap_seen.vector == TRAP_PF && trap_seen.cr2 == address;

	if (!check(name, trap_seen.error, error) || !good)
		check(name, (uint64_t)(int64_t)trap_seen.vector, TRAP_PF);
	if (!good)
		check(name, trap_seen.cr2, address);
}

static void expect_none(const char *name)
{
	check(name, (uint64_t)(int64_t)trap_seen.vector, (uint64_t)-1);
}

static uint64_t new_tables(void)
{
	uint64_t root = paging_new();

	paging_map(root, 0, 0, 4 * PAGE_1G, PAGE_2M, WRITABLE);
	return root;
}

static void build(void)
{
	paging_pool(POOL, POOL_END);
	pml4 = new_tables();
	other_pml4 = new_tables();
	paging_map(pml4, TEST_4K, FRAME_A, PAGE_4K, PAGE_4K, WRITABLE);
	paging_map(pml4, TEST_4K + 0x1000, FRAME_A, PAGE_4K, PAGE_4K, PTE_P);
	paging_map(pml4, TEST_4K + 0x2000, FRAME_B, PAGE_4K, PAGE_4K, WRITABLE | PTE_NX);
	paging_map(pml4, TEST_4K + 0x3000, FRAME_B, PAGE_4K, PAGE_4K, WRITABLE | PTE_U);
	paging_map(pml4, TEST_2M, 0xa00000, PAGE_2M, PAGE_2M, WRITABLE);
	paging_map(pml4, TEST_1G, 0, PAGE_1G, PAGE_1G, WRITABLE);
	paging_map(pml4, HIGH_4K, FRAME_B, PAGE_4K, PAGE_4K, WRITABLE);
	paging_map(other_pml4, TEST_4K, FRAME_B, PAGE_4K, PAGE_4K, WRITABLE);
	*at(FRAME_A) = VALUE_A;
	*at(FRAME_B) = VALUE_B;
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
	write_cr0(read_cr0() | CR0_WP);
	write_cr4(read_cr4() & ~(uintptr_t)CR4_PGE);
	write_cr3(pml4);
}

static void test_sizes(void)
{
	uint32_t r[4];

	check("4K page", try_read(TEST_4K), VALUE_A);
	check("4K page, high half", try_read(HIGH_4K), VALUE_B);
	check("2M page", try_read(TEST_2M + 0x1000), VALUE_B);
	cpuid(0x80000001, 0, r);
	if (r[3] & 1u << 26)
		check("1G page", try_read(TEST_1G + FRAME_A), VALUE_A);
	else
		print("1G pages: this processor has none\n");
	try_write(TEST_2M + 0x1000 + 8, 77);
	check("one frame, two sizes", try_read(HIGH_4K + 8), 77);
}

static void test_faults(void)
{
	try_read(ABSENT);
	expect_fault("#PF read, not present", 0, ABSENT);
	try_write(ABSENT + 8, 1);
	expect_fault("#PF write, not present", PF_WRITE, ABSENT + 8);
	try_fetch(ABSENT + 16);
	expect_fault("#PF fetch, not present", PF_FETCH, ABSENT + 16);
	try_read(TEST_4K + 0x1000);
	expect_none("read-only page, read");
	try_write(TEST_4K + 0x1000, 1);
	expect_fault("#PF write, read-only", PF_PRESENT | PF_WRITE, TEST_4K + 0x1000);
	try_fetch(TEST_4K + 0x2000);
	expect_fault("#PF fetch, XD", PF_PRESENT | PF_FETCH, TEST_4K + 0x2000);
	try_read(TEST_4K + 0x4ff8 + 4);
	expect_fault("#PF read across pages, second absent", 0, TEST_4K + 0x4ffc);
	try_read(NOT_CANONICAL);
	check("#GP not canonical", (uint64_t)(int64_t)trap_seen.vector, TRAP_GP);
	write_cr0(read_cr0() & ~(uintptr_t)CR0_WP);
	try_write(TEST_4K + 0x1000, VALUE_A);
	expect_none("CR0.WP=0: supervisor writes read-only page");
	write_cr0(read_cr0() | CR0_WP);
}

static void test_reserved(void)
{
	volatile uint64_t *e = paging_entry(pml4, TEST_2M);
	uint64_t saved = *e;

	*e = saved | 1u << 13; /* an address bit below the 2 MiB boundary */
	invlpg(TEST_2M);
	try_read(TEST_2M);
	expect_fault("#PF reserved bit in a 2M entry", PF_PRESENT | PF_RESERVED, TEST_2M);
	*e = saved;
	invlpg(TEST_2M);
	check("2M page again", try_read(TEST_2M), VALUE_A);
}

static void test_accessed_dirty(void)
{
	volatile uint64_t *e = paging_entry(pml4, TEST_4K);

	*e &= ~(PTE_A | PTE_D);
	invlpg(TEST_4K);
	try_read(TEST_4K);
	check("read sets A only", *e & (PTE_A | PTE_D), PTE_A);
	try_write(TEST_4K, VALUE_A);
	check("write sets D", *e & (PTE_A | PTE_D), PTE_A | PTE_D);
}

static void test_invalidation(void)
{
	volatile uint64_t *e = paging_entry(pml4, TEST_4K);

	check("before the change", try_read(TEST_4K), VALUE_A);
	*e = FRAME_B | WRITABLE;
	invlpg(TEST_4K);
	check("changed, INVLPG", try_read(TEST_4K), VALUE_B);
	*e = FRAME_A | WRITABLE;
	write_cr3(read_cr3());
	check("changed back, MOV CR3", try_read(TEST_4K), VALUE_A);
	*e = 0;
	invlpg(TEST_4K);
	try_read(TEST_4K);
	expect_fault("unmapped, INVLPG", 0, TEST_4K);
	*e = FRAME_A | WRITABLE; /* absent to present needs no invalidation */
	check("mapped again, no INVLPG", try_read(TEST_4K), VALUE_A);
}

static void test_cr3(void)
{
	write_cr3(other_pml4);
	check("CR3 switch: other tables", try_read(TEST_4K), VALUE_B);
	try_read(TEST_2M);
	expect_fault("CR3 switch: not in the other tables", 0, TEST_2M);
	write_cr3(pml4);
	check("CR3 switch: back", try_read(TEST_4K), VALUE_A);
}

/* A global translation outlives MOV CR3, and goes with CR4.PGE. */
static void test_global(void)
{
	volatile uint64_t *e = paging_entry(pml4, TEST_4K);

	*e = FRAME_A | WRITABLE | PTE_G;
	write_cr4(read_cr4() | CR4_PGE);
	check("global page", try_read(TEST_4K), VALUE_A);
	*e = FRAME_B | WRITABLE | PTE_G;
	write_cr4(read_cr4() & ~(uintptr_t)CR4_PGE);
	check("global page changed, CR4.PGE cleared", try_read(TEST_4K), VALUE_B);
	*e = FRAME_A | WRITABLE;
	write_cr3(pml4);
}

int guest_main(void)
{
	trap_init();
	build();
	test_sizes();
	test_faults();
	test_reserved();
	test_accessed_dirty();
	test_invalidation();
	test_cr3();
	test_global();
	check_finish("paging64");
}
