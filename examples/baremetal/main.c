/* SPDX-License-Identifier: MIT */
/*
 * The page core on a machine without an operating system: the machine's memory becomes a zone, is used and crowded, and
 * 64 contiguous mebibytes are taken out of the crowd.
 *
 * Everything an embedder has to do is in this file: supply the tables, say which frames exist, and say how the owner of
 * a movable frame moves it. See README.md.
 */
#include "base/bits.h"
#include "machine.h"
#include "page/contig.h"
#include "page/mover.h"
#include "page/stat.h"
#include "selftest.h"

#define CONTIG_FRAMES (ASH_MIB(64) / ASH_PAGE_SIZE)
#define CROWD_FRAMES 65536u /* as much memory as takes part */
#define MAX_OBJECTS CROWD_FRAMES
#define MAX_BALLAST 64
#define UNMOVABLE_EVERY 16 /* one object in so many stays where it is */

/* An object is one frame that says which object it is, in its first and its last word. */
#define STAMP(object) (((object) + 1ull) * 0x9e3779b97f4a7c15ull)
#define WORDS (ASH_PAGE_SIZE / sizeof(uint64_t))

static struct ash_zone *zone;
static ash_pfn_t *home; /* of every object */
static uint32_t nr_objects;
static struct piece {
	ash_pfn_t pfn;
	unsigned order;
} ballast[MAX_BALLAST];
static unsigned nr_ballast;
static uint64_t moved;

static uint64_t *frame(ash_pfn_t pfn)
{
	return at_address((uint64_t)pfn << ASH_PAGE_SHIFT);
}

static bool complain(const char *what, uint64_t value)
{
	print("baremetal: ");
	print(what);
	print(": ");
	print_number(value);
	print("\n");
	return false;
}

/* --- What the core asks of its embedder --- */

void on_bug(const struct ash_zone *z, const char *what, ash_pfn_t pfn, unsigned long a, unsigned long b)
{
	(void)z;
	(void)a;
	(void)b;
	print("baremetal: the core reports a bug at pfn ");
	print_number(pfn);
	print(": ");
	print(what);
	print("\n");
	machine_off(false);
}

/* Objects never refuse. What the core must know of them it keeps itself: the frame's private word is the object. */
static int mover_isolate(struct ash_zone *z, ash_pfn_t pfn, unsigned order)
{
	(void)z;
	(void)pfn;
	(void)order;
	return 0;
}

static int mover_migrate(struct ash_zone *z, ash_pfn_t to, ash_pfn_t from, unsigned order)
{
	const uint32_t object = ash_zone_private(z, from);

	if (!asked("break=mover"))
		__builtin_memcpy(frame(to), frame(from), ASH_PAGE_SIZE << order);
	home[object] = to;
	moved++;
	return 0;
}

static void mover_putback(struct ash_zone *z, ash_pfn_t pfn, unsigned order)
{
	(void)z;
	(void)pfn;
	(void)order;
}

static const struct ash_mover_ops mover = { mover_isolate, mover_migrate, mover_putback };
static const struct ash_zone_ops ops = { .bug = on_bug, .mover = &mover };

/* --- From a memory map to a zone --- */

/*
 * Frame numbers are physical addresses divided by the frame size. The zone spans everything up to the last usable
 * frame; what lies between the ranges is never brought online, and the core does not mind.
 */
static bool build_zone(void)
{
	struct ash_zone_config config = {
		.nr_frames = (ash_pfn_t)(memory[nr_ranges - 1].end >> ASH_PAGE_SHIFT),
		.geometry = { ASH_PAGEBLOCK_ORDER, ASH_MAX_ORDER },
		.nr_cpus = 1,
		.ops = &ops,
	};

	zone = early_alloc(ash_zone_struct_size());
	config.pcps = early_alloc(ash_pcp_struct_size());
	config.pageblocks = early_alloc(ash_zone_nr_pageblocks(config.nr_frames, config.geometry));
	config.frames = early_alloc(ash_frames_size(config.nr_frames));
	if (ash_zone_init(zone, &config) != 0)
		return complain("the core refuses the zone; frames", config.nr_frames);
	for (unsigned i = 0; i < nr_ranges; i++) {
		const ash_pfn_t start = (ash_pfn_t)(memory[i].start >> ASH_PAGE_SHIFT);
		const ash_pfn_t nr = (ash_pfn_t)((memory[i].end - memory[i].start) >> ASH_PAGE_SHIFT);

		if (ash_zone_online(zone, start, nr, false) != 0)
			return complain("cannot bring online the range at pfn", start);
	}
	return true;
}

static bool check_zone(void)
{
	struct ash_zone_fault fault;

	return ash_zone_check(zone, &fault) == 0 || complain(fault.what, fault.pfn);
}

static void show_zone(void)
{
	static char text[8192];
	struct ash_zone_stats stats;

	ash_zone_stats(zone, &stats);
	ash_stat_buddyinfo(&stats, ASH_MAX_ORDER, 0, "Physical", text, sizeof(text));
	print(text);
	ash_stat_pagetypeinfo(&stats, ASH_PAGEBLOCK_ORDER, ASH_MAX_ORDER, 0, "Physical", text, sizeof(text));
	print(text);
}

