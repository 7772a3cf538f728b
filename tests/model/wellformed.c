/* SPDX-License-Identifier: MIT */
/*
 * Split, merge and the door of the freelists, proved for small zones: from every well-formed state, not only from those
 * that some history reaches (explore.c has these). A bounded model checker would show the same of the same bound.
 *
 * A state is a division of the zone into aligned pieces, each free or allocated, zeroed or not, and a type and isolate
 * bit per pageblock, such that every free piece of whole pageblocks has one type. It need not be merged as far as it
 * could be. The core's answer to one operation is compared, frame by frame, with what a specification of a few lines
 * says of the same state; the core's own checks of every list are compiled in, and the walker has to agree.
 */
#include "harness/test.h"
#include "page/buddy.h"

#include <limits.h>

#define MIN_PAGEBLOCK_ORDER 2
#define MAX_FRAMES 16
#define MAX_BLOCKS (MAX_FRAMES >> MIN_PAGEBLOCK_ORDER)
#define MAX_LISTED (MAX_FRAMES + ASH_MT_NR * ASH_NR_ORDERS * 2) /* buddies and ends of lists */

/* One frame of a state: only the first of a piece says anything. */
struct piece {
	uint8_t order;
	bool head, free, zeroed;
};

struct state {
	struct piece at[MAX_FRAMES];
	uint8_t type[MAX_BLOCKS]; /* as a reader is told it */
};

/* The functions under proof; the negative tests put something else here. */
struct subject {
	void (*free)(struct ash_zone *z, ash_pfn_t pfn, unsigned order, enum ash_migratetype mt, unsigned flags);
	struct ash_taken (*take)(struct ash_zone *z, unsigned order, enum ash_migratetype mt);
	unsigned (*row)(struct ash_zone *z, unsigned order, enum ash_migratetype mt, unsigned nr,
			struct ash_taken *taken);
	void (*range)(struct ash_zone *z, ash_pfn_t start, ash_pfn_t end, unsigned flags);
};

static const struct subject core = { ash_buddy_free_one, ash_buddy_take_smallest, ash_buddy_take_row,
				     ash_buddy_free_range };

static struct {
	ash_pfn_t nr_frames;
	unsigned pageblock_order, max_order, nr_blocks;
	bool zeroes; /* free pieces are zeroed or not; else none is, to begin with */
	const struct subject *subject;
	struct state state;
	uint64_t states, operations;
	const char *wrong; /* what the core did that the specification does not, or NULL */
	struct ash_frame frames[MAX_FRAMES + (MAX_FRAMES >> ASH_FRAME_SKEW_ORDER) * ASH_FRAME_SKEW];
	_Atomic uint8_t pageblocks[MAX_BLOCKS];
	struct ash_zone zone;
} p;

static jmp_buf bug; /* where a report of the core's own checks ends */

static void on_bug(const struct ash_zone *z, const char *what, ash_pfn_t pfn, unsigned long a, unsigned long b)
{
	(void)z, (void)pfn, (void)a, (void)b;
	p.wrong = what;
	longjmp(bug, 1);
}

static const struct ash_zone_ops ops = { .bug = on_bug };

static unsigned block_of(ash_pfn_t pfn)
{
	return pfn >> p.pageblock_order;
}

static bool mergeable(unsigned mt)
{
	return mt == ASH_MT_UNMOVABLE || mt == ASH_MT_MOVABLE || mt == ASH_MT_RECLAIMABLE;
}

/* --- The specification --- */

