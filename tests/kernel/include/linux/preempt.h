/* SPDX-License-Identifier: MIT */
/* The thread stays on the processor it is on; both nest. */
#ifndef KERNEL_PREEMPT_H
#define KERNEL_PREEMPT_H

/* It may sleep. */
void migrate_disable(void);
void migrate_enable(void);

#endif
