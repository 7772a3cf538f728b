/* SPDX-License-Identifier: MIT */
/*
 * What a process keeps of a peak: grows to peak= MiB of small and large objects, frees all but live= MiB, then goes on
 * with a little work for rest= milliseconds; or, with loop=1, frees and allocates the peak again every cycle=
 * milliseconds, which should cost no memory to come and go. What is freed is what was allocated last, or with
 * scattered=1 objects at random places, which leaves something alive nearly everywhere.
 *
 * Every step= milliseconds of the rest a line "at MS resident KIB live KIB minflt N" is printed, and at its end "pages
 * KIB": the pages that something alive lies on, which is the least that can be resident unless objects change their
 * places.
 */
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench.h"

struct object {
	void *p;
	size_t size;
};

static struct object *objects;
static size_t nr_max, live_bytes;
static bool scattered;

static size_t resident_kib(void)
{
	unsigned long size = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (f == NULL || fscanf(f, "%lu %lu", &size, &resident) != 2)
		bench_die("no /proc/self/statm");
	fclose(f);
	return resident * ((size_t)sysconf(_SC_PAGESIZE) >> 10);
}

static void sample(uint64_t start)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	printf("at %llu resident %zu live %zu minflt %ld\n", (unsigned long long)((bench_now() - start) / 1000000),
	       resident_kib(), live_bytes >> 10, ru.ru_minflt);
}

static void take(struct object *o, size_t size)
{
	o->size = size;
	o->p = bench_malloc(size);
	live_bytes += size;
}

/* Small objects, and every so often a block of up to 128 KiB. */
static size_t next_size(uint64_t *state)
{
	const uint64_t r = bench_random(state);

	return r % 128 == 0 ? 4096 + (r >> 32) % 126976 : bench_size(state);
}

static void drop(struct object *o)
{
	bench_free(o->p, o->size);
	live_bytes -= o->size;
	o->p = NULL;
}

static size_t fill(size_t nr, size_t bytes, uint64_t *state)
{
	while (live_bytes < bytes && nr < nr_max)
		take(&objects[nr++], next_size(state));
	return nr;
}

/* Frees until bytes are left: what was allocated last, which is what a peak is, or at random places. */
static size_t empty(size_t nr, size_t bytes, uint64_t *state)
{
	while (nr > 0 && live_bytes > bytes) {
		const size_t i = scattered ? bench_random(state) % nr : nr - 1;

		drop(&objects[i]);
		objects[i] = objects[--nr];
	}
	return nr;
}

static int by_number(const void *a, const void *b)
{
	const uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;

	return (x > y) - (x < y);
}

static size_t add_pages(uintptr_t *list, size_t n, const void *p, size_t bytes)
{
	for (uintptr_t page = (uintptr_t)p >> 12; page <= ((uintptr_t)p + bytes - 1) >> 12; page++)
		list[n++] = page;
	return n;
}

/* From the list of them; not in the heap, which is being measured. */
static size_t live_pages_kib(size_t nr)
{
	const size_t bytes = (live_bytes / 4096 + 2 * (nr + 1)) * sizeof(uintptr_t);
	uintptr_t *list = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t n, pages = 0;

	if (list == MAP_FAILED)
		bench_die("no memory");
	n = add_pages(list, 0, objects, nr_max * sizeof(*objects));
	for (size_t i = 0; i < nr; i++)
		n = add_pages(list, n, objects[i].p, objects[i].size);
	qsort(list, n, sizeof(*list), by_number);
	for (size_t i = 0; i < n; i++)
		pages += i == 0 || list[i] != list[i - 1];
	munmap(list, bytes);
	return pages * 4;
}

int main(int argc, char **argv)
{
	const size_t peak = bench_arg(argc, argv, "peak", 256) << 20, live = bench_arg(argc, argv, "live", 32) << 20;
	const uint64_t rest = bench_arg(argc, argv, "rest", 15000), step = bench_arg(argc, argv, "step", 100);
	const uint64_t cycle = bench_arg(argc, argv, "loop", 0) != 0 ? bench_arg(argc, argv, "cycle", 1000) : 0;
	uint64_t state = bench_arg(argc, argv, "seed", 1), next = cycle, ops = 0;
	const uint64_t start = bench_now();
	size_t nr;

	/* The table is live as well. */
	scattered = bench_arg(argc, argv, "scattered", 0) != 0;
	nr_max = peak / 256;
	live_bytes = nr_max * sizeof(*objects);
	objects = calloc(nr_max, sizeof(*objects));
	if (objects == NULL || live >= peak || step == 0)
		bench_die("nothing to do");
	nr = fill(0, peak, &state);
	sample(start);
	nr = empty(nr, live, &state);
	for (uint64_t ms = 0; ms < rest; ms = (bench_now() - start) / 1000000) {
		sample(start);
		nanosleep(&(struct timespec){ .tv_sec = (time_t)(step / 1000),
					      .tv_nsec = (long)(step % 1000) * 1000000 },
			  NULL);
		/* A process at rest does something: a few hundred objects are replaced. */
		for (unsigned i = 0; i < 500 && nr > 0; i++, ops++) {
			struct object *o = &objects[bench_random(&state) % nr];
			const size_t size = o->size;

			drop(o);
			take(o, size);
		}
		if (cycle != 0 && ms >= next) {
			next = ms + cycle;
			nr = fill(nr, peak, &state);
			sample(start);
			nr = empty(nr, live, &state);
		}
	}
	printf("pages %zu\n", live_pages_kib(nr));
	(void)empty(nr, 0, &state);
	free(objects);
	bench_report("returns", ops, start);
	return 0;
}
