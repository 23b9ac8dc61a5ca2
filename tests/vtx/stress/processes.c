/* SPDX-License-Identifier: MIT */
/* Processes with VMs: killed in the middle of everything, and two at once. */
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rig.h"
#include "say.h"
#include "stress.h"

#define KILLS 20u
#define CHANGES 300u
#define ROUNDS 20u

/* Opens, runs, changes and closes over and over, until it is killed. */
static _Noreturn void live(int dev, uint64_t seed)
{
	struct rig r;

	for (;;) {
		if (!rig_open(&r, dev, 3, seed++))
			_exit(1);
		if (!rig_start(&r, NULL) || !stress_change_some(&r, CHANGES))
			_exit(1);
		rig_stop(&r);
		rig_close(&r);
	}
}

static bool nothing_left(int dev, const char *when)
{
	struct vmxcore_info info = {0};

	if (ioctl(dev, VMXCORE_GET_INFO, &info) == 0 && info.vms == 0 && info.pinned_bytes == 0)
		return true;
	say("%s: FAILED: %u VMs, %llu bytes pinned are left", when, info.vms,
	    (unsigned long long)info.pinned_bytes);
	return false;
}

bool stress_kill(int dev, uint64_t seed)
{
	unsigned killed = 0;
	bool ok = true;

	while (ok && killed < KILLS) {
		int status = 0;
		pid_t pid = fork();

		if (pid == 0)
			live(dev, rig_draw(&seed));
		usleep((useconds_t)(2000 + rig_draw(&seed) % 40000));
		kill(pid, SIGKILL);
		ok = pid > 0 && waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) &&
		     nothing_left(dev, "kill");
		killed += ok;
	}
	say("kill: %u processes killed in the middle of runs and changes, nothing left: %s", killed,
	    ok ? "yes" : "no");
	return ok;
}

static _Noreturn void work(int dev, uint64_t seed)
{
	struct rig r;
	bool ok;

	if (!rig_open(&r, dev, 3, seed))
		_exit(1);
	ok = rig_start(&r, NULL) && rig_goes_on(&r, ROUNDS) && stress_change_some(&r, CHANGES) &&
	     rig_goes_on(&r, ROUNDS);
	rig_stop(&r);
	ok = rig_sound(&r, "processes") && ok;
	rig_close(&r);
	_exit(ok ? 0 : 1);
}

bool stress_processes(int dev, uint64_t seed)
{
	unsigned sound = 0;
	pid_t pids[2];
	int status;

	for (unsigned i = 0; i < 2; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			work(dev, seed + i);
	}
	for (unsigned i = 0; i < 2; i++)
		sound += pids[i] > 0 && waitpid(pids[i], &status, 0) == pids[i] &&
			 WIFEXITED(status) && WEXITSTATUS(status) == 0;
	say("processes: %u of 2 at once, each with 3 vCPUs and %u changes, found all as it should "
	    "be",
	    sound, CHANGES);
	return nothing_left(dev, "processes") && sound == 2;
}
