/* SPDX-License-Identifier: MIT */
/* Policies: what the kernel is told of which memory, and which arenas a request goes to. */
#include "arena/policies.h"

/* Mode numbers are the kernel's. */
CHILD_TEST(each_policy_has_an_arena_that_the_kernel_was_told_of)
{
	static const char *const expected[][2] = {
		{ "bind=1", "2:2" }, { "bind=0-1", "2:3" }, { "preferred=2", "1:4" }, { "preferred-many=1-2", "5:6" },
		{ "interleave=0,3", "3:9" }, { "weighted-interleave=0-3", "6:f" },
	};
	char text[64];

	topology_on(0xf);
	start(NULL);
	for (unsigned i = 0; i < ASH_ARRAY_LEN(expected); i++) {
		const struct ash_zonelist *zl = zonelist(expected[i][0]);
		const struct ash_run r = topology_run(zl, 5000);

		EXPECT_STREQ(bound_by(r.addr, text), expected[i][1]);
		EXPECT_STREQ(bound_by((char *)r.addr + (4999 << 12), text), expected[i][1]);
		EXPECT(zonelist(expected[i][0]) == zl);
	}
	EXPECT(zonelist("default") == NULL);
	EXPECT(zonelist("local") == &ash_zonelist_by_node);
	check_zones();
}

CHILD_TEST(an_old_kernel_takes_the_nearest_mode_it_knows)
{
	char text[64];
	struct ash_run r;

	topology_on(0xf);
	machine.unknown_mode = 5;
	start(NULL);
	r = topology_run(zonelist("preferred-many=1-2"), 1);
	EXPECT_STREQ(bound_by(r.addr, text), "1:6");
	r = topology_run(zonelist("weighted-interleave=0-2"), 1);
	EXPECT_STREQ(bound_by(r.addr, text), "3:7");
}

static void check_weights(const struct ash_zonelist *zl, unsigned nr_blocks)
{
	static const char *const cycle[] = { "1:1", "1:1", "1:1", "1:4" };
	const struct ash_run r = topology_run(zl, nr_blocks * 512);
	const size_t first = (ash_frame_index(r.addr) & ((1ul << ash_registry.span_frame_shift) - 1)) >> 9;
	unsigned node0 = 0;
	char text[64];

	for (unsigned i = 0; i < nr_blocks; i++) {
		EXPECT_STREQ(bound_by((char *)r.addr + ((size_t)i << 21), text), cycle[(first + i) % 4]);
		node0 += strcmp(text, "1:1") == 0;
	}
	EXPECT_EQ(node0, nr_blocks * 3 / 4);
}

CHILD_TEST(weights_are_kept_by_pageblocks)
{
	struct ash_arena_config config = test_config();

	topology_on(0x5);
	config.policy = policy("weighted-interleave=0*3,2");
	topology_start(config);
	check_weights(ash_zonelist_for(-1), 40);
	check_weights(ash_zonelist_for(-1), 8);
	check_zones();
}

CHILD_TEST(weights_are_kept_by_huge_pages_too)
{
	struct ash_arena_config config = test_config();
	struct ash_run r;
	char text[64];
	unsigned node0 = 0;

	topology_on(0x5);
	config.huge = ASH_HUGE_2M;
	config.policy = policy("weighted-interleave=0*3,2");
	topology_start(config);
	r = topology_run(ash_zonelist_for(-1), 40 * 512);
	EXPECT(pool_is_proved(r.addr));
	/* They were bound before they were moved to where they are: one after the other, by the place they would
	 * have. */
	for (unsigned i = 0; i < machine.nr_binds; i++) {
		sprintf(text, "%ld:%llx", machine.binds[i].mode, (unsigned long long)machine.binds[i].nodes);
		EXPECT(strcmp(text, "1:1") == 0 || strcmp(text, "1:4") == 0);
		node0 += strcmp(text, "1:1") == 0 ? (unsigned)(machine.binds[i].bytes >> 21) : 0;
	}
	EXPECT_GE(node0, 30);
	EXPECT_LE(node0, 33);
}

CHILD_TEST(the_process_has_the_policy_of_its_options)
{
	char text[64];
	struct ash_run r;

	topology_on(0xf);
	start("interleave=1-2");
	r = topology_run(ash_zonelist_for(-1), 100);
	EXPECT_STREQ(bound_by(r.addr, text), "3:6");
	/* A node, or the current one, is asked for all the same. */
	r = topology_run(ash_zonelist_for(3), 100);
	EXPECT_STREQ(bound_by(r.addr, text), "1:8");
	r = topology_run(ash_zonelist_for(ASH_NODE_CURRENT), 100);
	EXPECT_STREQ(bound_by(r.addr, text), "1:1");
}

