/* SPDX-License-Identifier: MIT */
/*
 * An unmodified program as far as ashlar goes: a thread allocates on every node while the constructor of a plugin waits
 * for it, holding the loader's lock. Whatever an allocator loads late, it may not be from within malloc.
 *
 * usage: wait_program PLUGIN
 * Prints the bytes allocated and whether libnuma has come into the process.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HANG_SECONDS 300

sem_t plugin_is_loading, thread_has_allocated;

static void *allocate_everywhere(void *arg)
{
	size_t *bytes = arg;
	cpu_set_t all, one;

	sem_wait(&plugin_is_loading);
	if (sched_getaffinity(0, sizeof(all), &all) != 0)
		abort();
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		if (sched_setaffinity(0, sizeof(one), &one) != 0)
			abort();
		for (size_t size = 16; size <= 16ul << 20; size *= 4, *bytes += size) {
			char *p = malloc(size);

			if (p == NULL)
				abort();
			memset(p, 1, size);
		}
	}
	sem_post(&thread_has_allocated);
	return NULL;
}

static int maps_name(const char *what)
{
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "r");
	int found = 0;

	while (maps != NULL && fgets(line, sizeof(line), maps) != NULL)
		found += strstr(line, what) != NULL;
	if (maps != NULL)
		fclose(maps);
	return found != 0;
}

int main(int argc, char **argv)
{
	size_t bytes = 0;
	pthread_t thread;

	alarm(HANG_SECONDS);
	if (argc != 2 || sem_init(&plugin_is_loading, 0, 0) != 0 || sem_init(&thread_has_allocated, 0, 0) != 0 ||
	    pthread_create(&thread, NULL, allocate_everywhere, &bytes) != 0)
		return 1;
	if (dlopen(argv[1], RTLD_NOW) == NULL) {
		puts(dlerror());
		return 1;
	}
	pthread_join(thread, NULL);
	printf("%zu MiB, ashlar:%d libnuma:%d\n", bytes >> 20, maps_name("libashlar"), maps_name("libnuma"));
	return 0;
}
