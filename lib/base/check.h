/* SPDX-License-Identifier: MIT */
/*
 * Checks of the library's own promises: compiled in when ASH_CHECKS is 1, gone (but still type-checked) when it is 0.
 *
 * ASH_CHECKS is always defined, as 0 or 1, so that code says `if (ASH_CHECKS && ...)` and both halves keep compiling.
 * Mistakes of a caller that cost O(1) to see (a double free, a misaligned pfn) are not checks in this sense: they are
 * tested in every build.
 */
#ifndef ASH_BASE_CHECK_H
#define ASH_BASE_CHECK_H

#include "base/compiler.h"

#ifndef ASH_CHECKS
#error "the build defines ASH_CHECKS as 0 or 1"
#endif

/* For code without an object that knows how to report; lib/page reports through its zone, see ASH_ZONE_ASSERT. */
#define ASH_ASSERT(cond)                                                                                               \
	do {                                                                                                           \
		if (ASH_CHECKS && ASH_UNLIKELY(!(cond)))                                                               \
			__builtin_trap();                                                                              \
	} while (0)

#endif
