/* SPDX-License-Identifier: MIT */
/*
 * Who means no good, or has been given little: calls over what is half served and half not, limits, filters of system
 * calls, children of every kind while threads map. See answers.h.
 */
#include "map/answers.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>

enum { SYS_PROCESS_MADVISE = 440, SYS_PIDFD_OPEN = 434 };

/* A served half before one that is only read, which is no request that is served, and a hole behind that. */
static char *map_half(void)
{
	char *p = mmap(NULL, 8 * PB, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		exit(2);
	p = (char *)(((uintptr_t)p + PB - 1) & ~(uintptr_t)(PB - 1));
	(void)munmap(p, 6 * PB);
	say("first half", mmap(p, 2 * PB, RW, ANON, -1, 0) == p);
	say("second half", mmap(p + 2 * PB, 2 * PB, PROT_READ, ANON | MAP_FIXED, -1, 0) == p + 2 * PB);
	memset(p, 9, 2 * PB);
	return p;
}

static void half(void)
{
	static const int advices[] = { 0, 3, 4, 8, 10, 11, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23 };
	static unsigned char there[6 * 512];
	const int fd = (int)syscall(SYS_PIDFD_OPEN, getpid(), 0);
	char *p = map_half(), what[40];

	for (unsigned i = 0; i < sizeof(advices) / sizeof(advices[0]); i++) {
		struct iovec v[2] = { { p + PB, 2 * PB }, { p, PB } };

		(void)snprintf(what, sizeof(what), "advice %d", advices[i]);
		say(what, advices[i] == MADV_FREE ? 0 : madvise(p + PB, 2 * PB, advices[i]));
		say(what, advices[i] == MADV_FREE ? 0 : madvise(p + 3 * PB, 2 * PB, advices[i]));
		say(what,
		    fd < 0 || advices[i] == MADV_FREE ? 0 : syscall(SYS_PROCESS_MADVISE, fd, v, 2, advices[i], 0));
	}
	say_sum("first", p, 2 * PB);
	say("mlock", mlock(p + PB, 2 * PB));
	say("munlock", munlock(p + PB, 4 * PB));
	say("msync", msync(p + PB, 2 * PB, MS_SYNC));
	say("over the hole", msync(p + PB, 4 * PB, MS_ASYNC));
	say("mincore", mincore(p + PB, 2 * PB, there));
	say("over the hole", mincore(p + PB, 4 * PB, there));
	say_map("of two", mremap(p + 3 * PB, 3 * PB, 4 * PB, MREMAP_MAYMOVE));
	say("mprotect", mprotect(p + PB, 2 * PB, PROT_READ));
	say("over the hole", mprotect(p + 3 * PB, 2 * PB, RW));
	say("munmap of all and the hole", munmap(p, 6 * PB));
	say_fault("it", p);
}

static void sizes(void)
{
	char *p = map(4 * PB);

	say("of nothing", munmap(p, 0));
	say("unaligned", munmap(p + 1, PB));
	say("past the end", munmap(p, SIZE_MAX - PAGE));
	say("wrapping", munmap(p, SIZE_MAX));
	say("half a page", munmap(p + 4 * PB - PAGE, 1));
	say_fault("its page", p + 4 * PB - 1);
	say("above all", munmap((void *)(uintptr_t)0x7ffffffffffff000, PB));
	say("of the kernel", munmap((void *)(uintptr_t)0xffffffff80000000, PB));
	say_map("there", mmap((void *)(uintptr_t)0xffffffff80000000, 2 * PB, RW, ANON | MAP_FIXED, -1, 0));
	say_map("near there", mmap((void *)(uintptr_t)0xffffffff80000000, 2 * PB, RW, ANON, -1, 0));
	say_map("at the end", mmap((void *)(uintptr_t)0x7fffffe00000, 4 * PB, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0));
	say_map("fixed, unaligned", mmap(p + 1, 2 * PB, RW, ANON | MAP_FIXED, -1, 0));
	say_map("a byte less than a pageblock", mmap(NULL, PB - 1, RW, ANON, -1, 0));
	say_map("a byte more", mmap(NULL, PB + 1, RW, ANON, -1, 0));
	say_map("rights that are none", mmap(NULL, 2 * PB, RW | 0x100, ANON, -1, 0));
	say("rights that are none", mprotect(p, PB, 0x100));
	say("down", mprotect(p, PB, PROT_READ | PROT_GROWSDOWN));
	say("up", mprotect(p, PB, PROT_READ | PROT_GROWSUP));
	say("wrapping", mprotect(p, SIZE_MAX - PAGE, RW));
	say_map("grows down onto it", mmap(p + PB, PB, RW, ANON | MAP_GROWSDOWN | MAP_FIXED, -1, 0));
	say_map("hugetlb of a size that is none", mmap(NULL, 2 * PB, RW, ANON | MAP_HUGETLB | 63 << 26, -1, 0));
	say_map("over the stack",
		mmap((void *)((uintptr_t)&p & ~(PB - 1)), 2 * PB, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0));
	say_map("over the program",
		mmap((void *)((uintptr_t)&sizes & ~(uintptr_t)(PAGE - 1)), 2 * PB, RW,
		     ANON | MAP_FIXED_NOREPLACE, -1, 0));
	say_sum("all", p, 4 * PB - PAGE);
}

static void set_limit(int which, rlim_t bytes)
{
	struct rlimit limit;

	(void)getrlimit(which, &limit);
	limit.rlim_cur = bytes;
	say("limit", setrlimit(which, &limit));
}

/* Of the process as it is: how much it has mapped without asking differs. */
static rlim_t mapped(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (f == NULL || fscanf(f, "%lu", &pages) != 1)
		exit(2);
	(void)fclose(f);
	return (rlim_t)pages * PAGE;
}

static void limits(void)
{
	char *p = map(4 * PB);

	set_limit(RLIMIT_AS, mapped() + 8 * PB);
	say_map("twice of it", mmap(NULL, 16 * PB, RW, ANON, -1, 0));
	say_map("half of it", mmap(NULL, 4 * PB, RW, ANON, -1, 0));
	say_map("and more", mmap(NULL, 6 * PB, RW, ANON, -1, 0));
	say_map("larger", mremap(p, 4 * PB, 12 * PB, MREMAP_MAYMOVE));
	say_map("once more", mremap(p, 2 * PB, 2 * PB, MREMAP_MAYMOVE | MREMAP_DONTUNMAP));
	say_sum("all", p, 4 * PB);
	set_limit(RLIMIT_AS, RLIM_INFINITY);
	set_limit(RLIMIT_STACK, 1 << 20);
	set_limit(RLIMIT_FSIZE, 0);
	set_limit(RLIMIT_CORE, 0);
	for (unsigned i = 0; i < 3; i++)
		say("munmap", munmap(map(8 * PB), 8 * PB));
	say("munmap", munmap(p, 4 * PB));
}

static void filter(unsigned nr, uint32_t answer)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, answer),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	say("filter", prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0));
}

