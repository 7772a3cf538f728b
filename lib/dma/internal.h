/* SPDX-License-Identifier: MIT */
/*
 * What lib/dma shares between its own files. Users see <ashlar/dma.h>; README.md is the essay.
 *
 * Lock order, outermost first:
 *
 *      setup      ash_dma.setup          creating arenas
 *      growth     ash_dma_arena.growth   one thread at a time changes what an arena has, or isolates ranges of it
 *      foreign    in foreign.c           the same for what is registered
 *      zone       inside lib/page
 *
 * setup, growth and foreign are sleeping turns, held over system calls; requests met from free frames take neither.
 * None is held while a listener is called: what it is told of is in hand meanwhile (os/listen.h), in slots of an arena
 * and in registrations.
 *
 * Field legend: (c) constant after creation, (g) growth turn, (a) atomic, (g,a) written under the turn, read by anyone.
 */
#ifndef ASH_DMA_INTERNAL_H
#define ASH_DMA_INTERNAL_H

#define ASH_DMA_NO_INLINE
#include <ashlar/dma.h>
#include <stdatomic.h>

#include "base/bits.h"
#include "base/lock.h"
#include "os/listen.h"
#include "os/numa.h"
#include "os/phys.h"
#include "os/sync.h"
#include "page/contig.h"
#include "page/mover.h"
#include "page/zone.h"

enum {
	ASH_DMA_SLOT_ORDER = ASH_PAGEBLOCK_ORDER,
	ASH_DMA_SLOT_FRAMES = 1 << ASH_DMA_SLOT_ORDER,
	ASH_DMA_ARENAS_MAX = 2 * ASH_NODES_MAX,
	ASH_DMA_PCPS = 16,      /* slots of an arena's pcp, by thread number; 0 is shared by those without */
	ASH_DMA_PCP_ORDER = 3,  /* and what goes through them */
	ASH_DMA_PCP_LEAST = 8192, /* frames of an arena; in smaller ones each slot keeps so little that it only costs */
};
#define ASH_DMA_SLOT_BYTES ((size_t)ASH_DMA_SLOT_FRAMES << ASH_PAGE_SHIFT)

/*
 * A node's memory comes in two arenas. DIRECT is a window onto the node's physical addresses: the frame at physical
 * address P lies at start + (P - phys), so order, adjacency, alignment (up to 1 GiB), boundaries and limits of physical
 * addresses are those of frame numbers. What has no known address, or must be adjacent in virtual address although it
 * is not in the machine, goes into LOOSE, one page behind the other.
 */
enum ash_dma_kind { ASH_DMA_DIRECT, ASH_DMA_LOOSE, ASH_DMA_KINDS };

/* 2 MiB of an arena. Written under the growth turn; len last when it comes, first when it goes (release, acquire). */
struct ash_dma_slot {
	_Atomic uint64_t phys;  /* of its first byte, or ASH_DMA_UNKNOWN */
	/* Bytes from the slot's start to the end of the physically contiguous run it is in; 0: no memory here; 1: base
	 * pages, contiguous inside each frame only. */
	_Atomic uint64_t len;
	uint8_t pages;          /* enum ash_dma_pages */
	uint8_t pinned;         /* enum ash_dma_pinned */
	/* a shared buffer's, whose frames are never the zone's, or reserved: trim passes it by */
	bool kept;
	/* part of the same shared buffer as the slot before: listeners are told of all of it at once */
	bool follows;
	uint8_t hand;           /* enum ash_dma_hand */
	uint16_t pin;           /* slot of the pin that holds it, with others maybe; ASH_DMA_NO_PIN: none */
	uint32_t told;          /* the listeners that know it; while it is in hand, those that knew it before */
};
/* Whether somebody tells listeners of it just now, whom nobody else may disturb. */
enum ash_dma_hand { ASH_DMA_NO_HAND, ASH_DMA_IN_HAND_FRESH /* and it is not in use yet */, ASH_DMA_IN_HAND };
enum { ASH_DMA_NO_PIN = UINT16_MAX, ASH_DMA_LEN_BASE = 1 };

