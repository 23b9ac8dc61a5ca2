/* SPDX-License-Identifier: MIT */
/* The user-space platform: pages, slots, extents, scatter, files, locks. */
#include "mem_fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static struct plat *machine(struct plat_user_config cfg)
{
	struct plat *p = NULL;

	if (cfg.cpus == 0)
		cfg.cpus = 1;
	assert_int_equal(plat_user_create(&cfg, &p), 0);
	return p;
}

static const struct {
	struct plat_user_config cfg;
	int error;
} configs[] = {
	{{.cpus = 1}, 0},
	{{.cpus = 64}, 0},
	{{.cpus = 0}, -EINVAL},
	{{.cpus = 65}, -EINVAL},
	{{.cpus = 1, .maxphyaddr = 35}, -EINVAL},
	{{.cpus = 1, .maxphyaddr = 53}, -EINVAL},
	{{.cpus = 1, .maxphyaddr = 52}, 0},
	{{.cpus = 1, .maxphyaddr = 36, .arena_bytes = UINT64_C(64) << 30}, 0},
	{{.cpus = 1, .maxphyaddr = 36, .arena_bytes = UINT64_C(65) << 30}, -EINVAL},
	{{.cpus = 1, .arena_bytes = 4096}, -EINVAL},
	{{.cpus = 1, .arena_bytes = MiB(16) + 1}, -EINVAL},
};

static void test_configs(void **state)
{
	(void)state;
	for (size_t i = 0; i < VMX_ARRAY_SIZE(configs); i++) {
		struct plat *p = NULL;

		assert_int_equal(plat_user_create(&configs[i].cfg, &p), configs[i].error);
		if (p)
			assert_int_equal(plat_user_destroy(p), 0);
	}
}

static void test_defaults(void **state)
{
	struct plat *p = machine((struct plat_user_config){.cpus = 3});

	(void)state;
	assert_int_equal(plat_user_arena_bytes(p), GiB(256));
	assert_int_equal(plat_maxphyaddr(p), 46);
	assert_int_equal(plat_cpu_count(p), 3);
	assert_int_equal((uintptr_t)plat_user_base(p) % VMX_SIZE_1G, 0);
	plat_cpu_kick(p, 0); /* without hooks: nothing */
	plat_mem_written(p, hpa(0), 1);
	assert_int_equal(plat_user_destroy(p), 0);
}

/* Pages are distinct, zeroed also the second time, and gone when they are free. */
static void test_pages(void **state)
{
	enum { N = 3000 };
	static void *pages[N];
	static hpa_t at[N];
	static const uint8_t zero[4096];
	struct plat *p = machine((struct plat_user_config){0});

	(void)state;
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < N; i++) {
			pages[i] = plat_page_alloc(p, &at[i]);
			assert_non_null(pages[i]);
			assert_true(at[i].v >= PLAT_USER_FIRST_HPA && at[i].v % 4096 == 0);
			assert_ptr_equal(pages[i], plat_hpa_ptr(p, at[i]));
			assert_ptr_equal(pages[i], plat_user_base(p) + at[i].v);
			assert_memory_equal(pages[i], zero, 4096);
			memset(pages[i], (int)i | 1, 4096);
		}
		for (unsigned i = 0; i < N; i++)
			assert_int_equal(*(uint8_t *)pages[i], (uint8_t)(i | 1));
		assert_int_equal(plat_user_pages_used(p), N);
		for (unsigned i = 0; i < N; i++) {
			plat_page_free(p, pages[i], at[i]);
			assert_null(plat_hpa_ptr(p, at[i]));
		}
		assert_int_equal(plat_user_pages_used(p), 0);
	}
	assert_null(plat_hpa_ptr(p, hpa(0)));
	assert_null(plat_hpa_ptr(p, hpa(GiB(256))));
	assert_null(plat_hpa_ptr(p, hpa(UINT64_MAX)));
	assert_int_equal(plat_user_destroy(p), 0);
}

