/* SPDX-License-Identifier: MIT */
/* Freelists: linking, counting, and the assertion that list and pageblock agree. */
#include "page/freelist.h"

ASH_EARLY void ash_freelist_init(struct ash_zone *z)
{
	for (unsigned mt = 0; mt < ASH_MT_NR; mt++) {
		for (unsigned order = 0; order < ASH_NR_ORDERS; order++) {
			struct ash_freelist *l = &z->freelist[mt][order];

			l->first[0] = l->first[1] = l->last[0] = l->last[1] = ASH_PFN_NONE;
			l->nr = 0;
		}
	}
}

static void set_orders(struct ash_zone *z, enum ash_migratetype mt, uint32_t orders)
{
	atomic_store_explicit(&z->nonempty[mt], orders, memory_order_relaxed);
}

static void assert_type(struct ash_zone *z, ash_pfn_t pfn, unsigned order, enum ash_migratetype mt)
{
	ASH_ZONE_ASSERT_LOCKED(z);
	ASH_ZONE_ASSERT(z, (pfn & (ash_order_frames(order) - 1)) == 0, "buddy not aligned to its order", pfn, order,
			mt);
	for (ash_pfn_t b = pfn; ASH_CHECKS && b - pfn < ash_order_frames(order); b += ash_pageblock_frames(z))
		ASH_ZONE_ASSERT(z, ash_pageblock_type(z, b) == mt, "pageblock type is not the list's", b,
				ash_pageblock_type(z, b), mt);
}

/* delta is two's complement. */
static void account(struct ash_zone *z, enum ash_migratetype mt, uint64_t delta)
{
	if (mt == ASH_MT_ISOLATE)
		return;
	ash_counter_add(&z->free, delta);
	if (mt == ASH_MT_CMA)
		ash_counter_add(&z->free_cma, delta);
	else if (mt == ASH_MT_HIGHATOMIC)
		ash_counter_add(&z->free_highatomic, delta);
}

static void account_buddy(struct ash_zone *z, unsigned order, enum ash_migratetype mt, unsigned zeroed, bool added)
{
	const uint64_t frames = ash_order_frames(order), delta = added ? frames : -frames;

	account(z, mt, delta);
	if (order < z->pageblock_order || mt == ASH_MT_ISOLATE)
		return;
	ash_counter_add(&z->free_blocks, delta);
	if (zeroed > 0) {
		const uint64_t n = (uint64_t)zeroed << z->pageblock_order;

		ash_counter_add(&z->free_zeroed, added ? n : -n);
	}
}

/* part: whether all of it is zeroed. */
ASH_INLINE void link_part(struct ash_zone *z, ash_pfn_t pfn, unsigned order, enum ash_migratetype mt, unsigned zeroed,
			  unsigned part, enum ash_list_end end)
{
	struct ash_freelist *l = &z->freelist[mt][order];
	struct ash_frame *f = ash_frame_at(z->frames, pfn);

	if (end == ASH_LIST_HEAD) {
		f->prev = ASH_PFN_NONE;
		f->next = l->first[part];
		l->first[part] = pfn;
		if (f->next != ASH_PFN_NONE)
			ash_frame_at(z->frames, f->next)->prev = pfn;
		else
			l->last[part] = pfn;
	} else {
		f->next = ASH_PFN_NONE;
		f->prev = l->last[part];
		l->last[part] = pfn;
		if (f->prev != ASH_PFN_NONE)
			ash_frame_at(z->frames, f->prev)->next = pfn;
		else
			l->first[part] = pfn;
	}
	f->private = zeroed;
	if (l->nr++ == 0)
		set_orders(z, mt, ash_freelist_orders(z, mt) | 1u << order);
	ash_frame_store(z->frames, pfn, ash_frame_word(ASH_FRAME_BUDDY, order, mt, part ? ASH_FRAME_ZEROED : 0));
}

ASH_INLINE void link_buddy(struct ash_zone *z, ash_pfn_t pfn, unsigned order, enum ash_migratetype mt, unsigned zeroed,
			   enum ash_list_end end)
{
	link_part(z, pfn, order, mt, zeroed, zeroed == ash_zeroed_full(z, order), end);
}

/* f: pfn's. */
ASH_INLINE unsigned unlink_frame(struct ash_zone *z, struct ash_frame *f, ash_pfn_t pfn, unsigned order,
				 enum ash_migratetype mt)
{
	struct ash_freelist *l = &z->freelist[mt][order];
	const uint32_t word = atomic_load_explicit(&f->word, memory_order_relaxed);
	const unsigned part = ash_word_zeroed(word);

