/* SPDX-License-Identifier: MIT */
/* What vm.wait's callers are told of (methods/vm_wait.c). */
#ifndef HVD_WAITS_H
#define HVD_WAITS_H

#include "hvd/registry.h"

/* vm->state has changed, or (phase VM_GONE) the VM was deleted. */
void waits_state_changed(struct vm *vm);
void waits_console_printed(struct vm *vm);

#endif
