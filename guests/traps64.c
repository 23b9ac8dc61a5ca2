/* SPDX-License-Identifier: MIT */
/*
 * Exceptions and changes of privilege in 64-bit mode: #DE #DB #BP #UD #GP #PF with their
 * saved addresses and error codes, INT n, IRET to ring 3 and back, SYSCALL and SYSRET.
 */
#include "guest/check.h"
#include "guest/cpu.h"
#include "guest/paging.h"
#include "guest/segments.h"
#include "guest/string.h"
#include "guest/trap.h"

#define ABSENT 0x0000020000000000ull
#define FLAGS_TF 0x100u
#define USER_FLAGS 0x200002u /* ID set, so that SYSCALL has something to save and mask */

int guest_main(void);

extern uint8_t user_code[], user_syscall_entry[], user_after_syscall[];
void user_enter(uint64_t stack);

struct tss64 {
	uint32_t reserved0;
	uint64_t rsp[3];
	uint64_t reserved1, ist[7], reserved2;
	uint16_t reserved3, iomap;
} __attribute__((packed));
_Static_assert(sizeof(struct tss64) == 104, "64-bit TSS");

extern uint64_t guest_gdt[];
static struct tss64 tss;
static uint8_t trap_stack[8192] __attribute__((aligned(16)));
static uint8_t user_stack[4096] __attribute__((aligned(16)));

/* What ring 3 reported: through INT 0x80 with a number in RAX. */
static unsigned user_calls, user_cpl;
static uint64_t user_values[4];
/* written by the SYSCALL entry */
uint64_t syscall_rcx, syscall_r11, syscall_rax, syscall_cs, syscall_ss, syscall_flags;
/* where user_enter() left from */
uint64_t kernel_rsp, kernel_rip;

__asm__(".text\n"
	/* user_enter(stack): saves the place, then IRET to ring 3 */
	"user_enter:\n"
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"	mov %rsp, kernel_rsp(%rip)\n"
	"	lea 1f(%rip), %rax\n"
	"	mov %rax, kernel_rip(%rip)\n"
	"	pushq $0x23\n"
	"	push %rdi\n"
	"	pushq $0x200002\n"
	"	pushq $0x2b\n"
	"	lea user_code(%rip), %rax\n"
	"	push %rax\n"
	"	iretq\n"
	"1:	mov kernel_rsp(%rip), %rsp\n"
	"	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"	ret\n"
	/* ring 3 */
	"user_code:\n"
	"	mov %cs, %ecx\n"
	"	mov $0, %eax\n"
	"	int $0x80\n"
	"	mov $0x5ca11, %eax\n"
	"	syscall\n"
	"user_after_syscall:\n"
	"	mov %rax, %rcx\n" /* what the kernel answered */
	"	mov $1, %eax\n"
	"	int $0x80\n"
	"	hlt\n" /* #GP; the handler skips its one byte */
	"	mov $2, %eax\n"
	"	int $0x80\n"
	"	mov $0xa00000, %ebx\n"
	"	mov (%rbx), %rcx\n" /* #PF, user; three bytes */
	"	mov $3, %eax\n"
	"	int $0x80\n"
	"	mov $0xff, %eax\n"
	"	int $0x80\n"
	"	ud2\n"
	/* ring 0, from SYSCALL: RCX return address, R11 flags, still on the user's stack */
	"user_syscall_entry:\n"
	"	mov %rcx, syscall_rcx(%rip)\n"
	"	mov %r11, syscall_r11(%rip)\n"
	"	mov %rax, syscall_rax(%rip)\n"
	"	pushfq\n"
	"	pop syscall_flags(%rip)\n"
	"	mov %cs, %eax\n"
	"	mov %rax, syscall_cs(%rip)\n"
	"	mov %ss, %eax\n"
	"	mov %rax, syscall_ss(%rip)\n"
	"	mov $0xa45, %eax\n"
	"	sysretq\n");

static struct {
	int vector;
	uint32_t error;
	uint64_t cr2;
} user_traps[4];
static unsigned user_trap_count;

static void record_user_trap(struct trap_frame *f)
{
	if (user_trap_count < 4) {
		user_traps[user_trap_count].vector = (int)f->vector;
		user_traps[user_trap_count].error = (uint32_t)f->error;
		user_traps[user_trap_count].cr2 = read_cr2();
		user_trap_count++;
	}
	f->ip += f->vector == TRAP_GP ? 1 : 3;
}

static int user_hook(struct trap_frame *f)
{
	if ((f->cs & 3) != 3)
		return 0;
	user_cpl = f->cs & 3;
	if (f->vector != TRAP_INT_USER) {
		record_user_trap(f);
		return 1;
	}
	user_calls++;
	if (f->rax < 4) {
		user_values[f->rax] = f->rcx;
	} else {
		f->ip = kernel_rip;
		f->cs = SEL_CODE;
		f->ss = SEL_DATA;
		f->sp = kernel_rsp;
		f->flags = 2;
	}
	return 1;
}

static void expect(const char *name, int vector, uint32_t error)
{
	if (check(name, (uint64_t)(int64_t)trap_seen.vector, (uint64_t)vector))
		check("  its error code", trap_seen.error, error);
}

