/* SPDX-License-Identifier: MIT */
/*
 * Finding frames for a request: free ones first; then new memory; then free ones made by moving and dropping what is in
 * the way; then the next node.
 *
 * Up to a pageblock the zone's own freelists do: a run of n frames comes out of a naturally aligned buddy of 2^k >= n,
 * so it lies in one huge page and crosses no boundary that it could keep to. Longer runs, and those below a limit, are
 * looked for run by run: the physical runs of an arena are where contiguity ends, so each search stays inside one (or,
 * for segments, inside so many neighbours).
 */
#include <errno.h>
#include <limits.h>

#include "dma/pool.h"
#include "page/migrate.h"

enum { GROW_TRIES = 4 };

/* A stretch of frames in which any range of the right length has few enough segments. */
struct stretch {
	ash_pfn_t low, high;
};

static bool fits_page(const struct ash_dma_request *r)
{
	return r->nr <= ASH_DMA_SLOT_FRAMES && r->align_order <= ASH_DMA_SLOT_ORDER;
}

/* In LOOSE, neighbours in the machine lie where there was room, not where their address says: what was asked of the
 * physical address is not seen in the frame number. */
static bool keeps_physical(const struct ash_dma_request *r, const char *p, size_t bytes)
{
	const uint64_t phys = ash_dma_translate(p, NULL), last = phys + bytes - 1;

	if (r->level != ASH_DMA_PHYSICAL || phys == ASH_DMA_UNKNOWN)
		return true;
	return (phys & (((uint64_t)ASH_PAGE_SIZE << r->align_order) - 1)) == 0 &&
	       (r->boundary == 0 || ((phys ^ last) & ~(r->boundary - 1)) == 0);
}

/* Whether memory is of the kind that a request insists on, if it does. */
static bool of_kind(const struct ash_dma_arena *a, const struct ash_dma_request *r, ash_pfn_t pfn)
{
	return (r->flags & ASH_DMA_PAGES_STRICT) == 0 || r->pages == ASH_DMA_PAGES_ANY ||
	       a->slots[pfn >> ASH_DMA_SLOT_ORDER].pages == (uint8_t)r->pages;
}

/* Base pages lie in LOOSE among huge ones; whether a run that was found is what was asked for. */
static bool acceptable(const struct ash_dma_arena *a, const struct ash_dma_request *r, ash_pfn_t pfn)
{
	const char *p = ash_dma_address(a, pfn);
	const size_t bytes = (size_t)r->nr << ASH_PAGE_SHIFT;

	if (!of_kind(a, r, pfn))
		return false;
	if (r->boundary != 0 && (((uintptr_t)p ^ ((uintptr_t)p + bytes - 1)) & ~(r->boundary - 1)) != 0)
		return false;
	if (a->kind == ASH_DMA_LOOSE && !keeps_physical(r, p, bytes))
		return false;
	return r->level == ASH_DMA_VIRTUAL || ash_dma_segments(p, bytes, NULL, 0) <= r->max_segments;
}

/* From the freelists. */
static int take_free(struct ash_dma_arena *a, const struct ash_dma_request *r, struct ash_page_grant *grant)
{
	const unsigned order = ash_log2_ceil(r->nr);
	int err;

	ash_dma_room_look(a);
	if (r->nr == 1u << order && order <= ASH_DMA_PCP_ORDER && r->align_order <= order)
		err = ash_zone_alloc(a->zone, order, ASH_MT_UNMOVABLE, 0, ash_dma_pcp(a), grant);
	else
		err = ash_zone_alloc_run(a->zone, r->nr, r->align_order, ASH_MT_UNMOVABLE, 0, grant);

	if (err == 0 && !acceptable(a, r, grant->pfn)) {
		ash_zone_free_run(a->zone, grant->pfn, r->nr);
		err = -ENOMEM;
	}
	return err;
}

/* ash_dma_next_run(), but for a request that insists on a kind a run ends where the kind changes: pages of different
 * kinds may be neighbours in the machine. */
static bool next_run(const struct ash_dma_arena *a, const struct ash_dma_request *r, ash_pfn_t *pfn, ash_pfn_t *first,
		     ash_pfn_t *end)
{
	ash_pfn_t at;

	if (!ash_dma_next_run(a, pfn, first, end))
		return false;
	for (at = *first; at < *end && of_kind(a, r, at) == of_kind(a, r, *first); at += ASH_DMA_SLOT_FRAMES)
		;
	*end = *pfn = at;
	return true;
}

/* The stretch that begins with the run at *pfn, which becomes where the next one begins. */
static bool next_stretch(const struct ash_dma_arena *a, const struct ash_dma_request *r, ash_pfn_t *pfn,
			 struct stretch *s)
{
	ash_pfn_t first, end, at = *pfn;
	unsigned runs = 1;

