/* SPDX-License-Identifier: MIT */
/* Source: National Semiconductor, PC16550D data sheet, "Registers". */
#include "devices/uart.h"

enum {
	REG_DATA, /* RBR, THR; DLL with DLAB */
	REG_IER,  /* DLM with DLAB */
	REG_IIR,  /* FCR when written */
	REG_LCR,
	REG_MCR,
	REG_LSR,
	REG_MSR,
	REG_SCRATCH,
	REG_COUNT
};

#define IER_RECEIVED 0x01u
#define IER_THRE 0x02u
#define IER_LINE 0x04u
#define IER_MODEM 0x08u
#define IER_MASK 0x0fu

#define IIR_NONE 0x01u
#define IIR_MODEM 0x00u
#define IIR_THRE 0x02u
#define IIR_RECEIVED 0x04u
#define IIR_LINE 0x06u
#define IIR_FIFOS 0xc0u

#define FCR_ENABLE 0x01u
#define FCR_CLEAR_RX 0x02u
#define FCR_KEPT 0xc9u /* trigger level, DMA mode, enable */

#define LCR_DLAB 0x80u

#define MCR_DTR 0x01u
#define MCR_RTS 0x02u
#define MCR_OUT1 0x04u
#define MCR_OUT2 0x08u
#define MCR_LOOP 0x10u
#define MCR_MASK 0x1fu

#define LSR_READY 0x01u
#define LSR_OVERRUN 0x02u
#define LSR_EMPTY 0x60u /* THRE and TEMT */

#define MSR_CTS 0x10u
#define MSR_DSR 0x20u
#define MSR_RI 0x40u
#define MSR_DCD 0x80u
#define MSR_TERI 0x04u

/* Without loopback a peer is there and ready: DCD, DSR and CTS. */
#define LINES_CONNECTED (MSR_DCD | MSR_DSR | MSR_CTS)

void uart_init(struct uart *u, struct console *console)
{
	*u = (struct uart){.console = console, .msr_lines = LINES_CONNECTED, .divisor = 1};
}

static bool dlab(const struct uart *u)
{
	return u->lcr & LCR_DLAB;
}

static unsigned rx_room(const struct uart *u)
{
	return u->fifo_control & FCR_ENABLE ? UART_FIFO_BYTES : 1;
}

void uart_receive(struct uart *u, uint8_t byte)
{
	if (u->rx_count >= rx_room(u)) {
		u->errors |= LSR_OVERRUN;
		return;
	}
	u->rx[(u->rx_first + u->rx_count) % UART_FIFO_BYTES] = byte;
	u->rx_count++;
}

size_t uart_received(const struct uart *u)
{
	return u->rx_count;
}

/*
 * Before the guest looks at the receiver: as much of what waits on the line as it has room
 * for. So its room is refilled as it is read, and a guest that never looks takes nothing.
 */
static void refill(struct uart *u)
{
	uint8_t byte;

	while (!(u->mcr & MCR_LOOP) && u->rx_count < rx_room(u) && console_take(u->console, &byte))
		uart_receive(u, byte);
}

/* In loopback the modem outputs feed the modem inputs. */
static void update_lines(struct uart *u)
{
	uint8_t lines = LINES_CONNECTED, changed;

	if (u->mcr & MCR_LOOP) {
		lines = 0;
		lines |= u->mcr & MCR_RTS ? MSR_CTS : 0;
		lines |= u->mcr & MCR_DTR ? MSR_DSR : 0;
		lines |= u->mcr & MCR_OUT1 ? MSR_RI : 0;
		lines |= u->mcr & MCR_OUT2 ? MSR_DCD : 0;
	}
	changed = lines ^ u->msr_lines;
	u->msr_delta |= (uint8_t)((changed >> 4) & ~MSR_TERI);
	/* Ring has a delta on its trailing edge only. */
	if (changed & MSR_RI & u->msr_lines)
		u->msr_delta |= MSR_TERI;
	u->msr_lines = lines;
}

/* The pending condition of the highest priority, as IIR 3:0. */
static uint8_t pending(const struct uart *u)
{
	if ((u->ier & IER_LINE) && u->errors)
		return IIR_LINE;
	if ((u->ier & IER_RECEIVED) && u->rx_count)
		return IIR_RECEIVED;
	if ((u->ier & IER_THRE) && u->thre_pending)
		return IIR_THRE;
	if ((u->ier & IER_MODEM) && u->msr_delta)
		return IIR_MODEM;
	return IIR_NONE;
}

