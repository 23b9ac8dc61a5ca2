/* SPDX-License-Identifier: MIT */
/*
 * What a guest sees besides processors and memory: devices behind I/O ports.
 * A device is a row (struct port_device) and its state; a bus routes a guest's
 * IN and OUT to the device that claims the port.
 *
 * An access wider than its device is split into bytes at consecutive ports, as
 * the ISA bus does for 8-bit devices.
 */
#ifndef VMXCORE_DEVICES_DEVICE_H
#define VMXCORE_DEVICES_DEVICE_H

#include <vmxcore/types.h>

struct port_device {
	const char *name;
	uint16_t first;	   /* port */
	uint16_t count;	   /* ports */
	uint8_t max_bytes; /* widest access that it takes as one: 1, 2 or 4 */
	/* offset from the first port; size 1, 2 or 4, at most max_bytes. */
	uint32_t (*in)(void *dev, uint16_t offset, unsigned size);
	void (*out)(void *dev, uint16_t offset, unsigned size, uint32_t value);
};

#define PORT_BUS_CLAIMS 8u

struct port_claim {
	const struct port_device *ops;
	void *dev;
};

/* Zero-initialised it is an empty bus. One thread at a time. */
struct port_bus {
	struct port_claim claim[PORT_BUS_CLAIMS];
	size_t claims;
	uint64_t ins, outs; /* accesses */
	uint64_t unclaimed; /* accesses of which a byte met no device */
};

/* -EINVAL an empty or wrapping range, -EEXIST a port is claimed, -ENOSPC no room. */
int port_bus_claim(struct port_bus *bus, const struct port_device *ops, void *dev);
/* size 1, 2 or 4. Ports that no device claims read as ones. */
uint32_t port_bus_in(struct port_bus *bus, uint16_t port, unsigned size);
/* Ports that no device claims ignore it. */
void port_bus_out(struct port_bus *bus, uint16_t port, unsigned size, uint32_t value);

#endif
