/* SPDX-License-Identifier: MIT */
/* Machines of 1 to 64 nodes, with holes, with any distances, with every call refused: the zonelists are what they
 * ought. */
#include "arena/topology.h"

#include "arena/internal.h"
#include "os/numa.h"

static uint64_t random_state;

static unsigned rnd(unsigned n)
{
	return (unsigned)(test_random(&random_state) % n);
}

/* nr nodes with numbers below 64, in any places; distances that differ by direction, with many equal ones among
 * them. */
static void random_machine(unsigned nr)
{
	uint64_t nodes = 0;

	while ((unsigned)__builtin_popcountll(nodes) < nr)
		nodes |= 1ull << (nr == 64 ? (unsigned)__builtin_popcountll(nodes) : rnd(64));
	topology_on(nodes);
	for (unsigned i = 0; i < TOPOLOGY_NODES; i++) {
		for (unsigned j = 0; j < TOPOLOGY_NODES; j++)
			machine.distance[i][j] = (unsigned char)(i == j ? 10 : 11 + rnd(6) * (rnd(4) == 0 ? 40 : 3));
	}
	for (unsigned i = 0; i < 64 && nr > 3; i++) {
		if (rnd(5) == 0)
			machine.with_memory &= ~(1ull << i);
		if (rnd(5) == 0)
			machine.with_cpus &= ~(1ull << i);
		if (rnd(6) == 0)
			machine.allowed &= ~(1ull << i);
	}
}

/* By the rules as docs/design.md has them, from the machine and not from the library. */
static uint64_t rank(unsigned from, unsigned to)
{
	const unsigned d = machine.distance[from][to] + (to < from) + (unsigned)(machine.with_cpus >> to & 1);

	return to == from ? 0 : ((uint64_t)d << 8) + to;
}

static void check_zonelist(unsigned from, uint64_t usable)
{
	const struct ash_zonelist *zl = ash_zonelist_for((int)from);
	uint64_t last = 0;

	EXPECT_EQ(zl->nr, __builtin_popcountll(usable));
	for (unsigned i = 0; i < zl->nr; i++) {
		const struct ash_zonelist one = { .nr = 1, .arena = { zl->arena[i] } };
		const struct ash_run r = topology_run(&one, 1);
		const int node = arena_of_run(&r).node;

		EXPECT((usable >> node & 1) != 0);
		EXPECT(i == 0 || rank(from, (unsigned)node) > last);
		last = rank(from, (unsigned)node);
	}
}

static unsigned nr_of_nodes;

static void zonelists(void)
{
	struct ash_arena_config config = test_config();
	uint64_t usable;
	char text[64];

	random_machine(nr_of_nodes);
	usable = machine.allowed & machine.with_memory;
	if (usable == 0)
		return;
	topology_start(config);
	if ((usable & (usable - 1)) == 0) {
		EXPECT_EQ(ash_zonelist_for(-1)->nr, 1);
		return;
	}
	for (unsigned from = 0; from < 64; from++) {
		if ((machine.online >> from & 1) != 0)
			check_zonelist(from, usable);
	}
	for (unsigned node = 0; node < 64; node++) {
		if ((usable >> node & 1) != 0) {
			const struct ash_run r = topology_run(ash_zonelist_for((int)node), 1);

			EXPECT_EQ(strtol(bound_by(r.addr, text), NULL, 10), MPOL_PREFERRED);
			EXPECT_EQ(strtoull(strchr(text, ':') + 1, NULL, 16), 1ull << node);
		}
	}
	EXPECT_EQ(fake.log_len, 0);
	check_zones();
}

TEST(every_machine_has_the_kernels_zonelists)
{
	for (unsigned round = 0; round < 3; round++) {
		for (nr_of_nodes = 1; nr_of_nodes <= 64; nr_of_nodes += nr_of_nodes < 9 ? 1 : 11) {
			random_state = test_seed + round * 100 + nr_of_nodes;
			child_passes(zonelists);
		}
	}
}

CHILD_TEST(one_node_costs_no_file_and_no_mbind)
{
	topology_on(1);
	topology_start(test_config());
	(void)topology_run(ash_zonelist_for(-1), 2048);
	EXPECT_EQ(machine.opens, 0);
	EXPECT_EQ(machine.nr_binds, 0);
	EXPECT_EQ(ash_arena_count(), ASH_ARENA_KINDS);
}

/* Files: which nodes there are and have memory, once; who has processors and one node's distances, per zonelist. */
CHILD_TEST(sixty_four_nodes_cost_five_files_to_start)
{
	topology_on(UINT64_MAX);
	topology_start(test_config());
	EXPECT_EQ(machine.opens, 5);
	EXPECT_EQ(machine.nr_binds, 1);
}

