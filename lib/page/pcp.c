/* SPDX-License-Identifier: MIT */
/* The per-CPU page caches. Kernel: rmqueue_pcplist, rmqueue_bulk, free_frozen_page_commit, free_pcppages_bulk. */
#include "page/pcp.h"

#include "page/deferred.h"
#include "page/fallback.h"

#define BATCH_BYTES_MAX (256u << 10)
#define FRAME_BYTES 4096u

static unsigned list_order(const struct ash_zone *z, unsigned index)
{
	return index < ASH_PCP_BLOCK_LISTS ? index / ASH_MT_PCPTYPES : z->pageblock_order;
}

/* The cold end. */
static ash_pfn_t pop_last(struct ash_zone *z, struct ash_pcp *pcp, unsigned index, unsigned order)
{
	struct ash_pcp_list *l = &pcp->list[index];
	const ash_pfn_t pfn = l->last;

	l->nr--;
	l->last = z->frames[pfn].prev;
	ash_pcp_count_frames(pcp, -ash_order_frames(order));
	return pfn;
}

void ash_pcp_lock(struct ash_zone *z, struct ash_pcp *pcp)
{
	ash_lock(&pcp->lock, z->lock_ops);
	if (!z->pcp_biased)
		return;
	z->ops->barrier();
	while (atomic_load_explicit(&pcp->busy, memory_order_acquire) != 0)
		ash_cpu_relax();
}

void ash_pcp_resize(struct ash_zone *z)
{
	uint64_t batch = ash_counter_read(&z->present) >> 12;
	uint32_t value = 1;

	if (batch > BATCH_BYTES_MAX / FRAME_BYTES)
		batch = BATCH_BYTES_MAX / FRAME_BYTES;
	if (batch > 1) {
		batch += batch / 2;
		/* One less than a power of two, so that refills do not march in step with power-of-two users. */
		value = (1u << (31u - (unsigned)__builtin_clz((uint32_t)batch))) - 1;
	}
	if (value == 0 || z->pcp_disabled > 0)
		value = 1;
	atomic_store_explicit(&z->pcp_batch, value, memory_order_relaxed);
	atomic_store_explicit(&z->pcp_high, z->pcp_disabled > 0 ? 0 : 4 * value, memory_order_relaxed);
}

/* Up to nr pieces in one zone lock hold, in the order the lists give them. */
static void refill(struct ash_zone *z, struct ash_pcp *pcp, unsigned order, enum ash_migratetype mt, unsigned flags,
		   unsigned nr)
{
	const unsigned index = ash_pcp_list_index(order, mt);
	struct ash_pcp_list *l = &pcp->list[index];
	enum ash_rmqueue_mode mode = ASH_RMQUEUE_NORMAL;

	if (flags & ASH_ALLOC_TRYLOCK) {
		if (!ash_lock_try(&z->lock))
			return;
	} else {
		ash_zone_lock(z);
	}
	for (; nr > 0; nr--) {
		const struct ash_taken taken = ash_rmqueue(z, order, mt, flags, &mode);

		if (taken.pfn == ASH_PFN_NONE)
			break;
		ash_frame_store(z->frames, taken.pfn, ash_frame_word(ASH_FRAME_PCP, order, mt,
								     taken.zeroed == ash_zeroed_full(z, order) ? ASH_FRAME_ZEROED : 0));
		/* Behind what is there, so that allocations come in the ascending order the buddy lists gave. */
		if (l->nr++ == 0)
			l->first = taken.pfn;
		else
			z->frames[l->last].next = taken.pfn;
		z->frames[taken.pfn].prev = l->last;
		l->last = taken.pfn;
		ash_pcp_count_frames(pcp, ash_order_frames(order));
	}
	ash_zone_unlock(z);
}

bool ash_pcp_alloc(struct ash_zone *z, struct ash_pcp *pcp, unsigned order, enum ash_migratetype mt, unsigned flags,
		   struct ash_taken *taken)
{
	const unsigned index = ash_pcp_list_index(order, mt);

	if (!ash_pcp_enter(z, pcp))
		return false;
	if (ASH_UNLIKELY(pcp->list[index].nr == 0)) {
		const uint32_t batch = atomic_load_explicit(&z->pcp_batch, memory_order_relaxed);
		uint32_t nr = batch;

		if (order > ASH_PCP_MAX_ORDER)
			nr = 1;
		else if (order > 0)
			nr = batch >> order > 2 ? batch >> order : 2;
		refill(z, pcp, order, mt, flags, batch > 1 ? nr : 1);
		if (pcp->list[index].nr == 0) {
			ash_pcp_leave(z, pcp);
			return false;
		}
	}
	*taken = ash_pcp_pop(z, pcp, &pcp->list[index], order, mt);
	taken->zeroed = taken->zeroed ? ash_zeroed_full(z, order) : 0;
	ash_pcp_leave(z, pcp);
	return true;
}

