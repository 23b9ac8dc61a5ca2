// SPDX-License-Identifier: MIT
#include "hvd/watch.h"
#include <stddef.h>

static void put_in(struct watch *w, struct watch **head)
{
	w->next = *head;
	w->back = head;
	if (w->next)
		w->next->back = &w->next;
	*head = w;
}

static void take_out(struct watch *w)
{
	*w->back = w->next;
	if (w->next)
		w->next->back = w->back;
}

void watch_begin(struct watch *w, struct vm *vm, watch_fn *const *fns)
{
	w->fns = fns;
	w->vm = vm_ref(vm);
	put_in(w, &vm->watches);
}

void watch_end(struct watch *w)
{
	take_out(w);
	vm_unref(w->vm);
	w->vm = NULL;
}

/*
 * Those still to be told stand on a list of their own, from which each is taken before it is
 * told: whatever ends meanwhile takes itself off either list.
 */
void watch_tell(struct vm *vm, enum watch_what what)
{
	struct watch *todo = vm->watches, *w;

	vm_ref(vm);
	vm->watches = NULL;
	if (todo)
		todo->back = &todo;
	while ((w = todo)) {
		take_out(w);
		put_in(w, &vm->watches);
		if (w->fns[what])
			w->fns[what](w);
	}
	vm_unref(vm);
}
