/* SPDX-License-Identifier: MIT */
/*
 * What is where in a pcp: magazines, the lists behind them, and how much room the magazines have been lent.
 *
 * From hot to cold a list is its magazine, last piece first, and then what is linked. Whatever moves between the two
 * moves here, and `charged` is written once for each move, with a value that holds before and after it.
 */
#include "page/pcp.h"

/*
 * What a full magazine gives to its list: half, so that neither the next free nor the next allocations come back here.
 */
#define SPILL (ASH_MAGAZINE_PIECES / 2)

static unsigned index_order(unsigned index)
{
	return index / ASH_PCP_COLUMNS;
}

static void set_charged(struct ash_pcp *pcp, uint32_t frames)
{
	atomic_store_explicit(&pcp->charged, frames, memory_order_relaxed);
}

static uint32_t listed(const struct ash_pcp *pcp)
{
	return atomic_load_explicit(&pcp->listed, memory_order_relaxed);
}

static void set_listed(struct ash_pcp *pcp, uint32_t frames)
{
	atomic_store_explicit(&pcp->listed, frames, memory_order_relaxed);
}

static uint64_t open_bits(const struct ash_pcp *pcp)
{
	return atomic_load_explicit(&pcp->open, memory_order_relaxed);
}

static void set_open(struct ash_pcp *pcp, uint64_t bits)
{
	atomic_store_explicit(&pcp->open, bits, memory_order_relaxed);
}

uint32_t ash_pcp_frames(const struct ash_pcp *pcp)
{
	uint32_t frames = listed(pcp);

	for (uint64_t bits = open_bits(pcp); bits != 0; bits &= bits - 1) {
		const unsigned index = (unsigned)__builtin_ctzll(bits);

		frames += ash_magazine_nr(ash_magazine_state(&pcp->magazine[index])) << index_order(index);
	}
	return frames;
}

uint64_t ash_pcp_taken(const struct ash_pcp *pcp)
{
	uint64_t frames = pcp->taken;

	for (uint64_t bits = open_bits(pcp); bits != 0; bits &= bits - 1) {
		const unsigned index = (unsigned)__builtin_ctzll(bits);

		frames += ash_magazine_state(&pcp->magazine[index]) / ASH_MAGAZINE_TAKEN << index_order(index);
	}
	return frames;
}

uint64_t ash_pcp_given(const struct ash_pcp *pcp)
{
	return ash_pcp_frames(pcp) + ash_pcp_taken(pcp) + pcp->drained - pcp->refilled;
}

/* A magazine with so many pieces and so much room. charged is the caller's to write. */
static void set_magazine(struct ash_pcp *pcp, unsigned index, unsigned nr, unsigned room)
{
	struct ash_magazine *m = &pcp->magazine[index];

	pcp->taken += ash_magazine_state(m) / ASH_MAGAZINE_TAKEN << index_order(index);
	ash_magazine_set(m, room * ASH_MAGAZINE_ROOM + nr);
	if (room > 0)
		set_open(pcp, open_bits(pcp) | (uint64_t)1 << index);
	else
		set_open(pcp, open_bits(pcp) & ~((uint64_t)1 << index));
}

void ash_pcp_close(struct ash_pcp *pcp)
{
	uint32_t frames = listed(pcp);

	for (uint64_t bits = open_bits(pcp); bits != 0; bits &= bits - 1) {
		const unsigned index = (unsigned)__builtin_ctzll(bits);
		const unsigned nr = ash_magazine_nr(ash_magazine_state(&pcp->magazine[index]));

		set_magazine(pcp, index, nr, nr);
		frames += nr << index_order(index);
	}
	set_charged(pcp, frames);
}

void ash_pcp_append(struct ash_zone *z, struct ash_pcp *pcp, unsigned index, ash_pfn_t pfn, uint32_t word)
{
	struct ash_pcp_list *l = &pcp->list[index];
	struct ash_frame *f = ash_frame_at(z->frames, pfn);

	ash_frame_store(z->frames, pfn, word);
	f->next = 0;
	f->prev = l->last;
	if (l->first == 0)
		l->first = pfn + 1;
	else
		ash_frame_at(z->frames, l->last - 1)->next = pfn + 1;
	l->last = pfn + 1;
}

void ash_pcp_appended(struct ash_pcp *pcp, uint32_t frames)
{
	pcp->refilled += frames;
	set_charged(pcp, ash_pcp_charged(pcp) + frames);
	set_listed(pcp, listed(pcp) + frames);
}

void ash_pcp_load(struct ash_zone *z, struct ash_pcp *pcp, unsigned index)
{
	struct ash_pcp_list *l = &pcp->list[index];
	struct ash_magazine *m = &pcp->magazine[index];
	const unsigned order = index_order(index), had = ash_magazine_room(ash_magazine_state(m));
	ash_pfn_t pfn[ASH_MAGAZINE_PIECES];
	unsigned nr = 0, room;

	while (nr < ASH_MAGAZINE_PIECES && l->first != 0) {
		pfn[nr] = l->first - 1;
		l->first = ash_frame_at(z->frames, pfn[nr])->next;
		nr++;
	}
	for (unsigned i = 0; i < nr; i++)
		atomic_store_explicit(&m->pfn[i], pfn[nr - 1 - i], memory_order_relaxed);
	room = had > nr ? had : nr;
	set_magazine(pcp, index, nr, room);
	set_listed(pcp, listed(pcp) - (nr << order));
	set_charged(pcp, ash_pcp_charged(pcp) + ((room - had) << order) - (nr << order));
}

