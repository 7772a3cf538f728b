/* SPDX-License-Identifier: MIT */
/*
 * The map of physical runs: per 2 MiB of an arena, where it is in the machine and how far from there memory goes on
 * without a gap. Written when memory comes and goes, read by everybody without a lock.
 */
#include <errno.h>

#include "dma/internal.h"

static uint64_t slot_len(const struct ash_dma_slot *s)
{
	return atomic_load_explicit(&s->len, memory_order_acquire);
}

static uint64_t slot_phys(const struct ash_dma_slot *s)
{
	return atomic_load_explicit(&s->phys, memory_order_relaxed);
}

static struct ash_dma_slot *slot_at(const struct ash_dma_arena *a, ash_pfn_t pfn)
{
	return &a->slots[pfn >> ASH_DMA_SLOT_ORDER];
}

size_t ash_dma_run_bytes(const struct ash_dma_arena *a, ash_pfn_t pfn)
{
	const uint64_t len = slot_len(slot_at(a, pfn));

	if (len <= ASH_DMA_LEN_BASE)
		return len == 0 ? 0 : ASH_PAGE_SIZE;
	return len - ((size_t)(pfn & (ASH_DMA_SLOT_FRAMES - 1)) << ASH_PAGE_SHIFT);
}

bool ash_dma_next_run(const struct ash_dma_arena *a, ash_pfn_t *pfn, ash_pfn_t *first, ash_pfn_t *end)
{
	const ash_pfn_t high = a->high;

	for (ash_pfn_t at = *pfn; at < high; at += ASH_DMA_SLOT_FRAMES) {
		uint64_t len = slot_len(slot_at(a, at));

		if (len == 0)
			continue;
		len = ash_max(len, ASH_DMA_SLOT_BYTES);
		*first = at;
		*end = *pfn = at + (ash_pfn_t)(len >> ASH_PAGE_SHIFT);
		return true;
	}
	return false;
}

/* Memory goes on from slot a to the one behind it. */
static bool joined(const struct ash_dma_slot *s)
{
	return slot_len(s) > ASH_DMA_LEN_BASE && slot_len(s + 1) > ASH_DMA_LEN_BASE &&
	       slot_phys(s) != ASH_DMA_UNKNOWN && slot_phys(s + 1) == slot_phys(s) + ASH_DMA_SLOT_BYTES;
}

static void set_len(struct ash_dma_slot *s, uint64_t len)
{
	atomic_store_explicit(&s->len, len, memory_order_release);
}

/* The slots before one whose length has changed. */
static void set_before(struct ash_dma_arena *a, struct ash_dma_slot *s)
{
	for (; s > a->slots && joined(s - 1); s--)
		set_len(s - 1, slot_len(s) + ASH_DMA_SLOT_BYTES);
}

/* 2 MiB come (+1) or go (-1). */
static void add_figures(const struct ash_dma_slot *s, int sign)
{
	const int64_t bytes = sign * (int64_t)ASH_DMA_SLOT_BYTES;

	ash_dma_figure(&ash_dma.figures.backed[s->pages - ASH_DMA_PAGES_1G], bytes);
	if (s->pinned == ASH_DMA_PINNED_KERNEL)
		ash_dma_figure(&ash_dma.figures.pinned, bytes);
	if (slot_phys(s) != ASH_DMA_UNKNOWN)
		ash_dma_figure(&ash_dma.figures.known, bytes);
}

void ash_dma_slots_set(struct ash_dma_arena *a, ash_pfn_t first, ash_pfn_t end, uint64_t phys, enum ash_dma_pages pages,
		       enum ash_dma_pinned pinned, unsigned pin)
{
	struct ash_dma_slot *const from = slot_at(a, first), *const to = slot_at(a, end);
	const size_t nr = (size_t)(to - from);

