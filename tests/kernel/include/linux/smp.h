/* SPDX-License-Identifier: MIT */
/* Processors of software; see kernel/processors.h. */
#ifndef KERNEL_SMP_H
#define KERNEL_SMP_H

#include <linux/kernel.h>
#include <linux/preempt.h>

/* The thread stays, and may not sleep. */
unsigned int get_cpu(void);
void put_cpu(void);
/* Where the caller is: it must not be able to leave. */
unsigned int smp_processor_id(void);
/* Executes fn on the processor and waits. -ENXIO: it is not online. */
int smp_call_function_single(int cpu, void (*fn)(void *), void *arg, int wait);

#define smp_mb() __atomic_thread_fence(__ATOMIC_SEQ_CST)

#endif
