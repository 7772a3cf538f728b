/* SPDX-License-Identifier: MIT */
/*
 * Arenas: page zones married to operating-system memory.
 *
 * One reservation of address space (PROT_NONE) holds one span per arena; a node has a T arena (private anonymous
 * memory: THP, its first megabytes in base pages) and, once asked for, an H arena (hugetlb). Spans have one
 * power-of-two size, so address -> arena -> pfn is a subtraction, a shift and a mask; whatever is outside the
 * reservation is foreign, always.
 *
 *      base                base + span_bytes      ...
 *      | T node A          | H node A             | T node B ...         (index = kind + 2 * node slot)
 *
 * Frame metadata lives elsewhere, between guard pages, and is touched only where frames are online. Beside it is
 * one 32-bit tag per frame of the whole reservation, the client's: it says whose the frame is (heap: owner and size
 * class; 0 = nobody). Its meaning belongs to the client; ash_run_free() leaves clearing it to the client. Every tag can
 * be read at any time; it can be written while its frame is online.
 *
 * Thread safety: everything here may be called from any thread unless it says otherwise. Nothing here calls malloc,
 * stdio, dlsym or getenv, so all of it works before constructors have run. Not async-signal-safe, except the inline
 * lookups.
 */
#ifndef ASH_ARENA_ARENA_H
#define ASH_ARENA_ARENA_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bits.h"
#include "base/compiler.h"
#include "base/lock.h"
#include "base/view.h"
#include "os/policy.h"
#include "page/zone.h"

/* What backs memory, best first: the rungs of the ladder. */
enum ash_backing {
	ASH_BACKING_HUGETLB_1G,
	ASH_BACKING_HUGETLB_2M,
	ASH_BACKING_THP,
	ASH_BACKING_BASE,
	ASH_BACKING_NR,
};

enum ash_arena_kind { ASH_ARENA_T, ASH_ARENA_H, ASH_ARENA_KINDS };

/* Which rungs the process wants (option "huge"). */
enum ash_huge_policy {
	ASH_HUGE_AUTO, /* THP where the kernel allows it, quietly base pages where not */
	ASH_HUGE_THP,  /* as AUTO, but says so when THP cannot be had */
	ASH_HUGE_2M,   /* hugetlb 2 MiB, then THP, then base pages */
	ASH_HUGE_1G,   /* hugetlb 1 GiB, then 2 MiB, then THP, then base pages */
	ASH_HUGE_NONE, /* base pages only */
};

enum ash_fork_policy {
	ASH_FORK_COPY, /* the child gets a copy of H memory in ordinary memory, made before the fork: never SIGBUS */
	ASH_FORK_COW,  /* leave it to the kernel: right only while the pool has pages to spare */
};

/*
 * Process-wide configuration, filled by ctl before anything else runs. ash_arena_config_default() gives what a
 * process without options gets.
 */
struct ash_arena_config {
	enum ash_huge_policy huge;
	enum ash_fork_policy fork;
	bool strict;           /* refuse rather than go down a rung */
	bool quiet;            /* no degradation line on stderr (still counted) */
	uint32_t decay_ms;     /* how long a free whole pageblock stays resident; UINT32_MAX = for ever, 0 = no time */
	size_t small_start;    /* bytes of base pages before the first huge page (start.c); rounded to pageblocks */
	size_t limit;          /* most bytes online in all arenas together; 0 = none (option "limit") */
	size_t reserve;        /* bytes of address space per span; 0 = by the size of the machine */
	/* Layers against misuse (struct ash_hardening of page/zone.h): */
	bool poison;           /* runs are overwritten when freed, and checked when allocated again */
	bool init_on_free;     /* runs are zeroed when freed */
	bool init_on_alloc;    /* runs read as zero when allocated */
	size_t guard;          /* runs take multiples of this; what is left over is inaccessible; 0 = no */
	struct ash_policy policy; /* of the process, on a machine with several nodes */
};
void ash_arena_config_default(struct ash_arena_config *config);

