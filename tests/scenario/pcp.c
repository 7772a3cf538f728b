/* SPDX-License-Identifier: MIT */
/* Scenarios T19 to T26 and T80: pcps and bad frees. Sources are marked as in buddy.c. */
#include "harness/test.h"
#include "page/pcp.h"
#include "scenario/scene.h"

#include <signal.h>
#include <sys/time.h>

static struct scene s;

/* [K page_alloc.c:free_page_is_bad, __free_one_page] what cannot be freed is reported, and the lists stay. */
TEST(T19_double_free_is_reported)
{
	scene_open(&s, 4, 4, "MM");
	scene_free(&s, "4:2");
	EXPECT_BUG(ash_zone_free(s.z, 4, 2, ASH_CPU_NONE));
	EXPECT_STREQ(scene_freelist(&s), "4:2 M");
}

TEST(T19_double_free_through_the_pcp_is_reported)
{
	scene_open_edge(&s, 4, 4, "MM", 0, 0, 1);
	ash_zone_free(s.z, 4, 0, 0);
	EXPECT_EQ(scene_stats(&s).pcp, 1);
	EXPECT_BUG(ash_zone_free(s.z, 4, 0, 0));
}

TEST(T19_free_inside_a_free_buddy_is_reported)
{
	scene_open(&s, 4, 4, "MM");
	scene_free(&s, "4:2");
	EXPECT_BUG(ash_zone_free(s.z, 5, 0, ASH_CPU_NONE));
	EXPECT_STREQ(scene_freelist(&s), "4:2 M");
}

TEST(T19_free_of_an_inner_frame_is_reported)
{
	scene_open(&s, 4, 4, "MM");
	scene_used(&s, 8, 2, ASH_MT_MOVABLE);
	EXPECT_BUG(ash_zone_free(s.z, 9, 0, ASH_CPU_NONE));
	EXPECT_STREQ(scene_freelist(&s), "");
}

TEST(T19_misaligned_free_is_reported)
{
	scene_open(&s, 4, 4, "MM");
	EXPECT_BUG(ash_zone_free(s.z, 5, 1, ASH_CPU_NONE));
	EXPECT_STREQ(scene_freelist(&s), "");
}

TEST(T19_wrong_order_is_reported)
{
	scene_open(&s, 4, 4, "MM");
	scene_used(&s, 8, 2, ASH_MT_MOVABLE);
	EXPECT_BUG(ash_zone_free(s.z, 8, 3, ASH_CPU_NONE));
	EXPECT_STREQ(scene_freelist(&s), "");
}

TEST(T19_free_outside_the_zone_is_reported)
{
	scene_open(&s, 4, 4, "MM");
	EXPECT_BUG(ash_zone_free(s.z, 32, 0, ASH_CPU_NONE));
	EXPECT_BUG(ash_zone_free(s.z, ASH_PFN_NONE, 0, ASH_CPU_NONE));
	EXPECT_STREQ(scene_freelist(&s), "");
}

TEST(T19_free_of_an_offline_frame_is_reported)
{
	scene_open_edge(&s, 4, 4, "MM", 4, 32, 0);
	EXPECT_BUG(ash_zone_free(s.z, 2, 0, ASH_CPU_NONE));
	EXPECT_STREQ(scene_freelist(&s), "");
}

/* [L 20240320180429.678181-2-hannes] the pcp remembers no type: the block's is read when the frame goes back; SIM. */
TEST(T20_a_cached_frame_follows_its_claimed_block)
{
	scene_open_edge(&s, 4, 4, "M", 0, 0, 1);
	scene_free(&s, "8:3");
	ash_zone_free(s.z, 7, 0, 0);
	ash_zone_free(s.z, 0, 0, 0);
	EXPECT_EQ(scene_stats(&s).pcp, 2);
	EXPECT_STREQ(scene_freelist(&s), "8:3 M");
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_UNMOVABLE, 0), 8);
	EXPECT_STREQ(scene_types(&s), "U");
	scene_mark(&s);
	ash_zone_drain(s.z);
	EXPECT_STATE(&s, "0:0 U, 7:0 U, 9:0 U, 10:1 U, 12:2 U", "U");
	EXPECT_EQ(scene_stats(&s).pcp, 0);
	EXPECT_EQ(scene_stats(&s).free, s.before.free + 2);
	ash_zone_free(s.z, 8, 0, ASH_CPU_NONE);
	EXPECT_STATE(&s, "0:0 U, 7:0 U, 8:3 U", "U");
}

