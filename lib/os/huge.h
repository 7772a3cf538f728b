/* SPDX-License-Identifier: MIT */
/* What the kernel says about huge pages: pools per node, the THP mode, cgroup limits. For messages and reports: what
 * can be had is only known by populating. All read /sys or /proc: not for the start of a process. */
#ifndef ASH_OS_HUGE_H
#define ASH_OS_HUGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

enum { ASH_HUGE_2M_SHIFT = 21, ASH_HUGE_1G_SHIFT = 30 };

struct ash_huge_pool {
	uint64_t total, free, surplus; /* pages */
};

/* The pool of pages of 2^page_shift bytes of a node, or of the whole machine (node -1). -ENOENT: no such pool. */
ASH_MUST_USE int ash_huge_pool(int node, unsigned page_shift, struct ash_huge_pool *out);

enum ash_thp_mode { ASH_THP_NEVER, ASH_THP_MADVISE, ASH_THP_ALWAYS };

/* The system's mode; ASH_THP_NEVER too when the process has THP switched off (prctl) or the kernel has none, and
 * ASH_THP_MADVISE where nothing says. */
enum ash_thp_mode ash_thp_mode(void);

/*
 * The hugetlb limit of the process's own cgroup (version 1 or 2) for pages of 2^page_shift bytes, and what is used of
 * it, in bytes. -ENOENT: no such controller. A limit of UINT64_MAX is none.
 */
ASH_MUST_USE int ash_huge_cgroup(unsigned page_shift, uint64_t *limit, uint64_t *used);

#endif
