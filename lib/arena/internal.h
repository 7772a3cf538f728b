/* SPDX-License-Identifier: MIT */
/*
 * What lib/arena shares between its own files. Clients see arena.h.
 *
 * Lock order, outermost first:
 *
 *      contig     ash_arenas.contig       one thread at a time empties ranges; held over the movers' functions
 *      setup      ash_arenas.setup        creating arenas and zonelists
 *      growth     ash_arena.growth        one thread at a time changes what is online; in fork by ascending index
 *      zone       inside lib/page         pcp locks, then the zone lock
 *
 * setup and growth are sleeping turns: they serialise system calls and are held across them, and nobody takes them
 * whose request can be met from free frames. No zone lock is ever held over a system call, except over fork itself.
 *
 * Field legend: (c) constant after creation, (g) growth turn, (a) atomic, (g,a) written under the turn, read by anyone.
 */
#ifndef ASH_ARENA_INTERNAL_H
#define ASH_ARENA_INTERNAL_H

#include "arena/arena.h"
#include "os/numa.h"
#include "os/sync.h"
#include "os/vmem.h"

enum {
	ASH_PB_FRAMES = 1 << ASH_PAGEBLOCK_ORDER,
	ASH_GIB_FRAMES = 1 << ASH_MAX_ORDER,
	ASH_DECAY_SLOTS = 9, /* samples by which it is told what has been free for long; see decay.c */
	ASH_REFUSED_MAX = 64, /* pieces that a watcher or the kernel has refused, after which no more are tried */
};
#define ASH_PROMOTED SIZE_MAX /* struct ash_arena.promote_due: the start is huge */
#define ASH_PB_BYTES ((size_t)ASH_PB_FRAMES << ASH_PAGE_SHIFT)

/*
 * One byte per pageblock of the reservation: what was asked to back it (0: nothing yet, else 1 + enum ash_backing), and
 * what has become of it. Written under the growth turn.
 */
enum ash_pb_backing {
	ASH_PB_KIND = 0x07,
	ASH_PB_RETURNED = 0x08, /* hugetlb given back to the pool: to be proved again before use; held from the zone */
	ASH_PB_SPARED = 0x10,   /* held for a moment, by a fork or a return: free, so not worth copying */
};

/* Whether the kernel may be asked what the author of a filter may not have thought of. */
enum ash_asks {
	ASH_ASKS_UNKNOWN,
	ASH_ASKS,
	ASH_ASKS_NOT,
};

struct ash_arena {
	struct ash_zone *zone;    /* (c) */
	uintptr_t start;          /* (c) address of frame 0 */
	ash_pfn_t span_frames;    /* (c) frames in the span */
	_Atomic ash_pfn_t nr_frames; /* (g,a) ... that it may have: all, or fewer after ash_arena_fit() */
	ash_pfn_t tabled;         /* (g) frames that metadata is reserved for */
	_Atomic ash_pfn_t small_frames; /* (g,a) T: the base-page start, which may grow (start.c); 0 in H */
	uint16_t index;           /* (c) of the span */
	int16_t node;             /* (c) kernel node number; -1: a policy's, with several */
	enum ash_arena_kind kind; /* (c) */
	const struct ash_policy *policy; /* (c) NULL: the node's own */
	_Atomic uint8_t *backing; /* (g,a) [pageblocks of the span] enum ash_pb_backing */

	struct ash_lock growth;
	_Atomic uint32_t growths;    /* (g,a) turns that brought something online: "look again before growing" */
	_Atomic ash_pfn_t end;       /* (g,a) frames from here on were never online */
	ash_pfn_t covered;           /* (g) metadata is writable below this */
	ash_pfn_t seen_used, seen_resident; /* (g) T: frames given out, and in memory, at start.c's last look */
	enum ash_asks asks;          /* (g) T: in this turn (ash_start_may_ask) */
	bool huge_advised;           /* (g) T: the kernel was told that the span wants huge pages */
	_Atomic size_t promote_due;  /* (a) T: bytes online when the start is looked at again, to make it huge */
	uint64_t dry_until;          /* (g) H: clock before which a growth of dry_frames or more is not tried again */
	ash_pfn_t dry_frames;        /* (g) */
	_Atomic uint32_t returned;   /* (g,a) pageblocks marked ASH_PB_RETURNED */
	uint8_t kept;                /* (g) how often in a row the kernel has let nothing go; see decay.c */
	uint32_t pause;              /* (g) looks that pass before it is asked again */
	void *rescue;                /* (g) between fork handlers: the copy that becomes the child's memory */
	ash_pfn_t rescue_frames;

