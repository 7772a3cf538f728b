/* SPDX-License-Identifier: MIT */
/* The process around the heap: boot, fork, end. */
#include "api/process.h"

#include <pthread.h>
#include <signal.h>
#include <sys/single_threaded.h>

#include "arena/arena.h"
#include "base/compiler.h"
#include "ctl/ctl.h"

/* The first allocation of the process arrives here, whoever makes it and however early. */
int (*ash_heap_boot)(void) = ash_ctl_boot;
const struct ash_foreign_ops *const ash_heap_foreign = &ash_process_foreign;

/*
 * Locks are taken from the top layer down, and given back from the bottom up. Meanwhile this thread runs no signal
 * handler: one that forks or allocates would wait for its own thread. (A child may well signal its parent before the
 * parent has come out of fork.)
 */
static sigset_t mask_before_fork; /* written and read with the heap's lock held, or by the only thread */

/*
 * The only thread of a process may fork in a signal handler that interrupted its own malloc: it holds whatever locks are
 * held, and in the child, too, it goes on from there. So it takes none.
 */
static bool fork_alone;

/*
 * glibc's fork takes stdio's list lock after our handlers, and resets it in the child. Another thread in fflush(NULL)
 * holds it and waits for a stream whose reader waits for us: so it is taken first. It is recursive. (Other C libraries
 * have no such functions.)
 */
extern ASH_WEAK void _IO_list_lock(void);
extern ASH_WEAK void _IO_list_unlock(void);
extern ASH_WEAK void _IO_list_resetlock(void);

static void fork_prepare(void)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	fork_alone = __libc_single_threaded && !ash_arena_fork_copies();
	if (fork_alone) {
		mask_before_fork = before;
		return;
	}
	if (_IO_list_lock != NULL)
		_IO_list_lock();
	ash_heap_fork_prepare();
	ash_arena_fork_prepare();
	mask_before_fork = before;
}

static void fork_parent(void)
{
	const sigset_t before = mask_before_fork;

	if (!fork_alone) {
		ash_arena_fork_parent();
		ash_heap_fork_parent();
		if (_IO_list_unlock != NULL)
			_IO_list_unlock();
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void fork_child(void)
{
	const sigset_t before = mask_before_fork;

	if (!fork_alone) {
		ash_arena_fork_child();
		ash_heap_fork_child();
		if (_IO_list_resetlock != NULL)
			_IO_list_resetlock();
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/*
 * glibc's pthread_atfork() is this call, in an archive that the linker would put at the far end of the object, on a page
 * that nothing else at start needs.
 */
#ifdef __GLIBC__
extern int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), const void *dso);
extern const void *const __dso_handle ASH_HIDDEN;
#define register_atfork(prepare, parent, child) __register_atfork(prepare, parent, child, __dso_handle)
#else
#define register_atfork(prepare, parent, child) pthread_atfork(prepare, parent, child)
#endif

/*
 * Allocation works before this has run; only fork in a program with threads needs it. Handlers registered before ours
 * would run while we hold our locks, and may allocate: therefore the preloaded object is linked with -z initfirst, which
 * makes this the first constructor of the process.
 */
static ASH_CONSTRUCTOR void process_start(void)
{
	/* Fails only where there is no memory for the list of handlers: then fork is what it was without us. */
	(void)register_atfork(fork_prepare, fork_parent, fork_child);
}

/* Allocation works after this, too. */
static ASH_DESTRUCTOR void process_end(void)
{
	ash_ctl_exit();
}
