/* SPDX-License-Identifier: MIT */
/* Guests that are to come to the same on two engines, and what is done to them. */
#ifndef VTX_SAME_H
#define VTX_SAME_H

#define SAME_STEPS 12
/* Not a method: waits until the guest has answered in its mailbox (guest/mailbox.h). */
#define SAME_ACKNOWLEDGED "acknowledged"

/* A method of the daemon, and the members of its parameters but vm. */
struct same_step {
	const char *method, *members;
};

struct same_guest {
	const char *name, *image;
	unsigned memory_bytes;
	const char *create; /* more members of vm.create's parameters */
	struct same_step steps[SAME_STEPS];
};

extern const struct same_guest same_guests[];

#endif
