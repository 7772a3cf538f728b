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

/*
 * Whether a gap may serve better than a buddy: not while a buddy of a partly used pageblock is to be had that is in
 * memory, for a search costs more; unless the run would leave nearly half of it. A guard is behind the run in the same
 * one.
 */
bool ash_run_may_take_gap(const struct ash_zone *z, ash_pfn_t nr, unsigned order, enum ash_migratetype mt);

/*
 * From neighbouring free buddies in partly used pageblocks, each too small for the run. Where runs come and go whose
 * lengths are no powers of two, much of the room that they leave is like this, and without it they would have fresh
 * memory time and again. A gap that holds the run, of more than half of 2^order frames, has a whole buddy of a quarter
 * of that at least: so those of the two orders below lead to every gap that has no buddy for the run by itself. Of the
 * few that are looked at the shortest is taken; what is in memory goes before what is not.
 */
bool ash_run_take_gap(struct ash_zone *z, ash_pfn_t nr, unsigned order, unsigned align_order, enum ash_migratetype mt,
		      struct ash_taken *taken);

#endif
