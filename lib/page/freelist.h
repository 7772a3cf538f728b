/* SPDX-License-Identifier: MIT */
/*
 * The one door of the freelists.
 *
 * Every buddy that enters or leaves a list, or changes lists, passes through these functions and through nothing else.
 * They do the counting (kernel: account_freepages) and, in checking builds, compare the list's type with the type of
 * every pageblock the buddy covers, at the moment of the call. That moment is the whole discipline: there are three
 * legal orders of operations, named at their uses, and each wrong one disagrees with the pageblock here.
 *
 *      order 1   move the buddies of one block, then retype the block           (ash_buddy_move_block)
 *      order 2   delete a buddy of whole blocks, retype all of them, add back   (fallback.c, claim; buddy.c, merge)
 *      order 3   delete the large buddy, flip one block's isolate bit, free block by block     (isolate.c)
 *
 * All of them need the zone lock. A buddy's head frame is written here and only here.
 */
#ifndef ASH_PAGE_FREELIST_H
#define ASH_PAGE_FREELIST_H

#include "page/pageblock.h"

/*
 * How much of a piece is zeroed (known to read as zero and to cost no memory until touched): 0 or 1 below pageblock
 * order; the number of zeroed pageblocks from pageblock order up, the pageblock bits then saying which. So merging a
 * fresh gigabyte with two megabytes that were used loses nothing. A listed buddy keeps the number in frame.private.
 */
ASH_INLINE unsigned ash_zeroed_full(const struct ash_zone *z, unsigned order)
{
	return order < z->pageblock_order ? 1u : 1u << (order - z->pageblock_order);
}

/* Where a buddy goes within its list. Wholly zeroed buddies stand behind all others, whatever this says:
 * our one addition to the kernel's placement, so that memory already paid for is used first. */
enum ash_list_end { ASH_LIST_HEAD, ASH_LIST_TAIL };

void ash_freelist_add(struct ash_zone *z, ash_pfn_t pfn, unsigned order, enum ash_migratetype mt, unsigned zeroed,
		      enum ash_list_end end);

/*
 * Free one piece of less than a pageblock: what ash_freelist_del() of every free buddy it can merge with, below
 * pageblock order, and an ash_freelist_add() of the result come to, but counted once. The tail it is, whatever `end`
 * says, where the next merge is likely. false: a whole pageblock has come together, which is not added; *pfn and
 * *zeroed are its.
 */
bool ash_freelist_free(struct ash_zone *z, ash_pfn_t *pfn, unsigned order, enum ash_migratetype mt, unsigned *zeroed,
		       enum ash_list_end end);

/*
 * The same for any part of a pageblock: lists what comes of freeing the pieces of [start, end) one by one, in ascending
 * order, at the same places. Only what lies behind either end can merge with it, and what lies between is listed once.
 * Returns -1, or, when the whole pageblock has come together, which is not added, its zeroed.
 */
int ash_freelist_free_part(struct ash_zone *z, ash_pfn_t start, ash_pfn_t end, enum ash_migratetype mt, unsigned zeroed,
			   enum ash_list_end to);

/* Leaves the head frame ASH_FRAME_NONE: for an instant, under the lock, nobody heads the piece. Returns its zeroed. */
unsigned ash_freelist_del(struct ash_zone *z, ash_pfn_t pfn, unsigned order, enum ash_migratetype mt);

/* To the tail of the other type's list (kernel: move_to_free_list). The block still has the old type. */
void ash_freelist_move(struct ash_zone *z, ash_pfn_t pfn, unsigned order, enum ash_migratetype from,
		       enum ash_migratetype to);

/* Exchange the places of two buddies of one list. */
void ash_freelist_swap(struct ash_zone *z, ash_pfn_t a, ash_pfn_t b);

/* Whether (pfn, order) has a free buddy of exactly its order. */
ASH_INLINE bool ash_buddy_is_free(const struct ash_zone *z, ash_pfn_t pfn, unsigned order)
{
	const ash_pfn_t buddy = pfn ^ ash_order_frames(order);

	/* State and order in one comparison: which way it goes is anybody's guess, so it is to be guessed once only. */
	return buddy < atomic_load_explicit(&z->reach, memory_order_relaxed) &&
	       (ash_frame_load(z->frames, buddy) & 0xffff) == ash_frame_word(ASH_FRAME_BUDDY, order, 0, 0);
}

/* Bit o set: the list of this type and order o has a buddy. */
ASH_INLINE uint32_t ash_freelist_orders(const struct ash_zone *z, enum ash_migratetype mt)
{
	return atomic_load_explicit(&z->nonempty[mt], memory_order_relaxed);
}

/* First buddy of the list, resident before zeroed, or ASH_PFN_NONE. */
ASH_INLINE ash_pfn_t ash_freelist_first(const struct ash_zone *z, unsigned order, enum ash_migratetype mt)
{
	const struct ash_freelist *l = &z->freelist[mt][order];

	return l->first[0] != ASH_PFN_NONE ? l->first[0] : l->first[1];
}

void ash_freelist_init(struct ash_zone *z);

#endif
