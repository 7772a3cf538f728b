/* SPDX-License-Identifier: MIT */
/*
 * Objects whose owner lets them be moved, or dropped, when somebody needs a long run: the MOVABLE and RECLAIMABLE of
 * the page core, with the owner's functions behind its mover and shrinker.
 *
 * An object is one piece of 2^k frames. Its number, which stands in the tag of its first frame, leads to the functions.
 *
 * A move is over for the page core only some time after the owner's function has returned, and until then the new piece
 * must not be freed under it. The owner may free all the same, and cannot wait, since it may hold a lock that the next
 * move wants: so the free of an object that was moved in this turn is noted, and done when the turn ends.
 *
 *      IDLE --move--> MOVED --free--> FREED --end of the turn--> gone
 *        ^              |
 *        +--end of turn-+
 */
#include <errno.h>

#include "dma/pool.h"
#include "os/vmem.h"
#include "page/mover.h"

enum { OBJECTS_MAX = 1 << 18 };

enum state { IDLE, MOVED, FREED };

/* Under the lock, except ops and arg, which are constant while the number is in a tag. */
struct object {
	struct ash_dma_object_ops ops;
	void *arg;
	enum state state;
	uint32_t next;   /* of the free ones, or of those moved in the arena's turn; 0: none */
	ash_pfn_t pfn;   /* MOVED, FREED: where it is */
	unsigned order;
};

static struct {
	struct ash_lock lock;
	struct object *table; /* [OBJECTS_MAX]; 0 is nobody */
	uint32_t used;        /* numbers ever given out */
	uint32_t free;
} objects;

static uint32_t number_of(uint64_t tag)
{
	const uint32_t n = (uint32_t)(tag >> ASH_DMA_TAG_OBJECT_SHIFT);

	return (tag & ASH_DMA_TAG_KIND) == ASH_DMA_TAG_BUFFER && n < ASH_DMA_TAG_RESERVE ? n : 0;
}

static void count_object(unsigned order, int change)
{
	ash_dma_figure(&ash_dma.figures.objects, change);
	ash_dma_figure(&ash_dma.figures.object_bytes, change * (int64_t)(ASH_PAGE_SIZE << order));
}

static uint32_t take_number(const struct ash_dma_object_ops *ops, void *arg)
{
	uint32_t n = 0;
	void *table;

	ash_lock(&objects.lock, &ash_futex_ops);
	if (objects.table == NULL && ash_vmem_map(OBJECTS_MAX * sizeof(struct object), &table) == 0)
		objects.table = table;
	if (objects.table != NULL && objects.free != 0) {
		n = objects.free;
		objects.free = objects.table[n].next;
	} else if (objects.table != NULL && objects.used + 1 < OBJECTS_MAX) {
		n = ++objects.used;
	}
	if (n != 0) {
		objects.table[n].ops = *ops;
		objects.table[n].arg = arg;
		objects.table[n].state = IDLE;
	}
	ash_unlock(&objects.lock, &ash_futex_ops);
	return n;
}

/* Under the lock. */
static void give_number(uint32_t n)
{
	objects.table[n].next = objects.free;
	objects.free = n;
}

static struct ash_dma_arena *arena_of(const struct ash_zone *z)
{
	return ash_zone_owner(z);
}

static uint64_t tag_at(const struct ash_dma_arena *a, ash_pfn_t pfn)
{
	return atomic_load_explicit(&a->tags[pfn], memory_order_acquire);
}

static int isolate(struct ash_zone *z, ash_pfn_t pfn, unsigned order)
{
	const uint32_t n = number_of(tag_at(arena_of(z), pfn));

	(void)order;
	return n != 0 && objects.table[n].ops.move != NULL ? 0 : -ASH_EBUSY;
}

/* The object at src is being moved: from now on its end waits for the turn's. 0: it has been freed since it was
 * isolated. */
static uint64_t begin_move(struct ash_dma_arena *a, ash_pfn_t src, unsigned order)
{
	uint64_t tag;
	uint32_t n;

	ash_lock(&objects.lock, &ash_futex_ops);
	tag = tag_at(a, src);
	n = number_of(tag);
	if (n != 0 && objects.table[n].state == IDLE) {
		objects.table[n].state = MOVED;
		objects.table[n].order = order;
		objects.table[n].next = a->moved;
		a->moved = n;
	}
	if (n != 0)
		objects.table[n].pfn = src;
	ash_unlock(&objects.lock, &ash_futex_ops);
	return n != 0 ? tag : 0;
}

