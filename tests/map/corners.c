/* SPDX-License-Identifier: MIT */
/* The corners of the mapping calls: what nobody would think of twice, and what is wrong. See answers.h. */
#include "map/answers.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>

/* Newer than some kernel headers. */
enum { SYS_MSEAL = 462, SYS_PROCESS_MADVISE = 440, SYS_PIDFD_OPEN = 434, SYS_CLOSE_RANGE = 436 };

static void fixed_over(void)
{
	char *p = map(6 * PB);

	say_map("over the middle", mmap(p + PB + PAGE, 2 * PB, RW, ANON | MAP_FIXED, -1, 0));
	say_sum("all", p, 6 * PB);
	memset(p + PB, 3, PB);
	say_map("not over", mmap(p, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0));
	say_map("a file over it",
		mmap(p + PB, PB, PROT_READ, MAP_PRIVATE | MAP_FIXED, open("/proc/self/exe", O_RDONLY), 0));
	say_sum("the first", p, PB);
	say_sum("the last", p + 3 * PB, 3 * PB);
	say_map("nothing over it", mmap(p, 6 * PB, PROT_NONE, ANON | MAP_FIXED | MAP_NORESERVE, -1, 0));
	say_fault("it", p + PB);
	say_map("over all", mmap(p, 6 * PB, RW, ANON | MAP_FIXED, -1, 0));
	say_sum("all", p, 6 * PB);
	say("munmap", munmap(p, 6 * PB));
	say_fault("it", p + PB);
}

static void remap_mistakes(void)
{
	char *p = map(4 * PB);

	say_map("of nothing", mremap(p, 0, PAGE, MREMAP_MAYMOVE));
	say_map("to nothing", mremap(p, 4 * PB, 0, MREMAP_MAYMOVE));
	say_map("unaligned", mremap(p + 1, PB, 2 * PB, MREMAP_MAYMOVE));
	say_map("fixed alone", mremap(p, PB, PB, MREMAP_FIXED, p + PB));
	say_map("onto itself", mremap(p, 2 * PB, 2 * PB, MREMAP_MAYMOVE | MREMAP_FIXED, p + PB));
	say_map("dontunmap and growing", mremap(p, PB, 2 * PB, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL));
	say_map("a flag that is none", mremap(p, PB, PB, 64));
	say_map("too large", mremap(p, PB, SIZE_MAX / 2, MREMAP_MAYMOVE));
	say_sum("all", p, 4 * PB);
	say("a part", munmap(p + PB, PB));
	say_map("over the hole", mremap(p, 3 * PB, 5 * PB, MREMAP_MAYMOVE));
	say_sum("the first", p, PB);
}

static void remap(void)
{
	char *p = map(4 * PB), *q;

	q = say_map("dontunmap", mremap(p, PB, PB, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL));
	say_sum("there is nothing left", p, PB);
	say_sum("it is there", q, PB);
	say("munmap", munmap(q, PB));
	say_sum("all", p, 4 * PB);
	q = say_map("a part grows", mremap(p, 2 * PB, 3 * PB, MREMAP_MAYMOVE));
	say_sum("it", q, 3 * PB);
	say_fault("where it was", p);
	say_sum("the rest", p + 2 * PB, 2 * PB);
	say_map("it shrinks", mremap(q, 3 * PB, PAGE, 0));
	say_fault("what went", q + PAGE);
	say_map("the rest goes there", mremap(p + 2 * PB, 2 * PB, 2 * PB, MREMAP_MAYMOVE | MREMAP_FIXED, p));
	say_sum("it", p, 2 * PB);
	say("munmap", munmap(q, PAGE));
	say("munmap", munmap(p, 4 * PB));
	say("again", munmap(p, 4 * PB));
}

/* No descriptor is to be had; and none is kept. */
static void without_descriptors(void)
{
	struct rlimit limit;
	rlim_t before;

	(void)getrlimit(RLIMIT_NOFILE, &limit);
	before = limit.rlim_cur;
	limit.rlim_cur = 3;
	say("limit", setrlimit(RLIMIT_NOFILE, &limit));
	for (unsigned i = 0; i < 3; i++)
		say("munmap", munmap(map(4 * PB), 4 * PB));
	limit.rlim_cur = before;
	say("limit", setrlimit(RLIMIT_NOFILE, &limit));
	say("close_range", syscall(SYS_CLOSE_RANGE, 3u, ~0u, 0));
	for (unsigned i = 0; i < 3; i++) {
		say("munmap", munmap(map(4 * PB), 4 * PB));
		say("the lowest", open("/dev/null", O_RDONLY));
	}
}

