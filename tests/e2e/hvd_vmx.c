/* SPDX-License-Identifier: MIT */
/* hvd's own main(), with contract/vmx_device.c: what that one wants of the contract's harness. */
#include "contract/harness.h"

/* Not called: what hvd is told of processors and VPIDs is not what the machine has. */
void (*contract_hardware)(const struct engine_config *cfg);
