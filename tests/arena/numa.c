/* SPDX-License-Identifier: MIT */
/* Several nodes, on any machine: topologies served by a fake kernel. */
#include "arena/child.h"
#include "arena/fake_pool.h"

#include <linux/mempolicy.h>

#include "base/bits.h"
#include "os/process.h"

static unsigned long allowed, task_nodes;
static int task_mode;
static struct {
	unsigned calls;
	long mode;
	unsigned long mask;
	uintptr_t start;
	size_t bytes;
} binds[16];
static unsigned nr_binds;
static int dry_node = -1; /* populating memory bound here is refused */

/* The pool's fake, with nodes in front of it. */
static bool numa_front(long nr, long a, long b, long c, long d, long e, long *ret)
{
	if (nr == __NR_mbind) {
		binds[nr_binds].mode = c & ~MPOL_MODE_FLAGS;
		binds[nr_binds].mask = *(unsigned long *)d;
		binds[nr_binds].start = (uintptr_t)a;
		binds[nr_binds++ % 16].bytes = (size_t)b;
		*ret = 0;
		return true;
	}
	if (nr == __NR_madvise && c == 23 && nr_binds > 0 && binds[(nr_binds - 1) % 16].start == (uintptr_t)a &&
	    dry_node >= 0 && binds[(nr_binds - 1) % 16].mask == 1ul << dry_node) {
		*ret = -EFAULT;
		return true;
	}
	return pool_front(nr, a, b, c, d, e, ret);
}

static long numa_call(long nr, long a, long b, long c, long d, long e, long f)
{
	if (nr == __NR_get_mempolicy && c < 4)
		return -EINVAL;
	if (nr == __NR_get_mempolicy) {
		memset((void *)b, 0, (size_t)c / 8);
		*(unsigned long *)b = e == MPOL_F_MEMS_ALLOWED ? allowed : task_nodes;
		if (e != MPOL_F_MEMS_ALLOWED)
			*(int *)a = task_mode;
		return 0;
	}
	return fake_call(nr, a, b, c, d, e, f);
}

static const struct ash_sys_ops numa_ops = { .call = numa_call };

static void machine(unsigned long nodes, const char *with_memory)
{
	fake_pool_on(100, 0);
	fake.front = numa_front;
	ash_sys_hook = &numa_ops;
	allowed = nodes;
	task_mode = MPOL_DEFAULT;
	task_nodes = 0;
	nr_binds = 0;
	dry_node = -1;
	fake_file("/sys/devices/system/node/has_memory", with_memory);
	fake_file("/sys/devices/system/node/online", "0-3\n");
	fake_file("/sys/devices/system/node/node0/distance", "10 40 20 30\n");
	fake_file("/sys/devices/system/node/node1/distance", "40 10 30 20\n");
	fake_file("/sys/devices/system/node/node2/distance", "20 30 10 40\n");
	fake_file("/sys/devices/system/node/node3/distance", "30 20 40 10\n");
}

static void start(enum ash_huge_policy huge, bool strict)
{
	struct ash_arena_config config = test_config();

	config.huge = huge;
	config.strict = strict;
	EXPECT_EQ(ash_arena_init(&config), 0);
}

/* The kernel node numbers of a zonelist's arenas, as digits, H in front of its node: "H0 0 H2 2". */
static const char *nodes_of(const struct ash_zonelist *zl, char out[64])
{
	char *p = out;

	for (unsigned i = 0; i < zl->nr; i++) {
		struct ash_arena_stats s;
		struct ash_run r;

		/* Arenas come to be when they are used. */
		const struct ash_zonelist one = { .nr = 1, .arena = { zl->arena[i] } };

		EXPECT_EQ(ash_run_alloc(&one, 1024, 0, ASH_MT_UNMOVABLE, &r), 0);
		EXPECT(ash_arena_stats(zl->arena[i], &s));
		p += sprintf(p, "%s%s%d", i > 0 ? " " : "", s.kind == ASH_ARENA_H ? "H" : "", s.node);
	}
	return out;
}

/* Of those that could be, the ones that are. */
static unsigned nr_arenas(void)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < ash_arena_count(); i++)
		nr += ash_arena_zone(i) != NULL;
	return nr;
}

