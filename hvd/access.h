/* SPDX-License-Identifier: MIT */
/* Who is at the other end of the socket, and what they may do. */
#ifndef HVD_ACCESS_H
#define HVD_ACCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct peer {
	uid_t uid;
	gid_t gid;
	pid_t pid;
	uint32_t role; /* PROTO_ROLE_*: the highest */
};

/* By SO_PEERCRED. 0, -EACCES (*ret is filled but for its role), or another errno. */
int access_identify(int fd, struct peer *ret);
bool access_allows(const struct peer *peer, uint32_t role);

#endif
