// SPDX-License-Identifier: MIT
/* Addresses on the wire: "0x" and hexadecimal digits. */
#include "proto/internal.h"
#include <errno.h>

int proto_parse_address(const char *s, size_t len, uint64_t *ret)
{
	uint64_t v = 0;

	if (len < 3 || len > 18 || s[0] != '0' || (s[1] | 0x20) != 'x')
		return -EINVAL;
	for (size_t i = 2; i < len; i++) {
		const char c = s[i];

		if (c >= '0' && c <= '9')
			v = v << 4 | (uint64_t)(c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			v = v << 4 | (uint64_t)((c | 0x20) - 'a' + 10);
		else
			return -EINVAL;
	}
	*ret = v;
	return 0;
}
