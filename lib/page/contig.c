/* SPDX-License-Identifier: MIT */
/* Contiguous ranges. */
#include "page/contig.h"

#include "base/fault.h"
#include "page/harden.h"
#include "page/migrate.h"
#include "page/run.h"

/* All of the range, which is isolated, in one lock hold: either every frame is free now and becomes ours, or none. */
static int take_isolated(struct ash_zone *z, ash_pfn_t start, ash_pfn_t end, enum ash_migratetype mt,
			 struct ash_page_grant *grant)
{
	int err = -ASH_EBUSY;

	ash_zone_lock(z);
	if (!ASH_FAULT(z->fault, "contig take") && ash_run_takeable(z, start, end, ASH_MT_ISOLATE, 0)) {
		grant->zeroed = ash_run_take(z, start, end, ASH_MT_ISOLATE);
		grant->pfn = start;
		ash_run_mark_used(z, start, end, mt);
		z->pgalloc += end - start;
		err = 0;
	}
	ash_zone_unlock(z);
	return err;
}

int ash_zone_alloc_contig_range(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, enum ash_migratetype mt,
				enum ash_isolate_mode mode, struct ash_page_grant *grant, struct ash_busy_list *busy)
{
	const ash_pfn_t end = start + nr;
	int err;

	if (!ash_mt_mergeable(mt))
		return -ASH_EINVAL;
	err = ash_zone_isolate_range(z, start, nr, mode, busy);
	if (err != 0)
		return err;
	ash_zone_drain(z);
	err = ash_migrate_range(z, start, end, busy);
	if (err == 0) {
		err = take_isolated(z, start, end, mt, grant);
		if (err != 0 && ash_zone_test_range_isolated(z, start, nr, busy) == 0)
			ash_busy_add(busy, start, nr, ASH_BUSY_TRANSIENT);
	}
	ash_zone_unisolate_range(z, start, nr);
	if (err == 0 && ash_hardened(z))
		grant->zeroed = ash_harden_alloc(z, start, nr, mt, grant->zeroed);
	return err;
}

/* Whether a frame, covered by a piece with this word or by none, is out of reach whoever has it; *why says for what. */
static bool out_of_service(const struct ash_zone *z, ash_pfn_t pfn, uint32_t word, enum ash_busy_reason *why)
{
	const enum ash_migratetype block = ash_pageblock_type(z, pfn);

	if (block == ASH_MT_ISOLATE)
		*why = ASH_BUSY_ISOLATED;
	else if (block == ASH_MT_CMA)
		*why = ASH_BUSY_RESERVED;
	else if (ash_word_state(word) == ASH_FRAME_NONE)
		*why = ASH_BUSY_OFFLINE;
	else if (ash_word_state(word) == ASH_FRAME_HELD)
		*why = ASH_BUSY_TRANSIENT;
	else
		return false;
	return true;
}

/*
 * First frame of [pfn, end) that an attempt could not take, and in *why for what reason; or end. Movable pieces of less
 * than 2^moves_below frames are no obstacle.
 */
static ash_pfn_t first_obstacle(struct ash_zone *z, ash_pfn_t pfn, ash_pfn_t end, unsigned moves_below,
				enum ash_busy_reason *why)
{
	while (pfn < end) {
		ash_pfn_t head, next;
		const uint32_t word = ash_migrate_look(z, pfn, end, &head, &next);

		if (out_of_service(z, pfn, word, why))
			return pfn;
		*why = ASH_BUSY_UNMOVABLE;
		/* A guard goes with what it stands behind. */
		if (ash_word_state(word) == ASH_FRAME_GUARD && moves_below == 0)
			return next - 1;
		if (ash_word_state(word) == ASH_FRAME_USED &&
		    (ash_word_order(word) >= moves_below || !ash_migrate_possible(z, ash_word_type(word))))
			return next - 1;
		pfn = next;
	}
	return end;
}

/* The first start at or above pfn that has the alignment and crosses no boundary. */
static uint64_t next_start(const struct ash_contig_request *r, uint64_t pfn)
{
	const uint64_t align = (uint64_t)1 << r->align_order;

	pfn = (pfn + align - 1) & ~(align - 1);
	if (r->boundary_order > 0 && (pfn >> r->boundary_order) != ((pfn + r->nr - 1) >> r->boundary_order))
		pfn = ((pfn >> r->boundary_order) + 1) << r->boundary_order;
	return (pfn + align - 1) & ~(align - 1);
}

/* Try the range at start. 0, or an error, and then in *past a frame that must not be in the next range tried plus 1. */
static int try_range(struct ash_zone *z, const struct ash_contig_request *r, ash_pfn_t start, uint64_t *past,
		     struct ash_page_grant *grant, struct ash_busy_list *busy)
{
	struct ash_busy first;
	struct ash_busy_list local = { &first, 1, 0 };
	struct ash_busy_list *list = busy != NULL && busy->capacity > 0 ? busy : &local;
	int err;

	list->nr = 0;
	err = ash_zone_alloc_contig_range(z, start, r->nr, r->mt, ASH_ISOLATE_OTHER, grant, list);
	if (busy != NULL)
		busy->nr = list->nr;
	/* What was in the way may lie before the range, in its first pageblock. */
	*past = (uint64_t)(list->nr == 0 || list->entry[0].pfn < start ? start : list->entry[0].pfn) + 1;
	return err;
}

/* One walk over all starts, and ranges that are free when pieces of less than 2^moves_below frames have moved. */
static int search(struct ash_zone *z, const struct ash_contig_request *r, ash_pfn_t high, unsigned moves_below,
		  struct ash_page_grant *grant, struct ash_busy_list *busy)
{
	uint64_t pfn = next_start(r, r->low);

	while (pfn + r->nr <= high) {
		const ash_pfn_t start = (ash_pfn_t)pfn, end = start + r->nr;
		enum ash_busy_reason why;
		const ash_pfn_t obstacle = first_obstacle(z, start, end, moves_below, &why);
		uint64_t past = (uint64_t)obstacle + 1;

		if (obstacle == end) {
			const int err = try_range(z, r, start, &past, grant, busy);

			if (err == 0 || err == -ASH_EINTR)
				return err;
		} else if (busy != NULL) {
			busy->nr = 0;
			ash_busy_add(busy, obstacle, 1, why);
		}
		pfn = next_start(r, past);
	}
	return -ASH_ENOMEM;
}

int ash_zone_alloc_contig(struct ash_zone *z, const struct ash_contig_request *r, struct ash_page_grant *grant,
			  struct ash_busy_list *busy)
{
	const ash_pfn_t high = r->high == 0 || r->high > z->nr_frames ? z->nr_frames : r->high;
	/* What is free; then what costs no whole pageblock elsewhere; then anything. */
	const unsigned moves_below[] = { 0, z->pageblock_order, ASH_NR_ORDERS };
	int err = -ASH_ENOMEM;

	if (r->nr == 0 || !ash_mt_mergeable(r->mt) || r->align_order > 31 || r->boundary_order > 31 ||
	    (r->boundary_order > 0 && (r->nr > (ash_pfn_t)1 << r->boundary_order)))
		return -ASH_EINVAL;
	for (unsigned i = 0; i < ASH_ARRAY_LEN(moves_below) && err == -ASH_ENOMEM; i++)
		err = search(z, r, high, moves_below[i], grant, busy);
	return err;
}