/*
 * Whoever walks a list from its cold end learns from each frame which is the next, and frames there have not been
 * looked at for long: a chain of misses. So the private word of a piece, which nobody else uses now, names the one that
 * comes SPILL later, where that is known. A hint only. Not where a mover or shrinker may still look at the word of what
 * has just been freed.
 */
static bool names_later(const struct ash_zone *z)
{
	return z->ops == NULL || (z->ops->mover == NULL && z->ops->shrinker == NULL);
}

/* The coldest pieces of a magazine are about to be spilled: what was spilled last learns of them. */
static void name_later(struct ash_zone *z, const struct ash_magazine *m, const struct ash_pcp_list *l)
{
	uint32_t link = l->first;

	for (unsigned i = SPILL; i-- > 0 && link != 0;) {
		struct ash_frame *f = ash_frame_at(z->frames, link - 1);

		f->private = atomic_load_explicit(&m->pfn[i], memory_order_relaxed);
		link = f->next;
	}
}

/* The coldest pieces of a full magazine, to the hot end of its list. Their room goes with them. */
static void spill(struct ash_zone *z, struct ash_pcp *pcp, unsigned index)
{
	struct ash_pcp_list *l = &pcp->list[index];
	struct ash_magazine *m = &pcp->magazine[index];

	if (names_later(z))
		name_later(z, m, l);
	for (unsigned i = 0; i < ASH_MAGAZINE_PIECES; i++) {
		const ash_pfn_t pfn = atomic_load_explicit(&m->pfn[i], memory_order_relaxed);

		if (i >= SPILL) {
			atomic_store_explicit(&m->pfn[i - SPILL], pfn, memory_order_relaxed);
			continue;
		}
		ash_frame_at(z->frames, pfn)->next = l->first;
		if (l->first == 0)
			l->last = pfn + 1;
		else
			ash_frame_at(z->frames, l->first - 1)->prev = pfn + 1;
		l->first = pfn + 1;
	}
	set_magazine(pcp, index, ASH_MAGAZINE_PIECES - SPILL, ASH_MAGAZINE_PIECES - SPILL);
	set_listed(pcp, listed(pcp) + (SPILL << index_order(index)));
}

void ash_pcp_make_room(struct ash_zone *z, struct ash_pcp *pcp, unsigned index)
{
	const uint32_t high = atomic_load_explicit(&pcp->tune.high, memory_order_relaxed);
	const unsigned order = index_order(index);
	uint32_t charged = ash_pcp_charged(pcp);
	unsigned nr, more;

	if (ash_magazine_nr(ash_magazine_state(&pcp->magazine[index])) == ASH_MAGAZINE_PIECES)
		spill(z, pcp, index);
	nr = ash_magazine_nr(ash_magazine_state(&pcp->magazine[index]));
	ASH_ZONE_ASSERT(z, nr == ash_magazine_room(ash_magazine_state(&pcp->magazine[index])), "there is room",
			ASH_PFN_NONE, index, nr);
	more = charged < high ? (high - charged) >> order : 0;
	if (more > ASH_MAGAZINE_PIECES - nr)
		more = ASH_MAGAZINE_PIECES - nr;
	if (more == 0)
		more = 1;
	set_charged(pcp, charged + (more << order));
	set_magazine(pcp, index, nr, nr + more);
}

static ash_pfn_t unlink_cold(struct ash_zone *z, struct ash_pcp_list *l)
{
	const ash_pfn_t pfn = l->last - 1;

	/* What came by a refill names nothing: then this is a line that is not wanted, no more. */
	if (names_later(z))
		ash_prefetch_write(ash_frame_at(z->frames, ash_frame_at(z->frames, pfn)->private));
	if (l->first == l->last) {
		l->first = 0;
	} else {
		l->last = ash_frame_at(z->frames, pfn)->prev;
		ash_frame_at(z->frames, l->last - 1)->next = 0;
	}
	return pfn;
}

unsigned ash_pcp_take_cold(struct ash_zone *z, struct ash_pcp *pcp, unsigned index, unsigned nr, ash_pfn_t *pfn)
{
	struct ash_pcp_list *l = &pcp->list[index];
	struct ash_magazine *m = &pcp->magazine[index];
	const uint64_t state = ash_magazine_state(m);
	const unsigned order = index_order(index);
	unsigned n = 0, linked, hot = ash_magazine_nr(state), gone;

	while (n < nr && l->first != 0)
		pfn[n++] = unlink_cold(z, l);
	linked = n;
	gone = nr - n < hot ? nr - n : hot;
	for (unsigned i = 0; i < hot; i++) {
		const ash_pfn_t p = atomic_load_explicit(&m->pfn[i], memory_order_relaxed);

		if (i < gone)
			pfn[n++] = p;
		else
			atomic_store_explicit(&m->pfn[i - gone], p, memory_order_relaxed);
	}
	if (gone > 0)
		set_magazine(pcp, index, hot - gone, ash_magazine_room(state) - gone);
	set_listed(pcp, listed(pcp) - (linked << order));
	set_charged(pcp, ash_pcp_charged(pcp) - (n << order));
	return n;
}

uint64_t ash_pcp_total(const struct ash_zone *z)
{
	uint64_t frames = 0;

	for (unsigned i = 0; i < z->nr_cpus; i++)
		frames += ash_pcp_frames(&z->pcps[i]);
	return frames;
}
