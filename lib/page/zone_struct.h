/* SPDX-License-Identifier: MIT */
/*
 * What a zone is made of. Private to lib/page; embedders see zone.h.
 *
 * Lock order: pcp locks in ascending index, then the zone lock. A remote drain takes a pcp lock and, inside it, the
 * zone lock, as a refill does. Nothing is called out to with either held, except the lock's own wait.
 */
#ifndef ASH_PAGE_ZONE_STRUCT_H
#define ASH_PAGE_ZONE_STRUCT_H

#include "base/check.h"
#include "base/fault.h"
#include "page/frame.h"
#include "page/zone.h"

/*
 * The buddies of one order and migratetype. Two lists, because resident memory is to be used before memory that must
 * first be faulted in: [0] resident, [1] zeroed. Order matters only inside each.
 */
struct ash_freelist {
	ash_pfn_t first[2], last[2];
	uint32_t nr;
};

/* A counter written under the zone lock and read by anyone. */
struct ash_counter {
	_Atomic uint64_t value;
};

struct ash_zone {
	/* No frame from here on has ever been online, so none is looked at. Grows only, under the lock. */
	_Atomic ash_pfn_t reach;
	/* Constant after initialisation, and read by every pcp hit. */
	ash_pfn_t nr_frames;
	uint8_t pageblock_order, max_order;
	bool hardened;         /* hardening asks for more than a shuffle: no fast paths */
	uint8_t guard_order, shuffle_order; /* as in hardening; shuffle_order UINT8_MAX: no coin is tossed */
	uint8_t plain_order; /* frees below it are short: pageblock order; 0 where something is guarded or shuffled */
	bool defrag_mode;
	bool pcp_biased; /* pcp slots have one owner each, who locks without atomics (pcp.h) */
	/*
	 * MOVABLE where some pageblock is CMA, for its pcp lists then hold frames that are not for everyone; else
	 * ASH_MT_NR.
	 */
	_Atomic uint32_t cma_borrower;
	uint32_t plain_mask; /* of what a plain store frees: ASH_FRAME_PLAIN; with a mover also the bit of MOVABLE */
	unsigned pcp_max_order; /* pieces that are cached: at most of two pageblocks */
	unsigned pcp_hit_order; /* of these, such as have the type of one pageblock */
	unsigned nr_cpus;
	unsigned hit_cpus; /* nr_cpus where there are hits (hit.h): with biased pcps and without hardening; else 0 */
	struct ash_frame *frames;
	_Atomic uint8_t *pageblocks;
	struct ash_pcp *pcps;
	const struct ash_zone_ops *ops;
	const struct ash_lock_ops *lock_ops; /* NULL: spin */
	struct ash_fault *fault; /* NULL outside fault tests */
	void *owner;

	/* How the pcps are sized; read by their owners without the zone lock. high_max 0: nothing is cached. */
	_Atomic uint32_t pcp_batch, pcp_high_min, pcp_high_max;
	struct ash_hardening hardening; /* constant */
	/* watermark.h; read before every request, seldom written */
	_Atomic uint64_t wmark[3], wmark_boost, lowmem_reserve[ASH_LOWMEM_ZONES];

	/*
	 * The lock has a cache line of its own: who waits for it reads it again and again, and would take away what the
	 * holder writes. All that follows is written under it.
	 */
	char before_lock[64];
	struct ash_lock lock;
	char behind_lock[64];

	/* By type, since a holder frees or allocates of one type, of any order: so its lists are a few lines. */
	_Atomic uint32_t nonempty[ASH_MT_NR]; /* bit o: freelist[mt][o] has a buddy; also read without the lock */
	struct ash_freelist freelist[ASH_MT_NR][ASH_NR_ORDERS];

	struct ash_counter present;
	struct ash_counter free;            /* on lists of any type but ISOLATE */
	struct ash_counter free_blocks;     /* of these, in buddies of pageblock order and above */
	struct ash_counter free_zeroed;     /* of these, zeroed */
	struct ash_counter free_cma;
	struct ash_counter free_highatomic;
	struct ash_counter guard;           /* frames in state GUARD */
	uint64_t shuffle_state;
	struct ash_counter nr_isolate;      /* pageblocks whose isolate bit is set */
	uint32_t *tainted;                  /* per superblock: pageblocks of what cannot move; NULL: not counted */
	uint64_t nr_tainted;                /* superblocks where that is not 0 */
	uint64_t nr_blocks[ASH_MT_NR];      /* online pageblocks by the type a reader is told */

	unsigned wmark_scale;                   /* what low and high were made with */
	unsigned pcp_disabled;                  /* nesting of ash_zone_pcp_disable() */
	uint64_t reserved_highatomic;           /* frames */
	_Atomic uint32_t deferred;              /* deferred.h; pushed to without the lock */

