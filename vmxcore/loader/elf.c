/* SPDX-License-Identifier: MIT */
/* Source: System V ABI, "Object Files", "Program Header". */
#include "loader/elf.h"

#include <elf.h>
#include <inttypes.h>

#define REFUSE(p, ...) place_refuse((p), -EINVAL, LOADER_FIELD_IMAGE, 0, __VA_ARGS__)

bool elf_is_elf(const struct loader_blob *image)
{
	return image->size >= EI_NIDENT && memcmp(image->data, ELFMAG, SELFMAG) == 0;
}

bool elf_is_wide(const struct loader_blob *image)
{
	return elf_is_elf(image) && image->data[EI_CLASS] == ELFCLASS64;
}

/* [offset, offset + size) lies inside the file. */
static bool inside(const struct loader_blob *image, uint64_t offset, uint64_t size)
{
	return offset <= image->size && size <= image->size - offset;
}

/* What of the file header is needed, of either class. */
struct header {
	uint64_t entry, phoff;
	uint16_t type, machine, phentsize, phnum;
};

static int read_header(struct place *p, bool wide, struct header *h)
{
	const struct loader_blob *image = &p->req->image;
	union {
		Elf32_Ehdr e32;
		Elf64_Ehdr e64;
	} e;
	size_t need = wide ? sizeof(e.e64) : sizeof(e.e32);

	if (!inside(image, 0, need))
		return REFUSE(p, "the image ends inside its ELF header (%zu of %zu bytes)",
			      image->size, need);
	memcpy(&e, image->data, need);
	if (wide)
		*h = (struct header){e.e64.e_entry,   e.e64.e_phoff,	 e.e64.e_type,
				     e.e64.e_machine, e.e64.e_phentsize, e.e64.e_phnum};
	else
		*h = (struct header){e.e32.e_entry,   e.e32.e_phoff,	 e.e32.e_type,
				     e.e32.e_machine, e.e32.e_phentsize, e.e32.e_phnum};
	return 0;
}

static int check_header(struct place *p, bool wide, const struct header *h)
{
	const struct loader_blob *image = &p->req->image;
	uint16_t machine = wide ? EM_X86_64 : EM_386;
	size_t want = wide ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);

	if (image->data[EI_DATA] != ELFDATA2LSB || image->data[EI_VERSION] != EV_CURRENT)
		return REFUSE(p, "the ELF image is not little-endian, version 1");
	if (h->type == ET_DYN)
		return REFUSE(p, "the ELF image is position-independent; link it statically with "
				 "-no-pie");
	if (h->type != ET_EXEC)
		return REFUSE(p, "the ELF image is not an executable (type %u)", h->type);
	if (h->machine != machine)
		return REFUSE(p, "the ELF image is for machine %u, not %u (x86)", h->machine,
			      machine);
	if (h->phnum == 0 || h->phentsize != want)
		return REFUSE(p, "the ELF image has %u program headers of %u bytes; %zu are meant",
			      h->phnum, h->phentsize, want);
	if (!inside(image, h->phoff, (uint64_t)h->phnum * want))
		return REFUSE(p, "the ELF program headers lie outside the image");
	return 0;
}

/* Program header i in the wide shape. */
static Elf64_Phdr program_header(const struct loader_blob *image, bool wide, uint64_t offset)
{
	Elf64_Phdr ph;
	Elf32_Phdr n;

	if (wide) {
		memcpy(&ph, image->data + offset, sizeof(ph));
		return ph;
	}
	memcpy(&n, image->data + offset, sizeof(n));
	return (Elf64_Phdr){
		.p_type = n.p_type,
		.p_offset = n.p_offset,
		.p_vaddr = n.p_vaddr,
		.p_paddr = n.p_paddr,
		.p_filesz = n.p_filesz,
		.p_memsz = n.p_memsz,
	};
}

