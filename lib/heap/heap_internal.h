/* SPDX-License-Identifier: MIT */
/*
 * The structures of the heap. Only lib/heap includes this (and ctl's statistics through heap.h's functions).
 *
 * Field legend: (o) the owner thread only; (c) constant after creation; (a) atomic; (l) ash_heaps.lock;
 * (r) written by the owner, read racily by statistics.
 */
#ifndef ASH_HEAP_HEAP_INTERNAL_H
#define ASH_HEAP_HEAP_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena/arena.h"
#include "base/compiler.h"
#include "base/lock.h"
#include "heap/heap.h"
#include "heap/sizeclass.h"

/*
 * Tags: the 32-bit word arena keeps per frame, 0 when the heap does not own the frame.
 *
 *   slab frame             owner << 8 | class        every frame of the slab
 *   large run, head frame  LARGE | nr_frames         other frames 0
 *   ... of a first-class   LARGE | LISTED | nr_frames, with a struct ash_slab at its head
 *
 * free() XORs the tag with its own heap's owner << 8: a result below ASH_NR_CLASSES says in one comparison that the
 * object is small, is ours, and which class it has. Owners begin at 1, so the tag 0 never passes.
 */
#define ASH_TAG_OWNER_SHIFT 8
#define ASH_TAG_CLASS_MASK 0xffu
#define ASH_TAG_LARGE (1u << 31)
#define ASH_TAG_LISTED (1u << 30)
#define ASH_TAG_FRAMES_MASK (ASH_TAG_LISTED - 1)
#define ASH_OWNER_MAX ((1u << 22) - 1) /* owner << 8 stays clear of the LARGE and LISTED bits */

/*
 * A free object: its first word links it to the next, in a bin, a slab or a remote list. One of the smallest class has
 * no other. What else is to be said of free objects stands in the bits of links that are 0 in an object's address: the
 * three lowest, and those above ASH_LINK_MASK, because mmap(2) gives no higher address to who does not ask for one.
 */
struct ash_object {
	union {
		struct ash_object *next;
		uintptr_t link;
	};
	uintptr_t batch; /* of the first of a batch on a remote list: the one before it; see batch.h */
	struct ash_object *carried[]; /* as many as it has room for, and ASH_CARRIED_MAX at most; see batch.h */
};
#define ASH_LINK_BITS 48
#define ASH_LINK_MASK (((uintptr_t)1 << ASH_LINK_BITS) - 1)
#define ASH_BATCH_TINY ((uintptr_t)1) /* the batch's first object is of the smallest class */
#define ASH_BATCH_END ((uintptr_t)2)  /* the object is the last of its batch */
ASH_BUILD_ASSERT(ASH_CARRIED_SHIFT >= ASH_LINK_BITS && ASH_CARRIED_MAX >> (64 - ASH_CARRIED_SHIFT) == 0,
		 "what an object carries is counted above the address in its link");

/* Full bins of one class, put aside; see depot.c. */
struct ash_depot {
	struct ash_object *first; /* (o) of the magazine put there last */
	uint32_t nr;              /* (r) objects in all of them */
};

/*
 * A thread's bins: stacks of free objects, one of each class. There is an array of each field, because an instruction
 * indexes by 4 or 8 itself: a structure of 16 bytes would have to be found by a shift and an addition (decision 017).
 */
struct ash_bins {
	struct ash_object *head[ASH_NR_CLASSES]; /* (o) */
	int32_t room[ASH_NR_CLASSES];            /* (o) frees until the bin is full; counts pops back up */
	/* (o) room for what the last refill brought beyond half a bin; see ash_bin_held() */
	int32_t extra[ASH_NR_CLASSES];
};

