/* SPDX-License-Identifier: MIT */
/* CLOCK_MONOTONIC_COARSE in milliseconds; see clock.h. */
#include <time.h>

#include "os/clock.h"
#include "os/sys.h"

ASH_EARLY uint64_t ash_clock_ms(void)
{
	struct timespec t = { 0, 0 };

	if (ash_sys_hook != NULL && ash_sys_hook->now_ms != NULL)
		return ash_sys_hook->now_ms();
	(void)clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}
