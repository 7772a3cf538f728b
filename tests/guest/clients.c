/* SPDX-License-Identifier: MIT */
/*
 * Policies reach every client: besides the heap (linked.c) mappings and buffers for devices. A program linked with
 * libashlar.so, on a machine with two nodes or more with memory; only the kernel is asked where memory is.
 */
#include "guest/nodes.h"

#include <ashlar/ashlar.h>
#include <ashlar/dma.h>
#include <ashlar/map.h>
#include <errno.h>
#include <unistd.h>

#define MAPPING (16ul << 20)
enum { BUFFERS = 24 };

static struct ash_policy policy(const char *mode, uint64_t nodes)
{
	struct ash_policy p;

	EXPECT_EQ(ash_policy_parse(&p, mode), 0);
	p.nodes = nodes;
	return p;
}

/* What a process had pinned is given back some time after it has ended, by a worker of the kernel's. */
static void wait_for_memory_of(int node)
{
	long long free = 0, all = numa_node_size64(node, &free);
	unsigned waits = 0;

	for (; free < all / 3 * 2 && waits < 1200; waits++) {
		usleep(50000);
		all = numa_node_size64(node, &free);
	}
	if (waits > 0)
		printf("# node %d: %lld of %lld MiB free after %u ms\n", node, free >> 20, all >> 20, waits * 50);
}

/* Two nodes with memory, the first one ours. */
static void two_with_memory(int *a, int *b)
{
	*a = home_of(0);
	*b = -1;
	for (int i = 0; i < nr_nodes(); i++) {
		if (i != *a && has_memory(i))
			*b = i;
	}
	if (*b < 0)
		SKIP("one node with memory");
	run_on_cpu(cpu_of(*a));
	wait_for_memory_of(*a);
	wait_for_memory_of(*b);
}

/* own: the request's policy, or NULL. */
static struct pages mapping_pages(const struct ash_policy *own)
{
	struct pages count = { 0 };
	char *p = own == NULL ? ash_map(MAPPING) : ash_map_policy(MAPPING, own);

	EXPECT(p != NULL);
	memset(p, 1, MAPPING);
	count_pages(&count, p, MAPPING);
	EXPECT_EQ(ash_unmap(p, MAPPING), 0);
	return count;
}

static struct pages buffer_pages(size_t bytes, const struct ash_policy *own)
{
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;
	struct pages count = { 0 };
	char *p[BUFFERS];

	attr.policy = own;
	if (bytes >= 4096)
		attr.pages = ASH_DMA_PAGES_BASE;
	for (unsigned i = 0; i < BUFFERS; i++) {
		p[i] = ash_dma_alloc(bytes, bytes < 4096 && own == NULL ? NULL : &attr);
		EXPECT(p[i] != NULL);
		memset(p[i], 1, bytes);
		count_pages(&count, p[i], bytes);
	}
	for (unsigned i = 0; i < BUFFERS; i++)
		EXPECT_EQ(ash_dma_free(p[i]), 0);
	return count;
}

/* Files of their own, in whole huge pages. */
static struct pages shared_pages(const struct ash_policy *own)
{
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;
	struct pages count = { 0 };
	char *p[2];

	attr.policy = own;
	attr.pages = ASH_DMA_PAGES_BASE;
	attr.flags = ASH_DMA_SHARED;
	for (unsigned i = 0; i < ASH_ARRAY_LEN(p); i++) {
		p[i] = ash_dma_alloc(2 << 20, &attr);
		EXPECT(p[i] != NULL);
		memset(p[i], 1, 2 << 20);
		count_pages(&count, p[i], 2 << 20);
	}
	for (unsigned i = 0; i < ASH_ARRAY_LEN(p); i++)
		EXPECT_EQ(ash_dma_free(p[i]), 0);
	return count;
}

static int stay(void *to, void *from, size_t bytes, void *arg)
{
	(void)to, (void)from, (void)bytes, (void)arg;
	return -EBUSY;
}

static const struct ash_dma_object_ops staying = { .move = stay };

