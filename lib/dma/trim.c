/* SPDX-License-Identifier: MIT */
/*
 * Giving memory back: pages on which there is no buffer leave the zone, are unmapped, and then let go by their pin.
 *
 * Pages that one pin holds go together, or each is pinned for itself first: a pin cannot be cut, and without it those
 * that stay could be moved.
 */
#include "dma/pages.h"
#include "dma/pool.h"
#include "os/vmem.h"
#include "page/migrate.h"
#include "page/offline.h"

/* The calling thread is in ash_dma_trim(). */
ASH_TLS bool trimming;

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
		if (next->pin != s->pin || next->kept || next->hand != s->hand || next->told != s->told ||
		    atomic_load_explicit(&next->len, memory_order_relaxed) == 0)
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

/* Each page under a pin gets a pin of its own, before that one lets go. false: there are none left. Growth turn. */
static bool split_pin(struct ash_dma_arena *a, uint16_t pin)
{
	for (ash_pfn_t pfn = a->low; pfn < a->high; pfn += ASH_DMA_SLOT_FRAMES) {
		struct ash_dma_slot *s = &a->slots[pfn >> ASH_DMA_SLOT_ORDER];
		unsigned own;

		if (s->pin != pin || atomic_load_explicit(&s->len, memory_order_relaxed) == 0)
			continue;
		own = ash_dma_pin(ash_dma_address(a, pfn), ASH_DMA_SLOT_BYTES);
		if (own == ASH_DMA_NO_PIN)
			return false;
		s->pin = (uint16_t)own;
		(void)ash_dma_unpin(pin);
	}
	return true;
}

/* Nothing under a pin is in use, wherever in the arena it lies. Growth turn. */
static bool all_free(const struct ash_dma_arena *a, uint16_t pin)
{
	uint32_t nr = 0;

	for (ash_pfn_t pfn = a->low; pfn < a->high; pfn += ASH_DMA_SLOT_FRAMES) {
		const struct ash_dma_slot *s = &a->slots[pfn >> ASH_DMA_SLOT_ORDER];

		if (s->pin != pin || atomic_load_explicit(&s->len, memory_order_relaxed) == 0)
			continue;
		if (!is_free(a, pfn, pfn + ASH_DMA_SLOT_FRAMES))
			return false;
		nr++;
	}
	return nr == atomic_load_explicit(&ash_dma.pin_slots[pin], memory_order_relaxed);
}

/* Whether the slot at pfn can go for itself, though it shared a pin with others, which may lie elsewhere. Growth
 * turn. */
static bool parted(struct ash_dma_arena *a, ash_pfn_t pfn)
{
	const struct ash_dma_slot *s = &a->slots[pfn >> ASH_DMA_SLOT_ORDER];

	if (s->pages == ASH_DMA_PAGES_1G || is_whole(a, pfn, pfn + ASH_DMA_SLOT_FRAMES) ||
	    !is_free(a, pfn, pfn + ASH_DMA_SLOT_FRAMES))
		return false;
	/* One after the other; the last takes the pin along. */
	return all_free(a, s->pin) || split_pin(a, s->pin);
}

void ash_dma_drop(struct ash_dma_arena *a, ash_pfn_t first, ash_pfn_t end)
{
	/* Pages are free when their pin lets go, and that after they are unmapped. */
	(void)ash_vmem_reset(ash_dma_address(a, first), (size_t)(end - first) << ASH_PAGE_SHIFT);
	for (ash_pfn_t pfn = first; pfn < end; pfn += ASH_DMA_SLOT_FRAMES)
		(void)ash_dma_unpin(a->slots[pfn >> ASH_DMA_SLOT_ORDER].pin);
	ash_dma_slots_clear(a, first, end);
}

/* A group that nobody else has in hand, on which there is no buffer, taken in hand: [*first, *pfn). false: none.
 * Turn. */
static bool next_free(struct ash_dma_arena *a, ash_pfn_t *pfn, ash_pfn_t *first)
{
	for (*first = *pfn = ash_max(*pfn, a->low); *pfn < a->high; *first = *pfn) {
		const struct ash_dma_slot *s = &a->slots[*pfn >> ASH_DMA_SLOT_ORDER];

		*pfn = *first + ASH_DMA_SLOT_FRAMES;
		if (atomic_load_explicit(&s->len, memory_order_relaxed) == 0 || s->kept || s->hand != ASH_DMA_NO_HAND)
			continue;
		*pfn = group_end(a, *first, a->high);
		if (!is_whole(a, *first, *pfn) || !is_free(a, *first, *pfn)) {
			*pfn = *first + ASH_DMA_SLOT_FRAMES;
			if (!parted(a, *first))
				continue;
		}
		ash_dma_slots_hold(a, *first, *pfn, ASH_DMA_IN_HAND);
		return true;
	}
	return false;
}

/* What is in hand goes, or stays. Returns the frames given back. */
static ash_pfn_t give_back(struct ash_dma_arena *a, ash_pfn_t pfn, ash_pfn_t end, uint32_t told)
{
	const ash_pfn_t nr = end - pfn;
	const size_t bytes = (size_t)nr << ASH_PAGE_SHIFT;
	void *va = ash_dma_address(a, pfn);
	bool zeroed;
	int err = ash_listen_ask(&ash_dma_listeners, va, bytes, told);

	if (err == 0) {
		ash_dma_take_turn(a);
		err = ash_zone_offline(a->zone, pfn, nr, &zeroed, NULL);
		ash_dma_objects_settle(a);
		ash_dma_end_turn(a);
		if (err < 0)
			ash_listen_stays(&ash_dma_listeners, va, bytes, told);
	}
	if (err < 0) {
		ash_dma_event_settle(a, pfn, end, told);
		return 0;
	}
	atomic_fetch_sub_explicit(&a->online, nr, memory_order_relaxed);
	ash_listen_gone(&ash_dma_listeners, va, bytes, &told);
	ash_dma_take_turn(a);
	ash_dma_drop(a, pfn, end);
	ash_dma_end_turn(a);
	ash_listen_let_go(&ash_dma_listeners);
	return nr;
}

static size_t trim_arena(struct ash_dma_arena *a)
{
	ash_pfn_t pfn = 0, first;
	size_t frames = 0;
	bool found = true;

	ash_zone_drain(a->zone);
	while (found) {
		uint32_t told = 0;

		ash_dma_take_turn(a);
		found = next_free(a, &pfn, &first);
		if (found)
			told = a->slots[first >> ASH_DMA_SLOT_ORDER].told;
		ash_dma_end_turn(a);
		frames += found ? give_back(a, first, pfn, told) : 0;
	}
	return frames << ASH_PAGE_SHIFT;
}

size_t ash_dma_trim(void)
{
	size_t bytes = 0;

	/* A trim that led here goes on when the listener returns. */
	if (trimming)
		return 0;
	trimming = true;
	ash_dma_small_trim();
	for (unsigned i = 0; i < ASH_DMA_ARENAS_MAX; i++) {
		struct ash_dma_arena *a = ash_dma_arena_peek(i);

		if (a != NULL)
			bytes += trim_arena(a);
	}
	trimming = false;
	return bytes;
}
