/* SPDX-License-Identifier: MIT */
/*
 * Machines with few and with many processors, of a fake kernel: what a process has of heaps, arenas, locks, memory and
 * system calls does not know how many there are. Threads take turns, so that every count is exact.
 */
#include "heap/shared_kernel.h"
#include "heap/heap_internal.h"

#include <pthread.h>
#include <sys/mman.h>

enum { NODES = 8, MANY = 512, WALKERS = 8, VISITS = MANY };

struct counts {
	unsigned heaps, orphans, arenas, locks, spans;
	size_t online; /* frames */
	uint64_t calls;
};

static unsigned nodes, cpus;
static pthread_mutex_t turn_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static unsigned turn;
static _Atomic unsigned failures; /* in threads */

static void start(void)
{
	topology_on((1ull << nodes) - 1);
	topology_start(test_config());
}

/* Processors in order go round the nodes; each node has as many. */
static void run_on(unsigned visit)
{
	running_on = visit % nodes;
	running_on_cpu = running_on * (cpus / nodes) + visit / nodes % (cpus / nodes);
}

static void work(void)
{
	void *p[8];

	for (unsigned i = 0; i < ASH_ARRAY_LEN(p); i++) {
		p[i] = ash_heap_malloc(16u << (2 * i));
		failures += p[i] == NULL;
	}
	for (unsigned i = 0; i < ASH_ARRAY_LEN(p); i++)
		ash_heap_free(p[i]);
}

/* Threads in a ring: one works, the others wait. */
static void wait_for_turn(unsigned me)
{
	pthread_mutex_lock(&turn_lock);
	while (turn % WALKERS != me)
		pthread_cond_wait(&turned, &turn_lock);
	pthread_mutex_unlock(&turn_lock);
}

static void end_turn(void)
{
	pthread_mutex_lock(&turn_lock);
	turn++;
	pthread_cond_broadcast(&turned);
	pthread_mutex_unlock(&turn_lock);
}

static void *walk(void *arg)
{
	const unsigned me = (unsigned)(uintptr_t)arg;

	for (unsigned visit = 0; visit < VISITS; visit++) {
		wait_for_turn(me);
		run_on(visit + me);
		work();
		end_turn();
	}
	/* The end of a thread is a turn, too, which the next in the ring takes when it has been joined. */
	wait_for_turn(me);
	return NULL;
}

/* One for setting up the arenas, one for all heaps; of each arena, its growth turn and its zone's. */
static struct counts count(void)
{
	struct counts c = { .locks = 2, .heaps = ash_heaps.nr, .spans = ash_registry.nr_spans, .calls = fake.total };
	struct ash_heap_stats heaps;
	struct ash_arena_stats s;

	ash_heap_stats(&heaps);
	c.orphans = (unsigned)heaps.orphans;
	for (unsigned i = 0; i < ash_arena_count(); i++) {
		if (!ash_arena_stats(i, &s))
			continue;
		c.arenas++;
		c.locks += 2;
		c.online += s.online;
	}
	return c;
}

static void print(const char *what, const struct counts *c)
{
	printf("# %s: %u heaps, %u of them without a thread, %u arenas, %u locks, %u spans, "
	       "%zu MiB online, %llu calls\n",
	       what, c->heaps, c->orphans, c->arenas, c->locks, c->spans, c->online >> 8, (unsigned long long)c->calls);
}

static struct counts *walked; /* shared with the child that counts */

static void walkers(void)
{
	pthread_t threads[WALKERS];

	start();
	for (unsigned i = 0; i < WALKERS; i++)
		EXPECT_EQ(pthread_create(&threads[i], NULL, walk, (void *)(uintptr_t)i), 0);
	for (unsigned i = 0; i < WALKERS; i++) {
		EXPECT_EQ(pthread_join(threads[i], NULL), 0);
		end_turn();
	}
	EXPECT_EQ(failures, 0);
	*walked = count();
	check_zones();
}