struct ash_arena;

/* The registry: constant once set up, but for nr_frames; read by everyone without a lock. */
struct ash_registry {
	uintptr_t base;          /* first byte of the reservation; a value that no pointer is below when not set up */
	/* Frames in the reservation: 0 until set up, so that every pointer is foreign. Fewer later (ash_arena_fit). */
	size_t nr_frames;
	_Atomic uint32_t *tags;  /* [nr_frames] the clients' words */
	unsigned span_frame_shift; /* log2 of frames per span */
	unsigned nr_spans;
};
extern ASH_HIDDEN struct ash_registry ash_registry;

/*
 * Not an atomic load, which no compiler makes part of the comparison: that would be an instruction more in every free.
 * It is stored at once, and the old number does as well as the new for any address that a program can have: what is
 * mapped where frames were is heard of from who mapped it, and so after they went.
 */
ASH_INLINE size_t ash_nr_frames(void)
{
	return ash_registry.nr_frames;
}

/* Index of p's frame in the whole reservation, or a value >= ash_nr_frames() when p is foreign. */
ASH_INLINE size_t ash_frame_index(const void *p)
{
	return ((uintptr_t)p - ash_registry.base) >> ASH_PAGE_SHIFT;
}

ASH_INLINE bool ash_is_foreign(const void *p)
{
	return ash_frame_index(p) >= ash_nr_frames();
}

ASH_INLINE void *ash_frame_address(size_t frame_index)
{
	return (void *)(ash_registry.base + (frame_index << ASH_PAGE_SHIFT));
}

/* Tags are written by the frame's owner before it hands out pointers into it; relaxed suffices (see heap/heap.h). */
ASH_INLINE uint32_t ash_tag_load(size_t frame_index)
{
	return atomic_load_explicit(&ash_registry.tags[frame_index], memory_order_relaxed);
}

ASH_INLINE void ash_tag_store(size_t frame_index, uint32_t tag)
{
	atomic_store_explicit(&ash_registry.tags[frame_index], tag, memory_order_relaxed);
}

/*
 * Set up the reservation, the metadata and the T arena of the calling thread's node. Idempotent and safe to race:
 * the first caller does it, others wait. config is copied. -ENOMEM: not even the smallest reservation fits (RLIMIT_AS).
 */
ASH_MUST_USE int ash_arena_init(const struct ash_arena_config *config);
bool ash_arena_ready(void);

/*
 * The process has limited its address space (RLIMIT_AS) to so many bytes. Where more than that is mapped, what is
 * reserved and was never used is unmapped, but for a share of what the limit leaves, as it would have been at the
 * start; arenas that there are not yet cannot be made any more. Never undone. Nothing before ash_arena_init().
 */
void ash_arena_fit(size_t limit);

/* The effective configuration, constant after ash_arena_init(). */
const struct ash_arena_config *ash_arena_config(void);

/*
 * Policies other than an order of nodes that a process can have, at most: each takes two spans where there are several
 * nodes, so there are fewer (at least 8) where that would cost the nodes' own. One is set apart for the task's.
 */
enum { ASH_POLICY_SLOTS = 32 };

/* Whose memory a zonelist is: a kernel node number (0 where all memory is one), or ASH_NODES_MAX and a policy's
 * number. */
enum { ASH_ZONELIST_HOMES = ASH_POLICY_NODES + ASH_POLICY_SLOTS };

/*
 * Which arenas a request may use, in order. Heaps hold one; it is built per node or policy and constant. When the nodes
 * that the process may use change, new ones are built; old ones stay readable for ever.
 */
#define ASH_ZONELIST_MAX (ASH_ZONELIST_HOMES * ASH_ARENA_KINDS)
struct ash_zonelist {
	uint16_t nr;
	uint16_t home;
	bool yields; /* to a policy that the task gives itself (set_mempolicy), since nobody else asked for this node */
	uint8_t why; /* enum ash_spill_reason: why the home's own memory cannot be had, if so */
	uint16_t arena[ASH_ZONELIST_MAX]; /* span indices */
	const struct ash_zonelist *had_before; /* nodes.c: an older one of this home */
};