	_Atomic uint32_t low_blocks, low_parts; /* (a) the least of the two below since the last look */
	uint32_t free_low[ASH_DECAY_SLOTS];  /* (g) samples: free resident pageblocks, newest first */
	/* (g) samples: free frames of partly used pageblocks, those returned left out */
	uint32_t parts_low[ASH_DECAY_SLOTS];
	uint32_t parts_gone;                 /* (g) of these frames, at most so many are without memory */
	_Atomic int64_t discarded;           /* (a) frames in use that their owners have done without */

	_Atomic size_t online, peak_online; /* (g,a) frames */
	_Atomic size_t backed[ASH_BACKING_NR];
	_Atomic uint64_t grows, returned_blocks, fallbacks;
};

struct ash_arenas {
	struct ash_lock contig;
	struct ash_lock setup;
	_Atomic bool ready;             /* release store at the end of set-up, acquire loads */
	struct ash_arena_config config; /* (c) */
	/* A slot has a span of each kind: first the nodes' slots, then those of policies. */
	unsigned nr_node_slots;         /* (c) */
	unsigned nr_policy_slots;       /* (c) */
	/* (a) nodes that have a slot, the first ones: written last, with the setup turn held */
	_Atomic unsigned nr_nodes;
	/* (c) once counted: kernel numbers, in the order in which they came to be usable */
	int16_t nodes[ASH_NODES_MAX];
	_Atomic uint64_t usable;        /* (a) those that the process may use and that have memory */
	/* (c) nodes with counts, and places for spills: all of them, or none on one node */
	uint32_t nr_counted, nr_spills;
	const struct ash_spill_count **spills; /* (c) the places, as another process reads them (view.c) */
	uint32_t slack_frames;          /* (c) reserved behind the last span */
	bool fitted;                    /* (setup turn) spans without an arena have been given back */
	bool bind;                      /* (c) place memory by node: several may be used, or that may come to be so */
	struct ash_numa *numa;          /* (c) then, and only then */
	unsigned align_order;           /* (c) spans are aligned to 2^this frames */
	_Atomic(struct ash_arena *) arenas[ASH_ZONELIST_MAX];                          /* (a) NULL: not created yet */
	const struct ash_zonelist *zonelist; /* (c) the only one on one node; else the one there always is */
	_Atomic size_t online_bytes;    /* (a) of all arenas, for the limit */
	_Atomic bool shared;            /* (a) several heaps take slabs (ash_arena_note_shared) */
	_Atomic bool zeroed;            /* (a) long runs have to be zero (ash_arena_note_zeroed) */
	_Atomic bool past_start;        /* (a) the first base pages are used up: hugetlb may be used */
	_Atomic uint64_t decay_due;     /* (a) clock of the next look */
	_Atomic bool no_exchange;       /* (a) the kernel does not move pages, or may not */
};
extern struct ash_arenas ash_arenas;

/* Frames by node: struct ash_numastat. */
struct ash_node_counts {
	_Atomic uint64_t hit, miss, foreign, local, other;
};

enum { ASH_SPILLS = 32 };

/* What only a process with several nodes has: it is metadata, so that others do not pay for it. */
struct ash_numa {
	/* (c) what another process reads, and so the first (view.c) */
	const struct ash_node_counts *counted[ASH_NODES_MAX];
	_Atomic(const struct ash_zonelist *) zonelists[ASH_ZONELIST_HOMES];  /* (a) asked for by number */
	_Atomic(const struct ash_zonelist *) local_zonelists[ASH_NODES_MAX]; /* (a) of who runs there: yielding */
	/* (setup turn) all that there have been of each: nodes come back */
	const struct ash_zonelist *had_zonelists[ASH_ZONELIST_HOMES], *had_local_zonelists[ASH_NODES_MAX];
	/* (a) the process's policy; NULL: by node */
	_Atomic(const struct ash_zonelist *) process_zonelist;
	_Atomic bool may_yield;    /* (a) the process's policy is ASH_POLICY_DEFAULT */
	_Atomic uint64_t look_due; /* (a) clock of the next look at the nodes */
	uint64_t look_pause;       /* (setup turn) what was waited for it, in ms; 0: nobody has looked */
	uint64_t usable_before;    /* (setup turn) what ash_arenas.usable was before it changed last */
	/* (setup turn) to add; constant once counted; the first is DEFAULT */
	struct ash_policy policies[ASH_POLICY_SLOTS];
	_Atomic unsigned nr_policies;                 /* (a) written with the setup turn held */
	struct ash_node_counts counts[ASH_NODES_MAX];
	struct ash_spill_count spills[ASH_SPILLS];            /* (a) */
	const struct ash_spill_count *spill_list[ASH_SPILLS]; /* (c) ash_arenas.spills */
};

