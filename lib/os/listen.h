/* SPDX-License-Identifier: MIT */
/*
 * Listeners: who keeps a table of memory (an IOMMU, a registration cache) hears of it in time, and with no lock held: a
 * listener may allocate, free, register and unregister, and call back in.
 *
 * Memory is told of in ranges. While somebody tells of a range it is "in hand": its owner has marked it, under the lock
 * that guards such marks, and everybody else passes it by. So what is heard of one range is in order, and nobody waits
 * for a listener. Each range has a mask `told`, the listeners that know it, which belongs to whoever has it in hand:
 *
 *      mark it in hand; unlock
 *      do { tell; lock; settled = everybody knows; if not: unlock } while (not settled)
 *      write the mask back, unmark; unlock
 *
 * A listener that joins goes through all that nobody has in hand; of the rest it hears from those who have, since they
 * do not let go before everybody knows. A range that comes is in hand before it can be used. A range that goes is asked
 * about first (any listener may refuse), and the listeners that had been asked are told that it stays, or, when it has
 * gone, that it is gone. So each hears, for each range, the kernel's two phases (before, after) and nothing twice.
 *
 * A listener that leaves is told that what it knows is gone, in the same way, and leave() returns when it knows nothing
 * any more: then no call of it runs or will. Inside a listener nobody is waited for, since the call that would be
 * waited for may be the caller's own: there leave() returns at once, and the rest is heard from those who have it in
 * hand.
 *
 * Memory that comes because of what a listener does in its own call is told to it when that call returns; else the call
 * for it could bring more memory, and so on for ever.
 */
#ifndef ASH_OS_LISTEN_H
#define ASH_OS_LISTEN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lock.h"

enum { ASH_LISTENERS_MAX = 32 };

enum ash_listen_event {
	ASH_LISTEN_COMES,   /* may be refused */
	ASH_LISTEN_LEAVING, /* may be refused */
	ASH_LISTEN_STAYS,
	ASH_LISTEN_GONE     /* still readable */
};

/* The lists there are: a thread's place in each is its own. */
enum ash_listen_list { ASH_LISTEN_DMA, ASH_LISTEN_LISTS };

/* A listener's function, as a type of its own to each list. */
typedef void ash_listen_fn(void);

struct ash_listener {
	ash_listen_fn *fn;
	void *arg;
	uint64_t pages;  /* that it knows, or is being told of; the entry is its own until there are none */
	uint32_t ends;   /* listeners that this entry has had */
	bool joining;    /* its join() has not returned: it may refuse what there is */
	bool refused;
};

struct ash_listeners {
	/* (c) Call fn as what it is. */
	int (*call)(ash_listen_fn *fn, enum ash_listen_event event, void *va, size_t bytes, void *arg);
	/*
	 * (c) Have everybody know of every range that is not in hand (or know no more of it, who has left). true: a
	 *     range that
	 * is in use, and in hand, is not known to one of those in the mask.
	 */
	bool (*introduce)(uint32_t mask);
	enum ash_listen_list list;      /* (c) */
	struct ash_lock lock;           /* what follows; for a few instructions, inside all others */
	struct ash_listener of[ASH_LISTENERS_MAX];
	uint32_t used;                  /* one bit each: entries that are somebody's */
	_Atomic uint32_t active;        /* of these, those that have not left; also read without the lock */
	_Atomic uint32_t changes;       /* what there is to wait for has happened so often; wraps */
};

/* 0; -EBUSY: it refused what there is; -ENOSPC. */
ASH_MUST_USE int ash_listen_join(struct ash_listeners *ls, ash_listen_fn *fn, void *arg);
/* 0; -ENOENT: no such pair. */
ASH_MUST_USE int ash_listen_leave(struct ash_listeners *ls, ash_listen_fn *fn, void *arg);
/* The calling thread is inside a listener. */
bool ash_listen_inside(const struct ash_listeners *ls);

/*
 * A range is in hand. Tell those of it who should know and do not, and those who do and have left. fresh: it is not in
 * use yet, and whoever refuses ends it: those that had been told hear that it is gone, and nobody knows it. -EBUSY:
 * that.
 */
int ash_listen_tell(struct ash_listeners *ls, void *va, size_t bytes, uint32_t *told, bool fresh);
/* Under the lock of ranges: whether the mask is as it should be, and the range can be let go. */
ASH_MUST_USE bool ash_listen_settled(const struct ash_listeners *ls, uint32_t told);
/* A range is in hand that may go: ask those who know. -EBUSY: one of them refused; those asked know that it stays. */
ASH_MUST_USE int ash_listen_ask(struct ash_listeners *ls, void *va, size_t bytes, uint32_t told);
/* It could not go after all, though all agreed. */
void ash_listen_stays(struct ash_listeners *ls, void *va, size_t bytes, uint32_t told);
/* It goes: nobody knows it any more. */
void ash_listen_gone(struct ash_listeners *ls, void *va, size_t bytes, uint32_t *told);

/* After a range was let go, or has gone, and no lock is held. */
void ash_listen_let_go(struct ash_listeners *ls);
/* Wait until something has been let go since changes was read. Not inside a listener. */
void ash_listen_wait(struct ash_listeners *ls, uint32_t changes);

/* The child of a fork: nobody listens any more. */
void ash_listen_forget(struct ash_listeners *ls);

#endif
