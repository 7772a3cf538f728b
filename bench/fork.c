/* SPDX-License-Identifier: MIT */
/*
 * fork of a large heap, and what it costs afterwards: the child writes to some of what it inherited and ends, then the
 * parent does. The heap is built before the clock starts.
 *
 * mib= of heap, in blocks of the usual small sizes and, half of the bytes, of block= each; forks=; touch= pages that
 * each side writes.
 */
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

struct block {
	char *p;
	size_t size;
};

static struct block *blocks;
static size_t nr_blocks;

static void build(size_t bytes, size_t large)
{
	const size_t room = bytes / 64;
	uint64_t state = 1;
	size_t have = 0;

	blocks = calloc(room, sizeof(*blocks));
	if (blocks == NULL)
		bench_die("no memory for the table");
	for (size_t larges = 0; have < bytes && nr_blocks < room; nr_blocks++) {
		const size_t size = larges * 2 < have ? large : bench_size(&state);

		larges += size == large ? size : 0;
		blocks[nr_blocks] = (struct block){ bench_malloc(size), size };
		have += size;
	}
}

/* A word in the middle of this many blocks, all over the heap; the marks stay. */
static void touch(unsigned pages, uint64_t seed)
{
	for (unsigned i = 0; i < pages; i++) {
		const struct block *b = &blocks[bench_random(&seed) % nr_blocks];

		if (b->size >= 64)
			b->p[b->size / 2]++;
		bench_check(b->p, b->size);
	}
}

int main(int argc, char **argv)
{
	const size_t bytes = (size_t)bench_arg(argc, argv, "mib", 2048) << 20;
	const size_t large = (size_t)bench_arg(argc, argv, "block", 262144);
	const unsigned forks = (unsigned)bench_arg(argc, argv, "forks", 20);
	const unsigned pages = (unsigned)bench_arg(argc, argv, "touch", 200);
	uint64_t start;

	build(bytes, large);
	start = bench_now();
	for (unsigned i = 0; i < forks; i++) {
		const pid_t child = fork();
		int status;

		if (child < 0)
			bench_die("no fork");
		if (child == 0) {
			touch(pages, i + 1);
			bench_free(bench_malloc(100), 100);
			_exit(0);
		}
		if (waitpid(child, &status, 0) != child || status != 0)
			bench_die("the child ended with %#x", (unsigned)status);
		touch(pages, i + 1);
	}
	bench_report("fork", forks, start);
	return 0;
}