static uint8_t read_data(struct uart *u)
{
	uint8_t byte;

	if (dlab(u))
		return (uint8_t)u->divisor;
	refill(u);
	if (u->rx_count == 0)
		return 0;
	byte = u->rx[u->rx_first];
	u->rx_first = (u->rx_first + 1) % UART_FIFO_BYTES;
	u->rx_count--;
	return byte;
}

static uint8_t read_ier(struct uart *u)
{
	return dlab(u) ? (uint8_t)(u->divisor >> 8) : u->ier;
}

static uint8_t read_iir(struct uart *u)
{
	uint8_t what;

	refill(u);
	what = pending(u);
	/* Reading it as the source clears the THRE condition. */
	if (what == IIR_THRE)
		u->thre_pending = false;
	return what | (u->fifo_control & FCR_ENABLE ? IIR_FIFOS : 0);
}

static uint8_t read_lcr(struct uart *u)
{
	return u->lcr;
}

static uint8_t read_mcr(struct uart *u)
{
	return u->mcr;
}

static uint8_t read_lsr(struct uart *u)
{
	uint8_t value;

	refill(u);
	value = (uint8_t)(LSR_EMPTY | u->errors | (u->rx_count ? LSR_READY : 0));
	u->errors = 0;
	return value;
}

static uint8_t read_msr(struct uart *u)
{
	uint8_t value = u->msr_lines | u->msr_delta;

	u->msr_delta = 0;
	return value;
}

static uint8_t read_scratch(struct uart *u)
{
	return u->scratch;
}

static void write_data(struct uart *u, uint8_t value)
{
	if (dlab(u)) {
		u->divisor = (uint16_t)((u->divisor & 0xff00) | value);
		return;
	}
	if (u->mcr & MCR_LOOP)
		uart_receive(u, value);
	else
		console_put(u->console, value);
	u->thre_pending = true;
}

static void write_ier(struct uart *u, uint8_t value)
{
	if (dlab(u)) {
		u->divisor = (uint16_t)((u->divisor & 0x00ff) | value << 8);
		return;
	}
	/* Enabling it while the register is empty raises the condition. */
	if ((value & IER_THRE) && !(u->ier & IER_THRE))
		u->thre_pending = true;
	u->ier = value & IER_MASK;
}

static void write_fcr(struct uart *u, uint8_t value)
{
	/* Changing the mode empties the FIFOs, as asking for it does. */
	if ((value & FCR_CLEAR_RX) || ((value ^ u->fifo_control) & FCR_ENABLE))
		u->rx_count = 0;
	/* The other bits are programmed only with the enable bit. */
	u->fifo_control = value & FCR_ENABLE ? value & FCR_KEPT : 0;
}

static void write_lcr(struct uart *u, uint8_t value)
{
	u->lcr = value;
}

static void write_mcr(struct uart *u, uint8_t value)
{
	u->mcr = value & MCR_MASK;
	update_lines(u);
}

static void write_scratch(struct uart *u, uint8_t value)
{
	u->scratch = value;
}

static const struct {
	uint8_t (*read)(struct uart *u);
	void (*write)(struct uart *u, uint8_t value); /* NULL: read-only */
} regs[REG_COUNT] = {
	[REG_DATA] = {read_data, write_data}, [REG_IER] = {read_ier, write_ier},
	[REG_IIR] = {read_iir, write_fcr},    [REG_LCR] = {read_lcr, write_lcr},
	[REG_MCR] = {read_mcr, write_mcr},    [REG_LSR] = {read_lsr, NULL},
	[REG_MSR] = {read_msr, NULL},	      [REG_SCRATCH] = {read_scratch, write_scratch},
};

static uint32_t uart_in(void *dev, uint16_t offset, unsigned size)
{
	(void)size;
	return regs[offset].read(dev);
}

static void uart_out(void *dev, uint16_t offset, unsigned size, uint32_t value)
{
	(void)size;
	if (regs[offset].write)
		regs[offset].write(dev, (uint8_t)value);
}

const struct port_device uart_com1 = {
	.name = "uart16550",
	.first = 0x3f8,
	.count = REG_COUNT,
	.max_bytes = 1,
	.in = uart_in,
	.out = uart_out,
};
