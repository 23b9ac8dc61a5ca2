// SPDX-License-Identifier: MIT
#include "hvctl/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <termios.h>
#include <unistd.h>

static int wish[2] = {-1, -1}; /* a pipe: poll() sees a signal that came just before it */
static volatile sig_atomic_t interrupted;
static volatile sig_atomic_t raw_fd = -1, stopped_fd = -1;
static struct termios before, raw;

/* tcsetattr() is among the functions that signal handlers may call. */
void terminal_restore(void)
{
	int fd = raw_fd;

	if (fd < 0)
		return;
	tcsetattr(fd, TCSANOW, &before);
	raw_fd = -1;
}

static void die_of(int signal_number)
{
	terminal_restore();
	signal(signal_number, SIG_DFL);
	raise(signal_number); /* delivered when the handler returns */
}

static void on_interrupt(int signal_number)
{
	int saved = errno;

	if (interrupted)
		die_of(signal_number);
	interrupted = 1;
	/* nothing can be done about a pipe that is full, and it is readable then */
	if (write(wish[1], "", 1) < 0)
		errno = 0;
	errno = saved;
}

/* The terminal is the shell's until it gives it back. */
static void on_stop(int signal_number)
{
	int saved = errno;

	(void)signal_number;
	stopped_fd = raw_fd;
	terminal_restore();
	raise(SIGSTOP);
	errno = saved;
}

/* In the background it stays the shell's; when it is given back, there is another SIGCONT. */
static void on_continue(int signal_number)
{
	int fd = stopped_fd >= 0 ? stopped_fd : raw_fd, saved = errno;

	(void)signal_number;
	if (fd >= 0 && tcgetpgrp(fd) == getpgrp() && tcsetattr(fd, TCSANOW, &raw) == 0) {
		raw_fd = fd;
		stopped_fd = -1;
	}
	errno = saved;
}

static int handle(int signal_number, void (*handler)(int))
{
	struct sigaction old, new = {.sa_handler = handler, .sa_flags = SA_RESTART};

	if (sigaction(signal_number, NULL, &old) < 0)
		return -errno;
	if (old.sa_handler == SIG_IGN)
		return 0;
	sigfillset(&new.sa_mask);
	return sigaction(signal_number, &new, NULL) < 0 ? -errno : 0;
}

int signals_init(void)
{
	static const struct {
		int number;
		void (*handler)(int);
	} rows[] = {
		{SIGINT, on_interrupt}, {SIGTERM, die_of},  {SIGHUP, die_of},
		{SIGQUIT, die_of},	{SIGTSTP, on_stop}, {SIGCONT, on_continue},
	};
	int r = 0;

	if (pipe2(wish, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows) && !r; i++)
		r = handle(rows[i].number, rows[i].handler);
	return r;
}

int signals_fd(void)
{
	return wish[0];
}

void signals_take(void)
{
	char bytes[16];

	while (read(wish[0], bytes, sizeof(bytes)) > 0)
		;
}

bool signals_interrupted(void)
{
	return interrupted;
}

int terminal_raw(int fd)
{
	if (tcgetattr(fd, &before) < 0)
		return -errno;
	raw = before;
	raw.c_iflag &=
		(tcflag_t) ~(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
	raw.c_lflag &= (tcflag_t) ~(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
	/* a guest's bare newlines still begin lines: c_oflag is the terminal's own */
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	raw_fd = fd;
	if (tcsetattr(fd, TCSANOW, &raw) < 0) {
		int err = errno;

		raw_fd = -1;
		return -err;
	}
	return 0;
}
