/* SPDX-License-Identifier: MIT */
/* Address space verbs; see vmem.h. */
#include <errno.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "os/sys.h"
#include "os/vmem.h"

/* Newer than the oldest kernel headers we build with. */
enum {
	ASH_MADV_POPULATE_WRITE = 23,
	ASH_MADV_COLLAPSE = 25,
	ASH_MADV_GUARD_INSTALL = 102,
	ASH_MADV_GUARD_REMOVE = 103
};
enum { ASH_PR_SET_VMA = 0x53564d41, ASH_PR_SET_VMA_ANON_NAME = 0 };
enum { ASH_VMEM_RETRIES = 16 };

static long sys_mmap(void *addr, size_t bytes, int prot, int flags)
{
	return ash_sys(__NR_mmap, (long)addr, (long)bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
}

/* mmap's results are addresses; only the last page of the address space is errors. */
static int map_result(long ret, void **out)
{
	if ((unsigned long)ret >= (unsigned long)-4095)
		return (int)ret;
	if (out != NULL)
		*out = (void *)ret;
	return 0;
}

static long sys_madvise(void *addr, size_t bytes, int advice)
{
	return ash_sys(__NR_madvise, (long)addr, (long)bytes, advice, 0, 0, 0);
}

ASH_EARLY int ash_vmem_reserve(size_t bytes, bool noreserve, void **out)
{
	return map_result(sys_mmap(NULL, bytes, PROT_NONE, noreserve ? MAP_NORESERVE : 0), out);
}

ASH_EARLY int ash_vmem_commit(void *addr, size_t bytes)
{
	return (int)ash_sys(__NR_mprotect, (long)addr, (long)bytes, PROT_READ | PROT_WRITE, 0, 0, 0);
}

ASH_EARLY int ash_vmem_commit_zero(void *addr, size_t bytes)
{
	return (int)ash_sys(__NR_mprotect, (long)addr, (long)bytes, PROT_READ, 0, 0, 0);
}

int ash_vmem_resident(const void *addr)
{
	unsigned char vector = 0;
	const long ret = ash_sys(__NR_mincore, (long)addr, 1, (long)&vector, 0, 0, 0);

	return ret < 0 ? (int)ret : vector & 1;
}

int ash_vmem_map(size_t bytes, void **out)
{
	return map_result(sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE, 0), out);
}

int ash_vmem_map_zeros(size_t bytes, void **out)
{
	return map_result(sys_mmap(NULL, bytes, PROT_READ, MAP_NORESERVE), out);
}

int ash_vmem_reset(void *addr, size_t bytes)
{
	return map_result(sys_mmap(addr, bytes, PROT_NONE, MAP_FIXED), NULL);
}

int ash_vmem_close(void *addr, size_t bytes)
{
	int err = map_result(sys_mmap(addr, bytes, PROT_NONE, MAP_FIXED_NOREPLACE), NULL);

	return err == -EEXIST ? 0 : err;
}

int ash_vmem_unmap(void *addr, size_t bytes)
{
	return (int)ash_sys(__NR_munmap, (long)addr, (long)bytes, 0, 0, 0, 0);
}

int ash_vmem_move(void *from, void *to, size_t bytes)
{
	return map_result(ash_sys(__NR_mremap, (long)from, (long)bytes, (long)bytes, MREMAP_MAYMOVE | MREMAP_FIXED,
				  (long)to, 0),
			  NULL);
}

static int hugetlb_flags(unsigned page_shift)
{
	return (int)(MAP_HUGETLB | (page_shift << MAP_HUGE_SHIFT));
}

int ash_vmem_map_hugetlb(size_t bytes, unsigned page_shift, void **out)
{
	return map_result(sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE, hugetlb_flags(page_shift)), out);
}

/*
 * MAP_FIXED takes away what was mapped at addr before the kernel tries to reserve pages in the pool, and does not bring
 * it back when there are too few: the hole would be anybody's. Without a reservation there is nothing to fail late.
 */
