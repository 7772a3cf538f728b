/* SPDX-License-Identifier: MIT */
/*
 * Memory that comes while the process runs: of a node that had processors only, and of one that had nothing at all. For
 * a machine with memory on node 0 and memory to be brought online on nodes 1 and 2.
 */
#include "guest/nodes.h"

#include <ashlar/dma.h>
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "heap/heap.h"

#define PIECE (6ul << 20)
#define BLOCKS "/sys/devices/system/memory"

/* Every block of the node's memory is brought online: how many there were. */
static unsigned plug_in(int node)
{
	DIR *dir = opendir(BLOCKS);
	const struct dirent *entry;
	unsigned n = 0;
	char path[256];

	EXPECT(dir != NULL);
	while ((entry = readdir(dir)) != NULL) {
		int fd;

		snprintf(path, sizeof(path), BLOCKS "/%.32s/node%d", entry->d_name, node);
		if (strncmp(entry->d_name, "memory", 6) != 0 || access(path, F_OK) != 0)
			continue;
		snprintf(path, sizeof(path), BLOCKS "/%.32s/state", entry->d_name);
		fd = open(path, O_WRONLY);
		EXPECT(fd >= 0);
		n += write(fd, "online", 6) == 6;
		close(fd);
	}
	closedir(dir);
	return n;
}

/*
 * The task's cpuset gets the node a moment after the node gets its memory. Until then no thread may be created: the
 * kernel can miss it for good, since its copy of the mask is made before it is on the list that is gone through.
 */
static void wait_until_allowed(int node)
{
	struct bitmask *allowed = numa_get_mems_allowed();

	for (unsigned tries = 0; tries < 2000 && !numa_bitmask_isbitset(allowed, (unsigned)node); tries++) {
		usleep(10000);
		numa_bitmask_free(allowed);
		allowed = numa_get_mems_allowed();
	}
	EXPECT(numa_bitmask_isbitset(allowed, (unsigned)node));
	numa_bitmask_free(allowed);
}

static struct pages take(struct ash_heap *heap)
{
	struct pages count = { 0 };
	char *p = heap != NULL ? ash_heap_new_alloc(heap, 1, PIECE, false) : ash_heap_malloc(PIECE);

	EXPECT(p != NULL);
	memset(p, 1, PIECE);
	count_pages(&count, p, PIECE);
	if (heap == NULL)
		ash_heap_free(p);
	return count;
}

/* A buffer for a device from a node, or NULL: -EINVAL where the node has no memory. */
static char *buffer_on(int node)
{
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;

	attr.node = node;
	attr.flags = ASH_DMA_NODE_STRICT;
	return ash_dma_alloc(64 << 10, &attr);
}

/* Buffers are to be had from a node as soon as it has memory, by who names it and by who runs there. */
static void expect_buffers(void *arg)
{
	const int node = *(int *)arg;
	struct pages count = { 0 };
	char *p = buffer_on(node);

	/* The task's cpuset gets the node a moment after the node gets its memory. */
	for (unsigned tries = 0; p == NULL && tries < 200; tries++) {
		usleep(100000);
		p = buffer_on(node);
	}
	if (p == NULL)
		TEST_FAIL("no buffer on node %d: %s", node, strerror(errno));
	count_pages(&count, p, 64 << 10);
	expect_all_on(&count, node, "of a buffer for devices");
	EXPECT_EQ(ash_dma_free(p), 0);
}

static void expect_in_time(void *arg)
{
	const int node = *(int *)arg;
	struct pages count = take(NULL);

	for (unsigned tries = 0; tries < 200 && count.on[node] < count.total; tries++) {
		usleep(100000);
		count = take(NULL);
	}
	expect_all_on(&count, node, "of a node whose memory has come");
}

CHILD_TEST(memory_that_is_plugged_in_is_used)
{
	struct ash_arena_config config = test_config();
	int zero = 0, one = 1, two = 2;
	struct pages count;
	struct ash_heap *heap;

	EXPECT(!has_memory(1) && !has_memory(2));
	run_on_cpu(cpu_of(0));
	expect_buffers(&zero);
	EXPECT(buffer_on(1) == NULL && errno == EINVAL);
	EXPECT_EQ(ash_arena_init(&config), 0);
	EXPECT(ash_arena_is_several());
	count = take(NULL);
	expect_all_on(&count, 0, "at first");
	in_thread_on(cpu_of(1), expect_in_time, &zero);
	EXPECT_GT(plug_in(1), 0);
	EXPECT(has_memory(1));
	wait_until_allowed(1);
	in_thread_on(cpu_of(1), expect_in_time, &one);
	expect_buffers(&one);
	count = take(NULL);
	expect_all_on(&count, 0, "of who runs on node 0");
	EXPECT(buffer_on(2) == NULL && errno == EINVAL);
	EXPECT_GT(plug_in(2), 0);
	expect_buffers(&two);
	/* Somebody has to want memory for that to be seen. */
	heap = ash_heap_new(2);
	EXPECT(heap != NULL);
	for (unsigned tries = 0; tries < 200 && ash_zonelist_for(2)->nr < 3; tries++) {
		usleep(100000);
		(void)take(NULL);
	}
	ash_heap_new_destroy(heap);
	heap = ash_heap_new(2);
	EXPECT(heap != NULL);
	for (unsigned i = 0; i < 8; i++) {
		count = take(heap);
		expect_all_on(&count, 2, "of a node that had nothing");
	}
	check_zones();
}