static void test_leaks_are_told(void **state)
{
	struct plat *p = machine((struct plat_user_config){0});
	struct plat_mem *m;
	hpa_t at;

	(void)state;
	assert_non_null(plat_page_alloc(p, &at));
	assert_non_null(plat_page_alloc(p, &at));
	assert_int_equal(plat_mem_create(p, PLAT_MEM_ANON, 4096, -1, 0, &m), 0);
	assert_int_equal(plat_user_destroy(p), 3);
	/* The slot's own record is the only thing left. */
	free(m);
}

static const struct {
	uint64_t size, align;
} alignments[] = {
	{4096, 4096},	    {MiB(1), 4096},   {MiB(2), MiB(2)}, {MiB(2) + 4096, MiB(2)},
	{MiB(512), MiB(2)}, {GiB(1), GiB(1)}, {GiB(3), GiB(1)},
};

static void test_slots(void **state)
{
	struct plat *p = machine((struct plat_user_config){0});
	struct plat_mem *m[VMX_ARRAY_SIZE(alignments)];
	uint64_t bytes;
	hpa_t at;

	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		for (size_t i = 0; i < VMX_ARRAY_SIZE(alignments); i++) {
			uint64_t size = alignments[i].size;

			assert_int_equal(plat_mem_create(p, PLAT_MEM_ANON, size, -1, 0, &m[i]), 0);
			assert_int_equal(plat_mem_size(m[i]), size);
			assert_int_equal(plat_mem_extent(m[i], 0, size, &at, &bytes), 0);
			assert_int_equal(bytes, size);
			assert_int_equal(at.v % alignments[i].align, 0);
			assert_non_null(plat_hpa_ptr(p, hpa(at.v + size - 1)));
			assert_int_equal(*(uint8_t *)plat_hpa_ptr(p, hpa(at.v + size - 4096)), 0);
			memset(plat_hpa_ptr(p, hpa(at.v + size - 4096)), 1, 4096);
			assert_int_equal(plat_mem_extent(m[i], size, 4096, &at, &bytes), -ERANGE);
			assert_int_equal(plat_mem_extent(m[i], size - 4096, 8192, &at, &bytes),
					 -ERANGE);
			assert_int_equal(plat_mem_extent(m[i], 0, 0, &at, &bytes), -ERANGE);
		}
		/* They don't overlap: each still has its own. */
		for (size_t i = VMX_ARRAY_SIZE(alignments); i-- > 0;) {
			plat_mem_extent(m[i], 0, 4096, &at, &bytes);
			plat_mem_destroy(p, m[i]);
			assert_null(plat_hpa_ptr(p, at));
		}
	}
	assert_int_equal(plat_mem_create(p, PLAT_MEM_ANON, 0, -1, 0, &m[0]), -EINVAL);
	assert_int_equal(plat_mem_create(p, PLAT_MEM_ANON, 4097, -1, 0, &m[0]), -EINVAL);
	assert_int_equal(plat_mem_create(p, PLAT_MEM_ANON, GiB(256), -1, 0, &m[0]), -ENOMEM);
	assert_int_equal(
		plat_mem_create(p, PLAT_MEM_ANON, UINT64_MAX & ~UINT64_C(4095), -1, 0, &m[0]),
		-ENOMEM);
	assert_int_equal(plat_mem_create(p, 7, 4096, -1, 0, &m[0]), -EINVAL);
	plat_mem_destroy(p, NULL);
	assert_int_equal(plat_user_destroy(p), 0);
}

