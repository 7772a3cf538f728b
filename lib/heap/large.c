/* SPDX-License-Identifier: MIT */
/*
 * Large blocks: runs of whole frames, exactly as many as the request needs, straight from the arenas.
 *
 * The run's length is in the tag of its head frame; there is no header and no descriptor, and any thread frees it
 * without asking its owner. A first-class heap's runs are at least 16 frames and as aligned, so that each head has a
 * slab descriptor of its own by which reset finds it. A thread's heap keeps a few runs that it freed a moment ago.
 */
#include "heap/fast.h"

#include <string.h>

#define PAGEBLOCK_FRAMES ((size_t)1 << ASH_PAGEBLOCK_ORDER)

static void large_release(void *p, uint32_t nr)
{
	ash_tag_store(ash_frame_index(p), 0);
	ash_run_free(p, nr);
}

static void kept_drop(struct ash_kept *k, unsigned i)
{
	const uint32_t nr = k->nr[i];

	if (nr == 0)
		return;
	k->nr[i] = 0;
	k->frames -= nr;
	ash_run_free(k->run[i], nr);
}

void ash_large_drop_kept(struct ash_heap *h)
{
	for (unsigned i = 0; i < ASH_KEPT_RUNS; i++)
		kept_drop(&h->kept, i);
}

/* A run of at least *nr frames and at most an eighth more, the newest first; *nr becomes its length. NULL: none. */
static void *kept_take(struct ash_kept *k, size_t *nr)
{
	for (unsigned n = 1; k->frames >= *nr && n <= ASH_KEPT_RUNS; n++) {
		const unsigned i = (k->turn - n) % ASH_KEPT_RUNS;

		if (k->nr[i] - *nr > *nr / 8 || k->nr[i] < *nr)
			continue;
		*nr = k->nr[i];
		k->nr[i] = 0;
		k->frames -= (uint32_t)*nr;
		return k->run[i];
	}
	return NULL;
}

/* The layers against misuse look at a run when it is freed to its zone and when it leaves it. */
static bool runs_are_watched(void)
{
	const struct ash_arena_config *config = ash_arena_config();

	return config->poison || config->init_on_free || config->init_on_alloc || config->guard != 0;
}

/* The tag is cleared by now. False: the run is not one to keep. */
static bool kept_put(struct ash_heap *h, void *p, uint32_t nr)
{
	struct ash_kept *k = &h->kept;

	if (nr > ASH_KEPT_RUN_FRAMES || !ash_heap_is_near(h, p) || runs_are_watched())
		return false;
	kept_drop(k, k->turn % ASH_KEPT_RUNS);
	for (unsigned n = 1; k->frames + nr > ASH_KEPT_FRAMES && n < ASH_KEPT_RUNS; n++)
		kept_drop(k, (k->turn + n) % ASH_KEPT_RUNS);
	k->run[k->turn % ASH_KEPT_RUNS] = p;
	k->nr[k->turn % ASH_KEPT_RUNS] = nr;
	k->turn++;
	k->frames += nr;
	return true;
}

/* size > 0. align: a power of two. */
ASH_EARLY void *ash_large_alloc(struct ash_heap *h, size_t size, size_t align, bool *zeroed)
{
	size_t nr = ash_bytes_to_pages(size);
	unsigned align_order = align <= ASH_PAGE_SIZE ? 0 : ash_log2_floor(align) - ASH_PAGE_SHIFT;
	uint32_t flags = ASH_TAG_LARGE;
	struct ash_run run;

	if (nr > ASH_TAG_FRAMES_MASK)
		return NULL;
	if (h->first_class) {
		/* Its runs come home over the remote list, and nothing else here would look. */
		(void)ash_remote_drain(h);
		nr = ash_max(nr, (size_t)1 << ASH_SLAB_MIN_ORDER);
		align_order = (unsigned)ash_max(align_order, ASH_SLAB_MIN_ORDER);
		flags |= ASH_TAG_LISTED;
	}
	run.addr = nr <= ASH_KEPT_RUN_FRAMES && align_order == 0 ? kept_take(&h->kept, &nr) : NULL;
	run.zeroed = false;
	if (run.addr == NULL) {
		if (ash_run_alloc(h->zonelist, nr, align_order, ASH_MT_UNMOVABLE, &run) != 0)
			return NULL;
		if (nr >= PAGEBLOCK_FRAMES && !*zeroed)
			ash_run_fill(&run);
	}
	if (h->first_class) {
		struct ash_slab *s = ash_slab_at(ash_frame_index(run.addr), ASH_SLAB_MIN_ORDER);

		s->cls = ASH_SLAB_LARGE;
		s->owner = h;
		ash_slab_link_all(h, s);
	}
	ash_tag_store(ash_frame_index(run.addr), flags | (uint32_t)nr);
	h->large_frames += (int64_t)nr;
	h->large_count++;
	*zeroed = run.zeroed;
	return run.addr;
}

