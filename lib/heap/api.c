/* SPDX-License-Identifier: MIT */
/*
 * malloc, calloc, realloc, aligned allocation and free: the slow halves, and the whole of the rarer calls.
 *
 * Where small ends: up to ASH_SMALL_MAX an object comes from a slab. Requests above ASH_MEDIUM_DIRECT get exact runs
 * until the heap is so large that a slab of their class, of which it may use one object, is little of it.
 */
#include "heap/fast.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "os/log.h"
#include "os/text.h"

#define ASH_MEDIUM_DIRECT 16384
#define ASH_MEDIUM_SHARE 4 /* a slab is at most the 16th part of the heap's slabs */

void ash_heap_corrupt(const char *what, const void *p)
{
	char line[128];
	struct ash_text text;

	ash_text_init(&text, line, sizeof(line));
	ash_text_str(&text, what);
	ash_text_str(&text, ": 0x");
	ash_text_hex(&text, (uintptr_t)p);
	ash_log(line);
	abort();
}

/*
 * An object of any size for h, the caller's or a first-class heap; NULL and no errno when there is no memory. *zeroed:
 * whether it should read as zero, and whether it does.
 */
static ASH_EARLY void *heap_alloc(struct ash_heap *h, size_t size, bool *zeroed)
{
	unsigned cls;
	void *p;

	if (size > ASH_SMALL_MAX) {
		if (*zeroed && size > ASH_PAGEBLOCK_BYTES - ASH_PAGE_SIZE)
			ash_arena_note_zeroed();
		return ash_large_alloc(h, size, 1, zeroed);
	}
	cls = ash_class_of(size);
	p = ash_bin_pop(h, cls);
	if (ASH_LIKELY(p != NULL)) {
		*zeroed = false;
		return p;
	}
	if (size > ASH_MEDIUM_DIRECT && h->partial[cls] == NULL && !h->first_class &&
	    h->slab_frames >> ASH_MEDIUM_SHARE < (uint64_t)1 << ash_classes[cls].slab_order)
		return ash_large_alloc(h, size, 1, zeroed);
	*zeroed = false;
	return ash_bin_refill(h, cls);
}

static ASH_COLD void *out_of_memory(void)
{
	errno = ENOMEM;
	return NULL;
}

/* size may be anything; errno is set on failure and otherwise left alone. */
static ASH_EARLY void *thread_alloc(size_t size, bool *zeroed)
{
	struct ash_heap *h;
	void *p = NULL;

	if (ASH_LIKELY(size <= ASH_MAX_REQUEST)) {
		h = ash_heap_get_local();
		if (ASH_LIKELY(h != NULL))
			p = heap_alloc(h, size, zeroed);
		ash_heap_settle();
	}
	return ASH_LIKELY(p != NULL) ? p : out_of_memory();
}

static ASH_EARLY ASH_NOINLINE void *malloc_slower(size_t size)
{
	bool zeroed = false;

	return thread_alloc(size, &zeroed);
}

/* Objects that the inline path's table does not reach are popped here, with no frame on the stack. */
ASH_EARLY void *ash_heap_malloc_slow(size_t size)
{
	if (ASH_LIKELY(size <= ASH_SMALL_MAX)) {
		void *p = ash_bin_pop(ash_heap_self, ash_class_of(size));

		if (ASH_LIKELY(p != NULL))
			return p;
	}
	return malloc_slower(size);
}

void *ash_heap_malloc(size_t size)
{
	return ash_fast_malloc(size);
}

ASH_EARLY void *ash_heap_calloc(size_t n, size_t size)
{
	size_t bytes;
	bool zeroed = true;
	void *p;

	if (ASH_UNLIKELY(__builtin_mul_overflow(n, size, &bytes)))
		return out_of_memory();
	p = thread_alloc(bytes, &zeroed);
	return ASH_LIKELY(p != NULL && !zeroed) ? memset(p, 0, bytes) : p;
}

/*
 * The smallest class whose objects all lie on multiples of align, or ASH_NR_CLASSES. Slabs are page aligned. Above a
 * page few classes are a multiple of much, and an exact run wastes less than the next that is.
 */
static unsigned aligned_class(size_t align, size_t size)
{
	unsigned cls;

	if (align > ASH_PAGE_SIZE || size > ASH_SMALL_MAX)
		return ASH_NR_CLASSES;
	for (cls = ash_class_of(ash_max(ash_align_up(size, align), align)); cls < ASH_NR_CLASSES; cls++)
		if (ash_class_aligned(&ash_classes[cls], align))
			break;
	if (cls < ASH_NR_CLASSES && size > ASH_PAGE_SIZE && ash_classes[cls].size > size + size / 4)
		return ASH_NR_CLASSES;
	return cls;
}

static ASH_EARLY void *heap_aligned(struct ash_heap *h, size_t align, size_t size, bool *zeroed)
{
	unsigned cls = aligned_class(align, size);

	if (cls < ASH_NR_CLASSES)
		return heap_alloc(h, ash_classes[cls].size, zeroed);
	return ash_large_alloc(h, ash_max(size, 1), align, zeroed);
}

ASH_EARLY void *ash_heap_aligned(size_t align, size_t size)
{
	struct ash_heap *h;
	bool zeroed = false;
	void *p = NULL;

	/* Objects of more than eight bytes are aligned to sixteen. */
	if (align <= 16)
		return ash_fast_malloc(ash_max(size, align));
	if (size <= ASH_MAX_REQUEST && align <= ASH_MAX_REQUEST) {
		h = ash_heap_get_local();
		if (h != NULL)
			p = heap_aligned(h, align, size, &zeroed);
		ash_heap_settle();
	}
	return ASH_LIKELY(p != NULL) ? p : out_of_memory();
}