/* [C 7b086755fb8c] a C or H frame freed past a busy pcp goes to its own list, not to the list it would have ridden. */
TEST(T24_cma_and_highatomic_past_a_busy_pcp)
{
	scene_open_edge(&s, 4, 4, "CHM", 0, 0, 1);
	ash_lock(&s.z->pcps[0].lock, NULL);
	ash_zone_free(s.z, 0, 0, 0);
	ash_zone_free(s.z, 16, 0, 0);
	ash_unlock(&s.z->pcps[0].lock, NULL);
	EXPECT_STATE(&s, "0:0 C, 16:0 H", "CHM");
	EXPECT_EQ(scene_stats(&s).pcp, 0);
	EXPECT_EQ(scene_stats(&s).free_cma, 1);
}

TEST(T24_cma_and_highatomic_through_the_pcp_come_home)
{
	scene_open_edge(&s, 4, 4, "CHM", 0, 0, 1);
	ash_zone_free(s.z, 0, 0, 0);
	ash_zone_free(s.z, 16, 0, 0);
	EXPECT_EQ(scene_stats(&s).pcp, 2);
	ash_zone_drain(s.z);
	EXPECT_STATE(&s, "0:0 C, 16:0 H", "CHM");
	EXPECT_EQ(scene_stats(&s).free_cma, 1);
}

/* [K page_alloc.c:free_frozen_pages] a frame of a block seen isolated bypasses the pcp. */
TEST(T22_isolated_frames_bypass_the_pcp)
{
	scene_open_edge(&s, 4, 4, "MMM", 0, 0, 1);
	ash_zone_lock(s.z);
	ash_pageblock_set_isolated(s.z, 16, true);
	ash_zone_unlock(s.z);
	scene_mark(&s);
	for (ash_pfn_t pfn = 14; pfn < 34; pfn += 2)
		ash_zone_free(s.z, pfn, 0, 0);
	/* Of ten frames eight lie in the isolated block. */
	EXPECT_EQ(scene_stats(&s).nr_free[0][ASH_MT_ISOLATE], 8);
	EXPECT_EQ(scene_stats(&s).pcp + scene_stats(&s).free, 2);
	ash_zone_drain(s.z);
	EXPECT_EQ(scene_stats(&s).free, 2);
	EXPECT_EQ(scene_stats(&s).nr_free[0][ASH_MT_ISOLATE], 8);
}

/*
 * The batch of the scenario itself: 32 pieces of two zones, changing from one to the other and back, three of them in
 * an isolated pageblock. Each zone has its own pcps here, so there is no lock to be taken anew, and nothing may get
 * across.
 */
TEST(T22_a_batch_of_two_zones)
{
	static struct scene other;
	struct scene *const zones[2] = { &s, &other };

	for (unsigned i = 0; i < 2; i++) {
		scene_open_edge(zones[i], 4, 4, "MUM", 0, 0, 1);
		scene_pcp_marks(zones[i], 16, 64, 64);
	}
	ash_zone_lock(other.z);
	ash_pageblock_set_isolated(other.z, 16, true);
	ash_zone_unlock(other.z);
	for (ash_pfn_t i = 0; i < 16; i++) {
		ash_zone_free(s.z, 2 * i, 0, 0);
		ash_zone_free(other.z, i < 3 ? 16 + 2 * i : 2 * (i - 3) % 16 + (i < 11 ? 0 : 32), 0, 0);
	}
	EXPECT_EQ(scene_stats(&s).pcp, 16);
	EXPECT_EQ(scene_stats(&other).pcp, 13);
	EXPECT_EQ(scene_stats(&other).nr_free[0][ASH_MT_ISOLATE], 3);
	EXPECT_EQ(scene_stats(&s).pgfree, 16);
	EXPECT_EQ(scene_stats(&other).pgfree, 16);
	for (unsigned i = 0; i < 2; i++)
		ash_zone_drain(zones[i]->z);
	EXPECT_EQ(scene_stats(&s).free, 16);
	EXPECT_EQ(scene_stats(&s).nr_free[0][ASH_MT_MOVABLE], 8);
	EXPECT_EQ(scene_stats(&s).nr_free[0][ASH_MT_UNMOVABLE], 8);
	EXPECT_EQ(scene_stats(&other).free, 13);
	EXPECT_EQ(scene_stats(&other).nr_free[0][ASH_MT_ISOLATE], 3);
	EXPECT(scene_fault(&s) == NULL);
	EXPECT(scene_fault(&other) == NULL);
}

