/* SPDX-License-Identifier: MIT */
/*
 * Random and malformed ioctls on all three descriptors: structures with random bytes,
 * among them values that are nearly right. Nothing may come of it but errors, and changes of
 * this VM. The kernel log tells if something did.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmxcore/uapi.h>

#include "say.h"

#define WORDS_MAX 256
#define MEMORY_BYTES 0x400000u

static const unsigned long commands[] = {
	VMXCORE_GET_INFO,   VMXCORE_ADD_SLOT,	 VMXCORE_REMOVE_SLOT, VMXCORE_SLOT_INFO,
	VMXCORE_APPLY,	    VMXCORE_RANGES,	 VMXCORE_DIRTY,	      VMXCORE_MEMORY,
	VMXCORE_CMPXCHG,    VMXCORE_LOOKUP,	 VMXCORE_SET_CPUID,   VMXCORE_INVALIDATE,
	VMXCORE_STATS,	    VMXCORE_CREATE_VCPU, VMXCORE_RUN,	      VMXCORE_KICK,
	VMXCORE_GET_REGS,   VMXCORE_SET_REGS,	 VMXCORE_INJECT,      VMXCORE_WALK,
	VMXCORE_VCPU_STATS, VMXCORE_VMCS_READ,	 VMXCORE_TRACE_SET,   VMXCORE_TRACE_READ,
	VMXCORE_VM_INFO,    VMXCORE_COMPLETE_IO,
};

static uint64_t seed;

static uint64_t draw(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* Mostly what could be right, so that more than the first check is reached. */
static uint32_t likely_word(const uint8_t *memory, unsigned i)
{
	switch (draw() % 8) {
	case 0:
		return (uint32_t)draw();
	case 1:
		return (uint32_t)(draw() % 4);
	case 2:
		return (uint32_t)(draw() % 1024) << 12;
	case 3: /* a pointer's halves */
		return (uint32_t)((uintptr_t)memory >> (i & 1 ? 32 : 0));
	case 4:
		return UINT32_MAX;
	default:
		return 0;
	}
}

void test_device_fuzz(unsigned count, uint64_t from)
{
	struct vmxcore_create_vm c = {.flags = 3};
	struct vmxcore_create_vcpu v = {.index = 0};
	uint8_t *memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fds[3] = {open(VMXCORE_DEVICE, O_RDWR | O_CLOEXEC), -1, -1};
	unsigned done = 0, succeeded = 0;
	uint32_t words[WORDS_MAX + 64];

	seed = from | 1;
	if (fds[0] >= 0)
		fds[1] = ioctl(fds[0], VMXCORE_CREATE_VM, &c);
	if (fds[1] >= 0)
		fds[2] = ioctl(fds[1], VMXCORE_CREATE_VCPU, &v);
	if (fds[2] < 0 || memory == MAP_FAILED) {
		say("fuzz: %s", strerror(errno));
		return;
	}
	for (unsigned n = 0; n < count; n++) {
		unsigned long cmd = commands[draw() % (sizeof(commands) / sizeof(commands[0]))];
		int fd = fds[draw() % 3], r;

		for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
			words[i] = likely_word(memory, i);
		/* A run must come back. */
		if (cmd == VMXCORE_RUN)
			((struct vmxcore_run *)words)->budget_ticks = 1 + draw() % 10000;
		if (draw() % 64 == 0)
			cmd ^= 1ul << draw() % 32;
		r = ioctl(fd, cmd, words);
		done++;
		succeeded += r >= 0;
		if (r > 2 && cmd == VMXCORE_CREATE_VCPU)
			close(r);
	}
	for (int i = 2; i >= 0; i--)
		close(fds[i]);
	munmap(memory, MEMORY_BYTES);
	say("fuzz: %u ioctls from seed 0x%llx, %s succeeded", done, (unsigned long long)from,
	    succeeded ? "some" : "none");
}
