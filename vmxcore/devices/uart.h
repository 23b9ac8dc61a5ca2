/* SPDX-License-Identifier: MIT */
/*
 * A 16550A at COM1. It transmits at once: the holding register is always empty. What was
 * typed at the console's end waits there until the receiver has room, so nothing of it is
 * overrun; in loopback the receiver is off the line, and it waits on.
 * No interrupt line is wired; the identification register tells what would be
 * pending, for drivers that poll it.
 */
#ifndef VMXCORE_DEVICES_UART_H
#define VMXCORE_DEVICES_UART_H

#include "devices/console.h"
#include "devices/device.h"

#define UART_FIFO_BYTES 16u

struct uart {
	struct console *console; /* the line's other end */
	uint8_t ier, lcr, mcr, scratch;
	uint8_t fifo_control; /* FCR as last written, without the reset bits */
	uint8_t errors;	      /* LSR 4:1 since it was last read */
	uint8_t msr_delta;    /* MSR 3:0 since it was last read */
	uint8_t msr_lines;    /* MSR 7:4 */
	uint16_t divisor;
	bool thre_pending; /* the "holding register empty" interrupt condition */
	uint8_t rx[UART_FIFO_BYTES];
	unsigned rx_first, rx_count;
};

extern const struct port_device uart_com1;

void uart_init(struct uart *u, struct console *console);
/* A byte from the line. Sets the overrun error when there is no room. */
void uart_receive(struct uart *u, uint8_t byte);
/* Bytes received that the guest has not read yet. */
size_t uart_received(const struct uart *u);

#endif
