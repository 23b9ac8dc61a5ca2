// SPDX-License-Identifier: MIT
/* Who gets which role, who may call what, and how many lines a denied client costs. */
#include "hvd/access.h"
#include "proto/proto.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define OWN 500
#define OBSERVE PROTO_ROLE_OBSERVE
#define OPERATE PROTO_ROLE_OPERATE
#define ADMIN PROTO_ROLE_ADMIN
#define NONE (-1)

/* Groups 10, 20 and 30 have the roles; 40 has none. */
static const struct access_rules by_groups = {
	.by_groups = true,
	.groups = {[OBSERVE] = {"o", 10, true},
		   [OPERATE] = {"p", 20, true},
		   [ADMIN] = {"a", 30, true}},
};
static const struct access_rules none_known = {
	.by_groups = true,
	.groups = {[OBSERVE] = {"o", 10, false},
		   [OPERATE] = {"p", 20, false},
		   [ADMIN] = {"a", 30, false}},
};
/* One group may have two roles: it is the higher that counts. */
static const struct access_rules same_group = {
	.by_groups = true,
	.groups = {[OBSERVE] = {"o", 10, true},
		   [OPERATE] = {"o", 10, true},
		   [ADMIN] = {"a", 30, false}},
};
static const struct access_rules private = {
	.groups = {[OBSERVE] = {"o", 10, true},
		   [OPERATE] = {"p", 20, true},
		   [ADMIN] = {"a", 30, true}},
};

static const struct {
	const char *what;
	const struct access_rules *rules;
	uid_t uid;
	gid_t gid;
	gid_t groups[4];
	size_t count;
	int role;
} decisions[] = {
	{"root", &by_groups, 0, 0, {0}, 0, ADMIN},
	{"root of a private daemon", &private, 0, 0, {0}, 0, ADMIN},
	{"root, whatever its groups", &by_groups, 0, 10, {10}, 1, ADMIN},
	{"the daemon's own user", &by_groups, OWN, 7, {7}, 1, ADMIN},
	{"the daemon's own user, private", &private, OWN, 7, {7}, 1, ADMIN},
	{"a stranger", &by_groups, 1000, 40, {40}, 1, NONE},
	{"a stranger without groups", &by_groups, 1000, 40, {0}, 0, NONE},
	{"observe, supplementary", &by_groups, 1000, 40, {40, 10}, 2, OBSERVE},
	{"observe, primary", &by_groups, 1000, 10, {0}, 0, OBSERVE},
	{"operate, supplementary", &by_groups, 1000, 40, {20}, 1, OPERATE},
	{"operate, primary", &by_groups, 1000, 20, {40}, 1, OPERATE},
	{"admin, supplementary", &by_groups, 1000, 40, {40, 41, 42, 30}, 4, ADMIN},
	{"admin, primary", &by_groups, 1000, 30, {0}, 0, ADMIN},
	{"the highest counts, first", &by_groups, 1000, 40, {30, 10}, 2, ADMIN},
	{"the highest counts, last", &by_groups, 1000, 10, {20, 30}, 2, ADMIN},
	{"the highest counts, of two", &by_groups, 1000, 20, {10}, 1, OPERATE},
	{"gid 0 is no role", &by_groups, 1000, 0, {0}, 1, NONE},
	{"a group that does not exist", &none_known, 1000, 10, {10, 20, 30}, 3, NONE},
	{"root needs no group", &none_known, 0, 0, {0}, 0, ADMIN},
	{"one group, two roles", &same_group, 1000, 10, {0}, 0, OPERATE},
	{"an unknown group's number", &same_group, 1000, 30, {30}, 1, NONE},
	{"a private daemon knows no groups", &private, 1000, 30, {10, 20, 30}, 3, NONE},
	{"nobody's number", &by_groups, (uid_t)-1, (gid_t)-1, {0}, 0, NONE},
};

static void test_decisions(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(decisions); i++) {
		/* what was there before must not matter */
		for (int before = 0; before < 2; before++) {
			struct peer peer = {.uid = decisions[i].uid,
					    .gid = decisions[i].gid,
					    .has_role = before,
					    .role = before ? ADMIN : OBSERVE};

			access_decide(decisions[i].rules, OWN, decisions[i].groups,
				      decisions[i].count, &peer);
			if (peer.has_role != (decisions[i].role != NONE) ||
			    (peer.has_role && peer.role != (uint32_t)decisions[i].role))
				fail_msg("%s: %s", decisions[i].what, access_role_text(&peer));
		}
	}
}

static const struct {
	int has; /* NONE or a role */
	uint32_t needed;
	bool allowed;
} permissions[] = {
	{NONE, OBSERVE, false},	  {NONE, OPERATE, false},    {NONE, ADMIN, false},
	{OBSERVE, OBSERVE, true}, {OBSERVE, OPERATE, false}, {OBSERVE, ADMIN, false},
	{OPERATE, OBSERVE, true}, {OPERATE, OPERATE, true},  {OPERATE, ADMIN, false},
	{ADMIN, OBSERVE, true},	  {ADMIN, OPERATE, true},    {ADMIN, ADMIN, true},
};

