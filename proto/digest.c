// SPDX-License-Identifier: MIT
/* SHA-256 of files. */
#include "proto/proto.h"
#include <errno.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <unistd.h>

#define PIECE (256u << 10)

static void put_hex(const uint8_t digest[SHA256_DIGEST_SIZE], char ret[PROTO_SHA256_LEN])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < SHA256_DIGEST_SIZE; i++) {
		ret[2 * i] = digits[digest[i] >> 4];
		ret[2 * i + 1] = digits[digest[i] & 15];
	}
	ret[PROTO_SHA256_LEN - 1] = '\0';
}

int proto_digest_file(int fd, uint64_t *ret_size, char ret[PROTO_SHA256_LEN])
{
	uint8_t *piece = malloc(PIECE), digest[SHA256_DIGEST_SIZE];
	struct sha256_ctx sha;
	uint64_t size = 0;
	ssize_t n = 0;
	int err = 0;

	if (!piece)
		return -ENOMEM;
	sha256_init(&sha);
	do {
		n = pread(fd, piece, PIECE, (off_t)size);
		if (n > 0) {
			sha256_update(&sha, (size_t)n, piece);
			size += (uint64_t)n;
		}
	} while (n > 0 || (n < 0 && errno == EINTR));
	if (n < 0)
		err = -errno;
	free(piece);
	if (err)
		return err;
	sha256_digest(&sha, sizeof(digest), digest);
	put_hex(digest, ret);
	*ret_size = size;
	return 0;
}
