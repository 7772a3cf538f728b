/* SPDX-License-Identifier: MIT */
/* A program that is linked with the library: the reserves it finds, and the figures it reads. usage: user [buffer BYTES] */
#include <ashlar/ashlar.h>
#include <ashlar/dma.h>

#include <stdio.h>
#include <stdlib.h>

static int on_reserve(const struct ash_dma_reserve_info *info, void *arg)
{
	(void)arg;
	printf("reserve %s %zu %zu node %d\n", info->name, info->bytes, info->free, info->node);
	return 0;
}

int main(int argc, char **argv)
{
	struct ash_dma_stats s = { .size = sizeof(s) };
	void *p = NULL;

	free(malloc(100000));
	ash_free(ash_malloc(100));
	if (argc == 3)
		p = ash_dma_alloc((size_t)atol(argv[2]), NULL);
	(void)ash_dma_walk_reserves(on_reserve, NULL);
	if (ash_dma_stats_read(&s) != 0)
		return 1;
	printf("stats %llu %llu %llu %llu\n", (unsigned long long)s.memory_bytes, (unsigned long long)s.free_bytes,
	       (unsigned long long)s.reserved_bytes, (unsigned long long)s.grows);
	return argc == 3 && p == NULL;
}
