// SPDX-License-Identifier: MIT
/*
 * Lines out of a stream that comes in pieces. The first byte chooses the limit of a line, the
 * second how the stream is cut; the rest is the stream. What must hold: the lines are those that
 * the whole stream has, whatever the pieces, until one is too long.
 */
#include "fuzz.h"
#include <errno.h>
#include <string.h>

struct stream {
	const char *at, *end; /* what is expected next */
	size_t limit;
};

/* The next line of the stream is this one; or the stream has none that is short enough. */
static bool check_next(struct proto_framer *f, struct stream *s, const char *received)
{
	const char *newline = memchr(s->at, '\n', (size_t)(received - s->at));
	char *line;
	size_t len;
	const int r = proto_framer_next(f, &line, &len);

	if (r == -EAGAIN) {
		CHECK(!newline && (size_t)(received - s->at) < s->limit);
		CHECK(proto_framer_held(f) == (size_t)(received - s->at));
		return false;
	}
	if (r == -EMSGSIZE) {
		CHECK((size_t)((newline ? newline + 1 : received) - s->at) >= s->limit);
		s->at = s->end;
		return false;
	}
	CHECK(!r && newline && len == (size_t)(newline - s->at) && len + 1 <= s->limit);
	CHECK(memcmp(line, s->at, len) == 0 && line[len] == '\0');
	s->at = newline + 1;
	return true;
}

static size_t receive(struct proto_framer *f, const char *from, size_t n)
{
	size_t room;
	char *buf;
	const int r = proto_framer_reserve(f, 1, &buf, &room);

	CHECK(!r || r == -EMSGSIZE);
	if (r)
		return 0;
	CHECK(room >= 1);
	n = n < room ? n : room;
	memcpy(buf, from, n);
	proto_framer_filled(f, n);
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct choices c = {data, size};
	const size_t limit = (size_t)choose_byte(&c) + 1;
	const unsigned cut = choose_byte(&c);
	struct proto_framer f = {.limit = limit};
	const char *received = (const char *)c.p, *const end = received + c.left;
	struct stream s = {received, end, limit};
	unsigned turn = cut;

	while (received < end && s.at < end) {
		const size_t piece = 1 + turn % 29;
		const size_t left = (size_t)(end - received);
		const size_t n = receive(&f, received, piece < left ? piece : left);

		if (!n)
			break;
		received += n;
		turn = turn * 5 + cut + 1;
		if (turn % 3) /* sometimes several pieces come before anybody looks */
			while (check_next(&f, &s, received))
				;
	}
	proto_framer_free(&f);
	return 0;
}
