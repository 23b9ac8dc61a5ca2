/* SPDX-License-Identifier: MIT */
/* The 16550: a script of port accesses with the value each read must give. */
#include "devices/uart.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
/* cmocka needs the three above first. */
#include <cmocka.h>

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR };

struct step {
	char op; /* 'r' read and compare, 'w' write, 'l' a byte from the line, 't' one typed at
		  * the other end, 0 end */
	uint8_t reg, value;
};

struct script {
	const char *name;
	const char *printed; /* what reaches the console */
	struct step step[48];
};

static const struct script scripts[] = {
	{"after reset", "", {{'r', LSR, 0x60}, {'r', IIR, 0x01}, {'r', MCR, 0}, {'r', MSR, 0xb0}}},
	{"transmit", "Hi", {{'w', DATA, 'H'}, {'r', LSR, 0x60}, {'w', DATA, 'i'}}},
	{"scratch", "", {{'w', SCR, 0x5a}, {'r', SCR, 0x5a}, {'w', SCR, 0xa5}, {'r', SCR, 0xa5}}},
	{"divisor latch",
	 "",
	 {{'w', IER, 0x05},
	  {'w', LCR, 0x83},
	  {'w', DATA, 0x0c},
	  {'w', IER, 0x01},
	  {'r', DATA, 0x0c},
	  {'r', IER, 0x01},
	  {'r', LCR, 0x83},
	  {'w', LCR, 0x03},
	  {'r', IER, 0x05},
	  {'r', DATA, 0}}},
	{"unused bits read 0",
	 "",
	 {{'w', IER, 0xff}, {'r', IER, 0x0f}, {'w', MCR, 0xff}, {'r', MCR, 0x1f}}},
	{"read-only registers",
	 "",
	 {{'w', LSR, 0x1f}, {'r', LSR, 0x60}, {'w', MSR, 0xff}, {'r', MSR, 0xb0}}},
	{"receive without FIFO",
	 "",
	 {{'l', 0, 'a'},
	  {'r', LSR, 0x61},
	  {'l', 0, 'b'},
	  {'r', LSR, 0x63},
	  {'r', LSR, 0x61},
	  {'r', DATA, 'a'},
	  {'r', LSR, 0x60},
	  {'r', DATA, 0}}},
	{"receive with FIFO",
	 "",
	 {{'w', IIR, 0x01},
	  {'r', IIR, 0xc1},
	  {'l', 0, 'a'},
	  {'l', 0, 'b'},
	  {'r', LSR, 0x61},
	  {'r', DATA, 'a'},
	  {'r', DATA, 'b'},
	  {'r', LSR, 0x60}}},
	{"FIFO reset",
	 "",
	 {{'w', IIR, 0x01}, {'l', 0, 'a'}, {'w', IIR, 0x03}, {'r', LSR, 0x60}, {'r', IIR, 0xc1}}},
	{"turning the FIFO off empties it",
	 "",
	 {{'w', IIR, 0x01}, {'l', 0, 'a'}, {'w', IIR, 0x00}, {'r', LSR, 0x60}, {'r', IIR, 0x01}}},
	{"loopback of data",
	 "z",
	 {{'w', MCR, 0x10},
	  {'w', DATA, 'x'},
	  {'r', LSR, 0x61},
	  {'r', DATA, 'x'},
	  {'w', MCR, 0x00},
	  {'w', DATA, 'z'}}},
	{"loopback of lines",
	 "",
	 {{'w', MCR, 0x10},
	  {'r', MSR, 0x0b},
	  {'w', MCR, 0x1f},
	  {'r', MSR, 0xfb},
	  {'r', MSR, 0xf0},
	  {'w', MCR, 0x1b},
	  {'r', MSR, 0xb4}}},
	{"pending conditions by priority",
	 "q",
	 {{'w', IER, 0x07},
	  {'r', IIR, 0x02},
	  {'r', IIR, 0x01},
	  {'w', DATA, 'q'},
	  {'l', 0, 'a'},
	  {'r', IIR, 0x04},
	  {'l', 0, 'b'},
	  {'r', IIR, 0x06},
	  {'r', LSR, 0x63},
	  {'r', IIR, 0x04},
	  {'r', DATA, 'a'},
	  {'r', IIR, 0x02},
	  {'r', IIR, 0x01}}},
	{"typed waits for room",
	 "",
	 {{'t', 0, 'a'},
	  {'t', 0, 'b'},
	  {'t', 0, 'c'},
	  {'r', LSR, 0x61},
	  {'r', LSR, 0x61},
	  {'r', DATA, 'a'},
	  {'r', DATA, 'b'},
	  {'r', LSR, 0x61},
	  {'r', DATA, 'c'},
	  {'r', LSR, 0x60},
	  {'r', DATA, 0}}},
	{"typed without a look at the status",
	 "",
	 {{'w', IIR, 0x01}, {'t', 0, 'a'}, {'t', 0, 'b'}, {'r', DATA, 'a'}, {'r', DATA, 'b'}}},
	{"typed is a pending condition",
	 "",
	 {{'w', IER, 0x01}, {'r', IIR, 0x01}, {'t', 0, 'a'}, {'r', IIR, 0x04}, {'r', DATA, 'a'}}},
	{"the divisor latch takes nothing",
	 "",
	 {{'t', 0, 'a'}, {'w', LCR, 0x80}, {'r', DATA, 0x01}, {'w', LCR, 0x03}, {'r', DATA, 'a'}}},
	{"typed does not come through a loop",
	 "",
	 {{'t', 0, 'a'},
	  {'w', MCR, 0x10},
	  {'r', LSR, 0x60},
	  {'w', DATA, 'x'},
	  {'r', LSR, 0x61},
	  {'r', DATA, 'x'},
	  {'r', LSR, 0x60},
	  {'w', MCR, 0x00},
	  {'r', LSR, 0x61},
	  {'r', DATA, 'a'}}},
	{"what is in the receiver stays there in loopback",
	 "",
	 {{'w', IIR, 0x01},
	  {'t', 0, 'a'},
	  {'r', LSR, 0x61},
	  {'w', MCR, 0x10},
	  {'t', 0, 'b'},
	  {'w', DATA, 'x'},
	  {'w', MCR, 0x00},
	  {'r', DATA, 'a'},
	  {'r', DATA, 'x'},
	  {'r', DATA, 'b'}}},
	{"a FIFO reset takes only what was received",
	 "",
	 {{'w', IIR, 0x01},
	  {'t', 0, 'a'},
	  {'r', LSR, 0x61},
	  {'t', 0, 'b'},
	  {'w', IIR, 0x03},
	  {'r', LSR, 0x61},
	  {'r', DATA, 'b'},
	  {'r', LSR, 0x60}}},
};

