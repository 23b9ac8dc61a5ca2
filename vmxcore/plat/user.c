/* SPDX-License-Identifier: MIT */
/* The user-space platform; see user.h. */
#include "plat/user.h"

#include "plat/copy.h"
#include "plat/guard.h"
#include "plat/shared.h"

#include <fcntl.h>
#include <linux/mman.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define ARENA_DEFAULT_BYTES (UINT64_C(256) << 30)
#define ARENA_MIN_BYTES (UINT64_C(4) << 20)
#define MAXPHYADDR_DEFAULT 46u
#define MAXPHYADDR_MIN 36u
#define MAXPHYADDR_MAX 52u
/* Table pages come from the arena by the chunk: one mmap for many pages. */
#define CHUNK_BYTES VMX_SIZE_2M
#define BLOCK_PAGES (VMX_SIZE_2M / VMX_PAGE_SIZE)
#define CHUNK_PAGES ((size_t)(CHUNK_BYTES / VMX_PAGE_SIZE))
/* Fills freed pages: read as a paging-structure entry it is present and malformed,
 * so that a walk through a freed table is seen. */
#define FREED_BYTE 0xdb
#define SPINS_BEFORE_YIELD 64u

/* A free piece of the arena. */
struct gap {
	uint64_t first;
	uint64_t bytes;
};

struct plat {
	struct plat_user_config cfg;
	uint8_t *base;
	uint8_t *reserved; /* what mmap gave: base is the first aligned address in it */
	size_t reserved_bytes;
	/* One bit a page of the arena, and one a block of 2 MiB: memory answers there. */
	uint64_t *present, *blocks; /* one mapping */
	size_t present_bytes;

	pthread_mutex_t lock; /* gaps, slot count, the shuffle's state, growth of the pool */
	struct gap *gaps;     /* sorted by address, never adjacent */
	size_t gap_count, gap_capacity;
	size_t pieces; /* taken and not given back */
	size_t slots;
	uint64_t random;

	struct plat_lock pool_lock; /* free_pages, pages_used */
	uint32_t *free_pages;	    /* stack of page numbers; room for every page of the pool */
	size_t free_count, free_room, pool_pages;
	size_t pages_used;
};

struct plat_mem {
	uint64_t size;
	uint64_t first;	 /* host-physical start of its piece of the arena */
	uint32_t *order; /* scatter: page i of the slot is page order[i] of the piece; else NULL */
	bool huge, file;
};

/* --- locks -------------------------------------------------------------------------- */

void plat_cpu_relax(void)
{
	static _Thread_local unsigned spins;

	__builtin_ia32_pause();
	if (++spins % SPINS_BEFORE_YIELD == 0)
		sched_yield();
}

/* The scheduler takes the processor without being asked. */
void plat_rest(void)
{
	plat_cpu_relax();
}

void plat_lock_init(struct plat_lock *l)
{
	*l = (struct plat_lock){0};
}

void plat_lock(struct plat_lock *l)
{
	while (plat_exchange(&l->word, 1) != 0) {
		while (plat_load(&l->word) != 0)
			plat_cpu_relax();
	}
}

void plat_unlock(struct plat_lock *l)
{
	plat_store_release(&l->word, 0);
}

struct plat_mutex {
	pthread_mutex_t m;
};

struct plat_mutex *plat_mutex_new(void)
{
	struct plat_mutex *m = malloc(sizeof(*m));

	if (!m)
		return NULL;
	if (pthread_mutex_init(&m->m, NULL) != 0) {
		free(m);
		return NULL;
	}
	return m;
}

void plat_mutex_delete(struct plat_mutex *m)
{
	if (!m)
		return;
	pthread_mutex_destroy(&m->m);
	free(m);
}

void plat_mutex_lock(struct plat_mutex *m)
{
	pthread_mutex_lock(&m->m);
}

void plat_mutex_unlock(struct plat_mutex *m)
{
	pthread_mutex_unlock(&m->m);
}

/* --- small memory ----------------------------------------------------------------------- */

void *plat_calloc(size_t count, size_t size)
{
	/* calloc() checks too, but the sanitizers' ends the program. */
	if (size != 0 && count > SIZE_MAX / size)
		return NULL;
	/* Nothing asked for is something to free all the same, never "exhausted". */
	return count * size != 0 ? calloc(count, size) : calloc(1, 1);
}

