/* SPDX-License-Identifier: MIT */
/*
 * Runs: any number of consecutive frames, kept as the naturally aligned pieces they are made of.
 *
 * A run of n frames has at most 2 log2(n) + n / 2^max_order pieces, so taking and giving back a gigabyte writes a few
 * dozen words. A run may be freed in parts: the piece under a cut is split, as a buddy would be.
 */
#ifndef ASH_PAGE_RUN_H
#define ASH_PAGE_RUN_H

#include "page/buddy.h"

/* Head [start, end) as USED pieces. None of the frames heads anything. Under the zone lock. */
void ash_run_mark_used(struct ash_zone *z, ash_pfn_t start, ash_pfn_t end, enum ash_migratetype mt);

/*
 * Whether every frame of [start, end) is on a freelist, in pageblocks that a request for mt may have: blocks of its
 * own type, blocks that it takes whole, and, unless flags say NOFRAGMENT, blocks of which it may claim the rest by the
 * half rule.
 */
bool ash_run_takeable(const struct ash_zone *z, ash_pfn_t start, ash_pfn_t end, enum ash_migratetype mt,
		      unsigned flags);

/*
 * Take [start, end), for which ash_run_takeable() has just said yes in the same lock hold, off the lists; the frames
 * head nothing afterwards. Returns whether all of them were zeroed.
 */
bool ash_run_take(struct ash_zone *z, ash_pfn_t start, ash_pfn_t end, enum ash_migratetype mt);

#endif
