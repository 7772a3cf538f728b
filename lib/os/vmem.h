/* SPDX-License-Identifier: MIT */
/*
 * Address space and what stands behind it: thin verbs over mmap(2), mprotect(2), madvise(2), mremap(2).
 *
 * All sizes are bytes and all addresses and sizes page-aligned (hugetlb verbs: aligned to the huge page). Every verb
 * returns 0 or a negative errno. Thread-safe as the system calls are; nothing is remembered here.
 */
#ifndef ASH_OS_VMEM_H
#define ASH_OS_VMEM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"

/* Address space without access (PROT_NONE). noreserve: memory committed in it later is exempt from overcommit
 * accounting where the kernel allows that (vm.overcommit_memory other than 2). */
ASH_MUST_USE int ash_vmem_reserve(size_t bytes, bool noreserve, void **out);

/* Readable and writable, zero-filled at first touch. -ENOMEM: overcommit, RLIMIT_DATA, or too many mappings. */
ASH_MUST_USE int ash_vmem_commit(void *addr, size_t bytes);

/* Readable, as zero, and not writable: costs no memory and is charged nowhere. */
ASH_MUST_USE int ash_vmem_commit_zero(void *addr, size_t bytes);

/* Whether the page at addr has memory behind it (mincore): 1, 0, or -ENOMEM where nothing is mapped. */
ASH_MUST_USE int ash_vmem_resident(const void *addr);

/* Fresh private anonymous memory, readable and writable, anywhere. */
ASH_MUST_USE int ash_vmem_map(size_t bytes, void **out);

/* A table that reads as zero everywhere and is written nowhere until committed: neither memory nor overcommit is
 * charged. */
ASH_MUST_USE int ash_vmem_map_zeros(size_t bytes, void **out);

/* Replace whatever is at addr by address space without access: undoes commit and hugetlb mappings. */
int ash_vmem_reset(void *addr, size_t bytes);

/* Put address space without access where nothing is mapped, and leave alone what is: closes a hole. */
int ash_vmem_close(void *addr, size_t bytes);

int ash_vmem_unmap(void *addr, size_t bytes);

/* Move the mapping at from over whatever is at to (mremap MREMAP_FIXED): pages move, nothing is copied. -EINVAL:
 * hugetlb before Linux 5.16. */
ASH_MUST_USE int ash_vmem_move(void *from, void *to, size_t bytes);

/* Map private hugetlb pages of 2^page_shift bytes anywhere, aligned, and have the pool promise them: -ENOMEM when it
 * cannot. The promise is not proof (a cgroup or a dry node may still refuse): populate. */
ASH_MUST_USE int ash_vmem_map_hugetlb(size_t bytes, unsigned page_shift, void **out);

/* The same over the reservation at addr, without a promise: a promise refused would leave a hole there. */
ASH_MUST_USE int ash_vmem_map_hugetlb_at(void *addr, size_t bytes, unsigned page_shift);

/*
 * Fault the range in for writing, so that touching it cannot raise a signal. -ENOMEM or -EFAULT: the memory is not to
 * be had; part of the range may then be populated. Works before Linux 5.14 (no MADV_POPULATE_WRITE) on hugetlb mappings
 * only, by mlock(2) and munlock(2), else returns -EINVAL there.
 */
ASH_MUST_USE int ash_vmem_populate(void *addr, size_t bytes);

/* Give the pages back; the range stays mapped and reads as zero (MADV_DONTNEED). -EINVAL: hugetlb before Linux 5.18. */
int ash_vmem_discard(void *addr, size_t bytes);

enum ash_vmem_advice {
	ASH_VMEM_HUGE,      /* transparent huge pages wanted */
	ASH_VMEM_NOHUGE,    /* not wanted, whatever the system's mode */
	ASH_VMEM_COLLAPSE,  /* make the resident base pages huge now; Linux 6.1 */
	ASH_VMEM_DONTDUMP,  /* leave out of core dumps */
	ASH_VMEM_DONTFORK,  /* a child of fork finds nothing here */
	ASH_VMEM_DOFORK,
};
int ash_vmem_advise(void *addr, size_t bytes, enum ash_vmem_advice advice);

/* Make [addr, addr + bytes) fault for ever: without a mapping of its own where the kernel can (Linux 6.13), else with
 * one. */
int ash_vmem_guard(void *addr, size_t bytes);

/* Undo that for a range that was accessible before; it reads as zero or as it did. */
int ash_vmem_unguard(void *addr, size_t bytes);

/* Keep the pages of a populated range in memory (mlock). -ENOMEM or -EPERM: RLIMIT_MEMLOCK. */
int ash_vmem_lock(void *addr, size_t bytes);

/*
 * The program's own calls, passed on with its arguments untouched: the kernel's result, an address or 0 or a negative
 * errno.
 */
long ash_vmem_call_mmap(void *addr, size_t bytes, int prot, int flags, int fd, long offset);
long ash_vmem_call_munmap(void *addr, size_t bytes);
long ash_vmem_call_madvise(void *addr, size_t bytes, int advice);
long ash_vmem_call_mremap(void *from, size_t old_bytes, size_t new_bytes, int flags, void *to);

/* Name the mapping in /proc/PID/maps; -EINVAL where the kernel has no such thing. name is copied, under 80 bytes. */
int ash_vmem_name(void *addr, size_t bytes, const char *name);

#endif
