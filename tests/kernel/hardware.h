/* SPDX-License-Identifier: MIT */
/* The stand-in machine's inside: what turns of guests need of it. */
#ifndef TESTS_KERNEL_HARDWARE_H
#define TESTS_KERNEL_HARDWARE_H

#include "hw/model/model.h"

#define MACHINE_USER_END (UINT64_C(1) << 47) /* of a process's addresses */

/* The processor, or NULL. */
struct hw_cpu *machine_hw(unsigned cpu);
/* The caller has the processor. */
void machine_before_turn(unsigned cpu);
void machine_after_turn(unsigned cpu);

#endif