/* What a frame belongs to: 0 nobody. */
enum ash_dma_tag {
	ASH_DMA_TAG_KIND = 3,
	ASH_DMA_TAG_BUFFER = 1, /* head of a buffer; the number of its frames above ASH_DMA_TAG_SHIFT */
	ASH_DMA_TAG_POOL = 2,   /* in a slab; the pool's address above the kind */
	ASH_DMA_TAG_SHARED = 3, /* head of a shared buffer; its struct ash_dma_share above the kind */
	ASH_DMA_TAG_SHIFT = 2,
	ASH_DMA_TAG_OBJECT_SHIFT = 34, /* BUFFER: number of the object, 0 for what never moves, or */
	ASH_DMA_TAG_RESERVE = 1 << 20, /* ... this and the number of the reserve it is from */
	ASH_DMA_TAG_LEVEL_SHIFT = 62,  /* BUFFER: the level it reached when it was made */
};

struct ash_dma_arena {
	struct ash_zone *zone;     /* (c) */
	uintptr_t start;           /* (c) address of frame 0 */
	uint64_t phys;             /* (c) DIRECT: physical address of frame 0 */
	ash_pfn_t nr_frames;       /* (c) */
	int node;                  /* (c) */
	enum ash_dma_kind kind;    /* (c) */
	struct ash_dma_slot *slots;     /* (c) [nr_frames >> ASH_DMA_SLOT_ORDER] */
	_Atomic uint64_t *tags;         /* (c) [nr_frames] enum ash_dma_tag */
	/* (c) [nr_frames] where buffers below a frame begin, a bit per 64 bytes (small.c) */
	_Atomic uint64_t *small;
	struct ash_frame *frames;       /* (c) */
	uint64_t *covered;              /* (g) bitmap: gigabytes whose frames and tags are writable */

	struct ash_lock growth;
	ash_pfn_t low, high;            /* (g) memory lies in [low, high) */
	uint32_t moved;                 /* (g) the objects moved in this turn, by their links (object.c) */
	_Atomic uint32_t growths;       /* (g,a) look again before growing */
	_Atomic size_t online;          /* (g,a) frames */
	_Atomic uint32_t guests;        /* (a) frames of objects that were put among buffers (room.c) */
	_Atomic uint64_t guests_due;    /* (g,a) so many frames have to be free before they are looked at again */
};

/*
 * Buffers that are there, by the level that they reached when they were made: their number above ASH_DMA_COUNT_SHIFT,
 * their frames below. In parts, by thread number, since they are counted all the time; each part alone means nothing.
 */
enum { ASH_DMA_COUNT_PARTS = 16, ASH_DMA_COUNT_SHIFT = 40, ASH_DMA_LEVELS = ASH_DMA_PHYSICAL + 1 };
struct ash_dma_count {
	_Alignas(64) _Atomic uint64_t level[ASH_DMA_LEVELS];
};

/* For statistics; bytes, unless named otherwise. Also read by other processes (view.c). */
struct ash_dma_figures {
	_Atomic uint64_t backed[ASH_DMA_PAGES_BASE]; /* pages of 1 GiB, of 2 MiB, THP, base pages */
	_Atomic uint64_t pinned, known;
	_Atomic uint64_t pools, pool_bytes;          /* pools, the library's own included; their slabs */
	_Atomic uint64_t objects, object_bytes;      /* that move or can be dropped */
	_Atomic uint64_t reserves, reserved, reserved_out;
	_Atomic uint64_t registered, iova;
	_Atomic uint64_t refused[ASH_DMA_REASONS];   /* requests */
};