static const struct {
	struct access_counts counts;
	bool owner, ok;
} crowds[] = {
	{{.total = 0, .total_max = 64, .of_uid = 0, .of_uid_max = 32}, false, true},
	{{.total = 55, .total_max = 64, .of_uid = 31, .of_uid_max = 32}, false, true},
	{{.total = 55, .total_max = 64, .of_uid = 32, .of_uid_max = 32}, false, false},
	{{.total = 55, .total_max = 64, .of_uid = 33, .of_uid_max = 32}, false, false},
	{{.total = 56, .total_max = 64, .of_uid = 1, .of_uid_max = 32}, false, false},
	{{.total = 56, .total_max = 64, .of_uid = 56, .of_uid_max = 32}, true, true},
	{{.total = 63, .total_max = 64, .of_uid = 0, .of_uid_max = 32}, true, true},
	{{.total = 64, .total_max = 64, .of_uid = 0, .of_uid_max = 32}, true, false},
	/* a reload has lowered the bound */
	{{.total = 64, .total_max = 8, .of_uid = 0, .of_uid_max = 32}, true, false},
	{{.total = 6, .total_max = 7, .of_uid = 0, .of_uid_max = 1}, false, true},
	{{.total = 0, .total_max = 1, .of_uid = 0, .of_uid_max = 1}, false, true},
	{{.total = 1, .total_max = 1, .of_uid = 0, .of_uid_max = 1}, false, false},
};

static void test_crowds(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(crowds) / sizeof(crowds[0]); i++)
		if (!access_check_count(&crowds[i].counts, crowds[i].owner) != crowds[i].ok)
			fail_msg("crowd %zu", i);
}

static void test_permissions(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(permissions); i++) {
		const int has = permissions[i].has;
		/* without has_role, the number says nothing */
		const struct peer peer = {.has_role = has != NONE,
					  .role = has == NONE ? ADMIN : (uint32_t)has};

		if (access_allows(&peer, permissions[i].needed) != permissions[i].allowed)
			fail_msg("row %zu", i);
	}
}

/* Who is who at a real socket: this process, to itself. */
static void test_identify(void **state)
{
	struct peer peer;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(access_identify(fds[0], &by_groups, &peer), 0);
	assert_int_equal(peer.uid, geteuid());
	assert_int_equal(peer.pid, getpid());
	assert_true(peer.has_role);
	assert_int_equal(peer.role, ADMIN);
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(access_identify(fds[0], &by_groups, &peer), -EBADF);
}

static void test_find_groups(void **state)
{
	struct access_rules rules = {.by_groups = true,
				     .groups = {{.name = "root", .gid = 9},
						{.name = "", .known = true},
						{.name = "no such group", .known = true}}};

	(void)state;
	access_find_groups(&rules);
	assert_true(rules.groups[0].known);
	assert_int_equal(rules.groups[0].gid, 0);
	assert_false(rules.groups[1].known);
	assert_false(rules.groups[2].known);
}

/* --- denials --------------------------------------------------------------------------- */

static void test_denials_of_one(void **state)
{
	struct denials d = {0};
	unsigned left_out = 99;

	(void)state;
	for (unsigned i = 0; i < DENIALS_BURST; i++) {
		assert_true(denials_admit(&d, 1000, 5, &left_out));
		assert_int_equal(left_out, 0);
	}
	for (unsigned i = 0; i < 7; i++)
		assert_false(denials_admit(&d, 1000, 5 + DENIALS_PERIOD_MS - 1, &left_out));
	/* another uid is not silenced by it */
	assert_true(denials_admit(&d, 1001, 5, &left_out));
	assert_int_equal(left_out, 0);
	/* the next period tells of what was left out, once */
	assert_true(denials_admit(&d, 1000, 5 + DENIALS_PERIOD_MS, &left_out));
	assert_int_equal(left_out, 7);
	assert_true(denials_admit(&d, 1000, 5 + DENIALS_PERIOD_MS, &left_out));
	assert_int_equal(left_out, 0);
}

/* More uids than places: the one of the longest ago gives its place. */
static void test_denials_of_many(void **state)
{
	struct denials d = {0};
	unsigned left_out;

	(void)state;
	for (uid_t uid = 0; uid < DENIALS_UIDS; uid++)
		for (unsigned i = 0; i < DENIALS_BURST; i++)
			assert_true(denials_admit(&d, uid, uid, &left_out));
	assert_true(denials_admit(&d, 5000, 100, &left_out));
	for (uid_t uid = 1; uid < DENIALS_UIDS; uid++)
		assert_false(denials_admit(&d, uid, 100, &left_out));
	assert_true(denials_admit(&d, 0, 101, &left_out));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decisions),	cmocka_unit_test(test_crowds),
		cmocka_unit_test(test_permissions),	cmocka_unit_test(test_identify),
		cmocka_unit_test(test_find_groups),	cmocka_unit_test(test_denials_of_one),
		cmocka_unit_test(test_denials_of_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
