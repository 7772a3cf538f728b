/* SPDX-License-Identifier: MIT */
/*
 * Taking frames out of a zone, and switching the pcps off. Kernel: mm/memory_hotplug.c, zone_pcp_disable.
 *
 * Thread-safe; waits for locks and calls movers. The embedder serialises online and offline of one zone.
 */
#ifndef ASH_PAGE_OFFLINE_H
#define ASH_PAGE_OFFLINE_H

#include "page/isolate.h"

/*
 * Empty [start, start + nr), whole pageblocks that are online, and take it out of the zone: the range can be brought
 * online again, or its memory unmapped. -ASH_EBUSY (busy says what was in the way), -ASH_ENOMEM (no room to move to),
 * -ASH_EINTR (ops->interrupted says so), -ASH_EINVAL (not whole pageblocks of the zone); then everything is in service
 * as before. zeroed: all of it is known to read as zero.
 */
ASH_MUST_USE int ash_zone_offline(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, bool *zeroed,
				  struct ash_busy_list *busy);

/*
 * Until the matching enable nothing stays in a pcp: they are drained, frees go to the zone and refills fetch the one
 * piece that is asked for. With that, a block isolated stays isolated from everything. Nests.
 */
void ash_zone_pcp_disable(struct ash_zone *z);
void ash_zone_pcp_enable(struct ash_zone *z);

#endif
