/* SPDX-License-Identifier: MIT */
/*
 * The engine "strict": the soft backend behind the rules of engine/backend.h. It needs what
 * soft does not: vCPUs that are held before their registers are read, the VM's lock, memory
 * that has to be populated, code that has to be copied, large changes by another thread. A
 * rule that is broken aborts.
 */
#ifndef TESTS_CONTRACT_STRICT_H
#define TESTS_CONTRACT_STRICT_H

#include "engine/backend.h"

#define STRICT_NAME "strict"

struct backend strict_backend(void);

#endif
