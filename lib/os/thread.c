/* SPDX-License-Identifier: MIT */
/* Thread exit hook on one pthread key; see thread.h. */
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/lock.h"
#include "os/sync.h"
#include "os/thread.h"

static struct {
	struct ash_lock lock;
	_Atomic int ready; /* key is valid; release store, acquire load */
	pthread_key_t key;
	void (*fn)(void);
} hook;

/*
 * The value counts the rounds left: destructors run again while any key is non-NULL, at least
 * _POSIX_THREAD_DESTRUCTOR_ITERATIONS (4) times. Two rounds put us behind everybody else's first destructors. More
 * would forget the thread that arms us from a destructor, in a round that has passed our key already: it still has two
 * to come.
 */
enum { ROUNDS = 2 };
ASH_BUILD_ASSERT(2 * ROUNDS <= _POSIX_THREAD_DESTRUCTOR_ITERATIONS, "armed in any of the first ROUNDS rounds, we come");

static void on_round(void *value)
{
	uintptr_t left = (uintptr_t)value;

	if (left > 1)
		(void)pthread_setspecific(hook.key, (void *)(left - 1));
	else
		hook.fn();
}

static int create_key(void (*fn)(void))
{
	int err = 0;

	ash_lock(&hook.lock, &ash_futex_ops);
	if (!atomic_load_explicit(&hook.ready, memory_order_relaxed)) {
		hook.fn = fn;
		err = pthread_key_create(&hook.key, on_round);
		if (err == 0)
			atomic_store_explicit(&hook.ready, 1, memory_order_release);
	}
	ash_unlock(&hook.lock, &ash_futex_ops);
	return -err;
}

void ash_thread_fork_prepare(void)
{
	ash_lock(&hook.lock, &ash_futex_ops);
}

void ash_thread_fork_done(void)
{
	ash_unlock(&hook.lock, &ash_futex_ops);
}

ASH_EARLY int ash_thread_on_exit(void (*fn)(void))
{
	if (!atomic_load_explicit(&hook.ready, memory_order_acquire)) {
		int err = create_key(fn);

		if (err < 0)
			return err;
	}
	return -pthread_setspecific(hook.key, (void *)(uintptr_t)ROUNDS);
}
