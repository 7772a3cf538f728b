/* SPDX-License-Identifier: MIT */
/* Where libashlar-preload.so is, and how LD_PRELOAD names it. */
#include "ashlar.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PRELOAD_NAME "libashlar-preload.so"

/*
 * ld.so splits LD_PRELOAD at spaces and colons and expands $ORIGIN and its like, with no way to quote: a path with any
 * of them silently names something else.
 */
char *preload_unspeakable(const char *path)
{
	const char *bad = strpbrk(path, " :$");

	if (bad == NULL)
		return NULL;
	return format_text("LD_PRELOAD cannot name \"%s\": the dynamic linker has no way to quote the '%c' in it; "
			   "put the library elsewhere and name it in ASHLAR_PRELOAD",
			   path, *bad);
}

static bool is_there(const char *path)
{
	return access(path, R_OK) == 0;
}

static char *from_variable(const char *value, char **why)
{
	char *path = realpath(value, NULL);

	if (path == NULL)
		*why = format_text("ASHLAR_PRELOAD names \"%s\", which cannot be found", value);
	else if (!is_there(path))
		*why = format_text("ASHLAR_PRELOAD names \"%s\", which cannot be read", value);
	else
		return path;
	free(path);
	return NULL;
}

static char *beside_this_program(char **why)
{
	/* The build tree first, or a test would use what is installed. */
	static const char *const places[] = { "../preload", ("../" ASHLAR_LIBDIR), "../lib64", "../lib" };
	char *self = realpath("/proc/self/exe", NULL), *folder;

	if (self == NULL) {
		*why = format_text("/proc is not mounted, so this program cannot find its own folder; "
				   "name the library in ASHLAR_PRELOAD");
		return NULL;
	}
	folder = dirname(self);
	for (size_t i = 0; i < ASH_ARRAY_LEN(places); i++) {
		char *path = format_text("%s/%s/" PRELOAD_NAME, folder, places[i]);
		char *real = is_there(path) ? realpath(path, NULL) : NULL;

		free(path);
		if (real != NULL) {
			free(self);
			return real;
		}
	}
	*why = format_text(
		"%s is not near %s (looked in ../preload, ../%s, ../lib64, ../lib); name it in ASHLAR_PRELOAD",
		PRELOAD_NAME, folder, ASHLAR_LIBDIR);
	free(self);
	return NULL;
}

char *preload_find(char **why)
{
	const char *variable = getenv("ASHLAR_PRELOAD");
	char *path = variable != NULL && *variable != '\0' ? from_variable(variable, why) : beside_this_program(why);

	if (path == NULL)
		return NULL;
	*why = preload_unspeakable(path);
	if (*why == NULL)
		return path;
	free(path);
	return NULL;
}

char *preload_append(const char *existing, const char *path)
{
	const size_t n = strlen(path);

	if (existing == NULL || *existing == '\0')
		return format_text("%s", path);
	for (const char *item = existing; *item != '\0';) {
		const size_t item_n = strcspn(item, " :");

		if (item_n == n && strncmp(item, path, n) == 0)
			return format_text("%s", existing);
		item += item_n;
		item += strspn(item, " :");
	}
	return format_text("%s:%s", existing, path);
}

const char *preload_other_allocator(const char *list)
{
	static const char *const known[] = { "libjemalloc",        "libmimalloc", "libtcmalloc", "libhoard",
					     "libhardened_malloc", "libsnmalloc", "libmesh",     "librpmalloc",
					     "libtbbmalloc_proxy", "libhugetlbfs" };

	for (size_t i = 0; list != NULL && i < ASH_ARRAY_LEN(known); i++) {
		if (strstr(list, known[i]) != NULL)
			return known[i];
	}
	return NULL;
}
