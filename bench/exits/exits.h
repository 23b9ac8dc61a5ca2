/* SPDX-License-Identifier: MIT */
/*
 * What the measurements ask of a hypervisor: a VM with one vCPU, made anew for each. All
 * functions end the program on an error, with a message.
 *
 * Threads: one at a time, but remap() may be called while another thread is in run().
 */
#ifndef EXITS_H
#define EXITS_H

#include <stddef.h>
#include <stdint.h>

#include "guests.h"

#define EXITS_PAGE_BYTES 4096u
#define EXITS_PAGES 512u /* of the memory that the remapped page comes from */

/* Shared memory, as a hypervisor's user has it for its guests. */
struct exits_memory {
	uint8_t *at;
	size_t bytes;
	int fd;
};

/* A way to have another page at EXITS_PAGE. At first, page 0 is there. */
struct exits_way {
	const char *name;
	void (*prepare)(void);	      /* before the guest starts; or NULL */
	void (*remap)(uint32_t page); /* each below EXITS_PAGES, and once */
};

struct exits_host {
	const char *name;
	const char *device;
	/* RAM lies at guest-physical 0, the pages' first at EXITS_PAGE. */
	void (*open)(const struct exits_memory *ram, const struct exits_memory *pages);
	/* Flat 32-bit protected mode at EXITS_CODE, without paging, interrupts on. */
	void (*start)(uint32_t ebp);
	/* Until an OUT to EXITS_PORT: its value. */
	uint32_t (*run)(void);
	void (*close)(void);
	const struct exits_way *ways;
	size_t way_count;
};

extern const struct exits_host exits_hvd, exits_kvm;

/* The guest's CPUID, the same short table for both: leaf, eax, ebx, ecx, edx. */
extern const uint32_t exits_cpuid[2][5];

/* Ends the program; errno tells why. */
_Noreturn void exits_die(const char *what);

/* An ioctl that must succeed. */
int exits_ioctl(int fd, unsigned long command, const void *arg, const char *what);

#endif
