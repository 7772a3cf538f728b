/* SPDX-License-Identifier: MIT */
/* What is counted of where memory was wanted and where it was had, and moving it afterwards. */
#include "arena/policies.h"

static struct ash_numastat numastat(unsigned node)
{
	struct ash_numastat s;

	(void)ash_numastat(node, &s);
	return s;
}

CHILD_TEST(runs_are_counted_as_numastat_counts_pages)
{
	struct ash_spill spills[4];

	topology_on(0xf);
	start(NULL);
	EXPECT(!ash_numastat(1, &(struct ash_numastat){ 0 }));
	(void)topology_run(ash_zonelist_for(0), 100);
	(void)topology_run(ash_zonelist_for(1), 30);
	(void)topology_run(zonelist("bind=1"), 7);
	(void)topology_run(zonelist("interleave=0-1"), 1000);
	EXPECT_EQ(numastat(0).hit, 100);
	EXPECT_EQ(numastat(0).local + numastat(1).local, 100);
	EXPECT_EQ(numastat(1).hit, 37);
	EXPECT_EQ(numastat(1).other, 37);
	EXPECT_EQ(numastat(0).miss + numastat(0).foreign + numastat(1).miss + numastat(1).foreign, 0);
	/* The thread runs on node 0, and what it asked of node 1 by number or policy is told, too. */
	EXPECT_EQ(ash_spills(spills, 4), 1);
	EXPECT_EQ(spills[0].reason, ASH_SPILL_POLICY);
	EXPECT_EQ(spills[0].from, 0);
	EXPECT_EQ(spills[0].to, 1);
	EXPECT_EQ(spills[0].frames, 37);
}

CHILD_TEST(what_fell_over_is_told_with_where_and_why)
{
	struct ash_arena_config config = test_config();
	struct ash_spill s[4];

	topology_on(0x3);
	config.huge = ASH_HUGE_2M;
	config.strict = true;
	config.small_start = 0;
	topology_start(config);
	(void)topology_run(ash_zonelist_for(0), 512);
	/* Node 1 has no pool: populating what is bound to it is refused. */
	machine.dry_nodes = 2;
	(void)topology_run(ash_zonelist_for(1), 512);
	(void)topology_run(ash_zonelist_for(1), 512);
	EXPECT_EQ(numastat(1).foreign, 1024);
	EXPECT_EQ(numastat(0).miss, 1024);
	EXPECT_EQ(numastat(0).hit, 512);
	EXPECT_EQ(ash_spills(s, 4), 1);
	EXPECT_EQ(s[0].from, 1);
	EXPECT_EQ(s[0].to, 0);
	EXPECT_EQ(s[0].reason, ASH_SPILL_POOL);
	EXPECT_EQ(s[0].runs, 2);
	EXPECT_EQ(s[0].frames, 1024);
}

static struct ash_spill only_spill(void)
{
	struct ash_spill s[4];

	memset(s, 0, sizeof(s));
	EXPECT_EQ(ash_spills(s, 4), 1);
	return s[0];
}

static void expect_spill(int from, int to, enum ash_spill_reason reason, uint64_t runs, uint64_t frames)
{
	const struct ash_spill s = only_spill();

	EXPECT_EQ(s.from, from);
	EXPECT_EQ(s.to, to);
	EXPECT_EQ(s.reason, reason);
	EXPECT_EQ(s.runs, runs);
	EXPECT_EQ(s.frames, frames);
}

/* Node 1 is in no cpuset of ours, node 3 has no memory, node 9 is not there. The thread runs on node 0. */
static void from_another_instead(int node, enum ash_spill_reason reason)
{
	struct ash_run r;

	topology_on(0xf);
	machine.allowed = 0xd;
	machine.with_memory = 0x7;
	start(NULL);
	(void)topology_run(ash_zonelist_for(node), 64);
	r = topology_run(ash_zonelist_for(node), 36);
	expect_spill(node, arena_of_run(&r).node, reason, 2, 100);
}

CHILD_TEST(a_node_that_the_cpuset_lacks_is_told_as_such)
{
	from_another_instead(1, ASH_SPILL_CPUSET);
}

CHILD_TEST(a_node_without_memory_is_told_as_such)
{
	from_another_instead(3, ASH_SPILL_MEMORYLESS);
}

CHILD_TEST(a_node_that_is_not_there_is_told_as_such)
{
	from_another_instead(9, ASH_SPILL_MEMORYLESS);
}

CHILD_TEST(a_limit_is_told_as_the_reason)
{
	struct ash_arena_config config = test_config();
	struct ash_run r;

	topology_on(0x3);
	config.limit = ASH_MIB(64);
	topology_start(config);
	/* Room that node 0 has, and node 1 may not take any more. */
	r = topology_run(ash_zonelist_for(0), 14000);
	ash_run_free(r.addr, 14000);
	(void)topology_run(ash_zonelist_for(1), 4096);
	expect_spill(1, 0, ASH_SPILL_LIMIT, 1, 4096);
}

/* Nodes 0 and 1, with spans of 64 MiB; the thread runs on node 1. */
static void start_small(void)
{
	struct ash_arena_config config = test_config();

	topology_on(0x3);
	running_on = 1;
	config.reserve = ASH_MIB(64);
	EXPECT_EQ(ash_arena_init(&config), 0);
}

/* As much as there is: the span's length is the bound of the loop. */
static struct ash_run until_it_comes_from_node_0(void)
{
	struct ash_run r;
	unsigned n = 0;

	do {
		r = topology_run(ash_zonelist_for(1), 512);
	} while (arena_of_run(&r).node == 1 && n++ < 64);
	return r;
}

