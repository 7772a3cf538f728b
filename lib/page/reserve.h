/* SPDX-License-Identifier: MIT */
/* The reserves as the allocation paths use them. Everything but ash_reserve_may_alloc() needs the zone lock. */
#ifndef ASH_PAGE_RESERVE_H
#define ASH_PAGE_RESERVE_H

#include "page/buddy.h"

/* Whether nr frames may leave the lists without going below the min watermark. */
bool ash_reserve_may_alloc(struct ash_zone *z, ash_pfn_t nr, unsigned flags);

/* After a claim attempt on less than a pageblock. */
void ash_reserve_boost(struct ash_zone *z);

/* Make the pageblocks of a piece just allocated HIGHATOMIC, if the reserve may still grow. */
void ash_reserve_highatomic(struct ash_zone *z, ash_pfn_t pfn, unsigned order);

/* The kernel's unreserve_highatomic_pageblock. */
bool ash_reserve_unreserve(struct ash_zone *z, enum ash_migratetype mt, bool force);

#endif
