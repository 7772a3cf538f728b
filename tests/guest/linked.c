/* SPDX-License-Identifier: MIT */
/*
 * A program linked with libashlar.so, and so with libnuma, on a machine with several nodes: only <ashlar/ashlar.h> is
 * asked for memory, only the kernel for where it is.
 */
#include "guest/nodes.h"

#include <ashlar/ashlar.h>
#include <ashlar/dma.h>
#include <ashlar/map.h>
#include <errno.h>
#include <stdarg.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define POLICY_BYTES (24ul << 20)

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

		if (numa_node_of_cpu(cpu) < 0)
			continue;
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
			EXPECT(has_memory(info.node));
			if (is_there(node))
				EXPECT_EQ(info.node, home_of(node));
		}
		expect_all_on(&count, is_there(node) ? home_of(node) : info.node, "of a heap made for a node");
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

static struct ash_policy policy(const char *format, ...)
{
	struct ash_policy p;
	char text[128];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	EXPECT_EQ(ash_policy_parse(&p, text), 0);
	return p;
}

/* Pages of 24 MiB in blocks of many sizes of a heap under a policy. */
static struct pages heap_pages(struct ash_policy p)
{
	struct ash_heap *heap = ash_heap_create_policy(&p);
	struct pages count = { 0 };

	EXPECT(heap != NULL);
	for (size_t size = 64, sum = 0; sum < POLICY_BYTES; sum += size, size = size < 3ul << 20 ? size * 2 : 64) {
		char *block = ash_heap_alloc(heap, size);

		EXPECT(block != NULL);
		memset(block, 1, size);
		count_pages(&count, block, size);
	}
	ash_heap_destroy(heap);
	return count;
}

/* Two nodes with memory, the first with processors. */
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
}

static void expect_share(const struct pages *count, int node, unsigned least, unsigned most)
{
	const size_t percent = count->on[node] * 100 / count->total;

	printf("# node %d: %zu %% of %zu pages\n", node, percent, count->total);
	EXPECT_EQ(count->unknown, 0);
	EXPECT_GE(percent, least);
	EXPECT_LE(percent, most);
}

CHILD_TEST(a_heaps_memory_lies_where_its_policy_says)
{
	struct pages count;
	int a, b;

	two_with_memory(&a, &b);
	run_on_cpu(cpu_of(a));
	count = heap_pages(policy("bind=%d", b));
	expect_all_on(&count, b, "bind");
	count = heap_pages(policy("preferred=%d", b));
	expect_all_on(&count, b, "preferred");
	count = heap_pages(policy("preferred-many=%d", b));
	expect_all_on(&count, b, "preferred-many");
	count = heap_pages(policy("interleave=%d,%d", a, b));
	expect_share(&count, a, 35, 65);
	EXPECT_EQ(count.on[a] + count.on[b], count.total);
	count = heap_pages(policy("weighted-interleave=%d*3,%d", a, b));
	expect_share(&count, a, 62, 88);
	EXPECT_EQ(count.on[a] + count.on[b], count.total);
	count = heap_pages(policy("weighted-interleave=%d,%d", a, b));
	expect_share(&count, a, 35, 65);
	count = heap_pages(policy("local"));
	expect_all_on(&count, a, "local");
	EXPECT_EQ(ash_policy_parse(&(struct ash_policy){ 0 }, "bind=63"), -ERANGE);
}

static void take_under_policies(void *arg)
{
	const struct ash_policy *p = arg;
	struct pages before = { 0 }, under = { 0 }, after = { 0 };
	const int here = home_of(numa_node_of_cpu(sched_getcpu()));

	take_all_sizes(&before);
	expect_all_on(&before, here, "before");
	EXPECT_EQ(ash_policy_set_thread(p), 0);
	take_all_sizes(&under);
	expect_all_on(&under, __builtin_ctzll(p->nodes), "under the thread's policy");
	EXPECT_EQ(ash_policy_set_thread(NULL), 0);
	take_all_sizes(&after);
	expect_all_on(&after, here, "after");
}

