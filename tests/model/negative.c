/* SPDX-License-Identifier: MIT */
/*
 * The model's own negative tests: a core that lies or loses frames, in one way per test, must be caught by the check
 * that is there to catch it.
 */
#include "harness/test.h"
#include "model/hosted.h"
#include "page/pcp.h"

static unsigned calls;
static struct ash_page_grant last_grant;

/* --- Liars, one per check --- */

static int alloc_again(struct ash_zone *z, unsigned order, enum ash_migratetype mt, unsigned flags, unsigned cpu,
		       struct ash_page_grant *grant)
{
	const int result = ash_zone_alloc(z, order, mt, flags, cpu, grant);

	if (result == 0 && order == 0 && ++calls == 20)
		*grant = last_grant;
	else if (result == 0 && order == 0)
		last_grant = *grant;
	return result;
}

static int alloc_misaligned(struct ash_zone *z, unsigned order, enum ash_migratetype mt, unsigned flags, unsigned cpu,
			    struct ash_page_grant *grant)
{
	const int result = ash_zone_alloc(z, order, mt, flags, cpu, grant);

	grant->pfn += result == 0 && order > 0 && ++calls == 10;
	return result;
}

static int alloc_outside(struct ash_zone *z, unsigned order, enum ash_migratetype mt, unsigned flags, unsigned cpu,
			 struct ash_page_grant *grant)
{
	const int result = ash_zone_alloc(z, order, mt, flags, cpu, grant);

	grant->pfn += result == 0 && ++calls == 10 ? 1u << 20 : 0;
	return result;
}

static int alloc_says_zeroed(struct ash_zone *z, unsigned order, enum ash_migratetype mt, unsigned flags, unsigned cpu,
			     struct ash_page_grant *grant)
{
	const int result = ash_zone_alloc(z, order, mt, flags, cpu, grant);

	if (result == 0 && ++calls > 10)
		grant->zeroed = true;
	return result;
}

static int alloc_fragments(struct ash_zone *z, unsigned order, enum ash_migratetype mt, unsigned flags, unsigned cpu,
			   struct ash_page_grant *grant)
{
	return ash_zone_alloc(z, order, mt, flags & ~(unsigned)ASH_ALLOC_NOFRAGMENT, cpu, grant);
}

static int alloc_gives_up(struct ash_zone *z, unsigned order, enum ash_migratetype mt, unsigned flags, unsigned cpu,
			  struct ash_page_grant *grant)
{
	return ++calls % 30 == 0 ? -ASH_ENOMEM : ash_zone_alloc(z, order, mt, flags, cpu, grant);
}

static int alloc_fails_after_taking(struct ash_zone *z, unsigned order, enum ash_migratetype mt, unsigned flags,
				    unsigned cpu, struct ash_page_grant *grant)
{
	const bool cached = ash_pcp_total(z) > 0;
	const int result = ash_zone_alloc(z, order, mt, flags, cpu, grant);

	/* Only where the refusal looks right: nothing to drain, and no list could serve another such request. */
	if (result == 0 && order == 3 && !cached) {
		struct ash_page_grant next;

		if (ash_zone_alloc(z, order, mt, flags, cpu, &next) != 0)
			return -ASH_ENOMEM;
		ash_zone_free(z, next.pfn, order, ASH_CPU_NONE);
	}
	return result;
}

static int alloc_retypes_a_neighbour(struct ash_zone *z, unsigned order, enum ash_migratetype mt, unsigned flags,
				     unsigned cpu, struct ash_page_grant *grant)
{
	const int result = ash_zone_alloc(z, order, mt, flags, cpu, grant);

	if (result == 0 && order == z->pageblock_order && ++calls == 3) {
		ash_zone_lock(z);
		ash_pageblock_set_type(z, grant->pfn, ASH_MT_CMA);
		ash_zone_unlock(z);
	}
	return result;
}

