/* SPDX-License-Identifier: MIT */
/* T arenas: set-up, lookups, guards, growth, long runs, growing in place, limits. */
#include "arena/child.h"
#include "unit/os/fake_sys.h"

#include <limits.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/bits.h"
#include "os/vmem.h"

static const struct ash_zonelist *start(struct ash_arena_config config)
{
	EXPECT_EQ(ash_arena_init(&config), 0);
	return ash_zonelist_for(-1);
}

static struct ash_run run(const struct ash_zonelist *zl, size_t nr, unsigned align)
{
	struct ash_run r = { NULL, 0, false };

	EXPECT_EQ(ash_run_alloc(zl, nr, align, ASH_MT_UNMOVABLE, &r), 0);
	EXPECT_EQ(r.nr_frames, nr);
	EXPECT_EQ((uintptr_t)r.addr & ((ASH_PAGE_SIZE << align) - 1), 0);
	EXPECT(!ash_is_foreign(r.addr));
	EXPECT(!ash_is_foreign((char *)r.addr + nr * ASH_PAGE_SIZE - 1));
	return r;
}

static struct ash_arena_stats stats(unsigned index)
{
	struct ash_arena_stats s;

	EXPECT(ash_arena_stats(index, &s));
	return s;
}

CHILD_TEST(before_set_up_every_pointer_is_foreign)
{
	int local;

	EXPECT(!ash_arena_ready());
	EXPECT(ash_is_foreign(NULL));
	EXPECT(ash_is_foreign(&local));
	EXPECT(ash_is_foreign((void *)1));
	EXPECT(ash_is_foreign((void *)UINTPTR_MAX));
	EXPECT_EQ(ash_arena_decay(), 0);
	EXPECT_EQ(ash_arena_count(), 0);
}

CHILD_TEST(pointers_outside_the_reservation_are_foreign_to_the_byte)
{
	static int in_data;
	void *heap = malloc(100), *map;
	const char *first, *end;
	int local;

	start(test_config());
	map = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EXPECT(ash_is_foreign(&local) && ash_is_foreign(&in_data) && ash_is_foreign(heap) && ash_is_foreign(map));
	EXPECT(ash_is_foreign(NULL) && ash_is_foreign((void *)1) && ash_is_foreign((void *)UINTPTR_MAX));
	first = (const char *)ash_registry.base;
	end = first + ash_nr_frames() * ASH_PAGE_SIZE;
	EXPECT(ash_is_foreign(first - 1) && !ash_is_foreign(first));
	EXPECT(!ash_is_foreign(end - 1) && ash_is_foreign(end));
	EXPECT(ash_frame_address(ash_frame_index(first + 5 * ASH_PAGE_SIZE)) == first + 5 * ASH_PAGE_SIZE);
	free(heap);
}

CHILD_TEST(set_up_reads_no_file_and_touches_little)
{
	struct ash_arena_config config = test_config();
	struct rusage before, after;

	fake_on();
	getrusage(RUSAGE_SELF, &before);
	EXPECT_EQ(ash_arena_init(&config), 0);
	(void)ash_zonelist_for(-1);
	getrusage(RUSAGE_SELF, &after);
	EXPECT_EQ(fake.calls[__NR_openat], 0);
	EXPECT_LE(fake.total, 10);
	/* A fault is a page of ours, the first use of a page of code or data, or the kernel's own business (a page that
	 * it had taken back, or looks after for NUMA): a table that was touched all over would cost thousands. */
	EXPECT_LE(after.ru_minflt - before.ru_minflt, 100);
	fake_off();
}

static void *race_init(ASH_UNUSED void *arg)
{
	struct ash_arena_config config = test_config();

	return (void *)(intptr_t)ash_arena_init(&config);
}

CHILD_TEST(set_up_may_race)
{
	pthread_t t[8];
	void *err;

	for (unsigned i = 0; i < 8; i++)
		pthread_create(&t[i], NULL, race_init, NULL);
	for (unsigned i = 0; i < 8; i++) {
		pthread_join(t[i], &err);
		EXPECT_EQ((intptr_t)err, 0);
	}
	EXPECT(ash_arena_ready());
	run(ash_zonelist_for(-1), 1, 0);
	check_zones();
}

