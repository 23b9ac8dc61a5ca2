/* SPDX-License-Identifier: MIT */
/* Makes a KVM virtual machine, which puts the processors into VMX operation, says
 * "held" on the kernel log, and keeps it until a signal. */
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <unistd.h>

int main(void)
{
	static const char held[] = "kvm-holder: held\n", failed[] = "kvm-holder: failed\n";
	int log = open("/dev/kmsg", O_WRONLY);
	int kvm = open("/dev/kvm", O_RDWR);
	int vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);

	if (vm < 0) {
		(void)!write(log, failed, sizeof(failed) - 1);
		return 1;
	}
	(void)!write(log, held, sizeof(held) - 1);
	pause();
	return 0;
}