/*
 * For memory near node: a kernel node number, ASH_NODE_CURRENT for that of the CPU the thread runs on, or -1 for what
 * the process's policy says: by default the task's own policy, if it has one, else the same.
 */
enum { ASH_NODE_CURRENT = -2 };
const struct ash_zonelist *ash_zonelist_for(int node);

/*
 * For memory under a policy; after ash_arena_init(). NULL for ASH_POLICY_DEFAULT and &ash_zonelist_by_node for
 * ASH_POLICY_LOCAL, which no one list is enough for. -EINVAL: not a policy, or none of its nodes may be used; -ENOSPC:
 * all slots are taken, or address space was too tight for any (RLIMIT_AS); -ENOMEM.
 */
ASH_MUST_USE int ash_zonelist_of_policy(const struct ash_policy *policy, const struct ash_zonelist **out);
extern const struct ash_zonelist ash_zonelist_by_node;

/* What ash_zonelist_for(-1) goes by from now on. Errors as above. */
ASH_MUST_USE int ash_arena_set_policy(const struct ash_policy *policy);

/* The same for the calling thread alone, and its list: its own policy's, else that of ash_zonelist_for(-1). */
ASH_MUST_USE int ash_arena_set_thread_policy(const struct ash_policy *policy);
const struct ash_zonelist *ash_zonelist_of_thread(void);

/* The calling thread has told the kernel of a policy of its own. Async-signal-safe. */
void ash_task_policy_changed(void);

/*
 * The policy that the calling thread's memory goes by now: never DEFAULT, but for a task's own that cannot be told.
 * true: it is ours, thread's or process's, and overrides what the kernel would do by itself.
 */
bool ash_arena_policy_now(struct ash_policy *out);

/* The nodes that memory of ours at addr is to be on, one bit each; all bits set where any will do. */
uint64_t ash_arena_nodes_of(const void *addr);

/* Memory is placed by node: several may be used, or may come to be. Constant after ash_arena_init(). */
bool ash_arena_is_several(void);

struct ash_run {
	void *addr;
	size_t nr_frames;
	bool zeroed; /* reads as zero */
};

/*
 * A run of exactly nr_frames frames, aligned to 2^align_order frames, from the first arena of the list that has or can
 * grow one. Its memory may be touched at once without a signal: hugetlb pages are populated before they come here.
 * -ENOMEM: no arena could. Never larger than a span.
 */
ASH_MUST_USE int ash_run_alloc(const struct ash_zonelist *zl, size_t nr_frames, unsigned align_order,
			       enum ash_migratetype mt, struct ash_run *out);

/* Free [addr, addr + nr_frames * 4 KiB): a run, or any part of one. Tags must already be cleared. */
void ash_run_free(void *addr, size_t nr_frames);

/* The same of frames that the caller has made empty: they read as zero and cost no memory. */
void ash_run_free_zeroed(void *addr, size_t nr_frames);

/*
 * The system may have the memory of frames in use back: what they hold is lost, and they are touched again as fresh
 * ones. Where that cannot be (hugetlb, locked memory, a watcher, another thread that grows the arena) nothing happens:
 * false.
 */
bool ash_run_discard(void *addr, size_t nr_frames);

/*
 * So many frames more (or less) of what is in use in the arena of addr are discarded, and are to stay so: what is free
 * beside them is compared with what is in memory.
 */
void ash_run_note_discarded(const void *addr, int64_t nr_frames);

/*
 * What owns MOVABLE and RECLAIMABLE runs: the functions of page/mover.h with addresses for frames, whose rules they
 * keep, and with the run's word (below). One mover for all arenas, for good. They must not wait for what a thread may
 * hold that forks or that asks for a contiguous run.
 */
