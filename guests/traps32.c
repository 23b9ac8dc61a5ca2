/* SPDX-License-Identifier: MIT */
/*
 * Exceptions and changes of privilege in 32-bit protected mode: #DE #BP #OF #UD #GP #PF with
 * their saved addresses and error codes, INT n, paging with 4 KiB and 4 MiB pages, IRET to
 * ring 3 and back, stack switch through the TSS, BOUND, segment limits.
 */
#include "guest/check.h"
#include "guest/cpu.h"
#include "guest/segments.h"
#include "guest/string.h"
#include "guest/trap.h"

#define CR4_PSE (1u << 4)
#define PDE_4M 0x80u
#define ABSENT 0xd0000000u
#define READ_ONLY 0x00c00000u /* linear; a 4 KiB page table maps it */
#define SUPERVISOR 0x00c01000u
#define FRAME 0x00500000u

int guest_main(void);
void user_enter(uint32_t stack);

extern uint64_t guest_gdt[];

static struct {
	uint32_t link, esp0, ss0, other[22];
	uint16_t trap, iomap;
} tss;
_Static_assert(sizeof(tss) == 104, "32-bit TSS");

static uint32_t page_directory[1024] __attribute__((aligned(4096)));
static uint32_t page_table[1024] __attribute__((aligned(4096)));
static uint8_t trap_stack[4096] __attribute__((aligned(16)));
static uint8_t user_stack[4096] __attribute__((aligned(16)));
static unsigned user_calls, user_cpl, user_fault_vector, user_fault_error;
static uint32_t user_fault_cr2, user_sum;
uint32_t kernel_esp, kernel_eip;

__asm__(".text\n"
	"user_enter:\n"
	"	mov 4(%esp), %eax\n"
	"	push %ebx; push %ebp; push %esi; push %edi\n"
	"	mov %esp, kernel_esp\n"
	"	movl $1f, kernel_eip\n"
	"	pushl $0x23\n"
	"	push %eax\n"
	"	pushl $0x2\n"
	"	pushl $0x1b\n"
	"	pushl $user_code\n"
	"	mov $0x23, %eax\n"
	"	mov %eax, %ds\n"
	"	mov %eax, %es\n"
	"	iret\n"
	"1:	mov $0x10, %eax\n"
	"	mov %eax, %ds\n"
	"	mov %eax, %es\n"
	"	mov kernel_esp, %esp\n"
	"	pop %edi; pop %esi; pop %ebp; pop %ebx\n"
	"	ret\n"
	"user_code:\n"
	"	push $40\n"
	"	addl $2, (%esp)\n"
	"	pop %ecx\n"
	"	mov $1, %eax\n"
	"	int $0x80\n"
	"	mov $0x00c01000, %ebx\n"
	"	mov (%ebx), %ecx\n" /* #PF, user; two bytes */
	"	mov $2, %eax\n"
	"	int $0x80\n"
	"	mov $0xff, %eax\n"
	"	int $0x80\n"
	"	ud2\n");

static int user_hook(struct trap_frame *f)
{
	if ((f->cs & 3) != 3)
		return 0;
	user_cpl = f->cs & 3;
	if (f->vector != TRAP_INT_USER) {
		user_fault_vector = f->vector;
		user_fault_error = f->error;
		user_fault_cr2 = read_cr2();
		f->ip += 2;
		return 1;
	}
	user_calls++;
	if (f->eax == 1)
		user_sum = f->ecx;
	if (f->eax != 0xff)
		return 1;
	/* back to ring 0: IRET to the same level pops no stack, so one is made here */
	__asm__ volatile("jmp *kernel_eip");
	__builtin_unreachable();
}

static void expect(const char *name, int vector, uint32_t error)
{
	if (check(name, (uint64_t)(int64_t)trap_seen.vector, (uint64_t)vector))
		check("  its error code", trap_seen.error, error);
}

static void test_exceptions(void)
{
	static const int32_t bounds[2] = {0, 9};

	TRAP_TRY("xorl %%edx, %%edx\n\txorl %%ecx, %%ecx\n\tdivl %%ecx",
		 :
		 :
		 : "eax", "ecx", "edx", "cc");
	expect("#DE divide by zero", TRAP_DE, 0);
	TRAP_TRY("movl $0x80000000, %%eax\n\tcltd\n\tmovl $-1, %%ecx\n\tidivl %%ecx",
		 :
		 :
		 : "eax", "ecx", "edx", "cc");
	expect("#DE quotient too large", TRAP_DE, 0);
	TRAP_TRY("ud2", : : :);
	expect("#UD ud2", TRAP_UD, 0);
	TRAP_TRY("movw $0xfff8, %%ax\n\tmovw %%ax, %%es", : : : "eax");
	expect("#GP selector beyond the GDT", TRAP_GP, 0xfff8);
	TRAP_TRY("movb $0x7f, %%al\n\taddb $1, %%al\n\tinto", : : : "eax", "cc");
	expect("#OF into", TRAP_OF, 0);
	TRAP_TRY("bound %%eax, (%%ebx)", : : "a"(10), "b"(bounds) : "memory");
	expect("#BR bound", 5, 0);
	TRAP_TRY("int $0x81", : : : "memory");
	expect("INT n", TRAP_INT_KERNEL, 0);
}

