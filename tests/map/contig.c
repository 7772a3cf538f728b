/* SPDX-License-Identifier: MIT */
/*
 * Contiguous ranges out of arenas full of mappings: the mappings' slots are exchanged under programs that write, unmap,
 * move and fork meanwhile.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arena/child.h"

#include "map/map.h"

#define PB ((size_t)2 << 20)
enum { RW = PROT_READ | PROT_WRITE, ANON = MAP_PRIVATE | MAP_ANONYMOUS, PB_FRAMES = 512, WORDS = 4096 / 8 };

/* A process of at most so many pageblocks in arenas. */
static void start(size_t limit_blocks)
{
	struct ash_arena_config config = test_config();
	struct ash_map_stats s;
	long p;

	config.decay_ms = UINT32_MAX;
	config.huge = ASH_HUGE_NONE;
	config.limit = limit_blocks * PB;
	EXPECT_EQ(ash_arena_init(&config), 0);
	ash_map_enable(true);
	ash_map_use_mover();
	p = ash_map_mmap(NULL, PB, RW, ANON, -1, 0);
	EXPECT(p > 0);
	EXPECT_EQ(ash_map_munmap((void *)p, PB), 0);
	ash_map_stats(&s);
	if (s.state == ASH_MAP_REFUSED)
		SKIP("this kernel does not move pages");
	EXPECT_EQ(s.state, ASH_MAP_SERVING);
}

static uint64_t exchanged(void)
{
	struct ash_map_stats s;

	ash_map_stats(&s);
	return s.exchanged;
}

static uint64_t *map(size_t bytes)
{
	const long p = ash_map_mmap(NULL, bytes, RW, ANON, -1, 0);

	EXPECT(p > 0);
	return (uint64_t *)p;
}

static void unmap(void *p, size_t bytes)
{
	EXPECT_EQ(ash_map_munmap(p, bytes), 0);
}

static char *take(size_t blocks)
{
	struct ash_zonelist zl;
	struct ash_run run;

	ash_zonelist_ordinary(&zl, -1);
	return ash_run_alloc_contig(&zl, blocks * PB_FRAMES, ASH_PAGEBLOCK_ORDER, &run) == 0 ? run.addr : NULL;
}

/* A word a page. */
static void fill(uint64_t *p, size_t bytes, uint64_t with)
{
	for (size_t i = 0; i < bytes / 8; i += WORDS)
		p[i] = with + i;
}

static bool holds(const uint64_t *p, size_t bytes, uint64_t with)
{
	for (size_t i = 0; i < bytes / 8; i += WORDS) {
		if (p[i] != with + i)
			return false;
	}
	return true;
}

static void expect_clean(void)
{
	struct ash_map_stats s;

	ash_map_stats(&s);
	EXPECT_EQ(s.slots, 0);
	check_zones();
}

/* 64 pageblocks may be online; mappings hold every other one, and malloc's kind of memory two at the start. */
CHILD_TEST(a_range_in_use_is_emptied)
{
	uint64_t *p[56];
	char *range;

	start(64);
	for (unsigned i = 0; i < 56; i++)
		p[i] = map(PB);
	for (unsigned i = 0; i < 56; i += 2)
		unmap(p[i], PB);
	for (unsigned i = 1; i < 56; i += 2)
		fill(p[i], PB, i);
	range = take(24);
	EXPECT(range != NULL);
	EXPECT_GE(exchanged(), 8);
	memset(range, 0xee, 24 * PB);
	for (unsigned i = 1; i < 56; i += 2)
		EXPECT(holds(p[i], PB, i));
	check_zones();
	/* Slots are as good as before. */
	for (unsigned i = 1; i < 56; i += 2)
		unmap(p[i], PB);
	ash_run_free(range, 24 * PB_FRAMES);
	expect_clean();
	p[0] = map(40 * PB);
	for (size_t i = 0; i < 40 * PB / 8; i += 64)
		EXPECT_EQ(p[0][i], 0);
	unmap(p[0], 40 * PB);
}

CHILD_TEST(without_room_for_the_slots_it_is_refused_and_nothing_is_lost)
{
	uint64_t *p;

	start(32);
	p = map(28 * PB);
	fill(p, 28 * PB, 3);
	EXPECT(take(16) == NULL);
	EXPECT(holds(p, 28 * PB, 3));
	unmap(p, 28 * PB);
	expect_clean();
	EXPECT(take(16) != NULL);
}

