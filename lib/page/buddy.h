/* SPDX-License-Identifier: MIT */
/*
 * The buddy system proper: split on the way out, merge on the way in. Kernel: __rmqueue_smallest, expand,
 * __free_one_page, split_large_buddy, __move_freepages_block. Everything here needs the zone lock.
 */
#ifndef ASH_PAGE_BUDDY_H
#define ASH_PAGE_BUDDY_H

#include "page/freelist.h"

/* A piece that has just left the lists and is headed by nobody yet. */
struct ash_taken {
	ash_pfn_t pfn; /* ASH_PFN_NONE: nothing was taken */
	unsigned zeroed; /* as in freelist.h */
};

/*
 * Cut a piece that is on no list down to the 2^want frames at pfn; the halves left over go to the head of mt's lists.
 * Takes how much of the piece is zeroed, returns how much of the rest is. With pfn at the start this is the kernel's
 * expand().
 */
unsigned ash_buddy_carve(struct ash_zone *z, ash_pfn_t head, unsigned order, ash_pfn_t pfn, unsigned want,
			 enum ash_migratetype mt, unsigned zeroed);

/* The lowest order that has one, from this type's lists only. */
struct ash_taken ash_buddy_take_smallest(struct ash_zone *z, unsigned order, enum ash_migratetype mt);

/*
 * The same for up to nr pieces, as they would come one after the other: those that the first one's buddy holds, in
 * ascending order from taken->pfn, all as zeroed as each other. Returns how many; 0: there is no buddy.
 */
unsigned ash_buddy_take_row(struct ash_zone *z, unsigned order, enum ash_migratetype mt, unsigned nr,
			    struct ash_taken *taken);

/* Take the buddy at pfn off mt's list and expand it. */
struct ash_taken ash_buddy_take(struct ash_zone *z, ash_pfn_t pfn, unsigned want, unsigned order,
				enum ash_migratetype mt);

enum ash_free_flags {
	ASH_FREE_TAIL = 1u << 0,   /* to the list's tail: not expected to be used soon */
	ASH_FREE_ZEROED = 1u << 1, /* the frames read as zero and cost nothing */
	ASH_FREE_KEEP = 1u << 2,   /* what the pageblocks' zeroed bits say; for parts of what was free and whole */
};

/*
 * shuffle.c: a coin; and every buddy of shuffle_order in [start, end) to the place of another. The second takes the
 * lock.
 */
enum ash_list_end ash_shuffle_end(struct ash_zone *z);
void ash_shuffle_range(struct ash_zone *z, ash_pfn_t start, ash_pfn_t end);

/* Free one piece whose pageblocks all have type mt, merging as far as the rules go. The head frame is NONE. */
void ash_buddy_free_one(struct ash_zone *z, ash_pfn_t pfn, unsigned order, enum ash_migratetype mt, unsigned flags);

/* Free one piece of any order, each pageblock with the type it has now. */
void ash_buddy_free(struct ash_zone *z, ash_pfn_t pfn, unsigned order, unsigned flags);

/*
 * Free [start, end), none of whose frames heads anything. What comes of it is what freeing its naturally aligned pieces
 * in ascending order comes to, and as listed.
 */
void ash_buddy_free_range(struct ash_zone *z, ash_pfn_t start, ash_pfn_t end, unsigned flags);

/*
 * Legal order 1: move every free buddy of the pageblock at pfn from one type's lists to another's; the caller retypes
 * the block next, in the same lock hold. No buddy may reach out of the block.
 */
void ash_buddy_move_block(struct ash_zone *z, ash_pfn_t pfn, enum ash_migratetype from, enum ash_migratetype to);

#endif
