/* SPDX-License-Identifier: MIT */
/* The information page that an ELF64 program gets in RDI: guest_main's argument. */
#ifndef GUEST_INFO_H
#define GUEST_INFO_H

#include "loader/info_page.h"

static inline int info_page_good(const struct info_page *info)
{
	return info && info->magic == INFO_PAGE_MAGIC && info->version == INFO_PAGE_VERSION &&
	       info->size_bytes >= sizeof(*info);
}

#endif
