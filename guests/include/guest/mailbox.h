/* SPDX-License-Identifier: MIT */
/*
 * A page through which a host speaks to a guest without any device: the host writes
 * with memory.write, the guest spins on one word. The host writes the arguments first,
 * then a `word` that differs from the last; the guest does what it is for, writes its
 * results, then copies the word to `ack`.
 */
#ifndef GUEST_MAILBOX_H
#define GUEST_MAILBOX_H

#include <stddef.h>
#include <stdint.h>

#define GUEST_MAILBOX_GPA 0x300000
#define GUEST_TEXT_GPA 0x400000 /* the page that the demo remaps */
#define GUEST_TEXT_MAX 64
#define GUEST_STOP_WORD 0x504f5453u /* "STOP" in memory */

struct guest_mailbox {
	volatile uint32_t word;	  /* host */
	volatile uint32_t ack;	  /* guest */
	volatile uint32_t served; /* guest: words handled since its start */
	uint32_t pad;
	volatile uint64_t arg[2];    /* host */
	volatile uint64_t result[2]; /* guest */
	char text[GUEST_TEXT_MAX];   /* guest */
};

_Static_assert(offsetof(struct guest_mailbox, ack) == 4, "host tools use the offset");
_Static_assert(offsetof(struct guest_mailbox, arg) == 16, "host tools use the offset");
_Static_assert(offsetof(struct guest_mailbox, result) == 32, "host tools use the offset");
_Static_assert(offsetof(struct guest_mailbox, text) == 48, "host tools use the offset");

static inline struct guest_mailbox *guest_mailbox(void)
{
	return (struct guest_mailbox *)(uintptr_t)GUEST_MAILBOX_GPA;
}

/* Waits until the host writes a word other than `last`. */
static inline uint32_t guest_mailbox_wait(uint32_t last)
{
	struct guest_mailbox *box = guest_mailbox();
	uint32_t word;

	while ((word = box->word) == last)
		__asm__ volatile("pause" : : : "memory");
	return word;
}

static inline void guest_mailbox_done(uint32_t word)
{
	struct guest_mailbox *box = guest_mailbox();

	box->served = box->served + 1;
	__asm__ volatile("" : : : "memory");
	box->ack = word;
}

#endif
