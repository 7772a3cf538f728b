/* SPDX-License-Identifier: MIT */
/* A child of fork whose parent was adding a listener, or taking one out, at that moment. */
#include "arena/child.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "map/internal.h"

static atomic_uint heard;

static int listener(enum ash_map_event event, void *addr, size_t bytes, void *arg)
{
	(void)event, (void)addr, (void)bytes, (void)arg;
	atomic_fetch_add(&heard, 1);
	return 0;
}

static bool hears(void)
{
	const unsigned before = atomic_load(&heard);

	ash_map_tell(ASH_MAP_EVENT_STAYS, NULL, 0);
	return atomic_load(&heard) != before;
}

static void *enter(void *unused)
{
	(void)!ash_map_listen(listener, NULL);
	return unused;
}

static void *leave(void *unused)
{
	(void)!ash_map_unlisten(listener, NULL);
	return unused;
}

static bool is_there;

/* As ash_fork_child() has it. */
static void in_the_child(void)
{
	ash_map_events_fork_child();
	ash_arena_fork_release_contig();
	EXPECT_EQ(ash_arena_is_watched(), is_there);
	EXPECT_EQ(hears(), is_there);
	if (is_there) {
		EXPECT_EQ(ash_map_unlisten(listener, NULL), 0);
		EXPECT(!ash_arena_is_watched());
	}
	EXPECT_EQ(ash_map_listen(listener, NULL), 0);
	EXPECT(ash_arena_is_watched());
}

/* A thread changes the list as far as it comes while this one has the turn that a fork has; then there is a child. */
static void fork_over(void *(*change)(void *), bool then_there)
{
	pthread_t t;
	int status;

	is_there = then_there;
	ash_arena_fork_hold_contig();
	EXPECT_EQ(pthread_create(&t, NULL, change, NULL), 0);
	while (hears() != then_there)
		sched_yield();
	status = child_status(in_the_child);
	ash_arena_fork_release_contig();
	EXPECT_EQ(pthread_join(t, NULL), 0);
	EXPECT_EQ(status, 0);
	EXPECT_EQ(ash_arena_is_watched(), then_there);
}

CHILD_TEST(a_child_hears_of_the_listener_that_was_being_added_and_not_of_one_that_was_leaving)
{
	const struct ash_arena_config config = test_config();

	EXPECT_EQ(ash_arena_init(&config), 0);
	/* The list is made with the first. */
	EXPECT_EQ(ash_map_listen(listener, NULL), 0);
	EXPECT_EQ(ash_map_unlisten(listener, NULL), 0);
	fork_over(enter, true);
	fork_over(leave, false);
}