/*
 * A slab: a naturally aligned run of 2^slab_order frames that holds objects of one class of one owner. Its descriptor
 * is found by arithmetic: ash_slabs[-(head frame / 16)], which is why no slab is smaller than 16 frames.
 *
 * Objects are on the slab's free list (nr_free), never carved yet (capacity - carved), or elsewhere: handed out, in
 * somebody's bin or on their way home, which the slab does not tell apart (carved - nr_free). A slab with nr_free > 0
 * or uncarved objects is on its class's partial list; nr_free == carved means nobody uses it. Of nr_free, nr_away are
 * on no list, because the memory of parts that they touch has been given back (parts.c).
 *
 * The same descriptor with cls == ASH_SLAB_LARGE stands for a large run of a first-class heap.
 */
struct ash_slab {
	struct ash_object *free;            /* (o) */
	uint32_t nr_free;                   /* (o) */
	uint32_t carved;                    /* (o) */
	struct ash_slab *next, *prev;       /* (o) partial list; NULL prev and not head: off the list */
	struct ash_slab *all_next, *all_prev; /* (o) every slab of the heap */
	uint8_t cls;                        /* (o) */
	bool partial;                       /* (o) is on the partial list */
	/* (o) sweeps since a bin was refilled from it, or it was thinned; saturates */
	uint8_t alone;
	/* (o) parts that were given back, a bit each, and the objects that touch them */
	uint16_t away, nr_away;
	struct ash_heap *owner;             /* (o) */
};
ASH_BUILD_ASSERT(sizeof(struct ash_slab) == 64, "one cache line per slab, and a power of two to divide by");
#define ASH_SLAB_MIN_ORDER 4 /* 64 KiB */
#define ASH_SLAB_MAX_ORDER 6 /* 256 KiB */
#define ASH_SLAB_ORDERS (ASH_SLAB_MAX_ORDER - ASH_SLAB_MIN_ORDER + 1)
#define ASH_SLAB_LARGE 0xff

/* (c) one per 2^ASH_SLAB_MIN_ORDER frames of the reservation, each before the one of the frames below */
extern ASH_HIDDEN struct ash_slab *ash_slabs;

/* Objects of another heap on their way home, collected so that one atomic exchange sends many. */
struct ash_outbox {
	int64_t credit; /* (o) room for more, << 32, minus what ash_class_cost says per object; empty: 0 */
	/* (o) the owner's tag XOR that of the heap whose outbox it is, as free() has it at hand; 0: empty */
	uint32_t differs;
	uint32_t keeps; /* (o) so many objects may be kept; if any, `differs` has ASH_OUTBOX_CLOSED */
	/* (o) the last that is linked, whose link counts as many as it has room for; none is: ASH_BATCH_END */
	uintptr_t head;
	/* (o) where it takes the next address, and where none any more */
	struct ash_object **at, **end;
	struct ash_object *tail; /* (o) the first that was linked, behind which the batch ends */
} ASH_ALIGNED(64); /* the fast path indexes outboxes by a shift */
#define ASH_OUTBOXES 8
#define ASH_OUTBOX_CLOSED 0x80u /* beside the owner: nothing is added without a look at it */

/*
 * Large runs of a thread's heap that were freed a moment ago, for the next request of about their length: the page core
 * would merge them and cut them again, under the zone's lock. Their tags are 0. The oldest goes first.
 */
#define ASH_KEPT_RUNS 8
#define ASH_KEPT_RUN_FRAMES 80 /* the longest kept */
#define ASH_KEPT_FRAMES 160     /* in all */
struct ash_kept {
	void *run[ASH_KEPT_RUNS];   /* (o) */
	uint32_t nr[ASH_KEPT_RUNS]; /* (o) frames of each; 0: none */
	uint32_t frames;            /* (r) their sum */
	uint32_t turn;              /* (o) the next to be replaced, modulo ASH_KEPT_RUNS */
};

