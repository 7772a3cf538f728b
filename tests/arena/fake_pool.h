/* SPDX-License-Identifier: MIT */
/*
 * A machine's hugetlb pool made of ordinary memory, so that every way in which a pool can be dry is to be had on any
 * machine without privileges. Pages are counted by address, 2 MiB each; 1 GiB pages are 512 of them.
 *
 * What it imitates: mmap refuses when the pool cannot promise the pages (unless promises are free, as under a cgroup),
 * populating takes pages one by one and fails with EFAULT when there are no more, discarding and unmapping give back.
 */
#ifndef ASH_TESTS_ARENA_FAKE_POOL_H
#define ASH_TESTS_ARENA_FAKE_POOL_H

#include <limits.h>
#include <linux/mman.h>

#include "arena/arena.h"
#include "unit/os/fake_sys.h"

enum { POOL_SLOTS = 1 << 20, POOL_FRESH = 4096, POOL_MAPPED = 1, POOL_PRESENT = 2, POOL_1G = 4 };

static struct {
	size_t free_2m, free_1g; /* pages to be had */
	bool promises_free;      /* mmap always succeeds, populate may not */
	size_t used_2m, used_1g;
	size_t most_2m;          /* high water of used_2m */
	unsigned char slot[POOL_SLOTS];  /* by 2 MiB of the reservation */
	uintptr_t fresh_start;           /* the one hugetlb mapping that is not in the reservation yet */
	unsigned char fresh[POOL_FRESH]; /* its slots */
} pool;

static size_t pool_slot(long addr)
{
	return ((uintptr_t)addr - ash_registry.base) >> 21;
}

/* What is known of the 2 MiB at addr; NULL: not hugetlb. */
static unsigned char *pool_at(long addr)
{
	unsigned char *s = NULL;

	if (pool.fresh_start != 0 && (uintptr_t)addr - pool.fresh_start < (uintptr_t)POOL_FRESH << 21)
		s = &pool.fresh[((uintptr_t)addr - pool.fresh_start) >> 21];
	else if (ash_nr_frames() != 0 && (uintptr_t)addr >= ash_registry.base && pool_slot(addr) < POOL_SLOTS)
		s = &pool.slot[pool_slot(addr)];
	return s != NULL && (*s & POOL_MAPPED) != 0 ? s : NULL;
}

static bool pool_is_huge(long addr)
{
	return pool_at(addr) != NULL;
}

static inline bool pool_is_proved(const void *addr)
{
	const unsigned char *s = pool_at((long)addr);

	return s != NULL && (*s & POOL_PRESENT) != 0;
}

/* Only the first 2 MiB of a 1 GiB page counts. */
static bool pool_counts(const unsigned char *s, long addr)
{
	return (*s & POOL_1G) == 0 || (uintptr_t)addr % (1ul << 30) == 0;
}

static void pool_put(long addr)
{
	unsigned char *s = pool_at(addr);

	if (s == NULL || (*s & POOL_PRESENT) == 0)
		return;
	if (pool_counts(s, addr))
		(*(*s & POOL_1G ? &pool.used_1g : &pool.used_2m))--;
	*s &= (unsigned char)~POOL_PRESENT;
}

static bool pool_take(long addr)
{
	unsigned char *s = pool_at(addr);
	const bool gib = (*s & POOL_1G) != 0;

	if ((*s & POOL_PRESENT) == 0 && pool_counts(s, addr)) {
		if (gib ? pool.used_1g >= pool.free_1g : pool.used_2m >= pool.free_2m)
			return false;
		(*(gib ? &pool.used_1g : &pool.used_2m))++;
		if (pool.used_2m > pool.most_2m)
			pool.most_2m = pool.used_2m;
	}
	*s |= POOL_PRESENT;
	return true;
}

static void pool_forget(long addr, long bytes)
{
	for (long a = addr; a < addr + bytes; a += 2l << 20) {
		pool_put(a);
		if (pool_at(a) != NULL)
			*pool_at(a) = 0;
	}
}

/* hugetlb is aligned to its pages wherever it comes to lie. */
static long pool_place(long addr, size_t bytes, size_t page, bool fixed)
{
	long got =
		ash_sys_kernel(__NR_mmap, fixed ? addr : 0, (long)(bytes + (fixed ? 0 : page)), PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (fixed ? MAP_FIXED : 0), -1, 0);

	if (got < 0 || fixed)
		return got;
	return (long)(((uintptr_t)got + page - 1) & ~(page - 1));
}

static long pool_mmap(long addr, long bytes, long flags)
{
	const bool gib = ((flags >> MAP_HUGE_SHIFT) & 63) == 30;
	const size_t page = gib ? 1ul << 30 : 2ul << 20;
	const size_t left = gib ? pool.free_1g - pool.used_1g : pool.free_2m - pool.used_2m;
	const bool fixed = (flags & MAP_FIXED) != 0;
	long ret;

	if (!pool.promises_free && (flags & MAP_NORESERVE) == 0 && (size_t)bytes / page > left)
		return -ENOMEM;
	ret = pool_place(addr, (size_t)bytes, page, fixed);
	if (ret < 0)
		return ret;
	if (!fixed)
		pool.fresh_start = (uintptr_t)ret;
	memset(fixed ? &pool.slot[pool_slot(ret)] : pool.fresh, POOL_MAPPED | (gib ? POOL_1G : 0), (size_t)bytes >> 21);
	return ret;
}

static long pool_mremap(long from, long bytes, long to)
{
	long ret = ash_sys_kernel(__NR_mremap, from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to, 0);

	if (ret == to) {
		memcpy(&pool.slot[pool_slot(to)], pool.fresh, (size_t)bytes >> 21);
		memset(pool.fresh, 0, sizeof(pool.fresh));
		pool.fresh_start = 0;
	}
	return ret;
}

static long pool_populate(long addr, long bytes)
{
	for (long a = addr; a < addr + bytes; a += 2l << 20) {
		if (!pool_take(a))
			return -EFAULT;
	}
	return 0;
}

static bool pool_front(long nr, long a, long b, long c, long d, long e, long *ret)
{
	*ret = 0;
	if (nr == __NR_mmap && (d & MAP_HUGETLB) != 0) {
		*ret = pool_mmap(a, b, d);
		return true;
	}
	if ((nr == __NR_mmap && (d & MAP_FIXED) != 0) || nr == __NR_munmap)
		pool_forget(a, b);
	if (!pool_is_huge(a))
		return false;
	if (nr == __NR_mremap) {
		*ret = pool_mremap(a, b, e);
		return true;
	}
	if (nr == __NR_madvise && c == 23) { /* MADV_POPULATE_WRITE */
		*ret = pool_populate(a, b);
		return true;
	}
	if (nr == __NR_madvise && c == MADV_DONTNEED) {
		for (long p = a; p < a + b; p += 2l << 20)
			pool_put(p);
	}
	return false;
}

static inline void fake_pool_on(size_t pages_2m, size_t pages_1g)
{
	fake_on();
	memset(&pool, 0, sizeof(pool));
	pool.free_2m = pages_2m;
	pool.free_1g = pages_1g;
	fake.front = pool_front;
	fake.capture = true;
}

#endif
