/* SPDX-License-Identifier: MIT */
/* The first process of run's machine: both hypervisors' modules, then the measurements. */
#include <stddef.h>

#include "host.h"

int main(void)
{
	static const char *const argv[] = {"/bench_exits", "--where", "Bochs",
					   "--count",	   "100",     NULL};

	host_start();
	host_load("irqbypass", "");
	host_load("kvm", "");
	host_load("kvm-intel", "");
	host_load("vmxcore", "");
	say("bench_exits: exit status %d", host_run(argv));
	host_unload("vmxcore");
	host_off();
}
