/* SPDX-License-Identifier: MIT */
/* Stored definitions, at the start of the daemon. */
#ifndef HVD_LOAD_H
#define HVD_LOAD_H

#include "hvd/hvd.h"

/*
 * Makes a VM, shutoff, of each definition in h->store, and counts them in h->defined. One that
 * is damaged, or that the engine refuses, is set aside as NAME.json.damaged, logged,
 * published and counted in h->damaged; it harms no other. What no definition names is
 * removed. Turns h's loop until all of it is done. A negative errno: the folder can't be
 * read, or memory or descriptors are short; the log says so.
 */
int load_definitions(struct hvd *h);

#endif
