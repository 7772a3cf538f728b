/* SPDX-License-Identifier: MIT */
/*
 * The invariant walker.
 *
 * Two walks that must tell the same story: over the frames, piece by piece, and over the lists, link by link. The walk
 * over the frames counts what the lists should hold; the counters must equal both.
 *
 *      I1 a buddy is on the list of its order and of the type of every pageblock it covers
 *      I2 pieces are aligned, inside the span, do not overlap, and their inner frames head nothing
 *      I3 what reaches over a pageblock border begins on one
 *      I5 a buddy that covers a HIGHATOMIC, CMA or isolated pageblock covers only such
 *      I6 every counter equals what it counts
 *      I8 the count of isolated pageblocks equals the isolate bits
 *      I9 free, cached, allocated and held frames make up what is present
 *
 * I4 and I7 are about transitions, not states; the tests watch them. A walker cannot see a double allocation whose sums
 * agree: that is the reference model's part.
 */
#include "page/pcp.h"

struct walk {
	struct ash_zone *z;
	struct ash_zone_fault *fault;
	uint64_t frames, free, free_blocks, free_zeroed, free_cma, free_highatomic, pcp, guard, isolated;
	uint64_t buddies[ASH_NR_ORDERS][ASH_MT_NR];
	uint64_t blocks[ASH_MT_NR];
};

static bool fail(struct walk *w, int invariant, ash_pfn_t pfn, const char *what, uint64_t a, uint64_t b)
{
	*w->fault = (struct ash_zone_fault){ invariant, pfn, what, (unsigned long)a, (unsigned long)b };
	return false;
}

static bool check_buddy(struct walk *w, ash_pfn_t pfn, uint32_t word)
{
	const struct ash_zone *z = w->z;
	const unsigned order = ash_word_order(word);
	const enum ash_migratetype mt = ash_word_type(word);
	const ash_pfn_t n = ash_order_frames(order);
	const unsigned zeroed = ash_frame_at(z->frames, pfn)->private;

	for (ash_pfn_t b = pfn; b - pfn < n; b += ash_pageblock_frames(z)) {
		if (ash_pageblock_type(z, b) == mt)
			continue;
		if (b != pfn && !(ash_mt_mergeable(mt) && ash_mt_mergeable(ash_pageblock_type(z, b))))
			return fail(w, 5, b, "a buddy of unmergeable and other pageblocks", mt,
				    ash_pageblock_type(z, b));
		return fail(w, 1, b, "pageblock type is not the buddy's", ash_pageblock_type(z, b), mt);
	}
	if (order >= z->pageblock_order && zeroed != ash_pageblock_count_zeroed(z, pfn, order))
		return fail(w, 6, pfn, "zeroed pageblocks of a buddy", zeroed,
			    ash_pageblock_count_zeroed(z, pfn, order));
	if (ash_word_zeroed(word) != (zeroed == ash_zeroed_full(z, order)))
		return fail(w, 6, pfn, "a buddy's zeroed flag", word, zeroed);
	w->buddies[order][mt]++;
	if (mt == ASH_MT_ISOLATE)
		return true;
	w->free += n;
	w->free_cma += mt == ASH_MT_CMA ? n : 0;
	w->free_highatomic += mt == ASH_MT_HIGHATOMIC ? n : 0;
	w->free_blocks += order >= z->pageblock_order ? n : 0;
	w->free_zeroed += order >= z->pageblock_order ? (uint64_t)zeroed << z->pageblock_order : 0;
	return true;
}

static bool check_piece(struct walk *w, ash_pfn_t pfn, uint32_t word)
{
	const struct ash_zone *z = w->z;
	const unsigned order = ash_word_order(word);
	const ash_pfn_t n = ash_order_frames(order);

	if (order > z->max_order || (pfn & (n - 1)) != 0 || z->nr_frames - pfn < n)
		return fail(w, 2, pfn, "piece misaligned or out of the span", word, order);
	if (order < z->pageblock_order && ash_pageblock_start(z, pfn) != ash_pageblock_start(z, pfn + n - 1))
		return fail(w, 3, pfn, "piece crosses a pageblock border", word, order);
	for (ash_pfn_t i = 1; i < n; i++) {
		if (ash_word_state(ash_frame_load(z->frames, pfn + i)) != ASH_FRAME_NONE)
			return fail(w, 2, pfn + i, "a head inside a piece", ash_frame_load(z->frames, pfn + i), word);
	}
	for (ash_pfn_t b = pfn; b - pfn < n; b += ash_pageblock_frames(z)) {
		if (!(ash_pageblock_word(z, b) & ASH_PB_ONLINE))
			return fail(w, 9, b, "a piece in an offline pageblock", word, ash_pageblock_word(z, b));
	}
	w->frames += n;
	switch (ash_word_state(word)) {
	case ASH_FRAME_BUDDY:
		return check_buddy(w, pfn, word);
	case ASH_FRAME_PCP:
		w->pcp += n;
		return true;
	case ASH_FRAME_GUARD:
		w->guard += n;
		return order < z->guard_order || fail(w, 2, pfn, "a guard where there are none", word, order);
	case ASH_FRAME_USED:
	case ASH_FRAME_HELD:
	case ASH_FRAME_DEFERRED:
		return true;
	default:
		return fail(w, 2, pfn, "no such frame state", word, 0);
	}
}