static void run_script(const struct script *s)
{
	struct console console;
	struct uart uart;
	struct port_bus bus = {0};
	const struct step *st;
	char text[64] = "";
	uint64_t first;
	size_t taken;

	console_init(&console, 4096);
	uart_init(&uart, &console);
	assert_int_equal(port_bus_claim(&bus, &uart_com1, &uart), 0);
	for (st = s->step; st->op; st++) {
		uint16_t port = (uint16_t)(0x3f8 + st->reg);
		uint32_t got;

		if (st->op == 'w') {
			port_bus_out(&bus, port, 1, st->value);
		} else if (st->op == 'l') {
			uart_receive(&uart, st->value);
		} else if (st->op == 't') {
			assert_int_equal(console_type(&console, &st->value, 1, &taken), 0);
			assert_int_equal(taken, 1);
		} else {
			got = port_bus_in(&bus, port, 1);
			if (got != st->value)
				fail_msg("%s: step %d: register %u is 0x%x, not 0x%x", s->name,
					 (int)(st - s->step), st->reg, got, st->value);
		}
	}
	console_read(&console, 0, text, sizeof(text) - 1, &first);
	assert_string_equal(text, s->printed);
	console_fini(&console);
}

static void test_scripts(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < VMX_ARRAY_SIZE(scripts); i++)
		run_script(&scripts[i]);
}