static void spec_free(struct state *s, ash_pfn_t pfn, unsigned order, bool zeroed)
{
	const uint8_t mt = s->type[block_of(pfn)];

	for (; order < p.max_order; order++) {
		const ash_pfn_t buddy = pfn ^ (1u << order);
		struct piece *b = &s->at[buddy];

		if (buddy >= p.nr_frames || !b->head || !b->free || b->order != order)
			break;
		if (order >= p.pageblock_order && s->type[block_of(buddy)] != mt &&
		    !(mergeable(mt) && mergeable(s->type[block_of(buddy)])))
			break;
		zeroed = zeroed && b->zeroed;
		s->at[pfn].head = b->head = false;
		for (ash_pfn_t i = buddy; i < buddy + (1u << order); i++)
			s->type[block_of(i)] = mt;
		pfn &= ~(1u << order);
	}
	s->at[pfn] = (struct piece){ .order = (uint8_t)order, .head = true, .free = true, .zeroed = zeroed };
}

/* Out of the buddy at `from`, its first part of this order. */
static void spec_take(struct state *s, ash_pfn_t from, unsigned order)
{
	const bool zeroed = s->at[from].zeroed;

	for (unsigned o = s->at[from].order; o-- > order;)
		s->at[from + (1u << o)] = (struct piece){ .order = (uint8_t)o, .head = true, .free = true,
							  .zeroed = zeroed };
	s->at[from] = (struct piece){ .order = (uint8_t)order, .head = true };
}

/* The smallest order of at least `order` with a buddy of the type, or UINT_MAX. */
static unsigned spec_smallest(const struct state *s, unsigned order, unsigned mt)
{
	unsigned found = UINT_MAX;

	for (ash_pfn_t pfn = 0; pfn < p.nr_frames; pfn++) {
		const struct piece *f = &s->at[pfn];

		if (f->head && f->free && s->type[block_of(pfn)] == mt && f->order >= order && f->order < found)
			found = f->order;
	}
	return found;
}

/* The naturally aligned pieces of [start, end), in ascending order, each pageblock with the type it has then. */
static void spec_free_range(struct state *s, ash_pfn_t start, ash_pfn_t end, bool zeroed)
{
	while (start < end) {
		unsigned order = 0;

		while (order < p.max_order && (start & (1u << order)) == 0 && start + (2u << order) <= end &&
		       (order < p.pageblock_order ||
			s->type[block_of(start)] == s->type[block_of(start + (1u << order))]))
			order++;
		spec_free(s, start, order, zeroed);
		start += 1u << order;
	}
}

/* --- From a state to a zone, and back --- */

static void build(const struct state *s)
{
	const struct ash_zone_config config = {
		.nr_frames = p.nr_frames,
		.geometry = { (uint8_t)p.pageblock_order, (uint8_t)p.max_order },
		.frames = p.frames,
		.pageblocks = p.pageblocks,
		.ops = &ops,
	};

	memset(p.frames, 0, sizeof(p.frames));
	memset((void *)p.pageblocks, 0, sizeof(p.pageblocks));
	if (ash_zone_init(&p.zone, &config) != 0)
		TEST_FAIL("no zone");
	ash_zone_lock(&p.zone);
	ash_counter_add(&p.zone.present, p.nr_frames);
	p.zone.reach = p.nr_frames;
	for (unsigned b = 0; b < p.nr_blocks; b++) {
		const bool isolated = s->type[b] == ASH_MT_ISOLATE;

		ash_pageblock_set_online(&p.zone, b << p.pageblock_order,
					 isolated ? ASH_MT_MOVABLE : (enum ash_migratetype)s->type[b]);
		if (isolated)
			ash_pageblock_set_isolated(&p.zone, b << p.pageblock_order, true);
	}
	for (ash_pfn_t pfn = 0; pfn < p.nr_frames; pfn++) {
		const struct piece *f = &s->at[pfn];

		if (!f->head)
			continue;
		if (!f->free) {
			ash_frame_store(p.frames, pfn, ash_frame_word(ASH_FRAME_USED, f->order, ASH_MT_MOVABLE, 0));
			continue;
		}
		if (f->order >= p.pageblock_order)
			ash_pageblock_set_zeroed(&p.zone, pfn, f->order, f->zeroed);
		ash_freelist_add(&p.zone, pfn, f->order, (enum ash_migratetype)s->type[block_of(pfn)],
				 f->zeroed ? ash_zeroed_full(&p.zone, f->order) : 0, ASH_LIST_HEAD);
	}
}