/* A piece of more than one pageblock has no one type to be cached by: an isolated block of it must not be cached. */
TEST(T22_pieces_of_several_types_bypass_the_pcp)
{
	scene_open_edge(&s, 2, 4, "MMMM", 0, 0, 1);
	scene_pcp_marks(&s, 1, 64, 64);
	scene_used(&s, 0, 3, ASH_MT_MOVABLE);
	ash_zone_lock(s.z);
	ash_pageblock_set_isolated(s.z, 4, true);
	ash_zone_unlock(s.z);
	ash_zone_free(s.z, 0, 3, 0);
	EXPECT_STATE(&s, "0:2 M, 4:2 I", "MM*MM");
	EXPECT_EQ(scene_stats(&s).pcp, 0);
}

/* [K page_alloc.c:pcp_allowed_order] a piece of no pcp order goes straight to the buddy lists. */
TEST(T22_pieces_of_more_than_two_pageblocks_bypass_the_pcp)
{
	scene_open_edge(&s, 2, 4, "MMMM", 0, 0, 1);
	scene_used(&s, 0, 4, ASH_MT_MOVABLE);
	ash_zone_free(s.z, 0, 4, 0);
	EXPECT_STATE(&s, "0:4 M", "MMMM");
	EXPECT_EQ(scene_stats(&s).pcp, 0);
}

/* Ours: all orders up to two pageblocks of one type are cached, and come back as they went in. */
static void cached_and_back(unsigned order)
{
	struct ash_page_grant grant = { .pfn = ASH_PFN_NONE };

	scene_open_edge(&s, 5, 6, "MM", 0, 0, 1);
	scene_used(&s, 0, order, ASH_MT_MOVABLE);
	ash_zone_free(s.z, 0, order, 0);
	EXPECT_STREQ(scene_freelist(&s), "");
	EXPECT_EQ(scene_stats(&s).pcp, 1u << order);
	EXPECT_EQ(ash_zone_alloc(s.z, order, ASH_MT_MOVABLE, 0, 0, &grant), 0);
	EXPECT_EQ(grant.pfn, 0);
	EXPECT_EQ(scene_stats(&s).pcp, 0);
	EXPECT_BUG(ash_zone_free(s.z, 0, order - 1, 0));
}

TEST(large_pieces_are_cached)
{
	cached_and_back(4);
	cached_and_back(5);
	cached_and_back(6);
}

/* What a pcp has room for stays, however large; what comes on top pushes out what has been there longest. */
TEST(a_full_pcp_gives_its_coldest_pieces_for_the_new_one)
{
	scene_open_edge(&s, 5, 6, "MM", 0, 0, 1);
	scene_pcp_marks(&s, 1, 2, 2);
	scene_used(&s, 0, 4, ASH_MT_MOVABLE);
	scene_used(&s, 16, 4, ASH_MT_MOVABLE);
	ash_zone_free(s.z, 0, 4, 0);
	EXPECT_STREQ(scene_freelist(&s), "");
	EXPECT_EQ(scene_stats(&s).pcp, 16);
	ash_zone_free(s.z, 16, 4, 0);
	EXPECT_STATE(&s, "0:4 M", "MM");
	EXPECT_EQ(scene_stats(&s).pcp, 16);
	/* A batch goes out from the new one's own list first. */
	ash_zone_free(s.z, 40, 0, 0);
	EXPECT_STATE(&s, "0:4 M, 40:0 M", "MM");
	EXPECT_EQ(scene_stats(&s).pcp, 16);
	ash_zone_drain(s.z);
	EXPECT_STATE(&s, "0:5 M, 40:0 M", "MM");
	EXPECT_EQ(scene_stats(&s).pcp, 0);
}

