// SPDX-License-Identifier: MIT
/* RFC 4648 base64, strict: padded, no white space, no stray bits. */
#include "proto/proto.h"
#include <errno.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t proto_base64_length(size_t n)
{
	return (n + 2) / 3 * 4;
}

static void encode_group(uint32_t v, char *out)
{
	out[0] = alphabet[v >> 18 & 63];
	out[1] = alphabet[v >> 12 & 63];
	out[2] = alphabet[v >> 6 & 63];
	out[3] = alphabet[v & 63];
}

void proto_base64_encode(const uint8_t *in, size_t n, char *out)
{
	for (; n >= 3; n -= 3, in += 3, out += 4)
		encode_group((uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2], out);
	if (!n)
		return;
	encode_group((uint32_t)in[0] << 16 | (n > 1 ? (uint32_t)in[1] << 8 : 0), out);
	if (n == 1)
		out[2] = '=';
	out[3] = '=';
}

#define NO_DIGIT 0x80

/* Each character's digit. */
/* clang-format off */
#define X NO_DIGIT
static const uint8_t digits[256] = {
	X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
	X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
	X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  62, X,  X,  X,  63,
	52, 53, 54, 55, 56, 57, 58, 59, 60, 61, X,  X,  X,  X,  X,  X,
	X,  0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14,
	15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, X,  X,  X,  X,  X,
	X,  26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
	41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, X,  X,  X,  X,  X,
	X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
	X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
	X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
	X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
	X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
	X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
	X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
	X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
};
#undef X
/* clang-format on */

/* The first `count` of four characters into *ret, from its bit 23 down. NO_DIGIT or 0. */
static unsigned decode_group(const uint8_t *in, unsigned count, uint32_t *ret)
{
	unsigned all = 0;
	uint32_t v = 0;

	for (unsigned i = 0; i < count; i++) {
		all |= digits[in[i]];
		v |= (uint32_t)digits[in[i]] << (18 - 6 * i);
	}
	*ret = v;
	return all & NO_DIGIT;
}

/* What every group but the last is: four digits. false: it is not. */
static bool decode_whole(const uint8_t *in, size_t groups, uint8_t *out)
{
	unsigned bad = 0;
	uint32_t v;

	for (; groups--; in += 4, out += 3) {
		bad |= decode_group(in, 4, &v);
		out[0] = (uint8_t)(v >> 16);
		out[1] = (uint8_t)(v >> 8);
		out[2] = (uint8_t)v;
	}
	return !bad;
}

int proto_base64_decode(const char *in, size_t len, uint8_t *out, size_t *ret_n)
{
	const uint8_t *text = (const uint8_t *)in, *last;
	size_t n = len / 4 * 3;
	unsigned pad;
	uint32_t v;

	if (len % 4)
		return -EINVAL;
	if (len) {
		last = text + len - 4;
		pad = last[3] != '=' ? 0 : last[2] != '=' ? 1 : 2;
		/* The bits that padding leaves over are zero, so that a value has one form. */
		if (decode_group(last, 4 - pad, &v) || v & ((1u << 8 * pad) - 1) ||
		    !decode_whole(text, len / 4 - 1, out))
			return -EINVAL;
		n -= pad;
		for (unsigned i = 0; i < 3 - pad; i++)
			out[len / 4 * 3 - 3 + i] = (uint8_t)(v >> (16 - 8 * i));
	}
	*ret_n = n;
	return 0;
}