/* Pieces come and go at random; none overlaps another, and at the end all is whole again. */
static void test_pieces(void **state)
{
	enum { N = 40 };
	struct plat *p = machine((struct plat_user_config){.arena_bytes = MiB(64)});
	struct plat_mem *m[N] = {0};
	uint64_t random = 4, bytes;
	hpa_t at;

	(void)state;
	for (unsigned step = 0; step < 1500; step++) {
		unsigned i = (unsigned)(test_random(&random) % N);

		if (m[i]) {
			uint32_t mark;

			assert_int_equal(plat_mem_read(p, m[i], plat_mem_size(m[i]) - 4, &mark, 4),
					 0);
			assert_int_equal(mark, i);
			plat_mem_destroy(p, m[i]);
			m[i] = NULL;
			continue;
		}
		if (plat_mem_create(p, PLAT_MEM_ANON,
				    4096 * (1 + test_random(&random) %
							(test_random(&random) % 2 ? 1500 : 9)),
				    -1, 0, &m[i]) == 0) {
			for (uint64_t o = 4092; o < plat_mem_size(m[i]); o += 4096)
				assert_int_equal(plat_mem_write(p, m[i], o, &(uint32_t){i}, 4), 0);
		}
	}
	for (unsigned i = 0; i < N; i++)
		plat_mem_destroy(p, m[i]);
	assert_int_equal(plat_mem_create(p, PLAT_MEM_ANON, MiB(60), -1, 0, &m[0]), 0);
	plat_mem_extent(m[0], 0, 4096, &at, &bytes);
	assert_int_equal(at.v, MiB(2));
	plat_mem_destroy(p, m[0]);
	assert_int_equal(plat_user_destroy(p), 0);
}

/* Scatter: every page once, hardly any two adjacent, the same for the same seed. */
static void test_scatter(void **state)
{
	enum { PAGES = 4096 };
	static uint8_t seen[PAGES];
	uint64_t first[2] = {0, 0}, bytes, adjacent = 0;
	struct plat_mem *m;
	hpa_t at, base = {UINT64_MAX};

	(void)state;
	for (unsigned seed = 0; seed < 3; seed++) {
		struct plat *p =
			machine((struct plat_user_config){.scatter = true, .seed = seed / 2});
		uint64_t sum = 0;

		memset(seen, 0, sizeof(seen));
		adjacent = 0;
		assert_int_equal(plat_mem_create(p, PLAT_MEM_ANON, PAGES * 4096, -1, 0, &m), 0);
		base.v = UINT64_MAX;
		for (uint64_t i = 0; i < PAGES; i++) {
			assert_int_equal(plat_mem_extent(m, i * 4096, 4096, &at, &bytes), 0);
			base.v = at.v < base.v ? at.v : base.v;
		}
		for (uint64_t i = 0; i < PAGES; i++) {
			assert_int_equal(
				plat_mem_extent(m, i * 4096, (PAGES - i) * 4096, &at, &bytes), 0);
			assert_int_equal(seen[(at.v - base.v) / 4096]++, 0);
			adjacent += bytes > 4096;
			sum = sum * 31 + at.v;
		}
		assert_true(adjacent < 16);
		if (seed < 2)
			first[seed] = sum;
		else
			assert_int_not_equal(sum, first[0]);
		plat_mem_destroy(p, m);
		assert_int_equal(plat_user_destroy(p), 0);
	}
	assert_int_equal(first[0], first[1]);
}

/* --- files ------------------------------------------------------------------------------------ */

static void file_slot(bool scatter)
{
	struct plat *p = machine((struct plat_user_config){.scatter = scatter, .seed = 1});
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	static uint8_t buf[8 * 4096], back[sizeof(buf)];
	struct plat_mem *m;

	assert_true(fd >= 0);
	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i / 4096 * 16 + i % 13);
	assert_int_equal(pwrite(fd, buf, sizeof(buf), 0), sizeof(buf));
	assert_int_equal(plat_mem_create(p, PLAT_MEM_FILE, sizeof(buf), fd, 4096, &m), -EFBIG);
	assert_int_equal(plat_mem_create(p, PLAT_MEM_FILE, 4096, fd, 1, &m), -EINVAL);
	assert_int_equal(
		plat_mem_create(p, PLAT_MEM_FILE, 4096, fd, UINT64_MAX & ~UINT64_C(4095), &m),
		-EINVAL);
	assert_int_equal(plat_mem_create(p, PLAT_MEM_FILE, 4096, -1, 0, &m), -EBADF);
	assert_int_equal(plat_mem_create(p, PLAT_MEM_FILE, 7 * 4096, fd, 4096, &m), 0);
	assert_int_equal(plat_mem_read(p, m, 0, back, 7 * 4096), 0);
	assert_memory_equal(back, buf + 4096, 7 * 4096);
	/* Shared: the file sees it. The file can't shrink under it any more. */
	assert_int_equal(plat_mem_write(p, m, 5 * 4096 - 3, "abcdef", 6), 0);
	assert_int_equal(pread(fd, back, 6, 6 * 4096 - 3), 6);
	assert_memory_equal(back, "abcdef", 6);
	assert_int_equal(ftruncate(fd, 0), -1);
	close(fd);
	plat_mem_destroy(p, m);
	assert_int_equal(plat_user_destroy(p), 0);
}

