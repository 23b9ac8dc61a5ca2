/* SPDX-License-Identifier: MIT */
#include "contract/blind.h"

#include "engine/soft.h"

#include <stdio.h>
#include <time.h>

static void blind_describe(const struct vmm *s, struct engine_info *ret)
{
	backend_soft.describe(s, ret);
	snprintf(ret->name, sizeof(ret->name), "%s", BLIND_NAME);
	ret->capabilities &= ~BLIND_LACKS;
	memset(ret->tlb_geometry, 0, sizeof(ret->tlb_geometry));
}

static bool blind_retired(const struct vmm_vcpu *v, uint64_t *ret)
{
	(void)v;
	(void)ret;
	return false;
}

static int blind_invalidate(struct vmm_vm *vm, const struct engine_invalidate_req *q,
			    uint32_t processor, uint16_t vpid, uint32_t vcpu,
			    struct engine_invalidated *out)
{
	struct engine_invalidated seen = {0};

	(void)out;
	return backend_soft.invalidate(vm, q, processor, vpid, vcpu, &seen);
}

static uint64_t host_time(void *ctx)
{
	struct timespec t;

	(void)ctx;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int blind_trace_set(struct vmm_vm *vm, const struct engine_trace_set *q,
			   uint64_t *ret_untold)
{
	const struct core_trace_settings settings = {
		.kinds = q->kinds,
		.vcpu = q->vcpu,
		.exits = {q->exits[0], q->exits[1]},
		.records = q->records,
		.guest_time = host_time,
	};
	struct core_trace *t = core_vm_trace(soft_vm_of(vm));
	uint64_t untold = core_trace_untold(t);
	int err = core_trace_set(t, &settings);

	if (!err)
		*ret_untold = untold;
	return err;
}

static void blind_more_vcpu_stats(struct stat_list *l, struct vmm_vcpu *v)
{
	(void)v;
#define TLB_STAT(name, unit, doc) stat_add_null(l, "tlb.", #name, unit);
#include <vmxcore/tlb_stats.def>
#undef TLB_STAT
}

struct backend blind_backend(void)
{
	struct backend b = backend_soft;

	b.name = BLIND_NAME;
	b.trace_host_time = true;
	b.describe = blind_describe;
	b.retired = blind_retired;
	b.walk_caches = NULL;
	b.vpid_held = NULL;
	b.tlb_stats = NULL;
	b.tlb_entries = NULL;
	b.invalidate = blind_invalidate;
	b.trace_set = blind_trace_set;
	b.more_vcpu_stats = blind_more_vcpu_stats;
	return b;
}
