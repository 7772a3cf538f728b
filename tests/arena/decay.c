/* SPDX-License-Identifier: MIT */
/* Return of free memory by the clock. */
#include "arena/child.h"
#include "arena/fake_pool.h"

#include "base/bits.h"
#include "os/resident.h"

enum { DECAY_MS = 800, TICK_MS = 100 };

static struct ash_run run(const struct ash_zonelist *zl, size_t nr)
{
	struct ash_run r = { NULL, 0, false };

	EXPECT_EQ(ash_run_alloc(zl, nr, 0, ASH_MT_UNMOVABLE, &r), 0);
	memset(r.addr, 1, nr * ASH_PAGE_SIZE);
	return r;
}

static const struct ash_zonelist *start(uint32_t decay_ms, enum ash_huge_policy huge)
{
	struct ash_arena_config config = test_config();

	config.decay_ms = decay_ms;
	config.huge = huge;
	fake_pool_on(100, 0);
	fake_clock(1000);
	EXPECT_EQ(ash_arena_init(&config), 0);
	return ash_zonelist_for(-1);
}

/* Turns the clock in ticks and asks at each; the bytes returned. */
static size_t pass(unsigned ms)
{
	size_t bytes = 0;

	for (; ms >= TICK_MS; ms -= TICK_MS) {
		fake_clock(fake.now_ms + TICK_MS);
		bytes += ash_arena_decay();
	}
	return bytes;
}

static size_t resident(unsigned index)
{
	size_t bytes[ASH_BACKING_NR], sum = 0;

	EXPECT_EQ(ash_arena_actual(index, bytes), 0);
	for (unsigned i = 0; i < ASH_BACKING_NR; i++)
		sum += bytes[i];
	return sum;
}

CHILD_TEST(free_memory_is_kept_for_a_while_and_returned_by_the_decay_time)
{
	const struct ash_zonelist *zl = start(DECAY_MS, ASH_HUGE_AUTO);
	struct ash_run keep, r;

	keep = run(zl, 700);
	r = run(zl, 20 * 512);
	EXPECT_EQ(pass(2 * DECAY_MS), 0);
	ash_run_free(r.addr, r.nr_frames);
	EXPECT_EQ(pass(DECAY_MS / 2), 0);
	EXPECT_GE(resident(0), 20 * ASH_MIB(2));
	EXPECT_GE(pass(DECAY_MS / 2), 20 * ASH_MIB(2));
	EXPECT_LE(resident(0), 5 * ASH_MIB(2));
	EXPECT_EQ(pass(2 * DECAY_MS), 0);
	EXPECT_EQ(*(char *)keep.addr, 1);
	r = run(zl, 20 * 512);
	check_zones();
}

CHILD_TEST(returned_memory_reads_as_zero)
{
	const struct ash_zonelist *zl = start(DECAY_MS, ASH_HUGE_AUTO);
	struct ash_run r;

	(void)run(zl, 600);
	r = run(zl, 8 * 512);
	ash_run_free(r.addr, r.nr_frames);
	EXPECT_GT(pass(3 * DECAY_MS), 0);
	EXPECT_EQ(ash_run_alloc(zl, 8 * 512, 0, ASH_MT_UNMOVABLE, &r), 0);
	EXPECT(r.zeroed);
	for (size_t i = 0; i < r.nr_frames * ASH_PAGE_SIZE; i += 512)
		EXPECT_EQ(((char *)r.addr)[i], 0);
}

CHILD_TEST(a_load_that_comes_and_goes_keeps_its_memory)
{
	const struct ash_zonelist *zl = start(DECAY_MS, ASH_HUGE_AUTO);
	size_t returned = 0;

	(void)run(zl, 600);
	for (unsigned i = 0; i < 20; i++) {
		struct ash_run r = run(zl, 20 * 512);

		returned += pass(TICK_MS * 2);
		ash_run_free(r.addr, r.nr_frames);
		returned += pass(TICK_MS * 2);
	}
	EXPECT_EQ(returned, 0);
}

