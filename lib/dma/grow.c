/* SPDX-License-Identifier: MIT */
/*
 * Growing: which pages are fetched for a request, which of them are kept, and where they are put.
 *
 * The pool hands out the pages it likes. A request that needs physical contiguity beyond one page is met by fetching,
 * looking at the addresses, and keeping the best window of neighbours; when there is none, twice as many are fetched,
 * up to all that the pool has free, and what is not kept goes back at once. Everything else takes what comes.
 *
 * Pages of known address go where their address says (DIRECT), except when the request needs more in one piece than
 * they are: then they go, sorted, one behind the other into LOOSE. A page moves by mremap: its contents, its pin and
 * its physical address stay.
 */
#include <errno.h>
#include <limits.h>

#include "dma/pages.h"
#include "os/huge.h"
#include "os/vmem.h"

enum { SPARE_SHARE = 16 };

struct window {
	size_t first, nr; /* of the batch's pages, in their order */
};

/* Beyond one page a request for few segments needs to know where pages are. */
static bool picky(const struct ash_dma_request *r, unsigned page_shift)
{
	const size_t bytes = (size_t)r->nr << ASH_PAGE_SHIFT;

	return r->level >= ASH_DMA_SEGMENTS && r->max_segments < ash_align_up(bytes, ASH_PAGE_SIZE) >> page_shift;
}

static size_t pages_needed(const struct ash_dma_request *r, unsigned page_shift)
{
	const size_t bytes = (size_t)r->nr << ASH_PAGE_SHIFT, page = (size_t)1 << page_shift;
	const size_t align = r->level == ASH_DMA_PHYSICAL ? (size_t)ASH_PAGE_SIZE << r->align_order : 0;

	/* A window need not begin where the request may. */
	return (bytes + (align > page ? align - page : 0) + page - 1) >> page_shift;
}

/* Whether a range at a physical address is what was asked for. */
static bool suits(const struct ash_dma_request *r, uint64_t phys)
{
	const uint64_t last = phys + ((uint64_t)r->nr << ASH_PAGE_SHIFT) - 1;

	if ((phys & (((uint64_t)ASH_PAGE_SIZE << r->align_order) - 1)) != 0 || last >= r->limit)
		return false;
	return r->boundary == 0 || ((phys ^ last) & ~(r->boundary - 1)) == 0;
}

/* The segments of n pages from page i on. */
static size_t count_segments(const struct ash_dma_batch *b, size_t i, size_t n)
{
	size_t segments = 1;

	for (size_t k = i + 1; k < i + n; k++)
		segments += b->page[k].phys != b->page[k - 1].phys + (1ull << b->shift);
	return segments;
}

static size_t whole_pages(const struct ash_dma_batch *b, const struct ash_dma_request *r)
{
	return (((size_t)r->nr << ASH_PAGE_SHIFT) + (1ull << b->shift) - 1) >> b->shift;
}

/* One segment: the first neighbours that will do. */
static bool find_neighbours(const struct ash_dma_batch *b, const struct ash_dma_request *r, struct window *w)
{
	const size_t n = whole_pages(b, r);

	for (size_t i = 0; i + n <= b->nr; i++) {
		if (suits(r, b->page[i].phys) && count_segments(b, i, n) == 1) {
			*w = (struct window){ i, n };
			return true;
		}
	}
	return false;
}

/* The longest run of pages from page i on that is below the limit; none: nr 0. */
static struct window longest_run(const struct ash_dma_batch *b, const struct ash_dma_request *r, size_t i)
{
	struct window best = { i, 0 };

	for (size_t n; i < b->nr && b->page[i].phys + (1ull << b->shift) <= r->limit; i += n) {
		n = 1;
		while (i + n < b->nr && b->page[i + n].phys == b->page[i].phys + ((uint64_t)n << b->shift) &&
		       b->page[i + n].phys + (1ull << b->shift) <= r->limit)
			n++;
		if (n > best.nr)
			best = (struct window){ i, n };
	}
	return best;
}

/* Bring pages [w.first, w.first + w.nr) to place at, which is before them; the others keep their order. */
static void bring_forward(struct ash_dma_batch *b, struct window w, size_t at)
{
	for (size_t i = 0; i < w.nr; i++) {
		const struct ash_dma_page p = b->page[w.first + i];

		for (size_t k = w.first + i; k > at + i; k--)
			b->page[k] = b->page[k - 1];
		b->page[at + i] = p;
	}
}