CHILD_TEST(failed_set_up_leaves_every_pointer_foreign_and_may_be_tried_again)
{
	struct ash_arena_config config = test_config();
	int local;

	fake_on();
	fake_fail(__NR_mmap, NULL, 0, UINT_MAX, -ENOMEM);
	EXPECT_EQ(ash_arena_init(&config), -ENOMEM);
	EXPECT(!ash_arena_ready() && ash_is_foreign(&local));
	fake.nr_rules = 0;
	EXPECT_EQ(ash_arena_init(&config), 0);
	run(ash_zonelist_for(-1), 1, 0);
	fake_off();
}

CHILD_TEST(fresh_runs_read_as_zero_and_say_so)
{
	const struct ash_zonelist *zl = start(test_config());
	struct ash_run r = run(zl, 3, 0);

	EXPECT(r.zeroed);
	for (size_t i = 0; i < r.nr_frames * ASH_PAGE_SIZE; i++)
		EXPECT_EQ(((char *)r.addr)[i], 0);
	memset(r.addr, 7, r.nr_frames * ASH_PAGE_SIZE);
	ash_run_free(r.addr, r.nr_frames);
	r = run(zl, 3, 0);
	EXPECT(!r.zeroed);
	check_zones();
}

CHILD_TEST(frames_that_are_not_online_fault)
{
	const struct ash_zonelist *zl = start(test_config());
	struct ash_run r = run(zl, 1, 0);
	struct ash_arena_stats s = stats(0);

	EXPECT_EQ(touch_signal(r.addr), 0);
	EXPECT_EQ(touch_signal((char *)s.start + s.online * ASH_PAGE_SIZE), SIGSEGV);
	EXPECT_EQ(touch_signal((char *)s.start - 1), SIGSEGV);
	EXPECT_EQ(touch_signal((char *)s.start + s.span_bytes - 1), SIGSEGV);
	EXPECT_EQ(touch_signal((char *)s.start + s.span_bytes), SIGSEGV);
}

/* Where metadata is charged it is not there beyond what is online, and large runs may be refused. */
#define NEED_OVERCOMMIT()                                                                                              \
	do {                                                                                                           \
		FILE *f_ = fopen("/proc/sys/vm/overcommit_memory", "r");                                               \
		int mode_ = f_ != NULL ? fgetc(f_) : '0';                                                              \
                                                                                                                       \
		if (f_ != NULL)                                                                                        \
			fclose(f_);                                                                                    \
		if (mode_ == '2')                                                                                      \
			SKIP("this system charges all memory at once (vm.overcommit_memory=2)");                       \
	} while (0)

CHILD_TEST(metadata_goes_with_what_is_online)
{
	char *tags;

	run(start(test_config()), 5000, 0);
	tags = (char *)ash_registry.tags;
	EXPECT_EQ(touch_signal(tags), 0);
	EXPECT_EQ(touch_signal(tags + 5000 * sizeof(uint32_t)), 0);
	EXPECT_EQ(write_signal(tags + 5000 * sizeof(uint32_t)), 0);
	EXPECT_EQ(write_signal(tags + ash_nr_frames() * sizeof(uint32_t) - 1), SIGSEGV);
	EXPECT_EQ(ash_tag_load(0), 0);
	EXPECT_EQ(ash_tag_load(ash_nr_frames() / 2), 0);
	EXPECT_EQ(ash_tag_load(ash_nr_frames() - 1), 0);
	ash_tag_store(5000, 0xabcd);
	EXPECT_EQ(ash_tag_load(5000), 0xabcd);
}

/* What mlockall would populate: all that is writable. It must go with the process, not with the machine. */
CHILD_TEST(a_small_process_has_little_writable_metadata)
{
	FILE *f;
	char line[256];
	unsigned long start_at, end;
	size_t writable = 0;
	char r, w;

	run(start(test_config()), 16, 0);
	EXPECT(ash_meta_table(64, 4) != NULL && ash_meta_alloc(1000) != NULL);
	f = fopen("/proc/self/maps", "r");
	EXPECT(f != NULL);
	while (fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "%lx-%lx %c%c", &start_at, &end, &r, &w) == 4 && w == 'w')
			writable += end - start_at;
	fclose(f);
	EXPECT_GT(writable, ASH_MIB(1));
	EXPECT_LT(writable, ASH_MIB(32));
}

