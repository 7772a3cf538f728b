/* SPDX-License-Identifier: MIT */
/* getpid(2), getrusage(2), get_robust_list(2), /proc/self/comm, statm, /proc/thread-self/status; see process.h. */
#include <sys/resource.h>
#include <sys/syscall.h>

#include "os/env.h"
#include "os/file.h"
#include "os/process.h"
#include "os/sys.h"
#include "os/text.h"

int ash_process_id(void)
{
	return (int)ash_sys(__NR_getpid, 0, 0, 0, 0, 0, 0);
}

size_t ash_process_mapped(void)
{
	uint64_t pages;

	return ash_file_num("/proc/self/statm", &pages) == 0 ? (size_t)pages * ash_env_page_size() : 0;
}

bool ash_process_is_registered(void)
{
	void *head = NULL;
	size_t bytes;

	return ash_sys(__NR_get_robust_list, 0, (long)&head, (long)&bytes, 0, 0, 0) == 0 && head != NULL;
}

struct ash_process_name ash_process_name(void)
{
	struct ash_process_name name = { "" };
	char buf[32];
	const long n = ash_file_read("/proc/self/comm", buf, sizeof(buf));

	for (long i = 0; i < n && i < (long)sizeof(name.text) - 1 && buf[i] != '\n'; i++)
		name.text[i] = buf[i];
	return name;
}

struct status_line {
	const char *key;
	char first; /* of the value */
};

static int find_line(void *arg, const char *text)
{
	struct status_line *line = arg;
	const char *s = ash_after_prefix(text, line->key);

	if (s == NULL)
		return 0;
	while (*s == '\t' || *s == ' ')
		s++;
	line->first = *s;
	return 1;
}

/* Whether the calling thread's status can be read and says 0 of it. */
static bool status_is_zero(const char *key)
{
	struct status_line line = { .key = key };

	return ash_file_lines("/proc/thread-self/status", find_line, &line) > 0 && line.first == '0';
}

bool ash_process_filtered(void)
{
	return !status_is_zero("Seccomp:");
}

/* prctl(2) would say it, too, but filters do not know that call. */
bool ash_process_may_have_thp(void)
{
	return !status_is_zero("THP_enabled:");
}

static uint64_t microseconds(const struct timeval *t)
{
	return (uint64_t)t->tv_sec * 1000000 + (uint64_t)t->tv_usec;
}

int ash_process_usage(struct ash_process_usage *out)
{
	struct rusage usage;
	const int err = (int)ash_sys(__NR_getrusage, RUSAGE_SELF, (long)&usage, 0, 0, 0, 0);

	if (err != 0)
		return err;
	out->user_us = microseconds(&usage.ru_utime);
	out->system_us = microseconds(&usage.ru_stime);
	out->minor_faults = (uint64_t)usage.ru_minflt;
	out->major_faults = (uint64_t)usage.ru_majflt;
	out->peak_rss = (uint64_t)usage.ru_maxrss * 1024;
	return 0;
}
