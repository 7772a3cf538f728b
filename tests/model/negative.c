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
	return ++calls == 30 ? -ASH_ENOMEM : ash_zone_alloc(z, order, mt, flags, cpu, grant);
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
			const ash_pfn_t first = z->freelist[o][mt].first[0];

			if (z->freelist[o][mt].nr > 2 && first != ASH_PFN_NONE) {
				z->frames[first].next = z->frames[z->frames[first].next].next;
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

static int report_one_order_less(struct ash_zone *z, unsigned min_order, ash_pfn_t *pfn, unsigned *order)
{
	return ash_zone_report_begin(z, min_order > 0 ? min_order - 1 : 0, pfn, order);
}

static void report_says_zeroed(struct ash_zone *z, ash_pfn_t pfn, unsigned order, bool zeroed)
{
	(void)zeroed;
	ash_zone_report_end(z, pfn, order, true);
}

static void drain_nothing(struct ash_zone *z)
{
	(void)z;
}

/* --- The trap: random operations until something is said --- */

static void expect_caught(const struct model_target *target, const char *what, int invariant)
{
	static const struct model_config whole = { .geometry = { 3, 5 }, .nr_frames = 128, .online_nr = 96, .nr_cpus = 1 };
	struct model_config config = whole;
	struct hosted_world w;
	uint64_t rng = test_seed;
	bool good = true;

	config.target = target;
	hosted_open(&w, &config);
	calls = 0;
	good = hosted_reset(&w);
	EXPECT(good);
	for (unsigned i = 0; good && i < 20000; i++) {
		const struct model_op op = model_random_op(w.m, &rng);

		good = hosted_step(&w, &op);
	}
	if (good && hosted_finish(&w))
		TEST_FAIL("the planted bug went unnoticed");
	if (strstr(w.m->error.what, what) == NULL || w.m->error.invariant != invariant)
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
CAUGHT(extend_run, extend_does_nothing, "M1: a granted frame is owned", 0)
CAUGHT(extend_run, extend_keeps_what_it_refuses, "M7: a failed operation changed the zone", 0)
CAUGHT(report_begin, report_one_order_less, "M1: a reported buddy is smaller", 0)
CAUGHT(report_end, report_says_zeroed, "M5: the zone and the model disagree", 0)
CAUGHT(drain, drain_nothing, "M5: frames are missing", 0)