static void differs(const char *what)
{
	if (p.wrong == NULL)
		p.wrong = what;
}

static void compare(const struct state *s)
{
	struct ash_zone_fault fault;

	for (unsigned b = 0; b < p.nr_blocks; b++) {
		if (ash_pageblock_type(&p.zone, b << p.pageblock_order) != s->type[b])
			differs("the type of a pageblock");
	}
	for (ash_pfn_t pfn = 0; pfn < p.nr_frames; pfn++) {
		const uint32_t word = ash_frame_load(p.frames, pfn);
		const struct piece *f = &s->at[pfn];

		if ((ash_word_state(word) != ASH_FRAME_NONE) != f->head)
			differs("where pieces begin");
		else if (f->head && (ash_word_order(word) != f->order ||
				     (ash_word_state(word) == ASH_FRAME_BUDDY) != f->free))
			differs("what a piece is");
		else if (f->head && f->free && f->order < p.pageblock_order && ash_word_zeroed(word) != f->zeroed)
			differs("whether a piece is zeroed");
	}
	ash_zone_unlock(&p.zone);
	if (ash_zone_check(&p.zone, &fault) != 0)
		differs(fault.what);
	p.operations++;
}

/* --- Operations --- */

static void frees(const struct state *s, ash_pfn_t pfn)
{
	const unsigned order = s->at[pfn].order;
	struct state after;

	/* A piece of several pageblocks of several types is freed block by block, by who calls this. */
	for (ash_pfn_t i = pfn; i < pfn + (1u << order); i++) {
		if (s->type[block_of(i)] != s->type[block_of(pfn)])
			return;
	}
	for (unsigned zeroed = 0; zeroed < 2; zeroed++) {
		build(s);
		after = *s;
		spec_free(&after, pfn, order, zeroed != 0);
		ash_frame_store(p.frames, pfn, 0);
		p.subject->free(&p.zone, pfn, order, (enum ash_migratetype)s->type[block_of(pfn)],
				zeroed ? ASH_FREE_ZEROED : 0);
		compare(&after);
	}
}

/* What is on each list, in its order. */
static void write_lists(ash_pfn_t *out)
{
	for (unsigned i = 0; i < ASH_MT_NR * ASH_NR_ORDERS * 2; i++) {
		ash_pfn_t pfn = p.zone.freelist[i / 2 / ASH_NR_ORDERS][i / 2 % ASH_NR_ORDERS].first[i % 2];

		for (; pfn != ASH_PFN_NONE; pfn = ash_frame_at(p.frames, pfn)->next)
			*out++ = pfn;
		*out++ = ASH_PFN_NONE;
	}
}

/* The pieces of [start, end), all allocated, at once; and one by one, which has to leave every list as it is then. */
static void frees_range(const struct state *s, ash_pfn_t start, ash_pfn_t end, unsigned flags)
{
	static ash_pfn_t at_once[MAX_LISTED], one_by_one[MAX_LISTED];
	struct state after = *s;

	for (ash_pfn_t pfn = start; pfn < end; pfn++)
		after.at[pfn].head = false;
	spec_free_range(&after, start, end, (flags & ASH_FREE_ZEROED) != 0);
	for (unsigned how = 0; how < 2; how++) {
		build(s);
		for (ash_pfn_t pfn = start; pfn < end; pfn++)
			ash_frame_store(p.frames, pfn, 0);
		if (how == 0)
			p.subject->range(&p.zone, start, end, flags);
		for (ash_pfn_t pfn = start; how == 1 && pfn < end;) {
			const unsigned order = ash_piece_order(pfn, end, p.max_order);

			ash_buddy_free(&p.zone, pfn, order, flags);
			pfn += 1u << order;
		}
		write_lists(how == 0 ? at_once : one_by_one);
		compare(&after);
	}
	if (memcmp(at_once, one_by_one, sizeof(at_once)) != 0)
		differs("the order of a list");
}