static struct pages object_pages(const struct ash_policy *own)
{
	struct pages count = { 0 };
	char *p[BUFFERS];

	for (unsigned i = 0; i < BUFFERS; i++) {
		p[i] = own == NULL ? ash_dma_alloc_object(16 << 10, &staying, NULL, ASH_NODE_LOCAL, 0) :
				     ash_dma_alloc_object_policy(16 << 10, &staying, NULL, own, 0);
		EXPECT(p[i] != NULL);
		memset(p[i], 1, 16 << 10);
		count_pages(&count, p[i], 16 << 10);
	}
	for (unsigned i = 0; i < BUFFERS; i++)
		EXPECT_EQ(ash_dma_free(p[i]), 0);
	return count;
}

static void expect_both(const struct pages *count, int a, int b, const char *what)
{
	printf("# %s: %zu and %zu of %zu pages\n", what, count->on[a], count->on[b], count->total);
	EXPECT_EQ(count->on[a] + count->on[b], count->total);
	EXPECT_GT(count->on[a], count->total / 4);
	EXPECT_GT(count->on[b], count->total / 4);
}

/* own: the requests' policy, or NULL. */
static void clients_on(const struct ash_policy *own, int node, const char *what)
{
	struct pages count;

	/* Twice: the second has what the first gave back. */
	for (unsigned i = 0; i < 2; i++) {
		count = mapping_pages(own);
		expect_all_on(&count, node, what);
		count = buffer_pages(64, own);
		expect_all_on(&count, node, what);
		count = buffer_pages(64 << 10, own);
		expect_all_on(&count, node, what);
		count = shared_pages(own);
		expect_all_on(&count, node, what);
		count = object_pages(own);
		expect_all_on(&count, node, what);
	}
}

static void all_clients_on(int node, const char *what)
{
	clients_on(NULL, node, what);
}

static void set_process(const char *mode, uint64_t nodes)
{
	const struct ash_policy p = policy(mode, nodes);

	EXPECT_EQ(ash_policy_set_process(&p), 0);
}

CHILD_TEST(mappings_and_buffers_lie_where_the_processs_policy_says)
{
	struct pages count;
	int a, b;

	two_with_memory(&a, &b);
	all_clients_on(a, "without a policy");
	set_process("bind=all", 1ull << b);
	all_clients_on(b, "bind");
	set_process("local", 0);
	all_clients_on(a, "local");
	set_process("preferred=0", 1ull << b);
	all_clients_on(b, "preferred");
	set_process("preferred-many=all", 1ull << b);
	all_clients_on(b, "preferred-many");
	set_process("interleave=all", 1ull << a | 1ull << b);
	count = mapping_pages(NULL);
	expect_both(&count, a, b, "interleaved mapping");
	count = buffer_pages(64 << 10, NULL);
	expect_both(&count, a, b, "interleaved buffers");
	EXPECT_EQ(count.on[a], count.on[b]);
}

CHILD_TEST(weights_are_those_of_buffers)
{
	struct ash_policy p = policy("weighted-interleave=all", 0);
	struct pages count;
	int a, b;

	two_with_memory(&a, &b);
	p.nodes = 1ull << a | 1ull << b;
	p.weight[a] = 3;
	p.weight[b] = 1;
	EXPECT_EQ(ash_policy_set_process(&p), 0);
	count = buffer_pages(64 << 10, NULL);
	EXPECT_EQ(count.on[a], 3 * count.on[b]);
}

static void clients_of_a_thread(void *arg)
{
	const struct ash_policy p = policy("bind=all", 1ull << *(int *)arg), none = policy("default", 0);
	const int here = home_of(numa_node_of_cpu(sched_getcpu()));

	EXPECT_EQ(ash_policy_set_thread(&p), 0);
	all_clients_on(*(int *)arg, "under the thread's policy");
	EXPECT_EQ(ash_policy_set_thread(&none), 0);
	all_clients_on(here, "after it");
}

CHILD_TEST(mappings_and_buffers_lie_where_the_threads_policy_says)
{
	int a, b;

	two_with_memory(&a, &b);
	in_thread_on(cpu_of(a), clients_of_a_thread, &b);
	all_clients_on(a, "of another thread");
}

