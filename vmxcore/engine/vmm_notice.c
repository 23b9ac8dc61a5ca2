/* SPDX-License-Identifier: MIT */
/* What is worth telling without being asked: once, or the latest. */
#include "engine/vmm.h"

#include <stdio.h>

static void tell_recycled(struct vmm *s, struct vmm_processor *p, const struct vmm_vcpu *v)
{
	struct engine_event ev = {
		.type = ENGINE_EVENT_NOTICE,
		.vm = v->vm->id,
		.notice = {.vm = v->vm->id,
			   .generation = p->core->vpids.generation,
			   .kind = ENGINE_NOTICE_VPIDS_RECYCLED,
			   .vcpu = v->index,
			   .processor = p->core->id},
	};

	p->generation_told = p->core->vpids.generation;
	queue_push_latest(&s->queue, &ev, &p->notice_queued);
}

/* Another vCPU of the VM has met it before? */
static bool is_known(const struct vmm_vm *vm, const struct vmm_vcpu *but, const char *mnemonic)
{
	uint32_t i, k;

	for (i = 0; i < vm->vcpu_count; i++) {
		const struct vmm_vcpu *v = &vm->vcpus[i];

		for (k = 0; k < v->unimplemented_told && v != but; k++)
			if (strncmp(v->account.unimplemented[k].mnemonic, mnemonic,
				    sizeof(v->account.unimplemented[k].mnemonic)) == 0)
				return true;
	}
	return false;
}

/* The account has a row for each mnemonic, the first MODEL_UNIMPLEMENTED_MAX of a vCPU. */
static void tell_unimplemented(struct vmm *s, struct vmm_vcpu *v,
			       const struct model_unimplemented *row)
{
	struct vmm_vm *vm = v->vm;
	struct engine_event ev = {
		.type = ENGINE_EVENT_NOTICE,
		.vm = vm->id,
		.notice = {.vm = vm->id,
			   .rip = row->first_rip,
			   .kind = ENGINE_NOTICE_UNIMPLEMENTED,
			   .vcpu = v->index,
			   .processor = v->home},
	};

	if (vm->notices == VMM_NOTICES_MAX || is_known(vm, v, row->mnemonic))
		return;
	vm->notices++;
	snprintf(ev.notice.text, sizeof(ev.notice.text), "%s", row->mnemonic);
	queue_push(&s->queue, &ev);
}

void vmm_tell_notices(struct vmm *s, struct vmm_processor *p, struct vmm_vcpu *v)
{
	if (p->core->vpids.generation != p->generation_told)
		tell_recycled(s, p, v);
	while (v->unimplemented_told < v->account.unimplemented_count)
		tell_unimplemented(s, v, &v->account.unimplemented[v->unimplemented_told++]);
}