CHILD_TEST(the_tasks_own_policy_is_obeyed_unless_overridden)
{
	const struct ash_policy local = policy("local"), none = policy("default");
	struct ash_policy bind;
	char text[64];
	struct ash_run r;

	topology_on(0xf);
	machine.task_mode = MPOL_INTERLEAVE;
	machine.task_nodes = 0x6;
	start(NULL);
	r = topology_run(ash_zonelist_for(-1), 100);
	EXPECT_STREQ(bound_by(r.addr, text), "3:6");
	bind = policy("bind=2");
	EXPECT_EQ(ash_arena_set_policy(&bind), 0);
	r = topology_run(ash_zonelist_for(-1), 100);
	EXPECT_STREQ(bound_by(r.addr, text), "2:4");
	EXPECT_EQ(ash_arena_set_policy(&local), 0);
	r = topology_run(ash_zonelist_for(-1), 100);
	EXPECT_STREQ(bound_by(r.addr, text), "1:1");
	EXPECT_EQ(ash_arena_set_policy(&none), 0);
	r = topology_run(ash_zonelist_for(-1), 100);
	EXPECT_STREQ(bound_by(r.addr, text), "3:6");
}

CHILD_TEST(to_be_local_is_no_policy_of_the_tasks)
{
	char text[64];
	struct ash_run r;

	topology_on(0xf);
	machine.task_mode = MPOL_LOCAL;
	start(NULL);
	r = topology_run(ash_zonelist_for(-1), 100);
	EXPECT_STREQ(bound_by(r.addr, text), "1:1");
}

CHILD_TEST(a_policy_that_cannot_be_is_refused_and_changes_nothing)
{
	const struct ash_zonelist *zl, *before;
	struct ash_policy p;
	char text[64];

	topology_on(0xf);
	machine.with_memory = 0x7;
	start(NULL);
	before = ash_zonelist_for(-1);
	p = (struct ash_policy){ .mode = ASH_POLICY_BIND, .nodes = 0x8 };
	EXPECT_EQ(ash_zonelist_of_policy(&p, &zl), -EINVAL);
	p = (struct ash_policy){ .mode = ASH_POLICY_MODES, .nodes = 0x1 };
	EXPECT_EQ(ash_zonelist_of_policy(&p, &zl), -EINVAL);
	p = (struct ash_policy){ .mode = ASH_POLICY_BIND, .nodes = 1, .reserved = 1 };
	EXPECT_EQ(ash_zonelist_of_policy(&p, &zl), -EINVAL);
	/* One slot is the task's. */
	for (unsigned i = 1; i < ASH_POLICY_SLOTS; i++) {
		p = (struct ash_policy){ .mode = ASH_POLICY_WEIGHTED_INTERLEAVE, .nodes = 5,
					 .weight = { (uint8_t)i, 0, 1 } };
		EXPECT_EQ(ash_zonelist_of_policy(&p, &zl), 0);
	}
	p = policy("interleave=0,2");
	EXPECT_EQ(ash_zonelist_of_policy(&p, &zl), -ENOSPC);
	EXPECT_EQ(ash_arena_set_policy(&p), -ENOSPC);
	EXPECT_EQ(ash_arena_set_thread_policy(&p), -ENOSPC);
	EXPECT(ash_zonelist_for(-1) == before);
	EXPECT(ash_zonelist_of_thread() == before);
	/* Those that are there, and those that need no slot, are still to be had. */
	(void)zonelist("weighted-interleave=0*3,2*1");
	(void)zonelist("preferred=2");
	(void)zonelist("local");
	/* A task may give itself any for all that. */
	machine.task_mode = MPOL_BIND;
	machine.task_nodes = 0x4;
	{
		const struct ash_run r = topology_run(before, 1);

		EXPECT_STREQ(bound_by(r.addr, text), "nothing");
	}
}

CHILD_TEST(of_the_nodes_named_those_that_may_be_used_count)
{
	const struct ash_policy p = { .mode = ASH_POLICY_BIND, .nodes = 0xc };
	const struct ash_zonelist *zl;
	char text[64];

	topology_on(0xf);
	machine.with_memory = 0x7;
	start(NULL);
	EXPECT_EQ(ash_zonelist_of_policy(&p, &zl), 0);
	EXPECT(zl == zonelist("bind=2"));
	{
		const struct ash_run r = topology_run(zl, 1);

		EXPECT_STREQ(bound_by(r.addr, text), "2:4");
	}
}

