/* SPDX-License-Identifier: MIT */
/*
 * Who is at the other end of the socket, and what they may do. Root and the daemon's own
 * user have every role; others have the highest role among those of their groups.
 */
#ifndef HVD_ACCESS_H
#define HVD_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define ACCESS_ROLES 3 /* PROTO_ROLE_OBSERVE .. PROTO_ROLE_ADMIN */

enum access_mode {
	ACCESS_AUTO, /* roles for the system's daemon, private for one on a socket of its own */
	ACCESS_PRIVATE,
	ACCESS_BY_ROLES,
};

struct peer {
	uid_t uid;
	gid_t gid;
	pid_t pid;
	bool has_role;
	uint32_t role; /* PROTO_ROLE_*: the highest; valid with has_role */
};

/* Clients that are connected, and the bounds on them. */
struct access_counts {
	unsigned total, total_max;
	unsigned of_uid, of_uid_max;
};

struct access_rules {
	bool by_groups; /* false: root and the daemon's own user alone */
	struct {
		const char *name; /* NULL or "": no group has the role */
		gid_t gid;
		bool known;	/* the group exists */
	} groups[ACCESS_ROLES]; /* by role */
};

/* Asks the system for the groups' numbers; says in the log which are missing. */
void access_find_groups(struct access_rules *rules);
/* peer->role from its uid, its gid and its supplementary groups. Pure. */
void access_decide(const struct access_rules *rules, uid_t own_uid, const gid_t *groups,
		   size_t count, struct peer *peer);
/*
 * By SO_PEERCRED and SO_PEERGROUPS, as the kernel noted them at connect(): they are not
 * the client's to choose. 0, -EACCES (no role; *ret is filled), or another errno.
 */
int access_identify(int fd, const struct access_rules *rules, struct peer *ret);
/* Root, or the daemon's own user. */
bool access_is_owner(const struct peer *peer, uid_t own_uid);
/*
 * Whether one more client may come: NULL; else why not. An eighth of the total is for owners,
 * who have no bound of their own. Pure.
 */
const char *access_check_count(const struct access_counts *counts, bool owner);
bool access_allows(const struct peer *peer, uint32_t role);
/* "the role observe", "no role" */
const char *access_role_text(const struct peer *peer);

/* --- the log of denials ------------------------------------------------------------- */

#define DENIALS_UIDS 16
#define DENIALS_BURST 10 /* lines of one uid in a period */
#define DENIALS_PERIOD_MS 10000

/* How many lines each uid had lately, so that none can fill the log. Zero-initialise it. */
struct denials {
	struct denials_of {
		uid_t uid;
		bool used;
		uint64_t since_ms;
		unsigned lines, left_out;
	} of[DENIALS_UIDS];
};

/*
 * true: a line may be logged, and *ret_left_out were left out since the uid's last one.
 * One uid's denials never cost another's lines.
 */
bool denials_admit(struct denials *d, uid_t uid, uint64_t now_ms, unsigned *ret_left_out);

#endif