/* What is given back is what was cached the longest. */
TEST(a_batch_leaves_from_the_cold_end)
{
	scene_open_edge(&s, 4, 4, "MM", 0, 0, 1);
	scene_pcp_marks(&s, 2, 4, 4);
	for (ash_pfn_t pfn = 0; pfn < 10; pfn += 2)
		ash_zone_free(s.z, pfn, 0, 0);
	EXPECT_STATE(&s, "0:0 M, 2:0 M", "MM");
	for (ash_pfn_t pfn = 8; pfn >= 4; pfn -= 2) {
		struct ash_page_grant grant = { .pfn = ASH_PFN_NONE };

		EXPECT_EQ(ash_zone_alloc(s.z, 0, ASH_MT_MOVABLE, 0, 0, &grant), 0);
		EXPECT_EQ(grant.pfn, pfn);
	}
	EXPECT_EQ(scene_stats(&s).pcp, 0);
}

/* Ours: buddies that leave together are put together first, in whichever direction they were freed. */
TEST(a_row_leaves_the_pcp_as_one_piece)
{
	for (unsigned down = 0; down < 2; down++) {
		scene_open_edge(&s, 4, 5, "MMUM", 0, 0, 1);
		scene_pcp_marks(&s, 64, 64, 64);
		for (ash_pfn_t i = 0; i < 50; i++)
			ash_zone_free(s.z, down ? 49 - i : i, 0, 0);
		EXPECT_EQ(scene_stats(&s).pcp, 50);
		EXPECT_STREQ(scene_freelist(&s), "");
		ash_zone_drain(s.z);
		EXPECT_STATE(&s, "0:5 M, 32:4 U, 48:1 M", "MMUM");
	}
}

/* Zeroed and not: below a pageblock what comes together is not zeroed; whole pageblocks keep it each for itself. */
TEST(a_row_that_is_zeroed_in_part)
{
	scene_open_edge(&s, 2, 4, "MMMM", 0, 0, 1);
	scene_pcp_marks(&s, 64, 64, 64);
	for (ash_pfn_t pfn = 0; pfn < 16; pfn++) {
		const bool zeroed = pfn / 4 == 1 || pfn / 4 == 2 || pfn == 12;

		ash_zone_free(s.z, pfn, 0, 0);
		ash_frame_store(s.z->frames, pfn, ash_frame_word(ASH_FRAME_PCP, 0, ASH_MT_MOVABLE,
								 zeroed ? ASH_FRAME_ZEROED : 0));
	}
	ash_zone_drain(s.z);
	EXPECT_STATE(&s, "0:4 M", "MMMM");
	EXPECT_EQ(scene_stats(&s).free_zeroed, 8);
}

/*
 * Who waits for a buddy of some order (compaction's capture) is shown it, though it leaves as part of a larger piece.
 */
TEST(a_row_passes_by_who_waits_for_a_part_of_it)
{
	struct ash_capture capture = { .order = 1, .mt = ASH_MT_MOVABLE, .pfn = ASH_PFN_NONE };

	scene_open_edge(&s, 4, 4, "MM", 0, 0, 1);
	scene_pcp_marks(&s, 64, 64, 64);
	for (ash_pfn_t pfn = 0; pfn < 8; pfn++)
		ash_zone_free(s.z, pfn, 0, 0);
	s.z->capture = &capture;
	ash_zone_drain(s.z);
	s.z->capture = NULL;
	EXPECT_EQ(capture.pfn, 0);
	EXPECT_STATE(&s, "2:1 M, 4:2 M", "MM");
}

/* [K page_alloc.c:alloc_frozen_pages_nolock_noprof] with the zone lock held: from the pcp, or a refusal at once. */
TEST(T80_trylock_allocation_never_waits)
{
	struct ash_page_grant grant = { .pfn = ASH_PFN_NONE };

	scene_open_edge(&s, 4, 4, "MM", 0, 0, 1);
	scene_free(&s, "16:4");
	ash_zone_free(s.z, 3, 0, 0);
	scene_mark(&s);
	ash_zone_lock(s.z);
	EXPECT_EQ(ash_zone_alloc(s.z, 0, ASH_MT_MOVABLE, ASH_ALLOC_TRYLOCK, 0, &grant), 0);
	EXPECT_EQ(grant.pfn, 3);
	EXPECT_EQ(ash_zone_alloc(s.z, 0, ASH_MT_MOVABLE, ASH_ALLOC_TRYLOCK, 0, &grant), -ASH_ENOMEM);
	EXPECT_EQ(ash_zone_alloc(s.z, 4, ASH_MT_MOVABLE, ASH_ALLOC_TRYLOCK, ASH_CPU_NONE, &grant), -ASH_ENOMEM);
	ash_zone_unlock(s.z);
	EXPECT_STATE(&s, "16:4 M", "MM");
	EXPECT_EQ(ash_zone_alloc(s.z, 4, ASH_MT_MOVABLE, ASH_ALLOC_TRYLOCK, ASH_CPU_NONE, &grant), 0);
	EXPECT_EQ(grant.pfn, 16);
}