/* Few segments: the longest runs first, which makes the fewest. They come to the front of the batch. */
static bool find_runs(struct ash_dma_batch *b, const struct ash_dma_request *r, struct window *w)
{
	const size_t n = whole_pages(b, r);

	*w = (struct window){ 0, 0 };
	for (unsigned segments = 0; segments < r->max_segments && w->nr < n; segments++) {
		const struct window run = longest_run(b, r, w->nr);

		if (run.nr == 0)
			break;
		bring_forward(b, run, w->nr);
		w->nr += run.nr;
	}
	if (w->nr < n)
		return false;
	w->nr = n;
	return true;
}

static bool find_window(struct ash_dma_batch *b, const struct ash_dma_request *r, struct window *w)
{
	if (r->max_segments > 1)
		return find_runs(b, r, w);
	return find_neighbours(b, r, w);
}

/* All pages; or, below a limit, only those that are needed, and the highest of them: low ones are scarce. */
static bool below_limit(const struct ash_dma_batch *b, const struct ash_dma_request *r, struct window *w)
{
	const size_t need = whole_pages(b, r);

	*w = (struct window){ 0, b->nr };
	if (r->limit == UINT64_MAX)
		return true;
	while (w->nr > 0 && b->page[w->nr - 1].phys + (1ull << b->shift) > r->limit)
		w->nr--;
	if (w->nr < need)
		return false;
	*w = (struct window){ w->nr - need, need };
	return true;
}

/* Move n pages, neighbours in the batch's mapping, to pfn, where they are in hand. Growth turn. */
static int install(struct ash_dma_arena *a, struct ash_dma_batch *b, size_t first, size_t n, ash_pfn_t pfn)
{
	void *to = ash_dma_address(a, pfn);
	const ash_pfn_t page_frames = (ash_pfn_t)1 << (b->shift - ASH_PAGE_SHIFT);
	const ash_pfn_t end = pfn + (ash_pfn_t)n * page_frames;
	int err = ash_dma_cover(a, pfn, end);

	if (err == 0)
		err = ash_vmem_move(b->va + ((size_t)b->page[first].index << b->shift), to, n << b->shift);
	if (err < 0) {
		/* mremap may have taken the target away before it failed. */
		(void)ash_vmem_close(to, n << b->shift);
		return err;
	}
	for (size_t i = 0; i < n; i++) {
		struct ash_dma_page *p = &b->page[first + i];

		p->gone = true;
		p->pfn = pfn + (ash_pfn_t)i * page_frames;
		ash_dma_slots_set(a, p->pfn, p->pfn + page_frames, p->phys, b->kind, ash_dma_firmness(b, p->pin),
				  p->pin);
	}
	ash_dma_slots_hold(a, pfn, end, ASH_DMA_IN_HAND_FRESH);
	return 0;
}

/* What is in hand comes online, once every listener knows of it; or goes. */
static int bring(struct ash_dma_arena *a, ash_pfn_t pfn, ash_pfn_t end)
{
	const size_t bytes = (size_t)(end - pfn) << ASH_PAGE_SHIFT;
	uint32_t told;
	int err = ash_dma_event_come(a, pfn, end, &told);

	if (err == 0) {
		err = ash_zone_online(a->zone, pfn, end - pfn, true);
		if (err == 0) {
			ash_dma_slots_let_go(a, pfn, end, told);
			atomic_fetch_add_explicit(&a->online, end - pfn, memory_order_relaxed);
			atomic_fetch_add_explicit(&a->growths, 1, memory_order_release);
		}
		ash_dma_end_turn(a);
	}
	if (err < 0) {
		ash_listen_gone(&ash_dma_listeners, ash_dma_address(a, pfn), bytes, &told);
		ash_dma_take_turn(a);
		ash_dma_drop(a, pfn, end);
		ash_dma_end_turn(a);
	}
	ash_listen_let_go(&ash_dma_listeners);
	return err;
}

/* The pages of a window that have a place, in pieces as long as they lie side by side. Returns the pages that are
 * online. */
static size_t bring_window(struct ash_dma_arena *a, const struct ash_dma_batch *b, struct window w)
{
	const ash_pfn_t page_frames = (ash_pfn_t)1 << (b->shift - ASH_PAGE_SHIFT);
	size_t done = 0;

	for (size_t i = w.first, n; i < w.first + w.nr; i += n) {
		const ash_pfn_t pfn = b->page[i].pfn;

		n = 1;
		if (pfn == ASH_PFN_NONE)
			continue;
		while (i + n < w.first + w.nr && b->page[i + n].pfn == pfn + (ash_pfn_t)n * page_frames)
			n++;
		if (bring(a, pfn, pfn + (ash_pfn_t)n * page_frames) == 0)
			done += n;
	}
	return done;
}

