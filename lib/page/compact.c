/* SPDX-License-Identifier: MIT */
/* Compaction's two scanners and its deferral. */
#include "page/compact.h"

#include "page/fallback.h"
#include "page/harden.h"
#include "page/migrate.h"
#include "page/reserve.h"
#include "page/stat.h"
#include "page/watermark.h"

/* kernel: COMPACT_MAX_DEFER_SHIFT, PAGE_ALLOC_COSTLY_ORDER, sysctl_extfrag_threshold. */
#define MAX_DEFER_SHIFT 6
#define COSTLY_ORDER 3
#define EXTFRAG_THRESHOLD 500

struct control {
	struct ash_zone *z;
	unsigned order;
	enum ash_migratetype mt;
	enum ash_compact_mode mode;
	ash_pfn_t migrate;    /* start of the next block to empty */
	ash_pfn_t free_block; /* start of the block being filled */
	ash_pfn_t free_pos;   /* where in it to go on looking */
	bool met;
	unsigned score_enough; /* proactive: stop at this score of the order's; NOT_PROACTIVE: do not look at it */
	struct ash_capture *capture; /* NULL: nobody waits */
	struct ash_compact_stats n;
};
#define NOT_PROACTIVE UINT32_MAX

int ash_zone_isolate_free_page(struct ash_zone *z, ash_pfn_t pfn)
{
	enum ash_migratetype mt;
	int err = -ASH_EBUSY;
	uint32_t word;
	unsigned order;

	if (pfn >= z->nr_frames)
		return -ASH_EBUSY;
	ash_zone_lock(z);
	word = ash_frame_load(z->frames, pfn);
	order = ash_word_order(word);
	mt = ash_pageblock_type(z, pfn);
	if (ash_word_state(word) == ASH_FRAME_BUDDY &&
	    (mt == ASH_MT_ISOLATE || ash_reserve_may_alloc(z, ash_order_frames(order), ASH_ALLOC_CMA))) {
		ash_freelist_del(z, pfn, order, mt);
		ash_frame_store(z->frames, pfn, ash_frame_word(ASH_FRAME_HELD, order, mt, 0));
		if (order + 1 >= z->pageblock_order && ash_mt_mergeable(mt) && mt != ASH_MT_MOVABLE) {
			if (order < z->pageblock_order) {
				/* Legal order 1: the other free frames of the block must not stay behind. */
				ash_buddy_move_block(z, ash_pageblock_start(z, pfn), mt, ASH_MT_MOVABLE);
				ash_pageblock_set_type(z, pfn, ASH_MT_MOVABLE);
			} else {
				ash_pageblock_set_type_range(z, pfn, order, ASH_MT_MOVABLE);
			}
		}
		err = (int)order;
	}
	ash_zone_unlock(z);
	return err;
}

void ash_zone_putback_free_page(struct ash_zone *z, ash_pfn_t pfn, unsigned order)
{
	ash_zone_report_end(z, pfn, order, false);
}

static bool source_suitable(const struct control *c, ash_pfn_t block)
{
	const unsigned word = ash_pageblock_word(c->z, block);
	const enum ash_migratetype mt = ash_pageblock_word_type(word);

	if (!(word & ASH_PB_ONLINE) || mt == ASH_MT_ISOLATE || (c->mode != ASH_COMPACT_FULL && (word & ASH_PB_SKIP)))
		return false;
	if (c->mode == ASH_COMPACT_ASYNC)
		return mt == c->mt || (c->mt == ASH_MT_MOVABLE && mt == ASH_MT_CMA);
	return true;
}

/* Filling a block that is wholly free would cost what compaction is for. Under the zone lock. */
static bool target_suitable(const struct control *c, ash_pfn_t block)
{
	const struct ash_zone *z = c->z;
	const unsigned word = ash_pageblock_word(z, block);
	const enum ash_migratetype mt = ash_pageblock_word_type(word);
	ash_pfn_t head;
	uint32_t found;

	if (!(word & ASH_PB_ONLINE) || (mt != ASH_MT_MOVABLE && mt != ASH_MT_CMA))
		return false;
	if (c->mode == ASH_COMPACT_FULL)
		return true;
	head = ash_frame_head(z, block);
	if (head == ASH_PFN_NONE)
		return true;
	found = ash_frame_load(z->frames, head);
	return ash_word_state(found) != ASH_FRAME_BUDDY || ash_word_order(found) < z->pageblock_order;
}

