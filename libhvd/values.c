// SPDX-License-Identifier: MIT
/* Bytes and addresses as JSON has them. */
#include "libhvd/internal.h"
#include "proto/internal.h"
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct json_object *hvd_json_bytes(const void *data, size_t size)
{
	struct json_object *value = NULL;
	const size_t len = size > INT_MAX / 2 ? SIZE_MAX : proto_base64_length(size);
	char *text = len < SIZE_MAX ? malloc(len + 1) : NULL;

	if (text) {
		proto_base64_encode(data, size, text);
		value = json_object_new_string_len(text, (int)len);
	}
	free(text);
	return value;
}

int hvd_json_get_bytes(struct json_object *value, void *buf, size_t size, size_t *ret_size)
{
	size_t len, n;
	uint8_t *data;
	int r;

	if (!json_object_is_type(value, json_type_string))
		return -EINVAL;
	len = (size_t)json_object_get_string_len(value);
	data = malloc(len / 4 * 3 + 1);
	if (!data)
		return -ENOMEM;
	r = proto_base64_decode(json_object_get_string(value), len, data, &n);
	if (!r && n > size)
		r = -ENOSPC;
	if (!r) {
		if (n)
			memcpy(buf, data, n);
		*ret_size = n;
	}
	free(data);
	return r;
}

struct json_object *hvd_json_address(uint64_t address)
{
	char text[sizeof("0x0123456789abcdef")];

	snprintf(text, sizeof(text), "0x%" PRIx64, address);
	return json_object_new_string(text);
}

int hvd_json_get_address(struct json_object *value, uint64_t *ret)
{
	if (!json_object_is_type(value, json_type_string))
		return -EINVAL;
	return proto_parse_address(json_object_get_string(value),
				   (size_t)json_object_get_string_len(value), ret);
}
