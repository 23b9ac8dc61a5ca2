/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The host's performance counters while a guest runs. perf has two values of the MSRs that
 * turn counters on: one for the host and one for guests, which leaves out counters that
 * exclude guests, turns on those that count guests only, and turns off what would write its
 * records to the host's linear addresses: in a guest these are the guest's.
 *
 * A processor without counters, or counters that exclude nothing: nothing is done.
 * Compiled and reviewed; Bochs has no performance counters.
 */
#ifndef VMXCORE_HW_VTX_PERF_H
#define VMXCORE_HW_VTX_PERF_H

#include "hw/vtx/vtx.h"

/* At load and unload. An NMI handler of perf's brings the host's values back: we are told. */
int vtx_perf_init(void);
void vtx_perf_exit(void);

/* Interrupts are off: the guest's values from here on, and the host's again. */
void vtx_perf_to_guest(struct hw_cpu *cpu);
void vtx_perf_to_host(struct hw_cpu *cpu);

#endif
