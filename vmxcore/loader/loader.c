/* SPDX-License-Identifier: MIT */
/* Choosing the format, and the checks that all of them share. */
#include "loader/place.h"

#include "loader/elf.h"

static const struct {
	int (*load)(struct place *p, struct loader_start *ret);
} formats[LOADER_FORMATS] = {
	[LOADER_MULTIBOOT] = {multiboot_load},
	[LOADER_ELF64] = {elf64_load},
	[LOADER_FLAT] = {flat_load},
};

static int detect(struct place *p, enum loader_format *ret)
{
	const struct loader_blob *image = &p->req->image;
	size_t at;

	if (multiboot_find(image, &at)) {
		*ret = LOADER_MULTIBOOT;
		return 0;
	}
	if (elf_is_wide(image)) {
		*ret = LOADER_ELF64;
		return 0;
	}
	if (elf_is_elf(image))
		return place_refuse(p, -EINVAL, LOADER_FIELD_IMAGE, 0,
				    "the image is an ELF32 file without a Multiboot header in its "
				    "first 8192 bytes");
	return place_refuse(p, -EINVAL, LOADER_FIELD_IMAGE, 0,
			    "the image has no Multiboot header and is not ELF64; to load it as it "
			    "is, use format flat");
}

static int check_request(struct place *p)
{
	const struct loader_request *req = p->req;

	if ((unsigned)req->format >= LOADER_FORMATS)
		return place_refuse(p, -EINVAL, LOADER_FIELD_IMAGE, LOADER_FORMATS - 1,
				    "unknown image format %u", (unsigned)req->format);
	if (req->image.size == 0)
		return place_refuse(p, -EINVAL, LOADER_FIELD_IMAGE, 0, "the image is empty");
	if (req->modules > LOADER_MAX_MODULES)
		return place_refuse(p, -EINVAL, LOADER_FIELD_MODULE, LOADER_MAX_MODULES,
				    "%zu modules; at most %u are possible", req->modules,
				    LOADER_MAX_MODULES);
	if (req->cmdline && strlen(req->cmdline) > LOADER_CMDLINE_MAX)
		return place_refuse(p, -EINVAL, LOADER_FIELD_CMDLINE, LOADER_CMDLINE_MAX,
				    "the command line is longer than %u bytes", LOADER_CMDLINE_MAX);
	return 0;
}

int loader_load(const struct loader_request *req, struct loader_start *ret,
		struct loader_error *ret_error)
{
	struct loader_start start = {0};
	struct loader_error error = {0};
	struct place p;
	int err;

	place_init(&p, req, &error);
	start.format = req->format;
	err = check_request(&p);
	if (!err && start.format == LOADER_AUTO)
		err = detect(&p, &start.format);
	if (!err)
		err = formats[start.format].load(&p, &start);
	if (err) {
		*ret_error = error;
		return err;
	}
	*ret = start;
	return 0;
}
