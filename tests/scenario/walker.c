/* SPDX-License-Identifier: MIT */
/*
 * The invariant walker's negative tests: each way in which a zone can be damaged, and the invariant that must be named.
 * After every one the damage is taken back and the walker content again, so that nothing is seen for another reason.
 */
#include "harness/test.h"
#include "page/pcp.h"
#include "scenario/scene.h"

static struct scene s;

/*
 * 0:2 and 12:1 free in a MOVABLE block, a whole free UNMOVABLE block, one cached frame, one isolated block, one held.
 */
static void damaged_scene(void)
{
	scene_open_edge(&s, 4, 6, "MUMMCH", 0, 0, 1);
	scene_free(&s, "0:2, 12:1, 8:1, 16:4, 40:2, 64:1, 80:2");
	ash_zone_free(s.z, 6, 0, 0);
	ash_zone_lock(s.z);
	ash_pageblock_set_isolated(s.z, 48, true);
	ash_zone_unlock(s.z);
	scene_mark(&s);
	if (scene_fault(&s) != NULL)
		TEST_FAIL("%s", scene_fault(&s));
}

static void expect_fault(int invariant, const char *what)
{
	struct ash_zone_fault fault = { 0 };

	EXPECT_EQ(ash_zone_check(s.z, &fault), invariant);
	EXPECT_EQ(fault.invariant, invariant);
	if (strstr(fault.what, what) == NULL)
		TEST_FAIL("expected \"%s\", got \"%s\"", what, fault.what);
}

static void expect_mended(void)
{
	EXPECT_EQ(ash_zone_check(s.z, NULL), 0);
}

