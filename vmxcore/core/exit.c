// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Exit reasons: names, and the handler of each. */
#include "core/exit.h"
#include "core/vcpu_internal.h"

struct exit_info {
	const char *name, *doc;
	exit_handler handler;
};

static const struct exit_info exit_infos[VMX_EXIT_REASONS] = {
#define EXIT_REASON(number, NAME, name_, handler_, doc_) \
	[number] = {.name = (name_), .doc = (doc_), .handler = exit_##handler_},
#include "core/exits.def"
#undef EXIT_REASON
};

static const struct exit_info *info_of(uint32_t basic_reason)
{
	static const struct exit_info none = {NULL, NULL, exit_unexpected};

	if (basic_reason >= VMX_EXIT_REASONS || exit_infos[basic_reason].handler == NULL)
		return &none;
	return &exit_infos[basic_reason];
}

const char *core_exit_name(uint32_t basic_reason)
{
	return info_of(basic_reason)->name;
}

const char *core_exit_doc(uint32_t basic_reason)
{
	return info_of(basic_reason)->doc;
}

exit_handler core_exit_handler(uint32_t basic_reason)
{
	return info_of(basic_reason)->handler;
}

/* The default: the report that core_vcpu_run() fills says it all. */
enum exit_step exit_unexpected(struct core_vcpu *v, struct core_run_exit *ret)
{
	(void)v;
	return exit_return(ret, CORE_RUN_UNEXPECTED);
}
