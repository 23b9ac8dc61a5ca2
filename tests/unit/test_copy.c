/* SPDX-License-Identifier: MIT */
/* plat/copy.h: the right bytes, and words that never tear. */
#include "plat/copy.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
/* cmocka needs the headers above first. */
#include <cmocka.h>

#define ROOM 64u
#define AROUND 0xee
#define WRITES 200000u

/* Every place and length: what is copied, and nothing beside it. */
static void test_bytes(void **state)
{
	static uint8_t guest[ROOM] __attribute__((aligned(8)));
	uint8_t from[ROOM], back[ROOM];
	size_t at, len, i;

	(void)state;
	for (i = 0; i < ROOM; i++)
		from[i] = (uint8_t)(i + 1);
	for (at = 0; at < 16; at++) {
		for (len = 0; at + len <= 40; len++) {
			memset(guest, AROUND, sizeof(guest));
			memset(back, AROUND, sizeof(back));
			plat_copy_to_guest(guest + at, from, len);
			plat_copy_from_guest(back, guest + at, len);
			assert_memory_equal(back, from, len);
			assert_memory_equal(guest + at, from, len);
			for (i = 0; i < ROOM; i++) {
				if (i < at || i >= at + len)
					assert_int_equal(guest[i], AROUND);
				if (i >= len)
					assert_int_equal(back[i], AROUND);
			}
		}
	}
}

/* Each aligned word that is copied whole is copied by one access. */
static void test_units(void **state)
{
	static uint8_t guest[ROOM] __attribute__((aligned(8)));
	size_t at, len, size;

	(void)state;
	for (at = 0; at < 16; at++) {
		for (len = 1; at + len <= 40; len++) {
			bool begins[ROOM] = {false};
			size_t i = at;

			while (i < at + len) {
				begins[i] = true;
				i += plat_copy_unit(guest + i, at + len - i);
			}
			assert_int_equal(i, at + len);
			for (size = 2; size <= 8; size *= 2)
				for (i = (at + size - 1) / size * size; i + size <= at + len;
				     i += size)
					for (size_t k = 1; k < size; k++)
						assert_false(begins[i + k]);
		}
	}
}

static struct {
	uint32_t word;
	bool done;
} shared;

static void *write_words(void *arg)
{
	static const uint32_t values[] = {0, UINT32_MAX};

	(void)arg;
	for (unsigned i = 0; i < WRITES; i++)
		plat_copy_to_guest(&shared.word, &values[i & 1], sizeof(shared.word));
	plat_store(&shared.done, true);
	return NULL;
}

/* As a guest that waits for a word sees another processor's write of it. */
static void test_no_tearing(void **state)
{
	pthread_t writer;

	(void)state;
	assert_int_equal(pthread_create(&writer, NULL, write_words, NULL), 0);
	while (!plat_load(&shared.done)) {
		const uint32_t seen = plat_load(&shared.word);

		if (seen != 0 && seen != UINT32_MAX)
			fail_msg("half a word: 0x%x", (unsigned)seen);
	}
	pthread_join(writer, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_units),
		cmocka_unit_test(test_no_tearing),
	};

	return cmocka_run_group_tests_name("copy", tests, NULL, NULL);
}
