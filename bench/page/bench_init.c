/* SPDX-License-Identifier: MIT */
/*
 * What a zone of up to 1 TiB costs before its first allocation: metadata, time, and how much of it becomes resident.
 * CSV, a line per size.
 */
#include "sim.h"

static void *reserve(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		sim_fail("no address space");
	madvise(p, bytes, MADV_NOHUGEPAGE);
	return p;
}

static size_t resident_kib(void)
{
	unsigned long size, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (f == NULL || fscanf(f, "%lu %lu", &size, &resident) != 2)
		sim_fail("cannot read /proc/self/statm");
	fclose(f);
	return resident * (size_t)sysconf(_SC_PAGESIZE) >> 10;
}

static void measure(unsigned log2)
{
	const struct ash_geometry geometry = { ASH_PAGEBLOCK_ORDER, ASH_MAX_ORDER };
	struct ash_zone_config c = { .nr_frames = (ash_pfn_t)1 << log2, .geometry = geometry };
	const size_t frames = ash_frames_size(c.nr_frames);
	const size_t blocks = ash_zone_nr_pageblocks(c.nr_frames, geometry), before = resident_kib();
	struct ash_page_grant g;
	double t;

	c.frames = reserve(frames);
	c.pageblocks = reserve(blocks);
	zone = reserve(ash_zone_struct_size());
	t = sim_now();
	if (ash_zone_init(zone, &c) != 0 || ash_zone_online(zone, 0, c.nr_frames, true) != 0 ||
	    ash_zone_alloc(zone, 0, ASH_MT_UNMOVABLE, 0, ASH_CPU_NONE, &g) != 0)
		sim_fail("no zone");
	t = sim_now() - t;
	printf("%llu,%.4f,%.3f,%zu\n", (unsigned long long)c.nr_frames >> 18,
	       100.0 * (double)(frames + blocks + ash_zone_struct_size()) / (4096.0 * (double)c.nr_frames), t / 1e6,
	       resident_kib() - before);
	munmap(c.frames, frames);
	munmap(c.pageblocks, blocks);
}

int main(void)
{
	printf("gib,metadata_percent,ms,resident_kib\n");
	for (unsigned log2 = 20; log2 <= 28; log2 += 2)
		measure(log2);
	return 0;
}