static int add_segment(struct place *p, struct elf_image *elf, const Elf64_Phdr *ph)
{
	if (ph->p_type == PT_INTERP)
		return REFUSE(p, "the ELF image wants a dynamic linker; link it statically");
	if (ph->p_type != PT_LOAD || ph->p_memsz == 0)
		return 0;
	if (ph->p_filesz > ph->p_memsz)
		return REFUSE(p, "an ELF segment has more bytes in the file than in memory");
	if (!inside(&p->req->image, ph->p_offset, ph->p_filesz))
		return REFUSE(p,
			      "an ELF segment (%" PRIu64 " bytes at 0x%" PRIx64
			      ") lies outside the image of %zu bytes",
			      ph->p_filesz, ph->p_offset, p->req->image.size);
	if (elf->count == ELF_MAX_SEGMENTS)
		return REFUSE(p, "the ELF image has more than %u segments", ELF_MAX_SEGMENTS);
	elf->segment[elf->count++] = (struct elf_segment){
		.offset = ph->p_offset,
		.vaddr = ph->p_vaddr,
		.paddr = ph->p_paddr,
		.file_bytes = ph->p_filesz,
		.memory_bytes = ph->p_memsz,
	};
	return 0;
}

int elf_parse(struct place *p, struct elf_image *ret)
{
	const struct loader_blob *image = &p->req->image;
	struct header h = {0};
	size_t step;
	unsigned i;
	int err;

	if (!elf_is_elf(image))
		return REFUSE(p, "the image is not an ELF file");
	if (image->data[EI_CLASS] != ELFCLASS32 && image->data[EI_CLASS] != ELFCLASS64)
		return REFUSE(p, "the ELF image has an unknown class (%u)", image->data[EI_CLASS]);
	ret->wide = image->data[EI_CLASS] == ELFCLASS64;
	err = read_header(p, ret->wide, &h);
	if (!err)
		err = check_header(p, ret->wide, &h);
	if (err)
		return err;
	ret->entry = h.entry;
	ret->count = 0;
	step = ret->wide ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
	for (i = 0; i < h.phnum; i++) {
		Elf64_Phdr ph = program_header(image, ret->wide, h.phoff + i * step);

		err = add_segment(p, ret, &ph);
		if (err)
			return err;
	}
	if (ret->count == 0)
		return REFUSE(p, "the ELF image has nothing to load");
	return 0;
}

int elf_place(struct place *p, const struct elf_image *elf, uint64_t *ret_first, uint64_t *ret_last)
{
	uint64_t first = UINT64_MAX, last = 0;
	size_t i;
	int err;

	for (i = 0; i < elf->count; i++) {
		const struct elf_segment *s = &elf->segment[i];

		err = place_reserve(p, LOADER_FIELD_IMAGE, "an ELF segment", s->paddr,
				    s->memory_bytes);
		if (err)
			return err;
		first = s->paddr < first ? s->paddr : first;
		last = s->paddr + s->memory_bytes - 1 > last ? s->paddr + s->memory_bytes - 1
							     : last;
	}
	/* RAM is zero: the part beyond file_bytes needs no writing. */
	for (i = 0; i < elf->count; i++) {
		const struct elf_segment *s = &elf->segment[i];

		err = place_write(p, s->paddr, p->req->image.data + s->offset,
				  (size_t)s->file_bytes);
		if (err)
			return err;
	}
	*ret_first = first;
	*ret_last = last;
	return 0;
}

int elf_entry_gpa(struct place *p, const struct elf_image *elf, uint64_t *ret)
{
	size_t i;

	for (i = 0; i < elf->count; i++) {
		const struct elf_segment *s = &elf->segment[i];

		if (elf->entry >= s->vaddr && elf->entry - s->vaddr < s->memory_bytes) {
			*ret = elf->entry - s->vaddr + s->paddr;
			return 0;
		}
	}
	/* Kernels linked high often name a physical entry point. */
	for (i = 0; i < elf->count; i++) {
		const struct elf_segment *s = &elf->segment[i];

		if (elf->entry >= s->paddr && elf->entry - s->paddr < s->memory_bytes) {
			*ret = elf->entry;
			return 0;
		}
	}
	return REFUSE(p, "the ELF entry point 0x%" PRIx64 " is in no loaded segment", elf->entry);
}
