/* SPDX-License-Identifier: MIT */
/* The slow halves of the lock word: spin for a while, then wait through the embedder. */
#include "base/lock.h"

#include <stddef.h>

/* Well past a bounded hold: a holder that was preempted counts as stuck. */
enum { MAY_WAIT_SPINS = 40 * ASH_LOCK_SPINS };

void ash_lock_slow(struct ash_lock *l, const struct ash_lock_ops *ops)
{
	for (unsigned spins = 0; ops == NULL || spins < ASH_LOCK_SPINS; spins++) {
		ash_cpu_relax();
		if (!ash_lock_is_held(l) && ash_lock_try(l))
			return;
	}
	/* From here the word says CONTENDED while we hold or wait, so that the holder's release wakes somebody. */
	while (atomic_exchange_explicit(&l->word, ASH_LOCK_CONTENDED, memory_order_acquire) != ASH_LOCK_FREE)
		ops->wait(&l->word, ASH_LOCK_CONTENDED);
}

void ash_lock_wake_slow(struct ash_lock *l, const struct ash_lock_ops *ops)
{
	if (ops != NULL)
		ops->wake(&l->word);
}

bool ash_lock_may_wait(struct ash_lock *l, const struct ash_lock_ops *ops)
{
	for (unsigned spins = 0; spins < MAY_WAIT_SPINS; spins++) {
		if (!ash_lock_is_held(l) && ash_lock_try(l)) {
			ash_unlock(l, ops);
			return true;
		}
		ash_cpu_relax();
	}
	return false;
}