void plat_free(void *ptr)
{
	free(ptr);
}

/* --- pieces of the arena ------------------------------------------------------------------ */

/*
 * Room for the gaps that `pieces` pieces can leave: one more than there are pieces, and
 * one while a piece is cut out. Made sure of when a piece is taken, so that giving one
 * back can't fail.
 */
static int gaps_reserve(struct plat *p, size_t pieces)
{
	size_t capacity = pieces + 2 > 16 ? 2 * pieces : 16;
	struct gap *gaps;

	if (pieces + 2 <= p->gap_capacity)
		return 0;
	gaps = realloc(p->gaps, capacity * sizeof(*gaps));
	if (!gaps)
		return -ENOMEM;
	p->gaps = gaps;
	p->gap_capacity = capacity;
	return 0;
}

static void gap_insert(struct plat *p, size_t at, struct gap gap)
{
	memmove(&p->gaps[at + 1], &p->gaps[at], (p->gap_count - at) * sizeof(gap));
	p->gaps[at] = gap;
	p->gap_count++;
}

static void gap_remove(struct plat *p, size_t at)
{
	p->gap_count--;
	memmove(&p->gaps[at], &p->gaps[at + 1], (p->gap_count - at) * sizeof(p->gaps[0]));
}

/* The lowest fitting address. */
static int piece_take(struct plat *p, uint64_t bytes, uint64_t align, uint64_t *ret_first)
{
	int rc = gaps_reserve(p, p->pieces + 1);

	if (rc)
		return rc;
	for (size_t i = 0; i < p->gap_count; i++) {
		struct gap g = p->gaps[i];
		uint64_t first = (g.first + align - 1) & ~(align - 1);
		uint64_t before = first - g.first;

		if (before > g.bytes || g.bytes - before < bytes)
			continue;
		gap_insert(p, i + 1, (struct gap){first + bytes, g.bytes - before - bytes});
		p->gaps[i].bytes = before;
		if (p->gaps[i + 1].bytes == 0)
			gap_remove(p, i + 1);
		if (before == 0)
			gap_remove(p, i);
		p->pieces++;
		*ret_first = first;
		return 0;
	}
	return -ENOMEM;
}

/* Gives a piece back; coalesces with its neighbours. */
static void piece_give(struct plat *p, uint64_t first, uint64_t bytes)
{
	size_t i = 0, high = p->gap_count;
	bool joins_left, joins_right;

	while (i < high) {
		size_t mid = i + (high - i) / 2;

		if (p->gaps[mid].first < first)
			i = mid + 1;
		else
			high = mid;
	}
	joins_left = i > 0 && p->gaps[i - 1].first + p->gaps[i - 1].bytes == first;
	joins_right = i < p->gap_count && first + bytes == p->gaps[i].first;
	if (joins_left && joins_right) {
		p->gaps[i - 1].bytes += bytes + p->gaps[i].bytes;
		gap_remove(p, i);
	} else if (joins_left) {
		p->gaps[i - 1].bytes += bytes;
	} else if (joins_right) {
		p->gaps[i].first = first;
		p->gaps[i].bytes += bytes;
	} else {
		gap_insert(p, i, (struct gap){first, bytes});
	}
	p->pieces--;
}

/* Sets or clears the bits of [first, end). Words that are whole are nobody else's. */
static void set_bits(uint64_t *map, uint64_t first, uint64_t end, bool value)
{
	while (first < end) {
		uint64_t in_word = first % 64;
		uint64_t n = 64 - in_word < end - first ? 64 - in_word : end - first;
		uint64_t mask = (n == 64 ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1) << in_word;

		if (n == 64)
			plat_store(&map[first / 64], value ? mask : 0);
		else if (value)
			plat_fetch_or(&map[first / 64], mask);
		else
			plat_fetch_and(&map[first / 64], ~mask);
		first += n;
	}
}

/*
 * Records that memory answers, or no longer answers, in [first, first + bytes): by large
 * blocks where it is, and by pages at the ends.
 */