struct ash_dma_state {
	struct ash_lock setup;
	_Atomic bool ready;             /* (a) */
	uintptr_t base;                 /* (c) of the reservation; arena i begins at base + (i << shift) */
	unsigned shift;                 /* (c) */
	unsigned nr_arenas;             /* (c) */
	int16_t nodes[ASH_NODES_MAX];   /* by place; (c) from when nr_nodes says that it is there */
	_Atomic unsigned nr_nodes;      /* (a) */
	unsigned nr_places;             /* (c) for the nodes there were and some to come */
	_Atomic uint64_t look_due;      /* (a) when to look for nodes again, ash_clock_ms() */
	bool bind;                      /* (c) there is more than one node, or may be */
	_Atomic(struct ash_dma_arena *) arenas[ASH_DMA_ARENAS_MAX]; /* (a) */
	int pin_fd;                     /* (setup) */
	struct ash_lock pins;           /* pin_used */
	uint64_t pin_used[ASH_PIN_SLOTS / 64];
	_Atomic uint32_t pin_slots[ASH_PIN_SLOTS]; /* (a) 2 MiB that each pin holds */
	struct ash_dma_count count[ASH_DMA_COUNT_PARTS]; /* (a) */
	struct ash_dma_figures figures; /* (a) */
};
extern ASH_HIDDEN struct ash_dma_state ash_dma;

/* A request, checked and in frames. */
struct ash_dma_request {
	ash_pfn_t nr;
	unsigned align_order;    /* in frames */
	uint64_t boundary;       /* bytes, 0: none */
	uint64_t limit;          /* first physical address that will not do; UINT64_MAX: none */
	enum ash_dma_level level;
	unsigned max_segments;   /* 1 with PHYSICAL, UINT_MAX: any */
	enum ash_dma_pages pages;
	unsigned flags;
	int node;                /* to begin with; never ASH_NODE_LOCAL */
	uint64_t nodes;          /* that will do, one bit each */
	bool hidden;             /* out: it would need physical addresses, and they are hidden */
	bool scattered;          /* out: memory came, but not in runs as long as wanted */
};

struct ash_dma_grant {
	struct ash_dma_arena *arena;
	ash_pfn_t pfn;
	bool zeroed;
};

/* stats.c */
ASH_INLINE void ash_dma_figure(_Atomic uint64_t *figure, int64_t change)
{
	atomic_fetch_add_explicit(figure, (uint64_t)change, memory_order_relaxed);
}
/* A buffer comes (+1) or goes (-1). */
void ash_dma_count(enum ash_dma_level level, size_t frames, int change);
/* The level that [p, p + bytes) reaches. */
enum ash_dma_level ash_dma_level_of(const void *p, size_t bytes);

/* setup.c */
/* 0, or why there can be no arenas. */
ASH_MUST_USE int ash_dma_setup(void);
/* The arena of a node's place among the nodes; NULL: no memory for it. */
struct ash_dma_arena *ash_dma_arena_get(unsigned place, enum ash_dma_kind kind);

/* nodes.c */
enum { ASH_DMA_NO_PLACE = ASH_NODES_MAX };
/* The place of a node, or ASH_DMA_NO_PLACE. */
unsigned ash_dma_place(int node);
/* At set-up. */
void ash_dma_nodes_find(void);
/* Whether there are more nodes now. now: however short a time ago somebody has looked. */
bool ash_dma_nodes_look(bool now);

ASH_INLINE unsigned ash_dma_nr_nodes(void)
{
	return atomic_load_explicit(&ash_dma.nr_nodes, memory_order_acquire);
}

/* policy.c: the node to begin with for a request that names node, which may be ASH_NODE_LOCAL, and those that will
 * do. */
int ash_dma_choose(int node, const struct ash_policy *policy, uint64_t *nodes);
/* Have the metadata of [first, end) writable. Growth turn. */
ASH_MUST_USE int ash_dma_cover(struct ash_dma_arena *a, ash_pfn_t first, ash_pfn_t end);

ASH_INLINE struct ash_dma_arena *ash_dma_arena_peek(unsigned index)
{
	return atomic_load_explicit(&ash_dma.arenas[index], memory_order_acquire);
}

/* The arena whose span p is in; NULL: not ours. */
ASH_INLINE struct ash_dma_arena *ash_dma_arena_of(const void *p)
{
	const uintptr_t offset = (uintptr_t)p - ash_dma.base;
	const unsigned shift = ash_dma.shift;

	if (ASH_UNLIKELY(!atomic_load_explicit(&ash_dma.ready, memory_order_acquire)) ||
	    offset >> shift >= ash_dma.nr_arenas)
		return NULL;
	return ash_dma_arena_peek((unsigned)(offset >> shift));
}