CHILD_TEST(what_cannot_move_is_in_the_way)
{
	struct ash_zonelist zl;
	struct ash_run run[30];
	unsigned n = 0;

	start(32);
	ash_zonelist_ordinary(&zl, -1);
	while (n < 30 && ash_run_alloc(&zl, PB_FRAMES, ASH_PAGEBLOCK_ORDER, ASH_MT_UNMOVABLE, &run[n]) == 0)
		n++;
	for (unsigned i = 0; i < n; i += 2)
		ash_run_free(run[i].addr, PB_FRAMES);
	EXPECT(take(4) == NULL);
	check_zones();
}

static atomic_bool stop;
static atomic_uint taken, refused, wrong, mapped;

/* Ranges of so many pageblocks, the fewer the more of them at a time, freed in any order. */
static void *taker(void *arg)
{
	const size_t blocks = (size_t)arg, most = 12 / blocks + 1;
	uint64_t state = blocks;
	char *held[12] = { NULL };

	while (!stop) {
		const size_t i = test_random(&state) % most;

		if (held[i] != NULL)
			ash_run_free(held[i], blocks * PB_FRAMES);
		held[i] = take(blocks);
		if (held[i] == NULL) {
			refused++;
			continue;
		}
		taken++;
		for (size_t k = 0; k < blocks * PB; k += PB)
			held[i][k] = 0x55;
	}
	return NULL;
}

/* Writes to a mapping that lives throughout. */
static void *writer(void *arg)
{
	uint64_t *p = arg, round = 0;

	fill(p, 12 * PB, round);
	for (; !stop; round++) {
		if (!holds(p, 12 * PB, round))
			wrong++;
		fill(p, 12 * PB, round + 1);
	}
	return NULL;
}

/* Mappings that come, move and go. */
static void *mapper(void *arg)
{
	uint64_t tag = (uintptr_t)arg << 32, state = (uintptr_t)arg;

	for (; !stop; tag += 1 << 20) {
		const size_t bytes = (1 + test_random(&state) % 4) * PB, grown = bytes + PB * (test_random(&state) % 2);
		long p = ash_map_mmap(NULL, bytes, RW, ANON, -1, 0);

		if (p < 0 || *(uint64_t *)p != 0) {
			wrong++;
			continue;
		}
		fill((uint64_t *)p, bytes, tag);
		if (grown > bytes)
			p = ash_map_mremap((void *)p, bytes, grown, MREMAP_MAYMOVE, NULL);
		if (p < 0 || !holds((uint64_t *)p, bytes, tag))
			wrong++;
		else if (ash_map_munmap((void *)p, grown) != 0)
			wrong++;
		mapped++;
	}
	return NULL;
}

/* The program writes, maps, moves and unmaps while ranges are taken from it, two at a time, as fast as it goes. */
CHILD_TEST(ranges_are_taken_from_a_program_that_runs)
{
	pthread_t threads[5];
	uint64_t *kept[16];
	const unsigned seconds = getenv("ASH_TEST_LONG") != NULL ? 60 : 1;

	start(60);
	for (unsigned i = 0; i < 16; i++) {
		kept[i] = map(PB);
		fill(kept[i], PB, i * 77);
	}
	EXPECT_EQ(pthread_create(&threads[0], NULL, writer, map(12 * PB)), 0);
	EXPECT_EQ(pthread_create(&threads[1], NULL, mapper, (void *)1), 0);
	EXPECT_EQ(pthread_create(&threads[2], NULL, mapper, (void *)2), 0);
	EXPECT_EQ(pthread_create(&threads[3], NULL, taker, (void *)16), 0);
	EXPECT_EQ(pthread_create(&threads[4], NULL, taker, (void *)2), 0);
	sleep(seconds);
	/* On a busy machine nobody may have come that far: as long as it takes, within reason. */
	for (unsigned i = 0; i < 60000 && (taken == 0 || mapped == 0 || exchanged() == 0); i++)
		usleep(10000);
	stop = true;
	for (unsigned i = 0; i < 5; i++)
		EXPECT_EQ(pthread_join(threads[i], NULL), 0);
	printf("# %u ranges taken, %u refused, %llu slots exchanged\n", taken, refused,
	       (unsigned long long)exchanged());
	EXPECT_EQ(wrong, 0);
	EXPECT_GT(taken, 0);
	EXPECT_GT(mapped, 0);
	EXPECT_GT(exchanged(), 0);
	for (unsigned i = 0; i < 16; i++)
		EXPECT(holds(kept[i], PB, i * 77));
	check_zones();
}