static void test_files(void **state)
{
	(void)state;
	file_slot(false);
	file_slot(true);
}

/* A descriptor that can't be written is refused, and nothing is left behind. */
static void test_read_only_file(void **state)
{
	struct plat *p = machine((struct plat_user_config){0});
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct plat_mem *m;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(plat_mem_create(p, PLAT_MEM_FILE, 4096, fd, 0, &m), -EACCES);
	close(fd);
	assert_int_equal(plat_user_destroy(p), 0);
}

/* What its owner cuts off a plain file reads as zeros, and is counted; the rest stays shared. */
static void test_file_cut_short(void **state)
{
	struct plat *p = machine((struct plat_user_config){0});
	char path[] = "/tmp/plat-XXXXXX", buf[4];
	int fd = mkstemp(path);
	struct plat_mem *m;

	(void)state;
	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(ftruncate(fd, 3 * 4096), 0);
	assert_int_equal(plat_mem_create(p, PLAT_MEM_FILE, 3 * 4096, fd, 0, &m), 0);
	assert_int_equal(plat_mem_write(p, m, 0, "kept", 4), 0);
	assert_int_equal(plat_mem_write(p, m, 4096, "gone", 4), 0);
	assert_int_equal(plat_user_pages_lost(p), 0);
	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_int_equal(plat_mem_read(p, m, 4096, buf, 4), 0);
	assert_memory_equal(buf, "\0\0\0\0", 4);
	assert_int_equal(plat_user_pages_lost(p), 1);
	assert_int_equal(plat_mem_write(p, m, 8192, "more", 4), 0);
	assert_int_equal(plat_mem_read(p, m, 8192, buf, 4), 0);
	assert_memory_equal(buf, "more", 4);
	assert_int_equal(plat_user_pages_lost(p), 2);
	assert_int_equal(plat_mem_read(p, m, 0, buf, 4), 0);
	assert_memory_equal(buf, "kept", 4);
	assert_int_equal(plat_user_pages_lost(p), 2);
	close(fd);
	plat_mem_destroy(p, m);
	assert_int_equal(plat_user_destroy(p), 0);
}

static void test_huge(void **state)
{
	struct plat *p = machine((struct plat_user_config){0});
	struct plat_mem *m;
	uint64_t bytes;
	hpa_t at;

	(void)state;
	/* Whether the host has huge pages to give or not, it is usable memory, aligned. */
	assert_int_equal(plat_mem_create(p, PLAT_MEM_HUGE_2M, MiB(8), -1, 0, &m), 0);
	assert_int_equal(plat_mem_extent(m, 0, MiB(8), &at, &bytes), 0);
	assert_int_equal(at.v % MiB(2), 0);
	assert_int_equal(plat_mem_write(p, m, MiB(8) - 2, "x", 2), 0);
	(void)plat_mem_is_huge(m);
	plat_mem_destroy(p, m);
	/* Not a multiple of 2 MiB: never. */
	assert_int_equal(plat_mem_create(p, PLAT_MEM_HUGE_2M, MiB(2) + 4096, -1, 0, &m), 0);
	assert_false(plat_mem_is_huge(m));
	plat_mem_destroy(p, m);
	assert_int_equal(plat_user_destroy(p), 0);
}

/* --- reading and writing, hooks ------------------------------------------------------------ */

struct written {
	uint64_t bytes, calls;
	unsigned kicked;
};

static void on_written(void *ctx, hpa_t at, uint64_t size)
{
	struct written *w = ctx;

	(void)at;
	w->bytes += size;
	w->calls++;
}

static void on_kick(void *ctx, unsigned cpu)
{
	struct written *w = ctx;

	w->kicked = cpu;
}