static void test_exceptions(void)
{
	TRAP_TRY("xorl %%edx, %%edx\n\txorl %%ecx, %%ecx\n\tdivl %%ecx",
		 :
		 :
		 : "rax", "rcx", "rdx", "cc");
	expect("#DE divide by zero", TRAP_DE, 0);
	TRAP_TRY("ud2", : : : "rax");
	expect("#UD ud2", TRAP_UD, 0);
	TRAP_TRY("movw $0xfff8, %%ax\n\tmovw %%ax, %%ds", : : : "rax");
	expect("#GP selector beyond the GDT", TRAP_GP, 0xfff8);
	TRAP_TRY("movq (%%rbx), %%rax", : : "b"(0x0000800000000000ull) : "rax", "memory");
	expect("#GP address not canonical", TRAP_GP, 0);
	TRAP_TRY("movq (%%rbx), %%rax", : : "b"(ABSENT) : "rax", "memory");
	expect("#PF not present", TRAP_PF, 0);
	check("  its CR2", trap_seen.cr2, ABSENT);
}

static void test_saved_address(void)
{
	uint64_t place;

	/* faults save the instruction's own address, traps the next one */
	trap_expect();
	trap_skip = 2;
	__asm__ volatile("leaq 1f(%%rip), %0\n1:	ud2" : "=&r"(place) : : "memory");
	check("#UD saves its own address", trap_seen.ip - place, 0);
	trap_expect();
	__asm__ volatile("leaq 1f(%%rip), %0\n1:	int3" : "=&r"(place) : : "memory");
	check("#BP vector", (uint64_t)trap_seen.vector, TRAP_BP);
	check("#BP saves the next address", trap_seen.ip - place, 1);
	trap_expect();
	__asm__ volatile("leaq 1f(%%rip), %0\n1:	int $0x81" : "=&r"(place) : : "memory");
	check("INT n vector", (uint64_t)trap_seen.vector, TRAP_INT_KERNEL);
	check("INT n saves the next address", trap_seen.ip - place, 2);
}

/* Turns itself off in the frame: one step only. */
static int step_hook(struct trap_frame *f)
{
	if (f->vector != TRAP_DB)
		return 0;
	f->flags &= ~(uint64_t)FLAGS_TF;
	return 0;
}

static void test_single_step(void)
{
	uint64_t place;

	trap_hook = step_hook;
	trap_expect();
	__asm__ volatile("leaq 1f(%%rip), %0\n"
			 "	pushfq\n"
			 "	orl $0x100, (%%rsp)\n"
			 "	popfq\n"
			 "	nop\n"
			 "1:	nop"
			 : "=&r"(place)
			 :
			 : "memory", "cc");
	trap_hook = 0;
	check("#DB single step", (uint64_t)trap_seen.vector, TRAP_DB);
	check("#DB after one instruction", trap_seen.ip - place, 0);
}

static void load_tss(void)
{
	uint64_t base = (uintptr_t)&tss;

	tss.rsp[0] = (uintptr_t)(trap_stack + sizeof(trap_stack));
	tss.iomap = sizeof(tss);
	guest_gdt[SEL_TSS / 8] = (sizeof(tss) - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 |
				 (base >> 24 & 0xff) << 56;
	guest_gdt[SEL_TSS / 8 + 1] = base >> 32;
	__asm__ volatile("ltr %0" : : "r"((uint16_t)SEL_TSS));
}

static void test_user(void)
{
	load_tss();
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
	wrmsr(MSR_STAR, (uint64_t)SEL_CODE << 32 | (uint64_t)SEL_USER_CODE32 << 48);
	wrmsr(MSR_LSTAR, (uintptr_t)user_syscall_entry);
	wrmsr(MSR_FMASK, 0x200200);
	trap_hook = user_hook;
	user_enter((uintptr_t)(user_stack + sizeof(user_stack)));
	trap_hook = 0;

	check("ring 3: calls through INT 0x80", user_calls, 5);
	check("ring 3: CPL", user_cpl, 3);
	check("ring 3: CS", user_values[0], SEL_USER_CODE);
	check("SYSCALL: RCX", syscall_rcx, (uintptr_t)user_after_syscall);
	check("SYSCALL: R11", syscall_r11 & USER_FLAGS, USER_FLAGS);
	check("SYSCALL: FMASK", syscall_flags & USER_FLAGS, 2);
	check("SYSCALL: RAX arrives", syscall_rax, 0x5ca11);
	check("SYSCALL: CS", syscall_cs, SEL_CODE);
	check("SYSCALL: SS", syscall_ss, SEL_DATA);
	check("SYSRET: answer", user_values[1], 0xa45);
	check("ring 3: HLT", (uint64_t)user_traps[0].vector, TRAP_GP);
	check("ring 3: HLT error code", user_traps[0].error, 0);
	check("ring 3: supervisor page", (uint64_t)user_traps[1].vector, TRAP_PF);
	check("ring 3: supervisor page error code", user_traps[1].error, PF_PRESENT | PF_USER);
	check("ring 3: supervisor page CR2", user_traps[1].cr2, 0xa00000);
}

static void build_tables(void)
{
	uint64_t pml4;

	paging_pool(0x800000, 0xa00000);
	pml4 = paging_new();
	paging_map(pml4, 0, 0, 4 * PAGE_1G, PAGE_2M, PTE_P | PTE_W | PTE_U);
	*paging_entry(pml4, 0xa00000) &= ~PTE_U;
	write_cr3(pml4);
}

int guest_main(void)
{
	trap_init();
	build_tables();
	test_exceptions();
	test_saved_address();
	test_single_step();
	test_user();
	check_finish("traps64");
}
