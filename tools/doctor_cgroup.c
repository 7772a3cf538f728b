/* SPDX-License-Identifier: MIT */
/*
 * Limits that control groups set on hugetlb pages and memory, version 1 and 2. A limit holds for everything below it,
 * so every group from this process's own up to the mount is looked at. A hugetlb limit without "rsvd" is enforced when
 * a page is touched, which kills a program that did not populate first; that is why it is worth a line.
 */
#include "doctor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ashlar.h"
#include "ctl/writer.h"

/* Version 1 says "no limit" with the largest multiple of the page size. */
#define UNLIMITED 0x7ffffffffffff000ll

static const struct {
	const char *file; /* below a group's folder */
	const char *what;
} limits[] = {
	{ "hugetlb.2MB.max", "hugetlb 2 MiB" },
	{ "hugetlb.2MB.rsvd.max", "hugetlb 2 MiB reservations" },
	{ "hugetlb.1GB.max", "hugetlb 1 GiB" },
	{ "hugetlb.1GB.rsvd.max", "hugetlb 1 GiB reservations" },
	{ "memory.max", "memory" },
	{ "hugetlb.2MB.limit_in_bytes", "hugetlb 2 MiB" },
	{ "hugetlb.2MB.rsvd.limit_in_bytes", "hugetlb 2 MiB reservations" },
	{ "hugetlb.1GB.limit_in_bytes", "hugetlb 1 GiB" },
	{ "hugetlb.1GB.rsvd.limit_in_bytes", "hugetlb 1 GiB reservations" },
	{ "memory.limit_in_bytes", "memory" },
};

static unsigned check_group(struct doctor *d, const char *folder)
{
	unsigned found = 0;

	for (size_t i = 0; i < ASH_ARRAY_LEN(limits); i++) {
		const long long limit = doctor_number(d, "%s/%s", folder, limits[i].file);

		if (limit < 0 || limit >= UNLIMITED)
			continue;
		finding(d, FINDING_NOTE, "control group %s limits %s to %s", folder, limits[i].what,
			ash_size_text((unsigned long long)limit).text);
		fix("echo %s | sudo tee %s/%s", strstr(limits[i].file, "_in_bytes") != NULL ? "-1" : "max", folder,
		    limits[i].file);
		found++;
	}
	return found;
}

/* The group at path below mount, and each above it. */
static unsigned check_groups(struct doctor *d, const char *mount, const char *path)
{
	char *folder = format_text("%s%s", mount, strcmp(path, "/") == 0 ? "" : path);
	const size_t top = strlen(mount);
	unsigned found = 0;

	for (;;) {
		char *slash;

		found += check_group(d, folder);
		if (strlen(folder) <= top)
			break;
		slash = strrchr(folder, '/');
		if (slash == NULL || slash < folder + top)
			break;
		*slash = '\0';
	}
	free(folder);
	return found;
}

/* The path of this process in the hierarchy that has controller ("" = version 2), from "ID:CONTROLLERS:PATH" lines. */
static char *group_path(const char *cgroups, const char *controller)
{
	for (const char *line = cgroups; line != NULL && *line != '\0';) {
		const char *names = strchr(line, ':'), *path = names != NULL ? strchr(names + 1, ':') : NULL;
		const char *end = strchrnul(line, '\n');

		if (path != NULL && path < end) {
			char *list = format_text(",%.*s,", (int)(path - names - 1), names + 1);
			char *wanted = format_text(",%s,", controller);
			const bool match =
				strcmp(list, wanted) == 0 || (*controller != '\0' && strstr(list, wanted) != NULL);

			free(list);
			free(wanted);
			if (match)
				return format_text("%.*s", (int)(end - path - 1), path + 1);
		}
		line = *end == '\n' ? end + 1 : NULL;
	}
	return NULL;
}

/*
 * A line of mountinfo: "ID PARENT DEV ROOT MOUNTPOINT OPTIONS... - TYPE SOURCE SUPER". ROOT is the group that stands at
 * the mount point: in a container with its own view of the hierarchy the path begins with it.
 */
static unsigned check_mount(struct doctor *d, char *line, const char *cgroups)
{
	char root[512], mount[512], *type = strstr(line, " - "), *path;
	const char *controller = NULL;
	unsigned found = 0;

	if (type == NULL || sscanf(line, "%*s %*s %*s %511s %511s", root, mount) != 2)
		return 0;
	if (strncmp(type + 3, "cgroup2 ", 8) == 0)
		controller = "";
	else if (strncmp(type + 3, "cgroup ", 7) == 0)
		controller = strstr(type, "hugetlb") != NULL  ? "hugetlb"
			     : strstr(type, "memory") != NULL ? "memory"
							      : NULL;
	if (controller == NULL)
		return 0;
	path = group_path(cgroups, controller);
	if (path == NULL)
		return 0;
	if (strcmp(root, "/") != 0 && strncmp(path, root, strlen(root)) == 0)
		found = check_groups(d, mount, path[strlen(root)] != '\0' ? path + strlen(root) : "/");
	else
		found = check_groups(d, mount, path);
	free(path);
	return found;
}

void check_cgroups(struct doctor *d)
{
	char *cgroup_path = format_text("%s/proc/self/cgroup", d->root), cgroups[8192];
	char *mounts_path = format_text("%s/proc/self/mountinfo", d->root);
	FILE *mounts = fopen(mounts_path, "re");
	char *line = NULL;
	unsigned found = 0;
	size_t size = 0;

	if (mounts == NULL || read_small_file(cgroup_path, cgroups, sizeof(cgroups)) < 0) {
		finding(d, FINDING_NOTE, "control groups cannot be looked at (%s, %s)", cgroup_path, mounts_path);
	} else {
		while (getline(&line, &size, mounts) > 0)
			found += check_mount(d, line, cgroups);
		if (found == 0)
			finding(d, FINDING_OK, "no control group limits memory or huge pages");
	}
	if (mounts != NULL)
		fclose(mounts);
	free(line);
	free(cgroup_path);
	free(mounts_path);
}
