/* SPDX-License-Identifier: MIT */
/*
 * Code that writes code: an instruction patched before each call, patched by the loop
 * that runs it, a whole function copied, and code on the page that the data is on. Stale
 * decoded instructions show as wrong sums.
 */
#include "guest/check.h"
#include "guest/string.h"

int guest_main(void);

/* mov eax, imm32; ret */
static uint8_t code[64]
	__attribute__((aligned(64), section(".data.code"))) = {0xb8, 0, 0, 0, 0, 0xc3};
static uint8_t copy[4096] __attribute__((aligned(4096)));

typedef uint32_t (*code_fn)(void);

static uint32_t call_code(void *at)
{
	return ((code_fn)(uintptr_t)at)();
}

static void patch(void *at, uint32_t value)
{
	volatile uint8_t *p = at;

	for (unsigned i = 0; i < 4; i++)
		p[1 + i] = (uint8_t)(value >> (8 * i));
}

static void test_patched_call(void)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < 1000; i++) {
		patch(code, i * 3);
		sum += call_code(code);
	}
	check("patched before each call", sum, 3ull * 999 * 1000 / 2);
}

/* The loop's own ADD gets a new immediate in each turn: 1 + 2 + ... + 100. */
static void test_patched_loop(void)
{
	uint64_t sum = 0;
	uint32_t n = 1;

	__asm__ volatile("jmp 2f\n"
			 ".pushsection .data.code, \"aw\"\n"
			 "2:	leaq 4f(%%rip), %%rdx\n"
			 "3:	movl %1, -4(%%rdx)\n"
			 "	addq $0x7fffffff, %0\n"
			 "4:	incl %1\n"
			 "	cmpl $101, %1\n"
			 "	jne 3b\n"
			 "	jmp 5f\n"
			 ".popsection\n"
			 "5:"
			 : "+a"(sum), "+c"(n)
			 :
			 : "rdx", "memory", "cc");
	check("patched by its own loop", sum, 5050);
}

/* The very next instruction is replaced by the one before it. */
static void test_next_instruction(void)
{
	uint32_t value;

	__asm__ volatile("movl $0, %0\n"
			 "	jmp 2f\n"
			 ".pushsection .data.code, \"aw\"\n"
			 "2:	leaq 3f(%%rip), %%rdx\n"
			 "	movl $42, 1(%%rdx)\n"
			 "3:	movl $7, %%eax\n"
			 "	jmp 4f\n"
			 ".popsection\n"
			 "4:"
			 : "=&a"(value)
			 :
			 : "rdx", "memory", "cc");
	check("the next instruction", value, 42);
}

static void test_copied(void)
{
	uint64_t sum = 0;

	for (uint32_t at = 0; at + 8 <= sizeof(copy); at += 8) {
		memcpy(copy + at, code, 6);
		patch(copy + at, at);
		sum += call_code(copy + at);
	}
	check("copied over a page", sum, 8ull * 511 * 512 / 2);
}

/* The data next to the code changes; the code does not. */
static void test_data_beside(void)
{
	volatile uint64_t *data = (volatile uint64_t *)(uintptr_t)(copy + 2048);
	uint64_t sum = 0;

	memcpy(copy, code, 6);
	patch(copy, 5);
	for (uint32_t i = 0; i < 1000; i++) {
		*data = i;
		sum += call_code(copy) + *data;
	}
	check("data on the code's page", sum, 5000 + 999ull * 1000 / 2);
}

int guest_main(void)
{
	test_patched_call();
	test_patched_loop();
	test_next_instruction();
	test_copied();
	test_data_beside();
	check_finish("selfmod");
}