/* Looked at too seldom, memory would seem to be free all the time that is always in use for a part of it. */
CHILD_TEST(a_load_of_any_period_keeps_its_memory)
{
	const struct ash_zonelist *zl = start(DECAY_MS, ASH_HUGE_AUTO);
	size_t returned = 0;

	(void)run(zl, 600);
	for (unsigned period = 20; period <= DECAY_MS / 2; period += period / 8) {
		for (unsigned ms = 0; ms < 4 * DECAY_MS; ms += period) {
			struct ash_run r = { NULL, 0, false };

			EXPECT_EQ(ash_run_alloc(zl, 2 * 512, 0, ASH_MT_UNMOVABLE, &r), 0);
			for (unsigned i = 0; i < period; i += 5) {
				if (i / 5 == period / 10)
					ash_run_free(r.addr, r.nr_frames);
				fake_clock(fake.now_ms + 5);
				returned += ash_arena_decay();
			}
		}
	}
	EXPECT_EQ(returned, 0);
	EXPECT_GT(pass(DECAY_MS), 0);
}

CHILD_TEST(a_peak_between_two_looks_is_seen)
{
	const struct ash_zonelist *zl = start(DECAY_MS, ASH_HUGE_AUTO);
	size_t returned = 0;

	(void)run(zl, 600);
	for (unsigned ms = 0; ms < 4 * DECAY_MS; ms += TICK_MS) {
		struct ash_run r = { NULL, 0, false };

		EXPECT_EQ(ash_run_alloc(zl, 2 * 512, 0, ASH_MT_UNMOVABLE, &r), 0);
		ash_run_free(r.addr, r.nr_frames);
		returned += pass(TICK_MS);
	}
	EXPECT_EQ(returned, 0);
	EXPECT_GT(pass(DECAY_MS), 0);
}

CHILD_TEST(only_what_was_idle_all_the_time_is_returned)
{
	const struct ash_zonelist *zl = start(DECAY_MS, ASH_HUGE_AUTO);
	struct ash_run idle, busy;
	size_t returned = 0;

	(void)run(zl, 600);
	idle = run(zl, 20 * 512);
	busy = run(zl, 10 * 512);
	ash_run_free(idle.addr, idle.nr_frames);
	for (unsigned i = 0; i < 5; i++) {
		ash_run_free(busy.addr, busy.nr_frames);
		returned += pass(TICK_MS);
		busy = run(zl, 10 * 512);
		returned += pass(TICK_MS);
	}
	EXPECT_GE(returned, 18 * ASH_MIB(2));
	EXPECT_LE(returned, 22 * ASH_MIB(2));
}

/* Pageblocks full of runs of nr frames, behind the base-page start; what is resident then. */
static size_t fill(const struct ash_zonelist *zl, struct ash_run *r, unsigned runs, size_t nr)
{
	(void)run(zl, 512);
	for (unsigned i = 0; i < runs; i++)
		r[i] = run(zl, nr);
	return resident(0);
}

/* One run in each pageblock stays: of the rest, all but a little goes back, and what stays keeps its contents. */
CHILD_TEST(parts_of_pageblocks_are_returned_when_they_are_most_of_the_memory)
{
	enum { BLOCKS = 16, RUNS = 16, NR = 512 / RUNS };
	const struct ash_zonelist *zl = start(DECAY_MS, ASH_HUGE_AUTO);
	struct ash_run r[BLOCKS * RUNS];
	const size_t before = fill(zl, r, BLOCKS * RUNS, NR);

	EXPECT_GE(before, BLOCKS * ASH_MIB(2));
	for (unsigned i = 0; i < BLOCKS * RUNS; i++)
		if (i % RUNS != 5)
			ash_run_free(r[i].addr, NR);
	(void)pass(DECAY_MS / 2);
	EXPECT_EQ(resident(0), before);
	(void)pass(DECAY_MS / 2);
	EXPECT_LE(resident(0), before / 2);
	for (unsigned i = 5; i < BLOCKS * RUNS; i += RUNS)
		for (size_t b = 0; b < NR * ASH_PAGE_SIZE; b += 4096)
			EXPECT_EQ(((char *)r[i].addr)[b], 1);
	check_zones();
	/* It can be used again. */
	for (unsigned i = 0; i < BLOCKS; i++)
		(void)run(zl, 4 * NR);
	check_zones();
}

