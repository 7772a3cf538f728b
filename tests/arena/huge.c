/* SPDX-License-Identifier: MIT */
/* H arenas over a fake pool: the ladder, its proof, its words; growth, return, strictness. */
#include "arena/child.h"
#include "arena/fake_pool.h"

#include "base/bits.h"

enum { T = ASH_ARENA_T, H = ASH_ARENA_H };

static struct ash_arena_config huge_config(enum ash_huge_policy huge)
{
	struct ash_arena_config config = test_config();

	config.huge = huge;
	return config;
}

static const struct ash_zonelist *start(struct ash_arena_config config)
{
	EXPECT_EQ(ash_arena_init(&config), 0);
	return ash_zonelist_for(-1);
}

static struct ash_run run(const struct ash_zonelist *zl, size_t nr)
{
	struct ash_run r = { NULL, 0, false };

	EXPECT_EQ(ash_run_alloc(zl, nr, 0, ASH_MT_UNMOVABLE, &r), 0);
	return r;
}

static struct ash_arena_stats stats(unsigned index)
{
	struct ash_arena_stats s;

	memset(&s, 0, sizeof(s));
	(void)ash_arena_stats(index, &s);
	return s;
}

static unsigned arena_of(const struct ash_run *r)
{
	return (unsigned)(ash_frame_index(r->addr) >> ash_registry.span_frame_shift);
}

/* Whether THP are to be had, whatever this process was started under. */
static void fake_thp(const char *enabled)
{
	fake_file("/proc/thread-self/status", "THP_enabled:\t1\nSeccomp:\t0\n");
	fake_file("/sys/kernel/mm/transparent_hugepage/enabled", enabled);
}

/* Every page of [addr, addr + bytes) is one the pool has given. */
static void expect_proved(const struct ash_run *r)
{
	for (uintptr_t a = (uintptr_t)r->addr; a < (uintptr_t)r->addr + r->nr_frames * ASH_PAGE_SIZE;
	     a += ASH_PAGE_SIZE) {
		if (pool_is_huge((long)a))
			EXPECT(pool_is_proved((const void *)a));
	}
}

CHILD_TEST(a_small_process_takes_nothing_from_the_pool)
{
	const struct ash_zonelist *zl;

	fake_pool_on(100, 0);
	zl = start(huge_config(ASH_HUGE_2M));
	for (unsigned i = 0; i < 100; i++) {
		struct ash_run r = run(zl, 4);

		EXPECT_EQ(arena_of(&r), T);
	}
	EXPECT_EQ(pool.used_2m, 0);
	EXPECT_STREQ(ash_arena_degraded(), "");
}

CHILD_TEST(past_its_start_memory_is_hugetlb_proved_and_just_enough)
{
	const struct ash_zonelist *zl;
	size_t in_use = 0, most;

	fake_pool_on(200, 0);
	zl = start(huge_config(ASH_HUGE_2M));
	for (unsigned i = 0; i < 2000; i++) {
		struct ash_run r = run(zl, 16);

		expect_proved(&r);
		memset(r.addr, 1, 16 * ASH_PAGE_SIZE);
		in_use += arena_of(&r) == H ? 16 : 0;
		most = in_use * ASH_PAGE_SIZE + in_use * ASH_PAGE_SIZE / 8 + ASH_MIB(2);
		EXPECT_LE(pool.used_2m * ASH_MIB(2), most);
	}
	EXPECT_GE(in_use, 2000 * 16 - 512);
	EXPECT_EQ(stats(H).backed[ASH_BACKING_HUGETLB_2M], stats(H).online);
	EXPECT_EQ(stats(H).online * ASH_PAGE_SIZE, pool.used_2m * ASH_MIB(2));
	EXPECT_EQ(stats(T).online, 512);
	EXPECT_STREQ(ash_arena_degraded(), "");
	EXPECT_EQ(fake.log_len, 0);
	check_zones();
}

CHILD_TEST(a_large_first_request_goes_to_the_pool_at_once)
{
	const struct ash_zonelist *zl;
	struct ash_run r;

	fake_pool_on(100, 0);
	zl = start(huge_config(ASH_HUGE_2M));
	r = run(zl, 8 * 512 + 1);
	EXPECT_EQ(arena_of(&r), H);
	EXPECT(r.zeroed);
	EXPECT_EQ(pool.used_2m, 9);
	expect_proved(&r);
}

