/* SPDX-License-Identifier: MIT */
/*
 * Runs as the host sees them: what ends one, and what must be as it was when it has ended.
 * What it finds wrong it says as "WRONG".
 */
#include <asm/prctl.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device.h"
#include "say.h"

#define EXIT_TIMER 52 /* "VMX-preemption timer expired" */

static void on_signal(int number)
{
	(void)number;
}

/* A guest that spins, past the little that it prints at its start. */
static bool open_spinning(struct machine *m, int dev)
{
	struct vmxcore_run r;

	if (!machine_open(m, dev, "/selftest/remap.bin", true))
		return false;
	while (m->lines == 0 && machine_turn(m, &r) == 0)
		;
	return true;
}

/* --- what ends a run ------------------------------------------------------------------------- */

static uint64_t exits_by_timer(const struct machine *m)
{
	uint64_t exits[EXIT_TIMER + 1] = {0};
	struct vmxcore_vcpu_stats s = {.exits = (uintptr_t)exits, .exit_count = EXIT_TIMER + 1};

	return ioctl(m->vcpu, VMXCORE_VCPU_STATS, &s) < 0 ? 0 : exits[EXIT_TIMER];
}

/* Longer than many of the host's timer ticks, which must not begin it anew. */
static void test_budget(int dev)
{
	const struct itimerval guard = {.it_value = {.tv_sec = 20}};
	struct vmxcore_info info = {0};
	struct vmxcore_run r = {0};
	uint64_t from, to, slices;
	struct machine m;

	if (!open_spinning(&m, dev))
		return;
	ioctl(dev, VMXCORE_GET_INFO, &info);
	r.budget_ticks = info.tsc_khz * 60ull;
	setitimer(ITIMER_REAL, &guard, NULL);
	slices = exits_by_timer(&m);
	from = __builtin_ia32_rdtsc();
	if (ioctl(m.vcpu, VMXCORE_RUN, &r) < 0)
		say("device: WRONG: a budget does not run out: %s", strerror(errno));
	to = __builtin_ia32_rdtsc();
	setitimer(ITIMER_REAL, &(const struct itimerval){0}, NULL);
	say("device: a budget of 60 ms: reason %u, not too early: %s, in slices: %s", r.reason,
	    to - from >= info.tsc_khz * 60ull ? "yes" : "NO",
	    exits_by_timer(&m) - slices > 2 ? "yes" : "NO");
	machine_close(&m);
}

struct one_run {
	struct machine *m;
	int error;
};

static void *run_once(void *arg)
{
	struct vmxcore_run r = {0};
	struct one_run *o = arg;

	o->error = ioctl(o->m->vcpu, VMXCORE_RUN, &r) < 0 ? errno : 0;
	return NULL;
}

static void test_ends(int dev)
{
	static const struct {
		const char *what;
		bool signal;
	} ends[] = {{"VMXCORE_KICK", false}, {"a signal", true}};
	struct machine m;

	if (!open_spinning(&m, dev))
		return;
	for (unsigned i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		struct one_run o = {.m = &m, .error = -1};
		pthread_t thread;

		pthread_create(&thread, NULL, run_once, &o);
		usleep(30000);
		if (ends[i].signal)
			pthread_kill(thread, SIGALRM);
		else
			ioctl(m.vcpu, VMXCORE_KICK);
		pthread_join(thread, NULL);
		say("device: a run without budget was ended by %s: %s", ends[i].what,
		    strerror(o.error));
	}
	machine_close(&m);
}

/* One that comes before the run is not lost, nor does it end two. */
static void test_early_kick(int dev)
{
	struct vmxcore_run r = {.budget_ticks = 1000};
	struct machine m;
	int first;

	if (!open_spinning(&m, dev))
		return;
	ioctl(m.vcpu, VMXCORE_KICK);
	first = ioctl(m.vcpu, VMXCORE_RUN, &r) < 0 ? errno : 0;
	r = (struct vmxcore_run){.budget_ticks = 1000};
	say("device: kicked before the run: %s, then: %s", strerror(first),
	    ioctl(m.vcpu, VMXCORE_RUN, &r) < 0 ? strerror(errno) : "it runs");
	machine_close(&m);
}

/* --- what must be as it was ------------------------------------------------------------------ */

