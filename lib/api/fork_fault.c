/* SPDX-License-Identifier: MIT */
/*
 * A child that needs its memory before the handlers of fork have given it back.
 *
 * Where the parent has hugetlb memory, the child is born with holes in its place, and beside them the copies that
 * belong there (arena/fork.c). Our handler in the child fills the holes; but glibc's fork, in a process with threads,
 * does work of its own before it: it resets the locks of all open streams, and their FILEs are in memory from malloc.
 * So over the fork SIGSEGV comes to us. In the child the first one fills the holes, and the instruction that met one is
 * done again.
 *
 * Who else can get here? In the parent, any thread that truly crashes within the window, and in the child the same for
 * the second time: the program's own action is then carried out as if ours were not there. Ours has the mask and the
 * flags of the program's, so that a handler finds itself called as the kernel would have called it; the default action
 * is put back and the instruction done again. A SIGSEGV that somebody sent to the forking thread waits until the window
 * is closed, like all signals, since its handler may allocate.
 *
 * A thread that sets the action for SIGSEGV while another forks wins: then ours is gone, and stays gone. A thread that
 * asks for the action meanwhile sees ours, and may keep it as what to call next; called outside the window it calls on.
 *
 * The handler runs where no thread-local memory can be had, until the holes are filled: first the rescue, then all
 * else. A child whose stack lies in a hole (a coroutine's, say) gets an alternate one.
 */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>

#include "api/fork.h"
#include "arena/arena.h"
#include "os/signal.h"
#include "os/vmem.h"

/* Room for a signal frame with all of today's vector registers, several times. */
#define STACK_BYTES 65536

/* Written with the locks of fork held, or by the only thread. */
static struct {
	struct sigaction before; /* the program's */
	stack_t stack_before;
	void *stack;             /* the alternate stack, where it is ours */
	volatile bool open;      /* between begin and end */
	volatile bool sent;      /* a SIGSEGV from somebody waits for the end */
	pthread_t thread;        /* that forks */
} window;

static bool is_handler(const struct sigaction *action)
{
	return (action->sa_flags & SA_SIGINFO) != 0 ||
	       (action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN);
}

static void set_default(void)
{
	struct sigaction action;

	memset(&action, 0, sizeof(action));
	action.sa_handler = SIG_DFL;
	(void)sigaction(SIGSEGV, &action, NULL);
}

/* What would have become of the signal without us. */
static ASH_NOINLINE void hand_on(int number, siginfo_t *info, void *context)
{
	const struct sigaction before = window.before;
	const bool sent = info->si_code <= 0;

	if (!is_handler(&before)) {
		/* A fault cannot be ignored, and comes again; what was sent does not. */
		if (sent && before.sa_handler == SIG_IGN)
			return;
		set_default();
		if (sent)
			ash_signal_raise(number);
		return;
	}
	if ((before.sa_flags & SA_RESETHAND) != 0)
		set_default();
	if ((before.sa_flags & SA_SIGINFO) != 0)
		before.sa_sigaction(number, info, context);
	else
		before.sa_handler(number);
}

static void on_fault(int number, siginfo_t *info, void *context)
{
	const bool rescued = ash_arena_fork_rescue();

	if (info->si_code > 0) {
		if (!rescued)
			hand_on(number, info, context);
		return;
	}
	if (window.open && pthread_equal(pthread_self(), window.thread))
		window.sent = true;
	else
		hand_on(number, info, context);
}

static bool is_ours(const struct sigaction *action)
{
	return (action->sa_flags & SA_SIGINFO) != 0 && action->sa_sigaction == on_fault;
}

/* Whether the calling thread stands in memory that the child will not have at first. */
static ASH_NOINLINE bool stack_is_lost(void)
{
	return !ash_is_foreign(__builtin_frame_address(0));
}

static void take_stack(void)
{
	stack_t ours = { .ss_size = STACK_BYTES };

	if (!stack_is_lost() || ash_vmem_map(STACK_BYTES, &ours.ss_sp) != 0)
		return;
	/* Refused to a thread that stands on its alternate stack now: then that is foreign memory, or there is no
	 * help. */
	if (sigaltstack(&ours, &window.stack_before) == 0)
		window.stack = ours.ss_sp;
	else
		(void)ash_vmem_unmap(ours.ss_sp, STACK_BYTES);
}

void ash_fork_fault_begin(void)
{
	struct sigaction action;

	window.thread = pthread_self();
	window.sent = false;
	take_stack();
	if (sigaction(SIGSEGV, NULL, &action) != 0)
		return;
	/* Put there by who asked for the action in an earlier window: what is behind it is known. */
	if (!is_ours(&action))
		window.before = action;
	action = (struct sigaction){ .sa_sigaction = on_fault, .sa_mask = window.before.sa_mask };
	action.sa_flags = SA_SIGINFO | (window.before.sa_flags & (SA_ONSTACK | SA_NODEFER | SA_RESTART)) |
			  (window.stack != NULL ? SA_ONSTACK : 0);
	window.open = true;
	if (sigaction(SIGSEGV, &action, NULL) != 0)
		return;
	ash_signal_unblock(SIGSEGV);
}

void ash_fork_fault_end(void)
{
	struct sigaction action;

	/* What is sent from here on finds the program's handler, which may allocate: until the locks have been given
	 * back it waits, as all other signals do. */
	ash_signal_block(SIGSEGV);
	if (sigaction(SIGSEGV, NULL, &action) == 0 && is_ours(&action))
		(void)sigaction(SIGSEGV, &window.before, NULL);
	if (window.stack != NULL) {
		(void)sigaltstack(&window.stack_before, NULL);
		(void)ash_vmem_unmap(window.stack, STACK_BYTES);
		window.stack = NULL;
	}
	window.open = false;
}

void ash_fork_fault_settle(void)
{
	if (!window.sent)
		return;
	window.sent = false;
	ash_signal_raise(SIGSEGV);
}
