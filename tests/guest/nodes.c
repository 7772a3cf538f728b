/* SPDX-License-Identifier: MIT */
/* Arenas on a machine that really has several nodes: memory lies where it was asked for, by the kernel's own word. */
#include "arena/child.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>

#include "base/bits.h"
#include "os/numa.h"

enum { PAGES_PER_NODE = 16 };

/* Nodes that ought to have arenas: we may use them and they have memory. */
static unsigned nr_nodes;
static int nodes[ASH_NODES_MAX];

__attribute__((constructor)) static void find_nodes(void)
{
	uint64_t mask = ash_numa_allowed() & ash_numa_topology()->with_memory();

	for (; mask != 0; mask &= mask - 1)
		nodes[nr_nodes++] = (int)ash_ctz(mask);
}

#define NEED_NODES()                                                                                                   \
	do {                                                                                                           \
		if (nr_nodes < 2)                                                                                    \
			SKIP("this machine has one node");                                                             \
	} while (0)

static void reserve(int node, unsigned pages)
{
	char path[128], text[16];
	int fd, n;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/hugepages/hugepages-2048kB/nr_hugepages", node);
	fd = open(path, O_WRONLY);
	EXPECT(fd >= 0);
	n = snprintf(text, sizeof(text), "%u", pages);
	EXPECT_EQ(write(fd, text, (size_t)n), n);
	close(fd);
}

static void start(enum ash_huge_policy huge, bool strict)
{
	struct ash_arena_config config = test_config();

	config.huge = huge;
	config.strict = strict;
	config.quiet = true;
	EXPECT_EQ(ash_arena_init(&config), 0);
}

/* Touches the run and asks the kernel where each page of it is. */
static void expect_on(const struct ash_run *r, int node)
{
	for (size_t i = 0; i < r->nr_frames; i += 64) {
		void *page = (char *)r->addr + i * ASH_PAGE_SIZE;
		int where = -1;

		*(char *)page = 1;
		EXPECT_EQ(ash_numa_where(1, &page, &where), 0);
		EXPECT_EQ(where, node);
	}
}

static struct ash_run run(const struct ash_zonelist *zl, size_t nr)
{
	struct ash_run r = { NULL, 0, false };

	EXPECT_EQ(ash_run_alloc(zl, nr, 0, ASH_MT_UNMOVABLE, &r), 0);
	return r;
}

static enum ash_arena_kind kind_of(const struct ash_run *r)
{
	return (enum ash_arena_kind)((ash_frame_index(r->addr) >> ash_registry.span_frame_shift) % ASH_ARENA_KINDS);
}

CHILD_TEST(each_node_has_arenas_of_its_own)
{
	NEED_NODES();
	start(ASH_HUGE_AUTO, false);
	EXPECT_GE(ash_arena_count(), nr_nodes * ASH_ARENA_KINDS);
	for (unsigned i = 0; i < nr_nodes; i++) {
		const struct ash_zonelist *zl = ash_zonelist_for(nodes[i]);
		const struct ash_run small = run(zl, 16), large = run(zl, 4096);

		expect_on(&small, nodes[i]);
		expect_on(&large, nodes[i]);
	}
	check_zones();
}

CHILD_TEST(a_thread_gets_memory_of_the_node_it_runs_on)
{
	cpu_set_t all;

	NEED_NODES();
	EXPECT_EQ(sched_getaffinity(0, sizeof(all), &all), 0);
	start(ASH_HUGE_AUTO, false);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		cpu_set_t one;
		struct ash_run r;

		if (!CPU_ISSET(cpu, &all))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		EXPECT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
		if ((ash_numa_topology()->with_memory() >> ash_numa_current() & 1) == 0)
			continue;
		r = run(ash_zonelist_for(-1), 1000);
		expect_on(&r, ash_numa_current());
	}
}

CHILD_TEST(hugetlb_comes_from_the_pool_of_its_node)
{
	NEED_NODES();
	for (unsigned i = 0; i < nr_nodes; i++)
		reserve(nodes[i], PAGES_PER_NODE);
	start(ASH_HUGE_2M, false);
	for (unsigned i = 0; i < nr_nodes; i++) {
		const struct ash_run r = run(ash_zonelist_for(nodes[i]), 5 * 512);

		EXPECT_EQ(kind_of(&r), ASH_ARENA_H);
		expect_on(&r, nodes[i]);
	}
	check_zones();
}

CHILD_TEST(a_dry_node_goes_down_its_own_ladder_and_is_named)
{
	struct ash_run r;
	char line[64];

	NEED_NODES();
	reserve(nodes[0], PAGES_PER_NODE);
	reserve(nodes[1], 2);
	start(ASH_HUGE_2M, false);
	r = run(ash_zonelist_for(nodes[1]), 5 * 512);
	EXPECT_EQ(kind_of(&r), ASH_ARENA_T);
	expect_on(&r, nodes[1]);
	snprintf(line, sizeof(line), "node %d: no 2 MiB huge pages", nodes[1]);
	EXPECT(strstr(ash_arena_degraded(), line) != NULL);
	EXPECT(strstr(ash_arena_degraded(), "2 of 2 pages free") != NULL);
	r = run(ash_zonelist_for(nodes[0]), 5 * 512);
	EXPECT_EQ(kind_of(&r), ASH_ARENA_H);
	expect_on(&r, nodes[0]);
}

CHILD_TEST(strict_takes_far_huge_pages_and_then_refuses)
{
	struct ash_run r;

	NEED_NODES();
	for (unsigned i = 0; i < nr_nodes; i++)
		reserve(nodes[i], i == 0 ? 8 : 0);
	start(ASH_HUGE_2M, true);
	r = run(ash_zonelist_for(nodes[1]), 5 * 512);
	EXPECT_EQ(kind_of(&r), ASH_ARENA_H);
	expect_on(&r, nodes[0]);
	EXPECT_EQ(ash_run_alloc(ash_zonelist_for(nodes[1]), 5 * 512, 0, ASH_MT_UNMOVABLE, &r), -ENOMEM);
}

CHILD_TEST(zonelists_follow_the_machines_distances)
{
	NEED_NODES();
	start(ASH_HUGE_AUTO, false);
	for (unsigned n = 0; n < nr_nodes; n++) {
		const struct ash_zonelist *zl = ash_zonelist_for(nodes[n]);
		int last = 0, distance[ASH_NODES_MAX];

		EXPECT_EQ(zl->nr, nr_nodes);
		ash_numa_topology()->distances(nodes[n], distance);
		for (unsigned i = 0; i < zl->nr; i++) {
			int d = distance[nodes[zl->arena[i] / ASH_ARENA_KINDS]];

			EXPECT_GE(d, last);
			last = d;
		}
	}
}