struct ash_arena_mover {
	int (*isolate)(void *addr, unsigned order, uint32_t word);
	int (*migrate)(void *to, void *from, unsigned order, uint32_t word);
	void (*putback)(void *addr, unsigned order, uint32_t word);
	int (*drop)(void *addr, unsigned order, uint32_t word);
};
void ash_arena_set_mover(const struct ash_arena_mover *m);

/*
 * Whether addr lies in the base-page start of an arena that has huge pages else: there were page tables of base pages,
 * and a huge page that is moved there comes to pieces.
 */
bool ash_arena_is_base_start(const void *addr);

/*
 * More than one heap takes slabs from the arenas, each its own, so that more of them is never touched than where there
 * is one: the base-page start of an arena goes on for longer. May be called at any time, and again; not taken back.
 */
void ash_arena_note_shared(void);

/*
 * A run of a pageblock or more is about to be asked for, and to be zero. Its pages may be read before they are written,
 * which takes two faults each where they are base pages: the base-page start goes on for no run as long as that. May be
 * called at any time, and again; not taken back.
 */
void ash_arena_note_zeroed(void);

/*
 * The owner's word of a run that is one piece (2^order frames): it is shown to the mover, and goes along when the run
 * is moved. Before the owner has set it, it is anything. 0 for addresses outside of what is online.
 */
uint32_t ash_run_word(const void *addr);
void ash_run_set_word(const void *addr, uint32_t word);

/*
 * A run as ash_run_alloc() gives it, UNMOVABLE, but where nothing that is free is long enough, a range of what is in
 * use is emptied by its owners; and only where that cannot be is more memory brought online. Not from a mover's
 * functions.
 */
ASH_MUST_USE int ash_run_alloc_contig(const struct ash_zonelist *zl, size_t nr_frames, unsigned align_order,
				      struct ash_run *out);

/* Have what can be moved put together, so that whole pageblocks become free. Not from a mover's functions. */
void ash_arena_compact(void);

/* The contig turn over fork, outermost; for a process that has threads. */
void ash_arena_fork_hold_contig(void);
void ash_arena_fork_release_contig(void);

/* Free a pageblock that was allocated as one, without waiting for anybody: for signal handlers. */
void ash_pageblock_free_trylock(void *addr);

/*
 * Whether allocating and freeing runs of ordinary memory near this thread ends. False in a signal handler that
 * interrupted its own thread inside this library, and when others hold its locks for long just now.
 */
bool ash_arena_may_wait(void);

/* As ash_zonelist_for(), without the hugetlb rungs. Empty where strictness leaves nothing else. */
void ash_zonelist_ordinary(struct ash_zonelist *out, int node);
void ash_zonelist_ordinary_of(struct ash_zonelist *out, const struct ash_zonelist *zl);

/* Grow a run in place from old_nr to new_nr frames; onlines memory behind it where it is the last. -EBUSY: cannot. */
ASH_MUST_USE int ash_run_extend(void *addr, size_t old_nr, size_t new_nr, enum ash_migratetype mt, bool *zeroed);

/*
 * Move the contents of nr_blocks whole pageblocks from one of the caller's runs to another, and free what they were in.
 * Where the kernel can do it and both are of one ordinary arena and aligned, frames change places and nothing is
 * copied. to_empty: there is no memory behind to (struct ash_run, zeroed). Tags must already be cleared at from.
 */
void ash_run_move(void *to, void *from, size_t nr_blocks, bool to_empty);

/*
 * Of a run that was allocated just now and whose contents do not matter to the caller: where there is no memory behind
 * whole pageblocks of it, put free frames there that the arena has elsewhere and does not need, rather than new ones of
 * the system at the first touch. Clears zeroed when it did.
 */
void ash_run_fill(struct ash_run *run);

/*
 * Zero-filled metadata for clients: heap structures and the like. Lives outside the arenas, is never given back, is
 * 64-byte aligned. NULL when the metadata reservation is exhausted.
 */
