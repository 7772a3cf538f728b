/* SPDX-License-Identifier: MIT */
/*
 * What lib/map shares between its own files.
 *
 * Slots need no lock. A slot belongs to whoever took it out of the table, or of the zone, and is not in either until it
 * is put back.
 */
#ifndef ASH_MAP_INTERNAL_H
#define ASH_MAP_INTERNAL_H

#include "arena/arena.h"
#include "map/map.h"
#include "os/vmem.h"

enum { PB_SHIFT = ASH_PAGE_SHIFT + ASH_PAGEBLOCK_ORDER, PB_FRAMES = 1 << ASH_PAGEBLOCK_ORDER };
#define PB_BYTES ((size_t)1 << PB_SHIFT)

/* Pageblocks handled at a time: what a signal handler's stack has room for. */
enum { LOT_BLOCKS = 128 };

/* Consecutive pageblocks of address space and their slots. */
struct ash_lot {
	size_t first;               /* block number: address >> PB_SHIFT */
	uintptr_t start, end;       /* what is registered while pages come to the blocks: all of a new mapping */
	unsigned nr;
	uint32_t slot[LOT_BLOCKS];  /* as in the table; 0: none */
	bool full[LOT_BLOCKS];      /* every page is there, on the side that gives */
	bool moved[LOT_BLOCKS];
};

struct ash_maps {
	_Atomic int state; /* enum ash_map_state */
	_Atomic bool program; /* the program's own mappings are served */
	_Atomic int error;
	_Atomic bool base_pages; /* written before state says SERVING: there are no huge pages to be had */
	_Atomic bool bare; /* ash_map_stop_recycling() */
	_Atomic bool nameless; /* the kernel has no names for anonymous memory */
	_Atomic uint64_t calls, slots, lent, harvested, refused, exchanged;
};
extern struct ash_maps ash_maps;

/*
 * track.c: block number -> slot. A slot is named by its pageblock's index in the reservation plus 1.
 */
/* In the place of a slot: somebody holds the pages of the pageblock, and the slot that it had was given up for that. */
#define ASH_TRACK_PINNED (UINT32_MAX - 1)
/* The slot that was there. UINT32_MAX: no memory for the table; nothing was set. */
uint32_t ash_track_set(size_t block, uint32_t slot);
/* The slot that is there now, or ASH_TRACK_PINNED; 0: none. */
uint32_t ash_track_get(size_t block);
/* Put a slot in the place of another; both empty. false: the other is not there, or no longer; nothing has changed. */
bool ash_track_exchange(size_t block, uint32_t old, uint32_t slot);
/* Take the slot out: it is the caller's. A pin ends. */
uint32_t ash_track_take(size_t block);
/* The first block of [block, end) that has a slot or is pinned, or end. Quick over address space that never had one. */
size_t ash_track_next(size_t block, size_t end);

ASH_INLINE void *ash_slot_address(uint32_t slot)
{
	return ash_frame_address((size_t)(slot - 1) << ASH_PAGEBLOCK_ORDER);
}

/* The word of a slot's piece is the block number it was tracked under last; this marks those of objects (mover.c). */
#define ASH_WORD_OBJECT (1u << 31)

/* object.c, for the mover */
int ash_object_isolate(void *addr, unsigned order, uint32_t word);
int ash_object_migrate(void *to, void *from, unsigned order, uint32_t word);
void ash_object_putback(void *addr, unsigned order, uint32_t word);
int ash_object_drop(void *addr, unsigned order, uint32_t word);

/* call.c: mmap(2), munmap(2), mremap(2) and what the table has to hear of them; no listener is asked. */
long ash_call_mmap(void *addr, size_t bytes, int prot, int flags, int fd, long offset);
long ash_call_munmap(void *addr, size_t bytes);
long ash_call_mremap(void *from, size_t old_bytes, size_t new_bytes, int flags, void *to);

/* event.c */
/* Ask all listeners. false: one of them refuses, and those before it know that it stays. */
bool ash_map_ask(void *addr, size_t bytes);
/* Tell all listeners, whatever they answer. */
void ash_map_tell(enum ash_map_event event, void *addr, size_t bytes);

/* wipe.c: make a pageblock zero, and all of it present. mapping_bytes: how much is being wiped in all. */
void ash_wipe(void *pageblock, size_t mapping_bytes);

/* lend.c */
/* A MOVABLE pageblock: 0 when there is none. *maybe_warm: it may hold pages. */
uint32_t ash_slot_alloc(const struct ash_zonelist *zl, bool *maybe_warm);
/* warm: it holds a whole pageblock of pages; else none. */
void ash_slot_free(uint32_t slot, bool warm);
/* One that holds none, also where ash_arena_may_wait() says no. */
void ash_slot_free_trylock(uint32_t slot);

/* Wipe the slots that are full, or may be anything, and move their pages into the lot's blocks. Slots are empty
 * then. */
void ash_lot_lend(struct ash_lot *lot);
/* Move the pages of the blocks into their slots where all are there. Sets moved[]; other slots are empty. */
void ash_lot_harvest(struct ash_lot *lot);
/* Undo a harvest: every byte is where it was. */
void ash_lot_give_back(struct ash_lot *lot);

#endif
