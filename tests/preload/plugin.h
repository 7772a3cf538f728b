/* SPDX-License-Identifier: MIT */
/* The functions of malloc as a plugin sees them, which RTLD_DEEPBIND makes the C library's own. */
#ifndef ASH_TESTS_PRELOAD_PLUGIN_H
#define ASH_TESTS_PRELOAD_PLUGIN_H

#include <stddef.h>

struct plugin {
	void *(*malloc)(size_t size);
	void *(*calloc)(size_t n, size_t size);
	void *(*realloc)(void *p, size_t size);
	void (*free)(void *p);
	size_t (*usable)(void *p);
	char *(*duplicate)(const char *text);
	int (*lines)(char **out);
	unsigned **unloaded; /* counts destructions */
};

#endif
