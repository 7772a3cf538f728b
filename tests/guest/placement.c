/* SPDX-License-Identifier: MIT */
/*
 * Ordinary memory on a machine with several nodes: every heap allocation lands where its thread runs, whatever its
 * size, whoever had the memory before and wherever the thread came from. Runs on any number of nodes, one included.
 */
#include "guest/nodes.h"

#include <limits.h>

#include "heap/heap.h"
#include "heap/held.h"
#include "os/numa.h"

#define BIG (48ul << 20)
enum { OBJECTS = 4096, OBJECT = 2048 };

/* Sizes up to 5 MiB and the pages they came to lie on. */
static void take_all_sizes(void *arg)
{
	struct pages *count = arg;

	for (size_t size = 8; size <= 5ul << 20; size += size / 4 + 8) {
		for (unsigned i = 0; i < (size < 65536 ? 20 : 2); i++) {
			char *p = ash_heap_malloc(size);

			EXPECT(p != NULL);
			memset(p, 1, size);
			count_pages(count, p, size);
		}
	}
}

CHILD_TEST(topology_is_what_libnuma_says)
{
	uint64_t memory = 0;
	unsigned compared = 0;

	for (int i = 0; i < nr_nodes(); i++)
		memory |= has_memory(i) ? 1ull << i : 0;
	for (int round = 0; round < 2; round++) {
		const struct ash_numa_topology *t = ash_numa_topology();
		int distance[ASH_NODES_MAX];

		EXPECT_STREQ(t->source, round == 0 ? "sysfs" : "libnuma");
		EXPECT_EQ(t->with_memory(), memory);
		for (int i = 0; i < nr_nodes(); i++) {
			t->distances(i, distance);
			for (int j = 0; j < nr_nodes(); j++, compared++)
				EXPECT_EQ(distance[j], numa_distance(i, j));
		}
		EXPECT_EQ(ash_numa_use_libnuma(), 0);
	}
	EXPECT_EQ(compared, 2 * nr_nodes() * nr_nodes());
	EXPECT_EQ(ash_numa_allowed(), memory);
}

/* The kernel nodes of a zonelist's arenas. An arena comes to be when it is used. */
static unsigned zonelist_nodes(int node, int nodes[MAX_NODES])
{
	const struct ash_zonelist *zl = ash_zonelist_for(node);

	for (unsigned i = 0; i < zl->nr; i++) {
		const struct ash_zonelist one = { .nr = 1, .arena = { zl->arena[i] } };
		struct ash_arena_stats s;
		struct ash_run run;

		EXPECT_EQ(ash_run_alloc(&one, 1, 0, ASH_MT_UNMOVABLE, &run), 0);
		EXPECT(ash_arena_stats(zl->arena[i], &s));
		nodes[i] = s.node;
	}
	return zl->nr;
}

static void check_zonelists(void)
{
	struct ash_arena_config config = test_config();

	EXPECT_EQ(ash_arena_init(&config), 0);
	for (int from = 0; from < nr_nodes(); from++) {
		int nodes[MAX_NODES];
		unsigned nr = zonelist_nodes(from, nodes);
		uint64_t seen = 0;

		if (is_there(from))
			EXPECT_EQ(nodes[0], home_of(from));
		for (unsigned i = 0; i < nr; i++) {
			seen |= 1ull << nodes[i];
			if (i > 0 && is_there(from))
				EXPECT_GE(numa_distance(from, nodes[i]), numa_distance(from, nodes[i - 1]));
		}
		EXPECT_EQ(seen, ash_numa_topology()->with_memory());
		EXPECT_EQ(nr, __builtin_popcountll(seen));
	}
}

CHILD_TEST(zonelists_go_by_distance)
{
	check_zonelists();
}

CHILD_TEST(zonelists_go_by_libnumas_distance)
{
	EXPECT_EQ(ash_numa_use_libnuma(), 0);
	check_zonelists();
}

CHILD_TEST(every_size_lands_where_its_thread_runs)
{
	for (int cpu = 0; cpu < numa_num_configured_cpus(); cpu++) {
		struct pages count = { 0 };

		if (numa_node_of_cpu(cpu) < 0)
			continue;
		in_thread_on(cpu, take_all_sizes, &count);
		printf("# CPU %d of node %d: %zu pages\n", cpu, numa_node_of_cpu(cpu), count.total);
		EXPECT_GT(count.total, 10000);
		expect_all_on(&count, home_of(numa_node_of_cpu(cpu)), "of all sizes");
		if (!has_memory(numa_node_of_cpu(cpu)))
			expect_spill(numa_node_of_cpu(cpu), home_of(numa_node_of_cpu(cpu)), ASH_SPILL_MEMORYLESS);
	}
	check_zones();
}