ASH_INLINE void *ash_dma_address(const struct ash_dma_arena *a, ash_pfn_t pfn)
{
	return (void *)(a->start + ((uintptr_t)pfn << ASH_PAGE_SHIFT));
}

ASH_INLINE ash_pfn_t ash_dma_pfn(const struct ash_dma_arena *a, const void *p)
{
	return (ash_pfn_t)(((uintptr_t)p - a->start) >> ASH_PAGE_SHIFT);
}

ASH_INLINE void ash_dma_take_turn(struct ash_dma_arena *a)
{
	ash_lock(&a->growth, &ash_futex_ops);
}

ASH_INLINE void ash_dma_end_turn(struct ash_dma_arena *a)
{
	ash_unlock(&a->growth, &ash_futex_ops);
}

/* slot.c */
/* Bytes from pfn to the end of the run it is in; 0: no memory there. */
size_t ash_dma_run_bytes(const struct ash_dma_arena *a, ash_pfn_t pfn);
/*
 * The next run at or behind *pfn, which becomes the frame behind it: [*first, *end), which is physically contiguous
 * unless it is of base pages. false: there is none.
 */
bool ash_dma_next_run(const struct ash_dma_arena *a, ash_pfn_t *pfn, ash_pfn_t *first, ash_pfn_t *end);
/* Enter memory that has come: its slots, in runs. Growth turn. phys: ASH_DMA_UNKNOWN or that of the first. */
void ash_dma_slots_set(struct ash_dma_arena *a, ash_pfn_t first, ash_pfn_t end, uint64_t phys, enum ash_dma_pages pages,
		       enum ash_dma_pinned pinned, unsigned pin);
void ash_dma_slots_clear(struct ash_dma_arena *a, ash_pfn_t first, ash_pfn_t end);
void ash_dma_slots_keep(struct ash_dma_arena *a, ash_pfn_t first, ash_pfn_t end, bool keep);
/* They are a shared buffer's. */
void ash_dma_slots_join(struct ash_dma_arena *a, ash_pfn_t first, ash_pfn_t end);
/* Take them in hand, or let them go with those who know them now. */
void ash_dma_slots_hold(struct ash_dma_arena *a, ash_pfn_t first, ash_pfn_t end, enum ash_dma_hand hand);
void ash_dma_slots_let_go(struct ash_dma_arena *a, ash_pfn_t first, ash_pfn_t end, uint32_t told);
/* As ash_dma_walk_runs(), with the turn of the run's arena held. */
int ash_dma_walk_runs_locked(int (*fn)(const struct ash_dma_run *run, void *arg), void *arg);
/* Where nr frames without memory begin, aligned to align frames; ASH_PFN_NONE: nowhere. Growth turn. */
ash_pfn_t ash_dma_find_gap(const struct ash_dma_arena *a, size_t nr, size_t align);

/* trim.c */
/* Memory that is out of the zone, or never was in it, goes: slots, mapping, pins. Growth turn. */
void ash_dma_drop(struct ash_dma_arena *a, ash_pfn_t first, ash_pfn_t end);

/* share.c */
/* A buffer in a file of its own. inherit: a child of fork has it too. -ENOMEM. */
ASH_MUST_USE int ash_dma_share_alloc(unsigned place, size_t bytes, enum ash_dma_pages pages, bool strict, bool inherit,
				     void **out);
size_t ash_dma_share_bytes(uint64_t tag);
/* -EINVAL: it has just been freed; -EBUSY: a listener needs it. */
ASH_MUST_USE int ash_dma_share_free(struct ash_dma_arena *a, ash_pfn_t pfn, uint64_t tag);

/* grow.c */
/*
 * Bring memory for a request into the arenas at a place: what it needs and little more. 0: there is more than before.
 * -ENOMEM: none to be had. Takes the growth turns.
 */
ASH_MUST_USE int ash_dma_grow(unsigned place, struct ash_dma_request *request);

/* room.c */
/* An object was put at pfn. */
void ash_dma_guest(struct ash_dma_arena *a, ash_pfn_t pfn, unsigned order);
/* Objects that are among buffers go elsewhere. false: not all of them could. Growth turn. */
bool ash_dma_room_apart(struct ash_dma_arena *a);
/* The same, if it is time; takes the turn. Calls movers. */
void ash_dma_room_look(struct ash_dma_arena *a);
/* Have what can be dropped go, until nr frames have. Growth turn. */
void ash_dma_room_drop(struct ash_dma_arena *a, ash_pfn_t nr);

