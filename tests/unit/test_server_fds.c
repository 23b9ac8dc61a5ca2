// SPDX-License-Identifier: MIT
/*
 * Descriptors that come with requests: whose they are, how many, and that none is left.
 */
#include "fake_engine.h"
#include "server_rig.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- descriptors --------------------------------------------------------------------------- */

static int memfd_with(const char *text)
{
	const int fd = memfd_create("test", MFD_CLOEXEC);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

static void say_with(struct client *c, const char *line, const int *fds, size_t n)
{
	assert_int_equal(proto_send_line(c->fd, line, strlen(line), fds, n), 0);
}

static void test_descriptors(void **state)
{
	struct client c = connect_client();
	unsigned before;
	int fds[PROTO_FDS_MAX], pipes[2];

	(void)state;
	fds[0] = memfd_with("zero");
	fds[1] = memfd_with("one");
	create(&c, "other");
	before = open_descriptors();
	/* two messages in flight, each with its own */
	say_with(
		&c,
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.create\",\"params\":{\"name\":\"a\","
		"\"image\":{\"fd\":1}}}",
		fds, 2);
	say_with(
		&c,
		"{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"vm.create\",\"params\":{\"name\":\"b\","
		"\"image\":{\"fd\":0}}}",
		fds, 1);
	expect(&c, "result.vm", "a");
	expect(&c, "result.vm", "b");
	assert_int_equal(open_descriptors(), before);
	/* one that was not sent; one that nobody wants */
	say_with(
		&c,
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.create\",\"params\":{\"name\":\"c\","
		"\"image\":{\"fd\":1}}}",
		fds, 1);
	expect_error(&c, "out-of-range", "image.fd");
	say_with(&c, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.list\"}", fds, 2);
	expect(&c, "id", "1");
	say_with(&c, "not json", fds, 2);
	expect_error(&c, "parse", "");
	assert_int_equal(open_descriptors(), before);
	/* the content that was meant */
	say_with(&c,
		 "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"memory.slot.add\",\"params\":{\"vm\":"
		 "\"a\",\"slot\":\"f\",\"size_bytes\":4096,\"file\":{\"fd\":1}}}",
		 fds, 2);
	expect(&c, "result.kind", "file");
	/* a pipe would make the daemon wait */
	assert_int_equal(pipe(pipes), 0);
	say_with(
		&c,
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.create\",\"params\":{\"name\":\"c\","
		"\"image\":{\"fd\":0}}}",
		pipes, 1);
	expect_error(&c, "file", "image.fd");
	close(pipes[0]);
	close(pipes[1]);
	close(fds[0]);
	close(fds[1]);
	disconnect(&c);
}

/* They belong to the message with whose bytes they came, were it a single byte. */
static void test_descriptors_of_the_next(void **state)
{
	static const char line[] = "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"vm.create\","
				   "\"params\":{\"name\":\"c\",\"image\":{\"fd\":0}}}\n";
	struct client c = connect_client();
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.bytes = {0}};
	struct iovec iov = {(void *)(uintptr_t)line, 1};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
	const int fd = memfd_with("image");

	(void)state;
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &fd, sizeof(fd));
	fake_hold(ENGINE_VM_CREATE);
	call(&c, "vm.create", "{\"name\":\"a\"}");
	say(&c, "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"vm.list\"}");
	turn();
	assert_int_equal(sendmsg(c.fd, &msg, MSG_NOSIGNAL), 1);
	turn();
	turn();
	fake_release();
	expect(&c, "id", "1");
	expect(&c, "id", "2");
	send_bytes(&c, line + 1, sizeof(line) - 2);
	expect(&c, "result.vm", "c");
	close(fd);
	disconnect(&c);
}

static void test_image_content(void **state)
{
	struct client c = connect_client();
	int fd = memfd_with("the image");

	(void)state;
	fake_hold(ENGINE_VM_CREATE);
	say_with(
		&c,
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.create\",\"params\":{\"name\":\"a\","
		"\"image\":{\"fd\":0},\"image_format\":\"flat\",\"load_gpa\":\"0x7c00\"}}",
		&fd, 1);
	close(fd);
	hear_nothing(&c);
	assert_string_equal(fake_last_file(), "the image");
	assert_int_equal(fake_last()->u.create.image_format, ENGINE_IMAGE_FLAT);
	assert_int_equal(fake_last()->u.create.load_gpa, 0x7c00);
	assert_int_equal(fake_last()->u.create.processor[0], ENGINE_ANY_PROCESSOR);
	fake_release();
	expect(&c, "result.vm", "a");
	disconnect(&c);
}

/* As many as the kernel sends at a time, again and again, in one message and in none. */
static void test_too_many_descriptors(void **state)
{
	struct client c = connect_client();
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * 253)];
	} control = {.bytes = {0}};
	char data[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.list\"}\n";
	struct iovec iov = {data, sizeof(data) - 1};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
	const unsigned before = open_descriptors();

	(void)state;
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int) * 253);
	for (int i = 0; i < 253; i++)
		memcpy(CMSG_DATA(h) + i * sizeof(int), &(int){STDERR_FILENO}, sizeof(int));
	assert_true(sendmsg(c.fd, &msg, MSG_NOSIGNAL) > 0);
	expect_error(&c, "too-large", "");
	assert_int_equal(open_descriptors(), before + 1); /* and the daemon's end */
	/* the next message is none the worse */
	say(&c, "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"vm.list\"}");
	expect(&c, "id", "5");
	/* 20 at a time with a byte each: a message without end that gathers them */
	h->cmsg_len = CMSG_LEN(sizeof(int) * 20);
	msg.msg_controllen = CMSG_SPACE(sizeof(int) * 20);
	iov.iov_base = (char[]){' '};
	iov.iov_len = 1;
	for (int i = 0; i < 10; i++) {
		sendmsg(c.fd, &msg, MSG_NOSIGNAL);
		turn();
	}
	expect_error(&c, "too-large", "");
	hear_eof(&c);
	disconnect(&c);
	turn();
	assert_int_equal(open_descriptors(), before - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_descriptors),
		RIG_TEST(test_descriptors_of_the_next),
		RIG_TEST(test_image_content),
		RIG_TEST(test_too_many_descriptors),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
