/* SPDX-License-Identifier: MIT */
/* Blocking signals; see signal.h. */
#include "os/signal.h"

#include <string.h>
#include <sys/syscall.h>

#include "os/sys.h"

void ash_signals_block(struct ash_signals *before)
{
	struct ash_signals all;

	memset(&all, 0xff, sizeof(all));
	memset(before, 0, sizeof(*before));
	(void)ash_sys(__NR_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)before, sizeof(all), 0, 0);
}

void ash_signals_restore(const struct ash_signals *before)
{
	(void)ash_sys(__NR_rt_sigprocmask, SIG_SETMASK, (long)before, 0, sizeof(*before), 0, 0);
}
