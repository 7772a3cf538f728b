/* SPDX-License-Identifier: MIT */
/* getpid(2), getrusage(2), /proc/self/comm; see process.h. */
#include <sys/resource.h>
#include <sys/syscall.h>

#include "os/file.h"
#include "os/process.h"
#include "os/sys.h"
#include "os/text.h"

int ash_process_id(void)
{
	return (int)ash_sys(__NR_getpid, 0, 0, 0, 0, 0, 0);
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

static int find_seccomp(void *arg, const char *line)
{
	const char *s = ash_after_prefix(line, "Seccomp:");

	if (s != NULL) {
		while (*s == '\t' || *s == ' ')
			s++;
		*(bool *)arg = *s != '0';
	}
	return 0;
}

bool ash_process_filtered(void)
{
	bool filtered = true;

	return ash_file_lines("/proc/thread-self/status", find_seccomp, &filtered) != 0 || filtered;
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