int ash_vmem_map_hugetlb_at(void *addr, size_t bytes, unsigned page_shift)
{
	return map_result(sys_mmap(addr, bytes, PROT_READ | PROT_WRITE,
				   MAP_FIXED | MAP_NORESERVE | hugetlb_flags(page_shift)),
			  NULL);
}

/* mlock faults pages in as a write would and reports failure; it needs RLIMIT_MEMLOCK, so it is only the fallback. */
static int populate_by_mlock(void *addr, size_t bytes)
{
	long ret = ash_sys(__NR_mlock, (long)addr, (long)bytes, 0, 0, 0, 0);

	(void)ash_sys(__NR_munlock, (long)addr, (long)bytes, 0, 0, 0, 0);
	return (int)ret;
}

int ash_vmem_populate(void *addr, size_t bytes)
{
	long ret = -EAGAIN;

	for (int i = 0; i < ASH_VMEM_RETRIES && (ret == -EAGAIN || ret == -EINTR); i++)
		ret = sys_madvise(addr, bytes, ASH_MADV_POPULATE_WRITE);
	return ret == -EINVAL ? populate_by_mlock(addr, bytes) : (int)ret;
}

int ash_vmem_discard(void *addr, size_t bytes)
{
	return (int)sys_madvise(addr, bytes, MADV_DONTNEED);
}

ASH_EARLY int ash_vmem_advise(void *addr, size_t bytes, enum ash_vmem_advice advice)
{
	static const int madv[] = {
		[ASH_VMEM_HUGE] = MADV_HUGEPAGE,         [ASH_VMEM_NOHUGE] = MADV_NOHUGEPAGE,
		[ASH_VMEM_COLLAPSE] = ASH_MADV_COLLAPSE, [ASH_VMEM_DONTDUMP] = MADV_DONTDUMP,
		[ASH_VMEM_DONTFORK] = MADV_DONTFORK,     [ASH_VMEM_DOFORK] = MADV_DOFORK,
	};

	return (int)sys_madvise(addr, bytes, madv[advice]);
}

int ash_vmem_guard(void *addr, size_t bytes)
{
	if (sys_madvise(addr, bytes, ASH_MADV_GUARD_INSTALL) == 0)
		return 0;
	return (int)ash_sys(__NR_mprotect, (long)addr, (long)bytes, PROT_NONE, 0, 0, 0);
}

int ash_vmem_unguard(void *addr, size_t bytes)
{
	(void)sys_madvise(addr, bytes, ASH_MADV_GUARD_REMOVE);
	/* Changes nothing, and cuts no mapping, where the guard was not made of a protection. */
	return (int)ash_sys(__NR_mprotect, (long)addr, (long)bytes, PROT_READ | PROT_WRITE, 0, 0, 0);
}

int ash_vmem_lock(void *addr, size_t bytes)
{
	return (int)ash_sys(__NR_mlock, (long)addr, (long)bytes, 0, 0, 0, 0);
}

long ash_vmem_call_mmap(void *addr, size_t bytes, int prot, int flags, int fd, long offset)
{
	return ash_sys(__NR_mmap, (long)addr, (long)bytes, prot, flags, fd, offset);
}

long ash_vmem_call_munmap(void *addr, size_t bytes)
{
	return ash_sys(__NR_munmap, (long)addr, (long)bytes, 0, 0, 0, 0);
}

long ash_vmem_call_madvise(void *addr, size_t bytes, int advice)
{
	return ash_sys(__NR_madvise, (long)addr, (long)bytes, advice, 0, 0, 0);
}

long ash_vmem_call_mremap(void *from, size_t old_bytes, size_t new_bytes, int flags, void *to)
{
	return ash_sys(__NR_mremap, (long)from, (long)old_bytes, (long)new_bytes, flags, (long)to, 0);
}

int ash_vmem_name(void *addr, size_t bytes, const char *name)
{
	return (int)ash_sys(__NR_prctl, ASH_PR_SET_VMA, ASH_PR_SET_VMA_ANON_NAME, (long)addr, (long)bytes, (long)name,
			    0);
}
