/* SPDX-License-Identifier: MIT */
/* Events through the IDT. */
#ifndef VMXCORE_X86_EVENT_H
#define VMXCORE_X86_EVENT_H

#include "x86/cpu.h"

/*
 * An exception that an instruction raised (or a #DB trap behind it): asks
 * ops->special, then delivers. 0, or X86S_EXIT.
 */
int64_t x86_exception(struct x86_cpu *cpu, const struct x86_fault *fault);
/*
 * Delivers (asking ops->special about INT3, INTO and INT1); further faults on the way are handled
 * here, double and triple fault included. 0, X86S_DIVERTED, or X86S_EXIT with st.vectoring_info
 * set.
 */
int64_t x86_deliver(struct x86_cpu *cpu, const struct x86_event *ev);

#endif
