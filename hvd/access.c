// SPDX-License-Identifier: MIT
#include "hvd/access.h"
#include "hvd/log.h"
#include "proto/proto.h"
#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

_Static_assert(PROTO_ROLE_OBSERVE == 0 && PROTO_ROLE_ADMIN == ACCESS_ROLES - 1,
	       "roles are indices, the highest is the last");

/* --- roles ------------------------------------------------------------------------- */

static int find_group(const char *name, gid_t *ret)
{
	size_t size = 4096;
	struct group group, *found = NULL;
	char *buf = NULL, *more;
	int r;

	do {
		size *= 2;
		more = realloc(buf, size);
		if (!more) {
			free(buf);
			return -ENOMEM;
		}
		buf = more;
		r = getgrnam_r(name, &group, buf, size, &found);
	} while (r == ERANGE && size < 16u << 20);
	if (!r && found)
		*ret = group.gr_gid;
	free(buf);
	return r ? -r : found ? 0 : -ENOENT;
}

void access_find_groups(struct access_rules *rules)
{
	for (uint32_t role = 0; rules->by_groups && role < ACCESS_ROLES; role++) {
		const char *name = rules->groups[role].name;
		int r;

		rules->groups[role].known = false;
		if (!name || !*name)
			continue;
		r = find_group(name, &rules->groups[role].gid);
		rules->groups[role].known = !r;
		if (r)
			log_warning("group %s%s%s: nobody has the role %s by it", name,
				    r == -ENOENT ? " does not exist" : ": ",
				    r == -ENOENT ? "" : strerror(-r),
				    proto_enum_name(&proto_enum_role, role));
	}
}

static bool is_member(gid_t gid, gid_t own, const gid_t *groups, size_t count)
{
	if (gid == own)
		return true;
	for (size_t i = 0; i < count; i++)
		if (groups[i] == gid)
			return true;
	return false;
}

bool access_is_owner(const struct peer *peer, uid_t own_uid)
{
	return peer->uid == 0 || peer->uid == own_uid;
}

const char *access_check_count(const struct access_counts *counts, bool owner)
{
	const unsigned reserve = owner ? 0 : counts->total_max / 8;

	if (counts->total >= counts->total_max - reserve)
		return "too many clients are connected";
	if (!owner && counts->of_uid >= counts->of_uid_max)
		return "too many clients of this uid are connected";
	return NULL;
}

void access_decide(const struct access_rules *rules, uid_t own_uid, const gid_t *groups,
		   size_t count, struct peer *peer)
{
	peer->has_role = false;
	peer->role = PROTO_ROLE_OBSERVE;
	if (access_is_owner(peer, own_uid)) {
		peer->has_role = true;
		peer->role = PROTO_ROLE_ADMIN;
		return;
	}
	for (uint32_t role = 0; rules->by_groups && role < ACCESS_ROLES; role++) {
		if (!rules->groups[role].known ||
		    !is_member(rules->groups[role].gid, peer->gid, groups, count))
			continue;
		peer->has_role = true;
		peer->role = role;
	}
}

bool access_allows(const struct peer *peer, uint32_t role)
{
	return peer->has_role && peer->role >= role;
}

const char *access_role_text(const struct peer *peer)
{
	static const char *const texts[ACCESS_ROLES] = {
		[PROTO_ROLE_OBSERVE] = "the role observe",
		[PROTO_ROLE_OPERATE] = "the role operate",
		[PROTO_ROLE_ADMIN] = "the role admin",
	};

	return peer->has_role ? texts[peer->role] : "no role";
}

/* --- the peer ------------------------------------------------------------------------ */

/* *ret is to be freed. */
static int peer_groups(int fd, gid_t **ret, size_t *ret_count)
{
	socklen_t len = 64 * sizeof(gid_t);
	gid_t *groups = malloc(len);

	while (groups && getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0) {
		const int err = errno;

		/* With ERANGE, the kernel says how much it needs. */
		free(groups);
		if (err != ERANGE)
			return -err;
		groups = malloc(len);
	}
	if (!groups)
		return -ENOMEM;
	*ret = groups;
	*ret_count = len / sizeof(gid_t);
	return 0;
}

int access_identify(int fd, const struct access_rules *rules, struct peer *ret)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	gid_t *groups = NULL;
	size_t count = 0;
	int r;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	*ret = (struct peer){.uid = cred.uid, .gid = cred.gid, .pid = cred.pid};
	r = rules->by_groups ? peer_groups(fd, &groups, &count) : 0;
	if (r)
		return r;
	access_decide(rules, geteuid(), groups, count, ret);
	free(groups);
	return ret->has_role ? 0 : -EACCES;
}

/* --- the log of denials ---------------------------------------------------------------- */

/* The uid's place; else a free one; else the one that was used the longest ago. */
static struct denials_of *place(struct denials *d, uid_t uid)
{
	struct denials_of *oldest = &d->of[0];

	for (size_t i = 0; i < DENIALS_UIDS; i++) {
		if (d->of[i].used && d->of[i].uid == uid)
			return &d->of[i];
		if (!d->of[i].used)
			oldest = oldest->used ? &d->of[i] : oldest;
		else if (oldest->used && d->of[i].since_ms < oldest->since_ms)
			oldest = &d->of[i];
	}
	*oldest = (struct denials_of){.uid = uid};
	return oldest;
}

bool denials_admit(struct denials *d, uid_t uid, uint64_t now_ms, unsigned *ret_left_out)
{
	struct denials_of *of = place(d, uid);

	if (!of->used || now_ms - of->since_ms >= DENIALS_PERIOD_MS) {
		of->used = true;
		of->since_ms = now_ms;
		of->lines = 0;
	}
	if (of->lines >= DENIALS_BURST) {
		of->left_out++;
		return false;
	}
	of->lines++;
	*ret_left_out = of->left_out;
	of->left_out = 0;
	return true;
}
