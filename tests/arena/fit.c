/* SPDX-License-Identifier: MIT */
/* A limit on address space that comes when there are arenas: what they were never used for is given back. */
#include "arena/child.h"
#include "arena/fake_pool.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/bits.h"
#include "os/process.h"

enum { BLOCK = 256, MOST = 4096, THREADS = 2, ROUNDS = 2000 };
#define BLOCK_BYTES (BLOCK * ASH_PAGE_SIZE)

static void *held[MOST];

static const struct ash_zonelist *start(void)
{
	const struct ash_arena_config config = test_config();

	EXPECT_EQ(ash_arena_init(&config), 0);
	return ash_zonelist_for(-1);
}

/* The kernel's limit too, so that what is promised is to be had under it. */
static void limit_to(size_t bytes)
{
	const struct rlimit limit = { bytes, RLIM_INFINITY };

	EXPECT_EQ(setrlimit(RLIMIT_AS, &limit), 0);
	ash_arena_fit(bytes);
}

/* Blocks, of which the ith says i, until there are no more; how many. */
static unsigned fill(const struct ash_zonelist *zl, unsigned i)
{
	struct ash_run r;

	for (; i < MOST && ash_run_alloc(zl, BLOCK, 0, ASH_MT_UNMOVABLE, &r) == 0; i++) {
		memset(r.addr, (int)(i & 0x7f) + 1, BLOCK_BYTES);
		held[i] = r.addr;
	}
	return i;
}

static bool says(const void *addr, size_t bytes, char c)
{
	const char *p = addr;

	for (size_t i = 0; i < bytes; i++) {
		if (p[i] != c)
			return false;
	}
	return true;
}

static void all_stay(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		EXPECT(says(held[i], BLOCK_BYTES, (char)((i & 0x7f) + 1)));
}

static void free_all(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		ash_run_free(held[i], BLOCK);
}

CHILD_TEST(what_is_used_stays_and_most_of_the_limit_is_usable)
{
	const struct ash_zonelist *zl = start();
	struct ash_run r;
	unsigned n = 0;

	for (; n < 40; n++) {
		EXPECT_EQ(ash_run_alloc(zl, BLOCK, 0, ASH_MT_UNMOVABLE, &r), 0);
		memset(r.addr, (int)n + 1, BLOCK_BYTES);
		held[n] = r.addr;
	}
	limit_to(ASH_MIB(500));
	EXPECT_LE(ash_process_mapped(), ASH_MIB(400));
	all_stay(40);
	n = fill(zl, 40);
	EXPECT_GE(n, 250);
	EXPECT_LE(n, 400);
	all_stay(n);
	check_zones();
	free_all(n);
	EXPECT_EQ(fill(zl, 0), n);
	check_zones();
}

CHILD_TEST(metadata_is_to_be_had_after_it)
{
	const struct ash_zonelist *zl = start();
	uint32_t *table;

	limit_to(ASH_MIB(500));
	table = ash_meta_table(sizeof(*table), 0);
	EXPECT(table != NULL);
	for (unsigned i = fill(zl, 0); i-- > 0;)
		*(table - ash_frame_index(held[i])) = i;
	for (unsigned i = 0; i < 200; i++)
		EXPECT(ash_meta_alloc(5000) != NULL);
	check_zones();
}

