/* SPDX-License-Identifier: MIT */
/*
 * The calls as programs make them: with listeners asked before, and told after.
 *
 * What the program does itself is done whatever they say, since a munmap(2) that is refused by somebody whom the
 * program has not heard of would not be one. Only where the program asked us (ash_unmap, ash_remap) is there an answer
 * for that.
 */
#include <errno.h>
#include <sys/mman.h>

#include "map/internal.h"
#include "os/vmem.h"

/* What goes: whole pages. */
struct range {
	void *addr;
	size_t bytes;
};

static bool is_error(long ret)
{
	return (unsigned long)ret >= (unsigned long)-4095;
}

/* Nothing, where it is not a range at all and the call will fail. */
static struct range range_of(void *addr, size_t bytes)
{
	const uintptr_t start = (uintptr_t)addr, end = start + ash_align_up(bytes, ASH_PAGE_SIZE);

	return start % ASH_PAGE_SIZE == 0 && end > start ? (struct range){ addr, end - start }
							 : (struct range){ NULL, 0 };
}

static void announce(struct range r)
{
	if (r.bytes != 0)
		ash_map_tell(ASH_MAP_EVENT_UNMAPPING, r.addr, r.bytes);
}

static void report(struct range r, bool gone)
{
	if (r.bytes != 0)
		ash_map_tell(gone ? ASH_MAP_EVENT_UNMAPPED : ASH_MAP_EVENT_STAYS, r.addr, r.bytes);
}

long ash_map_mmap(void *addr, size_t bytes, int prot, int flags, int fd, long offset)
{
	struct range r;
	long ret;

	if (ASH_LIKELY((flags & MAP_FIXED) == 0 || !ash_arena_is_watched()))
		return ash_call_mmap(addr, bytes, prot, flags, fd, offset);
	r = range_of(addr, bytes);
	announce(r);
	ret = ash_call_mmap(addr, bytes, prot, flags, fd, offset);
	report(r, !is_error(ret));
	return ret;
}

long ash_map_munmap(void *addr, size_t bytes)
{
	struct range r;
	long ret;

	if (ASH_LIKELY(!ash_arena_is_watched()))
		return ash_call_munmap(addr, bytes);
	r = range_of(addr, bytes);
	announce(r);
	ret = ash_call_munmap(addr, bytes);
	report(r, ret == 0);
	return ret;
}

/* What of the old place an mremap may take away. */
static struct range leaving(void *from, size_t old_bytes, size_t new_bytes, int flags)
{
	const size_t old_size = ash_align_up(old_bytes, ASH_PAGE_SIZE),
		     new_size = ash_align_up(new_bytes, ASH_PAGE_SIZE);

	if ((flags & MREMAP_FIXED) != 0 || (flags & MREMAP_DONTUNMAP) != 0 ||
	    (new_size > old_size && (flags & MREMAP_MAYMOVE) != 0))
		return range_of(from, old_size);
	return new_size < old_size ? range_of((char *)from + new_size, old_size - new_size) : (struct range){ NULL, 0 };
}

long ash_map_mremap(void *from, size_t old_bytes, size_t new_bytes, int flags, void *to)
{
	struct range r, target = { NULL, 0 };
	long ret;

	if (ASH_LIKELY(!ash_arena_is_watched()))
		return ash_call_mremap(from, old_bytes, new_bytes, flags, to);
	r = leaving(from, old_bytes, new_bytes, flags);
	if ((flags & MREMAP_FIXED) != 0)
		target = range_of(to, new_bytes);
	announce(target);
	announce(r);
	ret = ash_call_mremap(from, old_bytes, new_bytes, flags, to);
	/* What shrinks stays at its place without its end. */
	report(r, !is_error(ret) && (r.addr != from || (void *)ret != from));
	report(target, !is_error(ret));
	return ret;
}

/* Advice that takes pages away. */
static bool drops(int advice)
{
	enum { DONTNEED_LOCKED = 24 }; /* Linux 5.18 */

	return advice == MADV_DONTNEED || advice == MADV_FREE || advice == MADV_REMOVE || advice == DONTNEED_LOCKED;
}

long ash_map_madvise(void *addr, size_t bytes, int advice)
{
	struct range r;
	long ret;

	if (ASH_LIKELY(!drops(advice) || !ash_arena_is_watched()))
		return ash_vmem_call_madvise(addr, bytes, advice);
	r = range_of(addr, bytes);
	announce(r);
	ret = ash_vmem_call_madvise(addr, bytes, advice);
	/* -ENOMEM: of what is mapped in the range, it has been done. */
	report(r, ret == 0 || ret == -ENOMEM);
	return ret;
}

long ash_map_end(void *addr, size_t bytes)
{
	struct range r;
	long ret;

	if (ASH_LIKELY(!ash_arena_is_watched()))
		return ash_call_munmap(addr, bytes);
	r = range_of(addr, bytes);
	if (r.bytes != 0 && !ash_map_ask(r.addr, r.bytes))
		return -EBUSY;
	ret = ash_call_munmap(addr, bytes);
	report(r, ret == 0);
	return ret;
}

long ash_map_resize(void *addr, size_t old_bytes, size_t new_bytes)
{
	struct range r;
	long ret;

	if (ASH_LIKELY(!ash_arena_is_watched()))
		return ash_call_mremap(addr, old_bytes, new_bytes, MREMAP_MAYMOVE, NULL);
	r = leaving(addr, old_bytes, new_bytes, MREMAP_MAYMOVE);
	if (r.bytes != 0 && !ash_map_ask(r.addr, r.bytes))
		return -EBUSY;
	ret = ash_call_mremap(addr, old_bytes, new_bytes, MREMAP_MAYMOVE, NULL);
	report(r, !is_error(ret) && (r.addr != addr || (void *)ret != addr));
	return ret;
}
