/* SPDX-License-Identifier: MIT */
/* The port through which a guest ends: what it writes is its exit status. */
#ifndef VMXCORE_DEVICES_EXIT_PORT_H
#define VMXCORE_DEVICES_EXIT_PORT_H

#include "devices/device.h"

#define EXIT_PORT 0xf4

/* Zero-initialised: nothing written yet. */
struct exit_port {
	bool written;
	uint32_t status; /* the raw value of the first 1, 2 or 4-byte OUT */
};

extern const struct port_device exit_port_device;

#endif
