/* SPDX-License-Identifier: MIT */
/* The calling thread's mask of blocked signals, by the bare system call: usable inside malloc. */
#ifndef ASH_OS_SIGNAL_H
#define ASH_OS_SIGNAL_H

#include <signal.h>

#include "base/compiler.h"

/* The kernel's set of signals, which is smaller than libc's. */
struct ash_signals {
	unsigned char bits[_NSIG / 8];
};

/* No handler runs on this thread until ash_signals_restore(). */
void ash_signals_block(struct ash_signals *before);
void ash_signals_restore(const struct ash_signals *before);

/* One of them. */
void ash_signal_block(int number);
void ash_signal_unblock(int number);

/* To the calling thread, as raise(3). */
void ash_signal_raise(int number);

#endif
