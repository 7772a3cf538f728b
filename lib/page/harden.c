/* SPDX-License-Identifier: MIT */
/*
 * Poison, initialisation, guards and owners.
 *
 * Guards: an allocation of less than 2^guard_order frames takes that many all the same, and the rest of them become
 * pieces in state GUARD: on no list, not free, and by an ops call inaccessible, so that running over the end faults.
 * They hang on the allocation by their place alone. When the last piece before them is freed, merging absorbs them, as
 * it would a buddy (buddy.c); before any free in their group they are made accessible again.
 */
#include "page/harden.h"

#define FRAME_BYTES 4096u

static void fill(struct ash_zone *z, ash_pfn_t pfn, ash_pfn_t nr, int byte)
{
	for (ash_pfn_t i = 0; i < nr; i++)
		__builtin_memset(z->ops->frame_addr(z, pfn + i), byte, FRAME_BYTES);
}

/* Where the first byte that is not `byte` stands, or FRAME_BYTES. */
static unsigned first_other(const unsigned char *p, unsigned char byte)
{
	const uint64_t word = byte * 0x0101010101010101u;
	unsigned i = 0;

	for (; i < FRAME_BYTES; i += sizeof(word)) {
		uint64_t have;

		__builtin_memcpy(&have, p + i, sizeof(have));
		if (have != word)
			break;
	}
	while (i < FRAME_BYTES && p[i] == byte)
		i++;
	return i;
}

/* Kernel: check_poison_mem. The report names the frame, and the first and the last byte in it that changed. */
static void check_poison(struct ash_zone *z, ash_pfn_t pfn)
{
	const unsigned char *p = z->ops->frame_addr(z, pfn);
	const unsigned first = first_other(p, ASH_POISON);
	unsigned last = FRAME_BYTES - 1, flipped;

	if (ASH_LIKELY(first == FRAME_BYTES) || first_other(p, 0) == FRAME_BYTES)
		return;
	while (p[last] == ASH_POISON)
		last--;
	flipped = p[first] ^ ASH_POISON;
	if (first == last && (flipped & (flipped - 1)) == 0)
		ash_zone_bug(z, "one bit of freed memory changed", pfn, first, p[first]);
	ash_zone_bug(z, "freed memory was written", pfn, first, last);
}

/* Protect or open the guards behind an allocation, or part of one, that ends at `end`. */
static void guard(struct ash_zone *z, ash_pfn_t end, bool on)
{
	const ash_pfn_t group_end = ash_guard_end(z, end);

	while (end < group_end && end < z->nr_frames) {
		const uint32_t word = ash_frame_load(z->frames, end);

		if (ash_word_state(word) == ASH_FRAME_GUARD && z->ops != NULL && z->ops->guard != NULL)
			z->ops->guard(z, end, ash_order_frames(ash_word_order(word)), on);
		end += ash_order_frames(ash_word_order(word));
	}
}

static uintptr_t caller(struct ash_zone *z)
{
	return z->ops != NULL && z->ops->caller != NULL ? z->ops->caller(z) : 0;
}

bool ash_harden_alloc(struct ash_zone *z, ash_pfn_t pfn, ash_pfn_t nr, enum ash_migratetype mt, bool zeroed)
{
	const struct ash_hardening *h = &z->hardening;

	/* The check comes before anything is written. */
	for (ash_pfn_t i = 0; h->poison && !zeroed && i < nr; i++)
		check_poison(z, pfn + i);
	if (h->init_on_free && !h->poison)
		zeroed = true;
	if (h->init_on_alloc && !zeroed) {
		fill(z, pfn, nr, 0);
		zeroed = true;
	}
	guard(z, pfn + nr, true);
	if (h->owners != NULL) {
		const struct ash_frame_owner owner = { .allocated_by = caller(z), .first = pfn, .nr = nr,
						       .mt = (uint8_t)mt, .live = true };

		for (ash_pfn_t i = 0; i < nr; i++)
			h->owners[pfn + i] = owner;
	}
	return zeroed;
}

void ash_harden_free(struct ash_zone *z, ash_pfn_t pfn, ash_pfn_t nr, bool zeroed)
{
	const struct ash_hardening *h = &z->hardening;

	if (h->owners != NULL) {
		const uintptr_t by = caller(z);

		for (ash_pfn_t i = 0; i < nr; i++) {
			h->owners[pfn + i].freed_by = by;
			h->owners[pfn + i].live = false;
		}
	}
	guard(z, pfn + nr, false);
	if (!zeroed)
		ash_harden_online(z, pfn, nr);
}

void ash_harden_online(struct ash_zone *z, ash_pfn_t pfn, ash_pfn_t nr)
{
	if (z->hardening.poison)
		fill(z, pfn, nr, ASH_POISON);
	else if (z->hardening.init_on_free)
		fill(z, pfn, nr, 0);
}

void ash_guard_mark(struct ash_zone *z, ash_pfn_t start, ash_pfn_t end)
{
	ash_counter_add(&z->guard, end - start);
	while (start < end) {
		const unsigned order = ash_piece_order(start, end, z->max_order);

		ash_frame_store(z->frames, start, ash_frame_word(ASH_FRAME_GUARD, order, 0, 0));
		start += ash_order_frames(order);
	}
}

bool ash_zone_frame_owner(const struct ash_zone *z, ash_pfn_t pfn, struct ash_frame_owner *out)
{
	if (z->hardening.owners == NULL || pfn >= z->nr_frames)
		return false;
	*out = z->hardening.owners[pfn];
	return out->nr > 0;
}
