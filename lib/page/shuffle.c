/* SPDX-License-Identifier: MIT */
/*
 * Shuffled freelists: which frames an allocation gets is not to be guessed. Kernel: mm/shuffle.c.
 *
 * What comes online is shuffled once, by exchanging the places of buddies of one order, type and list; later frees of
 * that order and above go to either end by the toss of a coin.
 */
#include "page/buddy.h"

#define SHUFFLE_RETRIES 10

/* xorshift64*: never 0 once it is not 0. Under the zone lock. */
static uint64_t draw(struct ash_zone *z)
{
	uint64_t x = z->shuffle_state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	z->shuffle_state = x;
	return x * 0x2545f4914f6cdd1du;
}

enum ash_list_end ash_shuffle_end(struct ash_zone *z)
{
	return draw(z) >> 63 ? ASH_LIST_HEAD : ASH_LIST_TAIL;
}

void ash_shuffle_range(struct ash_zone *z, ash_pfn_t start, ash_pfn_t end)
{
	const ash_pfn_t step = ash_order_frames(z->hardening.shuffle_order);

	for (uint64_t pfn = ((uint64_t)start + step - 1) & ~(uint64_t)(step - 1); pfn + step <= end; pfn += step) {
		ash_zone_lock(z);
		for (unsigned i = 0; i < SHUFFLE_RETRIES; i++) {
			const uint32_t word = ash_frame_load(z->frames, (ash_pfn_t)pfn);
			const unsigned order = z->hardening.shuffle_order;
			const ash_pfn_t other = ash_order_start((ash_pfn_t)(draw(z) % z->nr_frames), order);

			if (ash_word_state(word) != ASH_FRAME_BUDDY || ash_word_order(word) != order)
				break;
			/* Equal words: a buddy of the same order, type and list. */
			if (other == pfn || ash_frame_load(z->frames, other) != word)
				continue;
			ash_freelist_swap(z, (ash_pfn_t)pfn, other);
			break;
		}
		ash_zone_unlock(z);
	}
}
