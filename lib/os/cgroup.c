/* SPDX-License-Identifier: MIT */
/* Cgroups; see cgroup.h. Files: cgroups(7), cgroup-v2.rst and cgroup-v1/memory.rst of the kernel's documentation. */
#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "os/cgroup.h"
#include "os/file.h"
#include "os/text.h"

struct search {
	const char *controller;
	struct ash_cgroup_paths *paths;
};

/* One line of /proc/self/cgroup: ID:controller,controller:path. */
static int note_cgroup(void *arg, const char *line)
{
	const struct search *s = arg;
	const char *controllers = strchr(line, ':');
	const char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
	struct ash_text t;

	if (path == NULL)
		return 0;
	if (path == controllers + 1) {
		ash_text_init(&t, s->paths->v2, sizeof(s->paths->v2));
		ash_text_str(&t, path + 1);
	} else if (memmem(controllers, (size_t)(path - controllers), s->controller, strlen(s->controller)) != NULL) {
		ash_text_init(&t, s->paths->v1, sizeof(s->paths->v1));
		ash_text_str(&t, path + 1);
	}
	return 0;
}

int ash_cgroup_paths(const char *controller, struct ash_cgroup_paths *out)
{
	struct search s = { controller, out };

	out->v1[0] = out->v2[0] = '\0';
	return ash_file_lines("/proc/self/cgroup", note_cgroup, &s);
}

/* How the two versions name what is wanted. */
struct names {
	const char *root, *limit, *used, *idle;
};
static const struct names v1 = { "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
				 "total_inactive_file " };
static const struct names v2 = { "/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file " };

static void name_file(char *path, size_t size, const struct names *n, const char *group, const char *file)
{
	struct ash_text t;

	ash_text_init(&t, path, size);
	ash_text_str(&t, n->root);
	ash_text_str(&t, group);
	ash_text_str(&t, "/");
	ash_text_str(&t, file);
}

struct stat_line {
	const char *key;
	uint64_t value;
};

static int note_stat(void *arg, const char *line)
{
	struct stat_line *s = arg;
	const char *rest = ash_after_prefix(line, s->key);

	if (rest != NULL)
		(void)ash_parse_num(&rest, 10, &s->value);
	return 0;
}

/* Beyond 2^62 is how version 1 writes "none". */
static int read_group(const struct names *n, const char *group, uint64_t *limit, uint64_t *used)
{
	char path[ASH_CGROUP_PATH_MAX * 2];
	struct stat_line idle = { n->idle, 0 };
	int err;

	name_file(path, sizeof(path), n, group, n->limit);
	err = ash_file_num(path, limit);
	if (err < 0 || *limit >= 1ull << 62)
		return -ENOENT;
	name_file(path, sizeof(path), n, group, n->used);
	err = ash_file_num(path, used);
	if (err < 0)
		return err;
	name_file(path, sizeof(path), n, group, "memory.stat");
	(void)!ash_file_lines(path, note_stat, &idle);
	*used -= ash_min(*used, idle.value);
	return 0;
}

/* The group and those above it; the root has no limit of its own, but in a container it is somebody's group. */
static void walk_up(const struct names *n, char *group, uint64_t best[2])
{
	for (;;) {
		uint64_t limit, used;
		char *slash = strrchr(group, '/');

		if (read_group(n, group, &limit, &used) == 0 &&
		    (best[0] == UINT64_MAX || limit - ash_min(limit, used) < best[0] - ash_min(best[0], best[1]))) {
			best[0] = limit;
			best[1] = used;
		}
		if (slash == NULL)
			return;
		*slash = '\0';
	}
}

int ash_cgroup_memory(uint64_t *limit, uint64_t *used)
{
	struct ash_cgroup_paths paths;
	uint64_t best[2] = { UINT64_MAX, 0 };
	int err = ash_cgroup_paths("memory", &paths);

	if (err < 0)
		return err;
	if (paths.v1[0] != '\0')
		walk_up(&v1, paths.v1, best);
	if (paths.v2[0] != '\0')
		walk_up(&v2, paths.v2, best);
	if (best[0] == UINT64_MAX)
		return -ENOENT;
	*limit = best[0];
	*used = best[1];
	return 0;
}