CHILD_TEST(a_heap_of_a_node_lies_there)
{
	unsigned heaps = 0;

	for (int node = 0; node < nr_nodes(); node++, heaps++) {
		struct ash_heap *h = ash_heap_new(node);
		struct pages count = { 0 };

		EXPECT(h != NULL);
		for (size_t size = 16; size <= 4ul << 20; size *= 2) {
			char *p = ash_heap_new_alloc(h, 16, size, false);

			EXPECT(p != NULL);
			memset(p, 1, size);
			count_pages(&count, p, size);
		}
		/* How far away a node is that is not there, nobody knows. */
		expect_all_on(&count, is_there(node) ? home_of(node) : where_most_are(&count),
			      "of a heap made for a node");
		ash_heap_new_destroy(h);
	}
	EXPECT_EQ(heaps, nr_nodes());
}

static char *objects[OBJECTS];

static void take_objects(void *arg)
{
	for (unsigned i = 0; i < OBJECTS; i++) {
		objects[i] = ash_heap_malloc(OBJECT);
		EXPECT(objects[i] != NULL);
		memset(objects[i], 1, OBJECT);
		count_pages(arg, objects[i], OBJECT);
	}
}

static void free_objects(ASH_UNUSED void *arg)
{
	for (unsigned i = 0; i < OBJECTS; i++)
		ash_heap_free(objects[i]);
}

/* The thread that frees does not thereby get far memory, and the one whose memory it was has it back. */
CHILD_TEST(what_another_node_frees_goes_home)
{
	const int here = home_of(0), there = another_node(here);
	uintptr_t low = UINTPTR_MAX, high = 0;
	struct pages mine = { 0 }, theirs = { 0 }, again = { 0 };
	size_t returned = 0;

	if (there < 0)
		SKIP("one node with memory and processors");
	run_on_cpu(cpu_of(here));
	take_objects(&mine);
	expect_all_on(&mine, here, "before");
	for (unsigned i = 0; i < OBJECTS; i++) {
		low = ash_min(low, (uintptr_t)objects[i]);
		high = ash_max(high, (uintptr_t)objects[i]);
	}
	in_thread_on(cpu_of(there), free_objects, NULL);
	in_thread_on(cpu_of(there), take_objects, &theirs);
	expect_all_on(&theirs, there, "of the thread that freed");
	take_objects(&again);
	expect_all_on(&again, here, "after");
	for (unsigned i = 0; i < OBJECTS; i++)
		returned += (uintptr_t)objects[i] >= low && (uintptr_t)objects[i] <= high;
	EXPECT_GT(returned, OBJECTS * 9 / 10);
	check_zones();
}

/* All but a few, which keep their slabs with the heap. */
static void take_and_free(void *arg)
{
	take_objects(arg);
	for (unsigned i = 0; i < OBJECTS; i++) {
		if (i % 16 != 0)
			ash_heap_free(objects[i]);
	}
}

/* A thread that ends leaves a heap behind, with free memory in it; the next thread may run elsewhere. */
CHILD_TEST(a_heap_is_inherited_on_its_own_node_only)
{
	const int here = home_of(0), there = another_node(here);
	struct ash_heap_stats before, after;

	if (there < 0)
		SKIP("one node with memory and processors");
	for (unsigned i = 0; i < 3; i++) {
		struct pages near = { 0 }, far = { 0 };

		in_thread_on(cpu_of(here), take_and_free, &near);
		expect_all_on(&near, here, "of a thread here");
		in_thread_on(cpu_of(there), take_and_free, &far);
		expect_all_on(&far, there, "of a thread there");
		if (i == 0)
			ash_heap_stats(&before);
	}
	/* But on its own node it is: short threads make no new heaps. */
	ash_heap_stats(&after);
	EXPECT_EQ(after.heaps, before.heaps);
	EXPECT_LE(after.slab_bytes, before.slab_bytes * 3 / 2);
}

static void move_and_take(void *arg)
{
	struct pages warm = { 0 }, *count = arg;
	const int there = another_node(home_of(0));

	take_all_sizes(&warm);
	take_and_free(&warm);
	run_on_cpu(cpu_of(there));
	take_all_sizes(count);
}