static void test_copies(void **state)
{
	struct written w = {0};
	struct plat *p = machine((struct plat_user_config){.cpus = 8,
							   .scatter = true,
							   .written = on_written,
							   .written_ctx = &w,
							   .kick = on_kick,
							   .kick_ctx = &w});
	static uint8_t in[9000], out[9000];
	struct plat_mem *m;

	(void)state;
	assert_int_equal(plat_mem_create(p, PLAT_MEM_ANON, MiB(1), -1, 0, &m), 0);
	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(i * 7 + i / 256);
	for (size_t len = 0; len < sizeof(in); len += 1 + len / 3) {
		for (unsigned offset = 4090; offset < 4106; offset++) {
			w.bytes = 0;
			memset(out, 0xff, sizeof(out));
			assert_int_equal(plat_mem_write(p, m, offset, in, len), 0);
			assert_int_equal(w.bytes, len);
			assert_int_equal(plat_mem_read(p, m, offset, out, len), 0);
			assert_memory_equal(in, out, len);
		}
	}
	assert_int_equal(plat_mem_read(p, m, MiB(1) - 1, out, 2), -ERANGE);
	assert_int_equal(plat_mem_write(p, m, MiB(1) + 1, in, 0), -ERANGE);
	assert_int_equal(plat_mem_write(p, m, UINT64_MAX, in, 1), -ERANGE);
	assert_int_equal(plat_mem_write(p, m, MiB(1), in, 0), 0);
	plat_cpu_kick(p, 6);
	assert_int_equal(w.kicked, 6);
	plat_mem_destroy(p, m);
	assert_int_equal(plat_user_destroy(p), 0);
}

static void test_small_memory(void **state)
{
	uint8_t *b = plat_calloc(100, 3);

	(void)state;
	assert_non_null(b);
	for (unsigned i = 0; i < 300; i++)
		assert_int_equal(b[i], 0);
	plat_free(b);
	plat_free(NULL);
	assert_null(plat_calloc(SIZE_MAX / 2, 4));
}

/* --- threads ------------------------------------------------------------------------------- */

struct shared {
	struct plat *p;
	struct plat_lock lock;
	struct plat_mutex *mutex;
	uint64_t spin_counter, mutex_counter;
};

static void *worker(void *arg)
{
	struct shared *s = arg;

	for (unsigned i = 0; i < 5000; i++) {
		struct plat_mem *m = NULL;
		hpa_t at;
		void *page;

		plat_lock(&s->lock);
		s->spin_counter++;
		plat_unlock(&s->lock);
		plat_mutex_lock(s->mutex);
		s->mutex_counter++;
		plat_mutex_unlock(s->mutex);
		page = plat_page_alloc(s->p, &at);
		if (i % 50 == 0 && plat_mem_create(s->p, PLAT_MEM_ANON, 8192, -1, 0, &m) != 0)
			abort();
		if (!page)
			abort();
		*(uint64_t *)page = i;
		plat_page_free(s->p, page, at);
		plat_mem_destroy(s->p, m);
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct shared s = {.p = machine((struct plat_user_config){0}), .mutex = plat_mutex_new()};
	pthread_t t[4];

	(void)state;
	plat_lock_init(&s.lock);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, worker, &s), 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(s.spin_counter, 20000);
	assert_int_equal(s.mutex_counter, 20000);
	plat_mutex_delete(s.mutex);
	plat_mutex_delete(NULL);
	assert_int_equal(plat_user_destroy(s.p), 0);
}

/* --- memory that is mapped already ---------------------------------------------------------- */

#define OWN_PAGES 6u

