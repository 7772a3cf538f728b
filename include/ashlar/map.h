/* SPDX-License-Identifier: MIT */
/*
 * Mappings: large pieces of zero-filled memory whose pages are recycled.
 *
 * A mapping made here is the kernel's own: mmap(2) with MAP_PRIVATE and MAP_ANONYMOUS, on a 2 MiB boundary, wanting huge
 * pages. mprotect(2), madvise(2), mlock(2), mincore(2) and munmap(2) of any part of it, and MAP_FIXED over it, mean what
 * they always mean; a child of fork has a copy. When it is unmapped by ash_unmap() (or, under the preload, by munmap(2)),
 * its huge pages stay in the process for the decay time, and the next mapping gets them wiped instead of new ones from
 * the kernel. docs/map.md tells how, and where the kernel does not allow it: there the calls work all the same.
 *
 * Its pages come from where the thread's policy says (ashlar/policy.h). A new mapping may have pages already; who gives it a
 * policy by mbind(2) has them moved with MPOL_MF_MOVE.
 *
 * The preload's option map does the same to mmap(2) of programs that know nothing of it; these functions need no option.
 *
 * Thread safety: all functions may be called from any thread. Signal safety: as mmap(2).
 */
#ifndef ASHLAR_MAP_H
#define ASHLAR_MAP_H

#include <ashlar/types.h>

ASH_API_BEGIN

/*
 * bytes of zero-filled memory, readable and writable, rounded up to pages of 4 KiB, at a multiple of 2 MiB. The caller
 * owns it and ends it with ash_unmap(), as a whole or in parts. From 2 MiB on its whole pageblocks are recycled.
 * NULL: errno ENOMEM (also RLIMIT_AS and overcommit), EINVAL (0 bytes).
 */
ASH_API void *ash_map(size_t bytes) ASH_API_MUST_USE;

/*
 * Unmap [addr, addr + bytes), any pages of any mappings, as munmap(2): 0; -EINVAL: addr is no multiple of 4 KiB, or bytes
 * is 0 or too large; -ENOMEM: it would make one mapping more than the kernel allows. On error everything is as before.
 */
ASH_API int ash_unmap(void *addr, size_t bytes);

/*
 * Make the mapping at addr, of old_bytes, one of new_bytes: it may move. The contents stay, what is new reads as zero.
 * As mremap(2) with MREMAP_MAYMOVE, of which old_bytes may be a part of a mapping.
 * NULL: errno ENOMEM, EINVAL, EFAULT; the old mapping stays.
 */
ASH_API void *ash_remap(void *addr, size_t old_bytes, size_t new_bytes) ASH_API_MUST_USE;

/*
 * Say that somebody holds the pages of [addr, addr + bytes) beside the mapping, in a way that outlives it: a zero-copy
 * send that may not be complete, a device whose driver does not pin. The pageblocks that the range touches are not
 * recycled then. What the kernel has pinned (O_DIRECT, registered io_uring buffers, VFIO, RDMA) need not be told: it refuses
 * by itself. ash_unpin() ends that, for the pageblocks that lie wholly in its range; pins are not counted.
 */
ASH_API void ash_pin(const void *addr, size_t bytes);
ASH_API void ash_unpin(const void *addr, size_t bytes);

ASH_API_END

#endif
