/* SPDX-License-Identifier: MIT */
/* Registered memory: what the program has from elsewhere, pinned and given addresses. */
#include "arena/child.h"
#include "dma/witness.h"
#include "unit/os/fake_sys.h"

#include <linux/vfio.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum { MOST = 128 };

static char *map(size_t bytes)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	EXPECT(p != MAP_FAILED);
	return p;
}

/* Registered and pinned, or the test has nothing to look at. */
static char *pinned(size_t bytes)
{
	char *p = map(bytes);
	const int how = ash_dma_register(p, bytes);

	EXPECT_GE(how, 0);
	if (how != ASH_DMA_PINNED_KERNEL)
		SKIP("nothing can be pinned here");
	return p;
}

CHILD_TEST(registered_memory_is_where_the_kernel_says)
{
	struct ash_dma_sg sg[2048];
	struct ash_dma_segment one;
	size_t len = 1, n, sum = 0;
	char *p = pinned(MIB(5));

	if (!witness_sees())
		SKIP("physical addresses are hidden from this process");
	witness_agrees(p, MIB(5));
	witness_agrees(p + 5000, MIB(3));
	EXPECT_EQ(ash_dma_verify(), 0);
	n = ash_dma_sg_fill(NULL, p + 100, MIB(4), KIB(64), sg, 2048);
	EXPECT_GE(n, MIB(4) / KIB(64));
	for (size_t i = 0; i < n && i < 2048; i++) {
		EXPECT_EQ(sg[i].address, witness_phys(p + 100 + sum));
		sum += sg[i].len;
	}
	EXPECT_EQ(sum, MIB(4));
	/* To its end, and no further. */
	EXPECT_EQ(ash_dma_segments(p + MIB(5) - 1, 1, &one, 1), 1);
	EXPECT_EQ(ash_dma_segments(p + MIB(5) - 1, 2, &one, 1), 0);
	EXPECT_EQ(ash_dma_unregister(p, 0), 0);
	EXPECT_EQ(ash_dma_translate(p, &len), ASH_DMA_UNKNOWN);
	EXPECT_EQ(len, 0);
	EXPECT_EQ(ash_dma_unregister(p, 0), -ENOENT);
}

CHILD_TEST(what_cannot_be_registered_is_not)
{
	char *p = map(MIB(1)), *ours = ash_dma_alloc(KIB(64), NULL), *read_only = map(KIB(8)), *hole = map(KIB(16));

	EXPECT_EQ(ash_dma_register(p + 1, 4096), -EINVAL);
	EXPECT_EQ(ash_dma_register(p, 4095), -EINVAL);
	EXPECT_EQ(ash_dma_register(p, 0), -EINVAL);
	EXPECT_EQ(ash_dma_register((void *)(UINTPTR_MAX - 4095), 8192), -EINVAL);
	EXPECT_EQ(ash_dma_register(ours, KIB(64)), -EINVAL);
	EXPECT_EQ(ash_dma_unregister(p, 2), -EINVAL);
	if (ash_dma_register(p, KIB(64)) != ASH_DMA_PINNED_KERNEL)
		SKIP("nothing can be pinned here");
	EXPECT_EQ(ash_dma_register(p, KIB(64)), -EEXIST);
	EXPECT_EQ(ash_dma_register(p + KIB(60), KIB(64)), -EEXIST);
	EXPECT_EQ(ash_dma_register(p + KIB(64), KIB(64)), ASH_DMA_PINNED_KERNEL);
	EXPECT_EQ(ash_dma_unregister(p + KIB(4), 0), -ENOENT);
	EXPECT_EQ(mprotect(read_only, KIB(8), PROT_READ), 0);
	EXPECT_EQ(ash_dma_register(read_only, KIB(8)), -EFAULT);
	EXPECT_EQ(munmap(hole + KIB(8), KIB(4)), 0);
	EXPECT_EQ(ash_dma_register(hole, KIB(16)), -EFAULT);
	EXPECT_EQ(ash_dma_translate(hole, NULL), ASH_DMA_UNKNOWN);
}

CHILD_TEST(the_table_is_full_when_it_is_and_an_end_makes_room)
{
	char *p = map(KIB(4) * 2 * (MOST + 1));

	for (size_t i = 0; i < MOST; i++)
		EXPECT_GE(ash_dma_register(p + i * KIB(8), KIB(4)), 0);
	EXPECT_EQ(ash_dma_register(p + MOST * KIB(8), KIB(4)), -ENOSPC);
	EXPECT_EQ(ash_dma_unregister(p + 77 * KIB(8), 0), 0);
	EXPECT_GE(ash_dma_register(p + MOST * KIB(8), KIB(4)), 0);
}

static struct {
	size_t bytes;
	bool refuse_mapped, refuse_unmapping;
} told;

static int on_event(enum ash_dma_event event, void *va, size_t bytes, void *arg)
{
	(void)va;
	(void)arg;
	if (event == ASH_DMA_EVENT_MAPPED && told.refuse_mapped)
		return -1;
	if (event == ASH_DMA_EVENT_UNMAPPING)
		return told.refuse_unmapping ? -1 : 0;
	told.bytes += event == ASH_DMA_EVENT_MAPPED ? bytes : 0;
	told.bytes -= event == ASH_DMA_EVENT_UNMAPPED ? bytes : 0;
	return 0;
}

