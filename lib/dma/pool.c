/* SPDX-License-Identifier: MIT */
/* Pools; see pool.h. The checks of debug pools are in pool_debug.c. */
#include "dma/pool.h"

#include <errno.h>
#include <string.h>

#include "dma/pool_debug.h"
#include "os/vmem.h"

#define STACK_RESERVE ASH_MIB(256) /* address space for the stack of a pool without a limit: 32 million objects */
#define SLAB_SMALL ASH_KIB(64)
#define SLAB_LARGE ASH_MIB(2)

ASH_INLINE struct ash_dma_cache *cache_of(const struct ash_dma_pool *pool)
{
	return &pool->caches[ash_dma_thread];
}

/* Written under the pool's lock; who decides whether to grow looks without it. */
static size_t nr_stack(const struct ash_dma_pool *pool)
{
	return atomic_load_explicit(&pool->nr_stack, memory_order_relaxed);
}

static void set_nr_stack(struct ash_dma_pool *pool, size_t n)
{
	atomic_store_explicit(&pool->nr_stack, n, memory_order_relaxed);
}

/* Room on the stack for every object there is: commits as slabs come. Pool lock. */
static int cover_stack(struct ash_dma_pool *pool, size_t objects)
{
	const size_t want = ash_align_up(objects * sizeof(void *), ASH_KIB(64));

	if (objects <= pool->capacity)
		return 0;
	if (want > pool->stack_bytes || ash_vmem_commit(pool->stack, want) < 0)
		return -ENOMEM;
	pool->capacity = want / sizeof(void *);
	return 0;
}

static void tag_slab(const char *start, size_t bytes, uint64_t tag)
{
	const struct ash_dma_arena *a = ash_dma_arena_of(start);
	const ash_pfn_t first = ash_dma_pfn(a, start);

	for (size_t i = 0; i < bytes >> ASH_PAGE_SHIFT; i++)
		atomic_store_explicit(&a->tags[first + i], tag, memory_order_relaxed);
}

static void free_slab(struct ash_dma_slab *slab)
{
	const struct ash_dma_arena *a = ash_dma_arena_of(slab->start);

	/* The pool is the parent's, and its slabs are not here. */
	if (a == NULL)
		return;
	tag_slab(slab->start, slab->bytes, 0);
	ash_dma_figure(&ash_dma.figures.pool_bytes, -(int64_t)slab->bytes);
	ash_zone_free_run(a->zone, ash_dma_pfn(a, slab->start), (ash_pfn_t)(slab->bytes >> ASH_PAGE_SHIFT));
}

/* Enter a slab's objects, highest first, so that they are handed out in the order of addresses. Pool lock. */
static int enter_slab(struct ash_dma_pool *pool, char *start, size_t n)
{
	if (pool->nr_slabs == ASH_DMA_SLABS_MAX || cover_stack(pool, pool->total + n) < 0 ||
	    ash_dma_debug_slab(pool, start, n) < 0)
		return -ENOMEM;
	pool->slabs[pool->nr_slabs].start = start;
	pool->slabs[pool->nr_slabs].bytes = pool->slab_bytes;
	pool->nr_slabs++;
	for (size_t i = 0; i < n; i++)
		pool->stack[nr_stack(pool) + i] = start + (n - 1 - i) * pool->stride;
	set_nr_stack(pool, nr_stack(pool) + n);
	pool->total += n;
	return 0;
}

/* Growth lock. */
static int add_slab(struct ash_dma_pool *pool)
{
	size_t n = pool->per_slab;
	char *start;
	int err;

	if (pool->limit > 0)
		n = ash_min(n, pool->limit - pool->total);
	if (n == 0)
		return -ENOMEM;
	start = ash_dma_alloc_frames(pool->slab_bytes, &pool->attr);
	if (start == NULL)
		return -errno;
	tag_slab(start, pool->slab_bytes, (uintptr_t)pool | ASH_DMA_TAG_POOL);
	ash_dma_figure(&ash_dma.figures.pool_bytes, (int64_t)pool->slab_bytes);
	ash_lock(&pool->lock, &ash_futex_ops);
	err = enter_slab(pool, start, n);
	ash_unlock(&pool->lock, &ash_futex_ops);
	if (err < 0)
		free_slab(&(struct ash_dma_slab){ .start = start, .bytes = pool->slab_bytes });
	return err;
}

