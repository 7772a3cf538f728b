/* SPDX-License-Identifier: MIT */
/* What a child has of heaps that another thread was at work on while it was made. */
#include "harness/test.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "borrow_no_more.h"
#include "fake_arena.h"
#include "heap/fast.h"
#include "nothing_left.h"

enum { ORPHANS = 3, SIZE = 2048, SLABS = 4 };

static struct orphan {
	struct ash_heap *heap;
	unsigned nr;
	void *object[SLABS * 256];
	pthread_t thread;
} orphan[ORPHANS];
static pthread_barrier_t all_have;

/* Slabs of which parts can be given back: full, but for one object in 32. */
static void *leave_partly_used(void *arg)
{
	struct orphan *o = arg;

	borrow_no_more();
	o->heap = ash_heap_self;
	o->nr = SLABS * ash_classes[ash_class_of(SIZE)].capacity;
	EXPECT(o->nr <= sizeof(o->object) / sizeof(o->object[0]));
	for (unsigned i = 0; i < o->nr; i++)
		o->object[i] = ash_heap_malloc(SIZE);
	(void)pthread_barrier_wait(&all_have);
	for (unsigned i = 0; i < o->nr; i++)
		if (i % 32 != 0)
			ash_heap_free(o->object[i]);
	ash_heap_thread_exit();
	return arg;
}

static _Atomic bool trimming, forked;

/* In the midst of the first orphan's trim: until a fork has been, or waits for us. */
static void meet_a_fork(void)
{
	if (atomic_exchange(&trimming, true))
		return;
	while (!forked && atomic_load(&ash_heaps.trim.word) != ASH_LOCK_CONTENDED)
		(void)sched_yield();
}

static void *trim(void *arg)
{
	(void)ash_heap_trim();
	return arg;
}

/* In the child: all can be had again, the objects of each can be freed, and nothing is left of them. */
static int without_loss(void)
{
	for (unsigned i = 0; i < ORPHANS; i++) {
		if (atomic_load(&orphan[i].heap->state) != ASH_HEAP_ORPHAN)
			return 1;
		for (unsigned n = 0; n < orphan[i].nr; n += 32)
			ash_heap_free(orphan[i].object[n]);
	}
	(void)ash_heap_trim();
	return ash_heaps.nr_orphans == ORPHANS && fake_arena_used_frames() == 0 && fake_arena_faults() == 0 ? 0 : 2;
}

TEST(a_child_has_the_orphans_that_another_thread_was_trimming)
{
	pthread_t t;
	pid_t pid;
	int status;

	/* A heap of its own: it adopts none. */
	ash_heap_free(ash_heap_malloc(SIZE));
	EXPECT_EQ(pthread_barrier_init(&all_have, NULL, ORPHANS), 0);
	for (unsigned i = 0; i < ORPHANS; i++)
		EXPECT_EQ(pthread_create(&orphan[i].thread, NULL, leave_partly_used, &orphan[i]), 0);
	for (unsigned i = 0; i < ORPHANS; i++)
		EXPECT_EQ(pthread_join(orphan[i].thread, NULL), 0);
	fake_arena_before_discard(meet_a_fork);
	EXPECT_EQ(pthread_create(&t, NULL, trim, NULL), 0);
	while (!trimming)
		(void)sched_yield();
	ash_heap_fork_prepare();
	pid = fork();
	if (pid == 0) {
		ash_heap_fork_child();
		_exit(without_loss());
	}
	forked = true;
	ash_heap_fork_parent();
	EXPECT_EQ(pthread_join(t, NULL), 0);
	fake_arena_before_discard(NULL);
	EXPECT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
	for (unsigned i = 0; i < ORPHANS; i++)
		for (unsigned n = 0; n < orphan[i].nr; n += 32)
			ash_heap_free(orphan[i].object[n]);
	expect_nothing_left();
}
