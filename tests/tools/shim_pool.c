/* SPDX-License-Identifier: MIT */
/* A kernel that can make no more than $SHIM_POOL_MAX huge pages, for files named nr_hugepages in a made-up /sys. */
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_pool(int fd)
{
	static const char name[] = "/nr_hugepages";
	char link[64], path[PATH_MAX];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < (ssize_t)sizeof(name))
		return 0;
	path[n] = '\0';
	return strcmp(path + n - (sizeof(name) - 1), name) == 0;
}

ssize_t write(int fd, const void *data, size_t n)
{
	static ssize_t (*next)(int, const void *, size_t);
	const char *max = getenv("SHIM_POOL_MAX");

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "write");
	if (max != NULL && is_pool(fd) && atoll(data) > atoll(max))
		return next(fd, max, strlen(max)) < 0 ? -1 : (ssize_t)n;
	return next(fd, data, n);
}
