/* SPDX-License-Identifier: MIT */
/*
 * Arithmetic with known answers: a sort, a sieve, SHA-256. Option: rounds=1. Any
 * instruction that the processor gets wrong shows as a FAIL line.
 */
#include "guest/check.h"
#include "guest/print.h"
#include "guest/string.h"
#include "guest/workload.h"

#define SORT_ITEMS 4096u
#define SIEVE_LIMIT 200000u
#define SIEVE_PRIMES 17984u /* primes below 200,000 */
#define HASH_BYTES 65536u

int guest_main(uint32_t magic, uint32_t info);

static uint64_t items[SORT_ITEMS];
static uint8_t sieve[SIEVE_LIMIT];
static uint8_t message[HASH_BYTES];

static void sift_down(uint64_t *a, unsigned root, unsigned end)
{
	for (;;) {
		unsigned child = 2 * root + 1;
		uint64_t t;

		if (child >= end)
			return;
		if (child + 1 < end && a[child] < a[child + 1])
			child++;
		if (a[root] >= a[child])
			return;
		t = a[root];
		a[root] = a[child];
		a[child] = t;
		root = child;
	}
}

static void test_sort(void)
{
	uint64_t v = 1, sum = 0, sorted_sum = 0, disorder = 0;

	for (unsigned i = 0; i < SORT_ITEMS; i++) {
		v = v * 6364136223846793005ull + 1442695040888963407ull;
		items[i] = v;
		sum += v;
	}
	for (unsigned i = SORT_ITEMS / 2; i-- > 0;)
		sift_down(items, i, SORT_ITEMS);
	for (unsigned end = SORT_ITEMS - 1; end > 0; end--) {
		uint64_t t = items[0];

		items[0] = items[end];
		items[end] = t;
		sift_down(items, 0, end);
	}
	for (unsigned i = 0; i < SORT_ITEMS; i++) {
		sorted_sum += items[i];
		disorder += i && items[i - 1] > items[i];
	}
	check("sort: out of order", disorder, 0);
	check("sort: same items", sorted_sum, sum);
}

static void test_sieve(void)
{
	unsigned primes = 0;

	memset(sieve, 0, sizeof(sieve));
	for (unsigned i = 2; i < SIEVE_LIMIT; i++) {
		if (sieve[i])
			continue;
		primes++;
		for (unsigned j = i + i; j < SIEVE_LIMIT; j += i)
			sieve[j] = 1;
	}
	check("sieve: primes below 200000", primes, SIEVE_PRIMES);
}

/* SHA-256 as FIPS 180-4 gives it; its constants are computed from the first 64 primes. */
static uint32_t hash_k[64], hash_h0[8];

/* floor(2^32 * frac(p^(1/root))): the largest x with (x / 2^32)^root <= p, low 32 bits. */
static uint32_t root_fraction(uint32_t p, unsigned root)
{
	uint64_t x = 0;

	for (int bit = 36; bit >= 0; bit--) {
		uint64_t t = x | 1ull << bit;
		/* t^root <= p * 2^(32 root), in 128 bits with the last factor divided out */
		unsigned __int128 power = (unsigned __int128)t * t;
		unsigned __int128 bound = (unsigned __int128)p << 64;

		if (root == 3) {
			/* t^3 <= p 2^96: compare t^2 with floor(p 2^96 / t), by long division */
			unsigned __int128 rest = 0, quotient = 0;

			for (int i = 127; i >= 0; i--) {
				int in = i >= 96 ? (int)(p >> (i - 96)) & 1 : 0;

				rest = rest << 1 | (unsigned)in;
				quotient <<= 1;
				if (rest >= t) {
					rest -= t;
					quotient |= 1;
				}
			}
			bound = quotient;
		}
		if (power <= bound)
			x = t;
	}
	return (uint32_t)x;
}

static void hash_constants(void)
{
	unsigned n = 0;

	for (uint32_t p = 2; n < 64; p++) {
		uint32_t d = 2;

		while (d * d <= p && p % d)
			d++;
		if (d * d <= p)
			continue;
		if (n < 8)
			hash_h0[n] = root_fraction(p, 2);
		hash_k[n++] = root_fraction(p, 3);
	}
}

static uint32_t rotate(uint32_t v, unsigned n)
{
	return v >> n | v << (32 - n);
}

static void hash_block(uint32_t h[8], const uint8_t *block)
{
	uint32_t w[64], s[8];

	for (unsigned i = 0; i < 16; i++)
		w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
		       (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
	for (unsigned i = 16; i < 64; i++) {
		uint32_t a = w[i - 15], b = w[i - 2];

		w[i] = w[i - 16] + w[i - 7] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) +
		       (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
	}
	memcpy(s, h, sizeof(s));
	for (unsigned i = 0; i < 64; i++) {
		uint32_t t1 = s[7] + (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25)) +
			      ((s[4] & s[5]) ^ (~s[4] & s[6])) + hash_k[i] + w[i];
		uint32_t t2 = (rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22)) +
			      ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));

		memmove(s + 1, s, 7 * sizeof(*s));
		s[4] += t1;
		s[0] = t1 + t2;
	}
	for (unsigned i = 0; i < 8; i++)
		h[i] += s[i];
}

/* size must be a multiple of 64 */
static void hash(const uint8_t *data, uint32_t size, uint32_t h[8])
{
	uint8_t last[64] = {0x80};

	memcpy(h, hash_h0, 8 * sizeof(*h));
	for (uint32_t at = 0; at < size; at += 64)
		hash_block(h, data + at);
	for (unsigned i = 0; i < 8; i++)
		last[63 - i] = (uint8_t)(((uint64_t)size << 3) >> (8 * i));
	hash_block(h, last);
}

static void test_hash(void)
{
	/* of the bytes 0, 1, ... 255 repeated: sha256sum says so */
	static const uint32_t empty[8] = {0xe3b0c442, 0x98fc1c14, 0x9afbf4c8, 0x996fb924,
					  0x27ae41e4, 0x649b934c, 0xa495991b, 0x7852b855};
	static const uint32_t pattern[8] = {0x7daca209, 0x5d043826, 0x0fa84918, 0x3dfc67fa,
					    0xa459fdf4, 0x936e1bc9, 0x1eec6b28, 0x1b27e4c2};
	uint32_t h[8];

	hash_constants();
	hash(message, 0, h);
	check("sha-256 of nothing", (uint64_t)(unsigned)memcmp(h, empty, sizeof(h)), 0);
	for (unsigned i = 0; i < HASH_BYTES; i++)
		message[i] = (uint8_t)i;
	hash(message, HASH_BYTES, h);
	check("sha-256 of 64 KiB", (uint64_t)(unsigned)memcmp(h, pattern, sizeof(h)), 0);
}

int guest_main(uint32_t magic, uint32_t info)
{
	struct workload w;
	uint64_t rounds;

	workload_start("compute", magic, info, &w);
	rounds = option_number(w.cmdline, "rounds", 1);
	for (uint64_t i = 0; i < rounds; i++) {
		test_sort();
		test_sieve();
		test_hash();
	}
	check_finish("compute");
}
