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

enum { POOL_SLOTS = 1 << 20, POOL_MAPPED = 1, POOL_PRESENT = 2, POOL_1G = 4 };

static struct {
	size_t free_2m, free_1g; /* pages to be had */
	bool promises_free;      /* mmap always succeeds, populate may not */
	size_t used_2m, used_1g;
	size_t most_2m;          /* high water of used_2m */
	unsigned char slot[POOL_SLOTS]; /* by 2 MiB of the reservation */
} pool;

static size_t pool_slot(long addr)
{
	return ((uintptr_t)addr - ash_registry.base) >> 21;
}

static bool pool_is_huge(long addr)
{
	return ash_registry.nr_frames != 0 && (uintptr_t)addr >= ash_registry.base && pool_slot(addr) < POOL_SLOTS &&
	       (pool.slot[pool_slot(addr)] & POOL_MAPPED) != 0;
}

static void pool_put(size_t slot)
{
	if ((pool.slot[slot] & POOL_PRESENT) == 0)
		return;
	pool.slot[slot] &= (unsigned char)~POOL_PRESENT;
	if ((pool.slot[slot] & POOL_1G) == 0)
		pool.used_2m--;
	else if (slot % 512 == 0)
		pool.used_1g--;
}

static bool pool_take(size_t slot)
{
	if ((pool.slot[slot] & POOL_PRESENT) != 0)
		return true;
	if ((pool.slot[slot] & POOL_1G) != 0) {
		if (slot % 512 == 0 && pool.used_1g++ >= pool.free_1g) {
			pool.used_1g--;
			return false;
		}
	} else {
		if (pool.used_2m >= pool.free_2m)
			return false;
		if (++pool.used_2m > pool.most_2m)
			pool.most_2m = pool.used_2m;
	}
	pool.slot[slot] |= POOL_PRESENT;
	return true;
}

static long pool_mmap(long addr, long bytes, long flags)
{
	const bool gib = ((flags >> MAP_HUGE_SHIFT) & 63) == 30;
	const size_t page = gib ? 1ul << 30 : 2ul << 20;
	const size_t left = gib ? pool.free_1g - pool.used_1g : pool.free_2m - pool.used_2m;
	long ret;

	if (!pool.promises_free && (size_t)bytes / page > left)
		return -ENOMEM;
	ret = ash_sys_kernel(__NR_mmap, addr, bytes, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
	for (size_t s = pool_slot(addr); ret == addr && s < pool_slot(addr + bytes); s++)
		pool.slot[s] = (unsigned char)(POOL_MAPPED | (gib ? POOL_1G : 0));
	return ret;
}

static bool pool_front(long nr, long a, long b, long c, long d, long *ret)
{
	if (nr == __NR_mmap && (d & MAP_HUGETLB) != 0) {
		*ret = pool_mmap(a, b, d);
		return true;
	}
	if (nr == __NR_mmap && (d & MAP_FIXED) != 0 && pool_is_huge(a)) {
		for (size_t s = pool_slot(a); s < pool_slot(a + b); s++) {
			pool_put(s);
			pool.slot[s] = 0;
		}
		return false;
	}
	if (nr != __NR_madvise || !pool_is_huge(a))
		return false;
	*ret = 0;
	if (c == 23) { /* MADV_POPULATE_WRITE */
		for (size_t s = pool_slot(a); s < pool_slot(a + b); s++) {
			if (!pool_take(s)) {
				*ret = -EFAULT;
				break;
			}
		}
		return true;
	}
	if (c == MADV_DONTNEED) {
		for (size_t s = pool_slot(a); s < pool_slot(a + b); s++)
			pool_put(s);
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