static void set_present(struct plat *p, uint64_t first, uint64_t bytes, bool present)
{
	uint64_t end = first + bytes;
	uint64_t blocks = (first + VMX_SIZE_2M - 1) / VMX_SIZE_2M, blocks_end = end / VMX_SIZE_2M;

	if (blocks >= blocks_end) {
		set_bits(p->present, first >> VMX_PAGE_SHIFT, end >> VMX_PAGE_SHIFT, present);
		return;
	}
	set_bits(p->present, first >> VMX_PAGE_SHIFT, blocks * BLOCK_PAGES, present);
	set_bits(p->blocks, blocks, blocks_end, present);
	set_bits(p->present, blocks_end * BLOCK_PAGES, end >> VMX_PAGE_SHIFT, present);
}

static bool is_present(const struct plat *p, hpa_t addr)
{
	uint64_t page = addr.v >> VMX_PAGE_SHIFT, block = addr.v / VMX_SIZE_2M;

	if (addr.v >= p->cfg.arena_bytes)
		return false;
	return (plat_load(&p->blocks[block / 64]) >> (block % 64) & 1) ||
	       (plat_load(&p->present[page / 64]) >> (page % 64) & 1);
}

static int map_anon(struct plat *p, uint64_t first, uint64_t bytes, int extra_flags)
{
	void *at = mmap(p->base + first, bytes, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | extra_flags, -1, 0);

	return at == MAP_FAILED ? -errno : 0;
}

/* Back to reserved address space. It can't fail for want of memory: nothing is charged. */
static void unmap(struct plat *p, uint64_t first, uint64_t bytes)
{
	void *at = mmap(p->base + first, bytes, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED)
		abort();
}

/* --- the machine ---------------------------------------------------------------------------- */

static int check_config(struct plat_user_config *cfg)
{
	if (cfg->arena_bytes == 0)
		cfg->arena_bytes = ARENA_DEFAULT_BYTES;
	if (cfg->maxphyaddr == 0)
		cfg->maxphyaddr = MAXPHYADDR_DEFAULT;
	if (cfg->maxphyaddr < MAXPHYADDR_MIN || cfg->maxphyaddr > MAXPHYADDR_MAX)
		return -EINVAL;
	if (cfg->cpus < 1 || cfg->cpus > 64)
		return -EINVAL;
	if (cfg->arena_bytes % VMX_PAGE_SIZE != 0 || cfg->arena_bytes < ARENA_MIN_BYTES ||
	    cfg->arena_bytes > UINT64_C(1) << cfg->maxphyaddr)
		return -EINVAL;
	/* Page numbers are kept in 32 bits. */
	if (cfg->arena_bytes >> VMX_PAGE_SHIFT > UINT32_MAX)
		return -EINVAL;
	return 0;
}

/*
 * Reserves the arena. Its base is aligned to 1 GiB, so that an aligned host-physical
 * address is an aligned pointer and the host can give huge pages.
 */
static int reserve_arena(struct plat *p)
{
	uintptr_t aligned;

	p->reserved_bytes = p->cfg.arena_bytes + VMX_SIZE_1G;
	p->reserved = mmap(NULL, p->reserved_bytes, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p->reserved == MAP_FAILED)
		return -ENOMEM;
	aligned = ((uintptr_t)p->reserved + VMX_SIZE_1G - 1) & ~(uintptr_t)(VMX_SIZE_1G - 1);
	p->base = p->reserved + (aligned - (uintptr_t)p->reserved);
	return 0;
}

int plat_user_create(const struct plat_user_config *cfg, struct plat **ret)
{
	struct plat *p = calloc(1, sizeof(*p));
	uint64_t pages;
	int rc;

	if (!p)
		return -ENOMEM;
	p->cfg = *cfg;
	rc = check_config(&p->cfg);
	if (rc)
		goto fail_free;
	rc = reserve_arena(p);
	if (rc)
		goto fail_free;
	pages = (p->cfg.arena_bytes / VMX_PAGE_SIZE + 63) / 64;
	p->present_bytes = (pages + pages / BLOCK_PAGES + 1) * sizeof(uint64_t);
	p->present = mmap(NULL, p->present_bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p->present == MAP_FAILED) {
		rc = -ENOMEM;
		goto fail_arena;
	}
	p->blocks = p->present + pages;
	rc = gaps_reserve(p, 0);
	if (rc)
		goto fail_present;
	gap_insert(p, 0,
		   (struct gap){PLAT_USER_FIRST_HPA, p->cfg.arena_bytes - PLAT_USER_FIRST_HPA});
	rc = pthread_mutex_init(&p->lock, NULL) ? -ENOMEM : 0;
	if (rc)
		goto fail_gaps;
	plat_lock_init(&p->pool_lock);
	p->random = p->cfg.seed;
	*ret = p;
	return 0;

fail_gaps:
	free(p->gaps);
fail_present:
	munmap(p->present, p->present_bytes);
fail_arena:
	munmap(p->reserved, p->reserved_bytes);
fail_free:
	free(p);
	return rc;
}

