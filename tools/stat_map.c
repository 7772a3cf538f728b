/* SPDX-License-Identifier: MIT */
/*
 * ashlar stat --map: a picture of a zone's pageblocks, read out of the process's own tables while it runs.
 *
 * The reader goes from piece to piece as the page core would (page/frame.h), without its lock: a pageblock that changes
 * meanwhile may be drawn wrong, and the next one is not. Only metadata of online pageblocks is readable in the process,
 * and only that is read.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena/arena.h"
#include "ashlar.h"
#include "page/pageblock.h"
#include "remote.h"
#include "stat_map.h"

enum { PER_LINE = 64 };

struct scan {
	const struct remote *remote;
	const struct zone_place *zone;
	unsigned char *words;      /* one per pageblock */
	struct ash_frame *frames;  /* of one pageblock */
	uint64_t until;            /* a piece that began in an earlier pageblock reaches to here */
	bool until_free;
};

static char letter(unsigned word)
{
	static const char letters[ASH_MT_NR] = {
		[ASH_MT_UNMOVABLE] = 'u', [ASH_MT_MOVABLE] = 'm',    [ASH_MT_RECLAIMABLE] = 'r',
		[ASH_MT_HIGHATOMIC] = 'h', [ASH_MT_CMA] = 'c', [ASH_MT_ISOLATE] = 'i',
	};
	const unsigned mt = ash_pageblock_word_type(word);

	return mt < ASH_MT_NR && letters[mt] != '\0' ? letters[mt] : '?';
}

static bool state_is_free(enum ash_frame_state state)
{
	return state == ASH_FRAME_BUDDY || state == ASH_FRAME_PCP || state == ASH_FRAME_HELD ||
	       state == ASH_FRAME_DEFERRED;
}

/* Free frames of the pageblock that begins at pfn; its frames have been read: laid out as a table's first ones are. */
static uint64_t count_free(struct scan *s, uint64_t pfn, uint64_t nr)
{
	uint64_t free = 0, at = 0;

	while (at < nr) {
		if (pfn + at < s->until) {
			const uint64_t here = ash_min(s->until - pfn, nr) - at;

			free += s->until_free ? here : 0;
			at += here;
			continue;
		}
		const uint32_t word = ash_frame_load(s->frames, (ash_pfn_t)at);

		if (ash_word_state(word) == ASH_FRAME_NONE || ash_word_order(word) > ASH_MAX_ORDER) {
			at++;
			continue;
		}
		s->until = pfn + at + (1ull << ash_word_order(word));
		s->until_free = state_is_free(ash_word_state(word));
	}
	return free;
}

/* '\0': the process's memory is not there any more. */
static char draw(struct scan *s, uint64_t block)
{
	const struct zone_place *z = s->zone;
	const unsigned word = s->words[block];
	const uint64_t pfn = block << z->pageblock_order;
	const uint64_t nr = ash_min(1ull << z->pageblock_order, z->nr_frames - pfn);
	uint64_t free;

	if ((word & ASH_PB_ONLINE) == 0)
		return ' ';
	if (!remote_read(s->remote, z->frames + ash_frame_entry(pfn) * sizeof(struct ash_frame), s->frames,
			 ash_frame_entry(nr) * sizeof(struct ash_frame)))
		return '\0';
	free = count_free(s, pfn, nr);
	if (free == nr && (word & ASH_PB_ISOLATE) == 0)
		return (word & ASH_PB_ZEROED) != 0 ? '_' : '.';
	return free == 0 ? (char)(letter(word) - 'a' + 'A') : letter(word);
}

static bool draw_lines(struct scan *s, uint64_t nr_blocks)
{
	const uint64_t block_bytes = ASH_PAGE_SIZE << s->zone->pageblock_order;
	char line[PER_LINE + 1];

	for (uint64_t block = 0; block < nr_blocks; block += PER_LINE) {
		size_t n = 0;

		for (; n < PER_LINE && block + n < nr_blocks; n++) {
			line[n] = draw(s, block + n);
			if (line[n] == '\0')
				return false;
		}
		line[n] = '\0';
		if (line[strspn(line, " ")] != '\0')
			printf("  %#14" PRIx64 " |%s|\n", s->zone->start + block * block_bytes, line);
	}
	return true;
}

bool stat_map_print(const struct remote *r, const struct zone_place *z)
{
	struct scan s = { .remote = r, .zone = z };
	uint64_t nr_blocks;
	bool whole;

	if (z->pageblock_order > ASH_MAX_ORDER || z->nr_frames == 0 || z->nr_frames > UINT32_MAX)
		return false;
	nr_blocks = ((z->nr_frames - 1) >> z->pageblock_order) + 1;
	s.words = need(malloc(nr_blocks));
	s.frames = need(malloc(ash_frame_entry(1ul << z->pageblock_order) * sizeof(struct ash_frame)));
	whole = remote_read(r, z->pageblocks, s.words, nr_blocks) && draw_lines(&s, nr_blocks);
	free(s.words);
	free(s.frames);
	return whole;
}

void stat_map_print_legend(void)
{
	puts("  one sign a pageblock of 2 MiB: . free  _ free and without memory\n"
	     "  u unmovable  m movable  r reclaimable  h highatomic  c CMA  i isolated: partly in use; "
	     "capitals: no frame free");
}