	uint64_t pgalloc, pgfree; /* past the pcps */
	uint64_t extfrag_claim, extfrag_steal;
	uint64_t pgmigrate_success, pgmigrate_fail;
	uint64_t cma; /* frames of the areas in this zone */
	uint64_t cma_alloc_success, cma_alloc_fail; /* their requests */

	struct ash_capture *capture; /* compact.c: a request that waits for a buddy to form; NULL: none */
	struct {
		ash_pfn_t migrate, free_block;    /* where the scanners stopped */
		bool restart;                     /* they met: begin anew, without skip bits */
		unsigned considered, defer_shift; /* attempts since, and number of, failed runs */
		unsigned order_failed;            /* the lowest order that failed */
		uint64_t migrate_scanned, free_scanned, isolated; /* frames, frames, pieces */
		uint64_t daemon_migrate_scanned, daemon_free_scanned; /* of these, by proactive runs */
		uint64_t stall, fail, success;    /* requests that compacted, and how they ended */
	} compact;
};

ASH_BUILD_ASSERT(offsetof(struct ash_zone, lock) - offsetof(struct ash_zone, before_lock) >= 64 &&
		 offsetof(struct ash_zone, nonempty) - offsetof(struct ash_zone, lock) >= 64, "a line for the lock");

/* Whoever frees the buddy that a compacting request wants hands it over, before anybody else can take it. */
struct ash_capture {
	unsigned order;
	enum ash_migratetype mt;
	ash_pfn_t pfn; /* ASH_PFN_NONE: nothing yet; else HELD for the request */
	bool zeroed;
};

ASH_INLINE uint64_t ash_counter_read(const struct ash_counter *c)
{
	return atomic_load_explicit(&c->value, memory_order_relaxed);
}

/* delta is two's complement. Not a read-modify-write: the zone lock keeps other writers out. */
ASH_INLINE void ash_counter_add(struct ash_counter *c, uint64_t delta)
{
	atomic_store_explicit(&c->value, ash_counter_read(c) + delta, memory_order_relaxed);
}

ASH_INLINE void ash_zone_lock(struct ash_zone *z)
{
	ash_lock(&z->lock, z->lock_ops);
}

ASH_INLINE void ash_zone_unlock(struct ash_zone *z)
{
	ash_unlock(&z->lock, z->lock_ops);
}

ASH_INLINE ash_pfn_t ash_order_frames(unsigned order)
{
	return (ash_pfn_t)1 << order;
}

ASH_INLINE ash_pfn_t ash_order_start(ash_pfn_t pfn, unsigned order)
{
	return pfn & ~(ash_order_frames(order) - 1);
}

/* Reports a broken promise and stops. The caller has released its locks if a report can reasonably want them. */
ASH_NORETURN ASH_COLD void ash_zone_bug(const struct ash_zone *z, const char *what, ash_pfn_t pfn, unsigned long a,
					unsigned long b);

/*
 * An allocation for mt has failed: give back to the lists what the zone itself keeps away from them (pcps, deferred
 * frees, one reserved HIGHATOMIC block). Whether there was anything. No locks held.
 */
bool ash_zone_reclaim_own(struct ash_zone *z, enum ash_migratetype mt);

#define ASH_ZONE_ASSERT(z, cond, what, pfn, a, b)                                                                      \
	do {                                                                                                           \
		if (ASH_CHECKS && ASH_UNLIKELY(!(cond)))                                                               \
			ash_zone_bug(z, what, pfn, (unsigned long)(a), (unsigned long)(b));                            \
	} while (0)

#define ASH_ZONE_ASSERT_LOCKED(z)                                                                                      \
	ASH_ZONE_ASSERT(z, ash_lock_is_held(&(z)->lock), "zone lock not held", ASH_PFN_NONE, 0, 0)

/* Head of the piece that covers pfn, or ASH_PFN_NONE when pfn is offline. Caller holds the zone lock or owns pfn. */
ASH_INLINE ash_pfn_t ash_frame_head(const struct ash_zone *z, ash_pfn_t pfn)
{
	/*
	 * Going up through the aligned starts, the first head met is the only candidate: a covering piece that began
	 * lower would contain that head, and pieces do not overlap.
	 */
	for (unsigned order = pfn == 0 ? z->max_order : (unsigned)__builtin_ctz(pfn);; order++) {
		const ash_pfn_t head = order < z->max_order ? ash_order_start(pfn, order) :
							      ash_order_start(pfn, z->max_order);
		const uint32_t word = ash_frame_load(z->frames, head);

		if (ash_word_state(word) != ASH_FRAME_NONE)
			return pfn - head < ash_order_frames(ash_word_order(word)) ? head : ASH_PFN_NONE;
		if (order >= z->max_order)
			return ASH_PFN_NONE;
	}
}

#endif
