/* SPDX-License-Identifier: MIT */
/* What of a range is in memory, as the kernel's page tables have it. Nothing is kept open. */
#ifndef ASH_OS_RESIDENT_H
#define ASH_OS_RESIDENT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"

/*
 * huge[i]: the i-th 2 MiB of [addr, addr + nr * 2 MiB), which begins at a multiple of them, is one huge page, mapped as
 * such, and not the kernel's page of zeroes. 0, or a negative errno: -ENOTTY before Linux 6.7, -ENOENT without /proc.
 */
ASH_MUST_USE int ash_resident_huge(const void *addr, size_t nr, bool *huge);

/* What there is of 2 MiB: nothing, not even in swap; one huge page, mapped as such; anything else. */
enum ash_resident { ASH_RESIDENT_NONE, ASH_RESIDENT_HUGE, ASH_RESIDENT_SOME };
/* what[i], of nr times 2 MiB as above: an enum ash_resident. Errors as above. */
ASH_MUST_USE int ash_resident_look(const void *addr, size_t nr, unsigned char *what);

/*
 * full[i]: every page of the i-th 2 MiB is in memory, huge or not. (What was swapped out is not in memory, so "not
 * full" does not mean that it reads as zero.)
 */
void ash_resident_full(const void *addr, size_t nr, bool *full);

/* *pages: how many of the pages of [addr, addr + bytes) are in memory. 0, or a negative errno: -ENOMEM, not all is
 * mapped. */
ASH_MUST_USE int ash_resident_pages(const void *addr, size_t bytes, size_t *pages);

#endif
