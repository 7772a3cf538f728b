/* SPDX-License-Identifier: MIT */
/*
 * One run of a command and what it cost.
 *
 * Times and faults are the kernel's for the command and the descendants it waited for (wait4(2)). Memory is sampled:
 * every 2 to 10 ms (less often for trees that take long to look at) VmRSS and HugetlbPages of /proc/PID/status are
 * summed over the process and its living descendants (itself alone where the kernel has no
 * /proc/PID/task/TID/children); the peak is the largest sum, or ru_maxrss of the largest single process when that is
 * more (a process that lived between two looks). Resident pages that processes share count in each. hugetlb pages are
 * in no RSS, hence the addition.
 */
#ifndef ASHLAR_TOOLS_MEASURE_H
#define ASHLAR_TOOLS_MEASURE_H

#include <stdbool.h>

enum metric { METRIC_WALL, METRIC_USER, METRIC_SYSTEM, METRIC_PEAK, METRIC_FAULTS, METRIC_NR };

struct run_cost {
	double metric[METRIC_NR]; /* seconds, seconds, seconds, bytes, faults */
	int status;               /* of wait4(2) */
	bool preload_refused;     /* ld.so said that it cannot preload */
	char errors[2048];        /* the end of what the run wrote to standard error */
};

struct target;

/*
 * Run argv with LD_PRELOAD=preload and ASHLAR_CONF=conf (NULL: as inherited), standard input and output /dev/null
 * (show: our own). false: the run could not be started, said in *why (malloc'ed).
 */
bool measure_run(const struct target *target, char **argv, const char *preload, const char *conf, bool show,
		 struct run_cost *cost, char **why);

#endif
