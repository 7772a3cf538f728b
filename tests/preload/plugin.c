/* SPDX-License-Identifier: MIT */
/* A library that tests open, in several ways, and that allocates in all its own ways. */
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "plugin.h"

static void *from_constructor;
static unsigned *unloaded;

__attribute__((constructor)) static void loaded(void)
{
	from_constructor = malloc(1000);
	memset(from_constructor, 0x33, 1000);
}

__attribute__((destructor)) static void unload(void)
{
	void *p = calloc(1, 5000);

	if (unloaded != NULL && p != NULL)
		(*unloaded)++;
	free(p);
	free(from_constructor);
}

static char *duplicate(const char *text)
{
	return strdup(text);
}

static int lines(char **out)
{
	return posix_memalign((void **)out, 64, 777);
}

const struct plugin plugin = {
	.malloc = malloc,
	.calloc = calloc,
	.realloc = realloc,
	.free = free,
	.usable = malloc_usable_size,
	.duplicate = duplicate,
	.lines = lines,
	.unloaded = &unloaded,
};