/* The next free piece of the order in the free scanner's block, from its position on. Under the zone lock. */
static ash_pfn_t take_in_block(struct control *c, unsigned order)
{
	struct ash_zone *z = c->z;
	const ash_pfn_t end = ash_pageblock_end(z, c->free_block);

	while (c->free_pos < end) {
		const ash_pfn_t pfn = c->free_pos;
		const uint32_t word = ash_frame_load(z->frames, pfn);
		const enum ash_migratetype mt = ash_pageblock_type(z, pfn);
		struct ash_taken taken;

		if (ash_word_state(word) != ASH_FRAME_BUDDY || ash_word_order(word) < order) {
			c->free_pos += ash_order_frames(ash_word_order(word));
			continue;
		}
		taken = ash_buddy_take(z, pfn, order, ash_word_order(word), mt);
		ash_frame_store(z->frames, taken.pfn, ash_frame_word(ASH_FRAME_USED, order, ASH_MT_MOVABLE, 0));
		z->pgalloc += ash_order_frames(order);
		c->free_pos = pfn + ash_order_frames(order);
		return taken.pfn;
	}
	return ASH_PFN_NONE;
}

/* The free scanner, as the source of destinations. A block per lock hold. */
static ash_pfn_t free_scanner(struct ash_zone *z, unsigned order, void *arg)
{
	struct control *c = arg;
	ash_pfn_t pfn = ASH_PFN_NONE;

	while (pfn == ASH_PFN_NONE && !c->met) {
		const ash_pfn_t from = c->free_pos;

		ash_zone_lock(z);
		if (c->free_pos > c->free_block || target_suitable(c, c->free_block))
			pfn = take_in_block(c, order);
		ash_zone_unlock(z);
		c->n.free_scanned += c->free_pos - from;
		if (pfn != ASH_PFN_NONE)
			break;
		c->met = c->free_block <= c->migrate + ash_pageblock_frames(z);
		if (!c->met) {
			c->free_block -= ash_pageblock_frames(z);
			c->free_pos = c->free_block;
		}
	}
	return pfn;
}

static bool has_captured(struct control *c)
{
	bool captured;

	if (c->capture == NULL)
		return false;
	ash_zone_lock(c->z);
	captured = c->capture->pfn != ASH_PFN_NONE;
	ash_zone_unlock(c->z);
	return captured;
}

/* Empty one block as far as it goes, or as is needed. */
static void compact_block(struct control *c, ash_pfn_t block)
{
	struct ash_zone *z = c->z;
	const ash_pfn_t end = ash_pageblock_end(z, block);
	const uint64_t moved = c->n.moved;
	ash_pfn_t head, next;

	for (ash_pfn_t pfn = block; pfn < end && !c->met; pfn = next) {
		const uint32_t word = ash_migrate_look(z, pfn, end, &head, &next);
		enum ash_busy_reason why;

		c->n.migrate_scanned += next - pfn;
		if (ash_word_state(word) != ASH_FRAME_USED || ash_word_type(word) != ASH_MT_MOVABLE ||
		    ash_word_order(word) >= z->pageblock_order)
			continue;
		if (ash_migrate_piece(z, head, free_scanner, c, &why) == 0) {
			c->n.moved++;
			if (has_captured(c))
				break;
			continue;
		}
		c->n.failed++;
		/* The range that was to become free will not: leave the rest of it alone. */
		if (c->mode == ASH_COMPACT_ASYNC && c->order <= z->max_order) {
			const uint64_t range_end =
				(uint64_t)ash_order_start(pfn, c->order) + ash_order_frames(c->order);

			next = range_end < end ? (ash_pfn_t)range_end : end;
		}
	}
	if (c->n.moved == moved && !c->met) {
		ash_zone_lock(z);
		ash_pageblock_set_skip(z, block, true);
		ash_zone_unlock(z);
	}
}