enum ash_heap_state {
	ASH_HEAP_ACTIVE,     /* a thread owns it, or a first-class heap in use */
	ASH_HEAP_ORPHAN,     /* its thread ended; waits for the next one; drained under ash_heaps.lock */
	ASH_HEAP_LOST,       /* belonged to a thread that fork did not copy: its lists may be torn, nobody touches it */
	ASH_HEAP_FREE,       /* a destroyed first-class heap's structure, for the next one */
};

struct ash_heap {
	struct ash_bins bins;                         /* first: the fast paths index from the heap pointer */
	/* (c) owner << ASH_TAG_OWNER_SHIFT; wide, as free computes with it */
	size_t tag;
	uint32_t owner;                               /* (c) index in ash_heaps.table */
	_Atomic bool first_class;                     /* (c) while ACTIVE; (a) to others: a structure is used again */
	bool keeps_others;                            /* (o) other heaps' objects may be in its bins */
	bool moved;                                   /* (o) its runs may be on another node than their arena's */
	const struct ash_zonelist *zonelist;          /* (o) where its memory comes from */
	uint64_t refilled;                            /* (o) bins that were, since they were emptied last; a bit each */
	struct ash_depot depot[ASH_NR_CLASSES];       /* (o) what was in bins that were full */
	uint64_t depot_bytes;                         /* (o) of all of them */
	uint8_t depot_class;                          /* (o) the next to give to slabs before the heap grows */
	/* (o) slabs with free or uncarved objects, the next to use first */
	struct ash_slab *partial[ASH_NR_CLASSES];
	struct ash_slab *empty[ASH_SLAB_ORDERS];      /* (o) slabs nobody uses, kept by order for the next slab */
	struct ash_slab *all;                         /* (o) every slab (first-class heaps: and large run) */
	struct ash_outbox outbox[ASH_OUTBOXES];       /* (o) */
	uint8_t borrowed[ASH_NR_CLASSES];             /* (o) objects that another class has given so far; see cache.c */
	struct ash_kept kept;                         /* (o) empty in a first-class heap */
	uint64_t sweep_due;                           /* (o) clock of the next bin to be emptied; 0: not set yet */
	uint8_t sweep_class;                          /* (o) whose it is */
	uint8_t sweep_skip;                           /* (o) refills until the clock is read again */
	uint64_t free_bytes, away_bytes;              /* (o) of the slabs seen in this turn of sweeps; see parts.c */
	/* (o) bytes free and in memory, beyond what is to stay, at the last turn */
	uint64_t loose;
	uint64_t slab_frames;                         /* (r) frames in slabs */
	uint64_t empty_frames;                        /* (r) of these in empty[] */
	int64_t large_frames, large_count;            /* (r) allocated minus freed by this heap: sum over heaps */
	uint64_t remote_frees;                        /* (r) objects sent to other heaps */
	uint32_t looked;                              /* (o) the heap that was looked at last; see waiting.c */
	struct ash_heap *orphan_next;                 /* (l) */

	/* Written by other threads, so on lines of their own. */
	ASH_ALIGNED(64) _Atomic(uintptr_t) remote;    /* (a) freed by others; the owner takes all at once */
	_Atomic uint32_t state;                       /* (a) enum ash_heap_state */
	_Atomic uint32_t batches;                     /* (a) on the remote list, about */
	_Atomic(uintptr_t) home;                      /* (a) batches off the remote list, to be walked; an orphan: 0 */
	_Atomic(uintptr_t) spare;                     /* (a) batches that waited elsewhere; see waiting.c */
};

/* What each bin of a thread that ended may keep, in bytes: so an orphan's caches have a bound, times ASH_NR_CLASSES. */
#define ASH_ORPHAN_BIN_BYTES 4096

