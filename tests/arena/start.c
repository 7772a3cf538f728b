/* SPDX-License-Identifier: MIT */
/* The base-page start of a T arena, in front of a kernel that says what is in memory as the test wants it. */
#include "arena/child.h"
#include "unit/os/fake_sys.h"

#include <limits.h>
#include <sys/mman.h>


enum { PB = 1 << ASH_PAGEBLOCK_ORDER, COLLAPSE = 25 };

/* Of sixteen pages so many are in memory, everywhere. */
static unsigned resident;
static unsigned collapsed, advised;

static bool kernel(long nr, long a, long b, long c, long d, long e, long *ret)
{
	(void)a, (void)d, (void)e;
	*ret = 0;
	if (nr == __NR_madvise) {
		collapsed += c == COLLAPSE;
		advised += c == MADV_HUGEPAGE;
		return c == COLLAPSE;
	}
	if (nr != __NR_mincore)
		return false;
	for (long i = 0; i < b >> ASH_PAGE_SHIFT; i++)
		((unsigned char *)c)[i] = i % 16 < (long)resident;
	return true;
}

static void fake_kernel(const char *status)
{
	fake_on();
	fake.front = kernel;
	fake_file("/proc/thread-self/status", status);
	collapsed = advised = 0;
}

static const struct ash_zonelist *start(struct ash_arena_config config)
{
	fake_kernel("Seccomp:\t0\n");
	EXPECT_EQ(ash_arena_init(&config), 0);
	return ash_zonelist_for(-1);
}

static void *take(const struct ash_zonelist *zl, size_t nr)
{
	struct ash_run r;

	EXPECT_EQ(ash_run_alloc(zl, nr, 0, ASH_MT_UNMOVABLE, &r), 0);
	return r.addr;
}

static size_t mib(enum ash_backing backing)
{
	struct ash_arena_stats s;

	EXPECT(ash_arena_stats(0, &s));
	return s.backed[backing] * ASH_PAGE_SIZE >> 20;
}

/* Slabs of 64 KiB, of which there are then so many MiB. */
static void take_slabs(const struct ash_zonelist *zl, size_t mebibytes)
{
	while (mib(ASH_BACKING_BASE) + mib(ASH_BACKING_THP) < mebibytes)
		(void)take(zl, 16);
}

CHILD_TEST(a_start_that_is_used_ends_where_the_option_says)
{
	const struct ash_zonelist *zl = start(test_config());

	resident = 13;
	take_slabs(zl, 12);
	EXPECT_EQ(mib(ASH_BACKING_BASE), 2);
	check_zones();
}

CHILD_TEST(a_start_that_is_not_goes_on)
{
	const struct ash_zonelist *zl = start(test_config());

	resident = 7;
	take_slabs(zl, 10);
	EXPECT_EQ(mib(ASH_BACKING_THP), 0);
	EXPECT_EQ(advised, 0);
	/* What has filled is made huge when the process has grown, but not while the start goes on. */
	take_slabs(zl, 40);
	EXPECT_EQ(mib(ASH_BACKING_BASE), 16);
	EXPECT_EQ(collapsed, 0);
	check_zones();
}

CHILD_TEST(slabs_of_one_heap_end_it_when_they_are_half_full)
{
	const struct ash_zonelist *zl = start(test_config());

	resident = 9;
	take_slabs(zl, 10);
	EXPECT_EQ(mib(ASH_BACKING_BASE), 2);
	check_zones();
}

CHILD_TEST(those_of_several_when_they_are_fuller)
{
	const struct ash_zonelist *zl = start(test_config());

	ash_arena_note_shared();
	resident = 11;
	take_slabs(zl, 10);
	EXPECT_EQ(mib(ASH_BACKING_THP), 0);
	resident = 15;
	take_slabs(zl, 14);
	EXPECT_EQ(mib(ASH_BACKING_BASE), 10);
	check_zones();
}

CHILD_TEST(a_long_run_beside_slabs_of_several_ends_it_when_they_are_half_full)
{
	const struct ash_zonelist *zl = start(test_config());

	ash_arena_note_shared();
	resident = 9;
	take_slabs(zl, 2);
	(void)take(zl, PB);
	EXPECT_EQ(mib(ASH_BACKING_BASE), 2);
	EXPECT_EQ(mib(ASH_BACKING_THP), 2);
}

CHILD_TEST(a_start_that_fills_ends)
{
	const struct ash_zonelist *zl = start(test_config());

	resident = 5;
	take_slabs(zl, 6);
	resident = 14;
	take_slabs(zl, 14);
	EXPECT_EQ(mib(ASH_BACKING_BASE), 6);
	/* And does not begin again. */
	resident = 1;
	take_slabs(zl, 20);
	EXPECT_EQ(mib(ASH_BACKING_BASE), 6);
}