/* A little more than is kept becomes free first, and goes first: the rest does not begin to wait anew for that. */
CHILD_TEST(a_little_that_goes_first_does_not_keep_the_rest)
{
	enum { BLOCKS = 16, RUNS = 16, NR = 512 / RUNS, FIRST = 2 * 512 / NR + 4 };
	const struct ash_zonelist *zl = start(DECAY_MS, ASH_HUGE_AUTO);
	struct ash_run r[BLOCKS * RUNS];
	const size_t before = fill(zl, r, BLOCKS * RUNS, NR);

	(void)pass(2 * DECAY_MS);
	for (unsigned i = 0, nr = 0; i < BLOCKS * RUNS; i++) {
		if (i % RUNS == 5)
			continue;
		ash_run_free(r[i].addr, NR);
		if (++nr == FIRST)
			(void)pass(TICK_MS);
	}
	(void)pass(DECAY_MS - TICK_MS);
	EXPECT_LE(resident(0), before / 2);
	check_zones();
}

/* What is in use goes where its owner says so, on ordinary memory, and only that. */
CHILD_TEST(frames_in_use_are_discarded)
{
	static const struct ash_arena_watcher watcher = { 0 };
	const struct ash_zonelist *zl = start(UINT32_MAX, ASH_HUGE_NONE);
	struct ash_run r = run(zl, 64);
	char *const p = r.addr;
	size_t pages;

	ash_arena_set_watcher(&watcher);
	EXPECT(!ash_run_discard(p + 16 * ASH_PAGE_SIZE, 32));
	ash_arena_set_watcher(NULL);
	for (size_t i = 0; i < 64 * ASH_PAGE_SIZE; i++)
		EXPECT_EQ(p[i], 1);
	EXPECT(ash_run_discard(p + 16 * ASH_PAGE_SIZE, 32));
	EXPECT_EQ(ash_resident_pages(p, 64 * ASH_PAGE_SIZE, &pages), 0);
	EXPECT_LE(pages, 32);
	for (size_t i = 0; i < 64 * ASH_PAGE_SIZE; i++)
		EXPECT_EQ(p[i], i / ASH_PAGE_SIZE - 16 < 32 ? 0 : 1);
	ash_run_free(p, 64);
	check_zones();
}

CHILD_TEST(populated_frames_in_use_stay)
{
	struct ash_run r = run(start(UINT32_MAX, ASH_HUGE_2M), 2048);

	EXPECT(!ash_run_discard(r.addr, 512));
	EXPECT_EQ(*(char *)r.addr, 1);
	ash_run_free(r.addr, 2048);
	check_zones();
}

CHILD_TEST(never_and_at_once_mean_what_they_say)
{
	const struct ash_zonelist *zl = start(UINT32_MAX, ASH_HUGE_AUTO);
	struct ash_run r;

	(void)run(zl, 600);
	r = run(zl, 8 * 512);
	ash_run_free(r.addr, r.nr_frames);
	EXPECT_EQ(pass(100 * DECAY_MS), 0);
	EXPECT_GE(ash_arena_trim(), 8 * ASH_MIB(2));
	EXPECT_EQ(ash_arena_trim(), 0);
}

CHILD_TEST(decay_of_no_time_returns_at_once)
{
	const struct ash_zonelist *zl = start(0, ASH_HUGE_AUTO);
	struct ash_run r;

	(void)run(zl, 600);
	r = run(zl, 8 * 512);
	ash_run_free(r.addr, r.nr_frames);
	EXPECT_GE(ash_arena_decay(), 8 * ASH_MIB(2));
}

CHILD_TEST(when_nothing_is_due_no_call_is_made)
{
	const struct ash_zonelist *zl = start(DECAY_MS, ASH_HUGE_AUTO);
	unsigned calls;

	(void)run(zl, 600);
	pass(TICK_MS);
	calls = fake.total;
	for (unsigned i = 0; i < 1000; i++)
		EXPECT_EQ(ash_arena_decay(), 0);
	EXPECT_EQ(fake.total, calls);
}

CHILD_TEST(a_long_silence_counts_as_idle)
{
	const struct ash_zonelist *zl = start(DECAY_MS, ASH_HUGE_AUTO);
	struct ash_run r;

	(void)run(zl, 600);
	r = run(zl, 8 * 512);
	pass(TICK_MS);
	ash_run_free(r.addr, r.nr_frames);
	pass(TICK_MS);
	fake_clock(fake.now_ms + 50 * DECAY_MS);
	EXPECT_GE(ash_arena_decay(), 8 * ASH_MIB(2));
}