CHILD_TEST(a_full_span_is_told_as_the_reason)
{
	struct ash_run r;

	start_small();
	r = until_it_comes_from_node_0();
	EXPECT_EQ(arena_of_run(&r).node, 0);
	expect_spill(1, 0, ASH_SPILL_SPACE, 1, 512);
	EXPECT_EQ(numastat(1).foreign, 512);
	EXPECT_EQ(numastat(0).miss, 512);
}

/* Of the memory of the first run: that of its arena. */
static uintptr_t denied_start, denied_bytes;

static bool is_denied(long nr, long a, long b, long c, long d)
{
	(void)nr, (void)b, (void)d;
	return (c & PROT_WRITE) != 0 && (uintptr_t)a - denied_start < denied_bytes;
}

CHILD_TEST(memory_that_the_system_refuses_is_told_as_the_reason)
{
	struct ash_run r;

	start_small();
	r = topology_run(ash_zonelist_for(1), 512);
	EXPECT_EQ(arena_of_run(&r).node, 1);
	denied_bytes = ASH_PAGE_SIZE << ash_registry.span_frame_shift;
	denied_start = ash_registry.base + ((uintptr_t)r.addr - ash_registry.base) / denied_bytes * denied_bytes;
	fake_fail(__NR_mprotect, is_denied, 0, UINT_MAX, -ENOMEM);
	r = until_it_comes_from_node_0();
	EXPECT_EQ(arena_of_run(&r).node, 0);
	expect_spill(1, 0, ASH_SPILL_SPACE, 1, 512);
	/* It has it again: nothing more is told. */
	fake.nr_rules = 0;
	r = topology_run(ash_zonelist_for(1), 512);
	EXPECT_EQ(arena_of_run(&r).node, 1);
	expect_spill(1, 0, ASH_SPILL_SPACE, 1, 512);
}

CHILD_TEST(a_policy_is_told_as_the_reason_for_another_node)
{
	topology_on(0x3);
	start("preferred=1");
	(void)topology_run(ash_zonelist_for(-1), 100);
	expect_spill(0, 1, ASH_SPILL_POLICY, 1, 100);
}

/* What is wanted where the thread runs and had there is no news. */
CHILD_TEST(local_memory_leaves_no_trace_among_spills)
{
	struct ash_spill s[4];

	topology_on(0xf);
	start(NULL);
	(void)topology_run(ash_zonelist_for(-1), 100);
	(void)topology_run(ash_zonelist_for(0), 100);
	EXPECT_EQ(ash_spills(s, 4), 0);
}

CHILD_TEST(where_memory_is_is_asked_of_the_kernel)
{
	struct ash_placement where;
	struct ash_run r;
	unsigned index;

	topology_on(0x3);
	start(NULL);
	EXPECT_EQ(ash_arena_where(0, &where), 0);
	r = topology_run(ash_zonelist_for(0), 300);
	index = (unsigned)(ash_frame_index(r.addr) >> ash_registry.span_frame_shift);
	memset(r.addr, 1, 100 * ASH_PAGE_SIZE);
	EXPECT_EQ(ash_arena_where(index, &where), 0);
	EXPECT_EQ(where.step, 1);
	EXPECT_EQ(where.sampled, 100);
	EXPECT_EQ(where.on[ash_numa_current()], 100);
	fake_fail(__NR_move_pages, NULL, 0, UINT_MAX, -EPERM);
	EXPECT_EQ(ash_arena_where(index, &where), -EPERM);
	EXPECT_EQ(ash_arena_where(ash_arena_count(), &where), -ENOENT);
}

/* The kernel's balancing has unmapped a page: neither seen nor moved until it is mapped again. */
static bool hidden, moved;

static bool hides_pages(long nr, long a, long b, long c, long d, long e, long *ret)
{
	if (nr == __NR_move_pages) {
		for (long i = 0; i < b; i++)
			((int *)e)[i] = hidden ? -EFAULT : moved || d != 0;
		moved |= d != 0 && !hidden;
		*ret = 0;
	} else if (nr == __NR_mincore) {
		memset((void *)c, 1, (size_t)((b + 4095) / 4096));
		*ret = 0;
	} else if (nr == __NR_madvise && c == 22) {
		hidden = false;
		*ret = 0;
	} else {
		return topology_front(nr, a, b, c, d, e, ret);
	}
	return true;
}

CHILD_TEST(pages_that_balancing_has_hidden_are_moved)
{
	struct ash_run r;

	topology_on(0x3);
	start(NULL);
	r = topology_run(ash_zonelist_for(0), 10);
	fake.front = hides_pages;
	hidden = true;
	EXPECT_EQ(ash_arena_migrate(r.addr, 10 * ASH_PAGE_SIZE, 1), 0);
	EXPECT(moved);
}

CHILD_TEST(a_kernel_that_moves_no_pages_is_told_of_honestly)
{
	static const long errors[] = { -EPERM, -ENOSYS };
	struct ash_run r;

	for (unsigned i = 0; i < ASH_ARRAY_LEN(errors); i++) {
		topology_on(0x3);
		if (i == 0) {
			start(NULL);
			r = topology_run(ash_zonelist_for(0), 10);
		}
		fake_fail(__NR_move_pages, NULL, 0, UINT_MAX, errors[i]);
		EXPECT_EQ(ash_arena_migrate(r.addr, 10 * ASH_PAGE_SIZE, 1), errors[i]);
	}
}

CHILD_TEST(what_is_no_range_is_not_moved)
{
	fake_on();
	EXPECT_EQ(ash_arena_migrate((void *)~(uintptr_t)0xfff, 2 * ASH_PAGE_SIZE, 0), -EINVAL);
	EXPECT_EQ(ash_arena_migrate((void *)1, 0, 0), 0);
	EXPECT_EQ(fake.calls[__NR_move_pages], 0);
}