CHILD_TEST(nodes_without_processors_come_before_equally_near_ones)
{
	static const int expected[] = { 0, 3, 1, 2 };

	topology_on(0xf);
	for (unsigned i = 1; i < 4; i++)
		machine.distance[0][i] = 20;
	machine.with_cpus = 0x7;
	topology_start(test_config());
	for (unsigned i = 0; i < 4; i++) {
		const struct ash_zonelist one = { .nr = 1, .arena = { ash_zonelist_for(0)->arena[i] } };
		const struct ash_run r = topology_run(&one, 1);

		EXPECT_EQ(arena_of_run(&r).node, expected[i]);
	}
}

static void use_everything(void)
{
	struct ash_arena_config config = test_config();

	config.huge = ASH_HUGE_2M;
	topology_start(config);
	for (int node = -1; node < 4; node++) {
		const struct ash_run r = topology_run(ash_zonelist_for(node), 2048);

		memset(r.addr, 1, r.nr_frames << ASH_PAGE_SHIFT);
	}
	check_zones();
	EXPECT_EQ(fake.log_len, 0);
}

static long failing_call, failing_with;

static void one_call_fails(void)
{
	topology_on(0xf);
	fake_fail(failing_call, NULL, 0, UINT_MAX, failing_with);
	use_everything();
}

/* Each alone: memory still comes, from where the kernel likes, and nothing is said. */
TEST(every_refused_call_is_survived_in_silence)
{
	static const long calls[] = { __NR_get_mempolicy, __NR_mbind, __NR_openat, __NR_read, __NR_move_pages };
	static const long errors[] = { -EPERM, -ENOSYS, -EACCES };

	for (unsigned c = 0; c < ASH_ARRAY_LEN(calls); c++) {
		for (unsigned e = 0; e < ASH_ARRAY_LEN(errors); e++) {
			failing_call = calls[c];
			failing_with = errors[e];
			child_passes(one_call_fails);
		}
	}
}

CHILD_TEST(without_sysfs_the_allowed_nodes_are_used)
{
	topology_on(0x5);
	machine.no_sysfs = true;
	topology_start(test_config());
	EXPECT_EQ(ash_zonelist_for(2)->nr, 2);
	EXPECT_EQ(ash_zonelist_for(0)->nr, 2);
	EXPECT_EQ(fake.log_len, 0);
}

/* Something is taken from the system, which is when the nodes are looked at, at most once a second. */
static void time_goes_by(void)
{
	fake.now_ms += 1000;
	(void)topology_run(ash_zonelist_for(-1), 4096);
}

static void nonsense(void)
{
	const char *text = machine.nonsense;

	topology_on(0x3);
	machine.nonsense = text;
	topology_start(test_config());
	for (int node = -1; node < 3; node++)
		(void)topology_run(ash_zonelist_for(node), 2048);
	check_zones();
	EXPECT_EQ(fake.log_len, 0);
}

CHILD_TEST(a_cpuset_that_changes_is_followed)
{
	const struct ash_zonelist *before;

	topology_on(0xf);
	machine.allowed = 0x3;
	topology_start(test_config());
	time_goes_by();
	before = ash_zonelist_for(0);
	check_zonelist(0, 0x3);
	machine.allowed = 0xe;
	EXPECT(ash_zonelist_for(0) == before);
	time_goes_by();
	EXPECT(ash_zonelist_for(0) != before);
	for (unsigned node = 0; node < 4; node++)
		check_zonelist(node, 0xe);
	machine.allowed = 0x4;
	time_goes_by();
	check_zonelist(0, 0x4);
	/* A kernel that will not say any more is not taken to mean node 0. */
	fake_fail(__NR_get_mempolicy, NULL, 0, UINT_MAX, -EPERM);
	time_goes_by();
	check_zonelist(0, 0x4);
	check_zones();
}

/* And nothing is taken: somebody passes where the nodes are looked at. */
static void a_second_goes_by(void)
{
	fake.now_ms += 1000;
	ash_nodes_look();
}

/* Threads in cpusets of their own, taking turns at looking: the same few lists, and ever less often. */
CHILD_TEST(nodes_that_come_and_go_cost_less_and_less)
{
	const struct ash_zonelist *lists[2] = { NULL, NULL }, *last;
	unsigned changes = 0;

	random_state = test_seed;
	topology_on(0xf);
	topology_start(test_config());
	a_second_goes_by();
	last = ash_zonelist_for(0);
	for (unsigned second = 0; second < 400; second++) {
		const struct ash_zonelist *zl;

		machine.allowed = rnd(2) == 0 ? 0x3 : 0xf;
		a_second_goes_by();
		zl = ash_zonelist_for(0);
		if (zl == last)
			continue;
		if (changes < 2)
			lists[changes] = zl;
		EXPECT(zl == lists[changes % 2]);
		check_zonelist(0, machine.allowed);
		changes++;
		last = zl;
	}
	printf("# %u changes in 400 seconds\n", changes);
	EXPECT(changes >= 2 && changes <= 40);
	/* What stays is looked at once a second again, and followed. */
	machine.allowed = 0xf;
	for (unsigned second = 0; second < 300; second++)
		a_second_goes_by();
	check_zonelist(0, 0xf);
	machine.allowed = 0x6;
	a_second_goes_by();
	check_zonelist(0, 0x6);
}

