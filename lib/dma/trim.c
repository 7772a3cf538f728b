/* SPDX-License-Identifier: MIT */
/*
 * Giving memory back: pages on which there is no buffer leave the zone, are unmapped, and then let go by their pin.
 *
 * Pages that one pin holds go together or not at all: a pin cannot be cut, and without it the others could be moved.
 */
#include "dma/pages.h"
#include "dma/pool.h"
#include "os/vmem.h"
#include "page/migrate.h"
#include "page/offline.h"

/* The slots from pfn on that go together: a huge page, or what one pin holds. */
static ash_pfn_t group_end(const struct ash_dma_arena *a, ash_pfn_t pfn, ash_pfn_t end)
{
	const struct ash_dma_slot *s = &a->slots[pfn >> ASH_DMA_SLOT_ORDER];
	ash_pfn_t at = pfn + ASH_DMA_SLOT_FRAMES;

	if (s->pages == ASH_DMA_PAGES_1G)
		return pfn + ((ash_pfn_t)1 << ASH_MAX_ORDER);
	for (; at < end && s->pin != ASH_DMA_NO_PIN; at += ASH_DMA_SLOT_FRAMES) {
		const struct ash_dma_slot *next = &a->slots[at >> ASH_DMA_SLOT_ORDER];

		/* The pin of a slot without memory is whatever it was. */
		if (next->pin != s->pin || next->kept || atomic_load_explicit(&next->len, memory_order_relaxed) == 0)
			break;
	}
	return at;
}

static bool is_free(const struct ash_dma_arena *a, ash_pfn_t pfn, ash_pfn_t end)
{
	ash_pfn_t head, next;

	for (; pfn < end; pfn = next) {
		if (a->slots[pfn >> ASH_DMA_SLOT_ORDER].kept)
			return false;
		if (ash_word_state(ash_migrate_look(a->zone, pfn, end, &head, &next)) == ASH_FRAME_USED)
			return false;
	}
	return true;
}

static bool is_whole(const struct ash_dma_arena *a, ash_pfn_t pfn, ash_pfn_t end)
{
	const unsigned pin = a->slots[pfn >> ASH_DMA_SLOT_ORDER].pin;
	const uint32_t nr = (end - pfn) >> ASH_DMA_SLOT_ORDER;

	return pin == ASH_DMA_NO_PIN || atomic_load_explicit(&ash_dma.pin_slots[pin], memory_order_relaxed) == nr;
}

void ash_dma_drop(struct ash_dma_arena *a, ash_pfn_t first, ash_pfn_t end)
{
	/* Pages are free when their pin lets go, and that after they are unmapped. */
	(void)ash_vmem_reset(ash_dma_address(a, first), (size_t)(end - first) << ASH_PAGE_SHIFT);
	for (ash_pfn_t pfn = first; pfn < end; pfn += ASH_DMA_SLOT_FRAMES)
		(void)ash_dma_unpin(a->slots[pfn >> ASH_DMA_SLOT_ORDER].pin);
	ash_dma_slots_clear(a, first, end);
}

/* Growth turn. Returns the frames given back. */
static ash_pfn_t give_back(struct ash_dma_arena *a, ash_pfn_t pfn, ash_pfn_t end)
{
	const ash_pfn_t nr = end - pfn;
	const size_t bytes = (size_t)nr << ASH_PAGE_SHIFT;
	void *va = ash_dma_address(a, pfn);
	bool zeroed;

	if (ash_dma_event(ASH_DMA_EVENT_UNMAPPING, va, bytes) < 0)
		return 0;
	if (ash_zone_offline(a->zone, pfn, nr, &zeroed, NULL) < 0) {
		(void)ash_dma_event(ASH_DMA_EVENT_STAYS, va, bytes);
		return 0;
	}
	(void)ash_dma_event(ASH_DMA_EVENT_UNMAPPED, va, bytes);
	ash_dma_drop(a, pfn, end);
	atomic_fetch_sub_explicit(&a->online, nr, memory_order_relaxed);
	return nr;
}

static size_t trim_arena(struct ash_dma_arena *a)
{
	size_t frames = 0;

	ash_zone_drain(a->zone);
	ash_dma_take_turn(a);
	for (ash_pfn_t pfn = a->low, end; pfn < a->high; pfn = end) {
		end = pfn + ASH_DMA_SLOT_FRAMES;
		if (atomic_load_explicit(&a->slots[pfn >> ASH_DMA_SLOT_ORDER].len, memory_order_relaxed) == 0 ||
		    a->slots[pfn >> ASH_DMA_SLOT_ORDER].kept)
			continue;
		end = group_end(a, pfn, a->high);
		if (is_whole(a, pfn, end) && is_free(a, pfn, end))
			frames += give_back(a, pfn, end);
	}
	ash_dma_end_turn(a);
	return frames << ASH_PAGE_SHIFT;
}

size_t ash_dma_trim(void)
{
	size_t bytes = 0;

	ash_dma_small_trim();
	for (unsigned i = 0; i < ASH_DMA_ARENAS_MAX; i++) {
		struct ash_dma_arena *a = ash_dma_arena_peek(i);

		if (a != NULL)
			bytes += trim_arena(a);
	}
	return bytes;
}