CHILD_TEST(on_one_node_every_policy_is_in_effect)
{
	const struct ash_zonelist *zl;
	struct ash_policy p;

	topology_on(1);
	start("interleave=all");
	zl = ash_zonelist_for(-1);
	EXPECT(zonelist("bind=0") == zl);
	EXPECT(zonelist("preferred=0") == zl);
	EXPECT(zonelist("weighted-interleave=0*3") == zl);
	p = (struct ash_policy){ .mode = ASH_POLICY_BIND, .nodes = 2 };
	EXPECT_EQ(ash_zonelist_of_policy(&p, &zl), -EINVAL);
	(void)topology_run(ash_zonelist_for(-1), 5000);
	EXPECT_EQ(machine.nr_binds, 0);
	EXPECT_EQ(machine.opens, 0);
}

/* A cpuset that changes leaves policies in charge; a preferred node that has gone gives way to the nearest. */
CHILD_TEST(a_preferred_node_that_goes_gives_way)
{
	char text[64];
	struct ash_run r;

	topology_on(0xf);
	start("preferred=2");
	r = topology_run(ash_zonelist_for(-1), 100);
	EXPECT_STREQ(bound_by(r.addr, text), "1:4");
	machine.allowed = 0xb;
	fake.now_ms += 2000;
	(void)topology_run(ash_zonelist_for(-1), 9000);
	r = topology_run(ash_zonelist_for(-1), 9000);
	EXPECT_STREQ(bound_by(r.addr, text), "1:8");
}

CHILD_TEST(strict_huge_pages_of_a_policy_do_not_become_small)
{
	struct ash_arena_config config = test_config();
	struct ash_run r;

	topology_on(0x3);
	config.huge = ASH_HUGE_2M;
	config.strict = true;
	config.small_start = 0;
	config.policy = policy("bind=1");
	topology_start(config);
	pool.free_2m = 4;
	r = topology_run(ash_zonelist_for(-1), 4 * 512);
	EXPECT(pool_is_proved(r.addr));
	EXPECT_EQ(ash_run_alloc(ash_zonelist_for(-1), 512, 0, ASH_MT_UNMOVABLE, &r), -ENOMEM);
	EXPECT_EQ(ash_zonelist_for(-1)->nr, 1);
}

static void dry(const char *text)
{
	struct ash_arena_config config = test_config();

	topology_on(0x3);
	config.huge = ASH_HUGE_2M;
	config.small_start = 0;
	config.policy = policy(text);
	topology_start(config);
	pool.free_2m = 0;
	(void)topology_run(ash_zonelist_for(-1), 512);
}

CHILD_TEST(a_degraded_policy_is_named_by_its_node)
{
	dry("bind=1");
	EXPECT(strstr(ash_arena_degraded(), "node 1: no 2 MiB huge pages (wanted 2 MiB") != NULL);
}

CHILD_TEST(a_degraded_policy_of_several_nodes_is_named_as_such)
{
	dry("interleave=all");
	EXPECT(strstr(ash_arena_degraded(), "interleave=0-1: no 2 MiB huge pages (wanted 2 MiB") != NULL);
}

CHILD_TEST(a_degraded_policy_of_the_tasks_is_named_as_such)
{
	topology_on(0x3);
	machine.task_mode = MPOL_BIND | MPOL_F_RELATIVE_NODES;
	machine.task_nodes = 0x1;
	{
		struct ash_arena_config config = test_config();

		config.huge = ASH_HUGE_2M;
		config.small_start = 0;
		topology_start(config);
	}
	pool.free_2m = 0;
	(void)topology_run(ash_zonelist_for(-1), 512);
	EXPECT(strstr(ash_arena_degraded(), "the task's policy: no 2 MiB huge pages") != NULL);
}

/* set_mempolicy may be called at any time, and by one thread for itself. */
CHILD_TEST(a_task_that_gives_itself_a_policy_later_is_obeyed)
{
	char text[64];
	struct ash_run r;

	topology_on(0xf);
	start(NULL);
	r = topology_run(ash_zonelist_for(-1), 100);
	EXPECT_STREQ(bound_by(r.addr, text), "1:1");
	machine.task_mode = MPOL_BIND;
	machine.task_nodes = 0xa;
	r = topology_run(ash_zonelist_for(-1), 100);
	EXPECT_STREQ(bound_by(r.addr, text), "2:a");
	/* What was asked for by number or by a policy is overridden by none. */
	r = topology_run(ash_zonelist_for(2), 100);
	EXPECT_STREQ(bound_by(r.addr, text), "1:4");
	r = topology_run(zonelist("bind=3"), 100);
	EXPECT_STREQ(bound_by(r.addr, text), "2:8");
	machine.task_mode = MPOL_DEFAULT;
	r = topology_run(ash_zonelist_for(-1), 100);
	EXPECT_STREQ(bound_by(r.addr, text), "1:1");
}