static void free_retypes_a_used_block(struct ash_zone *z, ash_pfn_t pfn, unsigned order, unsigned cpu)
{
	ash_zone_free(z, pfn, order, cpu);
	for (ash_pfn_t block = 0; block < z->nr_frames; block += ash_pageblock_frames(z)) {
		struct ash_pageblock_count n;

		ash_pageblock_count(z, block, &n);
		if (n.free > 0 || n.online < ash_pageblock_frames(z) || ++calls < 3)
			continue;
		ash_zone_lock(z);
		ash_pageblock_set_type(z, block, (ash_pageblock_type(z, block) + 1) % ASH_MT_PCPTYPES);
		ash_zone_unlock(z);
		return;
	}
}

static void free_leaks(struct ash_zone *z, ash_pfn_t pfn, unsigned order, unsigned cpu)
{
	if (++calls != 10)
		ash_zone_free(z, pfn, order, cpu);
}

static void free_run_forgets_the_tail(struct ash_zone *z, ash_pfn_t pfn, ash_pfn_t nr)
{
	ash_zone_free_run(z, pfn, nr > 1 ? nr - 1 : nr);
}

/* Free another frame than the one asked for: every sum still agrees. */
static void free_takes_a_neighbour(struct ash_zone *z, ash_pfn_t pfn, unsigned order, unsigned cpu)
{
	const ash_pfn_t other = pfn ^ 1;
	const uint32_t word = ash_frame_load(z->frames, other);

	if (order == 0 && ash_word_state(word) == ASH_FRAME_USED && ash_word_order(word) == 0)
		pfn = other;
	ash_zone_free(z, pfn, order, cpu);
}

static void free_breaks_a_link(struct ash_zone *z, ash_pfn_t pfn, unsigned order, unsigned cpu)
{
	ash_zone_free(z, pfn, order, cpu);
	for (unsigned o = 0; o <= z->max_order; o++) {
		for (unsigned mt = 0; mt < ASH_MT_PCPTYPES; mt++) {
			const ash_pfn_t first = z->freelist[mt][o].first[0];

			if (z->freelist[mt][o].nr > 2 && first != ASH_PFN_NONE) {
				ash_frame_at(z->frames, first)->next =
		ash_frame_at(z->frames, ash_frame_at(z->frames, first)->next)->next;
				return;
			}
		}
	}
}

static void free_moves_the_free_counter(struct ash_zone *z, ash_pfn_t pfn, unsigned order, unsigned cpu)
{
	ash_zone_free(z, pfn, order, cpu);
	ash_counter_add(&z->free, 1);
}

static void free_moves_the_blocks_counter(struct ash_zone *z, ash_pfn_t pfn, unsigned order, unsigned cpu)
{
	ash_zone_free(z, pfn, order, cpu);
	ash_counter_add(&z->free_blocks, 1);
}

static void free_moves_the_isolate_counter(struct ash_zone *z, ash_pfn_t pfn, unsigned order, unsigned cpu)
{
	ash_zone_free(z, pfn, order, cpu);
	ash_counter_add(&z->nr_isolate, 1);
}

static int online_moves_present(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, bool zeroed)
{
	const int result = ash_zone_online(z, start, nr, zeroed);

	if (result == 0)
		ash_counter_add(&z->present, 1);
	return result;
}

static int online_never(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, bool zeroed)
{
	return calls++ == 0 ? ash_zone_online(z, start, nr, zeroed) : -ASH_EINVAL;
}

static int online_always(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, bool zeroed)
{
	const int result = ash_zone_online(z, start, nr, zeroed);

	return result < 0 ? 0 : result;
}

static int extend_does_nothing(struct ash_zone *z, ash_pfn_t pfn, ash_pfn_t nr, enum ash_migratetype mt, bool *zeroed)
{
	(void)z;
	(void)pfn;
	(void)nr;
	(void)mt;
	*zeroed = false;
	return 0;
}

static int extend_keeps_what_it_refuses(struct ash_zone *z, ash_pfn_t pfn, ash_pfn_t nr, enum ash_migratetype mt,
					bool *zeroed)
{
	const int result = ash_zone_extend_run(z, pfn, nr, mt, zeroed);

	return result == 0 && nr > 1 ? -ASH_EBUSY : result;
}

static int report_one_order_less(struct ash_zone *z, unsigned min_order, unsigned max_order, ash_pfn_t *pfn,
				 unsigned *order)
{
	return ash_zone_report_begin_max(z, min_order > 0 ? min_order - 1 : 0, max_order, pfn, order);
}

