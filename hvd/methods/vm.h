/* SPDX-License-Identifier: MIT */
/* A VM's state, as replies tell it. */
#ifndef HVD_METHODS_VM_H
#define HVD_METHODS_VM_H

#include "hvd/call.h"

/* true: the VM is shutoff or crashed. */
bool vm_is_stopped(const struct vm *vm);
/* vm->state, and tells those who wait for it. */
void vm_take_state(struct vm *vm, const struct engine_state_info *state);
/* Ends the call with a VM in full: ev is the completion of ENGINE_VM_INFO. */
void vm_reply_info(struct call *c, const struct engine_event *ev);

/* The members that vm_state, vm and vm_wait_result share, from the VM's latest state. */
#define VM_DESCRIBE(c, ret, vm_)                                                          \
	do {                                                                              \
		const struct engine_state_info *info_ = &(vm_)->state;                    \
                                                                                          \
		(ret)->vm = proto_strdup(&(c)->arena, (vm_)->name);                       \
		(ret)->state.name = info_->state;                                         \
		(ret)->state.libvirt = info_->state;                                      \
		(ret)->reason = engine_reason_name(info_->reason);                        \
		if (info_->reason == ENGINE_REASON_EXITED)                                \
			PROTO_SET(ret, exit_status, info_->exit_status);                  \
		if (*info_->report)                                                       \
			PROTO_SET(ret, report, proto_strdup(&(c)->arena, info_->report)); \
		if (info_->state != ENGINE_STATE_RUNNING)                                 \
			CALL_SET_OBSERVED(ret, guest_time, info_->guest_time);            \
	} while (0)

#endif
