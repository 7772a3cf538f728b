/* SPDX-License-Identifier: MIT */
/*
 * Hardening: what a zone does to frames as they go in and out, where its configuration asks for it (struct
 * ash_hardening). Everything here is called without locks and by whoever owns the frames at that moment, so that
 * filling a gigabyte holds up nobody else; a hardened zone has no fast paths, so that those of others pay nothing.
 * Kernel: mm/page_poison.c, init_on_alloc and init_on_free, debug_guardpage, mm/page_owner.c.
 *
 * A free frame of a poisoned zone is wholly poison or wholly zero: what is known to be zeroed is left alone, because it
 * costs no memory before it is touched, and so is what the embedder gave back to the system.
 */
#ifndef ASH_PAGE_HARDEN_H
#define ASH_PAGE_HARDEN_H

#include "page/zone_struct.h"

#define ASH_POISON 0xaa /* kernel: PAGE_POISON */

ASH_INLINE bool ash_hardened(const struct ash_zone *z)
{
	return ASH_UNLIKELY(z->hardened);
}

/*
 * [pfn, pfn + nr) has just been allocated for mt. Checks and fills it as the zone wants, puts its guards out of reach
 * and notes who has it. Returns whether it reads as zero, given whether it was known to.
 */
bool ash_harden_alloc(struct ash_zone *z, ash_pfn_t pfn, ash_pfn_t nr, enum ash_migratetype mt, bool zeroed);

/*
 * [pfn, pfn + nr), all of it allocated, is about to be freed by its owner. zeroed: it reads as zero and costs nothing.
 */
void ash_harden_free(struct ash_zone *z, ash_pfn_t pfn, ash_pfn_t nr, bool zeroed);

/* Frames of unknown content are about to come online. */
void ash_harden_online(struct ash_zone *z, ash_pfn_t pfn, ash_pfn_t nr);

/* The end of the frames that belong to an allocation which ends at `end`, its guards included. */
ASH_INLINE ash_pfn_t ash_guard_end(const struct ash_zone *z, ash_pfn_t end)
{
	const ash_pfn_t mask = ash_order_frames(z->guard_order) - 1;

	return (end + mask) & ~mask;
}

/* Head [start, end), which heads nothing, as guards. Under the zone lock. */
void ash_guard_mark(struct ash_zone *z, ash_pfn_t start, ash_pfn_t end);

#endif
