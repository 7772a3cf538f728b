/* SPDX-License-Identifier: MIT */
/*
 * Events: who keeps a table of what lies behind addresses hears in time that it goes.
 *
 * No lock is held over a listener. A place in the list is read by whoever tells, and counts them; who takes a listener
 * out waits until it has no users. Both sides write first and then read what the other wrote, in one order for all
 * (sequentially consistent), so that either the teller finds the place empty or the other finds it used.
 */
#include <errno.h>

#include "map/internal.h"
#include "os/sync.h"

enum { LISTENERS = 16 };

struct listener {
	_Atomic(ash_map_event_fn) fn; /* NULL: a free place */
	void *arg;                    /* written while there is no fn */
	_Atomic uint32_t users;       /* tellers at this place */
};

static struct {
	struct ash_lock lock; /* who changes the list */
	unsigned nr;          /* under the lock */
	struct listener *of;  /* [LISTENERS], made under the lock with the first; there where anybody watches */
} events;

static int tell_one(struct listener *l, enum ash_map_event event, void *addr, size_t bytes)
{
	ash_map_event_fn fn;
	int ret;

	atomic_fetch_add(&l->users, 1);
	fn = atomic_load(&l->fn);
	ret = fn != NULL ? fn(event, addr, bytes, l->arg) : 0;
	if (atomic_fetch_sub(&l->users, 1) == 1 && atomic_load(&l->fn) == NULL)
		ash_futex_wake(&l->users);
	return ret;
}

void ash_map_tell(enum ash_map_event event, void *addr, size_t bytes)
{
	for (unsigned i = 0; i < LISTENERS; i++)
		(void)tell_one(&events.of[i], event, addr, bytes);
}

bool ash_map_ask(void *addr, size_t bytes)
{
	for (unsigned i = 0; i < LISTENERS; i++) {
		if (tell_one(&events.of[i], ASH_MAP_EVENT_UNMAPPING, addr, bytes) == 0)
			continue;
		while (i-- > 0)
			(void)tell_one(&events.of[i], ASH_MAP_EVENT_STAYS, addr, bytes);
		return false;
	}
	return true;
}

static void gone(void *addr, size_t bytes, bool is_gone)
{
	ash_map_tell(is_gone ? ASH_MAP_EVENT_UNMAPPED : ASH_MAP_EVENT_STAYS, addr, bytes);
}

static const struct ash_arena_watcher watcher = { .going = ash_map_ask, .gone = gone };

int ash_map_listen(ash_map_event_fn fn, void *arg)
{
	struct listener *l = NULL;
	int err = -ENOSPC;

	ash_lock(&events.lock, &ash_futex_ops);
	if (events.of == NULL)
		events.of = ash_meta_alloc(LISTENERS * sizeof(*events.of));
	if (events.of == NULL)
		err = -ENOMEM;
	for (unsigned i = 0; err != -ENOMEM && i < LISTENERS && l == NULL; i++)
		l = atomic_load(&events.of[i].fn) == NULL ? &events.of[i] : NULL;
	if (l != NULL) {
		err = 0;
		l->arg = arg;
		atomic_store(&l->fn, fn);
		if (events.nr++ == 0)
			ash_arena_set_watcher(&watcher);
	}
	ash_unlock(&events.lock, &ash_futex_ops);
	return err;
}

static void wait_for_users(struct listener *l)
{
	uint32_t users;

	while ((users = atomic_load(&l->users)) != 0)
		ash_futex_wait(&l->users, users);
}

int ash_map_unlisten(ash_map_event_fn fn, void *arg)
{
	struct listener *l = NULL;

	ash_lock(&events.lock, &ash_futex_ops);
	for (unsigned i = 0; events.of != NULL && i < LISTENERS && l == NULL; i++)
		l = atomic_load(&events.of[i].fn) == fn && events.of[i].arg == arg ? &events.of[i] : NULL;
	if (l != NULL) {
		atomic_store(&l->fn, NULL);
		wait_for_users(l);
		if (--events.nr == 0)
			ash_arena_set_watcher(NULL);
	}
	ash_unlock(&events.lock, &ash_futex_ops);
	return l != NULL ? 0 : -ENOENT;
}

void ash_map_events_fork_child(void)
{
	events.lock.word = ASH_LOCK_FREE;
	events.nr = 0;
	for (unsigned i = 0; events.of != NULL && i < LISTENERS; i++) {
		atomic_store(&events.of[i].users, 0);
		events.nr += atomic_load(&events.of[i].fn) != NULL;
	}
	/* Whoever was changing the list may have come no further than that. */
	ash_arena_fork_watcher(events.nr > 0 ? &watcher : NULL);
}
