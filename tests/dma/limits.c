/* SPDX-License-Identifier: MIT */
/*
 * Limits of real cgroups: a group of the test's own, a process in it, and more wanted than it may have. What is refused
 * names the limit; nobody is killed, and what was had can be used. Needs root, and a hierarchy in which groups can be
 * made.
 */
#include "arena/child.h"
#include "dma/witness.h"

#include <stdarg.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

enum { CGROUP2_MAGIC = 0x63677270, PAGES_2M = 8 };
#define LIMIT MIB(64)

static char group[256];
static bool version2;

static bool write_to(const char *text, const char *format, ...)
{
	char path[512];
	va_list args;
	int fd;
	bool ok;

	va_start(args, format);
	vsnprintf(path, sizeof(path), format, args);
	va_end(args);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	if (fd >= 0)
		close(fd);
	return ok;
}

/* The number behind key in a file of the group ("": the first); -1: none. */
static long long read_from(const char *file, const char *key)
{
	char path[512], line[256];
	long long n = -1;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", group, file);
	f = fopen(path, "r");
	while (f != NULL && n < 0 && fgets(line, sizeof(line), f) != NULL) {
		if (strncmp(line, key, strlen(key)) == 0)
			(void)sscanf(line + strlen(key), "%lld", &n);
	}
	if (f != NULL)
		fclose(f);
	return n;
}

/* A group with a limit, one of whose two names there is. NULL, or why not. */
static const char *make_group(const char *controller, const char *file2, const char *file1, size_t limit)
{
	struct statfs fs;
	char number[32], name[64];

	version2 = statfs("/sys/fs/cgroup", &fs) == 0 && fs.f_type == CGROUP2_MAGIC;
	snprintf(name, sizeof(name), "+%s", controller);
	/* Where it is on already, or is not ours to switch on, the files say. */
	if (version2)
		(void)write_to(name, "/sys/fs/cgroup/cgroup.subtree_control");
	snprintf(group, sizeof(group), "/sys/fs/cgroup/%s%sashlar-test-%d", version2 ? "" : controller,
		 version2 ? "" : "/", getpid());
	if (mkdir(group, 0755) != 0) {
		group[0] = '\0';
		return "no cgroup of this controller can be made here";
	}
	snprintf(number, sizeof(number), "%zu", limit);
	return write_to(number, "%s/%s", group, version2 ? file2 : file1) ? NULL : "no such limit here";
}

/* The kernel may take a moment to see that nobody is in it. */
static void end_group(void)
{
	const struct timespec pause = { 0, 10000000 };

	for (unsigned i = 0; i < 6000 && group[0] != '\0' && rmdir(group) != 0; i++) {
		EXPECT_EQ(errno, EBUSY);
		nanosleep(&pause, NULL);
	}
	group[0] = '\0';
}

static void enter(void)
{
	char pid[32];

	snprintf(pid, sizeof(pid), "%d", getpid());
	EXPECT(write_to(pid, "%s/cgroup.procs", group));
}

/* Runs fn, which enters the group; then it is empty again. */
static void in_group(const char *why_not, void (*fn)(void))
{
	int status = why_not == NULL ? child_status(fn) : 0;
	const long long killed =
		why_not == NULL ? read_from(version2 ? "memory.events" : "memory.oom_control", "oom_kill ") : 0;

	end_group();
	if (why_not != NULL)
		SKIP(why_not);
	EXPECT_LE(killed, 0);
	if (status < 0)
		TEST_FAIL("killed by signal %d", -status);
	EXPECT_EQ(status, 0);
}

/* Buffers until there are no more, each written. What was had. */
static size_t take_all(size_t bytes, struct ash_dma_attr attr, struct ash_dma_error *error)
{
	static char *all[256];
	size_t n = 0;

	attr.error = error;
	error->size = sizeof(*error);
	while (n < 256 && (all[n] = ash_dma_alloc(bytes, &attr)) != NULL) {
		memset(all[n], (int)n, bytes);
		n++;
	}
	EXPECT_LT(n, 256);
	EXPECT_EQ(errno, ENOMEM);
	EXPECT_EQ(error->error, ENOMEM);
	for (size_t i = 0; i < n; i++) {
		EXPECT_EQ((unsigned char)all[i][bytes - 1], (unsigned char)i);
		EXPECT_EQ(ash_dma_free(all[i]), 0);
	}
	return n * bytes;
}

