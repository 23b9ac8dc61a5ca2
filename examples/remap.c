// SPDX-License-Identifier: MIT
/*
 * A page of a running guest is pointed at other memory, and the guest reads the other text.
 *
 *	cc remap.c -o remap $(pkg-config --cflags --libs hvd)
 *	./remap guests/remap.elf
 *
 * The guest waits for a word at 0x300000, then prints the text that it reads at 0x400000.
 * Parameters are written as JSON here; a program that has values builds them with json-c's
 * functions, as write_memory() does.
 */
#include <fcntl.h>
#include <hvd/client.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAILBOX 0x300000
#define TEXT 0x400000

static struct hvd_client *hvd;

static void die(const struct hvd_error *err)
{
	fprintf(stderr, "remap: %s\n", err->text);
	exit(1);
}

/* Calls a method; params is put. The result is the caller's, to be put. */
static struct json_object *call(const char *method, struct json_object *params, const int *fds,
				size_t fd_count)
{
	struct json_object *result;
	struct hvd_error err;

	if (hvd_client_call(hvd, method, params, fds, fd_count, &result, &err) < 0)
		die(&err);
	json_object_put(params);
	return result;
}

static struct json_object *call_text(const char *method, const char *params)
{
	return call(method, json_tokener_parse(params), NULL, 0);
}

static void create(const char *image)
{
	const int fd = open(image, O_RDONLY);

	if (fd < 0) {
		perror(image);
		exit(1);
	}
	/* "fd": 0 is the first descriptor that goes with the request */
	json_object_put(call("vm.create",
			     json_tokener_parse("{\"name\":\"demo\",\"image\":{\"fd\":0},"
						"\"memory_bytes\":67108864,\"start\":true}"),
			     &fd, 1));
	close(fd);
}

/* At a guest-physical address, or (slot not NULL) at the beginning of a slot. */
static void write_memory(uint64_t gpa, const char *slot, const void *data, size_t size)
{
	struct json_object *params = json_object_new_object();

	json_object_object_add(params, "vm", json_object_new_string("demo"));
	if (slot)
		json_object_object_add(params, "slot", json_object_new_string(slot));
	else
		json_object_object_add(params, "gpa", hvd_json_address(gpa));
	json_object_object_add(params, "data", hvd_json_bytes(data, size));
	json_object_put(call("memory.write", params, NULL, 0));
}

static void wait_for_text(const char *text)
{
	struct json_object *params =
		json_tokener_parse("{\"vm\":\"demo\",\"until\":\"console\",\"timeout_ms\":60000}");

	json_object_object_add(params, "text", json_object_new_string(text));
	json_object_put(call("vm.wait", params, NULL, 0));
}

/* Lets the guest read its text once more. */
static void poke(uint32_t word)
{
	write_memory(MAILBOX, NULL, &word, sizeof(word));
}

static void remap(void)
{
	struct json_object *change =
		call_text("memory.remap", "{\"vm\":\"demo\",\"gpa\":\"0x400000\","
					  "\"size_bytes\":4096,\"slot\":\"spare\"}");
	struct json_object *inval = json_object_object_get(change, "invalidation");

	printf("remapped: %d EPT entries written, %s %s: %s\n",
	       json_object_get_int(json_object_object_get(change, "entries_written")),
	       json_object_get_string(json_object_object_get(inval, "instruction")),
	       json_object_get_string(json_object_object_get(inval, "type")),
	       json_object_get_string(json_object_object_get(inval, "reason")));
	json_object_put(change);
}

static void print_console(void)
{
	struct json_object *console = call_text("console.read", "{\"vm\":\"demo\"}");
	char text[65537];
	size_t n;

	if (!hvd_json_get_bytes(json_object_object_get(console, "data"), text, 65536, &n))
		printf("%.*s", (int)n, text);
	json_object_put(console);
}

int main(int argc, char **argv)
{
	struct hvd_error err;

	if (argc != 2) {
		fprintf(stderr, "usage: %s IMAGE\n", argv[0]);
		return 2;
	}
	if (hvd_client_open(NULL, &hvd, &err) < 0)
		die(&err);
	create(argv[1]);
	wait_for_text("waiting");
	write_memory(TEXT, NULL, "OLD", 4);
	poke(1);
	wait_for_text("\"OLD\"");
	json_object_put(call_text("memory.slot.add",
				  "{\"vm\":\"demo\",\"slot\":\"spare\",\"size_bytes\":4194304}"));
	write_memory(0, "spare", "NEW", 4);
	remap();
	poke(2);
	wait_for_text("\"NEW\"");
	print_console();
	json_object_put(call_text("vm.stop", "{\"vm\":\"demo\"}"));
	json_object_put(call_text("vm.delete", "{\"vm\":\"demo\"}"));
	hvd_client_close(hvd);
	return 0;
}
