/* SPDX-License-Identifier: MIT */
/*
 * A program that knows libnuma and nothing of ashlar: what it tells the kernel of its memory holds for malloc and mmap
 * as it would without us, and better: glibc hands out again what it had under another policy. To be run under the
 * preload on a machine with two nodes or more.
 */
#include "guest/nodes.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>

#define MAPPING (16ul << 20)
enum { BLOCKS = 3000 };

static int a, b;

static void two_with_memory(void)
{
	a = home_of(0);
	b = another_node(a);
	if (b < 0)
		SKIP("one node with memory and processors");
	if (dlsym(RTLD_DEFAULT, "ash_malloc") == NULL)
		SKIP("not under the preload");
	run_on_cpu(cpu_of(a));
}

static void bind_to(int node)
{
	struct bitmask *nodes = numa_allocate_nodemask();

	numa_bitmask_setbit(nodes, (unsigned)node);
	numa_set_membind(nodes);
	numa_bitmask_free(nodes);
}

/* Small and large, taken, looked at and freed: the next of these has what this one leaves in the caches. */
static struct pages churn(void)
{
	static char *block[BLOCKS];
	struct pages count = { 0 };

	for (unsigned i = 0; i < BLOCKS; i++) {
		const size_t size = i % 100 == 0 ? 200000 : 16 + i % 50 * 80;

		block[i] = malloc(size);
		EXPECT(block[i] != NULL);
		memset(block[i], 1, size);
		count_pages(&count, block[i], size);
	}
	for (unsigned i = 0; i < BLOCKS; i++)
		free(block[i]);
	return count;
}

CHILD_TEST(memory_that_the_heap_held_is_not_handed_out_under_another_binding)
{
	struct pages count;

	two_with_memory();
	count = churn();
	expect_all_on(&count, a, "at first");
	for (unsigned i = 0; i < 3; i++) {
		bind_to(b);
		count = churn();
		expect_all_on(&count, b, "under numa_set_membind");
		bind_to(a);
		count = churn();
		expect_all_on(&count, a, "under another one");
		numa_set_localalloc();
		count = churn();
		expect_all_on(&count, a, "local again");
	}
}

static volatile sig_atomic_t alarms;

/* set_mempolicy is a system call and so a signal handler's to make, whatever it interrupts. */
static void change_policy(ASH_UNUSED int sig)
{
	const unsigned long mask = 1ul << (++alarms % 2 != 0 ? b : a);

	(void)set_mempolicy(MPOL_BIND, &mask, 8 * sizeof(mask));
}

CHILD_TEST(a_signal_handler_may_bind_its_thread)
{
	const struct itimerval often = { { 0, 700 }, { 0, 700 } }, never = { { 0, 0 }, { 0, 0 } };
	struct pages count;

	two_with_memory();
	EXPECT(signal(SIGALRM, change_policy) != SIG_ERR);
	EXPECT_EQ(setitimer(ITIMER_REAL, &often, NULL), 0);
	while (alarms < 200) {
		for (unsigned i = 0; i < 1000; i++)
			free(malloc(i * 100));
	}
	EXPECT_EQ(setitimer(ITIMER_REAL, &never, NULL), 0);
	bind_to(b);
	count = churn();
	expect_all_on(&count, b, "of a thread that signal handlers have bound");
	numa_set_localalloc();
}

static void churn_on(void *arg)
{
	const struct pages count = churn();

	expect_all_on(&count, *(int *)arg, "of a thread that inherited its policy");
}

CHILD_TEST(a_thread_inherits_the_policy_of_its_maker)
{
	two_with_memory();
	bind_to(b);
	in_thread_on(cpu_of(a), churn_on, &b);
	numa_set_localalloc();
	in_thread_on(cpu_of(b), churn_on, &b);
	in_thread_on(cpu_of(a), churn_on, &a);
}

CHILD_TEST(a_preferred_node_is_preferred)
{
	struct pages count;

	two_with_memory();
	numa_set_preferred(b);
	count = churn();
	expect_all_on(&count, b, "under numa_set_preferred");
	numa_set_localalloc();
}

/* As often as it is wanted: pages that were another mapping's before are no excuse. */
CHILD_TEST(memory_of_libnumas_own_lies_where_it_is_asked_for)
{
	two_with_memory();
	for (unsigned i = 0; i < 4; i++) {
		const int node = i % 2 == 0 ? a : b;
		struct pages count = { 0 }, plain = { 0 };
		char *p = numa_alloc_onnode(MAPPING, node), *q;

		EXPECT(p != NULL);
		for (size_t at = 0; at < MAPPING; at += 4096)
			EXPECT_EQ(p[at], 0);
		memset(p, 1, MAPPING);
		count_pages(&count, p, MAPPING);
		expect_all_on(&count, node, "of numa_alloc_onnode");
		numa_free(p, MAPPING);
		q = mmap(NULL, MAPPING, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		EXPECT(q != MAP_FAILED);
		memset(q, 1, MAPPING);
		count_pages(&plain, q, MAPPING);
		expect_all_on(&plain, a, "of a mapping after it");
		munmap(q, MAPPING);
	}
}

/* Past the function of that name, too, where pages that are there already are asked for. */
CHILD_TEST(a_raw_mbind_that_moves_is_obeyed)
{
	two_with_memory();
	for (unsigned i = 0; i < 3; i++) {
		const unsigned long mask = 1ul << (i % 2 == 0 ? b : a);
		struct pages count = { 0 };
		char *p = mmap(NULL, MAPPING, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		EXPECT(p != MAP_FAILED);
		EXPECT_EQ(syscall(SYS_mbind, p, MAPPING, MPOL_BIND, &mask, 8 * sizeof(mask), MPOL_MF_MOVE), 0);
		memset(p, 1, MAPPING);
		count_pages(&count, p, MAPPING);
		expect_all_on(&count, i % 2 == 0 ? b : a, "bound by a raw system call");
		munmap(p, MAPPING);
	}
}

/* Options "policy" and "map". */
CHILD_TEST(mappings_lie_where_the_options_say)
{
	const char *node = getenv("EXPECT_NODE");

	two_with_memory();
	if (node == NULL)
		SKIP("options say nothing");
	for (unsigned i = 0; i < 3; i++) {
		char *p = mmap(NULL, MAPPING, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		struct pages count = churn();

		EXPECT(p != MAP_FAILED);
		memset(p, 1, MAPPING);
		count_pages(&count, p, MAPPING);
		expect_all_on(&count, atoi(node), "of heap and mapping");
		munmap(p, MAPPING);
	}
}

CHILD_TEST(interleaved_memory_of_libnumas_is_interleaved)
{
	struct pages count = { 0 };
	char *p;

	two_with_memory();
	for (unsigned i = 0; i < 2; i++) {
		p = numa_alloc_interleaved(MAPPING);
		EXPECT(p != NULL);
		memset(p, 1, MAPPING);
		count_pages(&count, p, MAPPING);
		numa_free(p, MAPPING);
	}
	EXPECT_GT(count.on[a], count.total / 5);
	EXPECT_GT(count.on[b], count.total / 5);
}