static bool found_one(struct control *c)
{
	bool found;

	if (c->score_enough != NOT_PROACTIVE)
		return ash_zone_fragmentation_score(c->z, c->order) <= c->score_enough;
	if (c->order > c->z->max_order)
		return false;
	if (has_captured(c))
		return true;
	ash_zone_lock(c->z);
	found = ash_freelist_orders(c->z, c->mt) >> c->order != 0 ||
		(c->mt == ASH_MT_MOVABLE && ash_freelist_orders(c->z, ASH_MT_CMA) >> c->order != 0) ||
		ash_fallback_exists(c->z, c->order, c->mt);
	ash_zone_unlock(c->z);
	return found;
}

/*
 * Whether there is room to move to above a mark: copies are made before the originals are free, so twice the request
 * (kernel: compact_gap). flags say whether CMA frames are room.
 */
static bool room_above(struct ash_zone *z, unsigned order, enum ash_wmark mark, unsigned flags)
{
	const uint64_t gap = 2 * (uint64_t)ash_order_frames(order) + ash_reserve_lowmem(z, flags);

	return ash_zone_watermark_ok(z, 0, mark, flags, gap, ash_counter_read(&z->free));
}

/*
 * Whether compaction can bring about what is missing (kernel: compaction_suitable): there is room to move to, in CMA
 * blocks too, and for orders whose price is high a failure would be due to fragmentation and not to lack of memory.
 */
static bool suitable(struct ash_zone *z, unsigned order, unsigned flags)
{
	struct ash_zone_stats s;
	int index;

	if (order > z->max_order)
		return true;
	if (!room_above(z, order, order > COSTLY_ORDER ? ASH_WMARK_LOW : ASH_WMARK_MIN, flags | ASH_ALLOC_CMA))
		return false;
	if (order <= COSTLY_ORDER)
		return true;
	ash_zone_stats(z, &s);
	index = ash_fragmentation_index(&s, order);
	return index < 0 || index > EXTFRAG_THRESHOLD;
}

/*
 * An asynchronous run for a request that may not have CMA frames could form its buddy there, of no use to it: it wants
 * its room elsewhere (kernel: compaction_suit_allocation_order).
 */
static bool worth_a_run(struct ash_zone *z, unsigned order, enum ash_compact_mode mode, unsigned flags)
{
	return mode != ASH_COMPACT_ASYNC || order <= COSTLY_ORDER || (flags & ASH_ALLOC_CMA) ||
	       room_above(z, order, ASH_WMARK_MIN, flags);
}

/* Where the last run stopped, unless it ended or this one is to see everything. */
static void start(struct control *c)
{
	struct ash_zone *z = c->z;
	const ash_pfn_t last = ash_pageblock_start(z, z->nr_frames - 1);
	bool flush;

	ash_zone_lock(z);
	/* Once more with open eyes after the longest pause (kernel: compaction_restarting). */
	flush = z->compact.restart || (c->order <= z->max_order && c->order >= z->compact.order_failed &&
				       z->compact.defer_shift == MAX_DEFER_SHIFT &&
				       z->compact.considered >= 1u << MAX_DEFER_SHIFT);
	if (c->capture != NULL && z->capture == NULL)
		z->capture = c->capture;
	if (flush || c->mode == ASH_COMPACT_FULL || z->compact.migrate >= z->compact.free_block) {
		z->compact.migrate = 0;
		z->compact.free_block = last;
	}
	z->compact.restart = false;
	c->migrate = z->compact.migrate;
	c->free_block = c->free_pos = z->compact.free_block;
	ash_zone_unlock(z);
	for (ash_pfn_t b = 0; flush; b += ash_pageblock_frames(z)) {
		ash_zone_lock(z);
		ash_pageblock_set_skip(z, b, false);
		ash_zone_unlock(z);
		flush = b < last;
	}
}

/* One run, as c says. c->z, order, mt, mode and the ways to stop are set. */
static enum ash_compact_result run(struct control *c)
{
	struct ash_zone *z = c->z;
	enum ash_compact_result result = ASH_COMPACT_COMPLETE;

