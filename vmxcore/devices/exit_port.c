/* SPDX-License-Identifier: MIT */
#include "devices/exit_port.h"

/* It can't be read: all ones, as an empty port. */
static uint32_t exit_port_in(void *dev, uint16_t offset, unsigned size)
{
	(void)dev;
	(void)offset;
	(void)size;
	return UINT32_MAX;
}

static void exit_port_out(void *dev, uint16_t offset, unsigned size, uint32_t value)
{
	struct exit_port *e = dev;

	(void)offset;
	(void)size;
	/* A string OUT may bring more: the first one counts. */
	if (e->written)
		return;
	e->written = true;
	e->status = value;
}

const struct port_device exit_port_device = {
	.name = "exit",
	.first = EXIT_PORT,
	.count = 1,
	.max_bytes = 4,
	.in = exit_port_in,
	.out = exit_port_out,
};
