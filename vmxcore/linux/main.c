// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* The module: refuses where VMX can't be had, and runs its self-test on request. */
#define pr_fmt(fmt) "vmxcore: " fmt
#include <linux/module.h>

#include "dev.h"
#include "machine.h"
#include "selftest.h"
#include "version.h"

static char *selftest;
module_param(selftest, charp, 0400);
MODULE_PARM_DESC(selftest, "directory with the self-test's guests: runs it once at load; "
			   "a failure refuses the module");

static int __init vmxcore_init(void)
{
	int err = machine_probe();

	if (err)
		return err;
	err = machine_init();
	if (err)
		return err;
	if (selftest)
		err = selftest_run(selftest);
	if (!err)
		err = dev_init();
	if (err)
		machine_exit();
	return err;
}

static void __exit vmxcore_exit(void)
{
	dev_exit();
	machine_exit();
}

module_init(vmxcore_init);
module_exit(vmxcore_exit);
MODULE_DESCRIPTION("VT-x memory virtualization: EPT, VPID and the TLB");
MODULE_VERSION(VMXCORE_VERSION);
MODULE_LICENSE("Dual MIT/GPL");