	for (size_t i = 0; i < nr; i++) {
		const bool known = phys != ASH_DMA_UNKNOWN;

		atomic_store_explicit(&from[i].phys, known ? phys + i * ASH_DMA_SLOT_BYTES : phys,
				      memory_order_relaxed);
		from[i].pages = (uint8_t)pages;
		from[i].pinned = (uint8_t)pinned;
		from[i].pin = (uint16_t)pin;
		from[i].kept = false;
		from[i].follows = false;
		from[i].hand = ASH_DMA_NO_HAND;
		from[i].told = 0;
		add_figures(&from[i], 1);
		set_len(&from[i], pages == ASH_DMA_PAGES_BASE ? ASH_DMA_LEN_BASE : (nr - i) * ASH_DMA_SLOT_BYTES);
	}
	a->low = a->high == 0 || first < a->low ? first : a->low;
	a->high = end > a->high ? end : a->high;
	if (end < a->nr_frames && joined(to - 1)) {
		set_len(to - 1, slot_len(to) + ASH_DMA_SLOT_BYTES);
		set_before(a, to - 1);
	} else {
		set_before(a, from);
	}
}

void ash_dma_slots_clear(struct ash_dma_arena *a, ash_pfn_t first, ash_pfn_t end)
{
	struct ash_dma_slot *const from = slot_at(a, first), *const to = slot_at(a, end);
	const bool before = from > a->slots && joined(from - 1);

	for (struct ash_dma_slot *s = from; s < to; s++) {
		add_figures(s, -1);
		set_len(s, 0);
		atomic_store_explicit(&s->phys, ASH_DMA_UNKNOWN, memory_order_relaxed);
	}
	if (before) {
		set_len(from - 1, ASH_DMA_SLOT_BYTES);
		set_before(a, from - 1);
	}
}

void ash_dma_slots_keep(struct ash_dma_arena *a, ash_pfn_t first, ash_pfn_t end, bool keep)
{
	for (struct ash_dma_slot *s = slot_at(a, first); s < slot_at(a, end); s++)
		s->kept = keep;
}

void ash_dma_slots_join(struct ash_dma_arena *a, ash_pfn_t first, ash_pfn_t end)
{
	ash_dma_slots_keep(a, first, end, true);
	for (struct ash_dma_slot *s = slot_at(a, first) + 1; s < slot_at(a, end); s++)
		s->follows = true;
}

void ash_dma_slots_hold(struct ash_dma_arena *a, ash_pfn_t first, ash_pfn_t end, enum ash_dma_hand hand)
{
	for (struct ash_dma_slot *s = slot_at(a, first); s < slot_at(a, end); s++)
		s->hand = (uint8_t)hand;
}

void ash_dma_slots_let_go(struct ash_dma_arena *a, ash_pfn_t first, ash_pfn_t end, uint32_t told)
{
	for (struct ash_dma_slot *s = slot_at(a, first); s < slot_at(a, end); s++) {
		s->hand = ASH_DMA_NO_HAND;
		s->told = told;
	}
}

ash_pfn_t ash_dma_find_gap(const struct ash_dma_arena *a, size_t nr, size_t align)
{
	size_t from = 0;

	for (size_t pfn = 0; pfn + ASH_DMA_SLOT_FRAMES <= a->nr_frames; pfn += ASH_DMA_SLOT_FRAMES) {
		if (pfn < from)
			continue;
		if (slot_len(slot_at(a, (ash_pfn_t)pfn)) != 0)
			from = ash_align_up(pfn + ASH_DMA_SLOT_FRAMES, align);
		else if (pfn + ASH_DMA_SLOT_FRAMES >= from + nr || pfn >= a->high)
			return from + nr <= a->nr_frames ? (ash_pfn_t)from : ASH_PFN_NONE;
	}
	return ASH_PFN_NONE;
}

uint64_t ash_dma_translate(const void *p, size_t *len)
{
	const struct ash_dma_arena *a = ash_dma_arena_of(p);
	const struct ash_dma_slot *s;
	uint64_t bytes, phys;
	size_t offset;

	if (ASH_UNLIKELY(a == NULL))
		return ash_dma_foreign_translate(p, len);
	offset = (uintptr_t)p - a->start;
	s = &a->slots[offset / ASH_DMA_SLOT_BYTES];
	offset &= ASH_DMA_SLOT_BYTES - 1;
	bytes = slot_len(s);
	phys = slot_phys(s);
	if (ASH_UNLIKELY(bytes <= ASH_DMA_LEN_BASE)) {
		/* Base pages: to the end of the frame. */
		bytes = bytes == 0 ? 0 : ash_align_down(offset, ASH_PAGE_SIZE) + ASH_PAGE_SIZE;
		phys = ASH_DMA_UNKNOWN;
	}
	if (len != NULL && *len > bytes - offset)
		*len = bytes == 0 ? 0 : bytes - offset;
	return phys == ASH_DMA_UNKNOWN ? phys : phys + offset;
}