/* A sixteenth of what is in use is taken ahead, and lies there populated. */
CHILD_TEST(free_hugetlb_has_memory_behind_it_and_what_was_returned_has_not)
{
	const struct ash_zonelist *zl;
	struct ash_arena_stats s;

	fake_pool_on(100, 0);
	zl = start(huge_config(ASH_HUGE_2M));
	(void)run(zl, 64 * 512);
	(void)run(zl, 512 + 1);
	s = stats(H);
	EXPECT_GT(s.zone.free_zeroed, 0);
	EXPECT_EQ(s.free_absent, 0);
	EXPECT_EQ((s.online - s.returned) * ASH_PAGE_SIZE, pool.used_2m * ASH_MIB(2));
	EXPECT_GT(ash_arena_trim(), 0);
	s = stats(H);
	EXPECT_EQ((s.online - s.returned - s.free_absent) * ASH_PAGE_SIZE, pool.used_2m * ASH_MIB(2));
	s = stats(T);
	EXPECT_EQ(s.free_absent, s.zone.free_zeroed);
}

static void use_up_start(const struct ash_zonelist *zl)
{
	(void)run(zl, 512);
	(void)run(zl, 512);
}

CHILD_TEST(a_dry_pool_goes_down_a_rung_and_says_so_once)
{
	const struct ash_zonelist *zl;
	struct ash_run r;

	fake_pool_on(4, 0);
	fake_file("/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "4\n");
	fake_file("/sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages", "1\n");
	fake_file("/sys/devices/system/node/node0/hugepages/hugepages-2048kB/surplus_hugepages", "0\n");
	fake_thp("always [madvise] never\n");
	zl = start(huge_config(ASH_HUGE_2M));
	for (unsigned i = 0; i < 40; i++) {
		r = run(zl, 512);
		expect_proved(&r);
		memset(r.addr, 1, ASH_MIB(2));
	}
	EXPECT_EQ(arena_of(&r), T);
	EXPECT_EQ(pool.used_2m, 4);
	EXPECT_GE(stats(H).fallbacks, 1);
	EXPECT_STREQ(fake.log, "ashlar: node 0: no 2 MiB huge pages (wanted 2 MiB; 1 of 4 pages free): "
			       "using transparent huge pages\n");
	EXPECT_STREQ(ash_arena_degraded(),
		     "node 0: no 2 MiB huge pages (wanted 2 MiB; 1 of 4 pages free): using transparent huge pages");
	check_zones();
}

CHILD_TEST(promises_that_are_not_kept_are_found_out_before_use)
{
	const struct ash_zonelist *zl;
	struct ash_run r;

	fake_pool_on(3, 0);
	pool.promises_free = true;
	fake_file("/proc/self/cgroup", "3:hugetlb:/box\n");
	fake_file("/sys/fs/cgroup/hugetlb/box/hugetlb.2MB.limit_in_bytes", "6291456\n");
	fake_file("/sys/fs/cgroup/hugetlb/box/hugetlb.2MB.usage_in_bytes", "6291456\n");
	zl = start(huge_config(ASH_HUGE_2M));
	use_up_start(zl);
	r = run(zl, 5 * 512);
	EXPECT_EQ(arena_of(&r), T);
	EXPECT_LE(pool.used_2m, 3);
	EXPECT(strstr(fake.log, "the cgroup's limit is 6 MiB, 6 MiB in use") != NULL);
	r = run(zl, 512);
	expect_proved(&r);
	check_zones();
}

CHILD_TEST(what_a_refused_populate_took_goes_back_to_the_pool)
{
	const struct ash_zonelist *zl;
	size_t before;

	fake_pool_on(10, 0);
	pool.promises_free = true;
	zl = start(huge_config(ASH_HUGE_2M));
	use_up_start(zl);
	before = pool.used_2m;
	(void)run(zl, 20 * 512);
	EXPECT_EQ(pool.most_2m, 10);
	EXPECT_EQ(pool.used_2m, before);
	check_zones();
}

CHILD_TEST(quiet_is_quiet_but_still_tells_who_asks)
{
	struct ash_arena_config config = huge_config(ASH_HUGE_2M);

	config.quiet = true;
	fake_pool_on(0, 0);
	(void)run(start(config), 5000);
	EXPECT_EQ(fake.log_len, 0);
	EXPECT(strstr(ash_arena_degraded(), "no 2 MiB huge pages") != NULL);
	EXPECT_EQ(stats(H).fallbacks, 1);
}

CHILD_TEST(strict_refuses_clearly_and_goes_on_refusing)
{
	struct ash_arena_config config = huge_config(ASH_HUGE_2M);
	const struct ash_zonelist *zl;
	struct ash_run r = { NULL, 0, false };
	unsigned got = 0;

	config.strict = true;
	fake_pool_on(4, 0);
	zl = start(config);
	while (got < 100 && ash_run_alloc(zl, 512, 0, ASH_MT_UNMOVABLE, &r) == 0)
		got++;
	EXPECT_GE(got, 4);
	EXPECT_LE(got, 5);
	EXPECT_EQ(ash_run_alloc(zl, 512, 0, ASH_MT_UNMOVABLE, &r), -ENOMEM);
	EXPECT(strstr(fake.log, "refused, as asked (strict)") != NULL);
	EXPECT(strchr(fake.log, '\n') == fake.log + fake.log_len - 1);
	ash_run_free(r.addr, 512);
	EXPECT_EQ(ash_run_alloc(zl, 512, 0, ASH_MT_UNMOVABLE, &r), 0);
	check_zones();
}

CHILD_TEST(a_pool_that_was_dry_is_asked_again_after_a_while)
{
	const struct ash_zonelist *zl;
	struct ash_run r;
	unsigned maps;

	fake_pool_on(0, 0);
	fake_clock(1000);
	zl = start(huge_config(ASH_HUGE_2M));
	use_up_start(zl);
	maps = fake.calls[__NR_mmap];
	r = run(zl, 512);
	EXPECT_EQ(arena_of(&r), T);
	EXPECT_EQ(fake.calls[__NR_mmap], maps);
	pool.free_2m = 10;
	fake_clock(3000);
	r = run(zl, 512);
	EXPECT_EQ(arena_of(&r), H);
}

CHILD_TEST(gigabyte_pages_then_two_megabytes_then_ordinary)
{
	const struct ash_zonelist *zl;
	struct ash_run r;

	fake_pool_on(8, 1);
	zl = start(huge_config(ASH_HUGE_1G));
	r = run(zl, 1024);
	EXPECT_EQ(arena_of(&r), H);
	EXPECT_EQ(pool.used_1g, 1);
	EXPECT_EQ(stats(H).backed[ASH_BACKING_HUGETLB_1G], 1ul << 18);
	EXPECT_EQ(fake.log_len, 0);
	r = run(zl, (1ul << 18) - 1024);
	EXPECT_EQ(arena_of(&r), H);
	r = run(zl, 2048);
	EXPECT_EQ(arena_of(&r), H);
	EXPECT_EQ(stats(H).backed[ASH_BACKING_HUGETLB_2M], 2048);
	EXPECT(strstr(fake.log, "no 1 GiB huge pages") != NULL);
	r = run(zl, 8192);
	EXPECT_EQ(arena_of(&r), T);
	EXPECT(strchr(fake.log, '\n') == fake.log + fake.log_len - 1);
	check_zones();
}

/* They cannot go back, and what is beside them can. */
CHILD_TEST(gigabyte_pages_do_not_keep_the_others_from_going_back)
{
	const struct ash_zonelist *zl;
	struct ash_run gib, mib;

	fake_pool_on(8, 1);
	zl = start(huge_config(ASH_HUGE_1G));
	gib = run(zl, 1ul << 18);
	EXPECT_EQ(pool.used_1g, 1);
	mib = run(zl, 2048);
	EXPECT_EQ(pool.used_2m, 4);
	ash_run_free(gib.addr, gib.nr_frames);
	EXPECT_EQ(ash_arena_trim(), 0);
	check_zones();
	ash_run_free(mib.addr, mib.nr_frames);
	EXPECT_GE(ash_arena_trim(), 4 * ASH_MIB(2));
	EXPECT_EQ(pool.used_2m, 0);
	EXPECT_EQ(pool.used_1g, 1);
	check_zones();
}

static bool is_large(ASH_UNUSED long nr, ASH_UNUSED long a, long b, ASH_UNUSED long c, ASH_UNUSED long d)
{
	return (size_t)b > ASH_MIB(8);
}

/* Where metadata is charged it is committed a gigabyte of frames at a time; searches look one frame further. */
CHILD_TEST(metadata_reaches_as_far_as_the_page_core_looks)
{
	static const size_t lengths[] = { 1024, (1ul << 18) - 1024, 2048, 8192 };
	const struct ash_zonelist *zl;

	fake_pool_on(8, 1);
	fake_fail(__NR_mprotect, is_large, 0, 1, -ENOMEM);
	zl = start(huge_config(ASH_HUGE_1G));
	for (unsigned i = 0; i < 4; i++) {
		(void)run(zl, lengths[i]);
		check_zones();
	}
	EXPECT_NE(ash_zone_digest(ash_arena_zone(T)), ash_zone_digest(ash_arena_zone(H)));
	EXPECT_EQ(fake.rules[0].times, 0);
}

CHILD_TEST(the_line_names_the_rung_that_is_used_in_the_end)
{
	fake_pool_on(1, 0);
	fake_thp("always [madvise] never\n");
	(void)run(start(huge_config(ASH_HUGE_1G)), 2048);
	EXPECT(strstr(fake.log, "no 1 GiB huge pages") != NULL);
	EXPECT(strstr(fake.log, "using transparent huge pages\n") != NULL);
}

CHILD_TEST(base_pages_are_called_base_pages)
{
	fake_pool_on(1, 0);
	fake_thp("always madvise [never]\n");
	(void)run(start(huge_config(ASH_HUGE_2M)), 2048);
	EXPECT(strstr(fake.log, "no 2 MiB huge pages") != NULL);
	EXPECT(strstr(fake.log, "using base pages\n") != NULL);
}

CHILD_TEST(strict_gigabytes_do_not_become_megabytes)
{
	struct ash_arena_config config = huge_config(ASH_HUGE_1G);
	struct ash_run r;

	config.strict = true;
	fake_pool_on(600, 0);
	EXPECT_EQ(ash_run_alloc(start(config), 1024, 0, ASH_MT_UNMOVABLE, &r), -ENOMEM);
	EXPECT_EQ(pool.used_2m, 0);
}

CHILD_TEST(trim_gives_pages_to_the_pool_and_they_are_proved_again_before_use)
{
	const struct ash_zonelist *zl;
	struct ash_run r;
	size_t online;

	fake_pool_on(20, 0);
	zl = start(huge_config(ASH_HUGE_2M));
	use_up_start(zl);
	(void)run(zl, 16);
	r = run(zl, 10 * 512);
	memset(r.addr, 5, r.nr_frames * ASH_PAGE_SIZE);
	ash_run_free(r.addr, r.nr_frames);
	online = stats(H).online;
	EXPECT_GE(ash_arena_trim(), 10 * ASH_MIB(2));
	EXPECT_EQ(pool.used_2m, 2);
	EXPECT_EQ(stats(H).returned + pool.used_2m * 512, online);
	EXPECT_EQ(ash_arena_trim(), 0);
	check_zones();
	/* Somebody else takes what we gave back: then we go down, and do not die. */
	pool.free_2m = pool.used_2m + 1;
	r = run(zl, 512);
	EXPECT_EQ(arena_of(&r), H);
	expect_proved(&r);
	EXPECT_EQ(*(char *)r.addr, 0);
	r = run(zl, 512);
	EXPECT_EQ(arena_of(&r), T);
	check_zones();
}

CHILD_TEST(returned_pageblocks_are_used_again_before_the_arena_grows)
{
	const struct ash_zonelist *zl;
	struct ash_run r;
	size_t online;

	fake_pool_on(64, 0);
	zl = start(huge_config(ASH_HUGE_2M));
	use_up_start(zl);
	r = run(zl, 16 * 512);
	online = stats(H).online;
	for (unsigned i = 0; i < 10; i++) {
		ash_run_free(r.addr, r.nr_frames);
		EXPECT_GE(ash_arena_trim(), 16 * ASH_MIB(2));
		r = run(zl, 16 * 512);
		expect_proved(&r);
		EXPECT_EQ(arena_of(&r), H);
	}
	EXPECT_EQ(stats(H).online, online);
	check_zones();
}

CHILD_TEST(a_kernel_that_cannot_return_hugetlb_is_survived)
{
	const struct ash_zonelist *zl;
	struct ash_run r;

	fake_pool_on(20, 0);
	zl = start(huge_config(ASH_HUGE_2M));
	r = run(zl, 10 * 512);
	ash_run_free(r.addr, r.nr_frames);
	fake_fail(__NR_madvise, NULL, 0, UINT_MAX, -EINVAL);
	EXPECT_EQ(ash_arena_trim(), 0);
	fake.nr_rules = 0;
	r = run(zl, 10 * 512);
	EXPECT_EQ(arena_of(&r), H);
	expect_proved(&r);
	check_zones();
}

CHILD_TEST(limit_counts_hugetlb_and_is_not_called_a_dry_pool)
{
	struct ash_arena_config config = huge_config(ASH_HUGE_2M);
	struct ash_run r;

	config.limit = ASH_MIB(16);
	fake_pool_on(100, 0);
	EXPECT_EQ(ash_run_alloc(start(config), 9 * 512, 0, ASH_MT_UNMOVABLE, &r), -ENOMEM);
	EXPECT_EQ(fake.log_len, 0);
	EXPECT_EQ(pool.used_2m, 0);
	EXPECT_EQ(ash_run_alloc(ash_zonelist_for(-1), 7 * 512, 0, ASH_MT_UNMOVABLE, &r), 0);
}

/* Every call of a growth of H, one after the other, is refused: no run comes unproved, nothing stays taken. */
CHILD_TEST(any_refused_call_of_hugetlb_growth_is_survived)
{
	static const long calls[] = { __NR_mmap, __NR_madvise, __NR_mremap, __NR_mprotect };
	const struct ash_zonelist *zl;
	unsigned refused = 0;

	fake_pool_on(500, 0);
	fake_clock(1000);
	zl = start(huge_config(ASH_HUGE_2M));
	use_up_start(zl);
	for (unsigned c = 0; c < 4; c++) {
		for (unsigned nth = 0; nth < 3; nth++) {
			struct ash_run r;
			size_t used = pool.used_2m;

			fake.nr_rules = 0;
			fake_fail(calls[c], NULL, nth, 1, -ENOMEM);
			r = run(zl, 5 * 512);
			refused += fake.rules[0].times == 0;
			expect_proved(&r);
			EXPECT(arena_of(&r) == T || pool.used_2m > used);
			memset(r.addr, 1, r.nr_frames * ASH_PAGE_SIZE);
			check_zones();
			fake_clock(fake.now_ms + 10000);
		}
	}
	EXPECT_GE(refused, 3);
	EXPECT_EQ(stats(H).online * ASH_PAGE_SIZE, pool.used_2m * ASH_MIB(2));
}

/* Linux before 5.16 cannot move hugetlb mappings. */
CHILD_TEST(hugetlb_is_proved_in_place_where_it_cannot_be_moved)
{
	const struct ash_zonelist *zl;
	struct ash_run r;

	fake_pool_on(8, 0);
	fake_fail(__NR_mremap, NULL, 0, UINT_MAX, -EINVAL);
	zl = start(huge_config(ASH_HUGE_2M));
	r = run(zl, 6 * 512);
	EXPECT_EQ(arena_of(&r), H);
	expect_proved(&r);
	EXPECT_EQ(pool.used_2m, 6);
	r = run(zl, 6 * 512);
	EXPECT_EQ(arena_of(&r), T);
	EXPECT_EQ(pool.used_2m, 6);
	check_zones();
}

CHILD_TEST(thp_asked_for_by_name_and_switched_off_is_told)
{
	fake_pool_on(0, 0);
	fake_thp("always madvise [never]\n");
	(void)run(start(huge_config(ASH_HUGE_THP)), 3000);
	EXPECT(strstr(fake.log, "no transparent huge pages") != NULL);
	EXPECT(strstr(fake.log, "using base pages") != NULL);
	EXPECT_EQ(stats(T).fallbacks, 1);
}

CHILD_TEST(strict_thp_switched_off_is_refused)
{
	struct ash_arena_config config = huge_config(ASH_HUGE_THP);
	const struct ash_zonelist *zl;
	struct ash_run r;

	config.strict = true;
	fake_pool_on(0, 0);
	fake_thp("always madvise [never]\n");
	zl = start(config);
	EXPECT_EQ(ash_run_alloc(zl, 3000, 0, ASH_MT_UNMOVABLE, &r), -ENOMEM);
	EXPECT_EQ(ash_run_alloc(zl, 100, 0, ASH_MT_UNMOVABLE, &r), 0);
	EXPECT(strstr(fake.log, "refused") != NULL);
}

CHILD_TEST(auto_says_nothing_where_thp_is_off)
{
	fake_pool_on(0, 0);
	fake_thp("always madvise [never]\n");
	(void)run(start(huge_config(ASH_HUGE_AUTO)), 3000);
	EXPECT_EQ(fake.log_len, 0);
	EXPECT_STREQ(ash_arena_degraded(), "");
	EXPECT_EQ(stats(T).fallbacks, 0);
}
