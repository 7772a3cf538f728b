/* SPDX-License-Identifier: MIT */
/*
 * The lock word: a three-state mutex (free, held, held with waiters) whose waiting is the embedder's.
 *
 * The states and transitions are those of Drepper, "Futexes are tricky" (mutex 2). With ops == NULL a waiter spins
 * with the CPU's relax hint, which is right for bare metal and for tests; a hosted embedder passes futex wait and
 * wake, because a preempted holder would otherwise stall every waiter for a scheduling period.
 *
 * Ordering: acquisition is an acquire, release is a release; everything written under the lock is visible to the next
 * holder. Not recursive. Not fair. Async-signal safety: only ash_lock_try.
 */
#ifndef ASH_BASE_LOCK_H
#define ASH_BASE_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

enum { ASH_LOCK_FREE = 0, ASH_LOCK_HELD = 1, ASH_LOCK_CONTENDED = 2 };

struct ash_lock {
	_Atomic uint32_t word;
};

struct ash_lock_ops {
	/* Sleep while *word == value; spurious returns are fine. */
	void (*wait)(_Atomic uint32_t *word, uint32_t value);
	/* Wake one sleeper. */
	void (*wake)(_Atomic uint32_t *word);
};

#define ASH_LOCK_INIT { ASH_LOCK_FREE }

/* Spins this often before it sleeps: about as long as the longest bounded hold (a few microseconds). */
#define ASH_LOCK_SPINS 100

ASH_INLINE bool ash_lock_try(struct ash_lock *l)
{
	uint32_t expected = ASH_LOCK_FREE;

	return atomic_compare_exchange_strong_explicit(&l->word, &expected, ASH_LOCK_HELD, memory_order_acquire,
						       memory_order_relaxed);
}

void ash_lock_slow(struct ash_lock *l, const struct ash_lock_ops *ops);
void ash_lock_wake_slow(struct ash_lock *l, const struct ash_lock_ops *ops);

ASH_INLINE void ash_lock(struct ash_lock *l, const struct ash_lock_ops *ops)
{
	if (ASH_UNLIKELY(!ash_lock_try(l)))
		ash_lock_slow(l, ops);
}

ASH_INLINE void ash_unlock(struct ash_lock *l, const struct ash_lock_ops *ops)
{
	if (ASH_UNLIKELY(atomic_exchange_explicit(&l->word, ASH_LOCK_FREE, memory_order_release) == ASH_LOCK_CONTENDED))
		ash_lock_wake_slow(l, ops);
}

/*
 * Whether the lock can be had within some microseconds; it is not held afterwards. For what may have interrupted its
 * own thread while that held the lock: true says that it did not, so that waiting for the lock ends.
 */
bool ash_lock_may_wait(struct ash_lock *l, const struct ash_lock_ops *ops);

/* A racy look, for assertions ("caller holds the lock") and statistics only. */
ASH_INLINE bool ash_lock_is_held(const struct ash_lock *l)
{
	return atomic_load_explicit(&l->word, memory_order_relaxed) != ASH_LOCK_FREE;
}

#endif
