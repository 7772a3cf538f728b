/* SPDX-License-Identifier: MIT */
/* What the arenas for devices hold, in one structure. */
#include <errno.h>
#include <string.h>

#include "dma/pool.h"
#include "page/stat.h"

void ash_dma_count(enum ash_dma_level level, size_t frames, int change)
{
	const uint64_t one = (uint64_t)1 << ASH_DMA_COUNT_SHIFT | frames;

	atomic_fetch_add_explicit(&ash_dma.count[ash_dma_thread % ASH_DMA_COUNT_PARTS].level[level],
				  change > 0 ? one : -one, memory_order_relaxed);
}

enum ash_dma_level ash_dma_level_of(const void *p, size_t bytes)
{
	size_t len = bytes;
	const uint64_t phys = ash_dma_translate(p, &len);

	if (len == bytes)
		return ASH_DMA_PHYSICAL;
	return phys != ASH_DMA_UNKNOWN ? ASH_DMA_SEGMENTS : ASH_DMA_VIRTUAL;
}

static int add_run(const struct ash_dma_run *run, void *arg)
{
	struct ash_dma_stats *s = arg;

	if (run->pages != ASH_DMA_PAGES_BASE && run->len > s->longest_run_bytes)
		s->longest_run_bytes = run->len;
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

static uint64_t now(const _Atomic uint64_t *figure)
{
	return atomic_load_explicit(figure, memory_order_relaxed);
}

static void add_buffers(struct ash_dma_stats *s)
{
	for (unsigned level = 0; level < ASH_DMA_LEVELS; level++) {
		uint64_t sum = 0;

		for (unsigned i = 0; i < ASH_DMA_COUNT_PARTS; i++)
			sum += now(&ash_dma.count[i].level[level]);
		s->buffers[level] = sum >> ASH_DMA_COUNT_SHIFT;
		s->buffer_bytes[level] = (sum & (((uint64_t)1 << ASH_DMA_COUNT_SHIFT) - 1)) << ASH_PAGE_SHIFT;
	}
}

static void add_figures(struct ash_dma_stats *s)
{
	const struct ash_dma_figures *f = &ash_dma.figures;

	for (unsigned i = 0; i < ASH_ARRAY_LEN(s->backed_bytes); i++) {
		s->backed_bytes[i] = now(&f->backed[i]);
		s->memory_bytes += s->backed_bytes[i];
	}
	s->pinned_bytes = now(&f->pinned);
	s->known_bytes = now(&f->known);
	s->reserves = (uint32_t)now(&f->reserves);
	s->reserved_bytes = now(&f->reserved);
	s->reserved_free_bytes = s->reserved_bytes - ash_min(s->reserved_bytes, now(&f->reserved_out));
	s->registered_bytes = now(&f->registered);
	s->pools = now(&f->pools);
	s->pool_bytes = now(&f->pool_bytes);
	s->objects = now(&f->objects);
	s->object_bytes = now(&f->object_bytes);
	s->iova_bytes = now(&f->iova);
	for (unsigned i = 0; i < ASH_ARRAY_LEN(s->refused); i++) {
		s->refused[i] = now(&f->refused[i]);
		s->failures += s->refused[i];
	}
}

ASH_BUILD_ASSERT(ASH_ARRAY_LEN(((struct ash_dma_stats *)0)->refused) == ASH_DMA_REASONS &&
			 ASH_ARRAY_LEN(((struct ash_dma_stats *)0)->buffers) == ASH_DMA_LEVELS, "a place for each");

int ash_dma_stats_read(struct ash_dma_stats *out)
{
	struct ash_dma_stats s = { 0 };

	if (out->size < sizeof(out->size))
		return -EINVAL;
	s.size = (uint32_t)ash_min(out->size, sizeof(s));
	if (atomic_load_explicit(&ash_dma.ready, memory_order_acquire)) {
		add_arenas(&s);
		add_buffers(&s);
		add_figures(&s);
		(void)ash_dma_walk_runs_locked(add_run, &s);
	}
	memcpy(out, &s, s.size);
	return 0;
}