static void takes(const struct state *s, unsigned order, unsigned mt)
{
	const unsigned found = spec_smallest(s, order, mt);
	struct ash_taken taken;
	struct state after;

	build(s);
	after = *s;
	taken = p.subject->take(&p.zone, order, (enum ash_migratetype)mt);
	if ((taken.pfn == ASH_PFN_NONE) != (found == UINT_MAX))
		differs("whether there is anything to take");
	else if (found != UINT_MAX && (!s->at[taken.pfn].head || !s->at[taken.pfn].free ||
				       s->at[taken.pfn].order != found ||
				       s->type[block_of(taken.pfn)] != mt))
		differs("what was taken from");
	else if (found != UINT_MAX)
		spec_take(&after, taken.pfn, order);
	if (taken.pfn != ASH_PFN_NONE)
		ash_frame_store(p.frames, taken.pfn, ash_frame_word(ASH_FRAME_USED, order, ASH_MT_MOVABLE, 0));
	compare(&after);
}

static void takes_row(const struct state *s, unsigned order, unsigned mt, unsigned nr)
{
	const unsigned found = spec_smallest(s, order, mt);
	struct ash_taken taken;
	struct state after;
	unsigned n;

	build(s);
	after = *s;
	n = p.subject->row(&p.zone, order, (enum ash_migratetype)mt, nr, &taken);
	if ((n == 0) != (found == UINT_MAX) || n > nr)
		differs("how many were taken");
	for (unsigned i = 0; i < n; i++) {
		const ash_pfn_t pfn = taken.pfn + (i << order);

		/* The next piece of the row is what taking one by one would give: the smallest there is. */
		if (pfn >= p.nr_frames || !after.at[pfn].head || !after.at[pfn].free ||
		    after.at[pfn].order != spec_smallest(&after, order, mt)) {
			differs("what was taken in a row");
			break;
		}
		spec_take(&after, pfn, order);
		ash_frame_store(p.frames, pfn, ash_frame_word(ASH_FRAME_USED, order, ASH_MT_MOVABLE, 0));
	}
	compare(&after);
}

/* Through the door and back, and to another type's list and back: nothing has changed. */
static void passes_the_door(const struct state *s, ash_pfn_t pfn)
{
	const unsigned order = s->at[pfn].order;
	const enum ash_migratetype mt = (enum ash_migratetype)s->type[block_of(pfn)];
	unsigned zeroed;

	build(s);
	zeroed = ash_freelist_del(&p.zone, pfn, order, mt);
	ash_freelist_add(&p.zone, pfn, order, mt, zeroed, ASH_LIST_TAIL);
	compare(s);
}

static void every_operation(const struct state *s)
{
	p.states++;
	for (ash_pfn_t pfn = 0; pfn < p.nr_frames; pfn++) {
		if (s->at[pfn].head && !s->at[pfn].free)
			frees(s, pfn);
		else if (s->at[pfn].head)
			passes_the_door(s, pfn);
		for (ash_pfn_t end = pfn; end < p.nr_frames && s->at[end].head && !s->at[end].free;) {
			end += 1u << s->at[end].order;
			frees_range(s, pfn, end, 0);
			frees_range(s, pfn, end, ASH_FREE_ZEROED | ASH_FREE_TAIL);
		}
	}
	for (unsigned order = 0; order <= p.max_order; order++) {
		for (unsigned mt = 0; mt < ASH_MT_ISOLATE; mt++) {
			takes(s, order, mt);
			for (unsigned nr = 2; nr <= 1u << (p.max_order - order); nr = 2 * nr - 1)
				takes_row(s, order, mt, nr);
		}
	}
}

/* --- Every well-formed state --- */

static void divide(ash_pfn_t pfn);

