/* SPDX-License-Identifier: MIT */
/* A virtual machine of the test's: memfds as memory, one vCPU, a guest's image in it. */
#ifndef VTX_DEVICE_H
#define VTX_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include <vmxcore/uapi.h>

#define RAM_BYTES (16u << 20)
#define SPARE_BYTES 0x200000u
#define MAILBOX_GPA 0x300000u /* guests/include/guest/mailbox.h */
#define TEXT_GPA 0x400000u

enum { SLOT_RAM = 1, SLOT_SPARE = 2 };

struct machine {
	int dev, vm, vcpu;
	uint8_t *ram, *spare;
	char line[128];
	size_t line_len;
	volatile uint32_t lines; /* that the guest has printed */
	bool ended;
	uint32_t status;
};

/* false: it says why. */
bool machine_open(struct machine *m, int dev, const char *image, bool long_mode);
void machine_close(struct machine *m);

int machine_add_slot(int vm, uint32_t number, void *memory, uint64_t size);
/* One operation; the ioctl's result. */
int machine_change(int vm, struct vmxcore_apply *a, const struct vmxcore_map_op *op);

/* One turn: until its budget is used up, it ends, or something else happens. 0 or -errno. */
int machine_turn(struct machine *m, struct vmxcore_run *r);
void machine_run_to_end(struct machine *m, const char *name);
/* What an IN reads: the transmitter is always empty. */
uint32_t machine_port_in(uint16_t port);
/* A thread's: runs the struct machine until it has ended. */
void *machine_runner(void *arg);

/* What ends a run, and what must be as it was after it (device_host.c). */
void test_device_host(int dev);
/* What can be asked of a VM and its vCPUs, also while they run (device_watch.c). */
void test_device_watch(int dev);

#endif