CHILD_TEST(a_run_beside_what_is_not_used_is_base_pages)
{
	const struct ash_zonelist *zl = start(test_config());
	void *first;

	resident = 7;
	(void)take(zl, PB);
	first = take(zl, 4 * PB);
	EXPECT_EQ(mib(ASH_BACKING_THP), 0);
	(void)take(zl, PB);
	EXPECT_EQ(mib(ASH_BACKING_THP), 0);
	EXPECT(ash_arena_is_base_start(first));
	/* Until what there is is used. */
	resident = 9;
	(void)take(zl, PB);
	EXPECT_EQ(mib(ASH_BACKING_BASE), 12);
	resident = 2;
	(void)take(zl, PB);
	EXPECT_EQ(mib(ASH_BACKING_BASE), 12);
	EXPECT(ash_arena_is_base_start(first));
	check_zones();
}

CHILD_TEST(what_counts_is_what_has_come_since_the_last_look)
{
	const struct ash_zonelist *zl = start(test_config());

	/* 4 MiB with a quarter touched, then 2 MiB of which four fifths are: less than half of all 6 MiB. */
	resident = 4;
	take_slabs(zl, 6);
	EXPECT_EQ(mib(ASH_BACKING_BASE), 6);
	resident = 7;
	take_slabs(zl, 8);
	EXPECT_EQ(mib(ASH_BACKING_BASE), 6);
	check_zones();
}

/* A start of one pageblock, of which the first half is full but for 32 frames; sixteenths of it are in memory. */
static const struct ash_zonelist *half_full(struct ash_arena_config config, unsigned sixteenths)
{
	const struct ash_zonelist *zl = start(config);

	resident = sixteenths;
	for (unsigned i = 0; i < 14; i++)
		(void)take(zl, 16);
	return zl;
}

CHILD_TEST(a_start_ends_within_a_pageblock_for_a_run_that_fills_the_other_half)
{
	const struct ash_zonelist *zl = half_full(test_config(), 1);
	void *run = take(zl, PB / 2 - 16);

	EXPECT_EQ(mib(ASH_BACKING_BASE), 1);
	EXPECT_EQ(mib(ASH_BACKING_THP), 1);
	EXPECT_EQ(collapsed, 1);
	EXPECT_EQ(advised, 1);
	EXPECT(!ash_arena_is_base_start(run));
	/* And does not begin again. */
	take_slabs(zl, 8);
	EXPECT_EQ(mib(ASH_BACKING_BASE), 1);
	EXPECT_EQ(collapsed, 1);
	check_zones();
}

CHILD_TEST(a_start_ends_within_a_pageblock_for_a_longer_run_beside_what_is_used)
{
	const struct ash_zonelist *zl = half_full(test_config(), 8);

	(void)take(zl, 2 * PB);
	EXPECT_EQ(mib(ASH_BACKING_BASE), 1);
	EXPECT_EQ(collapsed, 1);
	check_zones();
}

CHILD_TEST(and_not_beside_what_is_not)
{
	const struct ash_zonelist *zl = half_full(test_config(), 6);
	void *run = take(zl, 2 * PB);

	EXPECT_EQ(mib(ASH_BACKING_THP), 0);
	EXPECT_EQ(collapsed, 0);
	EXPECT(ash_arena_is_base_start(run));
	check_zones();
}

CHILD_TEST(nor_where_there_is_too_little_to_tell_by)
{
	const struct ash_zonelist *zl = start(test_config());

	resident = 16;
	(void)take(zl, 16);
	(void)take(zl, PB / 2);
	EXPECT_EQ(mib(ASH_BACKING_BASE), 2);
	EXPECT_EQ(mib(ASH_BACKING_THP), 0);
	EXPECT_EQ(collapsed, 0);
	check_zones();
}

CHILD_TEST(slabs_do_not_end_it_there)
{
	const struct ash_zonelist *zl = start(test_config());

	resident = 16;
	take_slabs(zl, 2);
	EXPECT_EQ(mib(ASH_BACKING_BASE), 2);
	EXPECT_EQ(fake.calls[__NR_mincore], 0);
	take_slabs(zl, 4);
	EXPECT_EQ(mib(ASH_BACKING_BASE), 2);
	EXPECT_EQ(collapsed, 0);
}

CHILD_TEST(a_start_that_is_asked_for_longer_does_not_end_within_a_pageblock)
{
	struct ash_arena_config config = test_config();

	config.small_start = ASH_MIB(4);
	(void)take(half_full(config, 16), PB / 2 - 16);
	EXPECT_EQ(mib(ASH_BACKING_BASE), 2);
	EXPECT_EQ(collapsed, 0);
}

CHILD_TEST(a_run_that_is_long_is_huge)
{
	const struct ash_zonelist *zl = start(test_config());

	resident = 2;
	(void)take(zl, PB);
	(void)take(zl, 4 * PB + 1);
	EXPECT_EQ(mib(ASH_BACKING_BASE), 2);
}