/* take.c */
/* What a request wants, from one place. 0, or -ENOMEM: it has none. */
typedef int ash_dma_try_fn(unsigned place, struct ash_dma_request *request, void *out);
/*
 * fn for the node that the request begins with, and, unless it is strict, for the others that will do, as they are
 * near, until one has what is wanted. 0, -ENOMEM.
 */
ASH_MUST_USE int ash_dma_try_nodes(struct ash_dma_request *request, ash_dma_try_fn *fn, void *out);
/* The node's place, or that of the nearest node which has one. */
unsigned ash_dma_place_near(int node);
ASH_MUST_USE int ash_dma_take(struct ash_dma_request *request, struct ash_dma_grant *grant);

/* event.c */
extern struct ash_listeners ash_dma_listeners;
/*
 * [first, end) has come and is in hand, not in use yet. 0: everybody knows, the growth turn is held, and the range
 * still in hand with *told. -EBUSY: a listener refused, nobody knows, no turn is held.
 */
ASH_MUST_USE int ash_dma_event_come(struct ash_dma_arena *a, ash_pfn_t first, ash_pfn_t end, uint32_t *told);
/* [first, end) is in hand and in use: have everybody know, and let it go. No turn. */
void ash_dma_event_settle(struct ash_dma_arena *a, ash_pfn_t first, ash_pfn_t end, uint32_t told);
/* The growth turn is held, and what it was wanted for is in somebody's hand: end the turn and wait until something is
 * let go. -EBUSY: in a listener nobody waits; the turn has ended all the same. */
ASH_MUST_USE int ash_dma_event_wait(struct ash_lock *turn);

/* foreign.c */
enum { ASH_DMA_FOREIGN_PINS = 16 }; /* of ASH_PIN_MOST each: the most of one registration */
/* As ash_dma_translate(), for an address in no arena. */
uint64_t ash_dma_foreign_translate(const void *p, size_t *len);
/* Where p is among the device addresses of ASH_DMA_IOVA_OFFSET. false: it is not registered. */
ASH_MUST_USE bool ash_dma_foreign_offset(const void *p, uint64_t *offset);
/* For ash_listeners.introduce: of the registrations. */
bool ash_dma_foreign_introduce(uint32_t mask);
/* Pages that are not where they were when they were registered. */
long ash_dma_foreign_verify(void);
void ash_dma_foreign_forget(void);

/* alloc.c */
/* As ash_dma_alloc(), in whole frames that are tagged as nobody's. */
void *ash_dma_alloc_frames(size_t bytes, const struct ash_dma_attr *attr);

/* The request that attr makes for bytes. -EINVAL: it contradicts itself; -ENOMEM: there can be no arenas. */
ASH_MUST_USE int ash_dma_request_read(const struct ash_dma_attr *attr, size_t bytes, struct ash_dma_request *r);

/* reserve.c */
/* From the reserve of a name, whose number the tag is to say. -EINVAL: no such name; -ENOMEM. */
ASH_MUST_USE int ash_dma_reserve_take(const char *name, const struct ash_dma_request *want, void **out,
				      unsigned *number);
void ash_dma_reserve_give(unsigned number, ash_pfn_t pfn, ash_pfn_t nr);
void ash_dma_reserves_forget(void);

/* object.c */
extern const struct ash_mover_ops ash_dma_mover;
extern const struct ash_shrinker_ops ash_dma_shrinker;
/* The moves of a turn are over: do what was put off. Growth turn. */
void ash_dma_objects_settle(struct ash_dma_arena *a);
/* End the object at pfn. -EINVAL: somebody else has. */
ASH_MUST_USE int ash_dma_object_free(struct ash_dma_arena *a, ash_pfn_t pfn, uint64_t tag);
void ash_dma_objects_forget(void);

/* error.c */
void ash_dma_fail(const struct ash_dma_request *request, size_t bytes, int error, struct ash_dma_error *out);

#endif