CHILD_TEST(a_refused_return_loses_nothing)
{
	const struct ash_zonelist *zl = start(DECAY_MS, ASH_HUGE_AUTO);
	struct ash_run r;
	struct ash_arena_stats before, after;

	(void)run(zl, 600);
	r = run(zl, 8 * 512);
	ash_run_free(r.addr, r.nr_frames);
	EXPECT(ash_arena_stats(0, &before));
	fake_fail(__NR_madvise, NULL, 0, UINT_MAX, -EINVAL);
	EXPECT_EQ(ash_arena_trim(), 0);
	fake.nr_rules = 0;
	EXPECT(ash_arena_stats(0, &after));
	EXPECT_EQ(after.zone.free, before.zone.free);
	check_zones();
	EXPECT_GE(ash_arena_trim(), 8 * ASH_MIB(2));
}

static bool is_discard(ASH_UNUSED long nr, ASH_UNUSED long a, ASH_UNUSED long b, long c, ASH_UNUSED long d)
{
	return c == MADV_DONTNEED;
}

/* Whatever it was that kept it. Meanwhile it is not asked at every look. */
static void kept_for_a_time(enum ash_huge_policy huge)
{
	const struct ash_zonelist *zl = start(DECAY_MS, huge);
	struct ash_run keep = run(zl, 600), r = run(zl, 20 * 512);
	unsigned calls;
	size_t bytes;

	EXPECT_EQ(*(char *)keep.addr, 1);
	ash_run_free(r.addr, r.nr_frames);
	EXPECT_EQ(pass(DECAY_MS / 2), 0);
	fake_fail(__NR_madvise, is_discard, 0, UINT_MAX, -EINVAL);
	EXPECT_EQ(pass(20 * DECAY_MS), 0);
	check_zones();
	calls = fake.calls[__NR_madvise];
	EXPECT_EQ(pass(10 * DECAY_MS), 0);
	/* Not in one look of eight: there are thirteen in the time. */
	EXPECT_LE(fake.calls[__NR_madvise] - calls, 130 / 8 * 22);
	fake.nr_rules = 0;
	bytes = pass(10 * DECAY_MS);
	EXPECT_GE(bytes, 20 * ASH_MIB(2));
	EXPECT_EQ(*(char *)keep.addr, 1);
	check_zones();
	/* Then as ever. */
	r = run(zl, 20 * 512);
	ash_run_free(r.addr, r.nr_frames);
	EXPECT_GE(pass(2 * DECAY_MS), 20 * ASH_MIB(2));
	check_zones();
}

CHILD_TEST(ordinary_memory_that_was_kept_for_a_time_goes_later)
{
	kept_for_a_time(ASH_HUGE_AUTO);
}

CHILD_TEST(hugetlb_memory_that_was_kept_for_a_time_goes_later)
{
	kept_for_a_time(ASH_HUGE_2M);
}

static uintptr_t locked_start, locked_end;

static bool is_locked(ASH_UNUSED long nr, long a, long b, long c, ASH_UNUSED long d)
{
	return c == MADV_DONTNEED && (uintptr_t)a < locked_end && (uintptr_t)(a + b) > locked_start;
}

/* As mlock(2) does, with or without pages behind it. */
static void one_locked(enum ash_huge_policy huge)
{
	const struct ash_zonelist *zl = start(DECAY_MS, huge);
	struct ash_run r[16];

	(void)run(zl, 600);
	for (unsigned i = 0; i < 16; i++)
		r[i] = run(zl, 512);
	for (unsigned i = 0; i < 16; i++) {
		if (i % 2 == 0)
			ash_run_free(r[i].addr, r[i].nr_frames);
	}
	locked_start = (uintptr_t)r[8].addr;
	locked_end = locked_start + 1;
	fake_fail(__NR_madvise, is_locked, 0, UINT_MAX, -EINVAL);
	EXPECT_GE(pass(2 * DECAY_MS), 7 * ASH_MIB(2));
	EXPECT_EQ(((char *)r[8].addr)[4096], 1);
	check_zones();
}

