// SPDX-License-Identifier: MIT
/* hvctl: hvd's command line. */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "hvctl/verb.h"

int main(int argc, char **argv)
{
	const char *no_colour = getenv("NO_COLOR");
	const char *socket = getenv("HVD_SOCKET");
	const char *term = getenv("TERM");
	struct hvctl_context ctx = {
		.socket = socket && *socket ? socket : PROTO_SOCKET_DEFAULT,
		.out_terminal = isatty(STDOUT_FILENO),
		.out = stdout,
		.err = stderr,
	};

	ctx.colour = ctx.out_terminal && !(no_colour && *no_colour) && term && *term;
	/* a broken pipe is an error of writing, reported as such */
	signal(SIGPIPE, SIG_IGN);
	return hvctl_main(&ctx, argc - 1, argv + 1);
}
