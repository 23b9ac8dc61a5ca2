/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The VMX capability MSRs. Source: SDM volume 3, "VMX Capability Reporting
 * Facility".
 */
#ifndef VMXCORE_CORE_CAPS_H
#define VMXCORE_CORE_CAPS_H

#include "core/core.h"

/* A control's capability: allowed 0-settings in bits 31:0, allowed 1-settings in 63:32. */
static inline bool caps_allow(uint64_t capability, uint32_t bits)
{
	return ((uint32_t)(capability >> 32) & bits) == bits;
}

/* Wanted bits that may be 1, plus those that must be. */
static inline uint32_t caps_adjust(uint64_t capability, uint32_t wanted)
{
	return (wanted | (uint32_t)capability) & (uint32_t)(capability >> 32);
}

/* -ENODEV no VMX here. Runs on the processor. */
int caps_read(struct hw_cpu *hw, struct core_caps *ret);
/* What core can't do without and the processor lacks, for people; NULL: nothing. */
const char *caps_missing(const struct core_caps *caps);

#endif