CHILD_TEST(one_locked_pageblock_does_not_keep_the_others)
{
	one_locked(ASH_HUGE_AUTO);
}

CHILD_TEST(one_locked_huge_page_does_not_keep_the_others)
{
	one_locked(ASH_HUGE_2M);
}

CHILD_TEST(hugetlb_decays_to_the_pool)
{
	const struct ash_zonelist *zl = start(DECAY_MS, ASH_HUGE_2M);
	struct ash_run r;

	(void)run(zl, 512);
	(void)run(zl, 512);
	r = run(zl, 20 * 512);
	EXPECT_GE(pool.used_2m, 20);
	ash_run_free(r.addr, r.nr_frames);
	EXPECT_EQ(pass(DECAY_MS / 2), 0);
	EXPECT_GE(pass(3 * TICK_MS), 20 * ASH_MIB(2));
	EXPECT_LE(pool.used_2m, 3);
	check_zones();
}

/* A watcher: what it has been asked of and told, and what it will not let go. */
static struct {
	uintptr_t keep_start, keep_end;
	unsigned asked, gone, stays;
	bool all;
} watch;

static bool going(void *addr, size_t bytes)
{
	const uintptr_t at = (uintptr_t)addr;
	struct ash_run r;

	watch.asked++;
	/* No lock is held, not even the growth turn. */
	r = run(ash_zonelist_for(-1), 700);
	ash_run_free(r.addr, r.nr_frames);
	EXPECT_EQ(ash_arena_decay(), 0);
	EXPECT_EQ(ash_arena_trim(), 0);
	return !watch.all && (at >= watch.keep_end || at + bytes <= watch.keep_start);
}

static void gone(void *addr, size_t bytes, bool is_gone)
{
	(void)addr, (void)bytes;
	*(is_gone ? &watch.gone : &watch.stays) += 1;
}

static void watched(enum ash_huge_policy huge)
{
	static const struct ash_arena_watcher watcher = { .going = going, .gone = gone };
	const struct ash_zonelist *zl = start(DECAY_MS, huge);
	struct ash_run r[8];
	size_t back;

	(void)run(zl, 600);
	for (unsigned i = 0; i < 8; i++) {
		r[i] = run(zl, 512);
		memset(r[i].addr, 1, 512 * ASH_PAGE_SIZE);
	}
	(void)run(zl, 512);
	ash_arena_set_watcher(&watcher);
	for (unsigned i = 0; i < 8; i++)
		ash_run_free(r[i].addr, r[i].nr_frames);
	EXPECT_EQ(pass(3 * DECAY_MS), 0);
	EXPECT_EQ(watch.asked, 0);

	watch.all = true;
	EXPECT_EQ(ash_arena_trim(), 0);
	EXPECT_GT(watch.asked, 0);
	EXPECT_EQ(watch.gone + watch.stays, 0);
	check_zones();
	for (size_t b = 0; b < 512 * ASH_PAGE_SIZE; b += 4096)
		EXPECT_EQ(((char *)r[3].addr)[b], 1);

	watch.all = false;
	watch.keep_start = (uintptr_t)r[3].addr;
	watch.keep_end = watch.keep_start + 1;
	back = ash_arena_trim();
	EXPECT_EQ(((char *)r[3].addr)[4096], 1);
	EXPECT_GT(watch.gone + watch.stays + watch.asked, 1);
	check_zones();

	watch.keep_end = watch.keep_start;
	fake_fail(__NR_madvise, NULL, 0, 1, -EINVAL);
	watch.stays = 0;
	back += ash_arena_trim();
	EXPECT_EQ(watch.stays, 1);
	fake.nr_rules = 0;
	check_zones();
	ash_arena_set_watcher(NULL);
	watch.asked = 0;
	EXPECT_GE(back + ash_arena_trim(), 8 * ASH_MIB(2));
	EXPECT_EQ(watch.asked, 0);
	check_zones();
}

CHILD_TEST(a_watcher_is_asked_of_ordinary_memory)
{
	watched(ASH_HUGE_AUTO);
}

CHILD_TEST(a_watcher_is_asked_of_hugetlb_memory)
{
	watched(ASH_HUGE_2M);
}
