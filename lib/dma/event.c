/* SPDX-License-Identifier: MIT */
/*
 * Events: who keeps a table of the arenas' memory (an IOMMU, a registration cache) hears of it in time, with no lock
 * held. How is os/listen.h's; here are the ranges: slots of an arena that came together, or lie in one run, and
 * registrations.
 */
#include <errno.h>

#include "dma/internal.h"

static int call(ash_listen_fn *fn, enum ash_listen_event event, void *va, size_t bytes, void *arg)
{
	return ((ash_dma_event_fn)fn)((enum ash_dma_event)event, va, bytes, arg);
}

ASH_BUILD_ASSERT((int)ASH_DMA_EVENT_MAPPED == (int)ASH_LISTEN_COMES &&
			 (int)ASH_DMA_EVENT_UNMAPPING == (int)ASH_LISTEN_LEAVING &&
			 (int)ASH_DMA_EVENT_STAYS == (int)ASH_LISTEN_STAYS &&
			 (int)ASH_DMA_EVENT_UNMAPPED == (int)ASH_LISTEN_GONE, "one event, two names");

static size_t bytes_of(ash_pfn_t first, ash_pfn_t end)
{
	return (size_t)(end - first) << ASH_PAGE_SHIFT;
}

int ash_dma_event_come(struct ash_dma_arena *a, ash_pfn_t first, ash_pfn_t end, uint32_t *told)
{
	*told = 0;
	for (;;) {
		const int err = ash_listen_tell(&ash_dma_listeners, ash_dma_address(a, first), bytes_of(first, end),
						told, true);

		if (err < 0)
			return err;
		ash_dma_take_turn(a);
		if (ash_listen_settled(&ash_dma_listeners, *told))
			return 0;
		ash_dma_end_turn(a);
	}
}

void ash_dma_event_settle(struct ash_dma_arena *a, ash_pfn_t first, ash_pfn_t end, uint32_t told)
{
	bool settled = false;

	while (!settled) {
		(void)ash_listen_tell(&ash_dma_listeners, ash_dma_address(a, first), bytes_of(first, end), &told,
				      false);
		ash_dma_take_turn(a);
		settled = ash_listen_settled(&ash_dma_listeners, told);
		if (settled)
			ash_dma_slots_let_go(a, first, end, told);
		ash_dma_end_turn(a);
	}
	ash_listen_let_go(&ash_dma_listeners);
}

int ash_dma_event_wait(struct ash_lock *turn)
{
	/* Before the turn ends: what is let go then is not missed. */
	const uint32_t changes = atomic_load_explicit(&ash_dma_listeners.changes, memory_order_acquire);

	ash_unlock(turn, &ash_futex_ops);
	if (ash_listen_inside(&ash_dma_listeners))
		return -EBUSY;
	ash_listen_wait(&ash_dma_listeners, changes);
	return 0;
}

static struct ash_dma_slot *slot_at(const struct ash_dma_arena *a, ash_pfn_t pfn)
{
	return &a->slots[pfn >> ASH_DMA_SLOT_ORDER];
}

/*
 * The next slots of one run, or of one shared buffer, from *pfn on, that nobody has in hand and somebody should hear
 * of: [*first, *pfn). false: there are none. *left: some that are in hand and in use are not known to those in the
 * mask. Growth turn.
 */
static bool next_unsettled(const struct ash_dma_arena *a, ash_pfn_t *pfn, ash_pfn_t *first, uint32_t mask, bool *left)
{
	ash_pfn_t run_end = 0, run_first;
	uint32_t told = 0;
	bool found = false;

	for (; *pfn < a->high; *pfn += ASH_DMA_SLOT_FRAMES) {
		const struct ash_dma_slot *s = slot_at(a, *pfn);
		const bool there = atomic_load_explicit(&s->len, memory_order_relaxed) != 0;

		if (found &&
		    (!there || (*pfn >= run_end && !s->follows) || s->hand != ASH_DMA_NO_HAND || s->told != told))
			return true;
		if (found || !there)
			continue;
		if (s->hand == ASH_DMA_IN_HAND && (s->told & mask) != mask)
			*left = true;
		if (s->hand != ASH_DMA_NO_HAND || ash_listen_settled(&ash_dma_listeners, s->told))
			continue;
		run_end = *pfn;
		found = ash_dma_next_run(a, &run_end, &run_first, &run_end);
		*first = *pfn;
		told = s->told;
	}
	return found;
}

static bool introduce_arena(struct ash_dma_arena *a, uint32_t mask)
{
	ash_pfn_t pfn = 0, first = 0;
	bool left = false, found = true;

	while (found) {
		uint32_t told = 0;

		ash_dma_take_turn(a);
		pfn = pfn < a->low ? a->low : pfn;
		found = next_unsettled(a, &pfn, &first, mask, &left);
		if (found) {
			told = slot_at(a, first)->told;
			ash_dma_slots_hold(a, first, pfn, ASH_DMA_IN_HAND);
		}
		ash_dma_end_turn(a);
		if (found)
			ash_dma_event_settle(a, first, pfn, told);
	}
	return left;
}

static bool introduce(uint32_t mask)
{
	bool left = false;

	for (unsigned i = 0; i < ASH_DMA_ARENAS_MAX; i++) {
		struct ash_dma_arena *a = ash_dma_arena_peek(i);

		left = (a != NULL && introduce_arena(a, mask)) || left;
	}
	return ash_dma_foreign_introduce(mask) || left;
}

struct ash_listeners ash_dma_listeners = { .call = call, .introduce = introduce, .list = ASH_LISTEN_DMA };

int ash_dma_events_register(ash_dma_event_fn fn, void *arg)
{
	const int err = fn == NULL ? -EINVAL : ash_dma_setup();

	return err < 0 ? err : ash_listen_join(&ash_dma_listeners, (ash_listen_fn *)fn, arg);
}

int ash_dma_events_unregister(ash_dma_event_fn fn, void *arg)
{
	return ash_listen_leave(&ash_dma_listeners, (ash_listen_fn *)fn, arg);
}
