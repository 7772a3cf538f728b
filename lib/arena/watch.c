/* SPDX-License-Identifier: MIT */
/*
 * Who remembers what lies behind addresses (registration caches) is asked before an arena lets go of the memory behind
 * some of its own, and told afterwards.
 *
 * What asks is trimming, and no lock but the contig turn is held over the question: the pageblocks are out of reach of
 * everybody meanwhile, and fork, which would find them so, waits for the turn. Everything else that takes memory from
 * behind addresses, from inside malloc or under other locks, is not done while somebody watches: decay, and the
 * exchange of frames.
 */
#include "arena/internal.h"

static _Atomic(const struct ash_arena_watcher *) watcher;

void ash_arena_set_watcher(const struct ash_arena_watcher *w)
{
	/* So that nothing is in the middle of what it does unwatched. */
	ash_lock(&ash_arenas.contig, &ash_futex_ops);
	ash_arenas_take_turns();
	atomic_store_explicit(&watcher, w, memory_order_release);
	ash_arenas_end_turns();
	ash_unlock(&ash_arenas.contig, &ash_futex_ops);
}

void ash_arena_fork_watcher(const struct ash_arena_watcher *w)
{
	atomic_store_explicit(&watcher, w, memory_order_relaxed);
}

ASH_EARLY bool ash_arena_is_watched(void)
{
	return atomic_load_explicit(&watcher, memory_order_acquire) != NULL;
}

bool ash_arena_ask(struct ash_arena *a, void *addr, size_t bytes)
{
	const struct ash_arena_watcher *w = atomic_load_explicit(&watcher, memory_order_acquire);
	bool going;

	if (ASH_LIKELY(w == NULL))
		return true;
	ash_arena_end_turn(a);
	going = w->going(addr, bytes);
	ash_arena_take_turn(a);
	return going;
}

void ash_arena_tell(struct ash_arena *a, void *addr, size_t bytes, bool gone)
{
	const struct ash_arena_watcher *w = atomic_load_explicit(&watcher, memory_order_acquire);

	if (ASH_LIKELY(w == NULL))
		return;
	ash_arena_end_turn(a);
	w->gone(addr, bytes, gone);
	ash_arena_take_turn(a);
}

bool ash_arena_empties(void *addr, size_t bytes)
{
	const struct ash_arena_watcher *w = atomic_load_explicit(&watcher, memory_order_acquire);

	if (ASH_LIKELY(w == NULL))
		return true;
	if (!w->going(addr, bytes))
		return false;
	w->gone(addr, bytes, true);
	return true;
}
