/* SPDX-License-Identifier: MIT */
/* Find the other allocators' libraries: the usual folders first, then the dynamic linker's cache. */
#include "peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ashlar.h"

const char peer_names[] = "glibc,jemalloc,mimalloc,tcmalloc,ashlar";

static const struct {
	const char *name, *package;
	const char *files[4];
} peers[] = {
	{ "jemalloc", "libjemalloc2", { "libjemalloc.so.2", "libjemalloc.so.1" } },
	{ "mimalloc", "libmimalloc2.0", { "libmimalloc.so.2", "libmimalloc.so.2.0", "libmimalloc.so.3" } },
	{ "tcmalloc", "libtcmalloc-minimal4", { "libtcmalloc_minimal.so.4", "libtcmalloc.so.4" } },
};

static char *in_usual_folder(const char *file)
{
	static const char *const folders[] = {
		"/usr/lib/" ASHLAR_MULTIARCH,       "/usr/lib64",       "/usr/lib",
		"/usr/local/lib/" ASHLAR_MULTIARCH, "/usr/local/lib64", "/usr/local/lib"
	};

	for (size_t i = 0; i < ASH_ARRAY_LEN(folders); i++) {
		char *path = format_text("%s/%s", folders[i], file);

		if (access(path, R_OK) == 0)
			return path;
		free(path);
	}
	return NULL;
}

/* "	libx.so.2 (libc6,x86-64) => /lib/x86_64-linux-gnu/libx.so.2" */
static char *in_linker_cache(const char *file)
{
	FILE *cache = popen("PATH=/sbin:/usr/sbin:$PATH ldconfig -p 2>/dev/null", "r");
	const size_t n = strlen(file);
	char *line = NULL, *found = NULL;
	size_t size = 0;

	if (cache == NULL)
		return NULL;
	while (getline(&line, &size, cache) > 0) {
		const char *name = line + strspn(line, " \t"), *arrow = strstr(line, "=> ");

		line[strcspn(line, "\n")] = '\0';
		if (found == NULL && arrow != NULL && strncmp(name, file, n) == 0 && name[n] == ' ' &&
		    strstr(name, "64") != NULL && access(arrow + 3, R_OK) == 0)
			found = format_text("%s", arrow + 3);
	}
	free(line);
	pclose(cache);
	return found;
}

bool peer_find(const char *name, char **path, char **why)
{
	*path = *why = NULL;
	if (strcmp(name, "glibc") == 0)
		return true;
	if (strcmp(name, "ashlar") == 0) {
		*path = preload_find(why);
		return *path != NULL;
	}
	for (size_t i = 0; i < ASH_ARRAY_LEN(peers); i++) {
		if (strcmp(peers[i].name, name) != 0)
			continue;
		for (size_t f = 0; f < ASH_ARRAY_LEN(peers[i].files) && peers[i].files[f] != NULL && *path == NULL; f++)
			*path = in_usual_folder(peers[i].files[f]);
		for (size_t f = 0; f < ASH_ARRAY_LEN(peers[i].files) && peers[i].files[f] != NULL && *path == NULL; f++)
			*path = in_linker_cache(peers[i].files[f]);
		if (*path == NULL)
			*why = format_text("%s is not installed (Debian: apt install %s)", name, peers[i].package);
		return *path != NULL;
	}
	return false;
}