void *ash_heap_alloc_from(struct ash_heap *h, size_t align, size_t size, bool zero)
{
	bool zeroed = zero;
	void *p = NULL;

	if (size <= ASH_MAX_REQUEST && align <= ASH_MAX_REQUEST)
		p = align <= 16 ? heap_alloc(h, ash_max(size, align), &zeroed) : heap_aligned(h, align, size, &zeroed);
	if (p == NULL)
		return out_of_memory();
	return zero && !zeroed ? memset(p, 0, size) : p;
}

static ASH_COLD void foreign_free(void *p)
{
	const int saved = errno;

	atomic_fetch_add_explicit(&ash_heaps.foreign_frees, 1, memory_order_relaxed);
	if (ash_heap_foreign != NULL)
		ash_heap_foreign->free(p);
	errno = saved;
}

static ASH_NOINLINE void free_remote(void *p, uint32_t tag, struct ash_heap *self)
{
	if (ASH_UNLIKELY(tag == 0))
		ash_heap_corrupt("free of an address that is not allocated", p);
	if (ASH_UNLIKELY(self == &ash_heap_none))
		self = ash_heap_get_slow();
	if (ASH_UNLIKELY(self == NULL))
		ash_remote_send_one(ash_heap_by_tag(tag), p);
	else if (ASH_UNLIKELY(self->owner == tag >> ASH_TAG_OWNER_SHIFT)) /* the heap it has just got */
		ash_bin_push(self, tag & ASH_TAG_CLASS_MASK, p);
	else
		ash_remote_free(self, p, tag);
	ash_heap_settle();
}

static ASH_EARLY ASH_NOINLINE void free_large(void *p, uint32_t tag)
{
	ash_large_free(p, tag);
	ash_heap_settle();
}

/* Not inlined: where it is, every free of another thread's object makes a stack frame. */
static ASH_EARLY ASH_NOINLINE void free_not_added(void *p, uint32_t differs, struct ash_heap *self)
{
	const uint32_t tag = differs ^ (uint32_t)self->tag;

	if (ash_outbox_keep(self, p, differs))
		return;
	if ((tag & ASH_TAG_LARGE) == 0)
		free_remote(p, tag, self);
	else
		free_large(p, tag);
}

/* differs: the tag of p's frame XOR that of self, whose slab it is not in. */
ASH_HOT void ash_heap_free_other(void *p, uint32_t differs, struct ash_heap *self)
{
	if (ASH_UNLIKELY(!ash_outbox_push(self, p, differs)))
		free_not_added(p, differs, self);
}

/* NULL and foreign pointers. */
ASH_EARLY void ash_heap_free_slow(void *p)
{
	if (p != NULL)
		foreign_free(p);
}

void ash_heap_free(void *p)
{
	ash_fast_free(p);
}

ASH_EARLY size_t ash_heap_usable(const void *p)
{
	uint32_t tag;

	if (p == NULL)
		return 0;
	if (ash_is_foreign(p))
		return ash_heap_foreign != NULL ? ash_heap_foreign->usable(p) : 0;
	tag = ash_tag_load(ash_frame_index(p));
	if ((tag & ASH_TAG_LARGE) != 0)
		return (size_t)(tag & ASH_TAG_FRAMES_MASK) << ASH_PAGE_SHIFT;
	return tag == 0 ? 0 : ash_classes[tag & ASH_TAG_CLASS_MASK].size;
}

/* In place when the size fits and at most half of it would be wasted, or when a large run can be cut or extended. */
static bool realloc_in_place(void *p, size_t size)
{
	const uint32_t tag = ash_tag_load(ash_frame_index(p));
	const struct ash_class *c;

	if ((tag & ASH_TAG_LARGE) != 0)
		return ash_large_resize(p, tag, size);
	if (ASH_UNLIKELY(tag == 0))
		ash_heap_corrupt("realloc of an address that is not allocated", p);
	c = &ash_classes[tag & ASH_TAG_CLASS_MASK];
	return size <= c->size && size >= c->keep_min;
}

/*
 * What grows once grows again: a small block that has to move gets room for a quarter more than it had, so that growing
 * by a little at a time copies a block some twenty times on its way to 64 KiB, not sixty.
 */
static size_t growth_size(size_t size, size_t usable)
{
	const size_t more = usable + usable / 4;

	return ash_max(size, ash_min(more, ASH_SMALL_MAX));
}

ASH_EARLY void *ash_heap_realloc(void *p, size_t size)
{
	void *to;

	if (p == NULL)
		return ash_fast_malloc(size);
	if (ASH_UNLIKELY(ash_is_foreign(p)))
		return ash_heap_foreign != NULL ? ash_heap_foreign->realloc(p, size) : out_of_memory();
	if (ASH_UNLIKELY(size == 0)) {
		ash_fast_free(p);
		return NULL;
	}
	if (ASH_UNLIKELY(size > ASH_MAX_REQUEST))
		return out_of_memory();
	if (realloc_in_place(p, size)) {
		ash_heap_settle();
		return p;
	}
	const uint32_t tag = ash_tag_load(ash_frame_index(p));
	const size_t usable = ash_heap_usable(p);
	const int saved = errno;

	if ((tag & ASH_TAG_LARGE) != 0 && size > usable) {
		to = ash_large_move(p, tag, size);
		ash_heap_settle();
		if (to != NULL)
			return to;
	}
	to = ash_fast_malloc(size > usable ? growth_size(size, usable) : size);
	if (ASH_UNLIKELY(to == NULL)) {
		/* Moving what shrinks only saves memory: without any to move to, it stays. */
		if (size > usable)
			return NULL;
		errno = saved;
		return p;
	}
	memcpy(to, p, ash_min(size, usable));
	ash_fast_free(p);
	return to;
}