/* nodes.c */
/* The nodes' slots and which may be used, and the first zonelist, with the setup turn held. The latter: -ENOMEM. */
void ash_nodes_find(void);
ASH_MUST_USE int ash_nodes_start(void);
void ash_nodes_use_one(int node);
void ash_nodes_look(void);
/* Caller holds the setup turn. The zonelist of a home, made if need be; NULL: no metadata left. */
const struct ash_zonelist *ash_zonelist_at(unsigned home);
const struct ash_zonelist *ash_zonelist_local(unsigned node);
bool ash_wants_hugetlb(void);

/* policy.c */
/* What a slot's arenas are bound by; NULL: by their node. */
const struct ash_policy *ash_arena_policy(unsigned slot);
/* Bind [addr, addr + bytes), which is or will be at this offset of the span, and whose pages have this size. -errno. */
ASH_MUST_USE int ash_arena_place(const struct ash_arena *a, void *addr, size_t offset, size_t bytes, size_t page);
/* ... cannot be done for the whole span at once. */
bool ash_arena_is_pieced(const struct ash_arena *a);
/* While setting up, with the setup turn held: the options' policy is put in charge; the list for the first memory. */
const struct ash_zonelist *ash_zonelist_first(void);
/* The list of the task's own policy, where it has given itself one that zl yields to; else zl. */
const struct ash_zonelist *ash_zonelist_yield(const struct ash_zonelist *zl);
/* The same, without asking the kernel where the thread is known to have none. */
const struct ash_zonelist *ash_zonelist_by_task(const struct ash_zonelist *zl);
/* The node of a span that belongs to one, or to a policy of only one; -1: several, or not one yet. */
int ash_arena_node_of(unsigned index);
ASH_INLINE unsigned ash_nr_nodes(void)
{
	return atomic_load_explicit(&ash_arenas.nr_nodes, memory_order_acquire);
}

/* numastat.c: nr frames were asked of zl and came from its ith arena. On several nodes only. */
void ash_numastat_count(const struct ash_zonelist *zl, unsigned i, size_t nr);

/* init.c */
/* The arena at a span index, created if need be; NULL: no memory for it. */
struct ash_arena *ash_arena_get(unsigned index);
/* The arena at a span index, or NULL when there is none yet. */
ASH_INLINE struct ash_arena *ash_arena_peek(unsigned index)
{
	return atomic_load_explicit(&ash_arenas.arenas[index], memory_order_acquire);
}
ASH_INLINE void ash_arena_take_turn(struct ash_arena *a)
{
	ash_lock(&a->growth, &ash_futex_ops);
}
ASH_INLINE void ash_arena_end_turn(struct ash_arena *a)
{
	ash_unlock(&a->growth, &ash_futex_ops);
}
ASH_INLINE void *ash_arena_address(const struct ash_arena *a, ash_pfn_t pfn)
{
	return (void *)(a->start + ((uintptr_t)pfn << ASH_PAGE_SHIFT));
}

/* That of an address in the reservation. */
ASH_INLINE struct ash_arena *ash_arena_of(const void *addr)
{
	return ash_arena_peek((unsigned)(ash_frame_index(addr) >> ash_registry.span_frame_shift));
}

/* The setup turn and every arena's growth turn: nothing is created or brought online meanwhile. */
void ash_arenas_take_turns(void);
void ash_arenas_end_turns(void);
/* Whether any of these, or a lock of a zone, is held now: for a thread that knows itself alone. */
bool ash_arenas_busy(void);

/* Frames of a's span that it has or may come to have. */
ASH_INLINE ash_pfn_t ash_arena_frames(const struct ash_arena *a)
{
	return atomic_load_explicit(&a->nr_frames, memory_order_relaxed);
}
/* Of so many bytes that a limit leaves, the arenas' part: five eighths. The rest is the program's own. */
ASH_INLINE size_t ash_arenas_share(size_t bytes)
{
	return bytes / 8 * 5;
}

/* zone_ops.c */
extern ASH_HIDDEN const struct ash_zone_ops ash_arena_zone_ops;
/* The zone's guard_order for the option: the smallest that is at least so many bytes. */
uint8_t ash_arena_guard_order(size_t bytes);

/* contig.c */
extern ASH_HIDDEN const struct ash_mover_ops ash_arena_mover_ops;
extern ASH_HIDDEN const struct ash_shrinker_ops ash_arena_shrinker_ops;

/* watch.c: the growth turn, which is given up while the watcher is at it. The caller holds the contig turn if there is
 * one. */
bool ash_arena_ask(struct ash_arena *a, void *addr, size_t bytes);
void ash_arena_tell(struct ash_arena *a, void *addr, size_t bytes, bool gone);

