/* SPDX-License-Identifier: MIT */
#ifndef KERNEL_NOSPEC_H
#define KERNEL_NOSPEC_H

/* The index, which was checked; 0 where it is not below size. */
#define array_index_nospec(index, size) ((index) < (size) ? (index) : 0)

#endif
