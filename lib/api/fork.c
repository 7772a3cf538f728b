/* SPDX-License-Identifier: MIT */
/*
 * fork: what is held over it.
 *
 * Locks are taken from the top layer down, and given back from the bottom up. Meanwhile this thread runs no signal
 * handler: one that forks or allocates would wait for its own thread. (A child may well signal its parent before the
 * parent has come out of fork.)
 *
 * The only thread of a process may fork in a signal handler that interrupted its own malloc: it holds whatever locks
 * are held, and in the child, too, it goes on from there. So it takes none, except to copy hugetlb memory, where arena
 * sees for itself. In a process with threads, fork in such a handler may wait for ever, as it may with glibc's malloc.
 */
#include "api/fork.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/single_threaded.h>

#include "arena/arena.h"
#include "ctl/ctl.h"
#include "heap/heap.h"
#include "map/map.h"
#include "os/thread.h"

/* Written and read with the locks held, or by the only thread. */
static struct {
	sigset_t mask; /* of the forking thread, before */
	bool alone;    /* it was the only one: holds no locks of layers above arena */
	bool arenas;   /* arena was prepared */
	bool faults;   /* faults are being caught */
} now;

/*
 * glibc's fork takes stdio's list lock after our handlers, and resets it in the child. Another thread in fflush(NULL)
 * holds it and waits for a stream whose reader waits for us: so it is taken first. It is recursive. (Other C libraries
 * have no such functions.)
 */
extern ASH_WEAK void _IO_list_lock(void);
extern ASH_WEAK void _IO_list_unlock(void);
extern ASH_WEAK void _IO_list_resetlock(void);

void ash_fork_prepare(void)
{
	sigset_t all, before;
	bool alone;

	/* libc leaves out those that it uses itself. */
	memset(&all, 0xff, sizeof(all));
	pthread_sigmask(SIG_SETMASK, &all, &before);
	alone = __libc_single_threaded;
	if (!alone) {
		if (_IO_list_lock != NULL)
			_IO_list_lock();
		ash_arena_fork_hold_contig();
		ash_ctl_fork_prepare();
		ash_thread_fork_prepare();
		ash_heap_fork_prepare();
		ash_object_fork_prepare();
	}
	now.alone = alone;
	now.mask = before;
	now.arenas = !alone || ash_arena_fork_copies();
	if (now.arenas)
		ash_arena_fork_prepare(alone);
	now.faults = now.arenas && ash_arena_fork_copied();
	if (now.faults)
		ash_fork_fault_begin();
}

/* The last of it: the signals that were waiting come now. */
static void settle(const sigset_t *mask, bool faults)
{
	pthread_sigmask(SIG_SETMASK, mask, NULL);
	if (faults)
		ash_fork_fault_settle();
}

void ash_fork_parent(void)
{
	const sigset_t mask = now.mask;
	const bool alone = now.alone, faults = now.faults;

	if (faults)
		ash_fork_fault_end();
	if (now.arenas)
		ash_arena_fork_parent();
	if (!alone) {
		ash_object_fork_done();
		ash_heap_fork_parent();
		ash_thread_fork_done();
		ash_ctl_fork_done();
		ash_arena_fork_release_contig();
		if (_IO_list_unlock != NULL)
			_IO_list_unlock();
	}
	settle(&mask, faults);
}

void ash_fork_child(void)
{
	const sigset_t mask = now.mask;
	const bool faults = now.faults;

	if (now.arenas)
		ash_arena_fork_child();
	if (faults)
		ash_fork_fault_end();
	if (!now.alone) {
		ash_object_fork_done();
		ash_map_events_fork_child();
		ash_heap_fork_child();
		ash_thread_fork_done();
		ash_ctl_fork_done();
		ash_arena_fork_release_contig();
		if (_IO_list_resetlock != NULL)
			_IO_list_resetlock();
	}
	ash_heap_sweep_anew();
	settle(&mask, faults);
}