	do {
		*pfn = at;
		if (!next_run(a, r, &at, &first, &end))
			return false;
	} while (!of_kind(a, r, first));
	s->low = first;
	s->high = end;
	/* Neighbours in address that are none in the machine: for who does not mind so many segments. */
	while ((r->level == ASH_DMA_VIRTUAL || ++runs <= r->max_segments) && next_run(a, r, &at, &first, &end) &&
	       first == s->high && of_kind(a, r, first))
		s->high = end;
	/* With a number of segments to keep to, stretches overlap; else the next begins where this one ends. */
	*pfn = r->level == ASH_DMA_VIRTUAL ? s->high : s->low;
	if (r->level != ASH_DMA_VIRTUAL)
		(void)next_run(a, r, pfn, &first, &end);
	return true;
}

/* Cut a stretch of DIRECT to what lies below the limit. */
static void cut(const struct ash_dma_arena *a, const struct ash_dma_request *r, struct stretch *s)
{
	const uint64_t frames = r->limit <= a->phys ? 0 : (r->limit - a->phys) >> ASH_PAGE_SHIFT;

	if (r->limit != UINT64_MAX && s->high > frames)
		s->high = (ash_pfn_t)frames;
}

/* Boundaries beyond the largest buddy are no power of two of frame numbers: the stretch is searched piece by piece. */
static ash_pfn_t piece_end(const struct ash_dma_arena *a, const struct ash_dma_request *r, ash_pfn_t low,
			   ash_pfn_t high)
{
	const uint64_t base = a->kind == ASH_DMA_DIRECT ? a->phys : a->start;
	const uint64_t at = base + ((uint64_t)low << ASH_PAGE_SHIFT);
	uint64_t end;

	if (r->boundary >> ASH_PAGE_SHIFT < (1ull << ASH_MAX_ORDER))
		return high;
	end = (((at & ~(r->boundary - 1)) + r->boundary) - base) >> ASH_PAGE_SHIFT;
	return end < high ? (ash_pfn_t)end : high;
}

static int take_from(struct ash_dma_arena *a, const struct ash_dma_request *r, struct stretch s,
		     struct ash_page_grant *grant)
{
	const uint64_t boundary = r->boundary >> ASH_PAGE_SHIFT;
	struct ash_contig_request c = {
		.nr = r->nr,
		.align_order = (uint8_t)r->align_order,
		.boundary_order = boundary > 0 && boundary < (1ull << ASH_MAX_ORDER) ? (uint8_t)ash_ctz(boundary) : 0,
		.mt = ASH_MT_UNMOVABLE,
	};
	int err = -ENOMEM;

	for (c.low = s.low; err < 0 && c.low < s.high; c.low = c.high) {
		c.high = piece_end(a, r, c.low, s.high);
		if (c.high - c.low >= r->nr)
			err = ash_zone_alloc_contig(a->zone, &c, grant, NULL);
		if (err == 0 && !acceptable(a, r, grant->pfn)) {
			ash_zone_free_run(a->zone, grant->pfn, r->nr);
			err = -ENOMEM;
		}
	}
	return err;
}

/* One walk over the runs, emptying them where need be. Growth turn. */
static int search_runs(struct ash_dma_arena *a, const struct ash_dma_request *r, struct ash_page_grant *grant)
{
	struct stretch s;
	ash_pfn_t pfn = a->low;
	int err = -ENOMEM;

	while (err < 0 && next_stretch(a, r, &pfn, &s)) {
		cut(a, r, &s);
		if (s.high > s.low && s.high - s.low >= r->nr)
			err = take_from(a, r, s, grant);
	}
	return err;
}

/* From the runs; then with objects apart from buffers, which makes what is free between those larger; then without
 * caches. */
static int take_range(struct ash_dma_arena *a, const struct ash_dma_request *r, struct ash_page_grant *grant)
{
	int err;

	ash_dma_take_turn(a);
	err = search_runs(a, r, grant);
	if (err < 0 && ash_counter_read(&a->zone->free) >= r->nr) {
		(void)ash_dma_room_apart(a);
		err = search_runs(a, r, grant);
		if (err < 0) {
			ash_dma_room_drop(a, r->nr);
			err = search_runs(a, r, grant);
		}
	}
	ash_dma_objects_settle(a);
	ash_dma_end_turn(a);
	return err;
}

/* Physical addresses above a limit are not known to be below it where they are not known. */
static bool may_hold(const struct ash_dma_arena *a, const struct ash_dma_request *r)
{
	return a->kind == ASH_DMA_DIRECT || r->limit == UINT64_MAX;
}

