/* SPDX-License-Identifier: MIT */
/*
 * pcp: a cache of small free pieces in front of the zone, one per CPU (or per whatever the embedder numbers so).
 *
 * A list per order 0..10 and pcp type. Pieces here are not free to the zone: they are in state PCP, and no list type is
 * remembered with them. When they go back, the type of their pageblock is read under the zone lock; a block converted or
 * isolated meanwhile gets its own back. CMA and HIGHATOMIC pieces ride the MOVABLE list until then; a piece of a block
 * seen isolated bypasses the cache. The kernel's lists end at order 3 and have one more for pageblocks; the orders between
 * and one above are here because a pair costs a twentieth of what splitting and merging costs (docs/benchmarks.md). They
 * are asked of the zone one at a time to begin with. pcp_tune.c decides how much goes in and out at once, and how much stays.
 *
 * The pcp lock is only ever tried on the way in: whoever meets it held goes to the zone instead of waiting. Drains wait.
 *
 * Where every slot has one owner at a time (config.pcp_owned) and the embedder can make all CPUs pass a barrier, the
 * owner does not take the lock but raises a flag, `busy`, and looks whether a drainer holds the lock. A drainer takes
 * the lock, sends the barrier, and waits for the flag to fall. After the barrier either the drainer sees the flag or the
 * owner sees the lock: Dekker's argument, the owner's fence being paid by the drainer. A signal handler that interrupts
 * its own thread's section finds the flag up and goes to the zone.
 */
#ifndef ASH_PAGE_PCP_H
#define ASH_PAGE_PCP_H

#include "page/buddy.h"

#define ASH_PCP_MAX_ORDER 10
#define ASH_PCP_BATCH_ORDER 3 /* up to here the pcp is kept filled, a batch at a time */
#define ASH_PCP_COLUMNS 4     /* the pcp types and one that stays empty: a shift on the way to a list */
#define ASH_PCP_LISTS ((ASH_PCP_MAX_ORDER + 1) * ASH_PCP_COLUMNS)

/*
 * A piece on a pcp list is named by its pfn plus 1, so that zero-filled is empty. last means something only while first
 * is not 0.
 */
struct ash_pcp_list {
	uint32_t first, last;
};

/*
 * How a pcp adapts to its traffic (pcp_tune.c). Written by whoever is inside; high is read by anyone. All in frames but
 * alloc_factor. Zero-filled means: to be decided at the first use.
 */
struct ash_pcp_tune {
	_Atomic uint32_t high;      /* what is freed beyond it goes on to the zone */
	uint16_t alloc_factor;      /* refills in a row without a free between them */
	uint16_t free_count;        /* freed lately, and not allocated again */
	uint64_t in_seen, out_seen; /* by its users, when it was last looked at */
};

/*
 * What went in and out, in frames, each written by whoever is inside and read by anyone; what is in is the difference.
 * Two counters that only grow: a hit adds to one of them, and both together tell pgalloc and pgfree.
 */
struct ash_pcp {
	struct ash_lock lock;
	_Atomic uint32_t busy; /* the owner is inside; biased zones only */
	_Atomic uint64_t in, out;
	uint64_t refilled, drained; /* of these, from and to the zone */
	struct ash_pcp_tune tune;
	struct ash_pcp_list list[ASH_PCP_LISTS];
	uint64_t pad[11]; /* to a power of two: a shift on the way to a slot */
} ASH_ALIGNED(64);
ASH_BUILD_ASSERT(sizeof(struct ash_pcp) == 512, "see pad");

/* The owner's way in; false: somebody is inside. */
ASH_INLINE bool ash_pcp_enter_biased(struct ash_pcp *pcp)
{
	/* 1 only for who interrupted the owner inside: nobody else writes it. */
	const uint32_t interrupted = atomic_load_explicit(&pcp->busy, memory_order_relaxed);

	atomic_store_explicit(&pcp->busy, 1, memory_order_relaxed);
	/* The hardware half of this fence is the drainer's barrier. */
	atomic_signal_fence(memory_order_seq_cst);
	if (ASH_LIKELY((atomic_load_explicit(&pcp->lock.word, memory_order_acquire) | interrupted) == ASH_LOCK_FREE))
		return true;
	atomic_store_explicit(&pcp->busy, interrupted, memory_order_release);
	return false;
}

ASH_INLINE void ash_pcp_leave_biased(struct ash_pcp *pcp)
{
	atomic_store_explicit(&pcp->busy, 0, memory_order_release);
}

ASH_INLINE bool ash_pcp_enter(struct ash_zone *z, struct ash_pcp *pcp)
{
	return z->pcp_biased ? ash_pcp_enter_biased(pcp) : ash_lock_try(&pcp->lock);
}

ASH_INLINE void ash_pcp_leave(struct ash_zone *z, struct ash_pcp *pcp)
{
	if (z->pcp_biased)
		ash_pcp_leave_biased(pcp);
	else
		ash_unlock(&pcp->lock, z->lock_ops);
}

/* Everybody else's way in; waits. Left with ash_unlock(). */
void ash_pcp_lock(struct ash_zone *z, struct ash_pcp *pcp);

