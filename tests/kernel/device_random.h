/* SPDX-License-Identifier: MIT */
/*
 * Random ioctls: arguments that are right, with a few words of them made something else, or
 * nothing but noise; on VMs and vCPUs that come and go, whose guests run whatever has got into
 * their memory. Choices are an input's bytes, or those of a seed.
 */
#ifndef TESTS_KERNEL_DEVICE_RANDOM_H
#define TESTS_KERNEL_DEVICE_RANDOM_H

#include "kernel/device_commands.h"

struct choice_source {
	const uint8_t *data; /* NULL: from the seed, without end */
	size_t left;
	uint64_t seed;
};

/* 0 where the input has ended. */
uint32_t choose_u32(struct choice_source *s);
/* below: 1 or more */
uint32_t choose_below(struct choice_source *s, uint32_t below);

#define RANDOM_VMS 3u
#define RANDOM_VCPUS 4u

struct random_device {
	struct rig rig; /* vm and vcpu[0] are those of the step */
	int vm[RANDOM_VMS];
	int vcpu[RANDOM_VCPUS];
	struct random_memory *memory; /* the program's, as far as the device is concerned */
	uint64_t calls, done;	      /* ioctls, and those that succeeded */
	uint32_t digest;	      /* of every result */
	/* By command: how many succeeded, and how many did not. */
	uint32_t succeeded[DEVICE_COMMANDS], failed[DEVICE_COMMANDS];
};

/* Copies to and from anything but d's memory fail from now on. One at a time. */
void random_device_open(struct random_device *d);
void random_device_step(struct random_device *d, struct choice_source *s);
/* Nothing is left. */
void random_device_close(struct random_device *d);

#endif