size_t ash_dma_segments(const void *p, size_t bytes, struct ash_dma_segment *segments, size_t n)
{
	const char *at = p;
	size_t nr = 0;

	for (; bytes > 0; nr++) {
		size_t len = bytes;
		const uint64_t phys = ash_dma_translate(at, &len);

		if (len == 0)
			return 0;
		if (nr < n)
			segments[nr] = (struct ash_dma_segment){ (void *)(uintptr_t)at, phys, len };
		at += len;
		bytes -= len;
	}
	return nr;
}

/* The run at or behind *pfn, which becomes the frame behind it. Growth turn. */
static bool describe_run(const struct ash_dma_arena *a, ash_pfn_t *pfn, struct ash_dma_run *run)
{
	ash_pfn_t first, end;
	const struct ash_dma_slot *s;

	*pfn = *pfn < a->low ? a->low : *pfn;
	if (!ash_dma_next_run(a, pfn, &first, &end))
		return false;
	s = slot_at(a, first);
	*run = (struct ash_dma_run){
		.node = a->node,
		.pages = s->pages,
		.pinned = s->pinned,
		.va = ash_dma_address(a, first),
		.phys = slot_phys(s),
		.len = (size_t)(end - first) << ASH_PAGE_SHIFT,
	};
	return true;
}

int ash_dma_walk_runs(int (*fn)(const struct ash_dma_run *run, void *arg), void *arg)
{
	struct ash_dma_run run;
	int ret = 0;

	for (unsigned i = 0; i < ASH_DMA_ARENAS_MAX && ret == 0; i++) {
		struct ash_dma_arena *a = ash_dma_arena_peek(i);
		bool found = a != NULL;

		for (ash_pfn_t pfn = 0; found && ret == 0;) {
			ash_dma_take_turn(a);
			found = describe_run(a, &pfn, &run);
			ash_dma_end_turn(a);
			ret = found ? fn(&run, arg) : 0;
		}
	}
	return ret;
}

int ash_dma_walk_runs_locked(int (*fn)(const struct ash_dma_run *run, void *arg), void *arg)
{
	struct ash_dma_run run;
	int ret = 0;

	for (unsigned i = 0; i < ASH_DMA_ARENAS_MAX && ret == 0; i++) {
		struct ash_dma_arena *a = ash_dma_arena_peek(i);
		ash_pfn_t pfn = 0;

		if (a == NULL)
			continue;
		ash_dma_take_turn(a);
		while (ret == 0 && describe_run(a, &pfn, &run))
			ret = fn(&run, arg);
		ash_dma_end_turn(a);
	}
	return ret;
}

struct verify {
	long moved, hidden;
};

static int verify_run(const struct ash_dma_run *run, void *arg)
{
	struct verify *v = arg;

	for (size_t at = 0; run->phys != ASH_DMA_UNKNOWN && at < run->len; at += ASH_DMA_SLOT_BYTES) {
		uint64_t ends[2];

		/* First and last frame: a huge page that was split and moved in part shows in one of them. */
		(void)ash_phys_read((char *)run->va + at, ASH_DMA_SLOT_BYTES - ASH_PAGE_SIZE, 2, ends);
		if (ends[0] == ASH_PHYS_UNKNOWN || ends[1] == ASH_PHYS_UNKNOWN)
			v->hidden++;
		else if (ends[0] != run->phys + at || ends[1] != run->phys + at + ASH_DMA_SLOT_BYTES - ASH_PAGE_SIZE)
			v->moved++;
	}
	return 0;
}

long ash_dma_verify(void)
{
	struct verify v = { 0, 0 };
	uint64_t here = 0;

	(void)ash_phys_read(&here, ASH_PAGE_SIZE, 1, &here);
	if (here == ASH_PHYS_UNKNOWN)
		return -ENODATA;
	(void)ash_dma_walk_runs_locked(verify_run, &v);
	/* A page that is not there at all is not where it was promised to be. */
	return v.moved + v.hidden + ash_dma_foreign_verify();
}
