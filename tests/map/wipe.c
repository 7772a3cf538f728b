/* SPDX-License-Identifier: MIT */
/* Wiping a pageblock: whatever it held, wherever in it, and nothing beside it. */
#include <stdio.h>
#include <sys/mman.h>

#include "harness/test.h"

#include "map/internal.h"

enum { PIECE = 256, PIECES_OF_PAGE = ASH_PAGE_SIZE / PIECE, PAGES = 512, SLOTS = 3 };

/* Ways are told apart by how much is wiped at a time: a little, and more than caches hold. */
static const size_t amounts[] = { PB_BYTES, (size_t)1 << 30 };

static char *memory;

static void make_memory(void)
{
	memory = mmap(NULL, (SLOTS + 1) * PB_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EXPECT(memory != MAP_FAILED);
	memory = (char *)ash_align_up((uintptr_t)memory, PB_BYTES);
}

/* The middle one of three: its neighbours keep what they hold. */
static char *block(void)
{
	return memory + PB_BYTES;
}

static bool is_all(const char *p, size_t bytes, char c)
{
	return p[0] == c && memcmp(p, p + 1, bytes - 1) == 0;
}

static void wipe_and_look(size_t amount)
{
	ash_wipe(block(), amount);
	EXPECT(is_all(block(), PB_BYTES, 0));
}

TEST(one_byte_anywhere_is_found)
{
	uint64_t random = test_seed;

	make_memory();
	memset(memory, 7, SLOTS * PB_BYTES);
	for (unsigned k = 0; k < sizeof(amounts) / sizeof(amounts[0]); k++) {
		wipe_and_look(amounts[k]);
		/* Each byte of a piece, each piece of a page, each page: in turn, and by chance. */
		for (unsigned i = 0; i < PIECE; i++) {
			block()[i % PAGES * ASH_PAGE_SIZE + i % PIECES_OF_PAGE * PIECE + i] = 1;
			wipe_and_look(amounts[k]);
		}
		for (unsigned i = 0; i < PAGES; i++) {
			block()[i * ASH_PAGE_SIZE + test_random(&random) % ASH_PAGE_SIZE] = (char)0x80;
			if (i % 8 == 7)
				wipe_and_look(amounts[k]);
		}
		block()[PB_BYTES - 1] = 1;
		wipe_and_look(amounts[k]);
	}
	EXPECT(is_all(memory, PB_BYTES, 7));
	EXPECT(is_all(memory + 2 * PB_BYTES, PB_BYTES, 7));
}

/* From pages that are looked at to pages that are not, and back. */
TEST(pages_may_be_full_to_any_part)
{
	uint64_t random = test_seed + 1;

	make_memory();
	for (unsigned round = 0; round < 200; round++) {
		for (unsigned page = 0; page < PAGES; page++) {
			const unsigned pieces =
				round < PIECES_OF_PAGE ? round + 1 : test_random(&random) % (PIECES_OF_PAGE + 1);
			char *const p = block() + page * ASH_PAGE_SIZE;

			if (round >= PIECES_OF_PAGE && test_random(&random) % 4 == 0)
				continue;
			for (unsigned i = 0; i < pieces; i++)
				p[(i + page) % PIECES_OF_PAGE * PIECE + test_random(&random) % PIECE] = 1;
		}
		wipe_and_look(amounts[round % 2]);
	}
}

static unsigned long kilobytes_of_its_own(const char *p)
{
	unsigned long start, end, kb = 0;
	char line[512];
	bool here = false;
	FILE *f = fopen("/proc/self/smaps", "r");

	EXPECT(f != NULL);
	while (fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = start <= (uintptr_t)p && (uintptr_t)p < end;
		else if (here && sscanf(line, "Anonymous: %lu", &kb) == 1)
			break;
	}
	(void)fclose(f);
	return kb;
}

/* Not the kernel's page of zeroes, which would have to be replaced at the first write. */
TEST(what_is_not_there_comes_as_memory)
{
	for (unsigned k = 0; k < sizeof(amounts) / sizeof(amounts[0]); k++) {
		make_memory();
		EXPECT_EQ(madvise(memory, SLOTS * PB_BYTES, MADV_NOHUGEPAGE), 0);
		block()[5 * ASH_PAGE_SIZE + 9] = 1;
		wipe_and_look(amounts[k]);
		EXPECT_EQ(kilobytes_of_its_own(block()), PB_BYTES >> 10);
	}
}
