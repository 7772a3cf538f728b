/* SPDX-License-Identifier: MIT */
/* Buffers: the request as it is asked for, and its end. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "dma/pool.h"

#define ALIGN_MAX ASH_GIB(1)

static int read_attr(const struct ash_dma_attr *user, struct ash_dma_attr *attr)
{
	*attr = (struct ash_dma_attr)ASH_DMA_ATTR_INIT;
	if (user == NULL)
		return 0;
	/* A field behind the size the caller knows is 0; one behind what we know is none of our business. */
	if (user->size < offsetof(struct ash_dma_attr, align))
		return -EINVAL;
	memset(attr, 0, sizeof(*attr));
	memcpy(attr, user, ash_min(user->size, sizeof(*attr)));
	return 0;
}

/* Everything that is wrong with a request by itself. */
static bool is_sane(const struct ash_dma_attr *attr, size_t bytes)
{
	const uint32_t flags = ASH_DMA_NODE_STRICT | ASH_DMA_PAGES_STRICT | ASH_DMA_ZERO | ASH_DMA_NO_GROW |
			       ASH_DMA_SHARED | ASH_DMA_INHERIT;

	if (bytes == 0 || bytes > PTRDIFF_MAX || attr->node < ASH_NODE_LOCAL || attr->node >= ASH_NODES_MAX)
		return false;
	if (attr->align != 0 && (!ash_is_pow2(attr->align) || attr->align > ALIGN_MAX))
		return false;
	if (attr->boundary != 0 && (!ash_is_pow2(attr->boundary) || attr->boundary < bytes))
		return false;
	if (attr->level > ASH_DMA_PHYSICAL || attr->pages > ASH_DMA_PAGES_BASE || (attr->flags & ~flags) != 0)
		return false;
	/* A shared buffer is whole pages of a file of its own, in the order of the file, wherever they come to lie. */
	if ((attr->flags & ASH_DMA_SHARED) != 0 &&
	    (attr->level != ASH_DMA_VIRTUAL || attr->address_bits != 0 || attr->boundary != 0 ||
	     attr->reserve != NULL || attr->align > ASH_DMA_SLOT_BYTES || (attr->flags & ASH_DMA_NO_GROW) != 0))
		return false;
	if ((attr->flags & (ASH_DMA_SHARED | ASH_DMA_INHERIT)) == ASH_DMA_INHERIT)
		return false;
	return attr->address_bits <= 64 && attr->max_segments <= INT_MAX;
}

/* It is set up. -EINVAL: its policy cannot be; -ENOMEM: no arena is as long. */
static int fill_request(const struct ash_dma_attr *attr, size_t bytes, struct ash_dma_request *r)
{
	*r = (struct ash_dma_request){
		.nr = (ash_pfn_t)ash_bytes_to_pages(bytes),
		.align_order = attr->align > ASH_PAGE_SIZE ? ash_ctz(attr->align) - ASH_PAGE_SHIFT : 0,
		.boundary = attr->boundary >= ASH_PAGE_SIZE ? attr->boundary : 0,
		.limit = attr->address_bits == 0 || attr->address_bits == 64 ? UINT64_MAX : 1ull << attr->address_bits,
		.level = (enum ash_dma_level)attr->level,
		.max_segments = UINT_MAX,
		.pages = (enum ash_dma_pages)attr->pages,
		.flags = attr->flags,
	};
	r->node = ash_dma_choose(attr->node, attr->policy, &r->nodes);
	if (attr->level == ASH_DMA_PHYSICAL)
		r->max_segments = 1;
	else if (attr->level == ASH_DMA_SEGMENTS && attr->max_segments > 0)
		r->max_segments = attr->max_segments;
	if (r->node < 0) {
		r->node = -1;
		return -EINVAL;
	}
	/* Beyond an arena the number of frames may not even be one. */
	return bytes >> ash_dma.shift != 0 ? -ENOMEM : 0;
}

