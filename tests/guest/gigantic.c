/* SPDX-License-Identifier: MIT */
/*
 * Pages of 1 GiB on a machine where each node has a pool of them: taken from the near pool, then by distance, then not
 * at all. For two nodes with one such page each, and no pages of 2 MiB.
 */
#define ASH_DMA_NO_INLINE
#include "guest/nodes.h"

#include <ashlar/dma.h>

#define GIB (1ul << 30)
enum { FRAMES = GIB / 4096, STEP = 2048 };

static void start(bool strict)
{
	struct ash_arena_config config = test_config();

	config.huge = ASH_HUGE_1G;
	config.strict = strict;
	config.small_start = 0;
	config.quiet = true;
	EXPECT_EQ(ash_arena_init(&config), 0);
}

/* Every 8 MiB of it, which is as good as every page: there is one. */
static void expect_on(char *p, int node)
{
	struct pages count = { 0 };

	for (size_t i = 0; i < FRAMES; i += STEP) {
		p[i * 4096] = 1;
		count_pages(&count, p + i * 4096, 1);
	}
	expect_all_on(&count, node, "one page of 1 GiB");
}

static unsigned free_pages(int node)
{
	char path[128];
	unsigned n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/hugepages/hugepages-1048576kB/free_hugepages",
		 node);
	f = fopen(path, "r");
	EXPECT(f != NULL);
	EXPECT_EQ(fscanf(f, "%u", &n), 1);
	fclose(f);
	return n;
}

static int take(int node, struct ash_run *r)
{
	return ash_run_alloc(ash_zonelist_for(node), FRAMES, 18, ASH_MT_UNMOVABLE, r);
}

CHILD_TEST(strict_gigantic_pages_are_near_then_far_then_refused)
{
	struct ash_run near, far, none;

	EXPECT_EQ(free_pages(0) + free_pages(1), 2);
	start(true);
	EXPECT_EQ(take(1, &near), 0);
	expect_on(near.addr, 1);
	EXPECT_EQ(free_pages(1), 0);
	EXPECT_EQ(free_pages(0), 1);
	EXPECT_EQ(take(1, &far), 0);
	expect_on(far.addr, 0);
	EXPECT_EQ(take(1, &none), -ENOMEM);
	EXPECT_EQ(take(0, &none), -ENOMEM);
	check_zones();
}

/* What is left of the near node comes before the far pool. */
CHILD_TEST(a_dry_pool_of_gigantic_pages_leaves_memory_near)
{
	struct pages count = { 0 };
	struct ash_run r;

	start(false);
	EXPECT_EQ(take(1, &r), 0);
	expect_on(r.addr, 1);
	EXPECT_EQ(ash_run_alloc(ash_zonelist_for(1), 4096, 0, ASH_MT_UNMOVABLE, &r), 0);
	memset(r.addr, 1, 4096ul * 4096);
	count_pages(&count, r.addr, 4096ul * 4096);
	expect_all_on(&count, 1, "after the pool was dry");
	EXPECT_EQ(free_pages(0), 1);
	EXPECT(strstr(ash_arena_degraded(), "node 1: no 1 GiB huge pages") != NULL);
	check_zones();
}

CHILD_TEST(a_policy_of_one_node_takes_its_gigantic_page_only)
{
	const struct ash_policy bind = { .mode = ASH_POLICY_BIND, .nodes = 2 };
	const struct ash_zonelist *zl;
	struct ash_run r;

	start(true);
	EXPECT_EQ(ash_zonelist_of_policy(&bind, &zl), 0);
	EXPECT_EQ(ash_run_alloc(zl, FRAMES, 18, ASH_MT_UNMOVABLE, &r), 0);
	expect_on(r.addr, 1);
	EXPECT_EQ(ash_run_alloc(zl, 512, 9, ASH_MT_UNMOVABLE, &r), -ENOMEM);
	EXPECT_EQ(free_pages(0), 1);
}

CHILD_TEST(a_gigantic_buffer_lies_on_the_node_that_it_names)
{
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;

	attr.pages = ASH_DMA_PAGES_1G;
	attr.flags = ASH_DMA_PAGES_STRICT | ASH_DMA_NODE_STRICT;
	for (attr.node = 0; attr.node < 2; attr.node++) {
		char *p = ash_dma_alloc(GIB, &attr);

		EXPECT(p != NULL);
		expect_on(p, attr.node);
		EXPECT(ash_dma_alloc(2 << 20, &attr) == NULL);
		EXPECT_EQ(errno, ENOMEM);
	}
}
