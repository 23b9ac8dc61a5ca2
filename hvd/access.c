// SPDX-License-Identifier: MIT
#include "hvd/access.h"
#include "proto/proto.h"
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

/* The kernel noted the credentials at connect(): they are not the client's to choose. */
int access_identify(int fd, struct peer *ret)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	*ret = (struct peer){.uid = cred.uid, .gid = cred.gid, .pid = cred.pid};
	if (cred.uid != 0 && cred.uid != geteuid())
		return -EACCES;
	ret->role = PROTO_ROLE_ADMIN;
	return 0;
}

bool access_allows(const struct peer *peer, uint32_t role)
{
	return peer->role >= role;
}
