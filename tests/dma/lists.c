/* SPDX-License-Identifier: MIT */
/* Lists for devices and system calls, events, and what the IOMMU is told, read back entry by entry. */
#include "arena/child.h"
#include "dma/witness.h"
#include "unit/os/fake_sys.h"

#include <linux/vfio.h>
#include <sys/uio.h>

static char *get(size_t bytes, enum ash_dma_level level)
{
	struct ash_dma_attr attr = wish(level);
	char *p = ash_dma_alloc(bytes, &attr);

	EXPECT(p != NULL);
	return p;
}

CHILD_TEST(a_scatter_gather_list_covers_the_range_once_and_in_order)
{
	struct ash_dma_sg sg[64];
	struct iovec iov[64];
	char *p = get(MIB(9), ASH_DMA_VIRTUAL), *at = p + 123;
	size_t n, sum = 0;

	if (!witness_sees())
		SKIP("physical addresses are hidden from this process");
	if (describe(p).phys_known == 0)
		SKIP("no huge pages to be had");
	n = ash_dma_sg_fill(NULL, at, MIB(8), KIB(300), sg, 64);
	EXPECT_EQ(n, ash_dma_sg_fill(NULL, at, MIB(8), KIB(300), NULL, 0));
	for (size_t i = 0; i < n; i++) {
		EXPECT_LE(sg[i].len, KIB(300));
		EXPECT_EQ(sg[i].address, witness_phys(at + sum));
		EXPECT_EQ(sg[i].address + sg[i].len - 1, witness_phys(at + sum + sg[i].len - 1));
		sum += sg[i].len;
	}
	EXPECT_EQ(sum, MIB(8));
	n = ash_dma_iovec(at, MIB(8), iov, 64);
	EXPECT_EQ(n, ash_dma_segments(at, MIB(8), NULL, 0));
	for (size_t i = 0; i < n; i++) {
		EXPECT(iov[i].iov_base == at);
		at += iov[i].iov_len;
	}
	EXPECT(at == p + 123 + MIB(8));
	EXPECT_EQ(ash_dma_sg_fill(NULL, &sum, 8, 0, sg, 64), 0);
	EXPECT_EQ(ash_dma_iovec(&sum, 8, iov, 64), 0);
}

/* The pages of [p, p + bytes) are exactly what a controller would read out of the two entries and the list. */
static void check_prp(char *p, size_t bytes, uint64_t *list, size_t list_bytes)
{
	uint64_t prp[2] = { 1, 1 };
	const size_t pages = ((uintptr_t)p % 4096 + bytes + 4095) / 4096;
	size_t at = 0;

	EXPECT_EQ(ash_dma_nvme_prp(NULL, p, bytes, list, list_bytes, prp), 0);
	EXPECT_EQ(prp[0], witness_phys(p));
	p -= (uintptr_t)p % 4096;
	if (pages == 1)
		EXPECT_EQ(prp[1], 0);
	if (pages == 2)
		EXPECT_EQ(prp[1], witness_phys(p + 4096));
	if (pages <= 2)
		return;
	EXPECT_EQ(prp[1], witness_phys(list));
	for (size_t page = 1; page < pages; page++, at++) {
		if (at % 512 == 511 && page + 1 < pages) {
			EXPECT_EQ(list[at], witness_phys(&list[at + 1]));
			at++;
		}
		EXPECT_EQ(list[at], witness_phys(p + page * 4096));
	}
}

CHILD_TEST(an_nvme_controller_finds_every_page)
{
	static const size_t sizes[] = { 512, 4096, 4100, KIB(8), KIB(12), KIB(128), MIB(2), MIB(2) + 4096, MIB(5) };
	char *p = get(MIB(6), ASH_DMA_VIRTUAL);
	struct ash_dma_attr attr = wish(ASH_DMA_PHYSICAL);
	uint64_t *list = ash_dma_alloc(KIB(16), &attr), prp[2] = { 7, 7 };

	if (!witness_sees() || describe(p).phys_known == 0 || list == NULL)
		SKIP("no huge pages, or no physical addresses, to be had");
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		check_prp(p, sizes[i], list, KIB(16));
		check_prp(p + 1024, sizes[i], list, KIB(16));
		check_prp(p + 4092, sizes[i], list, KIB(16));
	}
	/* 512 entries that are all pages, and the first that needs a second page of the list. */
	check_prp(p, 513 * 4096, list, 4096);
	EXPECT_EQ(ash_dma_nvme_prp(NULL, p, 514 * 4096, list, 4096, prp), -ENOSPC);
	EXPECT_EQ(ash_dma_nvme_prp(NULL, p + 2, 4096, list, 4096, prp), -EINVAL);
	EXPECT_EQ(ash_dma_nvme_prp(NULL, p, 0, list, 4096, prp), -EINVAL);
	EXPECT_EQ(ash_dma_nvme_prp(NULL, &prp, 8, list, 4096, prp), -ENODATA);
	EXPECT_EQ(prp[0], 7);
}