/* All vector registers over one run: 32 bytes each where the processor has them. */
static bool vectors_kept(struct machine *m)
{
	struct vmxcore_run r = {.budget_ticks = 100000};
	uint8_t in[2][32], out[2][32];
	uint32_t mxcsr = 0x7f80, after = 0; /* rounds toward zero */
	bool wide = __builtin_cpu_supports("avx");
	long result = SYS_ioctl;

	memset(in[0], 0xa5, sizeof(in[0]));
	memset(in[1], 0x5a, sizeof(in[1]));
	memcpy(out, in, sizeof(out));
	if (wide)
		asm volatile("vmovdqu %0, %%ymm0; vmovdqu %1, %%ymm15"
			     :
			     : "m"(in[0]), "m"(in[1])
			     : "xmm0", "xmm15");
	else
		asm volatile("movdqu %0, %%xmm0; movdqu %1, %%xmm15"
			     :
			     : "m"(in[0]), "m"(in[1])
			     : "xmm0", "xmm15");
	asm volatile("ldmxcsr %0" : : "m"(mxcsr));
	asm volatile("syscall"
		     : "+a"(result)
		     : "D"((long)m->vcpu), "S"((long)VMXCORE_RUN), "d"(&r)
		     : "rcx", "r11", "memory");
	if (wide)
		asm volatile("vmovdqu %%ymm0, %0; vmovdqu %%ymm15, %1"
			     : "=m"(out[0]), "=m"(out[1]));
	else
		asm volatile("movdqu %%xmm0, %0; movdqu %%xmm15, %1" : "=m"(out[0]), "=m"(out[1]));
	asm volatile("stmxcsr %0" : "=m"(after));
	mxcsr = 0x1f80;
	asm volatile("ldmxcsr %0" : : "m"(mxcsr));
	return result == 0 && memcmp(in, out, sizeof(in)) == 0 && after == 0x7f80;
}

static bool gs_base_kept(struct machine *m)
{
	struct vmxcore_run r = {.budget_ticks = 100000};
	unsigned long wanted = 0x123456789000, got = 0;

	syscall(SYS_arch_prctl, ARCH_SET_GS, wanted);
	ioctl(m->vcpu, VMXCORE_RUN, &r);
	syscall(SYS_arch_prctl, ARCH_GET_GS, &got);
	return got == wanted;
}

static void test_kept(int dev)
{
	struct machine m;

	if (!open_spinning(&m, dev))
		return;
	say("device: after a run: vectors kept: %s, GS base kept: %s",
	    vectors_kept(&m) ? "yes" : "NO", gs_base_kept(&m) ? "yes" : "NO");
	machine_close(&m);
}

/* --- breakpoints, the host's and the guest's ----------------------------------------------------
 */

static volatile uint32_t watched;

/* The program under the debugger: its guest has breakpoints of its own, which never hit. */
static int debugged(int dev)
{
	struct vmxcore_set_regs s = {0};
	struct vmxcore_regs after;
	struct machine m;

	if (!open_spinning(&m, dev) || ioctl(m.vcpu, VMXCORE_GET_REGS, &s.regs) < 0)
		return 1;
	for (unsigned i = 0; i < 4; i++)
		s.regs.dr[i] = 0xd00000u + 16 * i;
	s.regs.dr7 = 0x4ff; /* all four are on: execution */
	if (ioctl(m.vcpu, VMXCORE_SET_REGS, &s) < 0)
		return 2;
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	raise(SIGSTOP);
	for (int i = 0; i < 20; i++) {
		struct vmxcore_run r = {.budget_ticks = 100000};

		ioctl(m.vcpu, VMXCORE_RUN, &r);
	}
	watched = 1; /* the debugger's breakpoint */
	ioctl(m.vcpu, VMXCORE_GET_REGS, &after);
	return memcmp(after.dr, s.regs.dr, sizeof(after.dr)) == 0 && after.dr7 == s.regs.dr7 ? 0
											     : 3;
}

static void set_watchpoint(pid_t pid)
{
	const size_t at = offsetof(struct user, u_debugreg);
	const unsigned long write_4 = 1ul << 0 | 1ul << 16 | 3ul << 18;

	ptrace(PTRACE_POKEUSER, pid, at, &watched);
	ptrace(PTRACE_POKEUSER, pid, at + 7 * sizeof(long), write_4);
}

static void test_breakpoints(int dev)
{
	unsigned hits = 0;
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(debugged(dev));
	waitpid(pid, &status, 0);
	if (WIFSTOPPED(status))
		set_watchpoint(pid);
	while (WIFSTOPPED(status)) {
		hits += WSTOPSIG(status) == SIGTRAP;
		ptrace(PTRACE_CONT, pid, NULL, NULL);
		waitpid(pid, &status, 0);
	}
	say("device: breakpoints: the host's hits %u, the guest's are kept: %s (%d)", hits,
	    status == 0 ? "yes" : "NO", status);
}

void test_device_host(int dev)
{
	const struct sigaction action = {.sa_handler = on_signal};

	sigaction(SIGALRM, &action, NULL);
	test_budget(dev);
	test_ends(dev);
	test_early_kick(dev);
	test_kept(dev);
	test_breakpoints(dev);
}
