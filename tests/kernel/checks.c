/* SPDX-License-Identifier: MIT */
/*
 * Rules for who executes VMX instructions, checked at each of them (linked with --wrap): a
 * processor's own thread does, a VMCS is active on one processor at a time, and none is left
 * active where VMX operation ends.
 * Source: SDM volume 3, "Software Use of Virtual-Machine Control Structures".
 */
#include <pthread.h>

#include "hw/hw.h"
#include "kernel/hardware.h"
#include "kernel/processors.h"
#include "machine.h"

#define VMCS_MAX 4096u

static struct {
	pthread_mutex_t lock;
	struct {
		uint64_t at;
		unsigned cpu;
	} vmcs[VMCS_MAX];
	unsigned count;
} active = {.lock = PTHREAD_MUTEX_INITIALIZER};

#define NOT_OURS PROCESSORS_MAX

/* The processor's number; the thread has it. Others' (a soft engine's) are not looked at. */
static unsigned here(const struct hw_cpu *cpu, const char *what)
{
	int mine = processor_mine();
	unsigned i;

	if (mine >= 0 && machine_hw((unsigned)mine) == cpu)
		return (unsigned)mine;
	for (i = 0; i < processors_count(); i++)
		if (machine_hw(i) == cpu)
			kernel_bug("%s by a thread that does not have the processor", what);
	return NOT_OURS;
}

/* The row of a VMCS, or count. */
static unsigned find(uint64_t at)
{
	unsigned i;

	for (i = 0; i < active.count && active.vmcs[i].at != at; i++)
		;
	return i;
}

static void became_active(uint64_t at, unsigned cpu)
{
	unsigned i;

	if (cpu == NOT_OURS)
		return;
	pthread_mutex_lock(&active.lock);
	i = find(at);
	if (i == VMCS_MAX)
		kernel_bug("more than %u VMCSs are active", VMCS_MAX);
	if (i < active.count && active.vmcs[i].cpu != cpu)
		kernel_bug("VMPTRLD on processor %u of a VMCS that is active on %u", cpu,
			   active.vmcs[i].cpu);
	active.vmcs[i].at = at;
	active.vmcs[i].cpu = cpu;
	active.count += i == active.count;
	pthread_mutex_unlock(&active.lock);
}

static void became_clear(uint64_t at, unsigned cpu)
{
	unsigned i;

	if (cpu == NOT_OURS)
		return;
	pthread_mutex_lock(&active.lock);
	i = find(at);
	if (i < active.count) {
		if (active.vmcs[i].cpu != cpu)
			kernel_bug("VMCLEAR on processor %u of a VMCS that is active on %u", cpu,
				   active.vmcs[i].cpu);
		active.vmcs[i] = active.vmcs[--active.count];
	}
	pthread_mutex_unlock(&active.lock);
}

static void none_active(unsigned cpu)
{
	unsigned i;

	pthread_mutex_lock(&active.lock);
	for (i = 0; i < active.count; i++)
		if (active.vmcs[i].cpu == cpu)
			kernel_bug("VMXOFF on processor %u, where a VMCS is active", cpu);
	pthread_mutex_unlock(&active.lock);
}

/* --- the instructions --------------------------------------------------------------------------
 */

/* Those that are not looked at but for who executes them. */
#define WATCHED(name, ...) WATCHED_(name, __VA_ARGS__)
#define WATCHED_(name, args, ...)                  \
	enum hw_result __real_##name args;         \
	enum hw_result __wrap_##name args;         \
	enum hw_result __wrap_##name args          \
	{                                          \
		(void)here(cpu, #name);            \
		return __real_##name(__VA_ARGS__); \
	}

WATCHED(hw_vmxon, (struct hw_cpu * cpu, hpa_t region), cpu, region)
WATCHED(hw_vmread, (struct hw_cpu * cpu, uint32_t field, uint64_t *ret), cpu, field, ret)
WATCHED(hw_vmwrite, (struct hw_cpu * cpu, uint32_t field, uint64_t value), cpu, field, value)
WATCHED(hw_invept, (struct hw_cpu * cpu, uint64_t type, const struct hw_invept_desc *desc), cpu,
	type, desc)
WATCHED(hw_invvpid, (struct hw_cpu * cpu, uint64_t type, const struct hw_invvpid_desc *desc), cpu,
	type, desc)
WATCHED(hw_enter, (struct hw_cpu * cpu, struct hw_gpregs *regs, bool launch), cpu, regs, launch)

enum hw_result __real_hw_vmptrld(struct hw_cpu *cpu, hpa_t vmcs);
enum hw_result __wrap_hw_vmptrld(struct hw_cpu *cpu, hpa_t vmcs);
enum hw_result __real_hw_vmclear(struct hw_cpu *cpu, hpa_t vmcs);
enum hw_result __wrap_hw_vmclear(struct hw_cpu *cpu, hpa_t vmcs);
enum hw_result __real_hw_vmxoff(struct hw_cpu *cpu);
enum hw_result __wrap_hw_vmxoff(struct hw_cpu *cpu);

enum hw_result __wrap_hw_vmptrld(struct hw_cpu *cpu, hpa_t vmcs)
{
	became_active(vmcs.v, here(cpu, "VMPTRLD"));
	return __real_hw_vmptrld(cpu, vmcs);
}

enum hw_result __wrap_hw_vmclear(struct hw_cpu *cpu, hpa_t vmcs)
{
	became_clear(vmcs.v, here(cpu, "VMCLEAR"));
	return __real_hw_vmclear(cpu, vmcs);
}

enum hw_result __wrap_hw_vmxoff(struct hw_cpu *cpu)
{
	none_active(here(cpu, "VMXOFF"));
	return __real_hw_vmxoff(cpu);
}