/* Every heap there ever was: structures are reused, never given back, so a stale owner number is always readable. */
struct ash_heaps {
	struct ash_lock lock;
	_Atomic(struct ash_heap *) *table; /* [owner]; (l) to write, owners in tags are always valid to read */
	uint32_t nr;                    /* (l) highest owner in use */
	uint32_t max;                   /* (c) entries in table */
	struct ash_heap **orphans;                    /* (l) [ASH_ZONELIST_HOMES] by the home of their memory */
	_Atomic uint32_t nr_orphans;    /* (a) on all of these lists; written under the lock */
	struct ash_heap *free;          /* (l) */
	/* Held while orphans are borrowed (thread.c), and so by fork, which is to find none that is. Before `lock`. */
	struct ash_lock trim;
	_Atomic uint64_t foreign_frees;
};
extern ASH_HIDDEN struct ash_heaps ash_heaps;

/*
 * Whose an object with this tag is. A slab may be taken by a heap that was made after the object was: what is read of
 * the heap is not to be older than its entry, so the load is an acquire.
 */
ASH_INLINE struct ash_heap *ash_heap_by_tag(uint32_t tag)
{
	return atomic_load_explicit(&ash_heaps.table[tag >> ASH_TAG_OWNER_SHIFT], memory_order_acquire);
}

/* The calling thread's heap; ash_heap_none (empty bins, a tag that matches nothing) until the first slow path. */
extern ASH_HIDDEN ASH_TLS_DEFINE struct ash_heap *ash_heap_self;
extern ASH_HIDDEN struct ash_heap ash_heap_none;

ASH_INLINE struct ash_slab *ash_slab_at(size_t frame, unsigned order)
{
	return ash_slabs - ((frame & ~(((size_t)1 << order) - 1)) >> ASH_SLAB_MIN_ORDER);
}

/* Its head frame's index in the reservation, which may be beyond 32 bits. */
ASH_INLINE size_t ash_slab_frame(const struct ash_slab *s)
{
	return (size_t)(ash_slabs - s) << ASH_SLAB_MIN_ORDER;
}

/* Where the first object of a slab of class c is. */
ASH_INLINE char *ash_slab_objects(const struct ash_slab *s, const struct ash_class *c)
{
	const size_t frame = ash_slab_frame(s);

	return (char *)ash_frame_address(frame) + ash_class_colour(c, frame >> c->slab_order);
}

ASH_INLINE struct ash_slab *ash_slab_of(const void *p, unsigned cls)
{
	return ash_slab_at(ash_frame_index(p), ash_classes[cls].slab_order);
}

/* Objects in a bin. */
ASH_INLINE uint32_t ash_bin_held(const struct ash_heap *h, unsigned cls)
{
	return (uint32_t)((int32_t)ash_classes[cls].cache_max + h->bins.extra[cls] - h->bins.room[cls]);
}

/* Memory of another node is not for this thread's next request. p: of the reservation, or NULL, which is nowhere. */
ASH_INLINE bool ash_heap_is_near(const struct ash_heap *h, const void *p)
{
	const size_t span = ash_frame_index(p) >> ash_registry.span_frame_shift;

	return span / ASH_ARENA_KINDS == h->zonelist->arena[0] / ASH_ARENA_KINDS;
}

/* thread.c: the calling thread's own heap, made or adopted on first use; NULL when there is no memory. */
struct ash_heap *ash_heap_get_slow(void);
ASH_INLINE struct ash_heap *ash_heap_get(void)
{
	struct ash_heap *h = ash_heap_self;

	return ASH_LIKELY(h != &ash_heap_none) ? h : ash_heap_get_slow();
}
/*
 * A thread may allocate and free after its exit hook has run: in the last destructors of thread-specific data, and in
 * the C library's own. It then borrows a heap for the length of one call; every slow path ends here.
 */
extern ASH_HIDDEN ASH_TLS_DEFINE bool ash_heap_thread_ended;
ASH_INLINE void ash_heap_settle(void)
{
	if (ASH_UNLIKELY(ash_heap_thread_ended))
		ash_heap_thread_exit();
}
/*
 * The same, to take memory: a thread that has come to another node leaves its heap to threads there and takes one of
 * where it is.
 */
