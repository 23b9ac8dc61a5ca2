/* SPDX-License-Identifier: MIT */
/*
 * One instruction of a guest, executed by the VMM after a VM exit that core can't
 * complete: string I/O, or an access to a guest-physical address that nothing maps.
 *
 * It reads and writes guest memory through the backend; it has no TLB and no code cache,
 * and counts nothing there.
 */
#ifndef VMXCORE_ENGINE_EMULATE_H
#define VMXCORE_ENGINE_EMULATE_H

#include "engine/backend.h"

struct emulator;

/* What lies outside the processor and its memory. */
struct emulate_io {
	uint32_t (*in)(void *ctx, uint16_t port, unsigned size);
	void (*out)(void *ctx, uint16_t port, unsigned size, uint32_t value);
	/* No memory at gpa. Reads get what `buf` is filled with. */
	void (*mmio)(void *ctx, uint64_t gpa, void *buf, unsigned size, bool write);
	/* true: stop before the next iteration of a string instruction. */
	bool (*stop)(void *ctx);
	void *ctx;
};

enum emulate_outcome {
	EMULATE_DONE,	  /* the instruction is done, or goes on when the guest is run again */
	EMULATE_INJECTED, /* it raised an exception, which is queued */
	EMULATE_DENIED,	  /* a mapping forbids an access; nothing was done */
	EMULATE_BROKEN,	  /* it can't be emulated; text says why */
};

struct emulate_result {
	enum emulate_outcome outcome;
	gpa_t gpa;		/* DENIED, BROKEN */
	gva_t linear;		/* DENIED, BROKEN */
	uint64_t qualification; /* DENIED */
	char text[96];		/* BROKEN */
};

/* NULL: out of memory. One thread at a time. */
struct emulator *emulator_new(const struct backend *backend);
void emulator_delete(struct emulator *em);
/* By the thread that ran it, with the VM's lock. */
void emulate_one(struct emulator *em, struct vmm_vcpu *vcpu, const struct core_run_exit *why,
		 const struct emulate_io *io, struct emulate_result *ret);

#endif
