/* SPDX-License-Identifier: MIT */
/* What the arenas for devices hold, in one structure. */
#include <errno.h>
#include <string.h>

#include "dma/internal.h"
#include "page/stat.h"

static int add_run(const struct ash_dma_run *run, void *arg)
{
	struct ash_dma_stats *s = arg;

	s->backed_bytes[run->pages - ASH_DMA_PAGES_1G] += run->len;
	s->pinned_bytes += run->pinned == ASH_DMA_PINNED_KERNEL ? run->len : 0;
	s->known_bytes += run->phys != ASH_DMA_UNKNOWN ? run->len : 0;
	s->memory_bytes += run->len;
	if (run->pages != ASH_DMA_PAGES_BASE && run->len > s->longest_run_bytes)
		s->longest_run_bytes = run->len;
	return 0;
}

static int add_reserve(const struct ash_dma_reserve_info *info, void *arg)
{
	struct ash_dma_stats *s = arg;

	s->reserves++;
	s->reserved_bytes += info->bytes;
	s->reserved_free_bytes += info->free;
	return 0;
}

static void add_arenas(struct ash_dma_stats *s)
{
	for (unsigned i = 0; i < ASH_DMA_ARENAS_MAX; i++) {
		const struct ash_dma_arena *a = ash_dma_arena_peek(i);
		struct ash_zone_stats zone;

		if (a == NULL)
			continue;
		ash_zone_stats(a->zone, &zone);
		s->arenas++;
		s->free_bytes += (uint64_t)(zone.free + zone.pcp) << ASH_PAGE_SHIFT;
		s->grows += atomic_load_explicit(&a->growths, memory_order_relaxed);
	}
}

int ash_dma_stats_read(struct ash_dma_stats *out)
{
	struct ash_dma_stats s = { 0 };

	if (out->size < sizeof(out->size))
		return -EINVAL;
	s.size = (uint32_t)ash_min(out->size, sizeof(s));
	if (atomic_load_explicit(&ash_dma.ready, memory_order_acquire)) {
		add_arenas(&s);
		(void)ash_dma_walk_runs_locked(add_run, &s);
		(void)ash_dma_walk_reserves(add_reserve, &s);
		s.registered_bytes = ash_dma_foreign_bytes();
		s.failures = atomic_load_explicit(&ash_dma.failures, memory_order_relaxed);
	}
	memcpy(out, &s, s.size);
	return 0;
}
