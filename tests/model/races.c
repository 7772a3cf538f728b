/* SPDX-License-Identifier: MIT */
/*
 * Races of isolation and contiguous ranges: T30 (the race that started the kernel's present design), T93, and ranges
 * emptied by movers while the owners of what is moved go on allocating and freeing.
 *
 * As in threads.c a frame's payload is a plain word: ownership that overlaps is seen by value, ownership that is handed
 * over without the zone's locks in between is seen by ThreadSanitizer.
 */
#include "base/bits.h"
#include "harness/test.h"
#include "model/hosted.h"
#include "page/contig.h"
#include "page/migrate.h"
#include "page/mover.h"
#include "page/pageblock.h"

#include <pthread.h>
#include <sched.h>

#define NR_FRAMES 256u
#define NR_MOVABLE 96

static struct ash_zone *z;
static uint32_t payload[NR_FRAMES];
static _Atomic bool stop;
static _Atomic(const char *) failure;
static _Atomic unsigned long failed_pfn;

static void fail(const char *what, unsigned long pfn)
{
	const char *none = NULL;

	if (atomic_compare_exchange_strong(&failure, &none, what))
		atomic_store(&failed_pfn, pfn);
	atomic_store(&stop, true);
}

static void on_bug(const struct ash_zone *zone, const char *what, ash_pfn_t pfn, unsigned long a, unsigned long b)
{
	(void)zone;
	fprintf(stderr, "the core reports a bug: %s (pfn %u, %lu, %lu)\n", what, pfn, a, b);
	abort();
}

static void open_zone(struct ash_geometry geometry, ash_pfn_t nr, unsigned nr_cpus, const struct ash_mover_ops *mover)
{
	static struct ash_zone_ops ops;
	static void *mem;
	const size_t zone = ash_align_up(ash_zone_struct_size(), 64), frames = ash_frames_size(nr);
	const size_t blocks = ash_align_up(ash_zone_nr_pageblocks(nr, geometry), 64);
	const size_t pcps = ash_pcp_struct_size() * nr_cpus;
	struct ash_zone_config config = { .nr_frames = nr, .geometry = geometry, .nr_cpus = nr_cpus, .ops = &ops };

	ops = (struct ash_zone_ops){ .lock = hosted_lock_ops, .bug = on_bug, .mover = mover };
	free(mem);
	mem = aligned_alloc(64, ash_align_up(zone + frames + blocks + pcps, 64));
	EXPECT(mem != NULL);
	memset(mem, 0, zone + frames + blocks + pcps);
	memset(payload, 0, sizeof(payload));
	z = mem;
	config.frames = (void *)((char *)mem + zone);
	config.pageblocks = (void *)((char *)mem + zone + frames);
	config.pcps = nr_cpus > 0 ? (void *)((char *)mem + zone + frames + blocks) : NULL;
	EXPECT_EQ(ash_zone_init(z, &config), 0);
	EXPECT_EQ(ash_zone_online(z, 0, nr, false), 0);
	atomic_store(&stop, false);
	atomic_store(&failure, NULL);
}

static void check_now(void)
{
	struct ash_zone_fault fault = { 0 };

	if (ash_zone_check(z, &fault) != 0)
		fail(fault.what, fault.pfn);
}

static void expect_whole(ash_pfn_t nr)
{
	struct ash_zone_stats stats;

	ash_zone_drain(z);
	check_now();
	if (atomic_load(&failure) != NULL)
		TEST_FAIL("%s (pfn %lu)", atomic_load(&failure), atomic_load(&failed_pfn));
	ash_zone_stats(z, &stats);
	EXPECT_EQ(stats.free, nr);
	EXPECT_EQ(stats.isolated, 0);
}

/* Loops that go on until they have seen what they are about end some time, so that a failure is told. */
static bool patience_ends(double start)
{
	return hosted_now() - start > 300;
}

static void own(ash_pfn_t pfn, ash_pfn_t nr, uint32_t id)
{
	for (ash_pfn_t i = pfn; i < pfn + nr; i++) {
		if (payload[i] != 0)
			fail("a granted frame has an owner", i);
		payload[i] = id;
	}
}

