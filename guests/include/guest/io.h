/* SPDX-License-Identifier: MIT */
/* Ports: in and out instructions, the exit port. */
#ifndef GUEST_IO_H
#define GUEST_IO_H

#include <stdint.h>

#define GUEST_EXIT_PORT 0xf4
#define GUEST_SERIAL_PORT 0x3f8

static inline void outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void outw(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void outl(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

/*
 * Ends the VM: the raw value of an OUT to the exit port is its status. On a machine
 * without the port (Bochs) the processor halts instead.
 */
static inline _Noreturn void guest_exit(uint32_t status)
{
	outl(GUEST_EXIT_PORT, status);
	for (;;)
		__asm__ volatile("cli; hlt");
}

#endif
