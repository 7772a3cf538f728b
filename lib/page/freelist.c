/* SPDX-License-Identifier: MIT */
/* Freelists: linking, counting, and the assertion that list and pageblock agree. */
#include "page/freelist.h"

void ash_freelist_init(struct ash_zone *z)
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

ASH_INLINE void link_buddy(struct ash_zone *z, ash_pfn_t pfn, unsigned order, enum ash_migratetype mt, unsigned zeroed,
			   enum ash_list_end end)
{
	const unsigned part = zeroed == ash_zeroed_full(z, order);
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

ASH_INLINE unsigned unlink_buddy(struct ash_zone *z, ash_pfn_t pfn, unsigned order, enum ash_migratetype mt)
{
	struct ash_freelist *l = &z->freelist[mt][order];
	const struct ash_frame *f = ash_frame_at(z->frames, pfn);
	const uint32_t word = ash_frame_load(z->frames, pfn);
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
	ash_frame_store(z->frames, pfn, 0);
	return f->private;
}

void ash_freelist_add(struct ash_zone *z, ash_pfn_t pfn, unsigned order, enum ash_migratetype mt, unsigned zeroed,
		      enum ash_list_end end)
{
	assert_type(z, pfn, order, mt);
	link_buddy(z, pfn, order, mt, zeroed, end);
	account_buddy(z, order, mt, zeroed, true);
}

bool ash_freelist_free(struct ash_zone *z, ash_pfn_t *pfn, unsigned order, enum ash_migratetype mt, unsigned *zeroed,
		       enum ash_list_end end)
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

unsigned ash_freelist_del(struct ash_zone *z, ash_pfn_t pfn, unsigned order, enum ash_migratetype mt)
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