CHILD_TEST(zonelists_go_by_distance)
{
	char text[64];

	machine(0xf, "0-3\n");
	start(ASH_HUGE_AUTO, false);
	EXPECT_STREQ(nodes_of(ash_zonelist_for(0), text), "0 2 3 1");
	EXPECT_STREQ(nodes_of(ash_zonelist_for(1), text), "1 3 2 0");
	EXPECT_STREQ(nodes_of(ash_zonelist_for(2), text), "2 0 1 3");
	EXPECT_STREQ(nodes_of(ash_zonelist_for(3), text), "3 1 0 2");
	EXPECT(ash_zonelist_for(0) == ash_zonelist_for(0));
	check_zones();
}

/* Between the spans in use is address space of others, and the tags there are those of nothing. */
CHILD_TEST(a_limit_takes_the_spans_of_nodes_that_were_not_used)
{
	const size_t block = 256 * ASH_PAGE_SIZE;
	struct ash_run on_0, on_2, r;
	unsigned n = 0;
	size_t before;

	machine(0xf, "0-3\n");
	start(ASH_HUGE_AUTO, false);
	EXPECT(ash_meta_table(4, 0) != NULL);
	EXPECT_EQ(ash_run_alloc(ash_zonelist_for(0), 256, 0, ASH_MT_UNMOVABLE, &on_0), 0);
	EXPECT_EQ(ash_run_alloc(ash_zonelist_for(2), 256, 0, ASH_MT_UNMOVABLE, &on_2), 0);
	memset(on_0.addr, 1, block);
	memset(on_2.addr, 2, block);
	before = ash_process_mapped();
	ash_arena_fit(ASH_GIB(4));
	EXPECT_LE(ash_process_mapped(), ash_max(ASH_GIB(4), before / 256));
	EXPECT(*(char *)on_0.addr == 1 && *(char *)on_2.addr == 2);
	EXPECT_EQ(ash_tag_load(ash_frame_index(on_0.addr) + ASH_GIB(32) / ASH_PAGE_SIZE), 0);
	while (ash_run_alloc(ash_zonelist_for(1), 256, 0, ASH_MT_UNMOVABLE, &r) == 0 && n < 4096) {
		*(char *)r.addr = 3;
		n++;
	}
	EXPECT_GE(n, 2);
	EXPECT_LE(n, 4095);
	EXPECT_EQ(nr_arenas(), 2);
	check_zones();
}

CHILD_TEST(only_allowed_nodes_with_memory_have_arenas)
{
	char text[64];

	machine(0xd, "0,3\n");
	start(ASH_HUGE_AUTO, false);
	EXPECT_STREQ(nodes_of(ash_zonelist_for(3), text), "3 0");
	EXPECT_EQ(nr_arenas(), 2);
	EXPECT_EQ(ash_zonelist_for(1000)->nr, 2);
}

/* By its own distances, not by those of the nearest: 1 is nearer to 2 than to 0, 3 to 0 than to 2. */
CHILD_TEST(a_node_without_memory_uses_the_nearest_first)
{
	char text[64];

	machine(0x5, "0,2\n");
	start(ASH_HUGE_AUTO, false);
	EXPECT_STREQ(nodes_of(ash_zonelist_for(1), text), "2 0");
	EXPECT_STREQ(nodes_of(ash_zonelist_for(3), text), "0 2");
	EXPECT_EQ(nr_arenas(), 2);
}

CHILD_TEST(ordinary_memory_prefers_its_node)
{
	struct ash_arena_stats s;
	struct ash_run r;

	machine(0x3, "0-1\n");
	start(ASH_HUGE_AUTO, false);
	EXPECT_EQ(ash_run_alloc(ash_zonelist_for(1), 1, 0, ASH_MT_UNMOVABLE, &r), 0);
	EXPECT(ash_arena_stats(2, &s));
	EXPECT_EQ(s.node, 1);
	EXPECT_GE(nr_binds, 1);
	EXPECT_EQ(binds[nr_binds - 1].mode, MPOL_PREFERRED);
	EXPECT_EQ(binds[nr_binds - 1].mask, 2);
	EXPECT_EQ(binds[nr_binds - 1].start, s.start);
	EXPECT_EQ(binds[nr_binds - 1].bytes, s.span_bytes);
}