/* More objects, unless somebody else has just brought some. */
static int grow(struct ash_dma_pool *pool)
{
	int err = 0;

	ash_lock(&pool->growth, &ash_futex_ops);
	if (nr_stack(pool) == 0)
		err = add_slab(pool);
	ash_unlock(&pool->growth, &ash_futex_ops);
	return err;
}

/* Up to n objects from the stack; how many. */
static size_t pop(struct ash_dma_pool *pool, void **objects, size_t n)
{
	ash_lock(&pool->lock, &ash_futex_ops);
	n = ash_min(n, nr_stack(pool));
	set_nr_stack(pool, nr_stack(pool) - n);
	/* Highest index last, so that a cache hands them out as the stack would have. */
	memcpy(objects, &pool->stack[nr_stack(pool)], n * sizeof(void *));
	ash_unlock(&pool->lock, &ash_futex_ops);
	return n;
}

static void push(struct ash_dma_pool *pool, void *const *objects, size_t n)
{
	ash_lock(&pool->lock, &ash_futex_ops);
	memcpy(&pool->stack[nr_stack(pool)], objects, n * sizeof(void *));
	set_nr_stack(pool, nr_stack(pool) + n);
	ash_unlock(&pool->lock, &ash_futex_ops);
}

static ASH_COLD void *get_slow(struct ash_dma_pool *pool)
{
	struct ash_dma_cache *c;
	void *p;

	if (ash_dma_thread == 0 && pool->cache_max > 0)
		ash_dma_thread_number();
	c = cache_of(pool);
	for (;;) {
		const size_t batch = c == pool->caches ? 0 : pool->cache_max / 2;

		if (batch > 0) {
			/* A number that has just been given may come with its last owner's objects. */
			if (c->nr == 0)
				c->nr = pop(pool, c->object, batch);
			if (c->nr > 0)
				return c->object[--c->nr];
		} else if (pop(pool, &p, 1) == 1) {
			ash_dma_debug_get(pool, p);
			return p;
		}
		if (grow(pool) < 0) {
			errno = ENOMEM;
			return NULL;
		}
	}
}

void *ash_dma_pool_get(struct ash_dma_pool *pool)
{
	struct ash_dma_cache *c = cache_of(pool);

	if (ASH_LIKELY(c->nr > 0))
		return c->object[--c->nr];
	return get_slow(pool);
}

static ASH_COLD void put_slow(struct ash_dma_pool *pool, void *p)
{
	struct ash_dma_cache *c;

	if (ash_dma_thread == 0 && pool->cache_max > 0)
		ash_dma_thread_number();
	c = cache_of(pool);
	if (c == pool->caches || pool->cache_max == 0) {
		ash_dma_debug_put(pool, p);
		push(pool, &p, 1);
		return;
	}
	if (c->nr == pool->cache_max) {
		/* The older half goes; the warm one stays. */
		const size_t n = pool->cache_max / 2;

		push(pool, c->object, n);
		c->nr -= n;
		memmove(c->object, &c->object[n], c->nr * sizeof(void *));
	}
	c->object[c->nr++] = p;
}

void ash_dma_pool_put(struct ash_dma_pool *pool, void *p)
{
	struct ash_dma_cache *c = cache_of(pool);

	/* An empty cache may be nobody's; a full one has to be flushed. */
	if (ASH_LIKELY(c->nr - 1 < pool->cache_max - 1))
		c->object[c->nr++] = p;
	else
		put_slow(pool, p);
}

int ash_dma_pool_get_bulk(struct ash_dma_pool *pool, void **objects, size_t n)
{
	struct ash_dma_cache *c = cache_of(pool);
	const int saved = errno;
	size_t have = 0;

	if (ASH_LIKELY(c->nr >= n)) {
		c->nr -= n;
		memcpy(objects, &c->object[c->nr], n * sizeof(void *));
		return 0;
	}
	while (have < n) {
		void *p = ash_dma_pool_get(pool);

		if (p == NULL) {
			ash_dma_pool_put_bulk(pool, objects, have);
			errno = saved;
			return -ENOMEM;
		}
		objects[have++] = p;
	}
	return 0;
}

