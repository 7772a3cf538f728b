/* SPDX-License-Identifier: MIT */
/*
 * Pools: objects of one size in slabs, a stack of free ones, and in front of it a cache per thread.
 *
 * A cache belongs to a thread's number, and a number to one thread at a time, so the fast paths take no lock and no
 * atomic operation. Number 0 is nobody's: its caches are empty for ever, and who has no number yet finds them so.
 */
#ifndef ASH_DMA_POOL_H
#define ASH_DMA_POOL_H

#include "dma/internal.h"

enum { ASH_DMA_THREADS = 256, ASH_DMA_CACHE_MAX = 254, ASH_DMA_NAME_MAX = 32, ASH_DMA_SLABS_MAX = 4096 };

/* Beside the public flags: see ash_dma_is_small(). */
enum { ASH_DMA_POOL_FLAGS = ASH_DMA_POOL_DEBUG | ASH_DMA_POOL_NO_CACHE, ASH_DMA_POOL_SMALL = 1 << 16 };

struct ash_dma_cache {
	uint64_t nr;
	void *object[ASH_DMA_CACHE_MAX + 1];
};
ASH_BUILD_ASSERT(sizeof(struct ash_dma_cache) == 2048, "caches of two threads share no line");

struct ash_dma_slab {
	char *start;
	size_t bytes;
	size_t idle;  /* only while the pool shrinks: its objects that are free */
	uint8_t *out; /* debug: per object, whether it is out */
};

/* The first two fields, and struct ash_dma_cache, are known to programs: the inline functions of <ashlar/dma.h>. */
struct ash_dma_pool {
	struct ash_dma_cache *caches; /* (c) [ASH_DMA_THREADS] */
	size_t cache_max;             /* (c) 0: no caches */
	size_t object, stride;        /* (c) bytes asked for; from one object to the next */
	size_t per_slab, slab_bytes;  /* (c) */
	size_t limit;                 /* (c) most objects; 0: any number */
	unsigned flags;               /* (c) */
	struct ash_dma_attr attr;     /* (c) of the slabs */
	struct ash_policy policy;     /* (c) attr's, if it has one */
	char name[ASH_DMA_NAME_MAX];  /* (c) */

	struct ash_lock lock;         /* what follows */
	void **stack;                 /* free objects that no cache has */
	_Atomic size_t nr_stack;      /* entries */
	size_t capacity;              /* of these writable */
	size_t stack_bytes;           /* (c) reserved */
	size_t total;                 /* objects in all slabs */
	struct ash_dma_slab *slabs;
	unsigned nr_slabs;
	struct ash_lock growth;       /* one thread at a time adds a slab */
};

ASH_BUILD_ASSERT(offsetof(struct ash_dma_pool, caches) == 0 && offsetof(struct ash_dma_pool, cache_max) == 8 &&
		 offsetof(struct ash_dma_cache, object) == 8, "as <ashlar/dma.h> has it");

/* The calling thread's number; 0: it has none. Read by programs. */
extern ASH_API ASH_TLS_DEFINE uint32_t ash_dma_thread;
/* The pcp slot of the thread in an arena's zone. */
ASH_INLINE unsigned ash_dma_pcp(const struct ash_dma_arena *a)
{
	if (atomic_load_explicit(&a->online, memory_order_relaxed) < ASH_DMA_PCP_LEAST)
		return ASH_CPU_NONE;
	return ash_dma_thread % ASH_DMA_PCPS;
}

/* Give the thread a number, if there is one left. */
void ash_dma_thread_number(void);
/* The child of a fork: all numbers are free, its only thread has none. */
void ash_dma_threads_forget(void);

/* The pool serves ash_dma_alloc(): its objects are buffers, and lie on multiples of their size. */
ASH_INLINE bool ash_dma_is_small(const struct ash_dma_pool *pool)
{
	return (pool->flags & ASH_DMA_POOL_SMALL) != 0;
}

/* What a frame's tag says when it is part of a slab: the pool. */
ASH_INLINE struct ash_dma_pool *ash_dma_tag_pool(uint64_t tag)
{
	return (struct ash_dma_pool *)(uintptr_t)(tag & ~(uint64_t)ASH_DMA_TAG_KIND);
}

/* Give back the slabs of a pool without a limit whose objects are all free and in no other thread's cache. */
void ash_dma_pool_shrink(struct ash_dma_pool *pool);

/* As ash_dma_pool_create(), and with ASH_DMA_POOL_SMALL for small.c. */
struct ash_dma_pool *ash_dma_pool_make(const char *name, size_t bytes, size_t limit, unsigned flags,
				       const struct ash_dma_attr *attr);

/* Objects of an internal pool of objects of 2^k bytes, for buffers of less than a frame: errno is not touched. */
void *ash_dma_small_alloc(const struct ash_dma_attr *attr, size_t bytes);
/* p lies in a slab of such a pool: whether a buffer begins there, and its end. false: there was none, or somebody else
 * was quicker. */
bool ash_dma_small_is(const struct ash_dma_arena *a, const void *p);
ASH_MUST_USE bool ash_dma_small_end(struct ash_dma_arena *a, const void *p);
/* Their slabs without a buffer become free frames. */
void ash_dma_small_trim(void);
void ash_dma_small_forget(void);

#endif
