/* SPDX-License-Identifier: MIT */
/*
 * numa_maps has a line for each mapping: "7f0000000000 bind=static:1 anon=12 dirty=12 N0=4 N1=8 kernelpagesize_kB=4".
 * Counts are pages of the size at its end, huge ones included.
 */
#include "stat_nodes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

static void add_line(struct node_bytes *out, char *rest)
{
	const char *size = strstr(rest, "kernelpagesize_kB=");
	const uint64_t bytes =
		size != NULL ? strtoull(size + strlen("kernelpagesize_kB="), NULL, 10) << 10 : ASH_PAGE_SIZE;
	char *at, *word = strtok_r(rest, " \n", &at);

	if (word != NULL)
		snprintf(out->policy, sizeof(out->policy), "%s", word);
	while ((word = strtok_r(NULL, " \n", &at)) != NULL) {
		unsigned node;
		uint64_t pages;

		if (sscanf(word, "N%u=%" SCNu64, &node, &pages) == 2 && node < ASH_NODES_MAX)
			out->on[node] += pages * bytes;
	}
}

bool node_bytes_read(pid_t pid, uint64_t start, uint64_t end, struct node_bytes *out)
{
	char path[64], *line = NULL;
	size_t size = 0;
	FILE *f;

	memset(out, 0, sizeof(*out));
	snprintf(path, sizeof(path), "/proc/%d/numa_maps", (int)pid);
	f = fopen(path, "re");
	if (f == NULL)
		return false;
	while (getline(&line, &size, f) > 0) {
		char *rest;
		const uint64_t address = strtoull(line, &rest, 16);

		if (address >= start && address < end)
			add_line(out, rest);
	}
	free(line);
	fclose(f);
	return true;
}