/* Behind the first lie tables of the arenas. */
CHILD_TEST(client_tables_are_zero_sized_right_and_guarded)
{
	char *first, *t;

	run(start(test_config()), 5000, 0);
	first = ash_meta_table(64, 4);
	EXPECT(first != NULL);
	EXPECT_EQ(touch_signal(first - (5000 >> 4) * 64), 0);
	EXPECT_EQ(touch_signal(first - (ash_nr_frames() >> 4) * 64 + 64), SIGSEGV);
	t = ash_meta_table(16, 3);
	EXPECT(t != NULL);
	EXPECT_EQ(t[0], 0);
	EXPECT_EQ(touch_signal(t - (5000 >> 3) * 16), 0);
	EXPECT_EQ(touch_signal(t + 16), SIGSEGV);
	EXPECT_EQ(touch_signal(t - (ash_nr_frames() >> 3) * 16 + 16), SIGSEGV);
	EXPECT_EQ(touch_signal(t - (ash_nr_frames() >> 3) * 16), SIGSEGV);
	EXPECT(ash_meta_table(64, 0) == NULL);
}

CHILD_TEST(metadata_is_zero_aligned_and_apart)
{
	char *a, *b;

	start(test_config());
	a = ash_meta_alloc(1);
	b = ash_meta_alloc(100000);
	EXPECT(a != NULL && b != NULL && (uintptr_t)a % 64 == 0 && (uintptr_t)b % 64 == 0);
	EXPECT(b >= a + 1);
	for (unsigned i = 0; i < 100000; i++)
		EXPECT_EQ(b[i], 0);
	EXPECT(ash_meta_alloc(SIZE_MAX) == NULL);
	EXPECT(ash_meta_alloc(SIZE_MAX / 2) == NULL);
	EXPECT(ash_meta_alloc((size_t)1 << 46) == NULL);
	EXPECT(ash_meta_alloc(64) != NULL);
}

/* The bytes of the reservation, of those resident, for which huge pages have been asked (VmFlags, "hg") or not. */
static void read_advice(size_t *asked, size_t *not_asked)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	const uintptr_t base = (uintptr_t)ash_registry.base, end = base + ash_nr_frames() * ASH_PAGE_SIZE;
	unsigned long from, to, kib = 0;
	bool ours = false;
	char line[512];

	EXPECT(f != NULL);
	*asked = *not_asked = 0;
	while (fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			ours = from >= base && to <= end;
		else if (sscanf(line, "Rss: %lu", &kib) != 1 && strncmp(line, "VmFlags:", 8) == 0 && ours)
			*(strstr(line, " hg") != NULL ? asked : not_asked) += kib << 10;
	}
	fclose(f);
}

CHILD_TEST(a_small_process_stays_on_base_pages_and_a_grown_one_is_huge)
{
	size_t asked, not_asked;
	const struct ash_zonelist *zl = start(test_config());
	size_t bytes[ASH_BACKING_NR];
	struct ash_arena_stats s;

	for (unsigned i = 0; i < 100; i++)
		memset(run(zl, 4, 0).addr, 1, 4 * ASH_PAGE_SIZE);
	EXPECT_EQ(ash_arena_actual(0, bytes), 0);
	EXPECT_EQ(bytes[ASH_BACKING_THP], 0);
	EXPECT_EQ(bytes[ASH_BACKING_BASE], 400 * ASH_PAGE_SIZE);
	for (unsigned i = 0; i < 2048 - 100; i++)
		memset(run(zl, 4, 0).addr, 1, 4 * ASH_PAGE_SIZE);
	EXPECT_EQ(ash_arena_actual(0, bytes), 0);
	s = stats(0);
	EXPECT_EQ(s.backed[ASH_BACKING_BASE] + s.backed[ASH_BACKING_THP], s.online);
	EXPECT_GE(s.peak_online, s.online);
	EXPECT_LE(s.online * ASH_PAGE_SIZE, ASH_MIB(42));
	check_zones();
	/* How many of those asked for there are is up to the kernel and to what the machine's memory looks like just
	 * now. */
	read_advice(&asked, &not_asked);
	printf("# huge pages asked for: %zu of %zu MiB; there are: %zu MiB\n", asked >> 20, (asked + not_asked) >> 20,
	       bytes[ASH_BACKING_THP] >> 20);
	EXPECT_GE(asked * 100, (asked + not_asked) * 95);
	EXPECT_LE(bytes[ASH_BACKING_THP], asked);
}

/* The first short run past the start, of which each page before has been touched. */
static struct ash_run short_run_past_start(const struct ash_zonelist *zl)
{
	const size_t in_span = (1ul << ash_registry.span_frame_shift) - 1;
	const size_t start_frames = ash_arena_config()->small_start >> ASH_PAGE_SHIFT;
	struct ash_run r;