CHILD_TEST(a_threads_memory_lies_where_its_policy_says)
{
	struct ash_policy p;
	int a, b;

	two_with_memory(&a, &b);
	p = policy("bind=%d", b);
	in_thread_on(cpu_of(a), take_under_policies, &p);
	p = policy("preferred=%d", b);
	in_thread_on(cpu_of(a), take_under_policies, &p);
}

CHILD_TEST(a_processs_memory_lies_where_its_policy_says)
{
	struct pages before = { 0 }, under = { 0 }, other = { 0 }, after = { 0 };
	struct ash_policy p;
	int a, b;

	two_with_memory(&a, &b);
	run_on_cpu(cpu_of(a));
	take_all_sizes(&before);
	expect_all_on(&before, a, "before");
	p = policy("bind=%d", b);
	EXPECT_EQ(ash_policy_set_process(&p), 0);
	in_thread_on(cpu_of(a), take_all_sizes, &other);
	expect_all_on(&other, b, "of a new thread");
	EXPECT_EQ(ash_policy_set_thread(NULL), 0);
	take_all_sizes(&under);
	expect_all_on(&under, b, "of a thread that was there");
	p = policy("local");
	EXPECT_EQ(ash_policy_set_process(&p), 0);
	EXPECT_EQ(ash_policy_set_thread(NULL), 0);
	take_all_sizes(&after);
	expect_all_on(&after, a, "after");
}

/* Under the program's feet, and back to where it was when it is given back. */
CHILD_TEST(a_heap_moves_to_another_node)
{
	struct pages there = { 0 }, more = { 0 }, after = { 0 };
	struct ash_heap *heap;
	char *blocks[200];
	int a, b;

	two_with_memory(&a, &b);
	run_on_cpu(cpu_of(a));
	heap = ash_heap_create(a);
	EXPECT(heap != NULL);
	for (unsigned i = 0; i < ASH_ARRAY_LEN(blocks); i++) {
		blocks[i] = ash_heap_alloc(heap, i * 1000 + 1);
		EXPECT(blocks[i] != NULL);
		memset(blocks[i], (int)i + 1, i * 1000 + 1);
	}
	EXPECT_EQ(ash_heap_move_node(heap, 63), -EINVAL);
	EXPECT_EQ(ash_heap_move_node(heap, b), 0);
	for (unsigned i = 0; i < ASH_ARRAY_LEN(blocks); i++) {
		count_pages(&there, blocks[i], i * 1000 + 1);
		for (size_t at = 0; at <= i * 1000; at++)
			EXPECT_EQ(blocks[i][at], (char)(i + 1));
	}
	expect_all_on(&there, b, "moved");
	for (unsigned i = 0; i < 40; i++) {
		char *p = ash_heap_alloc(heap, 300000);

		EXPECT(p != NULL);
		memset(p, 1, 300000);
		count_pages(&more, p, 300000);
	}
	expect_all_on(&more, b, "taken after the move");
	ash_heap_destroy(heap);
	heap = ash_heap_create(a);
	for (unsigned i = 0; i < ASH_ARRAY_LEN(blocks); i++) {
		char *p = ash_heap_alloc(heap, i * 1000 + 1);

		memset(p, 1, i * 1000 + 1);
		count_pages(&after, p, i * 1000 + 1);
	}
	expect_all_on(&after, a, "what it gave back");
}

CHILD_TEST(any_memory_is_migrated_page_by_page)
{
	struct pages count = { 0 };
	int a, b;
	char *p;

	two_with_memory(&a, &b);
	p = numa_alloc_onnode(4ul << 20, a);
	EXPECT(p != NULL);
	memset(p, 7, 4ul << 20);
	EXPECT_EQ(ash_migrate(p, 4ul << 20, b), 0);
	count_pages(&count, p, 4ul << 20);
	expect_all_on(&count, b, "migrated");
	EXPECT_EQ(p[(4ul << 20) - 1], 7);
	EXPECT_EQ(ash_migrate(p, 4096, 63), -ENODEV);
	numa_free(p, 4ul << 20);
}

