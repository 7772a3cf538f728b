/* SPDX-License-Identifier: MIT */
/*
 * How much of a heap is on huge pages: allocates live= bytes of blocks of size= bytes, writes them all, and asks the
 * kernel what is behind every byte of them and how much memory the process took for them.
 *
 *      coverage size=BYTES [live=BYTES] [start=BYTES] [nothp=1] [raw=1]
 *
 * start= bytes of small blocks are allocated before and stay: a heap may begin on base pages, and what is asked is
 * where a process is past that. They count as memory needed, but not into the share on huge pages.
 *
 * Prints "size live huge-share memory-share"; ends with 0 if at least 95 % of the bytes are on huge pages and no more
 * than 10 % memory beyond the blocks' own was taken, else with 1 and the reason. nothp=1 forbids the process
 * transparent huge pages: the negative test, which must fail whatever the system's default is. raw=1 takes the bytes
 * from the kernel itself, in one mapping for which it is asked for huge pages: how many of them it has to give just
 * now.
 *
 * The kernel is asked by PAGEMAP_SCAN (Linux 6.7), page by page. Where that is missing, by smaps: then a block counts
 * by the share of huge pages in its mapping.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define HUGE_SHARE_MIN 0.95
#define MEMORY_SHARE_MAX 1.10

/* linux/fs.h of 6.7; older headers lack it. */
struct scan_range {
	uint64_t start, end, categories;
};
struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN_IOCTL _IOWR('f', 16, struct scan_arg)
#define SCAN_PAGE_IS_HUGE (1u << 6)

/* An address range and how much of it is on huge pages, 0 to 1. */
struct backed {
	uint64_t start, end;
	double share;
};

#define BACKED_MAX 4096
static struct backed backed[BACKED_MAX];
static size_t nr_backed;

/* Blocks form a list through their first word: a table would be memory of the program's own. */
struct block {
	struct block *next;
};

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	putchar('\n');
	exit(1);
}

static uint64_t argument(int argc, char **argv, const char *key, uint64_t def)
{
	for (int i = 1; i < argc; i++)
		if (strncmp(argv[i], key, strlen(key)) == 0 && argv[i][strlen(key)] == '=')
			return strtoull(argv[i] + strlen(key) + 1, NULL, 0);
	return def;
}

/* Resident plus hugetlb, in bytes, without stdio: reading must not allocate. */
static uint64_t memory(void)
{
	static char text[8192];
	const int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	const ssize_t n = read(fd, text, sizeof(text) - 1);
	const char *rss, *huge;

	close(fd);
	if (n <= 0)
		die("/proc/self/status cannot be read");
	text[n] = '\0';
	rss = strstr(text, "VmRSS:");
	huge = strstr(text, "HugetlbPages:");
	if (rss == NULL || huge == NULL)
		die("/proc/self/status lacks VmRSS or HugetlbPages");
	return (strtoull(rss + 6, NULL, 10) + strtoull(huge + 13, NULL, 10)) << 10;
}

static struct block *allocate(size_t size, size_t bytes)
{
	struct block *first = NULL;

	for (size_t done = 0; done + size <= bytes; done += size) {
		struct block *b = malloc(size);

		if (b == NULL)
			die("malloc(%zu) failed after %zu bytes", size, done);
		memset(b, 0xa5, size);
		b->next = first;
		first = b;
	}
	return first;
}