/*
 * T25, T26 with owned pcps ([K sched/membarrier.c] is what makes the flag enough): the owner of a pcp went in before
 * the drainer took the lock, but its flag is still on the way to memory. The barrier brings it there, and only then
 * does the drainer look. Told here as a story in one thread: the barrier makes the flag appear, a timer is the owner
 * leaving.
 */
static struct ash_pcp *owned;
static volatile sig_atomic_t barriers, barrier_before_lock, drained_meanwhile;

static void owner_leaves(int signal)
{
	(void)signal;
	drained_meanwhile = ash_pcp_frames(owned) != 2;
	atomic_store_explicit(&owned->busy, 0, memory_order_release);
}

static void flag_arrives(void)
{
	const struct itimerval soon = { .it_value = { .tv_usec = 2000 } };

	if (owned == NULL || barriers++ > 0)
		return;
	barrier_before_lock = !ash_lock_is_held(&owned->lock);
	atomic_store_explicit(&owned->busy, 1, memory_order_relaxed);
	signal(SIGALRM, owner_leaves);
	setitimer(ITIMER_REAL, &soon, NULL);
}

/* Called by a drain before each of its zone lock holds: how much the one before gave back. */
static uint64_t free_before, most;

static void note_progress(void)
{
	const uint64_t now = owned == NULL ? 0 : ash_counter_read(&s.z->free);

	if (owned != NULL && now - free_before > most)
		most = now - free_before;
	free_before = now;
}

static void own_and_note(struct ash_zone_config *config, struct ash_zone_ops *ops)
{
	config->pcp_owned = true;
	ops->barrier = note_progress;
}

/* [K page_alloc.c:drain_pages_zone] however full a pcp is, no zone lock hold of its drain frees more than a batch. */
TEST(T25_a_drain_is_bounded)
{
	owned = NULL;
	scene_config = own_and_note;
	scene_open_edge(&s, 9, 10, "MMMMMMMMMMMMMMMMMMMMMMMM", 0, 0, 1);
	scene_config = NULL;
	scene_pcp_marks(&s, 63, 20000, 20000);
	for (ash_pfn_t pfn = 0; pfn < 10000; pfn++)
		ash_zone_free(s.z, pfn, 0, 0);
	EXPECT_EQ(scene_stats(&s).pcp, 10000);
	EXPECT_EQ(scene_stats(&s).free, 0);
	owned = s.z->pcps;
	free_before = most = 0;
	ash_zone_drain(s.z);
	owned = NULL;
	EXPECT_EQ(scene_stats(&s).free, 10000);
	EXPECT_GT(most, 0);
	EXPECT_LE(most, 64);
	EXPECT(scene_fault(&s) == NULL);
}

static void own_the_pcps(struct ash_zone_config *config, struct ash_zone_ops *ops)
{
	config->pcp_owned = true;
	ops->barrier = flag_arrives;
}

TEST(T25_a_drainer_waits_for_an_owner_whose_flag_the_barrier_brings)
{
	owned = NULL;
	scene_config = own_the_pcps;
	scene_open_edge(&s, 4, 4, "MM", 0, 0, 1);
	scene_config = NULL;
	ash_zone_free(s.z, 3, 0, 0);
	ash_zone_free(s.z, 5, 0, 0);
	EXPECT_EQ(scene_stats(&s).pcp, 2);
	barriers = 0;
	owned = s.z->pcps;
	drained_meanwhile = 2;
	ash_zone_drain(s.z);
	signal(SIGALRM, SIG_DFL);
	EXPECT_GT(barriers, 0);
	EXPECT(!barrier_before_lock);
	/* 0: the owner left while the pcp still held what it held; 2: the drainer did not wait for it at all. */
	EXPECT_EQ(drained_meanwhile, 0);
	EXPECT_STATE(&s, "3:0 M, 5:0 M", "MM");
}
