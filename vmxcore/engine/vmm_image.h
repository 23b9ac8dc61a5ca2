/* SPDX-License-Identifier: MIT */
/*
 * The files of a new VM: read by a thread that may hang in it (a server that is away, a
 * disk that is ill), and that then is left behind with what it has. Equal files of several
 * VMs share one copy.
 */
#ifndef VMXCORE_ENGINE_VMM_IMAGE_H
#define VMXCORE_ENGINE_VMM_IMAGE_H

#include "engine/vmm.h"

struct image_read; /* opaque */

/* Reads what comes with rq, whose descriptors it takes. -ENOMEM. */
int image_read_new(const struct vmm *s, struct queue_request *rq, struct image_read **ret);
/* NULL is allowed; not while the workers have it. */
void image_read_drop(struct vmm *s, struct image_read *r);
struct work *image_read_work(struct image_read *r);
/* After the work: true with the reply's error. */
bool image_read_failed(const struct image_read *r, struct vmm_reply *reply);
/*
 * *ret: the content of one of the files; one that is kept already is used, too. 1: call
 * again, it is being compared with one. Memory for what is new is charged.
 */
int image_take(struct vmm *s, struct image_read *r, uint32_t file, struct vmm_blob **ret,
	       struct vmm_reply *reply);

#endif
