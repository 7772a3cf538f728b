/* SPDX-License-Identifier: MIT */
/*
 * What happens when a type's own lists are empty: borrow from CMA, claim a pageblock, or steal a buddy.
 *
 * A claim converts a whole pageblock to the requester's type; a steal takes one buddy out of another type's block and
 * pollutes it. Claims look from the largest order down (one large claim saves many small ones), steals from the
 * smallest up (the biggest buddies are what others will want to claim). Which stage served the last request of a bulk
 * refill is remembered for the next one of the same lock hold, because searching all the lists again for every frame
 * once kept the kernel's zone lock for a quarter of a second.
 */
#ifndef ASH_PAGE_FALLBACK_H
#define ASH_PAGE_FALLBACK_H

#include "page/buddy.h"

/* Where the next search of the same lock hold begins. A new lock hold begins with NORMAL. */
enum ash_rmqueue_mode {
	ASH_RMQUEUE_NORMAL,
	ASH_RMQUEUE_CMA,
	ASH_RMQUEUE_CLAIM,
	ASH_RMQUEUE_STEAL,
};

/* Take 2^order frames for a request of a pcp type; pfn is ASH_PFN_NONE when nothing will do. Under the zone lock. */
struct ash_taken ash_rmqueue(struct ash_zone *z, unsigned order, enum ash_migratetype mt, unsigned flags,
			     enum ash_rmqueue_mode *mode);

/* Whether a buddy of another type, of this order or above, is there that a request for mt may try to claim. */
bool ash_fallback_exists(const struct ash_zone *z, unsigned order, enum ash_migratetype mt);

/*
 * Whether the pageblock of pfn may become mt by the half rule: it is wholly online, and free frames plus frames
 * compatible with mt make at least half of it.
 */
bool ash_fallback_block_claimable(const struct ash_zone *z, ash_pfn_t pfn, enum ash_migratetype mt);

#endif