/* The place of a page in a DIRECT arena; ASH_PFN_NONE: beyond its window. */
static ash_pfn_t direct_pfn(const struct ash_dma_arena *a, uint64_t phys, unsigned shift)
{
	const uint64_t offset = phys - a->phys;

	if (phys < a->phys || (offset + (1ull << shift)) >> ASH_PAGE_SHIFT > a->nr_frames)
		return ASH_PFN_NONE;
	return (ash_pfn_t)(offset >> ASH_PAGE_SHIFT);
}

/* Neighbours in the batch's mapping are moved together: fewer calls and fewer mappings. */
static size_t together(const struct ash_dma_batch *b, struct window w, size_t i, bool direct)
{
	size_t n = 1;

	while (i + n < w.first + w.nr && b->page[i + n].index == b->page[i].index + n &&
	       (!direct || b->page[i + n].phys == b->page[i].phys + ((uint64_t)n << b->shift)))
		n++;
	return n;
}

/* Into DIRECT, as far as its window goes. Growth turn. */
static void install_direct(struct ash_dma_arena *a, struct ash_dma_batch *b, struct window w)
{
	for (size_t i = w.first, n; i < w.first + w.nr; i += n) {
		const ash_pfn_t pfn = direct_pfn(a, b->page[i].phys, b->shift);

		n = together(b, w, i, true);
		if (pfn == ASH_PFN_NONE || direct_pfn(a, b->page[i + n - 1].phys, b->shift) == ASH_PFN_NONE)
			n = 1;
		if (direct_pfn(a, b->page[i + n - 1].phys, b->shift) != ASH_PFN_NONE)
			(void)install(a, b, i, n, pfn);
	}
}

/* Into LOOSE, in the batch's order, side by side. All or what fits. Growth turn. */
static void install_loose(struct ash_dma_arena *a, struct ash_dma_batch *b, struct window w, unsigned align_order)
{
	const size_t page_frames = (size_t)1 << (b->shift - ASH_PAGE_SHIFT);
	const size_t align = ash_max(page_frames, (size_t)1 << align_order);
	size_t pfn = ash_dma_find_gap(a, w.nr * page_frames, align);

	for (size_t i = w.first, n; i < w.first + w.nr; i += n, pfn += n * page_frames) {
		n = together(b, w, i, false);
		if (pfn + n * page_frames > a->nr_frames || install(a, b, i, n, (ash_pfn_t)pfn) < 0)
			break;
	}
}

/* Where pages of known address are put: neighbours in the machine, or what need not be in one piece, go to DIRECT. */
static bool goes_direct(const struct ash_dma_batch *b, const struct ash_dma_request *r, struct window w)
{
	return b->known && (r->nr <= ASH_DMA_SLOT_FRAMES || count_segments(b, w.first, w.nr) == 1);
}

/* Each arena's turn is taken for itself: what comes and goes in one is no business of the other. */
static int install_window(unsigned place, struct ash_dma_batch *b, const struct ash_dma_request *r, struct window w)
{
	struct ash_dma_arena *direct = ash_dma_arena_get(place, ASH_DMA_DIRECT);
	struct ash_dma_arena *loose = ash_dma_arena_get(place, ASH_DMA_LOOSE);
	size_t done = 0;

	if (goes_direct(b, r, w)) {
		ash_dma_take_turn(direct);
		install_direct(direct, b, w);
		ash_dma_end_turn(direct);
		done = bring_window(direct, b, w);
	}
	/* Beyond the window of physical addresses adjacency is the best that can be had. */
	if (done == 0 && b->page[w.first].pfn == ASH_PFN_NONE) {
		ash_dma_take_turn(loose);
		install_loose(loose, b, w, r->align_order);
		ash_dma_end_turn(loose);
		done = bring_window(loose, b, w);
	}
	return done > 0 ? 0 : -ENOMEM;
}

