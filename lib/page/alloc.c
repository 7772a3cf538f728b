/* SPDX-License-Identifier: MIT */
/*
 * Allocating and freeing one naturally aligned piece: through the pcp where it serves, else from the zone.
 *
 * A caller's mistake (freeing what is not allocated, or not like this) is seen in every build: the head frame says what
 * stands there. It is reported with no lock held and nothing changed.
 */
#include "page/deferred.h"
#include "page/fallback.h"
#include "page/harden.h"
#include "page/hit.h"
#include "page/migrate.h"
#include "page/pcp.h"
#include "page/reserve.h"

/* CMA frames ride the MOVABLE pcp lists: a MOVABLE request that may not have them must not look there. */
static bool pcp_serves(const struct ash_zone *z, enum ash_migratetype mt, unsigned flags)
{
	return ASH_LIKELY(mt != atomic_load_explicit(&z->cma_borrower, memory_order_relaxed)) ||
	       (flags & ASH_ALLOC_CMA);
}

/* One piece for a request, from the lists or the HIGHATOMIC reserve; headed and counted. Under the zone lock. */
static struct ash_taken take(struct ash_zone *z, unsigned order, enum ash_migratetype mt, unsigned flags)
{
	const bool atomic = (flags & ASH_ALLOC_HIGHATOMIC) != 0;
	const unsigned whole = order < z->guard_order ? z->guard_order : order;
	enum ash_rmqueue_mode mode = ASH_RMQUEUE_NORMAL;
	struct ash_taken taken = { ASH_PFN_NONE, 0 };

	if (atomic && order > 0)
		taken = ash_buddy_take_smallest(z, whole, ASH_MT_HIGHATOMIC);
	if (taken.pfn == ASH_PFN_NONE)
		taken = ash_rmqueue(z, whole, mt, flags, &mode);
	if (taken.pfn == ASH_PFN_NONE && atomic)
		taken = ash_buddy_take_smallest(z, whole, ASH_MT_HIGHATOMIC);
	if (taken.pfn == ASH_PFN_NONE)
		return taken;
	if (ASH_UNLIKELY(whole != order))
		ash_guard_mark(z, taken.pfn + ash_order_frames(order), taken.pfn + ash_order_frames(whole));
	ash_frame_store(z->frames, taken.pfn, ash_frame_word(ASH_FRAME_USED, order, mt, 0));
	z->pgalloc += ash_order_frames(order);
	if (atomic && order > 0)
		ash_reserve_highatomic(z, taken.pfn, order);
	return taken;
}

/* Under the zone lock, and leaves it. */
static int alloc_locked(struct ash_zone *z, unsigned order, enum ash_migratetype mt, unsigned flags,
			struct ash_page_grant *grant)
{
	const struct ash_taken taken = take(z, order, mt, flags);

	ash_zone_unlock(z);
	if (taken.pfn == ASH_PFN_NONE)
		return -ASH_ENOMEM;
	*grant = (struct ash_page_grant){ taken.pfn, taken.zeroed == ash_zeroed_full(z, order) };
	return 0;
}

static int try_alloc(struct ash_zone *z, unsigned order, enum ash_migratetype mt, unsigned flags, unsigned cpu,
		     struct ash_page_grant *grant)
{
	/* What is cached is not free to the zone any more: taking it is below no watermark. */
	if (cpu < z->nr_cpus && ash_pcp_order_allowed(z, order) && !(order > 0 && (flags & ASH_ALLOC_HIGHATOMIC)) &&
	    pcp_serves(z, mt, flags)) {
		if (ash_pcp_alloc(z, &z->pcps[cpu], order, mt, flags, grant))
			return 0;
	}
	if (!ash_reserve_may_alloc(z, ash_order_frames(order), flags))
		return -ASH_ENOMEM;
	if (!(flags & ASH_ALLOC_TRYLOCK))
		ash_zone_lock(z);
	else if (!ash_lock_try(&z->lock))
		return -ASH_ENOMEM;
	return alloc_locked(z, order, mt, flags, grant);
}

static ASH_NOINLINE int alloc_slow(struct ash_zone *z, unsigned order, enum ash_migratetype mt, unsigned flags,
				   unsigned cpu, struct ash_page_grant *grant)
{
	int err;

	if (order > z->max_order || !ash_mt_mergeable(mt))
		return -ASH_EINVAL;
	err = try_alloc(z, order, mt, flags, cpu, grant);
	/* What is missing may be cached, deferred or reserved, as itself or as what keeps a buddy from forming. */
	if (err != 0 && !(flags & ASH_ALLOC_TRYLOCK) && ash_zone_reclaim_own(z, mt))
		err = try_alloc(z, order, mt, flags, ASH_CPU_NONE, grant);
	if (err == 0 && ash_hardened(z))
		grant->zeroed = ash_harden_alloc(z, grant->pfn, ash_order_frames(order), mt, grant->zeroed);
	return err;
}

/*
 * The magazines of a type that is none are empty, and the flags that matter to a hit are all beyond them: a request of
 * CMA memory, or of the HIGHATOMIC reserve, is not one.
 */