/* Each policy that a task has had has memory of its own, and a thread that has none does not ask again until told. */
CHILD_TEST(a_thread_goes_by_its_tasks_policy)
{
	const struct ash_zonelist *local, *bound;

	topology_on(0xf);
	start(NULL);
	local = ash_zonelist_of_thread();
	EXPECT_EQ(local->home, ash_numa_current());
	machine.task_mode = MPOL_BIND;
	machine.task_nodes = 0x2;
	EXPECT(ash_zonelist_of_thread() == local);
	ash_task_policy_changed();
	bound = ash_zonelist_of_thread();
	EXPECT(bound == zonelist("bind=1"));
	machine.task_nodes = 0x4;
	EXPECT(ash_zonelist_of_thread() == zonelist("bind=2"));
	machine.task_mode = MPOL_PREFERRED;
	EXPECT(ash_zonelist_of_thread() == ash_zonelist_for(2));
	machine.task_mode = MPOL_PREFERRED | MPOL_F_STATIC_NODES;
	EXPECT(ash_zonelist_of_thread() == ash_zonelist_for(2));
	machine.task_mode = MPOL_DEFAULT;
	EXPECT(ash_zonelist_of_thread() == local);
	/* One that it made by itself is found when frames are wanted, and from then on. */
	machine.task_mode = MPOL_BIND;
	machine.task_nodes = 0x2;
	(void)topology_run(local, 1);
	EXPECT(ash_zonelist_of_thread() == bound);
}

static struct ash_policy now(bool *ours)
{
	struct ash_policy p;

	*ours = ash_arena_policy_now(&p);
	return p;
}

CHILD_TEST(what_memory_goes_by_now_can_be_told)
{
	struct ash_policy p;
	bool ours;

	topology_on(0xf);
	start(NULL);
	EXPECT_EQ(now(&ours).mode, ASH_POLICY_LOCAL);
	EXPECT(!ours);
	machine.task_mode = MPOL_INTERLEAVE;
	machine.task_nodes = 0x3;
	EXPECT_EQ(now(&ours).mode, ASH_POLICY_INTERLEAVE);
	EXPECT_EQ(now(&ours).nodes, 0x3);
	EXPECT(!ours);
	p = policy("bind=1-2");
	EXPECT_EQ(ash_arena_set_policy(&p), 0);
	EXPECT_EQ(now(&ours).mode, ASH_POLICY_BIND);
	EXPECT_EQ(now(&ours).nodes, 0x6);
	EXPECT(ours);
	p = policy("preferred=3");
	EXPECT_EQ(ash_arena_set_thread_policy(&p), 0);
	EXPECT_EQ(now(&ours).mode, ASH_POLICY_PREFERRED);
	EXPECT_EQ(now(&ours).nodes, 0x8);
	EXPECT(ours);
	p = policy("local");
	EXPECT_EQ(ash_arena_set_thread_policy(&p), 0);
	EXPECT_EQ(now(&ours).mode, ASH_POLICY_LOCAL);
	EXPECT(ours);
	p = policy("default");
	EXPECT_EQ(ash_arena_set_thread_policy(&p), 0);
	EXPECT_EQ(now(&ours).nodes, 0x6);
	p = policy("local");
	EXPECT_EQ(ash_arena_set_policy(&p), 0);
	EXPECT_EQ(now(&ours).mode, ASH_POLICY_LOCAL);
	EXPECT(ours);
}

CHILD_TEST(memory_says_which_nodes_it_is_to_be_on)
{
	topology_on(0xf);
	start(NULL);
	EXPECT_EQ(ash_arena_nodes_of(topology_run(ash_zonelist_for(2), 1).addr), 0x4);
	EXPECT_EQ(ash_arena_nodes_of(topology_run(zonelist("bind=0,3"), 1).addr), 0x9);
	EXPECT_EQ(ash_arena_nodes_of(topology_run(zonelist("interleave=1-2"), 1).addr), 0x6);
	EXPECT_EQ(ash_arena_nodes_of(topology_run(zonelist("preferred-many=1-2"), 1).addr), UINT64_MAX);
}
