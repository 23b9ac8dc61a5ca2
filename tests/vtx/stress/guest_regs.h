/* SPDX-License-Identifier: MIT */
/* A VM that does nothing, and the modes that its vCPU can be put in. */
#ifndef STRESS_GUEST_REGS_H
#define STRESS_GUEST_REGS_H

#include <stdbool.h>
#include <stdint.h>

#include <vmxcore/uapi.h>

enum guest_mode { MODE_REAL, MODE_PROTECTED, MODE_VIRTUAL_8086, MODE_LONG, MODE_COUNT };

struct guest {
	int vm, vcpu;
	uint8_t *ram;
};

/* Its code, at CODE_GPA, is an endless loop. false: said. */
bool guest_open(struct guest *g, int dev);
void guest_close(struct guest *g);
/* Registers for a mode, on top of what the vCPU has: at CODE_GPA, interrupts on. */
void guest_set_mode(struct vmxcore_regs *r, enum guest_mode mode);

#endif
