/* SPDX-License-Identifier: MIT */
/*
 * A program linked with libashlar.so, and so with libnuma, on a machine with several nodes: only <ashlar/ashlar.h> is
 * asked for memory, only the kernel for where it is.
 */
#include "guest/nodes.h"

#include <ashlar/ashlar.h>

CHILD_TEST(the_library_brings_libnuma)
{
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned libnuma = 0, preload = 0;

	EXPECT(maps != NULL);
	while (fgets(line, sizeof(line), maps) != NULL) {
		libnuma += strstr(line, "libnuma") != NULL;
		preload += strstr(line, "libashlar-preload") != NULL;
	}
	fclose(maps);
	EXPECT_GT(libnuma, 0);
	EXPECT_EQ(preload, 0);
}

static void take_all_sizes(void *arg)
{
	for (size_t size = 8; size <= 5ul << 20; size += size / 4 + 8) {
		char *p = ash_malloc(size);

		EXPECT(p != NULL);
		memset(p, 1, size);
		count_pages(arg, p, size);
	}
}

CHILD_TEST(every_size_lands_where_its_thread_runs)
{
	for (int cpu = 0; cpu < numa_num_configured_cpus(); cpu++) {
		struct pages count = { 0 };

		in_thread_on(cpu, take_all_sizes, &count);
		EXPECT_GT(count.total, 5000);
		expect_all_on(&count, home_of(numa_node_of_cpu(cpu)), "of all sizes");
	}
}

CHILD_TEST(a_heap_of_a_node_lies_there_and_says_so)
{
	for (int node = 0; node < nr_nodes(); node++) {
		struct ash_heap *heap = ash_heap_create(node);
		struct ash_page_info info;
		struct pages count = { 0 };
		char *p;

		EXPECT(heap != NULL);
		for (size_t size = 16; size <= 4ul << 20; size *= 4) {
			p = ash_heap_alloc(heap, size);
			EXPECT(p != NULL);
			memset(p, 1, size);
			count_pages(&count, p, size);
			EXPECT_EQ(ash_page_info_read(p, &info, sizeof(info)), 0);
			EXPECT_EQ(info.node, home_of(node));
		}
		expect_all_on(&count, home_of(node), "of a heap made for a node");
		ash_heap_destroy(heap);
	}
}

/* What the program itself places with libnuma stays what it is, and ashlar's is not moved by it. */
CHILD_TEST(libnumas_own_memory_and_ours_live_side_by_side)
{
	const int here = home_of(0), there = another_node(here);
	struct pages ours = { 0 }, theirs = { 0 };
	char *p;

	if (there < 0)
		SKIP("one node with memory and processors");
	run_on_cpu(cpu_of(here));
	p = numa_alloc_onnode(8ul << 20, there);
	EXPECT(p != NULL);
	memset(p, 1, 8ul << 20);
	count_pages(&theirs, p, 8ul << 20);
	take_all_sizes(&ours);
	expect_all_on(&theirs, there, "of numa_alloc_onnode");
	expect_all_on(&ours, here, "ours");
	numa_free(p, 8ul << 20);
}
