/* SPDX-License-Identifier: MIT */
/*
 * Short threads: started, allocate and free a little, leave one object each to the thread that joins them, end. What a
 * thread cache costs to set up and to take down.
 *
 * threads= in all, at_once= of them, objects= each.
 */
#include <pthread.h>

#include "bench.h"

#define OBJECTS_MAX 256

static unsigned objects;

static void *brief(void *arg)
{
	uint64_t state = (uintptr_t)arg;
	void *p[OBJECTS_MAX];
	size_t size[OBJECTS_MAX];

	for (unsigned i = 0; i < objects; i++) {
		size[i] = bench_size(&state);
		p[i] = bench_malloc(size[i]);
	}
	for (unsigned i = 0; i < objects; i++)
		bench_free(p[i], size[i]);
	return bench_malloc(100);
}

int main(int argc, char **argv)
{
	const unsigned threads = (unsigned)bench_arg(argc, argv, "threads", 10000);
	const unsigned at_once = (unsigned)bench_arg(argc, argv, "at_once", 8);
	const uint64_t start = bench_now();
	pthread_t thread[64];
	pthread_attr_t attr;

	objects = (unsigned)bench_arg(argc, argv, "objects", 50);
	if (objects > OBJECTS_MAX || at_once == 0 || at_once > 64)
		bench_die("objects is at most %u, at_once at most 64", OBJECTS_MAX);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 128 << 10);
	for (unsigned i = 0; i < threads;) {
		unsigned nr = 0;

		for (; nr < at_once && i < threads; nr++, i++)
			if (pthread_create(&thread[nr], &attr, brief, (void *)(uintptr_t)(i + 1)) != 0)
				bench_die("no thread");
		while (nr-- > 0) {
			void *left;

			pthread_join(thread[nr], &left);
			bench_free(left, 100);
		}
	}
	pthread_attr_destroy(&attr);
	bench_report("threads", threads, start);
	return 0;
}