/* Free up to a batch of frames from the cold ends, round robin from list `index` on, in one zone lock hold. */
static void shrink(struct ash_zone *z, struct ash_pcp *pcp, unsigned index, uint32_t frames)
{
	if (frames > ash_pcp_frames(pcp))
		frames = ash_pcp_frames(pcp);
	ash_zone_lock(z);
	ash_deferred_drain(z);
	while (frames > 0) {
		const unsigned order = list_order(z, index);

		if (pcp->list[index].nr > 0) {
			const ash_pfn_t pfn = pop_last(z, pcp, index, order);
			const uint32_t word = ash_frame_load(z->frames, pfn);

			/* The block's type is asked now and here; what the pcp thought of it does not count. */
			ash_frame_store(z->frames, pfn, 0);
			ash_buddy_free(z, pfn, order, ash_word_zeroed(word) ? ASH_FREE_ZEROED : 0);
			frames -= frames < ash_order_frames(order) ? frames : ash_order_frames(order);
		}
		index = index + 1 < ASH_PCP_LISTS ? index + 1 : 0;
	}
	ash_zone_unlock(z);
}

/*
 * Whether the piece is allocated and nothing is going on with it. One that a mover may be asked for becomes the pcp's
 * here and now, since the core may be about to mark it as moving.
 */
static bool take_from_owner(struct ash_zone *z, ash_pfn_t pfn, unsigned order)
{
	const uint32_t plain = ash_frame_word(ASH_FRAME_USED, order, 0, 0);
	uint32_t word = ash_frame_load(z->frames, pfn);

	if ((word & z->plain_mask) == plain)
		return true;
	return (word & ASH_FRAME_PLAIN) == plain &&
	       ash_frame_change(z->frames, pfn, &word, ash_frame_word(ASH_FRAME_PCP, order, 0, 0));
}

/* Push if the block's type, as seen without a lock, lets it be cached. Returns the list, or ASH_PCP_LISTS; inside then. */
static unsigned enter_and_push(struct ash_zone *z, struct ash_pcp *pcp, ash_pfn_t pfn, unsigned order)
{
	enum ash_migratetype mt = ash_pageblock_type(z, pfn);
	unsigned index;

	/* A hint only: a block isolated after this look keeps one cached piece until the isolator's drain. */
	if (mt == ASH_MT_ISOLATE)
		return ASH_PCP_LISTS;
	if (mt >= ASH_MT_PCPTYPES)
		mt = ASH_MT_MOVABLE;
	if (!ash_pcp_enter(z, pcp))
		return ASH_PCP_LISTS;
	/* 0: disabled, see ash_zone_pcp_disable(). */
	if (atomic_load_explicit(&z->pcp_high, memory_order_relaxed) == 0 || !take_from_owner(z, pfn, order)) {
		ash_pcp_leave(z, pcp);
		return ASH_PCP_LISTS;
	}
	index = ash_pcp_list_index(order, mt);
	ash_pcp_push(z, pcp, &pcp->list[index], pfn, order, mt);
	return index;
}

bool ash_pcp_free(struct ash_zone *z, struct ash_pcp *pcp, ash_pfn_t pfn, unsigned order)
{
	const unsigned index = enter_and_push(z, pcp, pfn, order);
	uint32_t high = atomic_load_explicit(&z->pcp_high, memory_order_relaxed);

	if (index == ASH_PCP_LISTS)
		return false;
	if (order > ASH_PCP_MAX_ORDER)
		high += ash_order_frames(order);
	if (ASH_UNLIKELY(ash_pcp_frames(pcp) > high))
		shrink(z, pcp, index, atomic_load_explicit(&z->pcp_batch, memory_order_relaxed));
	ash_pcp_leave(z, pcp);
	return true;
}

bool ash_pcp_free_trylock(struct ash_zone *z, struct ash_pcp *pcp, ash_pfn_t pfn, unsigned order)
{
	if (enter_and_push(z, pcp, pfn, order) == ASH_PCP_LISTS)
		return false;
	ash_pcp_leave(z, pcp);
	return true;
}

void ash_pcp_drain(struct ash_zone *z, struct ash_pcp *pcp)
{
	const uint32_t batch = atomic_load_explicit(&z->pcp_batch, memory_order_relaxed);
	bool more;

	do {
		ash_pcp_lock(z, pcp);
		shrink(z, pcp, 0, batch);
		more = ash_pcp_frames(pcp) > 0;
		ash_unlock(&pcp->lock, z->lock_ops);
	} while (more);
}

uint64_t ash_pcp_total(const struct ash_zone *z)
{
	uint64_t frames = 0;

	for (unsigned i = 0; i < z->nr_cpus; i++)
		frames += ash_pcp_frames(&z->pcps[i]);
	return frames;
}