	start(c);
	while (!c->met && c->migrate < c->free_block) {
		if (source_suitable(c, c->migrate))
			compact_block(c, c->migrate);
		c->migrate += ash_pageblock_frames(z);
		if (found_one(c)) {
			result = ASH_COMPACT_SUCCESS;
			break;
		}
	}
	ash_zone_lock(z);
	if (c->capture != NULL && z->capture == c->capture)
		z->capture = NULL;
	if (c->capture != NULL && c->capture->pfn != ASH_PFN_NONE) {
		ash_frame_store(z->frames, c->capture->pfn, ash_frame_word(ASH_FRAME_USED, c->order, c->mt, 0));
		z->pgalloc += ash_order_frames(c->order);
	}
	z->compact.migrate = c->migrate;
	z->compact.free_block = c->free_block;
	z->compact.restart = result == ASH_COMPACT_COMPLETE;
	z->compact.migrate_scanned += c->n.migrate_scanned;
	z->compact.free_scanned += c->n.free_scanned;
	z->compact.isolated += c->n.moved + c->n.failed;
	ash_zone_unlock(z);
	return result;
}

enum ash_compact_result ash_zone_compact(struct ash_zone *z, unsigned order, enum ash_migratetype mt,
					 enum ash_compact_mode mode, struct ash_compact_stats *stats)
{
	struct control c = { .z = z, .order = order, .mt = mt, .mode = mode, .score_enough = NOT_PROACTIVE };
	enum ash_compact_result result;

	if (!suitable(z, order, 0))
		return ASH_COMPACT_UNSUITABLE;
	result = run(&c);
	if (stats != NULL) {
		stats->migrate_scanned += c.n.migrate_scanned;
		stats->free_scanned += c.n.free_scanned;
		stats->moved += c.n.moved;
		stats->failed += c.n.failed;
	}
	return result;
}

/* --- Proactive --- */

unsigned ash_zone_fragmentation_score(struct ash_zone *z, unsigned order)
{
	uint64_t frames = 0, suitable = 0;

	ash_zone_lock(z);
	for (unsigned o = 0; o <= z->max_order; o++) {
		for (unsigned mt = 0; mt < ASH_MT_NR; mt++) {
			const uint64_t n = (uint64_t)z->freelist[mt][o].nr << o;

			frames += n;
			suitable += o >= order ? n : 0;
		}
	}
	ash_zone_unlock(z);
	return frames == 0 ? 0 : (unsigned)((frames - suitable) * 100 / frames);
}

unsigned ash_zones_fragmentation_score(struct ash_zone *const zones[], unsigned nr, unsigned order)
{
	uint64_t present = 0, sum = 0;

	for (unsigned i = 0; i < nr; i++) {
		const uint64_t frames = ash_counter_read(&zones[i]->present);

		sum += ash_zone_fragmentation_score(zones[i], order) * frames;
		present += frames;
	}
	return present == 0 ? 0 : (unsigned)(sum / present);
}

bool ash_zones_compact_proactively(struct ash_proactive *p, struct ash_zone *const zones[], unsigned nr, unsigned order)
{
	const unsigned percent = p->proactiveness < 100 ? p->proactiveness : 100, low = 100 - percent;
	const unsigned leeway = low / 2 < 10 ? low / 2 : 10, high = low + leeway < 100 ? low + leeway : 100;
	const unsigned before = ash_zones_fragmentation_score(zones, nr, order);

	if (percent == 0)
		return false;
	if (p->skip > 0) {
		p->skip--;
		return false;
	}
	if (before <= high)
		return false;
	for (unsigned i = 0; i < nr; i++) {
		struct control c = { .z = zones[i], .order = order, .mt = ASH_MT_MOVABLE, .mode = ASH_COMPACT_SYNC,
				     .score_enough = low };

		if (ash_zone_fragmentation_score(zones[i], order) <= low)
			continue;
		(void)run(&c);
		ash_zone_lock(zones[i]);
		zones[i]->compact.daemon_migrate_scanned += c.n.migrate_scanned;
		zones[i]->compact.daemon_free_scanned += c.n.free_scanned;
		ash_zone_unlock(zones[i]);
	}
	if (ash_zones_fragmentation_score(zones, nr, order) >= before)
		p->skip = (1u << MAX_DEFER_SHIFT) - 1;
	return true;
}

/* --- Direct --- */