/* A data segment of 4 KiB: the byte at its limit is inside, the next is not. */
static void test_limit(void)
{
	uint64_t saved = guest_gdt[SEL_TSS / 8];

	guest_gdt[SEL_TSS / 8] = 0x0040930000000fffull;
	__asm__ volatile("movw %w0, %%fs" : : "r"(SEL_TSS) : "memory");
	TRAP_TRY("movb %%fs:0xfff, %%al", : : : "eax", "memory");
	expect("limit: last byte", -1, 0);
	TRAP_TRY("movb %%fs:0x1000, %%al", : : : "eax", "memory");
	expect("limit: one beyond", TRAP_GP, 0);
	__asm__ volatile("movw %w0, %%fs" : : "r"(0) : "memory");
	TRAP_TRY("movb %%fs:0, %%al", : : : "eax", "memory");
	expect("null selector", TRAP_GP, 0);
	guest_gdt[SEL_TSS / 8] = saved;
}

static void test_saved_address(void)
{
	uint32_t place;

	trap_expect();
	trap_skip = 2;
	__asm__ volatile("movl $1f, %0\n1:	ud2" : "=&r"(place) : : "memory");
	check("#UD saves its own address", trap_seen.ip - place, 0);
	trap_expect();
	__asm__ volatile("movl $1f, %0\n1:	int3" : "=&r"(place) : : "memory");
	check("#BP saves the next address", trap_seen.ip - place, 1);
}

static void paging_on(void)
{
	for (uint32_t i = 0; i < 1024; i++)
		page_directory[i] = i < 8 ? i << 22 | PDE_4M | 7 : 0;
	for (uint32_t i = 0; i < 1024; i++)
		page_table[i] = 0;
	page_table[0] = FRAME | 1;	      /* read-only */
	page_table[1] = (FRAME + 0x1000) | 3; /* supervisor */
	page_directory[READ_ONLY >> 22] = (uintptr_t)page_table | 7;
	write_cr4(read_cr4() | CR4_PSE);
	write_cr3((uintptr_t)page_directory);
	write_cr0(read_cr0() | CR0_PG | CR0_WP);
}

static void test_paging(void)
{
	volatile uint32_t *frame = (volatile uint32_t *)FRAME;

	*frame = 0x600d;
	paging_on();
	check("4K page", *(volatile uint32_t *)READ_ONLY, 0x600d);
	check("4M page", *frame, 0x600d);
	TRAP_TRY("movl (%%ebx), %%eax", : : "b"(ABSENT) : "eax", "memory");
	expect("#PF read, not present", TRAP_PF, 0);
	check("  its CR2", trap_seen.cr2, ABSENT);
	TRAP_TRY("movl %%eax, (%%ebx)", : : "b"(READ_ONLY) : "eax", "memory");
	expect("#PF write, read-only", TRAP_PF, PF_PRESENT | PF_WRITE);
	page_table[0] = (FRAME + 0x1000) | 1;
	*(volatile uint32_t *)(FRAME + 0x1000) = 0xbeef;
	invlpg(READ_ONLY);
	check("changed, INVLPG", *(volatile uint32_t *)READ_ONLY, 0xbeef);
}

static void load_tss(void)
{
	uint32_t base = (uintptr_t)&tss;

	tss.esp0 = (uintptr_t)(trap_stack + sizeof(trap_stack));
	tss.ss0 = SEL_DATA;
	tss.iomap = sizeof(tss);
	guest_gdt[SEL_TSS / 8] = (sizeof(tss) - 1) | (uint64_t)(base & 0xffffff) << 16 |
				 0x89ull << 40 | (uint64_t)(base >> 24) << 56;
	__asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
}

static void test_user(void)
{
	load_tss();
	trap_hook = user_hook;
	user_enter((uintptr_t)(user_stack + sizeof(user_stack)));
	trap_hook = 0;
	check("ring 3: calls through INT 0x80", user_calls, 3);
	check("ring 3: CPL", user_cpl, 3);
	check("ring 3: its stack", user_sum, 42);
	check("ring 3: supervisor page", user_fault_vector, TRAP_PF);
	check("ring 3: supervisor page error code", user_fault_error, PF_PRESENT | PF_USER);
	check("ring 3: supervisor page CR2", user_fault_cr2, SUPERVISOR);
}

int guest_main(void)
{
	trap_init();
	test_exceptions();
	test_limit();
	test_saved_address();
	test_paging();
	test_user();
	check_finish("traps32");
}
