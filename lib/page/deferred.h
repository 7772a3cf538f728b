/* SPDX-License-Identifier: MIT */
/*
 * Frees that may not wait for a lock: the piece goes onto a lock-free list, and whoever next frees to the zone in the
 * ordinary way puts it where it belongs. Kernel: add_page_to_zone_llist, trylock_free_pages.
 *
 * A push is one compare-and-swap loop; the list is only ever emptied whole, so there is no ABA problem. The links are
 * the frames' own, which nobody else uses in state DEFERRED.
 */
#ifndef ASH_PAGE_DEFERRED_H
#define ASH_PAGE_DEFERRED_H

#include "page/buddy.h"

/* The caller has made the head's word DEFERRED. Any context, no lock. */
void ash_deferred_push(struct ash_zone *z, ash_pfn_t pfn);

void ash_deferred_free_all(struct ash_zone *z);

/* Under the zone lock, by every ordinary path that has just taken it to free. */
ASH_INLINE void ash_deferred_drain(struct ash_zone *z)
{
	if (ASH_UNLIKELY(atomic_load_explicit(&z->deferred, memory_order_relaxed) != 0))
		ash_deferred_free_all(z);
}

#endif
