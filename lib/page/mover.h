/* SPDX-License-Identifier: MIT */
/*
 * Movers and shrinkers: how the owners of MOVABLE and RECLAIMABLE frames let the core empty a range. Kernel: struct
 * movable_operations.
 *
 *      isolate -> migrate -> the frames are the core's            (moved)
 *      isolate -> migrate fails -> putback                        (stays)
 *      isolate refused                                            (stays; pinned)
 *
 * The core finds a piece allocated as MOVABLE and asks its owner to isolate it. That look was a hint: the owner checks,
 * under whatever synchronises its own frees, that the piece is still its own, and from a successful isolate until
 * migrate or putback has returned it neither frees a part of the piece nor lets anybody else take it. A free of the
 * whole piece meanwhile is allowed, ash_zone_free_trylock() included: the core notes it and completes it when the move
 * is over. Such a free may also come first, so migrate and putback refuse and ignore what the owner no longer has, even
 * if the same frames are its own again.
 *
 * All three are called without any lock of the zone held, may allocate from and free to the zone, and must not wait for
 * another thread that may be inside the core on the same range.
 */
#ifndef ASH_PAGE_MOVER_H
#define ASH_PAGE_MOVER_H

#include "page/zone.h"

struct ash_mover_ops {
	/* 0, or a negative error when the piece cannot be moved now. A second isolate of the same piece is refused. */
	int (*isolate)(struct ash_zone *z, ash_pfn_t pfn, unsigned order);
	/*
	 * Make dst hold what src holds and everything that refers to src refer to dst. 0: done, src is the core's; dst
	 * is an ordinary piece of the owner's from the moment the owner makes it known, which it may then free. A
	 * negative error: src is as it was, still isolated, dst unused; -ASH_EAGAIN asks for another try.
	 */
	int (*migrate)(struct ash_zone *z, ash_pfn_t dst, ash_pfn_t src, unsigned order);
	/* It was not moved after all. */
	void (*putback)(struct ash_zone *z, ash_pfn_t pfn, unsigned order);
};

/*
 * A shrinker: the owner of RECLAIMABLE frames drops them on request. drop() frees the piece, and whatever else it
 * likes, through the ordinary calls; it returns a negative error when the piece is in use. Called without locks of the
 * zone.
 */
struct ash_shrinker_ops {
	int (*drop)(struct ash_zone *z, ash_pfn_t pfn, unsigned order);
};

/*
 * The owner's word of a piece's head, which travels with a move. Meaningful while the piece is allocated and its owner
 * has set it. Both without ordering; a mover that is shown it while the owner changes it sees one of the two.
 */
uint32_t ash_zone_private(const struct ash_zone *z, ash_pfn_t pfn);
void ash_zone_set_private(struct ash_zone *z, ash_pfn_t pfn, uint32_t value);

#endif