static void use(void)
{
	for (unsigned i = 0; i < 3; i++) {
		char *p = map(8 * PB);

		say("a part", munmap(p + PB + PAGE, PB));
		say_sum("before", p, PB + PAGE);
		say_sum("behind", p + 2 * PB + PAGE, 6 * PB - PAGE);
		say("munmap", munmap(p, 8 * PB));
	}
}

/* What was possible when mappings were made is not when they go. */
static void filtered(void)
{
	char *p = map(8 * PB);

	filter(SYS_userfaultfd, SECCOMP_RET_ERRNO | EPERM);
	say("munmap", munmap(p, 8 * PB));
	use();
	p = map(8 * PB);
	filter(SYS_madvise, SECCOMP_RET_ERRNO | EPERM);
	use();
	filter(SYS_prctl, SECCOMP_RET_ERRNO | ENOSYS);
	say("munmap", munmap(p, 8 * PB));
	use();
}

/* Of what moving pages takes, all but the descriptor is refused. */
static void half_filtered(void)
{
	char *p = map(8 * PB);

	filter(SYS_ioctl, SECCOMP_RET_ERRNO | EPERM);
	say("munmap", munmap(p, 8 * PB));
	use();
}

static void without_munmap(void)
{
	char *p = map(8 * PB);

	filter(SYS_munmap, SECCOMP_RET_ERRNO | EPERM);
	say("munmap", munmap(p, 8 * PB));
	say_sum("all", p, 8 * PB);
	say_map("another", mmap(NULL, 4 * PB + PAGE, RW, ANON, -1, 0));
	say_sum("all", p, 8 * PB);
}

