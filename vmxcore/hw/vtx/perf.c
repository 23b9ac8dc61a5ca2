// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* See perf.h. */
#include <linux/percpu.h>
#include <linux/perf_event.h>

#include <asm/msr.h>
#include <asm/nmi.h>
#include <asm/perf_event.h>

#include "hw/vtx/compat.h"
#include "hw/vtx/perf.h"

static struct perf_guest_switch_msr *switched(int *ret_count)
{
	*ret_count = 0;
	return perf_guest_get_msrs(ret_count, NULL);
}

/*
 * The values are asked for each time: perf changes them when it likes, but not while
 * interrupts are off, its NMI handler apart, after which this is called again.
 */
void vtx_perf_to_guest(struct hw_cpu *cpu)
{
	int count, i;
	struct perf_guest_switch_msr *msrs = switched(&count);

	WRITE_ONCE(cpu->nmi_seen, false);
	if (!msrs)
		return;
	for (i = 0; i < count; i++) {
		if (msrs[i].host == msrs[i].guest)
			continue;
		wrmsrq(msrs[i].msr, msrs[i].guest);
		cpu->perf_is_guest = true;
	}
}

void vtx_perf_to_host(struct hw_cpu *cpu)
{
	struct perf_guest_switch_msr *msrs;
	int count, i;

	if (likely(!cpu->perf_is_guest))
		return;
	cpu->perf_is_guest = false;
	msrs = switched(&count);
	for (i = 0; msrs && i < count; i++)
		if (msrs[i].host != msrs[i].guest)
			wrmsrq(msrs[i].msr, msrs[i].host);
}

/* Every NMI comes by here, perf's among them. */
static int on_nmi(unsigned int type, struct pt_regs *regs)
{
	WRITE_ONCE(vtx_cpu(smp_processor_id())->nmi_seen, true);
	return NMI_DONE;
}

int vtx_perf_init(void)
{
	return register_nmi_handler(NMI_LOCAL, on_nmi, 0, "vmxcore");
}

void vtx_perf_exit(void)
{
	unregister_nmi_handler(NMI_LOCAL, "vmxcore");
}
