/* SPDX-License-Identifier: MIT */
/*
 * CMA areas against a table of owners, with every step of every call on an area made to fail.
 *
 * Areas are not in the operation language: they are the caller's memory, not the zone's. Here two ranges lend frames to
 * MOVABLE grants that can be moved, now and then not; buffers are taken and given back, areas torn down and set up. A
 * call is repeated with the first, the second, the n-th fault point failing until it succeeds or nothing is left to
 * fail; after each failure the bitmaps, the counts and, where nothing was moved, the zone's digest are what they were.
 */
#include "unit/page/fixture.h"

#include "base/fault.h"
#include "page/cma.h"
#include "page/mover.h"
#include "page/pageblock.h"

#define NR_FRAMES 128
#define NR_WORDS 4

static const struct { ash_pfn_t base, count; } ranges[] = { { 24, 40 }, { 88, 16 } };
#define NR_RANGES (sizeof(ranges) / sizeof(ranges[0]))

enum holder { NOBODY, GRANT, BUFFER };

struct piece {
	ash_pfn_t pfn, nr;
	bool pinned;
};

static struct world {
	struct fixture f;
	struct ash_cma area;
	unsigned long bitmap[NR_RANGES][NR_WORDS];
	uint8_t holder[NR_FRAMES];
	struct piece grant[NR_FRAMES], buffer[NR_FRAMES];
	unsigned nr_grants, nr_buffers;
	uint64_t moves, failed_steps, refusals, buffers;
	struct ash_fault fault;
	uint64_t at, passed;
	bool fired;
} w;

/* --- Owners --- */

static void hold(ash_pfn_t pfn, ash_pfn_t nr, enum holder from, enum holder to)
{
	for (ash_pfn_t i = pfn; i < pfn + nr; i++) {
		EXPECT_EQ(w.holder[i], from);
		w.holder[i] = (uint8_t)to;
	}
}

static int mover_isolate(struct ash_zone *z, ash_pfn_t pfn, unsigned order ASH_UNUSED)
{
	return w.grant[ash_zone_private(z, pfn)].pinned ? -ASH_EBUSY : 0;
}

static int mover_migrate(struct ash_zone *z, ash_pfn_t dst, ash_pfn_t src, unsigned order)
{
	struct piece *g = &w.grant[ash_zone_private(z, src)];

	EXPECT_EQ(g->pfn, src);
	hold(src, 1u << order, GRANT, NOBODY);
	hold(dst, 1u << order, NOBODY, GRANT);
	g->pfn = dst;
	w.moves++;
	return 0;
}

static void mover_putback(struct ash_zone *z ASH_UNUSED, ash_pfn_t pfn ASH_UNUSED, unsigned order ASH_UNUSED)
{
	w.moves++;
}

static void borrow(uint64_t r)
{
	const unsigned order = r % 4 == 0, cpu = r % 8 < 6 ? 0 : ASH_CPU_NONE;
	struct ash_page_grant g;

	if (ash_zone_alloc(w.f.z, order, ASH_MT_MOVABLE, ASH_ALLOC_CMA, cpu, &g) != 0)
		return;
	hold(g.pfn, 1u << order, NOBODY, GRANT);
	ash_zone_set_private(w.f.z, g.pfn, w.nr_grants);
	w.grant[w.nr_grants++] = (struct piece){ g.pfn, 1u << order, r % 128 == 9 };
}

static void give_back(uint64_t r)
{
	struct piece *g = &w.grant[r % w.nr_grants];

	hold(g->pfn, g->nr, GRANT, NOBODY);
	ash_zone_free(w.f.z, g->pfn, g->nr == 2, r >> 32 & 1 ? 0 : ASH_CPU_NONE);
	*g = w.grant[--w.nr_grants];
	if (g != &w.grant[w.nr_grants])
		ash_zone_set_private(w.f.z, g->pfn, (uint32_t)(g - w.grant));
}

/* --- Calls on the area, each step of which is failed --- */