/* Damage one lvalue, expect the fault, mend it. */
#define WORD(pfn) ash_frame_at(s.z->frames, pfn)->word
#define HEAD(state, order, mt) ash_frame_word(ASH_FRAME_##state, order, ASH_MT_##mt, 0)
#define DAMAGED(id, lvalue, value, invariant, text)                                                                    \
	TEST(walker_sees_##id)                                                                                         \
	{                                                                                                              \
		damaged_scene();                                                                                       \
		const __typeof__(lvalue) good = lvalue;                                                                \
                                                                                                                       \
		lvalue = value;                                                                                        \
		expect_fault(invariant, text);                                                                         \
		lvalue = good;                                                                                         \
		expect_mended();                                                                                       \
	}

#define COUNTER(name) s.z->name.value

DAMAGED(the_free_counter, COUNTER(free), good + 1, 6, "free")
DAMAGED(the_free_blocks_counter, COUNTER(free_blocks), good + 16, 6, "free_blocks")
DAMAGED(the_free_zeroed_counter, COUNTER(free_zeroed), good + 16, 6, "free_zeroed")
DAMAGED(the_free_cma_counter, COUNTER(free_cma), good - 1, 6, "free_cma")
DAMAGED(the_free_highatomic_counter, COUNTER(free_highatomic), good - 1, 6, "free_highatomic")
DAMAGED(the_isolated_counter, COUNTER(nr_isolate), 0, 8, "nr_isolate")
DAMAGED(the_present_counter, COUNTER(present), good - 1, 9, "present")
DAMAGED(the_pieces_of_a_magazine, s.z->pcps[0].magazine[ASH_MT_MOVABLE].state, good - 1, 6, "pcp")
DAMAGED(a_magazine_beyond_its_room, s.z->pcps[0].magazine[ASH_MT_MOVABLE].state, 1, 6, "a magazine's room")
DAMAGED(more_room_than_a_magazine_has, s.z->pcps[0].magazine[ASH_MT_MOVABLE].state, 0x0f01, 6, "a magazine's room")
DAMAGED(an_open_magazine_forgotten, s.z->pcps[0].open, 0, 6, "an open magazine")
DAMAGED(what_a_pcp_is_charged, s.z->pcps[0].charged, good + 1, 6, "pcp charged")
DAMAGED(the_count_of_blocks, s.z->nr_blocks[ASH_MT_MOVABLE], good + 1, 6, "pageblocks of a type")
DAMAGED(a_list_count, s.z->freelist[ASH_MT_MOVABLE][1].nr, good + 1, 6, "list count")
DAMAGED(a_list_longer_than_its_count, s.z->freelist[ASH_MT_MOVABLE][1].nr, good - 1, 6, "list longer than its count")
DAMAGED(a_nonempty_bit_lost, s.z->nonempty[ASH_MT_MOVABLE], good & ~2u, 6, "nonempty bit")
DAMAGED(a_nonempty_bit_too_many, s.z->nonempty[ASH_MT_RECLAIMABLE], 1, 6, "nonempty bit")
DAMAGED(a_link_out_of_the_span, s.z->freelist[ASH_MT_MOVABLE][2].first[0], 4096, 2, "a list links out of the span")
DAMAGED(a_broken_back_link, ash_frame_at(s.z->frames, s.z->freelist[ASH_MT_MOVABLE][1].last[0])->prev, 0, 2,
	"back link")
DAMAGED(a_broken_tail, s.z->freelist[ASH_MT_MOVABLE][1].last[0], 0, 2, "list tail broken")
DAMAGED(a_broken_tail_of_the_zeroed, s.z->freelist[ASH_MT_MOVABLE][1].last[1], 0, 2, "list tail broken")
DAMAGED(a_zeroed_flag_that_lies, ash_frame_at(s.z->frames, 0)->private, 1, 6, "a buddy's zeroed flag")
DAMAGED(a_foreign_buddy_on_a_list, s.z->freelist[ASH_MT_MOVABLE][2].first[0], 12, 1, "not a buddy of this list")
DAMAGED(a_buddy_that_is_on_no_list, WORD(85), HEAD(BUDDY, 0, HIGHATOMIC), 6, "buddies on the list and in the frames")
DAMAGED(a_type_that_is_not_the_lists, s.z->pageblocks[0], (good & ~7) | ASH_MT_RECLAIMABLE, 1, "pageblock type is not")
DAMAGED(a_head_inside_a_piece, WORD(17), HEAD(USED, 0, MOVABLE), 2, "a head inside a piece")
DAMAGED(a_misaligned_piece, WORD(5), HEAD(USED, 2, MOVABLE), 2, "misaligned")
DAMAGED(a_piece_of_an_order_too_large, WORD(0), HEAD(USED, 7, MOVABLE), 2, "misaligned")
DAMAGED(a_piece_past_the_span, WORD(64), HEAD(USED, 6, MOVABLE), 2, "out of the span")
DAMAGED(an_unknown_state, ash_frame_at(s.z->frames, 4)->word, 9, 2, "no such frame state")
DAMAGED(a_lost_frame, ash_frame_at(s.z->frames, 4)->word, 0, 9, "present")

/* I5: a buddy over a CMA and a MOVABLE pageblock. */
TEST(walker_sees_a_buddy_of_mixed_blocks)
{
	scene_open(&s, 3, 4, "MM");
	scene_free(&s, "0:4");
	s.z->pageblocks[1] = (s.z->pageblocks[1] & ~ASH_PB_TYPE) | ASH_MT_CMA;
	expect_fault(5, "unmergeable");
	s.z->pageblocks[1] = (s.z->pageblocks[1] & ~ASH_PB_TYPE) | ASH_MT_UNMOVABLE;
	expect_fault(1, "pageblock type is not the buddy's");
	s.z->pageblocks[1] = (s.z->pageblocks[1] & ~ASH_PB_TYPE) | ASH_MT_MOVABLE;
	expect_mended();
	s.z->pageblocks[1] &= ~ASH_PB_ONLINE;
	expect_fault(9, "a piece in an offline pageblock");
	s.z->pageblocks[1] |= ASH_PB_ONLINE;
	expect_mended();
}

TEST(walker_sees_a_reserved_buddy_over_a_block_of_another_type)
{
	scene_open(&s, 3, 4, "CC");
	scene_free(&s, "0:4");
	s.z->pageblocks[1] = (s.z->pageblocks[1] & ~ASH_PB_TYPE) | ASH_MT_MOVABLE;
	expect_fault(5, "unmergeable");
	s.z->pageblocks[1] = (s.z->pageblocks[1] & ~ASH_PB_TYPE) | ASH_MT_HIGHATOMIC;
	expect_fault(5, "unmergeable");
	s.z->pageblocks[1] = (s.z->pageblocks[1] & ~ASH_PB_TYPE) | ASH_MT_CMA;
	expect_mended();
}

/* A pageblock that says it is zeroed under a buddy that does not count it. */
TEST(walker_sees_a_zeroed_block_too_many)
{
	damaged_scene();
	s.z->pageblocks[1] |= ASH_PB_ZEROED;
	expect_fault(6, "zeroed pageblocks of a buddy");
	s.z->pageblocks[1] &= ~ASH_PB_ZEROED;
	expect_mended();
}