void *ash_meta_alloc(size_t bytes);

/*
 * A zero-filled table with one entry of entry_bytes per 2^shift frames of the whole reservation, reserved now and
 * touched only where used (heap: slab descriptors). It goes down: the result is the first entry, and the others lie
 * before it. Behind all but the first table is a guard. NULL: no address space. Never freed.
 */
void *ash_meta_table(size_t entry_bytes, unsigned shift);

/*
 * Return free whole pageblocks to the system: those free for most of the decay time (ash_arena_decay, called on
 * slow paths, cheap when nothing is due) or all of them (ash_arena_trim). Returns the bytes given back.
 */
size_t ash_arena_decay(void);
size_t ash_arena_decay_at(uint64_t now_ms); /* ash_arena_decay() for who has just read ash_clock_ms() */
size_t ash_arena_trim(void);

/*
 * Who is asked before memory behind addresses of arenas goes while the addresses stay, and told afterwards whether it
 * has gone. going: false refuses. Both are called with the contig turn held or no lock at all, and may allocate and
 * free. While there is one, free memory goes back by ash_arena_trim() only, and no frames are exchanged. NULL: nobody
 * any more.
 */
struct ash_arena_watcher {
	bool (*going)(void *addr, size_t bytes);
	void (*gone)(void *addr, size_t bytes, bool gone);
};
void ash_arena_set_watcher(const struct ash_arena_watcher *w);
/* The same in a child of fork, which is alone, before it gives the contig turn back. */
void ash_arena_fork_watcher(const struct ash_arena_watcher *w);
bool ash_arena_is_watched(void);
/* Ask and tell of memory that the caller owns, and will empty before anybody else has it. No locks but the contig
 * turn. */
bool ash_arena_empties(void *addr, size_t bytes);

/*
 * fork. prepare takes every lock below heap and copies H memory for the child (ASH_FORK_COPY; lib/arena/fork.c says why
 * then); parent and child release them, the child after moving the copy to the addresses of the original. Without H
 * memory only the locks are taken.
 *
 * alone: the calling thread is the only one, and may be a signal handler that interrupted this very library. Locks that
 * are held are its own; then none is taken, and the child goes on with them from where it was.
 */
bool ash_arena_fork_copies(void); /* fork has memory to copy; else a process with one thread needs none of these */
void ash_arena_fork_prepare(bool alone);
void ash_arena_fork_parent(void);
void ash_arena_fork_child(void);

/* Between prepare and parent or child: there are copies, and until child has run the child has no H memory. */
bool ash_arena_fork_copied(void);
/*
 * In the child before ash_arena_fork_child(), for who cannot wait: put the copies in place now. false: there is nothing
 * to do, as in the parent. Async-signal-safe, touches no H memory and no thread-local data.
 */
bool ash_arena_fork_rescue(void);

/* What an arena is and does, for statistics. Figures are frames unless named otherwise. */
struct ash_arena_stats {
	int node;                 /* kernel node number */
	enum ash_arena_kind kind;
	uintptr_t start;          /* first address of the span */
	size_t span_bytes;
	size_t online;            /* frames the zone manages */
	size_t peak_online;
	size_t returned;          /* of these, H pageblocks that are back in the pool */
	/* of zone.free, without memory behind them; never of hugetlb, which is populated before it is free */
	size_t free_absent;
	size_t backed[ASH_BACKING_NR]; /* online frames by the backing asked for */
	uint64_t grows, returned_blocks, fallbacks; /* events; fallbacks = times a rung above could not be had */
	struct ash_zone_stats zone;
};
unsigned ash_arena_count(void);
/* false: no arena at this span index. */
bool ash_arena_stats(unsigned index, struct ash_arena_stats *out);
struct ash_zone *ash_arena_zone(unsigned index);

/*
 * Frames by node, with the meanings of numastat(8), for runs that were asked of a node: hit, it was had there; miss, it
 * was had here and asked of another; foreign, the reverse; local and other by the node of the CPU that asked. Runs
 * under a policy with several nodes are not in these: ash_arena_where() tells of them.
 */