	while ((ash_frame_index((r = run(zl, 16, 4)).addr) & in_span) < start_frames)
		memset(r.addr, 1, 16 * ASH_PAGE_SIZE);
	return r;
}

static char *last_page_of_pageblock(const void *addr)
{
	return (char *)ash_align_up((uintptr_t)addr + 1, ASH_PAGE_SIZE << ASH_PAGEBLOCK_ORDER) - ASH_PAGE_SIZE;
}

CHILD_TEST(a_fresh_pageblock_for_short_runs_is_there_before_it_is_shared)
{
	const struct ash_zonelist *zl = start(test_config());
	const size_t pageblock = 1ul << ASH_PAGEBLOCK_ORDER;
	struct ash_run first = run(zl, 16, 4), next;

	/* Nothing of this is touched here. The start is base pages: each is for whoever has it. */
	EXPECT_EQ(ash_vmem_resident(first.addr), 0);
	/* It ends where it is used. */
	memset(first.addr, 1, 16 * ASH_PAGE_SIZE);
	next = short_run_past_start(zl);
	EXPECT_EQ(ash_vmem_resident(last_page_of_pageblock(next.addr)), 1);
	/* What nobody shares comes with its first use, which may never be. */
	next = run(zl, pageblock, 0);
	EXPECT_EQ(ash_vmem_resident(next.addr), 0);
	next = run(zl, 8 * pageblock, 0);
	EXPECT_EQ(ash_vmem_resident(next.addr), 0);
	next = run(zl, 100, 0);
	EXPECT(next.zeroed);
	check_zones();
}

/* The kernel clears a huge page towards the byte that is touched. Where it gives base pages one tells which that is. */
CHILD_TEST(a_fresh_pageblock_is_touched_at_its_end)
{
	const struct ash_zonelist *zl;
	char *last;

	EXPECT_EQ(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), 0);
	zl = start(test_config());
	last = last_page_of_pageblock(short_run_past_start(zl).addr);
	EXPECT_EQ(ash_vmem_resident(last), 1);
	EXPECT_EQ(ash_vmem_resident(last + ASH_PAGE_SIZE - (ASH_PAGE_SIZE << ASH_PAGEBLOCK_ORDER)), 0);
	check_zones();
}

CHILD_TEST(policy_none_has_base_pages_only)
{
	struct ash_arena_config config = test_config();
	const struct ash_zonelist *zl;
	size_t bytes[ASH_BACKING_NR];

	config.huge = ASH_HUGE_NONE;
	zl = start(config);
	memset(run(zl, 4096, 0).addr, 1, 4096 * ASH_PAGE_SIZE);
	EXPECT_EQ(ash_arena_actual(0, bytes), 0);
	EXPECT_EQ(bytes[ASH_BACKING_THP], 0);
	EXPECT_GE(bytes[ASH_BACKING_BASE], 4096 * ASH_PAGE_SIZE);
	EXPECT_EQ(stats(0).backed[ASH_BACKING_BASE], stats(0).online);
}

CHILD_TEST(every_alignment_up_to_a_gigabyte)
{
	const struct ash_zonelist *zl = start(test_config());

	for (unsigned align = 0; align <= ASH_MAX_ORDER; align++) {
		struct ash_run one = run(zl, 1, align), odd = run(zl, 700, align);

		ash_run_free(one.addr, 1);
		ash_run_free(odd.addr, 700);
	}
	check_zones();
}

CHILD_TEST(a_far_aligned_frame_brings_online_what_lies_before_it_and_little_more)
{
	struct ash_arena_config config = test_config();
	const struct ash_zonelist *zl;

	config.limit = ASH_GIB(1) + ASH_MIB(16);
	zl = start(config);
	run(zl, 1, 0);
	run(zl, 1, ASH_MAX_ORDER);
	EXPECT_LE(stats(0).online, config.limit >> ASH_PAGE_SHIFT);
	check_zones();
}

CHILD_TEST(runs_above_the_largest_buddy_are_had_and_had_again)
{
	const struct ash_zonelist *zl = start(test_config());
	const size_t nr = (3ul << 18) + 17;
	struct ash_run a, b;
	size_t online;

	NEED_OVERCOMMIT();
	a = run(zl, nr, 0);
	EXPECT(a.zeroed);
	((char *)a.addr)[nr * ASH_PAGE_SIZE - 1] = 1;
	online = stats(0).online;
	for (unsigned i = 0; i < 3; i++) {
		ash_run_free(a.addr, nr);
		b = run(zl, nr, 0);
		EXPECT_EQ(stats(0).online, online);
		a = b;
	}
	ash_run_free(a.addr, nr);
	check_zones();
	EXPECT_EQ(stats(0).zone.free + stats(0).zone.pcp, stats(0).online);
}

