/* SPDX-License-Identifier: MIT */
/*
 * A VM under stress: worker guests (worker.S), each run by a thread, and changes of its
 * mappings that are checked.
 *
 * The page at PAGE_GPA is one of PAGES, each numbered when it is put there, one higher than
 * the one before. After each change the bound is raised, and what the workers wrote into
 * the page that went is noted: it must not change any more.
 */
#ifndef STRESS_RIG_H
#define STRESS_RIG_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <vmxcore/uapi.h>

#include "layout.h"

#define PAGES 64u
#define VCPUS_MAX 8u

struct rig;

struct rig_vcpu {
	struct rig *rig;
	unsigned index;
	int fd;
	pthread_t thread;
	pid_t tid; /* of the thread, once it runs */
	bool started;
	/* What became of runs. */
	uint64_t budgets, held, interrupted, no_device;
	int error;		 /* of a run: ended by it */
	struct vmxcore_run last; /* that was not expected: ended by it */
	bool unexpected, ended;
};

struct rig {
	int dev, vm;
	uint8_t *ram, *pages;
	unsigned vcpu_count;
	struct rig_vcpu vcpus[VCPUS_MAX];
	uint32_t number; /* of the page that is there */
	uint32_t noted[PAGES][VCPUS_MAX];
	uint64_t changes, stale_writes, interrupts;
	uint64_t random; /* state; not 0 */
};

/* --- random numbers, the same for the same seed --- */

uint64_t rig_draw(uint64_t *state);

/* --- life ---
 * false: it has said why. A rig that could not be opened needs no close. */
bool rig_open(struct rig *r, int dev, unsigned vcpus, uint64_t seed);
/* Starts the threads, each on the processors of its mask (0: any). */
bool rig_start(struct rig *r, const unsigned long *masks);
/* Stops the workers and joins the threads. */
void rig_stop(struct rig *r);
void rig_close(struct rig *r);

/* Another page, by one operation or several; what replaced it holds on return. false: said. */
bool rig_change(struct rig *r);
/* Waits until every worker has gone on by so many rounds. */
bool rig_goes_on(struct rig *r, uint32_t rounds);

/* Sums over the vCPUs, of what went wrong and what did not. */
struct rig_sums {
	uint64_t rounds, stale_reads, strange, no_device, held, moves;
	unsigned failed; /* runs ended by an error, or by what nobody expected */
};

void rig_sum(struct rig *r, struct rig_sums *ret);
/* No stale read or write, nothing strange, every run as expected; says what is not so. */
bool rig_sound(struct rig *r, const char *name);

/* One of core's counters of a processor. */
uint64_t rig_processor_stat(struct rig *r, unsigned processor, unsigned stat);

/* The caller's thread, or another's by its number, on the processors of a mask. */
bool rig_pin(pid_t tid, unsigned long mask);

#endif
