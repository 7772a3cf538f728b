/* SPDX-License-Identifier: MIT */
/*
 * A heap on a machine with several nodes obeys what was decided about the process: its memory policy, its cpuset, what
 * its pools hold. Needs a pool of 2 MiB pages on each node with memory, and version 2 of control groups.
 */
#include "guest/nodes.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "heap/heap.h"

#define GROUP "/sys/fs/cgroup/confine"
#define PIECE (2ul << 20)
enum { PIECES = 12, POOL = 12 };

static void start(enum ash_huge_policy huge, bool strict)
{
	struct ash_arena_config config = test_config();

	config.huge = huge;
	config.strict = strict;
	EXPECT_EQ(ash_arena_init(&config), 0);
}

static void take(struct pages *count)
{
	for (size_t size = 8; size <= 1ul << 20; size += size / 2 + 8) {
		for (unsigned i = 0; i < 4; i++) {
			char *p = ash_heap_malloc(size);

			EXPECT(p != NULL);
			memset(p, 1, size);
			count_pages(count, p, size);
		}
	}
	for (unsigned i = 0; i < PIECES; i++) {
		char *p = ash_heap_malloc(PIECE);

		EXPECT(p != NULL);
		memset(p, 1, PIECE);
		count_pages(count, p, PIECE);
	}
}

static void put(const char *path, const char *format, int value)
{
	char text[32];
	int fd = open(path, O_WRONLY), n = snprintf(text, sizeof(text), format, value);

	EXPECT(fd >= 0);
	EXPECT_EQ(write(fd, text, (size_t)n), n);
	close(fd);
}

/* That nodes have changed is seen within a second or so of wanting memory. */
static void come_to_lie_on(int node, const char *what)
{
	struct pages count = { 0 };

	for (unsigned tries = 0; tries < 200; tries++) {
		char *p = ash_heap_malloc(3 * PIECE);

		EXPECT(p != NULL);
		memset(p, 1, 3 * PIECE);
		memset(&count, 0, sizeof(count));
		count_pages(&count, p, 3 * PIECE);
		ash_heap_free(p);
		if (count.on[node] == count.total)
			return;
		usleep(100000);
	}
	expect_all_on(&count, node, what);
}

/* This process into a group of its own; its memory is confined when that is said. Who joins one may run on all its
 * CPUs. */
static void join_group(int here)
{
	put("/sys/fs/cgroup/cgroup.subtree_control", "+cpuset", 0);
	EXPECT(mkdir(GROUP, 0700) == 0 || errno == EEXIST);
	put(GROUP "/cgroup.procs", "%d", getpid());
	run_on_cpu(cpu_of(here));
}

/* The node we run on, and another one. */
static void two_nodes(int *here, int *there)
{
	*here = home_of(0);
	*there = another_node(*here);
	EXPECT_GE(*there, 0);
	run_on_cpu(cpu_of(*here));
}

static void policy(int mode, int node)
{
	struct bitmask *nodes = numa_bitmask_alloc((unsigned)numa_num_possible_nodes());

	if (node < 0)
		copy_bitmask_to_bitmask(numa_all_nodes_ptr, nodes);
	else
		numa_bitmask_setbit(nodes, (unsigned)node);
	EXPECT_EQ(set_mempolicy(mode, nodes->maskp, nodes->size + 1), 0);
}

static void obeys_one_node(int mode, enum ash_huge_policy huge)
{
	struct pages count = { 0 };
	int here, there;

	two_nodes(&here, &there);
	policy(mode, there);
	start(huge, false);
	take(&count);
	expect_all_on(&count, there, "under a policy of the task's own");
	check_zones();
}

CHILD_TEST(bound_memory_lies_where_it_is_bound)
{
	obeys_one_node(MPOL_BIND, ASH_HUGE_AUTO);
}

CHILD_TEST(bound_huge_pages_lie_where_they_are_bound)
{
	obeys_one_node(MPOL_BIND, ASH_HUGE_2M);
}

CHILD_TEST(preferred_memory_lies_where_it_is_preferred)
{
	obeys_one_node(MPOL_PREFERRED, ASH_HUGE_AUTO);
}

CHILD_TEST(interleaved_memory_lies_everywhere)
{
	struct pages count = { 0 };
	int here, there;

	two_nodes(&here, &there);
	policy(MPOL_INTERLEAVE, -1);
	start(ASH_HUGE_AUTO, false);
	take(&count);
	for (int node = 0; node < nr_nodes(); node++) {
		printf("# node %d: %zu of %zu pages\n", node, count.on[node], count.total);
		if (has_memory(node))
			EXPECT_GT(count.on[node], count.total / 8);
	}
}

static void confined(enum ash_huge_policy huge)
{
	struct pages count = { 0 };
	int here, there;

	two_nodes(&here, &there);
	join_group(here);
	put(GROUP "/cpuset.mems", "%d", there);
	start(huge, false);
	take(&count);
	expect_all_on(&count, there, "in a cpuset with one node of memory");
	expect_spill(here, there, ASH_SPILL_CPUSET);
}

CHILD_TEST(a_cpuset_is_obeyed)
{
	confined(ASH_HUGE_AUTO);
}

CHILD_TEST(a_cpuset_is_obeyed_by_huge_pages)
{
	confined(ASH_HUGE_2M);
}

