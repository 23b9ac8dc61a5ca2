// SPDX-License-Identifier: MIT
/* RFC 4648 base64, strict: padded, no white space, no stray bits. */
#include "proto/proto.h"
#include <errno.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t proto_base64_length(size_t n)
{
	return (n + 2) / 3 * 4;
}

void proto_base64_encode(const uint8_t *in, size_t n, char *out)
{
	for (size_t i = 0; i < n; i += 3) {
		const size_t left = n - i;
		uint32_t v = (uint32_t)in[i] << 16;

		if (left > 1)
			v |= (uint32_t)in[i + 1] << 8;
		if (left > 2)
			v |= in[i + 2];
		*out++ = alphabet[v >> 18 & 63];
		*out++ = alphabet[v >> 12 & 63];
		*out++ = left > 1 ? alphabet[v >> 6 & 63] : '=';
		*out++ = left > 2 ? alphabet[v & 63] : '=';
	}
}

static int digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int proto_base64_decode(const char *in, size_t len, uint8_t *out, size_t *ret_n)
{
	size_t n = 0;

	if (len % 4)
		return -EINVAL;
	for (size_t i = 0; i < len; i += 4) {
		const bool end = i + 4 == len;
		const int pad = !end || in[i + 3] != '=' ? 0 : in[i + 2] != '=' ? 1 : 2;
		uint32_t v = 0;

		for (int k = 0; k < 4 - pad; k++) {
			const int d = digit(in[i + (size_t)k]);

			if (d < 0)
				return -EINVAL;
			v |= (uint32_t)d << (18 - 6 * k);
		}
		/* The bits that padding leaves over are zero, so that a value has one form. */
		if ((pad == 1 && v & 0xff) || (pad == 2 && v & 0xffff))
			return -EINVAL;
		out[n++] = (uint8_t)(v >> 16);
		if (pad < 2)
			out[n++] = (uint8_t)(v >> 8);
		if (pad < 1)
			out[n++] = (uint8_t)v;
	}
	*ret_n = n;
	return 0;
}
