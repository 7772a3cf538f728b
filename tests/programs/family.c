/* SPDX-License-Identifier: MIT */
/* Each function of the malloc family that gives memory, and each that takes it: for tools that replace some of them. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *volatile given;
static unsigned nr;

static void *use(void *p, size_t n)
{
	given = p;
	memset(given, 1, n);
	nr++;
	return given;
}

int main(void)
{
	void *p = NULL;

	free(use(malloc(100), 100));
	free(use(calloc(10, 10), 100));
	free(use(realloc(use(malloc(10), 10), 1000), 1000));
	free(use(reallocarray(NULL, 10, 10), 100));
	free(use(reallocarray(use(malloc(10), 10), 100, 10), 1000));
	free(use(realloc(use(reallocarray(NULL, 10, 10), 100), 10000), 10000));
	free(use(aligned_alloc(64, 128), 128));
	free(use(memalign(4096, 100), 100));
	free(use(valloc(100), 100));
	free(use(pvalloc(100), 4096));
	if (posix_memalign(&p, 64, 100) == 0)
		free(use(p, 100));
	printf("%u\n", nr);
	return 0;
}