static void disown(ash_pfn_t pfn, ash_pfn_t nr, uint32_t id)
{
	for (ash_pfn_t i = pfn; i < pfn + nr; i++) {
		if (payload[i] != id)
			fail("an owned frame was given to somebody else", i);
		payload[i] = 0;
	}
}

/*
 * T30 ([L 20230920160400.GC124289]): one thread isolates the tail of a buddy, another takes the buddy by its head. What
 * is UNMOVABLE keeps its pageblock from being isolated, so no block is ever both held and isolated.
 */

static _Atomic uint64_t isolations;

static void *isolate_forever(void *arg)
{
	const ash_pfn_t block = *(const ash_pfn_t *)arg << z->pageblock_order, size = 1u << z->pageblock_order;

	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		if (ash_zone_isolate_range(z, block, size, ASH_ISOLATE_OTHER, NULL) != 0) {
			sched_yield();
			continue;
		}
		atomic_fetch_add_explicit(&isolations, 1, memory_order_relaxed);
		for (ash_pfn_t pfn = block; pfn < block + size; pfn++) {
			if (payload[pfn] != 0)
				fail("an isolated frame has an owner", pfn);
		}
		if ((isolations & 15) == 0)
			sched_yield();
		ash_zone_unisolate_range(z, block, size);
	}
	return NULL;
}