/* The piece (pfn, order), as each of the things it can be, and then the rest. */
static void place(ash_pfn_t pfn, unsigned order)
{
	bool uniform = true;

	for (ash_pfn_t i = pfn; i < pfn + (1u << order); i++)
		uniform = uniform && p.state.type[block_of(i)] == p.state.type[block_of(pfn)];
	for (unsigned what = 0; what < (p.zeroes ? 3 : 2) && p.wrong == NULL; what++) {
		if (what > 0 && !uniform)
			break;
		p.state.at[pfn] = (struct piece){ .order = (uint8_t)order, .head = true, .free = what > 0,
						  .zeroed = what == 2 };
		divide(pfn + (1u << order));
	}
	p.state.at[pfn].head = false;
}

static void divide(ash_pfn_t pfn)
{
	if (p.wrong != NULL)
		return;
	if (pfn == p.nr_frames) {
		every_operation(&p.state);
		return;
	}
	for (unsigned order = 0; order <= p.max_order && (pfn & ((1u << order) - 1)) == 0 &&
	     pfn + (1u << order) <= p.nr_frames;
	     order++)
		place(pfn, order);
}

static void prove(const struct subject *subject, ash_pfn_t nr_frames, unsigned pageblock_order, unsigned max_order,
		  const char *types)
{
	static const char letters[] = "UMRHCI";
	const unsigned nr_types = (unsigned)strlen(types);
	static unsigned combinations; /* survives longjmp */

	combinations = 1;
	memset(&p, 0, sizeof(p));
	p.subject = subject;
	p.nr_frames = nr_frames;
	p.pageblock_order = pageblock_order;
	p.zeroes = nr_frames <= 1u << p.pageblock_order || getenv("ASH_TEST_LONG") != NULL;
	p.max_order = max_order;
	p.nr_blocks = nr_frames >> p.pageblock_order;
	for (unsigned b = 0; b < p.nr_blocks; b++)
		combinations *= nr_types;
	if (setjmp(bug) != 0)
		return;
	for (unsigned c = 0; c < combinations && p.wrong == NULL; c++) {
		for (unsigned b = 0, rest = c; b < p.nr_blocks; b++, rest /= nr_types)
			p.state.type[b] = (uint8_t)(strchr(letters, types[rest % nr_types]) - letters);
		divide(0);
	}
}

static void prove_core(ash_pfn_t nr_frames, unsigned pageblock_order, unsigned max_order, const char *types)
{
	prove(&core, nr_frames, pageblock_order, max_order, types);
	printf("# %u frames, orders %u and %u, types %s: %llu states, %llu operations\n", nr_frames,
	       pageblock_order, max_order, types, (unsigned long long)p.states, (unsigned long long)p.operations);
	if (p.wrong != NULL)
		TEST_FAIL("not as specified: %s", p.wrong);
}

TEST(one_pageblock)
{
	prove_core(4, 2, 2, "UMRHCI");
}

TEST(two_pageblocks_that_do_not_merge)
{
	prove_core(8, 2, 2, getenv("ASH_TEST_LONG") != NULL ? "UMRHCI" : "UHI");
}

TEST(two_pageblocks_that_merge)
{
	prove_core(8, 2, 3, getenv("ASH_TEST_LONG") != NULL ? "UMRHCI" : "UMC");
}

TEST(one_pageblock_of_eight)
{
	prove_core(8, 3, 3, "U");
}

/* --- What must be found --- */

static void free_without_merging(struct ash_zone *z, ash_pfn_t pfn, unsigned order, enum ash_migratetype mt,
				 unsigned flags)
{
	if (order >= z->pageblock_order)
		ash_pageblock_set_zeroed(z, pfn, order, (flags & ASH_FREE_ZEROED) != 0);
	ash_freelist_add(z, pfn, order, mt, (flags & ASH_FREE_ZEROED) ? ash_zeroed_full(z, order) : 0, ASH_LIST_HEAD);
}

