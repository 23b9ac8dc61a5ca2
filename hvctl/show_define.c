// SPDX-License-Identifier: MIT
/* export, and create --file: a VM's definition with its image and modules as files. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hvctl/client.h"
#include "hvctl/fields.h"
#include "hvctl/show.h"

#define DEFINITION_BYTES_MAX (1u << 20)

/* folder + "/" + name; NULL: out of memory. An absolute name stands for itself. */
static char *join(struct proto_arena *a, const char *folder, size_t folder_len, const char *name)
{
	const size_t size = folder_len + strlen(name) + 2;
	char *path;

	if (*name == '/' || !folder_len)
		return proto_strdup(a, name);
	path = proto_alloc(a, size, 1);
	if (!path)
		return NULL;
	snprintf(path, size, "%.*s/%s", (int)folder_len, folder, name);
	return path;
}

/* --- create --file -------------------------------------------------------------------- */

static int set_file(struct hvctl_call *call, const char *text)
{
	call->file = text;
	return HVCTL_OK;
}

const struct hvctl_option definition_options[] = {
	{"file", "PATH",
	 "take what is not given here from this definition, in the form of export; its image and "
	 "modules are looked for from the folder of the file",
	 set_file},
	{NULL, NULL, NULL, NULL},
};

static int read_whole(struct hvctl_call *call, const char *path, char **ret, size_t *ret_len)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text = proto_alloc(&call->arena, DEFINITION_BYTES_MAX + 1, 1);
	size_t len = 0;
	ssize_t n = 1;
	int err = errno;

	if (fd < 0)
		return hvctl_fail(call->ctx, HVCTL_LOCAL, "%s: %s", path, strerror(err));
	while (text && n > 0 && len <= DEFINITION_BYTES_MAX) {
		n = read(fd, text + len, DEFINITION_BYTES_MAX + 1 - len);
		len += n > 0 ? (size_t)n : 0;
	}
	err = errno;
	close(fd);
	if (!text)
		return hvctl_fail(call->ctx, HVCTL_LOCAL, "out of memory");
	if (n < 0)
		return hvctl_fail(call->ctx, HVCTL_LOCAL, "%s: %s", path, strerror(err));
	if (len > DEFINITION_BYTES_MAX)
		return hvctl_fail(call->ctx, HVCTL_USAGE, "%s: more than %u bytes", path,
				  DEFINITION_BYTES_MAX);
	*ret = text;
	*ret_len = len;
	return HVCTL_OK;
}

/* A name on the command line makes the definition's unnecessary. */
static void add_name(struct json_object *obj, const struct proto_vm_create_params *p)
{
	if (p->has_name && json_object_is_type(obj, json_type_object) &&
	    !json_object_object_get_ex(obj, "name", NULL))
		json_object_object_add(obj, "name", json_object_new_string(p->name));
}

static int read_definition(struct hvctl_call *call, struct proto_definition *ret)
{
	struct json_object *obj = NULL;
	struct proto_error err = {0};
	char *text = NULL;
	size_t len = 0;
	int code = read_whole(call, call->file, &text, &len), r;

	if (code)
		return code;
	r = proto_json_parse(text, len, &obj, &err);
	if (!r && !obj)
		r = proto_fail(&err, PROTO_ERROR_INVALID_TYPE, "", "a definition is an object");
	if (!r) {
		add_name(obj, call->params);
		r = proto_decode(proto_desc_definition(), obj, ret, &call->arena, &err);
	}
	json_object_put(obj);
	if (r)
		return hvctl_fail(call->ctx, HVCTL_USAGE, "%s: %s%s%s", call->file, err.field,
				  *err.field ? ": " : "", err.text);
	return HVCTL_OK;
}

/* The path is set, and the file is what the definition says of it. */
static int take_file(struct hvctl_call *call, const struct proto_definition_file *from,
		     struct proto_file *to)
{
	const char *slash = strrchr(call->file, '/');
	char sha256[PROTO_SHA256_LEN];
	size_t folder = 0;
	uint64_t size;
	int fd, r;