CHILD_TEST(odd_runs_do_not_make_the_arena_grow_for_ever)
{
	const struct ash_zonelist *zl = start(test_config());
	size_t online;

	ash_run_free(run(zl, 76800, 0).addr, 76800);
	online = stats(0).online;
	for (unsigned i = 0; i < 20; i++) {
		struct ash_run r = run(zl, 76800, 0);

		ash_run_free(r.addr, r.nr_frames);
	}
	EXPECT_EQ(stats(0).online, online);
}

/*
 * What an interpreter of page descriptions does: buffers of two odd lengths come and go, and short runs that stay come
 * between. Buffers have the room of those before them, so the arena grows by what stays.
 */
CHILD_TEST(runs_of_odd_lengths_come_and_go_in_the_same_memory)
{
	const struct ash_zonelist *zl = start(test_config());
	struct ash_run odd[4] = { 0 };
	size_t live = 0;

	for (unsigned i = 0; i < 200; i++) {
		struct ash_run *r = &odd[i % 4];

		if (r->nr_frames > 0)
			ash_run_free(r->addr, r->nr_frames);
		*r = run(zl, i % 2 == 0 ? 133 : 58, 0);
		if (i % 4 == 3) {
			(void)run(zl, 32, 5);
			live += 32;
		}
	}
	for (unsigned i = 0; i < 4; i++)
		live += odd[i].nr_frames;
	EXPECT(stats(0).online * 4 <= live * 5 + 4 * 512);
	check_zones();
}

CHILD_TEST(a_run_longer_than_the_span_is_refused_without_a_trace)
{
	const struct ash_zonelist *zl = start(test_config());
	struct ash_run r = { (void *)5, 6, true };
	size_t online;

	run(zl, 1, 0);
	online = stats(0).online;
	EXPECT_EQ(ash_run_alloc(zl, (stats(0).span_bytes >> ASH_PAGE_SHIFT) + 1, 0, ASH_MT_UNMOVABLE, &r), -ENOMEM);
	EXPECT_EQ(ash_run_alloc(zl, SIZE_MAX >> ASH_PAGE_SHIFT, 0, ASH_MT_UNMOVABLE, &r), -ENOMEM);
	EXPECT_EQ(ash_run_alloc(zl, SIZE_MAX, 0, ASH_MT_UNMOVABLE, &r), -ENOMEM);
	EXPECT_EQ(ash_run_alloc(zl, 1, 40, ASH_MT_UNMOVABLE, &r), -ENOMEM);
	EXPECT(r.addr == (void *)5 && r.nr_frames == 6);
	EXPECT_EQ(stats(0).online, online);
	run(zl, 1, 0);
	check_zones();
}

CHILD_TEST(the_last_run_grows_in_place_over_the_end)
{
	const struct ash_zonelist *zl = start(test_config());
	struct ash_run r = run(zl, 3000, 0);
	bool zeroed = false;
	size_t nr = 3000;

	memset(r.addr, 1, nr * ASH_PAGE_SIZE);
	while (nr < 100000) {
		EXPECT_EQ(ash_run_extend(r.addr, nr, nr * 2, ASH_MT_UNMOVABLE, &zeroed), 0);
		EXPECT(zeroed);
		EXPECT_EQ(((char *)r.addr)[nr * ASH_PAGE_SIZE], 0);
		nr *= 2;
	}
	EXPECT_LE(stats(0).online, nr + nr / 2 + 4096);
	check_zones();
	ash_run_free(r.addr, nr);
	check_zones();
}

