/* SPDX-License-Identifier: MIT */
/*
 * The protocol of hvd: JSON-RPC 2.0, one message a line, described by tables. The same
 * descriptors decode requests into C structures, encode results from them, give the JSON
 * schema, hvctl's options and the reference.
 */
#ifndef PROTO_PROTO_H
#define PROTO_PROTO_H

#include "proto/structs.h"
#include <json-c/json.h>
#include <sys/uio.h>

/* Of a message. daemon.info lists them. */
#define PROTO_MESSAGE_MAX (4u << 20) /* bytes, with the newline */
#define PROTO_DEPTH_MAX 16
#define PROTO_VALUES_MAX 16384
#define PROTO_BATCH_MAX 64
#define PROTO_FDS_MAX 32

#define PROTO_SOCKET_DEFAULT "/run/hvd/hvd.sock"

/* --- memory of decoded structures ------------------------------------------------------ */

/* Everything that is allocated for one message, freed together. Zero-initialise it. */
struct proto_arena {
	struct proto_block *blocks;
};

/* Zeroed, suitably aligned; NULL when out of memory or count * size overflows. */
void *proto_alloc(struct proto_arena *a, size_t count, size_t size);
char *proto_strndup(struct proto_arena *a, const char *s, size_t len);
char *proto_strdup(struct proto_arena *a, const char *s);
void proto_arena_free(struct proto_arena *a);

/* --- errors ------------------------------------------------------------------------------ */

enum proto_error_kind {
#define ERROR(kind, code, name, err, libvirt, doc) PROTO_ERROR_##kind,
#include "proto/errors.def"
#undef ERROR
	PROTO_ERROR_COUNT
};

struct proto_error_info {
	const char *name; /* "overlap" */
	const char *doc;
	int code;    /* JSON-RPC's "code" */
	int err;     /* errno, positive */
	int libvirt; /* virErrorNumber */
};

extern const struct proto_error_info proto_error_info[PROTO_ERROR_COUNT];

#define PROTO_FIELD_LEN 96
#define PROTO_TEXT_LEN 320

struct proto_error {
	enum proto_error_kind kind;
	char field[PROTO_FIELD_LEN]; /* "size_bytes", "modules[1].fd"; "" if none */
	char text[PROTO_TEXT_LEN];
	bool has_limit, has_requested, has_existing;
	uint64_t limit;
	uint64_t requested[2]; /* first and last byte */
	uint64_t existing[2];
	char slot[PROTO_NAME_MAX + 1]; /* of the existing mapping; "" if none */
};

/*
 * Fills *ret (which may be NULL) and returns the kind's negative errno. text does not repeat
 * the field: it is put before it. Bytes of text that are not printable ASCII become '?'.
 */
