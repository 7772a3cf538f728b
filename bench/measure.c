/* SPDX-License-Identifier: MIT */
/*
 * Runs one command and says what it cost: wall, user and system time, peak memory and page faults, as one line of JSON
 * in the file given.
 *
 *      measure [--warm MIB] [--hugetlb] [--cpu N] [--pace] [--preload LIB] [--set NAME=VALUE]... --out FILE -- CMD
 *      ARGS...
 *
 * Small and static on purpose: the kernel counts what a process had resident before exec into its peak, so a fat
 * launcher would hide the memory of a thin program. The environment of the child is set here for the same reason that
 * the preload is not set for the launcher.
 *
 * --warm touches and gives back so many MiB just before. A virtual machine with free page reporting has lost the
 * memory that has been free for a moment to its host, and whoever touches it first pays many times the usual price;
 * without this, the first allocator to run pays for all.
 *
 * --cpu keeps the command on one processor. --pace tells how fast the processors were right before and right after: the
 * microseconds of a loop that always does the same, on the slowest of those the command may use. A virtual processor is
 * a thread of a core whose other thread is a neighbour's, who halves what this one gets done for seconds at a time;
 * neither steal time nor processor time shows it. The loop fills all of the core's execution units, for one that waits
 * for its own results would hardly feel the neighbour.
 *
 * The peak is ru_maxrss (of the process or its largest waited-for child), which does not know hugetlb pages. With
 * --hugetlb the main process's own are sampled from /proc every two milliseconds and reported beside it.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SETS_MAX 32
#define PACE_ROUNDS 2000000

struct options {
	size_t warm_mib;
	int hugetlb, cpu, pace;
	const char *out, *preload;
	char *set[SETS_MAX];
	unsigned nr_sets;
	char **command;
};

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void parse(int argc, char **argv, struct options *o)
{
	int i = 1;

	for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "--hugetlb") == 0)
			o->hugetlb = 1;
		else if (strcmp(argv[i], "--pace") == 0)
			o->pace = 1;
		else if (i + 1 == argc)
			break;
		else if (strcmp(argv[i], "--warm") == 0)
			o->warm_mib = strtoull(argv[++i], NULL, 0);
		else if (strcmp(argv[i], "--cpu") == 0)
			o->cpu = atoi(argv[++i]);
		else if (strcmp(argv[i], "--out") == 0)
			o->out = argv[++i];
		else if (strcmp(argv[i], "--preload") == 0)
			o->preload = argv[++i];
		else if (strcmp(argv[i], "--set") == 0 && o->nr_sets < SETS_MAX)
			o->set[o->nr_sets++] = argv[++i];
		else
			break;
	}
	if (i + 1 >= argc || strcmp(argv[i], "--") != 0 || o->out == NULL) {
		fputs("usage: measure [--warm MIB] [--hugetlb] [--cpu N] [--pace] [--preload LIB] "
		      "[--set NAME=VALUE]... --out FILE -- CMD...\n", stderr);
		exit(2);
	}
	o->command = argv + i + 1;
}

static void keep_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((unsigned)cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) != 0) {
		perror("measure: --cpu");
		exit(2);
	}
}

static uint64_t loop(void)
{
	const uint64_t begin = now();
	uint64_t a = 1, b = 2, c = 3, d = 4, e = 5, f = 6;

	for (uint64_t i = 0; i < PACE_ROUNDS; i++) {
		a += i;
		b ^= a;
		c += i;
		d ^= c;
		e += i;
		f ^= e;
		__asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f));
	}
	return now() - begin;
}

static double pace(void)
{
	cpu_set_t allowed;
	uint64_t slowest = 0;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
		return 0;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET((unsigned)cpu, &allowed))
			continue;
		keep_on(cpu);
		const uint64_t ns = loop();

		slowest = ns > slowest ? ns : slowest;
	}
	sched_setaffinity(0, sizeof(allowed), &allowed);
	return (double)slowest * 1e-3;
}

static void warm(size_t mib)
{
	const size_t bytes = mib << 20;
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return;
	madvise(p, bytes, MADV_HUGEPAGE);
	for (size_t i = 0; i < bytes; i += 4096)
		((volatile char *)p)[i] = 1;
	munmap(p, bytes);
}

/* The KiB of hugetlb pages pid has now; 0 when it is gone. */
static unsigned long hugetlb_kib(pid_t pid)
{
	char path[64], text[8192];
	const char *line;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	line = strstr(text, "HugetlbPages:");
	return line != NULL ? strtoul(line + strlen("HugetlbPages:"), NULL, 10) : 0;
}

static pid_t start(const struct options *o)
{
	const pid_t pid = fork();

	if (pid != 0)
		return pid;
	for (unsigned i = 0; i < o->nr_sets; i++)
		putenv(o->set[i]);
	if (o->preload != NULL)
		setenv("LD_PRELOAD", o->preload, 1);
	execvp(o->command[0], o->command);
	perror(o->command[0]);
	_exit(127);
}

int main(int argc, char **argv)
{
	struct options o = { .cpu = -1 };
	struct rusage ru;
	unsigned long huge = 0;
	double before = 0, after = 0;
	uint64_t begin, end;
	int status;
	pid_t pid;
	FILE *f;

	parse(argc, argv, &o);
	if (o.cpu >= 0)
		keep_on(o.cpu);
	if (o.warm_mib > 0)
		warm(o.warm_mib);
	if (o.pace)
		before = pace();
	begin = now();
	pid = start(&o);
	if (pid < 0) {
		perror("fork");
		return 2;
	}
	while (o.hugetlb) {
		const unsigned long kib = hugetlb_kib(pid);
		siginfo_t info = { 0 };

		huge = kib > huge ? kib : huge;
		if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == pid)
			break;
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	}
	if (wait4(pid, &status, 0, &ru) != pid) {
		perror("wait4");
		return 2;
	}
	end = now();
	if (o.pace)
		after = pace();
	f = fopen(o.out, "w");
	if (f == NULL) {
		perror(o.out);
		return 2;
	}
	fprintf(f,
		"{\"wall\": %.6f, \"user\": %ld.%06ld, \"sys\": %ld.%06ld, \"rss_kib\": %ld, \"hugetlb_kib\": %lu, "
		"\"minflt\": %ld, \"majflt\": %ld, \"pace_us\": %.0f, \"status\": %d}\n",
		(double)(end - begin) * 1e-9, (long)ru.ru_utime.tv_sec, (long)ru.ru_utime.tv_usec,
		(long)ru.ru_stime.tv_sec, (long)ru.ru_stime.tv_usec, ru.ru_maxrss, huge, ru.ru_minflt, ru.ru_majflt,
		before > after ? before : after,
		WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	return fclose(f) == 0 ? 0 : 2;
}
