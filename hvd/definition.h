/* SPDX-License-Identifier: MIT */
/*
 * A VM's definition: what vm.create was given, as it is stored, exported, and read again at
 * the next start. The form is proto's struct definition; here is what else must hold of one
 * that is stored: its UUID, and size, digest and place of each file.
 */
#ifndef HVD_DEFINITION_H
#define HVD_DEFINITION_H

#include "proto/proto.h"
#include <vmxcore/engine.h>

#define DEFINITION_FORMAT 1u
#define DEFINITION_BYTES_MAX (256u << 10) /* its text */
#define DEFINITION_FILES_MAX (1u + ENGINE_MAX_MODULES)
#define DEFINITION_IMAGES "images" /* folder of the files, beside the definitions */
#define DEFINITION_FILE_LEN 64

struct definition {
	struct proto_arena arena;
	struct proto_definition d;
};

/* The content of a stored file. */
struct stored_file {
	uint64_t size_bytes;
	char sha256[PROTO_SHA256_LEN];
};

/* files: the image, if p has one, then the modules. -ENOMEM. */
int definition_new(const struct proto_vm_create_params *p, const char *uuid,
		   const struct stored_file *files, struct definition **ret);
/* Strict, as requests are. A negative errno and *err, which names the member. */
int definition_read(const char *text, size_t len, struct definition **ret, struct proto_error *err);
void definition_free(struct definition *def); /* NULL is allowed */
/* As definition_read() takes it; the caller frees it. -ENOMEM. */
int definition_text(const struct definition *def, char **ret, size_t *ret_len);

/* Image and modules. */
size_t definition_file_count(const struct definition *def);
const struct proto_definition_file *definition_file(const struct definition *def, size_t i);
/* Name of the i-th file below DEFINITION_IMAGES: "UUID.image", "UUID.module0". */
void definition_file_name(char out[DEFINITION_FILE_LEN], const char *uuid, bool image, size_t i);
/* 0, or -EINVAL: it can't be the one that is stored as name.json; *err names the member. */
int definition_check(const struct definition *def, const char *name, struct proto_error *err);

/* As if vm.create were given it, but for the files: has_image and modules_count only. */
void definition_params(const struct definition *def, struct proto_vm_create_params *ret);
/* What the tables can't say of vm.create's parameters. 0, or -EINVAL and *err. */
int definition_check_params(const struct proto_vm_create_params *p, struct proto_error *err);
void definition_fill_request(const struct proto_vm_create_params *p, struct engine_vm_create *out);

#endif
