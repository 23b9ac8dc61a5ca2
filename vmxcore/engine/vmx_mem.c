/* SPDX-License-Identifier: MIT */
/*
 * Slots: shared mappings of this process, whose pages the module pins. Since they are pinned,
 * the pages have to stay those of the mapping: a hole that is punched, or MADV_DONTNEED, would
 * give the guest one page and this process another. Nothing here does either.
 */
#include "engine/vmx.h"

#include "plat/atomic.h"
#include "plat/copy.h"
#include "plat/guard.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* Bytes between two looks at how far it is. */
#define PIECE (UINT64_C(64) << 20)

/* --- mapping ---------------------------------------------------------------------------- */

static int map(struct vmx_slot *b, int fd, uint64_t file_offset)
{
	void *p = mmap(NULL, b->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)file_offset);

	if (p == MAP_FAILED)
		return -errno;
	b->base = p;
	return 0;
}

/* A memfd of our own; nobody can cut it off, and nobody else has it. */
static int map_memfd(struct vmx_slot *b, unsigned flags)
{
	int fd = memfd_create("vmxcore-slot", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)b->bytes) != 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
		err = -errno;
	if (!err)
		err = map(b, fd, 0);
	close(fd);
	return err;
}

static int map_anon(struct vmm_slot *slot, struct vmx_slot *b)
{
	(void)slot;
	return map_memfd(b, 0);
}

/* Where the host's pool of huge pages is too small, it may still give some. */
static int map_huge(struct vmm_slot *slot, struct vmx_slot *b)
{
	int err;

	if (b->bytes % VMX_SIZE_2M == 0 && map_memfd(b, MFD_HUGETLB | MFD_HUGE_2MB) == 0) {
		slot->huge = true;
		return 0;
	}
	err = map_memfd(b, 0);
	/* EINVAL: this kernel has no transparent huge pages. */
	if (!err && madvise(b->base, b->bytes, MADV_HUGEPAGE) != 0 && errno != EINVAL)
		err = -errno;
	return err;
}

static int check_file(int fd, uint64_t file_offset, uint64_t size)
{
	struct stat st;

	if (file_offset % VMX_PAGE_SIZE != 0 || file_offset > INT64_MAX)
		return -EINVAL;
	if (fstat(fd, &st) != 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if ((uint64_t)st.st_size < file_offset || (uint64_t)st.st_size - file_offset < size)
		return -EFBIG;
	return 0;
}

/*
 * A file that shrinks later would turn accesses of this process into SIGBUS. A memfd that
 * allows sealing is sealed against it; under another file the mapping is guarded.
 */
static int map_file(struct vmx_slot *b, int fd, uint64_t file_offset)
{
	int err = check_file(fd, file_offset, b->bytes), seals;

	if (err)
		return err;
	(void)fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK);
	err = map(b, fd, file_offset);
	if (err)
		return err;
	seals = fcntl(fd, F_GET_SEALS);
	if (seals >= 0 && (seals & F_SEAL_SHRINK))
		return 0;
	err = plat_guard_add(b->base, b->bytes);
	b->guarded = !err;
	return err;
}

static void unmap(struct vmx_slot *b)
{
	/* First: once the addresses are somebody else's, so are their signals. */
	if (b->guarded)
		plat_guard_remove(b->base);
	if (b->base)
		munmap(b->base, b->bytes);
}

/* --- opening and closing ------------------------------------------------------------------- */

static const struct vmx_slot *const_slot_of(const struct vmm_slot *slot)
{
	return slot->back;
}

int vmx_slot_open(struct vmm_vm *vm, struct vmm_slot *slot, int fd, uint64_t file_offset)
{
	struct vmx_slot *b;
	int err;

	if (slot->core.size == 0 || slot->core.size % VMX_PAGE_SIZE != 0 ||
	    slot->core.size > INT64_MAX)
		return -EINVAL;
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->bytes = slot->core.size;
	slot->huge = false;
	err = slot->kind == ENGINE_SLOT_FILE   ? map_file(b, fd, file_offset)
	      : slot->kind == ENGINE_SLOT_HUGE ? map_huge(slot, b)
					       : map_anon(slot, b);
	if (err) {
		unmap(b);
		free(b);
		return err;
	}
	slot->back = b;
	slot->extents = 0;
	slot->hpa_first = hpa(UINT64_MAX);
	vmx_of(vm->machine)->objects++;
	return 0;
}

/* Pages of the VM's own, in pieces: how far it is can be seen. A file's are taken as they are. */
static int touch(struct vmm_slot *slot, struct vmx_slot *b, uint64_t *done)
{
	uint64_t at, n;

	if (slot->kind == ENGINE_SLOT_FILE)
		return 0;
	for (at = 0; at < b->bytes; at += n) {
		n = b->bytes - at < PIECE ? b->bytes - at : PIECE;
		/* EINVAL: this kernel can't; pinning touches them, too. */
		if (madvise(b->base + at, n, MADV_POPULATE_WRITE) != 0)
			return errno == EINVAL ? 0 : -errno;
		plat_fetch_add(done, n);
	}
	return 0;
}