void ash_dma_pool_put_bulk(struct ash_dma_pool *pool, void *const *objects, size_t n)
{
	struct ash_dma_cache *c = cache_of(pool);

	if (ASH_LIKELY(c->nr > 0 && c->nr + n <= pool->cache_max)) {
		memcpy(&c->object[c->nr], objects, n * sizeof(void *));
		c->nr += n;
		return;
	}
	for (size_t i = 0; i < n; i++)
		ash_dma_pool_put(pool, objects[i]);
}

/* The thread's own cached objects become the stack's. */
static void flush_own(struct ash_dma_pool *pool)
{
	struct ash_dma_cache *c = cache_of(pool);

	/* That of who has no number is everybody's, and always empty. */
	if (c->nr == 0)
		return;
	push(pool, c->object, c->nr);
	c->nr = 0;
}

/* The slab that an object is in; slabs are sorted by address. */
static struct ash_dma_slab *slab_of(const struct ash_dma_pool *pool, const char *object)
{
	unsigned low = 0, high = pool->nr_slabs;

	while (high - low > 1) {
		const unsigned middle = low + (high - low) / 2;

		if (pool->slabs[middle].start <= object)
			low = middle;
		else
			high = middle;
	}
	return &pool->slabs[low];
}

/* By address; insertion, since it is sorted but for what has come since the last time. Growth lock. */
static void sort_slabs(struct ash_dma_pool *pool)
{
	for (unsigned i = 1; i < pool->nr_slabs; i++) {
		const struct ash_dma_slab slab = pool->slabs[i];
		unsigned at = i;

		for (; at > 0 && pool->slabs[at - 1].start > slab.start; at--)
			pool->slabs[at] = pool->slabs[at - 1];
		pool->slabs[at] = slab;
	}
}

/* Of n free objects, keep those whose slab has others that are not free. Growth lock. */
static size_t keep_busy(struct ash_dma_pool *pool, void **objects, size_t n)
{
	size_t kept = 0;

	for (unsigned i = 0; i < pool->nr_slabs; i++)
		pool->slabs[i].idle = 0;
	for (size_t i = 0; i < n; i++)
		slab_of(pool, objects[i])->idle++;
	for (size_t i = 0; i < n; i++) {
		if (slab_of(pool, objects[i])->idle < pool->per_slab)
			objects[kept++] = objects[i];
	}
	return kept;
}

/* Slabs that keep_busy() found idle leave the table; their frames are free. Growth lock. */
static void end_idle(struct ash_dma_pool *pool)
{
	const unsigned nr = pool->nr_slabs;
	unsigned left = 0;

	for (unsigned i = 0; i < nr; i++) {
		const struct ash_dma_slab slab = pool->slabs[i];

		if (slab.idle < pool->per_slab) {
			pool->slabs[i] = pool->slabs[left];
			pool->slabs[left++] = slab;
		}
	}
	ash_lock(&pool->lock, &ash_futex_ops);
	pool->total -= (nr - left) * pool->per_slab;
	pool->nr_slabs = left;
	ash_unlock(&pool->lock, &ash_futex_ops);
	for (unsigned i = left; i < nr; i++)
		free_slab(&pool->slabs[i]);
}

enum { SHRINK_STEP = 1024 }; /* objects that leave the stack, or come back to it, under one hold of the lock */

void ash_dma_pool_shrink(struct ash_dma_pool *pool)
{
	size_t n = 0, kept, bytes;
	void *memory, **objects;

	flush_own(pool);
	ash_lock(&pool->growth, &ash_futex_ops);
	bytes = ash_align_up(pool->total * sizeof(void *), ASH_PAGE_SIZE);
	if (bytes > 0 && ash_vmem_map(bytes, &memory) == 0) {
		objects = memory;
		/* Out of everybody's reach, they are looked at without the pool's lock: who finds none waits to
		 * grow. */
		for (size_t more = 1; more > 0; n += more)
			more = pop(pool, &objects[n], ash_min(SHRINK_STEP, pool->total - n));
		sort_slabs(pool);
		kept = keep_busy(pool, objects, n);
		end_idle(pool);
		for (size_t i = 0; i < kept; i += SHRINK_STEP)
			push(pool, &objects[i], ash_min(SHRINK_STEP, kept - i));
		(void)ash_vmem_unmap(memory, bytes);
	}
	ash_unlock(&pool->growth, &ash_futex_ops);
}