CHILD_TEST(hugetlb_is_bound_before_it_is_proved)
{
	struct ash_run r;

	machine(0x3, "0-1\n");
	start(ASH_HUGE_2M, false);
	EXPECT_EQ(ash_run_alloc(ash_zonelist_for(1), 2048, 0, ASH_MT_UNMOVABLE, &r), 0);
	EXPECT_EQ(binds[nr_binds - 1].mode, MPOL_BIND);
	EXPECT_EQ(binds[nr_binds - 1].mask, 2);
	EXPECT_EQ(binds[nr_binds - 1].bytes, 2048 * ASH_PAGE_SIZE);
	EXPECT(pool_is_proved(r.addr));
}

CHILD_TEST(the_ladder_of_the_near_node_comes_before_the_far_node)
{
	char text[64];

	machine(0x3, "0-1\n");
	start(ASH_HUGE_2M, false);
	EXPECT_STREQ(nodes_of(ash_zonelist_for(1), text), "H1 1 H0 0");
}

CHILD_TEST(strict_huge_pages_may_be_far_but_not_small)
{
	char text[64];

	machine(0x3, "0-1\n");
	start(ASH_HUGE_2M, true);
	EXPECT_STREQ(nodes_of(ash_zonelist_for(1), text), "H1 H0");
}

CHILD_TEST(a_dry_node_is_named)
{
	struct ash_run r;

	machine(0x3, "0-1\n");
	start(ASH_HUGE_2M, false);
	dry_node = 1;
	EXPECT_EQ(ash_run_alloc(ash_zonelist_for(1), 2048, 0, ASH_MT_UNMOVABLE, &r), 0);
	EXPECT(strstr(fake.log, "node 1: no 2 MiB huge pages (wanted 8 MiB") != NULL);
	EXPECT_EQ(ash_run_alloc(ash_zonelist_for(0), 2048, 0, ASH_MT_UNMOVABLE, &r), 0);
	EXPECT(pool_is_proved(r.addr));
	check_zones();
}

CHILD_TEST(a_policy_of_the_task_that_cannot_be_told_is_left_in_charge)
{
	struct ash_run r;

	machine(0xf, "0-3\n");
	task_mode = MPOL_INTERLEAVE | MPOL_F_RELATIVE_NODES;
	task_nodes = 0xf;
	start(ASH_HUGE_2M, false);
	EXPECT_EQ(ash_run_alloc(ash_zonelist_for(-1), 2048, 0, ASH_MT_UNMOVABLE, &r), 0);
	EXPECT_EQ(nr_binds, 0);
	/* Unless a node is asked for. */
	EXPECT_EQ(ash_run_alloc(ash_zonelist_for(3), 2048, 0, ASH_MT_UNMOVABLE, &r), 0);
	EXPECT_EQ(binds[nr_binds - 1].mask, 8);
}

CHILD_TEST(unknown_topology_takes_the_next_nodes_first)
{
	char text[64];

	machine(0x7, "0-2\n");
	fake.nr_files = 0;
	fake.files_only = true;
	start(ASH_HUGE_AUTO, false);
	EXPECT_STREQ(nodes_of(ash_zonelist_for(1), text), "1 2 0");
}

CHILD_TEST(no_numa_calls_means_one_node_in_silence)
{
	struct ash_run r;

	fake_on();
	fake.capture = true;
	fake_fail(__NR_get_mempolicy, NULL, 0, UINT_MAX, -EPERM);
	fake_fail(__NR_mbind, NULL, 0, UINT_MAX, -EPERM);
	start(ASH_HUGE_AUTO, false);
	EXPECT_EQ(ash_run_alloc(ash_zonelist_for(-1), 1, 0, ASH_MT_UNMOVABLE, &r), 0);
	EXPECT_EQ(ash_zonelist_for(7)->nr, 1);
	EXPECT_EQ(fake.calls[__NR_mbind], 0);
	EXPECT_EQ(fake.log_len, 0);
}

CHILD_TEST(refused_binding_is_survived_on_many_nodes)
{
	struct ash_run r;

	machine(0x3, "0-1\n");
	fake.front = pool_front;
	fake_fail(__NR_mbind, NULL, 0, UINT_MAX, -EPERM);
	start(ASH_HUGE_2M, false);
	EXPECT_EQ(ash_run_alloc(ash_zonelist_for(1), 2048, 0, ASH_MT_UNMOVABLE, &r), 0);
	memset(r.addr, 1, 2048 * ASH_PAGE_SIZE);
	EXPECT_EQ(pool.used_2m, 4);
	EXPECT_EQ(fake.log_len, 0);
	check_zones();
}