/* What Linux 6.10 to 6.19 did where max_order - pageblock_order is 2 and more; seen here with the first block. */
static void free_that_forgets_to_retype(struct ash_zone *z, ash_pfn_t pfn, unsigned order, enum ash_migratetype mt,
					unsigned flags)
{
	const enum ash_migratetype first = ash_pageblock_type(z, 0);

	ash_buddy_free_one(z, pfn, order, mt, flags);
	if (ash_word_order(ash_frame_load(z->frames, 0)) > z->pageblock_order && first != ASH_MT_ISOLATE)
		ash_pageblock_set_type(z, 0, first);
}

static void free_that_says_zeroed(struct ash_zone *z, ash_pfn_t pfn, unsigned order, enum ash_migratetype mt,
				  unsigned flags)
{
	ash_buddy_free_one(z, pfn, order, mt, order == 0 ? flags | ASH_FREE_ZEROED : flags);
}

static struct ash_taken take_the_largest(struct ash_zone *z, unsigned order, enum ash_migratetype mt)
{
	const uint32_t orders = ash_freelist_orders(z, mt) >> order << order;
	unsigned found;

	if (orders == 0)
		return (struct ash_taken){ ASH_PFN_NONE, 0 };
	found = 31u - (unsigned)__builtin_clz(orders);
	return ash_buddy_take(z, ash_freelist_first(z, found, mt), order, found, mt);
}

static unsigned row_that_keeps_the_rest(struct ash_zone *z, unsigned order, enum ash_migratetype mt, unsigned nr,
					struct ash_taken *taken)
{
	const unsigned n = ash_buddy_take_row(z, order, mt, nr, taken);

	return n > 1 ? n - 1 : n;
}

static void expect_found(struct subject lie)
{
	static struct subject subject;

	subject = lie;
	prove(&subject, 8, 2, 3, "UM");
	if (p.wrong == NULL)
		TEST_FAIL("the planted bug went unnoticed in %llu states", (unsigned long long)p.states);
	printf("# found after %llu states: %s\n", (unsigned long long)p.states, p.wrong);
}

TEST(a_free_without_merging_is_found)
{
	expect_found((struct subject){ free_without_merging, core.take, core.row, core.range });
}

TEST(a_merge_that_leaves_a_block_its_type_is_found)
{
	expect_found((struct subject){ free_that_forgets_to_retype, core.take, core.row, core.range });
}

TEST(a_free_that_says_zeroed_of_what_is_not_is_found)
{
	expect_found((struct subject){ free_that_says_zeroed, core.take, core.row, core.range });
}

TEST(a_split_of_the_wrong_buddy_is_found)
{
	expect_found((struct subject){ core.free, take_the_largest, core.row, core.range });
}

TEST(a_row_that_loses_a_piece_is_found)
{
	expect_found((struct subject){ core.free, core.take, row_that_keeps_the_rest, core.range });
}

/* Merges as it must, but lists the pieces from the last to the first. */
static void range_from_its_end(struct ash_zone *z, ash_pfn_t start, ash_pfn_t end, unsigned flags)
{
	while (start < end) {
		const unsigned align = (unsigned)__builtin_ctz(end);
		unsigned order = 31u - (unsigned)__builtin_clz(end - start);

		order = order < align ? order : align;
		order = order < z->max_order ? order : z->max_order;
		end -= ash_order_frames(order);
		ash_buddy_free(z, end, order, flags);
	}
}

TEST(a_range_that_is_listed_in_another_order_is_found)
{
	expect_found((struct subject){ core.free, core.take, core.row, range_from_its_end });
}

static void range_that_does_not_merge(struct ash_zone *z, ash_pfn_t start, ash_pfn_t end, unsigned flags)
{
	for (; start < end; start++)
		free_without_merging(z, start, 0, ash_pageblock_type(z, start), flags);
}

TEST(a_range_that_does_not_merge_is_found)
{
	expect_found((struct subject){ core.free, core.take, core.row, range_that_does_not_merge });
}