	if (slash)
		folder = slash == call->file ? 1 : (size_t)(slash - call->file);
	to->path = join(&call->arena, call->file, folder, from->path);
	if (!to->path)
		return hvctl_fail(call->ctx, HVCTL_LOCAL, "out of memory");
	fd = open(to->path, O_RDONLY | O_CLOEXEC);
	r = fd < 0 ? -errno : proto_digest_file(fd, &size, sha256);
	if (fd >= 0)
		close(fd);
	if (r)
		return hvctl_fail(call->ctx, HVCTL_LOCAL, "%s: %s", to->path, strerror(-r));
	if ((from->has_size_bytes && size != from->size_bytes) ||
	    (from->has_sha256 && strcmp(sha256, from->sha256) != 0))
		return hvctl_fail(call->ctx, HVCTL_LOCAL,
				  "%s: it is not the file that %s was made with: size or SHA-256 "
				  "differ",
				  to->path, call->file);
	return HVCTL_OK;
}

static int take_files(struct hvctl_call *call, const struct proto_definition *d,
		      struct proto_vm_create_params *p)
{
	int code = HVCTL_OK;

	if (d->has_image && !p->has_image) {
		p->has_image = true;
		code = take_file(call, &d->image, &p->image);
	}
	if (code || !d->modules_count || p->has_modules)
		return code;
	p->modules = proto_alloc(&call->arena, d->modules_count, sizeof(*p->modules));
	if (!p->modules)
		return hvctl_fail(call->ctx, HVCTL_LOCAL, "out of memory");
	p->has_modules = true;
	while (p->modules_count < d->modules_count && !code) {
		const size_t i = p->modules_count++;

		code = take_file(call, &d->modules[i], &p->modules[i]);
	}
	return code;
}

int definition_prepare(struct hvctl_call *call)
{
	struct proto_vm_create_params *p = call->params;
	struct proto_definition d = {0};
	int code;

	if (!call->file)
		return HVCTL_OK;
	code = read_definition(call, &d);
	if (code)
		return code;
	proto_copy_fields(proto_desc_vm_create_params(), p, proto_desc_definition(), &d, true);
	return take_files(call, &d, p);
}

/* --- export --------------------------------------------------------------------------- */

static int set_output(struct hvctl_call *call, const char *text)
{
	call->output = text;
	return HVCTL_OK;
}

static const struct hvctl_option export_options[] = {
	{"output", "PATH",
	 "write NAME.json into this folder, and image and modules below it, as create --file takes "
	 "them",
	 set_output},
	{NULL, NULL, NULL, NULL},
};

static int check_output(struct hvctl_call *call)
{
	if (call->output && call->ctx->json)
		return hvctl_fail(call->ctx, HVCTL_USAGE, "--output and --json: one of them");
	return HVCTL_OK;
}

static void show_definition(struct hvctl_call *call, struct json_object *result)
{
	if (!call->output)
		fprintf(call->ctx->out, "%s\n", proto_json_pretty(result, NULL));
}

static int failed(const struct hvctl_call *call, const char *path)
{
	return hvctl_fail(call->ctx, HVCTL_LOCAL, "%s: %s", path, strerror(errno));
}

/* The next bytes of the file at *offset; 0 of them at its end. */
static int fetch_piece(struct hvctl_call *call, struct proto_image_read_params *p, int fd,
		       const char *path, bool *ret_end)
{
	struct json_object *result = NULL;
	int code = hvctl_request_params(call, PROTO_METHOD_vm_image_read, p, &result);
	const char *text = field_text(result, "data", "");
	uint8_t *data = malloc(strlen(text) / 4 * 3 + 1);
	size_t size = 0, done = 0;

	if (!code && !data)
		code = hvctl_fail(call->ctx, HVCTL_LOCAL, "out of memory");
	if (!code && proto_base64_decode(text, strlen(text), data, &size))
		code = hvctl_fail(call->ctx, HVCTL_NO_DAEMON, "the daemon's data is not base64");
	while (!code && done < size) {
		const ssize_t n = write(fd, data + done, size - done);

		if (n < 0)
			code = failed(call, path);
		else
			done += (size_t)n;
	}
	p->offset_bytes += size;
	*ret_end = !size || p->offset_bytes >= field_count(result, "total_bytes");
	free(data);
	json_object_put(result);
	return code;
}

