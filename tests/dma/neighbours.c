/* SPDX-License-Identifier: MIT */
/*
 * Pages of different kinds that are neighbours in the machine: who insists on one kind has it, whatever lies beside it.
 * Where pages come to lie is not a test's to choose, so the addresses are made up here (os/phys.h): pages lie side by
 * side in the order in which they come.
 */
#include "dma/own_pool.h"
#include "dma/witness.h"
#include "os/phys.h"

static uint64_t pages;

int ash_phys_read(const void *addr, size_t stride, size_t n, uint64_t phys[])
{
	/* A page has its number in its first word, and takes it along; it has none yet: it is new. Who asks of a
	 * variable asks whether addresses can be seen. */
	uint64_t *page = (uint64_t *)((uintptr_t)addr & ~(uintptr_t)(MIB(2) - 1));
	const bool whole = (uintptr_t)addr % KIB(4) == 0;

	if (whole && *page == 0)
		*page = ++pages;
	for (size_t i = 0; i < n; i++)
		phys[i] = MIB(2) * (whole ? *page : 1) + ((uintptr_t)addr - (uintptr_t)page) + i * stride;
	return 0;
}

int ash_phys_span(int node, uint64_t *start, uint64_t *end)
{
	(void)node;
	*start = 0;
	*end = MIB(1024);
	return 0;
}

int ash_pin_open(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void ash_pin_close(int fd)
{
	close(fd);
}

int ash_pin_set(int fd, unsigned slot, void *addr, size_t bytes)
{
	(void)fd;
	(void)slot;
	(void)addr;
	(void)bytes;
	return 0;
}

int ash_pin_clear(int fd, unsigned slot)
{
	(void)fd;
	(void)slot;
	return 0;
}

/* 2 MiB of a kind and no other; NULL: not without bringing more. */
static char *one(enum ash_dma_pages pages, uint32_t flags)
{
	struct ash_dma_attr attr = wish(ASH_DMA_PHYSICAL);

	attr.pages = pages;
	attr.flags = ASH_DMA_PAGES_STRICT | flags;
	return ash_dma_alloc(MIB(2), &attr);
}

/* Both of a kind are there, and no more. */
static void take_both(enum ash_dma_pages pages)
{
	char *a = one(pages, ASH_DMA_NO_GROW), *b = one(pages, ASH_DMA_NO_GROW);

	EXPECT(a != NULL && b != NULL);
	EXPECT_EQ(describe(a).pages, pages);
	EXPECT_EQ(describe(b).pages, pages);
	EXPECT(one(pages, ASH_DMA_NO_GROW) == NULL);
	EXPECT_EQ(ash_dma_free(a) | ash_dma_free(b), 0);
}

/* Two of each, in turn, one behind the other in the machine. */
static void take_again(enum ash_dma_pages first, enum ash_dma_pages second)
{
	char *p[4];

	for (unsigned i = 0; i < 4; i++) {
		p[i] = one(i % 2 == 0 ? first : second, 0);
		EXPECT(p[i] != NULL);
		EXPECT_EQ(ash_dma_translate(p[i], NULL), ash_dma_translate(p[0], NULL) + i * MIB(2));
	}
	for (unsigned i = 0; i < 4; i++)
		EXPECT_EQ(ash_dma_free(p[i]), 0);
	for (unsigned i = 0; i < 2; i++) {
		take_both(first);
		take_both(second);
	}
	EXPECT_EQ(ash_dma_verify(), 0);
}

DMA_POOL_TEST(a_kind_is_had_beside_another, 2)
{
	take_again(ASH_DMA_PAGES_2M, ASH_DMA_PAGES_THP);
}

DMA_POOL_TEST(and_the_other_beside_the_one, 2)
{
	take_again(ASH_DMA_PAGES_THP, ASH_DMA_PAGES_2M);
}
