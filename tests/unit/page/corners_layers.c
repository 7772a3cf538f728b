/* SPDX-License-Identifier: MIT */
/* Corners: superblocks, hardening layers beside each other, statistics, sizes. */
#include "corners.h"

#include "page/migrate.h"
#include "page/stat.h"

/* --- Spans that something unmovable has tainted --- */

#define EXPECT_FAULT(f, invariant, text)                                                                               \
	do {                                                                                                           \
		struct ash_zone_fault fault_;                                                                          \
                                                                                                                       \
		EXPECT_EQ(ash_zone_check((f)->z, &fault_), invariant);                                                 \
		EXPECT(strstr(fault_.what, text) != NULL);                                                             \
	} while (0)

TEST(the_walker_counts_what_taints)
{
	struct fixture f;
	ash_pfn_t pfn;

	open_owned(&f);
	EXPECT_EQ(stats(&f).tainted, 0);
	pfn = alloc_pages(&f, 3, ASH_MT_UNMOVABLE);
	EXPECT_EQ(stats(&f).tainted, 1);
	EXPECT_GT(tainted[pfn >> 5], 0);
	/* CMA can be emptied, like MOVABLE. */
	ash_zone_lock(f.z);
	ash_pageblock_set_type(f.z, pfn, ASH_MT_CMA);
	ash_zone_unlock(f.z);
	fixture_check(&f);
	tainted[pfn >> 5]++;
	EXPECT_FAULT(&f, 6, "tainting pageblocks of a superblock");
	tainted[pfn >> 5]--;
	f.z->nr_tainted++;
	EXPECT_FAULT(&f, 6, "tainted superblocks");
	f.z->nr_tainted--;
	ash_zone_free(f.z, pfn, 3, CPU_NONE);
	fixture_end(&f);
}

/* The search for a tainted span gives up after so many buddies; the claim is then made as without it. */
TEST(a_search_for_a_tainted_span_gives_up)
{
	static uint32_t counts[1024];
	struct ash_zone_config c = { .nr_frames = 2048, .geometry = { 0, 1 }, .tainted = counts };
	struct fixture f;
	ash_pfn_t pfn;

	memset(counts, 0, sizeof(counts));
	fixture_init(&f, 2048, 0, 1, 0);
	c.frames = f.frames;
	c.pageblocks = f.pageblocks;
	c.ops = &f.ops;
	EXPECT_EQ(ash_zone_init(f.z, &c), 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 2048, false), 0);
	for (ash_pfn_t i = 0; i < 2048; i++)
		EXPECT_EQ(alloc_pages(&f, 0, ASH_MT_MOVABLE), i);
	ash_zone_free(f.z, 2046, 0, CPU_NONE);
	EXPECT_EQ(alloc_pages(&f, 0, ASH_MT_UNMOVABLE), 2046);
	ash_zone_free(f.z, 2047, 0, CPU_NONE);
	/* One buddy is in the way, and the one behind it is in the tainted span. */
	ash_zone_free(f.z, 0, 0, CPU_NONE);
	pfn = alloc_pages(&f, 0, ASH_MT_UNMOVABLE);
	EXPECT_EQ(pfn, 2047);
	ash_zone_free(f.z, 2047, 0, CPU_NONE);
	EXPECT_EQ(alloc_pages(&f, 0, ASH_MT_MOVABLE), 0);
	EXPECT_EQ(alloc_pages(&f, 0, ASH_MT_MOVABLE), 2047);
	ash_zone_free(f.z, 2047, 0, CPU_NONE);
	for (ash_pfn_t i = 0; i < 2040; i += 2)
		ash_zone_free(f.z, i, 0, CPU_NONE);
	pfn = alloc_pages(&f, 0, ASH_MT_UNMOVABLE);
	EXPECT(pfn < 2040);
	fixture_end(&f);
}

/* --- Hardening, one layer beside another --- */

static unsigned char payload[128][4096];

static void *payload_of(const struct ash_zone *z ASH_UNUSED, ash_pfn_t pfn)
{
	return payload[pfn];
}

/* Fresh frames, which read as zero, with these layers. */
static int open_hardened(struct fixture *f, struct ash_hardening hardening)
{
	struct ash_zone_config c = { .nr_frames = 128, .geometry = { 3, 5 }, .hardening = hardening, .nr_cpus = 1,
				     .pcp_owned = true };
	int err;

	fixture_init(f, 128, 3, 5, 1);
	memset(payload, 0, sizeof(payload));
	f->ops.barrier = no_barrier;
	f->ops.frame_addr = payload_of;
	c.frames = f->frames;
	c.pageblocks = f->pageblocks;
	c.pcps = f->pcps;
	c.ops = &f->ops;
	err = ash_zone_init(f->z, &c);
	return err != 0 ? err : ash_zone_online(f->z, 0, 128, true);
}

