/* SPDX-License-Identifier: MIT */
/*
 * Scenario T18 and the other hardening layers: poison, initialisation, guards, shuffled lists, owners. Frames have 4096
 * bytes each here. Sources are marked as in buddy.c.
 */
#include "harness/test.h"
#include "page/compact.h"
#include "page/contig.h"
#include "page/harden.h"
#include "page/offline.h"
#include "scenario/owner.h"

#define NR_FRAMES 32u
#define FRAME_BYTES 4096u

static struct scene s;
static unsigned char memory[NR_FRAMES][FRAME_BYTES];
static char closed[NR_FRAMES]; /* what ops->guard has put out of reach */
static struct ash_frame_owner owners[NR_FRAMES];
static struct ash_hardening wanted;
static uintptr_t who;

static void *frame_addr(const struct ash_zone *z, ash_pfn_t pfn)
{
	(void)z;
	return memory[pfn];
}

static void guard(struct ash_zone *z, ash_pfn_t pfn, ash_pfn_t nr, bool on)
{
	EXPECT(!ash_lock_is_held(&z->lock));
	memset(closed + pfn, on, nr);
}

static uintptr_t caller(struct ash_zone *z)
{
	EXPECT(!ash_lock_is_held(&z->lock));
	return who;
}

static void harden(struct ash_zone_config *config, struct ash_zone_ops *ops)
{
	config->hardening = wanted;
	ops->frame_addr = frame_addr;
	ops->guard = guard;
	ops->caller = caller;
}

static void rubbish(void)
{
	uint64_t r = 88172645463325252u;

	for (size_t i = 0; i < sizeof(memory); i++) {
		r ^= r << 13;
		r ^= r >> 7;
		r ^= r << 17;
		memory[i / FRAME_BYTES][i % FRAME_BYTES] = (unsigned char)r;
	}
}

/* Two pageblocks of 16 frames, all free; they hold what their first free made of rubbish. */
static void open_hardened(struct ash_hardening h, bool movable)
{
	memset(closed, 0, sizeof(closed));
	memset(owners, 0, sizeof(owners));
	/* The scene allocates every frame by itself: the guards come afterwards. */
	wanted = h;
	wanted.guard_order = 0;
	scene_config = harden;
	if (movable)
		owner_open(&s, 4, 5, "MM", 1);
	else
		scene_open_edge(&s, 4, 5, "MM", 0, 0, 1);
	scene_config = NULL;
	rubbish();
	ash_zone_free_run(s.z, 0, NR_FRAMES);
	s.z->hardening.guard_order = s.z->guard_order = h.guard_order;
	s.z->hardened = s.z->hardened || h.guard_order > 0;
	s.z->plain_order = h.guard_order > 0 ? 0 : s.z->plain_order;
	scene_mark(&s);
	EXPECT_STREQ(scene_freelist(&s), "0:5 M");
}

static bool holds(ash_pfn_t pfn, unsigned char byte)
{
	for (unsigned i = 0; i < FRAME_BYTES; i++) {
		if (memory[pfn][i] != byte)
			return false;
	}
	return true;
}

static ash_pfn_t run(ash_pfn_t nr, bool *zeroed)
{
	struct ash_page_grant grant = { .pfn = ASH_PFN_NONE };

	EXPECT_EQ(ash_zone_alloc_run(s.z, nr, 0, ASH_MT_MOVABLE, 0, &grant), 0);
	if (zeroed != NULL)
		*zeroed = grant.zeroed;
	return grant.pfn;
}

/*
 * [K page_alloc.c:set_page_guard, expand] minorder 1: what is left of an order 1 is a guard, on no list, not counted.
 */
TEST(T18_a_split_below_the_guard_order_leaves_guards)
{
	open_hardened((struct ash_hardening){ .guard_order = 1 }, false);
	EXPECT_EQ(scene_alloc(&s, 2, ASH_MT_MOVABLE, 0), 0);
	EXPECT_EQ(scene_stats(&s).guard, 0);
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_MOVABLE, 0), 4);
	EXPECT_STATE(&s, "6:1 M, 8:3 M, 16:4 M", "MM");
	EXPECT_EQ(scene_stats(&s).guard, 1);
	EXPECT_EQ(scene_stats(&s).free, 26);
	EXPECT(closed[5]);
	EXPECT_EQ(closed[4] + closed[6], 0);
	/* The next is not taken from beside it. */
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_MOVABLE, 0), 6);
	EXPECT_EQ(scene_stats(&s).guard, 2);
	/* Freeing the neighbour absorbs the guard, and the counters come back exactly. */
	ash_zone_free(s.z, 6, 0, 0);
	ash_zone_free(s.z, 4, 0, 0);
	ash_zone_free(s.z, 0, 2, ASH_CPU_NONE);
	EXPECT(scene_same(&s));
	EXPECT_STATE(&s, "0:5 M", "MM");
	EXPECT_EQ(scene_stats(&s).guard, 0);
	EXPECT(memchr(closed, 1, sizeof(closed)) == NULL);
}

