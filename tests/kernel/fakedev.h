/* SPDX-License-Identifier: MIT */
/*
 * /dev/vmxcore inside a program: the kernel module's own ioctl layer (vmxcore/linux/dev*.c,
 * as it is), on core, on the software processor. What the kernel gives it, processors,
 * memory and locks, is stood in for by the files beside this one: their rules are checked,
 * and breaking one ends the program (kernel_bug() in processors.h).
 *
 * Threads: any number; as for the real one.
 *
 * A child of fork() has the descriptors, as with the real one, but a copy of what is behind
 * them: it can only see that all is refused (-EXDEV).
 */
#ifndef TESTS_KERNEL_FAKEDEV_H
#define TESTS_KERNEL_FAKEDEV_H

#include <stdbool.h>
#include <stdint.h>

struct fakedev_config {
	unsigned processors;	/* 1..64; 0: 4 */
	bool wander;		/* a thread that is not bound changes its processor all the time */
	bool scatter;		/* slots are shuffled pages of host-physical memory */
	uint64_t seed;		/* of the shuffle */
	uint64_t memlock_bytes; /* RLIMIT_MEMLOCK of the user; 0: none */
	uint32_t tsc_khz;	/* told to programs; 0: not known */
	uint32_t vpid_limit;	/* highest VPID in use; 0: 65535 */
};

/* Of the machine that the next VM makes. Nobody holds one. Without it: all 0. */
void fakedev_configure(const struct fakedev_config *cfg);

/* As open(), ioctl(), close(): -1 and errno. */
int fakedev_open(void);
int fakedev_ioctl(int fd, unsigned long request, void *arg);
int fakedev_close(int fd);
/* That are open. */
unsigned int fakedev_descriptors(void);

/* The calling thread runs guests on this processor only, from its next turn on; -1: on any. */
void fakedev_bind(int processor);

/* --- what may happen to a kernel ----------------------------------------------------------- */

/* Keeps the machine, which is costly to make, between VMs. -ESHUTDOWN. */
int fakedev_hold(void);
void fakedev_release(void);
/* Every thread's process is to die, or not: what may be given up is (-EINTR). */
void fakedev_dying(bool dying);
/* A processor goes, or comes back. Only while the machine is there. */
void fakedev_processor_offline(unsigned processor);
void fakedev_processor_online(unsigned processor);
/* The system goes down: every processor leaves VMX operation. false: it is up again. */
void fakedev_going_down(bool down);

#endif