bool ash_zone_compact_deferred(struct ash_zone *z, unsigned order)
{
	bool deferred = false;

	ash_zone_lock(z);
	if (order >= z->compact.order_failed && z->compact.defer_shift > 0) {
		const unsigned limit = 1u << z->compact.defer_shift;

		if (++z->compact.considered >= limit)
			z->compact.considered = limit;
		else
			deferred = true;
	}
	ash_zone_unlock(z);
	return deferred;
}

void ash_zone_compact_defer(struct ash_zone *z, unsigned order)
{
	ash_zone_lock(z);
	z->compact.considered = 0;
	if (z->compact.defer_shift == 0 || order < z->compact.order_failed)
		z->compact.order_failed = order;
	if (z->compact.defer_shift < MAX_DEFER_SHIFT)
		z->compact.defer_shift++;
	ash_zone_unlock(z);
}

void ash_zone_compact_defer_reset(struct ash_zone *z, unsigned order, bool allocated)
{
	ash_zone_lock(z);
	if (allocated) {
		z->compact.considered = 0;
		z->compact.defer_shift = 0;
	}
	if (order >= z->compact.order_failed)
		z->compact.order_failed = order + 1;
	ash_zone_unlock(z);
}

/* What a run has captured for the request, if anything. */
static bool take_captured(struct ash_zone *z, const struct ash_capture *capture, struct ash_page_grant *grant)
{
	if (capture->pfn == ASH_PFN_NONE)
		return false;
	*grant = (struct ash_page_grant){ capture->pfn, capture->zeroed };
	if (ash_hardened(z))
		grant->zeroed = ash_harden_alloc(z, grant->pfn, ash_order_frames(capture->order), capture->mt,
						 grant->zeroed);
	return true;
}

static int compact_and_alloc(struct ash_zone *z, unsigned order, enum ash_migratetype mt, unsigned flags,
			     struct ash_page_grant *grant)
{
	/* In defrag mode even a single frame is worth a free pageblock rather than a stolen buddy. */
	const unsigned want = (flags & ASH_ALLOC_NOFRAGMENT) && order < z->pageblock_order ? z->pageblock_order : order;
	enum ash_compact_result result = ASH_COMPACT_COMPLETE;
	int err = -ASH_ENOMEM;

	if (want == 0 || !ash_mt_mergeable(mt) || want > z->max_order || ash_zone_compact_deferred(z, want) ||
	    !suitable(z, want, flags))
		return err;
	for (unsigned mode = ASH_COMPACT_ASYNC; mode <= ASH_COMPACT_SYNC && err != 0; mode++) {
		struct ash_capture capture = { .order = want, .mt = mt, .pfn = ASH_PFN_NONE };
		struct control c = { .z = z, .order = want, .mt = mt, .mode = (enum ash_compact_mode)mode,
				     .score_enough = NOT_PROACTIVE,
				     .capture = want == order && order >= z->guard_order ? &capture : NULL };

		if (!worth_a_run(z, want, (enum ash_compact_mode)mode, flags))
			continue;
		result = run(&c);
		if (result == ASH_COMPACT_SUCCESS)
			ash_zone_compact_defer_reset(z, want, false);
		if (take_captured(z, &capture, grant))
			err = 0;
		else
			err = ash_zone_alloc(z, order, mt, flags, ASH_CPU_NONE, grant);
	}
	ash_zone_lock(z);
	z->compact.stall++;
	*(err == 0 ? &z->compact.success : &z->compact.fail) += 1;
	ash_zone_unlock(z);
	if (err == 0)
		ash_zone_compact_defer_reset(z, want, true);
	else if (result == ASH_COMPACT_COMPLETE)
		ash_zone_compact_defer(z, want);
	return err;
}

int ash_zone_alloc_compact(struct ash_zone *z, unsigned order, enum ash_migratetype mt, unsigned flags,
			   struct ash_page_grant *grant)
{
	const unsigned strict = z->defrag_mode ? flags | ASH_ALLOC_NOFRAGMENT : flags;
	int err = ash_zone_alloc(z, order, mt, strict, ASH_CPU_NONE, grant);

	if (err == -ASH_ENOMEM)
		err = compact_and_alloc(z, order, mt, strict, grant);
	if (err == -ASH_ENOMEM && strict != flags)
		err = ash_zone_alloc(z, order, mt, flags, ASH_CPU_NONE, grant);
	return err;
}