static bool walk_frames(struct walk *w)
{
	const struct ash_zone *z = w->z;
	ash_pfn_t pfn = 0;

	while (pfn < z->nr_frames) {
		const ash_pfn_t end = ash_pageblock_end(z, pfn);
		const unsigned block = ash_pageblock_word(z, pfn);

		if (pfn == ash_pageblock_start(z, pfn)) {
			if (!(block & ASH_PB_ONLINE)) {
				pfn = end;
				continue;
			}
			w->blocks[ash_pageblock_word_type(block)]++;
			w->isolated += (block & ASH_PB_ISOLATE) != 0;
		}
		while (pfn < end) {
			const uint32_t word = ash_frame_load(z->frames, pfn);

			if (ash_word_state(word) == ASH_FRAME_NONE) {
				pfn++;
				continue;
			}
			if (!check_piece(w, pfn, word))
				return false;
			/* Blocks that the piece covers from their first frame on are counted here. */
			for (ash_pfn_t b = pfn + ash_pageblock_frames(z); ash_word_order(word) > z->pageblock_order &&
			     b - pfn < ash_order_frames(ash_word_order(word)); b += ash_pageblock_frames(z)) {
				w->blocks[ash_pageblock_type(z, b)]++;
				w->isolated += ash_pageblock_type(z, b) == ASH_MT_ISOLATE;
			}
			pfn += ash_order_frames(ash_word_order(word));
		}
	}
	return true;
}

static bool walk_list(struct walk *w, unsigned order, unsigned mt, unsigned zeroed, uint64_t *nr)
{
	const struct ash_zone *z = w->z;
	const struct ash_freelist *l = &z->freelist[mt][order];
	ash_pfn_t prev = ASH_PFN_NONE;

	for (ash_pfn_t pfn = l->first[zeroed]; pfn != ASH_PFN_NONE; pfn = ash_frame_at(z->frames, pfn)->next) {
		const uint32_t want = ash_frame_word(ASH_FRAME_BUDDY, order, mt, zeroed ? ASH_FRAME_ZEROED : 0);

		if (pfn >= z->nr_frames)
			return fail(w, 2, pfn, "a list links out of the span", order, mt);
		if (ash_frame_load(z->frames, pfn) != want)
			return fail(w, 1, pfn, "not a buddy of this list", ash_frame_load(z->frames, pfn), want);
		if (ash_frame_at(z->frames, pfn)->prev != prev)
			return fail(w, 2, pfn, "back link broken", ash_frame_at(z->frames, pfn)->prev, prev);
		if (++*nr > l->nr)
			return fail(w, 6, pfn, "list longer than its count", *nr, l->nr);
		prev = pfn;
	}
	if (l->last[zeroed] != prev)
		return fail(w, 2, prev, "list tail broken", l->last[zeroed], prev);
	return true;
}

static bool walk_lists(struct walk *w)
{
	const struct ash_zone *z = w->z;

	for (unsigned order = 0; order < ASH_NR_ORDERS; order++) {
		for (unsigned mt = 0; mt < ASH_MT_NR; mt++) {
			uint64_t nr = 0;

			if (!walk_list(w, order, mt, 0, &nr) || !walk_list(w, order, mt, 1, &nr))
				return false;
			if (nr != z->freelist[mt][order].nr)
				return fail(w, 6, ASH_PFN_NONE, "list count", z->freelist[mt][order].nr, nr);
			if (nr != w->buddies[order][mt])
				return fail(w, 6, ASH_PFN_NONE, "buddies on the list and in the frames", nr,
					    w->buddies[order][mt]);
			if ((nr != 0) != (ash_freelist_orders(z, (enum ash_migratetype)mt) >> order & 1))
				return fail(w, 6, ASH_PFN_NONE, "nonempty bit", order, mt);
		}
	}
	return true;
}

