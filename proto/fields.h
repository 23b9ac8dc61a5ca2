/* SPDX-License-Identifier: MIT */
/*
 * Shorthands for the rows of structs.def. They expand to the base rows, which each
 * reader of structs.def defines for itself:
 *
 *   FIELD(KIND, name, PRESENCE, min, max, default, option, unit, doc)
 *   FIELD_ENUM(enum, name, PRESENCE, default, option, doc)
 *   FIELD_STRUCT(struct, name, PRESENCE, doc)
 *   LIST(KIND, name, PRESENCE, min, max, max_count, option, unit, doc)
 *   LIST_ENUM(enum, name, PRESENCE, max_count, option, doc)
 *   LIST_STRUCTS(struct, name, PRESENCE, max_count, doc)
 *
 * P_ rows are parameters (option: hvctl's --option, "" if positional only), R_ rows
 * are results.
 */
#ifndef PROTO_FIELDS_H
#define PROTO_FIELDS_H

#define LIST_STRUCT(sub, name, max_count, doc) LIST_STRUCTS(sub, name, REQUIRED, max_count, doc)

#define P_VM FIELD(NAME, vm, REQUIRED, 1, PROTO_NAME_MAX, 0, "vm", "", "the VM's name")
#define P_VM_OPTIONAL                                             \
	FIELD(NAME, vm, OPTIONAL, 1, PROTO_NAME_MAX, 0, "vm", "", \
	      "the VM's name; without it, every VM")
#define P_NAME(name, presence, option, doc) \
	FIELD(NAME, name, presence, 1, PROTO_NAME_MAX, 0, option, "", doc)
#define P_STRING(name, presence, max, option, doc) \
	FIELD(STRING, name, presence, 0, max, 0, option, "", doc)
#define P_ADDR(name, presence, option, doc) \
	FIELD(ADDR, name, presence, 0, UINT64_MAX, 0, option, "", doc)
#define P_SIZE(name, presence, min, max, dflt, option, doc) \
	FIELD(SIZE, name, presence, min, max, dflt, option, "bytes", doc)
#define P_U32(name, presence, min, max, dflt, option, unit, doc) \
	FIELD(U32, name, presence, min, max, dflt, option, unit, doc)
#define P_U64(name, presence, min, max, dflt, option, unit, doc) \
	FIELD(U64, name, presence, min, max, dflt, option, unit, doc)
#define P_BOOL(name, dflt, option, doc) FIELD(BOOL, name, DEFAULTED, 0, 1, dflt, option, "", doc)
#define P_BYTES(name, presence, max, option, doc) \
	FIELD(BYTES, name, presence, 0, max, 0, option, "bytes", doc)
#define P_FILE(name, presence, option, doc) FIELD(FILE, name, presence, 0, 0, 0, option, "", doc)
#define P_DRY_RUN P_BOOL(dry_run, 0, "dry-run", "change nothing; reply with what would be done")
#define P_SKIP_INVALIDATION                                                           \
	P_BOOL(skip_invalidation, 0, "skip-invalidation",                             \
	       "write the entries but leave out the INVEPT they need (only with hvd " \
	       "--unsafe-hooks): shows what a stale TLB does")

/* What a VM is made with, but for its name and files: of vm.create and of a definition. */
#define P_VM_SETTINGS                                                                        \
	P_SIZE(memory_bytes, DEFAULTED, 0x100000, UINT64_C(1) << 46, 64 << 20, "memory",     \
	       "RAM, a multiple of 4096, mapped at 0 as slot ram")                           \
	P_U32(vcpus, DEFAULTED, 1, 64, 1, "vcpus", "vCPUs", "virtual processors")            \
	FIELD_ENUM(image_format, image_format, DEFAULTED, PROTO_IMAGE_AUTO, "format",        \
		   "the image's format")                                                     \
	P_STRING(command_line, DEFAULTED, 1023, "append",                                    \
		 "the guest's command line (Multiboot and ELF64)")                           \
	P_ADDR(load_gpa, OPTIONAL, "load", "where a flat image is loaded; default 0x100000") \
	P_BOOL(vpid, 1, "vpid", "tag the TLB with VPIDs; off: every entry and exit flushes") \
	P_BOOL(accessed_dirty, 1, "accessed-dirty", "accessed and dirty flags for EPT")      \
	FIELD_ENUM(ept_page, ept_page, DEFAULTED, PROTO_EPT_PAGE_LARGEST, "ept-page",        \
		   "largest EPT leaf")                                                       \
	P_BOOL(huge_pages, 0, "huge-pages", "RAM in 2 MiB host pages if they can be had")    \
	LIST(U32, processors, OPTIONAL, 0, 63, 64, "processor", "",                          \
	     "home processor of each vCPU; without it, the engine spreads them")

#define P_PROGRESS              \
	P_BOOL(progress, 0, "", \
	       "send notifications progress while it is carried out, ten a second at most")
#define R_SUBSCRIPTION \
	R_U32(subscription, REQUIRED, "", "number of the subscription, on this connection")

#define R_NAME(name, presence, doc) FIELD(NAME, name, presence, 1, PROTO_NAME_MAX, 0, "", "", doc)
#define R_STRING(name, presence, doc) FIELD(STRING, name, presence, 0, UINT32_MAX, 0, "", "", doc)
#define R_ADDR(name, presence, doc) FIELD(ADDR, name, presence, 0, UINT64_MAX, 0, "", "", doc)
#define R_SIZE(name, presence, doc) FIELD(SIZE, name, presence, 0, UINT64_MAX, 0, "", "bytes", doc)
#define R_U32(name, presence, unit, doc) FIELD(U32, name, presence, 0, UINT32_MAX, 0, "", unit, doc)
#define R_U64(name, presence, unit, doc) FIELD(U64, name, presence, 0, UINT64_MAX, 0, "", unit, doc)
#define R_BOOL(name, presence, doc) FIELD(BOOL, name, presence, 0, 1, 0, "", "", doc)
#define R_ENUM(en, name, presence, doc) FIELD_ENUM(en, name, presence, 0, "", doc)
#define R_BYTES(name, doc) FIELD(BYTES, name, REQUIRED, 0, PROTO_BYTES_MAX, 0, "", "bytes", doc)
#define R_JSON(name, doc) FIELD(JSON, name, REQUIRED, 0, 0, 0, "", "", doc)

#endif