TEST(layers_that_are_refused)
{
	struct ash_zone_config c = { .nr_frames = 128, .geometry = { 3, 5 }, .hardening.poison = true };
	struct fixture f;

	EXPECT_EQ(open_hardened(&f, (struct ash_hardening){ .guard_order = 4 }), -ASH_EINVAL);
	fixture_end(&f);
	EXPECT_EQ(open_hardened(&f, (struct ash_hardening){ .shuffle_order = 6 }), -ASH_EINVAL);
	fixture_end(&f);
	/* Nobody says where the bytes are. */
	fixture_init(&f, 128, 3, 5, 0);
	c.frames = f.frames;
	c.pageblocks = f.pageblocks;
	EXPECT_EQ(ash_zone_init(f.z, &c), -ASH_EINVAL);
	c.ops = &f.ops;
	EXPECT_EQ(ash_zone_init(f.z, &c), -ASH_EINVAL);
	fixture_end(&f);
}

/* What is known to be zero bears no poison, and is not written again. */
TEST(zeroed_frames_under_poison_and_initialisation)
{
	const struct ash_hardening layers = { .poison = true, .init_on_alloc = true };
	struct ash_frame_owner owner;
	struct ash_page_grant g;
	struct fixture f;

	EXPECT_EQ(open_hardened(&f, layers), 0);
	EXPECT(f.z->pcp_biased);
	EXPECT_EQ(f.z->hit_cpus, 0); /* no way in past the layers */
	EXPECT_EQ(ash_zone_alloc(f.z, 0, ASH_MT_MOVABLE, 0, 0, &g), 0);
	EXPECT(g.zeroed);
	payload[g.pfn][17] = 1;
	ash_zone_free(f.z, g.pfn, 0, 0);
	EXPECT_EQ(payload[g.pfn][17], 0xaa);
	EXPECT_EQ(ash_zone_alloc(f.z, 0, ASH_MT_MOVABLE, 0, 0, &g), 0);
	EXPECT(g.zeroed);
	EXPECT_EQ(payload[g.pfn][17], 0);
	ash_zone_free(f.z, g.pfn, 0, 0);
	EXPECT(!ash_zone_frame_owner(f.z, g.pfn, &owner));
	fixture_end(&f);
}

/* Guards are kept, and known, also where nobody protects them; and nobody owns what lies outside. */
TEST(guards_and_owners_without_ops)
{
	static struct ash_frame_owner owners[128];
	struct ash_frame_owner owner;
	struct fixture f;
	ash_pfn_t pfn;

	EXPECT_EQ(open_hardened(&f, (struct ash_hardening){ .guard_order = 1, .owners = owners }), 0);
	pfn = alloc_pages(&f, 0, ASH_MT_UNMOVABLE);
	EXPECT_EQ(ash_word_state(ash_frame_load(f.frames, pfn + 1)), ASH_FRAME_GUARD);
	EXPECT(ash_zone_frame_owner(f.z, pfn, &owner));
	EXPECT_EQ(owner.allocated_by, 0);
	EXPECT(!ash_zone_frame_owner(f.z, 128, &owner));
	ash_zone_free(f.z, pfn, 0, CPU_NONE);
	EXPECT_EQ(stats(&f).free, 128);
	fixture_end(&f);
}

/* Nobody says what a guard's frames read as: a pageblock that they complete is not known to be zero. */
TEST(a_guard_spoils_what_is_known_of_its_pageblock)
{
	struct fixture f;
	ash_pfn_t pfn;

	EXPECT_EQ(open_hardened(&f, (struct ash_hardening){ .guard_order = 3 }), 0);
	EXPECT_EQ(stats(&f).free_zeroed, 128);
	pfn = alloc_pages(&f, 2, ASH_MT_UNMOVABLE);
	EXPECT_EQ(ash_word_state(ash_frame_load(f.frames, pfn + 4)), ASH_FRAME_GUARD);
	ash_zone_free_run_zeroed(f.z, pfn, 4);
	EXPECT_EQ(stats(&f).free, 128);
	EXPECT_EQ(stats(&f).free_zeroed, 120);
	fixture_end(&f);
}

/* For assertions of the layers above: not one lock is held, whichever kind. */
TEST(whether_any_lock_is_held)
{
	struct fixture f;

	open_owned(&f);
	EXPECT(!ash_zone_locks_held(f.z));
	ash_zone_lock(f.z);
	EXPECT(ash_zone_locks_held(f.z));
	ash_zone_unlock(f.z);
	ash_zone_lock_all(f.z);
	EXPECT(ash_zone_locks_held(f.z));
	ash_zone_unlock_all(f.z);
	atomic_store(&f.pcps[0].busy, 1);
	EXPECT(ash_zone_locks_held(f.z));
	atomic_store(&f.pcps[0].busy, 0);
	EXPECT(!ash_zone_locks_held(f.z));
	fixture_end(&f);
}

/* --- Statistics --- */