static void locked(void)
{
	static unsigned char there[4 * 512];
	unsigned nr = 0;
	char *p;

	say("mlockall", mlockall(MCL_FUTURE | MCL_ONFAULT));
	say("munmap", munmap(map(2 * PB), 2 * PB));
	say("munlockall", munlockall());
	p = map(4 * PB);
	say("mlock", mlock(p, PB));
	say("mincore", mincore(p, PB, there));
	for (unsigned i = 0; i < 512; i++)
		nr += there[i] & 1;
	say("in memory", (long)nr);
	say("dontneed", madvise(p, PB, MADV_DONTNEED));
	say("munmap", munmap(p, 4 * PB));
	say("munmap", munmap(map(4 * PB), 4 * PB));
}

static void advices(void)
{
	static const int all[] = { 0, 1, 2, 3, 4, 8, 9, 10, 11, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23,
				   24, 77, 102, 103 };
	char *p = map(4 * PB), what[32];

	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		(void)snprintf(what, sizeof(what), "advice %d", all[i]);
		say(what, madvise(p + 1, PB, all[i]));
		say(what, madvise(p, 0, all[i]));
		say(what, madvise(p, SIZE_MAX, all[i]));
		say(what, madvise((void *)(uintptr_t)0x7fffffff0000000, PB, all[i]));
		/* MADV_FREE: when is the kernel's affair. */
		say(what, all[i] == MADV_FREE ? 0 : madvise(p + PAGE, PB, all[i]));
	}
	say("a page", munmap(p + 2 * PB, PAGE));
	say("over the hole", madvise(p, 4 * PB, MADV_DONTNEED));
	say_sum("all before", p, 2 * PB);
	say_sum("and after", p + 2 * PB + PAGE, 2 * PB - PAGE);
}

static void in_the_child(char *p)
{
	say_sum("wiped", p, 2 * PB);
	say_fault("not there", p + 2 * PB);
	say_sum("as it was", p + 4 * PB, 2 * PB);
	say_map("where it is not", mmap(p + 2 * PB, 2 * PB, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0));
	say_sum("zero", p + 2 * PB, 2 * PB);
	memset(p, 8, 6 * PB);
	say("munmap", munmap(p, 6 * PB));
	say("munmap", munmap(map(6 * PB), 6 * PB));
	(void)fflush(stdout);
	_exit(3);
}

static void forks(void)
{
	char *p = map(6 * PB);
	int status = 0;
	pid_t pid;

	say("wiped in a child", madvise(p, 2 * PB, MADV_WIPEONFORK));
	say("not in a child", madvise(p + 2 * PB, 2 * PB, MADV_DONTFORK));
	(void)fflush(stdout);
	pid = fork();
	if (pid == 0)
		in_the_child(p);
	(void)waitpid(pid, &status, 0);
	say("status", status);
	say_sum("all", p, 6 * PB);
	say("munmap", munmap(p, 6 * PB));
	/* Neither is what comes after. */
	p = map(6 * PB);
	(void)fflush(stdout);
	pid = fork();
	if (pid == 0) {
		say_sum("all in the child", p, 6 * PB);
		(void)fflush(stdout);
		_exit(4);
	}
	(void)waitpid(pid, &status, 0);
	say("status", status);
}

static void sealed(void)
{
	char *p = map(4 * PB);

	if (syscall(SYS_MSEAL, p, 4 * PB, 0) != 0)
		return;
	say("munmap", munmap(p, 4 * PB));
	say("a part", munmap(p + PB, PB));
	say_map("over it", mmap(p, PB, RW, ANON | MAP_FIXED, -1, 0));
	say_map("larger", mremap(p, 4 * PB, 8 * PB, MREMAP_MAYMOVE));
	say("dontneed", madvise(p + PB, PB, MADV_DONTNEED));
	say_sum("all", p, 4 * PB);
}