/* A run keeps what is left of its last 2^guard_order frames; parts of it may be freed in any order. */
TEST(T18_guards_behind_a_run)
{
	static const ash_pfn_t orders[][3][2] = {
		{ { 0, 6 }, { 6, 0 }, { 6, 0 } }, { { 5, 1 }, { 0, 5 }, { 5, 0 } }, { { 0, 4 }, { 4, 1 }, { 5, 1 } },
		{ { 4, 2 }, { 0, 1 }, { 1, 3 } }, { { 4, 1 }, { 5, 1 }, { 0, 4 } },
	};
	bool zeroed;

	for (unsigned i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		open_hardened((struct ash_hardening){ .guard_order = 3 }, false);
		EXPECT_EQ(run(6, NULL), 0);
		EXPECT_STATE(&s, "8:3 M, 16:4 M", "MM");
		EXPECT_EQ(scene_stats(&s).guard, 2);
		EXPECT(closed[6] && closed[7] && !closed[5] && !closed[8]);
		EXPECT_EQ(ash_zone_extend_run(s.z, 6, 1, ASH_MT_MOVABLE, &zeroed), -ASH_EBUSY);
		for (unsigned k = 0; k < 3; k++) {
			ash_zone_free_run(s.z, orders[i][k][0], orders[i][k][1]);
			EXPECT(scene_fault(&s) == NULL);
		}
		EXPECT(memchr(closed, 1, sizeof(closed)) == NULL);
		EXPECT_STATE(&s, "0:5 M", "MM");
		EXPECT_EQ(scene_stats(&s).guard, 0);
	}
	/* Whole groups have none. */
	EXPECT_EQ(run(8, NULL), 0);
	EXPECT_EQ(scene_stats(&s).guard, 0);
}

/* What is movable takes its guards along: the range is free when the move is over. */
TEST(T18_guards_go_with_what_is_moved)
{
	struct ash_page_grant grant;

	open_hardened((struct ash_hardening){ .guard_order = 2, .poison = true }, true);
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_MOVABLE, 0), 0);
	EXPECT_EQ(scene_stats(&s).guard, 3);
	EXPECT_EQ(ash_zone_alloc_contig_range(s.z, 0, 16, ASH_MT_UNMOVABLE, ASH_ISOLATE_OTHER, &grant, NULL), 0);
	EXPECT_EQ(owner_moves, 1);
	EXPECT_EQ(scene_stats(&s).guard, 3);
	EXPECT(closed[17] && !closed[16] && !closed[0] && !closed[1]);
	ash_zone_free_run(s.z, 0, 16);
	ash_zone_free(s.z, 16, 0, ASH_CPU_NONE);
	EXPECT(scene_same(&s));
}

/* [K page_poison.c] what is freed is overwritten with 0xaa, and a write to it found when it is allocated again. */
TEST(poison_finds_a_write_to_freed_memory)
{
	struct ash_page_grant grant;

	open_hardened((struct ash_hardening){ .poison = true }, false);
	EXPECT(holds(0, ASH_POISON) && holds(31, ASH_POISON));
	EXPECT_EQ(run(10, NULL), 0);
	memset(memory, 1, 10 * (size_t)FRAME_BYTES);
	ash_zone_free_run(s.z, 0, 10);
	EXPECT(holds(9, ASH_POISON));
	memory[7][100] = 'x';
	memory[7][200] = 'y';
	EXPECT_BUG(run(8, NULL));
	EXPECT_STREQ(scene_bug, "freed memory was written");
	EXPECT_EQ(scene_bug_pfn, 7);
	EXPECT_EQ(scene_bug_a, 100);
	EXPECT_EQ(scene_bug_b, 200);

	/* Through the pcp as well; and a single bit is told apart. */
	open_hardened((struct ash_hardening){ .poison = true }, false);
	EXPECT_EQ(ash_zone_alloc(s.z, 0, ASH_MT_MOVABLE, 0, 0, &grant), 0);
	ash_zone_free(s.z, grant.pfn, 0, 0);
	memory[grant.pfn][4095] ^= 0x10;
	EXPECT_BUG((void)!ash_zone_alloc(s.z, 0, ASH_MT_MOVABLE, 0, 0, &grant));
	EXPECT_STREQ(scene_bug, "one bit of freed memory changed");
	EXPECT_EQ(scene_bug_a, 4095);
	EXPECT_EQ(scene_bug_b, ASH_POISON ^ 0x10);
}