/* How objects lie in slabs. false: no object can be as it is wanted. */
static bool lay_out(struct ash_dma_pool *pool)
{
	struct ash_dma_attr *attr = &pool->attr;
	const size_t align = attr->align > 0 ? attr->align : 64;

	if (!ash_is_pow2(align) || pool->object == 0 || pool->object > ASH_GIB(1) ||
	    (attr->boundary != 0 && (!ash_is_pow2(attr->boundary) || attr->boundary < pool->object)))
		return false;
	pool->stride = ash_align_up(pool->object + ash_dma_debug_extra(pool), align);
	/* Objects of a power of two, on multiples of it, cross no boundary that one of them could keep to. */
	if (attr->boundary != 0)
		pool->stride = (size_t)1 << ash_log2_ceil(pool->stride);
	pool->slab_bytes = pool->stride <= ASH_KIB(4) && pool->limit == 0 ? SLAB_SMALL : SLAB_LARGE;
	if (pool->limit > 0)
		pool->slab_bytes = ash_min(pool->slab_bytes, ash_align_up(pool->limit * pool->stride, ASH_PAGE_SIZE));
	pool->slab_bytes = ash_max(pool->slab_bytes, ash_align_up(pool->stride, ASH_PAGE_SIZE));
	pool->per_slab = pool->slab_bytes / pool->stride;
	attr->align = ash_max(align, attr->boundary != 0 ? ash_min(pool->stride, ASH_GIB(1)) : 0);
	attr->boundary = 0;
	return true;
}

/* Slabs are frames of the arena's zone, which those of shared buffers and of reserves are not. */
static bool can_be_slabs(const struct ash_dma_attr *attr)
{
	struct ash_dma_attr known = ASH_DMA_ATTR_INIT;

	if (attr->size < offsetof(struct ash_dma_attr, align))
		return false;
	memcpy(&known, attr, ash_min(attr->size, sizeof(known)));
	return (known.flags & ASH_DMA_SHARED) == 0 && known.reserve == NULL;
}

/* The pool's own memory: itself, its table of slabs, its caches, each on a page of its own; and the stack. */
static struct ash_dma_pool *map_pool(size_t limit)
{
	const size_t head = ash_align_up(sizeof(struct ash_dma_pool), ASH_PAGE_SIZE);
	const size_t slabs = ash_align_up(ASH_DMA_SLABS_MAX * sizeof(struct ash_dma_slab), ASH_PAGE_SIZE);
	const size_t caches = ASH_DMA_THREADS * sizeof(struct ash_dma_cache);
	struct ash_dma_pool *pool;
	void *memory, *stack;

	if (ash_vmem_map(head + slabs + caches, &memory) < 0)
		return NULL;
	pool = memory;
	pool->stack_bytes = limit > 0 ? ash_align_up(limit * sizeof(void *), ASH_KIB(64)) : STACK_RESERVE;
	if (ash_vmem_reserve(pool->stack_bytes, true, &stack) < 0) {
		(void)ash_vmem_unmap(memory, head + slabs + caches);
		return NULL;
	}
	pool->stack = stack;
	pool->slabs = (struct ash_dma_slab *)((char *)memory + head);
	pool->caches = (struct ash_dma_cache *)((char *)memory + head + slabs);
	return pool;
}

static void unmap_pool(struct ash_dma_pool *pool)
{
	const size_t bytes = (size_t)((char *)(pool->caches + ASH_DMA_THREADS) - (char *)pool);

	for (unsigned i = 0; i < pool->nr_slabs; i++) {
		ash_dma_debug_slab_end(pool, &pool->slabs[i]);
		free_slab(&pool->slabs[i]);
	}
	(void)ash_vmem_unmap(pool->stack, pool->stack_bytes);
	(void)ash_vmem_unmap(pool, bytes);
}

