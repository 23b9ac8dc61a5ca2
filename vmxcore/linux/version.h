/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The module's version, which DKMS compares. The build checks that it is the project's. */
#ifndef VMXCORE_LINUX_VERSION_H
#define VMXCORE_LINUX_VERSION_H

#define VMXCORE_VERSION "0.1.0"

#endif