/* meta.c */
/* How much address space it takes at least, in whole pageblocks. */
size_t ash_meta_bytes(size_t nr_frames);
/* bytes from base on are reserved for it. */
ASH_MUST_USE int ash_meta_init(void *base, size_t bytes, size_t nr_frames);
/* Make the metadata of a's frames below pfn end writable. Growth turn. */
ASH_MUST_USE int ash_meta_cover(struct ash_arena *a, ash_pfn_t end);
/* How many frames' metadata that is. */
ash_pfn_t ash_meta_reach(const struct ash_arena *a, ash_pfn_t end);
/*
 * For fit.c, with the setup turn and all growth turns: what nobody has written is unmapped, and must not be asked to be
 * so twice. Entries of the span's frames [from, end), tags excepted; what lies behind the tables; and of tags, of what
 * is kept for clients' tables and for ash_meta_alloc(), what is more than for nr_frames, of which nr_usable are to be
 * had.
 */
void ash_meta_cut(unsigned index, size_t from, size_t end);
void ash_meta_cut_end(void);
void ash_meta_cut_common(size_t nr_frames, size_t nr_usable);
struct ash_frame *ash_meta_frames(size_t first);
_Atomic uint8_t *ash_meta_pageblocks(size_t first);
_Atomic uint8_t *ash_meta_backing(size_t first);

/* grow.c. Caller holds the growth turn. */
/*
 * Bring memory online and take a run from it (as ash_run_alloc). small_only: not beyond the base-page start.
 * -ENOMEM: cannot; nothing has changed that can be seen.
 */
ASH_MUST_USE int ash_arena_grow(struct ash_arena *a, size_t nr, unsigned align_order, enum ash_migratetype mt,
				bool small_only, struct ash_page_grant *grant);
/* Bring everything below pfn end online. */
ASH_MUST_USE int ash_arena_grow_to(struct ash_arena *a, size_t end);
/* Make the zone's metadata and statistics know [first, end), which is backed and not yet online. */
ASH_MUST_USE int ash_arena_online(struct ash_arena *a, ash_pfn_t first, ash_pfn_t end, enum ash_backing backing);
/* Count bytes against the limit. false: it would be exceeded. */
bool ash_arena_charge(size_t bytes);
void ash_arena_uncharge(size_t bytes);

/* start.c: the base-page start of a T arena. Its first frames are, at the moment, meant to be base pages. */
ASH_INLINE ash_pfn_t ash_start_frames(const struct ash_arena *a)
{
	return atomic_load_explicit(&a->small_frames, memory_order_relaxed);
}
void ash_start_init(struct ash_arena *a);
/*
 * Some filters answer a system call that they do not know with SIGSYS. Whether there is one is read once in a growth
 * turn, when it matters: that takes longer than the calls it is about.
 */
void ash_start_new_turn(struct ash_arena *a);
bool ash_start_may_ask(struct ash_arena *a);
/*
 * Caller holds the growth turn. The arena is about to grow to need_end; is_short: for a run that shares its pageblock.
 * True: the start has ended within the arena's first pageblock, which is to be made huge once the arena has grown.
 */
bool ash_start_extend(struct ash_arena *a, size_t need_end, bool is_short);
/* The process has grown, and perhaps out of its start. */
void ash_start_promote(const struct ash_arena *a);

/* huge.c. Caller holds the growth turn. */
/* Bring [first, first + nr) of an H arena online, with pages of 2^page_shift bytes, populated. -EDQUOT: option
 * limit. */
ASH_MUST_USE int ash_hugetlb_online(struct ash_arena *a, ash_pfn_t first, ash_pfn_t nr, unsigned page_shift);
/* Give free pageblocks of an H arena back to the pool, at most max; returns how many. */
size_t ash_hugetlb_return(struct ash_arena *a, size_t max, bool *kept);
/* Prove nr_blocks consecutive returned pageblocks again and give them to the zone. -ENOENT: there are not so many. */
ASH_MUST_USE int ash_hugetlb_reprove(struct ash_arena *a, size_t nr_blocks, unsigned align_order);

/* decay.c: free pageblocks that cost memory. */
uint32_t ash_arena_free_resident(struct ash_arena *a);
/* Something has been allocated: what is free now may be the least that there is between two looks. */
void ash_arena_note_low(struct ash_arena *a);

/* fork.c */
/* Caller holds the growth turn. Pageblocks marked ASH_PB_SPARED go back to the zone. */
void ash_arena_unspare(struct ash_arena *a);
bool ash_arena_has_hugetlb(struct ash_arena *a);

/* degrade.c */
/* A rung could not be had for wanted bytes: count it and, once per process, say so and what is used instead. */
void ash_degrade_note(struct ash_arena *a, enum ash_backing rung, size_t wanted, enum ash_backing instead);

ASH_INLINE unsigned ash_pb_kind(uint8_t word)
{
	return word & ASH_PB_KIND;
}

#endif