static long most_mappings(void)
{
	long most = 0;
	FILE *f = fopen("/proc/sys/vm/max_map_count", "r");

	if (f == NULL || fscanf(f, "%ld", &most) != 1)
		most = 0;
	if (f != NULL)
		(void)fclose(f);
	return most;
}

/* As many mappings as there may be: what would cut one in two is refused, and leaves it as it is. */
static void crowded(void)
{
	const long most = most_mappings();
	const size_t bytes = (size_t)most * 2 * PAGE;
	char *p = map(4 * PB), *crowd;

	if (most == 0 || most > 100000)
		return;
	crowd = say_map("crowd", mmap(NULL, bytes, PROT_NONE, ANON | MAP_NORESERVE, -1, 0));
	for (long i = 1; i < most && mprotect(crowd + (size_t)(2 * i) * PAGE, PAGE, PROT_READ) == 0;)
		i++;
	say("the middle", munmap(p + PB, PB));
	say("not all of a pageblock", munmap(p + PB + PAGE, 2 * PB));
	say_sum("all", p, 4 * PB);
	say_map("over it", mmap(p + PB, PB, PROT_READ, ANON | MAP_FIXED, -1, 0));
	say_sum("all", p, 4 * PB);
	say("the end", munmap(p + 3 * PB, PB));
	say_sum("the rest", p, 3 * PB);
	say("the crowd", munmap(crowd, bytes));
	say("the rest", munmap(p, 3 * PB));
	say("munmap", munmap(map(4 * PB), 4 * PB));
}

static atomic_bool done;

static void *map_meanwhile(void *arg)
{
	while (!atomic_load(&done)) {
		char *p = mmap(NULL, 4 * PB, RW, ANON, -1, 0);

		if (p == MAP_FAILED)
			continue;
		for (size_t i = 0; i < 4 * PB; i += PAGE) {
			if (p[i] != 0)
				abort();
			p[i] = 1;
		}
		(void)munmap(p, 4 * PB);
	}
	return arg;
}

static int child_that_maps(void *arg)
{
	char *const p = arg, *q = mmap(NULL, 2 * PB, RW, ANON, -1, 0);

	if (q == MAP_FAILED || p[PB] != 7 || q[PB] != 0)
		return 1;
	q[PB] = 3;
	return munmap(q, 2 * PB) == 0 && munmap(p, 4 * PB) == 0 ? 5 : 2;
}

static int wait_for(pid_t pid)
{
	int status = -1;

	return pid > 0 && waitpid(pid, &status, __WALL) == pid ? status : -1;
}

/* By fork, by a system call of its own, and by clone without fork's handlers. */
static void children(void)
{
	static char stack[64 << 10] __attribute__((aligned(16)));
	char *p = map(4 * PB);
	pthread_t threads[2];
	int wrong = 0;

	for (unsigned i = 0; i < 2; i++)
		say("thread", pthread_create(&threads[i], NULL, map_meanwhile, NULL));
	for (unsigned i = 0; i < 20; i++) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(child_that_maps(p));
		wrong += wait_for(pid) != 5 << 8;
		pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0ul);
		if (pid == 0)
			_exit(p[PB] == 7 && p[3 * PB] == 7 ? 5 : 1);
		wrong += wait_for(pid) != 5 << 8;
	}
	atomic_store(&done, true);
	for (unsigned i = 0; i < 2; i++)
		say("ended", pthread_join(threads[i], NULL));
	say("wrong", wrong);
	/* In the same memory, the caller waiting: what it unmaps is unmapped here. */
	say("in the same memory",
	    wait_for(clone(child_that_maps, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, p)));
	say_fault("it", p);
	say("munmap", munmap(map(4 * PB), 4 * PB));
}

int main(void)
{
	static void (*const corners[])(void) = { half, sizes, limits, filtered, half_filtered, without_munmap, crowded,
						 children };

	return run_corners(corners, sizeof(corners) / sizeof(corners[0]));
}
