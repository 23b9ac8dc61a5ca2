/* SPDX-License-Identifier: MIT */
/* A flat image: bytes at an address, started there in 32-bit protected mode. */
#include "loader/place.h"

int flat_load(struct place *p, struct loader_start *ret)
{
	const struct loader_request *req = p->req;
	uint64_t at = req->load_gpa ? req->load_gpa : LOADER_LOAD_GPA;
	int err;

	if (req->modules)
		return place_refuse(p, -ENOTSUP, LOADER_FIELD_MODULE, 0,
				    "modules need a Multiboot image; this one is flat");
	if (req->cmdline && req->cmdline[0])
		return place_refuse(p, -ENOTSUP, LOADER_FIELD_CMDLINE, 0,
				    "a flat image takes no command line");
	err = place_reserve(p, LOADER_FIELD_LOAD_GPA, "the flat image", at, req->image.size);
	if (!err)
		err = place_write(p, at, req->image.data, req->image.size);
	if (err)
		return err;
	ret->mode = LOADER_MODE_PROTECTED_FLAT;
	ret->entry = at;
	ret->image_first = at;
	ret->image_last = at + req->image.size - 1;
	return 0;
}