struct ash_numastat {
	uint64_t hit, miss, foreign, local, other;
};
/* false: a node without arenas, or all of one node's that was never asked. All zero on a machine with one node. */
bool ash_numastat(unsigned node, struct ash_numastat *out);

/*
 * Move the pages that [addr, addr + bytes) lies on, whoever's they are, to a node: 0 when all that are in memory are
 * there; -EBUSY: some could not be moved; -EINVAL: it is no range; -EPERM, -ENOSYS, -ENODEV, -EACCES as
 * ash_numa_move().
 */
int ash_arena_migrate(const void *addr, size_t bytes, int node);

/* A run that was moved is about to be freed: back to its arena's node with it, or that would hand out far memory. */
void ash_run_come_home(const void *addr, size_t nr_frames);

/* Why memory that one node was to give, or the thread's own, came from another. */
enum ash_spill_reason {
	ASH_SPILL_NONE,
	ASH_SPILL_POOL,       /* its hugetlb pool was dry, and strict */
	ASH_SPILL_LIMIT,      /* option "limit" */
	ASH_SPILL_SPACE,      /* its span is full, or the system gave no memory */
	ASH_SPILL_CPUSET,     /* it has memory that this process may not use */
	ASH_SPILL_MEMORYLESS, /* it has none, or is not there */
	ASH_SPILL_POLICY,     /* the other one was asked for, by a policy or by number */
	ASH_SPILL_REASONS,
};
struct ash_spill {
	int16_t from, to;
	enum ash_spill_reason reason;
	uint64_t runs, frames;
};

/* How these are kept. */
struct ash_spill_count {
	_Atomic uint32_t key; /* 0: free; else set once */
	_Atomic uint64_t runs, frames;
};
ASH_INLINE uint32_t ash_spill_key(int from, int to, enum ash_spill_reason reason)
{
	return (uint32_t)from << 16 | (uint32_t)to << 8 | (uint32_t)reason;
}
ASH_INLINE struct ash_spill ash_spill_of(uint32_t key, uint64_t runs, uint64_t frames)
{
	const struct ash_spill spill = {
		.from = (int16_t)(key >> 16),
		.to = (int16_t)(key >> 8 & 0xff),
		.reason = (enum ash_spill_reason)(key & 0xff),
		.runs = runs,
		.frames = frames,
	};

	return spill;
}
/* The different ones that there have been, each with its sums: how many, at most max. Later ones than 32 are not told
 * apart. */
unsigned ash_spills(struct ash_spill out[], unsigned max);

/* What an arena's memory is bound by, when that is not its node: NULL for a node's own. */
const struct ash_policy *ash_arena_policy_of(unsigned index);

/*
 * Where an arena's memory really is, by the kernel's word (move_pages), page by page up to a limit, else in samples
 * spread evenly: frames found on each node. Each sample stands for a step of frames. -ENOENT: no arena; -EPERM,
 * -ENOSYS: the kernel will not say.
 */
struct ash_placement {
	size_t step;                  /* frames a sample stands for */
	size_t sampled;               /* pages found in memory */
	size_t on[ASH_POLICY_NODES];  /* of these, by node */
};
ASH_MUST_USE int ash_arena_where(unsigned index, struct ash_placement *out);

/*
 * What really backs an arena, by the kernel's own accounting (/proc/self/smaps): bytes resident per backing.
 * -errno when /proc is not to be had. Reads with raw system calls into a stack buffer.
 */
ASH_MUST_USE int ash_arena_actual(unsigned index, size_t bytes[ASH_BACKING_NR]);

/* The arenas for a reader in another process. */
extern ASH_HIDDEN const struct ash_view_list ash_arena_view, ash_node_view, ash_spill_view;

/* The last degradation line ("" when none), for reports. */
const char *ash_arena_degraded(void);

#endif