size_t plat_user_destroy(struct plat *p)
{
	size_t left;

	if (!p)
		return 0;
	left = p->pages_used + p->slots;
	plat_guard_remove(p->base);
	pthread_mutex_destroy(&p->lock);
	free(p->free_pages);
	free(p->gaps);
	munmap(p->present, p->present_bytes);
	munmap(p->reserved, p->reserved_bytes);
	free(p);
	return left;
}

uint8_t *plat_user_base(struct plat *p)
{
	return p->base;
}

uint64_t plat_user_pages_lost(struct plat *p)
{
	return plat_guard_lost(p->base);
}

uint64_t plat_user_arena_bytes(struct plat *p)
{
	return p->cfg.arena_bytes;
}

unsigned plat_maxphyaddr(struct plat *p)
{
	return p->cfg.maxphyaddr;
}

unsigned plat_cpu_count(struct plat *p)
{
	return p->cfg.cpus;
}

void plat_cpu_kick(struct plat *p, unsigned cpu)
{
	if (p->cfg.kick)
		p->cfg.kick(p->cfg.kick_ctx, cpu);
}

void plat_mem_written(struct plat *p, hpa_t addr, uint64_t size)
{
	if (p->cfg.written)
		p->cfg.written(p->cfg.written_ctx, addr, size);
}

void *plat_hpa_ptr(struct plat *p, hpa_t addr)
{
	return is_present(p, addr) ? p->base + addr.v : NULL;
}

/* --- pages -------------------------------------------------------------------------------- */

/* Room on the stack for every page of a larger pool; by doubling. pool_lock is not held. */
static int stack_grow(struct plat *p, size_t pages)
{
	size_t room = pages > 2 * p->free_room ? pages : 2 * p->free_room;
	uint32_t *stack, *old;

	if (pages <= p->free_room)
		return 0;
	stack = malloc(room * sizeof(*stack));
	if (!stack)
		return -ENOMEM;
	plat_lock(&p->pool_lock);
	if (p->free_count != 0)
		memcpy(stack, p->free_pages, p->free_count * sizeof(*stack));
	old = p->free_pages;
	p->free_pages = stack;
	p->free_room = room;
	plat_unlock(&p->pool_lock);
	free(old);
	return 0;
}

/*
 * Adds one chunk to the pool: aligned, so that the host can give a huge page for it. p->lock
 * is held; pool_lock is not.
 */
static int pool_grow(struct plat *p)
{
	uint64_t first;
	int rc = stack_grow(p, p->pool_pages + CHUNK_PAGES);

	if (rc)
		return rc;
	rc = piece_take(p, CHUNK_BYTES, CHUNK_BYTES, &first);
	if (rc)
		return rc;
	rc = map_anon(p, first, CHUNK_BYTES, 0);
	if (rc) {
		piece_give(p, first, CHUNK_BYTES);
		return rc;
	}
	/* If not, then not. */
	(void)madvise(p->base + first, CHUNK_BYTES, MADV_HUGEPAGE);
	plat_lock(&p->pool_lock);
	p->pool_pages += CHUNK_PAGES;
	for (size_t i = CHUNK_PAGES; i-- > 0;) /* the lowest is handed out first */
		p->free_pages[p->free_count++] = (uint32_t)((first >> VMX_PAGE_SHIFT) + i);
	plat_unlock(&p->pool_lock);
	return 0;
}

