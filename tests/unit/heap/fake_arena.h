/* SPDX-License-Identifier: MIT */
/*
 * An arena layer for heap unit tests: one small span, first fit, every frame's owner known.
 *
 * It checks what the heap promises to an arena (frees only what it was given, tags cleared before a free) and can
 * refuse the n-th allocation from now. Freed frames are poisoned, so a use after free shows.
 */
#ifndef ASH_TESTS_UNIT_HEAP_FAKE_ARENA_H
#define ASH_TESTS_UNIT_HEAP_FAKE_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAKE_FRAMES (1u << 15) /* 128 MiB */

/* Refuse the n-th run allocation or extension from now (1 = the next) and all after it; 0 = never. */
void fake_arena_fail_at(unsigned n);
size_t fake_arena_used_frames(void);
/* Frames in memory that were discarded while in use, since the start. */
size_t fake_arena_discarded_frames(void);
/* Frames that are to stay discarded, as the heap counts them. */
int64_t fake_arena_away_frames(void);
/* Pieces of metadata that the heap has taken, which nothing gives back. */
unsigned fake_arena_meta_allocs(void);
/* Whether the heap has told that there are several. */
bool fake_arena_is_shared(void);
/* Whether it has told, since this was asked last, that a long run is to be zero. */
bool fake_arena_was_zeroed(void);
/* Called before each discard, in the thread that discards. */
void fake_arena_before_discard(void (*fn)(void));
/* The option; never, until this is called. */
void fake_arena_decay_ms(uint32_t ms);
/* Broken promises since the start, each printed. */
unsigned fake_arena_faults(void);

#endif