static void tag_buffer(const void *p, size_t bytes, uint64_t number)
{
	const struct ash_dma_arena *a = ash_dma_arena_of(p);
	const uint64_t frames = ash_bytes_to_pages(bytes);
	const enum ash_dma_level level = ash_dma_level_of(p, frames << ASH_PAGE_SHIFT);

	atomic_store_explicit(&a->tags[ash_dma_pfn(a, p)],
			      (uint64_t)level << ASH_DMA_TAG_LEVEL_SHIFT | number << ASH_DMA_TAG_OBJECT_SHIFT |
				      frames << ASH_DMA_TAG_SHIFT | ASH_DMA_TAG_BUFFER,
			      memory_order_relaxed);
	ash_dma_count(level, frames, 1);
}

/* What stands above the frames in a buffer's tag. */
static uint64_t number_of(uint64_t tag)
{
	return (tag & (((uint64_t)1 << ASH_DMA_TAG_LEVEL_SHIFT) - 1)) >> ASH_DMA_TAG_OBJECT_SHIFT;
}

/* Shared buffers are whole pages of 2 MiB: that many frames are as good as the bytes. */
static int share(unsigned place, struct ash_dma_request *r, void *out)
{
	return ash_dma_share_alloc(place, (size_t)r->nr << ASH_PAGE_SHIFT, r->pages,
				   (r->flags & ASH_DMA_PAGES_STRICT) != 0, (r->flags & ASH_DMA_INHERIT) != 0, out);
}

static int alloc(size_t bytes, const struct ash_dma_attr *attr, struct ash_dma_request *r, void **out)
{
	struct ash_dma_grant grant;
	int err;

	err = ash_dma_setup();
	if (err < 0)
		return -ENOMEM;
	err = fill_request(attr, bytes, r);
	if (err < 0)
		return err;
	if ((attr->flags & ASH_DMA_NODE_STRICT) != 0 && ash_dma_place(r->node) == ASH_DMA_NO_PLACE &&
	    (!ash_dma_nodes_look(true) || ash_dma_place(r->node) == ASH_DMA_NO_PLACE))
		return -EINVAL;
	if ((attr->flags & ASH_DMA_SHARED) != 0)
		return ash_dma_try_nodes(r, share, out);
	err = ash_dma_take(r, &grant);
	if (err < 0)
		return r->hidden ? -ENODATA : -ENOMEM;
	*out = ash_dma_address(grant.arena, grant.pfn);
	if ((attr->flags & ASH_DMA_ZERO) != 0 && !grant.zeroed)
		memset(*out, 0, (size_t)r->nr << ASH_PAGE_SHIFT);
	return 0;
}

static void *alloc_frames(size_t bytes, const struct ash_dma_attr *attr, bool sane)
{
	struct ash_dma_request r = { .node = -1, .limit = UINT64_MAX };
	void *p = NULL;
	int err = sane ? alloc(bytes, attr, &r, &p) : -EINVAL;

	if (ASH_LIKELY(err == 0))
		return p;
	ash_dma_fail(&r, bytes, -err, attr->error);
	errno = -err;
	return NULL;
}

void *ash_dma_alloc_frames(size_t bytes, const struct ash_dma_attr *attr)
{
	return alloc_frames(bytes, attr, is_sane(attr, bytes));
}

/* Less than a frame, with no wish that a pool's objects do not meet anyhow. */
static bool is_small(const struct ash_dma_attr *attr, size_t bytes)
{
	return bytes < ASH_PAGE_SIZE && attr->address_bits == 0 && attr->pages == ASH_DMA_PAGES_ANY &&
	       (attr->flags & ~(uint32_t)ASH_DMA_ZERO) == 0;
}

static void *zeroed_small(void *p, const struct ash_dma_attr *attr, size_t bytes)
{
	return (attr->flags & ASH_DMA_ZERO) != 0 ? memset(p, 0, bytes) : p;
}

int ash_dma_request_read(const struct ash_dma_attr *user, size_t bytes, struct ash_dma_request *r)
{
	struct ash_dma_attr attr;

	if (read_attr(user, &attr) < 0 || !is_sane(&attr, bytes))
		return -EINVAL;
	if (ash_dma_setup() < 0)
		return -ENOMEM;
	return fill_request(&attr, bytes, r);
}