static void seed_race(struct ash_geometry geometry, ash_pfn_t block)
{
	const ash_pfn_t nr = 1u << geometry.max_order;
	const unsigned rounds = hosted_long() ? 5000000 : 30000;
	unsigned granted = 0;
	pthread_t thread;
	const double start = hosted_now();

	open_zone(geometry, nr, 0, NULL);
	atomic_store(&isolations, 0);
	EXPECT_EQ(pthread_create(&thread, NULL, isolate_forever, &block), 0);
	/*
	 * On a busy machine the other thread may start late, or seldom have its turn: go on until both have met often.
	 */
	for (unsigned i = 0; (i < rounds || isolations < 1000 || granted < 1000) && !patience_ends(start) &&
			     !atomic_load(&stop); i++) {
		const unsigned order = geometry.max_order - i % (geometry.max_order - geometry.pageblock_order + 2u);
		struct ash_page_grant grant;

		if (ash_zone_alloc(z, order, ASH_MT_UNMOVABLE, 0, ASH_CPU_NONE, &grant) != 0) {
			sched_yield();
			continue;
		}
		granted++;
		own(grant.pfn, 1u << order, 1);
		for (ash_pfn_t pfn = grant.pfn; pfn < grant.pfn + (1u << order); pfn++) {
			if (ash_pageblock_type(z, pfn) == ASH_MT_ISOLATE)
				fail("a granted frame lies in an isolated pageblock", pfn);
		}
		if (i % 256 == 0)
			check_now();
		/* Where there is one processor the other has its turn here, or at the end: one in each state. */
		if (i % 32 == 0)
			sched_yield();
		disown(grant.pfn, 1u << order, 1);
		ash_zone_free(z, grant.pfn, order, ASH_CPU_NONE);
		if (i % 32 == 16)
			sched_yield();
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	printf("# (%u,%u) block %u: %u grants against %llu isolations\n", geometry.pageblock_order, geometry.max_order,
	       block, granted, (unsigned long long)isolations);
	expect_whole(nr);
	EXPECT_GE(granted, 1000);
	EXPECT_GE(isolations, 1000);
}

TEST(T30_isolating_a_tail_against_allocating_by_the_head)
{
	seed_race((struct ash_geometry){ 3, 4 }, 1);
}

TEST(T30_isolating_inside_a_buddy_of_eight_pageblocks)
{
	for (ash_pfn_t block = 0; block < 8; block += 3)
		seed_race((struct ash_geometry){ 3, 6 }, block);
}

/*
 * [K page_isolation.c:start_isolate_page_range] T93: overlapping ranges: at most one of two takes the overlap, and the
 * loser's undo leaves the winner's blocks alone.
 */

static _Atomic uint64_t refusals;

struct taker {
	pthread_t thread;
	uint32_t id;
	uint64_t rng, rounds, taken, refused, freed;
};

static void take_range(struct taker *t, uint64_t r)
{
	const ash_pfn_t start = (ash_pfn_t)(r % (NR_FRAMES - 60)), nr = 1 + (ash_pfn_t)((r >> 16) % 60);
	struct ash_page_grant grant;

	if (ash_zone_alloc_contig_range(z, start, nr, ASH_MT_UNMOVABLE, ASH_ISOLATE_OTHER, &grant, NULL) != 0) {
		t->refused++;
		atomic_fetch_add_explicit(&refusals, 1, memory_order_relaxed);
		return;
	}
	t->taken++;
	own(start, nr, t->id);
	if ((r >> 40) % 64 == 0)
		check_now();
	if ((r >> 40) % 16 == 1)
		sched_yield();
	disown(start, nr, t->id);
	ash_zone_free_run(z, start, nr);
}

static struct {
	pthread_barrier_t barrier;
	uint32_t nr;
} met;

/* One holds all, and the others are refused whatever they ask for; each is the one in turn. */
static void be_refused(struct taker *t)
{
	for (uint32_t holder = 1; holder <= met.nr; holder++) {
		struct ash_page_grant grant;

		if (t->id == holder) {
			if (ash_zone_alloc_contig_range(z, 0, NR_FRAMES, ASH_MT_UNMOVABLE, ASH_ISOLATE_OTHER, &grant,
							NULL) != 0)
				fail("a range that nobody has is refused", holder);
			own(0, NR_FRAMES, t->id);
		}
		(void)pthread_barrier_wait(&met.barrier);
		if (t->id != holder)
			take_range(t, model_random(&t->rng));
		(void)pthread_barrier_wait(&met.barrier);
		if (t->id == holder) {
			disown(0, NR_FRAMES, t->id);
			ash_zone_free_run(z, 0, NR_FRAMES);
		}
		(void)pthread_barrier_wait(&met.barrier);
	}
}

static void *take_ranges(void *arg)
{
	struct taker *t = arg;

	for (uint64_t i = 0; (i < t->rounds || refusals < 100) && i < 50 * t->rounds &&
			     !atomic_load_explicit(&stop, memory_order_relaxed); i++)
		take_range(t, model_random(&t->rng));
	return NULL;
}

static void *be_refused_and_take_ranges(void *arg)
{
	be_refused(arg);
	return take_ranges(arg);
}

TEST(T93_overlapping_ranges)
{
	struct taker takers[3];

	open_zone((struct ash_geometry){ 4, 6 }, NR_FRAMES, 0, NULL);
	atomic_store(&refusals, 0);
	met.nr = 3;
	EXPECT_EQ(pthread_barrier_init(&met.barrier, NULL, met.nr), 0);
	for (uint32_t i = 0; i < 3; i++) {
		takers[i] = (struct taker){ .id = i + 1, .rng = test_seed * 77 + i + 1,
					    .rounds = hosted_long() ? 2000000 : 10000 };
		EXPECT_EQ(pthread_create(&takers[i].thread, NULL, be_refused_and_take_ranges, &takers[i]), 0);
	}
	for (uint32_t i = 0; i < 3; i++) {
		pthread_join(takers[i].thread, NULL);
		printf("# thread %u: %llu ranges taken, %llu refused\n", i, (unsigned long long)takers[i].taken,
		       (unsigned long long)takers[i].refused);
		EXPECT_GT(takers[i].taken, 0);
		EXPECT_GE(takers[i].refused, met.nr - 1);
	}
	(void)pthread_barrier_destroy(&met.barrier);
	expect_whole(NR_FRAMES);
}

/* --- Ranges that are emptied by a mover, while the owners of the movable pieces come and go --- */

/* One lock for all: what synchronises the owner's frees with its mover, as page/mover.h asks for. */
static pthread_mutex_t ledger = PTHREAD_MUTEX_INITIALIZER;
static struct {
	ash_pfn_t pfn;
	unsigned order;
	bool live, moving;
} movable[NR_MOVABLE];
static uint64_t begun, moved, freed_while_moving;

static int find_movable(ash_pfn_t pfn)
{
	for (int i = 0; i < NR_MOVABLE; i++) {
		if (movable[i].live && movable[i].pfn == pfn)
			return i;
	}
	return -1;
}

static int mover_isolate(struct ash_zone *zone, ash_pfn_t pfn, unsigned order)
{
	int result = -ASH_EBUSY, i;

	(void)zone;
	pthread_mutex_lock(&ledger);
	i = find_movable(pfn);
	if (i >= 0 && !movable[i].moving && movable[i].order == order) {
		movable[i].moving = true;
		result = 0;
	}
	pthread_mutex_unlock(&ledger);
	if (result == 0 && pfn % 4 == 0)
		sched_yield();
	return result;
}

/* The owner of movable[i] frees it; the caller holds the ledger. */
static void let_go(int i, unsigned cpu)
{
	disown(movable[i].pfn, 1u << movable[i].order, 99);
	movable[i].live = movable[i].moving = false;
	ash_zone_free(z, movable[i].pfn, movable[i].order, cpu);
}

static int mover_migrate(struct ash_zone *zone, ash_pfn_t dst, ash_pfn_t src, unsigned order)
{
	int i;

	(void)zone;
	pthread_mutex_lock(&ledger);
	i = find_movable(src);
	/* Whether an owner comes between by itself is the scheduler's business: now and then one does for certain. */
	if (i >= 0 && movable[i].moving && ++begun % 64 == 0) {
		let_go(i, (unsigned)(begun / 64 % 2));
		i = -1;
	}
	if (i < 0 || !movable[i].moving) {
		/* Freed meanwhile, and the core has noted it. */
		freed_while_moving++;
		pthread_mutex_unlock(&ledger);
		return -ASH_EBUSY;
	}
	disown(src, 1u << order, 99);
	own(dst, 1u << order, 99);
	movable[i].pfn = dst;
	movable[i].moving = false;
	moved++;
	pthread_mutex_unlock(&ledger);
	return 0;
}

static void mover_putback(struct ash_zone *zone, ash_pfn_t pfn, unsigned order)
{
	int i;

	(void)zone;
	(void)order;
	pthread_mutex_lock(&ledger);
	i = find_movable(pfn);
	if (i >= 0)
		movable[i].moving = false;
	pthread_mutex_unlock(&ledger);
}

static void come_or_go(uint64_t r)
{
	const int i = (int)(r % NR_MOVABLE);
	const unsigned order = (unsigned)(r >> 16) % 4, cpu = (unsigned)(r >> 24) % 2;
	struct ash_page_grant grant;

	pthread_mutex_lock(&ledger);
	if (movable[i].live) {
		let_go(i, cpu);
	} else if (ash_zone_alloc(z, order, ASH_MT_MOVABLE, ASH_ALLOC_TRYLOCK, cpu, &grant) == 0) {
		own(grant.pfn, 1u << order, 99);
		movable[i].pfn = grant.pfn;
		movable[i].order = order;
		movable[i].live = true;
	}
	pthread_mutex_unlock(&ledger);
}

static void *live_on(void *arg)
{
	struct taker *t = arg;

	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		come_or_go(model_random(&t->rng));
		t->freed++;
	}
	return NULL;
}

