/* SPDX-License-Identifier: MIT */
/* Moving one allocated piece through its mover; for contiguous ranges, compaction and offlining. */
#ifndef ASH_PAGE_MIGRATE_H
#define ASH_PAGE_MIGRATE_H

#include "page/isolate.h"
#include "page/zone_struct.h"

/* Gives a destination piece, already allocated as MOVABLE, or ASH_PFN_NONE. Called without locks. */
typedef ash_pfn_t ash_migrate_target(struct ash_zone *z, unsigned order, void *arg);

/*
 * Move the piece headed by pfn. 0: moved, or no longer there to be moved. -ASH_EBUSY: not movable, or its mover
 * refused; -ASH_ENOMEM: no destination. *why says more. No locks held.
 */
ASH_MUST_USE int ash_migrate_piece(struct ash_zone *z, ash_pfn_t pfn, ash_migrate_target *target, void *arg,
				   enum ash_busy_reason *why);

/*
 * Move everything allocated in [start, end), which is isolated, out of it; a piece that sticks out moves as a whole.
 * -ASH_EBUSY, -ASH_ENOMEM with the frames in the way; -ASH_EINTR where ops->interrupted says so.
 */
ASH_MUST_USE int ash_migrate_range(struct ash_zone *z, ash_pfn_t start, ash_pfn_t end, struct ash_busy_list *busy);

/*
 * The word of the piece that covers pfn, or 0 for an offline frame; its head, and its end cut at stop. Takes the lock.
 */
uint32_t ash_migrate_look(struct ash_zone *z, ash_pfn_t pfn, ash_pfn_t stop, ash_pfn_t *head, ash_pfn_t *next);

/* A destination anywhere in the zone. */
ash_pfn_t ash_migrate_target_any(struct ash_zone *z, unsigned order, void *arg);

/* Whether what is allocated as mt can be emptied out of a range at all. */
bool ash_migrate_possible(const struct ash_zone *z, enum ash_migratetype mt);

/*
 * Note the free of a piece that is being moved, to be done when the move is over. false: it is not, or was freed
 * before.
 */
bool ash_migrate_note_free(struct ash_zone *z, ash_pfn_t pfn);

#endif