int proto_fail(struct proto_error *ret, enum proto_error_kind kind, const char *field,
	       const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* The "error" member of a reply: code, message ("METHOD: text"), data. NULL: out of memory. */
struct json_object *proto_error_json(const struct proto_error *err, const char *method);
/* The kind of that name; PROTO_ERROR_COUNT if there is none. */
enum proto_error_kind proto_error_kind_by_name(const char *name);

/* --- descriptors -------------------------------------------------------------------------- */

enum proto_type {
	PROTO_BOOL,
	PROTO_U32,
	PROTO_U64,
	PROTO_SIZE,   /* uint64_t, bytes; a JSON integer; hvctl: 64M */
	PROTO_ADDR,   /* uint64_t; "0x..." */
	PROTO_NAME,   /* [A-Za-z0-9][A-Za-z0-9_.-]{0,62} */
	PROTO_STRING, /* UTF-8 without NUL; min and max are bytes */
	PROTO_BYTES,  /* base64; min and max are bytes */
	PROTO_FILE,
	PROTO_ENUM,
	PROTO_STRUCT,
	PROTO_JSON, /* any value; as a parameter, it is the message's */
	PROTO_TYPE_COUNT
};

enum proto_presence {
	PROTO_REQUIRED,
	PROTO_OPTIONAL,	 /* may be left out */
	PROTO_DEFAULTED, /* may be left out; dflt */
	PROTO_NULLABLE,	 /* results: null if !has_ */
};

struct proto_enum_value {
	const char *name;
	const char *doc;
	uint32_t number;
};

struct proto_enum {
	const char *id;
	const char *doc;
	const struct proto_enum_value *values;
	size_t count;
};

struct proto_struct;

/* A structure's descriptor is returned by a function, since only there can a row of the
 * table name the structure that it stands in: proto_desc_<id>(). */
typedef const struct proto_struct *proto_desc_fn(void);

struct proto_field {
	const char *name;   /* on the wire: "size_bytes" */
	const char *option; /* hvctl's, without "--": "size"; "": none */
	const char *unit;   /* "bytes"; "": none */
	const char *doc;
	enum proto_type type;
	enum proto_presence presence;
	bool list;
	uint64_t min, max, dflt;
	size_t max_count;			 /* of a list */
	const struct proto_enum *en;		 /* PROTO_ENUM */
	proto_desc_fn *sub;			 /* PROTO_STRUCT */
	size_t offset, has_offset, count_offset; /* in the C structure */
	size_t size;				 /* of the value, or of one item of a list */
};

struct proto_struct {
	const char *id;
	const char *doc;
	const struct proto_field *fields;
	size_t count;
	size_t size;
};

#define PROTO_METHOD_LATE 1u   /* replies may come out of order */
#define PROTO_METHOD_URGENT 2u /* carried out at once, before requests sent earlier */
#define PROTO_METHOD_LONG 4u   /* may take long: has the parameter progress */

struct proto_method {
	enum proto_method_id id;
	const char *name;	/* "memory.remap" */
	const char *verb;	/* hvctl's: "remap"; "": none */
	const char *positional; /* names of parameters: "vm gva" */
	const char *doc;
	uint32_t role; /* PROTO_ROLE_* */
	uint32_t flags;
	proto_desc_fn *params;
	proto_desc_fn *result;
};

extern const struct proto_method proto_methods[PROTO_METHOD_COUNT];

struct proto_notification {
	const char *name; /* "event" */
	const char *doc;
	proto_desc_fn *params;
};

extern const struct proto_notification proto_notifications[PROTO_NOTIFICATION_COUNT];
#define STRUCT(id, doc) proto_desc_fn proto_desc_##id;
#define END(id)
#define FIELD(kind, name, presence, min, max, dflt, option, unit, doc)
#define FIELD_ENUM(en, name, presence, dflt, option, doc)
#define FIELD_STRUCT(sub, name, presence, doc)
#define LIST(kind, name, presence, min, max, max_count, option, unit, doc)
#define LIST_ENUM(en, name, presence, max_count, option, doc)
#define LIST_STRUCTS(sub, name, presence, max_count, doc)
#include "proto/structs.def"
#undef STRUCT
#undef END
#undef FIELD
#undef FIELD_ENUM
#undef FIELD_STRUCT
#undef LIST
#undef LIST_ENUM
#undef LIST_STRUCTS
#define ENUM(id, doc) extern const struct proto_enum proto_enum_##id;
#define VALUE(id, name, number, text, doc)
#define ENUM_END(id)
#include "proto/enums.def"
#undef ENUM
#undef VALUE
#undef ENUM_END

/* All structures and enumerations, for those who print them; ends with NULL. */
extern proto_desc_fn *const proto_structs[];
extern const struct proto_enum *const proto_enums[];

/* NULL if there is none. */
const struct proto_method *proto_method_by_name(const char *name);
const struct proto_method *proto_method_by_verb(const char *verb);
const struct proto_field *proto_field_by_name(const struct proto_struct *desc, const char *name);
const struct proto_field *proto_field_by_option(const struct proto_struct *desc,
						const char *option);
/* true if the parameter is among the method's positional ones. */
bool proto_is_positional(const struct proto_method *m, const struct proto_field *f);
/* true if a person can give the parameter by an option; some only programs can. */
bool proto_has_option(const struct proto_method *m, const struct proto_field *f);
/* The name of a value; NULL if it has none. */
const char *proto_enum_name(const struct proto_enum *en, uint32_t number);
/* 0 and *ret, or -EINVAL. */
int proto_enum_number(const struct proto_enum *en, const char *name, uint32_t *ret);
/* [A-Za-z0-9][A-Za-z0-9_.-]{0,62} */
bool proto_name_valid(const char *s, size_t len);

/*
 * Length of the UTF-8 sequence at s (1..4), of which len bytes are there; 0 if it is
 * not valid (overlong, a surrogate, beyond U+10FFFF, cut off).
 */
size_t proto_utf8_sequence(const char *s, size_t len);

/* --- JSON ------------------------------------------------------------------------------------ */

/*
 * Parses one message, strictly: RFC 8259, valid UTF-8, no key twice, no NUL inside a
 * string, bounded depth and number of values. Integers are exact up to 64 bits; other
 * numbers become doubles that print as they were written. -EBADMSG and *err
 * (PROTO_ERROR_PARSE), or -ENOMEM. The caller puts *ret.
 */
int proto_json_parse(const char *text, size_t len, struct json_object **ret,
		     struct proto_error *err);
/* As above, for replies: what a trusted daemon sends may hold any number of values. */
int proto_json_parse_reply(const char *text, size_t len, struct json_object **ret,
			   struct proto_error *err);
/* One line, without the newline; the string belongs to obj. */
const char *proto_json_text(struct json_object *obj, size_t *ret_len);

/* For files that people read: indented, one member a line, without the last newline. */
const char *proto_json_pretty(struct json_object *obj, size_t *ret_len);

/* --- structures <-> JSON ------------------------------------------------------------------- */

/*
 * obj is a JSON object or NULL (none given). Fills *out with values and defaults; memory
 * comes from the arena. Fails with the kind's errno, naming the field.
 */
int proto_decode(const struct proto_struct *desc, struct json_object *obj, void *out,
		 struct proto_arena *a, struct proto_error *err);
/* NULL when out of memory. */
struct json_object *proto_encode(const struct proto_struct *desc, const void *in);
/*
 * As proto_encode(), but leaves out what was not given (!has_), also if it has a
 * default: for requests.
 */
struct json_object *proto_encode_params(const struct proto_struct *desc, const void *in);

/* Text that grows; zero-initialise it. What is added once it has failed is lost. */
struct proto_text {
	char *data; /* not NUL-terminated */
	size_t size, room;
	bool failed; /* out of memory */
};

void proto_text_add(struct proto_text *t, const char *s, size_t n);
#define proto_text_literal(t, s) proto_text_add(t, s, sizeof(s) - 1)
/* As proto_json_text() prints it. */
void proto_text_json(struct proto_text *t, struct json_object *obj);
/* Room for n more bytes; NULL: out of memory. */
char *proto_text_room(struct proto_text *t, size_t n);
void proto_text_free(struct proto_text *t);
/* What proto_encode() and proto_json_text() would give, byte for byte, without objects. */
void proto_print(struct proto_text *t, const struct proto_struct *desc, const void *in);

/*
 * Fields that both structures have, by name and kind: from in to out, and that they were
 * given. With keep, those that out has already stay. Shallow: strings and lists remain in's.
 */
void proto_copy_fields(const struct proto_struct *to, void *out, const struct proto_struct *from,
		       const void *in, bool keep);

/* --- structures <- text of people ---------------------------------------------------------- */

/*
 * Sets a field of *out from what a person wrote, and has_<name>; a list gets one more item.
 *   sizes 4096, 64M, 4KiB, 0x1000   integers 12, 0xc   addresses 0x200000, 2M, 0
 *   booleans NULL (the option alone), on off yes no true false 1 0
 *   bytes hexadecimal digits, with or without spaces   file a path
 * Fails with the kind's errno; the error's field is the option's name.
 */
int proto_set_from_string(const struct proto_field *f, void *out, const char *text,
			  struct proto_arena *a, struct proto_error *err);
/* -EINVAL and the first required parameter that has not been given. */
int proto_check_required(const struct proto_struct *desc, const void *in, struct proto_error *err);
/* 4096, 64M, 4KiB, 0x1000. -EINVAL malformed, -ERANGE beyond 64 bits. */
int proto_parse_size(const char *text, uint64_t *ret);

/* --- schema and reference ------------------------------------------------------------------ */

/* The JSON schema of a structure; NULL when out of memory. */
struct json_object *proto_schema(const struct proto_struct *desc);
/* For rpc.discover. */
struct json_object *proto_openrpc_methods(void);
struct json_object *proto_openrpc_components(void);

/* --- base64, RFC 4648, strict -------------------------------------------------------------- */

/* Characters that n bytes take. */
size_t proto_base64_length(size_t n);
void proto_base64_encode(const uint8_t *in, size_t n, char *out);
/* out holds at least len / 4 * 3 bytes. -EINVAL if it is not base64. */
int proto_base64_decode(const char *in, size_t len, uint8_t *out, size_t *ret_n);

/* --- digests --------------------------------------------------------------------------------- */

#define PROTO_SHA256_LEN 65 /* hexadecimal digits and a NUL */

/*
 * SHA-256 and size of a regular file, from its beginning to its end, whatever its offset.
 * 0 or a negative errno. It takes as long as reading the file does.
 */
int proto_digest_file(int fd, uint64_t *ret_size, char ret[PROTO_SHA256_LEN]);

/* --- framing ------------------------------------------------------------------------------- */

/* Cuts a stream of bytes into lines. Zero-initialise it. */
struct proto_framer {
	size_t limit; /* of a line with its newline; 0: PROTO_MESSAGE_MAX; clients: SIZE_MAX */
	char *buf;
	size_t start, used, scanned, size;
};

/*
 * Room for at least min bytes at *ret, to be filled and then told of. -ENOMEM, or
 * -EMSGSIZE when a line without end already has as many bytes as a line may have.
 */
int proto_framer_reserve(struct proto_framer *f, size_t min, char **ret, size_t *ret_room);
void proto_framer_filled(struct proto_framer *f, size_t n);
/*
 * The next line, without its newline and NUL-terminated, valid until the next call: 0.
 * -EAGAIN none yet, -EMSGSIZE it is too long.
 */
int proto_framer_next(struct proto_framer *f, char **ret, size_t *ret_len);
/* Bytes that are held and not yet returned. */
size_t proto_framer_held(const struct proto_framer *f);
void proto_framer_free(struct proto_framer *f);

/* --- for clients --------------------------------------------------------------------------- */

/* A connected socket (close-on-exec), or a negative errno. */
int proto_connect(const char *path);
/* A line on its way, with its newline; text and descriptors remain the caller's. */
struct proto_outgoing {
	struct iovec iov[2];
	const int *fds;
	size_t fd_count; /* not yet sent */
	size_t left;	 /* bytes not yet sent */
};

void proto_outgoing_begin(struct proto_outgoing *o, const char *text, size_t len, const int *fds,
			  size_t fd_count);
/*
 * Sends what is left of it; flags are sendmsg()'s. 0: all is sent. With MSG_DONTWAIT, -EAGAIN:
 * the socket takes no more now. Or another negative errno; -E2BIG: too many descriptors.
 */
int proto_outgoing_send(int fd, struct proto_outgoing *o, int flags);
/*
 * Sends one line (the newline is added), with descriptors; waits until it is sent. The
 * descriptors remain the caller's. 0 or a negative errno.
 */
int proto_send_line(int fd, const char *text, size_t len, const int *fds, size_t fd_count);
/*
 * Waits for a line: 0 and the line, NUL-terminated, valid until the next call.
 * -ECONNRESET at the end of the stream, or another negative errno.
 */
int proto_recv_line(int fd, struct proto_framer *f, char **ret, size_t *ret_len);

#endif