ASH_BUILD_ASSERT(ASH_MT_PCPTYPES < ASH_PCP_COLUMNS && ASH_ALLOC_CMA >= ASH_PCP_COLUMNS &&
		 ASH_ALLOC_HIGHATOMIC >= ASH_PCP_COLUMNS, "the types and flags of a hit");

int ash_zone_alloc(struct ash_zone *z, unsigned order, enum ash_migratetype mt, unsigned flags, unsigned cpu,
		   struct ash_page_grant *grant)
{
	if (ASH_LIKELY(cpu < z->hit_cpus && ((unsigned)mt | flags) < ASH_PCP_COLUMNS) &&
	    ASH_LIKELY(ash_hit_alloc(z, &z->pcps[cpu], order, mt, grant)))
		return 0;
	return alloc_slow(z, order, mt, flags, cpu, grant);
}

/* USED and of this order, whatever else. */
static bool used(uint32_t word, unsigned order)
{
	return (word & 0xffff) == ash_frame_word(ASH_FRAME_USED, order, 0, 0);
}

static ASH_COLD void bad_free(const struct ash_zone *z, ash_pfn_t pfn, unsigned order)
{
	ash_zone_bug(z, "free of what is not allocated like this", pfn, ash_frame_load(z->frames, pfn), order);
}

/* Past the pcp, of a piece that is being moved, or of what is not allocated at all. The zone lock is held, and left. */
static void free_locked(struct ash_zone *z, ash_pfn_t pfn, unsigned order)
{
	uint32_t word;
	bool ok;

	ash_deferred_drain(z);
	word = ash_frame_load(z->frames, pfn);
	ok = used(word, order);
	if (ok && ash_word_flags(word) == 0) {
		ash_frame_store(z->frames, pfn, 0);
		ash_buddy_free(z, pfn, order, 0);
		z->pgfree += ash_order_frames(order);
	} else if (ok) {
		ok = ash_migrate_note_free(z, pfn);
	}
	ash_zone_unlock(z);
	if (!ok)
		bad_free(z, pfn, order);
}

/* A piece that is being moved is seen to when the move is over; what is not allocated is not touched. */
static ASH_NOINLINE void harden_free(struct ash_zone *z, ash_pfn_t pfn, unsigned order)
{
	const uint32_t word = ash_frame_load(z->frames, pfn);

	if (used(word, order) && ash_word_flags(word) == 0)
		ash_harden_free(z, pfn, ash_order_frames(order), false);
}

static ASH_NOINLINE void free_slow(struct ash_zone *z, ash_pfn_t pfn, unsigned order, unsigned cpu)
{
	if (order > z->max_order || (uint64_t)pfn + ash_order_frames(order) > z->nr_frames ||
	    (pfn & (ash_order_frames(order) - 1)) != 0)
		ash_zone_bug(z, "free of a misaligned or foreign pfn", pfn, order, z->nr_frames);
	if (ash_hardened(z))
		harden_free(z, pfn, order);
	if (cpu < z->nr_cpus && ash_pcp_order_allowed(z, order) && ash_pcp_free(z, &z->pcps[cpu], pfn, order))
		return;
	ash_zone_lock(z);
	free_locked(z, pfn, order);
}

void ash_zone_free(struct ash_zone *z, ash_pfn_t pfn, unsigned order, unsigned cpu)
{
	if (ASH_UNLIKELY(cpu >= z->hit_cpus || !ash_hit_free(z, &z->pcps[cpu], pfn, order)))
		free_slow(z, pfn, order, cpu);
}

/* Onto the deferred list, or noted in the word of a piece that is being moved. false: it is not allocated like this. */
static bool defer(struct ash_zone *z, ash_pfn_t pfn, unsigned order)
{
	uint32_t word = ash_frame_load(z->frames, pfn);

	while (used(word, order) && !(ash_word_flags(word) & ASH_FRAME_FREE_PENDING)) {
		const bool moving = (ash_word_flags(word) & ASH_FRAME_MOVING) != 0;
		const uint32_t noted = word | ash_frame_word(0, 0, 0, ASH_FRAME_FREE_PENDING);

		if (!ash_frame_change(z->frames, pfn, &word,
				      moving ? noted : ash_frame_word(ASH_FRAME_DEFERRED, order, 0, 0)))
			continue;
		if (!moving)
			ash_deferred_push(z, pfn);
		return true;
	}
	return false;
}

void ash_zone_free_trylock(struct ash_zone *z, ash_pfn_t pfn, unsigned order, unsigned cpu)
{
	if (order > z->max_order || (uint64_t)pfn + ash_order_frames(order) > z->nr_frames ||
	    (pfn & (ash_order_frames(order) - 1)) != 0)
		ash_zone_bug(z, "free of a misaligned or foreign pfn", pfn, order, z->nr_frames);
	if (ash_hardened(z))
		harden_free(z, pfn, order);
	if (cpu < z->nr_cpus && ash_pcp_order_allowed(z, order) && ash_pcp_free_trylock(z, &z->pcps[cpu], pfn, order))
		return;
	if (ash_lock_try(&z->lock))
		free_locked(z, pfn, order);
	else if (!defer(z, pfn, order))
		bad_free(z, pfn, order);
}