CHILD_TEST(a_hemmed_in_run_does_not_grow_and_nothing_is_brought_online_for_it)
{
	const struct ash_zonelist *zl = start(test_config());
	struct ash_run r = run(zl, 1024, 0), next = run(zl, 1024, 0);
	size_t online, free;
	bool zeroed;

	if ((char *)next.addr < (char *)r.addr) {
		struct ash_run t = r;

		r = next;
		next = t;
	}
	online = stats(0).online;
	free = stats(0).zone.free;
	EXPECT_EQ(ash_run_extend(r.addr, 1024, 1ul << 19, ASH_MT_UNMOVABLE, &zeroed), -EBUSY);
	EXPECT_EQ(ash_run_extend(r.addr, 1024, 1025, ASH_MT_UNMOVABLE, &zeroed), -EBUSY);
	EXPECT_EQ(ash_run_extend(r.addr, 1024, SIZE_MAX / 2, ASH_MT_UNMOVABLE, &zeroed), -EBUSY);
	EXPECT_EQ(ash_run_extend(r.addr, 1024, 1024, ASH_MT_UNMOVABLE, &zeroed), -EBUSY);
	EXPECT_EQ(stats(0).online, online);
	EXPECT_EQ(stats(0).zone.free, free);
	check_zones();
}

CHILD_TEST(extension_that_the_system_refuses_changes_nothing)
{
	const struct ash_zonelist *zl = start(test_config());
	struct ash_run r = run(zl, 3000, 0);
	struct ash_arena_stats before = stats(0), after;
	uint64_t digest = ash_zone_digest(ash_arena_zone(0));
	bool zeroed;

	fake_on();
	fake_fail(__NR_mprotect, NULL, 0, UINT_MAX, -ENOMEM);
	EXPECT_EQ(ash_run_extend(r.addr, 3000, 90000, ASH_MT_UNMOVABLE, &zeroed), -EBUSY);
	fake_off();
	after = stats(0);
	EXPECT_EQ(after.online, before.online);
	EXPECT_EQ(after.zone.free, before.zone.free);
	EXPECT(ash_zone_digest(ash_arena_zone(0)) == digest);
	EXPECT_EQ(ash_run_extend(r.addr, 3000, 90000, ASH_MT_UNMOVABLE, &zeroed), 0);
	check_zones();
}

/* Every system call of growth, one after the other, is refused once. */
CHILD_TEST(any_refused_call_while_growing_is_an_error_or_is_survived)
{
	static const long calls[] = { __NR_mprotect, __NR_madvise, __NR_prctl };
	const struct ash_zonelist *zl = start(test_config());
	unsigned refused = 0;

	for (unsigned c = 0; c < 3; c++) {
		for (unsigned nth = 0; nth < 3; nth++) {
			struct ash_run r;
			int err;

			fake_on();
			fake_fail(calls[c], NULL, nth, 1, -ENOMEM);
			err = ash_run_alloc(zl, 8192 + 1024 * nth, 0, ASH_MT_UNMOVABLE, &r);
			EXPECT(err == 0 || err == -ENOMEM);
			refused += fake.rules[0].times == 0;
			fake_off();
			if (err == 0)
				memset(r.addr, 1, ASH_PAGE_SIZE);
			check_zones();
		}
	}
	EXPECT_GT(refused, 0);
}

CHILD_TEST(all_commits_refused_is_enomem_and_later_success)
{
	const struct ash_zonelist *zl = start(test_config());
	struct ash_run r;

	fake_on();
	fake_fail(__NR_mprotect, NULL, 0, UINT_MAX, -ENOMEM);
	EXPECT_EQ(ash_run_alloc(zl, 1, 0, ASH_MT_UNMOVABLE, &r), -ENOMEM);
	EXPECT_EQ(ash_run_alloc(zl, 10000, 0, ASH_MT_UNMOVABLE, &r), -ENOMEM);
	EXPECT_EQ(stats(0).online, 0);
	fake_off();
	run(zl, 1, 0);
}

CHILD_TEST(option_limit_is_a_hard_cap)
{
	struct ash_arena_config config = test_config();
	const struct ash_zonelist *zl;
	struct ash_run r;
	size_t got = 0;

	config.limit = ASH_MIB(32);
	zl = start(config);
	EXPECT_EQ(ash_run_alloc(zl, 8193, 0, ASH_MT_UNMOVABLE, &r), -ENOMEM);
	while (ash_run_alloc(zl, 16, 0, ASH_MT_UNMOVABLE, &r) == 0)
		got += 16;
	EXPECT_LE(stats(0).online * ASH_PAGE_SIZE, ASH_MIB(32));
	EXPECT_GE(got * ASH_PAGE_SIZE, ASH_MIB(31));
	ash_run_free(r.addr, 16);
	run(zl, 16, 0);
	check_zones();
}

static const struct ash_zonelist *start_with_as(size_t limit)
{
	struct rlimit rl = { limit, limit };

	EXPECT_EQ(setrlimit(RLIMIT_AS, &rl), 0);
	return start(test_config());
}