/* numa_set_membind and its like are set_mempolicy: new memory goes where the program has told the kernel. */
CHILD_TEST(what_a_program_tells_libnuma_later_is_obeyed)
{
	struct bitmask *nodes = numa_allocate_nodemask();
	struct pages before = { 0 }, under = { 0 }, after = { 0 };
	int a, b;

	two_with_memory(&a, &b);
	run_on_cpu(cpu_of(a));
	take_all_sizes(&before);
	expect_all_on(&before, a, "before");
	numa_bitmask_setbit(nodes, (unsigned)b);
	numa_set_membind(nodes);
	for (unsigned i = 0; i < 8; i++) {
		char *p = ash_malloc(2ul << 20);

		EXPECT(p != NULL);
		memset(p, 1, 2ul << 20);
		count_pages(&under, p, 2ul << 20);
	}
	expect_all_on(&under, b, "under numa_set_membind");
	numa_set_localalloc();
	take_all_sizes(&after);
	expect_all_on(&after, a, "after");
}

/* A container's filter: none of NUMA's calls is permitted. */
static void forbid_numa_calls(int error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_mbind, 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_get_mempolicy, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_set_mempolicy, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_move_pages, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
	};
	const struct sock_fprog program = { ASH_ARRAY_LEN(code), code };

	EXPECT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		SKIP("no filters in this kernel");
	EXPECT_EQ(syscall(__NR_mbind, 0, 0, 0, 0, 0, 0), -1);
	EXPECT_EQ(errno, error);
}

static int stay(void *to, void *from, size_t bytes, void *arg)
{
	(void)to, (void)from, (void)bytes, (void)arg;
	return -EBUSY;
}

/* Mappings, and buffers for devices of every kind: each is there and can be written to. */
static void others_without_numa_calls(const struct ash_policy *own)
{
	static const struct ash_dma_object_ops staying = { .move = stay };
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;
	char *p[] = { ash_map(16ul << 20), ash_map_policy(16ul << 20, own), ash_dma_alloc(64, NULL),
		      ash_dma_alloc(64 << 10, NULL), ash_dma_alloc_object(4096, &staying, NULL, ASH_NODE_LOCAL, 0),
		      NULL, NULL };

	attr.policy = own;
	p[5] = ash_dma_alloc(4096, &attr);
	attr.flags = ASH_DMA_SHARED;
	attr.pages = ASH_DMA_PAGES_BASE;
	p[6] = ash_dma_alloc(2 << 20, &attr);
	for (unsigned i = 0; i < ASH_ARRAY_LEN(p); i++) {
		EXPECT(p[i] != NULL);
		memset(p[i], 1, 64);
	}
}

static void allocate_without_numa_calls(bool started)
{
	const struct ash_policy bind = { .mode = ASH_POLICY_BIND, .nodes = 1 };
	struct ash_heap *heap;

	if (started)
		EXPECT(ash_malloc(100) != NULL);
	forbid_numa_calls(started ? EPERM : ENOSYS);
	for (size_t size = 8; size <= 8ul << 20; size *= 2) {
		char *p = ash_malloc(size);

		EXPECT(p != NULL);
		memset(p, 1, size);
		ash_free(p);
	}
	others_without_numa_calls(&bind);
	heap = ash_heap_create_policy(&bind);
	EXPECT(heap != NULL);
	EXPECT(ash_heap_zalloc(heap, 3ul << 20) != NULL);
	ash_heap_destroy(heap);
}

CHILD_TEST(a_filter_over_numa_calls_leaves_one_node)
{
	allocate_without_numa_calls(false);
}

CHILD_TEST(a_filter_that_comes_later_changes_nothing)
{
	allocate_without_numa_calls(true);
}
