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

static void change(int how, int number)
{
	struct ash_signals one;

	memset(&one, 0, sizeof(one));
	one.bits[(number - 1) / 8] = (unsigned char)(1u << (number - 1) % 8);
	(void)ash_sys(__NR_rt_sigprocmask, how, (long)&one, 0, sizeof(one), 0, 0);
}

void ash_signal_block(int number)
{
	change(SIG_BLOCK, number);
}

void ash_signal_unblock(int number)
{
	change(SIG_UNBLOCK, number);
}

void ash_signal_raise(int number)
{
	const long process = ash_sys(__NR_getpid, 0, 0, 0, 0, 0, 0), thread = ash_sys(__NR_gettid, 0, 0, 0, 0, 0, 0);

	(void)ash_sys(__NR_tgkill, process, thread, number, 0, 0, 0);
}