static int migrate(struct ash_zone *z, ash_pfn_t dst, ash_pfn_t src, unsigned order)
{
	struct ash_dma_arena *a = arena_of(z);
	const uint64_t tag = begin_move(a, src, order);
	struct object *o = &objects.table[number_of(tag)];
	bool moved;

	if (tag == 0)
		return -ASH_EBUSY;
	/* Before the owner makes the new address known, it is one that can be freed. */
	atomic_store_explicit(&a->tags[dst], tag, memory_order_release);
	o->pfn = dst;
	moved = o->ops.move(ash_dma_address(a, dst), ash_dma_address(a, src), ASH_PAGE_SIZE << order, o->arg) == 0;
	ash_lock(&objects.lock, &ash_futex_ops);
	if (!moved)
		o->pfn = src;
	atomic_store_explicit(&a->tags[moved ? src : dst], 0, memory_order_relaxed);
	ash_unlock(&objects.lock, &ash_futex_ops);
	if (moved)
		ash_dma_guest(a, dst, order);
	return moved ? 0 : -ASH_EBUSY;
}

static void putback(struct ash_zone *z, ash_pfn_t pfn, unsigned order)
{
	(void)z;
	(void)pfn;
	(void)order;
}

static int drop(struct ash_zone *z, ash_pfn_t pfn, unsigned order)
{
	struct ash_dma_arena *a = arena_of(z);
	const uint32_t n = number_of(tag_at(a, pfn));

	if (n == 0 || objects.table[n].ops.drop == NULL)
		return -ASH_EBUSY;
	return objects.table[n].ops.drop(ash_dma_address(a, pfn), ASH_PAGE_SIZE << order, objects.table[n].arg) == 0 ?
		       0 :
		       -ASH_EBUSY;
}

const struct ash_mover_ops ash_dma_mover = { .isolate = isolate, .migrate = migrate, .putback = putback };
const struct ash_shrinker_ops ash_dma_shrinker = { .drop = drop };

void ash_dma_objects_settle(struct ash_dma_arena *a)
{
	while (a->moved != 0) {
		struct object *o = &objects.table[a->moved];
		const uint32_t n = a->moved;
		const unsigned order = o->order;
		ash_pfn_t pfn;
		bool freed;

		ash_lock(&objects.lock, &ash_futex_ops);
		freed = o->state == FREED;
		o->state = IDLE;
		pfn = o->pfn;
		a->moved = o->next;
		if (freed)
			give_number(n);
		ash_unlock(&objects.lock, &ash_futex_ops);
		if (freed)
			ash_zone_free(a->zone, pfn, order, ASH_CPU_NONE);
	}
}

int ash_dma_object_free(struct ash_dma_arena *a, ash_pfn_t pfn, uint64_t tag)
{
	const unsigned order = ash_ctz((tag & (((uint64_t)1 << ASH_DMA_TAG_OBJECT_SHIFT) - 1)) >> ASH_DMA_TAG_SHIFT);
	struct object *o = &objects.table[number_of(tag)];
	bool mine, now;

	ash_lock(&objects.lock, &ash_futex_ops);
	mine = atomic_compare_exchange_strong_explicit(&a->tags[pfn], &tag, 0, memory_order_relaxed,
						       memory_order_relaxed);
	now = mine && o->state == IDLE;
	if (now)
		give_number(number_of(tag));
	else if (mine)
		o->state = FREED;
	ash_unlock(&objects.lock, &ash_futex_ops);
	if (mine)
		count_object(order, -1);
	if (now)
		ash_zone_free(a->zone, pfn, order, ASH_CPU_NONE);
	return mine ? 0 : -EINVAL;
}

void ash_dma_objects_forget(void)
{
	objects.lock = (struct ash_lock)ASH_LOCK_INIT;
	objects.table = NULL;
	objects.used = objects.free = 0;
}

struct piece {
	struct ash_dma_grant grant;
	unsigned order;
	enum ash_migratetype mt;
};

