/* SPDX-License-Identifier: MIT */
/*
 * Mappings: large pieces of zero-filled memory whose pages are recycled.
 *
 * A mapping made here is the kernel's own: mmap(2) with MAP_PRIVATE and MAP_ANONYMOUS, on a 2 MiB boundary, wanting
 * huge pages. mprotect(2), madvise(2), mlock(2), mincore(2) and munmap(2) of any part of it, and MAP_FIXED over it,
 * mean what they always mean; a child of fork has a copy. When it is unmapped by ash_unmap() (or, under the preload, by
 * munmap(2)), its huge pages stay in the process for the decay time, and the next mapping gets them wiped instead of
 * new ones from the kernel. docs/map.md tells how, and where the kernel does not allow it: there the calls work all the
 * same.
 *
 * Its pages come from where the thread's policy says (ashlar/policy.h). A new mapping may have pages already; who gives
 * it a policy by mbind(2) has them moved with MPOL_MF_MOVE.
 *
 * The preload's option map does the same to mmap(2) of programs that know nothing of it; these functions need no
 * option.
 *
 * Thread safety: all functions may be called from any thread. Signal safety: as mmap(2).
 */
#ifndef ASHLAR_MAP_H
#define ASHLAR_MAP_H

#include <ashlar/policy.h>
#include <ashlar/types.h>

ASH_API_BEGIN

/*
 * bytes of zero-filled memory, readable and writable, rounded up to pages of 4 KiB, at a multiple of 2 MiB. The caller
 * owns it and ends it with ash_unmap(), as a whole or in parts. From 2 MiB on its whole pageblocks are recycled.
 * NULL: errno ENOMEM (also RLIMIT_AS and overcommit), EINVAL (0 bytes).
 */
ASH_API void *ash_map(size_t bytes) ASH_API_MUST_USE;

/*
 * The same under a policy of its own (ashlar/policy.h) in place of the thread's, which is what NULL and
 * ASH_POLICY_DEFAULT mean. It is copied, and is the mapping's as if by mbind(2). Where more policies are in use than a
 * process can have, the mapping lies where its policy says all the same, and its pages are not recycled.
 * NULL: errno as above; EINVAL: not a policy, or none of its nodes may be used.
 */
ASH_API void *ash_map_policy(size_t bytes, const struct ash_policy *policy) ASH_API_MUST_USE;

/*
 * Unmap [addr, addr + bytes), any pages of any mappings, as munmap(2): 0; -EINVAL: addr is no multiple of 4 KiB, or
 * bytes is 0 or too large; -ENOMEM: it would make one mapping more than the kernel allows; -EBUSY: a listener refuses
 * (below). On error everything is as before.
 */
ASH_API int ash_unmap(void *addr, size_t bytes);

/*
 * Make the mapping at addr, of old_bytes, one of new_bytes: it may move. The contents stay, what is new reads as zero.
 * As mremap(2) with MREMAP_MAYMOVE, of which old_bytes may be a part of a mapping.
 * NULL: errno ENOMEM, EINVAL, EFAULT, EBUSY (a listener refuses); the old mapping stays.
 */
ASH_API void *ash_remap(void *addr, size_t old_bytes, size_t new_bytes) ASH_API_MUST_USE;

/*
 * Say that somebody holds the pages of [addr, addr + bytes) beside the mapping, in a way that outlives it: a zero-copy
 * send that may not be complete, a device whose driver does not pin. The pageblocks that the range touches are not
 * recycled then. What the kernel has pinned (O_DIRECT, registered io_uring buffers, VFIO, RDMA) need not be told: it
 * refuses by itself. ash_unpin() ends that, for the pageblocks that lie wholly in its range; pins are not counted.
 */
ASH_API void ash_pin(const void *addr, size_t bytes);
ASH_API void ash_unpin(const void *addr, size_t bytes);

/*
 * Events, for who remembers what lies behind addresses: a cache of registrations with a card, a table of physical
 * addresses. As those of DMA memory (<ashlar/dma.h>), but for MAPPED: here a range becomes interesting when it is first
 * used.
 *
 * UNMAPPING comes before the pages behind a range go, STAYS or UNMAPPED with the same range after it. UNMAPPED: from
 * now on there is nothing at these addresses, or something else (rarely: still the same, when a call was done in part).
 * What is registered of the range has to be given up in UNMAPPING, while the pages are still there. Ranges are whole
 * pages, of any memory; a listener looks up what of it is its own.
 *
 * Non-zero in answer to UNMAPPING refuses. That counts for what the library decides or is asked for: memory that it
 * would return to the system stays (ash_trim(), malloc_trim(), ash_arena_shrink()), pageblocks that would change hands
 * stay, and ash_unmap() and ash_remap() fail with EBUSY; then those that had been told before are told STAYS. It does
 * not count for the program's own munmap(2), mremap(2), madvise(2) and mmap(2) with MAP_FIXED: the listener hears
 * UNMAPPED all the same.
 *
 * What is told of: ash_unmap(), ash_remap(); memory behind the heap's and the library's other addresses; under the
 * preload also those four calls, with or without its option map, but not who makes system calls by himself, a shmdt(2)
 * or brk(2), nor libc's own mappings. DMA memory has its own events. malloc and free tell nothing: while anybody
 * listens, free memory of the heap is not returned by decay but by the functions above, and realloc copies.
 *
 * fn is called in the thread that makes the call, with no lock held but one: of the functions that return memory, one
 * at a time asks, and fork and ash_contig_alloc() wait for it. So it may allocate, free, map and unmap (and hears of
 * it); it must not fork, (un)register listeners, call a function of <ashlar/contig.h> but ash_movable_free(), or wait
 * for a lock that somebody holds over one of these. It may be called in several threads at once, and in a signal
 * handler where the program unmaps there. A child of fork has its parent's listeners.
 */
enum ash_map_event { ASH_MAP_EVENT_UNMAPPING = 1, ASH_MAP_EVENT_STAYS, ASH_MAP_EVENT_UNMAPPED };
typedef int (*ash_map_event_fn)(enum ash_map_event event, void *addr, size_t bytes, void *arg);
/* 0; -EINVAL: no fn; -ENOSPC: there are 16 already; -ENOMEM. */
ASH_API int ash_map_events_register(ash_map_event_fn fn, void *arg);
/* Once it has returned, fn runs nowhere. 0; -ENOENT: no such pair. */
ASH_API int ash_map_events_unregister(ash_map_event_fn fn, void *arg);

ASH_API_END

#endif