static bool check_tainted(struct walk *w)
{
	const struct ash_zone *z = w->z;
	uint64_t nr_tainted = 0;

	for (uint64_t pfn = 0; z->tainted != NULL && pfn < z->nr_frames; pfn += ash_order_frames(z->max_order)) {
		const uint32_t told = z->tainted[pfn >> z->max_order];
		uint32_t n = 0;

		for (uint64_t b = pfn; b - pfn < ash_order_frames(z->max_order) && b < z->nr_frames;
		     b += ash_pageblock_frames(z))
			n += (ash_pageblock_word(z, (ash_pfn_t)b) & ASH_PB_ONLINE) &&
			     ash_mt_taints(ash_pageblock_stored_type(z, (ash_pfn_t)b));
		if (n != told)
			return fail(w, 6, (ash_pfn_t)pfn, "tainting pageblocks of a superblock", told, n);
		nr_tainted += n > 0;
	}
	return z->nr_tainted == nr_tainted ||
	       fail(w, 6, ASH_PFN_NONE, "tainted superblocks", z->nr_tainted, nr_tainted);
}

/* A magazine within its room, and the room within what it is charged as. */
static bool check_pcps(struct walk *w)
{
	for (unsigned cpu = 0; cpu < w->z->nr_cpus; cpu++) {
		const struct ash_pcp *pcp = &w->z->pcps[cpu];
		uint64_t charged = atomic_load_explicit(&pcp->listed, memory_order_relaxed);

		for (unsigned i = 0; i < ASH_PCP_LISTS; i++) {
			const uint64_t state = ash_magazine_state(&pcp->magazine[i]);
			const unsigned nr = ash_magazine_nr(state), room = ash_magazine_room(state);

			if (nr > room || room > ASH_MAGAZINE_PIECES)
				return fail(w, 6, ASH_PFN_NONE, "a magazine's room", nr, room);
			if ((state != 0) != (atomic_load_explicit(&pcp->open, memory_order_relaxed) >> i & 1))
				return fail(w, 6, ASH_PFN_NONE, "an open magazine", state, i);
			charged += (uint64_t)room << i / ASH_PCP_COLUMNS;
		}
		if (charged != ash_pcp_charged(pcp))
			return fail(w, 6, ASH_PFN_NONE, "pcp charged", ash_pcp_charged(pcp), charged);
	}
	return true;
}

static bool check_counters(struct walk *w)
{
	const struct ash_zone *z = w->z;
	const struct {
		int invariant;
		const char *what;
		uint64_t told, counted;
	} pairs[] = {
		{ 6, "free", ash_counter_read(&z->free), w->free },
		{ 6, "free_blocks", ash_counter_read(&z->free_blocks), w->free_blocks },
		{ 6, "free_zeroed", ash_counter_read(&z->free_zeroed), w->free_zeroed },
		{ 6, "free_cma", ash_counter_read(&z->free_cma), w->free_cma },
		{ 6, "free_highatomic", ash_counter_read(&z->free_highatomic), w->free_highatomic },
		{ 6, "pcp", ash_pcp_total(z), w->pcp },
		{ 6, "guard", ash_counter_read(&z->guard), w->guard },
		{ 8, "nr_isolate", ash_counter_read(&z->nr_isolate), w->isolated },
		{ 9, "present", ash_counter_read(&z->present), w->frames },
	};

	for (unsigned i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		if (pairs[i].told != pairs[i].counted)
			return fail(w, pairs[i].invariant, ASH_PFN_NONE, pairs[i].what, pairs[i].told,
				    pairs[i].counted);
	}
	for (unsigned mt = 0; mt < ASH_MT_NR; mt++) {
		if (z->nr_blocks[mt] != w->blocks[mt])
			return fail(w, 6, ASH_PFN_NONE, "pageblocks of a type", z->nr_blocks[mt], w->blocks[mt]);
	}
	return true;
}

int ash_zone_check(struct ash_zone *z, struct ash_zone_fault *fault)
{
	struct ash_zone_fault local;
	struct walk w = { .z = z, .fault = fault != NULL ? fault : &local };
	bool ok;

	ash_zone_lock_all(z);
	ok = walk_frames(&w) && walk_lists(&w) && check_pcps(&w) && check_counters(&w) && check_tainted(&w);
	ash_zone_unlock_all(z);
	return ok ? 0 : w.fault->invariant;
}