static int report_unbounded(struct ash_zone *z, unsigned min_order, unsigned max_order, ash_pfn_t *pfn, unsigned *order)
{
	(void)max_order;
	return ash_zone_report_begin(z, min_order, pfn, order);
}

static ash_pfn_t free_tail_one_more(struct ash_zone *z, ash_pfn_t end)
{
	const ash_pfn_t start = ash_zone_free_tail(z, end);

	return start > 0 ? start - 1 : start;
}

static void report_says_zeroed(struct ash_zone *z, ash_pfn_t pfn, unsigned order, bool zeroed)
{
	(void)zeroed;
	ash_zone_report_end(z, pfn, order, true);
}

static void trylock_leaks(struct ash_zone *z, ash_pfn_t pfn, unsigned order, unsigned cpu)
{
	if (++calls % 10 != 0)
		ash_zone_free_trylock(z, pfn, order, cpu);
}

static int offline_does_nothing(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, bool *zeroed,
				struct ash_busy_list *busy)
{
	(void)z;
	(void)start;
	(void)nr;
	(void)busy;
	*zeroed = false;
	return 0;
}

static int offline_says_zeroed(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, bool *zeroed,
			       struct ash_busy_list *busy)
{
	const int result = ash_zone_offline(z, start, nr, zeroed, busy);

	*zeroed = true;
	return result;
}

static enum ash_compact_result compact_claims_success(struct ash_zone *z, unsigned order, enum ash_migratetype mt,
						      enum ash_compact_mode mode, struct ash_compact_stats *stats)
{
	(void)ash_zone_compact(z, order, mt, mode, stats);
	return ASH_COMPACT_SUCCESS;
}

static void pcp_stays_on(struct ash_zone *z)
{
	(void)z;
}

static void drain_nothing(struct ash_zone *z)
{
	(void)z;
}

static int isolate_nothing(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, enum ash_isolate_mode mode,
			   struct ash_busy_list *busy)
{
	const int result = ash_zone_isolate_range(z, start, nr, mode, busy);

	if (result == 0)
		ash_zone_unisolate_range(z, start, nr);
	return result;
}

static int isolate_too_much(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, enum ash_isolate_mode mode,
			    struct ash_busy_list *busy)
{
	const int result = ash_zone_isolate_range(z, start, nr, mode, busy);
	const ash_pfn_t next = ash_pageblock_end(z, start + nr - 1);

	if (result == 0 && next < z->nr_frames && ash_pageblock_type(z, next) != ASH_MT_ISOLATE)
		(void)!ash_zone_isolate_range(z, next, 1, mode, NULL);
	return result;
}

static int isolate_ignores_what_is_there(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, enum ash_isolate_mode mode,
					 struct ash_busy_list *busy)
{
	const int result = ash_zone_isolate_range(z, start, nr, mode, busy);

	return result == -ASH_EBUSY ? 0 : result;
}

static int isolate_without_reason(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, enum ash_isolate_mode mode,
				  struct ash_busy_list *busy)
{
	(void)busy;
	return ash_zone_isolate_range(z, start, nr, mode, NULL);
}

static void unisolate_one_less(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr)
{
	ash_zone_unisolate_range(z, start, nr > ash_pageblock_frames(z) ? nr - ash_pageblock_frames(z) : nr);
}

/* The kernel's old way: whoever ends the isolation says what type the block had. */
static void unisolate_makes_movable(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr)
{
	ash_zone_unisolate_range(z, start, nr);
	for (ash_pfn_t block = ash_pageblock_start(z, start); block < start + nr; block += ash_pageblock_frames(z)) {
		const enum ash_migratetype mt = ash_pageblock_type(z, block);
		struct ash_pageblock_count n;

		ash_pageblock_count(z, block, &n);
		if (mt == ASH_MT_MOVABLE || n.online < ash_pageblock_frames(z) || n.free > 0)
			continue;
		ash_zone_lock(z);
		ash_pageblock_set_type(z, block, ASH_MT_MOVABLE);
		ash_zone_unlock(z);
	}
}

static int test_range_says_yes(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, struct ash_busy_list *busy)
{
	(void)z;
	(void)start;
	(void)nr;
	(void)busy;
	return 0;
}

