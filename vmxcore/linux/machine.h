/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The kernel's machine: core on its memory and processors. As long as somebody
 * holds it, every processor that is online is in VMX operation, and those that come
 * and go with it; a processor's number in core is the kernel's.
 *
 * All may sleep.
 */
#ifndef VMXCORE_LINUX_MACHINE_H
#define VMXCORE_LINUX_MACHINE_H

#include "core/core.h"
#include "plat/kernel.h"

/* 0, or the reason that vmx can't be had, which is logged: -ENODEV absent or left
 * unusable by the firmware, -EBUSY in use, else what core says. Changes nothing. */
int machine_probe(void);

/* The first holder makes it. -ESHUTDOWN while the system goes down. */
int machine_get(void);
/*
 * The last one leaves VMX operation everywhere and gives back all; every VM is gone.
 * Returns how many pages its VMs and core have left allocated: none, or a defect.
 */
uint64_t machine_put(void);

/* Valid for holders. */
struct core *machine_core(void);
struct plat *machine_plat(void);

int machine_init(void);
void machine_exit(void);

#endif
