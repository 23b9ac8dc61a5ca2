// SPDX-License-Identifier: MIT
/* hvctl: hvd's command line. */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "hvctl/progress.h"
#include "hvctl/signals.h"
#include "hvctl/verb.h"

int main(int argc, char **argv)
{
	const char *no_colour = getenv("NO_COLOR");
	const char *socket = getenv("HVD_SOCKET");
	const char *term = getenv("TERM");
	struct progress progress = {.out = stderr};
	struct hvctl_context ctx = {
		.socket = socket && *socket ? socket : PROTO_SOCKET_DEFAULT,
		.out_terminal = isatty(STDOUT_FILENO),
		.in_terminal = isatty(STDIN_FILENO),
		.out = stdout,
		.err = stderr,
	};

	ctx.colour = ctx.out_terminal && !(no_colour && *no_colour) && term && *term;
	if (isatty(STDERR_FILENO))
		ctx.progress = &progress;
	/* a broken pipe is an error of writing, reported as such */
	signal(SIGPIPE, SIG_IGN);
	if (signals_init() < 0)
		return hvctl_fail(&ctx, HVCTL_LOCAL, "signals can't be handled");
	return hvctl_main(&ctx, argc - 1, argv + 1);
}
