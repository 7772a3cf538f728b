/* SPDX-License-Identifier: MIT */
/* The list of deferred frees. */
#include "page/deferred.h"

/* The list head is a pfn plus 1, so that a zero-filled zone has an empty list. */
void ash_deferred_push(struct ash_zone *z, ash_pfn_t pfn)
{
	uint32_t head = atomic_load_explicit(&z->deferred, memory_order_relaxed);

	do {
		ash_frame_at(z->frames, pfn)->next = head;
	} while (!atomic_compare_exchange_weak_explicit(&z->deferred, &head, pfn + 1, memory_order_release,
							memory_order_relaxed));
}

void ash_deferred_free_all(struct ash_zone *z)
{
	uint32_t head = atomic_exchange_explicit(&z->deferred, 0, memory_order_acquire);

	while (head != 0) {
		const ash_pfn_t pfn = head - 1;
		const unsigned order = ash_word_order(ash_frame_load(z->frames, pfn));

		head = ash_frame_at(z->frames, pfn)->next;
		/* The pageblock's type is the one it has now, whatever it was at the free. */
		ash_frame_store(z->frames, pfn, 0);
		ash_buddy_free(z, pfn, order, 0);
		z->pgfree += ash_order_frames(order);
	}
}