CHILD_TEST(where_a_run_that_is_to_be_zero_was_asked_for_one_of_a_pageblock_is_huge)
{
	const struct ash_zonelist *zl = start(test_config());
	void *run;

	resident = 2;
	(void)take(zl, 16);
	ash_arena_note_zeroed();
	/* For shorter ones the start goes on as ever. */
	(void)take(zl, PB / 2);
	(void)take(zl, PB / 2);
	EXPECT_EQ(mib(ASH_BACKING_BASE), 3);
	EXPECT_EQ(mib(ASH_BACKING_THP), 0);
	run = take(zl, PB + 1);
	EXPECT(!ash_arena_is_base_start(run));
	/* What there was stays as it is. */
	EXPECT_EQ(mib(ASH_BACKING_BASE), 4);
	EXPECT_EQ(collapsed, 0);
	EXPECT_EQ(advised, 1);
	check_zones();
}

CHILD_TEST(the_start_has_a_bound)
{
	const struct ash_zonelist *zl = start(test_config());

	resident = 0;
	for (unsigned i = 0; i < 6; i++)
		(void)take(zl, 3 * PB);
	EXPECT_EQ(mib(ASH_BACKING_BASE), 12);
	EXPECT_GE(mib(ASH_BACKING_THP), 24);
}

CHILD_TEST(what_has_filled_is_made_huge_as_the_process_grows_and_all_of_it_in_the_end)
{
	const struct ash_zonelist *zl = start(test_config());
	void *table;

	resident = 2;
	table = take(zl, 3 * PB);
	(void)take(zl, 2 * PB);
	resident = 13;
	take_slabs(zl, 24);
	EXPECT_EQ(collapsed, 0);
	EXPECT(ash_arena_is_base_start(table));
	EXPECT_EQ(advised, 1);
	/* Looked at again when twice as much is online. */
	resident = 14;
	take_slabs(zl, 30);
	EXPECT_EQ(collapsed, 0);
	take_slabs(zl, 50);
	EXPECT_EQ(collapsed, 5);
	EXPECT(!ash_arena_is_base_start(table));
	EXPECT_EQ(advised, 2);
	take_slabs(zl, 140);
	EXPECT_EQ(collapsed, 5);
	check_zones();
}

CHILD_TEST(in_a_large_process_nothing_stays_base_pages)
{
	const struct ash_zonelist *zl = start(test_config());
	void *table;

	resident = 2;
	table = take(zl, 3 * PB);
	(void)take(zl, 2 * PB);
	resident = 13;
	take_slabs(zl, 250);
	EXPECT(ash_arena_is_base_start(table));
	take_slabs(zl, 260);
	EXPECT(!ash_arena_is_base_start(table));
	EXPECT_EQ(collapsed, 0);
	EXPECT_EQ(advised, 2);
}

/* Without a start, where no kind of page but one will do, or where the kernel does not say. */
CHILD_TEST(the_start_ends_where_huge_pages_were_asked_for_strictly)
{
	struct ash_arena_config config = test_config();
	const struct ash_zonelist *zl;

	config.strict = true;
	zl = start(config);
	resident = 2;
	take_slabs(zl, 8);
	EXPECT_EQ(mib(ASH_BACKING_BASE), 2);
}

CHILD_TEST(without_a_start_there_is_none_to_go_on)
{
	struct ash_arena_config config = test_config();
	const struct ash_zonelist *zl;

	config.small_start = 0;
	zl = start(config);
	resident = 2;
	(void)take(zl, 4 * PB);
	take_slabs(zl, 30);
	EXPECT_EQ(mib(ASH_BACKING_BASE), 0);
	EXPECT_EQ(fake.calls[__NR_mincore], 0);
}

CHILD_TEST(the_start_ends_where_the_kernel_does_not_say)
{
	const struct ash_zonelist *zl = start(test_config());

	fake_fail(__NR_mincore, NULL, 0, UINT_MAX, -ENOSYS);
	resident = 2;
	take_slabs(zl, 8);
	EXPECT_EQ(mib(ASH_BACKING_BASE), 2);
	EXPECT_EQ(collapsed, 0);
}

CHILD_TEST(behind_a_filter_the_kernel_is_not_asked)
{
	const struct ash_zonelist *zl = start(test_config());

	fake_kernel("Seccomp:\t2\n");
	resident = 2;
	take_slabs(zl, 8);
	EXPECT_EQ(mib(ASH_BACKING_BASE), 2);
	EXPECT_EQ(fake.calls[__NR_mincore], 0);
	/* Nor later. */
	take_slabs(zl, 80);
	EXPECT_EQ(fake.calls[__NR_mincore], 0);
}
