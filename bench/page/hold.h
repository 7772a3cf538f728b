/* SPDX-License-Identifier: MIT */
/*
 * Included before every file of lib/page when a benchmark is built to time lock holds: the lock is as it is, and each
 * hold of the one that bench_hold_lock points to is recorded, in processor time, so that a holder that is preempted is
 * not taken for one that works long.
 */
#ifndef BENCH_HOLD_H
#define BENCH_HOLD_H

#include "base/lock.h"

extern struct ash_lock *bench_hold_lock;
void bench_hold_begin(void);
void bench_hold_end(void);

static inline bool bench_lock_try(struct ash_lock *l)
{
	const bool taken = ash_lock_try(l);

	if (taken && l == bench_hold_lock)
		bench_hold_begin();
	return taken;
}

static inline void bench_lock(struct ash_lock *l, const struct ash_lock_ops *ops)
{
	ash_lock(l, ops);
	if (l == bench_hold_lock)
		bench_hold_begin();
}

static inline void bench_unlock(struct ash_lock *l, const struct ash_lock_ops *ops)
{
	if (l == bench_hold_lock)
		bench_hold_end();
	ash_unlock(l, ops);
}

/* With arguments, so that the struct keeps its name. */
#define ash_lock_try(l) bench_lock_try(l)
#define ash_lock(l, ops) bench_lock(l, ops)
#define ash_unlock(l, ops) bench_unlock(l, ops)

#endif
