/* SPDX-License-Identifier: MIT */
/*
 * Events: who keeps a table of the arenas' memory (an IOMMU, a registration cache) hears of it in time.
 *
 * Listeners are called under a growth turn, so that what they hear is in order; the list changes only with all turns
 * held. A listener can refuse: then the memory does not come, or stays, and those that had been told are told so.
 */
#include <errno.h>
#include <limits.h>

#include "dma/internal.h"

static struct {
	struct {
		ash_dma_event_fn fn;
		void *arg;
	} of[ASH_DMA_LISTENERS_MAX];
	unsigned nr;
} listeners;

/* setup, then every growth turn: nothing comes or goes meanwhile. */
static void take_turns(void)
{
	ash_lock(&ash_dma.setup, &ash_futex_ops);
	for (unsigned i = 0; i < ASH_DMA_ARENAS_MAX; i++) {
		if (ash_dma_arena_peek(i) != NULL)
			ash_dma_take_turn(ash_dma_arena_peek(i));
	}
	ash_dma_foreign_take_turn();
}

static void end_turns(void)
{
	ash_dma_foreign_end_turn();
	for (unsigned i = ASH_DMA_ARENAS_MAX; i-- > 0;) {
		if (ash_dma_arena_peek(i) != NULL)
			ash_dma_end_turn(ash_dma_arena_peek(i));
	}
	ash_unlock(&ash_dma.setup, &ash_futex_ops);
}

int ash_dma_event(enum ash_dma_event event, void *va, size_t bytes)
{
	const bool may_refuse = event == ASH_DMA_EVENT_MAPPED || event == ASH_DMA_EVENT_UNMAPPING;
	const enum ash_dma_event back = event == ASH_DMA_EVENT_MAPPED ? ASH_DMA_EVENT_UNMAPPED : ASH_DMA_EVENT_STAYS;

	for (unsigned i = 0; i < listeners.nr; i++) {
		if (listeners.of[i].fn(event, va, bytes, listeners.of[i].arg) == 0 || !may_refuse)
			continue;
		while (i-- > 0)
			(void)listeners.of[i].fn(back, va, bytes, listeners.of[i].arg);
		return -EBUSY;
	}
	return 0;
}

/* Tell one listener of the first `most` runs and registrations there are. The number it was told of before it refused. */
static unsigned replay(ash_dma_event_fn fn, void *arg, enum ash_dma_event event, unsigned most, bool *refused)
{
	unsigned told = 0, registration = 0;
	size_t bytes;
	void *va;

	*refused = false;
	for (unsigned i = 0; i < ASH_DMA_ARENAS_MAX; i++) {
		const struct ash_dma_arena *a = ash_dma_arena_peek(i);
		ash_pfn_t pfn = a != NULL ? a->low : 0, first, end;

		while (a != NULL && told < most && ash_dma_next_run(a, &pfn, &first, &end)) {
			*refused = fn(event, ash_dma_address(a, first), (size_t)(end - first) << ASH_PAGE_SHIFT, arg) != 0;
			if (*refused && event == ASH_DMA_EVENT_MAPPED)
				return told;
			told++;
		}
	}
	while (told < most && ash_dma_foreign_next(&registration, &va, &bytes)) {
		*refused = fn(event, va, bytes, arg) != 0;
		if (*refused && event == ASH_DMA_EVENT_MAPPED)
			return told;
		told++;
	}
	return told;
}

static int introduce(ash_dma_event_fn fn, void *arg)
{
	bool refused, ignored;
	const unsigned told = replay(fn, arg, ASH_DMA_EVENT_MAPPED, UINT_MAX, &refused);

	if (refused)
		(void)replay(fn, arg, ASH_DMA_EVENT_UNMAPPED, told, &ignored);
	return refused ? -EBUSY : 0;
}

int ash_dma_events_register(ash_dma_event_fn fn, void *arg)
{
	int err = ash_dma_setup();

	if (err < 0)
		return err;
	take_turns();
	if (listeners.nr == ASH_DMA_LISTENERS_MAX)
		err = -ENOSPC;
	else
		err = introduce(fn, arg);
	if (err == 0) {
		listeners.of[listeners.nr].fn = fn;
		listeners.of[listeners.nr++].arg = arg;
	}
	end_turns();
	return err;
}

int ash_dma_events_unregister(ash_dma_event_fn fn, void *arg)
{
	bool ignored;
	unsigned i;

	take_turns();
	for (i = 0; i < listeners.nr && (listeners.of[i].fn != fn || listeners.of[i].arg != arg); i++)
		;
	if (i < listeners.nr) {
		(void)replay(fn, arg, ASH_DMA_EVENT_UNMAPPED, UINT_MAX, &ignored);
		for (listeners.nr--; i < listeners.nr; i++)
			listeners.of[i] = listeners.of[i + 1];
		i = UINT32_MAX;
	}
	end_turns();
	return i == UINT32_MAX ? 0 : -ENOENT;
}

void ash_dma_events_forget(void)
{
	listeners.nr = 0;
}
