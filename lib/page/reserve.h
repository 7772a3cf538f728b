/* SPDX-License-Identifier: MIT */
/*
 * The reserves as the allocation paths use them. Everything but ash_reserve_may_alloc() and ash_reserve_lowmem() needs
 * the zone lock.
 */
#ifndef ASH_PAGE_RESERVE_H
#define ASH_PAGE_RESERVE_H

#include "page/buddy.h"

/* Whether nr frames may leave the lists without going below the min watermark. */
bool ash_reserve_may_alloc(struct ash_zone *z, ash_pfn_t nr, unsigned flags);

/* What is kept from a request with these flags because it had zones above to go to. */
uint64_t ash_reserve_lowmem(const struct ash_zone *z, unsigned flags);

/* The marks for what is present now (kernel: setup_per_zone_wmarks on hotplug). */
void ash_reserve_resize(struct ash_zone *z);

/* After a claim attempt on less than a pageblock. */
void ash_reserve_boost(struct ash_zone *z);

/* Make the pageblocks of a piece just allocated HIGHATOMIC, if the reserve may still grow. */
void ash_reserve_highatomic(struct ash_zone *z, ash_pfn_t pfn, unsigned order);

/* The kernel's unreserve_highatomic_pageblock. */
bool ash_reserve_unreserve(struct ash_zone *z, enum ash_migratetype mt, bool force);

#endif
