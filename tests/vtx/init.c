/* SPDX-License-Identifier: MIT */
/*
 * The test machine's only process: loads and unloads modules, says what came of it on
 * the kernel log, and powers off.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "host.h"

/* vtx_fuzz= and vtx_seed= on the kernel's command line say otherwise. */
#define FUZZ_IOCTLS 100000
#define FUZZ_SEED UINT64_C(0x9e3779b97f4a7c15)

/* As long as one of KVM's virtual machines exists, KVM has VMX. */
static void test_in_use(void)
{
	int kvm, vm;

	host_load("irqbypass", "");
	host_load("kvm", "");
	host_load("kvm-intel", "");
	kvm = open("/dev/kvm", O_RDWR);
	vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		say("KVM makes no virtual machine: %s", strerror(errno));
	host_load("vmxcore", "");
	close(vm);
	close(kvm);
}

int main(void)
{
	host_start();
	test_in_use();
	/* A self-test that can't run leaves nothing behind. */
	host_load("vmxcore", "selftest=/nowhere");
	/* Without mitigations executable memory is mapped by large leaves: they are split here. */
	host_load("vmxcore", "selftest=/selftest selftest_hotplug=1 mitigations=off");
	host_unload("vmxcore");
	host_load("vmxcore", "vpid_limit=0");
	host_load("vmxcore", "mitigations=perhaps");
	/* What the self-test had left in CR4 would be "in use". Few VPIDs, short slices: what is
	 * rare otherwise happens. */
	host_load("vmxcore", "vpid_limit=7 slice_us=1000 max_pinned_mib=64 guest_events=1");
	test_device();
	test_device_fuzz((unsigned)host_option("vtx_fuzz", FUZZ_IOCTLS),
			 host_option("vtx_seed", FUZZ_SEED));
	host_unload("vmxcore");
	host_off();
}
