/* SPDX-License-Identifier: MIT */
/*
 * Mappings whose frames are an arena's: what mmap(2) becomes under the preload with option map, and what ash_map()
 * gives.
 *
 * A served mapping is the kernel's own mapping, made by the kernel's own mmap with the caller's arguments. So whatever
 * the program later does to it, by whatever door, means what it means without us; nothing is emulated. What is served
 * is its memory: each whole pageblock of it has a slot, a MOVABLE pageblock of a T arena, and the two exchange their
 * pages by UFFDIO_MOVE. When the mapping goes, its huge pages move into their slots, and stay warm there; when a
 * mapping comes, warm slots are wiped and their pages moved into it. That saves the fault and the trip to the system;
 * the wiping is what remains (lend.c).
 *
 *      free slot (warm) --wipe, lend--> mapping's page, slot empty --harvest--> free slot (warm) --decay--> the system
 *      free slot (empty) -------------> the kernel faults the page in -^
 *
 * Which slot belongs to which address is bookkeeping, not truth (track.c): where it is stale, because the program went
 * past us, a harvest finds nothing it may take. Pages are taken only from memory whose unmapping was asked for.
 *
 * Thread-safe. Async-signal-safe as far as mmap is: where a lock of ours might be held by the interrupted thread,
 * the call goes to the kernel as it is. Results are the kernel's: an address or 0, or a negative errno.
 */
#ifndef ASH_MAP_MAP_H
#define ASH_MAP_MAP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ashlar/map.h>

#include "base/compiler.h"

/*
 * Serve from now on. Arenas must be ready. Until then, and where the kernel cannot move pages, every call is passed on.
 * program: what comes by ash_map_mmap(), too, and not ash_map_new() only.
 */
void ash_map_enable(bool program);

/*
 * Whether something of [addr, addr + bytes) is served, and so may have pages before it was touched: who says by
 * mbind(2) where its pages are to be must have them moved (MPOL_MF_MOVE).
 */
bool ash_map_serves(const void *addr, size_t bytes);

/* A new mapping of bytes, on a pageblock's boundary. policy: NULL or DEFAULT: the thread's. -EINVAL: it cannot be. */
long ash_map_new(size_t bytes, const struct ash_policy *policy);

/* mmap(2), munmap(2), mremap(2), madvise(2). */
long ash_map_mmap(void *addr, size_t bytes, int prot, int flags, int fd, long offset);
long ash_map_munmap(void *addr, size_t bytes);
long ash_map_mremap(void *from, size_t old_bytes, size_t new_bytes, int flags, void *to);
long ash_map_madvise(void *addr, size_t bytes, int advice);

/* ash_unmap() and ash_remap(): a listener can refuse, -EBUSY. */
long ash_map_end(void *addr, size_t bytes);
long ash_map_resize(void *addr, size_t old_bytes, size_t new_bytes);

/* Listeners, as <ashlar/map.h> has them; arenas must be ready. */
int ash_map_listen(ash_map_event_fn fn, void *arg);
int ash_map_unlisten(ash_map_event_fn fn, void *arg);
/* In a child whose parent had threads: those that were telling are not here. */
void ash_map_events_fork_child(void);

/*
 * The pageblocks that [addr, addr + bytes) touches are the kernel's from now on: their pages are never reused. For
 * memory whose pages somebody holds in a way that UFFDIO_MOVE cannot see (vmsplice(2)).
 */
void ash_map_release(const void *addr, size_t bytes);

/*
 * No pages go from one mapping to another from now on, for the program does what does not go together with it: it asks
 * for missing pages to be reported to it (userfaultfd(2)), and those that were lent would not be missing; or it has the
 * network read its memory after the call that sends it (SO_ZEROCOPY), and what is sent may be unmapped by then.
 */
void ash_map_stop_recycling(void);

/* ash_map_release(), until ash_map_unpin() for the pageblocks that lie wholly in its range and are still mapped. */
void ash_map_pin(const void *addr, size_t bytes);
void ash_map_unpin(const void *addr, size_t bytes);

/*
 * Memory that gives way when contiguous runs are wanted: docs/map.md. An object is one piece of 2^k frames; either it
 * can be moved (isolate, migrate, putback) or it can be dropped. The functions are called with no lock of ours held but
 * the contig turn; the contract is that of <ashlar/contig.h>.
 */
struct ash_object_ops {
	int (*isolate)(void *p, size_t bytes, void *arg);
	int (*migrate)(void *to, void *from, size_t bytes, void *arg);
	void (*putback)(void *p, size_t bytes, void *arg);
	int (*drop)(void *p, size_t bytes, void *arg);
};
/* NULL: *err is -EINVAL or -ENOMEM. Not zeroed. */
void *ash_object_alloc(size_t bytes, const struct ash_object_ops *ops, void *arg, int *err);
/* 0 or -EINVAL: there is none. */
int ash_object_free(void *p);
/* Ask for drops until so many bytes are free; how many are. */
size_t ash_object_purge(size_t bytes);
/* The lock over fork, after the contig turn, in a process that has threads. */
void ash_object_fork_prepare(void);
void ash_object_fork_done(void);

/* Let slots and objects give way from now on: before a contiguous run is asked for. */
void ash_map_use_mover(void);

enum ash_map_state {
	ASH_MAP_OFF,       /* not asked for */
	ASH_MAP_UNPROVED,  /* asked for, not needed yet */
	ASH_MAP_SERVING,
	ASH_MAP_REFUSED,   /* the kernel cannot move pages, or may not for us */
};

struct ash_map_stats {
	enum ash_map_state state;
	int error;          /* negative errno, when REFUSED */
	uint64_t calls;     /* mappings served */
	uint64_t slots;     /* pageblocks of live mappings */
	uint64_t lent;      /* pageblocks that got a warm page, ever */
	uint64_t harvested; /* pageblocks whose page came back, ever */
	uint64_t exchanged; /* slots that mappings were given for others, so that ranges became free, ever */
	uint64_t refused;   /* pageblocks whose pages the kernel would not move, ever */
};
void ash_map_stats(struct ash_map_stats *out);

#endif