static int test_range_says_no(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, struct ash_busy_list *busy)
{
	(void)z;
	(void)start;
	(void)nr;
	(void)busy;
	return -ASH_EBUSY;
}

static int contig_leaks(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, enum ash_migratetype mt,
			enum ash_isolate_mode mode, struct ash_page_grant *grant, struct ash_busy_list *busy)
{
	const int result = ash_zone_alloc_contig_range(z, start, nr, mt, mode, grant, busy);

	if (result != 0)
		return result;
	ash_busy_add(busy, start, nr, ASH_BUSY_TRANSIENT);
	return -ASH_EBUSY;
}

static int contig_stays_isolated(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, enum ash_migratetype mt,
				 enum ash_isolate_mode mode, struct ash_page_grant *grant, struct ash_busy_list *busy)
{
	const int result = ash_zone_alloc_contig_range(z, start, nr, mt, mode, grant, busy);

	if (result == 0 && mt == ASH_MT_MOVABLE)
		(void)!ash_zone_isolate_range(z, start, 1, mode, NULL);
	return result;
}

static int contig_gives_another(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, enum ash_migratetype mt,
				enum ash_isolate_mode mode, struct ash_page_grant *grant, struct ash_busy_list *busy)
{
	const int result = ash_zone_alloc_contig_range(z, start, nr, mt, mode, grant, busy);

	grant->pfn += result == 0;
	return result;
}

static int find_ignores_limits(struct ash_zone *z, const struct ash_contig_request *request,
			       struct ash_page_grant *grant, struct ash_busy_list *busy)
{
	struct ash_contig_request q = *request;

	q.low = q.high = 0;
	return ash_zone_alloc_contig(z, &q, grant, busy);
}

static int find_gives_up(struct ash_zone *z, const struct ash_contig_request *request, struct ash_page_grant *grant,
			 struct ash_busy_list *busy)
{
	const int result = ash_zone_alloc_contig(z, request, grant, busy);

	if (result != 0)
		return result;
	ash_zone_free_run(z, grant->pfn, request->nr);
	return -ASH_ENOMEM;
}

/* --- Liars about movers: what the core does to the model's own mover is disturbed on the way. --- */

static int contig_asks_twice(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, enum ash_migratetype mt,
			     enum ash_isolate_mode mode, struct ash_page_grant *grant, struct ash_busy_list *busy)
{
	const ash_pfn_t head = ash_frame_head(z, start);
	const uint32_t word = head == ASH_PFN_NONE ? 0 : ash_frame_load(z->frames, head);

	/* An isolate that is followed by nothing. */
	if (ash_word_state(word) == ASH_FRAME_USED && ash_word_type(word) == ASH_MT_MOVABLE)
		(void)z->ops->mover->isolate(z, head, ash_word_order(word));
	return ash_zone_alloc_contig_range(z, start, nr, mt, mode, grant, busy);
}

static int contig_moves_the_unmovable(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, enum ash_migratetype mt,
				      enum ash_isolate_mode mode, struct ash_page_grant *grant,
				      struct ash_busy_list *busy)
{
	const ash_pfn_t head = ash_frame_head(z, start);
	const uint32_t word = head == ASH_PFN_NONE ? 0 : ash_frame_load(z->frames, head);

	if (ash_word_state(word) == ASH_FRAME_USED && ash_word_type(word) != ASH_MT_MOVABLE)
		(void)z->ops->mover->isolate(z, head, ash_word_order(word));
	return ash_zone_alloc_contig_range(z, start, nr, mt, mode, grant, busy);
}

static int contig_moves_what_is_free(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, enum ash_migratetype mt,
				     enum ash_isolate_mode mode, struct ash_page_grant *grant,
				     struct ash_busy_list *busy)
{
	const ash_pfn_t head = ash_frame_head(z, start);

	if (head != ASH_PFN_NONE && ash_word_state(ash_frame_load(z->frames, head)) == ASH_FRAME_BUDDY)
		(void)z->ops->mover->isolate(z, head, 0);
	return ash_zone_alloc_contig_range(z, start, nr, mt, mode, grant, busy);
}

