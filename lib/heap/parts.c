/* SPDX-License-Identifier: MIT */
/*
 * Parts of slabs go back to the system: those on which no object is in use, of slabs that served nobody for long.
 *
 * After a peak whose survivors lie everywhere hardly a slab is empty, and most pages of most of them have nothing alive
 * on them. A sixteenth of a slab (a page, in the smallest) in which that is so is given back, once the objects that
 * touch it have been taken off the slab's free list; they are as good as not carved, and are made again, a part after
 * the other, when nothing else is free in the slab. `away` has a bit for each such part. Nothing else needs to know: an
 * object is away exactly if it touches such a part, and counts as free.
 *
 * What is away is given back again as long as it is: the kernel's own daemon makes huge pages of what is mostly empty.
 *
 * It splits huge pages, and what went is faulted in by base pages when it is wanted. So a slab must have been left
 * alone for as long as a pageblock must be free before it goes back, and what is free must be much beside what the heap
 * has.
 */
#include "heap/heap_internal.h"

#include <string.h>

#define PARTS 16u
#define ALL_PARTS ((1u << PARTS) - 1)
#define OBJECTS_MAX ((ASH_PAGE_SIZE << ASH_SLAB_MIN_ORDER) / 8) /* of the smallest class */
#define LOOSE_KEEP ((uint64_t)4 << 20)

enum {
	SLABS_MAX = 4096, /* of a class, that are looked at one after the other */
	LEFT_ALONE = 5,   /* sweeps, of the eight of a decay time */
	LOOSE_SHARE = 4,  /* what is free stays up to this share of what there is */
	CALL_WORK = 64,   /* what giving back a part costs, in objects looked at */
};

static unsigned part_shift(const struct ash_class *c)
{
	return ASH_PAGE_SHIFT + c->slab_order - 4;
}

/* Bytes from the slab's start to its i-th object. */
static uint32_t offset_of(const struct ash_slab *s, const struct ash_class *c, uint32_t i)
{
	return (uint32_t)ash_class_colour(c, ash_slab_frame(s) >> c->slab_order) + i * c->size;
}

/* The parts that the slab's i-th object touches. */
static uint32_t parts_of(const struct ash_slab *s, const struct ash_class *c, uint32_t i)
{
	const uint32_t at = offset_of(s, c, i), first = at >> part_shift(c), last = (at + c->size - 1) >> part_shift(c);

	return (2u << last) - (1u << first);
}

static uint32_t index_of(const struct ash_slab *s, const struct ash_class *c, const struct ash_object *o)
{
	const size_t offset = (size_t)((const char *)o - ash_slab_objects(s, c));

	if (ASH_UNLIKELY(offset >= (size_t)s->carved * c->size))
		ash_heap_corrupt("write to a freed object", o);
	return (uint32_t)(offset / c->size);
}

/* Those on which no object is in use. */
static uint32_t free_parts(const struct ash_slab *s, const struct ash_class *c)
{
	uint64_t is_free[OBJECTS_MAX / 64];
	uint32_t parts = ALL_PARTS, left = s->nr_free - s->nr_away;

	memset(is_free, 0, sizeof(is_free));
	for (const struct ash_object *o = s->free; o != NULL && left > 0; o = o->next, left--) {
		const uint32_t i = index_of(s, c, o);

		is_free[i / 64] |= (uint64_t)1 << i % 64;
	}
	for (uint32_t i = 0; i < s->carved; i++)
		if ((is_free[i / 64] >> i % 64 & 1) == 0 && (parts_of(s, c, i) & s->away) == 0)
			parts &= ~parts_of(s, c, i);
	return parts;
}

static int64_t frames_of(const struct ash_class *c, uint32_t parts)
{
	int64_t frames = 0;

	for (; parts != 0; parts &= parts - 1)
		frames += (int64_t)1 << (part_shift(c) - ASH_PAGE_SHIFT);
	return frames;
}

/* So many parts as there are bits are away more than before, or less. */
static void note(const struct ash_slab *s, const struct ash_class *c, uint32_t parts, bool more)
{
	const int64_t frames = frames_of(c, parts);

	ash_run_note_discarded(ash_frame_address(ash_slab_frame(s)), more ? frames : -frames);
}

/* The number of system calls that it took; 0: none of it can go back now. */
static unsigned give_back(const struct ash_slab *s, const struct ash_class *c)
{
	char *const start = ash_frame_address(ash_slab_frame(s));
	uint32_t parts = s->away;
	unsigned calls = 0;

	while (parts != 0) {
		const unsigned first = (unsigned)__builtin_ctz(parts), nr = (unsigned)__builtin_ctz(~(parts >> first));

		calls += ash_run_discard(start + ((size_t)first << part_shift(c)),
					 (size_t)nr << (part_shift(c) - ASH_PAGE_SHIFT));
		parts &= parts + (1u << first);
	}
	return calls;
}