CHILD_TEST(mappings_and_buffers_lie_where_the_task_is_bound)
{
	struct bitmask *nodes = numa_allocate_nodemask();
	int a, b;

	two_with_memory(&a, &b);
	numa_bitmask_setbit(nodes, (unsigned)b);
	numa_set_membind(nodes);
	all_clients_on(b, "under numa_set_membind");
	numa_set_localalloc();
	all_clients_on(a, "after it");
}

static void all_on_home(void *home)
{
	all_clients_on(*(int *)home, "of a node without memory");
}

CHILD_TEST(a_thread_on_a_node_without_memory_has_the_nearest_nodes)
{
	unsigned found = 0;

	for (int node = 0; node < nr_nodes(); node++) {
		int home = home_of(node);

		if (has_memory(node) || cpu_of(node) < 0)
			continue;
		printf("# node %d has none, node %d is the nearest\n", node, home);
		in_thread_on(cpu_of(node), all_on_home, &home);
		found++;
	}
	if (found == 0)
		SKIP("every node has memory");
}

static struct pages own_pool(const struct ash_policy *own)
{
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;
	struct ash_dma_pool *pool;
	struct ash_policy copy = *own;
	struct pages count = { 0 };
	char *p[BUFFERS];

	attr.policy = &copy;
	attr.pages = ASH_DMA_PAGES_BASE;
	pool = ash_dma_pool_create("own", 2048, 0, 0, &attr);
	EXPECT(pool != NULL);
	/* Slabs come later, and the caller's structure is the caller's. */
	memset(&copy, 0xff, sizeof(copy));
	for (unsigned i = 0; i < BUFFERS; i++) {
		p[i] = ash_dma_pool_get(pool);
		EXPECT(p[i] != NULL);
		memset(p[i], 1, 2048);
		count_pages(&count, p[i], 2048);
	}
	for (unsigned i = 0; i < BUFFERS; i++)
		ash_dma_pool_put(pool, p[i]);
	EXPECT_EQ(ash_dma_pool_destroy(pool), 0);
	return count;
}

static void own_on(const struct ash_policy *own, int node, const char *what)
{
	struct pages count;

	clients_on(own, node, what);
	for (unsigned i = 0; i < 2; i++) {
		count = own_pool(own);
		expect_all_on(&count, node, what);
	}
}

/* What a first-class heap's policy is to objects: it goes before the thread's, and changes nothing for others. */
CHILD_TEST(a_mapping_and_a_buffer_may_have_a_policy_of_their_own)
{
	struct ash_policy p;
	struct pages count;
	int a, b;

	two_with_memory(&a, &b);
	p = policy("bind=all", 1ull << b);
	own_on(&p, b, "bound by its own");
	all_clients_on(a, "of others, meanwhile");
	p = policy("preferred=0", 1ull << b);
	own_on(&p, b, "preferred by its own");
	set_process("bind=all", 1ull << b);
	p = policy("preferred=0", 1ull << a);
	own_on(&p, a, "against the process's");
	p = policy("local", 0);
	own_on(&p, a, "local, against the process's");
	p = policy("default", 0);
	own_on(&p, b, "the process's");
	p = policy("interleave=all", 1ull << a | 1ull << b);
	count = mapping_pages(&p);
	expect_both(&count, a, b, "a mapping interleaved by its own");
	count = buffer_pages(64 << 10, &p);
	expect_both(&count, a, b, "buffers interleaved by their own");
	count = object_pages(&p);
	expect_both(&count, a, b, "objects interleaved by their own");
}