/* One node of four to begin with: others are seen when they come, and told of to the kernel. */
CHILD_TEST(a_process_that_starts_with_one_node_sees_the_others)
{
	char text[64];
	struct ash_run r;

	topology_on(0xf);
	machine.allowed = 0x4;
	topology_start(test_config());
	/* One of them to tell a cpuset from a want of memory: the thread runs on a node that is not allowed. */
	EXPECT_EQ(machine.opens, 5);
	time_goes_by();
	check_zonelist(0, 0x4);
	machine.allowed = 0xf;
	time_goes_by();
	for (unsigned node = 0; node < 4; node++)
		check_zonelist(node, 0xf);
	r = topology_run(ash_zonelist_for(3), 100);
	EXPECT_STREQ(bound_by(r.addr, text), "1:8");
	machine.allowed = 0x1;
	time_goes_by();
	check_zonelist(3, 0x1);
	machine.allowed = 0xf;
	time_goes_by();
	check_zonelist(3, 0xf);
	check_zones();
}

/* It was not even there when the process started. */
CHILD_TEST(a_node_that_comes_later_is_used)
{
	topology_on(0x1);
	machine.possible = 0x23;
	topology_start(test_config());
	time_goes_by();
	check_zonelist(0, 0x1);
	machine.online = machine.with_memory = machine.allowed = 0x21;
	time_goes_by();
	check_zonelist(0, 0x21);
	check_zonelist(5, 0x21);
	machine.online = machine.with_memory = machine.allowed = 0x23;
	time_goes_by();
	check_zonelist(1, 0x23);
	check_zones();
}

/* Eight more than may be used, and as many as are there. */
CHILD_TEST(slots_are_for_what_is_there_and_some_to_come)
{
	topology_on(0x3);
	machine.possible = UINT64_MAX;
	topology_start(test_config());
	EXPECT_EQ(ash_arena_count(), (2 + 8 + ASH_POLICY_SLOTS) * ASH_ARENA_KINDS);
	time_goes_by();
	machine.online = machine.with_memory = machine.allowed = 0xffff;
	time_goes_by();
	check_zonelist(0, 0x3ff);
}

CHILD_TEST(one_of_sixty_four_nodes_may_become_all)
{
	topology_on(UINT64_MAX);
	machine.allowed = 1ull << 40;
	topology_start(test_config());
	time_goes_by();
	machine.allowed = UINT64_MAX;
	time_goes_by();
	check_zonelist(40, UINT64_MAX);
}

/* What was free may have been moved with the cpuset, and so is not handed out as it is. */
CHILD_TEST(free_memory_goes_back_when_the_nodes_change)
{
	struct ash_run r;

	topology_on(0x3);
	topology_start(test_config());
	r = topology_run(ash_zonelist_for(0), 8192);
	memset(r.addr, 1, r.nr_frames << ASH_PAGE_SHIFT);
	ash_run_free(r.addr, r.nr_frames);
	machine.allowed = 0x1;
	(void)ash_arena_decay();
	fake.now_ms += 2000;
	(void)ash_arena_decay();
	r = topology_run(ash_zonelist_for(0), 4096);
	EXPECT(r.zeroed);
}

/* Numbers that nothing here has room for are not an error, and a file that is no list names no node. */
CHILD_TEST(what_sysfs_says_need_not_make_sense)
{
	static const char *const texts[] = { "",         "\n",   "x", "0-", "5-2\n", "0-99999999999999999999",
					     "64-127\n", "0,,1", "-" };

	for (unsigned i = 0; i < ASH_ARRAY_LEN(texts); i++) {
		machine.nonsense = texts[i];
		child_passes(nonsense);
	}
}

CHILD_TEST(memory_that_is_added_is_used)
{
	topology_on(0x7);
	machine.with_memory = machine.allowed = 0x3;
	topology_start(test_config());
	time_goes_by();
	check_zonelist(2, 0x3);
	machine.with_memory = machine.allowed = 0x7;
	time_goes_by();
	check_zonelist(2, 0x7);
	check_zonelist(0, 0x7);
}

CHILD_TEST(nothing_is_looked_at_more_than_once_a_second)
{
	topology_on(0x3);
	topology_start(test_config());
	(void)ash_zonelist_for(0);
	time_goes_by();
	machine.opens = 0;
	for (unsigned i = 0; i < 50; i++)
		(void)topology_run(ash_zonelist_for(0), 2048);
	EXPECT_EQ(machine.opens, 0);
}