/* What of the slab can go is away from now on. */
static void slab_thin(struct ash_slab *s, const struct ash_class *c)
{
	const uint32_t parts = free_parts(s, c);
	struct ash_object **link = &s->free;
	uint32_t left = 0;

	if (parts == s->away)
		return;
	note(s, c, parts & ~(uint32_t)s->away, true);
	s->away = (uint16_t)parts;
	for (struct ash_object *o = s->free; o != NULL; o = o->next) {
		if ((parts_of(s, c, index_of(s, c, o)) & s->away) != 0)
			continue;
		*link = o;
		link = &o->next;
		left++;
	}
	*link = NULL;
	s->nr_away = (uint16_t)(s->nr_free - left);
}

/* A slab's list is used up: the objects of its first part that is away, or of the first few if that has none to
 * itself. */
unsigned ash_slab_come_back(struct ash_slab *s, struct ash_object **list)
{
	const struct ash_class *c = &ash_classes[s->cls];
	char *const objects = ash_slab_objects(s, c);
	struct ash_object **link = list;
	const uint32_t before = s->away, colour = offset_of(s, c, 0);
	unsigned nr = 0;

	while (s->away != 0 && nr == 0) {
		const uint32_t part = (uint32_t)__builtin_ctz(s->away), at = part << part_shift(c);

		s->away &= (uint16_t)(s->away - 1u);
		for (uint32_t i = (at - ash_min(at, colour)) / c->size;
		     i < s->carved && offset_of(s, c, i) >> part_shift(c) <= part; i++) {
			if ((parts_of(s, c, i) & s->away) != 0)
				continue;
			*link = (struct ash_object *)(objects + (size_t)i * c->size);
			link = &(*link)->next;
			nr++;
		}
	}
	*link = NULL;
	note(s, c, before & ~(uint32_t)s->away, false);
	s->nr_away = (uint16_t)(s->nr_away - nr);
	s->nr_free -= nr;
	return nr;
}

/* Nobody uses the slab any more, and what was away may be touched. */
void ash_slab_forget_away(struct ash_slab *s)
{
	note(s, &ash_classes[s->cls], s->away, false);
	s->away = 0;
	s->nr_away = 0;
}

ASH_EARLY void ash_heap_thin(struct ash_heap *h, unsigned cls, int64_t *work)
{
	const struct ash_class *c = &ash_classes[cls];
	struct ash_slab *s = h->partial[cls];

	for (unsigned n = 0; s != NULL && n < SLABS_MAX; s = s->next, n++) {
		const uint64_t bytes = (uint64_t)(s->nr_free - s->nr_away) * c->size;

		h->free_bytes += (uint64_t)s->nr_free * c->size;
		h->away_bytes += (uint64_t)s->nr_away * c->size;
		if (s->alone < LEFT_ALONE) {
			s->alone++;
			continue;
		}
		/* A class has hardly more than one slab that is not carved to its end. */
		if (*work <= 0 || s->carved < c->capacity)
			continue;
		if (h->loose > 0 && bytes >= (size_t)1 << part_shift(c)) {
			*work -= c->capacity;
			slab_thin(s, c);
		}
		if (s->away != 0) {
			*work -= (int64_t)give_back(s, c) * CALL_WORK;
			s->alone = 0;
		}
	}
}

/*
 * At once, and however little it is: somebody has asked for it. The bytes that went. A slab
 * that is not carved to its end stays as it is, as in a sweep.
 */
size_t ash_heap_thin_now(struct ash_heap *h)
{
	size_t bytes = 0;

	for (unsigned cls = 0; cls < ASH_NR_CLASSES; cls++) {
		const struct ash_class *c = &ash_classes[cls];

		for (struct ash_slab *s = h->partial[cls]; s != NULL; s = s->next) {
			const uint32_t before = s->away;

			if (s->carved < c->capacity)
				continue;
			slab_thin(s, c);
			if (s->away == before)
				continue;
			s->alone = 0;
			if (give_back(s, c) != 0)
				bytes += (size_t)frames_of(c, s->away & ~before) << ASH_PAGE_SHIFT;
		}
	}
	return bytes;
}

/* After all classes: whether what is free, and in memory, is worth it. */
void ash_heap_thin_turn(struct ash_heap *h)
{
	const uint64_t all = h->slab_frames << ASH_PAGE_SHIFT, used = all - ash_min(h->free_bytes, all);
	const uint64_t keep = ash_max(used / LOOSE_SHARE, LOOSE_KEEP), there = h->free_bytes - h->away_bytes;

	h->loose = there - ash_min(keep, there);
	h->free_bytes = 0;
	h->away_bytes = 0;
}