static void *alloc_reserved(const struct ash_dma_attr *attr, size_t bytes)
{
	struct ash_dma_request r = { .node = -1, .limit = UINT64_MAX };
	unsigned number;
	void *p;
	int err;

	err = ash_dma_setup() < 0 ? -ENOMEM : fill_request(attr, bytes, &r);
	if (err == 0)
		err = ash_dma_reserve_take(attr->reserve, &r, &p, &number);
	if (err == 0) {
		tag_buffer(p, bytes, ASH_DMA_TAG_RESERVE + number);
		return (attr->flags & ASH_DMA_ZERO) != 0 ? memset(p, 0, (size_t)r.nr << ASH_PAGE_SHIFT) : p;
	}
	ash_dma_fail(&r, bytes, -err, attr->error);
	errno = -err;
	return NULL;
}

void *ash_dma_alloc(size_t bytes, const struct ash_dma_attr *user)
{
	struct ash_dma_attr attr;
	const bool sane = read_attr(user, &attr) == 0 && is_sane(&attr, bytes);
	void *p = NULL;

	if (attr.reserve != NULL)
		attr.policy = NULL;
	if (sane && attr.reserve != NULL)
		return alloc_reserved(&attr, bytes);
	if (sane && is_small(&attr, bytes))
		p = ash_dma_small_alloc(&attr, bytes);
	if (p != NULL)
		return zeroed_small(p, &attr, bytes);
	p = alloc_frames(bytes, &attr, sane);
	if (p != NULL && (attr.flags & ASH_DMA_SHARED) == 0)
		tag_buffer(p, bytes, 0);
	return p;
}

/* A buffer that is there: of frames of its own, an object of a pool, or shared. */
struct buffer {
	struct ash_dma_arena *arena;
	struct ash_dma_pool *pool; /* NULL: none */
	uint64_t tag;
	ash_pfn_t nr;
	size_t bytes;
};

static bool buffer_at(const void *p, struct buffer *b)
{
	struct ash_dma_arena *a = ash_dma_arena_of(p);
	uint64_t tag;

	if (a == NULL || ash_dma_run_bytes(a, ash_dma_pfn(a, p)) == 0)
		return false;
	tag = atomic_load_explicit(&a->tags[ash_dma_pfn(a, p)], memory_order_relaxed);
	*b = (struct buffer){ .arena = a, .tag = tag };
	if ((tag & ASH_DMA_TAG_KIND) == ASH_DMA_TAG_POOL) {
		b->pool = ash_dma_tag_pool(tag);
		b->bytes = b->pool->stride;
		return ash_dma_is_small(b->pool) && ash_dma_small_is(a, p);
	}
	if (((uintptr_t)p & (ASH_PAGE_SIZE - 1)) != 0)
		return false;
	if ((tag & ASH_DMA_TAG_KIND) == ASH_DMA_TAG_SHARED) {
		b->bytes = ash_dma_share_bytes(tag);
		return true;
	}
	b->nr = (ash_pfn_t)((tag & (((uint64_t)1 << ASH_DMA_TAG_OBJECT_SHIFT) - 1)) >> ASH_DMA_TAG_SHIFT);
	b->bytes = (size_t)b->nr << ASH_PAGE_SHIFT;
	return (tag & ASH_DMA_TAG_KIND) == ASH_DMA_TAG_BUFFER;
}

/* Not a buffer proper: its owner may move it, or drop it. */
static bool is_object(const struct buffer *b)
{
	const uint64_t number = b->nr > 0 ? number_of(b->tag) : 0;

	return number != 0 && number < ASH_DMA_TAG_RESERVE;
}

/* Of two that free one buffer at the same time, one is told that there is none. */
static bool end_frames(const struct buffer *b, const void *p)
{
	uint64_t tag = b->tag;

	if (!atomic_compare_exchange_strong_explicit(&b->arena->tags[ash_dma_pfn(b->arena, p)], &tag, 0,
						     memory_order_relaxed, memory_order_relaxed))
		return false;
	ash_dma_count((enum ash_dma_level)(tag >> ASH_DMA_TAG_LEVEL_SHIFT), b->nr, -1);
	return true;
}

/* A naturally aligned power of two is one piece, wherever it was found, and may go through the pcp. */
static void free_frames(struct ash_dma_arena *a, ash_pfn_t pfn, ash_pfn_t nr)
{
	const unsigned order = ash_log2_ceil(nr);

	if (nr == 1u << order && order <= ASH_DMA_PCP_ORDER && (pfn & (nr - 1)) == 0)
		ash_zone_free(a->zone, pfn, order, ash_dma_pcp(a));
	else
		ash_zone_free_run(a->zone, pfn, nr);
}