static bool pool_pop(struct plat *p, uint64_t *ret_page)
{
	bool got = false;

	plat_lock(&p->pool_lock);
	if (p->free_count != 0) {
		*ret_page = p->free_pages[--p->free_count];
		p->pages_used++;
		got = true;
	}
	plat_unlock(&p->pool_lock);
	return got;
}

void *plat_page_alloc_raw(struct plat *p, hpa_t *ret_hpa)
{
	uint64_t page;

	while (!pool_pop(p, &page)) {
		int rc = 0;

		pthread_mutex_lock(&p->lock);
		/* Another thread may have grown it meanwhile. */
		plat_lock(&p->pool_lock);
		bool empty = p->free_count == 0;
		plat_unlock(&p->pool_lock);
		if (empty)
			rc = pool_grow(p);
		pthread_mutex_unlock(&p->lock);
		if (rc)
			return NULL;
	}
	set_present(p, page * VMX_PAGE_SIZE, VMX_PAGE_SIZE, true);
	*ret_hpa = hpa(page * VMX_PAGE_SIZE);
	return p->base + page * VMX_PAGE_SIZE;
}

void *plat_page_alloc(struct plat *p, hpa_t *ret_hpa)
{
	void *ptr = plat_page_alloc_raw(p, ret_hpa);

	if (ptr)
		memset(ptr, 0, VMX_PAGE_SIZE);
	return ptr;
}

void plat_page_free(struct plat *p, void *page, hpa_t addr)
{
	/* A second free, or a page that isn't one, would corrupt the pool. */
	if (!is_present(p, addr) || page != p->base + addr.v)
		abort();
	set_present(p, addr.v, VMX_PAGE_SIZE, false);
	memset(page, FREED_BYTE, VMX_PAGE_SIZE);
	plat_lock(&p->pool_lock);
	p->free_pages[p->free_count++] = (uint32_t)(addr.v >> VMX_PAGE_SHIFT);
	p->pages_used--;
	plat_unlock(&p->pool_lock);
}

size_t plat_user_pages_used(struct plat *p)
{
	size_t used;

	plat_lock(&p->pool_lock);
	used = p->pages_used;
	plat_unlock(&p->pool_lock);
	return used;
}

/* --- slots ---------------------------------------------------------------------------------- */

/* splitmix64: any seed is good, and the sequence is the same everywhere. */
static uint64_t next_random(struct plat *p)
{
	uint64_t z = p->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static int shuffle(struct plat *p, struct plat_mem *m)
{
	size_t pages = (size_t)(m->size >> VMX_PAGE_SHIFT);

	m->order = calloc(pages, sizeof(*m->order));
	if (!m->order)
		return -ENOMEM;
	for (size_t i = 0; i < pages; i++)
		m->order[i] = (uint32_t)i;
	for (size_t i = pages - 1; i > 0; i--) {
		size_t j = (size_t)(next_random(p) % (i + 1));
		uint32_t other = m->order[j];

		m->order[j] = m->order[i];
		m->order[i] = other;
	}
	return 0;
}

static uint64_t alignment_for(uint64_t size)
{
	return size >= VMX_SIZE_1G ? VMX_SIZE_1G : size >= VMX_SIZE_2M ? VMX_SIZE_2M : VMX_SIZE_4K;
}

/* Where byte offset (a multiple of 4096 is not required) of the slot lies. */
static uint64_t mem_hpa(const struct plat_mem *m, uint64_t offset)
{
	uint64_t page = offset >> VMX_PAGE_SHIFT;

	if (m->order)
		page = m->order[page];
	return m->first + (page << VMX_PAGE_SHIFT) + offset % VMX_PAGE_SIZE;
}

static int map_huge(struct plat *p, struct plat_mem *m)
{
	int rc;

	if (m->size % VMX_SIZE_2M == 0 && !m->order) {
		rc = map_anon(p, m->first, m->size, MAP_HUGETLB | MAP_HUGE_2MB);
		if (rc == 0) {
			m->huge = true;
			return 0;
		}
	}
	rc = map_anon(p, m->first, m->size, MAP_NORESERVE);
	if (rc == 0 && madvise(p->base + m->first, m->size, MADV_HUGEPAGE) != 0 && errno != EINVAL)
		rc = -errno; /* EINVAL: this kernel has no transparent huge pages */
	return rc;
}

/*
 * A file that shrinks later would turn accesses into SIGBUS. A memfd that allows
 * sealing is sealed against it; under other files the arena is guarded.
 */
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
	(void)fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK);
	return 0;
}