/* A zero written over the first byte is no zeroed frame. */
TEST(poison_finds_a_write_of_zeroes)
{
	open_hardened((struct ash_hardening){ .poison = true }, false);
	memory[3][0] = 0;
	EXPECT_BUG(run(8, NULL));
	EXPECT_EQ(scene_bug_pfn, 3);
	EXPECT_EQ(scene_bug_a, 0);
	EXPECT_EQ(scene_bug_b, 0);
}

/* What the system took and gives back as zeroes is sound, and costs nothing to be so. */
TEST(poison_leaves_returned_memory_alone)
{
	ash_pfn_t pfn;
	unsigned order;

	open_hardened((struct ash_hardening){ .poison = true }, false);
	EXPECT_EQ(ash_zone_report_begin_max(s.z, 4, 4, &pfn, &order), 0);
	memset(memory[pfn], 0, (size_t)FRAME_BYTES << order);
	ash_zone_report_end(s.z, pfn, order, true);
	EXPECT_EQ(scene_alloc(&s, 5, ASH_MT_MOVABLE, 0), 0);
	EXPECT(holds(pfn, 0) && holds(16 - pfn, ASH_POISON));
	/* Half used and freed, the block is not known to be zeroed any more; its frames are poison or zero. */
	ash_zone_free_run_zeroed(s.z, pfn, 8);
	EXPECT(holds(pfn, 0));
	ash_zone_free_run(s.z, pfn + 8, 8);
	EXPECT(holds(pfn + 8, ASH_POISON));
	EXPECT_EQ(scene_alloc(&s, 4, ASH_MT_MOVABLE, 0), pfn);
	EXPECT(holds(pfn, 0));
}

/* [K mm.h:want_init_on_alloc, want_init_on_free] */
TEST(init_on_alloc_and_init_on_free)
{
	struct ash_page_grant grant;
	bool zeroed;

	open_hardened((struct ash_hardening){ .init_on_alloc = true }, false);
	EXPECT(!holds(0, 0));
	EXPECT_EQ(run(3, &zeroed), 0);
	EXPECT(zeroed && holds(0, 0) && holds(2, 0) && !holds(3, 0));
	EXPECT_EQ(ash_zone_extend_run(s.z, 3, 2, ASH_MT_MOVABLE, &zeroed), 0);
	EXPECT(zeroed && holds(3, 0) && holds(4, 0) && !holds(5, 0));

	open_hardened((struct ash_hardening){ .init_on_free = true }, false);
	EXPECT(holds(0, 0) && holds(31, 0));
	EXPECT_EQ(ash_zone_alloc(s.z, 0, ASH_MT_MOVABLE, 0, 0, &grant), 0);
	EXPECT(grant.zeroed);
	memory[grant.pfn][5] = 5;
	ash_zone_free(s.z, grant.pfn, 0, 0);
	EXPECT(holds(grant.pfn, 0));

	/* Poison takes the place of zeroes on free, and is checked before zeroes on allocation are written. */
	open_hardened((struct ash_hardening){ .init_on_free = true, .init_on_alloc = true, .poison = true }, false);
	EXPECT(holds(0, ASH_POISON));
	EXPECT_EQ(run(1, &zeroed), 0);
	EXPECT(zeroed && holds(0, 0));
	memory[1][1] = 1;
	EXPECT_BUG(run(1, NULL));
}

/* A double free is reported before the frames, which are somebody's, are overwritten. */
TEST(poison_is_not_written_by_a_bad_free)
{
	open_hardened((struct ash_hardening){ .poison = true }, false);
	EXPECT_EQ(run(4, NULL), 0);
	memset(memory[0], 7, FRAME_BYTES);
	EXPECT_BUG(ash_zone_free(s.z, 0, 0, ASH_CPU_NONE));
	EXPECT(holds(0, 7));
	EXPECT_BUG(ash_zone_free_run(s.z, 0, 5));
	EXPECT(holds(0, 7));
}

/* The frames a piece was moved out of are poisoned as freed ones are; so is a destination that was not needed. */
TEST(poison_covers_what_moving_leaves)
{
	struct ash_page_grant grant;

	open_hardened((struct ash_hardening){ .poison = true }, true);
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_MOVABLE, 0), 0);
	memset(memory[0], 9, FRAME_BYTES);
	EXPECT_EQ(ash_zone_alloc_contig_range(s.z, 0, 16, ASH_MT_UNMOVABLE, ASH_ISOLATE_OTHER, &grant, NULL), 0);
	EXPECT_EQ(owner_moves, 1);
	EXPECT(holds(0, ASH_POISON));
	ash_zone_free_run(s.z, 0, 16);
	memory[4][40] = 4;
	EXPECT_BUG((void)!ash_zone_alloc_contig_range(s.z, 0, 16, ASH_MT_UNMOVABLE, ASH_ISOLATE_OTHER, &grant, NULL));
	EXPECT_EQ(scene_bug_pfn, 4);
}

