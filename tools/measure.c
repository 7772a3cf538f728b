/* SPDX-License-Identifier: MIT */
/* Run a command once and watch its process tree; measure.h says what is counted and how. */
#include "measure.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ashlar.h"

/*
 * A look costs some 20 us for each process and each thread, on another CPU than the command's where there is one. Short
 * runs are looked at more often; trees that take long to look at, less, so that looking stays below one part in
 * LOOK_SHARE of the time.
 */
#define TICK_MS 10
#define SHORT_TICK_MS 2
#define SHORT_TICKS 50
#define LOOK_SHARE 50

#define TREE_DEPTH 64

static double now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t status_kib(const char *status, const char *field)
{
	const char *at = strstr(status, field);

	return at != NULL ? strtoull(at + strlen(field), NULL, 10) : 0;
}

static uint64_t process_bytes(int pid)
{
	char path[64], status[4096];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (read_small_file(path, status, sizeof(status)) < 0)
		return 0;
	return (status_kib(status, "\nVmRSS:") + status_kib(status, "\nHugetlbPages:")) * 1024;
}

static uint64_t tree_bytes(int pid, unsigned depth);

/* The children of one thread of a process. */
static uint64_t children_bytes(int pid, const char *tid, unsigned depth)
{
	char path[300], list[8192];
	uint64_t bytes = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%s/children", pid, tid);
	if (read_small_file(path, list, sizeof(list)) <= 0)
		return 0;
	for (char *save, *word = strtok_r(list, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save))
		bytes += tree_bytes(atoi(word), depth + 1);
	return bytes;
}

static uint64_t tree_bytes(int pid, unsigned depth)
{
	uint64_t bytes = process_bytes(pid);
	const struct dirent *entry;
	char path[64];
	DIR *tasks;

	if (depth >= TREE_DEPTH)
		return bytes;
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	tasks = opendir(path);
	if (tasks == NULL)
		return bytes;
	while ((entry = readdir(tasks)) != NULL) {
		if (entry->d_name[0] != '.')
			bytes += children_bytes(pid, entry->d_name, depth);
	}
	closedir(tasks);
	return bytes;
}

/* In the child: nothing here returns on success. The pipe tells the parent why not. */
static void become(const struct target *target, char **argv, const char *preload, const char *conf, bool show,
		   int errors, int failure)
{
	const int null = open("/dev/null", O_RDWR);

	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || (!show && dup2(null, STDOUT_FILENO) < 0) ||
	    dup2(errors, STDERR_FILENO) < 0)
		goto failed;
	if (preload != NULL ? setenv("LD_PRELOAD", preload, 1) : unsetenv("LD_PRELOAD"))
		goto failed;
	if (conf != NULL && setenv("ASHLAR_CONF", conf, 1) != 0)
		goto failed;
	target_exec(target, argv);
failed:
	(void)!write(failure, &errno, sizeof(errno));
	_exit(STATUS_CANNOT_RUN);
}

/* Until the process ends: the largest sum seen. */
static uint64_t watch(int pid)
{
	const int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	double look_ms = 0;
	uint64_t peak = 0;

	for (unsigned tick = 0;; tick++) {
		const int least_ms = tick < SHORT_TICKS ? SHORT_TICK_MS : TICK_MS;
		const int wait_ms = look_ms * LOOK_SHARE > least_ms ? (int)(look_ms * LOOK_SHARE) : least_ms;
		struct pollfd end = { .fd = pidfd, .events = POLLIN };
		siginfo_t info = { 0 };
		uint64_t bytes;
		double start;

		/* A kernel before 5.3 has no pidfd: then the end is noticed at the next tick. */
		if (poll(&end, pidfd >= 0, wait_ms) > 0)
			break;
		if (pidfd < 0 && waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0)
			break;
		/* What looking takes, without what it had to wait for: on a busy machine the next look would come too
		 * late. */
		start = now(CLOCK_THREAD_CPUTIME_ID);
		bytes = tree_bytes(pid, 0);
		look_ms = (now(CLOCK_THREAD_CPUTIME_ID) - start) * 1000;
		if (bytes > peak)
			peak = bytes;
	}
	if (pidfd >= 0)
		close(pidfd);
	return peak;
}

static double seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

/* The end of what was written to errors, and what ld.so says when it goes on without a preloaded object. */
static void read_errors(int errors, struct run_cost *cost)
{
	const off_t size = lseek(errors, 0, SEEK_END);
	const off_t from = size > (off_t)sizeof(cost->errors) - 1 ? size - (off_t)sizeof(cost->errors) + 1 : 0;
	char head[1024];
	ssize_t n = pread(errors, head, sizeof(head) - 1, 0);

	head[n > 0 ? n : 0] = '\0';
	cost->preload_refused = strstr(head, "from LD_PRELOAD cannot be preloaded") != NULL;
	n = pread(errors, cost->errors, sizeof(cost->errors) - 1, from);
	cost->errors[n > 0 ? n : 0] = '\0';
}

static bool run_and_watch(pid_t pid, int failure, double start, struct run_cost *cost, char **why)
{
	struct rusage usage;
	uint64_t peak;
	int err;

	/* Read to the end: closed by a successful exec, or the child's errno. */
	if (read(failure, &err, sizeof(err)) == (ssize_t)sizeof(err)) {
		waitpid(pid, NULL, 0);
		*why = format_text("%s", strerror(err));
		return false;
	}
	peak = watch(pid);
	if (wait4(pid, &cost->status, 0, &usage) != pid) {
		*why = format_text("wait4: %s", strerror(errno));
		return false;
	}
	cost->metric[METRIC_WALL] = now(CLOCK_MONOTONIC) - start;
	cost->metric[METRIC_USER] = seconds(usage.ru_utime);
	cost->metric[METRIC_SYSTEM] = seconds(usage.ru_stime);
	cost->metric[METRIC_FAULTS] = (double)(usage.ru_minflt + usage.ru_majflt);
	if ((uint64_t)usage.ru_maxrss * 1024 > peak)
		peak = (uint64_t)usage.ru_maxrss * 1024;
	cost->metric[METRIC_PEAK] = (double)peak;
	return true;
}

bool measure_run(const struct target *target, char **argv, const char *preload, const char *conf, bool show,
		 struct run_cost *cost, char **why)
{
	const int errors = (int)syscall(SYS_memfd_create, "stderr", 1 /* MFD_CLOEXEC */);
	int failure[2];
	double start;
	bool ok;
	pid_t pid;

	memset(cost, 0, sizeof(*cost));
	if (errors < 0 || pipe2(failure, O_CLOEXEC) != 0) {
		*why = format_text("%s", strerror(errno));
		if (errors >= 0)
			close(errors);
		return false;
	}
	fflush(NULL);
	start = now(CLOCK_MONOTONIC);
	pid = fork();
	if (pid == 0)
		become(target, argv, preload, conf, show, errors, failure[1]);
	close(failure[1]);
	if (pid < 0) {
		*why = format_text("fork: %s", strerror(errno));
		ok = false;
	} else {
		ok = run_and_watch(pid, failure[0], start, cost, why);
		read_errors(errors, cost);
	}
	close(failure[0]);
	close(errors);
	return ok;
}
