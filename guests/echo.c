/* SPDX-License-Identifier: MIT */
/*
 * A conversation over the serial port: each line that comes is given back in upper case,
 * until the line "quit". Its exit status is 1 if a character was lost. It polls: there is no
 * interrupt controller, and a guest that halted would never see the next character.
 */
#include "guest/io.h"
#include "guest/print.h"
#include "guest/string.h"

#define LINE_STATUS (GUEST_SERIAL_PORT + 5)
#define FIFO_CONTROL (GUEST_SERIAL_PORT + 2)
#define DATA_READY 0x01
#define OVERRUN 0x02
#define FIFO_ENABLE 0x01
#define LINE_MAX 256

int guest_main(void);

/* Characters lost in the receiver: none, if whoever types is as patient as promised. */
static unsigned overruns;

static char read_char(void)
{
	uint8_t status;

	do {
		status = inb(LINE_STATUS);
		overruns += (status & OVERRUN) != 0;
	} while (!(status & DATA_READY));
	return (char)inb(GUEST_SERIAL_PORT);
}

/* Up to the end of the line; what is longer than the room is cut off. */
static size_t read_line(char line[LINE_MAX])
{
	size_t n = 0;

	for (;;) {
		char c = read_char();

		if (c == '\n' || c == '\r')
			break;
		if (n < LINE_MAX - 1)
			line[n++] = c;
	}
	line[n] = 0;
	return n;
}

static char upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

int guest_main(void)
{
	char line[LINE_MAX];
	unsigned lines = 0;

	outb(FIFO_CONTROL, FIFO_ENABLE);
	print("echo: type lines; \"quit\" ends\n> ");
	for (;;) {
		size_t n = read_line(line);

		if (n == 4 && memcmp(line, "quit", 4) == 0)
			break;
		for (size_t i = 0; i < n; i++)
			print_char(upper(line[i]));
		print("\n> ");
		lines++;
	}
	print("echo: %u lines, %u overruns\n", lines, overruns);
	return overruns != 0;
}