static int check_digest(struct hvctl_call *call, int fd, const char *path, struct json_object *file)
{
	char sha256[PROTO_SHA256_LEN];
	uint64_t size;
	const int r = proto_digest_file(fd, &size, sha256);

	if (r)
		return hvctl_fail(call->ctx, HVCTL_LOCAL, "%s: %s", path, strerror(-r));
	if (strcmp(sha256, field_text(file, "sha256", "")) != 0)
		return hvctl_fail(call->ctx, HVCTL_LOCAL,
				  "%s: what came has another SHA-256 than the definition says",
				  path);
	return HVCTL_OK;
}

/* file: the definition's "image" or one of its "modules". */
static int fetch_file(struct hvctl_call *call, struct json_object *file,
		      struct proto_image_read_params *p)
{
	const char *name = field_text(file, "path", "");
	char *path = join(&call->arena, call->output, strlen(call->output), name);
	char *slash = path ? strrchr(path, '/') : NULL;
	bool end = false;
	int fd, code = HVCTL_OK;

	if (!*name || *name == '/' || strstr(name, ".."))
		return hvctl_fail(call->ctx, HVCTL_NO_DAEMON, "%s: not a path below %s", name,
				  call->output);
	if (!path)
		return hvctl_fail(call->ctx, HVCTL_LOCAL, "out of memory");
	*slash = '\0';
	if (mkdir(path, 0777) < 0 && errno != EEXIST)
		return failed(call, path);
	*slash = '/';
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0)
		return failed(call, path);
	while (!code && !end)
		code = fetch_piece(call, p, fd, path, &end);
	if (!code)
		code = check_digest(call, fd, path, file);
	if (close(fd) < 0 && !code)
		code = failed(call, path);
	return code;
}

/* Written aside and renamed: what is there under the name is whole. */
static int write_definition(struct hvctl_call *call, struct json_object *result)
{
	char name[PROTO_NAME_MAX + 16];
	char *path, *temporary;
	FILE *f;
	bool bad;

	snprintf(name, sizeof(name), "%.63s.json", field_text(result, "name", "vm"));
	path = join(&call->arena, call->output, strlen(call->output), name);
	snprintf(name, sizeof(name), ".%.63s.json.new", field_text(result, "name", "vm"));
	temporary = join(&call->arena, call->output, strlen(call->output), name);
	if (!path || !temporary)
		return hvctl_fail(call->ctx, HVCTL_LOCAL, "out of memory");
	f = fopen(temporary, "we");
	if (!f)
		return failed(call, temporary);
	bad = fprintf(f, "%s\n", proto_json_pretty(result, NULL)) < 0;
	bad |= fclose(f) != 0;
	if (bad || rename(temporary, path) < 0) {
		const int code = failed(call, path);

		unlink(temporary);
		return code;
	}
	fprintf(call->ctx->out, "%s: written to %s\n", field_text(result, "name", "?"), path);
	return HVCTL_OK;
}

/* A definition whose files are not those it names is not to be had: so they come first. */
static int fetch_all(struct hvctl_call *call, struct json_object *result)
{
	const struct proto_vm_params *vm = call->params;
	struct proto_image_read_params p = {.vm = vm->vm, .has_vm = true};
	int code = HVCTL_OK;

	if (!call->output)
		return HVCTL_OK;
	if (mkdir(call->output, 0777) < 0 && errno != EEXIST)
		return failed(call, call->output);
	p.has_offset_bytes = true;
	if (field_object(result, "image"))
		code = fetch_file(call, field_object(result, "image"), &p);
	for (size_t i = 0; i < field_items(result, "modules") && !code; i++) {
		p.offset_bytes = 0;
		PROTO_SET(&p, module, (uint32_t)i);
		code = fetch_file(call, field_item(result, "modules", i), &p);
	}
	return code ? code : write_definition(call, result);
}

const struct hvctl_verb hvctl_verb_vm_export = {
	.example = "demo --output backup",
	.options = export_options,
	.prepare = check_output,
	.show = show_definition,
	.then = fetch_all,
};

/* Without a verb: export fetches with it. */
static void show_image(struct hvctl_call *call, struct json_object *result)
{
	fprintf(call->ctx->out, "%s\n", proto_json_text(result, NULL));
}

const struct hvctl_verb hvctl_verb_vm_image_read = {.example = "demo", .show = show_image};
