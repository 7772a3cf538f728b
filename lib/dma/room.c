/* SPDX-License-Identifier: MIT */
/*
 * Making room for long runs. A run is had by moving what is movable in it to somewhere else, and somewhere else there
 * has to be room: in frames that are free between buffers. Two things get in the way of that.
 *
 * Objects that were moved there stay when the run has gone. They fill the pageblocks of buffers, so that the next
 * buffers take pageblocks of their own, and in the end there is one in every stretch as long as a run. So objects among
 * buffers ("guests") are counted, and go back among their own as soon as there is room again.
 *
 * And what is free between buffers is in small pieces, or all of it is wanted. Then what can be dropped goes first.
 */
#include "dma/internal.h"
#include "page/migrate.h"
#include "page/pageblock.h"

enum { GUESTS_LEAST = 64 }; /* frames; below that they are not worth a walk */

static bool among_buffers(const struct ash_dma_arena *a, ash_pfn_t pfn)
{
	return ash_pageblock_type(a->zone, pfn) == ASH_MT_UNMOVABLE;
}

void ash_dma_guest(struct ash_dma_arena *a, ash_pfn_t pfn, unsigned order)
{
	if (among_buffers(a, pfn))
		atomic_fetch_add_explicit(&a->guests, 1u << order, memory_order_relaxed);
}

/* Room in a pageblock of movable pieces, or one that is free as a whole. */
static ash_pfn_t target_apart(struct ash_zone *z, unsigned order, ASH_UNUSED void *arg)
{
	struct ash_page_grant g;

	return ash_zone_alloc(z, order, ASH_MT_MOVABLE, ASH_ALLOC_NOFRAGMENT, ASH_CPU_NONE, &g) == 0 ? g.pfn
												     : ASH_PFN_NONE;
}

/* The guests of a pageblock go. false: there is no room for them. Growth turn. */
static bool clear_block(struct ash_dma_arena *a, ash_pfn_t block)
{
	const ash_pfn_t end = block + ASH_DMA_SLOT_FRAMES;
	ash_pfn_t head, next;

	for (ash_pfn_t pfn = block; pfn < end; pfn = next) {
		const uint32_t word = ash_migrate_look(a->zone, pfn, end, &head, &next);
		enum ash_busy_reason why;

		if (ash_word_state(word) == ASH_FRAME_USED && ash_word_type(word) == ASH_MT_MOVABLE &&
		    ash_migrate_piece(a->zone, head, target_apart, NULL, &why) < 0 && why == ASH_BUSY_NO_MEMORY)
			return false;
	}
	return true;
}

bool ash_dma_room_apart(struct ash_dma_arena *a)
{
	ash_pfn_t first, end, at = a->low;
	bool room = true;

	while (room && ash_dma_next_run(a, &at, &first, &end)) {
		for (; room && first < end; first += ASH_DMA_SLOT_FRAMES)
			room = !among_buffers(a, first) || clear_block(a, first);
	}
	ash_dma_objects_settle(a);
	/* When there is so much more free that it is worth another look. */
	atomic_store_explicit(&a->guests_due, room ? 0 : ash_counter_read(&a->zone->free) + GUESTS_LEAST,
			      memory_order_relaxed);
	if (room)
		atomic_store_explicit(&a->guests, 0, memory_order_relaxed);
	return room;
}

void ash_dma_room_look(struct ash_dma_arena *a)
{
	const uint32_t guests = atomic_load_explicit(&a->guests, memory_order_relaxed);

	if (ASH_LIKELY(guests < GUESTS_LEAST) ||
	    ash_counter_read(&a->zone->free) < atomic_load_explicit(&a->guests_due, memory_order_relaxed) + guests)
		return;
	ash_dma_take_turn(a);
	(void)ash_dma_room_apart(a);
	ash_dma_end_turn(a);
}

void ash_dma_room_drop(struct ash_dma_arena *a, ash_pfn_t nr)
{
	ash_pfn_t head, next, first, end, at = a->low, gone = 0;

	while (gone < nr && ash_dma_next_run(a, &at, &first, &end)) {
		for (ash_pfn_t pfn = first; pfn < end && gone < nr; pfn = next) {
			const uint32_t word = ash_migrate_look(a->zone, pfn, end, &head, &next);

			if (ash_word_state(word) == ASH_FRAME_USED && ash_word_type(word) == ASH_MT_RECLAIMABLE &&
			    ash_dma_shrinker.drop(a->zone, head, ash_word_order(word)) == 0)
				gone += next - pfn;
		}
	}
}