CHILD_TEST(listeners_hear_of_it_and_may_refuse)
{
	char *p = map(MIB(1)), *q = map(MIB(1));

	EXPECT_GE(ash_dma_register(p, KIB(64)), 0);
	EXPECT_EQ(ash_dma_events_register(on_event, NULL), 0);
	EXPECT_EQ(told.bytes, KIB(64));
	EXPECT_GE(ash_dma_register(q, KIB(32)), 0);
	EXPECT_EQ(told.bytes, KIB(96));
	told.refuse_mapped = true;
	EXPECT_EQ(ash_dma_register(q + KIB(64), KIB(32)), -EBUSY);
	EXPECT_EQ(ash_dma_unregister(q + KIB(64), 0), -ENOENT);
	told.refuse_unmapping = true;
	EXPECT_EQ(ash_dma_unregister(q, 0), -EBUSY);
	EXPECT_EQ(told.bytes, KIB(96));
	/* No device uses it: the listener is told, not asked. */
	EXPECT_EQ(ash_dma_unregister(q, ASH_DMA_UNMAP), 0);
	EXPECT_EQ(told.bytes, KIB(64));
	EXPECT_EQ(ash_dma_events_unregister(on_event, NULL), 0);
	EXPECT_EQ(told.bytes, 0);
}

enum { MAPS_MAX = 4096 };
static struct {
	uint64_t iova[MAPS_MAX], bytes[MAPS_MAX];
	unsigned nr;
} iommu;

/* An IOMMU that keeps its table and refuses what overlaps. */
static bool iommu_front(long nr, long a, long b, long c, long d, long e, long *ret)
{
	const struct vfio_iommu_type1_dma_map *m = (const void *)c;
	const struct vfio_iommu_type1_dma_unmap *u = (const void *)c;

	(void)d;
	(void)e;
	*ret = 0;
	if (nr != __NR_ioctl || a != 77)
		return false;
	for (unsigned i = 0; i < iommu.nr; i++) {
		if (b == VFIO_IOMMU_MAP_DMA && m->iova < iommu.iova[i] + iommu.bytes[i] &&
		    iommu.iova[i] < m->iova + m->size)
			*ret = -EEXIST;
		if (b == VFIO_IOMMU_UNMAP_DMA && iommu.iova[i] == u->iova && iommu.bytes[i] == u->size) {
			iommu.nr--;
			iommu.iova[i] = iommu.iova[iommu.nr];
			iommu.bytes[i] = iommu.bytes[iommu.nr];
			return true;
		}
	}
	if (b == VFIO_IOMMU_MAP_DMA && *ret == 0) {
		EXPECT_LT(iommu.nr, MAPS_MAX);
		iommu.iova[iommu.nr] = m->iova;
		iommu.bytes[iommu.nr++] = m->size;
	}
	return true;
}

static bool device_sees(uint64_t iova)
{
	for (unsigned i = 0; i < iommu.nr; i++) {
		if (iova - iommu.iova[i] < iommu.bytes[i])
			return true;
	}
	return false;
}

static void check_iommu(enum ash_dma_iova how)
{
	char *early = pinned(KIB(64)), *late = map(MIB(1)), *ours = ash_dma_alloc(MIB(3), NULL);
	struct ash_dma_iommu *m;

	EXPECT(ours != NULL);
	fake_on();
	fake.front = iommu_front;
	m = ash_dma_iommu_vfio(77, how);
	EXPECT(m != NULL);
	EXPECT_EQ(ash_dma_register(late, MIB(1)), ASH_DMA_PINNED_KERNEL);
	for (size_t at = 0; at < MIB(1); at += KIB(4)) {
		EXPECT(device_sees(ash_dma_iova(m, late + at, NULL)));
		if (at < KIB(64))
			EXPECT(device_sees(ash_dma_iova(m, early + at, NULL)));
		EXPECT(device_sees(ash_dma_iova(m, ours + at, NULL)));
	}
	EXPECT_EQ(ash_dma_unregister(early, 0), -EBUSY);
	EXPECT_NE(ash_dma_iova(m, early, NULL), ASH_DMA_UNKNOWN);
	EXPECT_EQ(ash_dma_unregister(late, ASH_DMA_UNMAP), 0);
	EXPECT_EQ(ash_dma_iova(m, late, NULL), ASH_DMA_UNKNOWN);
	ash_dma_iommu_end(m);
	EXPECT_EQ(iommu.nr, 0);
	EXPECT_EQ(ash_dma_unregister(early, 0), 0);
	fake_off();
	EXPECT_EQ(ash_dma_free(ours), 0);
}

CHILD_TEST(an_iommu_maps_it_and_it_is_not_let_go_meanwhile)
{
	check_iommu(ASH_DMA_IOVA_VA);
	check_iommu(ASH_DMA_IOVA_OFFSET);
	(void)ash_dma_trim();
}

