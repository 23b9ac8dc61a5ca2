/* SPDX-License-Identifier: MIT */
/*
 * The stress tests of the kernel module, one function each: it says in one line what it did,
 * and every defect in a line with FAILED. The same seed draws the same numbers; what the
 * scheduler makes of it is not determined.
 */
#ifndef STRESS_STRESS_H
#define STRESS_STRESS_H

#include <stdbool.h>
#include <stdint.h>

/* Changes under vCPUs, each on its processor. */
bool stress_changes(int dev, uint64_t seed);
/* Changes under vCPUs of two VMs that move from processor to processor all the time. */
bool stress_migration(int dev, uint64_t seed);
/* More vCPUs than VPIDs: the module is loaded with few. */
bool stress_vpids(int dev, uint64_t seed);
/* A processor goes and comes while vCPUs run. */
bool stress_hotplug(int dev, uint64_t seed);
/* Host interrupts and NMIs while vCPUs run: the host's clock goes on. */
bool stress_clock(int dev, uint64_t seed);
/* A process that is killed in the middle of everything, many times. */
bool stress_kill(int dev, uint64_t seed);
/* Two processes with VMs at once. */
bool stress_processes(int dev, uint64_t seed);
/* Registers and events that VM entry would refuse, and entries that it does refuse. */
bool stress_fields(int dev, uint64_t seed);
/* Registers at random: what is accepted can be entered with. */
bool stress_registers(int dev, uint64_t seed);

/* The module comes and goes, with VMs in between; it is not loaded now. */
bool stress_modules(uint64_t seed);

/* Changes so many times, and every now and then a pause; false: one was refused. */
struct rig;
bool stress_change_some(struct rig *r, unsigned count);

#endif