CHILD_TEST(a_smaller_limit_takes_nothing_that_has_come_to_be_mapped_there)
{
	const struct ash_zonelist *zl = start();
	const char *base = (const char *)ash_registry.base;
	const size_t total = ash_nr_frames() << ASH_PAGE_SHIFT;
	const char *spots[4];
	unsigned n;

	limit_to(ASH_MIB(500));
	n = fill(zl, 0);
	spots[0] = base + (ash_nr_frames() << ASH_PAGE_SHIFT);
	spots[1] = base + total / 2;
	spots[2] = base + total - ASH_MIB(1);
	spots[3] = base - ASH_MIB(1);
	for (unsigned i = 0; i < 4; i++) {
		EXPECT(i == 3 || ash_is_foreign(spots[i]));
		EXPECT(mmap((void *)(uintptr_t)spots[i], ASH_KIB(64), PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == spots[i]);
		memset((void *)(uintptr_t)spots[i], 'a', ASH_KIB(64));
	}
	for (size_t mib = 400; mib > 100; mib -= 100) {
		limit_to(ASH_MIB(mib));
		for (unsigned i = 0; i < 4; i++)
			EXPECT(says(spots[i], ASH_KIB(64), 'a'));
	}
	all_stay(n);
	EXPECT_EQ(fill(zl, n), n);
	free_all(n);
	EXPECT_EQ(fill(zl, 0), n);
	check_zones();
}

CHILD_TEST(a_limit_above_what_is_mapped_changes_nothing)
{
	size_t mapped, frames;

	start();
	mapped = ash_process_mapped();
	frames = ash_nr_frames();
	ash_arena_fit(mapped + ASH_MIB(64));
	EXPECT_EQ(ash_nr_frames(), frames);
	ash_arena_fit(SIZE_MAX);
	EXPECT_EQ(ash_nr_frames(), frames);
}

CHILD_TEST(a_limit_below_what_is_used_ends_all_growth)
{
	const struct ash_zonelist *zl = start();
	struct ash_run r;

	for (unsigned i = 0; i < 200; i++) {
		EXPECT_EQ(ash_run_alloc(zl, BLOCK, 0, ASH_MT_UNMOVABLE, &r), 0);
		memset(r.addr, (int)i + 1, BLOCK_BYTES);
		held[i] = r.addr;
	}
	limit_to(ASH_MIB(100));
	EXPECT_LE(fill(zl, 200), 220);
	EXPECT(!ash_is_foreign(held[199]));
	for (unsigned i = 0; i < 200; i++)
		ash_run_free(held[i], BLOCK);
	EXPECT_EQ(ash_run_alloc(zl, 512, 9, ASH_MT_UNMOVABLE, &r), 0);
	check_zones();
}

CHILD_TEST(where_the_kernel_does_not_say_what_is_mapped_the_share_is_of_the_limit)
{
	const struct ash_zonelist *zl = start();
	unsigned n;

	fake_on();
	fake.files_only = true;
	ash_arena_fit(ASH_MIB(400));
	n = fill(zl, 0);
	EXPECT_GE(n, 240);
	EXPECT_LE(n, 252);
}

CHILD_TEST(before_set_up_there_is_nothing_to_give_back)
{
	const struct ash_zonelist *zl;

	ash_arena_fit(ASH_MIB(100));
	zl = start();
	EXPECT_GE(fill(zl, 0), 400);
}

/* A pool of 8 pages and a limit: both arenas end, and what is used of both stays. */
CHILD_TEST(hugetlb_memory_stays)
{
	struct ash_arena_config config = test_config();
	struct ash_run r;
	unsigned n;

	config.huge = ASH_HUGE_2M;
	fake_pool_on(8, 0);
	EXPECT_EQ(ash_arena_init(&config), 0);
	EXPECT(ash_meta_table(4, 0) != NULL);
	for (unsigned i = 0; i < 10; i++) {
		EXPECT_EQ(ash_run_alloc(ash_zonelist_for(-1), BLOCK, 0, ASH_MT_UNMOVABLE, &r), 0);
		memset(r.addr, (int)i + 1, BLOCK_BYTES);
		held[i] = r.addr;
	}
	ash_arena_fit(ASH_MIB(500));
	all_stay(10);
	n = fill(ash_zonelist_for(-1), 10);
	EXPECT_GE(n, 100);
	EXPECT_LE(n, 400);
	all_stay(n);
	check_zones();
	free_all(n);
	EXPECT_EQ(fill(ash_zonelist_for(-1), 0), n);
	check_zones();
}

static const struct ash_zonelist *shared;

static void *take_and_free(void *arg)
{
	void *mine[8] = { NULL };

	for (unsigned i = 0; i < ROUNDS; i++) {
		void **slot = &mine[i % 8];
		struct ash_run r;

		if (*slot != NULL) {
			EXPECT(says(*slot, ASH_PAGE_SIZE, *(char *)arg));
			ash_run_free(*slot, BLOCK);
			*slot = NULL;
		}
		if (ash_run_alloc(shared, BLOCK, 0, ASH_MT_UNMOVABLE, &r) == 0) {
			memset(r.addr, *(char *)arg, ASH_PAGE_SIZE);
			*slot = r.addr;
		}
		if (i % 64 == 0)
			(void)!ash_meta_alloc(3000);
	}
	return arg;
}

CHILD_TEST(others_grow_and_have_metadata_meanwhile)
{
	char names[THREADS] = { 'a', 'b' };
	pthread_t t[THREADS];

	shared = start();
	for (unsigned i = 0; i < THREADS; i++)
		EXPECT_EQ(pthread_create(&t[i], NULL, take_and_free, &names[i]), 0);
	for (size_t mib = 1000; mib >= 100; mib -= 50)
		ash_arena_fit(ASH_MIB(mib));
	for (unsigned i = 0; i < THREADS; i++)
		EXPECT_EQ(pthread_join(t[i], NULL), 0);
	check_zones();
}

CHILD_TEST(a_child_that_has_its_parents_memory_gives_nothing_of_it_back)
{
	size_t frames;
	int status = -1;
	pid_t child;

	start();
	frames = ash_nr_frames();
	child = vfork();
	if (child == 0) {
		ash_arena_fit(ASH_MIB(100));
		_exit(0);
	}
	EXPECT_EQ(waitpid(child, &status, 0), child);
	EXPECT_EQ(status, 0);
	EXPECT_EQ(ash_nr_frames(), frames);
}
