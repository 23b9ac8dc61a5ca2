// SPDX-License-Identifier: MIT
/* What is valid UTF-8, and what is a valid name. */
#include "proto/proto.h"
#include <string.h>

/* First bytes, and what the second byte may be; the rest are 0x80..0xbf (Unicode, table 3-7). */
static const struct {
	uint8_t first, last, second_min, second_max, length;
} forms[] = {
	{0x00, 0x7f, 0, 0, 1},	     {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
	{0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
	{0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
};

size_t proto_utf8_sequence(const char *s, size_t len)
{
	const uint8_t *p = (const uint8_t *)s;
	size_t i;

	if (!len)
		return 0;
	for (i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
		if (p[0] >= forms[i].first && p[0] <= forms[i].last)
			break;
	if (i == sizeof(forms) / sizeof(forms[0]) || forms[i].length > len)
		return 0;
	if (forms[i].length > 1 && (p[1] < forms[i].second_min || p[1] > forms[i].second_max))
		return 0;
	for (size_t k = 2; k < forms[i].length; k++)
		if (p[k] < 0x80 || p[k] > 0xbf)
			return 0;
	return forms[i].length;
}

bool proto_name_valid(const char *s, size_t len)
{
	static const char first[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
	static const char rest[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";

	if (!len || len > PROTO_NAME_MAX || !memchr(first, s[0], sizeof(first) - 1))
		return false;
	for (size_t i = 1; i < len; i++)
		if (!memchr(rest, s[i], sizeof(rest) - 1))
			return false;
	return true;
}