	/* In every build: unlinking from a list the buddy is not on would spread the damage. */
	if (ASH_UNLIKELY((word & 0xffffff) != ash_frame_word(ASH_FRAME_BUDDY, order, mt, 0)))
		ash_zone_bug(z, "not a buddy of this list", pfn, word, ash_frame_word(ASH_FRAME_BUDDY, order, mt, 0));
	if (f->prev != ASH_PFN_NONE)
		ash_frame_at(z->frames, f->prev)->next = f->next;
	else
		l->first[part] = f->next;
	if (f->next != ASH_PFN_NONE)
		ash_frame_at(z->frames, f->next)->prev = f->prev;
	else
		l->last[part] = f->prev;
	if (--l->nr == 0)
		set_orders(z, mt, ash_freelist_orders(z, mt) & ~(1u << order));
	atomic_store_explicit(&f->word, 0, memory_order_relaxed);
	return f->private;
}

ASH_INLINE unsigned unlink_buddy(struct ash_zone *z, ash_pfn_t pfn, unsigned order, enum ash_migratetype mt)
{
	return unlink_frame(z, ash_frame_at(z->frames, pfn), pfn, order, mt);
}

ASH_EARLY void ash_freelist_add(struct ash_zone *z, ash_pfn_t pfn, unsigned order, enum ash_migratetype mt,
				unsigned zeroed, enum ash_list_end end)
{
	assert_type(z, pfn, order, mt);
	link_buddy(z, pfn, order, mt, zeroed, end);
	account_buddy(z, order, mt, zeroed, true);
}

ASH_EARLY bool ash_freelist_free(struct ash_zone *z, ash_pfn_t *pfn, unsigned order, enum ash_migratetype mt,
				 unsigned *zeroed, enum ash_list_end end)
{
	const unsigned pageblock_order = z->pageblock_order;
	const ash_pfn_t frames = ash_order_frames(order);
	unsigned all_zeroed = *zeroed;
	ash_pfn_t head = *pfn;

	for (; ash_buddy_is_free(z, head, order); head = ash_order_start(head, ++order)) {
		const ash_pfn_t buddy = head ^ ash_order_frames(order);

		assert_type(z, buddy, order, mt);
		all_zeroed &= unlink_buddy(z, buddy, order, mt);
		if (order + 1 < pageblock_order)
			continue;
		account(z, mt, frames - (uint64_t)ash_order_frames(pageblock_order));
		*pfn = ash_pageblock_start(z, head);
		*zeroed = all_zeroed;
		return false;
	}
	assert_type(z, head, order, mt);
	if (order + 1u < z->max_order && ash_buddy_is_free(z, ash_order_start(head, order + 1), order + 1))
		end = ASH_LIST_TAIL;
	link_buddy(z, head, order, mt, all_zeroed, end);
	account(z, mt, frames);
	return true;
}

/* A part of a pageblock that is being freed, and as zeroed as it are the pieces at its low and its high end. */
struct part {
	ash_pfn_t start, end;
	unsigned low, high;
};

/* Take the buddy of this order at pfn off its list, if there is one. */
ASH_INLINE bool absorb(struct ash_zone *z, ash_pfn_t pfn, unsigned order, enum ash_migratetype mt, unsigned *zeroed)
{
	struct ash_frame *f = ash_frame_at(z->frames, pfn);
	const uint32_t word = atomic_load_explicit(&f->word, memory_order_relaxed);

	if ((word & 0xffff) != ash_frame_word(ASH_FRAME_BUDDY, order, 0, 0))
		return false;
	assert_type(z, pfn, order, mt);
	*zeroed &= unlink_frame(z, f, pfn, order, mt);
	return true;
}

/* Put free buddies at either end to it, as merging would. */
static void grow_part(struct ash_zone *z, struct part *part, enum ash_migratetype mt)
{
	const ash_pfn_t inside = ash_pageblock_frames(z) - 1;
	ash_pfn_t start = part->start, end = part->end;
	bool grown;

	/*
	 * All that could merge across a border is one buddy, as large as the border is aligned; and that does if the
	 * part reaches as far on this side. The low end may have to wait for the high end to grow.
	 */
	do {
		grown = false;
		while ((start & inside) != 0 && end - start >= (start & -start) &&
		       absorb(z, start - (start & -start), (unsigned)__builtin_ctz(start), mt, &part->low))
			start &= start - 1;
		while ((end & inside) != 0 && end - start >= (end & -end) && end < z->nr_frames &&
		       absorb(z, end, (unsigned)__builtin_ctz(end), mt, &part->high)) {
			end += end & -end;
			grown = true;
		}
	} while (grown);
	part->start = start;
	part->end = end;
}