static uint32_t count_extents(int fd, uint32_t number)
{
	struct vmxcore_slot_info info = {.slot = number};

	if (vmx_call(fd, VMXCORE_SLOT_INFO, &info))
		return 0;
	return info.extents < UINT32_MAX ? (uint32_t)info.extents : UINT32_MAX;
}

int vmx_slot_populate(struct vmm_vm *vm, struct vmm_slot *slot, uint64_t *done)
{
	struct vmx_slot *b = slot->back;
	struct vmxcore_slot s = {
		.slot = slot->core.id,
		.address = vmx_pointer(b->base),
		.size_bytes = b->bytes,
	};
	int fd = vmx_vm_of(vm)->fd;
	int err = touch(slot, b, done);

	if (!err)
		err = vmx_call(fd, VMXCORE_ADD_SLOT, &s);
	/* The pages are there: it is their kind that can't be pinned for long. */
	if (err == -EFAULT && slot->kind == ENGINE_SLOT_FILE)
		err = -EOPNOTSUPP;
	if (err)
		return err;
	b->added = true;
	slot->extents = count_extents(fd, slot->core.id);
	return 0;
}

void vmx_slot_close(struct vmm_vm *vm, struct vmm_slot *slot)
{
	struct vmxcore_slot_number n = {.slot = slot->core.id};
	struct vmx_slot *b = slot->back;

	if (!b)
		return;
	/* A VM that is closed has taken its slots with it. */
	if (b->added && vm->back)
		(void)vmx_call(vmx_vm_of(vm)->fd, VMXCORE_REMOVE_SLOT, &n);
	unmap(b);
	free(b);
	slot->back = NULL;
	vmx_of(vm->machine)->objects--;
}

/* --- content ------------------------------------------------------------------------------- */

static bool is_inside(const struct vmx_slot *b, uint64_t offset, uint64_t len)
{
	return offset <= b->bytes && len <= b->bytes - offset;
}

int vmx_slot_read(struct vmm_vm *vm, const struct vmm_slot *slot, uint64_t offset, void *buf,
		  size_t len)
{
	const struct vmx_slot *b = const_slot_of(slot);

	(void)vm;
	if (!is_inside(b, offset, len))
		return -ERANGE;
	plat_copy_from_guest(buf, b->base + offset, len);
	return 0;
}

int vmx_slot_write(struct vmm_vm *vm, struct vmm_slot *slot, uint64_t offset, const void *buf,
		   size_t len)
{
	struct vmx_slot *b = slot->back;

	(void)vm;
	if (!is_inside(b, offset, len))
		return -ERANGE;
	plat_copy_to_guest(b->base + offset, buf, len);
	return 0;
}

/* Closing the slot gives its pages back, all of them at once. */
void vmx_slot_zero(struct vmm_vm *vm, struct vmm_slot *slot, uint64_t offset, uint64_t bytes,
		   bool give_back)
{
	struct vmx_slot *b = slot->back;

	(void)vm;
	if (!give_back && is_inside(b, offset, bytes))
		memset(b->base + offset, 0, bytes);
}

/* Nothing is decoded here. */
void vmx_slot_written(struct vmm_vm *vm, struct vmm_slot *slot)
{
	(void)vm;
	(void)slot;
}

void vmx_slots_mapped(struct vmm_vm *vm)
{
	struct vmx_vm *b = vmx_vm_of(vm);
	size_t i;

	if (!plat_load(&b->stale))
		return;
	plat_store(&b->stale, 0u);
	for (i = 0; i < vm->slot_count; i++) {
		struct vmxcore_slot_info info = {.slot = vm->slots[i]->core.id};

		if (vmx_call(b->fd, VMXCORE_SLOT_INFO, &info) == 0)
			vm->slots[i]->core.mapped_bytes = info.mapped_bytes;
	}
}

/* --- what went wrong ------------------------------------------------------------------------ */

void vmx_slot_error(uint32_t kind, int err, char *text, size_t size)
{
	struct rlimit limit = {0};

	if (err == -EPERM && getrlimit(RLIMIT_MEMLOCK, &limit) == 0)
		snprintf(text, size,
			 "its memory is pinned, and RLIMIT_MEMLOCK lets this user pin %" PRIu64
			 " bytes: raise LimitMEMLOCK= of the service",
			 (uint64_t)limit.rlim_cur);
	else if (err == -EOPNOTSUPP && kind == ENGINE_SLOT_FILE)
		snprintf(text, size,
			 "the file's pages can't be pinned for long: a memfd, or a file of tmpfs "
			 "or hugetlbfs, works");
	else if (err == -ENOSPC && kind == ENGINE_SLOT_FILE)
		snprintf(text, size,
			 "%u files that may be cut off are slots already: a sealed memfd is none",
			 PLAT_GUARD_MAX);
}
