// SPDX-License-Identifier: MIT
/*
 * KVM, through /dev/kvm. Its memory regions name a program's addresses, so there are three
 * ways to another page: another region in the old one's place, or another page at the
 * region's address, newly mapped or moved there.
 */
#include "exits.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { REGION_RAM, REGION_PAGE };

static struct {
	int dev, vm, vcpu;
	struct kvm_run *run;
	size_t run_bytes;
	struct exits_memory pages;
	uint8_t *window; /* what is mapped here is the guest's page */
	uint8_t *source; /* where mremap() takes pages from */
} kvm;

static void set_region(uint32_t number, uint64_t gpa, const uint8_t *at, uint64_t bytes)
{
	const struct kvm_userspace_memory_region r = {.slot = number,
						      .guest_phys_addr = gpa,
						      .memory_size = bytes,
						      .userspace_addr = (uintptr_t)at};

	exits_ioctl(kvm.vm, KVM_SET_USER_MEMORY_REGION, &r, "kvm: a memory region");
}

static uint8_t *map_pages(void *at, size_t bytes, uint64_t offset, int flags)
{
	uint8_t *p = mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | flags, kvm.pages.fd,
			  (off_t)offset);

	if (p == MAP_FAILED)
		exits_die("kvm: mmap");
	return p;
}

static void set_cpuid(void)
{
	static uint64_t room[32];
	struct kvm_cpuid2 *c = (struct kvm_cpuid2 *)(void *)room;

	_Static_assert(sizeof(room) >= sizeof(*c) + 2 * sizeof(c->entries[0]), "two entries");
	c->nent = 2;
	for (unsigned i = 0; i < 2; i++) {
		const uint32_t *from = exits_cpuid[i];

		c->entries[i] = (struct kvm_cpuid_entry2){.function = from[0],
							  .eax = from[1],
							  .ebx = from[2],
							  .ecx = from[3],
							  .edx = from[4]};
	}
	exits_ioctl(kvm.vcpu, KVM_SET_CPUID2, c, "kvm: CPUID");
}

static void open_vm(const struct exits_memory *ram, const struct exits_memory *pages)
{
	kvm.dev = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm.dev < 0)
		exits_die("/dev/kvm");
	kvm.pages = *pages;
	kvm.vm = exits_ioctl(kvm.dev, KVM_CREATE_VM, NULL, "kvm: a VM");
	kvm.window = map_pages(NULL, EXITS_PAGE_BYTES, 0, MAP_POPULATE);
	set_region(REGION_RAM, 0, ram->at, ram->bytes);
	set_region(REGION_PAGE, EXITS_PAGE, kvm.window, EXITS_PAGE_BYTES);
	kvm.vcpu = exits_ioctl(kvm.vm, KVM_CREATE_VCPU, NULL, "kvm: a vCPU");
	kvm.run_bytes = (size_t)exits_ioctl(kvm.dev, KVM_GET_VCPU_MMAP_SIZE, NULL, "kvm: size");
	kvm.run = mmap(NULL, kvm.run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, kvm.vcpu, 0);
	if (kvm.run == MAP_FAILED)
		exits_die("kvm: mmap");
	set_cpuid();
}

static void start(uint32_t ebp)
{
	const struct kvm_regs regs = {.rip = EXITS_CODE, .rflags = 0x202, .rbp = ebp};
	const struct kvm_segment data = {.limit = UINT32_MAX,
					 .selector = 0x10,
					 .type = 3,
					 .present = 1,
					 .db = 1,
					 .s = 1,
					 .g = 1};
	struct kvm_sregs s = {0};

	exits_ioctl(kvm.vcpu, KVM_GET_SREGS, &s, "kvm: registers");
	s.ds = s.es = s.fs = s.gs = s.ss = s.cs = data;
	s.cs.selector = 8;
	s.cs.type = 11;
	s.cr0 = 0x11;
	exits_ioctl(kvm.vcpu, KVM_SET_SREGS, &s, "kvm: registers");
	exits_ioctl(kvm.vcpu, KVM_SET_REGS, &regs, "kvm: registers");
}

/* While no region is there, a read of the page is an exit: it is given 0. */
static uint32_t run(void)
{
	const struct kvm_run *r = kvm.run;
	uint32_t value;

	for (;;) {
		if (ioctl(kvm.vcpu, KVM_RUN, NULL) < 0) {
			if (errno != EINTR)
				exits_die("kvm: a run");
			continue;
		}
		if (r->exit_reason != KVM_EXIT_MMIO || r->mmio.is_write)
			break;
		memset(kvm.run->mmio.data, 0, sizeof(r->mmio.data));
	}
	if (r->exit_reason != KVM_EXIT_IO || r->io.port != EXITS_PORT)
		exits_die("kvm: an exit that was not expected");
	memcpy(&value, (const uint8_t *)r + r->io.data_offset, sizeof(value));
	return value;
}

static void close_vm(void)
{
	munmap(kvm.run, kvm.run_bytes);
	close(kvm.vcpu);
	close(kvm.vm);
	close(kvm.dev);
	munmap(kvm.window, EXITS_PAGE_BYTES);
	if (kvm.source)
		munmap(kvm.source, kvm.pages.bytes);
	kvm.source = NULL;
}

/* --- remapping ------------------------------------------------------------------------------ */

static void by_region(uint32_t page)
{
	set_region(REGION_PAGE, EXITS_PAGE, kvm.window, 0);
	set_region(REGION_PAGE, EXITS_PAGE, kvm.pages.at + (size_t)page * EXITS_PAGE_BYTES,
		   EXITS_PAGE_BYTES);
}

static void by_mmap(uint32_t page)
{
	map_pages(kvm.window, EXITS_PAGE_BYTES, (uint64_t)page * EXITS_PAGE_BYTES, MAP_FIXED);
}

/* Pages that are mapped and present already: they are only moved. */
static void prepare_source(void)
{
	kvm.source = map_pages(NULL, kvm.pages.bytes, 0, MAP_POPULATE);
}

static void by_mremap(uint32_t page)
{
	if (mremap(kvm.source + (size_t)page * EXITS_PAGE_BYTES, EXITS_PAGE_BYTES, EXITS_PAGE_BYTES,
		   MREMAP_MAYMOVE | MREMAP_FIXED, kvm.window) == MAP_FAILED)
		exits_die("kvm: mremap");
}

static const struct exits_way ways[] = {
	{"KVM_SET_USER_MEMORY_REGION twice", NULL, by_region},
	{"mmap(MAP_FIXED)", NULL, by_mmap},
	{"mremap(MREMAP_FIXED)", prepare_source, by_mremap},
};

const struct exits_host exits_kvm = {
	.name = "kvm",
	.device = "/dev/kvm",
	.open = open_vm,
	.start = start,
	.run = run,
	.close = close_vm,
	.ways = ways,
	.way_count = sizeof(ways) / sizeof(ways[0]),
};
