/* SPDX-License-Identifier: MIT */
/*
 * hw.h without a guest: VMX instructions with the manual's checks, a VMCS kept in
 * its region, and a "guest" that is a function of the test. For tests of core
 * alone; what the guest does between entry and exit is the test's word.
 *
 * It remembers which vCPU (VMCS) filled which VPID on which processor, as a TLB
 * would, and counts entries that would use another's translations.
 */
#ifndef HVD_TESTS_FAKE_VMX_H
#define HVD_TESTS_FAKE_VMX_H

#include "core/vmcs.h"
#include "hw/hw.h"
#include "hw/vmxdef.h"
#include "plat/user.h"

#define FAKE_MAX_CPUS 8u
#define FAKE_REVISION 0x1234u

struct fake_msr {
	uint32_t msr;
	uint64_t value;
};

#define FAKE_MAX_MSRS 64

/* The guest: sets exit fields, moves registers. Called between entry and exit. */
typedef void (*fake_guest_fn)(struct hw_cpu *cpu, struct hw_gpregs *regs);

struct fake_machine;

struct hw_cpu {
	struct fake_machine *machine;
	unsigned id;
	bool vmxe, vmxon;
	uint64_t vmxon_region;
	uint64_t current; /* VMCS pointer; all ones: none */
	struct fake_msr msrs[FAKE_MAX_MSRS];
	size_t nr_msrs;
	struct hw_host_state host;
	/* Who filled a VPID here: VMCS address, and its moves at the time; 0: nobody. */
	struct {
		uint64_t owner, moves;
	} tlb[65536];
	/* Counts */
	unsigned entries, vmwrites, vmclears, vmptrlds;
	unsigned invept_single, invept_all, invvpid[4];
	unsigned after_exits;
	unsigned injected;
	uint32_t last_event, last_event_error, last_event_length;
	bool last_launch;
};

struct fake_machine {
	struct plat *plat;
	unsigned nr_cpus;
	struct hw_cpu *cpu[FAKE_MAX_CPUS];
	fake_guest_fn guest;
	void *ctx;
	unsigned stale_uses;	/* entries under a VPID with another's translations */
	unsigned active_on_two; /* VMPTRLD of a VMCS that is active elsewhere */
	unsigned entry_errors;	/* entries that a check refused */
	const char *refused_by; /* name of the last check that refused one */
	enum hw_result fail_vmxon;
};

int fake_create(unsigned cpus, struct fake_machine **ret);
/* Returns the pages that were not given back. */
size_t fake_destroy(struct fake_machine *m);
struct hw_cpu *fake_cpu(struct fake_machine *m, unsigned cpu);

void fake_set_msr(struct hw_cpu *cpu, uint32_t msr, uint64_t value);
void fake_remove_msr(struct hw_cpu *cpu, uint32_t msr);
uint64_t fake_get_msr(struct hw_cpu *cpu, uint32_t msr);
/* Clears bits of a capability MSR's allowed 1-settings, on every processor. */
void fake_forbid(struct fake_machine *m, uint32_t msr, uint32_t bits);

/* Fields of the current VMCS, past all checks. */
uint64_t fake_get(struct hw_cpu *cpu, uint32_t field);
void fake_set(struct hw_cpu *cpu, uint32_t field, uint64_t value);
/* The usual end of a guest function. */
void fake_exit(struct hw_cpu *cpu, uint32_t reason, uint64_t qualification, uint32_t insn_length);

#endif
