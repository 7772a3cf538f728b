/* SPDX-License-Identifier: MIT */
/*
 * Contiguous ranges out of memory in use, and memory that gives way to them.
 *
 * A range from here is contiguous in the process's address space, begins on a 2 MiB boundary and consists of whole
 * pageblocks of one arena. When no free range is long enough, one that is in use is emptied: mappings (<ashlar/map.h>,
 * or the preload's option map) are given other pageblocks without noticing, movable objects are moved, purgeable ones
 * dropped. Malloc's memory cannot move; it is kept together so that it is seldom in the way. Only when nothing can be
 * emptied does the arena grow, up to the option limit. Each 2 MiB is one huge page where the kernel has one; contiguity
 * in RAM beyond 2 MiB needs hugetlb pages, and <ashlar/dma.h> tells what it got.
 *
 * Thread safety: all functions may be called from any thread; one at a time empties ranges, and fork waits for it.
 * Signal safety: none. No function here may be called from the functions of struct ash_movable_ops, but
 * ash_movable_free().
 */
#ifndef ASHLAR_CONTIG_H
#define ASHLAR_CONTIG_H

#include <ashlar/types.h>

ASH_API_BEGIN

/*
 * bytes (rounded up to 2 MiB) at a multiple of alignment (a power of two of at most 1 GiB; 0: 2 MiB) from node (or
 * ASH_NODE_LOCAL). The contents are anything. The caller owns it and ends it with ash_contig_free(), as a whole.
 * NULL: errno EINVAL, ENOMEM.
 */
ASH_API void *ash_contig_alloc(size_t bytes, size_t alignment, int node) ASH_API_MUST_USE;

/* 0; -EINVAL: p is not what ash_contig_alloc() returned, or freed already. NULL is nothing to do. */
ASH_API int ash_contig_free(void *p);

/*
 * Make the process smaller by at least bytes, if that can be: free pageblocks go back to the system; while it is not
 * enough, purgeable objects are dropped and movable ones put together. The bytes given back.
 */
ASH_API size_t ash_arena_shrink(size_t bytes);

/*
 * What a movable object's owner does when its memory is wanted (as the kernel's struct movable_operations), or a
 * purgeable one's. Called in whatever thread wants the memory, with an address where the object was a moment ago.
 *
 * isolate: if there still is an object of the owner's at p and it may be moved, see to it that it is neither freed nor
 *   begun to be used until migrate has returned 0 or putback has been called, and return 0. Else non-zero.
 * migrate: copy bytes from `from` to `to`, make everything that refers to the object refer to `to`, and return 0: the
 *   object lives there now and is as any other. Non-zero: it is where it was, and putback follows.
 * putback: it is not moved after all.
 * drop: free the object with ash_movable_free() and return 0, if it is still there. Non-zero: it is needed.
 *
 * None of them may wait for a lock that somebody holds over fork (in an atfork handler), over malloc or over a call of
 * this header: fork and those calls may be waiting for it to return. So isolate and drop try such a lock, and refuse;
 * migrate and putback need none, for what was isolated is theirs. At fork no object is isolated. Either drop is set, or
 * the other three.
 */
struct ash_movable_ops {
	int (*isolate)(void *p, size_t bytes, void *arg);
	int (*migrate)(void *to, void *from, size_t bytes, void *arg);
	void (*putback)(void *p, size_t bytes, void *arg);
	int (*drop)(void *p, size_t bytes, void *arg);
};

/*
 * An object of bytes (up to 2 MiB, in whole powers of two of 4 KiB), aligned to its size; its contents are anything.
 * *ops is copied; arg must stay valid until the end of every object that has it. bytes in the functions is the rounded
 * size. NULL: errno EINVAL, ENOMEM (also where there are 262,143 already).
 */
ASH_API void *ash_movable_alloc(size_t bytes, const struct ash_movable_ops *ops, void *arg) ASH_API_MUST_USE;

/* 0; -EINVAL: no object is at p. NULL is nothing to do. */
ASH_API int ash_movable_free(void *p);

ASH_API_END

#endif