/* A piece of 2^order frames of a place; DIRECT first. */
static int take_piece(unsigned place, struct piece *p)
{
	for (unsigned kind = 0; kind < ASH_DMA_KINDS; kind++) {
		struct ash_dma_arena *a = ash_dma_arena_get(place, (enum ash_dma_kind)kind);
		struct ash_page_grant grant;

		if (a != NULL && atomic_load_explicit(&a->online, memory_order_relaxed) >> p->order != 0 &&
		    ash_zone_alloc(a->zone, p->order, p->mt, ASH_ALLOC_CMA, ash_dma_pcp(a), &grant) == 0) {
			p->grant = (struct ash_dma_grant){ a, grant.pfn, grant.zeroed };
			return 0;
		}
	}
	return -ENOMEM;
}

static int take_or_grow(unsigned place, struct ash_dma_request *r, void *piece)
{
	int err = take_piece(place, piece);

	if (err < 0 && (r->flags & ASH_DMA_NO_GROW) == 0 && ash_dma_grow(place, r) == 0)
		err = take_piece(place, piece);
	return err;
}

static int find_piece(struct piece *p, int node, const struct ash_policy *policy, unsigned flags)
{
	struct ash_dma_request r = {
		.nr = (ash_pfn_t)1 << p->order,
		.align_order = p->order,
		.limit = UINT64_MAX,
		.max_segments = UINT32_MAX,
		.flags = flags,
	};

	r.node = ash_dma_choose(node, policy, &r.nodes);
	return r.node < 0 ? -EINVAL : ash_dma_try_nodes(&r, take_or_grow, p);
}

static bool is_sane(size_t bytes, const struct ash_dma_object_ops *ops, int node, unsigned flags)
{
	return bytes > 0 && bytes <= ASH_DMA_SLOT_BYTES && (ops->move == NULL) != (ops->drop == NULL) &&
	       node >= ASH_NODE_LOCAL && node < ASH_NODES_MAX &&
	       (flags & ~(unsigned)(ASH_DMA_NO_GROW | ASH_DMA_NODE_STRICT)) == 0;
}

static int make(size_t bytes, const struct ash_dma_object_ops *ops, void *arg, int node,
		const struct ash_policy *policy, unsigned flags, void **out)
{
	struct piece p = { .mt = ops->move != NULL ? ASH_MT_MOVABLE : ASH_MT_RECLAIMABLE };
	int err = is_sane(bytes, ops, node, flags) ? ash_dma_setup() : -EINVAL;
	uint32_t n;

	if (err < 0)
		return err;
	p.order = ash_log2_ceil(ash_bytes_to_pages(bytes));
	n = take_number(ops, arg);
	err = n != 0 ? find_piece(&p, node, policy, flags) : -ENOMEM;
	if (err < 0) {
		if (n != 0) {
			ash_lock(&objects.lock, &ash_futex_ops);
			give_number(n);
			ash_unlock(&objects.lock, &ash_futex_ops);
		}
		return err;
	}
	count_object(p.order, 1);
	if (ops->move != NULL)
		ash_dma_guest(p.grant.arena, p.grant.pfn, p.order);
	atomic_store_explicit(&p.grant.arena->tags[p.grant.pfn],
			      (uint64_t)n << ASH_DMA_TAG_OBJECT_SHIFT |
				      (uint64_t)1 << (p.order + ASH_DMA_TAG_SHIFT) | ASH_DMA_TAG_BUFFER,
			      memory_order_release);
	*out = ash_dma_address(p.grant.arena, p.grant.pfn);
	return 0;
}

static void *alloc(size_t bytes, const struct ash_dma_object_ops *ops, void *arg, int node,
		   const struct ash_policy *policy, unsigned flags)
{
	void *p = NULL;
	const int err = make(bytes, ops, arg, node, policy, flags, &p);

	if (err < 0)
		errno = -err;
	return p;
}

void *ash_dma_alloc_object(size_t bytes, const struct ash_dma_object_ops *ops, void *arg, int node, unsigned flags)
{
	return alloc(bytes, ops, arg, node, NULL, flags);
}

void *ash_dma_alloc_object_policy(size_t bytes, const struct ash_dma_object_ops *ops, void *arg,
				  const struct ash_policy *policy, unsigned flags)
{
	return alloc(bytes, ops, arg, ASH_NODE_LOCAL, policy, flags);
}
