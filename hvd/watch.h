/* SPDX-License-Identifier: MIT */
/*
 * What happens to a VM, for those who follow it: the subscriptions. Callbacks come from the
 * loop; any of them may begin and end watches, also others than its own.
 */
#ifndef HVD_WATCH_H
#define HVD_WATCH_H

#include "hvd/registry.h"

enum watch_what {
	WATCH_STATE,	/* the engine has told of a new vm->state */
	WATCH_PRINTED,	/* there is more on its console */
	WATCH_TRACED,	/* there are trace records to read */
	WATCH_DELETING, /* it is about to be: what is asked now is answered before */
	WATCH_GONE,	/* it was deleted: phase VM_GONE. The last that comes */
	WATCH_COUNT
};

struct watch;
typedef void watch_fn(struct watch *w);

/* Inside of who watches. */
struct watch {
	watch_fn *const *fns; /* [WATCH_COUNT]; NULL: of no interest */
	struct vm *vm;	      /* with a reference */
	struct watch *next, **back;
};

void watch_begin(struct watch *w, struct vm *vm, watch_fn *const *fns);
void watch_end(struct watch *w);
void watch_tell(struct vm *vm, enum watch_what what);

#endif