/* What is in its bins when it moves, a thread may still use up. */
CHILD_TEST(a_thread_that_moves_gets_memory_where_it_is)
{
	const int here = home_of(0), there = another_node(here);
	struct pages count = { 0 };

	if (there < 0)
		SKIP("one node with memory and processors");
	in_thread_on(cpu_of(here), move_and_take, &count);
	printf("# %zu of %zu pages where it moved to\n", count.on[there], count.total);
	EXPECT_GT(count.on[there], count.total * 95 / 100);
	check_zones();
}

enum { HOPPERS = 6, HOPS = 12 };
static pthread_barrier_t hopped;

/* Over all processors in turn, with memory of many sizes from each, some of it freed on the next. Ends on the first. */
static void *hop(void *arg)
{
	const int nr_cpus = numa_num_configured_cpus();
	char *kept[16] = { NULL };

	for (unsigned i = 0; i <= HOPS; i++) {
		const int cpu = i < HOPS ? (int)(i + (uintptr_t)arg) % nr_cpus : cpu_of(home_of(0));
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET((unsigned)cpu, &set);
		(void)sched_setaffinity(0, sizeof(set), &set);
		for (unsigned k = 0; k < 400; k++) {
			ash_heap_free(kept[k % 16]);
			kept[k % 16] = ash_heap_malloc(k % 8 == 0 ? 300000 : 16 + k * 7);
		}
	}
	for (unsigned k = 0; k < 16; k++)
		ash_heap_free(kept[k]);
	pthread_barrier_wait(&hopped);
	pthread_barrier_wait(&hopped);
	return NULL;
}

/* Caches are where threads are: those that have been elsewhere left nothing there. */
CHILD_TEST(threads_that_hop_over_nodes_leave_no_caches_behind)
{
	pthread_t threads[HOPPERS];
	unsigned heaps = 0;

	if (another_node(home_of(0)) < 0)
		SKIP("one node with memory and processors");
	EXPECT_EQ(pthread_barrier_init(&hopped, NULL, HOPPERS + 1), 0);
	for (uintptr_t i = 0; i < HOPPERS; i++)
		EXPECT_EQ(pthread_create(&threads[i], NULL, hop, (void *)i), 0);
	pthread_barrier_wait(&hopped);
	for (unsigned node = 0; node < MAX_NODES; node++) {
		const struct held held = orphans_held(node);

		heaps += held.heaps;
		EXPECT_LE(held.heaps, HOPPERS);
		EXPECT_EQ(held.bytes, 0);
	}
	printf("# %u heaps were left, none with a cache\n", heaps);
	EXPECT_GT(heaps, 0);
	pthread_barrier_wait(&hopped);
	for (unsigned i = 0; i < HOPPERS; i++)
		EXPECT_EQ(pthread_join(threads[i], NULL), 0);
	check_zones();
}

/* More than the node has: the rest lies on the nearest others, and nobody is killed. */
CHILD_TEST(a_full_node_spills_to_the_nearest)
{
	const int there = another_node(home_of(0));
	struct pages count = { 0 };
	size_t taken, nearest = 0;
	int distance = INT_MAX;
	long long left;

	if (there < 0)
		SKIP("one node with memory and processors");
	run_on_cpu(cpu_of(there));
	(void)numa_node_size64(there, &left);
	for (taken = 0; taken < (size_t)left + BIG; taken += 4ul << 20) {
		char *p = ash_heap_malloc(4ul << 20);

		EXPECT(p != NULL);
		memset(p, 1, 4ul << 20);
		count_pages(&count, p, 4ul << 20);
	}
	for (int i = 0; i < nr_nodes(); i++) {
		if (i != there && has_memory(i))
			distance = ash_min(distance, numa_distance(there, i));
	}
	/* Among equally near ones the kernel has its own order. */
	for (int i = 0; i < nr_nodes(); i++) {
		if (i != there && has_memory(i) && numa_distance(there, i) == distance)
			nearest += count.on[i];
	}
	printf("# %zu MiB: %zu MiB there, %zu MiB on the nearest\n", taken >> 20, count.on[there] >> 8, nearest >> 8);
	EXPECT_GT(count.on[there] << 12, (size_t)left / 2);
	EXPECT_GT(nearest << 12, BIG / 2);
	EXPECT_EQ(count.on[there] + nearest, count.total);
}