/* A first-class heap gives one of its runs back; by its user, or with nobody using it. */
void ash_large_release(struct ash_heap *h, struct ash_slab *s)
{
	const uint32_t nr = ash_tag_load(ash_slab_frame(s)) & ASH_TAG_FRAMES_MASK;

	ash_slab_unlink_all(h, s);
	h->large_frames -= nr;
	h->large_count--;
	if (ASH_UNLIKELY(h->moved))
		ash_run_come_home(ash_frame_address(ash_slab_frame(s)), nr);
	large_release(ash_frame_address(ash_slab_frame(s)), nr);
}

/* tag: that of p's frame, LARGE. Any thread. */
ASH_EARLY void ash_large_free(void *p, uint32_t tag)
{
	if (ASH_UNLIKELY(((uintptr_t)p & (ASH_PAGE_SIZE - 1)) != 0))
		ash_heap_corrupt("free of an address inside a block", p);
	if ((tag & ASH_TAG_LISTED) != 0) {
		/* The list is its heap's: the run goes home like a small object, linked through its first word. */
		ash_remote_send_one(ash_slab_at(ash_frame_index(p), ASH_SLAB_MIN_ORDER)->owner, p);
		return;
	}
	const uint32_t nr = tag & ASH_TAG_FRAMES_MASK;
	struct ash_heap *self = ash_heap_get();

	ash_tag_store(ash_frame_index(p), 0);
	if (ASH_UNLIKELY(self == NULL)) {
		ash_run_free(p, nr);
		return;
	}
	/* Whoever frees keeps the count: only the sum over all heaps means something. */
	self->large_frames -= nr;
	self->large_count--;
	if (!kept_put(self, p, nr))
		ash_run_free(p, nr);
	/* Memory that the process has shown it can do without is not held back here. */
	if (ash_heap_decay(self) > 0)
		ash_large_drop_kept(self);
}

/* Make the run at p hold size bytes where it stands, by giving back or taking frames at its end. */
bool ash_large_resize(void *p, uint32_t tag, size_t size)
{
	const size_t min = (tag & ASH_TAG_LISTED) != 0 ? (size_t)1 << ASH_SLAB_MIN_ORDER : 1;
	const size_t old_nr = tag & ASH_TAG_FRAMES_MASK, nr = ash_max(ash_bytes_to_pages(size), min);
	struct ash_heap *self = ash_heap_get();
	bool zeroed;

	if (nr == old_nr || ash_run_keeps(old_nr, size))
		return true;
	if (nr > ASH_TAG_FRAMES_MASK || self == NULL || size <= ASH_SMALL_MAX / 2)
		return false; /* what shrinks to a small size moves to a slab */
	if (nr > old_nr && ash_run_extend(p, old_nr, nr, ASH_MT_UNMOVABLE, &zeroed) != 0)
		return false;
	ash_tag_store(ash_frame_index(p), (tag & ~ASH_TAG_FRAMES_MASK) | (uint32_t)nr);
	if (nr < old_nr)
		ash_run_free((char *)p + (nr << ASH_PAGE_SHIFT), old_nr - nr);
	self->large_frames += (int64_t)nr - (int64_t)old_nr;
	return true;
}

/*
 * A run of whole pageblocks takes its frames along, and only what is left over is copied. The old place is without
 * memory then, or has what was free at the new one.
 */
void *ash_large_move(void *p, uint32_t tag, size_t size)
{
	const size_t nr = tag & ASH_TAG_FRAMES_MASK, blocks = nr / PAGEBLOCK_FRAMES, whole = blocks * PAGEBLOCK_FRAMES;
	struct ash_heap *self = ash_heap_get();
	bool zeroed = true;
	char *to;

	if (blocks == 0 || (tag & ASH_TAG_LISTED) != 0 || self == NULL || runs_are_watched())
		return NULL;
	to = ash_large_alloc(self, size, 1, &zeroed);
	if (to == NULL)
		return NULL;
	/* What lies behind the pageblocks goes first: a page there keeps the kernel's mapping in one piece. */
	to[whole << ASH_PAGE_SHIFT] = 0;
	memcpy(to + (whole << ASH_PAGE_SHIFT), (char *)p + (whole << ASH_PAGE_SHIFT), (nr - whole) << ASH_PAGE_SHIFT);
	ash_tag_store(ash_frame_index(p), 0);
	self->large_frames -= (int64_t)nr;
	self->large_count--;
	ash_run_move(to, p, blocks, zeroed);
	if (nr > whole)
		ash_run_free((char *)p + (whole << ASH_PAGE_SHIFT), nr - whole);
	(void)ash_heap_decay(self);
	return to;
}