static bool fail_at(struct ash_fault *fault ASH_UNUSED, const char *point ASH_UNUSED)
{
	if (w.fired || w.passed++ != w.at)
		return false;
	w.fired = true;
	return true;
}

typedef int area_call(uint64_t r, struct ash_busy_list *busy);

/* What must not change when a call fails. */
struct area_state {
	struct ash_cma area;
	unsigned long bitmap[NR_RANGES][NR_WORDS];
	uint64_t digest, moves, pcp;
};

static struct area_state state_now(void)
{
	struct area_state s = { .area = w.area, .digest = ash_zone_digest(w.f.z), .moves = w.moves,
				.pcp = stats(&w.f).pcp };

	memcpy(s.bitmap, w.bitmap, sizeof(s.bitmap));
	return s;
}

static void expect_unchanged(const struct area_state *before)
{
	const struct area_state now = state_now();

	EXPECT_EQ(memcmp(now.bitmap, before->bitmap, sizeof(now.bitmap)), 0);
	EXPECT_EQ(now.area.available, before->area.available);
	EXPECT_EQ(now.area.count, before->area.count);
	EXPECT_EQ(now.area.nr_ranges, before->area.nr_ranges);
	/* Moving borrowers and emptying the pcps is allowed, and shows. */
	if (now.moves == before->moves && now.pcp == before->pcp)
		EXPECT_EQ(now.digest, before->digest);
	EXPECT_EQ(stats(&w.f).isolated, 0);
}

static void fail_every_step(area_call *call, uint64_t r)
{
	for (w.at = 0;; w.at++) {
		const struct area_state before = state_now();
		struct ash_busy entry;
		struct ash_busy_list busy = { &entry, 1, 0 };
		int err;

		w.passed = 0;
		w.fired = false;
		err = call(r, &busy);
		fixture_check(&w.f);
		w.failed_steps += w.fired;
		if (err == 0)
			break;
		expect_unchanged(&before);
		if (w.fired) {
			w.refusals++;
			continue;
		}
		if (err == -ASH_EBUSY && w.area.available == w.area.count)
			EXPECT_GT(busy.nr, 0);
		break;
	}
	w.at = UINT64_MAX;
}

static int take_buffer(uint64_t r, struct ash_busy_list *busy)
{
	const ash_pfn_t nr = 1 + (ash_pfn_t)(r >> 8) % 12;
	const unsigned align_order = (unsigned)(r >> 16) % 4;
	ash_pfn_t pfn;
	const int err = ash_cma_alloc(&w.area, nr, align_order, &pfn, busy);

	if (err != 0)
		return err;
	EXPECT_EQ(pfn & ((1u << align_order) - 1), 0);
	EXPECT(pfn >= ranges[0].base && pfn + nr <= ranges[1].base + ranges[1].count);
	hold(pfn, nr, NOBODY, BUFFER);
	w.buffer[w.nr_buffers++] = (struct piece){ pfn, nr, false };
	w.buffers++;
	return 0;
}

static void release_buffer(uint64_t r)
{
	struct piece *b = &w.buffer[r % w.nr_buffers];

	hold(b->pfn, b->nr, BUFFER, NOBODY);
	EXPECT(ash_cma_release(&w.area, b->pfn, b->nr));
	*b = w.buffer[--w.nr_buffers];
}

static int add_range(uint64_t i, struct ash_busy_list *busy)
{
	return ash_cma_add_range(&w.area, ranges[i].base, ranges[i].count, w.bitmap[i], busy);
}

static int destroy(uint64_t r ASH_UNUSED, struct ash_busy_list *busy)
{
	return ash_cma_destroy(&w.area, busy);
}

/* Tear down and set up again; a pinned borrower makes either of them fail, and then the area stays as it is. */
static void renew(void)
{
	fail_every_step(destroy, 0);
	if (w.area.nr_ranges > 0)
		return;
	EXPECT_EQ(stats(&w.f).pageblocks[ASH_MT_CMA], 0);
	memset(w.bitmap, 0, sizeof(w.bitmap));
	fail_every_step(add_range, 0);
	if (w.area.nr_ranges == 1)
		fail_every_step(add_range, 1);
}