static void from_outside(void)
{
	char *p = map(4 * PB);
	const int fd = (int)syscall(SYS_PIDFD_OPEN, getpid(), 0);
	struct iovec v = { p, 2 * PB };

	/* 25 gathers pages, which may not be had at the moment. */
	for (unsigned advice = 0; fd >= 0 && advice < 25; advice++)
		say("process_madvise", advice == MADV_FREE ? 0 : syscall(SYS_PROCESS_MADVISE, fd, &v, 1, advice, 0));
	say_sum("all", p, 4 * PB);
	say("munmap", munmap(p, 4 * PB));
}

static void shared(void)
{
	char *p = say_map("shared", mmap(NULL, 4 * PB, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0)), *q;

	memset(p, 4, 4 * PB);
	q = say_map("another of it", mremap(p, 0, 4 * PB, MREMAP_MAYMOVE));
	say_sum("the same", q, 4 * PB);
	q[0] = 1;
	say("seen", p[0]);
	say("munmap", munmap(p, 4 * PB));
	say("munmap", munmap(q, 4 * PB));
}

static void arguments(void)
{
	say_map("grows down", mmap(NULL, 4 * PB, RW, ANON | MAP_GROWSDOWN, -1, 0));
	say_map("a stack", mmap(NULL, 2 * PB, RW, ANON | MAP_STACK, -1, 0));
	say_map("low", mmap(NULL, 2 * PB, RW, ANON | MAP_32BIT, -1, 0));
	say_map("validated", mmap(NULL, PB, RW, MAP_SHARED_VALIDATE | MAP_ANONYMOUS | 1 << 30, -1, 0));
	say_map("of no type", mmap(NULL, PB, RW, MAP_ANONYMOUS, -1, 0));
	say_map("a descriptor", mmap(NULL, PB, RW, ANON, 99, 0));
	say_map("an offset that is none", mmap(NULL, PB, RW, ANON, -1, 4095));
	say_map("an offset", mmap(NULL, 2 * PB, RW, ANON, -1, PAGE));
	say_map("all there is", mmap(NULL, SIZE_MAX, RW, ANON, -1, 0));
	say_map("nearly", mmap(NULL, SIZE_MAX - 4095, RW, ANON, -1, 0));
	say_map("half", mmap(NULL, (size_t)1 << 47, RW, ANON, -1, 0));
	say_map("nothing", mmap(NULL, 0, RW, ANON, -1, 0));
	say_map("named off a boundary", mmap((void *)0x300000001000, 2 * PB, RW, ANON, -1, 0));
	say_fault("there", (void *)0x300000001000);
}

/* What a key forbids is forbidden, and the next mapping is not it. */
static void keys(void)
{
	char *p = map(2 * PB);
	const int key = pkey_alloc(0, 0);

	if (key < 0)
		return;
	say("with a key", pkey_mprotect(p, 2 * PB, RW, key));
	memset(p, 1, 2 * PB);
	say("munmap", munmap(p, 2 * PB));
	say("nothing by it", pkey_set(key, 3));
	say("munmap", munmap(map(8 * PB), 8 * PB));
}

static void cut_to_pieces(void)
{
	char *p = map(16 * PB);
	long cut = 0;

	for (size_t i = 0; i < 16 * PB; i += 2 * PAGE)
		cut += munmap(p + i, PAGE) == 0;
	say("cut", cut);
	for (size_t i = PAGE; i < 16 * PB; i += 2 * PAGE)
		cut -= p[i] == 7;
	say("lost", cut);
	say("munmap", munmap(p, 16 * PB));
	say("munmap", munmap(map(8 * PB), 8 * PB));
}

/* After who may look at itself has changed. */
static void nobody(void)
{
	say("not to be looked at", prctl(PR_SET_DUMPABLE, 0));
	say("without huge pages", prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
	for (unsigned i = 0; i < 3; i++)
		say("munmap", munmap(map(4 * PB), 4 * PB));
}

int main(void)
{
	static void (*const corners[])(void) = { fixed_over, remap_mistakes, remap, without_descriptors, locked,
						 advices, forks, sealed, from_outside, shared, arguments, keys,
						 cut_to_pieces, nobody };

	return run_corners(corners, sizeof(corners) / sizeof(corners[0]));
}