TEST(indices_of_a_zone_without_free_memory)
{
	const struct ash_zone_stats none = { 0 };

	EXPECT_EQ(ash_unusable_index(&none, 3), 1000);
	EXPECT_EQ(ash_fragmentation_index(&none, 3), 0);
	EXPECT_EQ(ash_extfrag_for_order(&none, 3), 0);
	EXPECT_STREQ(ash_migratetype_name(ASH_MT_ISOLATE), "Isolate");
	EXPECT_STREQ(ash_migratetype_name(ASH_MT_NR), "?");
}

/* The text is as long as it would be, and no more of it is written than there is room for. */
TEST(text_that_does_not_fit)
{
	struct ash_zone_stats s = { .nr_free[0][ASH_MT_MOVABLE] = UINT64_MAX };
	char buf[128];
	size_t length;

	s.nr_free[1][ASH_MT_UNMOVABLE] = 12345678;
	memset(buf, 'x', sizeof(buf));
	length = ash_stat_buddyinfo(&s, 1, 10, "T", buf, sizeof(buf));
	EXPECT_STREQ(buf, "Node 10, zone        T 18446744073709551615 12345678 \n");
	EXPECT_EQ(length, strlen(buf));
	memset(buf, 'x', sizeof(buf));
	EXPECT_EQ(ash_stat_buddyinfo(&s, 1, 10, "T", buf, 8), length);
	EXPECT_STREQ(buf, "Node 10");
	EXPECT_EQ(buf[8], 'x');
	EXPECT_EQ(ash_stat_buddyinfo(&s, 1, 10, "T", NULL, 0), length);
	length = ash_stat_pagetypeinfo(&s, 9, 1, 10, "T", NULL, 0);
	memset(buf, 'x', sizeof(buf));
	EXPECT_EQ(ash_stat_pagetypeinfo(&s, 9, 1, 10, "T", buf, 20), length);
	EXPECT_STREQ(buf, "Page block order: 9");
	EXPECT_EQ(buf[20], 'x');
}

/* [K pagetypeinfo_showmixedcount_print] Frames of a type that is not their pageblock's; nothing is allocated as CMA. */
TEST(mixed_blocks_of_every_type)
{
	uint64_t mixed[ASH_MT_NR];
	struct fixture f;

	open_zone(&f);
	EXPECT_EQ(alloc_pages(&f, 0, ASH_MT_MOVABLE), 0);
	EXPECT_EQ(alloc_pages(&f, 3, ASH_MT_MOVABLE), 8);
	ash_zone_count_mixed(f.z, mixed);
	EXPECT_EQ(mixed[ASH_MT_MOVABLE], 0);
	ash_zone_lock(f.z);
	ash_pageblock_set_type(f.z, 8, ASH_MT_CMA);
	ash_zone_unlock(f.z);
	ash_zone_count_mixed(f.z, mixed);
	EXPECT_EQ(mixed[ASH_MT_CMA], 0);
	EXPECT_EQ(mixed[ASH_MT_MOVABLE], 1);
	ash_frame_store(f.frames, 8, ash_frame_word(ASH_FRAME_USED, 3, ASH_MT_UNMOVABLE, 0));
	ash_frame_store(f.frames, 0, ash_frame_word(ASH_FRAME_USED, 0, ASH_MT_RECLAIMABLE, 0));
	ash_zone_count_mixed(f.z, mixed);
	EXPECT_EQ(mixed[ASH_MT_CMA], 0);
	EXPECT_EQ(mixed[ASH_MT_MOVABLE], 2);
	fixture_end(&f);
}

/* --- Size --- */

/* [K zone_batchsize] a thousandth of the zone, at most 256 KiB, and then one less than a power of two. */
TEST(the_batch_of_a_large_zone_has_a_bound)
{
	struct ash_page_grant g;
	struct fixture f;
	ash_pfn_t pfn[200];

	fixture_init(&f, 1u << 19, 9, 18, 1);
	EXPECT_EQ(ash_zone_online(f.z, 0, 1u << 14, false), 0);
	EXPECT_EQ(f.z->pcp_batch, 3);
	EXPECT_EQ(ash_zone_online(f.z, 1u << 14, (1u << 19) - (1u << 14), false), 0);
	EXPECT_EQ(f.z->pcp_batch, 63);
	EXPECT_EQ(f.z->pcp_high_min, 252);
	EXPECT_EQ(f.z->pcp_high_max, 1u << 16);
	/* More than the zone takes in one lock hold. */
	for (ash_pfn_t i = 0; i < 200; i++) {
		EXPECT_EQ(ash_zone_alloc(f.z, 0, ASH_MT_MOVABLE, 0, 0, &g), 0);
		pfn[i] = g.pfn;
	}
	for (ash_pfn_t i = 0; i < 200; i++)
		ash_zone_free(f.z, pfn[i], 0, 0);
	EXPECT_GT(stats(&f).pcp, 128);
	ash_zone_drain(f.z);
	EXPECT_EQ(stats(&f).pcp, 0);
	EXPECT_EQ(stats(&f).free, 1u << 19);
	fixture_end(&f);
}
