/* SPDX-License-Identifier: MIT */
/* Pages that share a pin, since there are fewer pins than pages: each goes back alone, and those that stay stay where
 * they are. */
#include "arena/child.h"
#include "dma/internal.h"
#include "dma/witness.h"

enum { PAGES = 16, PINS = 32 };

/* Of the table of pins so many are left. */
static void leave_pins(unsigned left)
{
	for (unsigned i = 0; i < ASH_PIN_SLOTS; i++) {
		if ((ash_dma.pin_used[i / 64] >> (i % 64) & 1) != 0)
			continue;
		if (left > 0)
			left--;
		else
			ash_dma.pin_used[i / 64] |= 1ull << (i % 64);
	}
}

static char *page[PAGES];
static struct ash_dma_info info[PAGES];
static uint64_t where[PAGES];

/* Memory that came at once, under few pins, as a buffer for each of its pages. */
static void share_pins(void)
{
	struct ash_dma_attr attr = wish(ASH_DMA_VIRTUAL);
	char *p = ash_dma_alloc(KIB(4), NULL);
	unsigned alone = 0;

	EXPECT(p != NULL);
	EXPECT_EQ(ash_dma_free(p), 0);
	(void)ash_dma_trim();
	if (ash_dma.pin_fd < 0)
		SKIP("no pins here (io_uring)");
	leave_pins(PINS);
	p = ash_dma_alloc(PAGES * MIB(2), &attr);
	EXPECT(p != NULL);
	if (describe(p).pinned != ASH_DMA_PINNED_KERNEL)
		SKIP("the kernel does not pin so much for us");
	EXPECT_EQ(ash_dma_free(p), 0);
	attr.align = MIB(2);
	attr.flags = ASH_DMA_NO_GROW;
	for (unsigned i = 0; i < PAGES; i++) {
		const struct ash_dma_arena *a;

		page[i] = ash_dma_alloc(MIB(2), &attr);
		EXPECT(page[i] != NULL);
		memset(page[i], (int)i, MIB(2));
		info[i] = describe(page[i]);
		where[i] = witness_phys(page[i]);
		a = ash_dma_arena_of(page[i]);
		alone += ash_dma.pin_slots[a->slots[ash_dma_pfn(a, page[i]) >> ASH_DMA_SLOT_ORDER].pin] == 1;
	}
	EXPECT_EQ(alone, 0);
}

static void check_page(unsigned i)
{
	const struct ash_dma_info now = describe(page[i]);

	EXPECT_EQ(now.pinned, info[i].pinned);
	EXPECT_EQ(witness_phys(page[i]), where[i]);
	for (size_t k = 0; k < MIB(2); k += 997)
		EXPECT_EQ(page[i][k], (char)i);
}

CHILD_TEST(a_page_goes_back_although_others_under_its_pin_stay)
{
	share_pins();
	for (unsigned i = 0; i < PAGES; i += 2)
		EXPECT_EQ(ash_dma_free(page[i]), 0);
	EXPECT_EQ(ash_dma_trim(), PAGES / 2 * MIB(2));
	EXPECT_EQ(present(), PAGES / 2 * MIB(2));
	for (unsigned i = 1; i < PAGES; i += 2)
		check_page(i);
	EXPECT_LE(ash_dma_verify(), 0);
	for (unsigned i = 1; i < PAGES; i += 2)
		EXPECT_EQ(ash_dma_free(page[i]), 0);
	EXPECT_EQ(ash_dma_trim(), PAGES / 2 * MIB(2));
	EXPECT_EQ(present(), 0);
}

CHILD_TEST(without_pins_left_it_stays_and_goes_with_the_last)
{
	share_pins();
	leave_pins(0);
	EXPECT_EQ(ash_dma_free(page[0]), 0);
	EXPECT_EQ(ash_dma_trim(), 0);
	for (unsigned i = 1; i < PAGES; i++)
		check_page(i);
	for (unsigned i = 1; i < PAGES; i++)
		EXPECT_EQ(ash_dma_free(page[i]), 0);
	EXPECT_EQ(ash_dma_trim(), PAGES * MIB(2));
	EXPECT_EQ(present(), 0);
}