/* [K shuffle.c:__shuffle_zone, shuffle_pick_tail] */
TEST(shuffle_orders_the_lists_by_the_seed)
{
	char first[128];

	for (unsigned i = 0; i < 3; i++) {
		const struct ash_hardening h = { .shuffle = true, .shuffle_order = 1, .shuffle_seed = i < 2 ? 42 : 43 };

		wanted = h;
		scene_config = harden;
		scene_open_edge(&s, 2, 2, "MMMMMMMM", 0, 0, 0);
		scene_config = NULL;
		/* Pieces of order 1 that cannot merge. */
		for (ash_pfn_t pfn = 0; pfn < NR_FRAMES; pfn += 4)
			ash_zone_free_run(s.z, pfn, 2);
		EXPECT(scene_fault(&s) == NULL);
		EXPECT_EQ(scene_stats(&s).nr_free[1][ASH_MT_MOVABLE], 8);
		if (i == 0)
			snprintf(first, sizeof(first), "%s", scene_list(&s, 1, ASH_MT_MOVABLE));
		EXPECT_EQ(strcmp(first, scene_list(&s, 1, ASH_MT_MOVABLE)) == 0, i < 2);
		/* Neither ascending, as frees to the tail would give, nor descending. */
		EXPECT(strcmp(scene_list(&s, 1, ASH_MT_MOVABLE), "0 4 8 12 16 20 24 28") != 0);
		EXPECT(strcmp(scene_list(&s, 1, ASH_MT_MOVABLE), "28 24 20 16 12 8 4 0") != 0);
	}
}

TEST(shuffle_of_what_comes_online)
{
	static const struct ash_hardening h = { .shuffle = true, .shuffle_order = 2, .shuffle_seed = 7 };
	bool zeroed;

	wanted = h;
	scene_config = harden;
	scene_open_edge(&s, 2, 2, "MMMMMMMM", 0, 0, 0);
	scene_config = NULL;
	ash_zone_free_run(s.z, 0, NR_FRAMES);
	EXPECT_EQ(ash_zone_offline(s.z, 0, NR_FRAMES, &zeroed, NULL), 0);
	EXPECT_EQ(ash_zone_online(s.z, 0, NR_FRAMES, false), 0);
	EXPECT_EQ(scene_stats(&s).nr_free[2][ASH_MT_MOVABLE], 8);
	EXPECT(strcmp(scene_list(&s, 2, ASH_MT_MOVABLE), "0 4 8 12 16 20 24 28") != 0);
	EXPECT(scene_fault(&s) == NULL);
}

/* [K page_owner.c] who allocated and who freed each frame. */
TEST(owners_are_noted)
{
	struct ash_frame_owner o;

	who = 11;
	open_hardened((struct ash_hardening){ .owners = owners }, false);
	memset(owners, 0, sizeof(owners));
	EXPECT(!ash_zone_frame_owner(s.z, 3, &o));
	EXPECT_EQ(run(5, NULL), 0);
	EXPECT(ash_zone_frame_owner(s.z, 4, &o));
	EXPECT(o.allocated_by == 11 && o.freed_by == 0 && o.first == 0 && o.nr == 5 && o.mt == ASH_MT_MOVABLE &&
	       o.live);
	EXPECT(!ash_zone_frame_owner(s.z, 5, &o));
	who = 12;
	ash_zone_free_run(s.z, 4, 1);
	EXPECT(ash_zone_frame_owner(s.z, 4, &o));
	EXPECT(o.allocated_by == 11 && o.freed_by == 12 && !o.live);
	EXPECT(ash_zone_frame_owner(s.z, 3, &o) && o.live && o.freed_by == 0);
	EXPECT(!ash_zone_frame_owner(s.z, NR_FRAMES, &o));
}

TEST(hardening_needs_a_way_to_the_frames)
{
	static struct ash_zone_ops none;
	struct ash_zone_config config = { .nr_frames = NR_FRAMES, .geometry = { 4, 5 }, .frames = s.z->frames,
					  .pageblocks = s.z->pageblocks, .ops = &none };

	open_hardened((struct ash_hardening){ .guard_order = 1 }, false);
	config.hardening.poison = true;
	EXPECT_EQ(ash_zone_init(s.z, &config), -ASH_EINVAL);
	config.hardening = (struct ash_hardening){ .guard_order = 5 };
	EXPECT_EQ(ash_zone_init(s.z, &config), -ASH_EINVAL);
	config.hardening = (struct ash_hardening){ .shuffle_order = 6, .shuffle = true };
	EXPECT_EQ(ash_zone_init(s.z, &config), -ASH_EINVAL);
}
