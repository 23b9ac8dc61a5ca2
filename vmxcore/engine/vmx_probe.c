/* SPDX-License-Identifier: MIT */
/* Whether this host has what the vmx engine needs, and if not, what to do about it. */
#include "engine/vmx.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>

#define SAY(to, ...) snprintf((to), sizeof(to), __VA_ARGS__)

/* --- the answers ------------------------------------------------------------------------ */

/* Of opening the device, and of asking it. */
struct answer {
	int err;
	const char *reason, *advice;
};

static const struct answer no_open[] = {
	{-ENOENT, "the processor has VT-x, but " VMXCORE_DEVICE " is missing",
	 "load the kernel module: modprobe vmxcore"},
	{-ENXIO, "nothing stands behind " VMXCORE_DEVICE,
	 "load the kernel module: modprobe vmxcore"},
	{-ENODEV, "nothing stands behind " VMXCORE_DEVICE,
	 "load the kernel module: modprobe vmxcore"},
	{-EMFILE, "this process has too many open files", "raise LimitNOFILE= or ulimit -n"},
	{-ENFILE, "the system has too many open files", "raise the sysctl fs.file-max"},
};

static const struct answer no_info[] = {
	{-EBUSY, "VMX is in use by another hypervisor",
	 "stop its VMs (KVM's, for instance), or unload it: modprobe -r kvm_intel"},
	{-ENODEV, "the firmware has VT-x switched off, or a processor lacks it",
	 "enable VT-x in the firmware's setup; the kernel's log names the processor"},
	{-ENOTSUP, "the processor lacks a VMX control that is needed",
	 "it takes EPT with 4 levels and write-back, and INVEPT; the soft engine needs neither"},
	{-EIO, "VMXON failed", "the kernel's log names the processor"},
	{-ESHUTDOWN, "the system is on its way down", ""},
	{-ENOMEM, "the kernel is out of memory", ""},
};

static void tell(const struct answer *rows, size_t count, int err, const char *what,
		 struct engine_info *ret)
{
	size_t i;

	for (i = 0; i < count; i++) {
		if (rows[i].err != err)
			continue;
		SAY(ret->reason, "%s", rows[i].reason);
		SAY(ret->advice, "%s", rows[i].advice);
		return;
	}
	SAY(ret->reason, "%s: %s", what, strerrordesc_np(-err));
}

/* --- who may open it --------------------------------------------------------------------- */

#define NAME_LEN 33

static void user_name(uid_t uid, char name[NAME_LEN])
{
	struct passwd pw, *found = NULL;
	char buf[1024];

	snprintf(name, NAME_LEN, "%u", (unsigned)uid);
	if (getpwuid_r(uid, &pw, buf, sizeof(buf), &found) == 0 && found)
		snprintf(name, NAME_LEN, "%s", pw.pw_name);
}

static void group_name(gid_t gid, char name[NAME_LEN])
{
	struct group gr, *found = NULL;
	char buf[1024];

	snprintf(name, NAME_LEN, "%u", (unsigned)gid);
	if (getgrgid_r(gid, &gr, buf, sizeof(buf), &found) == 0 && found)
		snprintf(name, NAME_LEN, "%s", gr.gr_name);
}

static void tell_permission(struct engine_info *ret)
{
	char user[NAME_LEN], group[NAME_LEN];
	struct stat st;

	if (vmx_dev->stat(&st) != 0) {
		SAY(ret->reason, "this process may not open " VMXCORE_DEVICE);
		SAY(ret->advice, "look at the permissions of /dev and " VMXCORE_DEVICE);
		return;
	}
	user_name(st.st_uid, user);
	group_name(st.st_gid, group);
	SAY(ret->reason,
	    "this process may not open " VMXCORE_DEVICE
	    ": it is user %s's and group %s's, mode 0%o",
	    user, group, (unsigned)st.st_mode & 07777u);
	if ((st.st_mode & 060) == 060)
		SAY(ret->advice, "run it as user %s, or as a member of group %s", user, group);
	else
		SAY(ret->advice,
		    "run it as user %s, or let a group in: a udev rule with GROUP= "
		    "and MODE=\"0660\"",
		    user);
}

/* --- asking ---------------------------------------------------------------------------------- */