static int contig_puts_back_unasked(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, enum ash_migratetype mt,
				    enum ash_isolate_mode mode, struct ash_page_grant *grant,
				    struct ash_busy_list *busy)
{
	const int result = ash_zone_alloc_contig_range(z, start, nr, mt, mode, grant, busy);

	if (result != 0)
		z->ops->mover->putback(z, start, 0);
	return result;
}

static int contig_shrinks_the_unmovable(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, enum ash_migratetype mt,
					enum ash_isolate_mode mode, struct ash_page_grant *grant,
					struct ash_busy_list *busy)
{
	const ash_pfn_t head = ash_frame_head(z, start);
	const uint32_t word = head == ASH_PFN_NONE ? 0 : ash_frame_load(z->frames, head);

	if (ash_word_state(word) == ASH_FRAME_USED && ash_word_type(word) == ASH_MT_UNMOVABLE)
		(void)z->ops->shrinker->drop(z, head, ash_word_order(word));
	return ash_zone_alloc_contig_range(z, start, nr, mt, mode, grant, busy);
}

static int contig_migrates_unasked(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, enum ash_migratetype mt,
				   enum ash_isolate_mode mode, struct ash_page_grant *grant, struct ash_busy_list *busy)
{
	(void)z->ops->mover->migrate(z, start, start ^ 1, 0);
	return ash_zone_alloc_contig_range(z, start, nr, mt, mode, grant, busy);
}

/* --- The trap: random operations until something is said --- */

/* True when an error came of this seed; *w then holds it. */
static bool caught_with_seed(struct hosted_world *w, uint64_t seed)
{
	uint64_t rng = seed;
	bool good;

	calls = 0;
	good = hosted_reset(w);
	EXPECT(good);
	for (unsigned i = 0; good && i < 5000; i++) {
		const struct model_op op = model_random_op(w->m, &rng);

		good = hosted_step(w, &op);
	}
	return !good || !hosted_finish(w);
}

/* what: the beginning of the sentence; a '|' separates two that both are the right ones. */
static bool says(const char *sentence, const char *what)
{
	const char *bar = strchr(what, '|');

	if (bar == NULL)
		return strstr(sentence, what) != NULL;
	return strncmp(sentence, what, (size_t)(bar - what)) == 0 || says(sentence, bar + 1);
}

static void expect_caught(const struct model_target *target, const char *what, int invariant)
{
	static const struct model_config whole = { .geometry = { 3, 5 }, .nr_frames = 128, .online_nr = 96,
						   .nr_cpus = 1 };
	struct model_config config = whole;
	struct hosted_world w;
	uint64_t seed = test_seed;

	config.target = target;
	config.shrinks = target->contig == contig_shrinks_the_unmovable;
	hosted_open(&w, &config);
	for (unsigned i = 0; !caught_with_seed(&w, seed); i++) {
		if (i == 20)
			TEST_FAIL("the planted bug went unnoticed");
		seed = test_random(&seed);
	}
	if (!says(w.m->error.what, what) || w.m->error.invariant != invariant)
		TEST_FAIL("expected \"%s\" (I%d), got \"%s\" (I%d)", what, invariant, w.m->error.what,
			  w.m->error.invariant);
	hosted_close(&w);
}