CHILD_TEST(a_policy_of_its_own_that_cannot_be_is_refused)
{
	const struct ash_policy wrong[] = { { .mode = ASH_POLICY_BIND, .nodes = 1ull << 63 },
					    { .mode = ASH_POLICY_MODES },
					    { .mode = ASH_POLICY_LOCAL, .nodes = 1 },
					    { .mode = ASH_POLICY_BIND, .nodes = 1, .reserved = 1 } };
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;
	int a, b;

	two_with_memory(&a, &b);
	for (unsigned i = 0; i < ASH_ARRAY_LEN(wrong); i++) {
		attr.policy = &wrong[i];
		errno = 0;
		EXPECT(ash_map_policy(MAPPING, &wrong[i]) == NULL && errno == EINVAL);
		errno = 0;
		EXPECT(ash_dma_alloc(64, &attr) == NULL && errno == EINVAL);
		errno = 0;
		EXPECT(ash_dma_alloc(64 << 10, &attr) == NULL && errno == EINVAL);
		errno = 0;
		EXPECT(ash_dma_pool_create("wrong", 2048, 0, 0, &attr) == NULL && errno == EINVAL);
		errno = 0;
		EXPECT(ash_dma_alloc_object_policy(4096, &staying, NULL, &wrong[i], 0) == NULL && errno == EINVAL);
		attr.flags = ASH_DMA_SHARED;
		errno = 0;
		EXPECT(ash_dma_alloc(2 << 20, &attr) == NULL && errno == EINVAL);
		attr.flags = 0;
	}
}

/* A node that is named is meant, whatever the policy. */
CHILD_TEST(a_buffer_that_names_its_node_lies_there)
{
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;
	struct pages count = { 0 };
	int a, b;
	char *p;

	two_with_memory(&a, &b);
	set_process("bind=all", 1ull << b);
	attr.node = a;
	attr.pages = ASH_DMA_PAGES_BASE;
	p = ash_dma_alloc(1 << 20, &attr);
	EXPECT(p != NULL);
	memset(p, 1, 1 << 20);
	count_pages(&count, p, 1 << 20);
	expect_all_on(&count, a, "of a named node");
}

/* One more of a kind: 2 MiB, or NULL. */
static void *buffer_more(int named ASH_UNUSED)
{
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;

	attr.pages = ASH_DMA_PAGES_BASE;
	return ash_dma_alloc(2 << 20, &attr);
}

static void *shared_more(int named ASH_UNUSED)
{
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;

	attr.flags = ASH_DMA_SHARED;
	attr.pages = ASH_DMA_PAGES_BASE;
	return ash_dma_alloc(2 << 20, &attr);
}

static void *object_more(int named ASH_UNUSED)
{
	return ash_dma_alloc_object(2 << 20, &staying, NULL, ASH_NODE_LOCAL, 0);
}

static void *strict_object_more(int named)
{
	return ash_dma_alloc_object(2 << 20, &staying, NULL, named, ASH_DMA_NODE_STRICT);
}

/*
 * Until the node has no more, which comes, and all of it there. Once full does not mean full for long: the kernel gives
 * back caches of its own when there is little memory.
 */
static unsigned fill(int node, void *(*more)(int named))
{
	struct pages count = { 0 };
	unsigned n = 0;
	char *p;

	errno = 0;
	while (n < 512 && (p = more(node)) != NULL) {
		memset(p, 1, 2 << 20);
		count_pages(&count, p, 2 << 20);
		n++;
	}
	EXPECT_LT(n, 512);
	EXPECT_EQ(errno, ENOMEM);
	EXPECT_EQ(count.on[node], count.total);
	return n;
}

/* Objects have the node's pool of huge pages first, if there is one. */
static unsigned fill_bound(int node)
{
	const unsigned n = fill(node, buffer_more);

	(void)fill(node, shared_more);
	(void)fill(node, object_more);
	return n;
}

/* Of a buffer and an object, the pages on the node that was full a moment ago. Else they are both on one other node. */
static size_t others_have(int named, int full)
{
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;
	struct pages shared = { 0 }, object = { 0 };
	char *p;

	attr.node = named;
	attr.flags = ASH_DMA_SHARED;
	attr.pages = ASH_DMA_PAGES_BASE;
	p = ash_dma_alloc(2 << 20, &attr);
	EXPECT(p != NULL);
	memset(p, 1, 2 << 20);
	count_pages(&shared, p, 2 << 20);
	EXPECT_EQ(ash_dma_free(p), 0);
	p = ash_dma_alloc_object(2 << 20, &staying, NULL, named, 0);
	EXPECT(p != NULL);
	memset(p, 1, 2 << 20);
	count_pages(&object, p, 2 << 20);
	EXPECT_EQ(ash_dma_free(p), 0);
	if (shared.on[full] + object.on[full] != 0)
		return shared.on[full] + object.on[full];
	expect_all_on(&shared, where_most_are(&shared), "of one node");
	expect_all_on(&object, where_most_are(&shared), "of the same node");
	return 0;
}