CHILD_TEST(under_ulimit_v_most_of_the_limit_is_usable_and_the_rest_is_the_programs)
{
	const struct ash_zonelist *zl = start_with_as(ASH_KIB(500000));
	struct ash_run r;
	size_t got = 0;
	void *mine;

	while (ash_run_alloc(zl, 256, 0, ASH_MT_UNMOVABLE, &r) == 0)
		got += 256 * ASH_PAGE_SIZE;
	EXPECT_GE(got, ASH_MIB(250));
	EXPECT(ash_meta_table(32, 2) != NULL);
	mine = mmap(NULL, ASH_MIB(100), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EXPECT(mine != MAP_FAILED);
	EXPECT(ash_is_foreign(mine));
	check_zones();
}

CHILD_TEST(even_a_very_small_address_space_works_or_says_no)
{
	const struct ash_zonelist *zl = start_with_as(ASH_MIB(100));
	struct ash_run r = run(zl, 1000, 0);

	memset(r.addr, 1, 1000 * ASH_PAGE_SIZE);
	EXPECT_EQ(ash_run_alloc(zl, 1ul << 18, 0, ASH_MT_UNMOVABLE, &r), -ENOMEM);
	check_zones();
}

static size_t mapped(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	size_t pages = 0;

	EXPECT(f != NULL && fscanf(f, "%zu", &pages) == 1);
	fclose(f);
	return pages * ASH_PAGE_SIZE;
}

CHILD_TEST(a_few_megabytes_of_address_space_are_a_small_heap)
{
	const struct ash_zonelist *zl = start_with_as(mapped() + ASH_MIB(8));
	struct ash_run r;
	size_t got = 0;

	EXPECT(ash_meta_table(64, 4) != NULL);
	for (; ash_run_alloc(zl, 16, 4, ASH_MT_UNMOVABLE, &r) == 0; got += 16 * ASH_PAGE_SIZE)
		memset(r.addr, 1, 16 * ASH_PAGE_SIZE);
	EXPECT_GE(got, ASH_MIB(2));
	check_zones();
}

/* A kernel after mlockall(MCL_FUTURE), for who may lock so much in all. */
enum { MAY_LOCK = 8 << 20 };
static size_t locked;

static bool locks_all(long nr, long a, long b, long c, long d, long e, long *ret)
{
	(void)a, (void)c, (void)e;
	if (nr == __NR_prlimit64 && b == RLIMIT_MEMLOCK) {
		*(struct rlimit *)d = (struct rlimit){ MAY_LOCK, MAY_LOCK };
		*ret = 0;
		return true;
	}
	if (nr == __NR_munmap)
		locked -= (size_t)b;
	if (nr != __NR_mmap)
		return false;
	if (locked + (size_t)b > MAY_LOCK) {
		*ret = -EAGAIN;
		return true;
	}
	locked += (size_t)b;
	return false;
}

CHILD_TEST(where_all_that_is_mapped_is_locked_the_heap_keeps_to_that_limit)
{
	const struct ash_zonelist *zl;

	fake_on();
	fake.front = locks_all;
	zl = start(test_config());
	(void)run(zl, 256, 0);
	check_zones();
}

CHILD_TEST(no_address_space_at_all_is_enomem)
{
	struct rlimit rl = { ASH_MIB(1), ASH_MIB(1) };
	struct ash_arena_config config = test_config();

	EXPECT_EQ(setrlimit(RLIMIT_AS, &rl), 0);
	EXPECT_EQ(ash_arena_init(&config), -ENOMEM);
}

CHILD_TEST(metadata_follows_the_frames_that_go_online)
{
	const struct ash_zonelist *zl;
	struct ash_run r;
	char *table;
	size_t last;

	zl = start(test_config());
	r = run(zl, 1, 0);
	memset(r.addr, 1, ASH_PAGE_SIZE);
	table = ash_meta_table(8, 2);
	EXPECT(table != NULL);
	ash_tag_store(ash_frame_index(r.addr), 7);
	EXPECT_EQ(*(table - (ash_frame_index(r.addr) >> 2) * 8), 0);
	r = run(zl, 3ul << 18, 0);
	last = ash_frame_index(r.addr) + r.nr_frames - 1;
	ash_tag_store(last, 8);
	*(table - (last >> 2) * 8) = 1;
	/* Not writable where nothing is online. */
	EXPECT_EQ(write_signal((char *)ash_registry.tags + (ash_nr_frames() / 2 - 1) * sizeof(uint32_t)),
		  SIGSEGV);
	for (unsigned i = 0; i < 10000; i++)
		EXPECT(ash_meta_alloc(640) != NULL);
	memset(ash_meta_alloc(1000000), 1, 1000000);
	ash_run_free(r.addr, r.nr_frames);
	check_zones();
}

CHILD_TEST(under_a_limit_on_data_the_limit_is_what_can_be_had)
{
	struct rlimit rl = { ASH_MIB(200), ASH_MIB(200) };
	const struct ash_zonelist *zl;
	struct ash_run r;
	size_t got = 0;

	EXPECT_EQ(setrlimit(RLIMIT_DATA, &rl), 0);
	zl = start(test_config());
	EXPECT(ash_meta_table(16, 4) != NULL);
	while (got < ASH_GIB(1) && ash_run_alloc(zl, 256, 0, ASH_MT_UNMOVABLE, &r) == 0) {
		*(char *)r.addr = 1;
		ash_tag_store(ash_frame_index(r.addr), 1);
		got += 256 * ASH_PAGE_SIZE;
	}
	EXPECT_GE(got, ASH_MIB(150));
	EXPECT_LE(got, ASH_MIB(200));
	check_zones();
}

CHILD_TEST(mapping_count_stays_small_whatever_happens)
{
	const struct ash_zonelist *zl = start(test_config());
	struct ash_run runs[600];
	uint64_t seed = test_seed;
	unsigned n = 0, lines = 0;
	int c;
	FILE *maps;

	NEED_OVERCOMMIT();
	for (unsigned i = 0; i < 600; i++) {
		runs[n++] = run(zl, 1 + test_random(&seed) % 3000, 0);
		*(char *)runs[n - 1].addr = 1;
		if (test_random(&seed) % 3 == 0) {
			unsigned k = (unsigned)(test_random(&seed) % n);

			ash_run_free(runs[k].addr, runs[k].nr_frames);
			runs[k] = runs[--n];
		}
	}
	ash_arena_trim();
	check_zones();
	maps = fopen("/proc/self/maps", "r");
	while ((c = fgetc(maps)) != EOF)
		lines += c == '\n';
	fclose(maps);
	EXPECT_GT(lines, 10);
	EXPECT_LE(lines, 60);
}

struct worker {
	unsigned id;
	const struct ash_zonelist *zl;
};

/* Runs carry their owner's mark at both ends; a run handed out twice shows. */
static void *work(void *arg)
{
	struct worker *w = arg;
	uint64_t seed = test_seed * 77 + w->id, bad = 0;
	struct ash_run runs[32];
	unsigned n = 0;

	for (unsigned i = 0; i < 4000; i++) {
		if (n < 32 && test_random(&seed) % 2 == 0) {
			size_t nr = 1 + test_random(&seed) % (i % 64 == 0 ? 4000 : 60);

			if (ash_run_alloc(w->zl, nr, 0, (enum ash_migratetype)(test_random(&seed) % 3), &runs[n]) < 0)
				return (void *)1;
			*(uint64_t *)runs[n].addr = w->id << 16 | n;
			((uint64_t *)runs[n].addr)[nr * 512 - 1] = w->id << 16 | n;
			n++;
		} else if (n > 0) {
			struct ash_run *r = &runs[--n];

			bad += *(uint64_t *)r->addr != (w->id << 16 | n);
			bad += ((uint64_t *)r->addr)[r->nr_frames * 512 - 1] != (w->id << 16 | n);
			ash_run_free(r->addr, r->nr_frames);
		}
		if (i % 512 == 0)
			ash_arena_trim();
	}
	while (n > 0) {
		n--;
		ash_run_free(runs[n].addr, runs[n].nr_frames);
	}
	return (void *)(uintptr_t)(bad != 0);
}

CHILD_TEST(threads_never_share_a_frame)
{
	struct worker w[6];
	pthread_t t[6];
	void *bad;

	w[0].zl = start(test_config());
	for (unsigned i = 0; i < 6; i++) {
		w[i] = (struct worker){ i + 1, w[0].zl };
		pthread_create(&t[i], NULL, work, &w[i]);
	}
	for (unsigned i = 0; i < 6; i++) {
		pthread_join(t[i], &bad);
		EXPECT(bad == NULL);
	}
	check_zones();
	EXPECT_EQ(stats(0).zone.free, stats(0).online);
}