/* A registration cache as its user would write it: the ranges it believes to be there. */
static struct {
	size_t bytes;
	bool refuse_mapped, refuse_unmapping;
	unsigned stays;
	const char *readable;
} cache;

static int on_event(enum ash_dma_event event, void *va, size_t bytes, void *arg)
{
	EXPECT(arg == &cache);
	EXPECT_EQ(bytes % MIB(2), 0);
	switch (event) {
	case ASH_DMA_EVENT_MAPPED:
		if (cache.refuse_mapped)
			return -1;
		cache.bytes += bytes;
		memset(va, 1, 1);
		break;
	case ASH_DMA_EVENT_UNMAPPING:
		return cache.refuse_unmapping ? -1 : 0;
	case ASH_DMA_EVENT_STAYS:
		cache.stays++;
		break;
	case ASH_DMA_EVENT_UNMAPPED:
		/* Still readable, so that what was registered can be unregistered. */
		cache.readable = va;
		EXPECT(*(volatile char *)va >= 0);
		cache.bytes -= bytes;
		break;
	}
	return 0;
}

CHILD_TEST(a_listener_knows_what_there_is_at_every_moment)
{
	char *early = get(KIB(4), ASH_DMA_VIRTUAL), *p;

	EXPECT_EQ(ash_dma_events_unregister(on_event, &cache), -ENOENT);
	EXPECT_EQ(ash_dma_events_register(on_event, &cache), 0);
	EXPECT_EQ(cache.bytes, present());
	p = get(MIB(7), ASH_DMA_VIRTUAL);
	EXPECT_EQ(cache.bytes, present());
	EXPECT_GE(cache.bytes, MIB(10));
	EXPECT_EQ(ash_dma_free(p), 0);
	EXPECT_EQ(cache.bytes, present());
	EXPECT_GE(ash_dma_trim(), MIB(8));
	EXPECT_EQ(cache.bytes, present());
	EXPECT_EQ(cache.bytes, MIB(2));
	EXPECT_EQ(ash_dma_events_unregister(on_event, &cache), 0);
	EXPECT_EQ(cache.bytes, 0);
	EXPECT_EQ(early[0], 1);
}

CHILD_TEST(a_listener_can_refuse_and_then_nothing_has_happened)
{
	struct ash_dma_attr attr = wish(ASH_DMA_VIRTUAL);
	char *p = get(KIB(4), ASH_DMA_VIRTUAL);
	const size_t before = present();

	EXPECT_EQ(ash_dma_events_register(on_event, &cache), 0);
	cache.refuse_mapped = true;
	EXPECT(ash_dma_alloc(MIB(6), &attr) == NULL);
	EXPECT_EQ(errno, ENOMEM);
	EXPECT_EQ(present(), before);
	EXPECT_EQ(cache.bytes, before);
	cache.refuse_mapped = false;
	cache.refuse_unmapping = true;
	EXPECT_EQ(ash_dma_free(p), 0);
	EXPECT_EQ(ash_dma_trim(), 0);
	EXPECT_EQ(present(), before);
	cache.refuse_unmapping = false;
	EXPECT_EQ(ash_dma_trim(), before);
	EXPECT_EQ(cache.bytes, 0);
}

/* What an IOMMU was told, by way of the ioctls. */
static struct {
	unsigned maps, unmaps, refuse_after;
	long request;
	uint64_t iova, va, bytes, mapped;
	uint32_t flags, ioas;
} told;

/* As <linux/iommufd.h> lays them out; it is newer than the headers we build with. */
struct iommufd_map {
	uint32_t size, flags, ioas, reserved;
	uint64_t va, bytes, iova;
};