TEST(T93_ranges_emptied_under_their_owners)
{
	static const struct ash_mover_ops mover = { mover_isolate, mover_migrate, mover_putback };
	struct taker takers[4];

	open_zone((struct ash_geometry){ 4, 6 }, NR_FRAMES, 2, &mover);
	memset(movable, 0, sizeof(movable));
	begun = moved = freed_while_moving = 0;
	atomic_store(&refusals, 0);
	/* There is something to move before any of the threads has run. */
	for (int i = 0; i < NR_MOVABLE; i++)
		come_or_go((uint64_t)i | (uint64_t)i << 16);
	for (uint32_t i = 0; i < 4; i++) {
		takers[i] = (struct taker){ .id = i + 1, .rng = test_seed * 99 + i + 1,
					    .rounds = hosted_long() ? 1000000 : 8000 };
		EXPECT_EQ(pthread_create(&takers[i].thread, NULL, i < 2 ? take_ranges : live_on, &takers[i]), 0);
	}
	for (unsigned i = 0; i < 2; i++)
		pthread_join(takers[i].thread, NULL);
	atomic_store(&stop, true);
	for (unsigned i = 2; i < 4; i++)
		pthread_join(takers[i].thread, NULL);
	for (int i = 0; i < NR_MOVABLE; i++) {
		if (movable[i].live)
			come_or_go((uint64_t)i);
	}
	printf("# %llu ranges taken, %llu refused, %llu pieces moved, %llu freed while moving\n",
	       (unsigned long long)(takers[0].taken + takers[1].taken),
	       (unsigned long long)(takers[0].refused + takers[1].refused), (unsigned long long)moved,
	       (unsigned long long)freed_while_moving);
	expect_whole(NR_FRAMES);
	EXPECT_GT(takers[0].taken + takers[1].taken, 10);
	EXPECT_GT(moved, 10);
	EXPECT_GT(freed_while_moving, 0);
}

