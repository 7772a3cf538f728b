/* SPDX-License-Identifier: MIT */
/*
 * The digest of a zone: one number over pageblock words, pieces and counters.
 *
 * Two zones, or one zone at two times, have the same digest when they hold the same pieces in the same states with the
 * same pageblock types and counters. The order within a list is left out on purpose: undoing an isolation restores
 * which list a buddy is on, not its place there. Hints (skip bits) and event counters are left out too.
 */
#include "page/pcp.h"

/* The finaliser of splitmix64: every input bit reaches every output bit. */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static uint64_t digest_frames(const struct ash_zone *z)
{
	uint64_t sum = 0;
	ash_pfn_t pfn = 0;

	while (pfn < z->nr_frames) {
		uint32_t word;

		/* The embedder need not have metadata of frames far from any that is online. */
		if (!(ash_pageblock_word(z, pfn) & ASH_PB_ONLINE)) {
			pfn = ash_pageblock_end(z, pfn);
			continue;
		}
		word = ash_frame_load(z->frames, pfn);
		if (ash_word_state(word) != ASH_FRAME_NONE)
			sum += mix((uint64_t)pfn << 32 | word);
		if (ash_word_state(word) == ASH_FRAME_BUDDY)
			sum += mix(mix(pfn) ^ ash_frame_at(z->frames, pfn)->private);
		pfn += ash_order_frames(ash_word_order(word));
	}
	return sum;
}

uint64_t ash_zone_digest(struct ash_zone *z)
{
	uint64_t sum, nr_blocks = ash_zone_nr_pageblocks(z->nr_frames, (struct ash_geometry){ z->pageblock_order,
											       z->max_order });

	ash_zone_lock_all(z);
	sum = digest_frames(z);
	for (uint64_t i = 0; i < nr_blocks; i++) {
		const unsigned word = atomic_load_explicit(&z->pageblocks[i], memory_order_relaxed);

		sum += mix(mix(i) ^ (word & ~(ASH_PB_SKIP | ASH_PB_ZEROED)));
	}
	sum = mix(sum ^ ash_counter_read(&z->present));
	sum = mix(sum ^ ash_counter_read(&z->free));
	sum = mix(sum ^ ash_counter_read(&z->free_blocks));
	sum = mix(sum ^ ash_counter_read(&z->free_zeroed));
	sum = mix(sum ^ ash_counter_read(&z->free_cma));
	sum = mix(sum ^ ash_counter_read(&z->free_highatomic));
	sum = mix(sum ^ ash_counter_read(&z->nr_isolate));
	sum = mix(sum ^ z->reserved_highatomic);
	sum = mix(sum ^ ash_pcp_total(z));
	ash_zone_unlock_all(z);
	return sum;
}