struct ash_heap *ash_heap_move(struct ash_heap *h);
/* The thread's next call is to find out anew where its memory is to come from. Async-signal-safe. */
void ash_heap_leave(void);
ASH_INLINE struct ash_heap *ash_heap_get_local(void)
{
	struct ash_heap *h = ash_heap_get();

	return ASH_LIKELY(h == NULL || h->zonelist == ash_zonelist_for(-1)) ? h : ash_heap_move(h);
}
/* The options, the arenas and the tables are there. false: no memory for them. */
bool ash_heaps_boot(void);
struct ash_heap *ash_heap_create_structure(bool first_class, const struct ash_zonelist *zonelist);
void ash_heaps_orphan_drain(struct ash_heap *h);
/* A slab of class cls, with room, that was an orphan's and is now h's; NULL: none was found. */
struct ash_slab *ash_heap_take_slab(struct ash_heap *h, unsigned cls);
void ash_heaps_lock(void);
void ash_heaps_unlock(void);

/* cache.c: between bins and slabs. */
ASH_MUST_USE void *ash_bin_refill(struct ash_heap *h, unsigned cls);
void ash_bin_flush(struct ash_heap *h, unsigned cls);
void ash_heap_flush(struct ash_heap *h);
/* On slow paths: what a heap has cached for a decay time goes back; then the arenas' turn. The bytes these returned. */
size_t ash_heap_decay(struct ash_heap *h);
void ash_heap_flush_bigger(struct ash_heap *h, uint32_t bytes);
ASH_NOINLINE void ash_bin_overflow(struct ash_heap *h, unsigned cls);
/* Ends the program, which clang is not told: it would call this, and make a stack frame for that in every free. */
ASH_COLD void ash_bin_double_free(const void *p);

/* From a list of free objects up to most go to their slabs. What is left of it. */
struct ash_object *ash_list_give_back(struct ash_heap *h, unsigned cls, struct ash_object *head, uint32_t most);

/* depot.c: full bins, put aside. */
ASH_MUST_USE bool ash_depot_put(struct ash_heap *h, unsigned cls, uint32_t nr);
ASH_MUST_USE bool ash_depot_take(struct ash_heap *h, unsigned cls);
uint32_t ash_depot_drain(struct ash_heap *h, unsigned cls, uint32_t most);
void ash_depot_drain_some(struct ash_heap *h);

/* slab.c: slabs, and the arenas below them. */
struct ash_slab *ash_slab_create(struct ash_heap *h, unsigned cls);
void ash_slab_put(struct ash_heap *h, unsigned cls, struct ash_object *head, struct ash_object *tail, uint32_t nr);
void ash_slab_unlink_partial(struct ash_heap *h, struct ash_slab *s);
struct ash_slab *ash_slab_with_room(const struct ash_heap *h, unsigned cls);
void ash_slab_change_owner(struct ash_slab *s, struct ash_heap *from, struct ash_heap *to);
void ash_slab_link_all(struct ash_heap *h, struct ash_slab *s);
void ash_slab_unlink_all(struct ash_heap *h, struct ash_slab *s);
void ash_slab_release(struct ash_heap *h, struct ash_slab *s);
void ash_heap_release_empty(struct ash_heap *h);

/* parts.c: parts of slabs that nobody has used for long go back; in a sweep, after the bin. *work: what is left to
 * do. */
void ash_heap_thin(struct ash_heap *h, unsigned cls, int64_t *work);
void ash_heap_thin_turn(struct ash_heap *h);
size_t ash_heap_thin_now(struct ash_heap *h);
/* Some of the nr_away objects of a slab with parts away, as a list, to be handed out. */
unsigned ash_slab_come_back(struct ash_slab *s, struct ash_object **list);
void ash_slab_forget_away(struct ash_slab *s);