/* The FIFO holds 16; the 17th is an overrun, and the first 16 stay. */
static void test_overrun(void **state)
{
	struct console console;
	struct uart uart;
	struct port_bus bus = {0};
	uint32_t i;

	(void)state;
	console_init(&console, 1);
	uart_init(&uart, &console);
	port_bus_claim(&bus, &uart_com1, &uart);
	port_bus_out(&bus, 0x3f8 + IIR, 1, 1);
	for (i = 0; i < 17; i++)
		uart_receive(&uart, (uint8_t)i);
	assert_int_equal(port_bus_in(&bus, 0x3f8 + LSR, 1), 0x63);
	for (i = 0; i < 16; i++)
		assert_int_equal(port_bus_in(&bus, 0x3f8, 1), i);
	assert_int_equal(port_bus_in(&bus, 0x3f8 + LSR, 1), 0x60);
	console_fini(&console);
}

/* With the receiver's room refilled as it is read, all of a long input comes, unharmed. */
static void test_long_input(void **state)
{
	static uint8_t bytes[CONSOLE_INPUT_BYTES];
	struct console console;
	struct uart uart;
	struct port_bus bus = {0};
	size_t taken, i;

	(void)state;
	console_init(&console, 1);
	uart_init(&uart, &console);
	port_bus_claim(&bus, &uart_com1, &uart);
	for (i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7);
	/* Begins in the middle of the ring, and ends where it is full. */
	assert_int_equal(console_type(&console, bytes, 1000, &taken), 0);
	for (i = 0; i < 1000; i++)
		assert_int_equal(port_bus_in(&bus, 0x3f8, 1), bytes[i]);
	assert_int_equal(console_type(&console, bytes, sizeof(bytes), &taken), 0);
	assert_int_equal(taken, sizeof(bytes));
	assert_int_equal(console_type(&console, bytes, 1, &taken), 0);
	assert_int_equal(taken, 0);
	port_bus_out(&bus, 0x3f8 + IIR, 1, 1);
	for (i = 0; i < sizeof(bytes); i++) {
		assert_int_equal(console_typed(&console) + uart_received(&uart), sizeof(bytes) - i);
		assert_int_equal(port_bus_in(&bus, 0x3f8 + LSR, 1), 0x61);
		assert_true(uart_received(&uart) == (sizeof(bytes) - i < UART_FIFO_BYTES
							     ? sizeof(bytes) - i
							     : UART_FIFO_BYTES));
		assert_int_equal(port_bus_in(&bus, 0x3f8, 1), bytes[i]);
	}
	assert_int_equal(port_bus_in(&bus, 0x3f8 + LSR, 1), 0x60);
	console_clear(&console);
	console_fini(&console);
}

/* A 16-bit access reaches two registers, as on the ISA bus. */
static void test_wide(void **state)
{
	struct console console;
	struct uart uart;
	struct port_bus bus = {0};

	(void)state;
	console_init(&console, 1);
	uart_init(&uart, &console);
	port_bus_claim(&bus, &uart_com1, &uart);
	port_bus_out(&bus, 0x3f8 + SCR, 1, 0x77);
	assert_int_equal(port_bus_in(&bus, 0x3f8 + MSR, 2), 0x77b0);
	assert_int_equal(bus.unclaimed, 0);
	/* The last register and three ports that nobody claims. */
	assert_int_equal(port_bus_in(&bus, 0x3f8 + SCR, 4), 0xffffff77);
	assert_int_equal(bus.unclaimed, 1);
	console_fini(&console);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scripts),
		cmocka_unit_test(test_overrun),
		cmocka_unit_test(test_long_input),
		cmocka_unit_test(test_wide),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