static void step(uint64_t r)
{
	switch (r % 16) {
	case 0 ... 6:
		/* Room to move to, most of the time. */
		if (w.nr_grants < (r >> 40) % NR_FRAMES)
			borrow(r >> 8);
		break;
	case 7 ... 9:
		if (w.nr_grants > 0)
			give_back(r >> 8);
		break;
	case 10 ... 12:
		fail_every_step(take_buffer, r);
		break;
	case 13:
	case 14:
		if (w.nr_buffers > 0)
			release_buffer(r >> 8);
		break;
	default:
		if (r >> 8 & 1)
			renew();
	}
	fixture_check(&w.f);
}

static void open_world(unsigned order_per_bit)
{
	static const struct ash_mover_ops mover = { mover_isolate, mover_migrate, mover_putback };

	memset(&w, 0, sizeof(w));
	fixture_init(&w.f, NR_FRAMES, 3, 5, 1);
	w.f.ops.mover = &mover;
	w.fault.fail = fail_at;
	w.at = UINT64_MAX;
	w.f.z->fault = &w.fault;
	EXPECT_EQ(ash_zone_online(w.f.z, 0, NR_FRAMES, false), 0);
	EXPECT_EQ(ash_cma_init(&w.area, w.f.z, "area", order_per_bit), 0);
	EXPECT_LE(ash_cma_bitmap_bytes(ranges[0].count, order_per_bit), sizeof(w.bitmap[0]));
	EXPECT_GE(8 * ash_cma_bitmap_bytes(ranges[0].count, order_per_bit), ranges[0].count >> order_per_bit);
	for (unsigned i = 0; i < NR_RANGES; i++)
		EXPECT_EQ(add_range(i, NULL), 0);
}

static void close_world(void)
{
	while (w.nr_buffers > 0)
		release_buffer(0);
	while (w.nr_grants > 0)
		give_back(0);
	ash_zone_drain(w.f.z);
	EXPECT_EQ(w.area.available, w.area.count);
	EXPECT_EQ(ash_cma_destroy(&w.area, NULL), 0);
	EXPECT_EQ(stats(&w.f).free, NR_FRAMES);
	EXPECT_EQ(stats(&w.f).pageblocks[ASH_MT_MOVABLE], NR_FRAMES / 8);
	fixture_end(&w.f);
}

TEST(a_failed_call_on_an_area_changes_nothing)
{
	const unsigned steps = getenv("ASH_TEST_LONG") != NULL ? 2000000 : 20000;
	uint64_t seed = test_seed;

	for (unsigned order_per_bit = 0; order_per_bit < 3; order_per_bit++) {
		open_world(order_per_bit);
		for (unsigned i = 0; i < steps; i++)
			step(test_random(&seed) >> 8);
		printf("# 2^%u frames a bit: %llu buffers, %llu moves, %llu steps failed, %llu calls refused for it\n",
		       order_per_bit, (unsigned long long)w.buffers, (unsigned long long)w.moves,
		       (unsigned long long)w.failed_steps, (unsigned long long)w.refusals);
		EXPECT_GT(w.buffers, steps / 100);
		EXPECT_GT(w.moves, steps / 100);
		EXPECT_GT(w.refusals, steps / 100);
		close_world();
	}
}

