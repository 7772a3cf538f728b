/* SPDX-License-Identifier: MIT */
/*
 * Many threads that hop over many nodes: what stays behind in caches has a bound. The nodes are a fake kernel's, and
 * which of them a thread runs on is what the test says.
 */
#include "heap/held.h"
#include "heap/shared_kernel.h"

#include <pthread.h>

enum { THREADS = 16, NODES = 32, HOPS = 200, LIVE = 200 };

static pthread_barrier_t barrier;

static void start(void)
{
	topology_on((1ull << NODES) - 1);
	topology_start(test_config());
	ash_sys_hook = &ops;
	EXPECT_EQ(pthread_barrier_init(&barrier, NULL, THREADS + 1), 0);
}

static unsigned next(unsigned *seed)
{
	*seed = *seed * 1103515245 + 12345;
	return *seed >> 16;
}

/* Of each hop, memory of many sizes from the node, most of it freed there and some of it on the next nodes. */
static void hop(unsigned seed)
{
	void *live[LIVE] = { NULL };

	for (unsigned i = 0; i < HOPS; i++) {
		running_on = next(&seed) % NODES;
		for (unsigned k = 0; k < LIVE * 4; k++) {
			void **p = &live[next(&seed) % LIVE];

			ash_heap_free(*p);
			*p = ash_heap_malloc(1 + next(&seed) % (k % 16 == 0 ? 200000 : 2000));
		}
	}
	for (unsigned k = 0; k < LIVE; k++)
		ash_heap_free(live[k]);
}

/* arg: where the thread ends; NULL: where its hops took it, and there it fills its caches. */
static void *hopper(void *arg)
{
	static _Atomic unsigned seeds;

	hop(atomic_fetch_add(&seeds, 1) * 7919 + 1);
	if (arg != NULL)
		running_on = *(unsigned *)arg;
	/* A thread finds that it has moved when it wants more than its bins hold. */
	for (unsigned i = 0; i < 40; i++)
		ash_heap_free(ash_heap_malloc(300000));
	ash_heap_free(ash_heap_malloc(100));
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	return NULL;
}

static void run(pthread_t threads[THREADS], void *arg)
{
	for (unsigned i = 0; i < THREADS; i++)
		EXPECT_EQ(pthread_create(&threads[i], NULL, hopper, arg), 0);
	pthread_barrier_wait(&barrier);
}

static void end(pthread_t threads[THREADS])
{
	pthread_barrier_wait(&barrier);
	for (unsigned i = 0; i < THREADS; i++)
		EXPECT_EQ(pthread_join(threads[i], NULL), 0);
}

/* Live threads' heaps, which hold what they hold: so the account sees what is there. */
static size_t held_by_threads(void)
{
	size_t bytes = 0;

	for (uint32_t owner = 1; owner <= ash_heaps.nr; owner++) {
		const struct ash_heap *h = ash_heaps.table[owner];

		if (atomic_load(&h->state) == ASH_HEAP_ACTIVE)
			bytes += heap_held(h);
	}
	return bytes;
}

CHILD_TEST(threads_that_left_a_node_hold_nothing_there)
{
	pthread_t threads[THREADS];
	unsigned last = 0, heaps = 0;

	start();
	run(threads, &last);
	for (unsigned node = 0; node < NODES; node++) {
		const struct held held = orphans_held(node);

		EXPECT_LE(held.heaps, THREADS);
		EXPECT_EQ(held.bytes, 0);
		heaps += held.heaps;
	}
	printf("# %u heaps on %u nodes\n", heaps, NODES);
	EXPECT_GE(heaps, NODES - 1);
	/* The account is not blind. */
	EXPECT_GT(held_by_threads(), 0);
	end(threads);
	check_zones();
}

CHILD_TEST(threads_that_ended_on_many_nodes_leave_a_bounded_cache)
{
	pthread_t threads[THREADS];
	size_t before, bytes = 0;

	start();
	run(threads, NULL);
	before = held_by_threads();
	end(threads);
	for (unsigned node = 0; node < NODES; node++) {
		const struct held held = orphans_held(node);

		EXPECT_LE(held.heaps, THREADS);
		EXPECT_LE(held.most, (size_t)ASH_ORPHAN_BIN_BYTES * ASH_NR_CLASSES);
		bytes += held.bytes;
	}
	printf("# %zu KiB held by threads, %zu KiB left behind\n", before >> 10, bytes >> 10);
	EXPECT_LE(bytes, before);
	(void)ash_heap_trim();
	for (unsigned node = 0; node < NODES; node++)
		EXPECT_EQ(orphans_held(node).bytes, 0);
	check_zones();
}

/* A cache that is kept would not pass for one that is empty. */
CHILD_TEST(a_cache_that_is_not_left_is_seen)
{
	void *live[LIVE];

	start();
	running_on = 3;
	for (unsigned i = 0; i < LIVE; i++)
		live[i] = ash_heap_malloc(64);
	for (unsigned i = 0; i < LIVE; i++)
		ash_heap_free(live[i]);
	EXPECT_GT(heap_held(ash_heap_self), LIVE * 64 / 2);
	running_on = 5;
	live[0] = ash_heap_malloc(300000);
	EXPECT_EQ(orphans_held(3).heaps, 1);
	EXPECT_EQ(orphans_held(3).bytes, 0);
}
