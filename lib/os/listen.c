/* SPDX-License-Identifier: MIT */
/* Listeners; see listen.h. */
#include "os/listen.h"

#include <errno.h>

#include "base/bits.h"
#include "os/sync.h"

/* Of the calling thread, by list: the listeners it is inside of, and those of them that are owed a range (see
 * listen.h). */
ASH_TLS uint32_t inside[ASH_LISTEN_LISTS], owed[ASH_LISTEN_LISTS];

enum { PAGE_SHIFT = 12 };

static uint32_t active(const struct ash_listeners *ls)
{
	return atomic_load_explicit(&ls->active, memory_order_relaxed);
}

bool ash_listen_inside(const struct ash_listeners *ls)
{
	return inside[ls->list] != 0;
}

void ash_listen_let_go(struct ash_listeners *ls)
{
	/* What was changed, was under a lock that who waits takes after this. */
	atomic_fetch_add_explicit(&ls->changes, 1, memory_order_release);
	ash_futex_wake_all(&ls->changes);
}

void ash_listen_wait(struct ash_listeners *ls, uint32_t changes)
{
	ash_futex_wait(&ls->changes, changes);
}

/* Under the list's lock: the entry is nobody's once its listener has left and knows nothing. */
static bool end_if_over(struct ash_listeners *ls, unsigned i)
{
	struct ash_listener *l = &ls->of[i];

	if (l->pages != 0 || l->joining || (active(ls) >> i & 1) != 0)
		return false;
	ls->used &= ~(1u << i);
	l->ends++;
	return true;
}

static void forget(struct ash_listeners *ls, unsigned i, size_t bytes)
{
	bool over;

	ash_lock(&ls->lock, &ash_futex_ops);
	ls->of[i].pages -= bytes >> PAGE_SHIFT;
	over = end_if_over(ls, i);
	ash_unlock(&ls->lock, &ash_futex_ops);
	if (over)
		ash_listen_let_go(ls);
}

/* No lock. The entry stays as it is meanwhile: its listener knows, or is being told of, what the call is about. */
static int call(struct ash_listeners *ls, unsigned i, enum ash_listen_event event, void *va, size_t bytes)
{
	const uint32_t bit = 1u << i, outer = inside[ls->list] & bit;
	int ret;

	inside[ls->list] |= bit;
	ret = ls->call(ls->of[i].fn, event, va, bytes, ls->of[i].arg);
	if (outer != 0)
		return ret;
	inside[ls->list] &= ~bit;
	while ((owed[ls->list] & bit) != 0) {
		owed[ls->list] &= ~bit;
		(void)ls->introduce(bit);
	}
	return ret;
}

bool ash_listen_settled(const struct ash_listeners *ls, uint32_t told)
{
	const uint32_t now = active(ls), unaware = now & ~told;

	owed[ls->list] |= unaware & inside[ls->list];
	return (told & ~now) == 0 && (unaware & ~inside[ls->list]) == 0;
}

/* Somebody who should hear that a range comes, or that it is gone; counted as knowing it. false: all is as it should
 * be. */
static bool pick(struct ash_listeners *ls, uint32_t told, size_t bytes, unsigned *i, enum ash_listen_event *event)
{
	uint32_t comes, gone;

	ash_lock(&ls->lock, &ash_futex_ops);
	comes = active(ls) & ~told & ~inside[ls->list];
	gone = told & ~active(ls);
	*event = comes != 0 ? ASH_LISTEN_COMES : ASH_LISTEN_GONE;
	if ((comes | gone) != 0) {
		*i = ash_ctz(comes != 0 ? comes : gone);
		ls->of[*i].pages += comes != 0 ? bytes >> PAGE_SHIFT : 0;
	}
	ash_unlock(&ls->lock, &ash_futex_ops);
	return (comes | gone) != 0;
}

/* A listener does not want memory that is in use: its join() fails. What it does not know when that is over, it is
 * told. */
static bool may_refuse(struct ash_listeners *ls, unsigned i)
{
	bool may;

	ash_lock(&ls->lock, &ash_futex_ops);
	may = ls->of[i].joining;
	if (may) {
		ls->of[i].refused = true;
		atomic_store_explicit(&ls->active, active(ls) & ~(1u << i), memory_order_relaxed);
	}
	ash_unlock(&ls->lock, &ash_futex_ops);
	return may;
}

int ash_listen_tell(struct ash_listeners *ls, void *va, size_t bytes, uint32_t *told, bool fresh)
{
	enum ash_listen_event event;
	unsigned i;

	while (pick(ls, *told, bytes, &i, &event)) {
		const int ret = call(ls, i, event, va, bytes);

		if (event == ASH_LISTEN_GONE) {
			*told &= ~(1u << i);
			forget(ls, i, bytes);
		} else if (ret != 0 && fresh) {
			forget(ls, i, bytes);
			ash_listen_gone(ls, va, bytes, told);
			return -EBUSY;
		} else if (ret != 0 && may_refuse(ls, i)) {
			forget(ls, i, bytes);
		} else {
			*told |= 1u << i;
		}
	}
	return 0;
}

