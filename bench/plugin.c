/* SPDX-License-Identifier: MIT */
/* One of many plugins (plugins.c): allocates when it is loaded, frees when it is unloaded, and has thread-local
 * data. */
#include <stdlib.h>
#include <string.h>

enum { OBJECTS = 50 };

static void *objects[OBJECTS];
static __thread char local[256];

extern char *plugin_local(void);

/* What makes a program allocate a block of thread-local data for us. */
char *plugin_local(void)
{
	return local;
}

__attribute__((constructor)) static void loaded(void)
{
	for (size_t i = 0; i < OBJECTS; i++) {
		objects[i] = malloc(16 + i * 24);
		if (objects[i] == NULL)
			abort();
		memset(objects[i], 1, 16 + i * 24);
	}
}

__attribute__((destructor)) static void unloaded(void)
{
	for (size_t i = 0; i < OBJECTS; i++)
		free(objects[i]);
}
