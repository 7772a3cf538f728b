/* SPDX-License-Identifier: MIT */
/*
 * A signal handler that gives its thread a policy (set_mempolicy under the preload), wherever it interrupts malloc and
 * free: at instructions all over them, by the processor's trap flag. On machines of a fake kernel.
 */
#include "arena/topology.h"

#include <signal.h>
#include <ucontext.h>

#include "heap/heap.h"
#include "heap/held.h"

#if defined(__x86_64__)

enum { TRAP_FLAG = 0x100, OBJECTS = 10, MOST = 1000000, RUNS = 250 };

static volatile unsigned traps, at;

static void trap(ASH_UNUSED int sig, ASH_UNUSED siginfo_t *info, void *context)
{
	ucontext_t *u = context;

	if (++traps != at)
		return;
	machine.task_nodes ^= 0x6; /* from node 1 to node 2 and back */
	ash_heap_task_policy_changed();
	u->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
}

static void steps(bool on)
{
	if (on)
		__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" ::: "memory", "cc");
	else
		__asm__ volatile("pushfq; andq $~0x100, (%%rsp); popfq" ::: "memory", "cc");
}

static void *object[OBJECTS];

/* Slow paths, most of them: bins that are empty, bins that overflow, slabs and runs that come and go. */
static void work(void)
{
	for (unsigned i = 0; i < OBJECTS; i++)
		object[i] = ash_heap_malloc(i % 4 == 0 ? 70000 : 3000 + 800 * i);
	for (unsigned i = 0; i < OBJECTS; i++)
		ash_heap_free(object[i]);
}

static void expect_bound_to(uint64_t nodes)
{
	void *p[3] = { ash_heap_malloc(100), ash_heap_malloc(5000), ash_heap_malloc(70000) };

	for (unsigned i = 0; i < 3; i++) {
		EXPECT(p[i] != NULL);
		EXPECT_EQ(ash_arena_nodes_of(p[i]), nodes);
	}
	for (unsigned i = 0; i < 3; i++)
		ash_heap_free(p[i]);
}

static void interrupt_at(unsigned instruction)
{
	traps = 0;
	at = instruction;
	steps(true);
	work();
	steps(false);
	if (traps >= at)
		expect_bound_to(machine.task_nodes);
}

CHILD_TEST(a_policy_that_comes_in_a_signal_handler_is_obeyed_and_breaks_nothing)
{
	struct sigaction action = { .sa_sigaction = trap, .sa_flags = SA_SIGINFO };
	unsigned all;

	topology_on(0x7);
	machine.task_mode = MPOL_BIND;
	machine.task_nodes = 0x2;
	topology_start(test_config());
	expect_bound_to(0x2);
	EXPECT_EQ(sigaction(SIGTRAP, &action, NULL), 0);
	/* The first time sets things up; what the others do is about the same. */
	interrupt_at(MOST);
	interrupt_at(MOST);
	all = traps;
	if (all == 0)
		SKIP("no single steps on this machine");
	printf("# %u instructions\n", all);
	EXPECT_LT(all, MOST);
	for (unsigned i = 0; i < RUNS; i++)
		interrupt_at(1 + (unsigned)((uint64_t)all * i / RUNS));
	check_zones();
}

#else

TEST(a_policy_that_comes_in_a_signal_handler_is_obeyed_and_breaks_nothing)
{
	SKIP("single steps are for x86-64");
}

#endif
