/* SPDX-License-Identifier: MIT */
/* The process around the heap: boot, fork, end. */
#include "api/process.h"

#include <pthread.h>
#include <signal.h>

#include "arena/arena.h"
#include "base/compiler.h"
#include "ctl/ctl.h"

/* The first allocation of the process arrives here, whoever makes it and however early. */
int (*ash_heap_boot)(void) = ash_ctl_boot;

/*
 * Locks are taken from the top layer down, and given back from the bottom up. Meanwhile this thread runs no signal
 * handler: one that forks or allocates would wait for its own thread. (A child may well signal its parent before the
 * parent has come out of fork.)
 */
static sigset_t mask_before_fork; /* written and read with the heap's lock held */

static void fork_prepare(void)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ash_heap_fork_prepare();
	ash_arena_fork_prepare();
	mask_before_fork = before;
}

static void fork_parent(void)
{
	const sigset_t before = mask_before_fork;

	ash_arena_fork_parent();
	ash_heap_fork_parent();
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void fork_child(void)
{
	const sigset_t before = mask_before_fork;

	ash_arena_fork_child();
	ash_heap_fork_child();
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/*
 * Allocation works before this has run; only fork in a program with threads needs it. Handlers registered before ours
 * would run while we hold our locks, and may allocate: therefore the preloaded object is linked with -z initfirst, which
 * makes this the first constructor of the process.
 */
static ASH_CONSTRUCTOR void process_start(void)
{
	ash_heap_set_foreign_ops(&ash_process_foreign);
	/* Fails only where there is no memory for the list of handlers: then fork is what it was without us. */
	(void)pthread_atfork(fork_prepare, fork_parent, fork_child);
}

/* Allocation works after this, too. */
static ASH_DESTRUCTOR void process_end(void)
{
	ash_ctl_exit();
}
