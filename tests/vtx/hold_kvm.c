/* SPDX-License-Identifier: MIT */
/* Has KVM hold VMX, by a virtual machine of its own, until it is ended. */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

int main(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm < 0 || ioctl(kvm, KVM_CREATE_VM, 0) < 0) {
		perror("hold-kvm");
		return 1;
	}
	puts("held");
	fflush(stdout);
	pause();
	return 0;
}