/* Fetch nr pages and keep what the request wants of them. -ERANGE: nothing of it would do. */
static int fetch(unsigned place, struct ash_dma_request *r, enum ash_dma_pages kind, size_t nr)
{
	const unsigned shift = kind == ASH_DMA_PAGES_1G ? ASH_HUGE_1G_SHIFT : ASH_HUGE_2M_SHIFT;
	const bool choosy = kind <= ASH_DMA_PAGES_2M && (r->limit != UINT64_MAX || picky(r, shift));
	struct ash_dma_batch b;
	struct window w;
	bool found;
	int err = ash_dma_batch_get(&b, ash_dma.nodes[place], kind, nr, choosy);

	if (err < 0)
		return err;
	if (!b.known && (r->limit != UINT64_MAX || picky(r, b.shift))) {
		/* Base pages have no addresses for anybody: that is not the process's rights. */
		r->hidden = r->hidden || b.kind <= ASH_DMA_PAGES_2M;
		found = false;
	} else {
		found = picky(r, b.shift) ? find_window(&b, r, &w) : below_limit(&b, r, &w);
	}
	if (found && b.kind == ASH_DMA_PAGES_BASE && r->level == ASH_DMA_PHYSICAL && r->nr > 1)
		found = false;
	if (found && b.kind != kind && (r->flags & ASH_DMA_PAGES_STRICT) != 0)
		found = false;
	if (found && choosy)
		found = ash_dma_batch_pin(&b, w.first, w.nr);
	r->scattered = r->scattered || (!found && !r->hidden && r->limit == UINT64_MAX);
	err = found ? install_window(place, &b, r, w) : -ERANGE;
	ash_dma_batch_end(&b);
	return err;
}

static size_t pool_free(int node, unsigned shift)
{
	struct ash_huge_pool pool;

	if (ash_huge_pool(ash_dma.bind ? node : -1, shift, &pool) < 0)
		return 0;
	return pool.free;
}

/* One kind of page. */
static int grow_by(unsigned place, struct ash_dma_request *r, enum ash_dma_pages kind)
{
	const unsigned shift = kind == ASH_DMA_PAGES_1G ? ASH_HUGE_1G_SHIFT : ASH_HUGE_2M_SHIFT;
	const size_t need = pages_needed(r, shift);
	const bool limited = r->limit != UINT64_MAX;
	struct ash_dma_arena *a = ash_dma_arena_get(place, ASH_DMA_DIRECT);
	const size_t spare = (atomic_load_explicit(&a->online, memory_order_relaxed) / SPARE_SHARE) >>
			     (shift - ASH_PAGE_SHIFT);
	size_t most = need;
	int err = -ERANGE;

	if (!picky(r, shift) && !limited) {
		err = spare > 0 ? fetch(place, r, kind, need + spare) : -ENOMEM;
		return err < 0 ? fetch(place, r, kind, need) : err;
	}
	if (kind <= ASH_DMA_PAGES_2M)
		most = ash_max(need, pool_free(ash_dma.nodes[place], shift));
	for (size_t n = need; err == -ERANGE && !r->hidden; n = ash_min(2 * n, most)) {
		err = fetch(place, r, kind, n);
		if (n == most)
			break;
	}
	return err;
}

/* The kinds to try, best first for this request; returns how many. */
static unsigned kinds_for(const struct ash_dma_request *r, enum ash_dma_pages kinds[])
{
	unsigned n = 0;

	if ((r->flags & ASH_DMA_PAGES_STRICT) != 0 && r->pages != ASH_DMA_PAGES_ANY) {
		kinds[0] = r->pages;
		return 1;
	}
	if (r->pages == ASH_DMA_PAGES_1G)
		kinds[n++] = ASH_DMA_PAGES_1G;
	if (r->pages <= ASH_DMA_PAGES_2M)
		kinds[n++] = ASH_DMA_PAGES_2M;
	if (r->pages == ASH_DMA_PAGES_ANY && picky(r, ASH_HUGE_2M_SHIFT))
		kinds[n++] = ASH_DMA_PAGES_1G;
	/* Ordinary memory in long runs is a matter of luck that would be paid for with all the memory there is. */
	if (picky(r, ASH_HUGE_2M_SHIFT))
		return n;
	if (r->pages <= ASH_DMA_PAGES_THP)
		kinds[n++] = ASH_DMA_PAGES_THP;
	kinds[n++] = ASH_DMA_PAGES_BASE;
	return n;
}

int ash_dma_grow(unsigned place, struct ash_dma_request *r)
{
	struct ash_dma_arena *direct = ash_dma_arena_get(place, ASH_DMA_DIRECT);
	struct ash_dma_arena *loose = ash_dma_arena_get(place, ASH_DMA_LOOSE);
	enum ash_dma_pages kinds[ASH_DMA_PAGES_BASE + 1];
	const unsigned n = direct != NULL && loose != NULL ? kinds_for(r, kinds) : 0;
	int err = -ENOMEM;

	for (unsigned i = 0; i < n && err < 0; i++)
		err = grow_by(place, r, kinds[i]);
	return err < 0 ? -ENOMEM : 0;
}