struct ash_dma_pool *ash_dma_pool_make(const char *name, size_t bytes, size_t limit, unsigned flags,
				       const struct ash_dma_attr *attr)
{
	const struct ash_dma_attr none = ASH_DMA_ATTR_INIT;
	struct ash_dma_pool *pool;
	int err = -EINVAL;

	pool = map_pool(limit);
	if (pool == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	for (unsigned i = 0; name != NULL && name[i] != '\0' && i < ASH_DMA_NAME_MAX - 1; i++)
		pool->name[i] = name[i];
	pool->object = bytes;
	pool->limit = limit;
	pool->flags = flags;
	pool->attr = none;
	if (attr != NULL)
		memcpy(&pool->attr, attr, ash_min(attr->size, sizeof(pool->attr)));
	pool->attr.size = sizeof(pool->attr);
	/* Slabs come in later calls, when the caller's structure may be gone. */
	pool->attr.error = NULL;
	if (pool->attr.policy != NULL) {
		pool->policy = *pool->attr.policy;
		pool->attr.policy = &pool->policy;
	}
	if ((flags & (ASH_DMA_POOL_DEBUG | ASH_DMA_POOL_NO_CACHE)) == 0)
		pool->cache_max = ASH_DMA_CACHE_MAX;
	if (lay_out(pool)) {
		/* What is limited is there from the start: no later get waits for memory. */
		do
			err = add_slab(pool);
		while (err == 0 && pool->total < limit);
	}
	if (err < 0) {
		unmap_pool(pool);
		errno = -err;
		return NULL;
	}
	ash_dma_figure(&ash_dma.figures.pools, 1);
	return pool;
}

struct ash_dma_pool *ash_dma_pool_create(const char *name, size_t bytes, size_t limit, unsigned flags,
					 const struct ash_dma_attr *attr)
{
	if (limit > STACK_RESERVE / sizeof(void *) || (flags & ~(unsigned)ASH_DMA_POOL_FLAGS) != 0 ||
	    (attr != NULL && !can_be_slabs(attr))) {
		errno = EINVAL;
		return NULL;
	}
	return ash_dma_pool_make(name, bytes, limit, flags, attr);
}

/* Free objects, those in caches included. Exact only while nobody uses the pool. */
static size_t count_free(const struct ash_dma_pool *pool)
{
	size_t n = nr_stack(pool);

	for (unsigned i = 0; i < ASH_DMA_THREADS; i++)
		n += pool->caches[i].nr;
	return n;
}

int ash_dma_pool_destroy(struct ash_dma_pool *pool)
{
	bool ours;

	if (pool == NULL)
		return 0;
	/* Objects of a parent's pool are out in the parent, if at all. */
	ours = ash_dma_arena_of(pool->slabs[0].start) != NULL;
	if (ours && count_free(pool) != pool->total)
		return -EBUSY;
	if (ours)
		ash_dma_figure(&ash_dma.figures.pools, -1);
	unmap_pool(pool);
	return 0;
}

int ash_dma_pool_walk(struct ash_dma_pool *pool, int (*fn)(void *object, int out, void *arg), void *arg)
{
	size_t left = pool->total;
	int ret = 0;

	for (unsigned i = 0; i < pool->nr_slabs && ret == 0; i++) {
		const struct ash_dma_slab *slab = &pool->slabs[i];

		for (size_t k = 0; k < pool->per_slab && left > 0 && ret == 0; k++, left--)
			ret = fn(slab->start + k * pool->stride, slab->out != NULL ? slab->out[k] : -1, arg);
	}
	return ret;
}

int ash_dma_pool_info_read(struct ash_dma_pool *pool, struct ash_dma_pool_info *out)
{
	struct ash_dma_pool_info info = { .object_bytes = pool->object, .stride = pool->stride };
	const uint32_t size = (uint32_t)ash_min(out->size, sizeof(info));

	if (size < sizeof(info.size))
		return -EINVAL;
	ash_lock(&pool->lock, &ash_futex_ops);
	info.size = size;
	info.slabs = pool->nr_slabs;
	info.objects = pool->total;
	info.free = count_free(pool);
	info.slab_bytes = pool->nr_slabs * pool->slab_bytes;
	memcpy(info.name, pool->name, sizeof(info.name));
	ash_unlock(&pool->lock, &ash_futex_ops);
	memcpy(out, &info, size);
	return 0;
}
