/* SPDX-License-Identifier: MIT */
/* Checks of debug pools; see pool_debug.h. */
#include "dma/pool_debug.h"

#include <errno.h>
#include <string.h>

#include "os/log.h"
#include "os/text.h"
#include "os/vmem.h"

enum { REDZONE = 64, FREE = 0x6b, BEHIND = 0xbb };

static bool watched(const struct ash_dma_pool *pool)
{
	return (pool->flags & ASH_DMA_POOL_DEBUG) != 0;
}

static ASH_COLD void broken(const struct ash_dma_pool *pool, const char *what, const void *p)
{
	char line[160];
	struct ash_text t;

	ash_text_init(&t, line, sizeof(line));
	ash_text_str(&t, "dma pool ");
	ash_text_str(&t, pool->name);
	ash_text_str(&t, ": ");
	ash_text_str(&t, what);
	ash_text_str(&t, ": 0x");
	ash_text_hex(&t, (uintptr_t)p);
	ash_log(line);
	__builtin_trap();
}

size_t ash_dma_debug_extra(const struct ash_dma_pool *pool)
{
	return watched(pool) ? REDZONE : 0;
}

static size_t table_bytes(const struct ash_dma_pool *pool)
{
	return ash_align_up(pool->per_slab, ASH_PAGE_SIZE);
}

int ash_dma_debug_slab(struct ash_dma_pool *pool, char *start, size_t n)
{
	void *table;

	if (!watched(pool))
		return 0;
	if (ash_vmem_map(table_bytes(pool), &table) < 0)
		return -ENOMEM;
	pool->slabs[pool->nr_slabs].out = table;
	for (size_t i = 0; i < n; i++) {
		memset(start + i * pool->stride, FREE, pool->object);
		memset(start + i * pool->stride + pool->object, BEHIND, pool->stride - pool->object);
	}
	return 0;
}

void ash_dma_debug_slab_end(const struct ash_dma_pool *pool, struct ash_dma_slab *slab)
{
	if (slab->out != NULL)
		(void)ash_vmem_unmap(slab->out, table_bytes(pool));
}

/* The state of the object at p; NULL: there is none. */
static uint8_t *state_of(struct ash_dma_pool *pool, const char *p)
{
	for (unsigned i = 0; i < pool->nr_slabs; i++) {
		const size_t offset = (size_t)(p - pool->slabs[i].start);

		if (p >= pool->slabs[i].start && offset < pool->per_slab * pool->stride)
			return offset % pool->stride == 0 ? &pool->slabs[i].out[offset / pool->stride] : NULL;
	}
	return NULL;
}

static bool is_filled(const char *p, size_t n, int with)
{
	while (n > 0 && (unsigned char)*p == with) {
		p++;
		n--;
	}
	return n == 0;
}

void ash_dma_debug_get(struct ash_dma_pool *pool, char *p)
{
	if (!watched(pool))
		return;
	if (!is_filled(p, pool->object, FREE))
		broken(pool, "an object was written while it was free", p);
	ash_lock(&pool->lock, &ash_futex_ops);
	*state_of(pool, p) = 1;
	ash_unlock(&pool->lock, &ash_futex_ops);
}

void ash_dma_debug_put(struct ash_dma_pool *pool, char *p)
{
	uint8_t *state, was = 0;

	if (!watched(pool))
		return;
	ash_lock(&pool->lock, &ash_futex_ops);
	state = state_of(pool, p);
	if (state != NULL) {
		was = *state;
		*state = 0;
	}
	ash_unlock(&pool->lock, &ash_futex_ops);
	if (state == NULL)
		broken(pool, "put of what is no object of the pool", p);
	if (was == 0)
		broken(pool, "put of an object that is free", p);
	if (!is_filled(p + pool->object, pool->stride - pool->object, BEHIND))
		broken(pool, "something wrote behind an object", p);
	memset(p, FREE, pool->object);
}