TEST(refused_calls_on_an_area)
{
	static unsigned long spare[ASH_CMA_RANGES][NR_WORDS];
	struct ash_busy entry;
	struct ash_busy_list busy = { &entry, 1, 0 };
	ash_pfn_t pfn;

	open_world(0);
	EXPECT_EQ(ash_cma_init(&w.area, w.f.z, "area", 4), -ASH_EINVAL);
	EXPECT_EQ(ash_cma_add_range(&w.area, 0, 0, spare[0], NULL), -ASH_EINVAL);
	EXPECT_EQ(ash_cma_add_range(&w.area, 4, 8, spare[0], NULL), -ASH_EINVAL);
	EXPECT_EQ(ash_cma_add_range(&w.area, ranges[1].base, 8, spare[0], &busy), -ASH_EBUSY);
	EXPECT_EQ(entry.why, ASH_BUSY_RESERVED);
	EXPECT_EQ(ash_cma_alloc(&w.area, 0, 0, &pfn, NULL), -ASH_EINVAL);
	EXPECT_EQ(ash_cma_alloc(&w.area, 1, 32, &pfn, NULL), -ASH_EINVAL);
	EXPECT(!ash_cma_release(&w.area, ranges[0].base, 0));
	for (unsigned i = NR_RANGES; i < ASH_CMA_RANGES; i++)
		EXPECT_EQ(ash_cma_add_range(&w.area, i < 5 ? 8 * (i - 2) : 104 + 8 * (i - 5), 8, spare[i], NULL), 0);
	EXPECT_EQ(ash_cma_add_range(&w.area, 64, 8, spare[0], NULL), -ASH_ENOSPC);
	fixture_check(&w.f);
	close_world();
}

/* Somebody else works in the same pageblock: a place there is tried again for a while, and then given up. */
TEST(a_place_that_stays_isolated)
{
	struct ash_busy entry;
	struct ash_busy_list busy = { &entry, 1, 0 };
	ash_pfn_t pfn;

	open_world(0);
	EXPECT_EQ(ash_zone_isolate_range(w.f.z, 24, 40, ASH_ISOLATE_CMA, NULL), 0);
	EXPECT_EQ(ash_cma_alloc(&w.area, 40, 0, &pfn, &busy), -ASH_EBUSY);
	EXPECT_EQ(entry.why, ASH_BUSY_ISOLATED);
	EXPECT_EQ(w.area.available, 56);
	ash_zone_unisolate_range(w.f.z, 24, 40);
	EXPECT_EQ(ash_cma_alloc(&w.area, 40, 0, &pfn, &busy), 0);
	EXPECT_EQ(pfn, 24);
	EXPECT(ash_cma_release(&w.area, 24, 40));
	close_world();
}

/* Borrowers with nowhere to go: the call ends there, since no other place would have room either. */
TEST(borrowers_without_a_place_to_go)
{
	ash_pfn_t pfn;

	open_world(0);
	while (stats(&w.f).free > 0)
		borrow(1);
	ash_zone_drain(w.f.z);
	EXPECT_EQ(ash_cma_alloc(&w.area, 8, 0, &pfn, NULL), -ASH_ENOMEM);
	EXPECT_EQ(w.area.available, w.area.count);
	EXPECT_EQ(ash_cma_destroy(&w.area, NULL), -ASH_ENOMEM);
	EXPECT_EQ(stats(&w.f).pageblocks[ASH_MT_CMA], 7);
	fixture_check(&w.f);
	close_world();
}

/* Borrowed frames ride the MOVABLE lists of the pcps: who may not borrow does not get them from there either. */
TEST(a_cache_of_borrowed_frames_is_not_for_everybody)
{
	struct ash_page_grant g;
	unsigned lent = 0;

	open_world(0);
	while (stats(&w.f).free_cma > 8)
		borrow(1);
	while (w.nr_grants > 0)
		give_back(1ull << 32);
	EXPECT_GT(stats(&w.f).pcp, 0);
	for (unsigned i = 0; i < 40; i++) {
		EXPECT_EQ(ash_zone_alloc(w.f.z, 0, i % 2 == 0 ? ASH_MT_MOVABLE : ASH_MT_UNMOVABLE, 0, 0, &g), 0);
		EXPECT_NE(ash_pageblock_type(w.f.z, g.pfn), ASH_MT_CMA);
		ash_zone_free(w.f.z, g.pfn, 0, ASH_CPU_NONE);
	}
	for (unsigned i = 0; i < 40; i++) {
		borrow(1);
		lent += ash_pageblock_type(w.f.z, w.grant[i].pfn) == ASH_MT_CMA;
	}
	EXPECT_GT(lent, 0);
	close_world();
}