ASH_EARLY int ash_freelist_free_part(struct ash_zone *z, ash_pfn_t start, ash_pfn_t end, enum ash_migratetype mt,
				     unsigned zeroed, enum ash_list_end to)
{
	struct part part = { start, end, zeroed, zeroed };
	const ash_pfn_t frames = end - start;

	grow_part(z, &part, mt);
	if (part.end - part.start == ash_pageblock_frames(z)) {
		account(z, mt, frames - (uint64_t)ash_pageblock_frames(z));
		return (int)(part.low & part.high);
	}
	for (ash_pfn_t pfn = part.start, nr; pfn < part.end; pfn += nr) {
		enum ash_list_end where = to;
		unsigned order, all_zeroed = zeroed;

		/* As large as pfn is aligned, 0 being so to anything, but not larger than what is left. */
		nr = pfn & -pfn;
		if (nr - 1 >= part.end - pfn)
			nr = ash_order_frames(31u - (unsigned)__builtin_clz(part.end - pfn));
		order = (unsigned)__builtin_ctz(nr);
		if (ASH_UNLIKELY(zeroed))
			all_zeroed = (pfn > part.start || part.low) && (pfn + nr < part.end || part.high);
		if (order + 1u < z->max_order && ash_buddy_is_free(z, ash_order_start(pfn, order + 1), order + 1))
			where = ASH_LIST_TAIL;
		assert_type(z, pfn, order, mt);
		link_part(z, pfn, order, mt, all_zeroed, all_zeroed, where);
	}
	account(z, mt, frames);
	return -1;
}

ASH_EARLY unsigned ash_freelist_del(struct ash_zone *z, ash_pfn_t pfn, unsigned order, enum ash_migratetype mt)
{
	unsigned zeroed;

	assert_type(z, pfn, order, mt);
	zeroed = unlink_buddy(z, pfn, order, mt);
	account_buddy(z, order, mt, zeroed, false);
	return zeroed;
}

void ash_freelist_move(struct ash_zone *z, ash_pfn_t pfn, unsigned order, enum ash_migratetype from,
		       enum ash_migratetype to)
{
	unsigned zeroed;

	/* The block still has the old type: moving can fail for the block as a whole, retyping comes after. */
	assert_type(z, pfn, order, from);
	zeroed = unlink_buddy(z, pfn, order, from);
	account_buddy(z, order, from, zeroed, false);
	link_buddy(z, pfn, order, to, zeroed, ASH_LIST_TAIL);
	account_buddy(z, order, to, zeroed, true);
}

/* Make b follow a in list l; ASH_PFN_NONE stands for either end. */
static void join(struct ash_zone *z, struct ash_freelist *l, unsigned part, ash_pfn_t a, ash_pfn_t b)
{
	if (a != ASH_PFN_NONE)
		ash_frame_at(z->frames, a)->next = b;
	else
		l->first[part] = b;
	if (b != ASH_PFN_NONE)
		ash_frame_at(z->frames, b)->prev = a;
	else
		l->last[part] = a;
}

void ash_freelist_swap(struct ash_zone *z, ash_pfn_t a, ash_pfn_t b)
{
	const uint32_t word = ash_frame_load(z->frames, a);
	struct ash_freelist *l = &z->freelist[ash_word_type(word)][ash_word_order(word)];
	const unsigned part = ash_word_zeroed(word);
	struct { ash_pfn_t prev, next; } fa, fb;

	ASH_ZONE_ASSERT_LOCKED(z);
	ASH_ZONE_ASSERT(z, ash_frame_load(z->frames, b) == word, "not two buddies of one list", a, b, word);
	/* Where they are neighbours, a comes first. */
	if (ash_frame_at(z->frames, b)->next == a) {
		const ash_pfn_t first = b;

		b = a;
		a = first;
	}
	fa.prev = ash_frame_at(z->frames, a)->prev;
	fa.next = ash_frame_at(z->frames, a)->next;
	fb.prev = ash_frame_at(z->frames, b)->prev;
	fb.next = ash_frame_at(z->frames, b)->next;
	join(z, l, part, fa.prev, b);
	if (fa.next == b) {
		join(z, l, part, b, a);
	} else {
		join(z, l, part, b, fa.next);
		join(z, l, part, fb.prev, a);
	}
	join(z, l, part, a, fb.next);
}