/* The arenas are those of the node we run on; where their new memory comes from has changed under them. */
CHILD_TEST(a_cpuset_that_shrinks_is_obeyed)
{
	struct pages before = { 0 }, after = { 0 };
	int here, there;

	two_nodes(&here, &there);
	join_group(here);
	put(GROUP "/cpuset.mems", "0-%d", nr_nodes() - 1);
	start(ASH_HUGE_AUTO, false);
	take(&before);
	expect_all_on(&before, here, "before");
	put(GROUP "/cpuset.mems", "%d", there);
	take(&after);
	expect_all_on(&after, there, "after");
	check_zones();
}

static void expect_there_in_time(void *arg)
{
	come_to_lie_on(*(int *)arg, "in a wider cpuset");
}

/* One node is all there is for it when it starts. */
CHILD_TEST(a_cpuset_that_widens_is_seen)
{
	struct pages before = { 0 };
	int here, there;

	two_nodes(&here, &there);
	join_group(here);
	put(GROUP "/cpuset.mems", "%d", here);
	start(ASH_HUGE_AUTO, false);
	take(&before);
	expect_all_on(&before, here, "before");
	put(GROUP "/cpuset.mems", "0-%d", nr_nodes() - 1);
	in_thread_on(cpu_of(there), expect_there_in_time, &there);
	check_zones();
}

/* A change is seen once a second at most; one that is taken back before is none. */
static void until_narrowed(int gone)
{
	for (unsigned tries = 0; tries < 200 && ash_zonelist_for(gone)->why != ASH_SPILL_CPUSET; tries++) {
		char *p = ash_heap_malloc(3 * PIECE);

		EXPECT(p != NULL);
		ash_heap_free(p);
		usleep(100000);
	}
	EXPECT_EQ(ash_zonelist_for(gone)->why, ASH_SPILL_CPUSET);
}

/* What was bound to a node is so again, and not bound to what stood for it. */
CHILD_TEST(a_cpuset_that_shrinks_and_widens_leaves_everything_as_it_was)
{
	const struct ash_zonelist *bound;
	struct ash_policy p = { .mode = ASH_POLICY_BIND };
	struct pages count = { 0 };
	struct ash_run run;
	int here, there;

	two_nodes(&here, &there);
	join_group(here);
	put(GROUP "/cpuset.mems", "0-%d", nr_nodes() - 1);
	start(ASH_HUGE_AUTO, false);
	p.nodes = 1ull << there;
	EXPECT_EQ(ash_zonelist_of_policy(&p, &bound), 0);
	take(&count);
	expect_all_on(&count, here, "before");
	put(GROUP "/cpuset.mems", "%d", here);
	take(&count);
	until_narrowed(there);
	in_thread_on(cpu_of(there), expect_there_in_time, &here);
	put(GROUP "/cpuset.mems", "0-%d", nr_nodes() - 1);
	in_thread_on(cpu_of(there), expect_there_in_time, &there);
	come_to_lie_on(here, "near again");
	for (unsigned i = 0; i < 8; i++) {
		struct pages far = { 0 };

		EXPECT_EQ(ash_run_alloc(bound, 1024, 0, ASH_MT_UNMOVABLE, &run), 0);
		memset(run.addr, 1, 1024 * ASH_PAGE_SIZE);
		count_pages(&far, run.addr, 1024 * ASH_PAGE_SIZE);
		expect_all_on(&far, there, "bound as before");
	}
	check_zones();
}

/* Every pool is used up, the near ones first; then there is an errno, and what was had can be written to. */
CHILD_TEST(strict_huge_pages_run_out_by_distance)
{
	int here, there, last = -1;
	unsigned pages = 0, pools = 0;
	char *p;

	two_nodes(&here, &there);
	start(ASH_HUGE_2M, true);
	for (int node = 0; node < nr_nodes(); node++)
		pools += has_memory(node);
	errno = 0;
	for (; (p = ash_heap_malloc(PIECE)) != NULL; pages++) {
		struct pages count = { 0 };
		int on = 0;

		EXPECT_LE(pages, pools * POOL); /* one more than the pools hold is the base-page start */
		memset(p, 1, PIECE);
		count_pages(&count, p, PIECE);
		while (on < nr_nodes() - 1 && count.on[on] == 0)
			on++;
		expect_all_on(&count, on, "one huge page");
		if (last >= 0)
			EXPECT_GE(numa_distance(here, on), numa_distance(here, last));
		if (on != here)
			expect_spill(here, on, ASH_SPILL_POOL);
		last = on;
	}
	EXPECT_EQ(errno, ENOMEM);
	printf("# %u of %u huge pages in %u pools\n", pages, pools * POOL, pools);
	EXPECT_GE(pages, pools * POOL - 2);
	check_zones();
}

/* The near node's ordinary memory comes before far huge pages. */
CHILD_TEST(a_dry_pool_leaves_the_heap_near)
{
	struct pages count = { 0 };
	int here, there;

	two_nodes(&here, &there);
	start(ASH_HUGE_2M, false);
	for (unsigned i = 0; i < 3; i++)
		take(&count);
	EXPECT_GT(count.total, (POOL + 4) * 512);
	expect_all_on(&count, here, "more than the pool holds");
}