int ash_dma_free(void *p)
{
	struct buffer b;

	if (p == NULL)
		return 0;
	if (ASH_UNLIKELY(!buffer_at(p, &b)))
		return -EINVAL;
	if (b.pool != NULL) {
		if (!ash_dma_small_end(b.arena, p))
			return -EINVAL;
		ash_dma_pool_put(b.pool, p);
		return 0;
	}
	if ((b.tag & ASH_DMA_TAG_KIND) == ASH_DMA_TAG_SHARED)
		return ash_dma_share_free(b.arena, ash_dma_pfn(b.arena, p), b.tag);
	if (number_of(b.tag) >= ASH_DMA_TAG_RESERVE) {
		if (!end_frames(&b, p))
			return -EINVAL;
		ash_dma_reserve_give((unsigned)number_of(b.tag) - ASH_DMA_TAG_RESERVE, ash_dma_pfn(b.arena, p), b.nr);
		return 0;
	}
	if (is_object(&b))
		return ash_dma_object_free(b.arena, ash_dma_pfn(b.arena, p), b.tag);
	if (!end_frames(&b, p))
		return -EINVAL;
	free_frames(b.arena, ash_dma_pfn(b.arena, p), b.nr);
	return 0;
}

int ash_dma_free_sensitive(void *p)
{
	struct buffer b;

	if (p == NULL)
		return 0;
	if (!buffer_at(p, &b))
		return -EINVAL;
	memset(p, 0, b.bytes);
	/* The stores are dead to the compiler: nobody reads them. */
	ash_keep_stores(p);
	return ash_dma_free(p);
}

void *ash_dma_realloc(void *p, size_t bytes, const struct ash_dma_attr *attr)
{
	struct buffer b;
	void *to;
	int err;

	if (p == NULL)
		return ash_dma_alloc(bytes, attr);
	/* An object may be moved by the very allocation that is to follow. */
	if (!buffer_at(p, &b) || is_object(&b)) {
		errno = EINVAL;
		return NULL;
	}
	to = ash_dma_alloc(bytes, attr);
	if (to == NULL)
		return NULL;
	memcpy(to, p, ash_min(bytes, b.bytes));
	err = ash_dma_free(p);
	if (err == 0)
		return to;
	(void)ash_dma_free(to);
	errno = -err;
	return NULL;
}

static void add_slots(const struct ash_dma_arena *a, const char *p, size_t bytes, struct ash_dma_info *info)
{
	const ash_pfn_t first = ash_dma_pfn(a, p) >> ASH_DMA_SLOT_ORDER;
	const ash_pfn_t last = ash_dma_pfn(a, p + bytes - 1) >> ASH_DMA_SLOT_ORDER;

	info->pinned = ASH_DMA_PINNED_KERNEL;
	info->phys_known = 1;
	for (ash_pfn_t i = first; i <= last; i++) {
		const struct ash_dma_slot *s = &a->slots[i];

		info->pages = s->pages > info->pages ? s->pages : info->pages;
		info->pinned = s->pinned < info->pinned ? s->pinned : info->pinned;
		if (atomic_load_explicit(&s->phys, memory_order_relaxed) == ASH_DMA_UNKNOWN)
			info->phys_known = 0;
	}
}

int ash_dma_info_read(const void *p, struct ash_dma_info *out)
{
	struct ash_dma_info info = { .start = (void *)(uintptr_t)p };
	struct buffer b;

	if (!buffer_at(p, &b) || out->size < sizeof(info.size) + sizeof(info.level))
		return -EINVAL;
	info.size = (uint32_t)ash_min(out->size, sizeof(info));
	info.bytes = b.bytes;
	info.nr_segments = ash_dma_segments(p, info.bytes, NULL, 0);
	info.node = b.arena->node;
	add_slots(b.arena, p, info.bytes, &info);
	if (info.nr_segments == 1)
		info.level = ASH_DMA_PHYSICAL;
	else
		info.level = info.phys_known ? ASH_DMA_SEGMENTS : ASH_DMA_VIRTUAL;
	memcpy(out, &info, info.size);
	return 0;
}
