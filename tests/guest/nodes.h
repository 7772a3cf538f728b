/* SPDX-License-Identifier: MIT */
/*
 * What the tests in guests ask of the machine: its nodes and processors as libnuma tells them, and where memory lies as
 * the kernel tells it, page by page. Nothing here asks ashlar.
 */
#ifndef ASH_TESTS_GUEST_NODES_H
#define ASH_TESTS_GUEST_NODES_H

#include "arena/child.h"

#include <errno.h>
#include <numa.h>
#include <numaif.h>
#include <pthread.h>
#include <sched.h>

#include "base/bits.h"

enum { MAX_NODES = 8, QUERY = 512 };

/* Pages per node; unknown: those the kernel would not tell, or that are not there. */
struct pages {
	size_t on[MAX_NODES], unknown, total;
};

static inline bool has_memory(int node)
{
	return numa_node_size64(node, NULL) > 0;
}

static inline int nr_nodes(void)
{
	return numa_max_node() + 1;
}

/* Some CPU of the node, or -1. */
static inline int cpu_of(int node)
{
	for (int cpu = 0; cpu < numa_num_configured_cpus(); cpu++) {
		if (numa_node_of_cpu(cpu) == node)
			return cpu;
	}
	return -1;
}

/* A number may be taken by a node that is not there: nodes and processors have holes in their numbers. */
static inline bool is_there(int node)
{
	return has_memory(node) || cpu_of(node) >= 0;
}

/* The nearest node with memory: the node itself if it can be. */
static inline int home_of(int node)
{
	int best = -1;

	for (int i = 0; i < nr_nodes(); i++) {
		if (has_memory(i) && (best < 0 || numa_distance(node, i) < numa_distance(node, best)))
			best = i;
	}
	return best;
}

/* A node with memory and processors of its own, not the given one; -1: there is none. */
static inline int another_node(int node)
{
	for (int i = 0; i < nr_nodes(); i++) {
		if (i != node && has_memory(i) && cpu_of(i) >= 0)
			return i;
	}
	return -1;
}

/*
 * Where pages are. Those that the kernel's balancing has just taken away, to see who will miss them, are not there for
 * Linux 6.1 until they are touched.
 */
static inline void ask(unsigned long n, void *pages[], int status[])
{
	if (numa_move_pages(0, n, pages, NULL, status, 0) != 0)
		TEST_FAIL("move_pages cannot tell where memory is");
	for (unsigned long i = 0; i < n; i++) {
		for (unsigned again = 0; again < 100 && status[i] == -EFAULT; again++) {
			(void)*(volatile char *)pages[i];
			if (numa_move_pages(0, 1, &pages[i], NULL, &status[i], 0) != 0)
				TEST_FAIL("move_pages cannot tell where memory is");
		}
	}
}

/* Add the pages of [p, p + bytes), which must have been written to. */
static inline void count_pages(struct pages *count, const void *p, size_t bytes)
{
	uintptr_t page = (uintptr_t)p & ~4095ul;
	const uintptr_t end = (uintptr_t)p + bytes;

	while (page < end) {
		void *pages[QUERY];
		int status[QUERY];
		unsigned long n = 0;

		for (; n < QUERY && page < end; page += 4096)
			pages[n++] = (void *)page;
		ask(n, pages, status);
		for (unsigned long i = 0; i < n; i++) {
			count->total++;
			if (status[i] >= 0 && status[i] < MAX_NODES)
				count->on[status[i]]++;
			else
				count->unknown++;
		}
	}
}

/* All of them on node, and there were some. */
static inline void expect_all_on(const struct pages *count, int node, const char *what)
{
	if (count->total > 0 && count->on[node] == count->total)
		return;
	printf("# %s: %zu pages, %zu unknown; by node:", what, count->total, count->unknown);
	for (int i = 0; i < nr_nodes(); i++)
		printf(" %zu", count->on[i]);
	TEST_FAIL("\n# not all of them on node %d", node);
}

static inline int where_most_are(const struct pages *count)
{
	int most = 0;

	for (int i = 1; i < MAX_NODES; i++)
		most = count->on[i] > count->on[most] ? i : most;
	return most;
}

/* Statistics tell that memory for one node came from another, and why. */
static inline void expect_spill(int from, int to, enum ash_spill_reason reason)
{
	struct ash_spill s[32];
	const unsigned nr = ash_spills(s, 32);

	for (unsigned i = 0; i < nr; i++) {
		if (s[i].from == from && s[i].to == to && s[i].reason == reason && s[i].runs > 0 &&
		    s[i].frames >= s[i].runs)
			return;
	}
	TEST_FAIL("of %u reasons none is %d for node %d having given what node %d was to", nr, (int)reason, to, from);
}

static inline void run_on_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	EXPECT_EQ(sched_setaffinity(0, sizeof(set), &set), 0);
	EXPECT_EQ(sched_getcpu(), cpu);
}

/*
 * fn in a thread of its own on a CPU. An EXPECT that fails there must not jump to another thread's stack: the thread
 * has a landing place of its own, and the failure is passed on when it has been joined. One such thread at a time.
 */
struct pinned {
	int cpu;
	void (*fn)(void *arg);
	void *arg;
	bool failed;
};

static inline void *pinned_main(void *arg)
{
	struct pinned *t = arg;

	t->failed = true;
	if (setjmp(test_abort) == 0) {
		run_on_cpu(t->cpu);
		t->fn(t->arg);
		t->failed = false;
	}
	return NULL;
}

static inline void in_thread_on(int cpu, void (*fn)(void *), void *arg)
{
	struct pinned t = { cpu, fn, arg, false };
	jmp_buf outer;
	pthread_t thread;

	memcpy(&outer, &test_abort, sizeof(outer));
	EXPECT_EQ(pthread_create(&thread, NULL, pinned_main, &t), 0);
	pthread_join(thread, NULL);
	memcpy(&test_abort, &outer, sizeof(outer));
	if (t.failed)
		TEST_FAIL("failed in a thread on CPU %d", cpu);
}

#endif
