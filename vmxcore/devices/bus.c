/* SPDX-License-Identifier: MIT */
/* Routing of port accesses to devices. */
#include "devices/device.h"

#define PORTS 0x10000u

int port_bus_claim(struct port_bus *bus, const struct port_device *ops, void *dev)
{
	uint32_t end = (uint32_t)ops->first + ops->count;
	size_t i;

	if (ops->count == 0 || end > PORTS)
		return -EINVAL;
	for (i = 0; i < bus->claims; i++) {
		const struct port_device *o = bus->claim[i].ops;

		if (ops->first < (uint32_t)o->first + o->count && o->first < end)
			return -EEXIST;
	}
	if (bus->claims == PORT_BUS_CLAIMS)
		return -ENOSPC;
	bus->claim[bus->claims++] = (struct port_claim){.ops = ops, .dev = dev};
	return 0;
}

static const struct port_claim *find(const struct port_bus *bus, uint32_t port)
{
	size_t i;

	for (i = 0; i < bus->claims; i++) {
		const struct port_device *o = bus->claim[i].ops;

		if (port >= o->first && port < (uint32_t)o->first + o->count)
			return &bus->claim[i];
	}
	return NULL;
}

static uint32_t size_mask(unsigned size)
{
	return size >= 4 ? UINT32_MAX : (UINT32_C(1) << (8 * size)) - 1;
}

/* The claim that takes the access whole, or NULL. */
static const struct port_claim *find_whole(const struct port_bus *bus, uint16_t port, unsigned size)
{
	const struct port_claim *c = find(bus, port);

	return c && size <= c->ops->max_bytes ? c : NULL;
}

uint32_t port_bus_in(struct port_bus *bus, uint16_t port, unsigned size)
{
	const struct port_claim *c = find_whole(bus, port, size);
	uint32_t value = 0;
	bool missed = false;
	unsigned i;

	bus->ins++;
	if (c)
		return c->ops->in(c->dev, (uint16_t)(port - c->ops->first), size) & size_mask(size);
	for (i = 0; i < size; i++) {
		uint32_t byte = 0xff;

		c = find_whole(bus, (uint16_t)(port + i), 1);
		if (c)
			byte = c->ops->in(c->dev, (uint16_t)(port + i - c->ops->first), 1) & 0xff;
		else
			missed = true;
		value |= byte << (8 * i);
	}
	bus->unclaimed += missed;
	return value;
}

void port_bus_out(struct port_bus *bus, uint16_t port, unsigned size, uint32_t value)
{
	const struct port_claim *c = find_whole(bus, port, size);
	bool missed = false;
	unsigned i;

	bus->outs++;
	if (c) {
		c->ops->out(c->dev, (uint16_t)(port - c->ops->first), size,
			    value & size_mask(size));
		return;
	}
	for (i = 0; i < size; i++) {
		c = find_whole(bus, (uint16_t)(port + i), 1);
		if (c)
			c->ops->out(c->dev, (uint16_t)(port + i - c->ops->first), 1,
				    (value >> (8 * i)) & 0xff);
		else
			missed = true;
	}
	bus->unclaimed += missed;
}
