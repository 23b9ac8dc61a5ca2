// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* The machine: made once, before its processors come online. */
#include "core/core.h"
#include "core/msr.h"
#include "core/vpid.h"

int core_create(struct plat *plat, unsigned nr_cpus, struct core **ret)
{
	struct core *core;
	int err;

	if (nr_cpus == 0 || nr_cpus > CORE_MAX_CPUS)
		return -EINVAL;
	core = plat_calloc(1, sizeof(*core));
	if (core == NULL)
		return -ENOMEM;
	core->plat = plat;
	core->nr_cpus = nr_cpus;
	core->msr_bitmap = plat_page_alloc(plat, &core->msr_bitmap_hpa);
	if (core->msr_bitmap == NULL) {
		err = -ENOMEM;
		goto fail;
	}
	for (unsigned i = 0; i < nr_cpus; i++) {
		core->cpus[i].core = core;
		core->cpus[i].id = i;
		core_vpid_pool_init(&core->cpus[i].vpids, CORE_VPID_MAX);
	}
	*ret = core;
	return 0;

fail:
	plat_free(core);
	return err;
}

void core_destroy(struct core *core)
{
	plat_page_free(core->plat, core->msr_bitmap, core->msr_bitmap_hpa);
	plat_free(core);
}