int ash_listen_ask(struct ash_listeners *ls, void *va, size_t bytes, uint32_t told)
{
	uint32_t asked = 0;

	for (uint32_t left = told; left != 0; left &= left - 1) {
		const uint32_t bit = left & -left;

		/* Who has left has no say, and hears in the end what becomes of it. */
		if ((active(ls) & bit) == 0)
			continue;
		if (call(ls, ash_ctz(bit), ASH_LISTEN_LEAVING, va, bytes) != 0) {
			ash_listen_stays(ls, va, bytes, asked);
			return -EBUSY;
		}
		asked |= bit;
	}
	return 0;
}

void ash_listen_stays(struct ash_listeners *ls, void *va, size_t bytes, uint32_t told)
{
	for (; told != 0; told &= told - 1)
		(void)call(ls, ash_ctz(told), ASH_LISTEN_STAYS, va, bytes);
}

void ash_listen_gone(struct ash_listeners *ls, void *va, size_t bytes, uint32_t *told)
{
	for (; *told != 0; *told &= *told - 1) {
		const unsigned i = ash_ctz(*told);

		(void)call(ls, i, ASH_LISTEN_GONE, va, bytes);
		forget(ls, i, bytes);
	}
}

/* An entry for a listener, which hears of everything that comes from now on. ASH_LISTENERS_MAX: there is none. */
static unsigned enter(struct ash_listeners *ls, ash_listen_fn *fn, void *arg)
{
	unsigned i = ASH_LISTENERS_MAX;

	ash_lock(&ls->lock, &ash_futex_ops);
	if (ls->used != UINT32_MAX) {
		i = ash_ctz(~ls->used);
		ls->used |= 1u << i;
		ls->of[i] = (struct ash_listener){ .fn = fn, .arg = arg, .ends = ls->of[i].ends, .joining = true };
		atomic_store_explicit(&ls->active, active(ls) | 1u << i, memory_order_relaxed);
	}
	ash_unlock(&ls->lock, &ash_futex_ops);
	return i;
}

/* An entry's listener is no longer active: it is told so, and, unless the caller is inside a listener, has been. */
static void see_off(struct ash_listeners *ls, unsigned i, uint32_t ends)
{
	bool over;

	(void)ls->introduce(0);
	do {
		const uint32_t changes = atomic_load_explicit(&ls->changes, memory_order_acquire);

		ash_lock(&ls->lock, &ash_futex_ops);
		over = ls->of[i].ends != ends;
		ash_unlock(&ls->lock, &ash_futex_ops);
		if (!over && !ash_listen_inside(ls))
			ash_listen_wait(ls, changes);
	} while (!over && !ash_listen_inside(ls));
}

int ash_listen_join(struct ash_listeners *ls, ash_listen_fn *fn, void *arg)
{
	const unsigned i = enter(ls, fn, arg);
	bool refused, over, waits = true;
	uint32_t ends;

	if (i == ASH_LISTENERS_MAX)
		return -ENOSPC;
	while (waits) {
		const uint32_t changes = atomic_load_explicit(&ls->changes, memory_order_acquire);

		waits = ls->introduce(1u << i) && !ash_listen_inside(ls) && (active(ls) >> i & 1) != 0;
		if (waits)
			ash_listen_wait(ls, changes);
	}
	ash_lock(&ls->lock, &ash_futex_ops);
	ls->of[i].joining = false;
	refused = ls->of[i].refused;
	ends = ls->of[i].ends;
	over = end_if_over(ls, i);
	ash_unlock(&ls->lock, &ash_futex_ops);
	if (over)
		ash_listen_let_go(ls);
	if (refused)
		see_off(ls, i, ends);
	return refused ? -EBUSY : 0;
}

int ash_listen_leave(struct ash_listeners *ls, ash_listen_fn *fn, void *arg)
{
	uint32_t ends = 0;
	unsigned i = 0;

	ash_lock(&ls->lock, &ash_futex_ops);
	while (i < ASH_LISTENERS_MAX &&
	       ((active(ls) >> i & 1) == 0 || ls->of[i].fn != fn || ls->of[i].arg != arg))
		i++;
	if (i < ASH_LISTENERS_MAX) {
		ends = ls->of[i].ends;
		atomic_store_explicit(&ls->active, active(ls) & ~(1u << i), memory_order_relaxed);
		(void)end_if_over(ls, i);
	}
	ash_unlock(&ls->lock, &ash_futex_ops);
	if (i == ASH_LISTENERS_MAX)
		return -ENOENT;
	see_off(ls, i, ends);
	return 0;
}

void ash_listen_forget(struct ash_listeners *ls)
{
	ls->lock = (struct ash_lock)ASH_LOCK_INIT;
	ls->used = 0;
	atomic_store_explicit(&ls->active, 0, memory_order_relaxed);
	inside[ls->list] = owed[ls->list] = 0;
}