/* Where the full node has memory again after all it is filled again. */
static void others_have_another(const char *policy, uint64_t nodes, int named, int full)
{
	for (unsigned i = 0; i < 50; i++) {
		set_process(policy, nodes);
		if (others_have(named, full) == 0)
			return;
		set_process("bind=all", 1ull << full);
		printf("# the full node had memory again: %u buffers\n", fill_bound(full));
	}
	TEST_FAIL("what the full node cannot give comes from nowhere else");
}

/* To be bound is meant: what the nodes do not have there is not, and nobody is killed. */
CHILD_TEST(buffers_that_are_bound_come_from_nowhere_else)
{
	unsigned n;
	int a, b;

	two_with_memory(&a, &b);
	set_process("bind=all", 1ull << b);
	n = fill_bound(b);
	printf("# %u buffers of 2 MiB\n", n);
	EXPECT_GT(n, 8);
	/* Who only prefers the node, or names it, has the nearest one's. */
	others_have_another("preferred=0", 1ull << b, ASH_NODE_LOCAL, b);
	others_have_another("local", 0, b, b);
	EXPECT(buffer_more(b) != NULL);
	(void)fill(b, strict_object_more);
}

/*
 * A mapping that the program binds by itself is the program's affair, and does not spoil what comes after it. Its pages
 * may be there already (ashlar/map.h).
 */
CHILD_TEST(a_mapping_that_was_bound_leaves_nothing_behind)
{
	struct pages count = { 0 };
	unsigned long mask;
	int a, b;

	two_with_memory(&a, &b);
	mask = 1ul << b;
	for (unsigned i = 0; i < 3; i++) {
		char *p = ash_map(MAPPING);

		EXPECT(p != NULL);
		EXPECT_EQ(mbind(p, MAPPING, MPOL_BIND, &mask, 64, MPOL_MF_MOVE), 0);
		memset(p, 1, MAPPING);
		count_pages(&count, p, MAPPING);
		EXPECT_EQ(ash_unmap(p, MAPPING), 0);
		all_clients_on(a, "after a mapping that was bound");
	}
	expect_all_on(&count, b, "bound by the program");
}

/* 31 at least where addresses are not scarce; one more is refused, what is there stays. */
CHILD_TEST(policies_run_out_with_an_error)
{
	struct ash_policy p = policy("weighted-interleave=all", 0);
	struct pages count;
	unsigned n = 0;
	int a, b, err;

	two_with_memory(&a, &b);
	p.nodes = 1ull << a | 1ull << b;
	p.weight[b] = 1;
	do {
		struct ash_heap *heap;

		p.weight[a] = (uint8_t)++n;
		errno = 0;
		heap = ash_heap_create_policy(&p);
		err = errno;
		if (heap == NULL)
			break;
		EXPECT(ash_heap_alloc(heap, 100) != NULL);
	} while (n < 255);
	EXPECT_EQ(err, ENOSPC);
	EXPECT_EQ(n, 32);
	EXPECT_EQ(ash_policy_set_thread(&p), -ENOSPC);
	EXPECT_EQ(ash_policy_set_process(&p), -ENOSPC);
	count = mapping_pages(NULL);
	expect_all_on(&count, a, "after refusals");
	/* A mapping of its own policy lies there all the same, and a buffer's needs no slot. */
	p.mode = ASH_POLICY_BIND;
	p.nodes = 1ull << b;
	memset(p.weight, 0, sizeof(p.weight));
	own_on(&p, b, "of one policy too many");
	set_process("preferred=0", 1ull << b);
	all_clients_on(b, "preferred needs no slot");
}