static bool iommu_front(long nr, long a, long b, long c, long d, long e, long *ret)
{
	(void)d;
	(void)e;
	*ret = 0;
	if (nr != __NR_ioctl || a != 77)
		return false;
	told.request = b;
	if (b == VFIO_IOMMU_MAP_DMA) {
		const struct vfio_iommu_type1_dma_map *map = (const void *)c;

		EXPECT_EQ(map->argsz, sizeof(*map));
		EXPECT_EQ(map->flags, VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE);
		told.iova = map->iova;
		told.va = map->vaddr;
		*ret = ++told.maps > told.refuse_after ? -ENOMEM : 0;
		told.mapped += *ret == 0 ? map->size : 0;
	} else if (b == VFIO_IOMMU_UNMAP_DMA) {
		told.mapped -= ((const struct vfio_iommu_type1_dma_unmap *)c)->size;
		told.unmaps++;
	} else if (b == (';' << 8 | 0x85)) {
		const struct iommufd_map *map = (const void *)c;

		EXPECT_EQ(map->size, 40);
		EXPECT_EQ(map->flags, 7);
		told.ioas = map->ioas;
		told.iova = map->iova;
		told.va = map->va;
		told.mapped += map->bytes;
		told.maps++;
	} else if (b == (';' << 8 | 0x86)) {
		told.mapped -= ((const uint64_t *)c)[2];
		told.unmaps++;
	} else {
		*ret = -ENOTTY;
	}
	return true;
}

CHILD_TEST(an_iommu_is_told_of_all_there_is_and_all_that_comes)
{
	struct ash_dma_iommu *m;
	char *p = get(KIB(4), ASH_DMA_VIRTUAL), *q;

	fake_on();
	fake.front = iommu_front;
	told.refuse_after = 1000;
	m = ash_dma_iommu_vfio(77, ASH_DMA_IOVA_VA);
	EXPECT(m != NULL);
	EXPECT_EQ(told.mapped, present());
	EXPECT_EQ(told.iova, told.va);
	EXPECT_EQ(ash_dma_iova(m, p, NULL), (uintptr_t)p);
	q = get(MIB(5), ASH_DMA_VIRTUAL);
	EXPECT_EQ(told.mapped, present());
	EXPECT_EQ(ash_dma_free(q), 0);
	EXPECT_EQ(ash_dma_trim(), 0);
	EXPECT_EQ(told.unmaps, 0);
	ash_dma_iommu_end(m);
	EXPECT_EQ(told.mapped, 0);
	m = ash_dma_iommu_iommufd(77, 5, ASH_DMA_IOVA_OFFSET);
	EXPECT(m != NULL);
	EXPECT_EQ(told.ioas, 5);
	EXPECT_EQ(told.mapped, present());
	EXPECT_EQ(ash_dma_iova(m, (char *)(uintptr_t)told.va + 9, NULL), told.iova + 9);
	ash_dma_iommu_end(m);
	EXPECT_EQ(told.mapped, 0);
	fake_off();
}

static int count_run(const struct ash_dma_run *run, void *arg)
{
	EXPECT_GT(run->len, 0);
	(*(unsigned *)arg)++;
	return 0;
}

CHILD_TEST(an_iommu_that_refuses_is_not_attached)
{
	struct ash_dma_attr attr = wish(ASH_DMA_VIRTUAL);
	unsigned runs = 0;

	fake_on();
	fake.front = iommu_front;
	/* Of several runs (each 2 MiB of base pages is one of its own) it takes all but the last. */
	attr.pages = ASH_DMA_PAGES_BASE;
	EXPECT(ash_dma_alloc(MIB(5), &attr) != NULL);
	(void)get(KIB(4), ASH_DMA_VIRTUAL);
	EXPECT_EQ(ash_dma_walk_runs(count_run, &runs), 0);
	EXPECT_GE(runs, 3);
	told.refuse_after = runs - 1;
	EXPECT(ash_dma_iommu_vfio(77, ASH_DMA_IOVA_VA) == NULL);
	EXPECT_EQ(errno, ENOMEM);
	EXPECT_EQ(told.maps, runs);
	EXPECT_EQ(told.mapped, 0);
	(void)get(MIB(30), ASH_DMA_VIRTUAL);
	EXPECT_EQ(told.maps, runs);
	fake_off();
}