static void expect_memory_named(const struct ash_dma_error *error)
{
	char text[512];

	EXPECT_EQ(error->memory_limit, LIMIT);
	EXPECT_LE(error->memory_used, LIMIT);
	EXPECT_GT(ash_dma_explain(error, text, sizeof(text)), 0);
	EXPECT(strstr(text, "memory limit of the cgroup: 64 MiB, used: ") != NULL);
}

static struct ash_dma_attr wanted;

static void take_ordinary_memory(void)
{
	struct ash_dma_error error;
	size_t bytes;

	enter();
	bytes = take_all(MIB(2), wanted, &error);
	printf("# pages %u, flags %u: %zu MiB of %zu\n", wanted.pages, wanted.flags, bytes >> 20, LIMIT >> 20);
	EXPECT_GE(bytes, LIMIT / 4);
	EXPECT_LE(bytes, LIMIT);
	expect_memory_named(&error);
	EXPECT(ash_dma_alloc(2 * LIMIT, &wanted) == NULL);
	EXPECT_EQ(errno, ENOMEM);
}

/* One group each: what a process had is off its account a moment after it has ended. */
TEST(a_groups_memory_limit_is_named_and_nobody_is_killed)
{
	static const uint32_t kinds[] = { ASH_DMA_PAGES_THP, ASH_DMA_PAGES_BASE };

	if (geteuid() != 0)
		SKIP("cgroups are made by root");
	for (unsigned i = 0; i < 2; i++) {
		wanted = wish(ASH_DMA_VIRTUAL);
		wanted.pages = kinds[i];
		in_group(make_group("memory", "memory.max", "memory.limit_in_bytes", LIMIT), take_ordinary_memory);
		wanted.flags = ASH_DMA_SHARED;
		in_group(make_group("memory", "memory.max", "memory.limit_in_bytes", LIMIT), take_ordinary_memory);
	}
}

static void take_pool_pages(void)
{
	struct ash_dma_error error;
	char text[512];

	enter();
	EXPECT_EQ(take_all(MIB(2), wanted, &error), MIB(4));
	EXPECT_EQ(error.cgroup_limit, MIB(4));
	EXPECT_EQ(error.reason, ASH_DMA_NO_MEMORY);
	EXPECT_GT(ash_dma_explain(&error, text, sizeof(text)), 0);
	EXPECT(strstr(text, "hugetlb limit of the cgroup: 4 MiB, used: 4 MiB") != NULL);
	EXPECT(strstr(text, "What helps: a higher limit of huge pages for the cgroup") != NULL);
	/* Who does not insist has ordinary memory beyond the limit. */
	wanted.flags &= ~(uint32_t)ASH_DMA_PAGES_STRICT;
	wanted.level = ASH_DMA_VIRTUAL;
	EXPECT(ash_dma_alloc(MIB(8), &wanted) != NULL);
}

static long pool(const char *file)
{
	char path[128];
	long n = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-2048kB/%s", file);
	f = fopen(path, "r");
	if (f != NULL && fscanf(f, "%ld", &n) != 1)
		n = -1;
	if (f != NULL)
		fclose(f);
	return n;
}

static void hugetlb_limited_by(const char *file2, const char *file1)
{
	if (geteuid() != 0)
		SKIP("cgroups are made by root");
	for (unsigned i = 0; i < 2; i++) {
		const struct timespec pause = { 0, 10000000 };

		/* Another test's pool comes and goes on a machine that has none of its own. */
		if (pool("nr_hugepages") < PAGES_2M || access("/var/lock/ashlar-test-pool", F_OK) == 0)
			SKIP("no pool of 2 MiB pages of its own (the guest has one)");
		/* Those of the process before may come a moment late. */
		while (pool("free_hugepages") != pool("nr_hugepages"))
			nanosleep(&pause, NULL);
		wanted = wish(i == 0 ? ASH_DMA_PHYSICAL : ASH_DMA_VIRTUAL);
		wanted.pages = ASH_DMA_PAGES_2M;
		wanted.flags = ASH_DMA_PAGES_STRICT | (i == 0 ? 0 : ASH_DMA_SHARED);
		in_group(make_group("hugetlb", file2, file1, MIB(4)), take_pool_pages);
	}
}

/* Beyond this limit a page is refused when it is touched: by a signal, were it not asked for first. */
TEST(a_groups_limit_of_huge_pages_is_named_and_nobody_is_killed)
{
	hugetlb_limited_by("hugetlb.2MB.max", "hugetlb.2MB.limit_in_bytes");
}

TEST(a_groups_limit_of_reserved_huge_pages_is_named)
{
	hugetlb_limited_by("hugetlb.2MB.rsvd.max", "hugetlb.2MB.rsvd.limit_in_bytes");
}