/* --- Memory in use, and a contiguous range out of it --- */

static uint64_t nr_free(void)
{
	struct ash_zone_stats stats;

	ash_zone_stats(zone, &stats);
	return stats.free;
}

/* On a large machine somebody has taken most of the memory, in pieces as large as there are. */
static void take_ballast(void)
{
	for (unsigned order = ASH_MAX_ORDER; order >= ASH_PAGEBLOCK_ORDER; order--) {
		struct ash_page_grant grant;

		while (nr_ballast < MAX_BALLAST && nr_free() >= CROWD_FRAMES + (1u << order) &&
		       ash_zone_alloc(zone, order, ASH_MT_UNMOVABLE, 0, ASH_CPU_NONE, &grant) == 0)
			ballast[nr_ballast++] = (struct piece){ grant.pfn, order };
	}
}

/* Objects in 7 of 8 frames; then every third of the movable ones goes, so that what is free is free here and there. */
static bool crowd(void)
{
	const uint32_t wanted = (uint32_t)ash_min(nr_free() / 8 * 7, MAX_OBJECTS);

	for (; nr_objects < wanted; nr_objects++) {
		const enum ash_migratetype mt = nr_objects % UNMOVABLE_EVERY == 0 ? ASH_MT_UNMOVABLE : ASH_MT_MOVABLE;
		struct ash_page_grant grant;

		if (ash_zone_alloc(zone, 0, mt, 0, 0, &grant) != 0)
			return complain("out of memory at object", nr_objects);
		ash_zone_set_private(zone, grant.pfn, nr_objects);
		home[nr_objects] = grant.pfn;
		frame(grant.pfn)[0] = frame(grant.pfn)[WORDS - 1] = STAMP(nr_objects);
	}
	for (uint32_t i = 1; i < nr_objects; i += 3) {
		if (i % UNMOVABLE_EVERY == 0)
			continue;
		ash_zone_free(zone, home[i], 0, 0);
		home[i] = ASH_PFN_NONE;
	}
	return true;
}

static bool objects_intact(void)
{
	for (uint32_t i = 0; i < nr_objects; i++) {
		if (home[i] != ASH_PFN_NONE && (frame(home[i])[0] != STAMP(i) || frame(home[i])[WORDS - 1] != STAMP(i)))
			return complain("an object lost its contents", i);
	}
	return true;
}

static bool contiguous(void)
{
	const struct ash_contig_request request = { .nr = CONTIG_FRAMES, .align_order = ASH_PAGEBLOCK_ORDER,
						    .mt = ASH_MT_UNMOVABLE };
	struct ash_page_grant grant;
	const int error = ash_zone_alloc_contig(zone, &request, &grant, NULL);

	if (error != 0)
		return complain("no contiguous range; error", (uint64_t)-error);
	/* It is ours: whatever else believed to live there would lose its stamp now. */
	for (ash_pfn_t i = 0; i < request.nr; i++)
		frame(grant.pfn + i)[0] = frame(grant.pfn + i)[WORDS - 1] = 0;
	print("contiguous: ");
	print_number(request.nr);
	print(" frames at ");
	print_address((uint64_t)grant.pfn << ASH_PAGE_SHIFT);
	print(", ");
	print_number(moved);
	print(" frames moved out of the way\n");
	if (moved == 0)
		return complain("nothing was in the way; objects", nr_objects);
	if (!objects_intact() || !check_zone())
		return false;
	show_zone();
	if (asked("break=free"))
		ash_zone_free(zone, grant.pfn + 1, 3, ASH_CPU_NONE);
	ash_zone_free_run(zone, grant.pfn, request.nr);
	return true;
}

static void leave(void)
{
	while (nr_objects > 0) {
		if (home[--nr_objects] != ASH_PFN_NONE)
			ash_zone_free(zone, home[nr_objects], 0, 0);
	}
	while (nr_ballast > 0) {
		nr_ballast--;
		ash_zone_free(zone, ballast[nr_ballast].pfn, ballast[nr_ballast].order, ASH_CPU_NONE);
	}
	ash_zone_drain(zone);
}

static bool use_memory(void)
{
	const ash_pfn_t table = (ash_pfn_t)ash_bytes_to_pages(MAX_OBJECTS * sizeof(*home));
	const uint64_t before = nr_free();
	struct ash_page_grant grant;

	if (ash_zone_alloc_run(zone, table, 0, ASH_MT_UNMOVABLE, 0, &grant) != 0)
		return complain("no room for the table of objects", table);
	home = (ash_pfn_t *)frame(grant.pfn);
	take_ballast();
	if (!crowd() || !contiguous())
		return false;
	leave();
	ash_zone_free_run(zone, grant.pfn, table);
	/* Everything was given back, and the zone has exactly what it had. */
	if (nr_free() != before)
		return complain("frames are missing; free", nr_free());
	return check_zone();
}

bool run(void)
{
	if (nr_ranges == 0)
		return complain("no memory; ranges", 0);
	if (asked("break=crash"))
		*(volatile char *)at_address(1ull << 40) = 0;
	while (asked("break=hang"))
		;
	if (!build_zone() || !check_zone())
		return false;
	show_zone();
	return use_memory() && selftest(zone);
}