static int take_node(unsigned place, const struct ash_dma_request *r, bool search, struct ash_dma_grant *out)
{
	for (unsigned kind = 0; kind < ASH_DMA_KINDS; kind++) {
		struct ash_dma_arena *a = ash_dma_arena_get(place, (enum ash_dma_kind)kind);
		struct ash_page_grant grant;
		int err = -ENOMEM;

		if (a == NULL || atomic_load_explicit(&a->online, memory_order_relaxed) < r->nr || !may_hold(a, r))
			continue;
		if (fits_page(r) && r->limit == UINT64_MAX)
			err = take_free(a, r, &grant);
		if (err < 0 && search)
			err = take_range(a, r, &grant);
		if (err == 0) {
			*out = (struct ash_dma_grant){ a, grant.pfn, grant.zeroed };
			return 0;
		}
	}
	return -ENOMEM;
}

static int take_or_grow(unsigned place, struct ash_dma_request *r, void *out)
{
	/*
	 * What fits a page is on the freelists or nowhere; searching for it means moving and dropping others. But of a
	 * kind, the freelists may show another first.
	 */
	const bool search = !fits_page(r) || r->limit != UINT64_MAX || (r->flags & ASH_DMA_PAGES_STRICT) != 0;
	int err = take_node(place, r, search, out);

	/* Others take from the arenas at the same time, so what was brought may be gone: then more is brought. */
	for (unsigned i = 0; i < GROW_TRIES && err < 0 && (r->flags & ASH_DMA_NO_GROW) == 0; i++) {
		if (ash_dma_grow(place, r) < 0)
			break;
		err = take_node(place, r, search, out);
	}
	return err < 0 && !search ? take_node(place, r, true, out) : err;
}

/* The nearest place that was not tried, or ASH_DMA_NO_PLACE. */
static unsigned nearest(const int distance[], uint64_t tried)
{
	const unsigned nr = ash_dma_nr_nodes();
	unsigned best = ASH_DMA_NO_PLACE;

	for (unsigned i = 0; i < nr; i++) {
		if ((tried >> i & 1) == 0 &&
		    (best == ASH_DMA_NO_PLACE || distance[ash_dma.nodes[i]] < distance[ash_dma.nodes[best]]))
			best = i;
	}
	return best;
}

/* Places whose nodes will not do. */
static uint64_t unwanted(const struct ash_dma_request *r)
{
	const unsigned nr = ash_dma_nr_nodes();
	uint64_t places = 0;

	for (unsigned i = 0; i < nr; i++)
		places |= (uint64_t)((r->nodes >> ash_dma.nodes[i] & 1) == 0) << i;
	return places;
}

unsigned ash_dma_place_near(int node)
{
	int distance[ASH_NODES_MAX];
	const unsigned place = ash_dma_place(node);

	if (place != ASH_DMA_NO_PLACE || ash_dma_nr_nodes() == 1)
		return place != ASH_DMA_NO_PLACE ? place : 0;
	ash_numa_topology()->distances(node, distance);
	return nearest(distance, 0);
}

/* From the node that the request begins with, or the others as they are near to it. *tried: those that had nothing. */
ASH_INLINE int try_nearest(struct ash_dma_request *r, uint64_t *tried, ash_dma_try_fn *fn, void *out)
{
	int distance[ASH_NODES_MAX];
	unsigned place = ash_dma_place(r->node);

	if (place != ASH_DMA_NO_PLACE && (*tried >> place & 1) == 0) {
		if (fn(place, r, out) == 0)
			return 0;
		*tried |= 1ull << place;
	}
	*tried |= unwanted(r);
	if ((r->flags & ASH_DMA_NODE_STRICT) != 0 || (ash_dma_nr_nodes() == 1 && place == 0))
		return -ENOMEM;
	ash_numa_topology()->distances(r->node, distance);
	while ((place = nearest(distance, *tried)) != ASH_DMA_NO_PLACE) {
		if (fn(place, r, out) == 0)
			return 0;
		*tried |= 1ull << place;
	}
	return -ENOMEM;
}

/* Inlined, so that buffers do not pay for what others try. */
ASH_INLINE int try_nodes(struct ash_dma_request *r, ash_dma_try_fn *fn, void *out)
{
	uint64_t tried = 0;
	int err;

	/* A node without a place may have got memory since. */
	if (ASH_UNLIKELY(ash_dma_place(r->node) == ASH_DMA_NO_PLACE))
		(void)ash_dma_nodes_look(false);
	err = try_nearest(r, &tried, fn, out);
	if (err < 0 && ash_dma_nodes_look(false))
		err = try_nearest(r, &tried, fn, out);
	return err;
}

int ash_dma_try_nodes(struct ash_dma_request *r, ash_dma_try_fn *fn, void *out)
{
	return try_nodes(r, fn, out);
}

int ash_dma_take(struct ash_dma_request *r, struct ash_dma_grant *out)
{
	return try_nodes(r, take_or_grow, out);
}
