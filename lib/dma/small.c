/* SPDX-License-Identifier: MIT */
/*
 * Buffers of less than a frame come from pools of objects of 2^k bytes, one per node and k. An object lies on a
 * multiple of its size, so it keeps to every alignment up to that and crosses no boundary that it could keep to.
 *
 * Which of them are buffers just now, a bit for each says, so that what is ended twice, or was never a buffer, is told
 * from what is one: of two who end one at the same time, one has cleared the bit.
 */
#include <errno.h>

#include "dma/pool.h"

enum { SMALLEST_SHIFT = 6, LARGEST_SHIFT = 11, NR_CLASSES = LARGEST_SHIFT - SMALLEST_SHIFT + 1 };

/* The bit of p in the word of its frame. */
static uint64_t bit_of(const void *p)
{
	return (uint64_t)1 << (((uintptr_t)p & (ASH_PAGE_SIZE - 1)) >> SMALLEST_SHIFT);
}

bool ash_dma_small_is(const struct ash_dma_arena *a, const void *p)
{
	const uint64_t word = atomic_load_explicit(&a->small[ash_dma_pfn(a, p)], memory_order_relaxed);

	return ((uintptr_t)p & ((1u << SMALLEST_SHIFT) - 1)) == 0 && (word & bit_of(p)) != 0;
}

bool ash_dma_small_end(struct ash_dma_arena *a, const void *p)
{
	return (atomic_fetch_and_explicit(&a->small[ash_dma_pfn(a, p)], ~bit_of(p), memory_order_relaxed) &
		bit_of(p)) != 0;
}

static void begin(struct ash_dma_arena *a, const void *p)
{
	atomic_fetch_or_explicit(&a->small[ash_dma_pfn(a, p)], bit_of(p), memory_order_relaxed);
}

static _Atomic(struct ash_dma_pool *) pools[ASH_NODES_MAX][NR_CLASSES];

static struct ash_dma_pool *make(int node, unsigned class)
{
	const size_t bytes = (size_t)1 << (class + SMALLEST_SHIFT);
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;
	struct ash_dma_pool *pool, *there = NULL;

	attr.node = node;
	attr.align = bytes;
	attr.level = ASH_DMA_PHYSICAL;
	pool = ash_dma_pool_make("small", bytes, 0, ASH_DMA_POOL_SMALL, &attr);
	if (pool == NULL)
		return NULL;
	if (atomic_compare_exchange_strong_explicit(&pools[node][class], &there, pool, memory_order_acq_rel,
						    memory_order_acquire))
		return pool;
	(void)ash_dma_pool_destroy(pool);
	return there;
}

void *ash_dma_small_alloc(const struct ash_dma_attr *attr, size_t bytes)
{
	const size_t want = ash_max(ash_max(bytes, attr->align), (size_t)1 << SMALLEST_SHIFT);
	const unsigned shift = ash_log2_ceil(want);
	uint64_t nodes;
	const int node = ash_dma_choose(attr->node, attr->policy, &nodes);
	struct ash_dma_pool *pool;
	const int saved = errno;
	void *p;

	if (shift > LARGEST_SHIFT || node < 0)
		return NULL;
	pool = atomic_load_explicit(&pools[node][shift - SMALLEST_SHIFT], memory_order_acquire);
	if (ASH_UNLIKELY(pool == NULL)) {
		pool = make(node, shift - SMALLEST_SHIFT);
		if (pool == NULL) {
			errno = saved;
			return NULL;
		}
	}
	p = ash_dma_pool_get(pool);
	/* A pool whose node is full has memory of others. */
	if (p != NULL && ASH_UNLIKELY(nodes != UINT64_MAX) && (nodes >> ash_dma_arena_of(p)->node & 1) == 0) {
		ash_dma_pool_put(pool, p);
		p = NULL;
	}
	if (ASH_LIKELY(p != NULL))
		begin(ash_dma_arena_of(p), p);
	else
		errno = saved;
	return p;
}

void ash_dma_small_trim(void)
{
	for (unsigned node = 0; node < ASH_NODES_MAX; node++) {
		for (unsigned class = 0; class < NR_CLASSES; class++) {
			struct ash_dma_pool *pool = atomic_load_explicit(&pools[node][class], memory_order_acquire);

			if (pool != NULL)
				ash_dma_pool_shrink(pool);
		}
	}
}

void ash_dma_small_forget(void)
{
	for (unsigned node = 0; node < ASH_NODES_MAX; node++) {
		for (unsigned class = 0; class < NR_CLASSES; class++)
			atomic_store_explicit(&pools[node][class], NULL, memory_order_relaxed);
	}
}