/* Two mappings of one memfd that lie side by side, in the other order. */
static uint8_t *own_memory(void)
{
	int fd = memfd_create("own", MFD_CLOEXEC);
	uint8_t *at = mmap(NULL, OWN_PAGES * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const size_t half = OWN_PAGES / 2 * 4096;

	assert_true(fd >= 0 && at != MAP_FAILED);
	assert_int_equal(ftruncate(fd, OWN_PAGES * 4096), 0);
	assert_ptr_equal(
		mmap(at, half, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, (off_t)half),
		at);
	assert_ptr_equal(
		mmap(at + half, half, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0),
		at + half);
	close(fd);
	return at;
}

static void adopt(bool scatter)
{
	struct plat *p = machine((struct plat_user_config){.scatter = scatter, .seed = 3});
	uint8_t *own = own_memory(), byte;
	struct plat_mem *m;
	uint32_t i;

	for (i = 0; i < OWN_PAGES; i++)
		own[i * 4096] = (uint8_t)(i + 1);
	assert_int_equal(plat_mem_adopt(p, own + 4096, 4 * 4096, &m), 0);
	assert_int_equal(plat_mem_size(m), 4 * 4096);
	for (i = 0; i < 4; i++) {
		assert_int_equal(plat_mem_read(p, m, i * 4096, &byte, 1), 0);
		assert_int_equal(byte, i + 2);
		byte = (uint8_t)(100 + i);
		assert_int_equal(plat_mem_write(p, m, i * 4096 + 5, &byte, 1), 0);
		assert_int_equal(own[(i + 1) * 4096 + 5], 100 + i);
	}
	/* The caller's mapping goes; the pages stay. */
	munmap(own, OWN_PAGES * 4096);
	for (i = 0; i < 4; i++) {
		assert_int_equal(plat_mem_read(p, m, i * 4096, &byte, 1), 0);
		assert_int_equal(byte, i + 2);
	}
	plat_mem_destroy(p, m);
	assert_int_equal(plat_user_destroy(p), 0);
}

static void test_adopt(void **state)
{
	(void)state;
	adopt(false);
	adopt(true);
}

static void test_adopt_refused(void **state)
{
	struct plat *p = machine((struct plat_user_config){.cpus = 1});
	uint8_t *own = own_memory(), *private;
	struct plat_mem *m = NULL;

	(void)state;
	private = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(private != MAP_FAILED);
	assert_int_equal(plat_mem_adopt(p, own, 0, &m), -EINVAL);
	assert_int_equal(plat_mem_adopt(p, own, 4095, &m), -EINVAL);
	assert_int_equal(plat_mem_adopt(p, own + 1, 4096, &m), -EINVAL);
	assert_int_equal(plat_mem_adopt(p, own, ~UINT64_C(4095), &m), -EINVAL);
	assert_int_equal(plat_mem_adopt(p, NULL, 4096, &m), -EFAULT);
	assert_int_equal(plat_mem_adopt(p, private, 4096, &m), -EOPNOTSUPP);
	assert_int_equal(mprotect(own + 8192, 4096, PROT_READ), 0);
	assert_int_equal(plat_mem_adopt(p, own, 4 * 4096, &m), -EFAULT);
	assert_int_equal(munmap(own + 8192, 4096), 0);
	assert_int_equal(plat_mem_adopt(p, own, 4 * 4096, &m), -EFAULT);
	assert_null(m);
	munmap(own, 8192);
	munmap(own + 3 * 4096, 3 * 4096);
	munmap(private, 4096);
	assert_int_equal(plat_user_destroy(p), 0);
}

/* Mapped, but behind the end of the file. */
static void test_adopt_short_file(void **state)
{
	struct plat *p = machine((struct plat_user_config){.cpus = 1});
	int fd = memfd_create("short", MFD_CLOEXEC);
	struct plat_mem *m = NULL;
	void *at;

	(void)state;
	assert_int_equal(ftruncate(fd, 4096), 0);
	at = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(at != MAP_FAILED);
	close(fd);
	assert_int_equal(plat_mem_adopt(p, at, 3 * 4096, &m), -EFAULT);
	assert_int_equal(plat_mem_adopt(p, at, 4096, &m), 0);
	plat_mem_destroy(p, m);
	munmap(at, 3 * 4096);
	assert_int_equal(plat_user_destroy(p), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_configs),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_pages),
		cmocka_unit_test(test_leaks_are_told),
		cmocka_unit_test(test_slots),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_scatter),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_read_only_file),
		cmocka_unit_test(test_huge),
		cmocka_unit_test(test_copies),
		cmocka_unit_test(test_small_memory),
		cmocka_unit_test(test_adopt),
		cmocka_unit_test(test_adopt_refused),
		cmocka_unit_test(test_adopt_short_file),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_file_cut_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