static struct ash_dma_iommu *parents_iommu;

static void end_the_parents(void)
{
	const unsigned nr = iommu.nr;

	ash_dma_iommu_end(parents_iommu);
	EXPECT_EQ(iommu.nr, nr);
}

CHILD_TEST(a_child_takes_nothing_from_its_parents_device)
{
	char *p = pinned(KIB(64));

	fake_on();
	fake.front = iommu_front;
	parents_iommu = ash_dma_iommu_vfio(77, ASH_DMA_IOVA_VA);
	EXPECT(parents_iommu != NULL);
	EXPECT_GT(iommu.nr, 0);
	EXPECT_EQ(child_status(end_the_parents), 0);
	ash_dma_iommu_end(parents_iommu);
	EXPECT_EQ(iommu.nr, 0);
	fake_off();
	EXPECT_EQ(ash_dma_unregister(p, 0), 0);
}

CHILD_TEST(an_iommu_by_physical_addresses_maps_it_too)
{
	struct ash_dma_attr attr = wish(ASH_DMA_PHYSICAL);
	void *p = ash_dma_alloc(MIB(2), &attr);

	if (!witness_sees() || p == NULL || describe(p).phys_known == 0)
		SKIP("no huge pages, or no physical addresses, to be had");
	EXPECT_EQ(ash_dma_free(p), 0);
	p = ash_dma_alloc(MIB(3), NULL);
	if (p == NULL || describe(p).phys_known == 0)
		SKIP("no more huge pages to be had");
	EXPECT_EQ(ash_dma_free(p), 0);
	check_iommu(ASH_DMA_IOVA_PHYS);
}

static char *parents;

static void child_has_nothing(void)
{
	size_t len = 1;

	EXPECT_EQ(ash_dma_translate(parents, &len), ASH_DMA_UNKNOWN);
	EXPECT_EQ(len, 0);
	parents[0] = 2;
	EXPECT_EQ(ash_dma_unregister(parents, 0), -ENOENT);
	EXPECT_GE(ash_dma_register(parents, KIB(64)), 0);
}

CHILD_TEST(the_parents_pages_stay_the_parents_over_fork)
{
	parents = pinned(KIB(64));
	parents[0] = 1;
	EXPECT_EQ(child_status(child_has_nothing), 0);
	EXPECT_EQ(parents[0], 1);
	memset(parents, 3, KIB(64));
	if (witness_sees())
		witness_agrees(parents, KIB(64));
	EXPECT_LE(ash_dma_verify(), 0);
}

CHILD_TEST(without_a_pin_there_is_no_address_and_no_guess)
{
	const struct rlimit nothing = { 0, 0 };
	char *p = map(KIB(64));
	size_t len = MIB(1);

	EXPECT_EQ(setrlimit(RLIMIT_MEMLOCK, &nothing), 0);
	EXPECT_EQ(setresuid(65534, 65534, 65534), 0);
	EXPECT_EQ(ash_dma_register(p, KIB(64)), ASH_DMA_PINNED_LOCKED);
	EXPECT_EQ(ash_dma_translate(p + 100, &len), ASH_DMA_UNKNOWN);
	EXPECT_EQ(len, 4096 - 100);
	EXPECT_EQ(ash_dma_segments(p, KIB(64), NULL, 0), 16);
	EXPECT_EQ(ash_dma_unregister(p, 0), 0);
}

static char *churned;
static bool stop;

static void *register_again_and_again(void *arg)
{
	uintptr_t failed = 0;

	(void)arg;
	for (unsigned i = 0; i < 2000 && failed == 0; i++) {
		/* Now one half, now the other, now as two: entries come to mean other things. */
		const size_t at = i % 2 * KIB(32);

		failed = ash_dma_register(churned + at, KIB(32)) < 0 || ash_dma_unregister(churned + at, 0) != 0;
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	return (void *)failed;
}

CHILD_TEST(who_translates_meanwhile_is_told_the_truth_or_nothing)
{
	char *steady = pinned(KIB(64));
	const uint64_t phys = ash_dma_translate(steady + KIB(20), NULL);
	uint64_t where[16];
	pthread_t thread;
	void *failed;

	churned = pinned(KIB(64));
	for (unsigned i = 0; i < 16; i++)
		where[i] = ash_dma_translate(churned + i * KIB(4), NULL);
	/* Between registrations the kernel may move a page; what no page ever has is another's address. */
	EXPECT_EQ(mlock(churned, KIB(64)), 0);
	EXPECT_EQ(ash_dma_unregister(churned, 0), 0);
	EXPECT_EQ(pthread_create(&thread, NULL, register_again_and_again, NULL), 0);
	for (unsigned i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++) {
		const uint64_t now = ash_dma_translate(churned + i % 16 * KIB(4), NULL);

		EXPECT_EQ(ash_dma_translate(steady + KIB(20), NULL), phys);
		for (unsigned k = 0; k < 16; k++)
			EXPECT(k == i % 16 || now == ASH_DMA_UNKNOWN || now != where[k]);
	}
	EXPECT_EQ(pthread_join(thread, &failed), 0);
	EXPECT(failed == NULL);
}
