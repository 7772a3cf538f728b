/* SPDX-License-Identifier: MIT */
/*
 * What a large machine costs a process that starts on it: nodes, memory and distances are made up, the code is the real
 * one, and nothing is taken from this machine but address space and the few pages of metadata that are touched.
 *
 *      scale [nodes, 8] [GiB of memory in all, 12288] [frames each node brings online, 2^18]
 *
 * Prints, as "name value unit": address space, system calls and files to start and to use every node, zonelist lengths,
 * metadata resident and per byte of memory online, and times. The page core's figures do not depend on the machine; the
 * times are this one's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "arena/arena.h"
#include "os/env.h"
#include "os/numa.h"
#include "os/sys.h"

enum { FAKE_FD = 1 << 20, GET_MEMS_ALLOWED = 4 };

static unsigned nr_nodes = 8;
static char text[1024];
static size_t offset;
static unsigned long calls, files, mbinds;

static void fail(const char *what)
{
	fprintf(stderr, "scale: %s\n", what);
	exit(1);
}

static uint64_t all_nodes(void)
{
	return nr_nodes == 64 ? UINT64_MAX : (1ull << nr_nodes) - 1;
}

/* Two hops between sockets of two nodes each, three beyond: 10, 12, 21, 31. */
static unsigned distance(unsigned from, unsigned to)
{
	return from == to ? 10 : from / 2 == to / 2 ? 12 : from / 4 == to / 4 ? 21 : 31;
}

static long open_file(const char *path)
{
	unsigned from;
	size_t n = 0;

	files++;
	offset = 0;
	if (sscanf(path, "/sys/devices/system/node/node%u/distance", &from) == 1) {
		for (unsigned to = 0; to < nr_nodes; to++)
			n += (size_t)sprintf(text + n, "%u ", distance(from, to));
		return FAKE_FD;
	}
	if (strncmp(path, "/sys/devices/system/node/", 25) != 0)
		return -ENOENT;
	sprintf(text, "0-%u\n", nr_nodes - 1);
	return FAKE_FD;
}

static long fake(long nr, long a, long b, long c, long d, long e, long f)
{
	size_t n;

	calls++;
	switch (nr) {
	case __NR_openat:
		return open_file((const char *)b);
	case __NR_read:
		n = strlen(text) - offset < (size_t)c ? strlen(text) - offset : (size_t)c;
		memcpy((char *)b, text + offset, n);
		offset += n;
		return (long)n;
	case __NR_close:
		return 0;
	case __NR_mbind:
		mbinds++;
		return 0;
	case __NR_get_mempolicy:
		if (c < (long)nr_nodes)
			return -EINVAL;
		if (e != GET_MEMS_ALLOWED) {
			*(int *)a = 0;
			return 0;
		}
		memset((void *)b, 0, (size_t)c / 8);
		*(uint64_t *)b = all_nodes();
		return 0;
	default:
		return ash_sys_kernel(nr, a, b, c, d, e, f);
	}
}

static const struct ash_sys_ops ops = { .call = fake };

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double resident_kib(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (f == NULL || fscanf(f, "%*u %lu", &pages) != 1)
		fail("cannot read /proc/self/statm");
	fclose(f);
	return (double)pages * 4;
}

static unsigned long argument(int argc, char **argv, int i, unsigned long otherwise)
{
	return argc > i ? strtoul(argv[i], NULL, 0) : otherwise;
}

/* What every node has comes from one thread here; a run of one pageblock at a time, which nobody touches. */
static void use_every_node(size_t frames)
{
	struct ash_run run;

	for (unsigned node = 0; node < nr_nodes; node++) {
		for (size_t i = 0; i < frames; i += 512) {
			if (ash_run_alloc(ash_zonelist_for((int)node), 512, 9, ASH_MT_UNMOVABLE, &run) != 0)
				fail("out of memory");
		}
	}
}

/* One for setting up; of each arena that has come to be, its growth turn and its zone's. None is per processor. */
static unsigned locks(void)
{
	unsigned nr = 1;

	for (unsigned i = 0; i < ash_arena_count(); i++)
		nr += ash_arena_zone(i) != NULL ? 2 : 0;
	return nr;
}

static void start(unsigned long gib)
{
	const double before = now_us(), kib = resident_kib();
	struct ash_arena_config config;

	ash_arena_config_default(&config);
	/* As lib/arena/init.c has it for a machine of this size: four times the memory, as much as a pfn can number. */
	config.reserve = ash_min(ASH_GIB(gib) * 4, ASH_GIB(8192));
	while (ash_arena_init(&config) != 0) {
		config.reserve /= 2;
		if (config.reserve < ASH_GIB(1))
			fail("no address space");
	}
	printf("start %.0f us\n", now_us() - before);
	printf("start_resident %.0f KiB\n", resident_kib() - kib);
	printf("start_calls %lu calls\nstart_files %lu files\nstart_mbinds %lu calls\n", calls, files, mbinds);
	printf("address_space %.1f TiB\n", (double)ash_registry.nr_frames * 4096 / (1ull << 40));
	printf("span %.2f TiB\nspans %u spans\n",
	       (double)((size_t)4096 << ash_registry.span_frame_shift) / (1ull << 40), ash_registry.nr_spans);
}

int main(int argc, char **argv)
{
	const unsigned long gib = argument(argc, argv, 2, 12288), frames = argument(argc, argv, 3, 1ul << 18);
	double before, kib;

	nr_nodes = (unsigned)argument(argc, argv, 1, 8);
	if (nr_nodes < 1 || nr_nodes > 64)
		fail("1 to 64 nodes");
	ash_sys_hook = &ops;
	start(gib);
	before = now_us();
	calls = files = 0;
	for (unsigned node = 0; node < nr_nodes; node++)
		(void)ash_zonelist_for((int)node);
	printf("zonelist_length %u arenas\nzonelist_bytes %zu bytes\n", ash_zonelist_for(0)->nr,
	       sizeof(struct ash_zonelist));
	printf("all_zonelists %.0f us\nall_zonelists_files %lu files\n", now_us() - before, files);
	kib = resident_kib();
	before = now_us();
	use_every_node(frames);
	printf("online %.1f GiB\n", (double)frames * nr_nodes * 4096 / (1ull << 30));
	printf("online_time %.2f us/pageblock\n", (now_us() - before) / ((double)frames * nr_nodes / 512));
	printf("metadata %.0f KiB\n", resident_kib() - kib);
	printf("metadata_share %.3f %%\n", (resident_kib() - kib) * 100 / ((double)frames * nr_nodes * 4));
	before = now_us();
	for (unsigned i = 0; i < 1000000; i++)
		(void)ash_zonelist_for(-1);
	printf("locks %u locks\n", locks());
	printf("zonelist_lookup %.1f ns\n", (now_us() - before) / 1000);
	return 0;
}
