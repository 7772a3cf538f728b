/* SPDX-License-Identifier: MIT */
/*
 * pcp: a cache of small free pieces in front of the zone, one per CPU (or per whatever the embedder numbers so).
 *
 * A list per order 0..3 and pcp type, and two for pageblock order (MOVABLE and the others). Pieces here are not free to
 * the zone: they are in state PCP, and no list type is remembered with them. When they go back, the type of their
 * pageblock is read under the zone lock; a block converted or isolated meanwhile gets its own back. CMA and HIGHATOMIC
 * pieces ride the MOVABLE list until then; a piece of a block seen isolated bypasses the cache.
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

#define ASH_PCP_MAX_ORDER 3
#define ASH_PCP_BLOCK_LISTS ((ASH_PCP_MAX_ORDER + 1) * ASH_MT_PCPTYPES)
#define ASH_PCP_LISTS (ASH_PCP_BLOCK_LISTS + 2)

/* Zero-filled is empty: first and last mean something only while nr is not 0. */
struct ash_pcp_list {
	ash_pfn_t first, last;
	uint32_t nr; /* pieces */
};

struct ash_pcp {
	struct ash_lock lock;
	_Atomic uint32_t busy;   /* the owner is inside; biased zones only */
	_Atomic uint32_t frames; /* written by whoever is inside, read by anyone */
	uint64_t pgalloc, pgfree;
	struct ash_pcp_list list[ASH_PCP_LISTS];
} ASH_ALIGNED(64);

/* The owner's way in; false: somebody is inside. */
ASH_INLINE bool ash_pcp_enter(struct ash_zone *z, struct ash_pcp *pcp)
{
	if (!z->pcp_biased)
		return ash_lock_try(&pcp->lock);
	if (ASH_UNLIKELY(atomic_load_explicit(&pcp->busy, memory_order_relaxed) != 0))
		return false;
	atomic_store_explicit(&pcp->busy, 1, memory_order_relaxed);
	/* The hardware half of this fence is the drainer's barrier. */
	atomic_signal_fence(memory_order_seq_cst);
	if (ASH_LIKELY(atomic_load_explicit(&pcp->lock.word, memory_order_acquire) == ASH_LOCK_FREE))
		return true;
	atomic_store_explicit(&pcp->busy, 0, memory_order_release);
	return false;
}

ASH_INLINE void ash_pcp_leave(struct ash_zone *z, struct ash_pcp *pcp)
{
	if (z->pcp_biased)
		atomic_store_explicit(&pcp->busy, 0, memory_order_release);
	else
		ash_unlock(&pcp->lock, z->lock_ops);
}

/* Everybody else's way in; waits. Left with ash_unlock(). */
void ash_pcp_lock(struct ash_zone *z, struct ash_pcp *pcp);

ASH_INLINE bool ash_pcp_order_allowed(const struct ash_zone *z, unsigned order)
{
	return order <= z->pcp_max_order || order == z->pageblock_order;
}

ASH_INLINE uint32_t ash_pcp_frames(const struct ash_pcp *pcp)
{
	return atomic_load_explicit(&pcp->frames, memory_order_relaxed);
}

ASH_INLINE unsigned ash_pcp_list_index(unsigned order, enum ash_migratetype mt)
{
	if (order > ASH_PCP_MAX_ORDER)
		return ASH_PCP_BLOCK_LISTS + (mt != ASH_MT_MOVABLE);
	return order * ASH_MT_PCPTYPES + (unsigned)mt;
}

ASH_INLINE void ash_pcp_count_frames(struct ash_pcp *pcp, uint32_t delta)
{
	atomic_store_explicit(&pcp->frames, ash_pcp_frames(pcp) + delta, memory_order_relaxed);
}

/* Take the hot end of a list that is not empty: what was freed last. Inside. */
ASH_INLINE struct ash_taken ash_pcp_pop(struct ash_zone *z, struct ash_pcp *pcp, struct ash_pcp_list *l, unsigned order,
					enum ash_migratetype mt)
{
	const ash_pfn_t pfn = l->first;
	const uint32_t word = ash_frame_load(z->frames, pfn);

	ASH_ZONE_ASSERT(z, ash_word_state(word) == ASH_FRAME_PCP && ash_word_order(word) == order,
			"pcp list holds a foreign piece", pfn, word, order);
	l->nr--;
	l->first = z->frames[pfn].next;
	ash_pcp_count_frames(pcp, -ash_order_frames(order));
	pcp->pgalloc += ash_order_frames(order);
	ash_frame_store(z->frames, pfn, ash_frame_word(ASH_FRAME_USED, order, mt, 0));
	return (struct ash_taken){ pfn, ash_word_zeroed(word) };
}

/* Put a piece at the hot end. Inside. */
ASH_INLINE void ash_pcp_push(struct ash_zone *z, struct ash_pcp *pcp, struct ash_pcp_list *l, ash_pfn_t pfn,
			     unsigned order, enum ash_migratetype mt)
{
	ash_frame_store(z->frames, pfn, ash_frame_word(ASH_FRAME_PCP, order, mt, 0));
	if (l->nr++ == 0) {
		l->last = pfn;
	} else {
		z->frames[l->first].prev = pfn;
		z->frames[pfn].next = l->first;
	}
	l->first = pfn;
	ash_pcp_count_frames(pcp, ash_order_frames(order));
	pcp->pgfree += ash_order_frames(order);
}

/* With a refill if need be. false: the pcp is busy, or empty and the zone has nothing for it. */
bool ash_pcp_alloc(struct ash_zone *z, struct ash_pcp *pcp, unsigned order, enum ash_migratetype mt, unsigned flags,
		   struct ash_taken *taken);

/*
 * With a bulk free if the pcp is over its high mark afterwards. false: not a piece for the pcp now; the caller frees it
 * to the zone. The head is inside the zone; a piece that is not plainly allocated is never one for the pcp.
 */
bool ash_pcp_free(struct ash_zone *z, struct ash_pcp *pcp, ash_pfn_t pfn, unsigned order);

/* As ash_pcp_free(), but never gives anything on to the zone: the pcp may stand above its high mark for a while. */
bool ash_pcp_free_trylock(struct ash_zone *z, struct ash_pcp *pcp, ash_pfn_t pfn, unsigned order);

/* Give everything back, a batch per zone lock hold. */
void ash_pcp_drain(struct ash_zone *z, struct ash_pcp *pcp);

/* Batch and high mark for the number of frames now present (kernel: zone_batchsize). Under the zone lock. */
void ash_pcp_resize(struct ash_zone *z);

/* A racy sum, good enough to decide whether a drain is worth it. */
uint64_t ash_pcp_total(const struct ash_zone *z);

#endif