#define CAUGHT(member, liar, what, invariant)                                                                          \
	TEST(caught_##liar)                                                                                            \
	{                                                                                                              \
		struct model_target target = model_core;                                                               \
                                                                                                                       \
		target.member = liar;                                                                                  \
		expect_caught(&target, what, invariant);                                                               \
	}

CAUGHT(alloc, alloc_again, "M1: a granted frame is owned", 0)
CAUGHT(alloc, alloc_misaligned, "M1: a grant is not aligned", 0)
CAUGHT(alloc, alloc_outside, "M1: a grant reaches outside the span", 0)
CAUGHT(alloc, alloc_says_zeroed, "M2:", 0)
CAUGHT(alloc, alloc_fragments, "M3:", 0)
CAUGHT(alloc, alloc_gives_up, "M7: an allocation failed though", 0)
CAUGHT(alloc, alloc_fails_after_taking, "M7: a failed operation changed the zone", 0)
CAUGHT(alloc, alloc_retypes_a_neighbour, "M3:", 0)
CAUGHT(free, free_retypes_a_used_block, "M4:", 0)
CAUGHT(free, free_leaks, "M5: free and pcp frames are not the unowned", 0)
CAUGHT(free_run, free_run_forgets_the_tail, "M5: free and pcp frames are not the unowned", 0)
CAUGHT(free, free_takes_a_neighbour, "M5: the zone and the model disagree", 0)
CAUGHT(free, free_breaks_a_link, "back link broken", 2)
CAUGHT(free, free_moves_the_free_counter, "M5: NR_FREE_PAGES is not", 0)
CAUGHT(free, free_moves_the_blocks_counter, "M5: NR_FREE_PAGES_BLOCKS is not", 0)
CAUGHT(free, free_moves_the_isolate_counter, "nr_isolate", 8)
CAUGHT(online, online_moves_present, "M5: present is not", 0)
CAUGHT(online, online_never, "M7: online of an offline range failed", 0)
CAUGHT(online, online_always, "M7: online of an offline range failed, or of another range succeeded", 0)
CAUGHT(extend_run, extend_does_nothing, "M1: a granted frame is owned|M5:", 0)
CAUGHT(extend_run, extend_keeps_what_it_refuses, "M7: a failed operation changed the zone", 0)
CAUGHT(report_begin, report_one_order_less, "M1: a reported buddy is smaller or larger", 0)
CAUGHT(report_begin, report_unbounded, "M1: a reported buddy is smaller or larger", 0)
CAUGHT(free_tail, free_tail_one_more, "M5: free memory begins elsewhere", 0)
CAUGHT(report_end, report_says_zeroed, "M5: the zone and the model disagree", 0)
CAUGHT(isolate, isolate_nothing, "M8: a pageblock is isolated that should not be", 0)
CAUGHT(isolate, isolate_too_much, "M8: a pageblock is isolated that should not be", 0)
CAUGHT(isolate, isolate_ignores_what_is_there, "M8: isolating succeeded where it may not", 0)
CAUGHT(isolate, isolate_without_reason, "M8: a range was refused without a reason", 0)
CAUGHT(unisolate, unisolate_one_less, "M8: a pageblock is isolated that should not be", 0)
CAUGHT(unisolate, unisolate_makes_movable, "M4: a pageblock changed its type unasked", 0)
CAUGHT(test_range, test_range_says_yes, "M8: a range passes for isolated", 0)
CAUGHT(test_range, test_range_says_no, "M8: an isolated and free range does not pass", 0)
CAUGHT(contig, contig_leaks, "M7:|M5: free and pcp", 0)
CAUGHT(contig, contig_stays_isolated, "M3:", 0)
CAUGHT(contig, contig_gives_another, "M8: a contiguous range was taken that may not be", 0)
CAUGHT(contig_find, find_ignores_limits, "M1: a contiguous range breaks its limits", 0)
CAUGHT(contig_find, find_gives_up, "M7: no place was found", 0)
CAUGHT(contig, contig_asks_twice, "M9: a grant was isolated and neither moved nor put back", 0)
CAUGHT(contig, contig_moves_the_unmovable, "M9: a mover was asked for something else", 0)
CAUGHT(contig, contig_moves_what_is_free, "M9: a mover was asked for a frame that nobody owns", 0)
CAUGHT(contig, contig_puts_back_unasked, "M9: something is put back", 0)
CAUGHT(contig, contig_migrates_unasked, "M9: a grant is migrated that was not isolated", 0)
CAUGHT(contig, contig_shrinks_the_unmovable, "M9: a shrinker was asked for something else", 0)
CAUGHT(free_trylock, trylock_leaks, "M5: free and pcp", 0)
CAUGHT(offline, offline_does_nothing, "M8: pageblocks were taken offline|M8: a pageblock|M5:", 0)
CAUGHT(offline, offline_says_zeroed, "M2: pageblocks taken offline", 0)
CAUGHT(compact, compact_claims_success, "M7: compaction claims", 0)
CAUGHT(pcp_disable, pcp_stays_on, "M5: a pcp that is switched off", 0)
CAUGHT(drain, drain_nothing, "M5: frames are missing", 0)