static struct block *take_from_kernel(size_t bytes)
{
	const size_t huge = 2u << 20;
	char *p = mmap(NULL, bytes + huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct block *b;

	if (p == MAP_FAILED)
		die("the kernel has no %zu bytes", bytes);
	b = (struct block *)(((uintptr_t)p + huge - 1) & ~(huge - 1));
	(void)madvise(b, bytes, MADV_HUGEPAGE);
	memset(b, 0xa5, bytes);
	b->next = NULL;
	return b;
}

static bool scan(uint64_t start, uint64_t end)
{
	static struct scan_range ranges[1024];
	const int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	struct scan_arg arg = { .size = sizeof(arg), .start = start, .end = end, .vec = (uintptr_t)ranges,
				.vec_len = sizeof(ranges) / sizeof(*ranges), .category_mask = SCAN_PAGE_IS_HUGE,
				.return_mask = SCAN_PAGE_IS_HUGE };
	int got;

	if (fd < 0)
		return false;
	while (arg.start < end && (got = ioctl(fd, SCAN_IOCTL, &arg)) >= 0) {
		for (int i = 0; i < got && nr_backed < BACKED_MAX; i++)
			backed[nr_backed++] = (struct backed){ ranges[i].start, ranges[i].end, 1 };
		arg.start = arg.walk_end;
	}
	close(fd);
	return arg.start >= end;
}

static void read_smaps(void)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	unsigned long start, end, kib, rss = 0, huge = 0;
	char line[512];

	if (f == NULL)
		die("neither PAGEMAP_SCAN nor smaps is to be had");
	while (fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2 && nr_backed < BACKED_MAX) {
			backed[nr_backed++] = (struct backed){ start, end, 0 };
			rss = huge = 0;
		} else if (sscanf(line, "Rss: %lu", &kib) == 1) {
			rss = kib;
		} else if (sscanf(line, "AnonHugePages: %lu", &kib) == 1 ||
			   sscanf(line, "Private_Hugetlb: %lu", &kib) == 1 ||
			   sscanf(line, "Shared_Hugetlb: %lu", &kib) == 1) {
			huge += kib;
			rss += strstr(line, "Hugetlb") != NULL ? kib : 0;
			if (nr_backed > 0 && rss > 0)
				backed[nr_backed - 1].share = (double)huge / (double)rss;
		}
	}
	fclose(f);
}

static double huge_bytes(const struct block *first, size_t size)
{
	double sum = 0;

	for (const struct block *b = first; b != NULL; b = b->next) {
		const uint64_t start = (uintptr_t)b, end = start + size;

		for (size_t i = 0; i < nr_backed; i++) {
			const uint64_t from = start > backed[i].start ? start : backed[i].start;
			const uint64_t to = end < backed[i].end ? end : backed[i].end;

			if (from < to)
				sum += (double)(to - from) * backed[i].share;
		}
	}
	return sum;
}

int main(int argc, char **argv)
{
	const size_t live = argument(argc, argv, "live", 32u << 20);
	const bool raw = argument(argc, argv, "raw", 0) != 0;
	const size_t size = raw ? live : argument(argc, argv, "size", 0);
	const size_t begin = argument(argc, argv, "start", 4u << 20);
	uint64_t before, after, low = UINT64_MAX, high = 0, need;
	const struct block *first, *small;
	double huge, share, taken;

	setvbuf(stdout, NULL, _IONBF, 0);
	if (size < sizeof(struct block) || live < size)
		die("usage: coverage size=BYTES [live=BYTES] [start=BYTES] [nothp=1] [raw=1]");
	if (argument(argc, argv, "nothp", 0) != 0 && prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) != 0)
		die("transparent huge pages cannot be forbidden");
	before = memory();
	small = allocate(96, begin);
	first = raw ? take_from_kernel(live) : allocate(size, live);
	after = memory();
	for (const struct block *b = first; b != NULL; b = b->next) {
		low = (uintptr_t)b < low ? (uintptr_t)b : low;
		high = (uintptr_t)b + size > high ? (uintptr_t)b + size : high;
	}
	if (!scan(low & ~(uint64_t)4095, (high + 4095) & ~(uint64_t)4095)) {
		nr_backed = 0;
		read_smaps();
	}
	need = live / size * size + (small != NULL ? begin / 96 * 96 : 0);
	huge = huge_bytes(first, size);
	share = huge / (double)(live / size * size);
	taken = (double)(after - before) / (double)need;
	printf("%zu %zu %.4f %.4f\n", size, live, share, taken);
	if (share < HUGE_SHARE_MIN)
		die("only %.1f %% of the bytes are on huge pages", 100 * share);
	if (taken > MEMORY_SHARE_MAX)
		die("%.1f %% more memory than the blocks need", 100 * (taken - 1));
	return 0;
}