ASH_INLINE bool ash_pcp_order_allowed(const struct ash_zone *z, unsigned order)
{
	/* A piece with guards behind it is no use to anybody else. */
	return order <= z->pcp_max_order && order >= z->guard_order;
}

/*
 * Frames inside. A reader that is not inside errs upwards only, never missing a piece that was there all the time: `out`
 * is read first, and what it counts had been counted in before.
 */
ASH_INLINE uint32_t ash_pcp_frames(const struct ash_pcp *pcp)
{
	const uint64_t out = atomic_load_explicit(&pcp->out, memory_order_acquire);

	return (uint32_t)(atomic_load_explicit(&pcp->in, memory_order_relaxed) - out);
}

ASH_INLINE void ash_pcp_count(_Atomic uint64_t *counter, ash_pfn_t frames)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + frames,
			      memory_order_release);
}

ASH_INLINE struct ash_pcp_list *ash_pcp_list(struct ash_pcp *pcp, unsigned order, enum ash_migratetype mt)
{
	return &pcp->list[order * ASH_PCP_COLUMNS + (unsigned)mt];
}

ASH_BUILD_ASSERT(ASH_FRAME_PCP == (ASH_FRAME_USED | 1), "taking a piece out clears a bit of its word");

/* Take the hot end of a list that is not empty: what was freed last. Inside. */
ASH_INLINE void ash_pcp_pop(struct ash_zone *z, struct ash_pcp *pcp, struct ash_pcp_list *l, unsigned order,
			    struct ash_page_grant *grant)
{
	const ash_pfn_t pfn = l->first - 1;
	struct ash_frame *f = &z->frames[pfn];
	const uint32_t word = atomic_load_explicit(&f->word, memory_order_relaxed);

	ASH_ZONE_ASSERT(z, ash_word_state(word) == ASH_FRAME_PCP && ash_word_order(word) == order,
			"pcp list holds a foreign piece", pfn, word, order);
	l->first = f->next;
	ash_pcp_count(&pcp->out, ash_order_frames(order));
	/* USED, of the order and type it has been here with, without flags. */
	atomic_store_explicit(&f->word, word & 0x00fffffe, memory_order_relaxed);
	*grant = (struct ash_page_grant){ pfn, ash_word_zeroed(word) };
}

/* Put a piece at the hot end; f is its head's frame, word what that shall say. Inside. */
ASH_INLINE void ash_pcp_push(struct ash_zone *z, struct ash_pcp *pcp, struct ash_pcp_list *l, ash_pfn_t pfn,
			     struct ash_frame *f, uint32_t word)
{
	const uint32_t hot = l->first;

	ash_pcp_count(&pcp->in, ash_order_frames(ash_word_order(word)));
	l->first = pfn + 1;
	f->next = hot;
	atomic_store_explicit(&f->word, word, memory_order_relaxed);
	if (hot == 0)
		l->last = pfn + 1;
	else
		z->frames[hot - 1].prev = pfn + 1;
}

/* With a refill if need be. false: the pcp is busy, or empty and the zone has nothing for it. */
bool ash_pcp_alloc(struct ash_zone *z, struct ash_pcp *pcp, unsigned order, enum ash_migratetype mt, unsigned flags,
		   struct ash_page_grant *grant);

ASH_INLINE bool ash_pcp_full(const struct ash_pcp *pcp)
{
	return ash_pcp_frames(pcp) >= atomic_load_explicit(&pcp->tune.high, memory_order_relaxed);
}

/* pcp_tune.c, both for who is inside: how many pieces to ask the zone for, 1 or more; how many frames to give to it. */
unsigned ash_pcp_tune_refill(struct ash_zone *z, struct ash_pcp *pcp, unsigned order);
uint32_t ash_pcp_tune_shrink(struct ash_zone *z, struct ash_pcp *pcp, unsigned order);

/*
 * With a bulk free if the pcp is over its high mark afterwards. false: not a piece for the pcp now; the caller frees it
 * to the zone. The head is inside the zone; a piece that is not plainly allocated is never one for the pcp.
 */
bool ash_pcp_free(struct ash_zone *z, struct ash_pcp *pcp, ash_pfn_t pfn, unsigned order);

/* As ash_pcp_free(), but never gives anything on to the zone: the pcp may stand above its high mark for a while. */
bool ash_pcp_free_trylock(struct ash_zone *z, struct ash_pcp *pcp, ash_pfn_t pfn, unsigned order);

/* Give everything back, a batch per zone lock hold; or what is more than high. Without the pcp's lock. */
void ash_pcp_drain(struct ash_zone *z, struct ash_pcp *pcp);
void ash_pcp_trim(struct ash_zone *z, struct ash_pcp *pcp, uint32_t high);

/* The mark it goes by, within those of the zone now. */
uint32_t ash_pcp_high(const struct ash_zone *z, const struct ash_pcp *pcp);

/* Batch and high marks for the number of frames now present (kernel: zone_batchsize, zone_highsize). Under the zone lock. */
void ash_pcp_resize(struct ash_zone *z);

/* A racy sum, good enough to decide whether a drain is worth it. */
uint64_t ash_pcp_total(const struct ash_zone *z);

#endif