static int map_file(struct plat *p, struct plat_mem *m, int fd, uint64_t file_offset)
{
	uint64_t step = m->order ? VMX_PAGE_SIZE : m->size;
	int rc = plat_guard_add(p->base, p->cfg.arena_bytes);

	if (rc)
		return rc;
	for (uint64_t offset = 0; offset < m->size; offset += step) {
		void *at = mmap(p->base + mem_hpa(m, offset), step, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_FIXED, fd, (off_t)(file_offset + offset));

		if (at == MAP_FAILED)
			return -errno;
	}
	return 0;
}

/* Memory that the process has mapped already. */
struct adoption {
	struct plat *p;
	struct plat_mem *m;
	uint64_t offset; /* in the slot, of the next piece */
};

/*
 * mremap() of nothing, made larger: the same pages a second time. It chooses the place, for
 * where it is told one it unmaps that first, and may fail afterwards.
 */
static int adopt_piece(void *ctx, uintptr_t at, uint64_t bytes)
{
	struct adoption *a = ctx;
	uint64_t step = a->m->order ? VMX_PAGE_SIZE : bytes;
	uint8_t *again = mremap((void *)at, 0, bytes, MREMAP_MAYMOVE);

	if (again == MAP_FAILED)
		return errno == EINVAL ? -EOPNOTSUPP : -errno;
	for (uint64_t done = 0; done < bytes; done += step, a->offset += step) {
		void *to = a->p->base + mem_hpa(a->m, a->offset);

		if (mremap(again + done, step, step, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to) {
			int rc = -errno;

			munmap(again + done, bytes - done);
			return rc;
		}
	}
	return 0;
}

static int map_adopted(struct plat *p, struct plat_mem *m, void *address)
{
	struct adoption a = {.p = p, .m = m};
	int rc = plat_guard_add(p->base, p->cfg.arena_bytes);

	return rc ? rc : plat_shared_pieces((uintptr_t)address, m->size, adopt_piece, &a);
}

/* Where a slot's memory comes from. */
struct source {
	enum plat_mem_kind kind;
	int fd;
	uint64_t file_offset;
	void *address; /* not NULL: mapped there, instead of all that */
};

static int map_source(struct plat *p, struct plat_mem *m, const struct source *from)
{
	if (from->address)
		return map_adopted(p, m, from->address);
	switch (from->kind) {
	case PLAT_MEM_ANON:
		return map_anon(p, m->first, m->size, MAP_NORESERVE);
	case PLAT_MEM_HUGE_2M:
		return map_huge(p, m);
	case PLAT_MEM_FILE:
		return map_file(p, m, from->fd, from->file_offset);
	}
	return -EINVAL;
}

/* size is right. */
static int mem_new(struct plat *p, uint64_t size, const struct source *from, struct plat_mem **ret)
{
	struct plat_mem *m;
	int rc;

	if (size > p->cfg.arena_bytes)
		return -ENOMEM;
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->size = size;
	m->file = from->address || from->kind == PLAT_MEM_FILE;

	pthread_mutex_lock(&p->lock);
	rc = p->cfg.scatter ? shuffle(p, m) : 0;
	if (rc)
		goto fail;
	rc = piece_take(p, size, alignment_for(size), &m->first);
	if (rc)
		goto fail;
	rc = map_source(p, m, from);
	if (rc) {
		unmap(p, m->first, size);
		piece_give(p, m->first, size);
		goto fail;
	}
	set_present(p, m->first, size, true);
	p->slots++;
	pthread_mutex_unlock(&p->lock);
	*ret = m;
	return 0;

fail:
	pthread_mutex_unlock(&p->lock);
	free(m->order);
	free(m);
	return rc;
}

int plat_mem_create(struct plat *p, enum plat_mem_kind kind, uint64_t size, int fd,
		    uint64_t file_offset, struct plat_mem **ret)
{
	const struct source from = {.kind = kind, .fd = fd, .file_offset = file_offset};
	int rc;

	if (size == 0 || size % VMX_PAGE_SIZE != 0)
		return -EINVAL;
	if (kind == PLAT_MEM_FILE) {
		rc = check_file(fd, file_offset, size);
		if (rc)
			return rc;
	}
	return mem_new(p, size, &from, ret);
}

int plat_mem_adopt(struct plat *p, void *address, uint64_t size, struct plat_mem **ret)
{
	const struct source from = {.address = address};
	uintptr_t at = (uintptr_t)address;

	if (size == 0 || size % VMX_PAGE_SIZE != 0 || at % VMX_PAGE_SIZE != 0 ||
	    vmx_range_bad(at, size))
		return -EINVAL;
	return address ? mem_new(p, size, &from, ret) : -EFAULT;
}

void plat_mem_destroy(struct plat *p, struct plat_mem *m)
{
	if (!m)
		return;
	pthread_mutex_lock(&p->lock);
	set_present(p, m->first, m->size, false);
	unmap(p, m->first, m->size);
	piece_give(p, m->first, m->size);
	p->slots--;
	pthread_mutex_unlock(&p->lock);
	free(m->order);
	free(m);
}

int plat_mem_extent(const struct plat_mem *m, uint64_t offset, uint64_t max_bytes, hpa_t *ret_hpa,
		    uint64_t *ret_bytes)
{
	uint64_t first, bytes;

	if (max_bytes == 0 || offset >= m->size || m->size - offset < max_bytes)
		return -ERANGE;
	first = mem_hpa(m, offset);
	bytes = max_bytes;
	if (m->order) {
		bytes = VMX_PAGE_SIZE - offset % VMX_PAGE_SIZE;
		while (bytes < max_bytes && mem_hpa(m, offset + bytes) == first + bytes)
			bytes += VMX_PAGE_SIZE;
		if (bytes > max_bytes)
			bytes = max_bytes;
	}
	*ret_hpa = hpa(first);
	*ret_bytes = bytes;
	return 0;
}

uint64_t plat_mem_size(const struct plat_mem *m)
{
	return m->size;
}

bool plat_mem_is_huge(const struct plat_mem *m)
{
	return m->huge;
}

int plat_mem_read(struct plat *p, const struct plat_mem *m, uint64_t offset, void *buf, size_t len)
{
	uint8_t *to = buf;

	if (offset > m->size || m->size - offset < len)
		return -ERANGE;
	while (len != 0) {
		hpa_t at;
		uint64_t bytes;
		int rc = plat_mem_extent(m, offset, len, &at, &bytes);

		if (rc)
			return rc;
		plat_copy_from_guest(to, p->base + at.v, (size_t)bytes);
		to += bytes;
		offset += bytes;
		len -= (size_t)bytes;
	}
	return 0;
}

int plat_mem_fill(struct plat *p, struct plat_mem *m, uint64_t offset, const void *buf, size_t len)
{
	const uint8_t *from = buf;

	if (offset > m->size || m->size - offset < len)
		return -ERANGE;
	while (len != 0) {
		hpa_t at;
		uint64_t bytes;
		int rc = plat_mem_extent(m, offset, len, &at, &bytes);

		if (rc)
			return rc;
		plat_copy_to_guest(p->base + at.v, from, (size_t)bytes);
		from += bytes;
		offset += bytes;
		len -= (size_t)bytes;
	}
	return 0;
}

int plat_mem_write(struct plat *p, struct plat_mem *m, uint64_t offset, const void *buf, size_t len)
{
	uint64_t end = offset + len, bytes;
	int rc = plat_mem_fill(p, m, offset, buf, len);
	hpa_t at;

	for (; rc == 0 && offset < end; offset += bytes) {
		rc = plat_mem_extent(m, offset, end - offset, &at, &bytes);
		if (rc == 0)
			plat_mem_written(p, at, bytes);
	}
	return rc;
}

void plat_mem_discard(struct plat *p, struct plat_mem *m, uint64_t offset, uint64_t bytes)
{
	uint8_t *at = p->base + m->first + offset;

	/* It fails for locked memory, and for huge pages on older kernels. */
	if (madvise(at, bytes, MADV_DONTNEED) != 0 && !m->file)
		memset(at, 0, bytes);
}