static void tell_abi(uint32_t abi, struct engine_info *ret)
{
	SAY(ret->reason, "the kernel module speaks ABI %u, this daemon ABI %u", abi, VMXCORE_ABI);
	SAY(ret->advice, "install both of one version, then load the module again: "
			 "modprobe -r vmxcore && modprobe vmxcore");
}

static void tell_unknown_abi(struct engine_info *ret)
{
	SAY(ret->reason, "the kernel module does not know this daemon's ABI %u", VMXCORE_ABI);
	SAY(ret->advice, "install both of one version, then load the module again: "
			 "modprobe -r vmxcore && modprobe vmxcore");
}

static int ask(int fd, struct vmxcore_info *info, struct engine_info *why)
{
	int err = vmx_call(fd, VMXCORE_GET_INFO, info);

	/* The structure's size is part of the number. */
	if (err == -ENOTTY) {
		tell_unknown_abi(why);
		return -ENODEV;
	}
	if (err) {
		tell(no_info, VMX_ARRAY_SIZE(no_info), err, "asking " VMXCORE_DEVICE, why);
		return err;
	}
	if (info->abi != VMXCORE_ABI) {
		tell_abi(info->abi, why);
		return -ENODEV;
	}
	return 0;
}

/* why: reason and advice are filled on an error. */
static int look(int *ret_fd, struct vmxcore_info *info, struct engine_info *why)
{
	int fd, err;

	if (!vmx_dev->has_vmx()) {
		SAY(why->reason, "no VT-x here: /proc/cpuinfo shows no vmx flag");
		SAY(why->advice, "enable VT-x in the firmware, or nested virtualization for this "
				 "guest; the soft engine needs neither");
		return -ENODEV;
	}
	fd = vmx_dev->open();
	if (fd == -EACCES || fd == -EPERM) {
		tell_permission(why);
		return fd;
	}
	if (fd < 0) {
		tell(no_open, VMX_ARRAY_SIZE(no_open), fd, "opening " VMXCORE_DEVICE, why);
		return fd;
	}
	err = ask(fd, info, why);
	if (err)
		vmx_dev->close(fd);
	else
		*ret_fd = fd;
	return err;
}

/* The module enters VMX operation with the first VM: what refuses that is as when it is asked. */
void vmx_vm_error(int err, char *text, size_t size)
{
	size_t i;

	for (i = 0; i < VMX_ARRAY_SIZE(no_info); i++)
		if (no_info[i].err == err)
			snprintf(text, size, "%s%s%s", no_info[i].reason,
				 no_info[i].advice[0] ? ": " : "", no_info[i].advice);
}

int vmx_device_open(int *ret_fd, struct vmxcore_info *ret)
{
	struct engine_info why;

	return look(ret_fd, ret, &why);
}

/* --- what it says ------------------------------------------------------------------------------
 */

void vmx_describe_device(const struct vmxcore_info *info, struct engine_info *ret)
{
	static const struct {
		uint32_t has, means;
	} capabilities[] = {
		{VMXCORE_CAP_EPT_2M, ENGINE_CAP_EPT_2M},
		{VMXCORE_CAP_EPT_1G, ENGINE_CAP_EPT_1G},
		{VMXCORE_CAP_EPT_EXEC_ONLY, ENGINE_CAP_EPT_EXEC_ONLY},
		{VMXCORE_CAP_EPT_AD, ENGINE_CAP_EPT_AD},
		{VMXCORE_CAP_VPID, ENGINE_CAP_VPID},
	};
	size_t i;

	*ret = (struct engine_info){
		.name = "vmx",
		.available = 1,
		.capabilities = ENGINE_CAP_EPT_4K,
		.reason = "VT-x by " VMXCORE_DEVICE,
		.max_vcpus_per_vm = info->max_vcpus_per_vm < ENGINE_MAX_VCPUS
					    ? info->max_vcpus_per_vm
					    : ENGINE_MAX_VCPUS,
		.max_vms = VMM_MAX_VMS,
	};
	for (i = 0; i < VMX_ARRAY_SIZE(capabilities); i++)
		if (info->capabilities & capabilities[i].has)
			ret->capabilities |= capabilities[i].means;
}

void vmx_probe(struct engine_info *ret)
{
	struct vmxcore_info info;
	int fd;

	if (look(&fd, &info, ret))
		return;
	vmx_dev->close(fd);
	vmx_describe_device(&info, ret);
	ret->max_memory_bytes = vmx_host_memory();
}
