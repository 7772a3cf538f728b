/* SPDX-License-Identifier: MIT */
/* What the kernel says of this process: who it is, what it has mapped and what it has cost. */
#ifndef ASH_OS_PROCESS_H
#define ASH_OS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

int ash_process_id(void);

/* Bytes of address space that are mapped, which is what RLIMIT_AS limits; 0 where there is no /proc. */
ASH_MUST_USE size_t ash_process_mapped(void);

/*
 * Whether the C library has made itself known to the kernel for the calling thread (set_robust_list(2)), as it does for
 * each that it starts and in a child of fork. Not so in a child of vfork, whose memory is its parent's, nor in one of
 * clone called directly.
 */
ASH_MUST_USE bool ash_process_is_registered(void);

/* The name in /proc/self/comm (at most 15 characters), "" where there is no /proc. */
struct ash_process_name {
	char text[16];
};
struct ash_process_name ash_process_name(void);

/*
 * Whether the calling thread's system calls are filtered (seccomp(2)): one that the filter's author has not thought of
 * may be the end of the process, not an error. true where that cannot be read. Costs some twenty microseconds.
 */
ASH_MUST_USE bool ash_process_filtered(void);

/* Whether the process may have transparent huge pages: false where prctl(2) has switched them off, or the kernel has
 * none. true where that cannot be read, as before Linux 5.0. */
ASH_MUST_USE bool ash_process_may_have_thp(void);

struct ash_process_usage {
	uint64_t user_us, system_us;
	uint64_t minor_faults, major_faults;
	uint64_t peak_rss; /* bytes; hugetlb pages are not in it */
};
/* 0 or a negative errno. */
ASH_MUST_USE int ash_process_usage(struct ash_process_usage *out);

#endif
