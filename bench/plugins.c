/* SPDX-License-Identifier: MIT */
/*
 * A program with many plugins: each is opened, called, and in the end closed. The dynamic loader allocates from malloc.
 * Every plugin is a copy of bench-plugin.so beside this program, in memory, so that the loader takes it for another.
 *
 * plugins=, rounds=
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"

enum { PLUGINS_MAX = 1000 };

static int open_plugin_file(void)
{
	char path[PATH_MAX];
	const ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 32);
	char *slash;
	int fd;

	path[n > 0 ? n : 0] = '\0';
	slash = strrchr(path, '/');
	if (slash == NULL)
		bench_die("no /proc");
	strcpy(slash, "/bench-plugin.so");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		bench_die("%s cannot be opened", path);
	return fd;
}

static int copy_in_memory(const void *file, size_t size)
{
	const int fd = memfd_create("bench-plugin", MFD_CLOEXEC);

	if (fd < 0 || write(fd, file, size) != (ssize_t)size)
		bench_die("no memory for a plugin");
	return fd;
}

static void *open_plugin(int fd)
{
	char path[32];
	char *(*local)(void);
	void *handle;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (handle == NULL)
		bench_die("%s", dlerror());
	local = (char *(*)(void))dlsym(handle, "plugin_local");
	if (local == NULL)
		bench_die("%s", dlerror());
	*local() = 1;
	return handle;
}

int main(int argc, char **argv)
{
	const unsigned plugins = (unsigned)bench_arg(argc, argv, "plugins", 200);
	const unsigned rounds = (unsigned)bench_arg(argc, argv, "rounds", 3);
	const int file = open_plugin_file();
	int fds[PLUGINS_MAX];
	void *handles[PLUGINS_MAX], *contents;
	struct stat stat;
	uint64_t start;

	if (plugins == 0 || plugins > PLUGINS_MAX)
		bench_die("plugins is 1 to %d", PLUGINS_MAX);
	if (fstat(file, &stat) != 0)
		bench_die("the plugin has no size");
	contents = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, file, 0);
	if (contents == MAP_FAILED)
		bench_die("the plugin cannot be read");
	for (unsigned i = 0; i < plugins; i++)
		fds[i] = copy_in_memory(contents, (size_t)stat.st_size);
	start = bench_now();
	for (unsigned round = 0; round < rounds; round++) {
		for (unsigned i = 0; i < plugins; i++)
			handles[i] = open_plugin(fds[i]);
		for (unsigned i = 0; i < plugins; i++)
			dlclose(handles[i]);
	}
	bench_report("plugins", (uint64_t)plugins * rounds, start);
	return 0;
}