/* outbox.c: frees by threads that do not own the object, on their way to who does. */
void ash_remote_free(struct ash_heap *self, struct ash_object *o, uint32_t tag);
void ash_remote_send_one(struct ash_heap *h, struct ash_object *o);
/* The same, of linked objects of one slab that self had cached: to their owner, and not back to self. */
void ash_remote_give(struct ash_heap *self, struct ash_object *head, struct ash_object *tail);
void ash_remote_flush(struct ash_heap *self);
/* remote.c: what others freed comes home. */
void ash_remote_bring_home(struct ash_heap *h, struct ash_object *o);
bool ash_remote_drain(struct ash_heap *h);
bool ash_remote_drain_some(struct ash_heap *h);
ASH_INLINE bool ash_remote_waits(const struct ash_heap *h)
{
	return atomic_load_explicit(&h->home, memory_order_relaxed) != 0 ||
	       atomic_load_explicit(&h->remote, memory_order_relaxed) != 0;
}
#define ASH_REMOTE_SOME 4096u /* objects; a cache line each has room in a second-level cache */
void ash_remote_drain_to_slabs(struct ash_heap *h);
/* All of a list of batches that others may take as well. */
ASH_INLINE uintptr_t ash_batches_take(_Atomic(uintptr_t) *list)
{
	return atomic_load_explicit(list, memory_order_relaxed) != 0
		       ? atomic_exchange_explicit(list, 0, memory_order_acquire)
		       : 0;
}
/* keep.c: others' objects that a thread has use for. */
#define ASH_KEEP_FREE 4 /* of a bin, for what its thread frees of its own */
/* Who allocates nothing of a class has no use for its objects, and would keep them from their owner. */
ASH_INLINE bool ash_heap_has_use(const struct ash_heap *self, unsigned cls)
{
	return (self->refilled >> cls & 1) != 0 && self->bins.room[cls] > ash_classes[cls].cache_max / ASH_KEEP_FREE;
}
#define ASH_BATCHES_MANY 4u /* up to 96 KiB */
ASH_INLINE bool ash_remote_is_long(const struct ash_heap *h)
{
	return atomic_load_explicit(&h->batches, memory_order_relaxed) >= ASH_BATCHES_MANY;
}
/*
 * All batches that wait at h, which is another's, or that it has taken and not walked; 0: not many, or of another node,
 * as far as the first object tells.
 */
uintptr_t ash_remote_take_long(const struct ash_heap *self, struct ash_heap *h);
/* Of a list that was taken, the first batch: what self has use for goes into its bins, the rest home. What is left. */
uintptr_t ash_remote_use_batch(struct ash_heap *self, uintptr_t batches);

/* waiting.c: an object of what waits at other heaps, of class cls or larger; NULL: there is none. */
ASH_MUST_USE void *ash_waiting_alloc(struct ash_heap *self, unsigned cls);
/* What was taken there and not used goes to its owners. */
void ash_waiting_flush(struct ash_heap *self);

/* large.c: runs of whole frames. */
/* *zeroed: the caller would like it to read as zero; and whether it does. */
ASH_MUST_USE void *ash_large_alloc(struct ash_heap *h, size_t size, size_t align, bool *zeroed);
/* Move the run at p to where it can have size bytes, more than it has. NULL: no memory, or no use; p is as it was. */
ASH_MUST_USE void *ash_large_move(void *p, uint32_t tag, size_t size);
void ash_large_free(void *p, uint32_t tag);
void ash_large_drop_kept(struct ash_heap *h);
void ash_large_release(struct ash_heap *h, struct ash_slab *s);
ASH_MUST_USE bool ash_large_resize(void *p, uint32_t tag, size_t size);

/* api.c: an object of a first-class heap, with errno. */
ASH_MUST_USE void *ash_heap_alloc_from(struct ash_heap *h, size_t align, size_t size, bool zero);

/* A broken promise by the program (double free, wild pointer): says what and where, and aborts. */
ASH_COLD ASH_NORETURN void ash_heap_corrupt(const char *what, const void *p);

#endif
