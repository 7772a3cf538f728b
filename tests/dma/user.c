/* SPDX-License-Identifier: MIT */
/* A program that is linked with the library: the reserves it finds, and the figures it reads. usage: user [buffer
 * BYTES | hold] */
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

static void print_figures(void)
{
	struct ash_dma_stats s = { .size = sizeof(s) };

	if (ash_dma_stats_read(&s) != 0)
		exit(1);
	printf("{\"free\":%llu,\"pinned\":%llu,\"buffers\":[%llu,%llu,%llu],\"bytes\":[%llu,%llu,%llu],\"pools\":%llu,"
	       "\"pool\":%llu,\"objects\":%llu,\"object\":%llu,\"reserved\":%llu,\"reserved_free\":%llu,"
	       "\"registered\":%llu,\"refused\":%llu,\"bad\":%llu}\n",
	       (unsigned long long)s.free_bytes, (unsigned long long)s.pinned_bytes, (unsigned long long)s.buffers[0],
	       (unsigned long long)s.buffers[1], (unsigned long long)s.buffers[2],
	       (unsigned long long)s.buffer_bytes[0], (unsigned long long)s.buffer_bytes[1],
	       (unsigned long long)s.buffer_bytes[2], (unsigned long long)s.pools, (unsigned long long)s.pool_bytes,
	       (unsigned long long)s.objects, (unsigned long long)s.object_bytes, (unsigned long long)s.reserved_bytes,
	       (unsigned long long)s.reserved_free_bytes, (unsigned long long)s.registered_bytes,
	       (unsigned long long)s.failures, (unsigned long long)s.refused[ASH_DMA_BAD_REQUEST]);
	fflush(stdout);
	(void)getchar();
}

static int drop_nothing(void *p, size_t bytes, void *arg)
{
	(void)p;
	(void)bytes;
	(void)arg;
	return 1;
}

/* One of everything, until told to go on; then nothing any more. */
static int hold(void)
{
	static char page[3 * 4096];
	char *const whole = page + 4096 - (size_t)page % 4096;
	const struct ash_dma_object_ops ops = { NULL, drop_nothing };
	struct ash_dma_attr shared = ASH_DMA_ATTR_INIT;
	struct ash_dma_pool *pool = ash_dma_pool_create("held", 256, 100, 0, NULL);
	void *const frame = ash_dma_alloc(4096, NULL), *const many = ash_dma_alloc(5 << 20, NULL);
	void *const object = ash_dma_alloc_object(8192, &ops, NULL, ASH_NODE_LOCAL, 0);
	void *file;

	shared.flags = ASH_DMA_SHARED;
	file = ash_dma_alloc(2 << 20, &shared);
	shared.level = ASH_DMA_PHYSICAL;
	if (ash_dma_alloc(0, NULL) != NULL || ash_dma_alloc(4096, &shared) != NULL)
		return 1;
	if (pool == NULL || frame == NULL || many == NULL || object == NULL || file == NULL ||
	    ash_dma_register(whole, 4096) < 0)
		return 1;
	print_figures();
	if ((ash_dma_free(frame) | ash_dma_free(many) | ash_dma_free(object) | ash_dma_free(file) |
	     ash_dma_pool_destroy(pool) | ash_dma_unregister(whole, 0)) != 0)
		return 1;
	(void)ash_dma_trim();
	print_figures();
	return 0;
}

int main(int argc, char **argv)
{
	struct ash_dma_stats s = { .size = sizeof(s) };
	void *p = NULL;

	if (argc == 2)
		return hold();
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
