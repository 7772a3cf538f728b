/* SPDX-License-Identifier: MIT */
/*
 * Who owns what is MOVABLE or RECLAIMABLE in arenas: mappings their slots, the program its movable objects.
 *
 * A slot is emptied by giving its mapping another one. Slots in a mapping's name hold no page, so there is nothing to
 * copy, the mapping's own pages stay where they are, and nobody who uses the mapping can notice: neither threads nor
 * the kernel nor a device. What decides is one compare-and-exchange in the table from addresses to slots: an unmapping
 * that takes the slot out first has it, and the move is refused.
 *
 * The word of a slot's piece is its block number, that of an object its number and WORD_OBJECT. Words may be stale, or
 * another user's: they only say where to look.
 */
#include <errno.h>

#include "map/internal.h"

static uint32_t slot_of(const void *addr)
{
	return (uint32_t)(ash_frame_index(addr) >> ASH_PAGEBLOCK_ORDER) + 1;
}

static int isolate(void *addr, unsigned order, uint32_t word)
{
	if ((word & ASH_WORD_OBJECT) != 0)
		return ash_object_isolate(addr, order, word);
	return order == ASH_PAGEBLOCK_ORDER && ash_track_get(word) == slot_of(addr) ? 0 : -EBUSY;
}

static int migrate(void *to, void *from, unsigned order, uint32_t word)
{
	if ((word & ASH_WORD_OBJECT) != 0)
		return ash_object_migrate(to, from, order, word);
	/* It may be warm from before, and a slot in a mapping's name is empty. */
	if (!ash_arena_empties(to, PB_BYTES) || ash_vmem_discard(to, PB_BYTES) < 0 ||
	    !ash_track_exchange(word, slot_of(from), slot_of(to)))
		return -EBUSY;
	atomic_fetch_add_explicit(&ash_maps.exchanged, 1, memory_order_relaxed);
	return 0;
}

static void putback(void *addr, unsigned order, uint32_t word)
{
	if ((word & ASH_WORD_OBJECT) != 0)
		ash_object_putback(addr, order, word);
}

static int drop(void *addr, unsigned order, uint32_t word)
{
	return (word & ASH_WORD_OBJECT) != 0 ? ash_object_drop(addr, order, word) : -EBUSY;
}

static const struct ash_arena_mover mover = {
	.isolate = isolate,
	.migrate = migrate,
	.putback = putback,
	.drop = drop,
};

void ash_map_use_mover(void)
{
	ash_arena_set_mover(&mover);
}
