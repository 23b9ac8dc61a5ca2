/* SPDX-License-Identifier: MIT */
/* What is worth telling without being asked: once, or the latest. */
#include "engine/vmm.h"

#include "plat/atomic.h"

#include <stdio.h>
#include <stdlib.h>

/* --- a new generation of VPIDs ---------------------------------------------------------------- */

/* Of all machines: generations are rare. Their order in the queue is that of their numbers. */
static pthread_mutex_t recycled = PTHREAD_MUTEX_INITIALIZER;

static void push_recycled(struct vmm_vcpu *v, uint32_t processor, uint64_t generation)
{
	struct vmm *s = v->vm->machine;
	const struct engine_event ev = {
		.type = ENGINE_EVENT_NOTICE,
		.vm = v->vm->id,
		.notice = {.vm = v->vm->id,
			   .generation = generation,
			   .kind = ENGINE_NOTICE_VPIDS_RECYCLED,
			   .vcpu = v->index,
			   .processor = processor},
	};

	queue_push_latest(&s->queue, &ev, &s->processor[processor].notice_queued);
}

void vmm_tell_recycled(struct vmm_vcpu *v, uint32_t processor, uint64_t generation)
{
	struct vmm_processor *p = &v->vm->machine->processor[processor];

	if (generation <= plat_load(&p->generation_told))
		return;
	pthread_mutex_lock(&recycled);
	if (generation > p->generation_told) {
		/* Of the first that is seen nobody knows when it began. */
		if (p->generation_told != 0)
			push_recycled(v, processor, generation);
		plat_store(&p->generation_told, generation);
	}
	pthread_mutex_unlock(&recycled);
}

/* --- instructions that are not implemented ---------------------------------------------------- */

/* false: it is known already, or as many as a VM is good for are. */
static bool is_news(struct vmm_vm *vm, const char *mnemonic)
{
	char(*noticed)[VMM_NOTICE_LEN];
	uint32_t i;

	if (vm->notices == VMM_NOTICES_MAX)
		return false;
	for (i = 0; i < vm->notices; i++)
		if (strncmp(vm->noticed[i], mnemonic, VMM_NOTICE_LEN - 1) == 0)
			return false;
	noticed = realloc(vm->noticed, (vm->notices + 1) * sizeof(*noticed));
	/* When memory is short it stays untold rather than be told more than once. */
	if (!noticed)
		return false;
	vm->noticed = noticed;
	snprintf(noticed[vm->notices++], VMM_NOTICE_LEN, "%s", mnemonic);
	return true;
}

void vmm_tell_unimplemented(struct vmm_vcpu *v, const char *mnemonic, uint64_t rip)
{
	struct vmm_vm *vm = v->vm;
	struct vmm *s = vm->machine;
	struct engine_event ev = {
		.type = ENGINE_EVENT_NOTICE,
		.vm = vm->id,
		.notice = {.vm = vm->id,
			   .rip = rip,
			   .kind = ENGINE_NOTICE_UNIMPLEMENTED,
			   .vcpu = v->index,
			   .processor = s->backend->processor(v)},
	};

	if (!is_news(vm, mnemonic))
		return;
	snprintf(ev.notice.text, sizeof(ev.notice.text), "%s", mnemonic);
	queue_push(&s->queue, &ev);
}

void vmm_notices_forget(struct vmm_vm *vm)
{
	free(vm->noticed);
	vm->noticed = NULL;
	vm->notices = 0;
}