/*
 * T95 ([K migrate.c: movable_operations]): an owner frees through its pcp, without the zone lock, while the core marks
 * the same piece as being moved. One of them comes first: a piece is never both cached and moving. The owner here
 * agrees to every move and refuses to make it.
 */

static _Atomic ash_pfn_t shown; /* a piece that is, or was just now, allocated */
static _Atomic uint64_t marked;

static int agree(struct ash_zone *zone, ash_pfn_t pfn, unsigned order)
{
	(void)zone;
	(void)pfn;
	(void)order;
	return 0;
}

static int refuse(struct ash_zone *zone, ash_pfn_t dst, ash_pfn_t src, unsigned order)
{
	(void)dst;
	(void)order;
	if (ash_word_state(ash_frame_load(zone->frames, src)) != ASH_FRAME_USED)
		fail("a piece is being moved and cached at once", src);
	atomic_fetch_add_explicit(&marked, 1, memory_order_relaxed);
	return -ASH_EBUSY;
}

static void leave(struct ash_zone *zone, ash_pfn_t pfn, unsigned order)
{
	(void)zone;
	(void)pfn;
	(void)order;
}

static void *move_what_is_shown(void *arg)
{
	uint64_t *tries = arg;

	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		const ash_pfn_t pfn = atomic_load_explicit(&shown, memory_order_relaxed);
		enum ash_busy_reason why;

		if (pfn != ASH_PFN_NONE)
			(void)!ash_migrate_piece(z, pfn, ash_migrate_target_any, NULL, &why);
		++*tries;
	}
	return NULL;
}

TEST(T95_freeing_through_the_pcp_against_moving)
{
	static const struct ash_mover_ops mover = { agree, refuse, leave };
	const unsigned rounds = hosted_long() ? 20000000 : 100000;
	const double start = hosted_now();
	uint64_t tries = 0;
	pthread_t thread;

	open_zone((struct ash_geometry){ 4, 5 }, 64, 1, &mover);
	atomic_store(&shown, ASH_PFN_NONE);
	atomic_store(&marked, 0);
	EXPECT_EQ(pthread_create(&thread, NULL, move_what_is_shown, &tries), 0);
	for (unsigned i = 0; i < rounds && !atomic_load(&failure); i++) {
		const uint64_t before = marked;
		struct ash_page_grant grant;

		if (ash_zone_alloc(z, 0, ASH_MT_MOVABLE, 0, 0, &grant) != 0)
			continue;
		atomic_store_explicit(&shown, grant.pfn, memory_order_relaxed);
		/*
		 * Now and then, and for the first hundred, until the other has begun to move it: it may seldom have its
		 * turn.
		 */
		while ((i % 1024 == 0 || (i % 64 == 0 && marked <= 100)) && marked == before && !patience_ends(start))
			sched_yield();
		if (i % 3 == 0)
			ash_zone_free_trylock(z, grant.pfn, 0, i % 2 == 0 ? 0 : ASH_CPU_NONE);
		else
			ash_zone_free(z, grant.pfn, 0, 0);
		if (i % 256 == 0)
			check_now();
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	printf("# %u frees against %llu moves, %llu of them begun\n", rounds, (unsigned long long)tries,
	       (unsigned long long)marked);
	EXPECT_GT(marked, 100);
	expect_whole(64);
}