static struct counts walk_over(unsigned of_nodes, unsigned of_cpus)
{
	walked = mmap(NULL, sizeof(*walked), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	EXPECT(walked != MAP_FAILED);
	nodes = of_nodes;
	cpus = of_cpus;
	child_passes(walkers);
	return *walked;
}

TEST(eight_threads_have_on_512_processors_what_they_have_on_8)
{
	const struct counts few = walk_over(NODES, NODES), many = walk_over(NODES, MANY), one = walk_over(1, MANY);

	print("8 nodes, 8 processors", &few);
	print("8 nodes, 512 processors", &many);
	EXPECT_EQ(many.heaps, few.heaps);
	EXPECT_EQ(many.orphans, few.orphans);
	EXPECT_EQ(many.arenas, few.arenas);
	EXPECT_EQ(many.locks, few.locks);
	EXPECT_EQ(many.spans, few.spans);
	EXPECT_EQ(many.online, few.online);
	EXPECT_EQ(many.calls, few.calls);
	EXPECT_EQ(many.arenas, NODES);
	EXPECT_EQ(many.locks, 2 + 2 * NODES);
	/* A heap for each thread that was on a node at the same time, however often they came and went. */
	EXPECT_LE(many.heaps, NODES * WALKERS);
	/* The counts are not blind to what does matter: the nodes. */
	print("1 node, 512 processors", &one);
	EXPECT_LT(one.arenas, many.arenas);
	EXPECT_LT(one.locks, many.locks);
	EXPECT_LT(one.heaps, many.heaps);
	EXPECT_LT(one.online, many.online);
	EXPECT_LT(one.calls, many.calls);
}

static pthread_barrier_t barrier;

static bool lies_here(const void *p)
{
	struct ash_arena_stats s;

	return p != NULL && ash_arena_stats((unsigned)(ash_frame_index(p) >> ash_registry.span_frame_shift), &s) &&
	       s.node == (int)running_on;
}

/* A thread on each processor, all of them there at the same time; each has memory of its node. */
static void *stay(void *arg)
{
	static const unsigned sizes[] = { 16, 200, 1000, 8000, 70000 };
	void *p[ASH_ARRAY_LEN(sizes)];

	run_on((unsigned)(uintptr_t)arg);
	for (unsigned i = 0; i < ASH_ARRAY_LEN(sizes); i++) {
		p[i] = ash_heap_malloc(sizes[i]);
		failures += !lies_here(p[i]);
	}
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	for (unsigned i = 0; i < ASH_ARRAY_LEN(sizes); i++)
		ash_heap_free(p[i]);
	return NULL;
}

static struct counts all_at_once(void)
{
	static pthread_t threads[MANY];
	pthread_attr_t attr;
	struct counts c;

	EXPECT_EQ(pthread_attr_init(&attr), 0);
	EXPECT_EQ(pthread_attr_setstacksize(&attr, 256 << 10), 0);
	EXPECT_EQ(pthread_barrier_init(&barrier, NULL, MANY + 1), 0);
	for (unsigned i = 0; i < MANY; i++) {
		if (pthread_create(&threads[i], &attr, stay, (void *)(uintptr_t)i) != 0)
			SKIP("no room for 512 threads");
	}
	pthread_barrier_wait(&barrier);
	c = count();
	pthread_barrier_wait(&barrier);
	for (unsigned i = 0; i < MANY; i++)
		EXPECT_EQ(pthread_join(threads[i], NULL), 0);
	EXPECT_EQ(failures, 0);
	return c;
}

CHILD_TEST(a_thread_on_each_of_512_processors_is_a_heap_and_nothing_else)
{
	struct counts first, again;

	nodes = NODES;
	cpus = MANY;
	start();
	ash_sys_hook = &ops;
	first = all_at_once();
	print("512 threads", &first);
	printf("# a heap's structure: %zu bytes\n", sizeof(struct ash_heap));
	EXPECT_EQ(first.heaps, MANY);
	EXPECT_EQ(first.orphans, 0);
	EXPECT_EQ(first.arenas, NODES);
	EXPECT_EQ(first.locks, 2 + 2 * NODES);
	/* Who comes later has the heaps of those who went. */
	again = all_at_once();
	EXPECT_EQ(again.heaps, MANY);
	EXPECT_EQ(again.locks, first.locks);
	check_zones();
}
